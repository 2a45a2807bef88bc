"""Noise has exactly the size that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import opalg as oa


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_the_signal_to_noise_ratio_is_exact(rng, dtype):
    y = (rng.normal(size=(5, 7)) + (1j * rng.normal(size=(5, 7)) if np.dtype(dtype).kind == "c" else 0)).astype(dtype)
    noisy = oa.noise.at_snr(y, 50.0, rng=3)
    assert noisy.dtype == dtype
    exact = 20 * np.log10(np.linalg.norm(y) / np.linalg.norm((noisy - y).astype(np.complex128)))
    np.testing.assert_allclose(exact, 50.0, atol=5e-2 if np.finfo(dtype).eps > 1e-10 else 1e-10)


def test_complex_noise_is_circular():
    e = oa.noise.gaussian((200_000,), 0.5, like=np.zeros(1, complex), rng=0)
    np.testing.assert_allclose([np.var(e.real), np.var(e.imag)], 0.125, rtol=0.02)
    np.testing.assert_allclose(np.mean(e**2), 0.0, atol=2e-3)


def test_torch_draws_from_its_generator():
    y = torch.ones(4, 5)
    first, second = (oa.noise.at_snr(y, 20.0, rng=torch.Generator().manual_seed(1)) for _ in range(2))
    assert first.dtype == torch.float32
    assert torch.equal(first, second)
    assert not torch.equal(first, oa.noise.at_snr(y, 20.0, rng=torch.Generator().manual_seed(2)))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(oa.ParameterError, match="zero"):
        oa.noise.at_snr(np.zeros(3), 10.0)
    with pytest.raises(oa.ParameterError, match="negative"):
        oa.noise.gaussian((2,), -1.0)


def test_sizes_and_generators_that_are_none_are_refused():
    y = np.ones(4)
    for snr in ("30", float("inf"), None, True, -1e5):
        with pytest.raises(oa.ParameterError, match="decibels"):
            oa.noise.at_snr(y, snr)
    for std in ("1", float("inf"), float("nan"), -1.0):
        with pytest.raises(oa.ParameterError, match="standard deviation"):
            oa.noise.gaussian((3,), std)
    with pytest.raises(oa.ParameterError, match="rng is a generator"):
        oa.noise.at_snr(y, 30.0, rng="x")
    with pytest.raises(oa.ParameterError, match=r"oa.noise.gaussian"):
        oa.noise.at_snr(0 * y, 30.0)
    assert oa.noise.gaussian(np.int64(3), rng=0).shape == (3,)


@pytest.mark.parametrize("shape", [None, -3, (-3,), (2, None), 2.5, (2.0,), "ab", "", True, (True,)])
def test_shapes_that_are_none_are_refused(shape):
    with pytest.raises(oa.ParameterError, match="shape of noise"):
        oa.noise.gaussian(shape)


def test_shapes_may_be_given_in_many_ways():
    for shape in ((2, 3), [2, 3], np.array([2, 3]), torch.Size((2, 3))):
        assert oa.noise.gaussian(shape).shape == (2, 3)
    assert oa.noise.gaussian(()).shape == ()
