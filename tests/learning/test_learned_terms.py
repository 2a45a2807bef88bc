"""Terms that are networks, learned through solutions: gradients in their weights against differences in float64."""

from __future__ import annotations

import pytest
import torch

import opalg as oa

SHAPE = (2, 6)


class Scalar(torch.nn.Module):
    """``s(x)``, one number for each sample, smooth and not convex."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = torch.nn.Linear(6, 5), torch.nn.Linear(5, 1)

    def forward(self, x):
        return 0.3 * self.last(torch.tanh(self.first(x)))[..., 0]


class Convex(torch.nn.Module):
    """An input-convex network with two hidden layers and connections from the input to the second."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = torch.nn.Linear(6, 8), torch.nn.Linear(8, 8)
        self.beside, self.last = torch.nn.Linear(6, 8, bias=False), torch.nn.Linear(8, 1)

    def forward(self, x):
        z = torch.nn.functional.softplus(self.first(x))
        z = torch.nn.functional.softplus(self.second(z) + self.beside(x))
        return self.last(z)[..., 0]


def field(seed: int = 0) -> torch.nn.Module:
    """A map of a small Lipschitz constant."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 6)).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(0.5)
    return net


def signal(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plan_of(kind: str):
    """A plan that calls a network, and the network."""
    x, y = oa.Variable(SHAPE, name="x"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="y")
    fit = 0.5 * oa.sum_squares(x - y)
    if kind == "convex":
        net = Convex().double().eval()
        oa.learning.keep_nonnegative(net.second, net.last)
        return oa.compile(fit + oa.input_convex(net, x)), net
    net = Scalar().double().eval() if kind.startswith("scalar") else field()
    plans = {
        "scalar": lambda: oa.compile(fit + oa.scalar_network(net, x), nonconvex=True),
        "scalar in a map": lambda: oa.fixed_point(x, x - 0.5 * oa.grad(fit + oa.scalar_network(net, x))),
        "red": lambda: oa.compile(fit + 0.5 * oa.red(net, x, lipschitz=2.0), nonconvex=True),
        "red in a map": lambda: oa.fixed_point(x, x - 0.4 * oa.grad(fit + 0.5 * oa.red(net, x))),
        "gradient step": lambda: oa.compile(fit + 0.2 * oa.gradient_step(net, x), nonconvex=True),
        "plug and play": lambda: oa.compile(fit + oa.plug_and_play(net, x), nonconvex=True),
        "applied": lambda: oa.fixed_point(x, 0.5 * y + 0.5 * oa.apply(net, x)),
    }
    return plans[kind](), net


KINDS = (
    "scalar",
    "scalar in a map",
    "convex",
    "red",
    "red in a map",
    "gradient step",
    "plug and play",
    "applied",
)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_weights_and_data(kind):
    plan, net = plan_of(kind)
    module = plan.as_module(tol=1e-13, on_failure="return", gradient_options={"tol": 1e-12, "on_inexact": "return"})
    y, target = signal(1), signal(2)

    def loss(given):
        return ((module(y=given) - target) ** 2).sum()

    given = y.clone().requires_grad_(True)
    loss(given).backward()
    generator = torch.Generator().manual_seed(3)
    weights = list(net.parameters())
    moves = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
    found = sum(float((w.grad * d).sum()) for w, d in zip(weights, moves, strict=True))
    ends = []
    for h in (1e-4, -2e-4):  # there, and from there to the other side
        with torch.no_grad():
            for w, d in zip(weights, moves, strict=True):
                w.add_(d, alpha=h)
            ends.append(float(loss(y)))
    assert abs(found) > 1e-4
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)
    with torch.no_grad():
        for w, d in zip(weights, moves, strict=True):
            w.add_(d, alpha=1e-4)
        d = signal(4)
        slope = float(loss(y + 1e-4 * d) - loss(y - 1e-4 * d)) / 2e-4
    assert float((given.grad * d).sum()) == pytest.approx(slope, rel=1e-4)


def test_the_map_of_a_scalar_network_is_its_exact_gradient():
    net = Scalar().double().eval()
    x = oa.Variable(SHAPE, name="x")
    plan = oa.fixed_point(x, oa.grad(oa.scalar_network(net, x)), backend="torch")
    at = signal(0)
    (found,) = plan.step((at,))
    asked = at.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(net(asked).sum(), asked)
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-13)
    jacobian = torch.autograd.functional.jacobian(lambda v: oa.penalties.gradient_of(net)(v).flatten(), at)
    square = jacobian.reshape(at.numel(), -1)
    torch.testing.assert_close(square, square.T)  # an energy's, so certificates of energies are allowed


@pytest.mark.parametrize("make", ["lipschitz", "jacobian"])
def test_penalties_on_the_gradient_have_third_derivatives(make):
    """The slope of a penalty on ``grad s`` in the weights of s takes derivatives of s of third order."""
    net = Scalar().double()
    slope = oa.penalties.gradient_of(net)

    def value() -> torch.Tensor:
        kinds = {
            "lipschitz": lambda: oa.penalties.Lipschitz(slope, bound=0.0, steps=1, rate=1e-12),
            "jacobian": lambda: oa.penalties.Jacobian(slope, at="target"),
        }
        return kinds[make]().value(oa.learning.Batch({}, signal(5), None), signal(5))

    weights = list(net.parameters())
    found = torch.autograd.grad(value(), weights, allow_unused=True)
    moves = [torch.randn(w.shape, generator=torch.Generator().manual_seed(6), dtype=w.dtype) for w in weights]
    wanted = sum(float((g * d).sum()) for g, d in zip(found, moves, strict=True) if g is not None)
    ends = []
    for h in (1e-5, -2e-5):
        with torch.no_grad():
            for w, d in zip(weights, moves, strict=True):
                w.add_(d, alpha=h)
        ends.append(float(value().detach()))
    assert abs(wanted) > 1e-4
    assert wanted == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_a_scalar_network_trains_in_a_map_with_a_penalty_on_its_gradient():
    plan, net = plan_of("scalar in a map")
    penalty = oa.penalties.Lipschitz(oa.penalties.gradient_of(net), bound=0.02, weight=1.0)
    batch = ({"y": signal(1)}, 0.5 * signal(1))
    before = [w.detach().clone() for w in net.parameters()]
    first = penalty.measure(signal(1))
    done = oa.fit(plan, [batch], epochs=40, lr=0.02, penalties=[penalty], tol=1e-8)
    assert {row["outcome"] for row in done.log.steps} == {"taken"}
    assert penalty.measure(signal(1)) < first
    assert not any(torch.equal(a, b) for a, b in zip(before[:2], list(net.parameters())[:2], strict=True))


# Networks that are convex in their input.


def convexity_gap(net, seed: int = 0) -> float:
    """The largest of ``s(t a + (1 - t) b) - t s(a) - (1 - t) s(b)`` over random segments."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (3 * torch.randn((500, 6), generator=generator, dtype=torch.float64) for _ in range(2))
    t = torch.rand((500, 1), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        return float((net(t * a + (1 - t) * b) - t[:, 0] * net(a) - (1 - t[:, 0]) * net(b)).max())


@pytest.mark.parametrize("way", ["softplus", "exp", "clamp"])
def test_input_convex_networks_stay_convex_in_training(way):
    net = Convex().double().eval()
    assert convexity_gap(net) > 1e-3  # free weights of both signs
    oa.learning.keep_nonnegative(net.second, net.last, way=way)
    assert convexity_gap(net) < 1e-12
    x, y = oa.Variable(SHAPE, name="x"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="y")
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + oa.input_convex(net, x))
    before = net.second.weight.detach().clone()
    batch = ({"y": signal(1)}, signal(1) + 1.0)  # which would have the slopes negative
    done = oa.fit(plan, [batch], epochs=30, lr=0.1, tol=1e-6)
    assert {row["outcome"] for row in done.log.steps} == {"taken"}
    for layer in (net.second, net.last):
        assert float(layer.weight.detach().min()) >= 0
    assert not torch.equal(net.second.weight, before)
    assert convexity_gap(net) < 1e-12
    assert float(net.beside.weight.detach().min()) < 0 and float(net.first.weight.detach().min()) < 0


def test_free_weights_do_not_stay_nonnegative_by_themselves():
    net = Convex().double().eval()
    with torch.no_grad():
        for layer in (net.second, net.last):
            layer.weight.abs_()
    assert convexity_gap(net) < 1e-12
    x, y = oa.Variable(SHAPE, name="x"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="y")
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + oa.input_convex(net, x))
    oa.fit(plan, [({"y": signal(1)}, signal(1) + 1.0)], epochs=30, lr=0.1, tol=1e-6, on_failure="return")
    assert min(float(layer.weight.detach().min()) for layer in (net.second, net.last)) < 0


@pytest.mark.parametrize("way", ["softplus", "exp", "clamp"])
def test_weights_begin_at_their_absolute_values(way):
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0, 0] = 0.0
    start = layer.weight.detach().clone().abs()
    oa.learning.keep_nonnegative(layer, way=way)
    torch.testing.assert_close(layer.weight.detach(), start, rtol=1e-5, atol=2e-6)


def test_layers_that_cannot_be_kept_are_refused():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(oa.ParameterError, match="way must be one of"):
        oa.learning.keep_nonnegative(layer, way="square")
    with pytest.raises(oa.ParameterError, match="name the layers"):
        oa.learning.keep_nonnegative()
    with pytest.raises(oa.ParameterError, match="Tanh has no weight"):
        oa.learning.keep_nonnegative(layer, torch.nn.Tanh())
    oa.learning.keep_nonnegative(layer)
    with pytest.raises(oa.ParameterError, match="function of other numbers already"):
        oa.learning.keep_nonnegative(layer)
