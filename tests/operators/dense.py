"""Dense matrices of operators, as the oracle of everything else: complex numbers as pairs of reals."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


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


def real_matrix(
    operator: Any, kind: str, library: str = "numpy", dtype: str = "float64", device: str | None = None
) -> np.ndarray:
    """The matrix of the real-linear map, by applying it to all units as one batch."""
    lib = backend(library, dtype, device)
    given = units(operator.in_shape, kind, dtype)
    return as_reals(lib.to_numpy(operator @ lib.asarray(given)), len(given)).T


def argument_kinds(operator: Any) -> list[str]:
    """The kinds of argument to test an operator on."""
    return ["real", "complex"] if operator.in_kind == "any" else [operator.in_kind]


def random_array(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A random array of a kind."""
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind == "complex" else x


def parameter_gradients(operator: Any, parameter: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of ``Re <u, A(theta) x>`` in a parameter: by ``vjp``, and by central differences."""
    lib = backend("numpy", "float64")
    kind = argument_kinds(operator)[-1]
    x = Input("x", (2, *operator.in_shape), kind)
    out = operator.trace(x)
    u = Input("u", out.shape, out.kind)
    bound = {x: random_array(rng, x.shape, kind), u: random_array(rng, out.shape, out.kind)}
    (found,) = vjp([out], [u], [parameter])
    assert found is not None and found.shape == parameter.shape and found.kind == parameter.kind
    (gradient,) = evaluate([found], {**bound, parameter: np.array(parameter.value)}, lib)

    def value(theta: np.ndarray) -> float:
        (result,) = evaluate([out], {**bound, parameter: theta}, lib)
        return float(np.sum((np.conj(bound[u]) * result).real))

    base, step = np.array(parameter.value), 1e-5
    differences = np.zeros_like(base)
    for index in np.ndindex(base.shape):
        for direction in (1.0, 1j) if base.dtype.kind == "c" else (1.0,):
            moved = np.zeros_like(base)
            moved[index] = step * direction
            differences[index] += direction * (value(base + moved) - value(base - moved)) / (2 * step)
    return np.asarray(gradient), differences


def check_parameter_gradient(operator: Any, parameter: Any, rng: np.random.Generator) -> None:
    """Assert that both agree to 1e-6 of the largest entry."""
    found, wanted = parameter_gradients(operator, parameter, rng)
    assert found.shape == wanted.shape
    assert np.max(np.abs(found - wanted)) <= 1e-6 * max(1e-3, np.max(np.abs(wanted)))
    assert np.max(np.abs(wanted)) > 0
