"""A stack of dense matrices, each acting on its own vectors: many configurations of one model in one operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.facts import exact, upper
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, conjugate, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Product, Reduce, Shape


@node
class MatrixStack(LinearOperator):
    """``y_c = M_c x_c`` for each matrix of a stack, on the last two axes; gradients in the entries flow.

    Parameters
    ----------
    matrices : array, Constant, Parameter or Expression, shape ``(c, m, n)``
        The entries, real or complex.

    Raises
    ------
    ShapeError
        Where it has not three axes.

    Notes
    -----
    A block-diagonal operator ``(c, n) -> (c, m)`` with all blocks of one size. Its norm is the largest of the blocks',
    bounded as for `opalg.Matrix`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> stack = oa.MatrixStack(np.array([[[2.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]]))
    >>> stack @ np.array([[1.0, 2.0], [3.0, 4.0]])
    array([[2., 4.],
           [4., 3.]])
    """

    matrices: Any

    def __post_init__(self) -> None:
        data = as_data(self.matrices, "MatrixStack")
        if data.ndim != 3:
            raise ShapeError(f"MatrixStack takes an array of shape (c, m, n), but was given shape {data.shape}")
        object.__setattr__(self, "matrices", data)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return (self.matrices.shape[0], self.matrices.shape[2])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.matrices.shape[:2]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.matrices.kind == "complex" else "any"

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return Product("Mx", self.matrices, x, stack=True)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        return Product("MTx", conjugate(self.matrices), y, stack=True)

    @property
    def facts(self) -> Facts:
        if 0 in self.matrices.shape:
            return Facts(norm=exact(0.0))
        size = abs(self.matrices)
        rows, columns = (Reduce("max", Reduce("sum", size, (axis,)), (-1,)) for axis in (-1, -2))
        frobenius = Reduce("sum", Reduce("sum", size * size, (-1,)), (-1,))
        return Facts(norm=upper(ex.sqrt(ex.largest(ex.minimum(rows * columns, frobenius)))))

    def __repr__(self) -> str:
        return f"MatrixStack({text(self.matrices)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        real = rng.standard_normal((2, 3, 4))
        return [
            MatrixStack(real),
            MatrixStack(real[:, :2] + 1j * rng.standard_normal((2, 2, 4))),
            MatrixStack(Parameter(rng.standard_normal((3, 4, 1)), name="columns")),
        ]


__all__ = ["MatrixStack"]
