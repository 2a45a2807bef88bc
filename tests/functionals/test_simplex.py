"""The simplex against quadratic programming and known projections; batches, derivatives, refusals."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.functionals import Indicator
from opalg.functionals.simplex import Simplex, simplex
from opalg.leaves import Parameter
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number
from tests.functionals.test_threshold import by_sorting


def test_known_projections() -> None:
    assert np.allclose(simplex().project(np.array([0.6, 0.9, -1.0])), [0.35, 0.65, 0.0])
    assert np.array_equal(simplex().project(np.array([7.0])), [1.0])
    assert np.array_equal(simplex(0.0).project(np.array([7.0, 7.0])), [0.0, 0.0])
    inside = np.array([0.25, 0.5, 0.25])
    assert np.array_equal(simplex().project(inside), inside) and simplex().contains(inside)
    assert not simplex().contains(np.array([0.5, 0.6])) and not simplex().contains(np.array([1.5, -0.5]))


def test_projection_against_quadratic_programming() -> None:
    v = np.random.default_rng(0).standard_normal((3, 4))
    u = cvxpy.Variable((3, 4))
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - v)), [u >= 0, cvxpy.sum(u, axis=0) == 1.5])
    problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert np.allclose(Simplex(1.5, axis=0).project(v), u.value, atol=1e-7)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (1, 2)])
def test_groups_are_projected_by_themselves(axis: int | tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    v = rng.standard_normal((3, 4, 5))
    kept = np.delete(np.array(v.shape), axis)
    totals = rng.uniform(0.5, 2.0, tuple(kept))
    u = Simplex(totals, axis).project(v)
    assert np.allclose(u.sum(axis=axis), totals) and np.all(u >= 0)
    with_ones = np.expand_dims(totals, axis)
    assert np.array_equal(Simplex(with_ones, axis).project(v), u)
    moved = np.moveaxis(v, axis, range(-len(np.atleast_1d(axis)), 0)).reshape(*kept, -1)
    one = by_sorting(moved[0, 0], totals[0, 0])[0] if len(kept) > 1 else by_sorting(moved[0], totals[0])[0]
    back = np.moveaxis(u, axis, range(-len(np.atleast_1d(axis)), 0)).reshape(moved.shape)
    assert np.allclose(back[0, 0] if len(kept) > 1 else back[0], one.astype(float), atol=1e-13)


def test_a_batch_of_samples() -> None:
    v, t = np.random.default_rng(2).standard_normal((5, 3, 4)), np.linspace(0.0, 2.0, 5)
    for s in (Simplex(), Simplex(axis=0), Simplex(np.array([1.0, 2.0, 3.0]), axis=-1)):
        each = np.stack([s.project(sample) for sample in v])
        assert np.allclose(Indicator(s).prox(v, t), each)


def test_support_is_attained_at_a_corner() -> None:
    q = np.array([[1.0, -2.0], [0.5, 3.0]])
    assert Indicator(Simplex(2.0)).conjugate.value(q) == 6.0
    assert Indicator(Simplex(2.0, axis=0)).conjugate.value(q) == 8.0


def test_gradient_in_the_total() -> None:
    total, x, u = Parameter(1.0, name="s", nonneg=True), Input("x", (3,)), Input("u", (3,))
    (slope,) = vjp([Simplex(total).define_project(x)], [u], [total])
    assert slope is not None
    values = {x: np.array([0.6, 0.9, -1.0]), u: np.array([1.0, 2.0, 5.0])}
    assert evaluate([slope], values, _lib())[0] == pytest.approx(1.5)


def _lib():  # type: ignore[no-untyped-def]
    from opalg.arrays import backend

    return backend()


def test_large_and_tiny_entries_in_single_precision() -> None:
    v = np.array([1e20, 1e-30, -1e20], np.float32)
    assert np.array_equal(simplex().project(v), np.array([1.0, 0.0, 0.0], np.float32))
    tiny = np.array([3e-30, 1e-30], np.float32)
    assert np.allclose(simplex(1e-30).project(tiny) * 1e30, [1.0, 0.0], atol=1e-5)
    many = np.random.default_rng(3).standard_normal(100_000).astype(np.float32)
    assert simplex().contains(simplex().project(many))


def test_refusals_and_conditions() -> None:
    with pytest.raises(ParameterError, match="at least 0"):
        simplex(-1.0)
    with pytest.raises(DtypeError, match="real"):
        simplex().project(np.array([1j]))
    with pytest.raises(DtypeError, match="real"):
        simplex(1j)
    with pytest.raises(ShapeError, match="integer"):
        simplex(axis="0")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="axes"):
        simplex(axis=2).project(np.ones(3))
    with pytest.raises(ShapeError, match=r"a total of shape \(2,\)"):
        simplex([1.0, 2.0]).project(np.ones(3))
    with pytest.raises(ShapeError, match=r"\(1, 4\) or \(4,\)"):
        simplex([1.0, 2.0], axis=0).project(np.ones((3, 4)))
    ((least, strict, sentence),) = simplex(Parameter(2.0)).define_conditions()
    assert number(least) == 2.0 and not strict and "total" in sentence
    assert simplex(2.0).define_conditions() == []


def test_text() -> None:
    assert repr(simplex()) == "simplex(1)" and repr(simplex(2.0, axis=0)) == "simplex(2, axis=0)"
    assert r"\Delta" in simplex().latex("x") and simplex().text("x") == "simplex(1), x"
