"""The threshold against a sort in extended precision, in every layout, at extreme sizes, and its derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg.arrays import Backend, backend
from opalg.functionals import threshold as module
from opalg.functionals.threshold import Threshold, excess, threshold
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


def by_sorting(m: np.ndarray, total: float) -> tuple[np.ndarray, float]:
    """What exceeds the threshold, and the threshold, from a full sort in extended precision."""
    wide = m.ravel().astype(np.longdouble)
    top = wide.max()
    falling = np.sort(wide - top)[::-1]
    sums = np.cumsum(falling) - total
    count = int(np.sum(falling * np.arange(1, wide.size + 1) > sums)) or 1
    rest = sums[count - 1] / count
    return np.maximum(wide - top - rest, 0).reshape(m.shape), top + rest


def found(m: np.ndarray, total: Any, axes: tuple[int, ...] | None = None, lib: Backend | None = None) -> np.ndarray:
    lib = lib or backend("numpy", str(m.dtype))
    x, s = Input("m", m.shape), Input("s", np.shape(total))
    u = excess(x, *threshold(x, s, axes))
    return lib.to_numpy(evaluate([u], {x: lib.asarray(m), s: lib.asarray(np.asarray(total))}, lib)[0])


def entries(name: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    match name:
        case "normal":
            return rng.standard_normal(n)
        case "equal":
            return np.full(n, 0.3)
        case "one huge":
            return np.where(np.arange(n) == n // 2, 1e12, rng.random(n))
        case "heavy tails":
            return rng.standard_cauchy(n)
        case "falling powers":
            return 2.0 ** -np.arange(n)
        case "negative":
            return -5.0 - rng.random(n)
        case "integers":
            return rng.integers(0, 4, n).astype(float)
    return np.sort(rng.random(n))


NAMES = ("normal", "equal", "one huge", "heavy tails", "falling powers", "negative", "integers", "sorted")


@pytest.mark.parametrize("total", [1e-3, 1.0, 50.0, 1e5])
@pytest.mark.parametrize("n", [1, 2, 7, 300, 30000])
@pytest.mark.parametrize("name", NAMES)
def test_one_vector(name: str, n: int, total: float) -> None:
    m = entries(name, n)
    expected, _ = by_sorting(m, total)
    # where entries are much larger than the total, the input alone is rounded by this much
    assert np.allclose(found(m, total), expected.astype(float), rtol=1e-12, atol=1e-13 * max(total, 1.0))


@pytest.mark.parametrize("total", [1.0, 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_a_sort_ends_what_many_sweeps_do_not(name: str, total: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEPS", 1)
    m = np.stack([entries(name, 500), entries(name, 500)[::-1]])
    for one, group in zip(found(m, total, (-1,)), m, strict=True):
        assert np.allclose(one, by_sorting(group, total)[0].astype(float), rtol=1e-11, atol=1e-12 * total)
        assert np.allclose(found(group, total), one, rtol=1e-11, atol=1e-12 * total)


@pytest.mark.parametrize("axes", [(-4,), (-3,), (-2,), (-1,), (-2, -1), (-4, -3), (-3, -1), (-4, -1), (-4, -3, -2, -1)])
def test_groups_along_any_axes(axes: tuple[int, ...], lib: Backend) -> None:
    rng = np.random.default_rng(0)
    m = rng.standard_normal((3, 4, 5, 6))
    kept = [i for i in range(4) if i - 4 not in axes]
    groups = tuple(1 if i - 4 in axes else n for i, n in enumerate(m.shape))
    totals = rng.uniform(0.1, 3.0, groups)
    u = found(m, totals, axes, lib)
    for index in np.ndindex(*(m.shape[i] for i in kept)):
        place: list[Any] = [slice(None)] * 4
        at = [0] * 4
        for i, j in zip(kept, index, strict=True):
            place[i] = at[i] = j
        expected = by_sorting(m[tuple(place)], totals[tuple(at)])[0]
        assert np.allclose(u[tuple(place)], expected.astype(float), atol=1e-13)


@pytest.mark.parametrize("shape", [(21, 64, 128), (2, 5000), (3, 2, 4100)])
@pytest.mark.parametrize("axis", [0, -1])
def test_blocks_and_long_groups(shape: tuple[int, ...], axis: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 1000)
    m = np.random.default_rng(1).standard_normal(shape)
    u = found(m, 1.5, (axis % m.ndim - m.ndim,))
    rows = np.moveaxis(m, axis, -1).reshape(-1, shape[axis])
    expected = np.stack([by_sorting(row, 1.5)[0] for row in rows[:50]])
    assert np.allclose(np.moveaxis(u, axis, -1).reshape(rows.shape)[:50], expected.astype(float), atol=1e-13)
    assert np.allclose(u.sum(axis=axis), 1.5, rtol=1e-12)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e10, 1e20])
def test_single_precision_at_any_size(scale: float, name: str) -> None:
    lib = backend(name, "float32")
    rng = np.random.default_rng(2)
    for n in (5, 20000):
        for total in (0.3 * scale, 1.0):
            m = (scale * rng.standard_normal(n)).astype(np.float32)
            u = found(m, np.float32(total), None, lib)
            expected = by_sorting(m, float(np.float32(total)))[0].astype(float)
            assert u.dtype == np.float32
            assert np.max(np.abs(u - expected)) <= 2e-6 * np.max(expected)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_is_far_apart_does_not_cancel(precision: str) -> None:
    m = np.array([1e20, 1e20, 1e-30, -1e20], precision)
    assert np.array_equal(found(m, 1.0), np.array([0.5, 0.5, 0.0, 0.0], precision))
    assert np.array_equal(found(-m[:1], 1.0), np.ones(1, precision))
    many = np.concatenate([[1e4], np.full(20000, 1.0)]).astype(precision)
    assert np.allclose(found(many, 1e4 + 18000 - 0.1), by_sorting(many, 1e4 + 18000 - 0.1)[0].astype(float), rtol=1e-6)


def test_edges() -> None:
    assert found(np.zeros(0), 1.0).shape == (0,)
    assert found(np.zeros((0, 3)), 1.0, (-1,)).shape == (0, 3)
    assert found(np.zeros((3, 0)), 1.0, (-1,)).shape == (3, 0)
    assert np.array_equal(found(np.array([3.0, 3.0, 1.0]), 0.0), np.zeros(3))
    assert np.array_equal(found(np.array([[3.0, 3.0, 1.0], [0.0, 0.0, 0.0]]), 0.0, (-1,)), np.zeros((2, 3)))
    assert np.isnan(found(np.array([np.nan, 1.0]), 1.0)).any()
    assert np.isnan(found(np.full((3, 2), np.nan), 1.0, (-1,))).all()


def test_a_negative_threshold_is_raised_to_zero() -> None:
    lib = backend()
    for m in (np.array([0.2, 0.1, 0.0]), np.linspace(0.0, 1e-5, 20000), np.array([[0.2, 0.1], [3.0, 0.0]])):
        axes = None if m.ndim == 1 else (-1,)
        shift, rest = Threshold(axes, True).evaluate(lib, m, 1.0)
        assert np.all(shift + rest >= 0.0)
        u = np.maximum(m - shift - rest, 0.0)
        assert np.array_equal(u[:1], m[:1]) and u[-1].sum() <= 1.0 + 1e-15


@pytest.mark.parametrize("nonneg", [False, True])
@pytest.mark.parametrize(("axes", "totals"), [(None, ()), ((-1,), (3, 1)), ((-2,), ()), ((-2,), (1, 4))])
def test_derivatives(axes: tuple[int, ...] | None, totals: tuple[int, ...], nonneg: bool) -> None:
    lib, rng, step = backend(), np.random.default_rng(3), 1e-6
    x, s, d, e, w = (Input(n, z) for n, z in zip("xsdew", ((3, 4), totals, (3, 4), totals, (3, 4)), strict=True))
    u = excess(x, *threshold(x, s, axes, nonneg=nonneg))
    values = {x: rng.random((3, 4)), s: rng.uniform(0.5, 2.5, totals), d: rng.standard_normal((3, 4))}
    values |= {e: rng.standard_normal(totals), w: rng.standard_normal((3, 4))}
    ahead, behind = (
        evaluate([u], {x: values[x] + h * values[d], s: values[s] + h * values[e]}, lib)[0] for h in (step, -step)
    )
    change = (ahead - behind) / (2 * step)
    moved, (in_x, in_s) = jvp([u], {x: d, s: e})[0], vjp([u], [w], [x, s])
    assert moved is not None and in_x is not None and in_s is not None
    forward, first, second = evaluate([moved, in_x, in_s], values, lib)
    assert np.allclose(forward, change, atol=1e-8)
    assert np.sum(first * values[d]) + np.sum(second * values[e]) == pytest.approx(np.sum(values[w] * change), abs=1e-7)


def test_the_function_prints_and_compares_by_its_fields() -> None:
    assert repr(Threshold(None, False)) == "threshold"
    assert Threshold((-1,), True) == Threshold((-1,), True) != Threshold((-1,), False)
