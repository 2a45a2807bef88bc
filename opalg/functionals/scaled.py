"""Weighted functionals: numbers, parameters, one weight per entry, zero and infinite ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact, exact
from opalg.functionals.around import (
    Around,
    above_zero,
    differentiable,
    entries,
    finite_everywhere,
    grouped,
    is_literal,
    lasting,
    latex_grouped,
    step_times,
    takes,
    where_positive,
)
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import weighted
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm21
from opalg.functionals.points import Point
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import (
    Condition,
    Data,
    check_broadcasts,
    condition,
    nonnegative,
    positive,
    real_data,
    sign_hint,
    split_infinite,
)
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, compose, scale
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.program.interpreter import number
from opalg.program.notation import data_text, factor_latex, is_sum


@node
class Weighted(Around):
    """``f(v) = w g(v)``, or ``sum_i w_i g_i(v_i)`` with a weight for each entry of a separable ``g``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    weight : number, array, Parameter or Expression
        Real and at least 0. Where it is 0, so is ``f`` on the domain of ``g``, and outside it is infinite still. A
        number or entry of a constant array may be infinite where ``g`` vanishes at 0 only: it holds v at 0 there.
    held : Constant, optional
        Where the weight is infinite; found in the weight, which is finite there from then on.

    Raises
    ------
    ParameterError
        For a weight that is known to be negative, and an infinite one of a functional that vanishes elsewhere, too.
    UnsupportedError
        For one weight per entry where ``g`` is not known to be separable.
    DtypeError, ShapeError
        For complex weights; for weights that do not broadcast to the argument.

    Notes
    -----
    ``prox_{t f}(v) = prox_{t w g}(v)`` and ``f*(q) = w g*(q / w)``, entry by entry where the weight is (Beck 2017,
    Theorems 4.14 and 6.6). For ``w = 0`` the prox is the nearest point of the domain, and ``f*`` is 0 at 0 and
    infinite elsewhere where that domain is everything.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = 2.0 * oa.functionals.Norm1()
    >>> f
    Weighted(Norm1(), 2)
    >>> f.prox(np.array([3.0, -1.0]), 0.5).tolist()
    [2.0, 0.0]
    >>> g = np.array([1.0, np.inf]) * oa.functionals.Huber(1.0)
    >>> g.prox(np.array([4.0, 4.0]), 1.0).tolist()
    [3.0, 0.0]
    """

    functional: Functional
    weight: Data
    held: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"Weighted needs a functional such as Norm1(), not {type(self.functional).__name__}")
        weight, held = _without_infinities(self.weight)
        weight = ex.total(weight) if weight.shape == (1,) else weight
        held = self.held if held is None else held
        if nonnegative(weight) is NO:
            raise ParameterError(
                f"the weight of {self.functional!r} must be nonnegative, but is {number(ex.smallest(weight)):g}; a "
                f"negative multiple is not known to be convex, and is written as a term, -c * f(x) or g(x) - f(x)"
            )
        if (weight.shape != () or getattr(held, "shape", ()) != ()) and self.functional.facts.separable is not YES:
            raise UnsupportedError(
                f"one weight per entry needs a functional that is a sum over the entries, which {self.functional!r} is "
                f"not known to be; scale its argument instead, as in f(oa.Diagonal(w) @ x)"
            )
        if held is not None and not self.functional.vanishes_at_zero_only:
            raise ParameterError(
                f"an infinite weight of {self.functional!r} has no meaning, since it is not known to vanish at 0 only; "
                f"constrain it by oa.indicator instead"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "held", held)

    # The weight.

    @property
    def _scalar(self) -> bool:
        return self.weight.shape == ()

    @property
    def _all_held(self) -> bool:
        return isinstance(self.held, Literal)

    @property
    def _unchanged(self) -> bool:
        """Whether the weight changes nothing: a domain stays where the weight is zero, too."""
        return self.functional.facts.indicator and self.held is None

    def _released(self, q: Expression, at_held: Any) -> Expression:
        """The expression, with something else where v is held at 0."""
        return q if self.held is None else ex.where(self.held, at_held, q)

    def _summed(self, define: Callable[[Expression], Expression], v: Expression, weight: Expression) -> Expression:
        """The weighted sum over the entries of what a formula sums over them."""
        if weight.shape == () and self.held is None:
            total = define(v)
            return total if is_literal(total, 0.0) else weight * total
        found = entries(define, v)
        if found is None:
            raise UnsupportedError(
                f"the value of {self.functional!r} is no sum over entries that could be weighted one by one; give it "
                f"one weight for all"
            )
        return ex.total(ex.broadcast_to(self._released(weight * found, 0.0), v.shape))

    # What it does.

    def define_value(self, v: Expression) -> Expression:
        return self._summed(self.functional.define_value, v, self.weight)

    def define_violation(self, v: Expression) -> Expression:
        below = self.functional.define_violation(v)
        if self.held is None:
            return below
        outside = ex.largest(ex.broadcast_to(ex.where(self.held, abs(v), 0.0), v.shape))
        return outside if is_literal(below, 0.0) else ex.maximum(below, outside)

    def define_gradient(self, v: Expression) -> Expression:
        return self.weight * self.functional.define_gradient(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self.weight * self.functional.define_hessian_product(v, d)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        found = self.functional.define_hessian_operator(shape, kind) if self.held is None else None
        if found is None or self._scalar:
            return None if found is None else scale(self.weight, found)
        return compose(Diagonal(ex.broadcast_to(self.weight, found.out_shape)), found)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        found = self.functional.define_prox(v, step_times(t, self.weight, v))
        return ex.broadcast_to(self._released(found, 0.0), v.shape)

    # Its conjugate.

    def define_conjugate_value(self, q: Expression) -> Expression:
        if self._all_held:
            return Literal(0.0)
        if self._unchanged:
            return self.functional.define_conjugate_value(q)
        safe = above_zero(self.weight)
        weight = where_positive(self.weight, self.weight, Literal(0.0))
        shifted = ex.broadcast_to(q / safe, q.shape)
        return self._summed(self.functional.define_conjugate_value, shifted, weight)

    def define_dual_gauge(self, q: Expression) -> Expression:
        if self._all_held:
            return Literal(0.0)
        if self._unchanged:
            return self.functional.define_dual_gauge(q)
        if self._scalar and self.held is None:
            found = self.functional.define_dual_gauge(q)
            return found if is_literal(found, 0.0) else ex.safe_divide(found, self.weight)
        scaled = self._released(ex.safe_divide(q, self.weight), 0.0)
        return self.functional.define_dual_gauge(ex.broadcast_to(scaled, q.shape))

    def define_dual_projection(self, q: Expression) -> Expression:
        if self._all_held:
            return q
        if self._unchanged:
            return self.functional.define_dual_projection(q)
        safe = above_zero(self.weight)
        inside = self.weight * self.functional.define_dual_projection(ex.broadcast_to(q / safe, q.shape))
        return ex.broadcast_to(self._released(where_positive(self.weight, inside, Literal(0.0)), q), q.shape)

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        known = self.functional.offers(ability)
        if self._all_held:
            return ability != "prox" or known
        if self._unchanged:
            return known
        sure = positive(self.weight) is YES
        if ability == "conjugate_value":
            closed = sure or (finite_everywhere(self.functional) and self.functional.offers("dual_projection"))
            return known and closed and self._has_conjugate_entries
        if ability == "dual_projection":
            return known and (sure or finite_everywhere(self.functional))
        if ability == "dual_gauge":
            return known and (sure or (self.functional.facts.homogeneity == 1.0 and finite_everywhere(self.functional)))
        return known

    def why_not(self, ability: str) -> str:
        if ability == "gradient" and self.held is not None:
            return "some of its weights are infinite, so that it is infinite next to where it is finite"
        if ability in ("gradient", "prox") or not self.functional.offers(ability):
            return self.functional.why_not(ability)
        if positive(self.weight) is YES:
            return "its conjugate is no sum over entries that could be weighted one by one; give it one weight for all"
        remedy = sign_hint([self.weight], strict=True) or "give positive weights"
        return f"its weight may be zero, where the conjugate is that of the domain alone; {remedy}"

    @property
    def _has_conjugate_entries(self) -> bool:
        if self._scalar and self.held is None:
            return True
        kind = "real" if takes(self.functional, "real") else "complex"
        probe = Input("probe", np.broadcast_shapes(self.weight.shape, getattr(self.held, "shape", ())), kind)
        return entries(self.functional.define_conjugate_value, probe) is not None

    # What is known.

    @property
    def facts(self) -> FunctionalFacts:
        known, sign, held = self.functional.facts, nonnegative(self.weight), self.held is not None
        sure = positive(self.weight) is YES and not held
        return replace(
            known,
            convex=UNKNOWN if sign is not YES else lasting(known.convex, sure),
            smooth=NO if held else lasting(known.smooth, sure),
            smoothness=None if held else self._smoothness(sign),
            strong_convexity=self._modulus(sign),
            quadratic=NO if held else lasting(known.quadratic, sure),
            indicator=known.indicator or self._all_held,
            bounded_below=UNKNOWN if sign is not YES else lasting(known.bounded_below, sure),
        )

    def _smoothness(self, sign: Fact) -> Bound | None:
        bound, size = self.functional.facts.smoothness, self.weight if sign is YES else abs(self.weight)
        if bound is None:
            return None
        return bound.scaled(size) if self._scalar else bound.times(exact(ex.largest(size)))

    def _modulus(self, sign: Fact) -> Expression | None:
        modulus = self.functional.facts.strong_convexity
        return None if modulus is None or sign is not YES else ex.smallest(self.weight) * modulus

    @property
    def vanishes_at_zero_only(self) -> bool:
        """As its functional, where the weight is known to be positive."""
        return positive(self.weight) is YES and self.functional.vanishes_at_zero_only

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its functional, where no weight is infinite."""
        return self.held is None and differentiable(self.functional)

    @property
    def everywhere(self) -> bool:
        return self.held is None and finite_everywhere(self.functional)

    def behind(self, batch: int) -> Functional:
        return Weighted(self.functional.behind(batch), self.weight, self.held)

    def define_conditions(self) -> list[Condition]:
        own = condition(self.weight, False, f"the weight of {self.functional!r} must be nonnegative")
        return own + self.functional.define_conditions()

    def hint(self) -> str:
        return sign_hint([self.weight], strict=False) or self.functional.hint()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.weight, shape, self, "weights")
        check_broadcasts(self.held, shape, self, "weights")
        self.functional.check_shape(shape)

    def text(self, inner: str) -> str:
        if self._scalar and self.held is None:
            return f"{self._factor_text()} * {grouped(self.functional.text(inner))}"
        if self.held is None:
            return f"({self._factor_text()} * functionals.{self.functional!r})({inner})"
        return f"functionals.{self!r}({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        weight = r"\infty" if self._all_held else factor_latex(self.weight, names)
        return rf"{weight} \, {latex_grouped(self.functional.latex(inner, names))}"

    def _factor_text(self) -> str:
        return f"({data_text(self.weight)})" if is_sum(self.weight) else data_text(self.weight)

    def __repr__(self) -> str:
        weight = "inf" if self._all_held else data_text(self.weight)
        return f"Weighted({self.functional!r}, {weight})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        some = rng.uniform(0.1, 2.0, (3, 4))
        some[0, 1], some[2, 3] = 0.0, inf
        low = rng.uniform(-1.0, 0.0, (3, 4))
        return [
            Weighted(Norm1(), 2.0),
            Weighted(Huber(0.7), some),
            Weighted(Norm21(), Parameter(0.6, name="w", nonneg=True)),
            Weighted(SumSquares(), Parameter(rng.uniform(0.1, 2.0, (3, 4)), name="w", positive=True)),
            Weighted(SumSquares(), 0.0),
            Weighted(Indicator(Box(low, low + 1.0)), 0.5),
        ]


def _without_infinities(weight: Any) -> tuple[Expression, Any]:
    """The weight with finite entries in place of infinite ones, and where these are; None where there are none."""
    if isinstance(weight, Literal) and isinstance(weight.value, float):
        weight = weight.value
    split = split_infinite(weight)
    if split is None:
        return real_data(weight, "the weight of a functional"), None
    finite, infinite = split
    return (Literal(1.0), Literal(True)) if infinite.all() else (Constant(finite), Constant(infinite))


def _negative_multiple(functional: Functional, weight: Any) -> Functional | None:
    """``weight * f`` for a weight that is known to be negative, where that is a functional of the same sort."""
    known = not isinstance(weight, (Literal, float)) and split_infinite(weight) is not None
    factor = None if known else real_data(weight, "the weight of a functional")
    if factor is None or nonnegative(factor) is not NO:
        return None
    if isinstance(functional, Weighted) and functional.held is None and functional._scalar:
        return _negative_multiple(functional.functional, factor * functional.weight)
    if isinstance(functional, Linear):
        return Linear(factor * functional.slope)
    if isinstance(functional, SumSquares):
        return SumSquares(factor if functional.weights is None else factor * functional.weights)
    return None


@weighted.register(Functional)
def times_weight(functional: Functional, weight: Any) -> Any:
    """``weight * f`` in its simplest form: weights of weights merge, those per entry go into norms and squares.

    Negative numbers and arrays go into slopes and squares; a parameter is a weight, which is to be nonnegative.

    Raises
    ------
    ParameterError, DtypeError, ShapeError, UnsupportedError
        As for `Weighted`.

    Examples
    --------
    >>> import opalg as oa
    >>> 3.0 * (2.0 * oa.functionals.Norm2())
    Weighted(Norm2(), 6)
    """
    turned = _negative_multiple(functional, weight)
    if turned is not None:
        return turned
    made = Weighted(functional, weight)
    if made.held is None and is_literal(made.weight, 1.0):
        return functional
    if made._all_held:
        return Indicator(Point(0.0))
    if made._scalar and made.held is None and functional.facts.indicator:
        return functional
    if made.held is None and isinstance(functional, Weighted):
        fits = functional.held is None or made._scalar
        return Weighted(functional.functional, made.weight * functional.weight, functional.held) if fits else made
    if made.held is None and not made._scalar and isinstance(functional, (Norm1, SumSquares)):
        weights = made.weight if functional.weights is None else functional.weights * made.weight
        return Norm1(weights) if isinstance(functional, Norm1) else SumSquares(weights)
    return made


__all__ = ["Weighted", "times_weight"]
