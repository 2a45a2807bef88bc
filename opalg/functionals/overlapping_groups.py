"""Norms of groups of any size, which may overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.expressions import affine_argument, own_shape
from opalg.functionals.weights import Condition, Data, condition, nonnegative, positive, real_data, sign_hint
from opalg.leaves import Indices, Parameter
from opalg.nodes import node
from opalg.operators.positions import positions_within
from opalg.operators.rearrangement import Reshape
from opalg.operators.selection import Gather
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal, Reduce
from opalg.program.linear import Reshaped
from opalg.program.notation import data_latex, data_text


@node
class GroupNorm(Functional):
    """``f(v) = sum_g w_g |v_g|_2`` for the consecutive groups, of any size, that the last axis of v is cut into.

    Parameters
    ----------
    sizes : sequence of int
        How many entries each group has, at least 1; their sum is the length of the last axis.
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0``, one for each group; 1 where not given.

    Raises
    ------
    ParameterError
        Where a size is not a positive integer.
    ShapeError
        For weights of another number than that of the groups, and for arguments of another length.
    DtypeError
        For complex weights.

    Notes
    -----
    `group_norm` gathers the entries of its groups in this order. The prox shrinks each group as that of `Norm2` (Yuan,
    Lin 2006), ``f*`` is zero where every ``|q_g| <= w_g``. Axes in front of the last are a batch, over which the norms
    add up.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.GroupNorm([2, 1], weights=[1.0, 2.0])
    >>> f.value(np.array([3.0, 4.0, -1.0]))
    7.0
    >>> f.prox(np.array([3.0, 4.0, -1.0]), 1.0)
    array([ 2.4,  3.2, -0. ])
    """

    squares = True
    sizes: Any
    weights: Data = None

    def __post_init__(self) -> None:
        sizes = self.sizes if isinstance(self.sizes, Indices) else _as_sizes(self.sizes)
        object.__setattr__(self, "sizes", sizes)
        if self.weights is not None:
            weights = real_data(self.weights, "the weights of GroupNorm")
            if weights.shape not in ((), sizes.shape):
                raise ShapeError(
                    f"GroupNorm has {sizes.shape[0]} groups, but weights of shape {weights.shape}; give one weight for "
                    f"each group, or a number"
                )
            object.__setattr__(self, "weights", weights)

    @property
    def _weights(self) -> Expression:
        weights: Expression = Literal(1.0) if self.weights is None else self.weights
        return weights

    @property
    def _count(self) -> int:
        return len(self.sizes.value)

    @property
    def _length(self) -> int:
        return int(self.sizes.value.sum())

    @property
    def _alike(self) -> bool:
        """Whether all groups have the same size, so that they are the rows of a matrix."""
        return bool(np.all(self.sizes.value == self.sizes.value[0]))

    @property
    def _to_entries(self) -> Gather:
        """From a number for each group to the same number for each of its entries."""
        return Gather((self._count,), Indices(np.repeat(np.arange(self._count), self.sizes.value)))

    def _norms(self, v: Expression) -> Expression:
        squared = ex.square_abs(v)
        if not self._alike:
            return ex.sqrt(self._to_entries.trace_adjoint(squared))
        rows = (self._count, self._length // self._count)
        return ex.sqrt(Reduce("sum", Apply(Reshaped((self._length,), rows), squared), (-1,)))

    def _scaled(self, v: Expression, factors: Expression) -> Expression:
        """Each group times its factor."""
        if not self._alike:
            return v * self._to_entries.trace(factors)
        size = self._length // self._count
        batch = factors.shape[:-1]
        column = Apply(Reshaped((self._count,), (self._count, 1)), factors)
        wide = ex.broadcast_to(column, (*batch, self._count, size))
        return v * Apply(Reshaped((self._count, size), (self._length,)), wide)

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._weights * self._norms(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if t.shape != () and t.shape[-1] != 1:
            raise ShapeError(f"{self!r} takes one step for each sample, but steps of shape {t.shape} differ inside one")
        least = t * self._weights
        return self._scaled(v, 1.0 - ex.safe_divide(least, ex.maximum(self._norms(v), least)))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(ex.safe_divide(self._norms(q), self._weights))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._scaled(q, ex.safe_divide(self._weights, ex.maximum(self._norms(q), self._weights)))

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
        return condition(self._weights, False, "the weights of group_norm must be nonnegative")

    def hint(self) -> str:
        return sign_hint([self._weights], strict=False)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if not shape or shape[-1] != self._length:
            raise ShapeError(
                f"{self!r} cuts {self._length} entries on the last axis into groups, but was given an argument of "
                f"shape {shape}"
            )

    def text(self, inner: str) -> str:
        return f"functionals.{self!r}({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        weight = "" if self.weights is None else f"{data_latex(self.weights, names)}_g "
        return rf"\sum_g {weight}\left\|\left({inner}\right)_g\right\|_2"

    def __repr__(self) -> str:
        sizes = self.sizes.value.tolist()
        shown = sizes if len(sizes) <= 6 else f"<{len(sizes)} sizes>"
        return f"GroupNorm({shown})" if self.weights is None else f"GroupNorm({shown}, {data_text(self.weights)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        weights = Parameter(rng.uniform(0.3, 1.5, 2), name="w", nonneg=True)
        return [GroupNorm([1, 3]), GroupNorm([2, 2], rng.uniform(0.3, 1.5, 2)), GroupNorm([3, 1], weights)]


def _as_sizes(given: Any) -> Indices:
    sizes = np.asarray(given)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or not sizes.size or sizes.min() < 1:
        raise ParameterError(f"the sizes of GroupNorm must be positive integers, one for each group, not {given!r}")
    return Indices(sizes)


def group_norm(e: Any, groups: Iterable[Any], weights: Any = None) -> Any:
    """The weighted sum of the 2-norms of groups of entries, ``sum_g w_g |e_g|_2``; groups may overlap.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    groups : sequence of arrays of int
        The entries of each group, as positions in the flattened expression (without batch axes in front of the axes
        that its operators know). Groups may have different sizes and share entries; entries in none are not penalised.
    weights : array, number or Parameter, optional
        Nonnegative weights, one for each group; the roots of the groups' sizes are usual.

    Raises
    ------
    ShapeError, DtypeError
        Where positions lie outside or are no integers, or weights are not as many as groups.
    ParameterError
        Where there is no group, or an entry comes twice in one.

    Notes
    -----
    The entries of all groups are gathered, one group behind the other, into the argument of a `GroupNorm`: where groups
    overlap, the gathering is what a method splits off (Boyd et al. 2011, Section 6.4.2); where they do not, its rows
    are orthonormal, and the prox is known.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable(4, name="x")
    >>> oa.group_norm(x, [[0, 1, 2], [2, 3]]).value(np.array([1.0, 2.0, 2.0, 0.0]))
    5.0
    """
    affine = affine_argument(e, "group_norm")
    shape = own_shape(affine)
    length = prod(shape)
    found = [_group(g, number, length) for number, g in enumerate(groups)]
    if not found:
        raise ParameterError("group_norm was given no groups; it needs at least one, a list of positions")
    flat = np.concatenate(found)
    vector = affine if shape == (length,) else Reshape(shape, (length,)) @ affine
    gathered = vector if np.array_equal(flat, np.arange(length)) else Gather((length,), flat) @ vector
    return GroupNorm([len(g) for g in found], weights)(gathered)


def _group(given: Any, number: int, length: int) -> np.ndarray:
    positions = positions_within(given, length, f"group {number} of group_norm")
    if positions.value.ndim != 1 or not positions.distinct:
        raise ParameterError(
            f"group {number} of group_norm must name each of its entries once, in a list of positions, not {given!r}"
        )
    return positions.value


__all__ = ["GroupNorm", "group_norm"]
