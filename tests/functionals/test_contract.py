"""What must hold for every functional; new ones are found by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from opalg.arrays import backend
from opalg.facts import YES
from opalg.functionals import Functional
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.functionals.members import CASES, MEMBERS, NAMES, SHAPE, inner, offering, some

STEP = 1e-6


def is_convex(f: Functional) -> bool:
    return f.facts.convex is YES


def has_exact_smoothness(f: Functional) -> bool:
    bound = f.facts.smoothness
    return bound is not None and bound.certainty == "exact"


def as_real(v: np.ndarray) -> np.ndarray:
    return np.concatenate([v.real.ravel(), v.imag.ravel()]) if np.iscomplexobj(v) else v.ravel()


def from_real(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "real":
        return x.reshape(SHAPE)
    return (x[: x.size // 2] + 1j * x[x.size // 2 :]).reshape(SHAPE)


def test_something_was_found() -> None:
    names = {type(f).__name__ for f in MEMBERS}
    assert {"SumSquares", "Norm1", "Norm2", "Norm21", "Huber", "Indicator", "PotentialSum"} <= names


@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_value_is_a_number_and_the_argument_is_untouched(f: Functional, kind: str) -> None:
    v = some(np.random.default_rng(0), kind)
    before = v.copy()
    assert isinstance(f.value(v), float) and not np.isnan(f.value(v))
    assert np.array_equal(v, before)


@pytest.mark.parametrize(**offering("gradient"))
def test_gradient_matches_central_differences(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(1)
    for scale in (0.3, 1.0, 3.0):
        v, d = some(rng, kind, scale), some(rng, kind)
        slope = (f.value(v + STEP * d) - f.value(v - STEP * d)) / (2 * STEP)
        assert inner(f.gradient(v), d) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(**offering("gradient"))
def test_gradient_of_a_compound_argument_is_not_lost(f: Functional, kind: str) -> None:
    v = some(np.random.default_rng(2), kind)
    x = Input("x", SHAPE, kind)
    (found,) = evaluate([f.define_gradient(-(0.5 * x))], {x: -2.0 * v}, backend())
    assert np.allclose(found, f.gradient(v), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(**offering("gradient"))
def test_hessian_product_matches_differences_of_the_gradient(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(3)
    v, d = some(rng, kind), some(rng, kind)
    change = (f.gradient(v + STEP * d) - f.gradient(v - STEP * d)) / (2 * STEP)
    assert np.allclose(f.hessian_vector(v, d), change, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(**offering("gradient"))
def test_hessian_product_is_symmetric_and_right_at_zero(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(4)
    v, a, b = np.zeros_like(some(rng, kind)), some(rng, kind), some(rng, kind)
    assert inner(f.hessian_vector(v, a), b) == pytest.approx(inner(a, f.hessian_vector(v, b)), rel=1e-9, abs=1e-12)
    change = (f.gradient(v + STEP * a) - f.gradient(v - STEP * a)) / (2 * STEP)
    assert np.allclose(f.hessian_vector(v, a), change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(**offering("prox"))
def test_prox_is_not_beaten_by_any_other_point(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(5)
    for t in (0.05, 0.7, 4.0):
        v = some(rng, kind)
        u = f.prox(v, t)
        best = f.value(u) + np.sum(np.abs(u - v) ** 2) / (2 * t)
        assert np.isfinite(best)
        for scale in (1e-6, 1e-3, 1e-1, 1.0):
            for _ in range(10):
                other = u + scale * some(rng, kind)
                assert best <= f.value(other) + np.sum(np.abs(other - v) ** 2) / (2 * t) + 1e-12 * (1 + abs(best))


# the values of an indicator do not lead a minimiser; test_sets.py tests their projections
@pytest.mark.parametrize(**offering("prox", lambda f: not f.facts.indicator))
def test_prox_matches_a_brute_force_minimiser(f: Functional, kind: str) -> None:
    v, t = some(np.random.default_rng(6), kind), 0.6

    def objective(x: np.ndarray) -> float:
        u = from_real(x, kind)
        return f.value(u) + float(np.sum(np.abs(u - v) ** 2)) / (2 * t)

    found = minimize(objective, as_real(0.5 * v), method="Powell", options={"xtol": 1e-9, "ftol": 1e-14})
    excess = found.fun - objective(as_real(f.prox(v, t)))
    assert -1e-9 <= excess <= 1e-2
    # the objective is strongly convex with modulus 1 / t, so a point of small excess is close
    assert np.sum((found.x - as_real(f.prox(v, t))) ** 2) <= 2 * t * excess + 1e-8


@pytest.mark.parametrize(**offering("prox", is_convex))
def test_prox_is_firmly_nonexpansive(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(7)
    for t in (0.1, 1.3):
        a, b = some(rng, kind), some(rng, kind)
        moved = f.prox(a, t) - f.prox(b, t)
        assert inner(moved, moved) <= inner(moved, a - b) + 1e-12


@pytest.mark.parametrize(**offering("prox"))
def test_prox_with_step_zero_changes_nothing_in_the_domain(f: Functional, kind: str) -> None:
    v = f.prox(some(np.random.default_rng(8), kind), 0.5)
    assert np.allclose(f.prox(v, 0.0), v, atol=1e-14)
    zero = f.prox(np.zeros_like(v), 0.5)
    assert np.allclose(f.prox(zero, 0.0), zero, atol=1e-14)
    x, t = Input("x", SHAPE, kind), Input("t", ())
    (found,) = evaluate([f.define_prox(x, t)], {x: v, t: np.asarray(0.0)}, backend())
    assert np.allclose(found, v, atol=1e-14)


@pytest.mark.parametrize(**offering("prox"))
def test_derivatives_of_the_prox_match_differences(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(9)
    lib, t = backend(), 0.4
    x, step, d, u = Input("x", SHAPE, kind), Input("t", ()), Input("d", SHAPE, kind), Input("u", SHAPE, kind)
    out = f.define_prox(x, step)
    forward, backward = jvp([out], {x: d})[0], vjp([out], [u], [x])[0]
    v, direction, weight = some(rng, kind), some(rng, kind), some(rng, kind)
    values = {x: v, d: direction, u: weight, step: np.asarray(t)}
    change = (f.prox(v + STEP * direction, t) - f.prox(v - STEP * direction, t)) / (2 * STEP)
    moved = np.zeros(SHAPE) if forward is None else evaluate([forward], values, lib)[0]
    back = np.zeros(SHAPE) if backward is None else evaluate([backward], values, lib)[0]
    assert np.allclose(moved, change, rtol=1e-5, atol=1e-7)
    assert inner(back, direction) == pytest.approx(inner(weight, change), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(**offering("prox"))
def test_derivatives_of_the_prox_at_zero_are_finite(f: Functional, kind: str, precision: str) -> None:
    rng, lib = np.random.default_rng(10), backend("numpy", precision)
    x, step, d = Input("x", SHAPE, kind), Input("t", ()), Input("d", SHAPE, kind)
    out = f.define_prox(x, step)
    for t in (0.0, 0.3):
        parts = [jvp([out], {x: d})[0], *vjp([out], [d], [x, step]), jvp([out], {step: Input("e", ())})[0]]
        arrays = {x: np.zeros(SHAPE), d: 100 * some(rng, kind), step: t, Input("e", ()): 1.0}
        bound = {key: lib.asarray(np.asarray(value), key.kind) for key, value in arrays.items()}
        for value in evaluate([p for p in parts if p is not None], bound, lib):
            assert np.all(np.isfinite(value))


@pytest.mark.parametrize(**offering("prox", lambda f: is_convex(f) and f.offers("conjugate_value")))
def test_moreau_identity(f: Functional, kind: str) -> None:
    """The prox of the conjugate against its own optimality: ``q - p`` over t is a point where f meets p."""
    rng = np.random.default_rng(11)
    for t in (0.3, 2.0):
        q = some(rng, kind)
        p = f.conjugate.prox(q, t)
        best = f.conjugate.value(p) + np.sum(np.abs(p - q) ** 2) / (2 * t)
        assert np.isfinite(best)
        assert np.allclose(p + t * f.prox(q / t, 1 / t), q, atol=1e-12)
        for scale in (1e-4, 1e-2, 1.0):
            for _ in range(8):
                other = p + scale * some(rng, kind)
                other = f.conjugate.prox(other, 1e-9) if np.isinf(f.conjugate.value(other)) else other
                assert best <= f.conjugate.value(other) + np.sum(np.abs(other - q) ** 2) / (2 * t) + 1e-7


@pytest.mark.parametrize(**offering("prox", is_convex))
def test_conjugate_prox_with_step_zero_is_finite(f: Functional, kind: str) -> None:
    assert np.all(np.isfinite(f.conjugate.prox(10 * some(np.random.default_rng(12), kind), 0.0)))


@pytest.mark.parametrize(**offering("conjugate_value", is_convex))
def test_fenchel_young(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(13)
    for t in (0.2, 1.0):
        v = some(rng, kind)
        u = f.prox(v, t)
        q = (v - u) / t
        assert f.value(u) + f.conjugate.value(q) == pytest.approx(inner(u, q), rel=1e-9, abs=1e-9)
        w = f.prox(some(rng, kind), 0.5)
        assert f.value(w) + f.conjugate.value(q) >= inner(w, q) - 1e-9


@pytest.mark.parametrize(**offering("dual_projection", is_convex))
def test_dual_projection_lands_in_the_domain_and_is_nearest(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(14)
    for scale in (0.1, 3.0):
        q = scale * some(rng, kind)
        p = f.conjugate.prox(q, 0.0)
        assert np.isfinite(f.conjugate.value(p))
        assert np.allclose(f.conjugate.prox(p, 0.0), p, atol=1e-12)
        other = f.conjugate.prox(some(rng, kind), 0.0)
        assert inner(q - p, other - p) <= 1e-10


@pytest.mark.parametrize(**offering("dual_gauge", is_convex))
def test_dual_gauge_is_the_largest_scaling_into_the_domain(f: Functional, kind: str) -> None:
    q = some(np.random.default_rng(15), kind)
    x = Input("q", SHAPE, kind)
    gauge = float(evaluate([f.define_dual_gauge(x)], {x: q}, backend())[0])
    assert gauge >= 0
    if gauge == 0:
        assert np.isfinite(f.conjugate.value(1e3 * q))
        return
    if np.isfinite(1 / gauge):
        assert np.isfinite(f.conjugate.value(q * (1 - 1e-9) / gauge))
        assert np.isinf(f.conjugate.value(q * 1.001 / gauge)) or gauge > 1e100


@pytest.mark.parametrize(**offering("gradient"))
def test_smoothness_and_strong_convexity_are_not_falsified(f: Functional, kind: str) -> None:
    rng, facts = np.random.default_rng(16), f.facts
    top = None if facts.smoothness is None else facts.smoothness.value
    low = None if facts.strong_convexity is None else float(evaluate([facts.strong_convexity], {}, backend())[0])
    reached = 0.0
    for scale in (1e-3, 0.1, 1.0, 3.0):
        for _ in range(30):
            a = some(rng, kind, scale)
            b = a + 0.1 * scale * some(rng, kind) * rng.integers(0, 2, SHAPE)
            change = f.gradient(b) - f.gradient(a)
            size = np.linalg.norm(b - a)
            if size == 0:
                continue
            reached = max(reached, float(np.linalg.norm(change) / size))
            if facts.convex is YES:
                assert inner(change, b - a) >= (0.0 if low is None else low) * size**2 * (1 - 1e-9) - 1e-13
    if top is not None:
        assert reached <= top * (1 + 1e-7)


@pytest.mark.parametrize(**offering("gradient", has_exact_smoothness))
def test_exact_smoothness_is_nearly_reached(f: Functional, kind: str) -> None:
    bound = f.facts.smoothness
    assert bound is not None
    reached = 0.0
    for place in np.linspace(-6.0, 6.0, 241):
        v = np.full(SHAPE, place).astype(complex if kind == "complex" else float)
        reached = max(reached, float(np.max(np.abs(f.hessian_vector(v, np.ones_like(v))))))
    assert reached == pytest.approx(bound.value, rel=2e-2)


@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_precision_and_kind_are_kept(f: Functional, kind: str) -> None:
    dtype = np.complex64 if kind == "complex" else np.float32
    v = some(np.random.default_rng(17), kind).astype(dtype)
    assert np.isfinite(f.value(v)) or f.facts.indicator
    if f.offers("prox"):
        assert f.prox(v, 0.3).dtype == dtype and f.prox(v, 0.3).shape == SHAPE
        assert np.allclose(f.prox(v, 0.3), f.prox(v.astype(complex if kind == "complex" else float), 0.3), atol=1e-5)
    if f.offers("gradient"):
        assert f.gradient(v).dtype == dtype
        assert f.hessian_vector(v, v).dtype == dtype


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_other_libraries_agree_with_numpy(f: Functional, kind: str, library: str) -> None:
    lib = backend(library, "float64")
    v = some(np.random.default_rng(18), kind)
    other = lib.asarray(v)
    assert f.value(other) == pytest.approx(f.value(v), rel=1e-12)
    if f.offers("prox"):
        assert np.allclose(lib.to_numpy(f.prox(other, 0.3)), f.prox(v, 0.3), rtol=1e-12, atol=1e-14)
    if f.offers("gradient"):
        assert np.allclose(lib.to_numpy(f.gradient(other)), f.gradient(v), rtol=1e-12, atol=1e-14)
        assert np.allclose(lib.to_numpy(f.hessian_vector(other, other)), f.hessian_vector(v, v), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_text_names_the_argument(f: Functional, kind: str) -> None:
    assert "x_1" in f.text("x_1") and "x_1" in f.latex("x_1")
    assert type(f).__name__ in repr(f)


@pytest.mark.parametrize(**offering("prox", lambda f: f.facts.separable is YES))
def test_separable_functionals_have_separate_entries(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(19)
    v = some(rng, kind)
    changed = v.copy()
    changed[0, 0] += 1.0
    differs = f.prox(v, 0.3) != f.prox(changed, 0.3)
    assert not differs.ravel()[1:].any()
