"""Scalar networks, input-convex ones among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.scalar_network import ScalarNetwork, input_convex, scalar_network

torch = pytest.importorskip("torch")


def input_convex_network(seed: int = 0) -> Any:
    """Two layers; the weights of the second are squares, so that it is convex in its input."""
    torch.manual_seed(seed)

    class Icnn(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.skip = torch.nn.Linear(6, 8), torch.nn.Linear(6, 1)
            self.second = torch.nn.Parameter(torch.randn(8))

        def forward(self, v: Any) -> Any:
            inside = torch.nn.functional.softplus(self.first(v))
            return inside @ self.second**2 + self.skip(v)[..., 0]

    return Icnn().double()


def test_values_of_samples_are_added_up() -> None:
    net, v = input_convex_network(), torch.randn(3, 6, dtype=torch.float64)
    f, d = ScalarNetwork(net), torch.randn(3, 6, dtype=torch.float64)
    assert tuple(net(v).shape) == (3,)
    assert f.value(v) == pytest.approx(float(net(v).detach().sum()), rel=1e-14)
    assert f.value(v) == pytest.approx(sum(f.value(one) for one in v), rel=1e-13)

    def energy(a: Any) -> Any:
        return net(a).sum()

    assert torch.allclose(f.gradient(v), torch.autograd.functional.jacobian(energy, v), rtol=1e-12, atol=1e-14)
    assert torch.allclose(
        f.hessian_vector(v, d), torch.autograd.functional.hvp(energy, v, d)[1], rtol=1e-11, atol=1e-13
    )


def test_numpy_functions_bring_their_derivatives(rng: np.random.Generator) -> None:
    v, d = rng.standard_normal((2, 5))
    x = oa.Variable(5, name="x")
    E = 2.0 * scalar_network(
        lambda a: np.sum(a**4), x, vjp=lambda a, u: 4 * u * a**3, hvp=lambda a, u, b: 12 * u * a**2 * b
    )
    assert E.value(v) == pytest.approx(2 * np.sum(v**4), rel=1e-14)
    assert np.allclose(E.gradient(v), 8 * v**3, rtol=1e-13)
    assert np.allclose(E.hessian_vector(v, d), 24 * v**2 * d, rtol=1e-13)
    assert scalar_network(lambda a: float(np.sum(a)), x).value(v) == pytest.approx(v.sum())
    with pytest.raises(oa.UnsupportedError, match="give vjp="):
        scalar_network(lambda a: np.sum(a**4), x).gradient(v)
    with pytest.raises(oa.DtypeError, match="complex"):
        scalar_network(lambda a: np.sum(1j * a), x).value(v)


def test_convexity_is_asserted_by_the_user() -> None:
    x = oa.Variable(6, name="x")
    net = input_convex_network()
    assert input_convex(net, x) is scalar_network(net, x, convex=True)
    assert input_convex(net, x).functional.facts.convex is YES
    assert ScalarNetwork(net).facts.convex is UNKNOWN and ScalarNetwork(net, convex=False).facts.convex is NO
    assert "convex=True" in repr(input_convex(net, x))
    with pytest.raises(oa.ConvexityError, match="convex=True where the network is convex"):
        oa.compile(oa.sum_squares(x) + scalar_network(net, x), backend="torch")


def test_an_input_convex_energy_is_solved_to_its_minimum() -> None:
    net, y = input_convex_network(), torch.randn(6, dtype=torch.float64)
    x = oa.Variable(6, name="x")
    plan = oa.compile(oa.sum_squares(x - y) + input_convex(net, x))
    assert "asserted by the user, not proved: an energy, smooth, convex" in plan.explain()
    solution = plan.solve(tol=1e-9, on_failure="return")
    at = solution.x.clone().requires_grad_(True)
    value = ((at - y) ** 2).sum() + net(at)
    (slope,) = torch.autograd.grad(value, at)
    assert solution.value == pytest.approx(float(value.detach()), rel=1e-12)
    assert float(slope.norm()) < 1e-7
