"""The inner splitting: optimality, certificates, derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import BreakdownError, UnsupportedError
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.splitting import Splitting
from opalg.functionals.sum_squares import SumSquares
from opalg.leaves import Parameter
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate

PAIRS: list[tuple[Functional, Functional]] = [
    (Norm1(0.35), Norm2()),
    (Norm2(), Norm21(axis=-1)),
    (Norm21(), Huber(0.4)),
    (Norm1(), Indicator(Box(-0.2, 0.3))),
    (Huber(0.4), SumSquares()),
]
EVERY = pytest.mark.parametrize("pair", PAIRS, ids=repr)
V, T = Input("v", (3, 4)), Input("t", ())


def some(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 4))


def solved(f: Functional, g: Functional, v: np.ndarray, t: float) -> list[np.ndarray]:
    return evaluate(list(Splitting(f, g).at(V, T)), {V: v, T: np.asarray(t)}, backend())


@EVERY
@pytest.mark.parametrize("t", [0.0, 0.3, 5.0])
def test_optimality(pair: tuple[Functional, Functional], t: float) -> None:
    """q is a subgradient of f at w and of g at z, which their proxes tell, and ``w + z + t q = v``."""
    f, g = pair
    for size in (1e-3, 1.0, 1e3):
        v = size * some()
        w, z, q = solved(f, g, v, t)
        assert np.allclose(w + z + t * q, v, rtol=1e-11, atol=1e-11 * size)
        assert np.allclose(f.prox(w + q, 1.0), w, atol=1e-11 * max(size, 1.0))
        assert np.allclose(g.prox(z + q, 1.0), z, atol=1e-10 * max(size, 1.0))


@EVERY
def test_a_step_for_each_sample(pair: tuple[Functional, Functional]) -> None:
    f, g = (h.behind(1) for h in pair)
    v, steps = np.random.default_rng(1).standard_normal((3, 2, 4)), np.array([0.1, 0.8, 4.0])
    x, t = Input("x", (3, 2, 4)), Input("t", (3, 1, 1))
    found = evaluate([Splitting(f, g).at(x, t)[2]], {x: v, t: steps[:, None, None]}, backend())[0]
    one, s = Input("one", (2, 4)), Input("s", ())
    for a, step, q in zip(v, steps, found, strict=True):
        (expected,) = evaluate([Splitting(*pair).at(one, s)[2]], {one: a, s: np.asarray(step)}, backend())
        assert np.allclose(q, expected, atol=1e-10)


@EVERY
def test_derivatives_in_the_argument_and_the_step(pair: tuple[Functional, Functional]) -> None:
    f, g = pair
    outputs = list(Splitting(f, g).at(V, T))
    d, e, u = Input("d", (3, 4)), Input("e", ()), Input("u", (3, 4))
    v, t, h = some(), 0.6, 1e-6
    values = {V: v, T: np.asarray(t), d: some(1), e: np.asarray(0.7), u: some(2)}
    change = (solved(f, g, v + h * some(1), t + 0.7 * h)[2] - solved(f, g, v - h * some(1), t - 0.7 * h)[2]) / (2 * h)
    moved = jvp([outputs[2]], {V: d, T: e})[0]
    assert moved is not None
    (forward,) = evaluate([moved], values, backend())
    assert np.allclose(forward, change, rtol=1e-5, atol=1e-6)
    back = [b for b in vjp([outputs[2]], [u], [V, T]) if b is not None]
    in_v, in_t = evaluate(back, values, backend())
    assert np.sum(in_v * some(1)) + 0.7 * in_t == pytest.approx(np.sum(some(2) * change), rel=1e-5, abs=1e-6)


def test_derivatives_in_parameters() -> None:
    weight = Parameter(0.3, name="w", nonneg=True)
    q, u = Splitting(Norm1(weight), Norm2()).at(V, T)[2], Input("u", (3, 4))
    (back,) = vjp([q], [u], [weight])
    assert back is not None
    (found,) = evaluate([back], {V: some(), T: np.asarray(0.6), u: some(2)}, backend())
    h = 1e-6
    ends = [solved(Norm1(0.3 + s * h), Norm2(), some(), 0.6)[2] for s in (1, -1)]
    assert found == pytest.approx(np.sum(some(2) * (ends[0] - ends[1])) / (2 * h), rel=1e-5, abs=1e-8)
    assert abs(found) > 1e-3


def test_second_derivatives_are_refused() -> None:
    q, d = Splitting(Norm1(), Norm2()).at(V, Literal(0.5))[2], Input("d", (3, 4))
    (once,) = jvp([q], {V: d})
    assert once is not None
    with pytest.raises(UnsupportedError, match="split_infimal_convolution"):
        jvp([once], {V: d})


def test_what_has_no_minimum_is_not_certified() -> None:
    """``min_w <c, w> + |v - w|_1`` is minus infinity where an entry of c is larger than 1."""
    with pytest.raises(BreakdownError, match="could not be certified"):
        solved(Linear(np.array([0.5, 2.0, 0.0, 0.0])), Norm2(), some(), 0.0)


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_other_libraries(library: str) -> None:
    lib = backend(library, "float64")
    found = evaluate(list(Splitting(Norm1(), Norm2()).at(V, T)), {V: lib.asarray(some()), T: lib.asarray(0.5)}, lib)
    for a, b in zip(found, solved(Norm1(), Norm2(), some(), 0.5), strict=True):
        assert np.allclose(lib.to_numpy(a), b, atol=1e-12)


def test_nothing_to_split() -> None:
    x = Input("x", (0, 2))
    (w, *_) = evaluate(list(Splitting(Norm1(), Norm2()).at(x, Literal(0.0))), {x: np.zeros((0, 2))}, backend())
    assert w.shape == (0, 2)


def test_entries_of_the_size_of_rounding_do_not_keep_the_gap_open() -> None:
    rng = np.random.default_rng(0)
    v = 5e-17 * (rng.integers(-4, 5, (3, 4)) + 1j * rng.integers(-4, 5, (3, 4)))
    v[0, 1] = 7.6e-4 - 1.2e-3j
    x = Input("v", (3, 4), "complex")
    w, z, q = evaluate(list(Splitting(Norm1(0.7), Norm2()).at(x, Literal(0.0))), {x: v}, backend())
    value = 0.7 * np.sum(np.abs(w)) + np.linalg.norm(z) + np.real(np.vdot(q, v - w - z))
    assert abs(value - 0.7 * np.sum(np.abs(v))) <= 1e-11 * np.linalg.norm(v)
