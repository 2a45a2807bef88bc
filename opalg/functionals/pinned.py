"""Weights of norms and squares: what they have in common, and infinite ones, which hold entries at zero."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import reduce
from math import prod
from typing import Any, ClassVar

import numpy as np

from opalg.facts import NO, YES
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.indicator import Indicator
from opalg.functionals.points import point
from opalg.functionals.weights import (
    Data,
    check_broadcasts,
    nonnegative,
    positive,
    real_data,
    sign_hint,
    split_infinite,
)
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.interpreter import number


class WeightedSum(Functional):
    """A weighted sum over entries or groups of a function that is zero at zero and least there.

    Where some weights are infinite, the constructor gives a `Pinned` with the finite ones; where there is but one
    weight and that is infinite, the indicator of zero. Where a subclass has weights in several fields, it names them.
    """

    weights: Data
    weight_fields: ClassVar[tuple[str, ...]] = ("weights",)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip((f.name for f in dataclasses.fields(cls)), args, strict=False)), **kwargs}  # type: ignore[arg-type]
        splits = {name: split_infinite(given.get(name)) for name in cls.weight_fields}
        split = {name: found for name, found in splits.items() if found is not None}
        if not split:
            return super().__new__(cls)
        if any(prod(where.shape) == 1 for _, where in split.values()):
            return Indicator(point(0.0))
        finite = {name: weights for name, (weights, _) in split.items()}
        where = reduce(np.logical_or, [held for _, held in split.values()])
        return Pinned(cls(**{**given, **finite}), Constant(where))

    def _take_weights(self) -> None:
        """Turn what the user gave into an expression."""
        if self.weights is not None:
            name = f"the weights of {type(self).__name__}"
            object.__setattr__(self, "weights", real_data(self.weights, name))

    @property
    def _weights(self) -> Expression:
        weights: Expression = Literal(1.0) if self.weights is None else self.weights
        return weights

    def spread(self, data: Expression, shape: Shape) -> Expression:
        """Data with an entry for each weight, such that they broadcast to arrays of that shape."""
        return data

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.weights, shape, self, "weights")

    def hint(self) -> str:
        return sign_hint([self._weights], strict=False)

    @property
    def vanishes_at_zero_only(self) -> bool:
        """Whether all weights are known to be positive."""
        return positive(self._weights) is YES

    def _negative(self) -> str:
        """Why nothing is minimised where a weight is negative; empty where none is known to be."""
        if nonnegative(self._weights) is not NO:
            return ""
        lowest = number(ex.smallest(self._weights))
        return f"its smallest weight is {lowest:g}; give nonnegative ones, and write what is subtracted as -c * f(x)"


@node
class Pinned(Functional):
    """``f(v)`` where some entries of v are 0, else infinity: a weighted functional with some infinite weights.

    Parameters
    ----------
    functional : WeightedSum
        What holds for the other entries.
    where : Constant
        True where the weight is infinite; of the shape of the weights.

    Notes
    -----
    A sum over entries (or groups) is minimised entry by entry: the prox is that of f with zeros where the weights are
    infinite. Since f is least at zero, ``f*`` does not depend on these entries.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm1(weights=[1.0, 0.0, np.inf])
    >>> isinstance(f, oa.functionals.Pinned)
    True
    >>> f.prox(np.array([3.0, 3.0, 3.0]), 1.0)
    array([2., 3., 0.])
    """

    functional: Any
    where: Constant

    def _pinned(self, v: Expression) -> Expression:
        return self.functional.spread(self.where, v.shape)

    def _free(self, v: Expression) -> Expression:
        """v with zeros where the weights are infinite."""
        return ex.where(self._pinned(v), 0.0, v)

    @property
    def squares(self) -> bool:  # type: ignore[override]
        """As its functional."""
        return self.functional.squares

    def define_value(self, v: Expression) -> Expression:
        return self.functional.define_value(self._free(v))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(ex.where(self._pinned(v), abs(v), 0.0))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        # a product, so that NaN shows
        return ex.pointwise("logical_not", self._pinned(v)) * self.functional.define_prox(v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.functional.define_conjugate_value(self._free(q))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(self._free(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return ex.where(self._pinned(q), q, self.functional.define_dual_projection(q))

    def offers(self, ability: str) -> bool:
        return ability != "gradient" and self.functional.offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        known = self.functional.facts
        convex = YES if np.all(self.where.value) else known.convex
        return dataclasses.replace(known, convex=convex, smooth=NO, smoothness=None, quadratic=NO)

    @property
    def vanishes_at_zero_only(self) -> bool:
        """As its functional."""
        return self.functional.vanishes_at_zero_only

    @property
    def exactness(self) -> Exactness | None:
        return self.functional.exactness

    def behind(self, batch: int) -> Functional:
        return Pinned(self.functional.behind(batch), self.where)

    def define_conditions(self) -> list[Any]:
        return self.functional.define_conditions()

    def hint(self) -> str:
        return self.functional.hint()

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "some of its weights are infinite, so that it is infinite next to where it is finite"
        return self.functional.why_not(ability)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.functional.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.functional.check_kind(kind)

    def text(self, inner: str) -> str:
        return self.functional.text(inner)

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return self.functional.latex(inner, names)

    def __repr__(self) -> str:
        count = int(np.sum(self.where.value))
        return f"Pinned({self.functional!r}, {count} infinite weight{'s' if count > 1 else ''})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        weighted: dict[str, Any] = {c.__name__: c for c in WeightedSum.__subclasses__()}
        Norm1, Norm21, SumSquares = (weighted[name] for name in ("Norm1", "Norm21", "SumSquares"))
        ElasticNet = weighted["ElasticNet"]
        weights = rng.uniform(0.1, 2.0, (3, 4))
        weights[0, 1], weights[1, 1], weights[2, 3] = 0.0, np.inf, np.inf
        positive = np.where(weights == 0, 0.4, weights)
        return [
            Norm1(weights),
            SumSquares(weights),
            SumSquares(positive),
            Norm21(axis=0, weights=np.array([0.0, np.inf, 0.7, 1.2])),
            Norm21(axis=-1, weights=np.array([0.3, np.inf, 0.7])),
            ElasticNet(0.3, weights),
        ]


__all__ = ["Pinned", "WeightedSum"]
