"""Training: weights that are known in closed form, the log, alternation, guards, networks and errors of users."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sympy
import torch

import opalg as oa
from opalg.learning.training_log import TrainingLog
from tests.learning.training_cases import SHAPE, batches, experts, noisy, ridge, state_of, without_time


def test_the_best_weight_is_found():
    done = oa.fit(ridge(), batches(), epochs=60, lr=0.05, positive="softplus")
    np.testing.assert_allclose(done.module.lam.item(), 0.25, atol=1e-3)
    assert done.finished and (done.epochs, done.steps, len(done.log.steps)) == (60, 180, 180)
    assert done.loss == pytest.approx(np.mean(done.log.column("loss")[-3:]))


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_step_moves_by_the_gradient(precision):
    """One step of gradient descent, whose gradient is known: d/dlam mean (y / (1 + lam) - t)^2."""
    (batch,) = batches(1, dtype=precision)
    done = oa.fit(ridge(precision), [batch], optimizer="sgd", lr=0.5)
    y, target = batch[0]["y"].double(), batch[1].double()
    slope = (2 * (y / 2 - target) * -y / 4).mean().item()
    np.testing.assert_allclose(done.module.lam.item(), 1 - 0.5 * slope, rtol=1e-5)
    (row,) = done.log.steps
    np.testing.assert_allclose(row["gradient_norm"], abs(slope), rtol=1e-5)
    assert row["outcome"] == "taken" and row["rate"] == 0.5
    assert done.module.lam.dtype == precision


def test_a_map_trains_with_gradients_of_both_kinds():
    """With jacobian_free the adjoint is the cotangent itself, which takes no product."""
    exact = oa.fit(experts(), noisy(), epochs=4, lr=0.02)
    free = oa.fit(experts(), noisy(), epochs=4, lr=0.02, gradient_options={"mode": "jacobian_free"})
    for done in (exact, free):
        assert done.loss < done.log.steps[0]["loss"]
    assert exact.log.column("products").min() > 0 and not free.log.column("products").any()
    assert not torch.equal(exact.module.A, free.module.A)


@pytest.mark.parametrize("solver", ["gmres", "anderson"])
def test_solvers_of_the_adjoint_agree(solver):
    plain = oa.fit(experts(), noisy(), epochs=1, lr=0.02)
    options = {"sample_axes": 1} if solver == "anderson" else {}
    other = oa.fit(experts(**options), noisy(), epochs=1, lr=0.02, gradient_options={"solver": solver}, tol=1e-10)
    for name, weight in state_of(plain).items():
        torch.testing.assert_close(state_of(other)[name], weight, rtol=1e-3, atol=1e-4)


def test_samples_that_stop_one_by_one_train_alike():
    together = oa.fit(experts(), noisy(), epochs=2, lr=0.02, tol=1e-10)
    apart = oa.fit(experts(sample_axes=1), noisy(), epochs=2, lr=0.02, tol=1e-10)
    np.testing.assert_allclose(apart.log.column("loss"), together.log.column("loss"), rtol=1e-7)


@pytest.mark.parametrize("solver", ["conjugate_gradients", "minres"])
def test_negative_curvature_is_in_the_log(solver):
    """A double well that a start at its hump does not leave: the Hessian there is negative."""
    x = oa.Variable(5, name="x")
    y = oa.Parameter(torch.zeros(5, dtype=torch.float64), name="y")
    weight = oa.Parameter(torch.tensor(0.5, dtype=torch.float64), name="weight")
    t = sympy.Symbol("t")
    well = oa.pointwise(oa.Potential(t, (t**2 - 1) ** 2 / 4), x)
    plan = oa.compile(weight * well + 0.5 * oa.sum_squares(x - y), nonconvex=True)
    batch = ({"y": torch.full((5,), 1e-3, dtype=torch.float64)}, torch.ones(5, dtype=torch.float64))
    options = {"solver": solver, "on_inexact": "return", "refine": False, "estimate": False}
    convex = oa.fit(plan, [batch], gradient_options=options, tol=1e-8)
    assert "flags" not in convex.log.steps[0]
    with torch.no_grad():
        module = plan.as_module(gradient_options=options, max_iter=1, tol=1e-8, on_failure="return")
        module.weight.fill_(3.0)
    done = oa.fit(module, [batch], wrt="weight")
    flags = done.log.steps[0]["flags"]
    assert "negative_curvature" in flags or "not_a_minimum" in flags


def test_warm_starts_save_iterations():
    cold = oa.fit(experts(), batches_of_one(), epochs=6, lr=1e-3)
    warm = oa.fit(experts(), batches_of_one(), epochs=6, lr=1e-3, warm_start=True)
    assert warm.log.column("iterations")[1:].max() < cold.log.column("iterations").min()
    np.testing.assert_allclose(warm.log.column("loss"), cold.log.column("loss"), rtol=1e-3)


def batches_of_one():
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return [({"f": 1.1 * x}, x)]


def test_groups_take_turns():
    weights = []
    groups = [(["A"], "sgd"), ("b", lambda w: torch.optim.SGD(w, lr=0.3))]
    plan = experts()
    module = plan.as_module()

    def look(row):
        weights.append((module.A.detach().clone(), module.b.detach().clone()))

    done = oa.fit(module, noisy(), epochs=2, optimizer=groups, lr=0.1, callback=look)
    for number, (before, after) in enumerate(pairwise(weights), 1):
        assert torch.equal(before[0], after[0]) == (number % 2 == 1)  # the step after it moves b
        assert torch.equal(before[1], after[1]) == (number % 2 == 0)
    assert done.log.column("group").tolist() == [0, 1, 0, 1, 0, 1]
    assert done.log.column("rate").tolist() == [0.1, 0.3] * 3


def test_only_what_is_asked_for_is_trained():
    module = experts().as_module()
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    oa.fit(module, noisy(), wrt=["b"])
    moved = {n for n, p in module.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"b"}
    assert all(p.requires_grad for p in module.parameters()), "the caller's module asks for gradients as before"


@pytest.mark.parametrize("way", ["exp", "softplus"])
def test_parameters_with_a_sign_go_by_their_names(way):
    lam_by_name = oa.fit(ridge(), batches(), lr=0.05, positive=way, wrt="lam")
    plan = ridge()
    (lam,) = (p for p in plan.parameters if p.name == "lam")
    lam_by_itself = oa.fit(plan, batches(), lr=0.05, positive=way, wrt=[lam])
    assert torch.equal(lam_by_name.module.lam, lam_by_itself.module.lam)
    long = oa.fit(ridge(), [(b[0], 2 * b[0]["y"]) for b in batches()], epochs=60, lr=0.5, positive=way)
    assert 0 < long.module.lam.item() < 0.2, "the best lam is negative, which no step may reach"


def test_several_variables():
    x, z = oa.Variable(3, name="x"), oa.Variable(3, name="z")
    y = oa.Parameter(torch.zeros(3, dtype=torch.float64), name="y")
    c = oa.Parameter(torch.tensor(0.1, dtype=torch.float64), name="c")
    plan = oa.fixed_point({x: 0.5 * z + y, z: c * x})
    batch = ({"y": torch.ones(3, dtype=torch.float64)}, torch.full((3,), 1.25, dtype=torch.float64))
    done = oa.fit(plan, [batch], lambda out, t: (out[x] - t).square().mean(), epochs=150, lr=0.02)
    np.testing.assert_allclose(done.module.c.item(), 0.4, atol=0.01)  # x = y / (1 - c / 2)
    with pytest.raises(oa.ParameterError, match="variables x, z"):
        oa.fit(plan, [batch])


def test_a_solve_inside_a_larger_model_is_in_the_log():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = ridge().as_module(), ridge().as_module()

        def forward(self, y):
            return self.second(y=self.first(y=y))

    done = oa.fit(Two(), batches(1), epochs=2, wrt=["first.lam", "second.lam"])
    assert {"first.iterations", "second.products"} <= set(done.log.steps[0])


def test_a_denoiser_trains():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))
    clean = torch.sin(torch.arange(64)[:, None] * 0.1 + torch.arange(8.0))

    def measure(x, generator):
        return {"input": x + 0.2 * torch.randn(x.shape, generator=generator)}

    data = oa.learning.Measured(clean, measure, batch=16)
    done = oa.fit(network, data, epochs=40, lr=0.01, validate=data, metrics={"psnr": oa.metrics.psnr})
    assert done.module is network
    psnr = [row["psnr"] for row in done.log.evaluations]
    assert psnr[-1] > psnr[0] + 3 and len(psnr) == 40
    pairs = torch.utils.data.TensorDataset(clean, clean)
    loader = torch.utils.data.DataLoader(pairs, batch_size=16)
    assert oa.fit(network, loader).steps == 4  # a tensor stands for the first argument


def test_normalised_networks_move_between_steps_alone():
    network = oa.learning.normalise_spectra(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)))
    vectors = network[0].parametrizations.weight[0]._u.clone()
    oa.learning.evaluate(network, [(torch.ones(2, 8), torch.ones(2, 8))])
    assert torch.equal(vectors, network[0].parametrizations.weight[0]._u)
    oa.fit(network, [(torch.ones(2, 8), torch.zeros(2, 8))], lr=0.1)
    assert not torch.equal(vectors, network[0].parametrizations.weight[0]._u)


def test_evaluations_do_not_disturb_training():
    plain = oa.fit(experts(), noisy(), epochs=3, lr=0.02, warm_start=True)
    looked = oa.fit(experts(), noisy(), epochs=3, lr=0.02, warm_start=True, validate=noisy(seed=9))
    assert repr(without_time(plain.log.rows)) == repr(without_time(looked.log.steps))
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.9), torch.nn.Linear(8, 8))
    data = [(torch.randn(4, 8), torch.zeros(4, 8))]
    first, second = (oa.learning.evaluate(network, data)["loss"] for _ in range(2))
    assert first == second and network.training and not network[0].running_mean.any()


def test_losses_of_configurations_are_added_up():
    def each(output, target):
        return (output - target).square().mean(dim=1)

    done = oa.fit(ridge(), batches(1), each, validate=batches(1))
    row, found = done.log.steps[0], done.log.evaluations[0]
    assert len(row["losses"]) == 4 and row["loss"] == pytest.approx(sum(row["losses"]))
    assert len(found["losses"]) == 4 and found["loss"] < row["loss"]


def test_a_callback_stops():
    done = oa.fit(ridge(), batches(), epochs=5, callback=lambda row: np.bool_(row["step"] == 4))
    assert (done.finished, done.epochs, done.steps) == (False, 1, 4)
    assert "interrupted" in repr(done) and np.isfinite(done.loss)
    all_of_it = oa.fit(ridge(), batches(), epochs=1, callback=lambda row: 1)
    assert all_of_it.finished, "only True stops"


def test_the_bar_moves(capsys):
    oa.fit(ridge(), batches(), epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "17%" in shown and "100%" in shown and "epoch 2, step 6" in shown


def test_seeds_decide():
    one, two, other = (oa.fit(experts(), noisy(), lr=0.02, seed=s) for s in (4, 4, 5))
    assert torch.equal(one.module.A, two.module.A) and not torch.equal(one.module.A, other.module.A)


def test_schedules_follow_batches():
    rates = oa.fit(
        ridge(), batches(), epochs=2, lr=1.0, positive="exp",
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
    ).log.column("rate")  # fmt: skip
    assert rates.tolist() == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_an_optimiser_that_asks_for_the_loss_again():
    done = oa.fit(ridge(), batches(1), epochs=8, optimizer="lbfgs", lr=0.5, positive="exp")
    np.testing.assert_allclose(done.module.lam.item(), 0.25, rtol=1e-4)


def test_no_grad_around_does_not_matter():
    with torch.no_grad():
        done = oa.fit(ridge(), batches(1), lr=0.1)
    assert done.log.steps[0]["outcome"] == "taken"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "plan"}, "fit takes a plan"),
        ({"data": []}, "no batch"),
        ({"data": (b for b in batches())}, "used up"),
        ({"data": 3}, "not iterable"),
        ({"data": batches(1)[0]}, r"data=\[batch\]"),
        ({"data": [([torch.zeros(SHAPE)], torch.zeros(SHAPE))]}, "inputs here are a list"),
        ({"data": [({"z": torch.zeros(SHAPE)}, torch.zeros(SHAPE))]}, "'z' is not a parameter.*there are y, lam"),
        ({"loss": "squares"}, "losses with a name"),
        ({"loss": lambda out, target: float((out - target).detach().sum())}, "not float"),
        ({"loss": lambda out, target: (out - target).detach().sum()}, "does not depend on what is trained, lam"),
        ({"wrt": ["mu"]}, "'mu' is nothing to train here; there are lam"),
        ({"wrt": "y"}, "comes with the data"),
        ({"wrt": torch.zeros(3)}, "a Tensor is nothing to train"),
        ({"optimizer": "adamm"}, "torch.optim"),
        ({"optimizer": ["adam", "sgd"]}, "pairs"),
        ({"optimizer": [("mu", "adam")]}, "'mu'"),
        ({"optimizer": torch.optim.SGD([torch.zeros(2, requires_grad=True)])}, "moves none"),
        ({"optimizer": lambda w: w}, "returned list"),
        ({"scheduler": "cosine"}, "function of an optimiser"),
        ({"optimiser": "adam"}, "did you mean 'optimizer'"),
        ({"walue": 3}, "no option of a module"),
        ({"epochs": 1.5}, "epochs"),
        ({"seed": -1}, "seed"),
        ({"guard": True}, "Guard"),
        ({"penalties": [len]}, "a penalty has a name"),
        ({"validate": batches(1), "metrics": [oa.metrics.psnr]}, "mapping"),
        ({"validate": []}, "no batch"),
        ({"metrics": {"psnr": oa.metrics.psnr}}, "the metrics psnr are taken of the batches of validate="),
        ({"callback": "x"}, r"callback=lambda row: print\(row\['loss'\]\), not 'x'"),
        ({"epochs": True}, "epochs must be a nonnegative integer, not True"),
        ({"epochs": np.bool_(True)}, "epochs"),
        ({"seed": np.float64(1)}, "seed"),
    ],
)
def test_mistakes_are_answered(change, said):
    given = {"model": ridge(), "data": batches(1)} | change
    with pytest.raises(oa.ParameterError, match=said):
        oa.fit(given.pop("model"), given.pop("data"), given.pop("loss", "mse"), **given)


def test_counts_may_be_those_of_numpy(tmp_path):
    done = oa.fit(ridge(), batches(1), epochs=np.int64(2), seed=np.int64(1), checkpoint=tmp_path / "run")
    assert (done.epochs, done.finished) == (2, True)
    again = oa.fit(ridge(), batches(1), epochs=3, seed=1, checkpoint=tmp_path / "run")
    assert again.epochs == 3, "a seed is the same whatever it is made of"


def test_mistakes_are_answered_before_data_are_asked_for():
    def data(epoch, generator):
        pytest.fail("data were asked for")

    for wrong in ({"callback": 3}, {"metrics": {"psnr": oa.metrics.psnr}}, {"seed": 0.5}):
        with pytest.raises(oa.ParameterError, match=next(iter(wrong))):
            oa.fit(ridge(), data, **wrong)


def test_shapes_and_types_that_do_not_fit_are_answered_at_once():
    y = torch.zeros((5, 8), dtype=torch.float64)
    with pytest.raises(oa.ShapeError, match="drop_last=True"):
        oa.fit(ridge(), [({"y": y}, y)], epochs=3)
    with pytest.raises(oa.DtypeError, match="float64"):
        oa.fit(ridge(torch.float32), batches(1))
    with pytest.raises(oa.ShapeError, match="target"):
        oa.fit(ridge(), [(batches(1)[0][0], torch.zeros(8, dtype=torch.float64))])


def test_models_that_cannot_be_trained_say_so():
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.DeviceError, match="backend='torch'"):
        oa.fit(oa.compile(oa.sum_squares(x - oa.Parameter(np.ones(3), name="y"))), batches(1))
    with pytest.raises(oa.ParameterError, match="nothing to train"):
        oa.fit(torch.nn.ReLU(), [(torch.ones(2), torch.ones(2))])
    with pytest.raises(oa.ParameterError, match="compile the energy"):
        oa.fit(0.5 * oa.sum_squares(x), batches(1))
    with pytest.raises(oa.ParameterError, match="takes 'input'"):
        oa.fit(torch.nn.Linear(2, 2), [({"x": torch.ones(2)}, torch.ones(2))])
    with pytest.raises(oa.ParameterError, match="as_module"):
        oa.fit(ridge().as_module(), batches(1), positive="exp")
    with pytest.raises(oa.ParameterError, match="as_module"):
        oa.learning.evaluate(ridge(), batches(1))


def test_the_log_becomes_a_table(tmp_path):
    log = oa.fit(ridge(), batches(), epochs=2, validate=batches(1)).log
    lines = log.to_csv(tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == len(log) + 1 == 9
    assert log.column("loss", "validation").shape == (2,) and log.column("loss", None).shape == (8,)
    assert log.column("products", "validation").shape == (0,)
    with pytest.raises(oa.ParameterError, match="has 'los'; they have epoch"):
        log.column("los")
    again = log.to_csv(tmp_path / "new" / "log.csv")
    assert again.read_text().splitlines() == lines
    assert TrainingLog(log.rows).rows == log.rows


def test_batches_have_the_same_inputs():
    first, second, third = batches()
    with pytest.raises(oa.ParameterError, match=r"batch 2 gives no inputs, but the first one gave 'y'"):
        oa.fit(ridge(), [first, ({}, second[1])])
    with pytest.raises(oa.ParameterError, match=r"batch 1 gives no inputs, but the first one gave 'y'"):
        oa.fit(ridge(), [first], validate=[({}, third[1])])
    more = {**second[0], "lam": torch.tensor(1.0, dtype=torch.float64)}
    with pytest.raises(oa.ParameterError, match=r"batch 2 gives 'lam', 'y'"):
        oa.fit(ridge(), [first, (more, second[1])])


@pytest.mark.parametrize("name", ["loss", "epoch", "seconds", 3])
def test_metrics_do_not_take_the_names_of_other_columns(name):
    with pytest.raises(oa.ParameterError, match="a metric cannot be called"):
        oa.fit(ridge(), batches(), validate=batches(), metrics={name: lambda a, b: 1.0})


@pytest.mark.parametrize("value", [None, torch.ones(3)])
def test_metrics_return_numbers(value):
    with pytest.raises(oa.ParameterError, match="'wrong' must return a number for each sample"):
        oa.fit(ridge(), batches(), validate=batches(), metrics={"wrong": lambda a, b: value})


def test_the_values_of_a_module_are_those_of_its_plan():
    plan = ridge()
    done = oa.fit(plan, batches(), epochs=2, positive="exp")
    values = done.module.values()
    assert set(values) == {"y", "lam"}
    assert not any(v.requires_grad for v in values.values())
    torch.testing.assert_close(plan.solve(params=values, tol=1e-12).x, done.module(y=values["y"]).detach())
