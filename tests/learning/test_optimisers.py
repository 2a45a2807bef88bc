"""Optimisers that take turns: who moves what, schedules and states."""

from __future__ import annotations

import pytest
import torch

import opalg as oa
from opalg.learning.optimisers import Optimisers

KINDS = torch.optim.lr_scheduler


def weights():
    return {n: torch.nn.Parameter(torch.full((2,), v)) for n, v in (("a", 1.0), ("b", 2.0), ("net.c", 3.0))}


def step(optimisers: Optimisers, number: int, own) -> None:
    for weight in own.values():
        weight.grad = torch.ones_like(weight)
    optimisers.all[optimisers.turn(number)].step()
    optimisers.schedule(1.0)


@pytest.mark.parametrize("name", ["sgd", "SGD", "Adam", "rmsprop", "adamw"])
def test_names_are_those_of_torch(name):
    own = weights()
    (made,) = Optimisers(own, name, 0.25).all
    assert type(made).__name__.lower() == name.lower() and Optimisers.rate(made) == 0.25
    assert [id(p) for p in Optimisers.moved(made)] == [id(w) for w in own.values()]


def test_classes_get_the_rate_and_functions_their_own():
    assert Optimisers.rate(Optimisers(weights(), torch.optim.SGD, 0.5).all[0]) == 0.5
    assert Optimisers.rate(Optimisers(weights(), lambda w: torch.optim.SGD(w, lr=2.0), 0.5).all[0]) == 2.0


def test_an_optimiser_that_is_there_is_taken_as_it_is():
    own = weights()
    given = torch.optim.SGD([own["b"]], lr=0.1)
    rates = KINDS.StepLR(given, 1)
    made = Optimisers(own, given, 9.0, rates)
    assert made.all == [given] and made.schedulers == [rates]
    other = torch.optim.SGD([own["a"]], lr=0.1)
    with pytest.raises(oa.ParameterError, match="belongs to another optimiser"):
        Optimisers(own, other, 1.0, rates)


def test_turns_go_round():
    own = weights()
    made = Optimisers(own, [("a", "sgd"), (["b", "net"], torch.optim.SGD)], 0.5)
    assert [made.turn(n) for n in range(1, 6)] == [0, 1, 0, 1, 0]
    step(made, 1, own)
    assert [w[0].item() for w in own.values()] == [0.5, 2.0, 3.0]
    step(made, 2, own)
    assert [w[0].item() for w in own.values()] == [0.5, 1.5, 2.5]


def test_groups_by_tensor_and_by_module():
    network = torch.nn.Linear(2, 1)
    own = dict(network.named_parameters())
    made = Optimisers(own, [(network.bias, "sgd"), (network, "sgd")], 1.0)
    assert [len(Optimisers.moved(o)) for o in made.all] == [1, 2]


def test_schedules_of_those_whose_turn_is_to_come_do_not_warn():
    own = weights()
    made = Optimisers(own, [("a", "sgd"), ("b", "sgd")], 1.0, lambda o: KINDS.StepLR(o, 1, 0.5))
    step(made, 1, own)
    assert [Optimisers.rate(o) for o in made.all] == [0.5, 0.5]


def test_a_scheduler_that_looks_at_the_loss():
    own = weights()
    made = Optimisers(own, "sgd", 1.0, lambda o: KINDS.ReduceLROnPlateau(o, patience=0, factor=0.5))
    for _ in range(3):
        step(made, 1, own)
    assert Optimisers.rate(made.all[0]) == 0.25


def test_who_asks_for_the_loss_again():
    assert Optimisers.wants_closure(torch.optim.LBFGS([torch.zeros(1, requires_grad=True)]))
    assert not Optimisers.wants_closure(torch.optim.Adam([torch.zeros(1, requires_grad=True)]))


SCHEDULES = {
    "step": lambda o: KINDS.StepLR(o, 2, 0.5),
    "lambda": lambda o: KINDS.LambdaLR(o, lambda n: 1 / (1 + n)),
    "one cycle": lambda o: KINDS.OneCycleLR(o, 1.0, total_steps=12),
    "sequence": lambda o: KINDS.SequentialLR(
        o, [KINDS.MultiStepLR(o, [1, 2]), KINDS.CosineAnnealingWarmRestarts(o, 3)], [3]
    ),
    "cyclic": lambda o: KINDS.CyclicLR(o, 0.1, 1.0, step_size_up=3),
    "plateau": lambda o: KINDS.ReduceLROnPlateau(o, patience=1),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_states_go_on_as_they_would_have(name, kind):
    def run(steps, state=None, first=1):
        own = weights()
        make = (lambda w: torch.optim.SGD(w, lr=0.5, momentum=0.9)) if kind == "sgd" else "adam"
        made = Optimisers(own, make, 0.5, SCHEDULES[name])
        if state is not None:
            made.load_state_dict(state[0])
            for weight, value in zip(own.values(), state[1], strict=True):
                weight.data.copy_(value)
        rates = []
        for number in range(first, steps + 1):
            rates.append(Optimisers.rate(made.all[0]))
            step(made, number, own)
        return rates, (made.state_dict(copy=True), [w.detach().clone() for w in own.values()])

    whole, end = run(9)
    early, state = run(4)
    late, again = run(9, state, 5)
    assert early + late == whole
    assert all(torch.equal(a, b) for a, b in zip(end[1], again[1], strict=True))


def test_a_copy_of_a_state_stays_as_it_is():
    own = weights()
    made = Optimisers(own, "adam", 0.1)
    step(made, 1, own)
    kept = made.state_dict(copy=True)
    before = kept["optimisers"][0]["state"][0]["exp_avg"].clone()
    step(made, 2, own)
    assert torch.equal(kept["optimisers"][0]["state"][0]["exp_avg"], before)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("nadammm", "torch.optim"),
        ("optimizer", "torch.optim"),
        (3, "torch.optim"),
        ([], "empty"),
        ([("a",)], "pairs"),
        ([("d", "sgd")], "'d' is nothing to train here; there are a, b, net.c"),
        (lambda w: None, "returned NoneType"),
    ],
)
def test_what_is_no_optimiser_is_refused(optimizer, said):
    with pytest.raises(oa.ParameterError, match=said):
        Optimisers(weights(), optimizer, 0.1)


def test_what_is_no_scheduler_is_refused():
    with pytest.raises(oa.ParameterError, match="must return a scheduler"):
        Optimisers(weights(), "sgd", 0.1, lambda o: 0.5)
    with pytest.raises(oa.ParameterError, match="function of an optimiser"):
        Optimisers(weights(), "sgd", 0.1, 0.5)


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0, "0.1", None, True])
@pytest.mark.parametrize("kind", ["adam", torch.optim.SGD])
def test_rates_that_are_none_are_refused(rate, kind):
    with pytest.raises(oa.ParameterError, match="lr is a learning rate"):
        Optimisers(weights(), kind, rate)


def test_turns_without_a_name_are_refused():
    with pytest.raises(oa.ParameterError, match="no name of a parameter"):
        Optimisers(weights(), [([], "adam"), (["a"], "sgd")], 0.1)


def test_a_scheduler_that_needs_more_says_how_to_give_it():
    with pytest.raises(oa.ParameterError, match=r"ExponentialLR needs more.*gamma.*lambda o"):
        Optimisers(weights(), "sgd", 0.1, KINDS.ExponentialLR)

    def broken(optimiser):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        Optimisers(weights(), "sgd", 0.1, broken)


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (("adam", 0.2), "lr = 0.1, but now 0.2"),
        (
            (lambda w: torch.optim.Adam(w, lr=0.1, betas=(0.5, 0.9)), 1.0),
            r"betas = \[0.9, 0.999\], but now \[0.5, 0.9\]",
        ),
        (([(["b"], "adam")], 0.1), r"parameters = \['a', 'b', 'net.c'\], but now \['b'\]"),
    ],
)
def test_states_of_optimisers_that_were_set_up_otherwise_are_refused(again, said):
    own = weights()
    state = Optimisers(own, "adam", 0.1).state_dict(copy=True)
    Optimisers(own, "adam", 0.1).load_state_dict(state)
    with pytest.raises(oa.ParameterError, match=said):
        Optimisers(own, *again).load_state_dict(state)


def test_rates_that_a_scheduler_has_changed_are_no_other_setup():
    own = weights()
    schedule = {"scheduler": lambda o: KINDS.StepLR(o, 1)}
    first = Optimisers(own, "sgd", 1.0, **schedule)
    step(first, 1, own)
    second = Optimisers(own, "sgd", 1.0, **schedule)
    second.load_state_dict(first.state_dict(copy=True))
    assert Optimisers.rate(second.all[0]) == pytest.approx(0.1)
    del (old := first.state_dict(copy=True))["given"]
    Optimisers(own, "sgd", 2.0, **schedule).load_state_dict(old)  # of files that do not tell
