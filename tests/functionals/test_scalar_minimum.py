"""Global minimisers of nonconvex scalar functions, against a search over the whole line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from opalg.arrays import backend
from opalg.functionals.scalar_prox import ScalarFunction, ScalarProx
from opalg.program import expression as ex


def _cauchy(u: Any, s: Any) -> Any:
    return ex.pointwise("log1p", ex.square(u / s))


def _truncated(u: Any, s: Any) -> Any:
    return ex.minimum(ex.square(u), ex.square(s))


def _truncated_slope(u: Any, s: Any) -> Any:
    return ex.where(ex.pointwise("less", abs(u), s), 2.0 * u, 0.0)


def _truncated_curvature(u: Any, s: Any) -> Any:
    return ex.where(ex.pointwise("less", abs(u), s), 2.0, 0.0)


ROOT = sqrt(3.0)


@dataclass(frozen=True)
class Case:
    name: str
    function: ScalarFunction
    value: Callable[[Any, float], Any]


CASES = [
    Case(
        "cauchy",
        ScalarFunction.of(_cauchy, 1, turns=lambda s: (-ROOT * s, 0.0, ROOT * s)),
        lambda u, s: np.log1p((u / s) ** 2),
    ),
    Case(
        "even cauchy",
        ScalarFunction.of(_cauchy, 1, turns=lambda s: (-ROOT * s, 0.0, ROOT * s), even=True),
        lambda u, s: np.log1p((u / s) ** 2),
    ),
    Case(
        "geman-mcclure",
        ScalarFunction.of(
            lambda u, s: ex.square(u) / (ex.square(u) + ex.square(s)), 1, turns=lambda s: (-1.0 * s, 0.0, s)
        ),
        lambda u, s: u**2 / (u**2 + s**2),
    ),
    Case(
        "welsch",
        ScalarFunction.of(
            lambda u, s: 1.0 - ex.exp(-0.5 * ex.square(u / s)), 1, turns=lambda s: (-ROOT * s, 0.0, ROOT * s), even=True
        ),
        lambda u, s: -np.expm1(-0.5 * (u / s) ** 2),
    ),
    Case(
        "logarithm",
        ScalarFunction.of(
            lambda u, s: ex.pointwise("log1p", abs(u) / s), 1, turns=lambda s: (0.0,), kinks=lambda s: (0.0,)
        ),
        lambda u, s: np.log1p(np.abs(u) / s),
    ),
    Case(
        "truncated square",
        ScalarFunction.of(
            _truncated,
            1,
            slope=_truncated_slope,
            curvature=_truncated_curvature,
            turns=lambda s: (-1.0 * s, s),
            kinks=lambda s: (-1.0 * s, s),
        ),
        lambda u, s: np.minimum(u**2, s**2),
    ),
    Case(
        "half line",
        ScalarFunction.of(_cauchy, 1, turns=lambda s: (ROOT * s,), lower=0.0),
        lambda u, s: np.where(np.asarray(u) < 0, 1e30, np.log1p((u / s) ** 2)),
    ),
]
V = np.array([-7.013, -3.1, -1.21, -0.37, 0.0, 1e-9, 0.05, 0.513, 1.017, 2.2, 5.031, 1e4])
IDS = [c.name for c in CASES]


def prox(f: ScalarFunction, v: Any, t: Any, s: Any, library: str = "numpy") -> np.ndarray:
    lib = backend(library, str(np.asarray(v).dtype))
    arrays = [lib.asarray(np.asarray(a, np.asarray(v).dtype)) for a in (v, t, s)]
    return np.asarray(lib.to_numpy(ScalarProx(f).evaluate(lib, *arrays)))


def best(case: Case, v: float, t: float, s: float) -> tuple[float, float]:
    """The least value of ``phi(u) + (u - v)^2 / (2 t)`` on a fine grid that is then refined, and where it is."""

    def objective(u: Any) -> Any:
        return case.value(u, s) + (u - v) ** 2 / (2 * t)

    ends = sorted((0.0, v))
    grid = np.linspace(ends[0] - 1e-3, ends[1] + 1e-3, 4001)
    places = np.concatenate([grid, [0.0, v, -s, s], s * np.linspace(-3, 3, 601)])
    at = places[np.argmin(objective(places))]
    width = max((ends[1] - ends[0]) / 4000, 0.02 * s) + 1e-6
    found = minimize_scalar(objective, bounds=(at - width, at + width), method="bounded", options={"xatol": 1e-13})
    return min((float(objective(at)), float(at)), (float(found.fun), float(found.x)))


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("s", [0.5, 2.0])
@pytest.mark.parametrize("t", [1e-3, 0.3, 2.9, 50.0, 1e4])
def test_prox_is_the_global_minimiser(case: Case, s: float, t: float) -> None:
    found = prox(case.function, V, t, s)
    for v, u in zip(V, found, strict=True):
        least, place = best(case, float(v), t, s)
        reached = float(case.value(u, s) + (u - v) ** 2 / (2 * t))
        assert reached <= least + 1e-12 * (1 + abs(least))
        assert abs(u - place) <= 1e-4 * (1 + abs(place)) or reached == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_minimisers_are_stationary_to_rounding(case: Case) -> None:
    """Away from kinks and ends, against a central difference of the value in extended precision."""
    found = prox(case.function, V, 0.8, 0.7).astype(np.longdouble)
    inside = (np.abs(found) > 1e-3) & (np.abs(np.abs(found) - 0.7) > 1e-3)
    u, step = found[inside], np.longdouble(1e-5)
    value = case.value
    slope = (value(u + step, 0.7) - value(u - step, 0.7)) / (2 * step)  # type: ignore[arg-type]
    assert np.max(np.abs(u - V[inside] + np.longdouble(0.8) * slope)) <= 1e-8


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_steps_and_parameters_for_each_entry(case: Case) -> None:
    rng = np.random.default_rng(0)
    t, s = rng.uniform(0.05, 8.0, V.shape), rng.uniform(0.3, 2.0, V.shape)
    found = prox(case.function, V, t, s)
    alone = [float(prox(case.function, V[i : i + 1], t[i], s[i])[0]) for i in range(V.size)]
    assert np.allclose(found, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_other_libraries_agree(case: Case, library: str) -> None:
    for t in (0.3, 7.0):
        wanted = prox(case.function, V, t, 0.6)
        assert np.allclose(prox(case.function, V, t, 0.6, library), wanted, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_single_precision_and_huge_entries(case: Case) -> None:
    v = np.concatenate([V[np.abs(V) > 1e-3], [1e15, 1e20]]).astype(np.float32)
    for t in (0.2, 9.0):
        found = prox(case.function, v, t, 0.6)
        wanted = prox(case.function, v.astype(float), np.float32(t), float(np.float32(0.6)))
        assert found.dtype == np.float32 and np.allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_step_zero_changes_nothing(case: Case) -> None:
    wanted = np.maximum(V, 0.0) if case.function.lower == 0.0 else V
    assert np.array_equal(prox(case.function, V, 0.0, 0.6), wanted)
