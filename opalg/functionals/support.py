"""Support functions of sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import UNKNOWN, YES, Fact
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.distance import checked_set
from opalg.functionals.indicator import Indicator
from opalg.functionals.points import Point
from opalg.functionals.sets import Set
from opalg.functionals.weights import Condition, nonnegative
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


@node
class SupportFunction(Functional):
    """``f(v) = sup_{u in C} Re <u, v>``: the support function of a convex set C.

    Parameters
    ----------
    set : Set
        A convex set ``C`` whose support function is known.

    Raises
    ------
    DtypeError
        For what is no set.
    UnsupportedError
        For a set that is not known to be convex, or has no known support function.

    Notes
    -----
    ``f*`` is the indicator of C, so ``prox: v - t P(v / t)`` with the projection ``P`` onto C (Beck 2017,
    Theorem 6.46). Where C is unbounded, f is finite on a cone only; the prox at ``t = 0`` is the nearest point of it.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.SupportFunction(oa.box(-1.0, 2.0))
    >>> f.value(np.array([3.0, -5.0]))
    11.0
    >>> f.prox(np.array([3.0, -5.0]), 1.0)
    array([ 1., -4.])
    """

    set: Set

    def __post_init__(self) -> None:
        checked_set(self.set, "support_function(e, set)")
        if self.set.convex is not YES:
            raise UnsupportedError(f"support_function needs a convex set, which {self.set!r} is not known to be")
        if not self.set.offers("support"):
            raise UnsupportedError(
                f"no support function of {self.set!r} is known; the indicator of the set is, oa.indicator(set, e)"
            )

    def define_value(self, v: Expression) -> Expression:
        return self.set.define_support(v)

    def define_violation(self, v: Expression) -> Expression:
        if not self.set.offers("dual_projection") or self._finite:
            return Literal(0.0)
        return ex.largest(abs(v - self.set.define_dual_projection(v)))

    def _nearest(self, v: Expression) -> Expression:
        """The nearest point at which it is finite."""
        return self.set.define_dual_projection(v) if self.set.offers("dual_projection") else v

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if isinstance(t, Literal):
            return self._nearest(v) if t.value == 0 else v - t * self.set.define_project(v / t, t)
        moving = ex.pointwise("greater", t, 0.0)
        step = ex.where(moving, t, 1.0)
        return ex.where(moving, v - step * self.set.define_project(v / step, step), self._nearest(v))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.set.define_project(q)

    @property
    def conjugate(self) -> Functional:
        """The indicator of the set."""
        return Indicator(self.set)

    @property
    def _finite(self) -> bool:
        """Whether it is finite everywhere, since the set is bounded."""
        if not self.set.offers("dual_gauge"):
            return False
        gauge = self.set.define_dual_gauge(ex.Input("q", (), "real"))
        return isinstance(gauge, Literal) and gauge.value == 0

    @property
    def everywhere(self) -> bool:
        """Whether it is known to be finite at every array."""
        return self._finite

    @property
    def _lowest_at_zero(self) -> Fact:
        """Whether zero lies in the set, so that the function is nowhere below zero."""
        if not isinstance(self.set, Box):
            return UNKNOWN
        low = YES if self.set.lower is None else nonnegative(-self.set.lower)
        return low & (YES if self.set.upper is None else nonnegative(self.set.upper))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, separable=self.set.separable, bounded_below=self._lowest_at_zero, homogeneity=1.0
        )

    @property
    def exactness(self) -> Exactness | None:
        return self.set.exactness

    def behind(self, batch: int) -> Functional:
        return SupportFunction(self.set.behind(batch))

    def define_conditions(self) -> list[Condition]:
        return self.set.define_conditions()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.set.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.set.check_kind(kind)

    def why_not(self, ability: str) -> str:
        return "a support function has a kink at zero" if ability == "gradient" else ""

    def text(self, inner: str) -> str:
        return f"support_function({inner}, {self.set!r})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\sigma_{{\left\{{u : {self.set.latex('u', names)}\right\}}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"SupportFunction({self.set!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        high = Parameter(rng.uniform(0.5, 1.0, (3, 4)), name="high")
        tilted = Box(rng.uniform(-1.0, 0.0, (4,)), 0.25)
        return [SupportFunction(s) for s in (Box(-0.5, high), tilted, Point(rng.standard_normal((3, 4))))]


def support_function(e: Any, set: Any) -> Any:
    """The support function of a convex set, ``sup_{u in set} Re <u, e>``.

    Parameters
    ----------
    e : affine expression
        Of a shape and kind that the set takes.
    set : Set
        Such as ``oa.box(0, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.support_function(x, oa.box(0.0, 2.0)).value(np.array([3.0, -1.0]))
    6.0
    """
    return SupportFunction(checked_set(set, "support_function(e, set)"))(e)


__all__ = ["SupportFunction", "support_function"]
