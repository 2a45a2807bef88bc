"""Norms: the sum of magnitudes, the Euclidean norm, and the sum of group norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import Functional, FunctionalFacts, group_axes
from opalg.functionals.groups import Axis, as_axis, axes_of, behind_batch, check_axes, on_groups
from opalg.functionals.pinned import WeightedSum
from opalg.functionals.weights import Condition, Data, condition, nonnegative, positive, weights_of
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce, Shape
from opalg.program.notation import data_latex, data_text


def clip_magnitude(v: Expression, radius: Expression) -> Expression:
    """The entries of v, those of magnitude above ``radius >= 0`` moved to it along their phase."""
    if v.kind != "complex":
        return ex.maximum(ex.minimum(v, radius), -radius)
    return v * ex.safe_divide(radius, ex.maximum(abs(v), radius))


@node
class Norm1(WeightedSum):
    """``f(v) = sum_i w_i |v_i|``, with magnitudes where v is complex.

    Parameters
    ----------
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0`` that broadcast to v; 1 where not given. Entries of an array may be infinite: they hold
        the entry of v at zero (`Pinned`). Without a sign, no prox is offered.

    Raises
    ------
    DtypeError
        For complex weights.
    NonFiniteError
        For NaN, and for a Parameter that is infinite.

    Notes
    -----
    The prox is the soft threshold ``v - clip(v, -t w, t w)`` (Donoho 1995; Beck 2017, Example 6.8). ``f*`` is zero
    where ``|q_i| <= w_i``, and infinite elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1(weights=np.array([1.0, 2.0]))
    >>> f.value(np.array([3.0, -4.0]))
    11.0
    >>> f.prox(np.array([3.0, -4.0]), 1.0)
    array([ 2., -2.])
    >>> f.conjugate.value(np.array([1.0, -2.0])), f.conjugate.value(np.array([1.0, -3.0]))
    (0.0, inf)
    """

    weights: Data = None

    def __post_init__(self) -> None:
        self._take_weights()

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

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it is not differentiable where an entry is 0; use huber(e, delta), or its prox"
        return self._negative()

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

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm2()
    >>> f.value(np.array([3.0, -4.0]))
    5.0
    >>> f.prox(np.array([3.0, -4.0]), 2.5)
    array([ 1.5, -2. ])
    """

    squares = True
    vanishes_at_zero_only = True  # type: ignore[assignment]

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

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it is not differentiable at 0; use sum_squares(e), or its prox"
        return ""

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
class Norm21(WeightedSum):
    """``f(v) = sum_g w_g |v_g|_2``: the weighted sum of the Euclidean norms of groups.

    Parameters
    ----------
    axis : int or tuple of int
        The axes that run inside a group; 0 by default, the axis on which `Gradient` puts its components. Negative
        axes count from the end, and so are right with batch axes in front, too.
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0`` that broadcast to the groups: with one entry along each axis inside a group, or without
        these axes. 1 where not given; infinite entries hold their group at zero (`Pinned`).

    Raises
    ------
    ShapeError
        Where an axis is not an integer, or, once the argument is known, is out of its range or named twice; and where
        weights do not fit the groups.
    DtypeError
        For complex weights.
    NonFiniteError
        For NaN, and for a Parameter that is infinite.

    Notes
    -----
    The prox shrinks each group as that of `Norm2` (Yuan, Lin 2006); ``f*`` is zero where every ``|q_g| <= w_g``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Norm21(axis=0, weights=[1.0, 0.0]).prox(np.array([[3.0, 3.0], [4.0, 4.0]]), 1.0)
    array([[2.4, 3. ],
           [3.2, 4. ]])
    """

    axis: Axis = 0
    weights: Data = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", as_axis(self.axis, "Norm21"))
        self._take_weights()

    squares = True

    def behind(self, batch: int) -> Functional:
        return Norm21(behind_batch(self.axis, batch), self.weights)  # type: ignore[arg-type]

    def spread(self, data: Expression, shape: Shape) -> Expression:
        inside = tuple(a % len(shape) - len(shape) for a in axes_of(self.axis))
        return on_groups(data, shape, inside, self, "weights")

    def _norms(self, v: Expression) -> Expression:
        return group_norms(v, group_axes(v, Literal(0.0), axes_of(self.axis)))

    def _weights_for(self, v: Expression) -> Expression:
        return self.spread(self._weights, v.shape)

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._weights_for(v) * self._norms(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return _shrink(v, self._norms(v), t * self._weights_for(v))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        norms = self._norms(q)
        return ex.largest(norms if self.weights is None else ex.safe_divide(norms, self._weights_for(q)))

    def define_dual_projection(self, q: Expression) -> Expression:
        if self.weights is None:
            return q / ex.maximum(self._norms(q), 1.0)
        w = self._weights_for(q)
        return q * ex.safe_divide(w, ex.maximum(self._norms(q), w))

    def offers(self, ability: str) -> bool:
        return nonnegative(self._weights) is not NO and super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        smooth = NO if positive(self._weights) is YES else UNKNOWN
        convex = nonnegative(self._weights)
        return FunctionalFacts(
            convex=convex, smooth=smooth, quadratic=smooth, bounded_below=convex, homogeneity=1.0, phase_invariant=YES
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self._weights, False, "the weights of norm21 must be nonnegative")

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it is not differentiable where a group is 0; use functionals.HuberNorm21(delta, axis), or its prox"
        return self._negative()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_axes(self.axis, shape, self)
        self.spread(self._weights, shape)

    def text(self, inner: str) -> str:
        axis = "" if self.axis == 0 else f", axis={self.axis}"
        weights = "" if self.weights is None else f", weights={data_text(self.weights)}"
        return f"norm21({inner}{axis}{weights})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        weights = "" if self.weights is None else f",{data_latex(self.weights, names)}"
        return rf"\left\|{inner}\right\|_{{2,1{weights}}}"

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights={self.weights!r}"
        return f"Norm21(axis={self.axis}{weights})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests, on arrays of shape (3, 4)."""
        some = rng.uniform(0.1, 2.0, (4,))
        some[2] = 0.0
        return [
            Norm21(),
            Norm21(axis=-1),
            Norm21(axis=(0, 1)),
            Norm21(axis=0, weights=some),
            Norm21(axis=-1, weights=Parameter(rng.uniform(0.1, 2.0, (3,)), name="w", nonneg=True)),
        ]


def norm1(e: Any, weights: Any = None) -> Any:
    """The sum of magnitudes, ``sum_i w_i |e_i|``.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    weights : array or Parameter, optional
        Nonnegative weights, one per entry; infinite ones hold their entry at 0. 1 where not given.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.norm1(x).value(np.array([3.0, -4.0])), oa.norm1(x, weights=[1.0, 0.5]).value(np.array([3.0, -4.0]))
    (7.0, 5.0)
    >>> oa.minimize(0.5 * oa.sum_squares(x - np.array([3.0, -0.5])) + oa.norm1(x)).x.round(6) + 0.0
    array([2., 0.])
    """
    return Norm1(weights_of(weights, e))(e)


def norm2(e: Any) -> Any:
    """The Euclidean norm (not squared) of all entries, ``sqrt(sum_i |e_i|^2)``.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.norm2(x).value(np.array([3.0, -4.0]))
    5.0
    """
    return Norm2()(e)


def norm21(e: Any, axis: int | tuple[int, ...] = 0, weights: Any = None) -> Any:
    """The sum of 2-norms over one axis or several, ``sum_g w_g |e_g|_2``; of a gradient, isotropic total variation.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    axis : int or tuple of int
        The axes that run inside a group. They count the axes of what the operators in ``e`` give, without batch axes
        in front of those; negative axes count from the end and may reach batch axes, such as the colours of a picture
        for vectorial total variation, ``axis=(-4, -3)`` of differences of shape ``(3, 2, h, w)``.
    weights : array or Parameter, optional
        Nonnegative weights, one per group, with one entry along the axes inside a group or without these axes;
        infinite ones hold their group at 0.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2, 2), name="x")
    >>> oa.norm21(x, axis=0).value(np.array([[3.0, 0.0], [4.0, 1.0]]))
    6.0
    >>> oa.norm21(x, axis=0, weights=[2.0, 1.0]).value(np.array([[3.0, 0.0], [4.0, 1.0]]))
    11.0
    """
    return Norm21(axis, weights)(e)


__all__ = ["Norm1", "Norm2", "Norm21", "clip_magnitude", "group_norms", "norm1", "norm2", "norm21"]
