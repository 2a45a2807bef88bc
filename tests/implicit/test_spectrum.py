"""Spectral reports against dense eigenvalues and singular values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg.arrays import Backend, backend
from opalg.implicit.spectrum import SpectralReport, spectral_report
from opalg.iterations import GMRES

N = 50


@pytest.fixture(params=["numpy", "torch", "array_api_strict"])
def lib(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip(request.param)
    return backend(request.param)


def after(J: np.ndarray, rng: np.random.Generator, products: int) -> SpectralReport:
    """The report of so many products with a matrix, from a random start."""
    iteration = GMRES(lambda u: u - J.T @ u, rng.standard_normal(N), backend("numpy"), restart=products + 1)
    iteration.start()
    while iteration.products < products and iteration.outcome is None and iteration.residual > 1e-14:
        iteration.advance()
    return spectral_report(iteration)


def with_outlier(rng: np.random.Generator, outlier: float) -> np.ndarray:
    """A matrix, a little non-normal, with eigenvalues in a disc of radius about 0.5 and one more."""
    V = np.eye(N) + 0.3 * rng.standard_normal((N, N)) / np.sqrt(N)
    B = rng.standard_normal((N, N)) * 0.5 / np.sqrt(N)
    B[0], B[:, 0], B[0, 0] = 0.0, 0.0, outlier
    return V @ B @ np.linalg.inv(V)


def solve(J: np.ndarray, c: np.ndarray, lib: Backend, M: np.ndarray | None = None, tol: float = 1e-10) -> GMRES:
    A = lib.asarray(np.eye(N) - J.T)
    inverse: Any = None if M is None else lib.asarray(np.linalg.inv(M))
    precondition = None if M is None else (lambda u: lib.matmul(inverse, u))
    iteration = GMRES(lambda u: lib.matmul(A, u), lib.asarray(c), lib, restart=N, precondition=precondition)
    iteration.start()
    while iteration.residual > tol * iteration.rhs_norm and iteration.outcome is None and iteration.products < N - 1:
        iteration.advance()
    return iteration


def test_an_outlier_inside_the_unit_disc_is_found(lib: Backend, rng: np.random.Generator) -> None:
    J = with_outlier(rng, 0.93)
    report = spectral_report(solve(J, rng.standard_normal(N), lib))
    exact = np.linalg.eigvals(J)
    assert report.radius == pytest.approx(0.93, rel=1e-5)
    assert report.distance_to_one == pytest.approx(np.abs(1 - exact).min(), rel=1e-3)
    assert not report.unstable and not report.ill_conditioned
    assert 1.0 < report.condition <= np.linalg.cond(np.eye(N) - J) * (1 + 1e-9)


@pytest.mark.parametrize("outlier", [1.4, -1.3])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_an_unstable_fixed_point_is_recognised(
    outlier: float, preconditioned: bool, lib: Backend, rng: np.random.Generator
) -> None:
    J = with_outlier(rng, outlier)
    M = np.diag(np.linspace(0.6, 2.0, N)) if preconditioned else None
    report = spectral_report(solve(J, rng.standard_normal(N), lib, M))
    assert report.unstable
    assert report.radius == pytest.approx(abs(outlier), rel=1e-2 if preconditioned else 1e-5)
    assert "unstable" in repr(report)


def test_a_preconditioned_run_tells_of_the_map_and_not_of_the_product(rng: np.random.Generator) -> None:
    lib = backend("numpy")
    J, M = with_outlier(rng, 0.9), np.diag(np.linspace(0.05, 20.0, N))
    iteration = solve(J, rng.standard_normal(N), lib, M)
    report = spectral_report(iteration)
    assert report.radius == pytest.approx(0.9, abs=0.02)
    assert np.abs(1 - iteration.ritz_values()).max() > 1.2  # those of the preconditioned matrix
    assert report.condition <= np.linalg.cond(np.eye(N) - J) * (1 + 1e-6)


def test_errors_bound_the_distance_to_the_spectrum(rng: np.random.Generator) -> None:
    J = with_outlier(rng, 0.97)
    exact = np.linalg.eigvals(J)
    for products in (8, 16, 30):
        report = after(J, rng, products)
        assert len(report.values) == products
        distances = np.abs(report.values[:, None] - exact).min(axis=1)
        good = report.errors < 0.02
        assert np.all(distances[good] <= 5 * report.errors[good] + 1e-12)
    assert good.any()


def test_an_eigenvalue_at_one_is_no_instability_but_a_bad_condition(rng: np.random.Generator) -> None:
    lib = backend("numpy")
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    J = (Q * np.r_[1.0 - 1e-10, np.repeat([0.1, 0.3, -0.2], [20, 20, N - 41])]) @ Q.T
    report = spectral_report(solve(J, rng.standard_normal(N), lib))
    assert report.ill_conditioned and not report.unstable
    assert report.distance_to_one < 1e-8
    assert "close to 1" in repr(report)
    # a singular and inconsistent system ends as such
    singular = (Q * np.r_[1.0, np.repeat([0.1, 0.3, -0.2], [20, 20, N - 41])]) @ Q.T
    iteration = solve(singular, rng.standard_normal(N), lib, tol=0.0)
    assert iteration.outcome == "singular"
    assert spectral_report(iteration).condition == np.inf


def test_complex_eigenvalues_come_as_pairs(rng: np.random.Generator) -> None:
    J = np.zeros((N, N))
    J[:2, :2] = 1.1 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    report = after(J, rng, 10)
    assert report.radius == pytest.approx(1.1, rel=1e-10) and report.unstable
    assert np.sum(np.abs(report.values - 1.1 * np.exp(1j)) < 1e-8) == 1
    assert np.sum(np.abs(report.values - 1.1 * np.exp(-1j)) < 1e-8) == 1


def test_a_strongly_non_normal_contraction_is_not_called_unstable() -> None:
    J = 0.5 * np.eye(N) + np.diag(np.full(N - 1, 2.0), 1)  # a Jordan block: pseudospectra far outside of the disc
    report = after(J, np.random.default_rng(0), 20)
    assert not report.unstable
    assert report.radius > 1.0  # the estimate is honest about nothing but the Ritz values


def test_in_single_precision_half_of_the_digits_go_sooner() -> None:
    values, errors = np.array([0.5 + 0j]), np.zeros(1)
    assert not SpectralReport(values, errors, 1e5).ill_conditioned
    assert SpectralReport(values, errors, 1e5, precision=2.0**-23).ill_conditioned


def test_a_report_without_products_says_so() -> None:
    iteration = GMRES(lambda u: u, np.ones(3), backend("numpy"))
    iteration.start()
    report = spectral_report(iteration)
    assert report.radius == 0.0 and report.distance_to_one == np.inf
    assert not report.unstable and not report.ill_conditioned and len(report.converged) == 0
    assert "nothing is known" in repr(report)
    iteration = GMRES(lambda u: u, np.ones(3), backend("numpy"), precondition=lambda u: u)
    iteration.start()
    assert len(spectral_report(iteration).values) == 0
