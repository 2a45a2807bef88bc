"""The points at which energies are evaluated: arrays for variables, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of, library_name, precision_of
from opalg.energies.affine import Variable
from opalg.errors import DtypeError, ParameterError, ShapeError


def arrays_at(at: Any, variables: Sequence[Variable]) -> tuple[list[Any], Backend]:
    """An array for each variable, from an array or a mapping, and the backend on which they live.

    Where precisions differ, the higher one is taken.

    Raises
    ------
    ParameterError, ShapeError, DtypeError
        Where variables are missing or unknown, and where an array does not fit its variable.
    """
    given = at if isinstance(at, Mapping) else {variables[0]: at} if len(variables) == 1 else {}
    names = ", ".join(v.label for v in variables)
    if not isinstance(at, Mapping) and len(variables) != 1:
        raise ParameterError(f"the energy has the variables {names}; give a mapping {{variable: array}}, not one array")
    unknown = [key for key in given if not any(key is v for v in variables)]
    missing = [v.label for v in variables if v not in given]
    if unknown or missing:
        wrong = f"{unknown[0]!r} is none of them" if unknown else f"{missing[0]} is missing"
        raise ParameterError(f"the energy has the variables {names}, but {wrong}; give {{variable: array}} for each")
    arrays = [_checked(given[v], v) for v in variables]
    libraries = {str(library_name(a)): v.label for a, v in zip(arrays, variables, strict=True)}
    if len(libraries) > 1:
        found = " and ".join(f"{label} of {library}" for library, label in libraries.items())
        raise DtypeError(f"the arrays of a point must be of one library, but there are {found}; convert one of them")
    precisions = {precision_of(a) or "float64" for a in arrays}
    lib = backend_of(arrays[0], "float64" if "float64" in precisions else "float32")
    return [lib.asarray(a, v.kind) for a, v in zip(arrays, variables, strict=True)], lib


def _checked(array: Any, variable: Variable) -> Any:
    label = variable.label
    if isinstance(array, (int, float, complex)) and variable.shape == ():
        array = np.asarray(complex(array) if isinstance(array, complex) else float(array))
    if library_name(array) is None:
        raise DtypeError(
            f"the value of {label} must be an array of NumPy, CuPy or Torch, not {type(array).__name__}; convert it: "
            f"numpy.asarray(..., dtype=float)"
        )
    if tuple(array.shape) != variable.shape:
        raise ShapeError(f"{label} has shape {variable.shape}, but the array given for it {tuple(array.shape)}")
    dtype = str(array.dtype).rpartition(".")[2]
    if "float" not in dtype and "complex" not in dtype:
        raise DtypeError(f"the array given for {label} has dtype {dtype}; convert it to a floating dtype first")
    if "complex" in dtype and variable.kind == "real":
        raise DtypeError(
            f"{label} is real, but the array given for it is complex; take its real part, or declare the variable "
            f"complex: Variable({variable.shape}, dtype=complex)"
        )
    return array
