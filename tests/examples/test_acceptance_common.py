"""The bars that hold for every work, as the command of the examples measures them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.acceptance import common, declarations
from examples.acceptance.bar import Bar
from examples.acceptance.declarations import lines_of, parts_of
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
    assert all(0 < count <= 15 for _, count, _ in common.declared_lines())


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


def test_blocks_are_taken_several_at_a_time():
    rng = np.random.default_rng(0)
    assert list(common.subsets(0, rng)) == list(common.subsets(1, rng)) == []
    found = list(common.subsets(5, rng))
    assert found[0] == [4, 3, 2, 1, 0] and len(found) == 5
    assert all(2 <= len(s) == len(set(s)) and set(s) <= set(range(5)) for s in found)


def test_what_a_declaration_calls_is_counted_and_a_missing_one_does_not_hold(monkeypatch):
    def one() -> int:
        return two() + measurement()

    def two() -> int:
        if one:
            return one()
        return 2

    def measurement() -> int:
        return 1

    for part in (one, two, measurement):
        part.__module__ = "examples.nowhere"
        monkeypatch.setitem(globals(), part.__name__, part)
    assert parts_of(one) == [one, two]
    monkeypatch.setitem(declarations.DECLARED, "nothing", ("examples.deep_regularisation.model", "declare_nothing"))
    assert [b.what for b in common.declarations() if not b.holds] == ["lines that declare nothing"]


def test_lines_are_counted_without_descriptions():
    def declared():
        """Not counted."""
        first = [
            1,
        ]

        return first

    assert lines_of(declared) == 4
