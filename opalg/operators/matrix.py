"""Matrices acting on the last axis: dense ones, which may be parameters, and sparse ones."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.facts import exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, conjugate, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Product, Reduce, Shape
from opalg.program.linear import Kernel


def Matrix(matrix: Any) -> LinearOperator:
    """A matrix times vectors on the last axis, dense or scipy-sparse.

    Parameters
    ----------
    matrix : array, Constant, Parameter, Expression or scipy.sparse matrix, shape ``(m, n)``
        The entries, real or complex.

    Returns
    -------
    DenseMatrix or SparseMatrix
        An operator ``(n,) -> (m,)``.

    Raises
    ------
    ShapeError
        Where it has not two axes.
    DtypeError
        For integer or boolean entries.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.operators import Matrix
    >>> Matrix(np.array([[1.0, 2.0], [3.0, 4.0]])) @ np.array([1.0, 1.0])
    array([3., 7.])
    """
    value = matrix.value if isinstance(matrix, Constant) else matrix
    if type(value).__module__.startswith("scipy.sparse"):
        return SparseMatrix(matrix)
    return DenseMatrix(matrix)


@node
class DenseMatrix(LinearOperator):
    """A dense matrix times vectors on the last axis; gradients in its entries flow.

    Parameters
    ----------
    matrix : array, Constant, Parameter or Expression, shape ``(m, n)``
        The entries ``M``, real or complex.

    Raises
    ------
    ShapeError
        Where it has not two axes.

    Notes
    -----
    ``||M||_2 <= sqrt(||M||_1 ||M||_inf)`` (Schur's test) and ``||M||_2 <= ||M||_F``; the bound is the smaller one.
    """

    matrix: Any

    def __post_init__(self) -> None:
        data = as_data(self.matrix, "Matrix")
        if data.ndim != 2:
            raise ShapeError(f"Matrix takes an array of shape (m, n), but was given shape {data.shape}")
        object.__setattr__(self, "matrix", data)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[:1]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.matrix.kind == "complex" else "any"

    def out_kind(self, kind: str) -> str:
        return "complex" if self.matrix.kind == "complex" else kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return Product("Mx", self.matrix, x)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        return Product("MTx", conjugate(self.matrix), y)

    @property
    def facts(self) -> Facts:
        if 0 in self.matrix.shape:
            return Facts(norm=exact(0.0))
        size = abs(self.matrix)
        rows, columns = (ex.largest(Reduce("sum", size, (axis,))) for axis in (-1, -2))
        return Facts(norm=upper(ex.sqrt(ex.minimum(rows * columns, ex.norm_squared(self.matrix)))))

    def __repr__(self) -> str:
        return f"Matrix({text(self.matrix)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        real = rng.standard_normal((3, 4))
        return [
            DenseMatrix(real),
            DenseMatrix(real[:2] + 1j * rng.standard_normal((2, 4))),
            DenseMatrix(Parameter(rng.standard_normal((4, 1)), name="column")),
        ]


@node
class SparseMatrix(LinearOperator):
    """A scipy.sparse matrix times vectors on the last axis.

    Parameters
    ----------
    matrix : scipy.sparse matrix or Constant of one, shape ``(m, n)``
        The entries, real or complex.

    Raises
    ------
    DtypeError
        For integer or boolean entries.
    UnsupportedError
        When applied to arrays of a library without sparse matrices.

    Notes
    -----
    ``||M||_2 <= sqrt(||M||_1 ||M||_inf)`` (Schur's test).
    """

    matrix: Any
    adjoint_matrix: Any = None

    def __post_init__(self) -> None:
        data = self.matrix if isinstance(self.matrix, Constant) else Constant(self.matrix)
        if data.kind == "bool":
            raise DtypeError("Matrix takes real or complex entries, but was given booleans; use .astype(float)")
        if data.ndim != 2:
            raise ShapeError(f"Matrix takes an array of shape (m, n), but was given shape {data.shape}")
        object.__setattr__(self, "matrix", data)
        if self.adjoint_matrix is None:
            object.__setattr__(self, "adjoint_matrix", Constant(data.value.conj().T.tocsr(), copy=False))
        size = abs(data.value)
        rows, columns = (float(size.sum(axis=axis).max()) if size.nnz else 0.0 for axis in (1, 0))
        object.__setattr__(self, "_bound", sqrt(rows * columns))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[:1]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.matrix.kind == "complex" else "any"

    def out_kind(self, kind: str) -> str:
        return "complex" if self.matrix.kind == "complex" else kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind)

    def kernel(self) -> Kernel:
        return Kernel(multiply_sparse, (self.matrix, self.matrix.kind), in_place=False, passes=4.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(multiply_sparse, (self.adjoint_matrix, self.matrix.kind), in_place=False, passes=4.0)

    @property
    def facts(self) -> Facts:
        return Facts(norm=upper(self._bound))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"Matrix(sparse {text(self.matrix)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        import scipy.sparse

        entries = rng.standard_normal((4, 3)) * (rng.random((4, 3)) < 0.6)
        return [
            SparseMatrix(scipy.sparse.csr_matrix(entries)),
            SparseMatrix(scipy.sparse.coo_array(entries.T * (1 + 2j))),
            SparseMatrix(scipy.sparse.csr_array((2, 3))),
        ]


def multiply_sparse(lib: Any, x: Any, matrix: Any, kind: str, out: Any = None) -> Any:
    """A sparse matrix times vectors on the last axis; real and imaginary parts apart where only x is complex."""
    if kind == "complex":
        return lib.sparse_matmul(matrix, lib.asarray(x, "complex"))
    if lib.kind_of(x) != "complex":
        return lib.sparse_matmul(matrix, x)
    parts = lib.sparse_matmul(matrix, lib.xp.stack((lib.xp.real(x), lib.xp.imag(x))))
    return lib.asarray(parts[0, ...], "complex") + 1j * parts[1, ...]
