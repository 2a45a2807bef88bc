"""Training with solver modules: memory, warm starts, domains, options, threads, and equality with NumPy."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

import opalg as oa

torch = pytest.importorskip("torch")

from tests.implicit.torch_cases import (  # noqa: E402
    ENERGIES,
    EXACT,
    TIGHT,
    lasso,
    linear_map,
    ridge,
    two_variables,
    with_network,
)


@pytest.mark.parametrize("make", [*ENERGIES, linear_map], ids=lambda f: f.__name__)
def test_gradients_are_those_of_numpy(make: Any) -> None:
    net = make().as_module(**EXACT)
    out = net()
    points = list(out.values()) if isinstance(out, dict) else [out]
    rng = np.random.default_rng(20)
    cotangents = [
        rng.standard_normal(p.shape) + (1j * rng.standard_normal(p.shape) if p.is_complex() else 0) for p in points
    ]
    sum((torch.as_tensor(c).conj() * p).real.sum() for c, p in zip(cotangents, points, strict=True)).backward()
    plan = make("numpy")
    solution = plan.solve(**TIGHT)
    c = dict(zip(plan.variables, (np.asarray(c) for c in cotangents), strict=True))
    found = solution.vjp(c, list(plan.parameters), on_inexact="return")
    for parameter in plan.parameters:
        ours = getattr(net, parameter.name).grad.numpy()
        assert np.linalg.norm(ours - found[parameter]) <= 1e-10 * np.linalg.norm(found[parameter]), parameter.name


def alive() -> tuple[int, int]:
    gc.collect()
    found = gc.get_objects()
    return len(found), sum(issubclass(type(o), torch.Tensor) for o in found)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    "make", [lasso, linear_map, lambda: with_network("gradient_step")], ids=["lasso", "map", "net"]
)
def test_memory_is_flat(make: Any, warm: bool) -> None:
    net = make().as_module(tol=1e-8, warm_start=warm)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-5)

    def memory_after(steps: int) -> int:
        for _ in range(steps):
            optimiser.zero_grad()
            (net() ** 2).sum().backward()
            optimiser.step()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    memory_after(10)
    objects, tensors = alive()
    tracemalloc.start()
    memory = [memory_after(5), memory_after(10), memory_after(10), memory_after(10)]
    tracemalloc.stop()
    more_objects, more_tensors = alive()
    assert more_tensors <= tensors
    assert more_objects <= objects + 20
    assert min(np.diff(memory)) <= 60_000  # a table of the interpreter may grow once, a leak grows each time


def test_solutions_die_with_their_graph() -> None:
    net = lasso().as_module(**EXACT)
    gc.disable()  # so that a cycle would show
    try:
        out = net()
        solution = weakref.ref(net.solution)
        net.forget()
        assert solution() is not None
        out.sum().backward()
        net.forget()
        del out
        assert solution() is None
    finally:
        gc.enable()


def test_a_module_called_twice_keeps_both_solutions() -> None:
    net = lasso().as_module(**EXACT)
    first, second = net(), net(y=2 * net.y)
    (first.sum() + second.sum()).backward()
    y = net.y.detach()
    exact = torch.func.grad(lambda y: net(y=y).sum() + net(y=2 * y).sum())(y)
    assert torch.allclose(net.y.grad, exact, rtol=1e-10)


def test_backward_twice_needs_retain_graph() -> None:
    net = lasso().as_module(**EXACT)
    out = net().sum()
    out.backward(retain_graph=True)
    once = net.y.grad.clone()
    out.backward()
    assert torch.allclose(net.y.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        out.backward()


def test_threads() -> None:
    net = lasso().as_module(**EXACT)
    found: list[Any] = [None] * 3

    def work(index: int) -> None:
        for _ in range(3):
            y = ((index + 1) * net.y.detach()).requires_grad_()
            found[index] = torch.autograd.grad(net(y=y).sum(), y)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for index, slope in enumerate(found):
        y = ((index + 1) * net.y.detach()).requires_grad_()
        assert torch.allclose(slope, torch.autograd.grad(net(y=y).sum(), y)[0], rtol=1e-10)


def test_a_parameter_that_changes_before_backward_is_noticed() -> None:
    net = lasso().as_module(**EXACT)
    out = net()
    kept = net.solution
    with torch.no_grad():
        net.y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    y = next(p for p in net.plan.parameters if p.name == "y")
    fresh = net.plan.solve(**TIGHT).vjp(torch.ones(3, dtype=torch.float64), y, on_inexact="return")
    assert torch.allclose(kept.vjp(torch.ones(3, dtype=torch.float64), y, on_inexact="return")[y], fresh[y], rtol=1e-9)


def test_warm_starts_save_work_and_change_no_gradient() -> None:
    results = []
    for warm in (False, True):
        net = lasso().as_module(tol=1e-9, warm_start=warm, gradient_options={"tol": 1e-8})
        net().sum().backward()
        with torch.no_grad():
            net.y.mul_(1.0001)
        net.zero_grad()
        net().sum().backward()
        results.append((net.solution.iterations, net.gradients.counts["adjoint"], net.y.grad.clone()))
    (cold, many, exact), (hot, few, found) = results
    assert hot < cold and few <= many
    assert torch.allclose(found, exact, rtol=1e-6)
    net.forget()
    assert net.solution is None and net.gradients is None
    net()
    assert net.solution.iterations > hot


def test_gradient_options_and_what_backward_knows() -> None:
    net = lasso().as_module(tol=1e-3, gradient_options={"refine": False, "estimate": True})
    net().sum().backward()
    assert net.gradients.error_estimate > 0 and net.gradients.counts["refine"] == 0
    net = lasso().as_module(max_iter=3, on_failure="return", gradient_options={"on_inexact": "polish"})
    net().sum().backward()
    exact = lasso().as_module(**EXACT)
    exact().sum().backward()
    assert torch.allclose(net.y.grad, exact.y.grad, rtol=1e-6)
    net = lasso().as_module(max_iter=3, on_failure="return", gradient_options={"on_inexact": "return", "refine": False})
    net().sum().backward()
    assert "forward_not_converged" in net.gradients.flags


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient_options": {"toll": 1e-3}}, "toll"),
        ({"gradient_options": {"start": None}}, "warm_start=True"),
        ({"gradient_options": {"per_sample": True}}, "per_sample"),
        ({"maxiter": 3}, r"'maxiter'.*max_iter"),
        ({"params": {}}, "params"),
        ({"positive": "log"}, "softplus"),
        ({"positive": {"mu": "exp"}}, "mu"),
        ({"positive": 3}, "positive"),
    ],
)
def test_options_are_checked_when_the_module_is_made(options: dict[str, Any], words: str) -> None:
    with pytest.raises(oa.ParameterError, match=words):
        lasso().as_module(**options)


def test_a_module_is_saved_by_its_state() -> None:
    net = ridge().as_module(**EXACT)
    with pytest.raises(oa.UnsupportedError, match="state_dict"):
        pickle.dumps(net)
    twin = copy.deepcopy(net)
    assert twin.plan is net.plan and twin.y is not net.y
    with torch.no_grad():
        twin.y.mul_(3.0)
    assert torch.allclose(twin(), 3 * net())
    net.load_state_dict(twin.state_dict())
    assert torch.equal(net(), twin())
    assert "sum_squares" in repr(net)


def test_two_variables_come_as_a_mapping() -> None:
    net = two_variables().as_module(**EXACT)
    x, b = net.plan.variables
    out = net()
    assert list(out) == [x, b]
    out[x].sum().backward()  # nothing flows from the other one
    y = next(p for p in net.plan.parameters if p.name == "y")
    found = net.solution.vjp({x: torch.ones(3, dtype=torch.float64)}, y, on_inexact="return")
    assert torch.allclose(net.y.grad, found[y], rtol=1e-10)


def test_numbers_may_be_given_for_parameters() -> None:
    net = lasso().as_module(**EXACT)
    assert torch.equal(net(lam=0.7), net(lam=torch.tensor(0.7, dtype=torch.float64)))
