"""NonuniformFFT and HermitianToeplitz: direct sums as oracle, adjoints to rounding, bounds, batches, libraries."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.linalg

import opalg as oa
from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.operators.nonuniform import NonuniformFFT
from opalg.operators.toeplitz import HermitianToeplitz
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, random_array, real_matrix

SHAPES = [(5,), (8,), (4, 3), (1, 6), (7, 8), (3, 2, 4)]


def direct(shape, points):
    """The matrix, term by term."""
    grids = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    angles = sum(np.outer(points[:, a], grid.ravel()) for a, grid in enumerate(grids))
    return np.exp(-1j * angles)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9, 1e-12])
def test_sums_are_as_accurate_as_asked_for(rng, shape, tolerance):
    points = rng.uniform(-np.pi, np.pi, (11, len(shape)))
    found = NonuniformFFT(shape, points, tolerance, norm="backward").to_dense()
    assert np.max(np.abs(found - direct(shape, points))) <= 10 * tolerance


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6, 1e-9])
def test_the_pair_is_adjoint_to_rounding_whatever_the_tolerance(rng, shape, tolerance):
    A = NonuniformFFT(shape, rng.uniform(-np.pi, np.pi, (11, len(shape))), tolerance)
    forward, back = real_matrix(A, "complex"), real_matrix(A.H, "complex")
    assert np.max(np.abs(back - forward.T)) <= 100 * 2.3e-16 * np.max(np.abs(forward))


@pytest.mark.parametrize("samples", [300, 40000])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_pairs_are_adjoint_and_repeatable(rng, samples, dtype):
    A = NonuniformFFT((65, 64), rng.uniform(-np.pi, np.pi, (samples, 2)))
    lib = backend("numpy", dtype)
    x, y = (lib.asarray(random_array(rng, s, "complex")) for s in (A.in_shape, A.out_shape))
    image, back = A @ x, A.H @ y
    gap = abs(np.vdot(image, y) - np.vdot(x, back)) / (np.linalg.norm(image) * np.linalg.norm(y))
    assert gap <= 50 * lib.epsilon
    assert np.array_equal(A @ x, image) and np.array_equal(A.H @ y, back)


def test_the_grid_gives_the_unitary_centred_transform(rng):
    shape = (4, 5)
    axes = [2 * np.pi * (np.arange(n) - n // 2) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    A = NonuniformFFT(shape, points, 1e-13)
    x = random_array(rng, shape, "complex")
    assert A.out_shape == shape
    assert np.allclose(A @ x, np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x), norm="ortho")), atol=1e-12)
    assert 1.0 <= float(A.norm_bound()) < 1 + 1e-10


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_norms_are_those_of_the_fft(rng, norm):
    points = 2 * np.pi * (np.arange(6) - 3) / 6
    x = random_array(rng, (6,), "complex")
    wanted = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x), norm=norm))
    assert np.allclose(NonuniformFFT((6,), points, 1e-12, norm) @ x, wanted, atol=1e-11)


def test_frequencies_repeat_and_samples_keep_their_axes(rng):
    points = rng.uniform(-np.pi, np.pi, (2, 3, 2))
    A = NonuniformFFT((4, 5), points)
    moved = NonuniformFFT((4, 5), points + 2 * np.pi * rng.integers(-5, 6, points.shape))
    assert A.out_shape == (2, 3)
    assert np.allclose(A.to_dense(), moved.to_dense(), atol=1e-11)
    flat = NonuniformFFT((5,), points[0, :, 0])
    assert flat.out_shape == NonuniformFFT((5,), points[0, :, :1]).out_shape == (3,)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [0.3, np.pi])
def test_the_norm_bound_is_above_the_norm_and_not_far(rng, shape, spread):
    points = rng.uniform(-spread, spread, (30, len(shape)))
    A = NonuniformFFT(shape, points)
    norm = np.linalg.norm(direct(shape, points), 2) / np.sqrt(np.prod(shape))
    assert norm <= float(A.norm_bound()) <= 2.0 * norm
    assert A.norm_bound().certainty == "upper"


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)])
def test_the_toeplitz_gram_is_the_gram(rng, shape):
    points, weights = rng.uniform(-np.pi, np.pi, (9, len(shape))), rng.random(9)
    A = NonuniformFFT(shape, points, 1e-12, norm="backward")
    dense = direct(shape, points)
    assert np.allclose(A.toeplitz_gram().to_dense(), dense.conj().T @ dense, atol=1e-9)
    weighted = A.toeplitz_gram(weights)
    assert np.allclose(weighted.to_dense(), dense.conj().T @ np.diag(weights) @ dense, atol=1e-9)
    assert weighted.H is weighted and check_operator(weighted)


def test_gradients_reach_the_weights_of_a_toeplitz_gram(rng):
    weights = oa.Parameter(rng.random(6), name="density")
    T = NonuniformFFT((3, 2), rng.uniform(-np.pi, np.pi, (6, 2))).toeplitz_gram(weights)
    check_parameter_gradient(T, weights, rng)


def test_toeplitz_matrices_depend_on_differences(rng):
    h = random_array(rng, (9,), "complex")
    hermitian = (h + np.conj(h[::-1])) / 2
    T = HermitianToeplitz(h)
    assert np.allclose(T.to_dense(), scipy.linalg.toeplitz(hermitian[4:], hermitian[4::-1]), atol=1e-13)
    eigenvalues = np.linalg.eigvalsh(T.to_dense())
    assert oa.program.interpreter.number(T.facts.lowest) <= eigenvalues[0]
    assert T.facts.self_adjoint is YES and float(T.norm_bound()) >= np.abs(eigenvalues).max()
    with pytest.raises(ShapeError, match="odd"):
        HermitianToeplitz(np.ones(4))


def test_batches_and_empty_batches(rng):
    A = NonuniformFFT((4, 3), rng.uniform(-np.pi, np.pi, (7, 2)))
    x = random_array(rng, (2, 3, 4, 3), "complex")
    assert np.allclose(A @ x, [[A @ x[i, j] for j in range(3)] for i in range(2)], atol=1e-14)
    assert (A @ x[:0]).shape == (0, 3, 7) and (A.H @ np.zeros((0, 7), complex)).shape == (0, 4, 3)
    for count in range(1, 12):
        A @ np.ones((count, 4, 3))
    assert len(A.plans._plans) <= 8


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_checks_on_every_library(rng, library, dtype):
    A = NonuniformFFT((6, 5), rng.uniform(-np.pi, np.pi, (9, 2)), 1e-6)
    assert check_operator(A, library=library, dtype=dtype)


def test_solves_and_gradients_flow_through(rng):
    A = NonuniformFFT((5, 4), rng.uniform(-np.pi, np.pi, (60, 2)))
    truth = random_array(rng, (5, 4), "complex")
    x = oa.Variable((5, 4), name="x", dtype=complex)
    y = oa.Parameter(A @ truth, name="y")
    sol = oa.minimize(oa.sum_squares(A @ x - y) + 1e-9 * oa.sum_squares(x), tol=1e-10)
    assert np.allclose(sol.x, truth, atol=1e-5)
    assert oa.testing.check_gradient(oa.sum_squares(A @ x - y) + 0.3 * oa.sum_squares(x))


def test_without_finufft_it_says_what_to_install(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "finufft", None)
    A = NonuniformFFT((4,), rng.uniform(-1, 1, 5))
    with pytest.raises(UnsupportedError, match=r"pip install 'opalg\[nufft\]'"):
        A @ np.ones(4)


@pytest.mark.parametrize(
    ("shape", "points", "options", "error", "words"),
    [
        ((4, 3), np.ones((5, 3)), {}, ShapeError, r"\(\*samples, 2\)"),
        ((4, 3), np.ones(5), {}, ShapeError, r"\(5,\)"),
        ((4,), np.ones((0, 1)), {}, ShapeError, "samples"),
        ((2, 2, 2, 2), np.ones((5, 4)), {}, ShapeError, "one to three axes"),
        ((4,), np.ones(5, complex), {}, DtypeError, "radians"),
        ((4,), np.ones(5), {"tolerance": 0.0}, ParameterError, "1e-14"),
        ((4,), np.ones(5), {"norm": "unitary"}, ParameterError, "ortho"),
        ((4,), np.ones(5), {"threads": 0}, ParameterError, "threads"),
        ((4,), oa.Parameter(np.ones(5), name="k"), {}, UnsupportedError, "'k'.*Constant"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(shape, points, options, error, words):
    with pytest.raises(error, match=words):
        NonuniformFFT(shape, points, **options)


def test_weights_that_do_not_fit_are_refused():
    A = NonuniformFFT((4,), np.ones(5))
    with pytest.raises(DtypeError, match="real part"):
        A.toeplitz_gram(1j * np.ones(5))
    with pytest.raises(ShapeError, match="weights"):
        A.toeplitz_gram(np.ones(4))


def test_the_text_names_shape_points_and_accuracy():
    assert (
        repr(NonuniformFFT((4,), np.ones(5), norm="forward")) == "NonuniformFFT((4,), 5 points, 1e-09, norm='forward')"
    )
    named = oa.Constant(np.ones(5), name="spiral")
    assert repr(NonuniformFFT((4,), named)) == "NonuniformFFT((4,), spiral, 5 points, 1e-09)"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_a_graphics_card_it_is_the_same(rng, dtype):
    torch = pytest.importorskip("torch")
    pytest.importorskip("cufinufft")
    A = NonuniformFFT((7, 6), rng.uniform(-np.pi, np.pi, (9, 2)), 1e-6)
    there, here = backend("torch", dtype, torch.device("cuda")), backend("numpy", dtype)
    for operator, shape in ((A, (2, 7, 6)), (A.H, (2, 9)), (A, (7, 6))):
        x = random_array(rng, shape, "complex")
        found = there.to_numpy(operator @ there.asarray(x))
        assert np.allclose(found, operator @ here.asarray(x), atol=1e-5)
