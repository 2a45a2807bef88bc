"""The indicator of a set: zero inside, infinite outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.sets import SET_ABILITIES, Set
from opalg.functionals.weights import Condition
from opalg.nodes import node
from opalg.program.expression import Expression, Literal


@node
class Indicator(Functional):
    """``f(v) = 0`` for v in a set, else infinity.

    Parameters
    ----------
    set : Set
        What v has to lie in.

    Notes
    -----
    The prox is the projection whatever t, ``f*`` is the support function (Beck 2017, Theorem 6.24 and Example 4.2).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Indicator(oa.box(0.0, 1.0))
    >>> f.value(np.array([0.5, 1.0])), f.value(np.array([0.5, 2.0]))
    (0.0, inf)
    >>> f.prox(np.array([0.5, 2.0]), 10.0)
    array([0.5, 1. ])
    """

    set: Set

    def __post_init__(self) -> None:
        if not isinstance(self.set, Set):
            raise DtypeError(f"Indicator needs a set such as nonneg or box(0, 1), not {type(self.set).__name__}")

    def define_value(self, v: Expression) -> Expression:
        return Literal(0.0)

    def define_violation(self, v: Expression) -> Expression:
        return self.set.define_violation(v)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return self.set.define_project(v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.set.define_support(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.set.define_dual_gauge(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.set.define_dual_projection(q)

    def offers(self, ability: str) -> bool:
        of_the_set = {"conjugate_value": "support"}.get(ability, ability)
        return self.set.offers(of_the_set) if of_the_set in SET_ABILITIES else super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=self.set.convex,
            smooth=NO,
            quadratic=NO,
            separable=self.set.separable,
            indicator=True,
            bounded_below=YES,
        )

    @property
    def exactness(self) -> Exactness | None:
        return self.set.exactness

    def behind(self, batch: int) -> Functional:
        return Indicator(self.set.behind(batch))

    def define_conditions(self) -> list[Condition]:
        return self.set.define_conditions()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.set.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.set.check_kind(kind)

    def text(self, inner: str) -> str:
        return f"indicator({self.set.text(inner)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\iota_{{{self.set.latex(inner, names)}}}"

    def __repr__(self) -> str:
        return f"Indicator({self.set!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Indicators of some sets for the property tests, on arrays of shape (3, 4)."""
        return [Indicator(s) for family in _families(Set) for s in family.examples(rng)]


def _families(base: type[Set]) -> list[Any]:
    """Every class of sets that has examples, by name."""
    found: set[Any] = set()
    for child in base.__subclasses__():
        found |= {c for c in [child, *_families(child)] if hasattr(c, "examples")}
    return sorted(found, key=lambda c: c.__qualname__)
