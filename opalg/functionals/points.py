"""Points: sets of one array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import YES, Fact
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.weights import Data, check_broadcasts, data
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text


@node
class Point(Set):
    """``{b}``: one array.

    Parameters
    ----------
    value : number, array, Parameter or Expression
        The array b, which broadcasts to the argument.

    Notes
    -----
    The projection is b, the support function ``Re <q, b>``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Point(np.array([1.0, 2.0])).project(np.zeros(2))
    array([1., 2.])
    """

    value: Data

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", data(self.value, "the point"))

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        value = self.value + Literal(0j) if v.kind == "complex" else self.value
        return ex.broadcast_to(value, v.shape)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.value))

    def define_support(self, q: Expression) -> Expression:
        return ex.inner(q, ex.broadcast_to(self.value, q.shape))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q

    @property
    def convex(self) -> Fact:
        return YES

    @property
    def separable(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.value, shape, self, "a value")

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.value.kind == "complex":
            raise DtypeError(f"{self!r} is a complex point, but was given a real array")

    def text(self, inner: str) -> str:
        return f"{inner} == {data_text(self.value)}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return f"{inner} = {data_latex(self.value, names)}"

    def __repr__(self) -> str:
        return f"point({data_text(self.value)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [Point(0.0), Point(rng.standard_normal((3, 4)))]


def point(value: Any = 0.0) -> Point:
    """The set ``{b}`` that holds one array; see `functionals.Point`.

    Parameters
    ----------
    value : number, array, Parameter or Expression
        The array b, which broadcasts to the argument.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.point(2.0).project(np.array([1.0, 5.0]))
    array([2., 2.])
    """
    return Point(value)


__all__ = ["Point", "point"]
