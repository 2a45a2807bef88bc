"""The calculus against the same operations on formulas: weights, shifts, scalings, tilts, intervals, and chains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg import functionals as fs
from tests.functionals.definition_cases import CONVEX, FAMILIES, NONCONVEX, RADIAL, ROW, SCALARS, SHAPE, C, L, W, huber
from tests.functionals.definitions import LONG, Scalar, inner, root
from tests.functionals.test_by_definition import close, points, scale, starts

T = (0.1, 8.0)
TALL = np.array(T, LONG).reshape(-1, 1, 1)
VANISHING = ("norm1", "norm1-number", "sum_squares", "sum_squares-entries", "huber", "huber-entries")
BASES = {name: SCALARS[name] for name in FAMILIES}


def agree(f: Any, model: Scalar, tolerance: float = 1e-10, conjugate: bool = True) -> None:
    """Value, prox and, of convex functions, the conjugate, against the formula."""
    v = starts()
    for t, expected in zip(T, model.prox(v, TALL), strict=True):
        close(f.prox(v, t), expected, scale(model, v) + 1, tolerance)
    inside = points(model)
    np.testing.assert_allclose(f.value(inside), model.total(inside.astype(LONG)), rtol=1e-11, atol=1e-12)
    if model.convex and conjugate:
        u = model.prox(inside, 0.37)
        q = np.asarray((inside - u) / 0.37, float)
        expected = float(np.sum(q * u - model.value(u)))
        np.testing.assert_allclose(f.conjugate.value(q), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", BASES)
def test_weights(name: str) -> None:
    f, model = BASES[name]
    agree(2.5 * f, model.weighted(2.5))
    agree(oa.Parameter(0.3, positive=True) * f, model.weighted(0.3))
    agree(W * f, model.weighted(W))
    agree(oa.Parameter(ROW, positive=True) * f, model.weighted(ROW))
    assert (0.0 * f).value(points(model)) == 0.0


@pytest.mark.parametrize("name", BASES)
def test_weights_that_vanish_leave_the_domain(name: str) -> None:
    f, model = BASES[name]
    w = np.array([1.0, 0.0, 2.0, 0.0])
    v = starts()
    nearest = np.clip(v, model.low, model.high)
    expected = np.where(w > 0, model.weighted(np.where(w > 0, w, 1)).prox(v, 0.37), nearest)
    for weights in (w, oa.Parameter(w, nonneg=True)):
        close((weights * f).prox(v, 0.37), expected, scale(model, v), 1e-10)
    close((0.0 * f).prox(v, 0.37), nearest, scale(model, v), 1e-10)
    np.testing.assert_allclose((w * f).value(points(model)), float(np.sum(w * model.value(points(model)))), rtol=1e-11)


@pytest.mark.parametrize("name", VANISHING)
def test_infinite_weights_hold_entries_at_zero(name: str) -> None:
    f, model = SCALARS[name]
    w = np.array([1.0, np.inf, 0.0, np.inf])
    v = starts()
    finite = np.where(np.isfinite(w), w, 1)
    free = np.where(finite > 0, model.weighted(np.where(finite > 0, finite, 1)).prox(v, 0.37), v)
    close((w * f).prox(v, 0.37), np.where(np.isfinite(w), free, 0), v, 1e-10)
    assert (w * f).value(v) == np.inf
    held = np.where(np.isfinite(w), v, 0)
    np.testing.assert_allclose((w * f).value(held), float(np.sum(finite * model.value(held))), rtol=1e-11)
    assert not np.any((np.inf * f).prox(v, 0.37))


@pytest.mark.parametrize("name", BASES)
def test_translation(name: str) -> None:
    f, model = BASES[name]
    agree(f.translated(C), model.shifted(C))
    agree(f.translated(oa.Parameter(-1.5)), model.shifted(-1.5))


@pytest.mark.parametrize("name", BASES)
def test_scaling_of_the_argument(name: str) -> None:
    f, model = BASES[name]
    agree(f.scaled(-2.0), model.argument(-2.0))
    factors = L * W
    agree(f.scaled(factors), model.argument(factors))
    agree(f @ oa.Diagonal(factors), model.argument(factors))
    agree(f.scaled(oa.Parameter(0.1)), model.argument(0.1))


@pytest.mark.parametrize("name", BASES)
def test_linear_and_quadratic_additions(name: str) -> None:
    f, model = BASES[name]
    if name not in NONCONVEX:
        agree(f + fs.Linear(C), model.tilted(C, 0.0))
        agree(fs.Tilted(f, C, W), model.tilted(C, W))
    even = model.tilted(0.0, 1.4)
    agree(f + 0.7 * fs.SumSquares(), even)
    agree(fs.Tilted(f, 0.0, oa.Parameter(1.4, positive=True)), even)


@pytest.mark.parametrize("name", [name for name in BASES if name in CONVEX])
def test_intervals(name: str) -> None:
    f, model = BASES[name]
    low = np.broadcast_to(np.where(np.isfinite(model.low), model.low, -1.0), SHAPE)
    ends = low + 0.1 * W, low + 0.1 + W
    known = name in ("norm1-entries", "huber-entries", "nonneg", "box", "linear", "sum_squares")
    agree(f + fs.Indicator(oa.box(*ends)), model.within(*ends), conjugate=known)
    agree(fs.Indicator(oa.box(-0.25, None)) + f, model.within(-0.25, np.inf), conjugate=known)


@pytest.mark.parametrize("name", ["norm1", "huber", "kl-background", "quantile"])
def test_functions_with_nonnegativity_say_they_follow_a_sum_rule(name: str) -> None:
    f, model = SCALARS[name]
    both = f + fs.Indicator(oa.nonneg)
    agree(both, model.within(0.0, np.inf), conjugate=False)
    assert both.exactness.value == "exact by a sum rule"
    assert f.exactness.value == "closed form"


@pytest.mark.parametrize("name", BASES)
def test_constants_and_factors(name: str) -> None:
    f, model = BASES[name]
    v = points(model)
    g = 2.0 * f + 3.0
    np.testing.assert_allclose(g.value(v), 2 * model.total(v.astype(LONG)) + 3, rtol=1e-12)
    close(g.prox(v, 0.2), model.prox(v, 0.4), scale(model, v), 1e-10)
    if name in CONVEX:
        q = np.asarray(v - model.prox(v, 1.0), float)
        expected = 2 * f.conjugate.value(q / 2) - 3
        np.testing.assert_allclose(g.conjugate.value(q), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", [name for name in BASES if name in CONVEX])
def test_chains_of_operations(name: str, seed: int) -> None:
    f, model = BASES[name]
    rng = np.random.default_rng(seed)
    for kind in rng.permutation(["weight", "shift", "argument", "tilt", "weight", "shift"]):
        number = float(rng.uniform(0.4, 1.8))
        data = number if rng.uniform() < 0.5 else rng.uniform(0.4, 1.8, SHAPE)
        leaf = oa.Parameter(data, positive=True) if rng.uniform() < 0.4 else data
        if kind == "weight":
            f, model = leaf * f, model.weighted(data)
        elif kind == "shift":
            f, model = f.translated(leaf), model.shifted(data)
        elif kind == "argument":
            f, model = f.scaled(leaf), model.argument(data)
        else:
            f, model = fs.Tilted(f, leaf, number), model.tilted(data, number)
    agree(f, model, 1e-9)


@pytest.mark.parametrize("name", [*(name for name in BASES if name in CONVEX), "norm0-entries", "cauchy"])
def test_moreau_envelopes(name: str) -> None:
    f, model = BASES[name]
    mu = 0.6
    envelope = oa.moreau_envelope(f, mu)
    v = starts() / 10
    near = model.prox(v, LONG(mu))
    value = float(np.sum(model.value(near) + (near - v) ** 2 / (2 * mu)))
    np.testing.assert_allclose(envelope.value(v), value, rtol=1e-10, atol=1e-12)
    for t in T:
        # The minimiser over u of the envelope is, for each u, one over both; in the inner one it is prox_{mu + t}.
        inside = model.prox(v, LONG(t + mu))
        close(envelope.prox(v, t), (t * inside + mu * v) / (t + mu), scale(model, v), 1e-10)
    if name in CONVEX:
        close(envelope.gradient(v), (v - near) / mu, scale(model, v) / mu, 1e-10)
        q = np.asarray((v - near) / mu, float)
        expected = inner(q, v) - value
        np.testing.assert_allclose(envelope.conjugate.value(q), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", RADIAL)
def test_complex_weights_are_refused_and_complex_shifts_taken(name: str, rng: np.random.Generator) -> None:
    f, model = RADIAL[name]
    b, v = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE) for _ in range(2))
    moved = v - b
    size = np.abs(moved)
    expected = b + moved / size * model.prox(size, 0.37)
    close(f.translated(b).prox(v, 0.37), expected.astype(complex), np.abs(v) + np.abs(b), 1e-10)
    turned = f.scaled(2j).prox(v, 0.37)
    size = np.abs(v)
    close(turned, (v / size * model.argument(2.0).prox(size, 0.37)).astype(complex), v, 1e-10)
    with pytest.raises(oa.DtypeError):
        1j * f
    with pytest.raises(oa.DtypeError):
        f.translated(b).value(np.ones(SHAPE))


def test_negative_weights_are_refused() -> None:
    with pytest.raises(oa.ParameterError, match="nonnegative"):
        -1.0 * fs.Norm1()
    with pytest.raises(oa.ParameterError):
        np.array([1.0, -1.0]) * fs.Norm1()
    with pytest.raises(oa.UnsupportedError, match="sum over the entries"):
        np.array([1.0, 2.0]) * fs.Norm2()


@pytest.mark.parametrize(
    ("first", "second", "models"),
    [
        (fs.Norm1(), fs.Huber(2.0), ("norm1", None)),
        (fs.Norm1(weights=0.7), fs.Charbonnier(0.3), ("norm1-number", "charbonnier")),
    ],
)
def test_infimal_convolutions_of_functions_of_an_entry(first: Any, second: Any, models: Any) -> None:
    f = SCALARS[models[0]][1]
    g = SCALARS[models[1]][1] if models[1] else huber(2.0)
    v = np.array([0.5, -3.0, 1.0, 12.0])

    def split(u: Any) -> Any:
        return root(lambda w: f.slope(w) - g.slope(u - w), np.zeros(np.shape(u)))

    h = oa.infimal_convolution(first, second)
    w = split(v)
    np.testing.assert_allclose(h.value(v), float(np.sum(f.value(w) + g.value(v - w))), rtol=1e-10)
    close(h.gradient(v), g.slope(v - w), 1.0, 1e-8, 1e-8)
    q = np.array([0.5, -0.2, 0.0, 0.6])
    expected = first.conjugate.value(q) + second.conjugate.value(q)
    np.testing.assert_allclose(h.conjugate.value(q), expected, rtol=1e-10)
    u = h.prox(v, 0.8)
    close(u + 0.8 * g.slope(u - split(u)), v, 1.0, 1e-8, 1e-8)
    assert h.exactness.value == "iterative with a certified gap"
