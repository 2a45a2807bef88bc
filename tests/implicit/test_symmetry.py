"""The symmetry probe against Frobenius norms of dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.implicit.symmetry import is_symmetric, symmetry_defect


@pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_symmetric_matrix_passes(name: str, precision: str, rng: np.random.Generator) -> None:
    pytest.importorskip(name)
    lib = backend(name, precision)
    B = rng.standard_normal((40, 40))
    M = lib.asarray(B + B.T, "real")
    defect = symmetry_defect(lambda u: lib.matmul(M, u), 40, lib)
    assert defect < 100 * lib.epsilon and is_symmetric(defect, lib)


@pytest.mark.parametrize("size", [10, 300])
@pytest.mark.parametrize("skew", [1e-6, 1e-2, 1.0])
def test_the_defect_estimates_the_skew_part_whatever_the_size(size: int, skew: float, rng: np.random.Generator) -> None:
    B, S = rng.standard_normal((2, size, size))
    M = B + B.T + skew * (S - S.T)
    lib = backend("numpy")
    found = symmetry_defect(lambda u: M @ u, size, lib, np.random.default_rng(1), probes=12)
    exact = np.linalg.norm(M - M.T) / np.linalg.norm(M)
    assert 0.5 * exact < found < 2.0 * exact
    assert not is_symmetric(found, lib)


def test_products_are_counted_and_scales_do_not_matter(rng: np.random.Generator) -> None:
    M, calls, lib = rng.standard_normal((8, 8)), [], backend("numpy")

    def apply(u: np.ndarray) -> np.ndarray:
        calls.append(1)
        return 1e-200 * (M @ u)

    small = symmetry_defect(apply, 8, lib)
    assert len(calls) == 3
    assert small == pytest.approx(symmetry_defect(lambda u: M @ u, 8, lib), rel=1e-10)
    assert symmetry_defect(lambda u: 0 * u, 8, lib) == 0.0


def test_what_cannot_be_probed_is_refused() -> None:
    lib = backend("numpy")
    with pytest.raises(oa.NonFiniteError, match="random vector"):
        symmetry_defect(lambda u: u * np.nan, 3, lib)
    with pytest.raises(oa.ParameterError, match="at least 2"):
        symmetry_defect(lambda u: u, 3, lib, probes=1)
