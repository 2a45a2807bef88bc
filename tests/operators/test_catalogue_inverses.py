"""Inverses and pseudo-inverses that the catalogue promises to be cheap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.operators.catalogue_contract import close, kinds, matrix, sample


@pytest.mark.parametrize(
    "operator",
    [
        oa.Identity((3,)), oa.Diagonal(np.array([2.0, -1j])), oa.Flip((4,)), oa.Roll((5,), 2), oa.Transpose((2, 3)),
        oa.Reshape((4,), (2, 2)), oa.Permutation([1, 2, 0]), oa.Conj((3,)), oa.CumulativeSum((5,)), oa.FFT((4, 3)),
        oa.FFT((5,), norm="backward"), oa.RFFT((4, 3)), oa.RFFT((5,), norm="forward"), oa.DCT((4, 3)), oa.DST((5,)),
        oa.Wavelet((8,), "db2"), oa.Wavelet((8,), "bior2.2"), oa.UndecimatedWavelet((5, 4)), oa.Hadamard(8),
        oa.UndecimatedWavelet((8,), "bior2.2", 2), oa.Laplacian((4, 3), "dirichlet"), oa.Patches((5, 4), 2),
        2.0 * oa.Identity((4,)) + oa.LowRank(np.array([[1.0], [2.0], [0.5], [-1.0]])),
        (oa.Identity((4, 3)) + oa.Gradient((4, 3)).gram).simplify(),
        (oa.Identity((4, 3)) - oa.Laplacian((4, 3), "dirichlet")).simplify(),
        oa.Convolve(np.array([[0.1, 1.0, 0.3]]), (3, 4)), oa.block_diag([oa.Flip((2,)), oa.Hadamard(2)]),
        oa.kron(oa.DCT((3,)), oa.Roll((2,), 1)),
        (oa.Identity((5,)) + oa.Convolve(np.array([0.25, 0.5, 0.25]), (5,), "symmetric")).simplify(),
    ],
    ids=str,
)  # fmt: skip
def test_cheap_inverses_are_offered(operator: Any) -> None:
    """What is unitary, diagonal somewhere, or promised in the catalogue has a left inverse."""
    kind = kinds(operator)[-1]
    x = sample(operator.in_shape, kind)
    close(operator.inverse() @ (operator @ x), x, 1e-10)


@pytest.mark.parametrize(
    "operator",
    [
        oa.Mask(np.array([True, False])), oa.Restrict([2, 0], 3), oa.Pad((3,), 2),
        oa.Crop((4,), 1), oa.Slice((4,), slice(None, None, -2)), oa.Sum((2, 3), 0), oa.Mean((2, 3), 1),
        oa.Diagonal(np.array([0.0, 2.0])), oa.Downsample((4,), 2), oa.Upsample((4,), 2), oa.Patches((5,), 2, 2),
        oa.Laplacian((4,), "periodic"), oa.Laplacian((4, 3)), oa.Zero((2,), (3,)), oa.Real((2,)),
        oa.Convolve(np.array([1.0, -1.0]), (4,)), oa.StructuredRandom((6,), 3), oa.FFT((3,)),
    ],
    ids=str,
)  # fmt: skip
def test_cheap_pseudo_inverses_are_offered(operator: Any) -> None:
    """What has a diagonal gram or cogram somewhere has the pseudo-inverse of Moore and Penrose."""
    kind = kinds(operator)[-1]
    out = "complex" if np.iscomplexobj(operator @ sample(operator.in_shape, kind)) else "real"
    close(matrix(operator.pinv(), out), np.linalg.pinv(matrix(operator, kind)), 1e-9)
