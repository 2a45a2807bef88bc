"""Smooth energies for ``scipy.optimize.minimize``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from opalg.arrays import backend
from opalg.emit import call
from opalg.energies.affine import Variable
from opalg.energies.energy import EnergyExpression, lib_number, point_of
from opalg.energies.point import arrays_at
from opalg.errors import ParameterError, ShapeError
from opalg.program.differentiate import gradient


class ScipyProblem(NamedTuple):
    """An energy as SciPy's optimisers want it.

    Attributes
    ----------
    fun_and_grad : callable
        ``fun_and_grad(flat) -> (value, gradient)``, for ``minimize(..., jac=True)``.
    x0 : ndarray
        Where to start, flat and in float64.
    unpack : callable
        ``unpack(flat)``: the array of the variable, or ``{variable: array}`` where there are several.
    """

    fun_and_grad: Callable[[np.ndarray], tuple[float, np.ndarray]]
    x0: np.ndarray
    unpack: Callable[[np.ndarray], Any]


def as_scipy(energy: EnergyExpression, x0: Any = None) -> ScipyProblem:
    """A smooth energy as a function of one flat float64 vector, with its gradient.

    Parameters
    ----------
    energy : Energy
        Every term must be differentiable.
    x0 : array, or mapping from Variable to array, optional
        Where to start; by default zero.

    Returns
    -------
    ScipyProblem
        The tuple ``(fun_and_grad, x0, unpack)``.

    Raises
    ------
    UnsupportedError
        Where a term is not differentiable.
    ParameterError, ShapeError, DtypeError
        Where it is no energy, and where ``x0`` does not fit.

    Notes
    -----
    The variables follow each other, row by row; a complex one is its real and imaginary parts in turn. Value and
    gradient are computed in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> from scipy.optimize import minimize
    >>> x = oa.Variable(2, name="x")
    >>> fun_and_grad, x0, unpack = oa.interop.as_scipy(oa.sum_squares(x - np.array([1.0, 2.0])))
    >>> unpack(minimize(fun_and_grad, x0, jac=True).x).round(6).tolist()
    [1.0, 2.0]
    """
    if not isinstance(energy, EnergyExpression):
        raise ParameterError(f"as_scipy takes an energy, not {type(energy).__name__}")
    variables, lib = energy.variables, backend("numpy", "float64")
    starts = [lib.zeros(v.shape, v.kind) for v in variables]
    if x0 is not None:
        found, other = arrays_at(x0, variables)
        starts = [lib.asarray(other.to_numpy(a), v.kind) for a, v in zip(found, variables, strict=True)]
    energy.gradient(dict(zip(variables, starts, strict=True)))  # refuses what is not smooth
    point = point_of(variables)
    inputs = list(point.values())
    value = energy.trace(point)
    outputs = [value, *gradient(value, inputs)]

    def fun_and_grad(flat: np.ndarray) -> tuple[float, np.ndarray]:
        number, *slopes = call(outputs, inputs, _unpacked(flat, variables), lib)
        return lib_number(lib, number), _packed(slopes, variables)

    def unpack(flat: np.ndarray) -> Any:
        arrays = _unpacked(flat, variables)
        return arrays[0] if len(arrays) == 1 else dict(zip(variables, arrays, strict=True))

    return ScipyProblem(fun_and_grad, _packed(starts, variables), unpack)


def _length(variable: Variable) -> int:
    return prod(variable.shape) * (2 if variable.kind == "complex" else 1)


def _packed(arrays: Sequence[Any], variables: Sequence[Variable]) -> np.ndarray:
    """Arrays as one flat vector of reals."""
    parts = [
        np.ravel(np.asarray(a, complex if v.kind == "complex" else float))
        for a, v in zip(arrays, variables, strict=True)
    ]
    return np.concatenate([p.view(float) for p in parts]) if parts else np.zeros(0)


def _unpacked(flat: np.ndarray, variables: Sequence[Variable]) -> list[np.ndarray]:
    """A flat vector of reals as fresh arrays."""
    vector = np.array(flat, dtype=float)
    wanted = sum(map(_length, variables))
    if vector.shape != (wanted,):
        raise ShapeError(f"the energy takes a flat vector of {wanted} reals, but was given shape {vector.shape}")
    found, begin = [], 0
    for variable in variables:
        part = vector[begin : begin + _length(variable)].copy()
        found.append(part.view(complex if variable.kind == "complex" else float).reshape(variable.shape))
        begin += _length(variable)
    return found
