"""Fixtures that every test may use."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import Backend, backend


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator, the same for every test."""
    return np.random.default_rng(0)


@pytest.fixture(params=["numpy", "torch", "array_api_strict"])
def lib(request: pytest.FixtureRequest) -> Backend:
    """Each array library in float64 on the CPU."""
    if request.param != "numpy":
        pytest.importorskip(request.param)
    return backend(request.param, "float64")
