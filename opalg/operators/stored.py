"""Sparse matrices that are made when they are first needed, and kept in the form of each library that applies them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from opalg.arrays import Backend
from opalg.operators.matrix import multiply_sparse

_CACHED = 1 << 18  # entries of a result that a processor's cache holds
_LONG = 16  # entries of a row that is spread over the result; the few of an interpolation lie side by side
_COPIED = 1 << 26  # entries of a matrix, 0.8 GB in double precision


class StoredMatrix:
    """A real scipy.sparse matrix as the argument of a kernel.

    Parameters
    ----------
    make : callable
        ``make() -> csr_array``, in float64; called once, when the matrix is first needed.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._bound: dict[tuple[Any, ...], Any] = {}

    @cached_property
    def matrix(self) -> Any:
        """The matrix, in SciPy's compressed rows."""
        return self._make()

    @cached_property
    def _scatters_far(self) -> bool:
        """Whether long rows of the transpose end in more entries than a cache holds, and a copy is not too heavy."""
        rows, columns = self.matrix.shape
        return columns > _CACHED and _LONG * rows <= self.matrix.nnz <= _COPIED

    def on(self, lib: Backend, adjoint: bool = False) -> Any:
        """The matrix, or its transpose, in a library's sparse form; None where the library has none."""
        if type(lib).sparse is Backend.sparse:
            return None
        key = (*lib.key, adjoint)
        if key not in self._bound:
            self._bound[key] = self._in_form_of(lib, adjoint)
        return self._bound[key]

    def _in_form_of(self, lib: Backend, adjoint: bool) -> Any:
        # A transposed copy doubles the memory. SciPy mostly does without: a view takes 0.4 to 1.3 times as long, but 3
        # to 5 times where it scatters into more than a cache holds. Torch needs it: a view takes 10 to 30 times as
        # long.
        if lib.name == "numpy" and adjoint and not self._scatters_far:
            return self.on(lib).T
        if lib.name == "numpy" and not adjoint and self.matrix.dtype == lib.dtypes["real"]:
            return self.matrix
        return lib.sparse(self.matrix.T if adjoint else self.matrix)


def multiply_stored(lib: Any, matrix: Any, x: Any, source: Any, target: Any) -> Any:
    """A bound sparse matrix times arrays whose trailing axes are ``source``; the result has ``target`` there."""
    batch = tuple(x.shape[: x.ndim - len(source)])
    rows = lib.xp.reshape(x, (*batch, matrix.shape[1]))
    return lib.xp.reshape(multiply_sparse(lib, rows, matrix, "real"), (*batch, *target))
