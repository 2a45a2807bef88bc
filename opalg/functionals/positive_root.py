"""The positive root of a quadratic equation, as proxes of logarithms need it."""

from __future__ import annotations

from opalg.program import expression as ex
from opalg.program.expression import Expression, pointwise


def positive_root(middle: Expression, product: Expression) -> Expression:
    """The root ``s >= 0`` of ``s^2 - middle s = product`` for ``product >= 0``.

    Parameters
    ----------
    middle, product : Expression
        Real; the product is not negative.

    Notes
    -----
    ``s = middle / 2 + sqrt(middle^2 / 4 + product)`` for ``middle > 0``, else the product over the other root's
    magnitude, so that nothing cancels. Squares are taken in units of the larger part, so that none overflows.
    """
    half = 0.5 * abs(middle)
    # the unit is any number of the size of the root; the floors keep derivatives finite where everything vanishes
    unit = ex.maximum(ex.sqrt(ex.maximum(product, 1e-32)), half)
    inside = ex.square(half / unit) + (product / unit) / unit
    larger = half + unit * ex.sqrt(ex.maximum(inside, 1e-36))
    return ex.where(pointwise("greater", middle, 0.0), larger, product / larger)


__all__ = ["positive_root"]
