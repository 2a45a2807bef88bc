"""check_gradient: right gradients pass on every kind of plan, spoiled ones are caught."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError
from opalg.solving.solution import Solution
from opalg.testing import check_gradient


def energy(term):
    rng = np.random.default_rng(0)
    A = oa.Matrix(rng.standard_normal((12, 8)))
    y = oa.Parameter(rng.standard_normal(12), name="y")
    weight = oa.Parameter(0.5, name="lambda", positive=True)
    x = oa.Variable(8, name="x")
    return oa.sum_squares(A @ x - y) + weight * term(x)


@pytest.mark.parametrize(
    "term", [oa.sum_squares, oa.norm1, lambda e: oa.huber(e, 0.3)], ids=["ridge", "lasso", "huber"]
)
def test_gradients_of_the_house_pass(term):
    report = check_gradient(energy(term))
    assert report, str(report)
    assert report.checked == ("y", "lambda")
    assert all(0 <= error < 1e-5 for error in report.errors.values())


def test_at_other_parameter_values_and_for_one_parameter():
    plan = oa.compile(energy(oa.norm1))
    lam = next(p for p in plan.parameters if p.name == "lambda")
    report = check_gradient(plan, {"lambda": 2.0}, wrt=[lam], directions=2)
    assert report and report.checked == ("lambda",)


def test_on_torch():
    pytest.importorskip("torch")
    assert check_gradient(oa.compile(energy(oa.norm1), backend="torch"))


def test_declared_maps_and_a_gradient_that_is_zero():
    rng = np.random.default_rng(1)
    A, y = oa.Matrix(rng.standard_normal((6, 4))), oa.Parameter(rng.standard_normal(6), name="y")
    x, tau = oa.Variable(4, name="x"), oa.Parameter(0.05, name="tau")
    report = check_gradient(oa.fixed_point(x, x - tau * (A.H @ (A @ x - y) + 0.5 * x)))
    assert report, str(report)  # the fixed point does not depend on tau


@pytest.mark.parametrize("spoil", [lambda g: 2.0 * g, lambda g: -g, lambda g: g + 0.01 * np.ones_like(g)])
def test_wrong_gradients_are_caught(spoil, monkeypatch):
    right = Solution.vjp

    def wrong(self, cotangent, wrt, **options):
        return {p: spoil(np.asarray(g)) for p, g in right(self, cotangent, wrt, **options).items()}

    monkeypatch.setattr(Solution, "vjp", wrong)
    report = check_gradient(energy(oa.sum_squares))
    assert report.failed("y") and report.failed("lambda")
    assert "ratio" in str(report)


def test_solves_that_end_early_are_noted():
    report = check_gradient(energy(oa.sum_squares), tol=1e-300, max_iter=30)
    assert any("ended short" in note for note in report.notes)


def test_misuse_is_refused():
    x = oa.Variable(3)
    with pytest.raises(ParameterError, match="no parameter"):
        check_gradient(oa.sum_squares(x - np.ones(3)))
    with pytest.raises(ParameterError, match="takes a plan"):
        check_gradient(oa.Identity((3,)))
    with pytest.raises(DtypeError, match="float64"):
        check_gradient(oa.compile(energy(oa.sum_squares), dtype="float32"))
    weight = oa.Parameter(0.0, name="w", nonneg=True)
    with pytest.raises(ParameterError, match="edge of its domain"):
        check_gradient(oa.sum_squares(x - np.ones(3)) + weight * oa.sum_squares(x))
