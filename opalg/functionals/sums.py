"""Sums of functionals, with the prox where a rule is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.functionals.around import differentiable, finite_everywhere, is_literal, safe_prox, safe_value
from opalg.functionals.box_conjugate import Peak, peak_of, simple_box
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import added
from opalg.functionals.exactness import Exactness
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.postcomposed import Postcomposed, plus_constant
from opalg.functionals.scaled import Weighted, times_weight
from opalg.functionals.sets import Set
from opalg.functionals.sum_rules import (
    as_tilted,
    flattened,
    inside_out,
    is_cone,
    is_round,
    merged,
    order_of_proxes,
    scales,
    tilt_of,
)
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.tilted import tilt
from opalg.functionals.weights import Condition
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, add
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


@node
class Sum(Functional):
    """``h(v) = f(v) + g(v)``, with the prox where a rule for it is known.

    Parameters
    ----------
    first, second : Functional
        The summands ``f`` and ``g``, in any order.

    Raises
    ------
    DtypeError
        For what is no functional.

    Notes
    -----
    ``prox_{t h} = prox_{t g}(prox_{t f}(.))`` is known

    - for a convex function ``f`` of each entry and an interval ``g`` for each (Yu 2013, Section 3; Combettes, Pesquet
      2007, Proposition 12), as for `norm1` or `huber` with bounds;
    - for a positively homogeneous ``f`` (a norm, a cone) and ``g`` a multiple of the Euclidean norm (Yu 2013,
      Theorem 4), or of `norm21` where ``f`` is a sum over its groups or smaller ones (Friedman, Hastie, Tibshirani
      2010; Jenatton et al. 2011), as for sparse groups, and nonnegative ones; likewise of Euclidean balls around 0, as
      for a cone and a ball (Bauschke, Bui, Wang 2018, Theorem 7.1).

    A sum of squares or a linear functional as a summand is a tilt (see `Tilted`). Where no rule is known there is no
    prox, and the compiler splits the energy.

    Where ``h`` is positively homogeneous, ``h*`` is 0 on its domain, onto which ``q - prox_h(q)`` projects (Moreau
    1965); for a positively homogeneous ``f`` within a ball, ``h*(q)`` is the support function of the ball at
    ``prox_f(q)``. The conjugates of `norm1` and `huber` with bounds are known entry by entry.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1() + oa.functionals.Indicator(oa.nonneg)
    >>> f
    Sum(Norm1(), Indicator(nonneg))
    >>> f.prox(np.array([3.0, 0.5, -2.0]), 1.0).tolist()
    [2.0, 0.0, 0.0]
    """

    first: Functional
    second: Functional

    def __post_init__(self) -> None:
        for part in self.summands:
            if not isinstance(part, Functional):
                raise DtypeError(f"Sum needs functionals such as Norm1(), not {type(part).__name__}")

    @property
    def summands(self) -> tuple[Functional, Functional]:
        """The two functionals."""
        return self.first, self.second

    @property
    def squares(self) -> bool:  # type: ignore[override]
        """Whether formulas of a summand square entries."""
        return self.first.squares or self.second.squares

    @property
    def everywhere(self) -> bool:
        """Whether it is known to be finite at every array."""
        return all(finite_everywhere(f) for f in self.summands)

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """Whether both summands are differentiable, at least inside a domain."""
        return all(differentiable(f) for f in self.summands)

    @cached_property
    def _tilted(self) -> Functional | None:
        return as_tilted(*self.summands)

    @cached_property
    def _order(self) -> tuple[Functional, Functional] | None:
        return order_of_proxes(*self.summands)

    @cached_property
    def _peak(self) -> Peak | None:
        """What is known of one summand within the box that the other is the indicator of."""
        for inner, outer in (self.summands, self.summands[::-1]):
            if isinstance(outer, Indicator) and simple_box(outer.set):
                return peak_of(inner)
        return None

    @property
    def _box(self) -> Box:
        found = next(f for f in self.summands if isinstance(f, Indicator) and isinstance(f.set, Box))
        return found.set  # type: ignore[return-value]

    @property
    def _gauge_like(self) -> bool:
        """Whether it is positively homogeneous, and its prox is known."""
        return scales(self) and self._order is not None

    @cached_property
    def _within_ball(self) -> bool:
        """Whether it is a positively homogeneous functional within a ball around 0."""
        return self._order is not None and is_round(self._order[1]) and scales(self._order[0])

    # What it does.

    def define_value(self, v: Expression) -> Expression:
        first, second = (f.define_value(v) if scales(self) else safe_value(f, v) for f in self.summands)
        return first + second

    def define_violation(self, v: Expression) -> Expression:
        first, second = (f.define_violation(v) for f in self.summands)
        if is_literal(first, 0.0) or is_literal(second, 0.0):
            return second if is_literal(first, 0.0) else first
        return ex.maximum(first, second)

    def define_gradient(self, v: Expression) -> Expression:
        return self.first.define_gradient(v) + self.second.define_gradient(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self.first.define_hessian_product(v, d) + self.second.define_hessian_product(v, d)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        found = [f.define_hessian_operator(shape, kind) for f in self.summands]
        return None if found[0] is None or found[1] is None else add(found[0], found[1])

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if self._tilted is not None:
            return self._tilted.define_prox(v, t)
        assert self._order is not None
        for f in self._order:
            v = f.define_prox(v, t) if scales(self) else safe_prox(f, v, t)
        return v

    # Its conjugate.

    def define_conjugate_value(self, q: Expression) -> Expression:
        if self._tilted is not None:
            return self._tilted.define_conjugate_value(q)
        if self._peak is None:
            return self._conjugate_of_gauge(q)
        best = self._peak.argmax(q, self._box)
        return ex.inner(q, best) - self.define_value(best)

    def _conjugate_of_gauge(self, q: Expression) -> Expression:
        """Of a positively homogeneous functional; within a ball of radius r, ``r |prox_f(q)|``, its support there."""
        assert self._order is not None
        if not self._within_ball:
            return Literal(0.0)
        inner, ball = self._order
        return ball.define_conjugate_value(inner.define_prox(q, Literal(1.0)))

    def define_dual_gauge(self, q: Expression) -> Expression:
        if self._tilted is not None:
            return self._tilted.define_dual_gauge(q)
        return Literal(0.0) if self._peak is None else self._peak.gauge(q, self._box)

    def dual_gauge_bound(self, q: Expression) -> Expression | None:
        """The gauge; of homogeneous summands ``1 + g(q - P q)``, with the projection P and the gauge g of one of them.

        Gauges are subadditive, that at ``P q`` is at most 1, and the domain contains that of each summand's conjugate.
        """
        if self.offers("dual_gauge") or not self._gauge_like or self.facts.bounded_below is not YES:
            return super().dual_gauge_bound(q)
        beyond = self.define_prox(q, Literal(1.0))
        gauges = [f.define_dual_gauge(beyond) for f in self._flat if f.offers("dual_gauge")]
        return 1.0 + reduce(ex.minimum, gauges) if gauges else None

    def define_dual_projection(self, q: Expression) -> Expression:
        if self._tilted is not None:
            return self._tilted.define_dual_projection(q)
        if self._peak is not None:
            return self._peak.projection(q, self._box)
        return q if self._within_ball else q - self.define_prox(q, Literal(1.0))

    def offers(self, ability: str) -> bool:
        if ability == "gradient":
            return super().offers(ability)
        if self._tilted is not None:
            return self._tilted.offers(ability)
        if ability == "prox":
            return self._order is not None
        if (self._peak is not None or self._within_ball) and self._order is not None:
            return True
        return ability != "dual_gauge" and self._gauge_like and not self.facts.indicator

    def why_not(self, ability: str) -> str:
        if ability == "prox":
            missing = next((f for f in self.summands if not f.offers("prox")), None)
            if missing is not None:
                return f"{missing!r} has none; {missing.why_not('prox')}".rstrip("; ")
            return "no rule for the prox of this sum is known; write one term for each, f(x) + g(x), which are split"
        if ability == "gradient":
            rough = next((f for f in self.summands if f.facts.smooth is not YES), self)
            return f"{rough!r} is not known to be differentiable"
        return "the conjugate of a sum is known for few sums only; write one term for each, f(x) + g(x)"

    # What is known.

    @property
    def facts(self) -> FunctionalFacts:
        f, g = (part.facts for part in self.summands)
        return FunctionalFacts(
            convex=_if_both(f.convex, g.convex),
            smooth=_unless_one(f.smooth, g.smooth),
            smoothness=self._smoothness(f.smoothness, g.smoothness),
            strong_convexity=self._modulus(f, g),
            quadratic=_unless_one(f.quadratic, g.quadratic),
            separable=_if_both(f.separable, g.separable),
            indicator=f.indicator and g.indicator,
            bounded_below=self._bounded_below(f, g),
            homogeneity=self._degree(f.homogeneity, g.homogeneity),
            phase_invariant=_if_both(f.phase_invariant, g.phase_invariant),
            has_value=f.has_value & g.has_value,
        )

    def _smoothness(self, a: Bound | None, b: Bound | None) -> Bound | None:
        if self._tilted is not None and self._tilted.facts.smoothness is not None:
            return self._tilted.facts.smoothness
        return None if a is None or b is None else a.plus(b)

    def _modulus(self, f: FunctionalFacts, g: FunctionalFacts) -> Expression | None:
        if not (f.convex is YES and g.convex is YES):
            return None
        if f.strong_convexity is None or g.strong_convexity is None:
            return f.strong_convexity if g.strong_convexity is None else g.strong_convexity
        return f.strong_convexity + g.strong_convexity

    def _bounded_below(self, f: FunctionalFacts, g: FunctionalFacts) -> Fact:
        if f.bounded_below is YES and g.bounded_below is YES:
            return YES
        return UNKNOWN if self._tilted is None else self._tilted.facts.bounded_below

    def _degree(self, a: float | None, b: float | None) -> float | None:
        cones = [is_cone(f) for f in self.summands]
        if all(cones):
            return 1.0
        degrees = {d for d, cone in zip((a, b), cones, strict=True) if not cone}
        return degrees.pop() if len(degrees) == 1 else None

    @property
    def exactness(self) -> Exactness | None:
        if not self.offers("prox"):
            return None
        if self._tilted is not None:
            return self._tilted.exactness
        found = Exactness.SUM_RULE
        for f in self.summands:
            assert f.exactness is not None
            found = found.after(f.exactness)
        return found

    def behind(self, batch: int) -> Functional:
        return Sum(self.first.behind(batch), self.second.behind(batch))

    def define_conditions(self) -> list[Condition]:
        return self.first.define_conditions() + self.second.define_conditions()

    def hint(self) -> str:
        return self.first.hint() or self.second.hint()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        for f in self.summands:
            f.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        for f in self.summands:
            f.check_kind(kind)

    def text(self, inner: str) -> str:
        return f"({' + '.join(part.text(inner) for part in self._flat)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\left({' + '.join(part.latex(inner, names) for part in self._flat)}\right)"

    @property
    def _flat(self) -> list[Functional]:
        return [p for f in self.summands for p in (f._flat if isinstance(f, Sum) else [f])]

    def __repr__(self) -> str:
        return f"Sum({self.first!r}, {self.second!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        low = rng.uniform(-1.0, 0.0, (3, 4))
        weight = Parameter(0.6, name="w", positive=True)
        return [
            Sum(Norm1(rng.uniform(0.1, 1.0, (3, 4))), Indicator(nonneg)),
            Sum(Indicator(Box(low, low + 0.7)), Weighted(Huber(0.4), weight)),
            Sum(Weighted(Norm21(), 0.5), Norm1(rng.uniform(0.1, 0.6, (4,)))),
            Sum(Weighted(Norm2(), weight), Indicator(Box(None, 0.0))),
            Sum(Norm2(), Weighted(Norm21(axis=-1), Parameter(0.3, name="u", nonneg=True))),
            Sum(Huber(0.7), Huber(Parameter(1.4, name="delta", positive=True))),
        ]


def _if_both(a: Fact, b: Fact) -> Fact:
    """Yes where both say so; what one denies the other may mend."""
    return YES if a is YES and b is YES else UNKNOWN


def _unless_one(a: Fact, b: Fact) -> Fact:
    """As `_if_both`, and no where one says yes and the other no, as of smooth functions and kinks."""
    return NO if {a, b} == {YES, NO} else _if_both(a, b)


@added.register(Functional)
def sum_of_functionals(f: Functional, g: Any) -> Any:
    """``f + g`` in the form that offers most: equal summands merge, boxes intersect, squares and slopes become a tilt.

    Parameters
    ----------
    f : Functional
        The first summand.
    g : Functional or number
        The second one; a number changes the value only.

    Raises
    ------
    DtypeError
        For anything else, such as a set, of which the indicator is a functional.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.functionals.Norm1() + 2.0 * oa.functionals.Norm1()
    Weighted(Norm1(), 3)
    >>> oa.functionals.Norm1() + oa.functionals.SumSquares()
    Tilted(Norm1(), 0, 2)
    """
    if isinstance(g, Set):
        raise DtypeError(f"{g!r} is a set, no functional; add its indicator, {f!r} + oa.functionals.Indicator({g!r})")
    if not isinstance(g, Functional):
        return plus_constant(f, g)
    constant: Expression = Literal(0.0)
    parts: list[Functional] = []
    for part in (f, g):
        inner, number = _without_constant(part)
        constant = constant + number
        parts += flattened(inner, Literal(1.0))
    found = _assembled(merged(parts))
    return found if is_literal(constant, 0.0) else plus_constant(found, constant)


def _without_constant(part: Functional) -> tuple[Functional, Expression]:
    if isinstance(part, Postcomposed):
        return times_weight(part.functional, part.factor), part.constant
    return part, Literal(0.0)


def _assembled(parts: list[Functional]) -> Functional:
    """The sum of summands, the tilts outermost."""
    bases = [p for p in parts if tilt_of(p, Norm1()) is None]
    tilts = [p for p in parts if p not in bases]
    if not bases:
        squares = next((p for p in tilts if tilt_of(p, Norm2()) and isinstance(p, (SumSquares, Weighted))), tilts[0])
        bases = [squares]
        tilts = [p for p in tilts if p is not squares]
    found = reduce(Sum, inside_out(bases))
    for part in tilts:
        both = tilt_of(part, found)
        found = Sum(found, part) if both is None else tilt(found, *both)
    return found


__all__ = ["Sum", "sum_of_functionals"]
