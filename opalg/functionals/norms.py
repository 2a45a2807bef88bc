"""Norms: the sum of magnitudes, the Euclidean norm, and the sum of group norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import Functional, FunctionalFacts, group_axes
from opalg.functionals.weights import (
    Condition,
    Data,
    check_broadcasts,
    condition,
    nonnegative,
    positive,
    real_data,
    sign_hint,
    weights_of,
)
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce
from opalg.program.notation import data_latex, data_text


def clip_magnitude(v: Expression, radius: Expression) -> Expression:
    """The entries of v, those of magnitude above ``radius >= 0`` moved to it along their phase."""
    if v.kind != "complex":
        return ex.maximum(ex.minimum(v, radius), -radius)
    return v * ex.safe_divide(radius, ex.maximum(abs(v), radius))


@node
class Norm1(Functional):
    """``f(v) = sum_i w_i |v_i|``, with magnitudes where v is complex.

    Parameters
    ----------
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0`` that broadcast to v; 1 where not given.

    Raises
    ------
    DtypeError
        For complex weights.

    Notes
    -----
    The prox is the soft threshold ``v - clip(v, -t w, t w)`` (Donoho 1995; Beck 2017, Example 6.8). ``f*`` is zero
    where ``|q_i| <= w_i``, and infinite elsewhere.
    """

    weights: Data = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", real_data(self.weights, "the weights of Norm1"))

    @property
    def _weights(self) -> Expression:
        weights: Expression = Literal(1.0) if self.weights is None else self.weights
        return weights

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._weights * abs(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v - clip_magnitude(v, t * self._weights)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(abs(q) if self.weights is None else ex.safe_divide(abs(q), self.weights))

    def define_dual_projection(self, q: Expression) -> Expression:
        return clip_magnitude(q, self._weights)

    def offers(self, ability: str) -> bool:
        return nonnegative(self._weights) is not NO and super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        w = self._weights
        smooth = NO if positive(w) is YES else UNKNOWN
        convex = nonnegative(w)
        return FunctionalFacts(
            convex=convex,
            smooth=smooth,
            quadratic=smooth,
            separable=YES,
            bounded_below=convex,
            homogeneity=1.0,
            phase_invariant=YES,
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self._weights, False, "the weights of norm1 must be nonnegative")

    def hint(self) -> str:
        return sign_hint([self._weights], strict=False)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.weights, shape, self, "weights")

    def text(self, inner: str) -> str:
        return f"norm1({inner})" if self.weights is None else f"norm1({inner}, weights={data_text(self.weights)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        subscript = "1" if self.weights is None else f"{{1,{data_latex(self.weights, names)}}}"
        return rf"\left\|{inner}\right\|_{subscript}"

    def __repr__(self) -> str:
        return "Norm1()" if self.weights is None else f"Norm1(weights={self.weights!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        some = rng.uniform(0.1, 2.0, (3, 4))
        some[0, 1] = 0.0
        return [
            Norm1(),
            Norm1(rng.uniform(0.1, 2.0, (3, 1))),
            Norm1(some),
            Norm1(Parameter(rng.uniform(0.1, 2.0, (3, 4)), name="w", nonneg=True)),
        ]


def _shrink(v: Expression, norms: Expression, t: Expression) -> Expression:
    """Groups shortened by t, and zero where they are shorter (exact at zero, and at t = 0)."""
    return v * (1.0 - ex.safe_divide(t, ex.maximum(norms, t)))


def group_norms(v: Expression, axes: tuple[int, ...] | None) -> Expression:
    """The Euclidean norm over some axes, which stay with one entry; over all as a scalar for None."""
    if axes is None:
        return ex.sqrt(ex.norm_squared(v))
    return ex.sqrt(Reduce("sum", ex.square_abs(v), axes, keepdims=True))


@node
class Norm2(Functional):
    """``f(v) = sqrt(sum_i |v_i|^2)``: the Euclidean norm of the whole array.

    Notes
    -----
    ``prox: v (1 - t / max(|v|, t))``; ``f*`` is zero on the unit ball, and infinite elsewhere (Beck 2017,
    Example 6.19).
    """

    squares = True

    def define_value(self, v: Expression) -> Expression:
        return ex.sqrt(ex.norm_squared(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return _shrink(v, group_norms(v, group_axes(v, t)), t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.define_value(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q / ex.maximum(self.define_value(q), 1.0)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, bounded_below=YES, homogeneity=1.0, phase_invariant=YES
        )

    def text(self, inner: str) -> str:
        return f"norm2({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\left\|{inner}\right\|_2"

    def __repr__(self) -> str:
        return "Norm2()"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """The one member, for the property tests."""
        return [Norm2()]


@node
class Norm21(Functional):
    """``f(v) = sum_g |v_g|_2``: the sum of the Euclidean norms of groups.

    Parameters
    ----------
    axis : int or tuple of int
        The axes that run inside a group; 0 by default, the axis on which `Gradient` puts its components. Negative
        axes count from the end, and so are right with batch axes in front, too.

    Raises
    ------
    ShapeError
        Where an axis is not an integer, or, once the argument is known, is out of its range or named twice.

    Notes
    -----
    The prox shrinks each group as that of `Norm2` (Yuan, Lin 2006); ``f*`` is zero where every ``|q_g| <= 1``.
    """

    axis: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        given = self.axis if isinstance(self.axis, (tuple, list)) else (self.axis,)
        if not given or any(isinstance(a, bool) or not isinstance(a, (int, np.integer)) for a in given):
            raise ShapeError(f"the axis of Norm21 must be an integer or a tuple of integers, not {self.axis!r}")
        object.__setattr__(self, "axis", tuple(int(a) for a in given) if len(given) > 1 else int(given[0]))

    squares = True

    @property
    def _axes(self) -> tuple[int, ...]:
        return self.axis if isinstance(self.axis, tuple) else (self.axis,)

    def behind(self, batch: int) -> Functional:
        return Norm21(tuple(a if a < 0 else a + batch for a in self._axes))

    def _norms(self, v: Expression) -> Expression:
        return group_norms(v, group_axes(v, Literal(0.0), self._axes))

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._norms(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return _shrink(v, self._norms(v), t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(self._norms(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return q / ex.maximum(self._norms(q), 1.0)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, bounded_below=YES, homogeneity=1.0, phase_invariant=YES
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        inside = all(-len(shape) <= a < len(shape) for a in self._axes)
        if not inside or len({a % len(shape) for a in self._axes}) < len(self._axes):
            raise ShapeError(
                f"{self!r} was given an argument of shape {shape}; its axes must be distinct and lie between "
                f"{-len(shape)} and {len(shape) - 1}"
            )

    def text(self, inner: str) -> str:
        return f"norm21({inner})" if self.axis == 0 else f"norm21({inner}, axis={self.axis})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\left\|{inner}\right\|_{{2,1}}"

    def __repr__(self) -> str:
        return f"Norm21(axis={self.axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests, on arrays of shape (3, 4)."""
        return [Norm21(), Norm21(axis=-1), Norm21(axis=(0, 1))]


def norm1(e: Any, weights: Any = None) -> Any:
    """The sum of magnitudes, ``sum_i w_i |e_i|``, with nonnegative weights, one per entry."""
    return Norm1(weights_of(weights, e))(e)


def norm2(e: Any) -> Any:
    """The Euclidean norm (not squared) of all entries."""
    return Norm2()(e)


def norm21(e: Any, axis: int | tuple[int, ...] = 0) -> Any:
    """The sum of 2-norms taken over one axis or several; of a gradient, isotropic total variation.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    axis : int or tuple of int
        The axes that run inside a group. They count the axes of what the operators in ``e`` give, without batch axes
        in front of those; negative axes count from the end and may reach batch axes, such as the colours of a picture
        for vectorial total variation, ``axis=(-4, -3)`` of differences of shape ``(3, 2, h, w)``.
    """
    return Norm21(axis)(e)


__all__ = ["Norm1", "Norm2", "Norm21", "clip_magnitude", "group_norms", "norm1", "norm2", "norm21"]
