"""Solver modules under torch.func, torch.compile, autocast, and the modes of autograd."""

from __future__ import annotations

from typing import Any

import pytest

import opalg as oa

torch = pytest.importorskip("torch")

from tests.implicit.torch_cases import EXACT, complex_ridge, data, lasso, with_network  # noqa: E402

# Torch itself calls its deprecated compiler when derivatives forwards are first taken.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def net() -> Any:
    return lasso().as_module(**EXACT)


def loss(net: Any, y: Any, lam: Any) -> Any:
    x = net(y=y, lam=lam)
    return (x**2).sum() + x[0] ** 3


def plain_gradient(net: Any, y: Any, lam: Any) -> Any:
    given = y.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(net, given, lam), given)[0]


def test_grad_and_vjp(net: Any) -> None:
    y, lam = net.y.detach(), net.lam.detach()
    found = torch.func.grad(lambda y, lam: loss(net, y, lam))(y, lam)
    assert torch.allclose(found, plain_gradient(net, y, lam), rtol=1e-10)
    _, pull = torch.func.vjp(lambda y: net(y=y), y)
    assert torch.allclose(pull(torch.ones_like(net.solution.x))[0], plain_vjp(net, y), rtol=1e-10)


def plain_vjp(net: Any, y: Any) -> Any:
    given = y.detach().clone().requires_grad_()
    return torch.autograd.grad(net(y=given).sum(), given)[0]


def test_jacobians_of_all_sorts_agree(net: Any) -> None:
    y = net.y.detach()
    backwards = torch.func.jacrev(lambda y: net(y=y))(y)
    exact = torch.autograd.functional.jacobian(lambda y: net(y=y), y)
    assert torch.allclose(backwards, exact, rtol=1e-10, atol=1e-12)
    assert torch.allclose(torch.func.jacfwd(lambda y: net(y=y))(y), exact, rtol=1e-10, atol=1e-12)
    direction = data(4, seed=3)
    _, moved = torch.func.jvp(lambda y: net(y=y), (y,), (direction,))
    assert torch.allclose(moved, exact @ direction, rtol=1e-10, atol=1e-12)


def test_hessians_of_all_sorts_agree(net: Any) -> None:
    y, lam = net.y.detach(), net.lam.detach()
    func = torch.func
    of = lambda y: loss(net, y, lam)  # noqa: E731
    exact = torch.autograd.functional.hessian(of, y)
    for found in (func.hessian(of)(y), func.jacrev(func.jacrev(of))(y), func.jacrev(func.jacfwd(of))(y)):
        assert torch.allclose(found, exact, rtol=1e-9, atol=1e-11)


def test_forwards_twice_and_a_third_derivative_are_refused(net: Any) -> None:
    of = lambda lam: loss(net, net.y.detach(), lam)  # noqa: E731
    func, lam = torch.func, net.lam.detach()
    with pytest.raises(oa.UnsupportedError, match=r"norm1.*torch\.func\.hessian"):
        func.jacfwd(func.jacfwd(of))(lam)
    with pytest.raises(oa.UnsupportedError, match="third derivatives"):
        func.grad(func.grad(func.grad(of)))(lam)


def test_vmap_is_a_loop(net: Any) -> None:
    lam = net.lam.detach()
    batch = torch.stack([net.y.detach(), 2 * net.y.detach(), data(4, seed=8, scale=4.0)])
    vmap = torch.func.vmap
    assert torch.equal(vmap(lambda y: net(y=y))(batch), torch.stack([net(y=y).detach() for y in batch]))
    slopes = vmap(torch.func.grad(lambda y: loss(net, y, lam)))(batch)
    assert torch.allclose(slopes, torch.stack([plain_gradient(net, y, lam) for y in batch]), rtol=1e-10)
    turned = vmap(lambda y: net(y=y), in_dims=1, out_dims=1)(batch.T)
    assert torch.equal(turned.T, vmap(lambda y: net(y=y))(batch))
    given = batch.clone().requires_grad_()
    vmap(lambda y: loss(net, y, lam))(given).sum().backward()
    assert torch.allclose(given.grad, slopes, rtol=1e-10)


def test_vmap_of_jacobians_and_of_itself(net: Any) -> None:
    batch = torch.stack([net.y.detach(), data(4, seed=8, scale=4.0)])
    vmap, jacrev, hessian = torch.func.vmap, torch.func.jacrev, torch.func.hessian
    of = lambda y: net(y=y)  # noqa: E731
    assert torch.allclose(vmap(jacrev(of))(batch), torch.stack([jacrev(of)(y) for y in batch]), atol=1e-12)
    sharp = lambda y: loss(net, y, net.lam.detach())  # noqa: E731
    curved = vmap(hessian(sharp))(batch)
    assert torch.allclose(curved, torch.stack([hessian(sharp)(y) for y in batch]), atol=1e-10)
    twice = vmap(vmap(torch.func.grad(sharp)))(torch.stack([batch, 2 * batch]))
    assert torch.allclose(twice[1, 1], torch.func.grad(sharp)(2 * batch[1]), rtol=1e-10)


def test_functional_call_with_the_weights_of_a_network() -> None:
    net = with_network("map").as_module(**EXACT)
    moved = {n: p.detach() * 0.7 for n, p in net.named_parameters()}
    found = torch.func.grad(lambda p: torch.func.functional_call(net, p).sum())(moved)
    net.load_state_dict(moved)
    net().sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-9, atol=1e-12), name


def test_conjugated_complex_tensors_are_taken_as_they_are() -> None:
    net = complex_ridge().as_module(**EXACT)
    y = net.y.detach().clone().requires_grad_()
    x = net(y=y.conj())
    assert torch.allclose(x.detach(), net(y=y.detach().conj().resolve_conj()).detach())
    (x * data(2).conj()).sum().abs().backward()
    other = y.detach().conj().resolve_conj().requires_grad_()
    (net(y=other) * data(2)).sum().abs().backward()
    assert torch.allclose(y.grad, other.grad.conj(), rtol=1e-10)


def test_no_grad_and_inference_mode(net: Any) -> None:
    with torch.no_grad():
        assert not net().requires_grad
    with torch.inference_mode():
        inferred = net()
    net.zero_grad()
    net().sum().backward()  # nothing of inference stays in the plan
    assert torch.equal(inferred, net().detach()) and net.y.grad is not None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compile_breaks_its_graph_at_the_solve(net: Any) -> None:
    y = net.y.detach().clone().requires_grad_()
    compiled = torch.compile(lambda y: (net(y=2 * y) ** 2).sum(), backend="eager")
    (found,) = torch.autograd.grad(compiled(y), y)
    (exact,) = torch.autograd.grad((net(y=2 * y) ** 2).sum(), y)
    assert torch.allclose(found, exact, rtol=1e-12)
    whole = torch.compile(net, backend="eager")
    assert torch.equal(whole().detach(), net().detach())


def test_autocast_leaves_solves_in_their_precision() -> None:
    net = oa.compile(lasso().energy, dtype="float32").as_module(tol=1e-6, on_failure="return")
    layer = torch.nn.Linear(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(torch.ones(2))
        x = net(y=y)
        (10 * x).sum().backward()
    assert y.dtype is torch.bfloat16 and x.dtype is torch.float32
    assert layer.weight.grad.dtype is torch.float32 and float(layer.weight.grad.abs().sum()) > 0
    assert torch.equal(x.detach(), net(y=y.detach().float()).detach())


def test_precisions_and_devices() -> None:
    net = oa.compile(lasso().energy, dtype="float32").as_module(tol=1e-5, on_failure="return")
    assert net.half()().dtype is torch.float32
    with pytest.raises(oa.DtypeError, match=r"A is float64.*dtype='float64'"):
        net.double()()
    with pytest.raises(oa.DeviceError, match=r"A lives on meta.*device='meta'"):
        net.float().to("meta")()
