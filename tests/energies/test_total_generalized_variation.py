"""Total generalised variation against its definition, its null space, and cvxpy."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.energies.total_generalized_variation import total_generalized_variation

N = (4, 5)
Y = np.random.default_rng(0).standard_normal(N)


def differences(v: np.ndarray, axis: int, backward: bool) -> np.ndarray:
    """Neumann differences: the border value repeats."""
    padded = np.concatenate([v.take([0], axis), v] if backward else [v, v.take([-1], axis)], axis)
    return np.diff(padded, axis=axis)


def by_definition(x: np.ndarray, w: np.ndarray, alpha0: float, alpha1: float) -> float:
    misfit = np.sqrt(sum((differences(x, j, False) - w[j]) ** 2 for j in (0, 1)))
    mixed = 0.5 * (differences(w[1], 0, True) + differences(w[0], 1, True))
    pure = [differences(w[j], j, True) for j in (0, 1)]
    frobenius = np.sqrt(pure[0] ** 2 + pure[1] ** 2 + 2 * mixed**2)
    return float(alpha1 * misfit.sum() + alpha0 * frobenius.sum())


def test_value_by_definition() -> None:
    x, w = oa.Variable(N, name="x"), oa.Variable((2, *N), name="w")
    field = np.random.default_rng(1).standard_normal((2, *N))
    found = total_generalized_variation(x, 1.3, 0.4, field=w).value({x: Y, w: field})
    assert found == pytest.approx(by_definition(Y, field, 1.3, 0.4), rel=1e-12)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_denoising_has_the_solution_of_cvxpy(boundary: str, library: str) -> None:
    lib = backend(library)
    x, lam = oa.Variable(N, name="x"), oa.Parameter(0.3, name="lam", positive=True)
    energy = 0.5 * oa.sum_squares(x - Y) + lam * total_generalized_variation(x, boundary=boundary)
    assert len(energy.variables) == 2 and len(energy.terms) == 3
    plan = oa.compile(energy, backend=library)
    assert plan.method.name == "primal_dual"
    sol = plan.solve(tol=1e-6, max_iter=20_000)
    size = int(np.prod(N))
    G, E = (oa.Gradient(N, boundary).to_dense(), oa.SymmetrizedGradient(N, boundary).to_dense())
    u, w = cvxpy.Variable(size), cvxpy.Variable(2 * size)
    first = cvxpy.norm(cvxpy.reshape(G @ u - w, (2, size), order="C"), axis=0)
    second = cvxpy.norm(cvxpy.reshape(E @ w, (3, size), order="C"), axis=0)
    problem = cvxpy.Problem(
        cvxpy.Minimize(0.5 * cvxpy.sum_squares(u - Y.ravel()) + 0.3 * (cvxpy.sum(first) + 2.0 * cvxpy.sum(second)))
    )
    problem.solve(solver=cvxpy.CLARABEL)
    assert np.allclose(lib.to_numpy(sol[x]).ravel(), u.value, atol=2e-4)
    assert sol.value == pytest.approx(problem.value, rel=1e-3)


def test_affine_images_cost_at_the_border_only() -> None:
    rows, columns = np.meshgrid(np.arange(6.0), np.arange(6.0), indexing="ij")
    slope = 3.0 * rows - 4.0 * columns
    x, w = oa.Variable((6, 6), name="x"), oa.Variable((2, 6, 6), name="w")
    field = np.broadcast_to(np.array([3.0, -4.0])[:, None, None], (2, 6, 6))
    found = total_generalized_variation(x, field=w).value({x: slope, w: field.copy()})
    assert found == pytest.approx(5 * 3.0 + 5 * 4.0 + 5.0)
    assert oa.total_variation(x).value(slope) == pytest.approx(25 * 5.0 + 5 * 3.0 + 5 * 4.0)


def test_a_ramp_is_recovered_better_than_by_total_variation() -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal(40)
    ramp = np.abs(np.linspace(-2.0, 2.0, 40))
    x = oa.Variable(40, name="x")
    plain = oa.minimize(0.5 * oa.sum_squares(x - ramp - noise) + 0.2 * oa.total_variation(x), tol=1e-4)
    energy = 0.5 * oa.sum_squares(x - ramp - noise) + 0.2 * total_generalized_variation(x)
    assert np.linalg.norm(oa.minimize(energy, tol=1e-4)[x] - ramp) < 0.8 * np.linalg.norm(plain.x - ramp)


def test_two_of_them_have_fields_of_their_own() -> None:
    x = oa.Variable((2, *N), name="x")
    energy = total_generalized_variation(x[0]) + total_generalized_variation(x[1])
    assert len(energy.variables) == 3
    parameter = oa.Parameter(0.5, name="alpha", nonneg=True)
    assert total_generalized_variation(x[0], alpha0=parameter).parameters == (parameter,)
    assert total_generalized_variation(oa.Variable(N, dtype=complex)).variables[1].kind == "complex"
    assert total_generalized_variation(x, axes=(1, 2)).variables[1].shape == (2, 2, *N)


def test_what_does_not_fit_is_refused() -> None:
    x = oa.Variable(N, name="x")
    with pytest.raises(oa.ShapeError, match=r"has shape \(4, 5\), but needs \(2, 4, 5\)"):
        total_generalized_variation(x, field=oa.Variable(N))
    with pytest.raises(oa.ParameterError, match="complex, but the image is real"):
        total_generalized_variation(x, field=oa.Variable((2, *N), dtype=complex))
    with pytest.raises(oa.NotAffineError, match="an unknown"):
        total_generalized_variation(x, field=2 * oa.Variable((2, *N)))
    with pytest.raises(oa.ParameterError, match=r"alpha1 .* must be nonnegative"):
        total_generalized_variation(x, alpha1=-1.0)
    with pytest.raises(oa.NotAffineError, match=r"total_generalized_variation\(...\) takes"):
        total_generalized_variation(Y)
