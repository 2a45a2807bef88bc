"""Spectral normalisation: right norms, weights that stand still in a solve, and one power iteration between steps."""

from __future__ import annotations

import pytest
import torch

import opalg as oa
from opalg.learning import normalise_spectra, refresh_spectra

KINDS = {
    "linear": lambda: torch.nn.Linear(6, 5),
    "convolution": lambda: torch.nn.Conv2d(3, 4, 3, padding=1),
    "transposed": lambda: torch.nn.ConvTranspose2d(3, 4, 3, padding=1),
    "line": lambda: torch.nn.Conv1d(2, 3, 3),
}


def norm(layer) -> float:
    weight = layer.weight.detach()
    if isinstance(layer, torch.nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return float(torch.linalg.matrix_norm(weight.flatten(1), 2))


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_of_weights_have_norm_one(kind):
    torch.manual_seed(0)
    network = normalise_spectra(torch.nn.Sequential(KINDS[kind](), torch.nn.Tanh()), 200)
    assert norm(network[0]) == pytest.approx(1.0, rel=1e-4)
    assert not network.training


def test_weights_stand_still_until_they_are_refreshed():
    torch.manual_seed(0)
    network = normalise_spectra(torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 20)), 1)
    before = network[0].weight.detach().clone()
    for _ in range(5):
        network(torch.ones(20))
    assert torch.equal(network[0].weight, before)
    rough = abs(norm(network[0]) - 1)
    assert refresh_spectra(network) == 2
    assert not torch.equal(network[0].weight, before)
    for _ in range(50):
        refresh_spectra(network)
    assert abs(norm(network[0]) - 1) < rough / 10
    assert not network.training and not network[0].parametrizations.weight[0].training


def test_normalising_again_does_not_pile_up():
    torch.manual_seed(0)
    network = normalise_spectra(torch.nn.Sequential(torch.nn.Linear(9, 9)), 1)
    rough = abs(norm(network[0]) - 1)
    normalise_spectra(network, 60)
    assert len(network[0].parametrizations.weight) == 1
    assert abs(norm(network[0]) - 1) < rough
    network.append(torch.nn.Linear(9, 9))
    assert refresh_spectra(normalise_spectra(network)) == 2


def test_a_normalised_map_has_a_fixed_point_and_gradients():
    """In training mode the map would be another one at every call."""
    torch.manual_seed(0)
    network = normalise_spectra(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh()), 30).double()
    x, y = oa.Variable((3, 4), name="x"), oa.Parameter(torch.ones(3, 4, dtype=torch.float64), name="y")
    plan = oa.fixed_point(x, 0.5 * oa.apply(network, x) + y)
    found = plan.solve(tol=1e-12).x
    torch.testing.assert_close(0.5 * network(found).detach() + 1, found)
    done = oa.fit(plan, [({"y": torch.ones(3, 4, dtype=torch.float64)}, torch.zeros(3, 4, dtype=torch.float64))])
    assert done.log.steps[0]["outcome"] == "taken"
    assert abs(norm(network[0]) - 1) < 0.01


def test_networks_without_such_layers_are_refused():
    with pytest.raises(oa.ParameterError, match="ReLU has no linear layer"):
        normalise_spectra(torch.nn.ReLU())
    assert refresh_spectra(torch.nn.Linear(2, 2)) == 0


@pytest.mark.parametrize("iterations", [0, -1, 1.5, True])
def test_counts_that_make_no_sense_are_refused(iterations):
    with pytest.raises(oa.ParameterError, match="power iterations"):
        normalise_spectra(torch.nn.Linear(2, 2), iterations)


def test_only_networks_are_normalised():
    with pytest.raises(oa.ParameterError, match=r"torch.nn.Module, not of int"):
        oa.learning.normalise_spectra(3)


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("layer", [lambda: torch.nn.LazyLinear(3), lambda: torch.nn.LazyConv2d(3, 3)])
def test_layers_without_a_shape_are_refused_until_they_have_one(layer):
    network = torch.nn.Sequential(layer())
    with pytest.raises(oa.ParameterError, match="call the network once with an example"):
        normalise_spectra(network)
    network(torch.ones(1, 2, 8, 8))
    assert refresh_spectra(normalise_spectra(network)) == 1
    with pytest.raises(oa.ParameterError, match=r"torch.nn.Module, not of int"):
        refresh_spectra(3)
