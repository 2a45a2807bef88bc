"""The ordered weighted l1 norm."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.ordered_calls import in_falling_order, shrunk
from opalg.functionals.weights import Condition, Data, condition, is_fixed, nonnegative, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.reductions import CumulativeSum
from opalg.program import expression as ex
from opalg.program.expression import Apply, Expression, Literal
from opalg.program.interpreter import number
from opalg.program.linear import Reshaped, Window
from opalg.program.notation import data_latex, data_text


@node
class OrderedNorm1(Functional):
    """``f(v) = sum_i w_i |v|_[i]`` with ``|v|_[1] >= |v|_[2] >= ...``: the larger a magnitude, the larger its weight.

    Parameters
    ----------
    weights : array, Parameter or Expression with one axis
        Real weights ``w_1 >= w_2 >= ... >= 0``, as many as a sample has entries. Where the argument has more, its
        trailing axes of that size are a sample, and the axes in front of them a batch over which the norms add up.

    Raises
    ------
    ParameterError
        For weights that rise, or are negative.
    ShapeError
        For weights that have not one axis, and for arguments none of whose trailing axes have their size.
    DtypeError
        For complex weights.

    Notes
    -----
    Constant weights give a multiple of `Norm1`, the weights ``1, 0, 0, ...`` the largest magnitude, and
    ``w_i = lam + mu (n - i)`` the penalty OSCAR. The prox sorts the magnitudes, takes ``t w`` away, makes what is left
    nonincreasing by isotonic regression and cuts it at zero (Bogdan et al. 2015, Algorithm 3; Zeng, Figueiredo 2014).
    The regression is done by SciPy on the host in ``O(n)``; arrays of other libraries than NumPy are copied there and
    back. ``f*`` is zero where for every k the k largest ``|q|`` sum to at most the first k weights (Bogdan et al. 2015,
    Proposition 1.1). Derivatives average over the pooled blocks, in v, t and the weights.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.OrderedNorm1([3.0, 2.0, 1.0])
    >>> f.value(np.array([1.0, -5.0, 0.0]))
    17.0
    >>> f.prox(np.array([4.0, -5.0, 2.5]), 1.0)
    array([ 2. , -2. ,  1.5])
    """

    weights: Data

    def __post_init__(self) -> None:
        weights = real_data(self.weights, "the weights of OrderedNorm1")
        if weights.shape == ():
            weights = ex.broadcast_to(weights, (1,))
        if weights.ndim != 1 or weights.shape[0] == 0:
            raise ShapeError(
                f"the weights of OrderedNorm1 need one axis, from the weight of the largest magnitude to that of the "
                f"smallest, not the shape {weights.shape}; for weights per entry use Norm1"
            )
        object.__setattr__(self, "weights", weights)
        rises = is_fixed(weights) and self._count > 1 and number(ex.smallest(self._falls)) < 0
        if rises or nonnegative(weights) is NO:
            raise ParameterError(
                "the weights of OrderedNorm1 must be nonnegative and must not rise, since only these make a norm; "
                "give np.sort(weights)[::-1]"
            )

    @property
    def _count(self) -> int:
        count: int = self.weights.shape[0]
        return count

    @property
    def _falls(self) -> Expression:
        """By how much each weight exceeds the next."""
        n = self._count
        first, second = (Apply(Window((n,), (a,), (a + n - 1,)), self.weights) for a in (0, 1))
        return first - second

    def _rows(self, v: Expression) -> Expression:
        """Magnitudes with the entries of a sample on the last axis."""
        at = _split(v.shape, self._count)
        assert at is not None
        size = abs(v)
        return _seen_as(size, v.shape[at:], (self._count,))

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self.weights * in_falling_order(self._rows(v)))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        at = _split(v.shape, self._count)
        assert at is not None
        if any(n != 1 for n in t.shape[at:]):
            raise ShapeError(f"{self!r} takes one step for each sample, but steps of shape {t.shape} differ inside one")
        step = t if t.shape == () else _seen_as(t, t.shape[at:], (1,))
        rows = self._rows(v)
        size = _seen_as(shrunk(rows, step * self.weights), (self._count,), v.shape[at:])
        if v.kind != "complex":
            return ex.pointwise("sign", v) * size
        length = abs(v)
        return v * (size / ex.where(ex.pointwise("greater", length, 0.0), length, 1.0))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        total = CumulativeSum((self._count,))
        return ex.largest(ex.safe_divide(total.trace(in_falling_order(self._rows(q))), total.trace(self.weights)))

    def define_dual_projection(self, q: Expression) -> Expression:
        return q - self.define_prox(q, Literal(1.0))

    @property
    def facts(self) -> FunctionalFacts:
        # __post_init__ and the conditions refuse weights that rise or are negative, for which f is not defined
        single = self._count == 1
        return FunctionalFacts(
            convex=YES,
            smooth=UNKNOWN,
            separable=YES if single else UNKNOWN,
            bounded_below=YES,
            homogeneity=1.0,
            phase_invariant=YES,
        )

    def define_conditions(self) -> list[Condition]:
        if is_fixed(self.weights):
            return []  # __post_init__ has looked at them
        falls = condition(self._falls, False, "the weights of ordered_norm1 must not rise")
        return condition(self.weights, False, "the weights of ordered_norm1 must be nonnegative") + falls

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if _split(shape, self._count) is None:
            raise ShapeError(
                f"{self!r} has {self._count} weights, but no trailing axes of its argument of shape {shape} have that "
                f"many entries; give it {prod(shape)} weights, one per entry"
            )

    def text(self, inner: str) -> str:
        return f"ordered_norm1({inner}, {data_text(self.weights)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\sum_i {data_latex(self.weights, names)}_i \left|{inner}\right|_{{[i]}}"

    def __repr__(self) -> str:
        return f"OrderedNorm1({self.weights!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        falling = np.linspace(0.9, 0.4, 12) * rng.uniform(0.8, 1.2)
        return [
            OrderedNorm1(falling),
            OrderedNorm1(np.linspace(0.8, 0.0, 12)),
            OrderedNorm1(np.full(12, 0.7)),
            OrderedNorm1(Parameter(np.array([0.9, 0.7, 0.6, 0.5]), name="w")),
        ]


def _split(shape: tuple[int, ...], count: int) -> int | None:
    """The first of the trailing axes that hold that many entries; None where no axes do."""
    if shape == ():
        return 0 if count == 1 else None
    return next((i for i in range(len(shape)) if prod(shape[i:]) == count), None)


def _seen_as(x: Expression, shape: tuple[int, ...], other: tuple[int, ...]) -> Expression:
    return x if shape == other else Apply(Reshaped(shape, other), x)


def ordered_norm1(e: Any, weights: Any) -> Any:
    """The ordered weighted l1 norm, ``sum_i w_i |e|_[i]``, with the largest weight on the largest magnitude.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    weights : array or Parameter
        Nonnegative weights that do not rise, as many as e has entries.

    References
    ----------
    Bogdan, van den Berg, Sabatti, Su, Candes (2015), SLOPE; Zeng, Figueiredo (2014).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((3,), name="x")
    >>> oa.ordered_norm1(x, np.array([3.0, 2.0, 1.0])).value(np.array([1.0, -4.0, 2.0]))
    17.0
    """
    return OrderedNorm1(weights)(e)


__all__ = ["OrderedNorm1", "ordered_norm1"]
