"""Operators on trailing axes met by operators on more axes: batching, and real arrays seen as complex ones."""

from __future__ import annotations

import numpy as np

from opalg.facts import exact
from opalg.nodes import node
from opalg.operators.algebra import (
    Added,
    Adjoint,
    Around,
    Composed,
    Identity,
    LinearOperator,
    Scaled,
    add,
    compose,
    scale,
)
from opalg.operators.axes import as_shape
from opalg.operators.knowledge import Facts
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rule


@node
class Batched(Around):
    """An operator on trailing axes, seen as one on ``batch + in_shape``: it treats each sample alike."""

    operator: LinearOperator
    batch: Shape

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.batch + self.operator.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.batch + self.operator.out_shape

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return self.operator.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        return self.operator.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        return self.operator.facts

    def inverse(self) -> LinearOperator:
        return Batched(self.operator.inverse(), self.batch)

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        return Batched(self.operator.pinv(cutoff), self.batch)

    def __repr__(self) -> str:
        return f"Batched({self.operator!r}, {self.batch})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Batched(2.0 * Identity((3,)), (2,))]


@node
class AsComplex(LinearOperator):
    """A real array as a complex one; its adjoint takes the real part."""

    in_shape: Shape
    in_kind = "real"

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", as_shape(self.in_shape))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    def out_kind(self, kind: str) -> str:
        return "complex"

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return Literal(1 + 0j) * x

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.in_shape, self)
        return ex.pointwise("real", y)

    @property
    def facts(self) -> Facts:
        return Facts(gram_scale=Literal(1.0), norm=exact(1.0))

    def __repr__(self) -> str:
        return f"AsComplex({self.in_shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [AsComplex((3, 2))]


def _trimmed(operator: LinearOperator, ndim: int) -> LinearOperator | None:
    """The same map written on fewer trailing axes, where that is possible."""
    if len(operator.in_shape) == ndim:
        return operator
    match operator:
        case Identity(in_shape=shape):
            return Identity(shape[len(shape) - ndim :])
        case AsComplex(in_shape=shape):
            return AsComplex(shape[len(shape) - ndim :])
        case Scaled(factor=factor, operator=inner):
            smaller = _trimmed(inner, ndim)
            return None if smaller is None else scale(factor, smaller)
    return None


def trim_to(
    first: LinearOperator, second: LinearOperator, *, same_input: bool = False
) -> tuple[LinearOperator, LinearOperator]:
    """Two operators written on the same number of axes, to be composed (or added, with ``same_input``)."""
    met = second.in_shape if same_input else second.out_shape
    if len(first.in_shape) == len(met):
        return first, second
    if len(first.in_shape) < len(met):
        smaller = _trimmed(second, len(first.in_shape))
        if smaller is not None:
            return first, smaller
        return Batched(first, met[: len(met) - len(first.in_shape)]), second
    smaller = _trimmed(first, len(met))
    if smaller is not None:
        return smaller, second
    return first, Batched(second, first.in_shape[: len(first.in_shape) - len(met)])


@rule(LinearOperator, group="simplify")
def merge_batched(operator: LinearOperator) -> LinearOperator | None:
    """batched(A) @ batched(B) -> batched(A @ B), and likewise for sums, adjoints and multiples"""
    match operator:
        case Composed(outer=Batched(operator=a, batch=m), inner=Batched(operator=b, batch=n)) if m == n:
            return Batched(compose(a, b), m)
        case Adjoint(operator=Batched(operator=a, batch=m)):
            return Batched(a.H, m)
        case Scaled(factor=c, operator=Batched(operator=a, batch=m)):
            return Batched(scale(c, a), m)
        case Added(operators=many) if all(isinstance(o, Batched) for o in many) and len({o.batch for o in many}) == 1:  # type: ignore[attr-defined]
            return Batched(add(*(o.operator for o in many)), many[0].batch)  # type: ignore[attr-defined]
    return None
