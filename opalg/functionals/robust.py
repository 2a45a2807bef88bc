"""Robust penalties that are not convex: the more an entry is off, the less, or not at all, more of it costs."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from opalg.facts import NO, YES, exact
from opalg.functionals.calculus import Exactness, FunctionalFacts
from opalg.functionals.norms import clip_magnitude
from opalg.functionals.radial import Radial
from opalg.functionals.scalar_prox import ScalarFunction
from opalg.functionals.weights import Data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, pointwise

_SMOOTH = FunctionalFacts(
    convex=NO,
    smooth=YES,
    smoothness=exact(1.0),
    quadratic=NO,
    separable=YES,
    bounded_below=YES,
    phase_invariant=YES,
)
_NO_DUAL = "it is not convex, and its conjugate is that of a constant; use huber for a convex robust loss"
_TURN_OF_CAUCHY = sqrt(3.0)  # in units of the scale, where the curvature turns; that of Geman and McClure turns at 1


def _damping(u: Expression, scale: Expression) -> Expression:
    """``1 / (1 + |u / scale|^2)`` without overflow."""
    size = abs(u) / scale
    beyond = 1.0 / ex.maximum(size, 1.0)
    return beyond / (beyond + size * ex.minimum(size, 1.0))


def _damped(u: Expression, scale: Expression) -> Expression:
    """``u`` times that, which is of ordinary size where the factor alone is too small for the precision."""
    size = abs(u) / scale
    above = scale * clip_magnitude(u / scale, Literal(1.0))
    return above / (1.0 / ex.maximum(size, 1.0) + size * ex.minimum(size, 1.0))


def _simple_damping(u: Expression, scale: Expression) -> Expression:
    """The same in fewer operations, for steps to a prox: no force where the square overflows, which is far below u."""
    return 1.0 / (1.0 + ex.square(u * (1.0 / scale)))


def _value_of_cauchy(u: Expression, scale: Expression) -> Expression:
    size = abs(u) / scale
    beyond = ex.maximum(size, 1.0)
    rest = pointwise("log1p", ex.square(ex.minimum(size, 1.0) / beyond))
    return ex.square(scale) * (ex.log(beyond) + 0.5 * rest)


def _slope_of_cauchy(u: Expression, scale: Expression) -> Expression:
    return _damped(u, scale)


def _bend_of_cauchy(damping: Expression) -> Expression:
    """The second derivative from ``1 / (1 + |u / scale|^2)``."""
    return damping * (2.0 * damping - 1.0)


def _value_of_geman_mcclure(u: Expression, scale: Expression) -> Expression:
    size = abs(u)
    return (0.5 * size) * _damped(size, scale)


def _slope_of_geman_mcclure(u: Expression, scale: Expression) -> Expression:
    return _damped(u, scale) * _damping(u, scale)


def _bend_of_geman_mcclure(damping: Expression) -> Expression:
    """The second derivative from ``1 / (1 + |u / scale|^2)``."""
    return ex.square(damping) * (4.0 * damping - 3.0)


class _Redescending(Radial):
    """What the two smooth ones have in common."""

    @property
    def facts(self) -> FunctionalFacts:
        return _SMOOTH

    def why_not(self, ability: str) -> str:
        return _NO_DUAL


@node
class Cauchy(_Redescending):
    """``f(v) = sum_i s_i^2 / 2 log(1 + |v_i|^2 / s_i^2)``: nearly ``|v|^2 / 2`` near zero. Not convex.

    Parameters
    ----------
    scale : number, array, Parameter or Expression
        The ``s`` of the formula: entries beyond it pull less the larger they are; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where the scale is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    The scaling of robust statistics (Holland, Welsch 1977; Black, Anandan 1996 write ``log(1 + t^2 / (2 s^2))``, also
    called the Lorentzian). The gradient is ``v / (1 + |v|^2 / s^2)``; the curvature lies between -1/8 and 1, so that
    the gradient has the Lipschitz constant 1 and ``f + |.|^2 / 16`` is convex. The prox is a global minimiser, found
    by Newton's method between the points where the curvature turns; for ``t <= 8`` it is the only stationary point.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Cauchy(1.0)
    >>> round(f.value(np.array([1.0])), 4)
    0.3466
    >>> f.prox(np.array([1.0 + 4.0 / 2]), 4.0)
    array([1.])
    """

    scale: Data
    field, word = "scale", "cauchy"
    scalar = ScalarFunction.of(
        _value_of_cauchy,
        1,
        slope=lambda u, s: u * _simple_damping(u, s),
        curvature=lambda u, s: _bend_of_cauchy(_simple_damping(u, s)),
        turns=lambda s: (-_TURN_OF_CAUCHY * s, 0.0, _TURN_OF_CAUCHY * s),
    )

    def define_value(self, v: Expression) -> Expression:
        return ex.total(_value_of_cauchy(v, self.scale))

    def define_gradient(self, v: Expression) -> Expression:
        return _slope_of_cauchy(v, self.scale)

    def define_ratio(self, v: Expression) -> Expression:
        return _damping(v, self.scale)

    def define_curvature(self, v: Expression) -> Expression:
        return _bend_of_cauchy(_damping(v, self.scale))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Cauchy(float(rng.uniform(0.3, 1.5))),
            Cauchy(rng.uniform(0.3, 1.5, (3, 4))),
            Cauchy(Parameter(0.8, name="s", positive=True)),
        ]


@node
class GemanMcClure(_Redescending):
    """``f(v) = sum_i (|v_i|^2 / 2) / (1 + |v_i|^2 / s_i^2)``: nearly ``|v|^2 / 2`` near zero, below ``s^2 / 2``.

    Not convex.

    Parameters
    ----------
    scale : number, array, Parameter or Expression
        The ``s`` of the formula: entries far beyond it hardly pull; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where the scale is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    Geman, McClure (1987) write ``t^2 / (s^2 + t^2)``; here that is times ``s^2 / 2``, so that it is ``t^2 / 2`` near
    zero whatever s. The gradient is ``v / (1 + |v|^2 / s^2)^2``; the curvature lies between -1/4 and 1, so that the
    gradient has the Lipschitz constant 1 and ``f + |.|^2 / 8`` is convex. The prox is a global minimiser, found by
    Newton's method between the points where the curvature turns; for ``t <= 4`` it is the only stationary point.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.GemanMcClure(2.0)
    >>> f.value(np.array([2.0, 0.0]))
    1.0
    >>> f.prox(np.array([2.0 + 2.0 * 2.0 / 4.0]), 2.0)
    array([2.])
    """

    scale: Data
    field, word = "scale", "geman_mcclure"
    scalar = ScalarFunction.of(
        _value_of_geman_mcclure,
        1,
        slope=lambda u, s: u * ex.square(_simple_damping(u, s)),
        curvature=lambda u, s: _bend_of_geman_mcclure(_simple_damping(u, s)),
        turns=lambda s: (-s, 0.0, s),
    )

    def define_value(self, v: Expression) -> Expression:
        return ex.total(_value_of_geman_mcclure(v, self.scale))

    def define_gradient(self, v: Expression) -> Expression:
        return _slope_of_geman_mcclure(v, self.scale)

    def define_ratio(self, v: Expression) -> Expression:
        return ex.square(_damping(v, self.scale))

    def define_curvature(self, v: Expression) -> Expression:
        return _bend_of_geman_mcclure(_damping(v, self.scale))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            GemanMcClure(float(rng.uniform(0.3, 1.5))),
            GemanMcClure(rng.uniform(0.3, 1.5, (3, 4))),
            GemanMcClure(Parameter(0.8, name="s", positive=True)),
        ]


@node
class TruncatedQuadratic(Radial):
    """``f(v) = sum_i min(|v_i|^2, tau_i^2) / 2``: beyond the threshold more costs nothing. Not convex.

    Parameters
    ----------
    threshold : number, array, Parameter or Expression
        The ``tau`` of the formula; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where the threshold is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    The weak string of Blake, Zisserman (1987). A global minimiser of the prox is v where ``|v| > tau sqrt(1 + t)``,
    else ``v / (1 + t)``; at equality both are minimisers, and the second is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.TruncatedQuadratic(2.0)
    >>> f.value(np.array([1.0, -5.0]))
    2.5
    >>> f.prox(np.array([1.0, -5.0]), 1.0)
    array([ 0.5, -5. ])
    """

    threshold: Data
    field, word = "threshold", "truncated_quadratic"

    def define_value(self, v: Expression) -> Expression:
        return 0.5 * ex.total(ex.square(ex.minimum(abs(v), self.threshold)))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        shrunk = 1.0 + t
        kept = pointwise("greater", abs(v), self.threshold * ex.sqrt(shrunk))
        return ex.where(kept, v, v / shrunk)

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.CLOSED_FORM

    def define_gradient(self, v: Expression) -> Expression:
        return ex.where(pointwise("less", abs(v), self.threshold), v, Literal(0.0))

    def define_ratio(self, v: Expression) -> Expression:
        return ex.where(pointwise("less", abs(v), self.threshold), 1.0, 0.0)

    def define_curvature(self, v: Expression) -> Expression:
        return self.define_ratio(v)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=NO, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, phase_invariant=YES
        )

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it has a kink at its threshold; geman_mcclure is a smooth penalty of the same kind"
        return _NO_DUAL

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            TruncatedQuadratic(float(rng.uniform(0.3, 1.5))),
            TruncatedQuadratic(rng.uniform(0.3, 1.5, (3, 4))),
            TruncatedQuadratic(Parameter(0.8, name="tau", positive=True)),
        ]


def cauchy(e: Any, scale: Any) -> Any:
    """The sum of ``scale^2 / 2 log(1 + |t|^2 / scale^2)`` over the entries t. Not convex.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    scale : number, array or Parameter
        Positive, in the unit of the entries.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> round(oa.cauchy(x, scale=1.0).value(np.array([1.0, 0.0])), 6)
    0.346574
    """
    return Cauchy(scale)(e)


def geman_mcclure(e: Any, scale: Any) -> Any:
    """The sum of ``(|t|^2 / 2) / (1 + |t|^2 / scale^2)`` over the entries t. Not convex.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    scale : number, array or Parameter
        Positive, in the unit of the entries.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.geman_mcclure(x, scale=1.0).value(np.array([1.0, 0.0]))
    0.25
    """
    return GemanMcClure(scale)(e)


def truncated_quadratic(e: Any, threshold: Any) -> Any:
    """The sum of ``min(|t|^2, threshold^2) / 2`` over the entries t. Not convex.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    threshold : number, array or Parameter
        Positive, in the unit of the entries.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.truncated_quadratic(x, threshold=2.0).value(np.array([1.0, 100.0]))
    2.5
    """
    return TruncatedQuadratic(threshold)(e)


__all__ = ["Cauchy", "GemanMcClure", "TruncatedQuadratic", "cauchy", "geman_mcclure", "truncated_quadratic"]
