"""Operators diagonal in a basis, and the rules that find and merge them."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.leaves import Parameter
from opalg.nodes import walk
from opalg.operators import (
    FFT,
    RFFT,
    AsComplex,
    Convolve,
    Diagonal,
    DiagonalIn,
    Gradient,
    Identity,
    Mask,
    Wavelet,
)
from opalg.operators.bases import full_spectrum
from opalg.operators.batched import Batched
from opalg.operators.cosine import DCT, DST
from opalg.operators.mirrored import Mirrored, Unfolded
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import evaluate, number
from tests.operators.dense import as_reals, check_parameter_gradient, random_array, real_matrix, units

SHAPE = (4, 5)


def rule_members(rng):
    """Operators on which the rules of spectra fire."""
    cosines = DiagonalIn(DCT(SHAPE), rng.standard_normal(SHAPE))
    blur = Convolve(rng.standard_normal((3, 3)), SHAPE)
    mask = Mask(rng.random((2, *SHAPE)) < 0.5)
    return [
        AsComplex(SHAPE).H @ (cosines @ AsComplex(SHAPE)),
        AsComplex(SHAPE).H @ (blur @ (AsComplex(SHAPE) @ Diagonal(rng.standard_normal(SHAPE)))),
        Batched(cosines, (2,)) + mask + Gradient((2, *SHAPE), axes=(1, 2)).gram,
        Batched(blur, (2,)) @ mask @ Gradient((2, *SHAPE), "periodic", axes=(1, 2)).gram,
        blur.gram + DiagonalIn(RFFT(SHAPE, axes=0), np.ones((3, 1))) - 0.5 * Identity(SHAPE) + cosines,
    ]


def _same(a, b, kind="real"):
    return np.allclose(real_matrix(a, kind), real_matrix(b, kind), atol=1e-12)


def test_is_the_filter_that_numpy_computes(rng):
    kernel, x = rng.standard_normal(SHAPE), rng.standard_normal((3, *SHAPE))
    s = np.fft.rfftn(kernel)
    wanted = np.fft.irfftn(s * np.fft.rfftn(x, axes=(1, 2)), s=SHAPE, axes=(1, 2))
    assert np.allclose(DiagonalIn(RFFT(SHAPE), s) @ x, wanted)
    z = x + 1j * x[::-1]
    wanted_complex = np.fft.ifftn(np.fft.fftn(kernel) * np.fft.fftn(z, axes=(1, 2)), axes=(1, 2))
    assert np.allclose(DiagonalIn(RFFT(SHAPE), s) @ z, wanted_complex)
    assert np.allclose(DiagonalIn(FFT(SHAPE), np.fft.fftn(kernel)) @ z, wanted_complex)


def test_the_factor_of_the_transform_cancels(rng):
    s = Parameter(rng.random(SHAPE), name="s")
    assert DiagonalIn(FFT(SHAPE, norm="ortho"), s) is DiagonalIn(FFT(SHAPE, axes=(1, 0), norm="forward"), s)


def test_other_isometries_serve_as_basis(rng):
    w, d = Wavelet((8,), "haar", 2), rng.standard_normal(8)
    made = DiagonalIn(w, d)
    assert _same(made, w.H @ Diagonal(d) @ w)
    assert made.norm_bound().value == pytest.approx(np.abs(d).max())


def test_gradient_in_the_spectrum(rng):
    s = Parameter(rng.random(SHAPE) + 1j * rng.random(SHAPE), name="s")
    check_parameter_gradient(DiagonalIn(FFT(SHAPE), s), s, rng)
    check_parameter_gradient(DiagonalIn(FFT(SHAPE), s).H, s, rng)
    kernel = Parameter(rng.standard_normal(SHAPE), name="k")
    spectrum = Apply(RFFT(SHAPE), kernel)
    check_parameter_gradient(DiagonalIn(RFFT(SHAPE), spectrum), kernel, rng)


def test_gram_has_a_real_nonnegative_spectrum(rng):
    k = Convolve(rng.standard_normal((3, 3)), SHAPE)
    w = DiagonalIn(RFFT(SHAPE), np.abs(np.fft.rfftn(rng.standard_normal(SHAPE))))
    for made in (k.gram, (2.0 * k).gram, k.H @ w @ k, k.cogram):
        simple = made.simplify()
        assert isinstance(simple, DiagonalIn) and simple.spectrum.kind == "real"
        assert simple.facts.positive is YES and simple.facts.self_adjoint is YES
        assert _same(made, simple)


def test_sums_gather_in_one_spectrum(rng):
    k, weight = Convolve(rng.standard_normal((3, 3)), SHAPE), Parameter(0.3, name="w", nonneg=True)
    made = k.gram + weight * Gradient(SHAPE, "periodic").gram + 0.1 * Identity(SHAPE)
    simple = made.simplify()
    assert isinstance(simple, DiagonalIn) and isinstance(simple.transform, RFFT)
    assert simple.facts.positive is YES
    assert _same(made, simple)
    dense = real_matrix(made, "real")
    assert number(simple.facts.lowest) == pytest.approx(np.linalg.eigvalsh(dense)[0])
    assert np.allclose(real_matrix(simple.inverse(), "real") @ dense, np.eye(20))


def test_complex_and_real_spectra_meet_in_the_fft(rng):
    mask = Mask(rng.random(SHAPE) < 0.5)
    sampled = FFT(SHAPE).H @ mask @ FFT(SHAPE)
    made = sampled + 0.2 * Gradient(SHAPE, "periodic").gram
    simple = made.simplify()
    assert isinstance(simple, DiagonalIn) and isinstance(simple.transform, FFT)
    assert simple.facts.positive is YES
    assert _same(made, simple, "complex")
    for product in (sampled @ Gradient(SHAPE, "periodic").gram, Gradient(SHAPE, "periodic").gram @ sampled):
        assert isinstance(product.simplify(), DiagonalIn)
        assert _same(product, product.simplify(), "complex")


@pytest.mark.parametrize("norms", [("ortho", "ortho"), ("backward", "backward"), ("forward", "ortho")])
def test_fourier_conjugation_is_diagonalised(rng, norms):
    d = Diagonal(rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    made = FFT(SHAPE, norm=norms[0]).H @ d @ FFT(SHAPE, norm=norms[1])
    assert isinstance(made.simplify(), DiagonalIn)
    assert _same(made, made.simplify(), "complex")


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (1, 4), (3,)])
def test_real_data_get_real_ffts(rng, shape):
    mask = Mask(rng.random(shape) < 0.5)
    forward = mask @ FFT(shape) @ AsComplex(shape)
    simple = forward.gram.simplify()
    assert isinstance(simple, DiagonalIn) and isinstance(simple.transform, RFFT)
    assert simple.facts.positive is YES or simple.facts.self_adjoint is YES
    assert _same(forward.gram, simple)


def test_complex_multiples_stay_outside_of_half_spectra(rng):
    k = DiagonalIn(RFFT(SHAPE), np.fft.rfftn(rng.standard_normal(SHAPE)))
    made = (1 + 2j) * k + 1j * Identity(SHAPE)
    assert _same(made, made.simplify(), "complex")


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (3, 2), (1, 1), (2, 3, 4)])
def test_completed_half_spectra(rng, shape):
    kernel = rng.standard_normal(shape)
    lib = backend("numpy")
    half = Input("half", RFFT(shape).out_shape, "complex")
    (full,) = evaluate([full_spectrum(half, RFFT(shape))], {half: np.fft.rfftn(kernel)}, lib)
    assert np.allclose(full, np.fft.fftn(kernel))


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize(
    "primitive",
    [Unfolded((4, 5), (-2, -1)), Unfolded((3, 4), (-1, -2)), Unfolded((2, 1), (-1,)), Mirrored((3, 4), (-2, -1))],
)
def test_adjoints_of_the_primitives(library, primitive):
    lib = backend(library)
    for kind in ("real", "complex"):
        matrices = []
        for adjoint in (False, True):
            given = units(primitive.out_shape if adjoint else primitive.in_shape, kind)
            x = Input("x", given.shape, kind)
            (out,) = evaluate([Apply(primitive, x, adjoint)], {x: lib.asarray(given)}, lib)
            matrices.append(as_reals(lib.to_numpy(out), len(given)).T)
        assert np.array_equal(matrices[0].T, matrices[1])


AXES = [(0,), (1,), (2,), (1, 0), (0, 2), (2, 1), (0, 1, 2), (2, 0, 1)]


@pytest.mark.parametrize("first", AXES)
@pytest.mark.parametrize("second", AXES)
def test_fourier_transforms_over_different_axes_meet(first, second, rng):
    shape = (2, 3, 4)
    z = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    def kernel(axes):
        return rng.standard_normal([n if a in axes else 1 for a, n in enumerate(shape)])

    a, b = kernel(first), kernel(second)
    real = DiagonalIn(RFFT(shape, first), np.fft.rfftn(a, axes=first))
    other = DiagonalIn(RFFT(shape, second), np.fft.rfftn(b, axes=second))
    complex_one = DiagonalIn(FFT(shape, first), np.fft.fftn(a, axes=first) * (1 + 1j))
    for p, q in ((real, other), (complex_one, other), (other, complex_one)):
        for made in (p + q, p @ q):
            simple = made.simplify()
            assert isinstance(simple, DiagonalIn) and set(simple.transform.axes) == {n - 3 for n in (*first, *second)}
            assert np.allclose(simple @ z, made @ z)
            assert made.in_kind == "complex" or np.allclose(simple @ z.real, made @ z.real)


def test_a_spectrum_that_varies_with_place_stays_apart(rng):
    place = DiagonalIn(DCT((3, 4), axes=1), rng.standard_normal((3, 4)))
    waves = DiagonalIn(DCT((3, 4)), rng.standard_normal((3, 4)))
    for made in (place + waves, place @ waves):
        assert not isinstance(made.simplify(), DiagonalIn)
        assert _same(made, made.simplify())


@pytest.mark.parametrize("basis", [DCT((3, 4)), DST((3, 4), type=1), DCT((3, 4), type=8), DST((3, 4), axes=0, type=3)])
def test_closure_in_cosines_and_sines(basis, rng):
    p = DiagonalIn(basis, rng.standard_normal((3, 4)))
    q = DiagonalIn(basis, Parameter(rng.random((3, 4)) + 0.1, name="q", positive=True))
    z = DiagonalIn(basis, rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4)))
    for made in (p @ q, p + 2.0 * q - 0.5 * Identity((3, 4)), p.gram, q.inverse() @ p, (1 + 2j) * p, z.gram, z @ p + q):
        simple = made.simplify()
        assert isinstance(simple, DiagonalIn) and simple.transform is basis
        assert _same(made, simple, "complex")
    dense = real_matrix(p, "real")
    assert p.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2)) and p.norm_bound().certainty == "exact"
    assert number(p.facts.lowest) == pytest.approx(np.linalg.eigvalsh(dense)[0])
    assert p.gram.simplify().facts.positive is YES and z.gram.simplify().facts.positive is YES
    assert _same(q.inverse() @ q, Identity((3, 4)))


def test_other_factors_of_a_cosine_basis_cancel(rng):
    s = Parameter(rng.random((3, 4)), name="s")
    assert DiagonalIn(DCT((3, 4), norm="backward"), s) is DiagonalIn(DCT((3, 4), axes=(1, 0)), s)
    plain = DCT((3, 4), norm="backward")
    assert _same(DiagonalIn(plain, s), plain.inverse() @ Diagonal(s) @ plain)
    with pytest.raises(ParameterError, match="ortho"):
        DiagonalIn(DCT((3, 4), type=3, norm="backward"), s)


def test_spectra_go_round_without_transforms(rng):
    basis = DCT((3, 4))
    a, b = DiagonalIn(basis, rng.standard_normal((3, 4))), DiagonalIn(basis, rng.standard_normal((3, 4)))
    x = Input("x", (3, 4), "real")
    there = a.trace(x)
    again = b.trace(2.0 * there - x)
    assert sum(isinstance(n, Apply) for n in walk(again)) == 3  # x once, and both results back
    lib, given = backend("numpy"), rng.standard_normal((3, 4))
    (found,) = evaluate([again], {x: given}, lib)
    assert np.allclose(found, b @ (2.0 * (a @ given) - given))


@pytest.mark.parametrize(("boundary", "kernel_boundary"), [("periodic", "periodic"), ("neumann", "symmetric")])
def test_colour_images_are_diagonal_over_their_own_axes(boundary, kernel_boundary, rng):
    blur = Convolve(np.ones((3, 3)) / 9, (4, 5), boundary=kernel_boundary)
    for kind in ("real", "complex"):
        y = random_array(rng, (3, 4, 5), kind)
        x = oa.Variable((3, 4, 5), name="x", dtype="complex128" if kind == "complex" else "float64")
        colours = Gradient((3, 4, 5), boundary, axes=(1, 2))
        one = Gradient((4, 5), boundary)
        energy = 0.5 * oa.sum_squares(blur @ x - y) + 0.1 * oa.sum_squares(colours @ x) + 0.2 * oa.sum_squares(one @ x)
        plan = oa.compile(energy)
        assert type(plan.method).__name__ == "ClosedForm"
        wanted = oa.compile(energy, method="conjugate_gradient").solve(tol=1e-12).x
        assert np.allclose(plan.solve().x, wanted, atol=1e-6)
        rough = 0.5 * oa.sum_squares(blur @ x - y) + 0.1 * oa.norm21(colours @ x)
        assert "axes=(-2, -1)" in oa.compile(rough, method="admm").explain()


def test_misuse_is_explained(rng):
    with pytest.raises(ParameterError, match="column 0"):
        DiagonalIn(RFFT((4, 4)), rng.standard_normal((4, 3)))
    bad = np.zeros((4, 3))
    bad[1, 2] = 1.0
    with pytest.raises(ParameterError, match="column 2"):
        DiagonalIn(RFFT((4, 4)), bad)
    with pytest.raises(ShapeError, match="broadcast"):
        DiagonalIn(RFFT((4, 4)), np.ones((4, 4)))
    with pytest.raises(ParameterError, match=r"T\.H T"):
        DiagonalIn(Gradient((4, 4)), np.ones((2, 4, 4)))
    with pytest.raises(UnsupportedError, match="zero"):
        DiagonalIn(FFT((2,)), np.array([1.0, 0.0])).inverse()
    DiagonalIn(FFT((2,)), Parameter(np.array([1.0, 0.0]))).inverse()  # the value may change


def test_reprs_are_short_and_say_what_the_spectrum_is_made_of():
    shape = (64, 48)
    k = Parameter(np.ones((3, 3)), name="k")
    rho = Parameter(0.5, name="rho", nonneg=True)
    blur = Convolve(k, shape)
    assert repr(blur.simplify()) == "DiagonalIn(RFFT, RFFT k)"
    assert repr(blur.gram.simplify()) == "DiagonalIn(RFFT, |RFFT k|^2)"
    assert repr((blur.gram + rho * Identity(shape)).simplify()) == "DiagonalIn(RFFT, |RFFT k|^2 + rho)"
    assert (
        repr(DiagonalIn(FFT((4, 4), axes=0), np.ones((1, 4)))) == "DiagonalIn(FFT(axes=(-2,)), array of shape (1, 4))"
    )
    long = Parameter(np.ones((3, 3)), name="a very long name " * 20)
    made = [Convolve(long, shape).gram + rho * Gradient(shape, "periodic").gram, Convolve(k + k * long, shape)]
    for operator in [*(o.simplify() for o in made), DiagonalIn(Wavelet((64, 64), "db4", 2), np.ones((64, 64)))]:
        assert isinstance(operator, DiagonalIn)
        assert len(repr(operator)) < 100 and "\n" not in repr(operator)
