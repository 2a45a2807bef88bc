"""The simplex: nonnegative entries of a given sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES, Fact
from opalg.functionals.calculus import group_axes
from opalg.functionals.groups import Axis, as_axis, axes_of, behind_batch, check_axes, on_groups
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.threshold import excess, threshold
from opalg.functionals.weights import Condition, Data, condition, nonnegative, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce
from opalg.program.notation import data_latex, data_text


@node
class Simplex(Set):
    """``{v : v >= 0, sum_i v_i = s}``, of the whole array or of each group.

    Parameters
    ----------
    total : number, Parameter or Expression
        The sum ``s >= 0``; with ``axis`` also one for each group, with one entry along the axes inside a group or
        without these axes.
    axis : int or tuple of int, optional
        The axes that run inside a group, such as 0 for class probabilities of shape ``(classes, height, width)``; the
        whole array is one group where not given.

    Raises
    ------
    ParameterError
        For a negative sum.
    DtypeError
        For a complex sum, and for complex arrays.
    ShapeError
        For an axis that is no integer or out of range, and sums that do not fit the groups.

    Notes
    -----
    The projection is ``max(v - theta, 0)`` with ``sum max(v_i - theta, 0) = s`` (Duchi, Shalev-Shwartz, Singer, Chandra
    2008); no sort is needed to find theta (Michelot 1986; Condat 2016). The support function is ``s max_i q_i``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Simplex().project(np.array([0.6, 0.9, -1.0]))
    array([0.35, 0.65, 0.  ])
    """

    total: Data = 1.0
    axis: Axis | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", real_data(self.total, "the total of a simplex"))
        if nonnegative(self.total) is NO:
            raise ParameterError("the total of a simplex must be at least 0; nonnegative entries have no negative sum")
        if self.axis is not None:
            object.__setattr__(self, "axis", as_axis(self.axis, "a simplex"))

    def _axes(self, v: Expression, t: Expression = WHOLE) -> tuple[int, ...] | None:
        return group_axes(v, t, None if self.axis is None else axes_of(self.axis))

    def _total_for(self, v: Expression, axes: tuple[int, ...] | None) -> Expression:
        return on_groups(self.total, v.shape, axes, self, "a total")

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        axes = self._axes(v, t)
        return excess(v, *threshold(v, self._total_for(v, axes), axes))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.define_project(v)))

    def define_support(self, q: Expression) -> Expression:
        axes = self._axes(q)
        if 0 in q.shape:
            return Literal(0.0)
        if axes is None:
            return self.total * ex.largest(q)
        return ex.total(self._total_for(q, axes) * Reduce("max", q, axes, keepdims=True))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q

    def define_conditions(self) -> list[Condition]:
        return condition(self.total, False, "the total of a simplex must be nonnegative")

    @property
    def convex(self) -> Fact:
        return YES

    def behind(self, batch: int) -> Set:
        return Simplex(self.total, behind_batch(self.axis, batch))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if self.axis is not None:
            check_axes(self.axis, shape, self)
        on_groups(self.total, shape, None if self.axis is None else axes_of(self.axis), self, "a total")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} holds real arrays, but was given a complex one; constrain its real part")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"{inner} \in \Delta_{{{data_latex(self.total, names)}}}"

    def __repr__(self) -> str:
        axis = "" if self.axis is None else f", axis={self.axis}"
        return f"simplex({data_text(self.total)}{axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Simplex(),
            Simplex(rng.uniform(0.5, 2.0, (4,)), axis=0),
            Simplex(Parameter(0.8, name="total", nonneg=True), axis=-1),
        ]


def simplex(total: Any = 1.0, axis: int | tuple[int, ...] | None = None) -> Simplex:
    """The set ``v_i >= 0, sum_i v_i = total``, of the whole array or of each group; see `functionals.Simplex`.

    Parameters
    ----------
    total : number, array, Parameter or Expression
        The nonnegative sum; with ``axis``, one for all groups or one for each.
    axis : int or tuple of int, optional
        The axes that run inside a group; by default the array is one group, without its batch axes.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; ``oa.indicator(oa.simplex(axis=0), e)`` makes a term of it.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.simplex().project(np.array([0.9, 0.5, -1.0])).round(6) + 0.0
    array([0.7, 0.3, 0. ])
    >>> oa.simplex(axis=0).project(np.array([[2.0, 0.0], [1.0, 0.0]]))
    array([[1. , 0.5],
           [0. , 0.5]])
    """
    return Simplex(total, axis)


__all__ = ["Simplex", "simplex"]
