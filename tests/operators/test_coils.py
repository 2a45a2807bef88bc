"""CoilSensitivities and ParallelMRI: loops and shifted FFTs as oracles, grams by rule, gradients, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.nodes import walk
from opalg.operators import Batched, Diagonal, DiagonalIn, Identity
from opalg.operators.coils import CoilSensitivities, ParallelMRI
from opalg.operators.nonuniform import NonuniformFFT
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, random_array, real_matrix


def centred_fft(x):
    axes = tuple(range(1, x.ndim))
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


@pytest.mark.parametrize("normalise", [False, True])
def test_coils_see_the_image_through_their_maps(rng, normalise):
    maps, x = random_array(rng, (3, 4, 5), "complex"), random_array(rng, (2, 4, 5), "complex")
    maps[:, 1, 2] = 0
    S = CoilSensitivities(maps, normalise)
    if normalise:
        size = np.sqrt(sum(abs(s) ** 2 for s in maps))
        size[1, 2] = 1
        maps = maps / size
    for b in range(2):
        seen = np.array([s * x[b] for s in maps])
        assert np.allclose((S @ x)[b], seen, atol=1e-14)
        assert np.allclose(S.H @ seen, sum(np.conj(s) * y for s, y in zip(maps, seen, strict=True)), atol=1e-13)
    energy = sum(abs(s) ** 2 for s in maps)
    assert S.norm_bound().value == pytest.approx(np.sqrt(energy.max())) and S.norm_bound().certainty == "exact"


def test_gram_of_coils_is_a_diagonal(rng):
    maps = random_array(rng, (3, 4), "complex")
    gram = CoilSensitivities(maps).gram.simplify()
    assert isinstance(gram, Diagonal) and gram.facts.positive is oa.facts.YES
    assert np.allclose(np.diag(gram.to_dense()), np.sum(np.abs(maps) ** 2, 0), atol=1e-14)
    other = random_array(rng, (3, 4), "complex")
    mixed = (CoilSensitivities(maps).H @ CoilSensitivities(other)).simplify()
    assert isinstance(mixed, Diagonal)
    assert np.allclose(mixed @ np.ones(4, complex), np.sum(maps.conj() * other, 0), atol=1e-14)


def test_normalised_maps_are_an_isometry(rng):
    maps = random_array(rng, (4, 3, 5), "complex")
    for S in (CoilSensitivities(maps, normalise=True), CoilSensitivities(maps / np.linalg.norm(maps, axis=0))):
        assert S.facts.gram_scale.value == pytest.approx(1, abs=1e-15)
        x = random_array(rng, (3, 5), "complex")
        assert np.linalg.norm(S @ x) == pytest.approx(np.linalg.norm(x), rel=1e-14)
    assert CoilSensitivities(maps).facts.gram_scale is None
    assert CoilSensitivities(maps.astype(np.complex64)).facts.gram_scale is None
    assert CoilSensitivities(maps, normalise=True).gram.simplify() is Identity((3, 5))
    learned = CoilSensitivities(oa.Parameter(maps), normalise=True)
    assert learned.facts.gram_scale is None, "the value of a parameter may change"


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_gradients_reach_the_maps(rng, normalise, kind):
    maps = oa.Parameter(random_array(rng, (2, 3, 2), kind), name="maps")
    check_parameter_gradient(CoilSensitivities(maps, normalise), maps, rng)
    check_parameter_gradient(CoilSensitivities(maps, normalise).gram.simplify(), maps, rng)
    check_parameter_gradient(ParallelMRI(maps, np.array([True, False]), normalise=normalise), maps, rng)


@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (4, 5), (1, 7), (6,), (3, 2, 4)])
def test_sampling_is_a_masked_centred_transform(rng, shape):
    maps, mask = random_array(rng, (3, *shape), "complex"), rng.random(shape) < 0.6
    x = random_array(rng, (2, *shape), "complex")
    A = ParallelMRI(maps, mask)
    plain = ParallelMRI(maps, mask, centered=False)
    for b in range(2):
        coil_images = np.array([s * x[b] for s in maps])
        assert np.allclose((A @ x)[b], mask * centred_fft(coil_images), atol=1e-13)
        axes = tuple(range(1, len(shape) + 1))
        assert np.allclose((plain @ x)[b], mask * np.fft.fftn(coil_images, axes=axes, norm="ortho"), atol=1e-13)
    for operator in (A, plain):
        assert np.allclose(real_matrix(operator.H, "complex"), real_matrix(operator, "complex").T, atol=1e-13)


@pytest.mark.parametrize("mask", [np.array([1, 0, 0, 1, 1], bool), np.array([[True], [False], [True], [True]])])
def test_a_mask_per_line_keeps_whole_lines(rng, mask):
    maps = random_array(rng, (2, 4, 5), "complex")
    whole = ParallelMRI(maps, np.broadcast_to(mask, (4, 5)))
    assert np.array_equal(ParallelMRI(maps, mask).to_dense(), whole.to_dense())


def test_a_single_coil_has_no_coil_axis(rng):
    mask, x = rng.random((4, 5)) < 0.5, random_array(rng, (4, 5), "complex")
    A = ParallelMRI(None, mask)
    assert A.out_shape == (4, 5) and A.norm_bound().value == 1 and A.norm_bound().certainty == "exact"
    assert np.allclose(A @ x, mask * centred_fft(x[None])[0], atol=1e-14)
    full = ParallelMRI(None, np.ones((4, 5), bool))
    assert full.facts.unitary is oa.facts.YES and full.gram.simplify() is Identity((4, 5))
    assert np.allclose(full.inverse() @ (full @ x), x, atol=1e-14)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (5, 6)])
def test_gram_is_one_convolution_between_the_maps(rng, shape, centered):
    maps, mask = random_array(rng, (3, *shape), "complex"), rng.random(shape) < 0.5
    A = ParallelMRI(maps, mask, centered)
    gram = A.gram.simplify()
    parts = list(walk(gram))
    assert not any(isinstance(p, ParallelMRI) for p in parts)
    assert sum(isinstance(p, DiagonalIn) for p in parts) == 1
    assert gram.facts.positive is oa.facts.YES
    dense = A.to_dense()
    assert np.allclose(
        real_matrix(gram, "complex"), real_matrix(A, "complex").T @ real_matrix(A, "complex"), atol=1e-13
    )
    assert A.norm_bound().value >= np.linalg.norm(dense, 2) * (1 - 1e-12)
    x = random_array(rng, shape, "complex")
    argument = oa.program.expression.Input("x", shape, "complex")
    assert oa.emit.Function([gram.trace(argument)], [argument], oa.arrays.backend("numpy")).cost.transforms == 2
    assert np.allclose(gram @ x, (dense.conj().T @ (dense @ x.ravel())).reshape(shape), atol=1e-12)


def test_full_sampling_with_normalised_maps_is_an_isometry(rng):
    A = ParallelMRI(random_array(rng, (3, 4, 5), "complex"), None, normalise=True)
    assert A.facts.gram_scale.value == 1.0 and A.gram.simplify() is Identity((4, 5))
    assert np.allclose(A.H @ (A @ np.eye(4, 5, dtype=complex)), np.eye(4, 5), atol=1e-14)


def test_checks_at_a_size_that_is_not_built(rng):
    maps = random_array(rng, (4, 13, 12), "complex")
    assert check_operator(ParallelMRI(maps, rng.random((13, 12)) < 0.3))
    assert check_operator(CoilSensitivities(maps, normalise=True), library="torch", dtype="float32")


def test_reconstruction_from_half_the_lines(rng):
    maps = random_array(rng, (4, 6, 8), "complex")
    A = ParallelMRI(maps, np.arange(8) % 2 == 0)
    truth = random_array(rng, (6, 8), "complex")
    x = oa.Variable((6, 8), name="x", dtype=complex)
    sol = oa.minimize(oa.sum_squares(A @ x - A @ truth), tol=1e-12, max_iter=500)
    assert np.allclose(sol.x, truth, atol=1e-6)


def test_other_trajectories_compose_with_coils(rng):
    maps, points = random_array(rng, (3, 4, 5), "complex"), rng.uniform(-np.pi, np.pi, (9, 2))
    transform, S = NonuniformFFT((4, 5), points, 1e-12), CoilSensitivities(maps)
    A = Batched(transform, (3,)) @ S
    assert A.out_shape == (3, 9) and check_operator(A)
    toeplitz = S.H @ Batched(transform.toeplitz_gram(), (3,)) @ S
    x = random_array(rng, (4, 5), "complex")
    assert np.allclose(toeplitz @ x, A.gram @ x, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.ones((2, 3, 4)), np.ones((4, 3), bool)), ShapeError, r"mask.*\(4, 3\).*\(3, 4\)"),
        ((np.ones((2, 3, 4)), np.ones((2, 3, 4), bool)), ShapeError, "share one mask"),
        ((np.ones((2, 3, 4)), np.ones((3, 4))), DtypeError, "mask > 0"),
        ((np.ones(3), np.ones(3, bool)), ShapeError, r"maps\[None\]"),
        ((np.ones((2, 3), bool), None), DtypeError, "booleans"),
        ((None, None), ParameterError, r"FFT\(shape\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        ParallelMRI(*arguments)
