"""Gradient-step terms: their value, exact gradient and denoiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.facts import UNKNOWN, YES
from opalg.functionals.gradient_step import GradientStep, gradient_step

torch = pytest.importorskip("torch")


def small_network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ELU(), torch.nn.Conv2d(4, 1, 3, padding=1)]
    return torch.nn.Sequential(*layers).double()


def test_value_gradient_and_hessian_agree_with_autograd() -> None:
    net, v = small_network(), torch.randn(2, 1, 6, 6, dtype=torch.float64)
    f, d = GradientStep(net), torch.randn(2, 1, 6, 6, dtype=torch.float64)

    def energy(a: Any) -> Any:
        return 0.5 * ((a - net(a)) ** 2).sum()

    assert f.value(v) == pytest.approx(float(energy(v).detach()), rel=1e-13)
    wanted = torch.autograd.functional.jacobian(energy, v)
    assert torch.allclose(f.gradient(v), wanted, rtol=1e-11, atol=1e-13)
    wanted = torch.autograd.functional.hvp(energy, v, d)[1]
    assert torch.allclose(f.hessian_vector(v, d), wanted, rtol=1e-10, atol=1e-12)
    assert torch.allclose(f.denoise(v), v - f.gradient(v))
    step = 1e-6 * d
    along = (f.denoise(v + step) - f.denoise(v - step)) / 2e-6
    assert torch.allclose(f.denoise_along(v, d), along, atol=1e-7)
    assert net[0].weight.grad is None


def test_numpy_functions_bring_their_derivatives(rng: np.random.Generator) -> None:
    W = rng.standard_normal((5, 5)) / 3
    v, d = rng.standard_normal((2, 5))

    def pulled(a: Any, u: Any) -> Any:
        return W.T @ ((1 - np.tanh(W @ a) ** 2) * u)

    x = oa.Variable(5, name="x")
    E = gradient_step(lambda a: np.tanh(W @ a), x, vjp=pulled)
    assert E.value(v) == pytest.approx(0.5 * np.sum((v - np.tanh(W @ v)) ** 2), rel=1e-14)
    slope = (E.value(v + 1e-6 * d) - E.value(v - 1e-6 * d)) / 2e-6
    assert E.gradient(v) @ d == pytest.approx(slope, rel=1e-7)
    with pytest.raises(oa.UnsupportedError, match="give jvp="):
        E.hessian_vector(v, d)
    with pytest.raises(oa.UnsupportedError, match="give vjp="):
        gradient_step(lambda a: np.tanh(W @ a), x).gradient(v)


def test_what_is_known() -> None:
    facts = GradientStep(np.tanh, lipschitz=3.0).facts
    assert facts.has_value is facts.smooth is facts.bounded_below is YES and facts.convex is UNKNOWN
    assert facts.smoothness is not None and facts.smoothness.certainty == "asserted"
    assert r"\left\|x - " in GradientStep(np.tanh).latex("x")
