"""What must hold for every functional; new ones are found by themselves.

The kit for functionals, which is tested on seeded faults, looks at values, derivatives, proxes, conjugates, facts and
manners. Beside it stands what users of other libraries do not see: expressions in place of arrays, derivatives of the
prox, the dual domain, and other array libraries.
"""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.facts import YES
from opalg.functionals import Functional
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from opalg.testing import check_functional
from opalg.testing.catalogue import shape_for
from tests.functionals.members import CASES, MEMBERS, NAMES, inner, kinds, offering, point

STEP = 1e-6
SEEN_ON_REAL_ARRAYS = ("sizes", "layout", "repeatable", "algebra")
SEEN_ON_SIMPLER_MEMBERS = ("brute_force", "layout", "repeatable", "inputs", "fresh")


def is_convex(f: Functional) -> bool:
    return f.facts.convex is YES


def has_exact_smoothness(f: Functional) -> bool:
    bound = f.facts.smoothness
    return bound is not None and bound.certainty == "exact"


def kind_of_member(f: Functional) -> tuple[type, ...]:
    """Its class, and those of what it is made of."""
    return type(f), *(type(getattr(f, name, None)) for name in ("set", "functional"))


def first_members(count: int) -> set[Functional]:
    """The first members of every kind."""
    kept: dict[tuple[type, ...], list[Functional]] = {}
    for f in MEMBERS:
        kept.setdefault(kind_of_member(f), []).append(f)
    return {f for members in kept.values() for f in members[:count]}


FIRST = first_members(2)


def test_something_was_found() -> None:
    names = {type(f).__name__ for f in MEMBERS}
    assert {"SumSquares", "Norm1", "Norm2", "Norm21", "Huber", "Indicator", "PotentialSum"} <= names


@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_the_kit_finds_nothing(f: Functional, kind: str) -> None:
    """The first two members of a class are tried on everything; with other arrays, all are (`test_functionals`)."""
    skip = SEEN_ON_REAL_ARRAYS if kind == "complex" and "real" in kinds(f) else ()
    skip += SEEN_ON_SIMPLER_MEMBERS if f not in FIRST else ()
    report = check_functional(f, kinds=[kind], skip=skip)
    assert report, str(report)
    assert {"value", "facts", "dtype", "missing", "extremes"} <= set(report.checked)
    assert f.offers("prox") == ("prox" in report.checked)
    assert f.offers("gradient") == ("gradient" in report.checked)


# Expressions in place of arrays.


@pytest.mark.parametrize(**offering("gradient"))
def test_gradient_of_a_compound_argument_is_not_lost(f: Functional, kind: str) -> None:
    v = point(f, kind, 2)
    x = Input("x", v.shape, kind)
    (found,) = evaluate([f.define_gradient(-(0.5 * x))], {x: -2.0 * v}, backend())
    assert np.allclose(found, f.gradient(v), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(**offering("gradient"))
def test_hessian_product_is_right_at_zero(f: Functional, kind: str) -> None:
    a, b = point(f, kind, 4), point(f, kind, 5)
    v = np.zeros_like(a)
    assert inner(f.hessian_vector(v, a), b) == pytest.approx(inner(a, f.hessian_vector(v, b)), rel=1e-9, abs=1e-12)
    change = (f.gradient(v + STEP * a) - f.gradient(v - STEP * a)) / (2 * STEP)
    assert np.allclose(f.hessian_vector(v, a), change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(**offering("prox"))
def test_prox_of_an_expression_with_step_zero(f: Functional, kind: str) -> None:
    """The step is an input here, whose value is not known when the formula is written."""
    v = f.prox(point(f, kind, 8), 0.5)
    x, t = Input("x", v.shape, kind), Input("t", ())
    (found,) = evaluate([f.define_prox(x, t)], {x: v, t: np.asarray(0.0)}, backend())
    assert np.allclose(found, v, atol=1e-13)
    zero = f.prox(np.zeros_like(v), 0.5)
    assert np.allclose(f.prox(zero, 0.0), zero, atol=1e-13)


# Derivatives of the prox.


@pytest.mark.parametrize(**offering("prox"))
def test_derivatives_of_the_prox_match_differences(f: Functional, kind: str) -> None:
    lib, t = backend(), 0.4
    v, direction, weight = point(f, kind, 9), point(f, kind, 90), point(f, kind, 91)
    x, step, d, u = Input("x", v.shape, kind), Input("t", ()), Input("d", v.shape, kind), Input("u", v.shape, kind)
    out = f.define_prox(x, step)
    forward, backward = jvp([out], {x: d})[0], vjp([out], [u], [x])[0]
    values = {x: v, d: direction, u: weight, step: np.asarray(t)}
    change = (f.prox(v + STEP * direction, t) - f.prox(v - STEP * direction, t)) / (2 * STEP)
    moved = np.zeros(v.shape) if forward is None else evaluate([forward], values, lib)[0]
    back = np.zeros(v.shape) if backward is None else evaluate([backward], values, lib)[0]
    assert np.allclose(moved, change, rtol=1e-5, atol=1e-7)
    assert inner(back, direction) == pytest.approx(inner(weight, change), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(**offering("prox"))
def test_derivatives_of_the_prox_at_zero_are_finite(f: Functional, kind: str, precision: str) -> None:
    lib, shape = backend("numpy", precision), shape_for(f)
    x, step, d = Input("x", shape, kind), Input("t", ()), Input("d", shape, kind)
    out = f.define_prox(x, step)
    for t in (0.0, 0.3):
        parts = [jvp([out], {x: d})[0], *vjp([out], [d], [x, step]), jvp([out], {step: Input("e", ())})[0]]
        arrays = {x: np.zeros(shape), d: 100 * point(f, kind, 10), step: t, Input("e", ()): 1.0}
        bound = {key: lib.asarray(np.asarray(value), key.kind) for key, value in arrays.items()}
        for value in evaluate([p for p in parts if p is not None], bound, lib):
            assert np.all(np.isfinite(value))


# The conjugate and its domain.


@pytest.mark.parametrize(**offering("prox", lambda f: is_convex(f) and f.offers("conjugate_value")))
def test_prox_of_the_conjugate_is_not_beaten(f: Functional, kind: str) -> None:
    rng = np.random.default_rng(11)
    for t in (0.3, 2.0):
        q = point(f, kind, 11)
        p = f.conjugate.prox(q, t)
        best = f.conjugate.value(p) + np.sum(np.abs(p - q) ** 2) / (2 * t)
        assert np.isfinite(best)
        for scale in (1e-4, 1e-2, 1.0):
            for _ in range(2):
                other = p + scale * point(f, kind, int(rng.integers(1 << 30)))
                other = f.conjugate.prox(other, 1e-9) if np.isinf(f.conjugate.value(other)) else other
                assert best <= f.conjugate.value(other) + np.sum(np.abs(other - q) ** 2) / (2 * t) + 1e-7


@pytest.mark.parametrize(**offering("prox", is_convex))
def test_conjugate_prox_with_step_zero_is_finite(f: Functional, kind: str) -> None:
    assert np.all(np.isfinite(f.conjugate.prox(10 * point(f, kind, 12), 0.0)))


@pytest.mark.parametrize(**offering("dual_projection", is_convex))
def test_dual_projection_lands_in_the_domain_and_is_nearest(f: Functional, kind: str) -> None:
    for scale in (0.1, 3.0):
        q = point(f, kind, 14, scale)
        p = f.conjugate.prox(q, 0.0)
        assert np.isfinite(f.conjugate.value(p))
        assert np.allclose(f.conjugate.prox(p, 0.0), p, atol=1e-12)
        other = f.conjugate.prox(point(f, kind, 15), 0.0)
        assert inner(q - p, other - p) <= 1e-10


@pytest.mark.parametrize(**offering("dual_gauge", is_convex))
def test_dual_gauge_is_the_largest_scaling_into_the_domain(f: Functional, kind: str) -> None:
    q = point(f, kind, 15)
    x = Input("q", q.shape, kind)
    gauge = float(evaluate([f.define_dual_gauge(x)], {x: q}, backend())[0])
    assert gauge >= 0
    if gauge == 0:
        assert np.isfinite(f.conjugate.value(200 * q))
        return
    if np.isfinite(1 / gauge):
        assert np.isfinite(f.conjugate.value(q * (1 - 1e-9) / gauge))
        assert np.isinf(f.conjugate.value(q * 1.001 / gauge)) or gauge > 1e100


# What is sharp, and what is the same elsewhere.


@pytest.mark.parametrize(**offering("gradient", has_exact_smoothness))
def test_exact_smoothness_is_nearly_reached(f: Functional, kind: str) -> None:
    bound = f.facts.smoothness
    assert bound is not None
    reached, shape = 0.0, shape_for(f)
    for place in np.linspace(-6.0, 6.0, 81):
        v = np.full(shape, place).astype(complex if kind == "complex" else float)
        for d in (np.ones_like(v), point(f, kind, 16)):
            product = f.hessian_vector(v, d)
            reached = max(reached, float(np.max(np.abs(product) / np.abs(d))), float(_norm(product) / _norm(d)))
            if reached >= 0.98 * bound.value:
                break
    for _ in range(60):  # by power iteration, where entries interact
        d = f.hessian_vector(np.zeros_like(v), d)
        d = d / _norm(d) if _norm(d) else d
        reached = max(reached, float(_norm(f.hessian_vector(np.zeros_like(v), d))))
    assert reached >= (1 - 2e-2) * bound.value


def _norm(v: np.ndarray) -> float:
    return float(np.linalg.norm(v))


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_other_libraries_agree_with_numpy(f: Functional, kind: str, library: str) -> None:
    lib = backend(library, "float64")
    v = point(f, kind, 18)
    other = lib.asarray(v)
    assert f.value(other) == pytest.approx(f.value(v), rel=1e-12)
    if f.offers("prox"):
        found = f.prox(other, 0.3)
        assert type(found) is type(other)
        assert np.allclose(lib.to_numpy(found), f.prox(v, 0.3), rtol=1e-12, atol=1e-13)
    if f.offers("gradient"):
        assert np.allclose(lib.to_numpy(f.gradient(other)), f.gradient(v), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(**offering("gradient"))
def test_hessian_products_of_torch_agree_with_numpy(f: Functional, kind: str) -> None:
    lib = backend("torch", "float64")
    v = point(f, kind, 19)
    other = lib.asarray(v)
    assert np.allclose(lib.to_numpy(f.hessian_vector(other, other)), f.hessian_vector(v, v), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(**offering("prox"))
def test_single_precision_of_torch_is_kept(f: Functional, kind: str) -> None:
    lib = backend("torch", "float32")
    v = lib.asarray(point(f, kind, 20))
    found = f.prox(v, 0.3)
    assert found.dtype == v.dtype
    assert found.data_ptr() != v.data_ptr()


@pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)
def test_text_names_the_argument(f: Functional, kind: str) -> None:
    assert "x_1" in f.text("x_1") and "x_1" in f.latex("x_1")
    assert type(f).__name__ in repr(f)
