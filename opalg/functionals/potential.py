"""The sum of a potential over the entries of an array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, UNKNOWN, YES, Bound
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.exactness import Exactness
from opalg.functionals.potential_function import Potential
from opalg.functionals.weights import Condition, check_broadcasts, condition, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.formula import symbol_of

_BORDER = 1e-30  # stands for the end of an open interval at zero


@node
class PotentialSum(Functional):
    """``f(v) = sum_i phi(v_i)`` for a `Potential` phi; an even one takes complex arrays by magnitude.

    Parameters
    ----------
    potential : Potential
        The function phi.
    parameters : tuple of Expression, optional
        What its symbols stand for; by default what the potential was given.

    Raises
    ------
    DtypeError
        For complex arguments, where the potential is not proved to be even.

    Notes
    -----
    The Lipschitz constant of the gradient is ``sup |phi''|``, where sympy proves what that is. The prox solves
    ``u + t phi'(u) = v`` for each entry, in closed form or by Newton's method inside a bracket. Where phi is not
    convex, it is the best of all local minimisers of ``phi(u) + (u - v)^2 / (2 t)``, of which at most one lies between
    two turning points of the second derivative. The conjugate is ``q u - phi(u)`` where ``phi'(u) = q``. Derivatives
    of both, also in the parameters and the step, are those of the equations they solve (implicit function theorem).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> import sympy
    >>> s = sympy.Symbol("s")
    >>> f = oa.functionals.PotentialSum(oa.Potential(s, s**4 / 4))
    >>> f.prox(np.array([2.0, -10.0]), 1.0).round(12)
    array([ 1., -2.])
    >>> f.exactness
    iterative with a certified gap
    """

    potential: Potential
    parameters: tuple[Expression, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.potential, Potential):
            raise DtypeError(f"PotentialSum needs a Potential, not {type(self.potential).__name__}")
        if self.parameters is None:
            object.__setattr__(self, "parameters", self.potential.parameters)

    @property
    def _values(self) -> tuple[Expression, ...]:
        assert self.parameters is not None
        return self.parameters

    def _at(self, formula: Any, v: Expression) -> Expression:
        return self.potential.translate(formula, v, self._values)

    def _magnitude(self, v: Expression) -> Expression:
        self.check_kind(v.kind)
        return abs(v) if v.kind == "complex" else v

    def define_value(self, v: Expression) -> Expression:
        size = self._magnitude(v)
        inside = self.potential.nearest(size) if self.potential.bounded_domain else size  # up to rounding
        return ex.total(self._at(self.potential.formula, inside))

    def define_violation(self, v: Expression) -> Expression:
        if not self.potential.bounded_domain:
            return Literal(0.0)
        size = self._magnitude(v)
        return ex.largest(abs(size - self.potential.nearest(size)))

    def define_gradient(self, v: Expression) -> Expression:
        size = self._magnitude(v)
        slope = self._at(self.potential.first, size)
        return slope if v.kind != "complex" else v * ex.safe_divide(slope, size)

    def _stretch(self, size: Expression) -> Expression:
        """``phi'(r) / r``, and its limit ``phi''(0)`` at zero."""
        quotient = ex.safe_divide(self._at(self.potential.first, size), size)
        return ex.where(ex.pointwise("greater", size, 0.0), quotient, self._curvature(Literal(0.0)))

    def _curvature(self, size: Expression) -> Expression:
        """``phi''``, and 0 at zero where it is infinite there."""
        if not self.potential.steep:
            return self._at(self.potential.second, size)
        away = ex.pointwise("greater", abs(size), 0.0)
        return ex.where(away, self._at(self.potential.second, ex.where(away, size, 1.0)), 0.0)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        size, d = self._magnitude(v), ex.broadcast_to(d, v.shape)
        curvature = self._curvature(size)
        if v.kind != "complex":
            return curvature * d
        phase, stretch = ex.safe_divide(v, size), self._stretch(size)
        along = ex.pointwise("real", ex.pointwise("conj", phase) * d)
        return stretch * d + (curvature - stretch) * along * phase

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        size = self._magnitude(v)
        found = self.potential.define_prox(size, t, self._values)
        return found if v.kind != "complex" else v * ex.safe_divide(found, size)

    def define_conjugate_value(self, q: Expression) -> Expression:
        size = self._magnitude(q)  # a rounding beyond the domain is not infinitely far
        if self.offers("dual_projection"):
            size = _clipped(size, *self._closed_slopes)
        return ex.total(self.potential.define_conjugate(size, self._values))

    def define_dual_projection(self, q: Expression) -> Expression:
        size = self._magnitude(q)
        inside = self._projected(size)
        return inside if q.kind != "complex" else q * ex.safe_divide(inside, size)

    def _projected(self, size: Expression) -> Expression:
        return _clipped(size, *self._slopes)

    def define_dual_gauge(self, q: Expression) -> Expression:
        size = self._magnitude(q)
        lower, upper = self._slopes
        found: Expression = Literal(0.0)
        for bound in (lower, upper):
            if bound is not None:
                found = ex.maximum(found, ex.largest(size / bound))
        return found

    @property
    def _slopes(self) -> tuple[Expression | None, Expression | None]:
        """The ends of the conjugate's domain; None for infinite ones, and next to zero where that is not in it."""
        excluded, (lower, upper) = self.potential.excluded_slopes, self._closed_slopes
        return Literal(_BORDER) if excluded[0] else lower, Literal(-_BORDER) if excluded[1] else upper

    @property
    def _closed_slopes(self) -> tuple[Expression | None, Expression | None]:
        """The limits of the slopes; None for infinite ones."""
        known = self.potential.slope_range
        assert known is not None
        lower, upper = (self.potential.bound(end, self._values) if end.is_finite else None for end in known)
        return lower, upper

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        if not self.potential.meets_assumptions(self._values):
            return False
        if ability == "prox":
            return self.potential.scalar is not None
        if ability == "conjugate_value":
            return self.potential.scalar is not None and self.potential.facts.convex is YES
        known = self.potential.slope_range
        if known is None or any(not (end.is_finite or end.is_infinite) for end in known):
            return False
        if ability == "dual_gauge":
            return known[0].is_extended_negative is True and known[1].is_extended_positive is True
        return super().offers(ability)

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """Whether sympy proved the potential differentiable in its domain."""
        proved = self.potential.facts.smooth is YES
        return proved and self.potential.bounded_domain and self.potential.meets_assumptions(self._values)

    @property
    def exactness(self) -> Exactness | None:
        if not self.offers("prox"):
            return None
        return Exactness.ITERATIVE if self.potential.prox_formula is None else Exactness.CLOSED_FORM

    @property
    def facts(self) -> FunctionalFacts:
        known = self.potential.facts
        even = YES if self.potential.even else UNKNOWN
        if not self.potential.meets_assumptions(self._values):
            return FunctionalFacts(separable=YES, phase_invariant=even)
        everywhere = not self.potential.bounded_domain
        smoothness = strong = None
        if known.highest is not None and everywhere:
            bound = ex.largest(self.potential.bound(known.highest, self._values))
            smoothness = Bound(bound, "exact" if known.sharp else "upper")
        if known.lowest is not None and known.lowest.is_positive:
            strong = ex.smallest(self.potential.bound(known.lowest, self._values))
        return FunctionalFacts(
            convex=known.convex,
            smooth=known.smooth if everywhere else NO,
            smoothness=smoothness,
            strong_convexity=strong,
            quadratic=known.quadratic if everywhere else NO,
            separable=YES,
            bounded_below=self.potential.bounded_below,
            phase_invariant=even,
        )

    def define_conditions(self) -> list[Condition]:
        if not self.potential.meets_assumptions(self._values):
            return []
        conditions: list[Condition] = []
        for name, sign, value in self.potential.signs(self._values):
            sentence = f"the parameter {name!r} of a potential must be {sign}"
            conditions += condition(value, sign == "positive", sentence)
        return conditions

    def hint(self) -> str:
        known = self.potential.facts
        proved = known.convex is not UNKNOWN and known.smooth is not UNKNOWN
        if proved and self.potential.meets_assumptions(self._values):
            return ""
        return sign_hint(self._values, strict=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        for name, value in zip(self.potential.names, self._values, strict=True):
            check_broadcasts(value, shape, self, f"the parameter {name!r}")

    def check_kind(self, kind: str) -> None:
        if kind == "complex" and not self.potential.even:
            raise DtypeError(
                f"{self!r} takes real arrays, but was given a complex one, and its potential is not proved to be even, "
                f"so it is no function of magnitudes; apply it to real and imaginary parts"
            )

    def why_not(self, ability: str) -> str:
        remedy = self.hint() or "split it into a sum of simpler potentials"
        if ability == "gradient":
            if self.potential.bounded_domain:
                return "its potential has a domain, outside of which it is infinite; use its prox"
            return f"sympy did not prove its potential differentiable; {remedy}"
        if ability == "prox" and self.potential.bounded_below is NO and self.potential.facts.convex is not YES:
            return "its potential is neither convex nor bounded below, so that there is no minimiser for long steps"
        if ability in ("conjugate_value", "dual_projection") and self.potential.facts.convex is NO:
            return "its potential is not convex"
        return f"sympy neither proved its potential convex nor found where its second derivative turns; {remedy}"

    def text(self, inner: str) -> str:
        return f"pointwise({self.potential!r}, {inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        rule = self.potential.latex(rf"\left({inner}\right)_i")
        return rf"\sum_i \left[{rule}\right]"

    def __repr__(self) -> str:
        return f"PotentialSum({self.potential!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests."""
        import sympy

        t, s = sympy.symbols("t s")
        scale = Parameter(float(rng.uniform(0.3, 1.5)), name="s", positive=True)
        inline = symbol_of(scale)
        potentials = [
            Potential(t, sympy.sqrt(t**2 + s**2) - s, s=scale),
            Potential(t, s * sympy.log(sympy.cosh(t / s)), s=float(rng.uniform(0.3, 1.5))),
            Potential(t, sympy.log(1 + t**2 / inline**2)),
            Potential(t, 1 - sympy.exp(-(t**2) / (2 * s**2)), s=rng.uniform(0.5, 1.5, (3, 4))),
            Potential(t, sympy.log(1 + sympy.exp(s * t)), s=scale),
            Potential(t, sympy.Piecewise((t**2 / 2, sympy.Abs(t) <= s), (s * (sympy.Abs(t) - s / 2), True)), s=scale),
            Potential(t, t**2 / 2 + t / 3),
            Potential(t, sympy.Max(0, 1 - t)),
            Potential(t, sympy.Abs(t) + s * t**2, s=scale),
        ]
        return [PotentialSum(p) for p in potentials]


def _clipped(x: Expression, lower: Expression | None, upper: Expression | None) -> Expression:
    inside = x if lower is None else ex.maximum(x, lower)
    return inside if upper is None else ex.minimum(inside, upper)


def pointwise(potential: Potential, e: Any) -> Any:
    """The sum of a scalar potential over all entries, ``sum_i phi(e_i)``; see `Potential`.

    Parameters
    ----------
    potential : Potential
        The function phi.
    e : affine expression
        Of any shape; real, or complex where phi is proved to be even: then it is ``phi(|e_i|)``.

    Raises
    ------
    DtypeError
        For what is no potential, and for complex expressions where phi is not proved to be even.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> import sympy
    >>> s = sympy.Symbol("s")
    >>> x = oa.Variable((2,), name="x")
    >>> oa.pointwise(oa.Potential(s, s**4), x).value(np.array([1.0, -2.0]))
    17.0
    """
    return PotentialSum(potential)(e)


__all__ = ["Potential", "PotentialSum", "pointwise"]
