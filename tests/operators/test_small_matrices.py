"""Products with small matrices along the axes of small images."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.operators.small_matrices import is_small, multiply_along, multiply_corners


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_along_an_axis(library, axis, rng):
    lib = backend(library)
    x = rng.standard_normal((2, 3, 3, 3))
    matrix, out = rng.standard_normal((3, 3)), lib.asarray(np.full(x.shape, np.nan))
    wanted = np.moveaxis(np.tensordot(matrix, x, (1, x.ndim + axis)), 0, axis)
    found = multiply_along(lib, lib.asarray(x), lib.asarray(matrix), axis, out=out)
    assert np.allclose(lib.to_numpy(found), wanted)
    assert np.allclose(lib.to_numpy(out), wanted)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_corners_one_after_the_other(library, order, kind, rng):
    lib = backend(library)
    x = rng.standard_normal((2, 4, 4)) + (1j * rng.standard_normal((2, 4, 4)) if kind == "complex" else 0)
    corners = ((4, 4), (2, 4))[::order]
    matrices = [rng.standard_normal((corner[axis],) * 2) for corner in corners for axis in (-2, -1)]
    wanted = x.copy()
    for i, (rows, columns) in enumerate(corners):
        first, second = matrices[2 * i : 2 * i + 2]
        wanted[:, :rows, :columns] = first @ wanted[:, :rows, :columns] @ second.T
    given, arrays = lib.asarray(x), [lib.asarray(m) for m in matrices]
    for out in (None, lib.asarray(np.full(x.shape, np.nan, x.dtype))):
        found = multiply_corners(lib, given, (4, 4), (-2, -1), corners, *arrays, out=out)
        assert np.allclose(lib.to_numpy(found), wanted)
        assert out is None or found is out
    assert np.array_equal(lib.to_numpy(given), x)


def test_what_is_small():
    assert is_small((64, 64), (-2, -1))
    assert is_small((100, 8), (-1,))
    assert not is_small((128, 8), (-2, -1))
    assert not is_small((1024, 64), (-1,))
