"""The bars that hold for every work, as the command of the examples measures them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.acceptance import common
from examples.acceptance.bar import Bar
from examples.acceptance.declarations import lines_of
from examples.acceptance.memory import peak_bytes

PARTS = [
    common.adjoints, common.energies, common.maps, common.implicit_gradients, common.libraries, common.memory,
    common.acceleration,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_bars_hold(part):
    found = list(part())
    assert found and [f"{b.name} {b.what}: {b.measured}" for b in found if not b.holds] == []


@pytest.mark.slow
def test_declarations_are_short():
    assert all(0 < count <= 15 for _, count in common.declared_lines())


def test_a_bar_without_a_number_does_not_hold():
    assert Bar("G", "", 1.0, least=1.0, most=1.0).holds
    assert not Bar("G", "", float("nan"), most=1.0).holds
    assert not Bar("G", "", 2.0, most=1.0).holds and not Bar("G", "", 0.0, least=1.0).holds


def test_adjoints_that_are_wrong_are_found():
    right = common.oa.Matrix(np.arange(6.0).reshape(2, 3))
    wrong = common.oa.FunctionOperator(lambda x: 2 * x, adjoint=lambda y: 3 * y, in_shape=(4,), out_shape=(4,))
    assert common._adjoint_error(right, "float64") < 1e-15
    assert common._adjoint_error(wrong, "float64") > 1e-3


def test_peaks_of_memory_are_counted():
    def hold():
        one = torch.ones(1000)
        two = torch.ones(3000)
        del one
        return torch.ones(500).sum() + two.sum()

    assert 16_000 <= peak_bytes(hold) < 17_000
    assert peak_bytes(lambda: [torch.ones(1000) for _ in range(10)] and None) >= 40_000


def test_lines_are_counted_without_descriptions():
    def declared():
        """Not counted."""
        first = [
            1,
        ]

        return first

    assert lines_of(declared) == 4
