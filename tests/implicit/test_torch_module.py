"""Plans as Torch modules: gradients by implicit differentiation, training, memory, and what is refused."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import opalg as oa

torch = pytest.importorskip("torch")


def lasso(n: int = 6, m: int = 9) -> oa.Energy:
    rng = np.random.default_rng(0)
    x = oa.Variable(n, name="x")
    y = oa.Parameter(torch.tensor(2 * rng.standard_normal(m)), name="y")
    M = oa.Parameter(torch.tensor(rng.standard_normal((m, n)) / 3), name="M")
    lam = oa.Parameter(torch.tensor(0.2, dtype=torch.float64), name="lambda", nonneg=True)
    return 0.5 * oa.sum_squares(oa.Matrix(M) @ x - y) + lam * oa.norm1(x) + 0.1 * oa.sum_squares(x)


def module(**options: object) -> torch.nn.Module:
    return oa.compile(lasso()).as_module(**{"tol": 1e-13, "max_iter": 20_000, "on_failure": "return", **options})


def test_parameters_are_the_energys_and_have_their_names() -> None:
    net = module()
    assert {name for name, _ in net.named_parameters()} == {"y", "M", "lambda_"}
    assert isinstance(net, torch.nn.Module)
    assert set(net.state_dict()) == {"y", "M", "lambda_"}
    assert all(p.requires_grad for p in net.parameters())


def test_names_that_are_no_identifiers_get_numbers() -> None:
    x = oa.Variable(3, name="x")
    y = oa.Parameter(torch.ones(3, dtype=torch.float64), name="forward")
    w = oa.Parameter(torch.ones((), dtype=torch.float64), name="a b", nonneg=True)
    net = oa.compile(oa.sum_squares(x - y) + w * oa.sum_squares(x)).as_module()
    assert all(name.isidentifier() for name, _ in net.named_parameters())
    assert torch.allclose(net(), torch.full((3,), 0.5, dtype=torch.float64), atol=1e-4)


@pytest.mark.parametrize(
    ("first", "second"), [("a b", "parameter0"), ("parameter1", None), ("in", "in_"), ("in_", "in"), ("plan", "a b")]
)
def test_names_stand_for_one_parameter_each(first: str, second: str | None) -> None:
    x = oa.Variable(3, name="x")
    ones = torch.ones(3, dtype=torch.float64)
    p, q = oa.Parameter(ones, name=first), oa.Parameter(2 * ones, name=second)
    net = oa.compile(oa.sum_squares(x - p) + oa.sum_squares(x - 3 * q)).as_module(tol=1e-10)
    assert len(list(net.named_parameters())) == 2
    assert torch.allclose(net(), 3.5 * ones)
    assert torch.allclose(net(**{first: 5 * ones}), 5.5 * ones)
    if second is not None:
        assert torch.allclose(net(**{second: ones}), 2 * ones)


def test_the_output_is_the_solution() -> None:
    net = module()
    out = net()
    assert torch.equal(out.detach(), net.solution.x)
    assert net.solution.method == "proximal_gradient"


def test_gradcheck() -> None:
    plan = oa.compile(lasso())
    net = plan.as_module(tol=1e-14, max_iter=20_000, on_failure="return")

    def solve(y: torch.Tensor, lam: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
        return net(y=y, lambda_=lam, M=M)

    given = [net.y.detach().clone(), net.lambda_.detach().clone(), net.M.detach().clone()]
    assert torch.autograd.gradcheck(solve, [g.requires_grad_() for g in given], eps=1e-5, atol=1e-6, rtol=1e-5)


def test_gradients_are_those_of_vjp_and_nothing_is_written_elsewhere() -> None:
    net = module()
    (net() ** 2).sum().backward()
    by_name = {p.name: p for p in net.plan.parameters}
    found = net.solution.vjp(2 * net.solution.x, list(by_name.values()), on_inexact="return")
    assert torch.allclose(net.y.grad, found[by_name["y"]], rtol=1e-8)
    assert torch.allclose(net.M.grad, found[by_name["M"]], rtol=1e-8)
    assert torch.allclose(net.lambda_.grad, found[by_name["lambda"]], rtol=1e-8)


def test_only_what_needs_a_gradient_gets_one() -> None:
    net = module()
    net.M.requires_grad_(False)
    net().sum().backward()
    assert net.M.grad is None and net.y.grad is not None


def test_a_chain_of_layers() -> None:
    net = module()
    layer = torch.nn.Linear(6, 9).double()
    out = net(y=layer(net()))
    out.sum().backward()
    assert torch.all(torch.isfinite(layer.weight.grad)) and layer.weight.grad.abs().sum() > 0
    assert net.M.grad is not None


def test_two_steps_of_training_lower_a_loss() -> None:
    net = module(tol=1e-9)
    target = net().detach() * 0.5
    optimiser = torch.optim.SGD(net.parameters(), lr=0.005)
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        loss = ((net() - target) ** 2).sum()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[2] < losses[1] < losses[0]


def test_unknown_names_and_other_libraries_are_refused() -> None:
    with pytest.raises(oa.ParameterError, match="lamda"):
        module()(lamda=torch.tensor(1.0))
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.DeviceError, match="backend='torch'"):
        oa.compile(oa.sum_squares(x - np.ones(3))).as_module()


def test_a_parameter_that_leaves_its_domain_is_refused() -> None:
    with pytest.raises(oa.ParameterError, match="nonnegative"):
        module()(lambda_=torch.tensor(-1.0, dtype=torch.float64))


def test_a_solve_that_fell_short_is_not_differentiated() -> None:
    net = module(tol=1e-13, max_iter=2)
    out = net()
    with pytest.raises(oa.InexactSolutionError):
        out.sum().backward()


def test_single_precision_stays() -> None:
    net = oa.compile(lasso(), dtype="float32").as_module(tol=1e-5)
    assert net().dtype is torch.float32
    net().sum().backward()
    assert all(p.grad.dtype is p.dtype for p in net.parameters())


def graph_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


def test_memory_does_not_grow_with_iterations() -> None:
    counts = []
    for iterations in (10, 400):
        net = module(tol=0.0, max_iter=iterations)
        before = graph_tensors()
        out = net()
        counts.append(graph_tensors() - before)
        del out, net
    assert counts[1] <= counts[0] + 2


def test_a_map_is_a_module_as_well() -> None:
    x = oa.Variable(5, name="x")
    rng = np.random.default_rng(1)
    W = oa.Parameter(torch.tensor(0.1 * rng.standard_normal((5, 5))), name="W")
    b = oa.Parameter(torch.tensor(rng.standard_normal(5)), name="b")
    net = oa.fixed_point(x, oa.apply(torch.tanh, oa.Matrix(W) @ x + b)).as_module(tol=1e-13, on_failure="return")
    given = [net.W.detach().clone().requires_grad_(), net.b.detach().clone().requires_grad_()]
    assert torch.autograd.gradcheck(lambda W, b: net(W=W, b=b), given, eps=1e-5, atol=1e-6, rtol=1e-5)


def test_tensors_that_track_gradients_are_taken_as_plain_data() -> None:
    plan = oa.compile(lasso())
    y = next(p for p in plan.parameters if p.name == "y")
    tracked = y.value.clone().requires_grad_()
    x0 = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    solution = plan.solve(x0, params={y: tracked}, tol=1e-9)
    assert not solution.x.requires_grad
    c = torch.ones(6, dtype=torch.float64, requires_grad=True)
    assert not solution.vjp(c, y)[y].requires_grad
    assert not solution.jvp({y: tracked}).requires_grad


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: module(warm_start="yes"), "warm_start must be True or False, not 'yes'"),
        (lambda: module(gradient_options=3), "gradient_options is a mapping"),
        (lambda: module(networks=3), "networks takes a list of torch.nn.Modules, not int"),
        (lambda: module()(y="data"), "y takes a tensor or a number, not 'data'"),
    ],
)
def test_arguments_of_another_kind_are_refused(build, words):
    with pytest.raises(oa.ParameterError, match=words):
        build()
