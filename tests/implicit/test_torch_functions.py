"""Derivatives of first and second order of solver modules, against differences; and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

import opalg as oa

torch = pytest.importorskip("torch")

from tests.implicit.torch_cases import (  # noqa: E402
    ENERGIES,
    EXACT,
    TIGHT,
    N,
    as_function,
    data,
    lasso,
    linear_map,
    ridge,
    tanh_map,
)

# Torch itself calls its deprecated compiler when derivatives forwards are first taken.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

PLANS = [*ENERGIES, linear_map, tanh_map]


@pytest.mark.parametrize("make", PLANS, ids=lambda f: f.__name__)
def test_first_derivatives_both_ways(make: Any) -> None:
    solve, values = as_function(make().as_module(**EXACT))
    assert torch.autograd.gradcheck(
        solve, values, eps=1e-5, atol=1e-6, rtol=1e-5, check_forward_ad=True, fast_mode=len(values) > 2
    )


@pytest.mark.parametrize("make", PLANS, ids=lambda f: f.__name__)
def test_second_derivatives(make: Any) -> None:
    solve, values = as_function(make().as_module(**EXACT))
    assert torch.autograd.gradgradcheck(solve, values, eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_every_entry_of_second_derivatives() -> None:
    solve, values = as_function(tanh_map().as_module(**EXACT))
    assert torch.autograd.gradgradcheck(solve, values, eps=1e-5, atol=1e-6, rtol=1e-5)


def test_the_second_derivative_of_a_closed_form() -> None:
    """x = y / (1 + 2 lam), so x'' = 8 y / (1 + 2 lam)^3."""
    x, y = oa.Variable(N, name="x"), data(N)
    lam = oa.Parameter(torch.tensor(0.4, dtype=torch.float64), name="lam", nonneg=True)
    net = oa.compile(0.5 * oa.sum_squares(x - y) + lam * oa.sum_squares(x)).as_module(**TIGHT)
    c = data(N, seed=1)
    (first,) = torch.autograd.grad((net() * c).sum(), net.lam, create_graph=True)
    (second,) = torch.autograd.grad(first, net.lam)
    assert abs(float(first.detach()) - float((-2 * y * c).sum()) / 1.8**2) <= 1e-12
    assert abs(float(second.detach()) - float((8 * y * c).sum()) / 1.8**3) <= 1e-11


def test_a_penalty_on_the_gradient_can_be_minimised() -> None:
    net = ridge().as_module(**TIGHT)
    sizes = []
    optimiser = torch.optim.SGD([net.y], lr=0.001)
    for _ in range(3):
        optimiser.zero_grad()
        (slope,) = torch.autograd.grad((net() ** 2).sum(), net.lam, create_graph=True)
        (slope**2).backward()
        optimiser.step()
        sizes.append(float(slope.detach() ** 2))
    assert sizes[2] < sizes[1] < sizes[0]


def test_the_derivative_in_the_cotangent_alone() -> None:
    net = lasso().as_module(**EXACT)
    x = net()
    c = data(N, seed=5).requires_grad_()
    (slope,) = torch.autograd.grad(x, net.y, c, create_graph=True)
    direction = data(4, seed=6)
    (moved,) = torch.autograd.grad(slope, c, direction)
    y = next(p for p in net.plan.parameters if p.name == "y")
    assert torch.allclose(moved, net.solution.jvp({y: direction}), rtol=1e-10, atol=1e-12)


def test_a_third_derivative_is_refused_in_a_sentence() -> None:
    net = lasso().as_module(**EXACT)
    (first,) = torch.autograd.grad((net() ** 2).sum(), net.lam, create_graph=True)
    (second,) = torch.autograd.grad(first, net.lam, create_graph=True)
    with pytest.raises(oa.UnsupportedError, match=r"third derivatives of the solution of .*norm1"):
        torch.autograd.grad(second, net.lam)


def test_what_has_no_second_derivative_names_its_energy() -> None:
    """A function with a transposed derivative only, which autograd cannot follow."""
    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N), name="y")

    def half_sine(v: Any) -> Any:
        return torch.sin(v) / 2

    def pulled(v: Any, u: Any) -> Any:
        return torch.as_tensor((u.detach() * torch.cos(v.detach()) / 2).numpy().copy())

    net = oa.fixed_point(x, oa.apply(half_sine, x, vjp=pulled) + y).as_module(**TIGHT)
    (first,) = torch.autograd.grad((net() ** 2).sum(), net.y, create_graph=True)
    with pytest.raises(oa.UnsupportedError, match=r"second derivatives of the solution of .*half_sine"):
        torch.autograd.grad(first.sum(), net.y)


def test_a_mode_that_is_not_exact_has_no_second_derivative() -> None:
    net = lasso().as_module(tol=1e-12, gradient_options={"mode": "jacobian_free"})
    (first,) = torch.autograd.grad((net() ** 2).sum(), net.lam, create_graph=True)
    assert net.gradients.error_kind == "heuristic"
    with pytest.raises(oa.UnsupportedError, match="jacobian_free"):
        torch.autograd.grad(first, net.lam)
