"""Proximal gradient with a line search as a plan: answers, samples, callbacks, what is refused, the data's prox."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError

SEARCHES: list[dict[str, Any]] = [
    {"line_search": "gradient"},
    {"line_search": "gradient", "sample_axes": 1},
    {"line_search": "value"},
]
S, N, M = 3, 8, 5


def batch(rng: np.random.Generator, dtype: Any = float) -> tuple[oa.Variable, Any, Any, np.ndarray]:
    x, A = oa.Variable((S, N), name="x", dtype=dtype), rng.standard_normal((M, N))
    y = (np.arange(1, S + 1)[:, None] * rng.standard_normal((S, M))).astype(dtype)
    if np.dtype(dtype).kind == "c":
        y = y + (1j * rng.standard_normal((S, M))).astype(dtype)
    return x, 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y), A, y


@pytest.mark.parametrize("options", SEARCHES)
@pytest.mark.parametrize("dtype", [float, complex])
def test_the_minimiser_is_that_of_other_methods(options: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    x, data, _, _ = batch(rng, dtype)
    energy = data + 0.3 * oa.norm1(x) + 0.05 * oa.sum_squares(x)
    wanted = oa.compile(energy).solve(tol=1e-12).x
    plan = oa.compile(energy, **options)
    found = plan.solve(tol=1e-10)
    assert plan.method.name == "proximal_gradient" and found and found.status is oa.Status.CONVERGED_RESIDUAL_ONLY
    assert np.allclose(found.x, wanted, atol=1e-7)
    assert found.certificate.kind == "residual" and found.residual == found.certificate.relative <= 1e-10
    values = [row.value for row in found.history.rows]
    assert found.value == pytest.approx(energy.value(found.x)) and (np.diff(values) <= 1e-12 * values[0]).all()


@pytest.mark.parametrize("options", SEARCHES)
def test_a_callback_sees_every_iteration_and_the_energy_never_grows(
    options: dict[str, Any], rng: np.random.Generator
) -> None:
    x, data, _, _ = batch(rng)
    energy = data + oa.log_cosh(x, 0.1) + 0.2 * oa.norm1(x)
    plan, seen = oa.compile(energy, **options), []
    watched = plan.solve(np.ones((S, N)), tol=1e-8, callback=lambda i: seen.append((i.iteration, i.value)))
    assert [i for i, _ in seen] == list(range(watched.iterations + 1))
    values = np.array([v for _, v in seen])
    assert (np.diff(values) <= 1e-13 * values[:-1]).all()
    alone = plan.solve(np.ones((S, N)), tol=1e-8)
    assert alone.iterations == watched.iterations and (alone.x == watched.x).all()
    stopped = plan.solve(callback=lambda info: info.iteration == 3)
    assert stopped.iterations == 3 and stopped.status is oa.Status.STOPPED


def test_watching_a_slow_solve_does_not_end_it(rng: np.random.Generator) -> None:
    """Less than five per cent of progress in an iteration is no standstill."""
    x, d = oa.Variable((1, 50), name="x"), np.linspace(0.1, 1.0, 50)
    energy = 0.5 * oa.sum_squares(oa.Diagonal(d) @ x - np.ones((1, 50)))
    plan = oa.compile(energy, line_search="gradient", sample_axes=1)
    found = plan.solve(tol=1e-12, max_iter=20000, callback=lambda info: None)
    assert found and found.iterations > 100


def test_samples_are_solved_as_if_each_were_alone(rng: np.random.Generator) -> None:
    x, data, A, y = batch(rng)
    y[2] *= 100.0
    data = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y)
    together = oa.compile(data + oa.log_cosh(x, 0.1), line_search="gradient", sample_axes=1)
    found = together.solve(tol=1e-7)
    counts = []
    for i in range(S):
        one = oa.Variable(N, name="x")
        alone = oa.compile(
            0.5 * oa.sum_squares(oa.Matrix(A) @ one - y[i]) + oa.log_cosh(one, 0.1), line_search="gradient"
        ).solve(tol=1e-7)
        assert np.allclose(found.x[i], alone.x, rtol=1e-8, atol=1e-10)
        counts.append(alone.iterations)
    assert found.iterations == max(counts) and len(set(counts)) > 1


def test_two_variables_and_two_axes_of_samples(rng: np.random.Generator) -> None:
    x, z = oa.Variable((2, 3, 4), name="x"), oa.Variable((2, 3, 5), name="z")
    B, y = oa.Matrix(rng.standard_normal((4, 5))), rng.standard_normal((2, 3, 4))
    energy = 0.5 * oa.sum_squares(x + B @ z - y) + 0.1 * oa.sum_squares(x) + 0.1 * oa.norm1(z)
    wanted = oa.compile(energy).solve(tol=1e-10)
    found = oa.compile(energy, line_search="gradient", sample_axes=2).solve(tol=1e-9)
    assert np.allclose(found[x], wanted[x], atol=1e-6) and np.allclose(found[z], wanted[z], atol=1e-6)


def test_the_first_step_is_the_users_where_one_is_given(rng: np.random.Generator) -> None:
    x, data, _, _ = batch(rng)
    plan = oa.compile(data + oa.log_cosh(x, 0.1), line_search="gradient", sample_axes=1)
    moved = plan.solve(np.zeros((S, N)), max_iter=1, step=1e-3, on_failure="return").x
    assert np.allclose(moved, -1e-3 * (data + oa.log_cosh(x, 0.1)).gradient(np.zeros((S, N))))
    assert plan.solve(step=1e4, tol=1e-6) and plan.solve(step=1e-4, tol=1e-6)


# The prox of smooth data.


def operators(kind: str) -> tuple[Any, tuple[int, ...]]:
    kernel = np.random.default_rng(2).uniform(size=(3, 3))
    return {
        "structured": (oa.StructuredRandom((4, 6), rows=12), (12,)),
        "energy": (oa.StructuredRandom((4, 6), rows=10, scaling="energy"), (10,)),
        "mask": (oa.Mask(np.arange(24).reshape(4, 6) % 3 > 0), (4, 6)),
        "circulant": (oa.Convolve(kernel, (4, 6)), (4, 6)),
        "diagonal": (oa.Diagonal(np.linspace(0.5, 2.0, 24).reshape(4, 6)), (4, 6)),
    }[kind]


@pytest.mark.parametrize("kind", ["structured", "energy", "mask", "circulant", "diagonal"])
def test_the_prox_of_squares_is_that_of_conjugate_gradients(kind: str, rng: np.random.Generator) -> None:
    """S2.2: one step with a flat regulariser from z is the prox at z, which solves ``I + c A.H A``."""
    A, out = operators(kind)
    x, c = oa.Variable((S, 4, 6), name="x"), 3.7
    y, z = rng.standard_normal((S, *out)), rng.standard_normal((S, 4, 6))
    data = 0.5 * oa.sum_squares(A @ x - y)
    plan = oa.compile(data + oa.linear(np.zeros((S, 4, 6)), x), prox=data, line_search="gradient", sample_axes=1)
    moved = plan.solve(z, max_iter=1, step=c, on_failure="return").x
    other = oa.compile(c * data + 0.5 * oa.sum_squares(x - z), method="conjugate_gradient").solve(tol=1e-12).x
    assert np.allclose(moved, other, atol=1e-6)


def test_the_formula_of_orthonormal_rows_and_its_noiseless_limit(rng: np.random.Generator) -> None:
    """``z + c / (s^2 + c) A.H (y - A z)`` (S2.2); with the constraint the factor is 1."""
    A, x = oa.StructuredRandom((6, 6), rows=18), oa.Variable((2, 6, 6), name="x")
    y, z, c, s2 = rng.standard_normal((2, 18)), rng.standard_normal((2, 6, 6)), 0.8, 0.04
    assert np.allclose(A @ (A.H @ y), y, atol=1e-12)
    flat = oa.linear(np.zeros((2, 6, 6)), x)
    options = {"line_search": "gradient", "sample_axes": 1}
    for weight, factor in ((0.5 / s2, c / (s2 + c)), (0.5e12, 1.0)):
        data = weight * oa.sum_squares(A @ x - y)
        moved = oa.compile(data + flat, prox=data, **options).solve(z, max_iter=1, step=c, on_failure="return").x
        assert np.allclose(moved, z + factor * (A.H @ (y - A @ z)), atol=1e-9)
    exact = oa.compile(oa.indicator(A @ x == y) + flat, **options)
    projected = exact.solve(z, max_iter=1, step=c, on_failure="return").x
    assert np.allclose(A @ projected, y, atol=1e-10)
    assert np.allclose(projected, z + A.H @ (y - A @ z), atol=1e-10)


@pytest.mark.parametrize("exact", [False, True])
def test_noiseless_data_and_a_regulariser(exact: bool, rng: np.random.Generator) -> None:
    """The minimiser of ``sum log_cosh(x)`` on ``A x = y``, against the one of heavy data and of another method."""
    A, x = oa.StructuredRandom((4, 4), rows=8), oa.Variable((2, 4, 4), name="x")
    y = rng.standard_normal((2, 8))
    data = oa.indicator(A @ x == y) if exact else 1e7 * oa.sum_squares(A @ x - y)
    plan = oa.compile(oa.log_cosh(x, 0.5) + data, prox=data, line_search="gradient", sample_axes=1)
    found = plan.solve(tol=1e-9)
    wanted = oa.compile(oa.log_cosh(x, 0.5) + oa.indicator(A @ x == y), method="admm").solve(tol=1e-9).x
    assert np.allclose(found.x, wanted, atol=1e-6) and np.allclose(A @ found.x, y, atol=1e-6)


def test_prox_works_without_a_line_search_and_weights_do_not_matter(rng: np.random.Generator) -> None:
    A, x = oa.StructuredRandom((4, 4), rows=8), oa.Variable((4, 4), name="x")
    data = oa.sum_squares(A @ x - rng.standard_normal(8))
    energy = 50.0 * data + oa.log_cosh(x, 0.5)
    plan = oa.compile(energy, prox=[data])
    assert "by its prox although it is smooth" in oa.compile(energy, prox=[data], line_search="gradient").explain()
    assert np.allclose(plan.solve(tol=1e-10).x, oa.compile(energy).solve(tol=1e-10).x, atol=1e-5)
    assert plan.solve(tol=1e-8).iterations < 0.5 * oa.compile(energy).solve(tol=1e-8).iterations


def test_a_term_that_a_rule_would_merge_is_taken_by_itself(rng: np.random.Generator) -> None:
    """``v f(e) + w f(e)`` is one term but for what is named."""
    x, y = oa.Variable(4, name="x"), rng.standard_normal(4)
    data, again = oa.sum_squares(x - y), 2.0 * oa.log_cosh(x, 0.5)
    plan = oa.compile(data + again + oa.log_cosh(x, 0.5), prox=data, line_search="gradient")
    assert len(plan.problem.terms) == 2
    wanted = oa.compile(data + 3.0 * oa.log_cosh(x, 0.5)).solve(tol=1e-10).x
    assert np.allclose(plan.solve(tol=1e-10).x, wanted, atol=1e-7)


# What is refused.


def test_options_that_are_refused(rng: np.random.Generator) -> None:
    x, data, _, _ = batch(rng)
    energy = data + 0.1 * oa.sum_squares(x)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'linesearch'.*line_search, prox, sample_axes"):
        oa.compile(energy, linesearch="gradient")
    with pytest.raises(ParameterError, match=r"line_search= is an option of proximal_gradient, not of admm"):
        oa.compile(energy, method="admm", line_search="gradient")
    with pytest.raises(ParameterError, match="'gradient' or 'value', not 'armijo'"):
        oa.compile(energy, line_search="armijo")
    with pytest.raises(ParameterError, match="line_search='gradient', too"):
        oa.compile(energy, sample_axes=1)
    with pytest.raises(ParameterError, match="added up over samples"):
        oa.compile(energy, sample_axes=1, line_search="value")
    with pytest.raises(ParameterError, match="nonnegative integer, not True"):
        oa.compile(energy, sample_axes=True, line_search="gradient")
    with pytest.raises(ShapeError, match="begin with the same 3 axes"):
        oa.compile(energy, sample_axes=3, line_search="gradient")
    with pytest.raises(ParameterError, match="is no term of the energy; its terms are"):
        oa.compile(energy, prox=oa.sum_squares(x - 1.0))
    with pytest.raises(ParameterError, match=r"prox= takes terms of the energy, .* not str"):
        oa.compile(energy, prox="data")
    with pytest.raises(UnsupportedError, match="two terms need a prox of x"):
        oa.compile(energy + oa.log_cosh(x, 1.0), prox=energy)
    with pytest.raises(UnsupportedError, match="no smooth term"):
        oa.compile(oa.norm1(x), line_search="gradient")


def test_a_prox_that_is_not_known_is_refused(rng: np.random.Generator) -> None:
    x = oa.Variable((6, 6), name="x")
    data = oa.sum_squares(oa.Radon((6, 6), np.linspace(0, 3, 4)) @ x)
    with pytest.raises(UnsupportedError, match="leave it out of prox=, so that its gradient is taken"):
        oa.compile(data + oa.log_cosh(x, 1.0), prox=data)


def test_energies_that_mix_samples_are_refused(rng: np.random.Generator) -> None:
    x, data, _, _ = batch(rng)
    for term in (oa.charbonnier(oa.Gradient((S, N), axes=(0,)) @ x, 0.1), oa.norm2(x)):
        plan = oa.compile(data + term, line_search="gradient", sample_axes=1)
        with pytest.raises(ParameterError, match="the energy mixes samples"):
            plan.solve()
        assert oa.compile(data + term, line_search="gradient").solve(tol=1e-6)


def test_red_has_no_energy_to_search_by_and_works_as_a_map(rng: np.random.Generator) -> None:
    A, x = oa.StructuredRandom((4, 4), rows=8), oa.Variable((2, 4, 4), name="x")
    W = rng.standard_normal((4, 4))
    W *= 0.8 / np.linalg.norm(W, 2)
    data = 5 * oa.sum_squares(A @ x - rng.standard_normal((2, 8)))
    field = 0.2 * oa.red(lambda v: np.tanh(v @ W), x, nonexpansive=True)
    for search in ("gradient", "value"):
        with pytest.raises(
            UnsupportedError, match=r"decreases an energy, and the term 0.2 \* red.* has none.*as a map"
        ):
            oa.compile(data + field, prox=data, line_search=search, nonconvex=True)
    by_step = oa.compile(data + field, prox=data, nonconvex=True).solve(tol=1e-9)
    tau = 2.0
    update = oa.prox(data, x - tau * oa.grad(field), tau)
    seen: list[int] = []
    plan = oa.fixed_point(x, update, acceleration="none", sample_axes=1)
    by_map = plan.solve(tol=1e-10, callback=lambda info: seen.append(info.iteration))
    assert np.allclose(by_map.x, by_step.x, atol=1e-7) and seen == list(range(1, by_map.iterations + 1))
    slope = data.gradient(by_map.x) + 0.2 * (by_map.x - np.tanh(by_map.x @ W))
    assert np.abs(slope).max() < 1e-8


def test_gradients_are_those_of_the_whole_energy(rng: np.random.Generator) -> None:
    A, x = oa.StructuredRandom((4, 4), rows=8), oa.Variable((2, 4, 4), name="x")
    y, lam = oa.Parameter(rng.standard_normal((2, 8)), name="y"), oa.Parameter(0.3, name="lambda", positive=True)
    data = 2.0 * oa.sum_squares(A @ x - y)
    energy, c = data + lam * oa.log_cosh(x, 0.5) + 0.05 * oa.sum_squares(x), rng.standard_normal((2, 4, 4))
    found = oa.compile(energy, prox=data, line_search="gradient", sample_axes=1).solve(tol=1e-11).vjp(c, [y, lam])
    wanted = oa.compile(energy).solve(tol=1e-11).vjp(c, [y, lam])
    assert np.allclose(found[y], wanted[y], atol=1e-9) and np.isclose(found[lam], wanted[lam], rtol=1e-8)
