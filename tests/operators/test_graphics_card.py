"""Every operator of the catalogue on a graphics card gives what it gives on the processor."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import UnsupportedError
from opalg.testing import check_operator
from tests.operators.dense import argument_kinds, real_matrix
from tests.operators.test_contract import CASES

pytestmark = pytest.mark.gpu
every_operator = pytest.mark.parametrize("operator", CASES, ids=[f"{i}-{o!r}"[:70] for i, o in enumerate(CASES)])
LIBRARIES = ["torch", "cupy"]


@every_operator
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_graphics_card_gives_the_same_numbers(operator, library, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for kind in argument_kinds(operator):
        for made, of in ((operator, kind), (operator.H, operator.out_kind(kind))):
            wanted = real_matrix(made, of, dtype=dtype)
            try:
                found = real_matrix(made, of, library, dtype, "cuda")
            except UnsupportedError:  # operators on NumPy arrays alone say so
                continue
            assert np.max(np.abs(found - wanted), initial=0.0) <= tolerance * max(
                1.0, np.max(np.abs(wanted), initial=0.0)
            )


@every_operator
def test_results_stay_on_the_card(operator):
    lib = backend("torch", "float32", "cuda")
    kind = argument_kinds(operator)[0]
    x = lib.zeros((2, *operator.in_shape), kind)
    try:
        found = operator @ x
    except UnsupportedError:
        return
    assert found.device == x.device
    assert lib.owns(found)


@pytest.mark.parametrize("operator", CASES[::7], ids=[f"{o!r}"[:70] for o in CASES[::7]])
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_kit_passes_on_a_graphics_card(operator, library):
    try:
        report = check_operator(operator, library=library, device="cuda")
    except UnsupportedError:
        return
    refused = all("UnsupportedError" in finding.message for finding in report.findings)
    assert report or (report.findings and refused), str(report)
