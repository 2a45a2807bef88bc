"""Stein's unbiased risk estimate."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError
from tests.learning.cases import (
    CASES,
    IMAGE,
    SIGMA,
    STEPS,
    TIGHT,
    Case,
    blur,
    rounded_tv,
    row_at,
    slope_by_differences,
    tv,
)


@pytest.mark.parametrize("name", CASES)
def test_sure_finds_a_weight_whose_risk_is_within_a_tenth_of_the_best(name):
    case, lowest, highest = CASES[name]()
    found = oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, probes=4, schedule=TIGHT, steps=20)
    assert case.risk(found.values[case.lam]) <= 1.1 * case.best(lowest, highest)


@pytest.mark.parametrize(("name", "regulariser"), [("huber, 2-D, blurred", rounded_tv), ("tv, 1-D", tv)])
def test_gradients_agree_with_differences(name, regulariser):
    case, _, _ = CASES[name]()
    options = {"noise": SIGMA, "probes": 2}
    slope = slope_by_differences(case, regulariser, 0.3, "sure", **options)
    assert row_at(case, regulariser, 0.3, "sure", **options)[1] == pytest.approx(slope, rel=1e-5)


def test_sure_of_a_linear_estimate_is_its_closed_form(rng):
    y = oa.Parameter(rng.standard_normal(500), name="y")
    x, w = oa.Variable(500, name="x"), oa.Parameter(0.7, name="w", positive=True)
    energy = 0.5 * oa.sum_squares(x - y) + 0.5 * w * oa.sum_squares(x)
    row = oa.tune(energy, [{}], w, by="sure", noise=0.5, tol=1e-12, steps=1).path[0]
    shrunk = 1 / 1.7
    expected = (1 - shrunk) ** 2 * np.mean(y.value**2) - 0.25 + 2 * 0.25 * shrunk
    slope = (2 * (1 - shrunk) * np.mean(y.value**2) - 2 * 0.25) * shrunk**2
    assert row.loss == pytest.approx(expected, rel=1e-9)
    assert row.gradients[w] == pytest.approx(slope, rel=1e-8)


def test_sure_counts_complex_noise_and_noise_of_every_entry(rng):
    n = 400
    y = oa.Parameter(rng.standard_normal(n) + 1j * rng.standard_normal(n), name="y")
    x, w = oa.Variable(n, name="x", dtype=complex), oa.Parameter(0.7, name="w", positive=True)
    energy = 0.5 * oa.sum_squares(y - x) + 0.5 * w * oa.sum_squares(x)
    sigma = np.linspace(0.2, 0.6, n)
    row = oa.tune(energy, [{}], w, by="sure", noise=sigma, tol=1e-12, steps=1).path[0]
    shrunk = 1 / 1.7
    expected = (1 - shrunk) ** 2 * np.mean(np.abs(y.value) ** 2) + (2 * shrunk - 1) * np.mean(sigma**2)
    assert row.loss == pytest.approx(expected, rel=1e-9)


def test_data_that_are_no_parameter_are_found_all_the_same(rng):
    noisy = STEPS + SIGMA * rng.standard_normal(STEPS.shape)
    x, lam = oa.Variable(STEPS.shape, name="x"), oa.Parameter(0.2, name="lambda", positive=True)
    losses = []
    for data in (noisy, oa.Parameter(noisy, name="y")):
        energy = 0.5 * oa.sum_squares(x - data) + lam * tv(x)
        losses.append(oa.tune(energy, [{}], lam, by="sure", noise=SIGMA, tol=1e-8, steps=1).loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_criterion_may_look_at_a_parameter_of_the_operator(rng):
    truth = np.sin(np.linspace(0, 12, 128))
    a = oa.Parameter(1.5, name="a")
    y = oa.Parameter(truth + SIGMA * rng.standard_normal(128), name="y")
    x = oa.Variable(128, name="x")
    energy = 0.5 * oa.sum_squares(a * x - y) + 2.0 * oa.sum_squares(oa.Gradient(x.shape) @ x)

    def evaluated(value):
        start = oa.Parameter(value, name="a")
        moved = 0.5 * oa.sum_squares(start * x - y) + 2.0 * oa.sum_squares(oa.Gradient(x.shape) @ x)
        row = oa.tune(moved, [{}], start, by="sure", noise=SIGMA, tol=1e-12, gradient_tol=1e-9, steps=1).path[0]
        return row.loss, row.gradients[start]

    slope = (evaluated(1.501)[0] - evaluated(1.499)[0]) / 0.002
    assert evaluated(1.5)[1] == pytest.approx(slope, rel=1e-4)
    assert energy.parameters


def test_a_residual_in_other_units_than_the_energy_can_be_named(rng):
    case = Case(STEPS, tv, start=0.2)
    scaled = 0.5 * oa.sum_squares((1.0 / SIGMA) * case.residual) + (case.lam / SIGMA**2) * tv(case.x)
    options = {"by": "sure", "noise": SIGMA, "tol": 1e-9, "steps": 1}
    plain = oa.tune(case.energy, [{}], case.lam, **options).path[0].loss
    named = oa.tune(scaled, [{}], case.lam, residual=case.residual, **options).path[0].loss
    assert named == pytest.approx(plain, rel=1e-4)


def test_torch_gives_the_same_numbers():
    pytest.importorskip("torch")
    case = Case(IMAGE, rounded_tv, blur(IMAGE.shape), 0.3)
    rows = [
        oa.tune(case.energy, [{}], case.lam, by="sure", backend=b, tol=1e-10, steps=1, noise=SIGMA).path[0]
        for b in ("numpy", "torch")
    ]
    assert rows[0].loss == pytest.approx(rows[1].loss, rel=1e-6)
    assert rows[0].gradients[case.lam] == pytest.approx(rows[1].gradients[case.lam], rel=1e-4)


def test_wrong_arguments_are_refused():
    case = Case(STEPS, tv)
    for noise in (0.0, -1.0, np.ones(3), np.inf):
        with pytest.raises(ParameterError, match="noise is the standard deviation"):
            oa.tune(case.energy, [{}], case.lam, by="sure", noise=noise)
    with pytest.raises(ParameterError, match="cannot be tuned"):
        oa.tune(case.energy, [{}], case.y, by="sure", noise=SIGMA)
    with pytest.raises(ParameterError, match="not of the form"):
        oa.tune(oa.sum_squares(2.0 * case.residual) + case.lam * tv(case.x), [{}], case.lam, by="sure", noise=SIGMA)
    with pytest.raises(ParameterError, match="must be an affine expression"):
        oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, residual=3.0)
    with pytest.raises(ParameterError, match="probes"):
        oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, probes=0)
    with pytest.raises(ParameterError, match="an entry of pairs"):
        oa.tune(case.energy, [STEPS], case.lam, by="sure", noise=SIGMA)
