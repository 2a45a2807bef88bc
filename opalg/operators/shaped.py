"""Operators that are given the shape of what they act on."""

from __future__ import annotations

from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.program.expression import Shape


class OnShape(LinearOperator):
    """An operator on arrays of its field ``shape``."""

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape


class SameShape(OnShape):
    """An operator on arrays of its field ``shape`` whose results have that shape as well."""

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape
