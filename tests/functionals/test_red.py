"""Regularisation by denoising: its field, and its energy where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.facts import UNKNOWN, YES
from opalg.functionals.red import Red, red

N = 6


def symmetric_smoother(rng: np.random.Generator) -> np.ndarray:
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    out: np.ndarray = Q @ np.diag(np.linspace(0.1, 0.95, N)) @ Q.T
    return out


def test_the_energy_of_a_symmetric_linear_denoiser(rng: np.random.Generator) -> None:
    W = symmetric_smoother(rng)
    f, v = Red(lambda a: W @ a, symmetric=True, homogeneous=True, nonexpansive=True), rng.standard_normal(N)
    assert f.value(v) == pytest.approx(0.5 * v @ (v - W @ v), rel=1e-14)
    assert np.allclose(f.gradient(v), v - W @ v, rtol=1e-14)
    steps = [f.value(v + 1e-6 * e) - f.value(v - 1e-6 * e) for e in np.eye(N)]
    assert np.allclose(f.gradient(v), np.array(steps) / 2e-6, atol=1e-8)
    assert f.facts.convex is f.facts.has_value is f.facts.bounded_below is YES
    assert f.facts.smoothness is not None and f.facts.smoothness.value == 2.0


def test_the_energy_of_a_homogeneous_denoiser_that_is_not_linear(rng: np.random.Generator) -> None:
    # half the gradient of |v|_4^2 is homogeneous of degree one and has a symmetric Jacobian
    f = Red(lambda a: a**3 / np.sqrt(np.sum(a**4)), symmetric=True, homogeneous=True)
    v = rng.standard_normal(N)
    assert f.value(v) == pytest.approx(0.5 * (v @ v - np.sqrt(np.sum(v**4))), rel=1e-13)
    steps = [f.value(v + 1e-6 * e) - f.value(v - 1e-6 * e) for e in np.eye(N)]
    assert np.allclose(f.gradient(v), np.array(steps) / 2e-6, atol=1e-8)
    assert f.facts.convex is UNKNOWN


def test_the_gradient_of_an_energy_with_it_needs_no_derivative_of_the_denoiser(rng: np.random.Generator) -> None:
    W, K = symmetric_smoother(rng), oa.Matrix(rng.standard_normal((N, 3)))
    x = oa.Variable(3, name="x")
    E = 0.3 * red(lambda a: W @ a, K @ x, symmetric=True, homogeneous=True)
    v, d = rng.standard_normal((2, 3))
    slope = (E.value(v + 1e-6 * d) - E.value(v - 1e-6 * d)) / 2e-6
    assert E.gradient(v) @ d == pytest.approx(slope, rel=1e-7)


def test_a_denoiser_of_which_nothing_is_known_has_a_field_only(rng: np.random.Generator) -> None:
    f, v = Red(np.tanh), rng.standard_normal(N)
    assert np.allclose(f.gradient(v), v - np.tanh(v), rtol=1e-15)
    assert f.facts.has_value is UNKNOWN and f.facts.smooth is YES
    for half in ({}, {"symmetric": True}, {"homogeneous": True}):
        with pytest.raises(oa.UnsupportedError, match=r"has no energy.*symmetric=True and homogeneous=True"):
            Red(np.tanh, **half).value(v)


def test_an_energy_with_a_field_says_what_it_has(rng: np.random.Generator) -> None:
    x, y = oa.Variable(N, name="x"), rng.standard_normal(N)
    E = 0.5 * oa.sum_squares(x - y) + 0.7 * red(np.tanh, x)
    v = rng.standard_normal(N)
    assert np.allclose(E.gradient(v), v - y + 0.7 * (v - np.tanh(v)), rtol=1e-14)
    K = oa.Matrix(rng.standard_normal((4, N)))
    behind = 2.0 * red(np.tanh, K @ x)
    moved = K @ v
    assert np.allclose(behind.gradient(v), 2.0 * K.to_dense().T @ (moved - np.tanh(moved)), rtol=1e-13)
    with pytest.raises(oa.UnsupportedError, match="has no energy"):
        E.value(v)
    with pytest.raises(oa.UnsupportedError, match="no Hessian"):
        E.hessian_vector(v, v)


def test_the_field_is_linear_in_its_lipschitz_declarations() -> None:
    bounds = [
        Red(np.tanh, **given).bound
        for given in ({"nonexpansive": True}, {"averaged": 0.25}, {"nonexpansive": True, "lipschitz": 0.3})
    ]
    assert [float(b) for b in bounds if b is not None] == [2.0, 0.5, 0.3]
    assert {b.certainty for b in bounds if b is not None} == {"asserted"}


def test_torch_modules_see_the_whole_array() -> None:
    torch = pytest.importorskip("torch")
    seen: list[tuple[int, ...]] = []

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, v: Any) -> Any:
            seen.append(tuple(v.shape))
            return self.layer(v)

    net = Net().double()
    f, v = Red(net), torch.randn(2, 1, 5, 5, dtype=torch.float64)
    found = f.gradient(v)
    assert torch.allclose(found, v - net(v).detach()) and not found.requires_grad
    assert set(seen) == {(2, 1, 5, 5)}
    assert net.layer.weight.grad is None and f.network.name == "Net"
    plain = Red(lambda a: net(a[None, None])[0, 0])
    assert plain.gradient(v[0, 0]).shape == (5, 5)
