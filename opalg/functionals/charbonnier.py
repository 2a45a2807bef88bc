"""The Charbonnier penalty, a magnitude that is rounded off at zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.functionals.norms import clip_magnitude
from opalg.functionals.scalar_prox import ScalarFunction
from opalg.functionals.smoothed_magnitude import SmoothedMagnitude
from opalg.functionals.weights import Data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression

_FAR = 1e17  # in units of eps: beyond, the slope is 1 to the rounding of either precision, and squares stay finite


def _scaled(u: Expression, eps: Expression) -> tuple[Expression, Expression]:
    """``z = u / eps``, kept to where its square is finite, and ``1 / sqrt(1 + |z|^2)``."""
    z = clip_magnitude(u, _FAR * eps) * (1.0 / eps)
    return z, 1.0 / ex.sqrt(1.0 + ex.square_abs(z))


def _slope(u: Expression, eps: Expression) -> Expression:
    z, cosine = _scaled(u, eps)
    return z * cosine


def _curvature(u: Expression, eps: Expression) -> Expression:
    _, cosine = _scaled(u, eps)
    return (ex.square(cosine) * cosine) * (1.0 / eps)


def _start(v: Expression, t: Expression, eps: Expression) -> Expression:
    """The larger of ``|v| - t`` and ``|v| eps / (eps + t)``, from which Newton's method climbs to the prox."""
    return v - clip_magnitude(v * (t / (eps + t)), t)


@node
class Charbonnier(SmoothedMagnitude):
    """``f(v) = sum_i sqrt(|v_i|^2 + eps_i^2) - eps_i``: quadratic near zero, a magnitude far out.

    Parameters
    ----------
    eps : number, array, Parameter or Expression
        Where the one passes into the other; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where eps is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    Also called pseudo-Huber, of slope 1 (Charbonnier, Blanc-Feraud, Aubert, Barlaud 1997, Table I). The gradient
    ``v / sqrt(|v|^2 + eps^2)`` has the Lipschitz constant ``1 / min eps``. Where ``|q_i| <= 1``,
    ``f*(q) = sum_i eps_i (1 - sqrt(1 - |q_i|^2))``. The prox is a root of a quartic, found by Newton's method from
    below.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Charbonnier(3.0)
    >>> round(f.value(np.array([4.0, 0.0])), 12)
    2.0
    >>> f.prox(np.array([4.0 + 0.8 * 5.0]), 5.0)
    array([4.])
    """

    eps: Data
    field, word = "eps", "charbonnier"
    scalar = ScalarFunction.of(None, 1, slope=_slope, curvature=_curvature, start=_start)

    def define_value(self, v: Expression) -> Expression:
        z = clip_magnitude(v, _FAR * self.eps) / self.eps
        size = ex.square_abs(z)
        return ex.total(abs(v) * (ex.sqrt(size) / (1.0 + ex.sqrt(1.0 + size))))

    def define_ratio(self, v: Expression) -> Expression:
        size = ex.minimum(abs(v), _FAR * self.eps) / self.eps
        return 1.0 / ex.maximum(self.eps * ex.sqrt(1.0 + ex.square(size)), abs(v))

    def define_curvature(self, v: Expression) -> Expression:
        return _curvature(v if v.kind != "complex" else abs(v), self.eps)

    def define_gradient(self, v: Expression) -> Expression:
        return _slope(v, self.eps)

    def define_conjugate_value(self, q: Expression) -> Expression:
        size = ex.minimum(abs(q), 1.0)
        return ex.total(self.eps * (ex.square(size) / (1.0 + ex.sqrt((1.0 - size) * (1.0 + size)))))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Charbonnier(float(rng.uniform(0.3, 1.5))),
            Charbonnier(rng.uniform(0.3, 1.5, (3, 4))),
            Charbonnier(Parameter(0.6, name="eps", positive=True)),
        ]


def charbonnier(e: Any, eps: Any) -> Any:
    """The sum of ``sqrt(|t|^2 + eps^2) - eps`` over the entries t (Charbonnier et al. 1997).

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    eps : number, array or Parameter
        Positive, in the unit of the entries: below, the penalty is nearly ``t^2 / (2 eps)``, above, nearly ``|t|``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> round(oa.charbonnier(x, eps=3.0).value(np.array([4.0, 0.0])), 6)
    2.0
    """
    return Charbonnier(eps)(e)


__all__ = ["Charbonnier", "charbonnier"]
