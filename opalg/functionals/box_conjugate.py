"""The conjugate of a function of each entry within bounds, where the function has a largest slope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opalg.functionals.around import above_zero
from opalg.functionals.bounds import is_partial
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional
from opalg.functionals.huber import Huber
from opalg.functionals.norms import Norm1
from opalg.functionals.scaled import Weighted
from opalg.functionals.sets import Set
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


@dataclass(frozen=True)
class Peak:
    """Where ``q v - f(v)`` is largest, entry by entry, for a convex even f whose slope is at most ``slope``.

    Attributes
    ----------
    slope : Expression
        The largest slope of f.
    inside : callable
        Where it is largest for q between ``-slope`` and ``slope``.

    Notes
    -----
    It is concave in v, so that within bounds it is largest at the point that is nearest to where it is largest; for q
    beyond the slopes that is a bound. Without one, the conjugate is infinite there.
    """

    slope: Expression
    inside: Callable[[Expression], Expression]

    def argmax(self, q: Expression, box: Box) -> Expression:
        """Where it is largest within a box."""
        best = self.inside(q)
        if box.upper is not None:
            best = ex.where(ex.pointwise("greater", q, self.slope), box.upper, best)
        if box.lower is not None:
            best = ex.where(ex.pointwise("less", q, -self.slope), box.lower, best)
        return box.define_project(ex.broadcast_to(best, q.shape))

    def projection(self, q: Expression, box: Box) -> Expression:
        """The nearest point at which the conjugate is finite."""
        low = q if box.lower is not None else ex.maximum(q, -self.slope)
        return low if box.upper is not None else ex.minimum(low, self.slope)

    def gauge(self, q: Expression, box: Box) -> Expression:
        """The gauge of where it is finite."""
        if box.lower is not None and box.upper is not None:
            return Literal(0.0)
        size = ex.maximum(q, 0.0) if box.lower is not None else ex.maximum(-q, 0.0)
        return ex.largest(ex.broadcast_to(ex.safe_divide(size, self.slope), q.shape))


def peak_of(f: Functional) -> Peak | None:
    """What is known of a norm or Huber function, with weights; None for others."""
    if isinstance(f, Norm1):
        slope = Literal(1.0) if f.weights is None else f.weights
        return Peak(slope, lambda q: ex.broadcast_to(Literal(0.0), q.shape))
    if isinstance(f, Huber):
        return Peak(f.delta, lambda q: q)
    if isinstance(f, Weighted) and f.held is None:
        below = peak_of(f.functional)
        if below is not None:
            return Peak(f.weight * below.slope, lambda q: below.inside(q / above_zero(f.weight)))
    return None


def simple_box(found: Set) -> bool:
    """Whether a set is a box of which each bound is finite in all entries or in none."""
    if not isinstance(found, Box):
        return False
    return all(end is None or not is_partial(end) for end in (found.lower, found.upper))


__all__ = ["Peak", "peak_of", "simple_box"]
