"""Low-rank operators and inverses of low-rank updates."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.leaves import Parameter
from opalg.operators import FFT, Convolve, Diagonal, Identity, Matrix
from opalg.operators.low_rank import LowRank, thin_factors
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix


def thin(rng, size, rank, complex_data=False):
    u = rng.standard_normal((size, rank))
    return u + 1j * rng.standard_normal((size, rank)) if complex_data else u


def test_members_keep_what_they_promise(rng):
    for member in LowRank.examples(rng):
        for made in (member, member.H, member.gram.simplify()):
            check_operator(made).raise_if_failed()


@pytest.mark.parametrize("complex_data", [False, True])
def test_it_is_the_product_of_its_factors(rng, complex_data):
    u, v = thin(rng, 5, 2, complex_data), thin(rng, 3, 2)
    assert np.allclose(LowRank(u, v).to_dense(), u @ v.conj().T)
    assert np.allclose(LowRank(u).to_dense(), u @ u.conj().T)
    assert np.allclose(LowRank(u, v).conj().to_dense(), (u @ v.conj().T).conj())
    assert LowRank(u, u).facts.positive is YES and LowRank(u, u.copy()).facts.positive is UNKNOWN


@pytest.mark.parametrize("complex_data", [False, True])
def test_gradients_in_the_factors(rng, complex_data):
    u, v = (Parameter(thin(rng, n, 2, complex_data), name=str(n)) for n in (3, 4))
    for made in (LowRank(u, v), LowRank(u, v).H):
        check_parameter_gradient(made, u, rng)
        check_parameter_gradient(made, v, rng)
    check_parameter_gradient(LowRank(u), u, rng)


def test_the_norm_is_exact_for_rank_one_and_for_orthogonal_columns(rng):
    one = LowRank(thin(rng, 4, 1), thin(rng, 3, 1))
    assert one.norm_bound().certainty == "exact"
    assert float(one.norm_bound()) == pytest.approx(np.linalg.norm(one.to_dense(), 2))
    q = np.linalg.qr(thin(rng, 5, 3))[0]
    assert float(LowRank(q).norm_bound()) == pytest.approx(1.0)
    two = LowRank(thin(rng, 4, 2), thin(rng, 3, 2))
    assert float(two.norm_bound()) >= np.linalg.norm(two.to_dense(), 2)


@pytest.mark.parametrize("complex_data", [False, True])
def test_woodbury(rng, complex_data):
    lam = Parameter(0.5, name="lambda", positive=True)
    u, v = LowRank(thin(rng, 6, 2, complex_data)), LowRank(thin(rng, 6, 1), thin(rng, 6, 1, complex_data))
    d = Diagonal(rng.random(6) + 1.0)
    kernel = Convolve(rng.standard_normal(3), (6,))
    for base in (lam * Identity((6,)), d, d + lam * Identity((6,)), kernel.gram + lam * Identity((6,))):
        for low in (u, 0.3 * u, u + 0.1 * v, u.gram, v.H @ v, Matrix(rng.standard_normal((6, 6))) @ v):
            total = base + low
            for made in (total, total.simplify()):
                assert np.allclose(made.inverse().to_dense() @ total.to_dense(), np.eye(6), atol=1e-8)
            batch = rng.standard_normal((3, 6))
            assert np.allclose(total.inverse() @ (total @ batch), batch, atol=1e-8)


def test_woodbury_works_on_every_library(rng, lib):
    total = Diagonal(rng.random(4) + 1.0) + LowRank(thin(rng, 4, 2))
    x = lib.asarray(rng.standard_normal(4))
    assert np.allclose(lib.to_numpy(total.inverse() @ (total @ x)), lib.to_numpy(x))


@pytest.mark.parametrize("complex_data", [False, True])
def test_gradients_flow_through_the_inverse(rng, complex_data):
    u = Parameter(thin(rng, 4, 2, complex_data), name="U")
    d = Parameter(rng.random(4) + 1.0, name="d", positive=True)
    inverse = (Diagonal(d) + LowRank(u)).inverse()
    check_parameter_gradient(inverse, u, rng)
    check_parameter_gradient(inverse, d, rng)


def test_what_has_no_cheap_inverse_is_refused(rng):
    low = LowRank(thin(rng, 4, 2))
    for made in (low, low + low, low + Matrix(np.eye(4)), low + Diagonal(np.array([0.0, 1.0, 1.0, 1.0]))):
        with pytest.raises(UnsupportedError):
            made.inverse()
    singular = Identity((2,)) + LowRank(np.array([[1.0], [0.0]]), np.array([[-1.0], [0.0]]))
    with pytest.raises(ParameterError, match="singular"):
        singular.inverse() @ np.ones(2)


def test_a_regularised_low_rank_fit_is_solved_in_one_step(rng):
    u, v = thin(rng, 6, 2), thin(rng, 5, 2)
    a, y = LowRank(u, v), rng.standard_normal(6)
    lam, x = oa.Parameter(0.3, name="lambda", positive=True), oa.Variable(5, "x")
    plan = oa.compile(oa.sum_squares(a @ x - y) + lam * oa.sum_squares(x))
    assert plan.method.name == "closed_form"
    dense = u @ v.T
    for weight in (0.3, 2.0):
        found = plan.solve(params={lam: weight}).x
        assert np.allclose(found, np.linalg.solve(dense.T @ dense + weight * np.eye(5), dense.T @ y))


def test_admm_uses_it(rng):
    u, y = thin(rng, 6, 2), rng.standard_normal(6)
    x = oa.Variable(6, "x")
    energy = oa.sum_squares(LowRank(u) @ x - y) + 0.4 * oa.norm1(x)
    exact = oa.minimize(energy, method="admm", tol=1e-10).x
    assert np.allclose(exact, oa.minimize(energy, method="proximal_gradient", tol=1e-10).x, atol=1e-5)


def test_products_and_sums_stay_thin(rng):
    u, v, w = thin(rng, 5, 3), thin(rng, 4, 3), thin(rng, 4, 2)
    made = (LowRank(u, v) @ LowRank(w, u[:, :2])).simplify()
    assert isinstance(made, LowRank) and made.rank == 2
    assert np.allclose(made.to_dense(), u @ v.T @ w @ u[:, :2].T)
    back = (LowRank(w, v[:, :2]) @ LowRank(v, u) @ Matrix(rng.standard_normal((5, 5)))).simplify()
    assert isinstance(back.outer, LowRank) and back.outer.rank == 2
    total = (LowRank(u) + LowRank(u[:, :1] * 2.0)).simplify()
    assert isinstance(total, LowRank) and total.facts.positive is YES and total.rank == 4
    assert LowRank(u, v).gram.simplify().facts.positive is YES


def test_thin_factors_of_products(rng):
    low, m = LowRank(thin(rng, 4, 2), thin(rng, 4, 2, True)), Matrix(rng.standard_normal((4, 4)))
    for made in (low, 2.0 * low, m @ low, low @ m, low.H @ low, (low @ m).H, FFT((4,)) @ low):
        left, right = thin_factors(made)
        dense = Matrix(left).to_dense() @ Matrix(right).to_dense().conj().T
        assert np.allclose(dense, real_complex(made))
    assert thin_factors(m) is None and thin_factors(m @ m) is None


def real_complex(operator):
    """The complex matrix of a complex-linear operator."""
    dense = real_matrix(operator, "complex")
    n, m = len(dense) // 2, dense.shape[1] // 2
    return dense[:n, :m] + 1j * dense[n:, :m]


def test_misuse_is_explained(rng):
    with pytest.raises(ShapeError, match=r"\(m, r\)"):
        LowRank(np.ones((3, 2)), np.ones((3, 1)))
    with pytest.raises(ShapeError, match=r"\(m, r\)"):
        LowRank(np.ones(3))


def test_reprs_of_inverses_stay_short():
    inverse = (Diagonal(np.ones(3)) + LowRank(np.ones((3, 1)))).inverse()
    assert len(repr(inverse)) < 200


def test_the_library_keeps_its_precision(rng):
    lib = backend("torch", "float32")
    total = 2.0 * Identity((3,)) + LowRank(thin(rng, 3, 1))
    assert (total.inverse() @ lib.asarray(np.ones(3))).dtype == lib.dtypes["real"]
