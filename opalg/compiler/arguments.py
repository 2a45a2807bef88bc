"""The arguments of a solve, checked at the border."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from opalg.arrays import Backend, library_name
from opalg.energies.affine import Variable
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.leaves import Leaf, Parameter, check_finite
from opalg.solving.loop import Limits

DEFAULT_TOL = 1e-4
DEFAULT_MAX_ITER = 10_000


def limits_of(tol: float | None, max_iter: int | None, time_limit: float | None, spacing: int) -> Limits:
    """The limits of a solve; raises ParameterError for what makes no sense."""
    tol = DEFAULT_TOL if tol is None else tol
    max_iter = DEFAULT_MAX_ITER if max_iter is None else max_iter
    if not tol >= 0:
        raise ParameterError(f"tol must be a nonnegative number, not {tol!r}")
    if isinstance(max_iter, bool) or not isinstance(max_iter, (int, np.integer)) or max_iter < 0:
        raise ParameterError(f"max_iter must be a nonnegative integer, not {max_iter!r}")
    if time_limit is not None and not time_limit > 0:
        raise ParameterError(f"time_limit must be a positive number of seconds, not {time_limit!r}")
    return Limits(float(tol), int(max_iter), time_limit, spacing=spacing)


def parameter_values(parameters: Sequence[Parameter], given: Mapping[Any, Any], lib: Backend) -> dict[Parameter, Any]:
    """Values by parameter, from a mapping by parameter or name."""
    names = {p.name: p for p in parameters if p.name}
    values: dict[Parameter, Any] = {}
    for key, value in given.items():
        parameter = names.get(key) if isinstance(key, str) else key
        if not any(parameter is p for p in parameters):
            known = ", ".join(p.label for p in parameters) or "none"
            raise ParameterError(f"{key!r} is not a parameter here; the parameters are {known}")
        assert parameter is not None
        array = plain(value) if library_name(value) is not None else lib.asarray(value)
        if tuple(array.shape) != parameter.shape:
            raise ShapeError(f"{parameter.label} has shape {parameter.shape}, the value given {tuple(array.shape)}")
        if not any(word in str(array.dtype) for word in ("float", "complex")):
            raise DtypeError(f"the value of {parameter.label} has dtype {array.dtype}; convert it to a floating dtype")
        if parameter.kind == "real" and "complex" in str(array.dtype):
            raise DtypeError(f"{parameter.label} is real; a complex value was given")
        values[parameter] = array
    return values


def kept(params: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """The values given to a solve as they are now: its gradient may be asked for when the arrays have changed."""
    return {key: _copied(value) for key, value in (params or {}).items()}


def in_precision(lib: Backend, leaves: Iterable[Leaf], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The value of each leaf, given here or its own, as an array of a backend; sparse matrices are left as they are."""
    current = {leaf: values.get(leaf, leaf.value) for leaf in leaves}
    return {leaf: lib.asarray(value, leaf.kind) for leaf, value in current.items() if library_name(value) is not None}


def start_of(x0: Any, variables: Sequence[Variable]) -> dict[Variable, Any]:
    """The start of each variable, from an array or a mapping."""
    given = x0 if isinstance(x0, Mapping) else {variables[0]: x0}
    starts = {}
    for variable in variables:
        if variable not in given:
            raise ParameterError(f"x0 lacks a start for {variable.label}; give a mapping from Variable to array")
        array = given[variable]
        if library_name(array) is None:
            raise DtypeError(f"x0 for {variable.label} must be an array, not {type(array).__name__}")
        if tuple(array.shape) != variable.shape:
            raise ShapeError(f"{variable.label} has shape {variable.shape}, but x0 has shape {tuple(array.shape)}")
        if variable.kind == "real" and "complex" in str(array.dtype):
            raise DtypeError(f"{variable.label} is real, but x0 is complex")
        array = plain(array)
        check_finite(array, f"x0 for {variable.label}")
        starts[variable] = array
    return starts


def _copied(value: Any) -> Any:
    if hasattr(value, "detach"):
        return value.detach().clone()
    return value.copy() if hasattr(value, "copy") else value + 0 if library_name(value) is not None else value


def plain(array: Any) -> Any:
    """An array without the graph that Torch may keep of its past: gradients of solves are implicit."""
    return array.detach() if hasattr(array, "detach") else array
