from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ParameterError, UnsupportedError
from opalg.functionals.around import (
    SafeUnit,
    entries,
    finite_everywhere,
    grouped,
    latex_grouped,
    safe_prox,
    safe_value,
    step_times,
    takes,
)
from opalg.functionals.boxes import Box
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.log_barrier import LogBarrier
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.scaled import Weighted
from opalg.functionals.separable_sum import SeparableSum
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.differentiate import vjp
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate

X, T = Input("x", (2, 3)), Input("t", (2, 1))


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_the_unit_is_one_for_common_sizes_and_a_power_of_two_else(library: str) -> None:
    lib = backend(library, "float32")
    rows = lib.asarray(np.array([[1.0, -3.0], [3e20, 1.0], [0.0, 0.0], [1e-30, 0.0]], dtype=np.float32))
    unit = lib.to_numpy(SafeUnit((-1,)).evaluate(lib, rows))
    assert unit.shape == (4, 1) and unit.dtype == np.float32
    assert unit[0, 0] == 1.0 and unit[2, 0] == 1.0
    assert np.all(np.frexp(unit)[0] == 0.5) and 0.5 <= 3e20 / unit[1, 0] <= 2 and 0.5 <= 1e-30 / unit[3, 0] <= 2
    assert lib.to_numpy(SafeUnit(None).evaluate(lib, rows)).shape == ()
    assert SafeUnit(None).evaluate(lib, lib.zeros((0, 2))) == 1.0


def test_values_and_proxes_in_safe_units() -> None:
    lib = backend("numpy", "float32")
    v = np.array([[3e20, 4e20, 0], [3e-30, 4e-30, 0]], dtype=np.float32)
    (whole,) = evaluate([safe_value(Norm2(), X)], {X: v}, lib)
    assert whole == pytest.approx(5e20, rel=1e-6)
    steps = np.array([[1e20], [1e-30]], dtype=np.float32)
    (found,) = evaluate([safe_prox(Norm2(), X, T)], {X: v, T: steps}, lib)
    assert np.allclose(found, 0.8 * v, rtol=1e-6)


def test_gradients_go_through_the_unit_as_if_it_were_not_there() -> None:
    u, t = Input("u", (2, 3)), Input("s", ())
    plain, safe = (vjp([p], [u], [X, t]) for p in (Norm2().define_prox(X, t), safe_prox(Norm2(), X, t)))
    rng = np.random.default_rng(0)
    values = {X: rng.standard_normal((2, 3)), u: rng.standard_normal((2, 3)), t: np.asarray(0.4)}
    large = {**values, X: 1e200 * values[X], t: np.asarray(0.4e200)}
    found = [
        evaluate([p for p in e if p is not None], w, backend())
        for e, w in ((plain, values), (safe, values), (safe, large))
    ]
    for a, b, c in zip(*found, strict=True):
        assert np.allclose(a, b, atol=1e-14) and np.allclose(a, c, rtol=1e-12)


def test_entries_of_values() -> None:
    v = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    w = np.arange(6.0).reshape(2, 3)
    cases = [
        (Norm1(w).define_value, w * abs(v)),
        (lambda x: 2.0 * SumSquares().define_value(x) - Norm1().define_value(x) / 4.0, 2 * v**2 - abs(v) / 4),
        (lambda x: -Norm1().define_value(x) + 6.0, 1 - abs(v)),
        (lambda x: Literal(0.0), np.zeros((2, 3))),
    ]
    for define, expected in cases:
        found = entries(define, X)
        assert found is not None
        (value,) = evaluate([ex.broadcast_to(found, (2, 3))], {X: v}, backend())
        assert np.allclose(value, expected)
    assert entries(Norm2().define_value, X) is None


def test_steps_times_factors() -> None:
    assert step_times(Literal(0.0), Input("w", (3,)), X) is not None
    assert step_times(Literal(0.0), Input("w", (3,)), X).shape == ()
    assert step_times(Input("t", ()), Input("w", (3,)), X).shape == (2, 3)
    assert step_times(T, Literal(0.0), X).shape == (2, 1)
    assert step_times(T, Input("w", ()), X).shape == (2, 1)


def test_questions() -> None:
    box = Indicator(Box(0.0, 1.0))
    assert finite_everywhere(Norm1()) and finite_everywhere(Weighted(Huber(1.0), 2.0))
    assert not finite_everywhere(box) and not finite_everywhere(Weighted(box, 2.0))
    assert takes(Norm1(), "complex") and not takes(box, "complex")


def test_parentheses() -> None:
    assert grouped("a + b") == "(a + b)" and grouped("f(a + b)") == "f(a + b)" and grouped("-a") == "(-a)"
    assert latex_grouped("a + b") == r"\left(a + b\right)"
    assert latex_grouped(r"\left(a + b\right)^{x - 1}") == r"\left(a + b\right)^{x - 1}"


def test_combinations_have_a_gradient_inside_the_domain_where_their_parts_have() -> None:
    f, v = LogBarrier(), np.array([0.5, 2.0])
    slope, squares = -1 / v, SumSquares()
    expected = {
        2.0 * f: 2 * slope,
        np.array([1.0, 3.0]) * f: np.array([1.0, 3.0]) * slope,
        f.translated(-1.0): -1 / (v + 1),
        f.scaled(3.0): slope,
        f + squares: slope + 2 * v,
        f + Linear(4.0) + 1.0: slope + 4,
        Sum(f, Huber(1.0)): slope + np.minimum(v, 1),
        SeparableSum([f, squares]): np.array([-2.0, 4.0]),
        f @ Diagonal(np.array([1.0, 2.0])): slope,
    }
    for g, gradient in expected.items():
        assert np.allclose(g.gradient(v), gradient, rtol=1e-14), g
        assert np.allclose(
            g.hessian_vector(v, v), (g.gradient(v * (1 + 1e-6)) - g.gradient(v * (1 - 1e-6))) / 2e-6, rtol=1e-5
        ), g
        assert not g.offers("gradient")
        with pytest.raises(ParameterError, match="outside the domain"):
            g.gradient(-5 * v)
    with pytest.raises(UnsupportedError):
        (f + Norm1()).gradient(v)


@pytest.mark.parametrize("t", [np.inf, np.nan, -1.0, np.array([1.0, np.inf]), np.array([np.nan, 1.0])])
def test_a_step_is_finite_and_nonnegative(t: float) -> None:
    for f in (Norm1(), Norm2(), Huber(1.0), SumSquares()):
        with pytest.raises(ParameterError, match="finite"):
            f.prox(np.ones((2, 2)), t)
