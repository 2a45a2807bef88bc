"""Operators whose results, or arguments, are joined along the first axis."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import ShapeError
from opalg.operators import (
    FFT,
    RFFT,
    AsComplex,
    Diagonal,
    FiniteDifference,
    FunctionOperator,
    Identity,
    InverseRFFT,
    Matrix,
    hstack,
    vstack,
)
from opalg.program.interpreter import number
from tests.operators.dense import real_matrix


@pytest.fixture
def a(rng):
    return Matrix(rng.standard_normal((3, 4)))


@pytest.fixture
def b(rng):
    return Matrix(rng.standard_normal((2, 4)))


def test_results_are_joined_and_arguments_cut(a, b, rng):
    dense = np.vstack([a.to_dense(), b.to_dense()])
    assert np.allclose(vstack([a, b]).to_dense(), dense)
    assert np.allclose(hstack([a.H, b.H]).to_dense(), dense.T)
    assert vstack([a]) is a and hstack([a]) is a


def test_images_are_joined_along_their_first_axis(rng):
    d, x = Diagonal(rng.standard_normal((2, 3))), rng.standard_normal((4, 2, 3))
    assert np.allclose(vstack([d, Identity((2, 3))]) @ x, np.concatenate([d @ x, x], axis=-2))
    y = rng.standard_normal((4, 4, 3))
    assert np.allclose(hstack([d, Identity((2, 3))]) @ y, d @ y[:, :2] + y[:, 2:])


def test_norms_are_exact_where_they_can_be(a, rng):
    eye, d, e = Identity((4,)), Diagonal(rng.standard_normal(4)), Diagonal(rng.standard_normal(4) * 1j)
    for made in (vstack([d, e, 2.0 * eye]), vstack([eye, 3.0 * eye]), hstack([d, e.H])):
        assert made.norm_bound().certainty == "exact"
        norm = np.linalg.norm(real_matrix(made, "complex"), 2)
        assert float(made.norm_bound()) == pytest.approx(norm)
    isometry = vstack([FFT((4,)), 2.0 * FFT((4,))])
    assert number(isometry.facts.gram_scale) == pytest.approx(5.0)
    assert float(isometry.norm_bound()) == pytest.approx(5**0.5)


def test_one_part_that_is_no_isometry_leaves_the_norm_exact(a, rng):
    difference = FiniteDifference((4,), 0, boundary="periodic")
    one = vstack([difference, 2.0 * Identity((4,))])
    assert one.norm_bound().certainty == "exact"
    assert float(one.norm_bound()) == pytest.approx(np.linalg.norm(one.to_dense(), 2))
    assert vstack([difference, difference @ difference]).norm_bound().certainty == "upper"
    asserted = FunctionOperator(lambda x: x, lambda x: x, in_shape=(4,), norm=1.0)
    assert vstack([asserted, difference]).norm_bound().certainty == "asserted"
    silent = FunctionOperator(lambda x: x, lambda x: x, in_shape=(4,))
    assert vstack([silent, difference]).facts.norm is None


def test_parts_of_different_kinds(rng):
    real, every = RFFT((4,)), Diagonal(rng.standard_normal(4))
    mixed = vstack([real, every, AsComplex((4,))])
    assert mixed.in_kind == "real" and mixed.out_kind("real") == "complex"
    assert np.allclose(real_matrix(mixed.H, "complex"), real_matrix(mixed, "real").T)
    half = vstack([InverseRFFT((4,)), Matrix(np.ones((2, 3)))])
    assert np.allclose(real_matrix(half.H, "complex"), real_matrix(half, "complex").T)


def test_misuse_is_explained(a, b):
    with pytest.raises(ShapeError, match="at least one"):
        vstack([])
    with pytest.raises(ShapeError, match="at least one"):
        hstack([])
    with pytest.raises(ShapeError, match="first axis"):
        vstack([a, Identity((3,))])
    with pytest.raises(ShapeError, match="adds results"):
        hstack([a, b])
