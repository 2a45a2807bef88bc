"""The kit against seeded faults: each is caught, named and explained, at a tiny and at a real size."""

from __future__ import annotations

import pytest

from opalg.testing import check_operator
from tests.testing.faults import FAULTS, RIGHT

SIZES = [(6, 5), (257, 256)]


def test_there_are_many_faults_of_many_kinds():
    assert len(FAULTS) >= 50
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({fault.property for fault in FAULTS}) == 14


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_faults_are_caught_and_named(fault, size):
    report = check_operator(fault.build(size))
    found = [f for f in report.findings if f.name == fault.property]
    assert found, str(report)
    assert any(fault.hint in f.hint for f in found), str(report)
    assert all(f.error is None or not f.error <= f.tolerance for f in found)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("right", RIGHT, ids=lambda f: f.name)
def test_the_same_operators_without_faults_pass(right, size):
    report = check_operator(right.build(size))
    assert report, str(report)
