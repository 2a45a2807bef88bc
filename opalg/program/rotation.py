"""Blocks of axes brought into another order, as a linear primitive."""

from __future__ import annotations

from typing import Any

from opalg.nodes import node
from opalg.program.expression import Apply, Expression
from opalg.program.linear import Kernel, Linear, Shape


@node
class Rotated(Linear):
    """The last axes, of shape ``tail``, brought in front of those before them, of shape ``lead``."""

    lead: Shape
    tail: Shape

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.lead + self.tail

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.tail + self.lead

    def kernel(self) -> Kernel:
        return Kernel(rotate, (len(self.lead), len(self.tail)))

    def adjoint_kernel(self) -> Kernel:
        return Kernel(rotate, (len(self.tail), len(self.lead)))

    def __repr__(self) -> str:
        return f"Rotated({self.lead}, {self.tail})"


def rotate(lib: Any, x: Any, lead: int, tail: int, out: Any = None) -> Any:
    """Copy x with its last ``tail`` axes in front of the ``lead`` axes before them."""
    batch = x.ndim - lead - tail
    order = (*range(batch), *range(batch + lead, x.ndim), *range(batch, batch + lead))
    turned = lib.xp.permute_dims(x, order)
    return lib.copy(turned, out=lib.empty_like(x, tuple(turned.shape), out=out))


def transposed(matrix: Expression) -> Expression:
    """A matrix with its two axes swapped."""
    return Apply(Rotated(matrix.shape[:1], matrix.shape[1:]), matrix)
