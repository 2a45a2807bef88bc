"""Parameters with a sign in training: functions of free numbers, and what is said where a step leaves the domain."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import opalg as oa

torch = pytest.importorskip("torch")

from tests.implicit.torch_cases import lasso  # noqa: E402


@pytest.mark.parametrize("way", ["exp", "softplus", "clamp"])
def test_no_step_leaves_a_domain(way: str) -> None:
    net = lasso().as_module(tol=1e-9, positive=way)
    assert abs(float(net.lam.detach()) - 0.4) <= 1e-12
    names = {n for n, _ in net.named_parameters()}
    assert names == {"A", "y", "parametrizations.lam.original"}
    plain = lasso().as_module(tol=1e-9)
    plain().sum().backward()
    net().sum().backward()
    free = net.parametrizations.lam.original
    slope = {"exp": 0.4, "softplus": 1 - np.exp(-0.4), "clamp": 1.0}[way]
    assert abs(float(free.grad) - slope * float(plain.lam.grad)) <= 1e-8
    with torch.no_grad():
        free.sub_(3.0)
    assert float(net.lam.detach()) >= 0
    net()
    twin = copy.deepcopy(net)
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(), net())


def test_a_start_that_no_logarithm_has() -> None:
    x = oa.Variable(3, name="x")
    lam = oa.Parameter(torch.tensor(0.0, dtype=torch.float64), name="lambda", nonneg=True)
    plan = oa.compile(oa.sum_squares(x - torch.ones(3, dtype=torch.float64)) + lam * oa.norm1(x))
    with pytest.raises(oa.ParameterError, match=r"lambda_ has an entry 0.*clamp"):
        plan.as_module(positive={"lambda": "exp"})
    assert float(plan.as_module(positive="clamp").lambda_.detach()) == 0.0


def test_a_step_out_of_the_domain_says_what_to_do() -> None:
    net = lasso().as_module()
    with torch.no_grad():
        net.lam.sub_(1.0)
    with pytest.raises(oa.ParameterError, match=r"'lam' was declared nonnegative.*positive='softplus'"):
        net()


def test_a_step_too_long_for_its_parametrisation_asks_for_a_smaller_rate() -> None:
    x = oa.Variable(3, name="x")
    lam = oa.Parameter(torch.tensor(1.0, dtype=torch.float64), name="lam", positive=True)
    net = oa.compile(oa.sum_squares(x - torch.ones(3, dtype=torch.float64)) + lam * oa.sum_squares(x)).as_module(
        positive="exp"
    )
    with torch.no_grad():
        next(net.parameters()).sub_(1e9)
    with pytest.raises(oa.ParameterError, match=r"'lam' was declared positive.*lower the learning rate"):
        net()
