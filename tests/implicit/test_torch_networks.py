"""Weights of networks inside of energies: trained by the module that solves them."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import opalg as oa

torch = pytest.importorskip("torch")

from opalg.program.hidden_networks import called_modules  # noqa: E402
from tests.implicit.torch_cases import EXACT, NETWORKS, N, as_function, data, network, with_network  # noqa: E402

# Torch itself calls its deprecated compiler when derivatives forwards are first taken.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.parametrize("kind", NETWORKS)
def test_derivatives_in_weights_and_parameters(kind: str) -> None:
    net = with_network(kind).as_module(**EXACT)
    assert {n.partition(".")[0] for n, _ in net.named_parameters()} == {"y", "networks"}
    solve, values = as_function(net)
    assert torch.autograd.gradcheck(solve, values, eps=1e-5, atol=1e-6, rtol=1e-5, fast_mode=kind != "map")
    assert torch.autograd.gradcheck(solve, values, eps=1e-5, atol=1e-6, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(solve, values, eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_mixed_second_derivatives_of_two_weights() -> None:
    """What moves and what is differentiated in are different weights."""
    net = with_network("scalar").as_module(**EXACT)
    first, second = net.networks[0][0].weight, net.networks[0][2].weight
    slope = torch.autograd.grad((net() ** 2).sum(), first, create_graph=True)[0][0, 1]
    (one,) = torch.autograd.grad(slope, second)
    slope = torch.autograd.grad((net() ** 2).sum(), second, create_graph=True)[0][0, 0]
    (other,) = torch.autograd.grad(slope, first)
    assert abs(float(one[0, 0])) > 1e-6
    assert torch.allclose(one[0, 0], other[0, 1], rtol=1e-9)


def test_training_changes_the_network_itself() -> None:
    net = with_network("scalar").as_module(tol=1e-9)
    target = net().detach() + 0.1
    optimiser = torch.optim.Adam(net.networks.parameters(), lr=0.05)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = ((net() - target) ** 2).sum()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert net.y.grad is not None


def test_frozen_weights_take_no_part() -> None:
    net = with_network("map").as_module(**EXACT)
    net.networks.requires_grad_(False)
    net().sum().backward()
    assert all(p.grad is None for p in net.networks.parameters()) and net.y.grad is not None
    assert len(net.gradients) == 1
    bias = net.networks[0][2].bias.requires_grad_(True)
    net().sum().backward()
    alone = bias.grad.clone()
    net.networks.requires_grad_(True)
    net.zero_grad()
    net().sum().backward()
    assert torch.allclose(bias.grad, alone, rtol=1e-10)


def test_a_copy_has_weights_of_its_own() -> None:
    net = with_network("gradient_step").as_module(**EXACT)
    twin = copy.deepcopy(net)
    before = net().detach()
    with torch.no_grad():
        for weight in twin.networks.parameters():
            weight.mul_(0.5)
    changed = twin()
    assert torch.equal(net().detach(), before) and not torch.allclose(changed, before)
    changed.sum().backward()
    net.load_state_dict(twin.state_dict())
    net().sum().backward()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-10)


def test_a_weight_that_changes_before_backward_is_noticed() -> None:
    net = with_network("map").as_module(**EXACT)
    x = net()
    with torch.no_grad():
        net.networks[0][0].bias.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


def test_networks_keep_their_mode() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(N, N), torch.nn.Dropout(0.5)).double().eval()
    x = oa.Variable(N, name="x")
    net = oa.fixed_point(x, 0.3 * oa.apply(layers, x) + data(N)).as_module(**EXACT)
    net.train()
    assert net.training and not layers.training
    assert torch.equal(net(), net())


def test_weights_that_two_layers_share() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (torch.nn.Linear(N, N, bias=False).double() for _ in range(2))
            self.second.weight = self.first.weight

        def forward(self, v: Any) -> Any:
            return torch.tanh(self.second(torch.tanh(self.first(v))))

    torch.manual_seed(1)
    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N, seed=3), name="y")
    net = oa.fixed_point(x, 0.3 * oa.apply(Tied().eval(), x) + y).as_module(**EXACT)
    solve, values = as_function(net)
    assert len(values) == 2
    assert torch.autograd.gradcheck(solve, values, eps=1e-5, atol=1e-6, rtol=1e-5)
    net().sum().backward()
    exact = torch.autograd.grad(solve(*values).sum(), values)
    for ours, theirs in zip(net.parameters(), exact, strict=True):
        assert torch.allclose(ours.grad, theirs, rtol=1e-10)


def test_an_ensemble_of_weights() -> None:
    net = with_network("map").as_module(**EXACT)
    pairs = {n: torch.stack([p.detach(), 0.5 * p.detach()]) for n, p in net.named_parameters()}

    def total(weights: Any) -> Any:
        return torch.func.functional_call(net, weights).sum()

    slopes = torch.func.vmap(torch.func.grad(total))(pairs)
    for i in range(2):
        alone = torch.func.grad(total)({n: p[i] for n, p in pairs.items()})
        assert all(torch.allclose(slopes[n][i], alone[n], rtol=1e-10, atol=1e-12) for n in pairs)


def test_a_gradient_inside_of_a_functional_call() -> None:
    class Penalty(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = with_network("map").as_module(**EXACT)

        def forward(self) -> Any:
            (slope,) = torch.autograd.grad(self.net().sum(), self.net.networks[0][0].bias, create_graph=True)
            return (slope**2).sum()

    outer = Penalty()
    values = {n: p.detach().clone().requires_grad_() for n, p in outer.named_parameters()}
    found = torch.autograd.grad(torch.func.functional_call(outer, values), list(values.values()))
    exact = torch.autograd.grad(outer(), list(outer.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(found, exact, strict=True))


def hidden() -> tuple[Any, Any]:
    layers = network()

    def through(v: Any) -> Any:
        return 0.3 * layers(v)

    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N, seed=3), name="y")
    return oa.fixed_point(x, oa.apply(through, x) + y), layers


def test_a_network_that_a_function_calls_has_to_be_named() -> None:
    plan, layers = hidden()
    with pytest.raises(oa.ParameterError, match=r"through calls the network layers.*networks=\[layers\]"):
        plan.as_module()
    net = plan.as_module(**EXACT, networks=[layers])
    net().sum().backward()
    seen = with_network("map").as_module(**EXACT)
    seen().sum().backward()
    for ours, theirs in zip(net.parameters(), seen.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    alone = plan.as_module(**EXACT, networks=())
    assert [n for n, _ in alone.named_parameters()] == ["y"]
    alone().sum().backward()
    assert torch.allclose(alone.y.grad, net.y.grad, rtol=1e-9)


def test_a_network_among_the_arguments_of_a_function() -> None:
    def through(layers: Any, v: Any) -> Any:
        return 0.3 * layers(v)

    x = oa.Variable(N, name="x")
    plan = oa.fixed_point(x, oa.apply(partial(through, network()), x) + data(N))
    with pytest.raises(oa.ParameterError, match="calls the network Sequential"):
        plan.as_module()


def test_what_is_no_network_is_refused() -> None:
    plan, _ = hidden()
    with pytest.raises(oa.ParameterError, match=r"torch\.nn\.Modules"):
        plan.as_module(networks=[torch.tanh])


class Wrapped:
    """A network in an object that is called, or has a method that is."""

    def __init__(self, layers: Any) -> None:
        self.layers = layers

    def __call__(self, v: Any) -> Any:
        return self.helped(v)

    def helped(self, v: Any) -> Any:
        return 0.3 * self.layers(v)


def hiding(layers: Any) -> dict[str, Any]:
    several, by_name, holder = [layers], {"layers": layers}, Wrapped(layers)
    return {
        "an object": Wrapped(layers),
        "a method": Wrapped(layers).helped,
        "a default": lambda v, layers=layers: layers(v),
        "a list": lambda v: several[0](v),
        "a mapping": lambda v: by_name["layers"](v),
        "an attribute": lambda v: holder.layers(v),
    }


@pytest.mark.parametrize("kind", list(hiding(None)))
def test_networks_are_seen_behind(kind: str) -> None:
    layers = network()
    assert [m for _, m in called_modules(hiding(layers)[kind])] == [layers]
    x = oa.Variable(N, name="x")
    plan = oa.fixed_point(x, oa.apply(hiding(layers)[kind], x) + data(N))
    with pytest.raises(oa.ParameterError, match="calls the network"):
        plan.as_module()
    assert len(list(plan.as_module(networks=[layers]).networks.parameters())) == len(list(layers.parameters()))


layers = network()  # a network that has the name of an attribute that functions here look for


def test_attributes_are_no_globals() -> None:
    other = Wrapped(network(3))
    assert [m for _, m in called_modules(other)] == [other.layers]


def test_threads_with_copies_of_a_module_do_not_meet() -> None:
    net = with_network("map").as_module(tol=1e-9)
    before = [w.detach().clone() for w in net.networks.parameters()]

    def trained(scale: float) -> list[float]:
        own, found = copy.deepcopy(net), []
        optimiser = torch.optim.SGD(own.networks.parameters(), lr=scale)
        for _ in range(20):
            optimiser.zero_grad()
            loss = (own() ** 2).sum()
            loss.backward()
            optimiser.step()
            found.append(float(loss.detach()))
        return found

    scales = [0.0, 0.01, 0.02, 0.04]
    alone = [trained(s) for s in scales]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(trained, scales)) == alone
    assert all(torch.equal(a, b) for a, b in zip(before, net.networks.parameters(), strict=True))


@pytest.mark.parametrize("change", ["a layer more", "another layer", "parametrised"])
def test_networks_may_change_behind_a_module(change: str) -> None:
    plan = with_network("map")
    net = plan.as_module(**EXACT)
    (layers,) = net.networks
    net()
    if change == "a layer more":
        layers.append(torch.nn.Linear(N, N).double())
    elif change == "another layer":
        layers[0] = torch.nn.Linear(N, 2).double()
    else:
        torch.nn.utils.parametrizations.weight_norm(layers[0])
    net().sum().backward()
    fresh = copy.deepcopy(layers)
    x, y = oa.Variable(N, name="x"), oa.Parameter(data(N, seed=3), name="y")
    exact = oa.fixed_point(x, 0.3 * oa.apply(fresh, x) + y).as_module(**EXACT)
    exact().sum().backward()
    for ours, theirs in zip(layers.parameters(), fresh.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_a_network_that_changed_in_a_copy_is_refused() -> None:
    twin = copy.deepcopy(with_network("map").as_module())
    twin.networks[0].append(network()[0])
    with pytest.raises(oa.ParameterError, match=r"is no tensor of the networks in this plan.*before they are copied"):
        twin()


def test_what_is_frozen_now_counts_and_not_what_was_frozen_before() -> None:
    plan = with_network("map")
    layers = plan.as_module().networks[0]
    ones = torch.ones(N, dtype=torch.float64)
    layers[0].requires_grad_(False)
    some = plan.solve().vjp(ones, layers)
    layers.requires_grad_(True)
    every = plan.solve().vjp(ones, layers)
    assert len(list(some)) == 2 and len(list(every)) == 4
    layers[0].weight = torch.nn.Parameter(layers[0].weight.detach().clone())
    assert torch.allclose(plan.solve().vjp(ones, layers)[layers[0].weight], every[next(iter(every))])
    layers.requires_grad_(False)
    with pytest.raises(oa.ParameterError, match="frozen"):
        plan.solve().vjp(ones, layers)
