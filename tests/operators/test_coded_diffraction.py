"""Coded diffraction against NumPy's transform, its norm, and its blocks."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ShapeError
from opalg.functionals.magnitude_mismatch import magnitude_mismatch
from opalg.operators import CodedDiffraction


def masks(rng, count=4, shape=(6, 5)):
    return np.exp(2j * np.pi * rng.integers(0, 4, (count, *shape)) / 4)


def test_it_is_the_transform_behind_each_mask(rng):
    m = masks(rng)
    x = rng.normal(size=(2, 6, 5)) + 1j * rng.normal(size=(2, 6, 5))
    A = CodedDiffraction(m)
    np.testing.assert_allclose(A @ x, np.fft.fft2(m * x[:, None], norm="ortho"), rtol=1e-12, atol=1e-12)
    shifted = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(m * x[0], axes=(1, 2)), norm="ortho"), axes=(1, 2))
    np.testing.assert_allclose(CodedDiffraction(m, centered=True) @ x[0], shifted, rtol=1e-12, atol=1e-12)


def test_masks_of_size_one_make_an_isometry(rng):
    A = CodedDiffraction(masks(rng))
    assert float(A.norm_bound()) == pytest.approx(2.0, rel=1e-12)
    assert A.norm_bound().certainty == "exact"
    x = rng.normal(size=(6, 5)) + 0j
    np.testing.assert_allclose(A.H @ (A @ x), 4.0 * x, atol=1e-12)


def test_phases_are_found_again_with_all_masks_and_with_some(rng):
    A = CodedDiffraction(masks(rng, 6, (8, 8)))
    truth = rng.random((8, 8)) + 0j
    x = oa.Variable((8, 8), name="x", dtype=complex)
    data = magnitude_mismatch(A @ x, np.abs(A @ truth)) / 6
    plan = oa.fixed_point(x, x - 0.8 * oa.grad(data), acceleration="none")
    start = truth + 0.3 * rng.normal(size=(8, 8))
    sampled = oa.online(plan, 2)
    assert sampled.count == 6
    for found in (plan.solve(start, max_iter=400, tol=1e-9).x, sampled.solve(start, max_iter=300).x):
        turn = np.vdot(found, truth)
        np.testing.assert_allclose(found * turn / abs(turn), truth, atol=1e-6)


def test_what_has_no_mask_axis_is_refused():
    with pytest.raises(ShapeError, match="mask\\[None\\]"):
        CodedDiffraction(np.ones(4))
