"""Smooth penalties between a square and the magnitude."""

from __future__ import annotations

from opalg.facts import NO, YES, exact
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.norms import clip_magnitude
from opalg.functionals.radial import Radial
from opalg.program import expression as ex
from opalg.program.expression import Expression


class SmoothedMagnitude(Radial):
    """A convex penalty of magnitudes whose slope grows from 0 to 1, quickest at zero: ``phi''(0) = 1 / length``.

    So the Lipschitz constant of the gradient is one over the smallest length, and ``f*`` is finite for ``|q_i| <= 1``.
    """

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(abs(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return clip_magnitude(q, ex.as_expression(1.0))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES,
            smooth=YES,
            smoothness=exact(1.0 / ex.smallest(self.length)),
            quadratic=NO,
            separable=YES,
            bounded_below=YES,
            phase_invariant=YES,
        )


__all__ = ["SmoothedMagnitude"]
