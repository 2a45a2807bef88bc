"""Dense matrices of operators, as the oracle of everything else: complex numbers as pairs of reals."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend


def units(shape: tuple[int, ...], kind: str, dtype: str = "float64") -> np.ndarray:
    """The unit arrays of a space, one after the other; for complex ones, also times i."""
    size = prod(shape)
    real = np.eye(size, dtype=dtype).reshape((size, *shape))
    if kind == "real":
        return real
    return np.concatenate([real, 1j * real]).astype({"float64": "complex128", "float32": "complex64"}[dtype])


def as_reals(rows: np.ndarray, batch: int) -> np.ndarray:
    """Each array of a batch as a row of reals: real parts, then imaginary parts where it is complex."""
    flat = np.asarray(rows).reshape(batch, -1)
    return np.concatenate([flat.real, flat.imag], axis=1) if np.iscomplexobj(flat) else flat


def real_matrix(operator: Any, kind: str, library: str = "numpy", dtype: str = "float64") -> np.ndarray:
    """The matrix of the real-linear map, by applying it to all units as one batch."""
    lib = backend(library, dtype)
    given = units(operator.in_shape, kind, dtype)
    return as_reals(lib.to_numpy(operator @ lib.asarray(given)), len(given)).T


def argument_kinds(operator: Any) -> list[str]:
    """The kinds of argument to test an operator on."""
    return ["real", "complex"] if operator.in_kind == "any" else [operator.in_kind]


def random_array(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A random array of a kind."""
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x
