"""Declared maps that are no gradient: their fixed points, acceleration, failures and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


def contraction(rng: np.random.Generator, n: int, radius: float) -> np.ndarray:
    B = rng.standard_normal((n, n))
    return B * radius / np.max(np.abs(np.linalg.eigvals(B)))


@pytest.mark.parametrize("backend", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("acceleration", ["anderson", "none"])
def test_a_linear_map(acceleration: str, backend: str, rng: np.random.Generator) -> None:
    pytest.importorskip(backend)
    B, b = contraction(rng, 12, 0.8), rng.standard_normal(12)
    x = oa.Variable(12, name="x")
    plan = oa.fixed_point(x, oa.Matrix(B) @ x + b, acceleration=acceleration, backend=backend)
    solution = plan.solve(tol=1e-11)
    assert solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY
    assert solution.value is None and solution.error_bound is None
    assert solution.certificate.kind == "residual"
    found = plan.backend.to_numpy(solution.x)
    assert np.allclose(found, np.linalg.solve(np.eye(12) - B, b), rtol=1e-8, atol=1e-9)


def test_acceleration_takes_fewer_iterations_to_the_same_point(rng: np.random.Generator) -> None:
    B, b = contraction(rng, 12, 0.97), rng.standard_normal(12)
    x = oa.Variable(12, name="x")
    fast, slow = (oa.fixed_point(x, oa.Matrix(B) @ x + b, acceleration=a).solve(tol=1e-9) for a in ("anderson", "none"))
    assert fast.iterations < slow.iterations / 2
    assert np.allclose(fast.x, slow.x, rtol=1e-5, atol=1e-6)


def test_a_network_with_tanh(rng: np.random.Generator) -> None:
    W, b = contraction(rng, 10, 0.9), rng.standard_normal(10)
    x, bp = oa.Variable(10, name="x"), oa.Parameter(b, name="b")
    image = oa.apply(np.tanh, oa.Matrix(W) @ x + bp, vjp=lambda v, u: u * (1 - np.tanh(v) ** 2))
    solution = oa.fixed_point(x, image).solve(tol=1e-13, on_failure="return")
    assert np.allclose(solution.x, np.tanh(W @ solution.x + b), atol=1e-12)
    c = rng.standard_normal(10)
    slope = np.diag(1 - solution.x**2)
    assert np.allclose(solution.vjp(c, bp)[bp], slope @ np.linalg.solve((np.eye(10) - slope @ W).T, c), rtol=1e-8)


def test_regularisation_by_a_denoiser_that_is_no_gradient(rng: np.random.Generator) -> None:
    # RED with a linear smoother S: 0 = A.T (A x - y) + lam (x - S x), and S is not symmetric.
    n, lam, tau = 12, 0.3, 0.5
    A = rng.standard_normal((8, n)) / 4
    S = np.tril(np.ones((n, n)))
    S /= S.sum(axis=1, keepdims=True)
    y = rng.standard_normal(8)
    yp, lp = oa.Parameter(y, name="y"), oa.Parameter(lam, name="lambda", nonneg=True)
    x, M = oa.Variable(n, name="x"), oa.Matrix(A)
    smoothed = oa.apply(lambda v: v @ S.T, x, vjp=lambda v, u: u @ S)
    data_term = M.H @ (M @ x - yp)
    plan = oa.fixed_point(x, x - tau * (data_term + lp * (x - smoothed)))
    solution = plan.solve(tol=1e-12, on_failure="return")
    H = A.T @ A + lam * (np.eye(n) - S)
    exact = np.linalg.solve(H, A.T @ y)
    assert np.allclose(solution.x, exact, atol=1e-8)
    c = rng.standard_normal(n)
    u = np.linalg.solve(H.T, c)
    g = solution.vjp(c, [yp, lp], on_inexact="return")
    assert np.allclose(g[yp], A @ u, rtol=1e-7, atol=1e-9)
    assert float(g[lp]) == pytest.approx(-u @ (exact - S @ exact), rel=1e-7)


@pytest.mark.parametrize("acceleration", ["anderson", "none"])
def test_a_map_that_drives_away_is_answered(acceleration: str) -> None:
    x = oa.Variable(3, name="x")
    square = oa.apply(lambda v: v * v + 1.0, x)
    plan = oa.fixed_point(x, square, acceleration=acceleration)
    with pytest.raises((oa.DivergedError, oa.NonFiniteError, oa.BreakdownError)) as caught:
        plan.solve(np.full(3, 2.0), max_iter=500, on_failure="raise")
    assert np.all(np.isfinite(caught.value.solution.x))
    assert not caught.value.solution


def test_divergence_of_a_linear_map_raises_by_default(rng: np.random.Generator) -> None:
    x = oa.Variable(4, name="x")
    plan = oa.fixed_point(x, oa.Matrix(np.diag([3.0, 2.0, 2.5, 4.0])) @ x + np.ones(4), acceleration="none")
    with pytest.raises((oa.DivergedError, oa.NonFiniteError)) as caught:
        plan.solve()
    assert np.all(np.isfinite(caught.value.solution.x))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(("radius", "acceleration"), [(3.0, "none"), (1.02, "none"), (1.6, "anderson")])
def test_a_map_that_lengthens_residuals_is_named_with_its_factor(
    radius: float, acceleration: str, backend: str, rng: np.random.Generator
) -> None:
    pytest.importorskip(backend)
    B = contraction(rng, 60, radius)
    x = oa.Variable(60, name="x")
    plan = oa.fixed_point(x, oa.Matrix(B) @ x + np.ones(60), acceleration=acceleration, backend=backend)
    with pytest.raises(oa.NotAContractionError, match=r"damp it .*spectra") as caught:
        plan.solve(max_iter=500)
    assert caught.value.contraction == pytest.approx(radius, rel=0.2)
    assert caught.value.contraction > 1.0
    solution = caught.value.solution
    assert solution.status is oa.Status.DIVERGED
    assert np.all(np.isfinite(plan.backend.to_numpy(solution.x)))
    assert ("acceleration='anderson'" in str(caught.value)) == (acceleration == "none")
    quiet = plan.solve(max_iter=500, on_failure="return")
    assert quiet.status is oa.Status.DIVERGED and "no contraction" in quiet.message
    with pytest.warns(oa.ConvergenceWarning, match="no contraction"):
        assert not plan.solve(max_iter=500, on_failure="warn")


def test_nan_that_no_growth_explains_is_no_matter_of_contraction() -> None:
    x = oa.Variable(3, name="x")
    plan = oa.fixed_point(x, oa.apply(lambda v: np.where(v > 1.0, np.nan, v + 0.3), x), acceleration="none")
    with pytest.raises(oa.NonFiniteError) as caught:
        plan.solve()
    assert not isinstance(caught.value, oa.NotAContractionError)


def test_a_bounded_orbit_runs_out_of_iterations_and_is_told_why() -> None:
    x = oa.Variable(2, name="x")
    plan = oa.fixed_point(x, oa.apply(lambda v: 3.2 * v * (1 - v), x), acceleration="none")
    with pytest.warns(oa.ConvergenceWarning):
        solution = plan.solve(np.full(2, 0.3), max_iter=60)
    assert solution.status is oa.Status.MAX_ITER


def test_a_transient_growth_of_a_contraction_is_left_alone(rng: np.random.Generator) -> None:
    B = 0.5 * np.eye(30) + np.diag(np.full(29, 0.8), 1)  # norm 1.3, radius 0.5: residuals grow before they shrink
    x = oa.Variable(30, name="x")
    plan = oa.fixed_point(x, oa.Matrix(B) @ x + np.ones(30), acceleration="none")
    solution = plan.solve(max_iter=3000, tol=1e-9)
    assert np.allclose(solution.x, np.linalg.solve(np.eye(30) - B, np.ones(30)), rtol=1e-5)


def test_a_translation_has_no_fixed_point() -> None:
    x = oa.Variable(3, name="x")
    with pytest.warns(oa.ConvergenceWarning):
        assert not oa.fixed_point(x, x + np.ones(3), acceleration="none").solve(max_iter=50, tol=1e-6)


def test_what_cannot_be_compiled_says_why() -> None:
    x, z = oa.Variable(3, name="x"), oa.Variable(3, name="z")
    with pytest.raises(oa.ShapeError, match=r"\(2,\)"):
        oa.fixed_point(x, oa.Matrix(np.ones((2, 3))) @ x)
    with pytest.raises(oa.ParameterError, match="make them Parameters"):
        oa.fixed_point(x, x + z)
    with pytest.raises(oa.ParameterError, match="acceleration"):
        oa.fixed_point(x, 0.5 * x, acceleration="momentum")
    with pytest.raises(oa.NotAffineError):
        oa.fixed_point(x, 3.0)


def test_the_pieces_and_the_texts(rng: np.random.Generator) -> None:
    b = oa.Parameter(rng.standard_normal(3), name="b")
    x = oa.Variable(3, name="x")
    plan = oa.fixed_point(x, 0.5 * x + b)
    (after,) = plan.step((np.ones(3),))
    assert np.allclose(after, 0.5 + b.value)
    (other,) = plan.step((np.ones(3),), params={"b": np.zeros(3)})
    assert np.allclose(other, 0.5)
    text = plan.explain()
    assert "Anderson" in text and "residual" in text and "b" in text
    assert "def step" in plan.source()
    assert "fixed_point" in repr(plan)


def test_solving_from_a_solution_takes_no_time(rng: np.random.Generator) -> None:
    B, b = contraction(rng, 8, 0.9), rng.standard_normal(8)
    x = oa.Variable(8, name="x")
    plan = oa.fixed_point(x, oa.Matrix(B) @ x + b)
    first = plan.solve(tol=1e-9)
    assert plan.solve(first, tol=1e-8).iterations <= 2


@pytest.mark.parametrize("acceleration", ["anderson", "none"])
@pytest.mark.parametrize("count", [1, 7])
def test_iterations_are_applications_of_the_map(acceleration: str, count: int, rng: np.random.Generator) -> None:
    B = contraction(rng, 6, 0.99)
    calls = []

    def image(v: np.ndarray) -> np.ndarray:
        calls.append(1)
        return v @ B.T + 1.0

    x = oa.Variable(6, name="x")
    plan = oa.fixed_point(x, oa.apply(image, x), acceleration=acceleration)
    calls.clear()
    solution = plan.solve(max_iter=count, tol=1e-14, on_failure="return")
    assert solution.status is oa.Status.MAX_ITER
    assert solution.iterations == len(calls) == count
    assert [row.iteration for row in solution.history.rows][-1] == count


def test_no_iteration_measures_the_start() -> None:
    x = oa.Variable(3, name="x")
    solution = oa.fixed_point(x, 0.5 * x + np.ones(3)).solve(np.ones(3), max_iter=0, on_failure="return")
    assert solution.iterations == 0 and np.array_equal(solution.x, np.ones(3))
    assert solution.certificate.value == pytest.approx(0.5 * np.sqrt(3))


def test_the_pieces_for_embedding() -> None:
    x = oa.Variable(3, name="x")
    plan = oa.fixed_point(x, 0.5 * x + np.ones(3), acceleration="none")
    state = plan.initial_state()
    assert np.array_equal(plan.readout(state), np.zeros(3))
    for _ in range(60):
        state = plan.step(state)
    assert np.allclose(plan.readout(state), 2.0)
    assert np.array_equal(plan.readout(plan.initial_state(np.ones(3))), np.ones(3))
    solution = plan.solve(tol=1e-10)
    assert np.array_equal(plan.readout(plan.initial_state(solution)), solution.x)
    with pytest.raises(oa.ShapeError):
        plan.initial_state(np.ones(4))
    assert plan.source("numpy") == plan.source() and "import torch" in plan.source("torch")


def test_a_complex_map(rng: np.random.Generator) -> None:
    b = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    x = oa.Variable(4, name="x", dtype=complex)
    solution = oa.fixed_point(x, 0.5j * x + b).solve(tol=1e-12, on_failure="return")
    assert solution.x.dtype == complex
    assert np.allclose(solution.x, b / (1 - 0.5j), atol=1e-10)


def test_a_state_may_be_several_arrays(rng) -> None:
    x, z = oa.Variable(4, name="x"), oa.Variable((2, 2), name="z", dtype=complex)
    b = oa.Parameter(rng.normal(size=4), name="b")
    M = 0.3 * rng.normal(size=(4, 4))
    flat = oa.Reshape((2, 2), (4,))
    coupled = {x: oa.Matrix(M) @ x + oa.Real((4,)) @ (flat @ z) + b, z: 0.5j * z + 0.1 * (flat.H @ x)}
    plan = oa.fixed_point(coupled)
    sol = plan.solve(tol=1e-13)
    a, w = sol[x], sol[z]
    np.testing.assert_allclose(a, M @ a + w.ravel().real + b.value, atol=1e-10)
    np.testing.assert_allclose(w, 0.5j * w + 0.1 * a.reshape(2, 2), atol=1e-10)
    c = {x: rng.normal(size=4), z: rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2))}
    found = sol.vjp(c, b)[b]
    h = 1e-6
    for i in range(4):
        moved = b.value + h * np.eye(4)[i]
        there = plan.solve(tol=1e-13, params={b: moved})
        change = sum(np.sum(np.conj(c[v]) * (there[v] - sol[v])).real for v in (x, z)) / h
        np.testing.assert_allclose(found[i], change, rtol=1e-4, atol=1e-6)
    assert set(plan.readout(plan.step(sol.points))) == {x, z}


def test_samples_are_solved_one_by_one(rng) -> None:
    x, b = oa.Variable((3, 6), name="x"), oa.Parameter(rng.normal(size=(3, 6)), name="b")
    rates = oa.Diagonal(np.array([0.2, 0.9, 0.99])[:, None] * np.ones((3, 6)))
    matrix = oa.Matrix(np.linalg.qr(rng.normal(size=(6, 6)))[0])
    plan = oa.fixed_point(x, rates @ (matrix @ x) + b, sample_axes=1)
    sol = plan.solve(tol=1e-12)
    exact = np.stack(
        [np.linalg.solve(np.eye(6) - r * matrix.to_dense(), y) for r, y in zip((0.2, 0.9, 0.99), b.value, strict=True)]
    )
    np.testing.assert_allclose(sol.x, exact, rtol=1e-6)
    c = rng.normal(size=(3, 6))
    found = sol.vjp(c, b, max_iter=500)
    assert found.solver == "anderson"
    expected = [
        np.linalg.solve(np.eye(6) - r * matrix.to_dense().T, y) for r, y in zip((0.2, 0.9, 0.99), c, strict=True)
    ]
    np.testing.assert_allclose(found[b], np.stack(expected), rtol=1e-6)
    np.testing.assert_allclose(sol.vjp(c, b, solver="gmres")[b], found[b], rtol=1e-6)
    assert "each sample" in plan.explain()


def test_momentum_is_guarded(rng) -> None:
    x = oa.Variable(2, name="x")
    angle = 1.2
    turn = 0.97 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    plan = oa.fixed_point(x, oa.Matrix(turn) @ x + np.ones(2), acceleration="nesterov")
    sol = plan.solve(tol=1e-8, max_iter=3000)
    np.testing.assert_allclose(sol.x, np.linalg.solve(np.eye(2) - turn, np.ones(2)), rtol=1e-5)


def test_a_prox_is_part_of_a_map(rng) -> None:
    x, y = oa.Variable(5, name="x"), oa.Parameter(rng.normal(size=5), name="y")
    data = 0.5 * oa.sum_squares(x - y)
    plan = oa.fixed_point(x, oa.prox(oa.nonneg, x - 0.5 * oa.grad(data)))
    sol = plan.solve(tol=1e-12)
    np.testing.assert_allclose(sol.x, np.maximum(y.value, 0), atol=1e-10)
    np.testing.assert_allclose(sol.vjp(np.ones(5), y)[y], (y.value > 0).astype(float), atol=1e-8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x, z: oa.fixed_point({x: 0.5 * x}, 0.5 * x), "write fixed_point"),
        (lambda x, z: oa.fixed_point(x), "write fixed_point"),
        (lambda x, z: oa.fixed_point({x: 0.5 * z}), "make them Parameters, or unknowns"),
        (lambda x, z: oa.fixed_point(x, 0.5 * x, sample_axes=2), "same 2 axes"),
        (lambda x, z: oa.fixed_point(x, 0.5 * x, sample_axes=True), "nonnegative integer"),
        (lambda x, z: oa.fixed_point(x, 0.5 * x, sample_axes=-1), "nonnegative integer"),
        (lambda x, z: oa.prox("box", x), "takes a functional"),
        (lambda x, z: oa.prox(oa.nonneg, x, np.ones(3)), "one number"),
    ],
)
def test_maps_that_make_no_sense_are_refused(make, words) -> None:
    with pytest.raises((oa.ParameterError, oa.ShapeError), match=words):
        make(oa.Variable(3, name="x"), oa.Variable(3, name="z"))


def test_a_start_whose_image_is_not_finite_is_refused():
    x = oa.Variable(3, name="x")
    plan = oa.fixed_point(x, x + oa.apply(np.log, x))
    with np.errstate(all="ignore"), pytest.raises(oa.NonFiniteError, match="not finite at the start"):
        plan.solve(-np.ones(3), max_iter=0)


def test_a_bar_may_have_no_tolerance_to_reach():
    pytest.importorskip("tqdm")
    x = oa.Variable(3, name="x")
    assert (
        oa.fixed_point(x, 0.5 * x + 1.0, acceleration="none")
        .solve(tol=0.0, max_iter=5, progress=True, on_failure="return")
        .iterations
        == 5
    )


@pytest.mark.parametrize("limit", [{"max_iter": 0}, {"time_limit": 1e-9}])
@pytest.mark.parametrize("size", [3, 500])
def test_no_iteration_from_zero_is_no_failure(limit: dict[str, float], size: int) -> None:
    x = oa.Variable(size, name="x")
    found = oa.fixed_point(x, 0.5 * x + 10.0 * np.ones(size)).solve(on_failure="return", **limit)
    assert found.status in (oa.Status.MAX_ITER, oa.Status.TIME_LIMIT)
    assert found.certificate.relative == pytest.approx(1 / np.finfo(float).eps)


@pytest.mark.parametrize("backend", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("kind", ["map", "energy"])
def test_what_is_given_to_a_solve_is_kept_for_its_gradient(kind: str, backend: str, rng: np.random.Generator) -> None:
    library = pytest.importorskip(backend)
    x, A = oa.Variable(4, name="x"), oa.Parameter(rng.standard_normal((6, 4)), name="A")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - rng.standard_normal(6)) + oa.sum_squares(x)
    plan = oa.compile(energy, backend=backend) if kind == "energy" else oa.fixed_point(
        x, x - 0.05 * oa.grad(energy), backend=backend
    )  # fmt: skip
    given = library.asarray(rng.standard_normal((6, 4)))
    cotangent = library.asarray(np.ones(4))
    exact = plan.solve(params={A: given}, tol=1e-12).vjp(cotangent, A)[A]
    solution = plan.solve(params={"A": given}, tol=1e-12)
    given *= 0.5
    found = solution.vjp(cotangent, A)[A]
    assert np.array_equal(plan.backend.to_numpy(found), plan.backend.to_numpy(exact))


@pytest.mark.parametrize("acceleration", ["none", "nesterov"])
def test_a_map_that_leads_away_from_where_it_nearly_stood_says_so(acceleration: str) -> None:
    """Residuals fall while stable parts die out, and rise again long before they are as large as at the start."""
    x = oa.Variable(4, name="x")
    factors, b = np.array([0.9, 0.8, 0.5, 1.01]), np.array([1.0, 1.0, 1.0, 1e-4])
    plan = oa.fixed_point(x, oa.Diagonal(factors) @ x + b, acceleration=acceleration)
    with pytest.warns(UserWarning, match="lengthens residuals by a factor of about 1.01"):
        found = plan.solve(tol=1e-8, max_iter=200)
    assert found.status is oa.Status.MAX_ITER
    steady = oa.fixed_point(x, oa.Diagonal(0.99 * factors) @ x + b, acceleration=acceleration)
    assert "lengthens" not in steady.solve(tol=1e-8, max_iter=100, on_failure="return").message
