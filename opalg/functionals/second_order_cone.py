"""The second-order cone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.facts import YES, Fact
from opalg.functionals.groups import as_axis, behind_batch, check_axes
from opalg.functionals.length import safe_norms
from opalg.functionals.sets import WHOLE, Set
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Join, Literal
from opalg.program.linear import Window


@node
class SecondOrderCone(Set):
    """``{v : |v[1:]|_2 <= v[0]}`` along one axis, for each index of the other axes.

    Parameters
    ----------
    axis : int
        The axis along which the bound stands first and the vector after it; 0 by default. Negative axes count from the
        end, and so are right with batch axes in front, too.

    Raises
    ------
    ShapeError
        For an axis that is not one integer, is out of range or has no entries.
    DtypeError
        For complex arrays.

    Notes
    -----
    With ``v = (s, w)``, the projection is v where ``|w| <= s``, 0 where ``|w| <= -s``, and
    ``(s + |w|) / 2 (1, w / |w|)`` elsewhere (Beck 2017, Example 6.37). The cone is its own dual: the support function
    is 0 on its negative and infinite elsewhere. Norms are taken in units of the largest entry, so that none overflows
    or vanishes.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.SecondOrderCone().project(np.array([1.0, 0.0, 3.0]))
    array([2., 0., 2.])
    """

    axis: int = 0

    def __post_init__(self) -> None:
        axis = as_axis(self.axis, "a second-order cone")
        if isinstance(axis, tuple):
            raise ShapeError(f"a second-order cone lies along one axis, not along {axis}; reshape these into one")
        object.__setattr__(self, "axis", axis)

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        axis = self.axis % v.ndim - v.ndim
        if v.shape[axis] == 1:
            return ex.maximum(v, 0.0)
        bound, vector = _split(v, axis)
        size = safe_norms(vector, (axis,))
        inside = ex.pointwise("less_equal", size, bound)
        height = 0.5 * ex.maximum(bound + size, 0.0)  # 0 in the polar cone, where |w| <= -s
        raised = ex.where(inside, bound, height)
        pulled = vector * ex.where(inside, 1.0, ex.safe_divide(height, size))
        return Join((raised, pulled), axis)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.define_project(v)))

    def define_support(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return -self.define_project(-q)

    @property
    def convex(self) -> Fact:
        return YES

    def behind(self, batch: int) -> Set:
        return SecondOrderCone(behind_batch(self.axis, batch))  # type: ignore[arg-type]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_axes(self.axis, shape, self)
        if shape[self.axis] == 0:
            raise ShapeError(f"{self!r} needs at least the bound along its axis, but was given shape {shape}")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} holds real arrays, but was given a complex one; stack real and imaginary parts")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"{inner} \in \mathcal{{Q}}"

    def __repr__(self) -> str:
        return "second_order_cone" if self.axis == 0 else f"SecondOrderCone(axis={self.axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests, on arrays of shape (3, 4)."""
        return [second_order_cone, SecondOrderCone(axis=-1)]


def _split(v: Expression, axis: int) -> tuple[Expression, Expression]:
    """The first entry along a negative axis, and the others."""
    trailing = v.shape[axis:]
    zeros = (0,) * (len(trailing) - 1)
    first = Window(trailing, (0, *zeros), (1, *trailing[1:]))
    others = Window(trailing, (1, *zeros), trailing)
    return Apply(first, v), Apply(others, v)


second_order_cone = SecondOrderCone()


__all__ = ["SecondOrderCone", "second_order_cone"]
