"""Gradients of solutions in parameters behind operators: rough terms of ``K x``, whose active rows hold it."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from tests.implicit.parameter_kinds import Made, Table, assert_slopes, design, parameter

KINDS = Table()


def steps(rng: np.random.Generator) -> np.ndarray:
    """A signal of three plateaus with small noise: its jumps stay where they are."""
    return np.repeat([0.0, 2.0, 1.0], 4) + 0.05 * rng.standard_normal(12)


DIFFERENCES = oa.FiniteDifference((12,), 0)


@KINDS.entry
def weights_of_edges(rng: np.random.Generator) -> Made:
    w, x = parameter(rng.uniform(0.2, 0.4, 12), "w", nonneg=True), oa.Variable(12, name="x")
    return 0.5 * oa.sum_squares(x - steps(rng)) + oa.norm1(DIFFERENCES @ x, weights=w), [w]


@KINDS.entry
def formula_as_weight(rng: np.random.Generator) -> Made:
    lam, mu, x = parameter(0.5, "lambda"), parameter(1.1, "mu", positive=True), oa.Variable(12, name="x")
    return 0.5 * mu * oa.sum_squares(x - steps(rng)) + lam**2 * oa.norm1(DIFFERENCES @ x), [lam, mu]


@KINDS.entry
def data_and_blur(rng: np.random.Generator) -> Made:
    y, k = parameter(steps(rng), "y"), parameter(np.array([0.1, 0.75, 0.15]), "k")
    x = oa.Variable(12, name="x")
    K = oa.Convolve(k, (12,), boundary="symmetric")
    return 0.5 * oa.sum_squares(K @ x - y) + 0.1 * oa.norm1(DIFFERENCES @ x), [y, k]


@KINDS.entry
def jumps_expected(rng: np.random.Generator) -> Made:
    """An offset behind the operator: differences are held at it."""
    b, x = parameter(0.1 * rng.standard_normal(12), "b"), oa.Variable(12, name="x")
    return 0.5 * oa.sum_squares(x - steps(rng)) + 0.3 * oa.norm1(DIFFERENCES @ x - b), [b]


@KINDS.entry
def bounds_of_differences(rng: np.random.Generator) -> Made:
    b, x = parameter(rng.uniform(0.1, 0.4, 12), "b"), oa.Variable(12, name="x")
    return 0.5 * oa.sum_squares(x - steps(rng)) + oa.indicator(DIFFERENCES @ x <= b), [b]


@KINDS.entry
def analysis_operator(rng: np.random.Generator) -> Made:
    W, x = parameter(design(rng, 5, 6), "W"), oa.Variable(6, name="x")
    return 0.5 * oa.sum_squares(x - 2 * rng.standard_normal(6)) + 0.6 * oa.norm1(oa.Matrix(W) @ x), [W]


@KINDS.entry
def weights_of_an_analysis(rng: np.random.Generator) -> Made:
    """A diagonal behind the operator that the rows are scaled by."""
    d, x = parameter(rng.uniform(0.5, 1.0, 12), "d", positive=True), oa.Variable(12, name="x")
    return 0.5 * oa.sum_squares(x - steps(rng)) + 0.3 * oa.norm1(oa.Diagonal(d) @ DIFFERENCES @ x), [d]


@KINDS.entry
def radius_of_residuals(rng: np.random.Generator) -> Made:
    """The smallest solution that fits the data up to a radius."""
    r, y = parameter(0.6, "r", nonneg=True), parameter(rng.standard_normal(4), "y")
    M, x = parameter(design(rng, 4, 6), "M"), oa.Variable(6, name="x")
    return 0.5 * oa.sum_squares(x) + oa.indicator(oa.norm2(oa.Matrix(M) @ x - y) <= r), [r, y, M]


@KINDS.entry
def box_and_variation(rng: np.random.Generator) -> Made:
    b, lam = parameter(1.5, "b"), parameter(0.3, "lambda", nonneg=True)
    x = oa.Variable(12, name="x")
    energy = 0.5 * oa.sum_squares(x - steps(rng)) + lam * oa.norm1(DIFFERENCES @ x)
    return energy + oa.indicator(x <= b), [b, lam]


@KINDS.entry
def isotropic_weight(rng: np.random.Generator) -> Made:
    lam, x = parameter(0.15, "lambda", nonneg=True), oa.Variable((5, 4), name="x")
    y = np.zeros((5, 4))
    y[2:, 1:] = 2.0
    noisy = parameter(y + 0.05 * rng.standard_normal((5, 4)), "y")
    return 0.5 * oa.sum_squares(x - noisy) + lam * oa.total_variation(x), [lam, noisy]


BEHIND_MATRICES = ("data_and_blur", "analysis_operator", "weights_of_an_analysis", "radius_of_residuals")


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng), method="primal_dual")


@pytest.mark.parametrize("name", [name for name in KINDS if name not in BEHIND_MATRICES])
def test_gradients_are_slopes_with_admm(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng), method="admm")
