"""Derivatives in the weights of networks: against Torch's autograd, through values, fields and solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from opalg.program.network_weights import NetworkWeights, is_module, is_weight, modules_of
from opalg.program.opaque import opaque

torch = pytest.importorskip("torch")

N = 5


def network(*, seed: int = 0, out: int = N) -> Any:
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(N, 4), torch.nn.Tanh(), torch.nn.Linear(4, out))
    return layers.double().eval()


def point(seed: int = 1) -> Any:
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(N))


def run(expressions: list[Any], values: dict[Any, Any]) -> tuple[Any, ...]:
    return evaluate(expressions, values, backend("torch", "float64"))


def flat(tensors: Any) -> Any:
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def test_the_value_is_the_network_itself() -> None:
    net, x = network(), Input("x", (N,), "real")
    call = opaque(net, keeps_shape=True).at(x)
    weights = NetworkWeights([net], [call])
    (entered,) = weights.enter([call])
    assert torch.equal(run([entered], {x: point()})[0], net(point()).detach())
    assert weights.used
    assert torch.equal(weights.leaf.value, flat(net.parameters()))


@pytest.mark.parametrize("total", [False, True])
def test_values_and_fields(total: bool) -> None:
    """Of ``f(x)``, ``J(x)^T u``, ``J(x) d`` and the curvature, backwards and along, in the weights and in x."""
    net, x, u, d = network(out=1 if total else N), *(Input(n, (N,), "real") for n in "xud")
    f = opaque(net, total=total, keeps_shape=not total)
    value = f.at(x)
    one = oa.sqrt(1.0 + oa.total(u * u)) if total else u
    (field,) = vjp([value], [one], [x])
    (pushed,) = jvp([value], {x: d})
    (curved,) = jvp([field], {x: d})
    outputs = [value, field, pushed, curved]
    weights = NetworkWeights([net], outputs)
    entered = weights.enter(outputs)
    at = {x: point(1), u: point(2), d: point(3)}
    for plain, other in zip(run(outputs, at), run(entered, at), strict=True):
        assert torch.allclose(plain, other, rtol=1e-13, atol=1e-14)

    def functions(xx: Any, tensors: list[Any]) -> list[Any]:
        names = [n for n, _ in net.named_parameters()]

        def call(z: Any) -> Any:
            found = torch.func.functional_call(net, dict(zip(names, tensors, strict=True)), (z,))
            return found.sum() if total else found

        size = torch.sqrt(1 + (at[u] ** 2).sum()) if total else at[u]
        value, pull = torch.func.vjp(call, xx)
        first = pull(size)[0]
        along = torch.func.vjp(lambda s: pull(s)[0], torch.zeros_like(value))[1](at[d])[0]
        second = torch.func.vjp(lambda z: torch.func.vjp(call, z)[1](size)[0], xx)[1](at[d])[0]  # it is symmetric
        return [value, first, along, second]

    for i, output in enumerate(entered):
        c = Input("c", output.shape, "real")
        given = torch.as_tensor(np.asarray(np.random.default_rng(9).standard_normal(output.shape)))
        pulled = vjp([output], [c], [weights.leaf, x])
        found = run(pulled, {**at, c: given})
        tensors = [t.detach().clone().requires_grad_(True) for t in net.parameters()]
        xx = at[x].clone().requires_grad_(True)
        with torch.enable_grad():
            exact = torch.autograd.grad(functions(xx, tensors)[i], [*tensors, xx], given, allow_unused=True)
        filled = [torch.zeros_like(t) if g is None else g for g, t in zip(exact, [*tensors, xx], strict=True)]
        assert torch.allclose(found[0], flat(filled[:-1]), rtol=1e-11, atol=1e-12)
        assert torch.allclose(found[1], filled[-1], rtol=1e-11, atol=1e-12)
        dw = Input("dw", weights.leaf.shape, "real")
        turn = torch.as_tensor(np.random.default_rng(4).standard_normal(weights.leaf.shape))
        (moved,) = run(jvp([output], {weights.leaf: dw}), {**at, dw: turn})
        assert abs(float((moved * given).sum() - (found[0] * turn).sum())) <= 1e-11 * (1 + float(abs(found[0]).sum()))


@pytest.mark.parametrize("kind", ["gradient_step", "scalar_network"])
def test_through_a_solution(kind: str) -> None:
    """``-(d grad E / dw)^T H^-1 c`` at a solution, against differences of solves with changed weights."""
    net = network(out=1 if kind == "scalar_network" else N)
    y, x = torch.as_tensor(np.random.default_rng(3).standard_normal(N)), oa.Variable(N, name="x")
    term = oa.scalar_network(net, x) if kind == "scalar_network" else oa.gradient_step(net, x)
    energy = oa.sum_squares(x - y) + 0.3 * term
    plan = oa.compile(energy, nonconvex=True)
    options: dict[str, Any] = {"tol": 1e-13, "max_iter": 5000, "on_failure": "return"}
    solution = plan.solve(**options)
    c = point(8)

    at = Input("x", (N,), "real")
    functional = term.terms[0].functional
    gradient = 2.0 * (at - oa.Constant(y)) + 0.3 * functional.define_gradient(at)
    d, a = Input("d", (N,), "real"), Input("a", (N,), "real")
    (curved,) = jvp([gradient], {at: d})
    H = torch.stack([run([curved], {at: solution.x, d: e})[0] for e in torch.eye(N, dtype=torch.float64)])
    weights = NetworkWeights([net], [gradient])
    (pulled,) = vjp(weights.enter([gradient]), [a], [weights.leaf])
    (found,) = run([pulled], {at: solution.x, a: torch.linalg.solve(H, c)})
    slopes = weights.split(-found)
    direction = {t: torch.as_tensor(np.random.default_rng(i).standard_normal(t.shape)) for i, t in enumerate(slopes)}
    losses, h = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for t, turn in direction.items():
                t.add_(sign * h * turn)
        losses.append(float(c @ plan.solve(x0=solution, **options).x))
        with torch.no_grad():
            for t, turn in direction.items():
                t.sub_(sign * h * turn)
    backward = sum(float((slopes[t] * turn).sum()) for t, turn in direction.items())
    assert abs((losses[0] - losses[1]) / (2 * h) - backward) <= 1e-6 * abs(backward)
    assert float(weights.join(slopes) @ weights.join(direction)) == pytest.approx(backward, rel=1e-12)


def test_functions_that_call_a_module() -> None:
    """A method of a module, and a plain function for which the module is named."""

    class Denoiser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor([0.3, 0.4, 0.5, 0.6, 0.7], dtype=torch.float64))

        def denoise(self, v: Any) -> Any:
            return torch.sin(self.gain * v)

    net, x, c = Denoiser(), Input("x", (N,), "real"), point(2)
    exact = point() * torch.cos(net.gain.detach() * point()) * c
    for function in (net.denoise, lambda v: net.denoise(v)):
        call = opaque(function, keeps_shape=True).at(x)
        weights = NetworkWeights([net], [call])
        (found,) = vjp(weights.enter([call]), [oa.Constant(c)], [weights.leaf])
        assert torch.allclose(run([found], {x: point()})[0], exact, rtol=1e-13)
    (own,) = modules_of(opaque(net.denoise).at(x))
    assert own is net
    weights = NetworkWeights([net.gain], [opaque(net.denoise).at(x)])
    assert weights.tensors == (net.gain,)
    with pytest.raises(ParameterError, match="which module holds it"):
        NetworkWeights([net.gain], [opaque(lambda v: net.denoise(v)).at(x)])


def test_strengths_of_denoisers() -> None:
    """Where the denoiser is told a strength, derivatives in the strength and in the weights go through one call."""

    class Tuned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(N, N).double()

        def forward(self, v: Any, strength: Any) -> Any:
            return torch.tanh(self.inner(v) * strength)

    torch.manual_seed(0)
    net, x, s, c = Tuned(), Input("x", (N,), "real"), Input("s", (), "real"), Input("c", (N,), "real")
    call = opaque(net, keeps_shape=True, tuned=True).at(x, s)
    (by_strength,) = vjp([call], [c], [s])
    weights = NetworkWeights([net], [call, by_strength])
    entered = weights.enter([call, by_strength])
    at = {x: point(), s: torch.tensor(0.7, dtype=torch.float64), c: point(4)}
    assert torch.allclose(run(entered, at)[1], run([by_strength], at)[0], rtol=1e-13)
    found = run(vjp([entered[0]], [c], [weights.leaf, s]), at)
    value = net(at[x], at[s])
    exact = torch.autograd.grad(value, list(net.parameters()), at[c])
    assert torch.allclose(found[0], flat(exact), rtol=1e-12)


def test_weights_are_those_of_the_moment() -> None:
    """A graph that was made before a step of an optimiser is evaluated with the weights after it."""
    net, x, c = network(), Input("x", (N,), "real"), point(4)
    call = opaque(net).at(x)
    weights = NetworkWeights([net], [call])
    entered = weights.enter([call])
    pulled = vjp(entered, [oa.Constant(c)], [weights.leaf])
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    value = net(point())
    exact = flat(torch.autograd.grad(value, list(net.parameters()), c))
    assert torch.equal(run(entered, {x: point()})[0], value.detach())
    assert torch.allclose(run(pulled, {x: point()})[0], exact, rtol=1e-13)


def test_only_what_is_asked_for() -> None:
    """Frozen weights are left out, other networks stay as they are, and a layer may be named alone."""
    net, other, x = network(), network(seed=5), Input("x", (N,), "real")
    call, far = opaque(net).at(x), opaque(other).at(x)
    net[0].requires_grad_(False)
    assert NetworkWeights([net], [call]).tensors == tuple(net[2].parameters())
    assert NetworkWeights([net[0].weight], [call]).tensors == (net[0].weight,)
    weights = NetworkWeights([net], [call, far])
    entered = weights.enter([call, far])
    assert entered[1] is far
    assert entered[0] is not call
    assert vjp([entered[1]], [x], [weights.leaf]) == [None]
    apart = NetworkWeights([other], [call])
    assert not apart.used
    assert is_module(net)
    assert is_weight(net[0].weight)
    assert not is_module(net.forward)
    assert not is_weight(torch.zeros(2))


def test_refusals() -> None:
    net, x = network(), Input("x", (N,), "real")
    call = opaque(net).at(x)
    with pytest.raises(ParameterError, match=r"torch\.nn\.Module or a torch\.nn\.Parameter"):
        NetworkWeights([3.0], [call])
    with pytest.raises(ParameterError, match="has no weights"):
        NetworkWeights([torch.nn.Tanh()], [call])
    mixed = torch.nn.Sequential(torch.nn.Linear(N, N), torch.nn.Linear(N, N).double())
    with pytest.raises(DtypeError, match="name those of each apart"):
        NetworkWeights([mixed], [opaque(mixed).at(x)])
    weights = NetworkWeights([net], [call])
    with pytest.raises(ShapeError, match="has the shape"):
        weights.join({net[0].weight: torch.zeros(3)})
    with pytest.raises(UnsupportedError, match="found by Torch only"):
        evaluate(weights.enter([call]), {x: np.ones(N)}, backend("numpy", "float64"))
    net.requires_grad_(False)
    with pytest.raises(ParameterError, match="frozen"):
        NetworkWeights([net], [call])
