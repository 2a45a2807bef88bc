"""The kit against functionals with seeded faults: each is caught, named and explained, and right ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.testing import check_functional
from opalg.testing.functionals import PROPERTIES
from tests.testing.functional_faults import FAULTS
from tests.testing.own_functionals import RIGHT

SEEDS = (0, 1)


def test_there_are_many_faults_of_many_kinds():
    assert len(FAULTS) >= 90
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({fault.property for fault in FAULTS}) >= 17


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_faults_are_caught_and_named(fault):
    others = [name for name in PROPERTIES if name != fault.property]
    report = check_functional(fault.build(), skip=others)
    found = [f for f in report.findings if f.name == fault.property]
    assert found, f"{fault.name}: {report}"
    assert any(fault.words in str(f) for f in found), f"{fault.name}: {report}"
    assert all(f.error is None or not f.error <= f.tolerance for f in found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RIGHT)
def test_the_same_functionals_without_faults_pass(name, seed):
    report = check_functional(RIGHT[name], rng=np.random.default_rng(seed))
    assert report, str(report)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 30))
def test_no_fault_is_missed_and_no_alarm_is_false_whatever_the_arrays(seed):
    for name, functional in RIGHT.items():
        report = check_functional(functional, rng=np.random.default_rng(seed))
        assert report, f"{name}: {report}"
    for fault in FAULTS:
        others = [name for name in PROPERTIES if name != fault.property]
        report = check_functional(fault.build(), rng=np.random.default_rng(seed), skip=others)
        assert report.failed(fault.property), f"{fault.name}: {report}"
