"""The discrepancy principle."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from tests.learning.cases import CASES, SIGMA, STEPS, Case, rounded_tv, row_at, slope_by_differences, tv


@pytest.mark.parametrize("name", CASES)
def test_the_discrepancy_reaches_the_level_of_the_noise(name):
    case, _, _ = CASES[name]()
    found = oa.tune(case.energy, [{}], case.lam, by="discrepancy", noise=SIGMA, steps=25)
    residual = case.predicted(found.values[case.lam]) - case.y.value
    assert np.sqrt(np.mean(residual**2)) == pytest.approx(SIGMA, rel=1e-2)
    best = min(found.path, key=lambda row: row.loss)
    assert best.figures["noise_ratio"] == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize(("name", "regulariser"), [("huber, 2-D, blurred", rounded_tv), ("tv, 1-D", tv)])
def test_gradients_agree_with_differences(name, regulariser):
    case, _, _ = CASES[name]()
    options = {"noise": SIGMA}
    slope = slope_by_differences(case, regulariser, 0.3, "discrepancy", **options)
    assert row_at(case, regulariser, 0.3, "discrepancy", **options)[1] == pytest.approx(slope, rel=1e-5)


def test_several_examples_are_averaged(rng):
    case = Case(STEPS, tv, start=0.2)
    data = [STEPS + SIGMA * rng.standard_normal(STEPS.shape) for _ in range(2)]
    options = {"by": "discrepancy", "noise": SIGMA, "tol": 1e-9, "steps": 1}
    both = oa.tune(case.energy, [{case.y: d} for d in data], case.lam, **options).path[0].figures["noise_ratio"]
    single = [oa.tune(case.energy, [({"y": d}, None)], case.lam, **options).path[0].figures for d in data]
    assert both**2 == pytest.approx(np.mean([f["noise_ratio"] ** 2 for f in single]), rel=1e-6)


def test_what_is_not_one_equation_for_one_number_is_refused():
    case, other = Case(STEPS, tv), oa.Parameter(1.0, name="other", positive=True)
    energy = case.energy + other * oa.sum_squares(case.x)
    with pytest.raises(ParameterError, match="settles one number"):
        oa.tune(energy, [{}], [case.lam, other], by="discrepancy", noise=SIGMA)
    foreign = case.x - oa.Parameter(STEPS, name="z")
    with pytest.raises(ParameterError, match="holds z, which the energy does not"):
        oa.tune(case.energy, [{}], case.lam, by="discrepancy", noise=SIGMA, residual=foreign)
