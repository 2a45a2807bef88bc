"""Profiles name where the time goes, and count the memory of the data term."""

from __future__ import annotations

import time

import numpy as np
import pytest

import opalg as oa
from opalg.learning.profiles import profile

SLEEP = 0.004


def slow(v):
    time.sleep(SLEEP)
    return 0.1 * v


def plan_of(views=12, library="numpy"):
    x = oa.Variable((16, 16), name="x")
    A = oa.Radon((16, 16), np.linspace(0, np.pi, views, endpoint=False))
    data = 0.5 / views * oa.sum_squares(A @ x - np.zeros(A.out_shape))
    image = x - 0.01 * (oa.grad(data) + oa.apply(slow, x, vjp=lambda v, u: slow(u)))
    return oa.fixed_point(x, oa.prox(oa.nonneg, image), backend=library)


def test_the_network_is_found():
    found = profile(plan_of(), repeats=3)
    assert 0.9 * SLEEP < found.network < 4 * SLEEP
    assert 0.9 * SLEEP < found.network_back < 4 * SLEEP
    assert 0 < found.data < found.forward
    assert found.data_share < 0.9
    assert "network" in repr(found) and "bytes" in repr(found)


def test_some_views_take_less_memory():
    plan = plan_of(48)
    full, online = profile(plan), oa.online(plan, sampler=oa.samplers.Stratified(4)).profile()
    assert online.data_bytes < 0.6 * full.data_bytes
    assert online.data_back_bytes < 0.6 * full.data_back_bytes


def test_memory_on_torch():
    pytest.importorskip("torch")
    x = oa.Variable((16, 16), name="x")
    A = oa.Radon((16, 16), np.linspace(0, np.pi, 8, endpoint=False))
    plan = oa.fixed_point(x, x - 0.01 * oa.grad(oa.sum_squares(A @ x - np.zeros(A.out_shape))), backend="torch")
    found = profile(plan)
    sinogram = 8 * np.prod(A.out_shape)
    assert sinogram <= found.data_bytes <= 20 * sinogram
    assert found.network == found.network_back == 0.0


def test_refusals():
    with pytest.raises(oa.ParameterError, match="at least once"):
        profile(plan_of(), repeats=0)
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.ParameterError, match="not one"):
        profile(oa.fixed_point(x, 0.5 * x))


def test_plans_of_energies_are_refused():
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.ParameterError, match="that of a map"):
        oa.learning.profile(oa.compile(0.5 * oa.sum_squares(x - np.ones(3))))
