"""Moreau envelopes: functionals smoothed by a square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, Bound, upper
from opalg.functionals.around import Around, safe_prox, safe_value
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.groups import axes_of
from opalg.functionals.indicator import Indicator
from opalg.functionals.length import safe_norms
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.scaled import Weighted
from opalg.functionals.sets import Set
from opalg.functionals.stationary import stationary_value
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Condition, Data, condition, positive, real_data, require_positive, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.program.notation import data_latex, data_text


@node
class MoreauEnvelope(Around):
    """``f(v) = min_u g(u) + |u - v|^2 / (2 mu)``: the Moreau envelope of a functional g.

    Parameters
    ----------
    functional : Functional
        The functional ``g``, which must have a prox.
    mu : number, scalar Parameter or Expression
        How much it is smoothed; positive.

    Raises
    ------
    DtypeError
        For what is no functional, and for a complex mu.
    ShapeError
        For a mu of more than one entry.
    ParameterError
        For a mu that is known not to be positive.
    UnsupportedError
        Where g has no prox.

    Notes
    -----
    The minimum is at ``p = prox_{mu g}(v)``. For convex g the gradient is ``(v - p) / mu``, with the Lipschitz constant
    ``1 / mu`` (Beck 2017, Theorem 6.60), or ``L / (1 + mu L)`` where that of g is L. A modulus m of strong convexity
    becomes ``m / (1 + mu m)``. ``prox_t: v + t / (t + mu) (prox_{(t + mu) g}(v) - v)`` (Beck 2017, Theorem 6.63), also
    where g is not convex; then no gradient is claimed. ``f* = g* + mu / 2 |.|^2``. The envelope of ``delta norm1`` is
    `huber` over its delta.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.MoreauEnvelope(oa.functionals.Norm1(), 0.5)
    >>> f.value(np.array([2.0, 0.25]))
    1.8125
    >>> f.gradient(np.array([2.0, 0.25]))
    array([1. , 0.5])
    """

    functional: Functional
    mu: Data

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            hint = "; a term such as norm1(x) has its functional at term.functional"
            hint = "; write oa.functionals.Indicator(set)" if isinstance(self.functional, Set) else hint
            raise DtypeError(f"moreau_envelope(f, mu) needs a functional, not {type(self.functional).__name__}{hint}")
        mu = real_data(self.mu, "the mu of a Moreau envelope")
        if mu.shape not in ((), (1,)):
            raise ShapeError(f"the mu of a Moreau envelope must be one number, but has shape {mu.shape}")
        object.__setattr__(self, "mu", ex.total(mu))
        require_positive(self.mu, "the mu of a Moreau envelope")
        if not self.functional.offers("prox"):
            reason = self.functional.why_not("prox")
            raise UnsupportedError(
                f"a Moreau envelope needs a prox, which {self.functional!r} has not" + (f": {reason}" if reason else "")
            )

    def _nearest(self, v: Expression) -> Expression:
        return safe_prox(self.functional, v, self.mu)

    def define_value(self, v: Expression) -> Expression:
        x, u = Input("v", v.shape, v.kind), Input("p", v.shape, v.kind)
        value = safe_value(self.functional, u) + 0.5 * ex.inner((u - x) / self.mu, u - x)
        return stationary_value(value, {x: v}, {u: self._nearest(v)})

    def define_gradient(self, v: Expression) -> Expression:
        if self.functional.facts.convex is YES and self.functional.offers("dual_projection"):
            conjugate = self.functional.define_conjugate_value(v)
            if isinstance(conjugate, Literal) and conjugate.value == 0:  # no difference of large numbers
                return _dual_projection(self.functional, v / self.mu)
        return (v - self._nearest(v)) / self.mu

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        farther = t + self.mu
        return v - (1.0 - self.mu / farther) * (v - safe_prox(self.functional, v, farther))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.functional.define_conjugate_value(q) + (0.5 * self.mu) * ex.norm_squared(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.functional.define_dual_projection(q)

    def offers(self, ability: str) -> bool:
        if ability in ("conjugate_value", "dual_gauge", "dual_projection"):
            return self.functional.facts.convex is YES and self.functional.offers(ability)
        return super().offers(ability)

    @property
    def _smoothness(self) -> Bound | None:
        of_it = self.functional.facts.smoothness
        if of_it is None or not of_it.certified:
            return upper(1.0 / self.mu)
        slope = of_it.expression
        return Bound(slope / (1.0 + self.mu * slope), of_it.certainty)

    @property
    def facts(self) -> FunctionalFacts:
        known = self.functional.facts
        convex, modulus = known.convex is YES, known.strong_convexity
        return FunctionalFacts(
            convex=YES if convex else UNKNOWN,
            smooth=YES if convex else UNKNOWN,
            smoothness=self._smoothness if convex else None,
            strong_convexity=modulus / (1.0 + self.mu * modulus) if convex and modulus is not None else None,
            quadratic=NO if convex and known.quadratic is NO and not known.indicator else UNKNOWN,
            separable=known.separable,
            bounded_below=known.bounded_below,
            homogeneity=2.0 if known.homogeneity == 2 else None,
            phase_invariant=known.phase_invariant,
            has_value=known.has_value,
        )

    @property
    def everywhere(self) -> bool:
        """It is finite everywhere, whatever the domain of its functional."""
        return True

    def define_violation(self, v: Expression) -> Expression:
        return Literal(0.0)

    def behind(self, batch: int) -> Functional:
        return MoreauEnvelope(self.functional.behind(batch), self.mu)

    def define_conditions(self) -> list[Condition]:
        own = condition(self.mu, True, "the mu of a Moreau envelope must be positive")
        return [*self.functional.define_conditions(), *own]

    def hint(self) -> str:
        return self.functional.hint() or sign_hint([self.mu], strict=True)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return f"{self.functional!r} is not known to be convex, so the nearest point may jump"
        return self.functional.why_not(ability)

    def text(self, inner: str) -> str:
        return f"moreau_envelope({self.functional!r}, {data_text(self.mu)})({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        of_a_dot, mu = self.functional.latex(r"\,\cdot\,", names), data_latex(self.mu, names)
        return rf"\operatorname{{env}}_{{{mu}}}\left[{of_a_dot}\right]\left({inner}\right)"

    def __repr__(self) -> str:
        return f"MoreauEnvelope({self.functional!r}, {self.mu!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            MoreauEnvelope(Norm1(Parameter(rng.uniform(0.1, 2.0, (3, 4)), name="w", nonneg=True)), 0.5),
            MoreauEnvelope(Norm2(), Parameter(0.7, name="mu", positive=True)),
            MoreauEnvelope(Norm21(axis=-1), 0.3),
            MoreauEnvelope(SumSquares(), 0.5),
            MoreauEnvelope(Indicator(Box(-0.4, 0.6)), 1.5),
        ]


def _dual_projection(functional: Functional, q: Expression) -> Expression:
    """The nearest point of the conjugate's domain, also where squares of entries would overflow."""
    match functional:
        case Norm2():
            return q / ex.maximum(safe_norms(q, None), 1.0)
        case Norm21(axis=axis, weights=weights):
            norms = safe_norms(q, axes_of(axis))
            if weights is None:
                return q / ex.maximum(norms, 1.0)
            radius = functional.spread(weights, q.shape)
            return q * ex.safe_divide(radius, ex.maximum(norms, radius))
        case Weighted(functional=inner, weight=weight) if positive(weight) is YES:
            return weight * _dual_projection(inner, q / weight)
    return functional.define_dual_projection(q)


def moreau_envelope(f: Functional, mu: Any) -> MoreauEnvelope:
    """The Moreau envelope of a functional, ``v -> min_u f(u) + |u - v|^2 / (2 mu)``; see `MoreauEnvelope`.

    Parameters
    ----------
    f : Functional
        With a prox.
    mu : number, scalar Parameter or Expression
        Positive.

    Returns
    -------
    MoreauEnvelope
        A functional; of an expression it makes a term.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> smooth_norm = oa.moreau_envelope(oa.functionals.Norm2(), 0.5)
    >>> smooth_norm(x).value(np.array([3.0, 4.0]))
    4.75
    """
    return MoreauEnvelope(f, mu)


__all__ = ["MoreauEnvelope", "moreau_envelope"]
