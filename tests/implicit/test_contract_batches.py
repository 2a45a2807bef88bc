"""Batches: the gradients of a batch are those of its samples, and a hard sample harms nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.implicit.contract_cases import (
    ACCURACY,
    Array,
    LeastSquares,
    Penalty,
    difference,
    error,
    parameter,
    solve,
    weight,
)

SAMPLES, N = 8, 12
CONDITIONS = np.geomspace(1.0, 1e3, SAMPLES)


@dataclass(frozen=True)
class Batch:
    """``1/2 |d_i * (V x_i) - y_i|^2 + lam |x_i|_1 ``: one design and weight, a spectrum for each sample."""

    V: Array
    d: Array
    y: Array
    c: Array
    lam: float
    penalty: str
    parameters: tuple[oa.Parameter, ...]

    def energy(self, samples: slice | int = slice(None)) -> oa.Energy:
        """The energy of some samples."""
        Vp, dp, yp, lp = self.parameters
        whole = samples == slice(None)
        d, y = (dp, yp) if whole else (self.d[samples], self.y[samples])
        x = oa.Variable(self.y[samples].shape, name="x")
        fit = 0.5 * oa.sum_squares(oa.Diagonal(d) @ (oa.Matrix(Vp) @ x) - y)
        return fit + lp * (oa.norm1(x) if self.penalty == "l1" else oa.charbonnier(x, 0.5))

    def reference(self, i: int, x: Array) -> LeastSquares:
        """The dense reference of one sample."""
        return LeastSquares([Penalty(np.eye(N), self.lam)], x, self.c[i], A=self.d[i][:, None] * self.V, y=self.y[i])


@pytest.fixture(params=["l1", "charbonnier"])
def batch(request: pytest.FixtureRequest, rng: np.random.Generator) -> Batch:
    V, _ = np.linalg.qr(rng.standard_normal((N, N)))
    d = np.stack([np.geomspace(1.0, 1 / np.sqrt(k), N) for k in CONDITIONS])  # the condition of the gram matrix is k
    truth = rng.standard_normal((SAMPLES, N)) * (rng.random((SAMPLES, N)) < 0.6)
    y = d * (2 * truth @ V.T) + 0.05 * rng.standard_normal((SAMPLES, N))
    lam = 0.05
    parameters = (parameter(V, "V"), parameter(d, "d"), parameter(y, "y"), weight(lam))
    return Batch(V, d, y, rng.standard_normal((SAMPLES, N)), lam, request.param, parameters)


def test_a_batch_is_its_samples(batch: Batch) -> None:
    V, d, y, lam = batch.parameters
    solution = solve(batch.energy())
    found = solution.vjp(batch.c, [V, d, y, lam], per_sample=True, tol=1e-12, on_inexact="return")
    plain = solution.vjp(batch.c, [V, d, y, lam], tol=1e-12, on_inexact="return")
    assert found.per_sample[V].shape == (SAMPLES, N, N) and found.per_sample[lam].shape == (SAMPLES,)
    assert len(found.sample_residuals) == len(found.sample_flags) == SAMPLES
    for i in range(SAMPLES):
        single = solve(batch.energy(i))
        alone = single.vjp(batch.c[i], [V, lam], tol=1e-12, on_inexact="return")
        assert error(found.per_sample[V][i], alone[V]) <= ACCURACY
        assert error(found.per_sample[lam][i], alone[lam]) <= ACCURACY
        assert float(found.sample_residuals[i]) <= 1e-10
    for g in (found, plain):
        assert error(g[V], np.sum(found.per_sample[V], axis=0)) <= ACCURACY
        assert error(g[lam], np.sum(found.per_sample[lam])) <= ACCURACY


def test_a_batch_has_the_dense_gradients_of_its_samples(batch: Batch) -> None:
    if batch.penalty != "l1":
        return
    V, d, y, lam = batch.parameters
    solution = solve(batch.energy())
    found = solution.vjp(batch.c, [V, d, y, lam], tol=1e-12, on_inexact="return")
    exact = [batch.reference(i, solution.x[i]) for i in range(SAMPLES)]
    assert error(found[y], np.stack([e.by_data() for e in exact])) <= ACCURACY
    assert error(found[lam], sum(e.by_weight().sum() for e in exact)) <= ACCURACY
    by_design = [e.by_design() for e in exact]
    assert error(found[V], sum(batch.d[i][:, None] * g for i, g in enumerate(by_design))) <= ACCURACY
    assert error(found[d], np.stack([np.sum(g * batch.V, axis=1) for g in by_design])) <= ACCURACY


def test_a_number_of_batch_axes(rng: np.random.Generator) -> None:
    shape = (2, 3, 7)
    y, c = 2 * rng.standard_normal(shape), rng.standard_normal(shape)
    lam, x = weight(0.5), oa.Variable(shape, name="x")
    solution = solve(0.5 * oa.sum_squares(x - y) + lam * oa.norm1(x))
    found = solution.vjp(c, lam, per_sample=2)
    exact = -np.sum(np.sign(solution.x) * c, axis=-1)
    assert len(found.sample_flags) == 6
    assert error(np.reshape(found.per_sample[lam], (2, 3)), exact) <= ACCURACY
    assert error(solution.vjp(c, lam, per_sample=1).per_sample[lam], exact.sum(axis=1)) <= ACCURACY
    assert error(found[lam], exact.sum()) <= ACCURACY


def test_a_batch_of_signals_under_total_variation(rng: np.random.Generator) -> None:
    y = np.repeat(rng.standard_normal((3, 4)), 4, axis=1) + 0.05 * rng.standard_normal((3, 16))
    c, lam, x = rng.standard_normal((3, 16)), weight(0.2), oa.Variable((3, 16), name="x")
    solution = solve(0.5 * oa.sum_squares(x - y) + lam * oa.norm1(oa.FiniteDifference((16,), 0) @ x))
    found = solution.vjp(c, lam, per_sample=True, tol=1e-12, on_inexact="return")
    for i in range(3):
        exact = LeastSquares([Penalty(difference(16), 0.2)], solution.x[i], c[i], A=np.eye(16), y=y[i])
        assert error(found.per_sample[lam][i], exact.by_weight().sum()) <= ACCURACY


def test_one_hard_sample(rng: np.random.Generator) -> None:
    # The gram matrix of sample 3 spans fourteen orders of magnitude: its system is as good as singular.
    d = np.ones((SAMPLES, N)) * np.geomspace(1.0, 0.3, N)
    d[3] = np.geomspace(1.0, 1e-7, N)
    Q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    truth, c = rng.standard_normal((SAMPLES, N)), rng.standard_normal((SAMPLES, N))
    y, scale = d * (truth @ Q.T), weight(1.0, "scale")

    def gradient(samples: slice) -> Any:
        x = oa.Variable(d[samples].shape, name="x")
        energy = 0.5 * oa.sum_squares(oa.Diagonal(d[samples]) @ (scale * (oa.Matrix(Q) @ x)) - y[samples])
        solution = oa.compile(energy).solve(tol=1e-10, max_iter=500, on_failure="return")
        return solution.vjp(c[samples], scale, per_sample=True, tol=1e-10, on_inexact="return")

    found = gradient(slice(None))
    hard = {"ill_conditioned", "adjoint_not_converged", "forward_not_converged", "solution_not_unique"}
    assert hard & set(found.sample_flags[3])
    for i in set(range(SAMPLES)) - {3}:
        assert not hard & set(found.sample_flags[i])
        assert float(found.sample_residuals[i]) <= 1e-10
        alone = gradient(slice(i, i + 1))
        assert error(found.per_sample[scale][i], -truth[i] @ c[i]) <= 1e-8
        assert error(found.per_sample[scale][i], alone.per_sample[scale][0]) <= 1e-8


MIXED = {
    "differences across samples": lambda x: 0.2 * oa.sum_squares(oa.Gradient((4, 5)) @ x),
    "a sum over samples": lambda x: oa.sum_squares(oa.Sum((4, 5), axes=(0,)) @ x),
}


@pytest.mark.parametrize("name", MIXED)
def test_samples_that_are_mixed(name: str, rng: np.random.Generator) -> None:
    x, y = oa.Variable((4, 5), name="x"), parameter(rng.standard_normal((4, 5)), "y")
    solution = solve(0.5 * oa.sum_squares(x - y) + MIXED[name](x))
    with pytest.raises((oa.ParameterError, oa.UnsupportedError), match="sample"):
        solution.vjp(rng.standard_normal((4, 5)), y, per_sample=True)


def test_forward_derivatives_of_a_batch(batch: Batch, rng: np.random.Generator) -> None:
    solution, lam = solve(batch.energy()), batch.parameters[3]
    moved = solution.jvp({lam: np.array(1.0)}, tol=1e-12, on_inexact="return")
    found = solution.vjp(batch.c, lam, per_sample=True, tol=1e-12, on_inexact="return")
    assert error(found.per_sample[lam], np.sum(batch.c * moved, axis=1)) <= 1e-8
