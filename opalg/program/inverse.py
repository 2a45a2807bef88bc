"""The inverse of a small dense matrix as a node of the step language, with derivatives of any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opalg.errors import ParameterError, ShapeError
from opalg.program.expression import Call, Expression, Product, pointwise
from opalg.program.rotation import transposed


@dataclass(frozen=True)
class MatrixInverse:
    """``M -> M^-1`` for one square matrix; its derivative is ``dM -> -M^-1 dM M^-1``."""

    def evaluate(self, lib: Any, matrix: Any) -> Any:
        """The inverse of an array.

        Raises
        ------
        ParameterError
            Where the matrix is singular.
        """
        try:
            return lib.xp.linalg.inv(matrix)
        except Exception as problem:
            if type(problem).__name__ not in ("LinAlgError", "_LinAlgError"):
                raise
            raise ParameterError(
                f"a matrix of shape {tuple(matrix.shape)} that has to be inverted is singular; change the parameters "
                f"it is made of, or add a multiple of the identity to the operator"
            ) from problem

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative."""
        (moved,) = tangents
        return None if moved is None else -matmul(call, matmul(moved, call))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative, ``u -> -M^-H u M^-H``."""
        back = conjugate_transposed(call)
        return [-matmul(back, matmul(cotangent, back))]

    def __repr__(self) -> str:
        return "inverse"


def inverse_of(matrix: Expression) -> Expression:
    """The inverse of a square matrix, meant for small ones: it is computed and kept as a dense matrix.

    Raises
    ------
    ShapeError
        Where the expression has not two axes of the same length.
    """
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"the inverse is taken of square matrices, not of shape {matrix.shape}")
    return Call(MatrixInverse(), (matrix,), matrix.shape, matrix.kind)


def matmul(a: Expression, b: Expression) -> Expression:
    """The product of two matrices."""
    return Product("MTx", b, a)


def conjugate_transposed(matrix: Expression) -> Expression:
    """The adjoint of a matrix: transposed and conjugated."""
    return transposed(pointwise("conj", matrix))
