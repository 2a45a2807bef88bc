"""The energy that is solved is the energy that was declared: weights, scalings, shifts, constants, duplicates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import opalg as oa

TOL = 1e-11


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((9, 6)), rng.standard_normal(9)


def solve(energy: oa.Energy, **options: object) -> oa.Solution:
    return oa.minimize(energy, **{"tol": TOL, "max_iter": 50_000, **options})


def close(a: np.ndarray, b: np.ndarray, accuracy: float = 1e-5) -> bool:
    return bool(np.linalg.norm(a - b) <= accuracy * (1e-3 + np.linalg.norm(b)))


def test_five_times_the_fit_moves_the_ridge_minimiser_as_the_formula_says(data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    for c in (0.2, 1.0, 5.0):
        found = solve(c * oa.sum_squares(oa.Matrix(A) @ x - b) + 2.0 * oa.sum_squares(x)).x
        assert np.allclose(found, np.linalg.solve(c * A.T @ A + 2.0 * np.eye(6), c * A.T @ b), rtol=1e-8, atol=1e-12)


def test_five_times_the_penalty_is_a_threshold_of_five_times_the_size(rng: np.random.Generator) -> None:
    y = 3 * rng.standard_normal(20)
    x = oa.Variable(20, name="x")
    for c in (1.0, 5.0):
        found = solve(0.5 * oa.sum_squares(x - y) + c * (0.3 * oa.norm1(x))).x
        assert np.allclose(found, np.sign(y) * np.maximum(np.abs(y) - 0.3 * c, 0.0), atol=1e-9)


def test_the_plain_square_has_no_hidden_half(rng: np.random.Generator) -> None:
    y = 3 * rng.standard_normal(20)
    x = oa.Variable(20, name="x")
    found = solve(oa.sum_squares(x - y) + 0.6 * oa.norm1(x)).x
    assert np.allclose(found, np.sign(y) * np.maximum(np.abs(y) - 0.3, 0.0), atol=1e-9)


PENALTIES: dict[str, Callable] = {
    "norm1": oa.norm1,
    "norm2": oa.norm2,
    "huber": lambda e: oa.huber(e, 0.1),
    "sum_squares": oa.sum_squares,
    "total variation": lambda e: oa.norm1(oa.Gradient((6,), boundary="periodic") @ e),
    "neumann variation": lambda e: oa.total_variation(e),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_two_times_three_is_six(name: str, data: tuple) -> None:
    A, b = data
    f, x = PENALTIES[name], oa.Variable(6, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b)
    nested, flat = solve(fit + 2 * (0.3 * f(x))), solve(fit + 0.6 * f(x))
    apart = solve(fit + 0.1 * f(x) + 0.5 * f(x))
    assert close(nested.x, flat.x) and close(apart.x, flat.x)
    assert nested.value == pytest.approx(flat.value, rel=1e-9)
    assert apart.value == pytest.approx(flat.value, rel=1e-9)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_same_weight_on_every_term_moves_nothing(name: str, data: tuple) -> None:
    A, b = data
    f, x = PENALTIES[name], oa.Variable(6, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 0.6 * f(x)
    tol = 1e-8 if "variation" in name else TOL  # primal-dual steps, slower where the energy is large
    once, often = solve(energy, tol=tol), solve(1000.0 * energy + 3.0, tol=tol)
    assert close(often.x, once.x)
    assert often.value == pytest.approx(1000.0 * once.value + 3.0, rel=1e-8)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_times_five_is_not_a_fit_times_five(name: str, data: tuple) -> None:
    A, b = data
    f, x = PENALTIES[name], oa.Variable(6, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b)
    weak, strong = solve(fit + 0.1 * f(x)), solve(fit + 0.5 * f(x))
    assert not close(weak.x, strong.x)
    assert float(f(x).value(strong.x)) < float(f(x).value(weak.x))
    scaled = solve(0.2 * fit + 0.1 * f(x))
    assert close(scaled.x, strong.x)


@pytest.mark.parametrize("factor", [-2.0, 0.25, 3.0])
def test_a_factor_inside_a_norm_counts_by_its_magnitude(factor: float, data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    fit = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b)
    assert close(solve(fit + 0.4 * oa.norm1(factor * x)).x, solve(fit + abs(factor) * 0.4 * oa.norm1(x)).x)
    square = solve(fit + oa.sum_squares(factor * x)).x
    assert close(square, np.linalg.solve(A.T @ A + 2 * factor**2 * np.eye(6), A.T @ b))


@pytest.mark.parametrize("factor", [-2.0, 0.5])
def test_a_factor_with_an_offset_keeps_the_offset(factor: float, rng: np.random.Generator) -> None:
    y, z = rng.standard_normal(10), 2 * rng.standard_normal(10)
    x = oa.Variable(10, name="x")
    solution = solve(0.5 * oa.sum_squares(x - y) + 0.3 * oa.norm1(factor * x - z))
    r, t = y - z / factor, 0.3 * abs(factor)
    assert np.allclose(solution.x, z / factor + np.sign(r) * np.maximum(np.abs(r) - t, 0.0), atol=1e-8)


def test_translation_of_the_unknown_translates_the_minimiser(data: tuple, rng: np.random.Generator) -> None:
    A, b = data
    s, x = rng.standard_normal(6), oa.Variable(6, name="x")
    plain = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 0.4 * oa.norm1(x))
    moved = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ (x - s) - b) + 0.4 * oa.norm1(x - s))
    assert close(moved.x, plain.x + s)
    assert moved.value == pytest.approx(plain.value, rel=1e-9)


def test_translation_works_for_constraints_and_operators(rng: np.random.Generator) -> None:
    y, s = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    x, D = oa.Variable((6, 5), name="x"), oa.Gradient((6, 5), boundary="periodic")
    plain = solve(0.5 * oa.sum_squares(x - y) + 0.2 * oa.norm21(D @ x) + oa.indicator(x >= 0), tol=1e-9)
    moved = solve(0.5 * oa.sum_squares(x - (y + s)) + 0.2 * oa.norm21(D @ (x - s)) + oa.indicator(x - s >= 0), tol=1e-9)
    assert np.allclose(moved.x, plain.x + s, atol=1e-3)
    assert moved.value == pytest.approx(plain.value, rel=1e-7)


def test_scaling_the_unknown_scales_the_minimiser(data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    plain = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 0.4 * oa.norm1(x))
    scaled = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ (0.5 * x) - b) + 0.4 * oa.norm1(0.5 * x))
    assert close(0.5 * scaled.x, plain.x)
    assert scaled.value == pytest.approx(plain.value, rel=1e-9)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_unit_of_the_data_does_not_matter(size: float, rng: np.random.Generator) -> None:
    y = rng.standard_normal((6, 6))
    x, D = oa.Variable((6, 6), name="x"), oa.Gradient((6, 6), boundary="periodic")
    K = oa.Convolve(np.full((3, 3), 1 / 9), (6, 6))
    plain = solve(0.5 * oa.sum_squares(K @ x - y) + 0.1 * oa.norm21(D @ x), tol=1e-8)
    sized = solve(0.5 * oa.sum_squares(K @ x - size * y) + 0.1 * size * oa.norm21(D @ x), tol=1e-8)
    assert np.allclose(sized.x / size, plain.x, atol=2e-3)
    assert sized.value / size**2 == pytest.approx(plain.value, rel=1e-6)
    assert sized.iterations <= 2 * plain.iterations + 50


@pytest.mark.parametrize("constant", [0.0, 7.5, -1e3])
def test_a_constant_is_part_of_the_value_and_of_nothing_else(constant: float, data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 0.4 * oa.norm1(x)
    plain, shifted = solve(energy), solve(energy + constant)
    assert shifted.value == pytest.approx(plain.value + constant, rel=1e-9)
    assert shifted.certificate.lower_bound == pytest.approx(plain.value + constant, rel=1e-8)
    assert close(shifted.x, plain.x)


def test_duplicates_count_twice(rng: np.random.Generator) -> None:
    y, x = rng.standard_normal(8), oa.Variable(8, name="x")
    fit, sparse = 0.5 * oa.sum_squares(x - y), 0.2 * oa.norm1(x)
    assert close(solve(fit + sparse + sparse).x, np.sign(y) * np.maximum(np.abs(y) - 0.4, 0.0))
    assert close(solve(fit + fit + sparse + sparse).x, np.sign(y) * np.maximum(np.abs(y) - 0.2, 0.0))


def test_a_constraint_twice_is_a_constraint_once(rng: np.random.Generator) -> None:
    y, x = rng.standard_normal(8), oa.Variable(8, name="x")
    fit = 0.5 * oa.sum_squares(x - y)
    twice = solve(fit + oa.indicator(x >= 0) + oa.indicator(x >= 0))
    assert close(twice.x, np.maximum(y, 0.0))
    assert close(solve(fit + 5 * oa.indicator(x >= 0)).x, np.maximum(y, 0.0))


@pytest.mark.parametrize("as_parameter", [True, False])
def test_a_weight_of_zero_switches_its_term_off(as_parameter: bool, data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    zero = oa.Parameter(0.0, name="zero", nonneg=True) if as_parameter else 0.0
    found = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + zero * oa.norm1(x)).x
    assert close(found, np.linalg.lstsq(A, b)[0])


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_a_parameter_of_zero_switches_a_split_term_off(method: str, rng: np.random.Generator) -> None:
    y, x = rng.standard_normal((5, 4)), oa.Variable((5, 4), name="x")
    zero = oa.Parameter(0.0, name="zero", nonneg=True)
    energy = 0.5 * oa.sum_squares(x - y) + zero * oa.total_variation(x, boundary="periodic")
    solution = oa.minimize(energy, method=method, tol=1e-8)
    assert solution
    assert np.allclose(solution.x, y, atol=1e-3)


def test_a_variable_whose_only_term_has_no_weight_stays_in_the_solution(rng: np.random.Generator) -> None:
    y = rng.standard_normal(5)
    u, v = oa.Variable(5, name="u"), oa.Variable(5, name="v")
    solution = oa.minimize(oa.sum_squares(u - y) + 0.0 * oa.norm1(v), tol=1e-8)
    assert np.allclose(solution[u], y, atol=1e-3)
    assert np.all(np.isfinite(solution[v]))


@pytest.mark.parametrize("weight", [np.inf, -np.inf, np.nan])
def test_an_infinite_weight_is_refused(weight: float) -> None:
    x = oa.Variable(4, name="x")
    with pytest.raises(oa.NonFiniteError):
        weight * oa.norm1(x)
    if weight != np.inf:  # an infinite weight of an entry pins it to zero
        with pytest.raises((oa.NonFiniteError, oa.ParameterError)):
            oa.norm1(x, weights=np.array([1.0, weight, 1.0, 1.0]))


def test_weights_of_zero_free_single_entries(rng: np.random.Generator) -> None:
    y, x = 1 + rng.random(6), oa.Variable(6, name="x")
    w = np.array([0.0, 0.5, 0.0, 0.5, 10.0, 0.0])
    found = solve(0.5 * oa.sum_squares(x - y) + oa.norm1(x, weights=w)).x
    assert np.allclose(found, np.maximum(y - w, 0.0), atol=1e-7)
    found = solve(oa.sum_squares(x - y, weights=w) + oa.sum_squares(x)).x
    assert np.allclose(found, w * y / (w + 1), atol=1e-9)


def test_parameters_at_solve_time_are_those_that_count(data: tuple) -> None:
    A, b = data
    x, lam = oa.Variable(6, name="x"), oa.Parameter(0.1, name="lambda", nonneg=True)
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + lam * oa.norm1(x))
    fresh = solve(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 0.7 * oa.norm1(x))
    assert close(plan.solve(params={lam: 0.7}, tol=TOL).x, fresh.x)
    assert close(plan.solve(params={"lambda": np.array(0.7)}, tol=TOL).x, fresh.x)
    assert not close(plan.solve(tol=TOL).x, fresh.x)


def test_whole_numbers_are_parameter_values_too(data: tuple) -> None:
    A, b = data
    x, lam = oa.Variable(6, name="x"), oa.Parameter(1, name="lambda", nonneg=True)
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + lam * oa.norm1(x))
    assert close(plan.solve(params={lam: 2}, tol=TOL).x, plan.solve(params={lam: 2.0}, tol=TOL).x)


def test_order_of_terms_does_not_matter(data: tuple) -> None:
    A, b = data
    x, D = oa.Variable(6, name="x"), oa.Gradient((6,), boundary="periodic")
    terms = [0.5 * oa.sum_squares(oa.Matrix(A) @ x - b), 0.3 * oa.norm1(D @ x), oa.indicator(x >= 0)]
    first = solve(terms[0] + terms[1] + terms[2], tol=1e-9)
    second = solve(terms[2] + terms[1] + terms[0], tol=1e-9)
    assert close(first.x, second.x, 1e-4)


def test_subject_to_is_an_indicator(data: tuple) -> None:
    A, b = data
    x = oa.Variable(6, name="x")
    fit = oa.sum_squares(oa.Matrix(A) @ x - b)
    listed = oa.minimize(fit, subject_to=[x >= 0, x <= 0.2], tol=1e-10)
    assert close(listed.x, solve(fit + oa.indicator(x >= 0) + oa.indicator(x <= 0.2)).x)
    assert listed.x.min() >= 0 and listed.x.max() <= 0.2
