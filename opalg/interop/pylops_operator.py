"""Linear operators to and from PyLops."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.flat import pylops_operator
from opalg.operators.function import FunctionOperator


def to_pylops(operator: LinearOperator, dtype: Any = None) -> Any:
    """An operator as a ``pylops.LinearOperator`` on NumPy arrays in double precision.

    Parameters
    ----------
    operator : LinearOperator
        Maps ``in_shape`` to ``out_shape``, which are PyLops's ``dims`` and ``dimsd``.
    dtype : {None, float, complex}, optional
        For operators that take real and complex arrays alike: what the vectors are; by default real.

    Returns
    -------
    pylops.LinearOperator
        Its solvers (``pylops.optimization``), stacks and products take it like their own.

    Raises
    ------
    DtypeError
        Where the operator does not take vectors of that dtype.
    ParameterError
        Where it is no operator of opalg.
    UnsupportedError
        Where PyLops is not installed.

    Notes
    -----
    Where one side is real and the other complex, both are flat and real, as in `to_scipy`, so that the adjoint stays
    one.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> P = oa.interop.to_pylops(oa.Gradient((4, 3)))
    >>> P.dims, P.dimsd
    ((4, 3), (2, 4, 3))
    """
    if not isinstance(operator, LinearOperator):
        raise ParameterError(f"to_pylops takes an operator of opalg, not {type(operator).__name__}")
    return pylops_operator(operator, dtype)


def from_pylops(operator: Any) -> LinearOperator:
    """A ``pylops.LinearOperator`` as an operator of opalg.

    Parameters
    ----------
    operator : pylops.LinearOperator
        Maps arrays of shape ``dims`` to ``dimsd``.

    Returns
    -------
    LinearOperator
        On NumPy arrays. It takes real arrays where the operator's dtype is real (complex ones in two passes), real
        arrays only where the operator is linear over the reals (``clinear`` is False) and its ``rdtype`` is real, and
        complex ones otherwise.

    Raises
    ------
    ParameterError
        Where it has not ``matvec`` and ``rmatvec``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> import pylops
    >>> A = oa.interop.from_pylops(pylops.CausalIntegration((4,)))
    >>> A @ np.ones(4)
    array([1., 2., 3., 4.])
    """
    if not (hasattr(operator, "matvec") and hasattr(operator, "rmatvec") and hasattr(operator, "shape")):
        raise ParameterError(f"from_pylops takes an operator of PyLops, not {type(operator).__name__}")
    source = as_shape(getattr(operator, "dims", None) or operator.shape[1])
    target = as_shape(getattr(operator, "dimsd", None) or operator.shape[0])
    for name, shape, count in (("dims", source, operator.shape[1]), ("dimsd", target, operator.shape[0])):
        if prod(shape) != count:
            raise ShapeError(f"{name}={shape} of {type(operator).__name__} has not the {count} entries of its shape")
    complex_valued = np.dtype(operator.dtype).kind == "c"
    real_argument = complex_valued and not getattr(operator, "clinear", True) and _is_real(operator)
    label = type(operator).__name__
    return FunctionOperator(
        _on_arrays(operator.matvec, target, label, complex_valued),
        _on_arrays(operator.rmatvec, source, label, complex_valued, drop=real_argument),
        in_shape=source,
        out_shape=target,
        in_dtype="real" if real_argument else "complex" if complex_valued else None,
        out_dtype="complex" if real_argument else None,
        name=f"pylops.{label}",
    )


def _is_real(operator: Any) -> bool:
    dtype = getattr(operator, "rdtype", None)
    return dtype is not None and np.dtype(dtype).kind == "f"


def _on_arrays(multiply: Any, shape: tuple[int, ...], label: str, complex_valued: bool, drop: bool = False) -> Any:
    def apply(x: Any) -> Any:
        if library_name(x) != "numpy":
            raise UnsupportedError(f"pylops.{label} was built for NumPy arrays, and was given {library_name(x)}")
        flat = x.ravel()
        if np.iscomplexobj(flat) and not complex_valued:
            found = multiply(flat.real.copy()) + 1j * multiply(flat.imag.copy())
        else:
            found = multiply(flat)
        found = np.reshape(found, shape)
        return found.real if drop and np.iscomplexobj(found) else found

    return apply
