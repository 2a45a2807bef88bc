"""Which sums of two functionals have a prox, and why."""

from __future__ import annotations

from opalg.facts import YES
from opalg.functionals.around import is_literal, takes
from opalg.functionals.balls import Ball2
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional
from opalg.functionals.groups import axes_of
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.scaled import Weighted, times_weight
from opalg.functionals.second_order_cone import SecondOrderCone
from opalg.functionals.spectral import PSDCone
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.tilted import Tilted, tilt
from opalg.functionals.weights import is_fixed
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.interpreter import number


def parts_of(functional: Functional) -> tuple[Functional, ...]:
    """The summands of a functional that is a sum; itself where it is none."""
    below = getattr(functional, "summands", None)
    return (functional,) if below is None else tuple(below)


def unweighted(functional: Functional) -> tuple[Expression, Functional]:
    """The scalar weight of a functional and what it weighs, one and itself where there is none."""
    if isinstance(functional, Weighted) and functional.weight.shape == () and functional.held is None:
        weight, base = unweighted(functional.functional)
        return functional.weight * weight, base
    return Literal(1.0), functional


def order_of_proxes(f: Functional, g: Functional) -> tuple[Functional, Functional] | None:
    """The summands as (inner, outer) with ``prox_{t (f + g)} = prox_{t outer}(prox_{t inner}(.))``; None if unknown."""
    for inner, outer in ((f, g), (g, f)):
        known = all(h.offers("prox") and h.facts.convex is YES for h in (inner, outer))
        if known and (_interval_last(inner, outer) or _norm_last(inner, outer) or _groups_last(inner, outer)):
            return inner, outer
    return None


def _interval_last(inner: Functional, outer: Functional) -> bool:
    """A convex function of each entry, then the projection onto an interval for each    (Yu 2013, Section 3)

    On complex arrays both must look at magnitudes only.
    """
    of_entries = inner.facts.separable is YES and outer.facts.separable is YES and outer.facts.indicator
    if not of_entries:
        return False
    real = not (takes(inner, "complex") and takes(outer, "complex"))
    return real or (inner.facts.phase_invariant is YES and outer.facts.phase_invariant is YES)


def _norm_last(inner: Functional, outer: Functional) -> bool:
    """A positively homogeneous functional, then the Euclidean norm    (Yu 2013, Theorem 4)

    The subgradients of the former at a point hold at its positive multiples and at zero, too.
    """
    return _shrinks_to_zero(unweighted(outer)[1]) and scales(inner)


def _groups_last(inner: Functional, outer: Functional) -> bool:
    """The same for each group, where the former is a sum over groups inside of those    (Jenatton et al. 2011)"""
    axes = _group_axes(unweighted(outer)[1])
    return axes is not None and scales(inner) and _splits(inner, axes)


def _shrinks_to_zero(base: Functional) -> bool:
    """Whether a functional is a nondecreasing function of the Euclidean norm."""
    return isinstance(base, Norm2) or (is_round(base) and base.set.axis is None)  # type: ignore[attr-defined]


def _group_axes(base: Functional) -> set[int] | None:
    """The axes inside a group of a sum over groups of functions of their Euclidean norms; None for others."""
    if isinstance(base, Norm21):
        return set(axes_of(base.axis))
    return set(axes_of(base.set.axis)) if is_round(base) and base.set.axis is not None else None  # type: ignore[attr-defined]


def is_round(f: Functional) -> bool:
    """Whether a functional is the indicator of a Euclidean ball around 0, or of one for each group."""
    return isinstance(f, Indicator) and isinstance(f.set, Ball2) and is_literal(f.set.center, 0.0)


def scales(f: Functional) -> bool:
    """Whether ``f(c v) = c f(v)`` for all ``c > 0``, as for norms and the indicators of cones."""
    parts = parts_of(f)
    if len(parts) > 1:
        return all(scales(part) for part in parts)
    return f.facts.homogeneity == 1.0 or is_cone(f)


def is_cone(f: Functional) -> bool:
    """Whether a functional is the indicator of a cone."""
    if not f.facts.indicator:
        return False
    if isinstance(f, Indicator) and isinstance(f.set, Box):
        return all(end is None or _is_zero(end) for end in (f.set.lower, f.set.upper))
    if isinstance(f, Indicator) and isinstance(f.set, (SecondOrderCone, PSDCone)):
        return True
    return f.facts.homogeneity is not None


def _is_zero(end: Expression) -> bool:
    return is_literal(end, 0.0) or (is_fixed(end) and 0 not in end.shape and number(ex.largest(abs(end))) == 0.0)


def _splits(f: Functional, axes: set[int]) -> bool:
    """Whether a functional is a sum over groups along some axes, or over smaller ones."""
    parts = parts_of(f)
    if len(parts) > 1:
        return all(_splits(part, axes) for part in parts)
    base = unweighted(f)[1]
    if isinstance(base, Norm21):
        return set(axes_of(base.axis)) <= axes
    if isinstance(base, Indicator) and isinstance(base.set, SecondOrderCone):
        return set(axes_of(base.set.axis)) <= axes
    return f.facts.separable is YES


def as_tilted(f: Functional, g: Functional) -> Functional | None:
    """The sum as one functional plus a linear and a quadratic part; None where neither is such a part."""
    for base, part in ((f, g), (g, f)):
        found = tilt_of(part, base)
        if found is not None:
            return tilt(base, *found)
    return None


def tilt_of(part: Functional, base: Functional) -> tuple[Expression, Expression] | None:
    """The slope and the curvature of a linear functional or sum of squares that fit a base; None for others."""
    if isinstance(part, Weighted) and part.held is not None:
        return None
    weight = part.weight if isinstance(part, Weighted) else Literal(1.0)
    below = part.functional if isinstance(part, Weighted) else part
    if isinstance(below, Linear):
        return weight * below.slope, Literal(0.0)
    if isinstance(below, SumSquares):
        curvature = 2.0 * (weight if below.weights is None else weight * below.weights)
        fits = curvature.shape == () or base.facts.separable is YES
        return (Literal(0.0), curvature) if fits else None
    return None


def merged(parts: list[Functional]) -> list[Functional]:
    """The summands with equal ones added up, and boxes intersected."""
    sums: dict[Functional, Expression] = {}
    others: list[Functional] = []
    for part in parts:
        weight, base = unweighted(part)
        if type(base) is Norm1 and base.weights is not None:
            weight, base = weight * base.weights, Norm1()
        if base.facts.indicator:
            others.append(part)
        else:
            sums[base] = weight if base not in sums else sums[base] + weight
    return [times_weight(base, weight) for base, weight in sums.items()] + _intersected(others)


def _intersected(indicators: list[Functional]) -> list[Functional]:
    kept: list[Functional] = []
    box: Box | None = None
    for f in dict.fromkeys(indicators):
        if isinstance(f, Indicator) and isinstance(f.set, Box):
            box = f.set if box is None else _intersection(box, f.set)
        else:
            kept.append(f)
    return kept if box is None else [*kept, Indicator(box)]


def _intersection(a: Box, b: Box) -> Box:
    lower = b.lower if a.lower is None else a.lower if b.lower is None else ex.maximum(a.lower, b.lower)
    upper = b.upper if a.upper is None else a.upper if b.upper is None else ex.minimum(a.upper, b.upper)
    return Box(lower, upper)


def inside_out(parts: list[Functional]) -> list[Functional]:
    """Summands in the order in which their proxes follow each other: entries, intervals, groups, norms, the rest."""
    return sorted(parts, key=_rank)


def _rank(f: Functional) -> tuple[int, int]:
    base = unweighted(f)[1]
    if f.facts.separable is YES:
        return (1 if f.facts.indicator else 0), 0
    if is_cone(f):
        return 2, 0
    axes = _group_axes(base)
    if axes is not None:
        return 3, len(axes)
    return (4, 0) if _shrinks_to_zero(base) else (5, 0)


def flattened(functional: Functional, weight: Expression) -> list[Functional]:
    """The summands of a weighted functional, tilts among them, as functionals of their own."""
    own, base = unweighted(functional)
    weight = weight * own
    if isinstance(base, Tilted):
        tilts: list[Functional] = [] if is_literal(base.linear, 0.0) else [Linear(base.linear)]
        tilts += [] if is_literal(base.quadratic, 0.0) else [SumSquares(0.5 * base.quadratic)]
        return [p for each in (base.functional, *tilts) for p in flattened(each, weight)]
    parts = parts_of(base)
    if len(parts) > 1:
        return [p for each in parts for p in flattened(each, weight)]
    return [times_weight(base, weight)]


__all__ = [
    "as_tilted",
    "flattened",
    "inside_out",
    "is_cone",
    "is_round",
    "merged",
    "order_of_proxes",
    "parts_of",
    "scales",
    "tilt_of",
    "unweighted",
]
