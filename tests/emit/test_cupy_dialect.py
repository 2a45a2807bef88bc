"""The text of the CuPy dialect, run on a stand-in for CuPy that has NumPy's functions (CuPy itself needs a GPU)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from opalg.arrays.numpy_backend import NumpyBackend
from opalg.emit import Function


class StandIn(NumpyBackend):
    """NumPy under CuPy's name."""

    name = "cupy"

    def find_device(self, device: Any) -> Any:
        return "stand-in"


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.delitem(sys.modules, "opalg.emit.cupy_dialect", raising=False)
    importlib.import_module("opalg.emit.cupy_dialect")
    yield StandIn("float64")
    monkeypatch.delitem(sys.modules, "opalg.emit.cupy_dialect", raising=False)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed: int, lib: StandIn, random_program: Any) -> None:
    program = random_program(seed, steps=45)
    bound = Function(program.outputs, program.inputs, lib).bind({}, {program.control: 0.7})
    assert "for i in range" not in bound.source and "cupy." in bound.source
    arrays = program.arrays(1)
    got = bound(*(lib.asarray(a) for a in arrays))
    for value, wanted in zip(got, program.expected(arrays, 0.7), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-9)
