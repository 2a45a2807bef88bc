"""Half-spaces: projections against their definition, batches, complex normals, refusals."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.functionals import Indicator
from opalg.functionals.halfspaces import Halfspace, Halfspaces, halfspace, halfspaces
from opalg.leaves import Parameter
from opalg.operators import DCT, Diagonal, Gradient, Matrix, Real, Restrict
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate
from tests.functionals.members import SHAPE, inner, some


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_one_half_space(kind: str) -> None:
    rng = np.random.default_rng(0)
    a = some(rng, kind)
    for b in (-1.0, 0.0, 100.0):
        s, v = halfspace(a, b), some(rng, "complex" if kind == "complex" else "real")
        excess = max(inner(a, v) - b, 0.0)
        assert np.allclose(s.project(v), v - excess * a / inner(a, a), atol=1e-14)
        assert s.contains(s.project(v)) and s.contains(v) == (excess == 0)


def test_batches_are_projected_by_themselves() -> None:
    rng = np.random.default_rng(1)
    a, v = some(rng), np.stack([some(rng) for _ in range(4)])
    each = np.stack([halfspace(a, 0.2).project(sample) for sample in v])
    assert np.allclose(halfspace(a, 0.2).project(v), each)
    assert np.allclose(Indicator(halfspace(a, 0.2)).prox(v, np.arange(4.0)), each)
    found = Indicator(halfspace(a, 0.2)).conjugate.value(np.stack([2.0 * a, 0.5 * a]))
    assert found == pytest.approx(0.5)


def test_support_is_finite_on_a_ray() -> None:
    a = some(np.random.default_rng(2))
    f = Indicator(halfspace(a, 0.3)).conjugate
    assert f.value(2.0 * a) == pytest.approx(0.6) and f.value(0.0 * a) == 0.0
    assert np.isinf(f.value(-a)) and np.isinf(f.value(np.ones(SHAPE)))
    assert np.allclose(f.prox(-a, 0.0), 0.0) and not Indicator(halfspace(a)).offers("dual_gauge")


def test_many_half_spaces_against_quadratic_programming() -> None:
    rng = np.random.default_rng(3)
    v, b = some(rng), rng.standard_normal(SHAPE)
    for A in (DCT(SHAPE), -2.0 * DCT(SHAPE), Diagonal(rng.uniform(0.5, 2.0, SHAPE))):
        u = cvxpy.Variable(v.size)
        constraint = [A.to_dense() @ u <= b.ravel()]
        problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - v.ravel())), constraint)
        problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        s = halfspaces(A, b)
        assert np.allclose(s.project(v).ravel(), u.value, atol=1e-6) and s.contains(s.project(v))


def test_fewer_rows_and_complex_arguments() -> None:
    rng = np.random.default_rng(4)
    rows = Restrict(rng.random(SHAPE) < 0.5) @ DCT(SHAPE)
    s, v = halfspaces(rows, 0.1), some(rng)
    p = s.project(v)
    assert np.all(rows @ p <= 0.1 + 1e-12) and np.all(rows @ (v - p) >= -1e-12)
    assert np.allclose((rows @ (v - p)) * (rows @ p - 0.1), 0.0, atol=1e-12)
    z = some(rng, "complex")
    assert np.allclose(halfspaces(Real(SHAPE), 0.5).project(z), np.minimum(z.real, 0.5) + 1j * z.imag)


def test_gradients_flow_into_the_data() -> None:
    rng, step = np.random.default_rng(5), 1e-6
    a, b, v, w, d = some(rng), -1.5, some(rng), some(rng), some(rng)
    normal, offset = Parameter(a, name="a"), Parameter(b, name="b")
    x, u = Input("x", SHAPE), Input("u", SHAPE)
    slopes = vjp([Halfspace(normal, offset).define_project(x)], [u], [normal, offset])
    in_normal, in_offset = evaluate([s for s in slopes if s is not None], {x: v, u: w}, backend())
    by_normal = (halfspace(a + step * d, b).project(v) - halfspace(a - step * d, b).project(v)) / (2 * step)
    by_offset = (halfspace(a, b + step).project(v) - halfspace(a, b - step).project(v)) / (2 * step)
    assert inner(in_normal, d) == pytest.approx(inner(w, by_normal), abs=1e-6)
    assert float(in_offset) == pytest.approx(inner(w, by_offset), abs=1e-7)


def test_single_precision_at_any_size() -> None:
    for scale in (1e-30, 1e20):
        a, v = np.array([scale, scale], np.float32), np.array([2.0, 1.0], np.float32)
        assert np.allclose(halfspace(a, float(np.float32(scale))).project(v), [1.0, 0.0], atol=1e-5)
        assert np.allclose(halfspace([1.0, 1.0], 0.0).project(scale * v) / scale, [0.5, -0.5], atol=1e-5)


def test_refusals_and_text() -> None:
    with pytest.raises(ParameterError, match="zero"):
        halfspace(np.zeros(3), 1.0)
    with pytest.raises(ShapeError, match="one number b"):
        halfspace(np.ones(3), np.ones(3))
    with pytest.raises(ShapeError, match="trailing axes"):
        halfspace(np.ones(3)).project(np.ones(4))
    with pytest.raises(DtypeError, match="complex normal"):
        halfspace(1j * np.ones(3)).project(np.ones(3))
    with pytest.raises(UnsupportedError, match="A @ x <= b"):
        halfspaces(Gradient(SHAPE))
    with pytest.raises(UnsupportedError, match="A @ x <= b"):
        halfspaces(Diagonal(np.array([1.0, 0.0])))
    with pytest.raises(DtypeError, match=r"Matrix\(A\)"):
        halfspaces(np.eye(3), 1.0)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="real part"):
        halfspaces(DCT(SHAPE)).project(1j * np.ones(SHAPE))
    with pytest.raises(ShapeError, match="broadcast"):
        halfspaces(DCT(SHAPE), np.ones(3))
    assert repr(halfspace(np.ones(3), 2.0)) == "halfspace(data, 2)"
    assert r"\le 2" in halfspace(np.ones(3), 2.0).latex("x") and r"A \left(x" in Halfspaces(DCT(SHAPE)).latex("x")
    assert halfspaces(DCT(SHAPE), 1.0).text("x").endswith("1), x")


def test_matrices_with_orthogonal_rows() -> None:
    rows = np.array([[3.0, 4.0, 0.0], [4.0, -3.0, 0.0]])
    v, b = np.array([2.0, 1.0, 5.0]), np.array([1.0, 2.0])
    x = cvxpy.Variable(3)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(x - v)), [rows @ x <= b]).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(halfspaces(Matrix(rows), b).project(v), x.value, atol=1e-6)
    one = halfspaces(Matrix(rows[:1]), 1.0)
    assert np.allclose(one.project(v), halfspace(rows[0], 1.0).project(v), atol=1e-15)
    scaled = halfspaces(Matrix(np.diag([1.0, 2.0])), 1.0)
    assert scaled.project(np.array([3.0, 3.0])).tolist() == [1.0, 0.5]
    for A in (np.ones((2, 2)), np.diag([1.0, 0.0])):
        with pytest.raises(UnsupportedError, match="diagonal and positive"):
            halfspaces(Matrix(A), 1.0)
