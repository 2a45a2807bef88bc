"""Gradients of each sample: sums, residuals, one hard sample, energies that mix samples."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa


def batch(rng: np.random.Generator, kind: str = "real") -> tuple[oa.Plan, oa.Parameter, oa.Parameter, np.ndarray]:
    A = rng.standard_normal((9, 6))
    Y = rng.standard_normal((5, 9)) + (1j * rng.standard_normal((5, 9)) if kind == "complex" else 0.0)
    y, lam = oa.Parameter(Y, name="y"), oa.Parameter(0.7, name="lambda", nonneg=True)
    x = oa.Variable((5, 6), name="x", dtype=Y.dtype)
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + lam * oa.norm1(x))
    return plan, y, lam, A


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_samples_are_what_single_solves_give(kind: str, rng: np.random.Generator) -> None:
    plan, y, lam, A = batch(rng, kind)
    c = rng.standard_normal((5, 6)) + (1j * rng.standard_normal((5, 6)) if kind == "complex" else 0.0)
    found = plan.solve(tol=1e-8).vjp(c, [lam, y], per_sample=True)
    assert found.per_sample[lam].shape == (5,) and found.per_sample[y].shape == (5, 5, 9)
    assert np.isclose(found.per_sample[lam].sum(), found[lam])
    for i in range(5):
        one = oa.Variable((6,), name="x", dtype=c.dtype)
        single = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ one - y.value[i]) + lam * oa.norm1(one))
        alone = single.solve(tol=1e-8).vjp(c[i], lam)
        assert np.isclose(found.per_sample[lam][i], alone[lam], rtol=1e-9)
        others = np.delete(found.per_sample[y][i], i, axis=0)
        assert not others.any() and np.allclose(found.per_sample[y][i, i], found[y][i], rtol=1e-12)


def test_a_sample_with_a_zero_cotangent(rng: np.random.Generator) -> None:
    plan, _, lam, _ = batch(rng)
    c = rng.standard_normal((5, 6))
    c[2] = 0.0
    found = plan.solve(tol=1e-8).vjp(c, lam, per_sample=True)
    assert found.per_sample[lam][2] == 0.0 and found.sample_residuals[2] == 0.0 and found.sample_flags[2] == ()


def test_a_singular_sample_is_flagged_alone(rng: np.random.Generator) -> None:
    d = rng.uniform(1.0, 2.0, (4, 6))
    d[1, 3:5] = 0.0  # the second sample has no unique solution
    x, y = oa.Variable((4, 6), name="x"), oa.Parameter(rng.standard_normal((4, 6)), name="y")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Diagonal(d) @ x - y), method="conjugate_gradient")
    c = rng.standard_normal((4, 6))
    found = plan.solve(tol=1e-10).vjp(c, y, per_sample=True)
    assert found.sample_flags[1] and not any(found.sample_flags[i] for i in (0, 2, 3))
    wanted = c / np.where(d > 0, d, 1.0)
    for i in (0, 2, 3):
        assert np.allclose(found[y][i], wanted[i], rtol=1e-9)


def test_several_axes_of_samples(rng: np.random.Generator) -> None:
    x, lam = oa.Variable((2, 3, 4), name="x"), oa.Parameter(0.5, name="lambda", nonneg=True)
    plan = oa.compile(0.5 * oa.sum_squares(x - rng.standard_normal((2, 3, 4))) + lam * oa.norm1(x))
    found = plan.solve().vjp(np.ones((2, 3, 4)), lam, per_sample=2)
    assert np.size(found.per_sample[lam]) == 6 and len(found.sample_flags) == 6


def test_energies_that_mix_samples_are_refused(rng: np.random.Generator) -> None:
    x, y = oa.Variable((4, 6), name="x"), oa.Parameter(rng.standard_normal((4, 6)), name="y")
    along = oa.FiniteDifference((4, 6), axis=0)
    mixed = oa.compile(oa.sum_squares(x - y) + oa.sum_squares(along @ x)).solve()
    with pytest.raises(oa.ParameterError, match="mixes samples"):
        mixed.vjp(np.ones((4, 6)), y, per_sample=True)
    with pytest.raises(oa.ParameterError, match="axes of samples"):
        mixed.vjp(np.ones((4, 6)), y, per_sample=3)


def test_a_singular_sample_does_not_spoil_the_sums() -> None:
    d = oa.Parameter(np.array([[1.0] * 6, [1.0] * 5 + [0.0], [2.0] * 6]), name="d")
    x = oa.Variable((3, 6), name="x")
    solution = oa.compile(0.5 * oa.sum_squares(oa.Diagonal(d) @ x - np.ones((3, 6)))).solve()
    found = solution.vjp(np.ones((3, 6)), d, per_sample=True)
    assert "adjoint_not_converged" in found.sample_flags[1] and found.sample_residuals[1] <= 1.0
    assert np.abs(found[d]).max() < 10.0 and not found.sample_flags[0] and not found.sample_flags[2]
