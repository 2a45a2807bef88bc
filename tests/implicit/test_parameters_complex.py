"""Gradients of solutions in complex parameters: ``g`` with ``dL = Re <g, dtheta>``, which is Torch's convention."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from tests.implicit.parameter_kinds import (
    Made,
    Table,
    as_numpy,
    assert_agrees,
    assert_slopes,
    complex_normal,
    fit,
    parameter,
    solved,
)

KINDS = Table()


def image(shape: tuple[int, ...]) -> oa.Variable:
    return oa.Variable(shape, name="x", dtype=complex)


@KINDS.entry
def data(rng: np.random.Generator) -> Made:
    y, x = parameter(complex_normal(rng, (6,)), "y"), image((6,))
    return 0.5 * oa.sum_squares(x - y) + 0.4 * oa.norm1(x), [y]


@KINDS.entry
def complex_diagonal(rng: np.random.Generator) -> Made:
    d = parameter(complex_normal(rng, (6,)), "d")
    x = image((6,))
    return fit(oa.Diagonal(d), x, complex_normal(rng, (6,))) + 0.2 * oa.norm1(x), [d]


@KINDS.entry
def real_diagonal(rng: np.random.Generator) -> Made:
    """A real parameter of a complex energy has a real gradient."""
    d, x = parameter(rng.uniform(0.3, 1.3, (2, 3)), "d"), image((2, 3))
    return fit(oa.Diagonal(d) @ oa.FFT((2, 3)), x, complex_normal(rng, (2, 3))) + 0.1 * oa.norm1(x), [d]


@KINDS.entry
def broadcast_phase(rng: np.random.Generator) -> Made:
    """One phase for each row, by a formula of a real parameter."""
    phase, x = parameter(rng.standard_normal((3, 1)), "phase"), image((3, 4))
    turned = oa.Diagonal(oa.exp(1j * phase), (3, 4)) @ oa.FFT((3, 4), axes=(-1,))
    return fit(turned, x, complex_normal(rng, (3, 4))) + 0.1 * oa.norm1(x), [phase]


@KINDS.entry
def dense(rng: np.random.Generator) -> Made:
    M, x = parameter(complex_normal(rng, (6, 4)) / 2, "M"), image((4,))
    return fit(oa.Matrix(M), x, complex_normal(rng, (6,))) + 0.2 * oa.norm1(x), [M]


@KINDS.entry
def dense_adjoint(rng: np.random.Generator) -> Made:
    M, x = parameter(complex_normal(rng, (4, 6)) / 2, "M"), image((4,))
    return fit(oa.Matrix(M).H, x, complex_normal(rng, (6,))), [M]


@KINDS.entry
def sparse_values(rng: np.random.Generator) -> Made:
    v, x = parameter(complex_normal(rng, (5,)), "values"), image((3,))
    A = oa.SparseMatrix.from_coordinates(v, [0, 1, 3, 3, 0], [1, 0, 2, 2, 2], (4, 3))
    return fit(A, x, complex_normal(rng, (4,))), [v]


@KINDS.entry
def kernel(rng: np.random.Generator) -> Made:
    k, x = parameter(complex_normal(rng, (2, 3)) / 2, "k"), image((4, 5))
    return fit(oa.Convolve(k, (4, 5)), x, complex_normal(rng, (4, 5))) + 0.1 * oa.norm1(x), [k]


@KINDS.entry
def zero_kernel(rng: np.random.Generator) -> Made:
    k, x = parameter(complex_normal(rng, (3,)) / 2, "k"), image((7,))
    return fit(oa.Convolve(k, (7,), boundary="zero"), x, complex_normal(rng, (7,))), [k]


@KINDS.entry
def real_kernel(rng: np.random.Generator) -> Made:
    k, x = parameter(rng.uniform(0.1, 0.5, 3), "k"), image((7,))
    return fit(oa.Convolve(k, (7,), boundary="reflect"), x, complex_normal(rng, (7,))), [k]


@KINDS.entry
def filters(rng: np.random.Generator) -> Made:
    bank, x = parameter(complex_normal(rng, (2, 3)) / 2, "bank"), image((6,))
    A = oa.MultiConvolve(bank, (6,))
    return fit(A, x, complex_normal(rng, A.out_shape)), [bank]


@KINDS.entry
def low_rank(rng: np.random.Generator) -> Made:
    U, V = parameter(complex_normal(rng, (5, 2)) / 2, "U"), parameter(complex_normal(rng, (4, 2)) / 2, "V")
    return fit(oa.LowRank(U, V), image((4,)), complex_normal(rng, (5,))), [U, V]


@KINDS.entry
def low_rank_square(rng: np.random.Generator) -> Made:
    U = parameter(complex_normal(rng, (4, 2)) / 2, "U")
    return fit(oa.Identity((4,)) + oa.LowRank(U), image((4,)), complex_normal(rng, (4,))), [U]


@KINDS.entry
def coils(rng: np.random.Generator) -> Made:
    s, x = parameter(complex_normal(rng, (2, 3, 4)) / 2, "maps"), image((3, 4))
    return fit(oa.CoilSensitivities(s), x, complex_normal(rng, (2, 3, 4))) + 0.1 * oa.norm1(x), [s]


@KINDS.entry
def normalised_coils(rng: np.random.Generator) -> Made:
    s, x = parameter(complex_normal(rng, (2, 3, 4)), "maps"), image((3, 4))
    weights = oa.Diagonal(rng.uniform(0.3, 1.0, (2, 3, 4)))
    return fit(weights @ oa.CoilSensitivities(s, normalise=True), x, complex_normal(rng, (2, 3, 4))), [s]


@KINDS.entry
def parallel_imaging(rng: np.random.Generator) -> Made:
    s, x = parameter(complex_normal(rng, (2, 4, 4)) / 2, "maps"), image((4, 4))
    A = oa.ParallelMRI(s, rng.random((1, 4)) < 0.7)
    return fit(A, x, complex_normal(rng, A.out_shape)) + 0.1 * oa.norm1(oa.Wavelet((4, 4), "haar", 1) @ x), [s]


@KINDS.entry
def weights_of_frequencies(rng: np.random.Generator) -> Made:
    """Sampling weights of a Fourier mask: real, as learned sampling patterns are."""
    m, x = parameter(rng.uniform(0.2, 1.0, (4, 4)), "mask"), image((4, 4))
    return fit(oa.Diagonal(m) @ oa.FFT((4, 4)), x, complex_normal(rng, (4, 4))) + 0.1 * oa.norm1(x), [m]


@KINDS.entry
def complex_factor(rng: np.random.Generator) -> Made:
    c, x = parameter(0.8 - 0.5j, "c"), image((5,))
    F = oa.FFT((5,))
    return fit(c * oa.Identity((5,)) + F, x, complex_normal(rng, (5,))) + 0.1 * oa.norm1(x), [c]


@KINDS.entry
def weights_of_magnitudes(rng: np.random.Generator) -> Made:
    w, x = parameter(rng.uniform(0.1, 0.8, 6), "w", nonneg=True), image((6,))
    return 0.5 * oa.sum_squares(x - complex_normal(rng, (6,))) + oa.norm1(x, weights=w), [w]


@KINDS.entry
def ball_of_a_complex_center(rng: np.random.Generator) -> Made:
    c, r = parameter(complex_normal(rng, (4,)), "center"), parameter(0.8, "radius", nonneg=True)
    x = image((4,))
    return 0.5 * oa.sum_squares(x - 3 * complex_normal(rng, (4,))) + oa.indicator(oa.ball2(r, c), x), [c, r]


@KINDS.entry
def slopes(rng: np.random.Generator) -> Made:
    c, x = parameter(complex_normal(rng, (5,)), "c"), image((5,))
    return 0.5 * oa.sum_squares(x) + oa.linear(c, x) + 0.3 * oa.norm1(x), [c]


@KINDS.entry
def real_variable(rng: np.random.Generator) -> Made:
    """Complex data of a real unknown."""
    d, y = parameter(complex_normal(rng, (5,)), "d"), parameter(complex_normal(rng, (5,)), "y")
    x = oa.Variable(5, name="x")
    return fit(oa.Diagonal(d) @ oa.FFT((5,)), x, y), [d, y]


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng))


@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize("name", ["dense", "kernel", "coils", "parallel_imaging", "sparse_values", "complex_factor"])
def test_libraries_agree(name: str, backend: str, rng: np.random.Generator) -> None:
    pytest.importorskip(backend)
    assert_agrees(KINDS[name](rng), backend)


def test_kinds_of_gradients(rng: np.random.Generator) -> None:
    """A gradient is real or complex as its parameter is."""
    for name in ("real_diagonal", "complex_diagonal"):
        made = KINDS[name](rng)
        _, _, found = solved(made)
        for p in made[1]:
            assert np.iscomplexobj(found[p]) == (p.kind == "complex")


def test_the_convention_is_that_of_torch(rng: np.random.Generator) -> None:
    """Against autograd through a dense solve of the normal equations."""
    torch = pytest.importorskip("torch")
    A, y, c = complex_normal(rng, (6, 4)), complex_normal(rng, (6,)), complex_normal(rng, (4,))
    M, data = parameter(A, "M"), parameter(y, "y")
    x = image((4,))
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(M) @ x - data) + 0.15 * oa.sum_squares(x), backend="torch")
    found = plan.solve(tol=1e-14, on_failure="return").vjp(torch.as_tensor(c), [M, data], tol=1e-13)
    T, t = torch.tensor(A, requires_grad=True), torch.tensor(y, requires_grad=True)
    normal = T.mH @ T + 0.3 * torch.eye(4, dtype=T.dtype)
    solution = torch.linalg.solve(normal, T.mH @ t)
    torch.real(torch.sum(torch.as_tensor(c).conj() * solution)).backward()
    for p, exact in ((M, T.grad), (data, t.grad)):
        assert np.linalg.norm(as_numpy(found[p]) - as_numpy(exact)) <= 1e-10 * np.linalg.norm(as_numpy(exact))
