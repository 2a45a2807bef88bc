"""The estimate of a contraction factor against spectral radii."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.iterations.contraction import contraction_factor


@pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("radius", [0.3, 0.9, 1.05, 3.0])
def test_a_linear_map_gives_its_spectral_radius(name: str, radius: float, rng: np.random.Generator) -> None:
    pytest.importorskip(name)
    lib = backend(name)
    Q = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    B, b = (Q * np.r_[radius, np.linspace(-0.2, 0.2, 9)]) @ Q.T, rng.standard_normal(10)
    matrix, offset = lib.asarray(B), lib.asarray(b)
    found = contraction_factor(lambda z: lib.matmul(matrix, z) + offset, lib.asarray(rng.standard_normal(10)), lib)
    assert found == pytest.approx(radius, rel=0.05)


def test_a_rotation_has_the_factor_one_and_a_fixed_point_none() -> None:
    lib = backend("numpy")
    assert contraction_factor(lambda z: -z, np.ones(3), lib) == pytest.approx(1.0)
    assert contraction_factor(lambda z: z + 1.0, np.ones(3), lib) == pytest.approx(1.0)
    assert contraction_factor(lambda z: z, np.ones(3), lib) is None


def test_what_is_not_finite_ends_the_probe_early() -> None:
    lib, calls = backend("numpy"), []

    def square(z: np.ndarray) -> np.ndarray:
        calls.append(1)
        return z * z + 1.0

    found = contraction_factor(square, np.full(2, 2.0), lib)
    assert found is not None and found > 10.0
    assert len(calls) < 8
    assert contraction_factor(lambda z: z * np.nan, np.ones(2), lib) is None
