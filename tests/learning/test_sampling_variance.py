"""Predicted variances and floors of online solves, against what many solves do and against Lyapunov's equation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import opalg as oa
from opalg.learning.sampled_map import SampledMap

N, BLOCKS, STEP, LAM = 8, 12, 0.2, 0.5


def toy(bend=None):
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(6, N)) / np.sqrt(6) for _ in range(BLOCKS)]
    x, y = oa.Variable(N, name="x"), oa.Parameter(rng.normal(size=6 * BLOCKS), name="y")
    data = 0.5 / BLOCKS * oa.sum_squares(oa.vstack([oa.Matrix(p) for p in parts]) @ x - y)
    image = x - STEP * (oa.grad(data) + LAM * oa.grad(0.5 * oa.sum_squares(x)))
    plan = oa.fixed_point(x, image if bend is None else bend(image), acceleration="none")
    A = np.concatenate(parts)
    H = A.T @ A / BLOCKS + LAM * np.eye(N)
    exact = np.linalg.solve(H, A.T @ y.value / BLOCKS)
    gradients = np.stack(
        [p.T @ (p @ exact - v) / BLOCKS for p, v in zip(parts, y.value.reshape(BLOCKS, 6), strict=True)]
    )
    return plan, exact, H, gradients, rng.normal(size=N)


SAMPLERS = [
    oa.samplers.WithReplacement(4),
    oa.samplers.WithoutReplacement(4),
    oa.samplers.Stratified(2, 4),
    oa.samplers.WithoutReplacement(BLOCKS),
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_the_variance_of_the_estimate_is_exact(sampler):
    plan, exact, _, gradients, _ = toy()
    online = oa.online(plan, sampler=sampler)
    found = online.variance(exact)
    assert found.block == pytest.approx(np.sum(np.var(BLOCKS * gradients, axis=0)), rel=1e-9)
    rng = np.random.default_rng(1)
    total = gradients.sum(axis=0)
    draws = [BLOCKS * gradients[sampler.draw(rng, BLOCKS)].mean(axis=0) - total for _ in range(4000)]
    assert found.sampled == pytest.approx(np.mean(np.sum(np.square(draws), axis=1)), rel=0.06, abs=1e-12)
    assert found.step == pytest.approx(STEP**2 * found.sampled, rel=1e-6, abs=1e-15)


def test_the_floor_is_that_of_lyapunovs_equation():
    plan, exact, H, gradients, _ = toy()
    found = oa.online(plan, 6).variance(exact)
    J = np.eye(N) - STEP * H
    sampler = oa.samplers.WithoutReplacement(6)
    noise = STEP**2 * gradients.T @ sampler.covariance(BLOCKS) @ gradients
    assert found.forward_floor == pytest.approx(np.trace(solve_discrete_lyapunov(J, noise)), rel=0.3)
    errors = [np.sum((oa.online(plan, 6, seed=s).solve(max_iter=60).x - exact) ** 2) for s in range(120)]
    assert found.forward_floor == pytest.approx(np.mean(errors), rel=0.35)


def test_the_adjoints_floor():
    plan, exact, H, _, c = toy()
    online = oa.online(plan, 6)
    found = online.variance(exact, cotangent=c)
    adjoint = np.linalg.solve(STEP * H, c)
    sampled = SampledMap(plan.variables[0], online.pieces, plan.bind(None), {})
    rng, errors = np.random.default_rng(3), []
    for _ in range(120):
        u = adjoint
        for _ in range(60):
            u = sampled.transposed(exact, online.sampler.draw(rng, BLOCKS), u) + c
        errors.append(np.sum((u - adjoint) ** 2))
    assert found.backward_floor == pytest.approx(np.mean(errors), rel=0.4)


def test_a_map_that_expands_has_no_floor():
    plan, exact, *_ = toy(bend=lambda image: 1.5 * image)
    found = oa.online(plan, 4).variance(exact, cotangent=exact)
    assert found.forward_floor == found.backward_floor == float("inf")


def test_all_blocks_leave_nothing_and_the_text_says_what_is_what():
    plan, exact, *_ = toy()
    found = oa.online(plan, BLOCKS).variance(exact)
    assert found.remains < 1e-12
    assert found.forward_floor < 1e-12
    assert "variance from 12 of 12" in repr(found)


def test_an_unknown_sampler_has_to_say_its_covariances():
    class Own(oa.samplers.Sampler):
        def draw(self, rng, count):
            return rng.integers(0, count, 2)

        def check(self, count):
            return 2

    plan, exact, *_ = toy()
    with pytest.raises(oa.UnsupportedError, match="covariance\\(self, count\\)"):
        oa.online(plan, sampler=Own()).variance(exact)
