"""The logarithm of the hyperbolic cosine, a smooth magnitude."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from opalg.functionals.norms import clip_magnitude
from opalg.functionals.scalar_prox import ScalarFunction
from opalg.functionals.smoothed_magnitude import SmoothedMagnitude
from opalg.functionals.weights import Data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, pointwise

_FAR = 20.0  # in units of the scale: beyond, log cosh is straight to the rounding of either precision


def _slope(u: Expression, scale: Expression) -> Expression:
    return pointwise("tanh", u * (1.0 / scale))


def _curvature(u: Expression, scale: Expression) -> Expression:
    return (1.0 - ex.square(_slope(u, scale))) * (1.0 / scale)


def _start(v: Expression, t: Expression, scale: Expression) -> Expression:
    """The larger of ``|v| - t`` and ``|v| scale / (scale + t)``, from which Newton's method climbs to the prox."""
    return v - clip_magnitude(v * (t / (scale + t)), t)


@node
class LogCosh(SmoothedMagnitude):
    """``f(v) = sum_i s_i log cosh(|v_i| / s_i)``: quadratic near zero, a magnitude far out.

    Parameters
    ----------
    scale : number, array, Parameter or Expression
        Where the one passes into the other, the ``s`` of the formula; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where the scale is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    The penalty of Green (1990). The gradient, ``tanh(v / s)`` along the phase of v, has the Lipschitz constant
    ``1 / min s``. With ``m = |q|``, ``f*(q) = sum s/2 ((1 + m) log(1 + m) + (1 - m) log(1 - m))`` where ``m <= 1``. The
    prox is found by Newton's method from below.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.LogCosh(2.0)
    >>> round(f.value(np.array([1000.0])), 4)
    998.6137
    >>> f.prox(np.array([1.0 + 3 * np.tanh(0.5)]), 3.0)
    array([1.])
    """

    scale: Data
    field, word = "scale", "log_cosh"
    scalar = ScalarFunction.of(None, 1, slope=_slope, curvature=_curvature, start=_start)

    def define_value(self, v: Expression) -> Expression:
        size = abs(v)
        near = ex.minimum(size, _FAR * self.scale)
        half = pointwise("sinh", near / (2.0 * self.scale))
        return ex.total(self.scale * pointwise("log1p", 2.0 * ex.square(half)) + (size - near))

    def define_ratio(self, v: Expression) -> Expression:
        size = abs(v)
        apart = pointwise("greater", size, 0.0)
        found = _slope(size, self.scale) / ex.where(apart, size, 1.0)
        return ex.where(apart, found, 1.0 / self.scale)

    def define_curvature(self, v: Expression) -> Expression:
        return _curvature(v if v.kind != "complex" else abs(v), self.scale)

    def define_gradient(self, v: Expression) -> Expression:
        return _slope(v, self.scale) if v.kind != "complex" else v * self.define_ratio(v)

    def define_conjugate_value(self, q: Expression) -> Expression:
        size = abs(q)
        inside = pointwise("less", size, 1.0)
        m = ex.where(inside, size, 0.0)
        odd = m * (pointwise("log1p", m) - pointwise("log1p", -m))
        found = 0.5 * (pointwise("log1p", -ex.square(m)) + odd)
        return ex.total(self.scale * ex.where(inside, found, log(2.0)))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            LogCosh(float(rng.uniform(0.3, 1.5))),
            LogCosh(rng.uniform(0.3, 1.5, (3, 4))),
            LogCosh(Parameter(0.6, name="s", positive=True)),
        ]


def log_cosh(e: Any, scale: Any) -> Any:
    """The sum of ``scale log cosh(|t| / scale)`` over the entries t.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    scale : number, array or Parameter
        Positive, in the unit of the entries: below, the penalty is nearly ``t^2 / (2 scale)``, above, nearly ``|t|``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> round(oa.log_cosh(x, scale=1.0).value(np.array([1.0, 0.0])), 6)
    0.433781
    """
    return LogCosh(scale)(e)


__all__ = ["LogCosh", "log_cosh"]
