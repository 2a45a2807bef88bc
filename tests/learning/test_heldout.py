"""Held-out data."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError
from tests.learning.cases import (
    CASES,
    IMAGE,
    STEPS,
    TIGHT,
    Case,
    blur,
    rounded_tv,
    row_at,
    slope_by_differences,
    smooth,
    tv,
)


# Entries held out are predicted from their neighbours: never by l1 in the basis of the data, and badly across edges.
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("l1, 1-D", "huber, 2-D")])
def test_held_out_data_find_a_weight_whose_risk_is_within_a_tenth_of_the_best(name):
    case, lowest, highest = CASES[name]()
    options = {"holdout": 0.1, "folds": 10, "seed": 1, "schedule": TIGHT, "steps": 20}
    found = oa.tune(case.energy, [{}], case.lam, by="heldout", **options)
    assert case.risk(found.values[case.lam]) <= 1.1 * case.best(lowest, highest)


@pytest.mark.parametrize(("name", "regulariser"), [("huber, 2-D, blurred", rounded_tv)])
def test_gradients_agree_with_differences(name, regulariser):
    case, _, _ = CASES[name]()
    options = {"folds": 2}
    slope = slope_by_differences(case, regulariser, 0.3, "heldout", **options)
    assert row_at(case, regulariser, 0.3, "heldout", **options)[1] == pytest.approx(slope, rel=1e-5)


def test_entries_without_weight_are_never_held_out(rng):
    weights = np.ones(64)
    weights[::2] = 0.0
    noisy = np.where(weights > 0, np.linspace(0, 1, 64), 1e3)
    x, lam = oa.Variable(64, name="x"), oa.Parameter(1.0, name="lambda", positive=True)
    energy = oa.sum_squares(x - noisy, weights=weights) + lam * smooth(x)
    found = oa.tune(energy, [{}], lam, by="heldout", holdout=0.25, folds=4, tol=1e-8, steps=5)
    assert found.loss < 1.0
    assert found.plan.solve(params=found.values, tol=1e-8).status.success


def test_torch_gives_the_same_numbers():
    pytest.importorskip("torch")
    case = Case(IMAGE, rounded_tv, blur(IMAGE.shape), 0.3)
    rows = [
        oa.tune(case.energy, [{}], case.lam, by="heldout", backend=b, tol=1e-10, steps=1).path[0]
        for b in ("numpy", "torch")
    ]
    assert rows[0].loss == pytest.approx(rows[1].loss, rel=1e-6)
    assert rows[0].gradients[case.lam] == pytest.approx(rows[1].gradients[case.lam], rel=1e-4)


def test_wrong_arguments_are_refused():
    case = Case(STEPS, tv)
    with pytest.raises(ParameterError, match="cannot be tuned"):
        oa.tune(case.energy, [{}], case.y, by="heldout")
    with pytest.raises(ParameterError, match=r"holds no oa\.sum_squares"):
        oa.tune(case.lam * oa.norm1(case.x), [{}], case.lam, by="heldout")
    for options in ({"holdout": 0.0}, {"holdout": 0.3, "folds": 4}, {"folds": 0}):
        with pytest.raises(ParameterError, match=r"holdout|folds"):
            oa.tune(case.energy, [{}], case.lam, by="heldout", **options)
    with pytest.raises(UnsupportedError, match="too few to hold out"):
        oa.tune(case.energy, [{}], case.lam, by="heldout", holdout=1e-4)
    with pytest.raises(ParameterError, match="has no sum_squares"):
        oa.tune(case.energy, [{}], case.lam, by="heldout", residual=2.0 * case.x - case.y)
