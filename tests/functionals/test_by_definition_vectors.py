"""Norms of groups, magnitudes in order and matrices, and projections, by sorting, pooling and decomposing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import opalg as oa
from opalg import functionals as fs
from tests.functionals.definitions import STEPS, bisect, inner, onto_ball1, onto_simplex, ordered_prox

RNG = np.random.default_rng(11)
M = RNG.normal(size=(6, 6))
METRIC = M @ M.T + np.eye(6)
NORMAL = RNG.normal(size=(3, 4))
FALLING = np.sort(RNG.uniform(0, 2, 12))[::-1]
CENTER = RNG.normal(size=(3, 4))
TOTALS = np.array([0.5, 1.0, 2.0, 3.0])
GROUP_WEIGHTS = np.array([0.5, 1.0, 0.0, 2.0])


@dataclass(frozen=True)
class Case:
    """A functional, its value and prox by definition, and the shape and kinds of its arguments."""

    functional: Any
    value: Callable[[Any], Any]
    prox: Callable[[Any, Any], Any]
    shape: tuple[int, ...] = (3, 4)
    complex: bool = True
    convex: bool = True


def grouped(function: Callable[..., Any], axes: int | tuple[int, ...], *data: Any) -> Callable[..., Any]:
    """Apply a function of vectors to the groups along some axes, each with its own entry of the data."""
    axes = (axes,) if isinstance(axes, int) else axes

    def apply(v: Any, *rest: Any) -> Any:
        moved = np.moveaxis(v, axes, range(len(axes)))
        flat = moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1)
        spread = [np.broadcast_to(np.asarray(d), moved.shape[len(axes) :]).ravel() for d in data]
        columns = [function(flat[:, k], *(d[k] for d in spread), *rest) for k in range(flat.shape[1])]
        result = np.stack(columns, axis=-1)
        if result.ndim == 1:
            return result
        return np.moveaxis(result.reshape(moved.shape), range(len(axes)), axes)

    return apply


def shrink(v: Any, w: Any, t: Any) -> Any:
    length = np.linalg.norm(v)
    return v * max(1 - t * w / length, 0) if length > 0 else v


def length(v: Any, w: Any = 1.0) -> Any:
    return w * np.linalg.norm(v)


def largest_prox(v: Any, t: Any) -> Any:
    return v - t * onto_ball1(v / t, 1.0)


def length_huber(v: Any, delta: float) -> Any:
    s = np.linalg.norm(v)
    return s * s / 2 if s <= delta else delta * (s - delta / 2)


def length_huber_prox(v: Any, delta: float, t: Any) -> Any:
    s = np.linalg.norm(v)
    return v * (bisect(lambda u: u + t * min(u, delta) - s, 0, s) / s) if s else v


def thresholded(v: Any, t: Any) -> Any:
    u, s, h = scipy.linalg.svd(v.astype(complex if np.iscomplexobj(v) else float), full_matrices=False)
    return u @ np.diag(np.maximum(s - t, 0)) @ h


def low_rank(v: Any, rank: int) -> Any:
    u, s, h = scipy.linalg.svd(v, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ h[:rank]


def positive(v: Any) -> Any:
    values, vectors = scipy.linalg.eigh((v + np.conj(v.T)) / 2)
    return (vectors * np.maximum(values, 0)) @ np.conj(vectors.T)


def cone(v: Any) -> Any:
    size = np.linalg.norm(v[1:])
    if size <= v[0]:
        return v
    if size <= -v[0]:
        return 0 * v
    return np.concatenate([[1.0], v[1:] / size]) * (v[0] + size) / 2


def within(inside: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda v: 0.0 if inside(v) else np.inf


def onto_ball2(v: Any, radius: float) -> Any:
    return v * min(1.0, radius / np.linalg.norm(v))


def ordered(v: Any) -> Any:
    return np.sum(FALLING * np.sort(np.abs(v).ravel())[::-1])


def set_case(chosen: Any, inside: Callable[[Any], Any], project: Callable[[Any], Any], **more: Any) -> Case:
    return Case(fs.Indicator(chosen), within(inside), lambda v, t: project(v), **more)


def parts(v: Any) -> tuple[Any, Any]:
    return v[..., :2], v[..., 2:]


CASES = {
    "norm2": Case(fs.Norm2(), length, lambda v, t: shrink(v.ravel(), 1.0, t).reshape(v.shape)),
    "norm_inf": Case(fs.NormInf(), lambda v: np.max(np.abs(v)), largest_prox),
    "norm_inf-axis": Case(fs.NormInf(axis=0), lambda v: np.sum(np.max(np.abs(v), axis=0)), grouped(largest_prox, 0)),
    "norm_inf-axes": Case(
        fs.NormInf(axis=(0, -1)),
        lambda v: np.sum(np.max(np.abs(v), axis=(0, 2))),
        grouped(largest_prox, (0, 2)),
        shape=(2, 3, 4),
    ),
    "norm21": Case(fs.Norm21(), lambda v: np.sum(np.linalg.norm(v, axis=0)), grouped(shrink, 0, 1.0)),
    "norm21-last": Case(fs.Norm21(axis=-1), lambda v: np.sum(np.linalg.norm(v, axis=1)), grouped(shrink, 1, 1.0)),
    "norm21-weights": Case(
        fs.Norm21(axis=0, weights=GROUP_WEIGHTS),
        lambda v: np.sum(GROUP_WEIGHTS * np.linalg.norm(v, axis=0)),
        grouped(shrink, 0, GROUP_WEIGHTS),
    ),
    "norm21-parameter": Case(
        fs.Norm21(axis=0, weights=oa.Parameter(GROUP_WEIGHTS[None], nonneg=True)),
        lambda v: np.sum(GROUP_WEIGHTS * np.linalg.norm(v, axis=0)),
        grouped(shrink, 0, GROUP_WEIGHTS),
    ),
    "norm21-axes": Case(
        fs.Norm21(axis=(0, 2)),
        lambda v: np.sum(np.sqrt(np.sum(np.abs(v) ** 2, axis=(0, 2)))),
        grouped(shrink, (0, 2), 1.0),
        shape=(2, 3, 4),
    ),
    "group_norm": Case(
        fs.GroupNorm([2, 2], weights=[0.5, 2.0]),
        lambda v: sum(w * np.sum(np.linalg.norm(p, axis=-1)) for w, p in zip((0.5, 2.0), parts(v), strict=True)),
        lambda v, t: np.concatenate(
            [grouped(shrink, 1, w)(p, t) for w, p in zip((0.5, 2.0), parts(v), strict=True)], axis=-1
        ),
    ),
    "huber_norm21": Case(
        fs.HuberNorm21(0.8, axis=0),
        lambda v: np.sum(grouped(length_huber, 0, 0.8)(v)),
        grouped(length_huber_prox, 0, 0.8),
    ),
    "ordered_norm1": Case(
        fs.OrderedNorm1(FALLING), ordered, lambda v, t: ordered_prox(v.ravel(), FALLING, t).reshape(v.shape)
    ),
    "ordered_norm1-parameter": Case(
        fs.OrderedNorm1(oa.Parameter(FALLING, nonneg=True)),
        ordered,
        lambda v, t: ordered_prox(v.ravel(), FALLING, t).reshape(v.shape),
    ),
    "nuclear_norm": Case(fs.NuclearNorm(), lambda v: np.sum(scipy.linalg.svdvals(v)), thresholded),
    "quadratic-matrix": Case(
        fs.Quadratic(oa.Matrix(METRIC)),
        lambda v: inner(v, METRIC @ v),
        lambda v, t: scipy.linalg.solve(np.eye(6) + 2 * t * METRIC, v, assume_a="pos"),
        shape=(6,),
        complex=False,
    ),
    "ball2": set_case(oa.ball2(1.5), lambda v: np.linalg.norm(v) <= 1.5, lambda v: onto_ball2(v, 1.5)),
    "ball2-center": set_case(
        oa.ball2(0.5, center=CENTER),
        lambda v: np.linalg.norm(v - CENTER) <= 0.5,
        lambda v: CENTER + onto_ball2(v - CENTER, 0.5),
    ),
    "ball2-groups": set_case(
        oa.ball2(TOTALS, axis=0),
        lambda v: np.all(np.linalg.norm(v, axis=0) <= TOTALS),
        grouped(onto_ball2, 0, TOTALS),
    ),
    "ball1": set_case(oa.ball1(2.0), lambda v: np.sum(np.abs(v)) <= 2.0, lambda v: onto_ball1(v, 2.0)),
    "ball1-center": set_case(
        oa.ball1(0.5, center=CENTER),
        lambda v: np.sum(np.abs(v - CENTER)) <= 0.5,
        lambda v: CENTER + onto_ball1(v - CENTER, 0.5),
    ),
    "ball1-groups": set_case(
        oa.ball1(oa.Parameter(TOTALS, positive=True), axis=0),
        lambda v: np.all(np.sum(np.abs(v), axis=0) <= TOTALS),
        grouped(onto_ball1, 0, TOTALS),
    ),
    "simplex": set_case(
        oa.simplex(2.0),
        lambda v: np.all(v >= 0) and abs(np.sum(v) - 2) < 1e-12,
        lambda v: onto_simplex(v.ravel(), 2.0).reshape(v.shape),
        complex=False,
    ),
    "simplex-groups": set_case(
        oa.simplex(TOTALS, axis=0),
        lambda v: np.all(v >= 0) and np.all(np.abs(np.sum(v, axis=0) - TOTALS) < 1e-12),
        grouped(onto_simplex, 0, TOTALS),
        complex=False,
    ),
    "affine": set_case(
        oa.affine(oa.Sum((3, 4), axes=0), TOTALS),
        lambda v: np.allclose(np.sum(v, axis=0), TOTALS, atol=1e-12),
        lambda v: v - (np.sum(v, axis=0) - TOTALS) / 3,
    ),
    "halfspace": set_case(
        oa.halfspace(NORMAL, -0.5),
        lambda v: inner(NORMAL, v) <= -0.5 + 1e-12,
        lambda v: v - NORMAL * max(inner(NORMAL, v) + 0.5, 0) / np.sum(NORMAL**2),
    ),
    "halfspaces": set_case(
        oa.halfspaces(oa.Diagonal(np.array([1.0, 2.0, -0.5])), np.array([0.1, -0.2, 0.3])),
        lambda v: np.all(np.array([1.0, 2.0, -0.5]) * v <= np.array([0.1, -0.2, 0.3]) + 1e-14),
        lambda v: np.array([min(v[0], 0.1), min(v[1], -0.1), max(v[2], -0.6)]),
        shape=(3,),
        complex=False,
    ),
    "second_order_cone": set_case(
        oa.second_order_cone,
        lambda v: np.all(np.linalg.norm(v[1:], axis=0) <= v[0]),
        grouped(cone, 0),
        complex=False,
    ),
    "second_order_cone-axis": set_case(
        fs.SecondOrderCone(axis=-1),
        lambda v: np.all(np.linalg.norm(v[:, 1:], axis=1) <= v[:, 0]),
        grouped(cone, 1),
        complex=False,
    ),
    "psd_cone": set_case(
        oa.psd_cone,
        lambda v: np.allclose(v, np.conj(v.T), atol=1e-12) and np.min(scipy.linalg.eigvalsh(v)) > -1e-12,
        positive,
        shape=(4, 4),
    ),
    "rank_ball": set_case(
        oa.rank_ball(2), lambda v: np.linalg.matrix_rank(v) <= 2, lambda v: low_rank(v, 2), shape=(4, 5), convex=False
    ),
    "point": set_case(fs.Point(CENTER), lambda v: np.array_equal(v, CENTER), lambda v: CENTER + 0 * v),
}
SETS = [name for name, case in CASES.items() if isinstance(case.functional, fs.Indicator)]
NORMS = [name for name in CASES if name not in SETS]
KINDS = [(name, kind) for name, case in CASES.items() for kind in ("real", "complex") if kind == "real" or case.complex]


def draw(case: Case, kind: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    v = 2 * rng.normal(size=case.shape)
    return v + 2j * rng.normal(size=case.shape) if kind == "complex" else v


def check(found: Any, expected: Any, tolerance: float, scale: Any) -> None:
    assert np.max(np.abs(found - expected)) <= tolerance * np.max(np.abs(scale)), np.max(np.abs(found - expected))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_values(name: str, kind: str) -> None:
    case = CASES[name]
    for size in (1e-3, 1.0, 50.0):
        v = size * draw(case, kind)
        np.testing.assert_allclose(case.functional.value(v), case.value(v), rtol=1e-12)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_prox(name: str, kind: str) -> None:
    case = CASES[name]
    for seed, t in enumerate(STEPS):
        for size in (1.0, 200.0):
            v = size * draw(case, kind, seed)
            check(case.functional.prox(v, t), case.prox(v, t), 1e-12, v)
            single = v.astype(np.complex64 if kind == "complex" else np.float32)
            u = case.functional.prox(single, t)
            assert u.dtype == single.dtype
            wide = single.astype(v.dtype)
            check(u, case.prox(wide, t), 2e-6, v)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_step_for_each_sample(name: str, kind: str) -> None:
    case = CASES[name]
    v = np.stack([draw(case, kind, seed) for seed in range(4)])
    t = np.array([0.3, 1.0, 4.0, 100.0])
    check(case.functional.prox(v, t), np.stack([case.prox(a, s) for a, s in zip(v, t, strict=True)]), 1e-12, v)


@pytest.mark.parametrize("name", CASES)
def test_a_step_of_zero(name: str) -> None:
    case = CASES[name]
    v = draw(case, "real")
    expected = case.prox(v, 1.0) if name in SETS else v
    check(case.functional.prox(v, 0.0), expected, 1e-14, v)
    check(case.functional.prox(np.stack([v, v]), np.array([0.0, 1.0]))[0], expected, 1e-14, v)


@pytest.mark.parametrize("name", CASES)
def test_zero_stays_where_norms_are_least(name: str) -> None:
    case = CASES[name]
    zero = np.zeros(case.shape)
    u = case.functional.prox(zero, 1.0)
    assert np.all(np.isfinite(u))
    if name in NORMS:
        assert not np.any(u) and case.functional.value(zero) == 0.0


@pytest.mark.parametrize("name", CASES)
def test_every_library(name: str, lib: oa.Backend) -> None:
    case = CASES[name]
    for kind in ("real", "complex") if case.complex else ("real",):
        v = draw(case, kind)
        u = case.functional.prox(lib.asarray(v), 0.7)
        assert type(u) is type(lib.asarray(v))
        check(lib.to_numpy(u), case.prox(v, 0.7), 1e-12, v)
        np.testing.assert_allclose(case.functional.value(lib.asarray(v)), case.value(v), rtol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_sets_project_and_know_what_they_contain(name: str) -> None:
    case = CASES[name]
    chosen = case.functional.set
    v = 3 * draw(case, "real")
    u = chosen.project(v)
    check(u, case.prox(v, 1.0), 1e-12, v)
    assert chosen.contains(u)
    assert not chosen.contains(v)
    assert case.functional.value(u) == 0.0


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].convex])
def test_conjugates(name: str) -> None:
    """At ``q = (v - u) / t`` for a prox u, Fenchel's inequality is an equality."""
    case = CASES[name]
    v = draw(case, "real", 3)
    u = case.prox(v, 0.7)
    q = (v - u) / 0.7
    value = 0.0 if name in SETS else case.value(u)
    np.testing.assert_allclose(case.functional.conjugate.value(q), inner(q, u) - value, rtol=1e-9, atol=1e-9)
    check(case.functional.conjugate.prox(v, 2.0), v - 2.0 * case.prox(v / 2.0, 0.5), 1e-12, v)
    if name in ("norm2", "norm_inf", "norm21", "nuclear_norm", "ordered_norm1"):
        big = 1.001 * (draw(case, "real") + case.prox(draw(case, "real"), 1.0))
        assert case.functional.conjugate.value(10 * big) == np.inf


@pytest.mark.parametrize("name", [name for name in SETS if CASES[name].convex])
def test_distances_and_support_functions(name: str) -> None:
    case = CASES[name]
    chosen = case.functional.set
    v = max((3 * sign * draw(case, "real", 4) for sign in (1, -1)), key=lambda w: np.linalg.norm(w - case.prox(w, 1.0)))
    nearest = case.prox(v, 1.0)
    gap = np.linalg.norm(v - nearest)
    assert gap > 0
    near, square = fs.Distance(chosen), fs.SquaredDistance(chosen)
    np.testing.assert_allclose([near.value(v), square.value(v)], [gap, gap**2], rtol=1e-10)
    check(square.gradient(v), 2 * (v - nearest), 1e-12, v)
    for t in STEPS:
        check(near.prox(v, t), v - (v - nearest) * min(t / gap, 1), 1e-12, v)
        check(square.prox(v, t), (v + 2 * t * nearest) / (1 + 2 * t), 1e-12, v)
    support = fs.SupportFunction(chosen)
    np.testing.assert_allclose(support.value(v - nearest), inner(v - nearest, nearest), rtol=1e-9, atol=1e-9)
    for t in (0.01, 1.0, 30.0):
        check(support.prox(v, t), v - t * case.prox(v / t, 1.0), 1e-12, np.abs(v) + t)
    assert support.conjugate.value(nearest) == 0.0
    assert support.conjugate.value(v) == np.inf


@pytest.mark.parametrize("name", ["norm2", "norm21-axes", "huber_norm21", "quadratic-matrix"])
def test_gradients_where_there_are(name: str) -> None:
    case = CASES[name]
    v, d = draw(case, "real", 5), draw(case, "real", 6)
    expected = (case.value(v + 1e-5 * d) - case.value(v - 1e-5 * d)) / 2e-5
    if not case.functional.offers("gradient"):
        with pytest.raises(oa.UnsupportedError, match=r"gradient"):
            case.functional.gradient(v)
        return
    np.testing.assert_allclose(inner(case.functional.gradient(v), d), expected, rtol=1e-7)
    bent = (case.functional.gradient(v + 1e-5 * d) - case.functional.gradient(v - 1e-5 * d)) / 2e-5
    np.testing.assert_allclose(case.functional.hessian_vector(v, d), bent, rtol=1e-6, atol=1e-7)


def test_overlapping_groups_add_up_their_norms(rng: np.random.Generator) -> None:
    groups, weights = [[0, 1, 2, 7], [2, 3], [5, 11, 3]], np.array([1.0, 0.5, 3.0])
    x = oa.Variable((3, 4), name="x")
    v = rng.normal(size=(3, 4))
    expected = sum(w * np.linalg.norm(v.ravel()[g]) for w, g in zip(weights, groups, strict=True))
    np.testing.assert_allclose(oa.group_norm(x, groups, weights=weights).value(v), expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["norm2", "norm21", "norm_inf", "nuclear_norm", "ordered_norm1", "ball2", "ball1"])
@pytest.mark.parametrize("size", [1e20, 1e-30])
def test_single_precision_far_from_one(name: str, size: float) -> None:
    case = CASES[name]
    v = (size * draw(case, "real")).astype(np.float32)
    t = np.float32(size)
    wide = v.astype(float)
    u = case.functional.prox(v, t)
    if name in SETS and size < 1:
        expected = wide
    elif name in SETS:
        top = np.abs(wide) == np.max(np.abs(wide))
        expected = 1.5 * wide / np.linalg.norm(wide) if name == "ball2" else 2.0 * np.sign(wide) * top
    else:
        expected = size * case.prox(wide / size, float(t) / size)
    assert u.dtype == np.float32
    check(u, expected, 1e-5, expected)


def test_one_element_and_empty() -> None:
    for f in (fs.Norm2(), fs.NormInf(), fs.Norm21(axis=0), fs.OrderedNorm1([1.0])):
        assert f.value(np.array([-2.5])) == 2.5
        np.testing.assert_allclose(f.prox(np.array([-2.5]), 0.5), [-2.0])
    for f in (fs.Norm2(), fs.NormInf(), fs.Norm21(axis=0), fs.NuclearNorm()):
        assert f.value(np.zeros((0, 3))) == 0.0
        assert f.prox(np.zeros((0, 3)), 1.0).shape == (0, 3)
    for chosen in (oa.ball1(), oa.ball2(), oa.nonneg, oa.psd_cone):
        assert chosen.project(np.zeros((0, 0))).shape == (0, 0)
