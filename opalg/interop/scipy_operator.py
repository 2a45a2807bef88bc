"""Linear operators to and from ``scipy.sparse.linalg.LinearOperator``."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.flat import flat_operator
from opalg.operators.function import FunctionOperator


def to_scipy(operator: LinearOperator, dtype: Any = None) -> Any:
    """An operator as a ``scipy.sparse.linalg.LinearOperator`` on flat NumPy vectors in double precision.

    Parameters
    ----------
    operator : LinearOperator
        Maps ``in_shape`` to ``out_shape``.
    dtype : {None, float, complex}, optional
        For operators that take real and complex arrays alike: what the vectors are; by default real.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of shape ``(prod(out_shape), prod(in_shape))``, and of dtype float64 or complex128; arrays are flattened row by
        row. ``matvec``, ``rmatvec``, ``matmat`` and ``rmatmat`` take one pass over a batch.

    Raises
    ------
    DtypeError
        Where the operator does not take vectors of that dtype.

    Notes
    -----
    Where one side is real and the other complex, or a map of complex arrays is linear over the reals only (as complex
    conjugation is), SciPy has no name for it. Both sides are then real: a complex one is its real and imaginary parts
    in turn, twice as long, as ``array.view(float)`` has them. So the adjoint stays one.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> L = oa.interop.to_scipy(oa.Gradient((4, 3)))
    >>> L.shape
    (24, 12)
    >>> bool(np.isclose(np.dot(L @ np.ones(12), np.ones(24)), np.dot(np.ones(12), L.T @ np.ones(24))))
    True
    """
    if not isinstance(operator, LinearOperator):
        raise ParameterError(f"to_scipy takes an operator of opalg, not {type(operator).__name__}")
    return flat_operator(operator, dtype)


def from_scipy(operator: Any, in_shape: Any = None, out_shape: Any = None) -> LinearOperator:
    """A ``scipy.sparse.linalg.LinearOperator``, or what SciPy takes for one, as an operator of opalg.

    Parameters
    ----------
    operator : scipy.sparse.linalg.LinearOperator, sparse matrix or array
        Of shape ``(m, n)``. (`opalg.Matrix` is faster for matrices, and knows more of them.)
    in_shape, out_shape : tuple of int, optional
        The shapes of the arrays that the vectors stand for; by default ``(n,)`` and ``(m,)``.

    Returns
    -------
    LinearOperator
        On NumPy arrays.

    Raises
    ------
    ShapeError
        Where the shapes have not n and m entries.
    UnsupportedError
        When applied to arrays of another library, or when the adjoint is needed and SciPy has none.

    Notes
    -----
    A real operator is applied to the real and imaginary parts of complex arrays.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.interop.from_scipy(np.arange(12.0).reshape(2, 6), in_shape=(2, 3))
    >>> A @ np.ones((2, 3))
    array([15., 51.])
    """
    from scipy.sparse.linalg import aslinearoperator

    try:
        given = aslinearoperator(operator)
    except TypeError:
        raise ParameterError(f"SciPy does not take {type(operator).__name__} for a linear operator") from None
    m, n = (int(k) for k in given.shape)
    source = (n,) if in_shape is None else as_shape(in_shape)
    target = (m,) if out_shape is None else as_shape(out_shape)
    for name, shape, count in (("in_shape", source, n), ("out_shape", target, m)):
        if prod(shape) != count:
            raise ShapeError(
                f"{name}={shape} has {prod(shape)} entries, but the operator of shape {(m, n)} needs {count}"
            )
    is_complex = given.dtype is not None and np.dtype(given.dtype).kind == "c"
    label = f"{type(operator).__name__} of shape {(m, n)}"
    return FunctionOperator(
        _on_arrays(given.matmat, source, target, is_complex, label, "matvec"),
        _on_arrays(given.rmatmat, target, source, is_complex, f"the adjoint of {label}", "rmatvec"),
        in_shape=source,
        out_shape=target,
        in_dtype="complex" if is_complex else None,
        name=label,
        batched=True,
    )


def _on_arrays(
    multiply: Callable[[np.ndarray], np.ndarray], source: Any, target: Any, is_complex: bool, label: str, needs: str
) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if library_name(x) != "numpy":
            raise UnsupportedError(f"{label} works on NumPy arrays only, and was given one of {library_name(x)}")
        batch = x.shape[: x.ndim - len(source)]
        columns = x.reshape(-1, prod(source)).T
        try:
            if np.iscomplexobj(columns) and not is_complex:
                found = multiply(columns.real) + 1j * multiply(columns.imag)
            else:
                found = multiply(columns)
        except (NotImplementedError, TypeError) as problem:  # SciPy's ways to say that there is no rmatvec
            raise UnsupportedError(
                f"SciPy cannot apply {label}: {problem}; give its LinearOperator {needs}="
            ) from problem
        return np.asarray(found).T.reshape(batch + target)

    return apply
