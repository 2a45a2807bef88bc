"""Guards: what counts as a failed step, what is undone, and when training gives up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa
from opalg.learning.guard import Guard
from tests.learning.training_cases import SHAPE, batches, experts, ridge, state_of


def nan_batch():
    return {"y": torch.full(SHAPE, torch.nan, dtype=torch.float64)}, torch.zeros(SHAPE, dtype=torch.float64)


def test_batches_with_nan_are_left_out():
    good, other = batches(2)
    done = oa.fit(ridge(), [good, nan_batch(), other], lr=0.1)
    assert [r["outcome"] for r in done.log.steps] == ["taken", "skipped", "taken"]
    assert "NonFiniteError" in done.log.steps[1]["reason"] and np.isnan(done.log.steps[1]["loss"])
    plain = oa.fit(ridge(), [good, other], lr=0.1)
    assert torch.equal(done.module.lam, plain.module.lam), "weights and optimiser are as without it"
    assert done.loss == plain.loss


def test_a_target_with_nan_is_left_out():
    good, other = batches(2)
    bad = (good[0], torch.full(SHAPE, torch.nan, dtype=torch.float64))
    done = oa.fit(ridge(), [good, bad, other], lr=0.1)
    assert done.log.steps[1]["reason"] == "the loss is not finite"
    assert torch.equal(done.module.lam, oa.fit(ridge(), [good, other], lr=0.1).module.lam)


def test_gradients_that_are_not_finite_are_left_out():
    def loss(output, target):
        return (output - target).square().mean() + 0 * output.detach().sum()

    class Wild:
        name = "wild"

        def value(self, batch, output):  # finite, with an infinite slope where the target is one
            return (network.weight[0, 0] * (1 - batch.target[0, 0]) * 1e-200).abs().sqrt().mul(1e-30)

    torch.manual_seed(0)
    network = torch.nn.Linear(8, 8).double()
    one = torch.ones(SHAPE, dtype=torch.float64)
    before = {}

    def look(row):
        before[row["step"]] = network.weight.detach().clone()

    done = oa.fit(
        network, [(one, 0 * one), (one, one), (one, 0 * one)], loss, penalties=[Wild()], lr=0.1, callback=look
    )
    assert [r["outcome"] for r in done.log.steps] == ["taken", "skipped", "taken"]
    assert done.log.steps[1]["reason"] == "the gradient is not finite"
    assert torch.equal(before[1], before[2]) and not torch.equal(before[2], before[3])
    done = oa.fit(ridge(), [nan_slope(), *batches(1)], lambda o, t: (o - t).abs().sqrt().sum(), lr=0.1)
    assert "the cotangent of x" in done.log.steps[0]["reason"], "solvers find that out by themselves"


def nan_slope():
    y = torch.zeros(SHAPE, dtype=torch.float64)
    return {"y": y}, y


def test_long_gradients_are_shortened():
    (batch,) = batches(1)
    free = oa.fit(ridge(), [batch], optimizer="sgd", lr=1.0)
    limit = free.log.steps[0]["gradient_norm"] / 4
    short = oa.fit(ridge(), [batch], optimizer="sgd", lr=1.0, guard=Guard(clip=limit))
    moved = [abs(d.module.lam.item() - 1) for d in (free, short)]
    np.testing.assert_allclose(moved[1], moved[0] / 4)
    assert short.log.steps[0]["outcome"] == "clipped"
    assert short.log.steps[0]["gradient_norm"] == free.log.steps[0]["gradient_norm"]


@pytest.mark.parametrize("size", [1e6, np.inf])
def test_a_loss_that_explodes_is_undone(size):
    """The fifth batch is out of all proportion: weights and optimiser go back to before the fourth step."""
    states, data = [], batches(8)
    wild = ({"y": data[0][0]["y"] * 1.0}, torch.full(SHAPE, size, dtype=torch.float64))
    data[4] = wild
    module = ridge().as_module()
    done = oa.fit(
        module, data, lr=0.1, guard=Guard(explode=100.0), callback=lambda row: states.append(module.lam.item())
    )
    assert [r["outcome"] for r in done.log.steps] == ["taken"] * 4 + ["restored"] + ["taken"] * 3
    assert states[4] == states[2]
    assert "products" not in done.log.steps[4], "no gradient was taken"
    undone = oa.fit(ridge(), data[:3] + data[5:], lr=0.1)
    assert done.module.lam.item() == undone.module.lam.item(), "the optimiser went back, too"


def test_diverging_steps_end_with_the_error():
    """A map that does not contract, from weights that a step of the optimiser made far too large."""
    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.zeros(SHAPE, dtype=torch.float64))]
    plan = experts(acceleration="none")
    rows = []
    with pytest.raises((oa.DivergedError, oa.NonFiniteError, oa.BreakdownError, oa.InexactSolutionError)):
        oa.fit(
            plan, data, epochs=30, optimizer="sgd", lr=1e4, guard=Guard(patience=3), callback=rows.append,
            on_failure="raise", max_iter=60,
        )  # fmt: skip
    outcomes = [r["outcome"] for r in rows]
    assert outcomes[0] == "taken" and outcomes[-3:] == ["skipped"] * 3
    assert all("Error" in r["reason"] for r in rows[-3:])


def test_a_guard_recovers_from_a_step_that_was_too_long():
    """One step to where the map diverges; the guard takes it back and training goes on."""
    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.zeros(SHAPE, dtype=torch.float64))] * 12

    class Once(torch.optim.SGD):
        count = 0

        def step(self, closure=None):
            Once.count += 1
            self.param_groups[0]["lr"] = 1e3 if Once.count == 6 else 1e-2
            return super().step(closure)

    done = oa.fit(
        experts(), data, optimizer=lambda w: Once(w, lr=1e-2), guard=Guard(explode=3.0), on_failure="return",
        gradient_options={"on_inexact": "return"}, max_iter=60,
    )  # fmt: skip
    outcomes = [r["outcome"] for r in done.log.steps]
    assert outcomes[6] == "restored" and outcomes[7:] == ["taken"] * 5
    assert done.log.steps[-1]["loss"] <= done.log.steps[5]["loss"] * 1.01


def test_undone_steps_count_against_patience():
    data = batches(4) + [(batches(1)[0][0], torch.full(SHAPE, 1e9, dtype=torch.float64))] * 9
    with pytest.raises(oa.DivergedError, match="5 steps in a row failed, the last one since the loss exploded"):
        oa.fit(ridge(), data, guard=Guard(explode=10.0, patience=4))


def test_a_run_without_a_single_step_raises():
    with pytest.raises(
        oa.NonFiniteError, match=r"3 steps in a row failed, .*parameter 'y'.*data or the start"
    ) as caught:
        oa.fit(ridge(), [nan_batch()], epochs=3)
    assert type(caught.value.__cause__) is oa.NonFiniteError and "in a row" not in str(caught.value.__cause__)
    with pytest.raises(oa.NonFiniteError, match=r"^1 step failed"):
        oa.fit(ridge(), [nan_batch()])


def test_a_rate_that_is_far_too_large_is_said():
    """The error of the last step says nothing of it by itself; its class stays, and its solution."""
    data = [({"f": torch.ones(SHAPE, dtype=torch.float64)}, torch.zeros(SHAPE, dtype=torch.float64))]
    with pytest.raises(oa.OpalgError, match=r"3 steps in a row failed, the last one since (.*)") as caught:
        oa.fit(
            experts(),
            data,
            epochs=30,
            optimizer="sgd",
            lr=1e30,
            guard=Guard(patience=2),
            on_failure="raise",
            max_iter=60,
        )
    error, cause = caught.value, caught.value.__cause__
    assert "lower the learning rate (it is lr=1e+30)" in str(error)
    assert type(error) is type(cause) and str(cause) in str(error) and error.solution is cause.solution


def test_failures_in_validation_do_not_end_training():
    done = oa.fit(ridge(), batches(1), epochs=2, validate=[nan_batch()])
    assert done.finished and [("NonFiniteError" in r["reason"]) for r in done.log.evaluations] == [True, True]


def test_mistakes_are_not_failures_of_a_step():
    unknown = ({"z": torch.zeros(SHAPE)}, torch.zeros(SHAPE))
    with pytest.raises(oa.ParameterError, match="is not a parameter"):
        oa.fit(ridge(), [unknown])
    with pytest.raises(oa.ParameterError, match="batch 2 gives 'z', but the first one gave 'y'"):
        oa.fit(ridge(), [*batches(1), unknown])


@pytest.mark.parametrize(
    "options",
    [{"clip": 0.0}, {"explode": -1.0}, {"clip": float("nan")}, {"window": 0}, {"patience": 1.5}, {"patience": True}],
)
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(oa.ParameterError, match=next(iter(options))):
        Guard(**options)


def test_what_counts_as_an_explosion():
    guard = Guard(explode=10.0, window=3)
    assert not guard.exploded(99.0, [1.0, 1.0]), "two losses are too few to say"
    assert guard.exploded(11.0, [1.0, 1.0, 1.0]) and not guard.exploded(9.0, [1.0, 1.0, 1.0])
    assert not guard.exploded(50.0, [1.0, 9.0, 9.0, 9.0]), "only the window counts"
    assert guard.exploded(float("nan"), []) and Guard().exploded(float("inf"), [])
    assert not Guard().exploded(1e30, [1.0] * 5)
    assert guard.exploded(11.0, [1.0, 1.0, float("nan"), 1.0])


def test_weights_start_where_they_were(tmp_path):
    """A restored state is also what a checkpoint goes on from."""
    data = [*batches(4), (batches(1)[0][0], torch.full(SHAPE, 1e9, dtype=torch.float64)), *batches(2, seed=5)]
    whole = oa.fit(ridge(), data, lr=0.1, guard=Guard(explode=10.0))
    path = tmp_path / "run"
    oa.fit(ridge(), data, lr=0.1, guard=Guard(explode=10.0), checkpoint=path, callback=lambda r: r["step"] == 4)
    again = oa.fit(ridge(), data, lr=0.1, guard=Guard(explode=10.0), checkpoint=path)
    assert again.log.steps[4]["outcome"] == "restored"
    assert torch.equal(state_of(again)["lam"], state_of(whole)["lam"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"explode": 0.5}, "above 1, not 0.5"),
        ({"explode": 1}, "above 1"),
        ({"clip": 0}, "above 0"),
        ({"clip": "1"}, "above 0, not '1'"),
        ({"clip": float("nan")}, "nan"),
        ({"window": 0}, "positive integer"),
        ({"patience": 1.5}, "positive integer"),
    ],
)
def test_refusals_say_what_a_limit_may_be(wrong, said):
    with pytest.raises(oa.ParameterError, match=said):
        Guard(**wrong)


def test_counts_may_be_those_of_numpy():
    assert Guard(window=np.int64(3), patience=np.int64(2)).patience == 2
