"""Data in the language: how numbers, arrays and formulas become expressions, and what fits an affine expression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import DtypeError, NonFiniteError, ParameterError, ShapeError
from opalg.leaves import Constant, Leaf
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


def as_data(value: Any) -> Expression | None:
    """A number, array, leaf, formula or sympy expression as an expression; None for anything else.

    Raises
    ------
    DtypeError
        For arrays of integers or objects; lists of integers are taken as floating point numbers.
    NonFiniteError
        For NaN and infinity.
    """
    if isinstance(value, Expression):
        return value
    if type(value).__module__.startswith("sympy"):
        from opalg.program.formula import from_sympy

        return from_sympy(value)
    if isinstance(value, (list, tuple)):
        value = _array_of(value)
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return _number(value)
    if library_name(value) is None:
        return None
    if tuple(value.shape) == ():
        return _number(complex(value) if "complex" in str(value.dtype) else float(value))
    _refuse_integers(value)
    return Constant(value)


def _array_of(values: list | tuple) -> Any:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind in "iu":
        array = array.astype(float)
    if array.dtype.kind not in "fcb":
        raise DtypeError(f"a {type(values).__name__} given as data must hold numbers in rows of equal length")
    return array


def _number(value: Any) -> Expression:
    number = complex(value)
    if not (math.isfinite(number.real) and math.isfinite(number.imag)):
        raise NonFiniteError(f"the number {value} is not finite; leave out what it stands for, or give a finite number")
    return ex.as_expression(value)


def _refuse_integers(array: Any) -> None:
    dtype = str(array.dtype).rpartition(".")[2]
    if "int" in dtype:
        how = "array.to(torch.float64)" if library_name(array) == "torch" else "array.astype(float)"
        raise DtypeError(
            f"an array of shape {tuple(array.shape)} has dtype {dtype}, but data must be floating point; "
            f"convert it: {how}"
        )


def label_of(data: Expression) -> str:
    """What messages call data."""
    return (data.name if isinstance(data, Leaf) else None) or "the data"


def has_one_entry(data: Expression) -> bool:
    """Whether data counts as a scalar."""
    return math.prod(data.shape) == 1


def as_scalar(data: Expression) -> Expression:
    """Data of one entry without its axes; an array that has no name becomes its number."""
    if isinstance(data, Constant) and data.name is None and data.kind != "bool":
        value = data.value.reshape(())
        return ex.as_expression(complex(value) if data.kind == "complex" else float(value))
    return ex.total(data)


def reciprocal(data: Expression, owner: Any) -> Expression:
    """``1 / data``.

    Raises
    ------
    ParameterError
        Where an entry is zero.
    """
    zero = isinstance(data, Literal) and data.value == 0
    if zero or (isinstance(data, Constant) and bool((data.value == 0).any())):
        raise ParameterError(f"({owner!r}) / {label_of(data) if data.shape else 0}: this divides by zero")
    return ex.as_expression(1.0 / data.value) if isinstance(data, Literal) else 1.0 / data


def broadcast_to(data: Any, shape: int | tuple[int, ...]) -> Expression:
    """Data spread over more axes: one bias for all samples of a batch, for example.

    Parameters
    ----------
    data : number, array, Parameter or Expression
        Of a shape that NumPy's rules spread over the new one. A gradient in it is the sum over what was repeated.
    shape : int or tuple of int

    Returns
    -------
    Expression
        To be added to an affine expression; nothing else is broadcast there.

    Raises
    ------
    ShapeError
        Where the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x, b = oa.Variable((3, 2), name="x"), oa.Parameter(np.array([1.0, -1.0]), name="b")
    >>> sol = oa.minimize(oa.sum_squares(x + oa.broadcast_to(b, x.shape)))
    >>> sol.x[0].round(6), sol.vjp(np.ones((3, 2)), wrt=b)[b].round(6)
    (array([-1.,  1.]), array([-3., -3.]))
    """
    found = as_data(data)
    if found is None:
        raise DtypeError(f"broadcast_to takes data, not {type(data).__name__}")
    wanted = (shape,) if isinstance(shape, int) else tuple(shape)
    lead = len(wanted) - len(found.shape)
    if lead < 0 or any(a not in (1, b) for a, b in zip(found.shape, wanted[lead:], strict=True)):
        raise ShapeError(f"{label_of(found)} of shape {found.shape} does not spread over the shape {wanted}")
    return ex.broadcast_to(found, wanted)
