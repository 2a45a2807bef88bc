"""Matrices acting on the last axis: dense ones, which may be parameters, and sparse ones."""

from __future__ import annotations

from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.facts import exact, upper
from opalg.leaves import Constant, Indices, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, conjugate, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Product, Reduce, Shape
from opalg.program.linear import Kernel, Take


def Matrix(matrix: Any, values: Any = None) -> LinearOperator:
    """A matrix times vectors on the last axis, ``y_i = sum_j M_ij x_j``, dense or scipy-sparse.

    Parameters
    ----------
    matrix : array, Constant, Parameter, Expression or scipy.sparse matrix, shape ``(m, n)``
        The entries, real or complex.
    values : array, number, Parameter or Expression, optional
        What stands at the stored places of a scipy.sparse matrix, in place of its own entries: as many as it stores, in
        the order of ``matrix.tocoo().data``, which for csr, csc and coo matrices is that of ``matrix.data``. Gradients
        in them flow, and stored zeros are places, too.

    Returns
    -------
    DenseMatrix, SparseMatrix or CoordinateMatrix
        An operator ``(n,) -> (m,)``.

    Raises
    ------
    ShapeError
        Where it has not two axes, or stores another number of entries than there are values.
    DtypeError
        For integer or boolean entries.
    ParameterError
        For values of a matrix that is not sparse, and a Parameter that is a sparse matrix.

    Notes
    -----
    ``M.H`` is the conjugated transpose. The norm is bounded by Schur's test, ``sqrt(||M||_1 ||M||_inf)``, and for dense
    matrices by ``||M||_F`` as well (upper).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Matrix(np.array([[1.0, 2.0], [3.0, 4.0]])) @ np.array([1.0, 1.0])
    array([3., 7.])

    A sparse matrix whose entries may change:

    >>> import scipy.sparse
    >>> pattern = scipy.sparse.csr_array([[0.0, 1.0], [1.0, 0.0]])
    >>> weights = oa.Parameter(np.array([2.0, 3.0]), name="weights")
    >>> oa.Matrix(pattern, values=weights) @ np.array([1.0, 10.0])
    array([20.,  3.])
    """
    value = matrix.value if isinstance(matrix, (Constant, Parameter)) else matrix
    sparse = type(value).__module__.startswith("scipy.sparse")
    if values is not None:
        if not sparse:
            raise ParameterError(
                f"values= are the entries at the stored places of a scipy.sparse matrix, but Matrix was given "
                f"{type(value).__name__}; give the entries themselves as the matrix, which may be a Parameter"
            )
        places = value.tocoo()
        if len(places.shape) != 2:
            raise ShapeError(f"Matrix takes an array of shape (m, n), but was given shape {places.shape}")
        return CoordinateMatrix(values, places.row, places.col, places.shape)
    if sparse and isinstance(matrix, Parameter):
        raise ParameterError(
            f"the parameter {matrix.label} is a scipy.sparse matrix, but parameters are arrays; keep its places and "
            f"let its entries change: Matrix(pattern, values=Parameter(pattern.tocoo().data))"
        )
    return SparseMatrix(matrix) if sparse else DenseMatrix(matrix)


class _OfEntries(LinearOperator):
    """What dense and sparse matrices share: the shapes and kinds that follow from the entries."""

    matrix: Any

    def _keep(self, entries: Expression) -> None:
        if entries.ndim != 2:
            raise ShapeError(f"Matrix takes an array of shape (m, n), but was given shape {entries.shape}")
        object.__setattr__(self, "matrix", entries)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.matrix.shape[:1]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.matrix.kind == "complex" else "any"


@node
class DenseMatrix(_OfEntries):
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
        self._keep(data)

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
class SparseMatrix(_OfEntries):
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
    ``||M||_2 <= sqrt(||M||_1 ||M||_inf)`` (Schur's test). The entries are constant; those that are learned are given
    as ``Matrix(pattern, values=parameter)``, or by their places with `from_coordinates`.

    Examples
    --------
    >>> import scipy.sparse
    >>> import opalg as oa
    >>> oa.SparseMatrix(scipy.sparse.csr_array([[0.0, 2.0], [1.0, 0.0]])) @ np.array([3.0, 4.0])
    array([8., 3.])
    """

    matrix: Any

    @staticmethod
    def from_coordinates(values: Any, rows: Any, columns: Any, shape: Any) -> CoordinateMatrix:
        """A sparse matrix whose entries may be a Parameter: ``values[k]`` is added at ``(rows[k], columns[k])``.

        See `CoordinateMatrix`.
        """
        return CoordinateMatrix(values, rows, columns, shape)

    def __post_init__(self) -> None:
        data = self.matrix if isinstance(self.matrix, Constant) else Constant(self.matrix)
        if data.kind == "bool":
            raise DtypeError("Matrix takes real or complex entries, but was given booleans; use .astype(float)")
        self._keep(data)

    @cached_property
    def adjoint_matrix(self) -> Constant:
        """The conjugated transpose, made when an adjoint is first applied, since it takes as much memory again."""
        return Constant(self.matrix.value.conj().T.tocsr(), copy=False)

    def kernel(self) -> Kernel:
        return Kernel(multiply_sparse, (self.matrix, self.matrix.kind), in_place=False, fresh=True, passes=4.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(multiply_sparse, (self.adjoint_matrix, self.matrix.kind), in_place=False, fresh=True, passes=4.0)

    @property
    def facts(self) -> Facts:
        size = abs(self.matrix.value)
        rows, columns = (float(size.sum(axis=axis).max()) if size.nnz else 0.0 for axis in (1, 0))
        return Facts(norm=upper(sqrt(rows * columns)))

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


@node
class CoordinateMatrix(LinearOperator):
    """A sparse matrix with entries that may be learned, ``y_i = sum_{k: i_k = i} v_k x_{j_k}`` on the last axis.

    Parameters
    ----------
    values : array, number, Constant, Parameter or Expression, shape ``(k,)`` or ``()``
        The entries ``v``, real or complex; one number counts for all. Entries at the same place add up.
    rows, columns : array of k integers
        Where they stand, ``0 <= i < m`` and ``0 <= j < n``.
    shape : tuple of two int
        The shape ``(m, n)`` of the matrix.

    Raises
    ------
    ShapeError
        Where the lengths differ, an index lies outside, or ``shape`` is not of two positive numbers.
    DtypeError
        For indices that are no integers and boolean entries.

    Notes
    -----
    ``(A.H y)_j = sum_{k: j_k = j} conj(v_k) y_{i_k}``. ``||A||_2 <= sqrt(||A||_1 ||A||_inf)`` (Schur's test), over the
    magnitudes of the entries. Works on every array library; gradients in the values flow.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> weights = oa.Parameter(np.array([2.0, 3.0]), name="weights")
    >>> A = oa.SparseMatrix.from_coordinates(weights, rows=[0, 2], columns=[1, 0], shape=(3, 2))
    >>> A @ np.array([1.0, 10.0])
    array([20.,  0.,  3.])
    """

    values: Any
    rows: Any
    columns: Any
    shape: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_data(self.values, "SparseMatrix"))
        shape = as_shape(self.shape)
        if len(shape) != 2 or 0 in shape:
            raise ShapeError(f"the shape of a sparse matrix must be two positive numbers, not {self.shape!r}")
        object.__setattr__(self, "shape", shape)
        for name, size in (("rows", shape[0]), ("columns", shape[1])):
            given = getattr(self, name)
            places = given if isinstance(given, Indices) else Indices(given)
            if len(places.shape) != 1 or (
                places.value.size and not 0 <= places.value.min() <= places.value.max() < size
            ):
                raise ShapeError(
                    f"{name} of a sparse matrix of shape {shape} must be a list of indices 0 to {size - 1}"
                )
            object.__setattr__(self, name, places)
        if self.rows.shape != self.columns.shape or self.values.shape not in ((), self.rows.shape):
            raise ShapeError(
                f"a sparse matrix needs as many values as rows and columns, but was given {self.values.shape} values, "
                f"{self.rows.shape} rows and {self.columns.shape} columns"
            )

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape[1:]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape[:1]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.values.kind == "complex" else "any"

    def trace(self, x: Expression) -> Expression:
        picked = ex.Apply(Take(self.in_shape, self.columns, -1), x)
        return ex.Apply(Take(self.out_shape, self.rows, -1), self.values * picked, adjoint=True)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.H.trace(y)

    @property
    def facts(self) -> Facts:
        size = ex.broadcast_to(abs(self.values), self.rows.shape)
        totals = [
            ex.largest(ex.Apply(Take((n,), places, -1), size, adjoint=True))
            for n, places in zip(self.shape, (self.rows, self.columns), strict=True)
        ]
        return Facts(norm=upper(ex.sqrt(totals[0] * totals[1])))

    @property
    def H(self) -> LinearOperator:
        return CoordinateMatrix(conjugate(self.values), self.columns, self.rows, self.shape[::-1])

    def conj(self) -> LinearOperator:
        return CoordinateMatrix(conjugate(self.values), self.rows, self.columns, self.shape)

    def __repr__(self) -> str:
        return f"Matrix({self.rows.value.size} entries of {text(self.values)}, shape {self.shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        rows, columns = np.array([0, 2, 2, 3, 0]), np.array([1, 0, 2, 2, 1])
        learned = Parameter(rng.standard_normal(5), name="values")
        z = rng.standard_normal(5) + 1j * rng.standard_normal(5)
        return [
            CoordinateMatrix(learned, rows, columns, (4, 3)),
            CoordinateMatrix(z, columns, rows, (3, 4)),
            CoordinateMatrix(-0.5, rows, columns, (4, 3)),
            CoordinateMatrix(rng.standard_normal(1), [0], [0], (1, 1)),
        ]


def multiply_sparse(lib: Any, x: Any, matrix: Any, kind: str, out: Any = None) -> Any:
    """A sparse matrix times vectors on the last axis; real and imaginary parts apart where only x is complex."""
    if kind == "complex":
        return lib.sparse_matmul(matrix, lib.asarray(x, "complex"))
    if lib.kind_of(x) != "complex":
        return lib.sparse_matmul(matrix, x)
    parts = lib.sparse_matmul(matrix, lib.xp.stack((lib.xp.real(x), lib.xp.imag(x))))
    return lib.asarray(parts[0, ...], "complex") + 1j * parts[1, ...]
