"""Approximate adjoints and unrolled gradients against dense solves and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import Backend, backend
from opalg.implicit.modes import MODES, approximate_adjoint, unrolled_gradient

N = 20


@pytest.fixture(params=["numpy", "torch", "array_api_strict"])
def lib(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip(request.param)
    return backend(request.param)


def jacobian(rng: np.random.Generator, norm: float) -> np.ndarray:
    B = rng.standard_normal((N, N))
    return B * norm / np.linalg.norm(B, 2)


def error(found: object, lib: Backend, J: np.ndarray, c: np.ndarray) -> float:
    return float(np.linalg.norm(lib.to_numpy(found.u) - np.linalg.solve(np.eye(N) - J.T, c)))  # type: ignore[attr-defined]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("terms", [0, 1, 7, 20])
def test_neumann_is_the_partial_sum_and_its_bound_holds(rho: float, terms: int, lib: Backend) -> None:
    rng = np.random.default_rng(terms)
    J, c = jacobian(rng, rho) if rho else np.zeros((N, N)), rng.standard_normal(N)
    T = lib.asarray(J.T)
    found = approximate_adjoint("neumann", lambda u: lib.matmul(T, u), lib.asarray(c), lib, terms, contraction=rho)
    partial = sum(np.linalg.matrix_power(J.T, j) @ c for j in range(terms + 1))
    assert np.allclose(lib.to_numpy(found.u), partial, rtol=1e-12, atol=1e-13)
    assert found.products == terms if rho else found.products <= min(terms, 1)
    assert found.bound is not None
    assert error(found, lib, J, c) <= found.bound * (1 + 1e-9) + 1e-13
    assert found.bound <= rho ** (terms + 1) / (1 - rho) * np.linalg.norm(c) * (1 + 1e-9)


def test_jacobian_free_is_the_cotangent_itself(lib: Backend, rng: np.random.Generator) -> None:
    J, c = jacobian(rng, 0.8), rng.standard_normal(N)
    T = lib.asarray(J.T)
    found = approximate_adjoint("jacobian_free", lambda u: lib.matmul(T, u), lib.asarray(c), lib, contraction=0.8)
    assert np.array_equal(lib.to_numpy(found.u), c)
    assert found.products == 0 and found.estimate is None and found.ratio is None
    assert found.bound == pytest.approx(4.0 * np.linalg.norm(c))
    assert error(found, lib, J, c) <= found.bound


@pytest.mark.parametrize("start", ["zero", "cotangent"])
@pytest.mark.parametrize("terms", [1, 2, 6])
def test_phantom_steps_are_the_damped_iteration(start: str, terms: int, lib: Backend) -> None:
    rng = np.random.default_rng(3)
    J, c, d = jacobian(rng, 0.7), rng.standard_normal(N), 0.6
    T = lib.asarray(J.T)
    found = approximate_adjoint(
        "phantom", lambda u: lib.matmul(T, u), lib.asarray(c), lib, terms, d, contraction=0.7, start=start
    )
    u = np.zeros(N) if start == "zero" else c
    for _ in range(terms):
        u = (1 - d) * u + d * (J.T @ u + c)
    assert np.allclose(lib.to_numpy(found.u), u, rtol=1e-12, atol=1e-13)
    assert found.products == terms - (start == "zero")
    assert found.bound is not None
    assert error(found, lib, J, c) <= found.bound * (1 + 1e-9)


def test_the_estimate_of_the_tail_is_close_where_one_eigenvalue_leads(rng: np.random.Generator) -> None:
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    J = (Q * np.r_[0.95, np.linspace(-0.3, 0.3, N - 1)]) @ Q.T
    c, lib = rng.standard_normal(N), backend("numpy")
    for mode, terms in (("neumann", 20), ("phantom", 40)):
        found = approximate_adjoint(mode, lambda u: J.T @ u, c, lib, terms)
        assert found.estimate == pytest.approx(error(found, lib, J, c), rel=1e-3)
        assert found.bound is None


def test_more_terms_come_closer_and_all_of_them_arrive(rng: np.random.Generator) -> None:
    J, c, lib = jacobian(rng, 0.8), rng.standard_normal(N), backend("numpy")
    errors = [error(approximate_adjoint("neumann", lambda u: J.T @ u, c, lib, k), lib, J, c) for k in (1, 10, 200)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-12
    phantom = approximate_adjoint("phantom", lambda u: J.T @ u, c, lib, 800, 0.5)
    assert error(phantom, lib, J, c) < 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_a_zero_cotangent_takes_no_product(mode: str) -> None:
    lib = backend("numpy")
    found = approximate_adjoint(mode, lambda u: 1 / 0, np.zeros(4), lib, contraction=0.5)  # type: ignore[arg-type]
    assert np.array_equal(found.u, np.zeros(4))
    assert found.products == 0 and found.estimate == 0.0 and found.bound == 0.0


@pytest.mark.parametrize("mode", MODES)
def test_scaling_the_cotangent_scales_everything(mode: str, rng: np.random.Generator) -> None:
    J, c, lib = jacobian(rng, 0.8), rng.standard_normal(N), backend("numpy")
    plain, large = (approximate_adjoint(mode, lambda u: J.T @ u, a * c, lib, contraction=0.8) for a in (1.0, 1e-200))
    assert np.allclose(1e-200 * plain.u, large.u, rtol=1e-12, atol=0)
    assert plain.bound is not None
    assert large.bound == pytest.approx(1e-200 * plain.bound, rel=1e-12)
    assert (plain.estimate is None) == (mode == "jacobian_free")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cotangent_that_is_not_finite_is_refused(mode: str, bad: float) -> None:
    with pytest.raises(oa.NonFiniteError, match="cotangent"):
        approximate_adjoint(mode, lambda u: u, np.array([1.0, bad]), backend("numpy"))


def test_a_product_that_makes_nan_is_named() -> None:
    with pytest.raises(oa.NonFiniteError, match="transposed Jacobian"):
        approximate_adjoint("neumann", lambda u: u * np.nan, np.ones(2), backend("numpy"))


def test_a_series_that_grows_is_estimated_at_infinity_and_refused_when_it_overflows() -> None:
    found = approximate_adjoint("neumann", lambda u: 3.0 * u, np.ones(2), backend("numpy"), 10)
    assert found.estimate == np.inf and found.ratio == pytest.approx(3.0)
    with pytest.raises(oa.NotAContractionError, match=r"no contraction") as caught:
        approximate_adjoint("neumann", lambda u: 1e40 * u, np.ones(2), backend("numpy"))
    assert caught.value.contraction == pytest.approx(1e40)
    assert isinstance(caught.value, oa.DivergedError)


def test_arguments_are_checked() -> None:
    lib, c = backend("numpy"), np.ones(2)
    for arguments, words in (
        (("newton",), "mode"),
        (("neumann", -1), "terms"),
        (("phantom", 0), "terms"),
        (("neumann", 2.5), "terms"),
        (("phantom", 3, 1.5), "damping"),
    ):
        mode, *rest = arguments
        with pytest.raises(oa.ParameterError, match=words):
            approximate_adjoint(mode, lambda u: u, c, lib, *rest)  # type: ignore[arg-type]
    with pytest.raises(oa.ParameterError, match="contraction"):
        approximate_adjoint("neumann", lambda u: u, c, lib, contraction=1.0)
    with pytest.raises(oa.ParameterError, match="start"):
        approximate_adjoint("phantom", lambda u: u, c, lib, start="here")


# Unrolling.


def tanh_network(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    W = rng.standard_normal((6, 6))
    return W * 0.7 / np.linalg.norm(W, 2), rng.standard_normal(6)


def pulled(W: np.ndarray, b: np.ndarray, z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    v = u * (1 - np.tanh(W @ z + b) ** 2)
    return W.T @ v, [np.outer(v, z), v]


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_unrolling_gives_the_gradient_of_so_many_steps(steps: int, rng: np.random.Generator) -> None:
    W, b = tanh_network(rng)
    z0, c = rng.standard_normal(6), rng.standard_normal(6)

    def loss(W: np.ndarray, b: np.ndarray, z0: np.ndarray) -> float:
        z = z0
        for _ in range(steps):
            z = np.tanh(W @ z + b)
        return float(c @ z)

    found = unrolled_gradient(lambda z: np.tanh(W @ z + b), lambda z, u: pulled(W, b, z, u), z0, c, steps)
    dW, db, dz = rng.standard_normal((6, 6)), rng.standard_normal(6), rng.standard_normal(6)
    h = 1e-6
    in_W = (loss(W + h * dW, b, z0) - loss(W - h * dW, b, z0)) / (2 * h)
    in_b = (loss(W, b + h * db, z0) - loss(W, b - h * db, z0)) / (2 * h)
    in_start = (loss(W, b, z0 + h * dz) - loss(W, b, z0 - h * dz)) / (2 * h)
    assert np.sum(found.gradients[0] * dW) == pytest.approx(in_W, rel=1e-7, abs=1e-8)
    assert found.gradients[1] @ db == pytest.approx(in_b, rel=1e-7, abs=1e-8)
    assert found.start_cotangent @ dz == pytest.approx(in_start, rel=1e-7, abs=1e-8)
    assert found.products == steps


def test_unrolling_at_the_fixed_point_is_neumann_and_tends_to_the_implicit_gradient(rng: np.random.Generator) -> None:
    W, b = tanh_network(rng)
    z, c = np.zeros(6), rng.standard_normal(6)
    for _ in range(400):
        z = np.tanh(W @ z + b)
    J = (1 - z**2)[:, None] * W
    exact = np.linalg.solve(np.eye(6) - J.T, c) * (1 - z**2)
    few, many = (
        unrolled_gradient(lambda z: np.tanh(W @ z + b), lambda z, u: pulled(W, b, z, u), z, c, k).gradients[1]
        for k in (4, 150)
    )
    series = approximate_adjoint("neumann", lambda u: J.T @ u, c, backend("numpy"), 3).u * (1 - z**2)
    assert np.allclose(few, series, rtol=1e-12)
    assert np.allclose(many, exact, rtol=1e-11)
    assert np.linalg.norm(few - exact) > 1e-5 * np.linalg.norm(exact)


def test_a_cotangent_may_be_a_function_and_gradients_may_be_absent() -> None:
    found = unrolled_gradient(lambda z: 0.5 * z + 1.0, lambda z, u: (0.5 * u, [None, u]), np.zeros(2), lambda z: z, 2)
    assert np.array_equal(found.state, np.full(2, 1.5))
    assert found.gradients[0] is None
    assert np.array_equal(found.gradients[1], 1.5 * np.full(2, 1.5))


def test_unrolling_refuses_what_makes_no_sense() -> None:
    def pull(z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        return u, [u]

    with pytest.raises(oa.ParameterError, match="unrolled steps"):
        unrolled_gradient(lambda z: z, pull, np.ones(2), np.ones(2), 0)
    with pytest.raises(oa.NonFiniteError, match="state"), np.errstate(over="ignore"):
        unrolled_gradient(lambda z: 1e200 * z, pull, np.ones(2), np.ones(2), 3)
    with pytest.raises(oa.NonFiniteError, match="cotangent"):
        unrolled_gradient(lambda z: z, pull, np.ones(2), np.full(2, np.nan), 3)
