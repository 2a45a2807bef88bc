"""Penalties against maps whose Lipschitz constants and Jacobians are known, and inner maxima that persist."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa
from opalg.learning.batches import Batch
from opalg.learning.inner_maximum import InnerMaximum

N = 6


def matrix(seed=0):
    return torch.randn(N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(count=4, indices=None):
    x = torch.randn(count, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch({}, x, indices)


def test_the_constant_of_a_linear_map_is_its_norm():
    M = matrix()
    penalty = oa.penalties.Lipschitz(lambda x: x @ M.T, bound=0.5, weight=2.0, steps=100, rate=0.1)
    norm = float(torch.linalg.matrix_norm(M, 2))
    value = penalty.value(batch(), batch().target)
    np.testing.assert_allclose(value.item(), 2.0 * 4 * (norm - 0.5), rtol=1e-3)
    assert value.item() <= 2.0 * 4 * (norm - 0.5) * (1 + 1e-9), "it is found from below"
    np.testing.assert_allclose(penalty.measure(batch().target, 100), norm, rtol=5e-3)


def test_maps_within_the_bound_cost_nothing():
    penalty = oa.penalties.Lipschitz(lambda x: 0.5 * x, bound=1.0)
    assert penalty.value(batch(), batch().target).item() == 0.0


def test_the_slope_in_the_weights_is_that_at_the_maximum():
    weight = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    penalty = oa.penalties.Lipschitz(lambda x: weight * x, bound=1.0)
    penalty.value(batch(), batch().target).backward()
    np.testing.assert_allclose(weight.grad.item(), 4.0)  # of sum_i (|w| - 1) over four samples


def test_inner_maxima_persist_by_index():
    M = matrix()
    penalty = oa.penalties.Lipschitz(lambda x: x @ M.T, bound=0.0, steps=2, rate=0.1)
    known, unknown = batch(indices=torch.arange(4)), batch()
    values = [penalty.value(known, known.target).item() for _ in range(12)]
    assert values[-1] > 1.1 * values[0]
    fresh = [penalty.value(unknown, unknown.target).item() for _ in range(12)]
    assert max(fresh) < values[-1]


def test_states_of_inner_maxima_are_read_again():
    M = matrix()

    def run(state=None, first=0):
        penalty = oa.penalties.Lipschitz(lambda x: x @ M.T, bound=0.0)
        if state is not None:
            penalty.load_state_dict(state)
        some = batch(indices=torch.tensor([7, 8, 2, 3]))
        return [penalty.value(some, some.target).item() for _ in range(first, 4)], penalty

    whole, _ = run()
    early = oa.penalties.Lipschitz(lambda x: x @ M.T, bound=0.0)
    some = batch(indices=torch.tensor([7, 8, 2, 3]))
    begun = [early.value(some, some.target).item() for _ in range(2)]
    late, _ = run(early.state_dict(), 2)
    assert begun + late == whole


def test_displacements_lie_on_the_sphere():
    inner = InnerMaximum(lambda x, d: (x + d).square().sum(dim=1), radius=0.25, steps=4)
    d = inner.maximise(batch().target)
    np.testing.assert_allclose(d.square().mean(dim=1).sqrt(), 0.25)
    assert not d.requires_grad
    along = torch.cosine_similarity(inner.maximise(batch().target, None, 200), batch().target)
    np.testing.assert_allclose(along, 1.0, atol=1e-6)  # the farthest point from the origin


def test_the_jacobian_is_estimated_without_bias():
    M = matrix()
    penalty = oa.penalties.Jacobian(lambda x: x @ M.T, weight=1.0)
    values = [penalty.value(batch(200), batch(200).target).item() for _ in range(60)]
    exact = (M**2).sum().item() / N
    np.testing.assert_allclose(np.mean(values), exact, rtol=4 * np.std(values) / np.sqrt(60) / exact + 1e-6)


def test_the_gradient_of_a_scalar_network():
    """Of |x|^4 / 4, which is |x|^2 x; its own derivatives reach weights."""
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    slope = oa.penalties.gradient_of(lambda x: weight * x.square().sum(dim=1).square() / 4)
    x = batch().target
    found = slope(x)
    torch.testing.assert_close(found, 2 * x.square().sum(dim=1, keepdim=True) * x)
    (by_weight,) = torch.autograd.grad(found.sum(), weight)
    torch.testing.assert_close(by_weight, (x.square().sum(dim=1, keepdim=True) * x).sum())
    with torch.no_grad():
        torch.testing.assert_close(slope(x).detach(), found.detach())


def test_training_with_a_penalty_obeys_the_bound():
    """A linear layer that is to be five times the identity, but no longer than 1."""
    torch.manual_seed(0)
    network = torch.nn.Linear(N, N, bias=False).double()
    x = batch(16).target
    bound = oa.penalties.Lipschitz(network, bound=1.0, weight=10.0, steps=5)
    done = oa.fit(network, [(x, 5 * x, torch.arange(16))], epochs=300, lr=0.02, penalties=[bound])
    assert float(torch.linalg.matrix_norm(network.weight.detach(), 2)) < 1.2
    assert done.log.column("lipschitz").shape == (300,)
    free = oa.fit(torch.nn.Linear(N, N, bias=False).double(), [(x, 5 * x)], epochs=300, lr=0.05)
    assert float(torch.linalg.matrix_norm(free.module.weight.detach(), 2)) > 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: oa.penalties.Lipschitz(torch.sin, at="input"), "at must be"),
        (lambda: oa.penalties.Jacobian(torch.sin, at="input"), "at must be"),
        (lambda: oa.penalties.Lipschitz(torch.sin, radius=0.0), "radius"),
        (lambda: oa.penalties.Lipschitz(torch.sin, rate=-1.0), "rate"),
        (lambda: oa.penalties.Lipschitz(torch.sin, steps=1.5), "steps"),
        (lambda: oa.penalties.Lipschitz(torch.sin, radius=np.nan), "radius .* positive number, not nan"),
        (lambda: oa.penalties.Lipschitz(torch.sin, radius=np.inf), "radius"),
        (lambda: oa.penalties.Lipschitz(torch.sin, radius="1"), "radius"),
        (lambda: oa.penalties.Lipschitz(torch.sin, rate=np.inf), "rate"),
        (lambda: oa.penalties.Lipschitz(torch.sin, rate=None), "rate"),
        (lambda: oa.penalties.Lipschitz(torch.sin, steps="3"), "steps"),
        (lambda: oa.penalties.Lipschitz(torch.sin, seed=0.5), "seed"),
        (lambda: oa.penalties.Lipschitz(3), r"Lipschitz takes a function of tensors.*not 3; write.*Lipschitz\(network"),
        (lambda: oa.penalties.Jacobian(None), r"Jacobian takes a function of tensors.*not None"),
        (lambda: oa.penalties.gradient_of(3), "gradient_of takes a function of tensors"),
        (lambda: oa.penalties.Lipschitz(torch.sin, bound=np.nan), "bound of Lipschitz must be a finite.*not nan"),
        (lambda: oa.penalties.Lipschitz(torch.sin, bound=-1.0), "bound of Lipschitz"),
        (lambda: oa.penalties.Lipschitz(torch.sin, bound="1"), "bound of Lipschitz"),
        (lambda: oa.penalties.Lipschitz(torch.sin, weight=np.inf), "weight of Lipschitz"),
        (lambda: oa.penalties.Lipschitz(torch.sin, weight=True), "weight of Lipschitz"),
        (lambda: oa.penalties.Jacobian(torch.sin, np.nan), "weight of Jacobian"),
        (lambda: oa.penalties.Jacobian(torch.sin, -0.1), "weight of Jacobian"),
        (lambda: oa.penalties.Jacobian(torch.sin, seed=True), "seed of Jacobian"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, said):
    with pytest.raises(oa.ParameterError, match=said):
        make()


def test_two_penalties_need_two_columns():
    both = [oa.penalties.Jacobian(torch.sin), oa.penalties.Jacobian(torch.cos)]
    with pytest.raises(oa.ParameterError, match="another name"):
        oa.fit(torch.nn.Linear(N, N), [(torch.ones(1, N), torch.ones(1, N))], penalties=both)
    with pytest.raises(oa.ParameterError, match="another name"):
        oa.fit(
            torch.nn.Linear(N, N), [(torch.ones(1, N), torch.ones(1, N))],
            penalties=[oa.penalties.Jacobian(torch.sin, name="loss")],
        )  # fmt: skip


def test_numbers_of_other_libraries_are_taken():
    penalty = oa.penalties.Lipschitz(
        torch.sin, np.float32(0.5), torch.tensor(2.0), radius=np.float64(0.1), steps=np.int64(2), seed=np.int64(1)
    )
    assert (penalty.bound, penalty.weight, penalty.inner.radius, penalty.inner.steps) == (0.5, 2.0, 0.1, 2)


def pair():
    """A network that trains, and one beside it that is held."""
    held = torch.nn.Linear(N, N).double().requires_grad_(False)
    return torch.nn.Linear(N, N).double(), held


@pytest.mark.parametrize("kind", [oa.penalties.Lipschitz, oa.penalties.Jacobian])
@pytest.mark.parametrize("mapping", ["linear", "curved", "function"])
def test_a_penalty_on_what_is_not_trained_is_refused(kind, mapping):
    """Also where its value has a graph, which leads to the samples alone."""
    network, held = pair()
    maps = {"linear": held, "curved": lambda x: torch.sin(held(x)), "function": torch.sin}
    x = batch(4).target
    with pytest.raises(oa.ParameterError, match=r"'mine' depends on nothing that is trained \(weight, bias\).*wrt="):
        oa.fit(network, [(x, x)], penalties=[kind(maps[mapping], at="target", name="mine")])


@pytest.mark.parametrize("kind", [oa.penalties.Lipschitz, oa.penalties.Jacobian])
def test_a_penalty_on_weights_that_wrt_leaves_out_is_refused(kind):
    both = torch.nn.Sequential(*(torch.nn.Linear(N, N).double() for _ in range(2)))
    x = batch(4).target
    with pytest.raises(oa.ParameterError, match="depends on nothing that is trained"):
        oa.fit(both, [(x, x)], wrt=["0"], penalties=[kind(both[1])])
    assert oa.fit(both, [(x, x)], wrt=["0"], penalties=[kind(both)]).finished, "a part of its weights is trained"
    within = oa.penalties.Lipschitz(both, bound=1e3)
    assert not oa.fit(both, [(x, x)], penalties=[within]).log.column("lipschitz").any(), (
        "a bound that is kept is no mistake"
    )


def test_a_penalty_through_functions_of_ones_own_is_taken():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, slope):
            return 2 * slope

    network, _ = pair()
    x = batch(4).target
    assert oa.fit(network, [(x, x)], penalties=[oa.penalties.Lipschitz(lambda z: Twice.apply(network(z)))]).finished


def own(value):
    class Own:
        name = "own"

        def value(self, batch, output):
            return value

    return Own()


def test_a_penalty_of_ones_own_may_wait_but_not_be_constant():
    network, _ = pair()
    x = batch(4).target
    assert oa.fit(network, [(x, x)], penalties=[own(torch.zeros(()))]).finished
    with pytest.raises(oa.ParameterError, match="'own' depends on nothing that is trained"):
        oa.fit(network, [(x, x)], penalties=[own(torch.ones(()))])


@pytest.mark.parametrize("value", [3.0, torch.ones(2), torch.ones((), dtype=torch.int64), None])
def test_values_that_are_no_single_number_are_refused(value):
    network, _ = pair()
    x = batch(4).target
    with pytest.raises(oa.ParameterError, match="the penalty 'own' must return one real number in a tensor"):
        oa.fit(network, [(x, x)], penalties=[own(value)])


def test_samples_that_are_no_tensors_are_refused():
    penalty = oa.penalties.Lipschitz(torch.sin)
    with pytest.raises(
        oa.ParameterError, match=r"measure of Lipschitz .* not ndarray; convert them by torch\.as_tensor"
    ):
        penalty.measure(np.ones((2, N)))
    with pytest.raises(oa.ParameterError, match=r"the first axis of a tensor, not shape \(6,\)"):
        penalty.measure(torch.ones(N))
    with pytest.raises(oa.ParameterError, match=r"int64.*x\.float\(\)"):
        penalty.measure(torch.ones(2, N, dtype=torch.int64))
    with pytest.raises(oa.ParameterError, match="steps"):
        penalty.measure(torch.ones(2, N), steps=-1)
    for kind in (oa.penalties.Lipschitz, oa.penalties.Jacobian):
        with pytest.raises(oa.ParameterError, match=rf"'{kind.__name__.lower()}', taken at the output, .* not dict"):
            kind(torch.sin, at="output").value(batch(), {"x": batch().target})


def test_jacobians_are_taken_at_single_samples_too():
    M = matrix()
    single = oa.penalties.Jacobian(lambda x: M @ x).value(batch(), batch().target[0])
    assert single.ndim == 0 and 0 < single.item() < (M**2).sum().item()


def test_a_measurement_leaves_the_state_alone():
    """So that a run which is measured on its way ends in the same bits."""
    values = []
    for looks in (0, 3):
        penalty, some = oa.penalties.Lipschitz(lambda x: x @ matrix().T, bound=0.0), batch(indices=torch.arange(4))
        penalty.value(some, some.target)
        found = [penalty.measure(some.target) for _ in range(looks)]
        assert len(set(found)) <= 1
        with pytest.raises(oa.ParameterError):
            penalty.measure(some.target.numpy())
        values.append([penalty.value(b, b.target).item() for b in (some, batch())])
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: lambda x: net(x), lambda net: oa.penalties.gradient_of(net)]
)
def test_networks_are_held_to_what_they_are_in_evaluation_mode(wrap):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Dropout(0.5)
    )
    x = torch.randn(16, 4)
    found = []
    for mode in (True, False):
        network.train(mode)
        for penalty in (
            oa.penalties.Lipschitz(wrap(network), bound=0.0),
            oa.penalties.Jacobian(wrap(network), at="target"),
        ):
            found.append(float(penalty.value(Batch({}, x), x).detach()))
        found.append(oa.penalties.Lipschitz(wrap(network)).measure(x))
        assert network.training is mode
    assert found[:3] == found[3:]
    assert int(network[1].num_batches_tracked) == 0
