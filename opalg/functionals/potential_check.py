"""Whether closed forms that sympy found are right in floating point: compared with the solver over many scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from opalg.arrays import backend
from opalg.functionals.scalar_conjugate import ScalarConjugate, ScalarMaximiser
from opalg.functionals.scalar_prox import ScalarProx
from opalg.program.expression import Expression, Input, Literal
from opalg.program.interpreter import evaluate

if TYPE_CHECKING:
    from opalg.functionals.scalar_function import ScalarFunction

_POINTS = 256
_ORDERS = 8  # arguments and steps run from 1e-8 to 1e8
_WITHIN = 1e60  # points farther out belong to slopes that the function does not have
_ROUNDINGS = 32  # errors of the argument that a formula may make


def agrees_with_prox(form: Expression, function: ScalarFunction, samples: list[Any], places: tuple[Input, ...]) -> bool:
    """Whether a formula over ``places`` (argument, step, parameters) is the prox, to rounding."""
    lib, rng = backend("numpy", "float64"), np.random.default_rng(0)
    v = rng.choice([-1.0, 1.0], _POINTS) * 10.0 ** rng.uniform(-_ORDERS, _ORDERS, _POINTS)
    t = 10.0 ** rng.uniform(-_ORDERS, _ORDERS, _POINTS)
    data = [v, t, *samples]
    with np.errstate(all="ignore"):
        wanted = ScalarProx(function).evaluate(lib, *data)
        found = _values(form, places, data, lib)
        at = dict(zip((*function.parameters,), samples, strict=True))
        (curvature,) = evaluate([function.curvature], {**at, _argument(): wanted}, lib)
        rate = 1.0 + t * np.where(np.isfinite(curvature), curvature, np.inf)
        error = np.abs(found - wanted)
        allowed = 1e-12 * np.abs(wanted) + _ROUNDINGS * lib.epsilon * (np.abs(v) + np.abs(v - wanted)) / rate
    return bool(np.all(error <= allowed))


def agrees_with_conjugate(
    form: Expression, function: ScalarFunction, samples: list[Any], places: tuple[Input, ...]
) -> bool:
    """Whether a formula over ``places`` (argument, parameters) is the conjugate, to the rounding of its definition.

    The arguments are slopes of points of the domain, and numbers of all sizes, zero included, which lie beyond the
    slopes at finite ends of the domain too.
    """
    lib, rng = backend("numpy", "float64"), np.random.default_rng(1)
    u = rng.choice([-1.0, 1.0], _POINTS) * 10.0 ** rng.uniform(-_ORDERS, _ORDERS, _POINTS)
    u = _into(u, function, rng)
    free = rng.choice([-1.0, 1.0], _POINTS) * 10.0 ** rng.uniform(-2 * _ORDERS, _ORDERS, _POINTS)
    free[0] = 0.0
    with np.errstate(all="ignore"):
        (q,) = evaluate([function.slope], _points(u, function, samples), lib)
        found = [_conjugate_errors(form, function, samples, places, e) for e in (np.broadcast_to(q, u.shape), free)]
    usable = [int(known.sum()) for known, _ in found]
    return usable[0] > _POINTS // 4 and all(bool(np.all(right[known])) for known, right in found)


def _points(u: np.ndarray, function: ScalarFunction, samples: list[Any]) -> dict[Any, Any]:
    return {_argument(): u, **dict(zip(function.parameters, samples, strict=True))}


def _conjugate_errors(
    form: Expression, function: ScalarFunction, samples: list[Any], places: tuple[Input, ...], q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which arguments have a maximiser within reach, and whether the formula is right there."""
    lib = backend("numpy", "float64")
    assert function.value is not None
    given = np.where(np.isfinite(q), q, 0.0)
    u = ScalarMaximiser(function).evaluate(lib, given, *samples)
    wanted = ScalarConjugate(function).evaluate(lib, given, *samples)
    (value,) = evaluate([function.value], _points(u, function, samples), lib)
    found = _values(form, places, [given, *samples], lib)
    usable = np.isfinite(q) & (np.abs(u) < _WITHIN) & np.isfinite(value)
    scale = np.abs(q * u) + np.abs(value) + np.abs(wanted)
    return usable, np.abs(found - wanted) <= 1e-12 * scale + lib.tiny / lib.epsilon


def _into(u: np.ndarray, function: ScalarFunction, rng: np.random.Generator) -> np.ndarray:
    """Points moved into the domain."""
    if np.isfinite(function.lower) and np.isfinite(function.upper):
        return function.lower + (function.upper - function.lower) * rng.uniform(0, 1, u.shape)
    if np.isfinite(function.lower):
        return function.lower + np.abs(u)
    return function.upper - np.abs(u) if np.isfinite(function.upper) else u


def _argument() -> Input:
    return Input("u", ())


def _values(form: Expression, places: tuple[Input, ...], data: list[Any], lib: Any) -> Any:
    (found,) = evaluate([form], dict(zip(places, data, strict=True)), lib)
    return np.broadcast_to(found, (_POINTS,))


def samples_of(parameters: tuple[Expression, ...], signs: list[str]) -> list[Any]:
    """Values of parameters for a comparison: numbers as they are, others over four orders of magnitude."""
    rng = np.random.default_rng(2)
    found: list[Any] = []
    for value, sign in zip(parameters, signs, strict=True):
        size = 10.0 ** rng.uniform(-2, 2, _POINTS)
        turned = size if sign in ("positive", "nonnegative") else size * rng.choice([-1.0, 1.0], _POINTS)
        found.append(np.full(_POINTS, float(value.value.real)) if isinstance(value, Literal) else turned)
    return found


__all__ = ["agrees_with_conjugate", "agrees_with_prox", "samples_of"]
