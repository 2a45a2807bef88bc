"""Norms that are held in training: true after every step, the step stays valid, and runs resume to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa
from opalg.learning import Guard, refresh_norms

from .training_cases import SHAPE, assert_same_run, noisy, state_of

LOOSE = {"tol": 1e-3, "gradient_options": {"tol": 1e-3, "refine": False, "estimate": False, "on_inexact": "return"}}


def model(kind: str = "matrix", norm: float = 1.0, untied: bool = False, step: float = 0.5, **options):
    """Gradient descent on fields of experts whose operator has a held norm, in float64."""
    generator = torch.Generator().manual_seed(5)
    u = oa.Variable(SHAPE, name="u")
    f = oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="f")
    shapes = {"matrix": (6, 8), "stack": (4, 6, 8), "filters": (3, 5)}
    A = oa.Parameter(torch.randn(shapes[kind], generator=generator, dtype=torch.float64), name="A")
    made = {"matrix": oa.Matrix, "stack": oa.MatrixStack, "filters": lambda a: oa.MultiConvolve(a, (8,), "zero")}
    energy = 0.5 * oa.sum_squares(u - f)
    energy = energy + oa.pointwise(oa.activation("tanh"), oa.HeldNorm(made[kind](A), norm) @ u)
    plan = oa.fixed_point(u, u - step * oa.grad(energy), **options)
    return oa.untie(plan, A, name="C") if untied else plan


def true_norm(weights: torch.Tensor, kind: str) -> float:
    """The largest singular value of the operator on signals of 8 entries."""
    if kind == "filters":
        bank = oa.MultiConvolve(weights.detach().numpy(), (8,), "zero")
        return float(np.linalg.norm(np.stack([np.ravel(bank @ e) for e in np.eye(8)], axis=1), 2))
    return float(torch.linalg.matrix_norm(weights.detach(), 2).max())


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", ["matrix", "stack", "filters"])
def test_factors_follow_the_weights(kind, untied):
    done = oa.fit(model(kind, untied=untied), noisy(), epochs=4, lr=0.02, **LOOSE)
    names = ["C", "A"] if untied else ["A"]
    for name in names:
        weights = getattr(done.module, name)
        assert done.log.steps[-1][f"{name}_norm"] == pytest.approx(true_norm(weights, kind), rel=2e-2)
        assert done.log.steps[-1][f"{name}_norm"] <= true_norm(weights, kind) * (1 + 1e-12)
    found = {}
    for _ in range(200):
        found = refresh_norms(done.module)
    for name in names:
        assert found[f"{name}_norm"] == pytest.approx(true_norm(getattr(done.module, name), kind), rel=1e-6)
    assert sorted(found) == sorted(f"{n}_norm" for n in names)


def test_copy_and_operator_have_a_direction_each():
    done = oa.fit(model(untied=True), noisy(), epochs=2, lr=0.05, **LOOSE)
    buffers = dict(done.module.named_buffers())
    assert sorted(buffers) == ["A_direction", "C_direction"]
    assert not torch.allclose(buffers["A_direction"].abs(), buffers["C_direction"].abs())
    assert sorted(dict(done.module.named_parameters())) == ["A", "C", "f"]
    assert "A_direction" not in str(done.log.rows[0])


def test_a_copy_with_a_value_of_its_own_has_the_norm_at_once():
    value = 5 * torch.randn((6, 8), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    free = oa.untie(model(), "A", name="C", value=value)
    module = free.as_module()
    reached = (value @ module.C_direction).norm() / module.C_direction.norm()
    assert float(reached) == pytest.approx(true_norm(value, "matrix"), rel=1e-3)
    with pytest.raises(oa.ParameterError, match=r"Matrix\(C\) is zero"):
        oa.untie(model(), "A", name="C", value=torch.zeros((6, 8), dtype=torch.float64))


@pytest.mark.parametrize("kind", ["matrix", "filters"])
def test_a_fixed_step_stays_valid_however_the_weights_grow(kind):
    """With tau = 1 / (1 + c^2) the plain iteration is safe; without the factor it is not any more."""
    plan = model(kind, norm=2.0, step=0.2, acceleration="none")
    before = plan.step_bound()
    module = plan.as_module()
    with torch.no_grad():
        module.A.mul_(50.0).add_(torch.randn(module.A.shape, generator=torch.Generator().manual_seed(1)))
    for _ in range(30):
        refresh_norms(module)
    values = {n: getattr(module, n).detach() for n in module._names}
    after = plan.step_bound(values)
    assert before.safe and after.safe
    assert after.limit == pytest.approx(before.limit, rel=1e-3)
    assert after.lipschitz == pytest.approx(5.0, rel=1e-2)
    done = oa.fit(plan, noisy(), epochs=5, lr=0.02, **LOOSE)
    assert {row["outcome"] for row in done.log.steps} == {"taken"}
    trained = {n: getattr(done.module, n).detach() for n in done.module._names}
    assert plan.step_bound(trained).limit == pytest.approx(before.limit, rel=2e-2)


def test_the_published_step_stays_valid_for_a_steep_activation():
    """With slopes of at most chi the step 1 / (8 chi) is safe for c^2 <= 8, whatever the filters become."""
    chi, c = 100.0, 2.7300944
    u, k = oa.Variable((12, 11), name="u"), oa.Parameter(torch.full((2, 3, 3), 0.01, dtype=torch.float64), name="k")
    with torch.no_grad():
        k.value[:, 0, 0] += 0.02
    field = oa.fields_of_experts(k, oa.activation("tanh", chi), u, norm=c, boundary="zero")
    fit = 0.5 * oa.sum_squares(u - torch.zeros(12, 11, dtype=torch.float64))
    plan = oa.fixed_point(u, u - 1 / (8 * chi) * oa.grad(fit + field))
    module, bounds = plan.as_module(), [plan.step_bound()]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        with torch.no_grad():
            module.k.mul_(7.0).add_(0.05 * torch.randn(module.k.shape, generator=generator, dtype=torch.float64))
        refresh_norms(module, 60)
        bounds.append(plan.step_bound({n: getattr(module, n).detach() for n in module._names}))
    assert all(b.safe and b.kind == "gradient" for b in bounds)
    np.testing.assert_allclose([b.limit for b in bounds], 2 / (1 + chi * c**2), rtol=2e-2)


def test_energies_hold_norms_as_maps_do():
    x, y = oa.Variable(SHAPE, name="x"), oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="y")
    A = oa.Parameter(torch.randn((6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64), name="A")
    energy = 0.5 * oa.sum_squares(x - y) + oa.pointwise(oa.activation("tanh"), oa.HeldNorm(oa.Matrix(A), 1.0) @ x)
    data = [({"y": torch.ones(SHAPE, dtype=torch.float64)}, torch.zeros(SHAPE, dtype=torch.float64))]
    done = oa.fit(oa.compile(energy), data, epochs=5, lr=0.02, **LOOSE)
    assert done.log.steps[-1]["A_norm"] == pytest.approx(true_norm(done.module.A, "matrix"), rel=1e-2)
    assert [p for p in dict(done.module.named_buffers())] == ["A_direction"]


def test_the_gradient_is_that_of_a_constant_factor():
    plan = model()
    module = plan.as_module(tol=1e-12, gradient_options={"tol": 1e-12})
    f = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (module(f=f) ** 2).sum().backward()
    A, v = module.A.detach(), module.A_direction
    factor = v.norm() / (A @ v).norm()

    u, data = oa.Variable(SHAPE, name="u"), oa.Parameter(f, name="f")
    own = oa.Parameter(A, name="A")
    energy = 0.5 * oa.sum_squares(u - data)
    energy = energy + oa.pointwise(oa.activation("tanh"), (float(factor) * oa.Matrix(own)) @ u)
    fixed = oa.fixed_point(u, u - 0.5 * oa.grad(energy))
    d = torch.randn(A.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    up, down = (float((fixed.solve(params={own: A + t * d}, tol=1e-13).x ** 2).sum()) for t in (1e-5, -1e-5))
    assert float((module.A.grad * d).sum()) == pytest.approx((up - down) / 2e-5, rel=1e-6)
    assert module.A_direction.grad is None


def test_nothing_moves_between_steps():
    """The forward and the backward pass of a step see one factor, and so does a validation."""
    module = model().as_module()
    before = module.A_direction.clone()
    (module(f=torch.ones(SHAPE, dtype=torch.float64)) ** 2).sum().backward()
    assert torch.equal(module.A_direction, before)
    refresh_norms(module)
    assert not torch.equal(module.A_direction, before)


@pytest.mark.parametrize("untied", [False, True])
def test_a_run_that_stops_and_goes_on_is_the_same_to_the_bit(untied, tmp_path):
    def run(epochs, path=None):
        return oa.fit(model(untied=untied), noisy(), epochs=epochs, lr=0.05, checkpoint=path, **LOOSE)

    whole = run(3)
    run(1, tmp_path / "run.safetensors")
    resumed = run(3, tmp_path / "run.safetensors")
    assert_same_run(whole, resumed)
    for name, buffer in whole.module.named_buffers():
        assert torch.equal(buffer, resumed.module.get_buffer(name)), name


def test_an_undone_step_puts_the_direction_back():
    huge = ({"f": torch.zeros(SHAPE, dtype=torch.float64)}, torch.full(SHAPE, 1e6, dtype=torch.float64))
    good = next(iter(noisy()(0, torch.Generator().manual_seed(0))))
    good = (good[0], good[1]) if isinstance(good, tuple) else (good.inputs, good.target)
    kept = oa.fit(model(), [good, good], epochs=1, lr=0.05, **LOOSE)
    undone = oa.fit(model(), [good, good, good, huge], lr=0.05, guard=Guard(explode=5.0), **LOOSE)
    assert [row["outcome"] for row in undone.log.steps] == ["taken"] * 3 + ["restored"]
    assert torch.equal(state_of(kept)["A"], state_of(undone)["A"])
    assert torch.equal(kept.module.A_direction, undone.module.A_direction)


def test_several_models_in_one_module_keep_their_names_apart():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = model().as_module(), model("filters").as_module()

        def forward(self, f):
            return self.second(f=self.first(f=f))

    assert sorted(refresh_norms(Two())) == ["first.A_norm", "second.A_norm"]
    assert refresh_norms(torch.nn.Linear(2, 2)) == {}


def test_an_operator_that_becomes_zero_in_training_says_so():
    with pytest.raises(oa.ParameterError, match=r"Matrix\(A\) is zero, and no factor"):
        oa.fit(model(), noisy(), epochs=1, wrt="A", optimizer=Zeroing)


class Zeroing(torch.optim.SGD):
    """Puts all weights to zero."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.zero_()


def test_a_helper_takes_more_power_iterations_where_asked():
    rough, sharp = (model().as_module() for _ in range(2))
    for module in (rough, sharp):
        with torch.no_grad():
            module.A.copy_(torch.randn(6, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64))
    one, many = refresh_norms(rough), refresh_norms(sharp, 50)
    assert one["A_norm"] < many["A_norm"] <= true_norm(sharp.A, "matrix") * (1 + 1e-12)


def test_directions_decide_nothing_about_the_precision():
    x = oa.Variable((8,), name="x")
    y = oa.Parameter(torch.zeros(8), name="y")
    energy = 0.5 * oa.sum_squares(x - y) + oa.sum_squares(oa.HeldNorm(oa.FiniteDifference((8,), 0), 1.0) @ x)
    plan = oa.compile(energy)
    assert (plan.backend.name, plan.backend.precision) == ("torch", "float32")
    u = oa.Variable((8,), name="u", dtype=torch.float32)
    A = oa.Parameter(torch.ones(3, 8), name="A")
    term = oa.sum_squares(oa.HeldNorm(oa.Matrix(A), 1.0) @ u)
    assert oa.fixed_point(u, u - 0.1 * oa.grad(term)).backend.precision == "float32"
