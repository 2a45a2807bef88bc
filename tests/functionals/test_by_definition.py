"""Functionals of each entry against their formulas: values, gradients, conjugates, and proxes by bisection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.functionals.definition_cases import CONVEX, FAMILIES, NONCONVEX, RADIAL, SCALARS, SHAPE, SMOOTH, W
from tests.functionals.definitions import LONG, STEPS, Scalar, by_magnitude, inner, slope_along

TALL = np.array(STEPS).reshape(-1, 1, 1)


def points(model: Scalar, seed: int = 3) -> np.ndarray:
    """Points inside the interval of a function, of many sizes, away from kinks."""
    v = np.random.default_rng(seed).normal(size=SHAPE) * np.array([1.0, 0.05, 4.0, 30.0])
    low, high = (np.broadcast_to(end, SHAPE) for end in (model.low, model.high))
    bounded = np.isfinite(low) & np.isfinite(high)
    share = np.where(bounded, high - low, 0) / (1 + np.exp(-np.clip(v, -5, 5)))
    v = np.where(np.isfinite(low), np.where(np.isfinite(low), low, 0) + np.where(bounded, share, np.abs(v) + 1e-3), v)
    return np.where(np.isfinite(high) & ~bounded, np.where(np.isfinite(high), high, 0) - np.abs(v) - 1e-3, v)


def starts() -> np.ndarray:
    """Points to take a prox of: of many sizes, of both signs, and zero."""
    v = np.random.default_rng(5).normal(size=SHAPE) * np.array([1.0, 1e-6, 4.0, 300.0])
    v[0, 0] = 0.0
    return v


def close(found: Any, expected: Any, scale: Any, tolerance: float, slack: float = 1e-14) -> None:
    """Entries agree relatively, and where terms of the given scale cancel, to the rounding of those."""
    expected = np.asarray(expected, complex if np.iscomplexobj(expected) else float)
    wrong = np.abs(np.asarray(found) - expected) > tolerance * np.abs(expected) + slack * np.abs(scale) + 1e-26
    assert not np.any(wrong), (np.asarray(found)[wrong], expected[wrong])


def scale(model: Scalar, v: Any) -> Any:
    """The largest terms that a prox adds up: the argument, and where its interval begins."""
    return np.abs(v) + np.where(np.isfinite(model.low), np.abs(model.low), 0)


@pytest.mark.parametrize("name", SCALARS)
def test_values_are_sums_of_the_formula(name: str) -> None:
    f, model = SCALARS[name]
    for seed in range(3):
        v = points(model, seed)
        np.testing.assert_allclose(f.value(v), model.total(v.astype(LONG)), rtol=1e-12, atol=1e-13)
    low, high = np.max(np.broadcast_to(model.low, SHAPE)), np.min(np.broadcast_to(model.high, SHAPE))
    for outside in (low - 1, high + 1):
        if np.isfinite(outside):
            v = points(model)
            v[1, 1] = outside
            v[1, 1] = np.broadcast_to(model.low, SHAPE)[1, 1] - 1 if outside < low else outside
            assert f.value(v) == np.inf


@pytest.mark.parametrize("name", [*RADIAL, *NONCONVEX])
def test_complex_values_count_magnitudes(name: str, rng: np.random.Generator) -> None:
    f, model = SCALARS[name]
    v = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
    v = v * np.minimum(1, model.high / np.abs(v)) * (1 - 1e-12)
    np.testing.assert_allclose(f.value(v), model.total(np.abs(v)), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_and_hessian_products_are_those_of_the_formula(name: str, rng: np.random.Generator) -> None:
    f, model = SCALARS[name]
    v, direction = points(model, 4), rng.normal(size=SHAPE)
    np.testing.assert_allclose(f.gradient(v), np.asarray(model.slope(v.astype(LONG)), float), rtol=1e-10, atol=1e-12)
    step = LONG(1e-6)
    bent = direction * (model.slope(v + step) - model.slope(v - step)) / (2 * step)
    np.testing.assert_allclose(f.hessian_vector(v, direction), np.asarray(bent, float), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in SMOOTH if name in RADIAL or name in NONCONVEX])
def test_complex_gradients_point_along_steepest_ascent(name: str, rng: np.random.Generator) -> None:
    f, _ = SCALARS[name]
    v, d = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE) for _ in range(2))
    if name.startswith("huber"):
        v = v / np.abs(v) * rng.choice([0.1, 5.0], SHAPE)
    np.testing.assert_allclose(inner(f.gradient(v), d), slope_along(f.value, v, d, 1e-4), rtol=1e-7)


@pytest.mark.parametrize("name", SCALARS)
def test_prox_is_that_of_bisection(name: str) -> None:
    f, model = SCALARS[name]
    v = starts()
    for t, expected in zip(STEPS, model.prox(v, TALL.astype(LONG)), strict=True):
        close(f.prox(v, t), expected, scale(model, v), 1e-10)


@pytest.mark.parametrize("name", SCALARS)
def test_prox_in_single_precision(name: str) -> None:
    f, model = SCALARS[name]
    v = starts().astype(np.float32)
    for t, expected in zip(STEPS, model.prox(v, TALL.astype(np.float32)), strict=True):
        u = f.prox(v, t)
        assert u.dtype == np.float32
        close(u, expected, scale(model, v), 1e-5, 2.5e-7)


@pytest.mark.parametrize("name", [*RADIAL, *NONCONVEX])
def test_complex_prox_moves_magnitudes(name: str, rng: np.random.Generator) -> None:
    f, model = SCALARS[name]
    v = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)) * np.array([1.0, 1e-3, 4.0, 300.0])
    for t, expected in zip(STEPS, by_magnitude(lambda m: model.prox(m, TALL.astype(LONG)), v), strict=True):
        close(f.prox(v, t), expected, v, 1e-10)
    single = v.astype(np.complex64)
    close(f.prox(single, 0.37), by_magnitude(lambda m: model.prox(m, 0.37), single), v, 1e-5, 2.5e-7)


@pytest.mark.parametrize("name", SCALARS)
def test_prox_takes_a_step_for_each_sample(name: str) -> None:
    f, model = SCALARS[name]
    v, t = np.stack([starts(), -starts(), 3 * starts()]), np.array([0.05, 1.0, 30.0])
    close(f.prox(v, t), model.prox(v, t[:, None, None]), scale(model, v), 1e-10)


@pytest.mark.parametrize("name", SCALARS)
def test_a_step_of_zero_goes_to_the_domain(name: str) -> None:
    f, model = SCALARS[name]
    v = starts()
    nearest = np.clip(v, model.low, model.high)
    close(f.prox(v, 0.0), nearest, scale(model, v), 1e-12, 1e-15)
    batch = f.prox(np.stack([v, v]), np.array([0.0, 0.37]))
    close(batch[0], nearest, scale(model, v), 1e-12, 1e-15)
    close(batch[1], model.prox(v, 0.37), scale(model, v), 1e-10)


@pytest.mark.parametrize("name", CONVEX)
def test_conjugates_are_suprema(name: str) -> None:
    f, model = SCALARS[name]
    u = points(model, 8)
    q = np.asarray(model.slope(u.astype(LONG)), float)
    expected = float(np.sum(q * u - model.value(u.astype(LONG))))
    if name in ("ball_inf", "nonneg", "box"):
        q = np.random.default_rng(1).normal(size=SHAPE) if name != "nonneg" else -np.abs(q + W)
        low, high = (np.broadcast_to(end, SHAPE) for end in (model.low, model.high))
        expected = float(np.sum(np.where(q > 0, q * np.where(q > 0, high, 0), q * low)))
    np.testing.assert_allclose(f.conjugate.value(q), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CONVEX)
def test_proxes_of_conjugates_obey_moreau(name: str) -> None:
    f, model = SCALARS[name]
    v = starts()
    for t in (1e-2, 1.0, 40.0):
        expected = v - t * model.prox(v / LONG(t), 1 / LONG(t))
        close(f.conjugate.prox(v, t), expected, scale(model, v) + t * scale(model, 0 * v), 1e-10)


OUTSIDE = {
    "norm1-number": 0.8,
    "huber": 0.9,
    "charbonnier": 1.1,
    "log_cosh": -1.01,
    "kl-background": 1.5,
    "log_barrier": 0.1,
    "quantile": 0.9,
    "hinge": 2.0,
    "logistic": 2.0,
    "support_function": 0.6,
    "linear-number": 0.0,
    "nonneg": 1.0,
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_conjugates_are_infinite_beyond_the_slopes(name: str) -> None:
    assert SCALARS[name][0].conjugate.value(np.full(SHAPE, OUTSIDE[name])) == np.inf


@pytest.mark.parametrize("name", FAMILIES)
def test_every_library_gives_the_same_prox(name: str, lib: oa.Backend) -> None:
    f, model = SCALARS[name]
    v = starts()
    u = f.prox(lib.asarray(v), 0.37)
    assert type(u) is type(lib.asarray(v))
    close(lib.to_numpy(u), model.prox(v, 0.37), scale(model, v), 1e-10)
    assert f.value(lib.asarray(points(model))) == pytest.approx(model.total(points(model)), rel=1e-9, abs=1e-12)


ALONE = {*RADIAL, *NONCONVEX, "log_barrier", "entropy", "quantile", "nonneg", "number", "norm1"} - {
    "ball_inf",
    "quadratic",
}
ITERATED = {"charbonnier", "log_cosh", "cauchy", "geman_mcclure", "entropy", "logistic"}


@pytest.mark.parametrize("name", SCALARS)
def test_exactness_says_closed_form_or_iterative(name: str) -> None:
    f, _ = SCALARS[name]
    found = "iterative with a certified gap" if name.split("-")[0] in ITERATED else "closed form"
    assert f.offers("prox") and f.exactness.value == found
    assert f.conjugate.exactness is None or name in CONVEX


@pytest.mark.parametrize("name", [name for name, (_, model) in SCALARS.items() if name.split("-")[-1] in ALONE])
def test_empty_and_one_element_arrays(name: str) -> None:
    f, model = SCALARS[name]
    assert f.value(np.zeros((0, 4))) == 0.0
    assert f.prox(np.zeros((0, 4)), 1.0).shape == f.prox(np.zeros((0, 4)), np.zeros(0)).shape == (0, 4)
    for one in (np.array([2.5]), np.array(2.5), np.array([[-0.1]])):
        close(f.prox(one, 0.37), model.prox(one, 0.37), scale(model, one), 1e-10)
