"""Balls of the 1-norm, the 2-norm and the maximum norm."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES, Fact
from opalg.functionals.calculus import group_axes
from opalg.functionals.combining import level_set
from opalg.functionals.groups import Axis, as_axis, axes_of, behind_batch, check_axes, on_groups
from opalg.functionals.length import safe_norms
from opalg.functionals.norm_inf import NormInf, onto_ball1
from opalg.functionals.norms import Norm1, Norm2, clip_magnitude
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, data, nonnegative, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce
from opalg.program.notation import data_text


class _Ball(Set):
    """What the balls have in common: a radius, a center, and axes that run inside a group."""

    radius: Data
    center: Data

    def __post_init__(self) -> None:
        name = self._name
        object.__setattr__(self, "radius", real_data(self.radius, f"the radius of {name}"))
        object.__setattr__(self, "center", data(self.center, f"the center of {name}"))
        if isinstance(self.radius, Literal) and self.radius.value == inf:
            raise ParameterError(f"the radius of {name} is infinite, and so is the ball; leave the constraint out")
        if nonnegative(self.radius) is NO:
            raise ParameterError(f"the radius of {name} must be at least 0; a ball of negative radius is empty")
        if self._axis is not None:
            object.__setattr__(self, "axis", as_axis(self._axis, name))

    @property
    def _name(self) -> str:
        """The word that users type."""
        raise NotImplementedError

    @property
    def _axis(self) -> Axis | None:
        return getattr(self, "axis", None)

    def _axes(self, v: Expression, t: Expression = WHOLE) -> tuple[int, ...] | None:
        return group_axes(v, t, None if self._axis is None else axes_of(self._axis))

    def _radius_for(self, v: Expression, axes: tuple[int, ...] | None) -> Expression:
        return on_groups(self.radius, v.shape, axes, self, "a radius")

    @property
    def _is_centered(self) -> bool:
        return isinstance(self.center, Literal) and self.center.value == 0

    def _pulled(self, d: Expression, t: Expression) -> Expression:
        """The nearest point of the ball around 0."""
        raise NotImplementedError

    def _dual_norm(self, q: Expression) -> Expression:
        """``sup Re <q, v>`` over the ball around 0."""
        raise NotImplementedError

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        if self._is_centered:
            return self._pulled(v, t)
        d = v - self.center
        near = self._pulled(d, t)
        return ex.where(ex.pointwise("greater", abs(d - near), 0.0), self.center + near, v)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.define_project(v)))

    def define_support(self, q: Expression) -> Expression:
        found = self._dual_norm(q)
        return found if self._is_centered else found + ex.inner(q, ex.broadcast_to(self.center, q.shape))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q

    def define_conditions(self) -> list[Condition]:
        return condition(self.radius, False, f"the radius of {self._name} must be nonnegative")

    @property
    def convex(self) -> Fact:
        return YES

    def behind(self, batch: int) -> Set:
        return type(self)(self.radius, self.center, behind_batch(self._axis, batch))  # type: ignore[call-arg]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        inside = None
        if self._axis is not None:
            check_axes(self._axis, shape, self)
            inside = axes_of(self._axis)
        on_groups(self.radius, shape, inside, self, "a radius")
        check_broadcasts(self.center, shape, self, "a center")

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.center.kind == "complex":
            raise DtypeError(f"{self!r} has a complex center, but was given a real array")

    def __repr__(self) -> str:
        center = "" if self._is_centered else f", {data_text(self.center)}"
        axis = "" if self._axis is None else f", axis={self._axis}"
        return f"{self._name}({data_text(self.radius)}{center}{axis})"


@node
class Ball1(_Ball):
    """``{v : sum_i |v_i - c_i| <= r}``, in the whole array or in each group.

    Parameters
    ----------
    radius : number, Parameter or Expression
        The radius ``r >= 0``; with ``axis`` also one for each group, with one entry along the axes inside a group or
        without these axes.
    center : number, array, Parameter or Expression
        The center c, which broadcasts to v.
    axis : int or tuple of int, optional
        The axes that run inside a group; the whole array is one group where not given.

    Raises
    ------
    ParameterError
        For a negative or an infinite radius.
    DtypeError
        For a complex radius, and for a complex center with real arrays.
    ShapeError
        For an axis that is no integer or out of range, and data that do not fit the argument.

    Notes
    -----
    The projection takes ``theta`` from each magnitude, no further than to 0, with ``sum max(|d_i| - theta, 0) = r``
    (Duchi, Shalev-Shwartz, Singer, Chandra 2008); no sort is needed to find it (Michelot 1986; Condat 2016). The
    support function is ``r max |q_i| + Re <c, q>``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Ball1(1.0).project(np.array([2.0, -1.5, 0.3]))
    array([ 0.75, -0.25,  0.  ])
    """

    radius: Data = 1.0
    center: Data = 0.0
    axis: Axis | None = None

    @property
    def _name(self) -> str:
        return "ball1"

    def _pulled(self, d: Expression, t: Expression) -> Expression:
        axes = self._axes(d, t)
        return onto_ball1(d, self._radius_for(d, axes), axes)

    def _dual_norm(self, q: Expression) -> Expression:
        axes = self._axes(q)
        if 0 in q.shape:
            return Literal(0.0)
        if axes is None:
            return self.radius * ex.largest(abs(q))
        return ex.total(self._radius_for(q, axes) * Reduce("max", abs(q), axes, keepdims=True))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Ball1(1.5),
            Ball1(Parameter(0.8, name="r", nonneg=True), rng.standard_normal((3, 4))),
            Ball1(rng.uniform(0.3, 2.0, (3,)), axis=-1),
        ]


@node
class Ball2(_Ball):
    """``{v : |v - c|_2 <= r}``, in the whole array or in each group.

    Parameters
    ----------
    radius : number, Parameter or Expression
        The radius ``r >= 0``; with ``axis`` also one for each group, with one entry along the axes inside a group or
        without these axes.
    center : number, array, Parameter or Expression
        The center c, which broadcasts to v.
    axis : int or tuple of int, optional
        The axes that run inside a group; the whole array is one group where not given.

    Raises
    ------
    ParameterError
        For a negative or an infinite radius.
    DtypeError
        For a complex radius, and for a complex center with real arrays.
    ShapeError
        For an axis that is no integer or out of range, and data that do not fit the argument.

    Notes
    -----
    The projection is ``c + r d / max(|d|, r)`` with ``d = v - c`` (Beck 2017, Lemma 6.26). The support function is
    ``r |q|_2 + Re <c, q>``. Norms are taken in units of the largest entry, so that none overflows or vanishes.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Ball2(1.0).project(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """

    radius: Data = 1.0
    center: Data = 0.0
    axis: Axis | None = None

    @property
    def _name(self) -> str:
        return "ball2"

    def _pulled(self, d: Expression, t: Expression) -> Expression:
        axes = self._axes(d, t)
        norms, r = safe_norms(d, axes), self._radius_for(d, axes)
        on_sphere = r * ex.safe_divide(d, ex.maximum(norms, r))
        return ex.where(ex.pointwise("greater", norms, r), on_sphere, d)

    def _dual_norm(self, q: Expression) -> Expression:
        axes = self._axes(q)
        return ex.total(self._radius_for(q, axes) * safe_norms(q, axes))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Ball2(1.5),
            Ball2(Parameter(0.8, name="r", nonneg=True), rng.standard_normal((3, 4))),
            Ball2(rng.uniform(0.3, 2.0, (3,)), axis=-1),
        ]


@node
class BallInf(_Ball):
    """``{v : |v_i - c_i| <= r_i}``, entry by entry; magnitudes where v is complex.

    Parameters
    ----------
    radius : number, array, Parameter or Expression
        The radii ``r >= 0``, which broadcast to v.
    center : number, array, Parameter or Expression
        The center c, which broadcasts to v.

    Raises
    ------
    ParameterError
        For a negative or an infinite radius.
    DtypeError
        For a complex radius, and for a complex center with real arrays.
    ShapeError
        For data that do not broadcast to the argument.

    Notes
    -----
    The projection clips the magnitudes of ``v - c`` (Beck 2017, Lemma 6.26). The support function is
    ``sum_i r_i |q_i| + Re <c, q>``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.BallInf(1.0).project(np.array([3.0, -0.5]))
    array([ 1. , -0.5])
    """

    radius: Data = 1.0
    center: Data = 0.0

    @property
    def _name(self) -> str:
        return "ball_inf"

    def _pulled(self, d: Expression, t: Expression) -> Expression:
        if d.kind != "complex":
            return clip_magnitude(d, self.radius)
        m = abs(d)
        on_circle = self.radius * ex.safe_divide(d, ex.maximum(m, self.radius))
        return ex.where(ex.pointwise("greater", m, self.radius), on_circle, d)

    def _dual_norm(self, q: Expression) -> Expression:
        return ex.total(self.radius * abs(q))

    @property
    def separable(self) -> Fact:
        return YES

    def behind(self, batch: int) -> Set:
        return self

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.radius, shape, self, "a radius")
        check_broadcasts(self.center, shape, self, "a center")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [BallInf(0.7), BallInf(rng.uniform(0.2, 1.5, (3, 4)), Parameter(rng.standard_normal((4,)), name="c"))]


@level_set.register
def _(functional: Norm1, bound: Expression) -> Ball1 | None:
    return Ball1(bound) if functional.weights is None else None


@level_set.register
def _(functional: Norm2, bound: Expression) -> Ball2:
    return Ball2(bound)


@level_set.register
def _(functional: NormInf, bound: Expression) -> BallInf | None:
    return BallInf(bound) if functional.axis is None else None


@level_set.register
def _(functional: SumSquares, bound: Expression) -> Ball2 | None:
    return Ball2(ex.sqrt(bound)) if functional.weights is None else None


def ball1(radius: Any = 1.0, center: Any = 0.0, axis: int | tuple[int, ...] | None = None) -> Ball1:
    """The l1-ball ``sum_i |v_i - c_i| <= r``, of the whole array or of each group; see `functionals.Ball1`.

    Parameters
    ----------
    radius : number, array, Parameter or Expression
        The nonnegative radius r; with ``axis``, one for all groups or one for each.
    center : number, array, Parameter or Expression
        The point c, which broadcasts to the arrays.
    axis : int or tuple of int, optional
        The axes that run inside a group; by default the array is one group, without its batch axes.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; ``oa.indicator(oa.ball1(), e)`` makes a term of it.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.ball1(2.0).project(np.array([3.0, -1.0])) + 0.0
    array([2., 0.])
    >>> x = oa.Variable((2,), name="x")
    >>> oa.minimize(oa.sum_squares(x - np.array([3.0, -1.0])) + oa.indicator(oa.ball1(2.0), x)).x.round(6) + 0.0
    array([2., 0.])
    """
    return Ball1(radius, center, axis)


def ball2(radius: Any = 1.0, center: Any = 0.0, axis: int | tuple[int, ...] | None = None) -> Ball2:
    """The Euclidean ball ``|v - c|_2 <= r``, of the whole array or of each group; see `functionals.Ball2`.

    Parameters
    ----------
    radius : number, array, Parameter or Expression
        The nonnegative radius r; with ``axis``, one for all groups or one for each.
    center : number, array, Parameter or Expression
        The point c, which broadcasts to the arrays.
    axis : int or tuple of int, optional
        The axes that run inside a group; by default the array is one group, without its batch axes.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; ``oa.indicator(oa.ball2(), e)`` makes a term of it.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.ball2(1.0).project(np.array([3.0, 4.0])).round(6)
    array([0.6, 0.8])
    >>> oa.ball2(1.0, axis=0).contains(np.array([[0.6, 1.0], [0.8, 0.0]]))
    True
    """
    return Ball2(radius, center, axis)


def ball_inf(radius: Any = 1.0, center: Any = 0.0) -> BallInf:
    """The box around a point, ``|v_i - c_i| <= r_i``, entry by entry; discs for complex arrays.

    Parameters
    ----------
    radius : number, array, Parameter or Expression
        The nonnegative radius r, for all entries or one for each.
    center : number, array, Parameter or Expression
        The point c, which broadcasts to the arrays.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; see `functionals.BallInf`. For other bounds there is `box`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.ball_inf(1.0).project(np.array([3.0, -0.5, -4.0]))
    array([ 1. , -0.5, -1. ])
    """
    return BallInf(radius, center)


__all__ = ["Ball1", "Ball2", "BallInf", "ball1", "ball2", "ball_inf"]
