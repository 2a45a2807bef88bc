"""Batches from lists, loaders and functions, and clean samples measured anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa
from opalg.learning.batches import Batch, batch_of, batches_of, check_names, lone_input

TARGET = torch.ones(2)


def noise(x, generator):
    return {"y": x + torch.randn(x.shape, generator=generator)}


def epochs(data, count=2, seed=0):
    return [[b for b in batches_of(data, e, torch.Generator().manual_seed(seed + e))] for e in range(count)]


def test_what_makes_a_batch():
    indices = torch.arange(2)
    found = batch_of(({"y": TARGET}, TARGET, indices))
    assert found.inputs == {"y": TARGET} and found.target is TARGET and found.indices is indices
    assert batch_of([{"y": TARGET}, TARGET]).indices is None
    whole = Batch({}, TARGET)
    assert batch_of(whole) is whole
    assert batch_of((TARGET, TARGET), "input").inputs["input"] is TARGET


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"y": TARGET}, "not dict"),
        (TARGET, "not Tensor"),
        (({"y": TARGET},), "not 1 things"),
        (({"y": TARGET}, 1, 2, 3), "not 4 things"),
        (([TARGET], TARGET), "inputs here are a list"),
        ((TARGET, TARGET), "inputs here are Tensor"),
        ((np.ones(2), TARGET), "inputs here are ndarray"),
    ],
)
def test_what_is_no_batch_is_refused(item, said):
    with pytest.raises(oa.ParameterError, match=said):
        batch_of(item)
    with pytest.raises(oa.ParameterError, match="a batch is"):
        list(batches_of([item], 0, None))


def test_data_are_gone_through_in_every_epoch():
    item = ({"y": TARGET}, TARGET)
    assert [len(e) for e in epochs([item] * 3)] == [3, 3]
    assert [len(e) for e in epochs(lambda epoch, generator: [item] * (epoch + 1))] == [1, 2]
    assert [len(e) for e in epochs(lambda epoch, generator: iter([item]))] == [1, 1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (iter([({}, TARGET)]), "used up"),
        (None, "NoneType is not iterable"),
        (lambda epoch, generator: None, "what the data return, NoneType, is not iterable"),
        ([], "no batch in the data of epoch 1"),
    ],
)
def test_what_are_no_data_is_refused(data, said):
    with pytest.raises(oa.ParameterError, match=said):
        list(batches_of(data, 0, None))


def test_every_sample_is_measured_once_in_an_epoch():
    data = oa.learning.Measured(torch.arange(10.0)[:, None], noise, batch=5)
    for batches in epochs(data):
        assert sorted(int(i) for b in batches for i in b.indices) == list(range(10))
        for b in batches:
            assert torch.equal(b.target[:, 0], b.indices.float()), "targets belong to their indices"
    assert len(data) == 2


def test_order_and_noise_follow_from_the_generator():
    data = oa.learning.Measured(torch.zeros(12, 2), noise, batch=4)
    one, two = epochs(data)
    again, _ = epochs(data)
    for a, b in zip(one, again, strict=True):
        assert torch.equal(a.inputs["y"], b.inputs["y"]) and torch.equal(a.indices, b.indices)
    assert not torch.equal(one[0].inputs["y"], two[0].inputs["y"])
    assert not torch.equal(torch.cat([b.indices for b in one]), torch.cat([b.indices for b in two]))
    straight = oa.learning.Measured(torch.zeros(12, 2), noise, batch=4, shuffle=False)
    assert torch.equal(torch.cat([b.indices for b in epochs(straight)[0]]), torch.arange(12))


@pytest.mark.parametrize(
    ("clean", "batch", "said"),
    [
        (torch.zeros(3, 2), 4, "3 samples do not make a batch of 4"),
        (torch.zeros(3, 2), 0, "do not make"),
        (torch.zeros(3, 2), 2.0, "integer"),
        (torch.zeros(3, 2), True, "integer"),
        (np.zeros((3, 2)), 2, "torch.as_tensor"),
    ],
)
def test_samples_that_make_no_batch_are_refused(clean, batch, said):
    with pytest.raises(oa.ParameterError, match=said):
        oa.learning.Measured(clean, noise, batch=batch)


def test_names_of_networks():
    assert lone_input(torch.nn.Linear(2, 2)) == "input"
    assert lone_input(torch.nn.Identity()) == "input"
    check_names(torch.nn.Linear(2, 2), {"input": TARGET})
    with pytest.raises(oa.ParameterError, match="inputs of the data are 'x', but Linear takes 'input'"):
        check_names(torch.nn.Linear(2, 2), {"x": TARGET})


def test_functions_of_other_arguments_are_refused():
    with pytest.raises(oa.ParameterError, match=r"called as data\(epoch, generator\)"):
        next(batches_of(lambda: [], 0, torch.Generator()))

    def wrong_inside(epoch, generator):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        next(batches_of(wrong_inside, 0, torch.Generator()))


def test_clean_samples_and_measures_that_are_none_are_refused():
    with pytest.raises(oa.ParameterError, match="single number"):
        oa.learning.Measured(torch.tensor(1.0), noise, batch=1)
    with pytest.raises(oa.ParameterError, match="measure is a function"):
        oa.learning.Measured(torch.zeros(4, 2), None, batch=2)
    assert len(list(oa.learning.Measured(torch.zeros(4, 2), noise, batch=np.int64(2))(0, torch.Generator()))) == 2


@pytest.mark.parametrize("loss", ["mse", "half_sse", "l1"])
def test_targets_of_other_libraries_are_refused(loss):
    network = torch.nn.Linear(2, 2)
    with pytest.raises(oa.ParameterError, match="the target is a tensor of Torch, not ndarray"):
        oa.fit(network, [(torch.ones(3, 2), np.ones((3, 2)))], loss)
    with pytest.raises(oa.ShapeError, match="function of your own"):
        oa.fit(network, [(torch.ones(3, 2), torch.ones(1, 2))], loss)
