"""Sets with a projection: what every set says, and what follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.emit import call
from opalg.errors import ParameterError
from opalg.facts import UNKNOWN, Fact
from opalg.functionals.calculus import Exactness, checked_argument, is_within
from opalg.functionals.weights import Condition
from opalg.nodes import Node
from opalg.program.expression import Expression, Input, Literal

WHOLE = Literal(0.0)  # the step of a projection, whose shape alone matters: one sample
SET_ABILITIES = ("support", "dual_gauge", "dual_projection")


class Set(Node):
    """A closed set of arrays with a projection; ``oa.indicator(set, expression)`` makes an energy of it."""

    __array_ufunc__ = None

    # What a subclass says, in the step language.

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        """The nearest point of the set; the shape of t says what one sample is, as `group_axes` reads it."""
        raise NotImplementedError

    def define_violation(self, v: Expression) -> Expression:
        """How far, in the largest entry, v is from what the set asks; 0 inside."""
        raise NotImplementedError

    def define_support(self, q: Expression) -> Expression:
        """``sup_{v in set} Re <q, v>`` where that is finite."""
        raise NotImplementedError

    def define_dual_gauge(self, q: Expression) -> Expression:
        """The gauge of the support function's domain, as `Functional.define_dual_gauge` says."""
        raise NotImplementedError

    def define_dual_projection(self, q: Expression) -> Expression:
        """The nearest point at which the support function is finite."""
        raise NotImplementedError

    def define_conditions(self) -> list[Condition]:
        """What the data must obey for the set to exist; as `Functional.define_conditions`."""
        return []

    @property
    def exactness(self) -> Exactness:
        """How exactly the projection is known."""
        return Exactness.CLOSED_FORM

    def behind(self, batch: int) -> Set:
        """The same set of arrays with that many batch axes in front: its own axes move to the right."""
        return self

    @property
    def convex(self) -> Fact:
        """Whether the set is convex."""
        return UNKNOWN

    @property
    def separable(self) -> Fact:
        """Whether it constrains each entry by itself."""
        return UNKNOWN

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ShapeError where the set holds no arrays of that shape."""

    def check_kind(self, kind: str) -> None:
        """Raise DtypeError where the set holds no ``"real"`` or ``"complex"`` arrays."""

    def text(self, inner: str) -> str:
        """What says that something lies in the set, in the form that ``oa.indicator`` takes."""
        return f"{self!r}, {inner}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        """What says that something lies in the set, as LaTeX; ``names`` are the symbols of the arrays it holds."""
        return rf"{inner} \in \mathrm{{{type(self).__name__}}}"

    # What follows from it.

    def __call__(self, *arguments: Any) -> Any:
        """Refuse: a set is no function.

        Raises
        ------
        ParameterError
            Always; it says what to type instead.
        """
        raise ParameterError(
            f"{self!r} is a set, not a function; write oa.indicator({self!r}, x) for a term, {self!r}.project(v) for "
            f"the nearest point, {self!r}.contains(v) for an answer"
        )

    def offers(self, ability: str) -> bool:
        """Whether ``"support"``, ``"dual_gauge"`` or ``"dual_projection"`` exists."""
        if ability not in SET_ABILITIES:
            raise ValueError(f"{ability!r} is not an ability of sets; they are {SET_ABILITIES}")
        return getattr(type(self), f"define_{ability}") is not getattr(Set, f"define_{ability}")

    def project(self, v: Any) -> Any:
        """The point of the set that is nearest to an array."""
        v, kind, lib = checked_argument(v, self)
        x = Input("v", tuple(v.shape), kind)
        return call([self.define_project(x)], [x], [v], lib)[0]

    def contains(self, v: Any) -> bool:
        """Whether an array lies in the set, up to the rounding of its largest entry."""
        v, kind, lib = checked_argument(v, self)
        x = Input("v", tuple(v.shape), kind)
        return is_within(call([self.define_violation(x)], [x], [v], lib)[0], v, lib)


__all__ = ["SET_ABILITIES", "WHOLE", "Set"]
