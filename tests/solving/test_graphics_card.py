"""Solving and differentiating on a graphics card gives what NumPy gives."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend_of

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(3)
Y = RNG.standard_normal((24, 20))
SHAPE = Y.shape


def energies() -> dict[str, tuple[oa.Energy, str, dict]]:
    """Energies by name, each with its method and its parameters."""
    kernel = oa.Parameter(np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16, name="kernel")
    lam = oa.Parameter(0.2, name="lambda", nonneg=True)
    x = oa.Variable(SHAPE, name="x")
    blur = oa.Convolve(kernel, SHAPE)
    data = 0.5 * oa.sum_squares(blur @ x - Y)
    gradient = oa.Gradient(SHAPE, boundary="periodic")
    both = {"kernel": kernel, "lambda": lam}
    return {
        "ridge": (data + lam * oa.sum_squares(x), "closed_form", both),
        "smooth": (data + lam * oa.huber(gradient @ x, 0.1) + 0.05 * oa.sum_squares(x), "proximal_gradient", both),
        "lasso": (data + lam * oa.norm1(x) + 0.1 * oa.sum_squares(x), "proximal_gradient", both),
        "total variation": (data + lam * oa.norm21(gradient @ x) + oa.indicator(x >= 0), "admm", both),
        "denoising": (0.5 * oa.sum_squares(x - Y) + lam * oa.total_variation(x), "primal_dual", {"lambda": lam}),
    }


@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("name", list(energies()))
def test_solutions_agree_with_numpy(name, library):
    energy, method, _ = energies()[name]
    found = []
    for options in ({}, {"backend": library, "device": "cuda"}):
        plan = oa.compile(energy, method=method, **options)
        solution = plan.solve(tol=1e-7, max_iter=20_000)
        found.append(backend_of(solution.x).to_numpy(solution.x))
        assert solution.status is oa.Status.CONVERGED
    assert np.max(np.abs(found[0] - found[1])) <= 2e-3


@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("name", ["ridge", "smooth", "lasso"])
def test_gradients_agree_with_numpy(name, library):
    energy, method, parameters = energies()[name]
    found = []
    for options in ({}, {"backend": library, "device": "cuda"}):
        plan = oa.compile(energy, method=method, **options)
        solution = plan.solve(tol=1e-11, max_iter=50_000)
        lib = backend_of(solution.x)
        gradients = solution.vjp(lib.asarray(np.ones(SHAPE)), wrt=list(parameters.values()))
        found.append([lib.to_numpy(lib.asarray(gradients[p])) for p in parameters.values()])
    for a, b in zip(*found, strict=True):
        assert np.max(np.abs(a - b)) <= 1e-5 * max(1.0, np.max(np.abs(a)))


def test_training_through_a_module_on_the_card():
    import torch

    energy, method, parameters = energies()["smooth"]
    module = oa.compile(energy, method=method, backend="torch", device="cuda").as_module()
    values = dict(module.named_parameters())
    assert len(values) == len(parameters)
    found = module()
    found = found if isinstance(found, torch.Tensor) else next(iter(found.values()))
    found.square().sum().backward()
    assert all(v.grad is not None and bool(torch.isfinite(v.grad).all()) and v.grad.is_cuda for v in values.values())
