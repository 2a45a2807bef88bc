"""Constraints on norms: ``norm2(A @ x - y) <= r``."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa

cp = pytest.importorskip("cvxpy")
RNG = np.random.default_rng(0)
A, Y = RNG.standard_normal((4, 6)), RNG.standard_normal(4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda e: oa.norm2(e) <= 0.5, lambda e: cp.norm2(e) <= 0.5),
        (lambda e: oa.norm1(e) <= oa.Parameter(0.5, nonneg=True), lambda e: cp.norm1(e) <= 0.5),
        (lambda e: oa.norm_inf(e) <= 0.5, lambda e: cp.norm_inf(e) <= 0.5),
        (lambda e: oa.sum_squares(e) <= 0.25, lambda e: cp.sum_squares(e) <= 0.25),
    ],
)
def test_a_bound_on_a_norm_is_a_constraint(ours, theirs):
    x, z = oa.Variable(6, name="x"), cp.Variable(6)
    found = oa.minimize(oa.norm1(x), subject_to=ours(oa.Matrix(A) @ x - Y), tol=1e-9, max_iter=100000)
    problem = cp.Problem(cp.Minimize(cp.norm1(z)), [theirs(A @ z - Y)])
    problem.solve()
    assert found.value == pytest.approx(problem.value, rel=1e-5)


def test_it_reads_as_it_was_written_and_refuses_what_it_cannot():
    x = oa.Variable(3, name="x")
    assert repr(oa.norm2(x) <= 2) == "norm2(x) <= 2"
    for term in (2 * oa.norm2(x), oa.norm1(x, weights=[1.0, 2.0, 3.0]), oa.huber(x, 1.0)):
        with pytest.raises(oa.UnsupportedError, match=r"norm2\(A @ x - y\) <= r"):
            term <= 1  # noqa: B015
    with pytest.raises(oa.ParameterError, match="added to the energy"):
        oa.minimize(oa.norm1(x), subject_to=[oa.simplex()])
    with pytest.raises(oa.ParameterError, match=r"oa.indicator\(nonneg, x\)"):
        oa.nonneg(np.ones(3))
