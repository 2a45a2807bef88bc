"""Blocks of rows of operators, against the rows of the whole."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.operators import CodedDiffraction
from opalg.operators.row_blocks import row_blocks, rows_of


def members(rng):
    angles = np.linspace(0, 3, 5)
    maps = rng.normal(size=(3, 4, 4)) + 1j * rng.normal(size=(3, 4, 4))
    ring = oa.annular_illumination(4, aperture=0.3)
    optics = {"wavelength": 0.5, "aperture": 0.4, "pixel": 0.5, "index": 1.33}
    yield oa.Radon((8, 8), angles), 5
    yield 2.0 * oa.Radon((8, 8), angles), 5
    yield oa.Radon((8, 8), angles) @ oa.Diagonal(rng.random((8, 8))), 5
    yield oa.vstack([oa.FiniteDifference((4, 5), 0), oa.Identity((4, 5))]), 2
    yield oa.CoilSensitivities(oa.Parameter(maps.real, name="maps")), 3
    yield oa.ParallelMRI(maps, rng.random((4, 4)) > 0.5), 3
    yield oa.IntensityDiffraction((8, 8), np.array([-2.0, 0.0, 2.0]), ring, **optics), 4
    yield oa.IntensityDiffraction((8, 8), np.array([-2.0, 0.0, 2.0]), oa.Parameter(ring, name="ring"), **optics), 4
    yield CodedDiffraction(maps), 3
    yield CodedDiffraction(oa.Parameter(maps, name="masks")), 3


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_blocks_are_the_rows(rng, number, batch):
    operator, count = list(members(rng))[number]
    x = rng.normal(size=(*batch, *operator.in_shape))
    if operator.in_kind == "complex":
        x = x + 1j * rng.normal(size=x.shape)
    whole, blocks = operator @ x, row_blocks(operator)
    assert len(blocks) == count
    assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
    for block in blocks:
        axis = len(batch)
        rows = np.take(whole, range(block.start, block.stop), axis=axis)
        np.testing.assert_allclose(block.operator @ x, rows, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("chosen", [(1, 0), (0, 1), (1,)])
def test_some_blocks_as_one_operator(rng, number, chosen):
    operator, _ = list(members(rng))[number]
    x = rng.normal(size=(2, *operator.in_shape)) + (1j * 0.3 if operator.in_kind == "complex" else 0)
    blocks = row_blocks(operator)
    rows = [row for i in chosen for row in range(blocks[i].start, blocks[i].stop)]
    np.testing.assert_allclose(
        rows_of(operator, chosen) @ x, np.take(operator @ x, rows, axis=1), rtol=1e-12, atol=1e-12
    )


def test_an_operator_without_blocks_has_none(rng):
    assert row_blocks(oa.Matrix(rng.normal(size=(3, 3)))) is None
    assert row_blocks(oa.CoilSensitivities(rng.normal(size=(2, 3)), normalise=True)) is None
