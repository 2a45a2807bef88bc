"""The positive root of a quadratic equation, as proxes of logarithms need it."""

from __future__ import annotations

from opalg.program import expression as ex
from opalg.program.expression import Expression

_UNIT = 2.0**-12  # of the middle: squares of 1e20 stay finite in float32, and those of 1e-15 are not lost
_FLOOR = 1e-36  # under the root, for derivatives where everything vanishes


def positive_root(middle: Expression, product: Expression) -> Expression:
    """The root ``s >= 0`` of ``s^2 - middle s = product`` for ``product >= 0``.

    Parameters
    ----------
    middle, product : Expression
        Real; the product is not negative.

    Notes
    -----
    ``s = max(middle, 0) + product / q`` with ``q = |middle| / 2 + sqrt(middle^2 / 4 + product)``: for ``middle > 0``
    the root is q itself, and the roots q and ``-product / q`` add up to the middle; else it is ``product / q``. All
    terms are nonnegative, so that nothing cancels.
    """
    scaled, size = _UNIT * middle, abs(middle)
    above = 0.5 * (middle + size)  # max(middle, 0), whose derivative at zero is that of the root
    inner = (4.0 * _UNIT**2) * product
    if product.shape == ():  # what is done to numbers costs nothing
        root = ex.sqrt(ex.square(scaled) + ex.maximum(inner, _FLOOR))
        return above + ((2.0 * _UNIT) * product) / (_UNIT * size + root)
    root = ex.sqrt(ex.maximum(ex.square(scaled) + inner, _FLOOR))
    return above + (0.5 / _UNIT) * (inner / (_UNIT * size + root))


def shifted_root(v: Expression, t: Expression, product: Expression, shift: Expression) -> Expression:
    """``s - shift`` for the positive root of ``s^2 - (v + shift - t) s = t product``, also where it is much smaller.

    Parameters
    ----------
    v, t, product, shift : Expression
        Real; t and the product are not negative.

    Notes
    -----
    ``u = s - shift`` solves ``u^2 - m u = p`` with ``m = v - t - shift`` and ``p = v shift + t (product - shift)``.
    It is ``max(m, 0) + p / h`` with ``h = (|m| + d) / 2`` and ``d^2 = (v + shift - t)^2 + 4 t product``. Since
    ``h >= |shift|``, the terms of ``p / h`` do not overflow.
    """
    middle = v - (t + shift)
    size = abs(middle)
    squared = ex.square(_UNIT * (v + (shift - t))) + (4.0 * _UNIT**2) * (t * product)
    half = (0.5 / _UNIT) * (_UNIT * size + ex.sqrt(ex.maximum(squared, _FLOOR)))
    quotient = v * (shift / half) + (t / half) * (product - shift)
    return ex.maximum(0.5 * (middle + size) + quotient, -shift)


__all__ = ["positive_root", "shifted_root"]
