"""Differences against padding and subtracting."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.nodes import walk
from opalg.operators import Convolve, DiagonalIn, Divergence, FiniteDifference, Gradient, Identity, vstack
from opalg.operators.cosine import DCT, DST
from opalg.operators.difference import BOUNDARIES, SCHEMES, largest_difference
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import evaluate, number
from tests.operators.dense import real_matrix

PAD = {"periodic": {"mode": "wrap"}, "neumann": {"mode": "edge"}, "dirichlet": {"mode": "constant"}}
EDGE = {"forward": (1.0, -1.0, 0.0), "backward": (0.0, 1.0, -1.0), "central": (0.5, 0.0, -0.5)}


def reference(x, axis, scheme, boundary):
    """Pad by one entry on both sides, then combine three shifted arrays."""
    width = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
    padded, n = np.pad(x, width, **PAD[boundary]), x.shape[axis]
    after, here, before = (np.take(padded, range(s, s + n), axis) for s in (2, 1, 0))
    a, h, b = EDGE[scheme]
    return a * after + h * here + b * before


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_definition_and_norm(rng, scheme, boundary, n):
    x = rng.standard_normal((3, n, 2))
    for axis, own in ((1, 0), (2, 1)):
        made = FiniteDifference((n, 2), own, scheme, boundary)
        assert np.allclose(made @ x, reference(x, axis, scheme, boundary))
    line = FiniteDifference((n,), 0, scheme, boundary)
    norm = np.linalg.norm(real_matrix(line, "real"), 2)
    assert largest_difference(n, scheme, boundary) == pytest.approx(norm, abs=1e-14)
    assert np.array_equal(real_matrix(line.H, "real"), real_matrix(line, "real").T)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradient_stacks_forward_differences(rng, boundary):
    x = rng.standard_normal((2, 3, 4, 5))
    parts = [reference(x, axis, "forward", boundary) for axis in (1, 2, 3)]
    assert np.allclose(Gradient((3, 4, 5), boundary) @ x, np.stack(parts, axis=1))
    some = Gradient((3, 4, 5), boundary, axes=(2, 0)) @ x
    assert np.allclose(some, np.stack([parts[2], parts[0]], axis=1))


def test_neumann_gradient_norm_is_the_closed_form():
    wanted = np.sqrt((2 * np.cos(np.pi / 8)) ** 2 + (2 * np.cos(np.pi / 10)) ** 2)
    assert Gradient((4, 5)).norm_bound().value == pytest.approx(wanted)
    assert Gradient((1, 5)).norm_bound().value == pytest.approx(2 * np.cos(np.pi / 10))
    assert Gradient((1, 1)).norm_bound().value == 0.0


def test_divergence_is_minus_the_adjoint(rng):
    p = rng.standard_normal((2, 4, 5))
    assert np.allclose(Divergence((4, 5)) @ p, -(Gradient((4, 5)).H @ p))
    laplacian = (Divergence((4, 5), "periodic") @ Gradient((4, 5), "periodic")).simplify()
    assert isinstance(laplacian, DiagonalIn)
    x = rng.standard_normal((4, 5))
    wanted = sum(np.roll(x, s, a) for s in (-1, 1) for a in (0, 1)) - 4 * x
    assert np.allclose(laplacian @ x, wanted)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4), (1, 6), (2, 1, 3)])
def test_periodic_grams_are_diagonal(shape):
    grams = [Gradient(shape, "periodic").gram, Gradient(shape, "periodic", axes=(0,)).gram]
    for scheme in SCHEMES:
        one = FiniteDifference(shape, len(shape) - 1, scheme, "periodic")
        grams += [one.gram, one.cogram]
    for made in grams:
        simple = made.simplify()
        assert isinstance(simple, DiagonalIn) and simple.spectrum.kind == "real"
        assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-13)


def test_equal_grams_are_one_object():
    stack = vstack([Gradient((4, 5), "periodic"), 2.0 * Gradient((4, 5), "periodic")])
    gram = Gradient((4, 5), "periodic").gram.simplify()
    assert gram is Gradient((4, 5), "periodic").gram.simplify()
    made = (stack.gram + Identity((4, 5))).simplify()
    assert isinstance(made, DiagonalIn)
    assert np.allclose(real_matrix(made, "real"), 5 * real_matrix(gram, "real") + np.eye(20))


GRAMS = {
    ("forward", "neumann"): (DCT, 2),
    ("backward", "neumann"): (DCT, 2),
    ("central", "neumann"): (DCT, 2),
    ("forward", "dirichlet"): (DCT, 8),
    ("backward", "dirichlet"): (DST, 7),
}
COGRAMS = {("central", "neumann"): (DST, 2), ("forward", "dirichlet"): (DST, 7), ("backward", "dirichlet"): (DCT, 8)}


def by_transform(operator):
    """The operator by its transform, whatever cheaper form it has."""
    return DiagonalIn(operator.transform, operator.spectrum)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("boundary", ["neumann", "dirichlet"])
def test_grams_are_diagonal_in_cosines_and_sines(n, scheme, boundary):
    for axis, shape in ((0, (n, 3)), (1, (3, n))):
        d = FiniteDifference(shape, axis, scheme, boundary)
        for made, wanted in ((d.gram, GRAMS), (d.cogram, COGRAMS)):
            simple, family = made.simplify(), wanted.get((scheme, boundary))
            dense = real_matrix(made, "real")
            assert np.allclose(real_matrix(simple, "real"), dense, atol=1e-13)
            if family is None:
                assert not isinstance(simple, DiagonalIn)
                continue
            assert isinstance(simple, DiagonalIn)
            assert (type(simple.transform), simple.transform.type) == family
            assert simple.transform.axes == (axis - 2,)
            for kind in ("real", "complex"):
                assert np.allclose(real_matrix(by_transform(simple), kind), real_matrix(made, kind), atol=1e-13)
            values = np.linalg.eigvalsh(dense)
            assert simple.norm_bound().value == pytest.approx(values[-1], abs=1e-13)
            assert number(simple.facts.lowest) == pytest.approx(values[0], abs=1e-13)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(4, 5), (1, 6), (2, 1, 3)])
def test_gram_of_a_gradient_needs_no_transform_until_it_is_inverted(boundary, shape, rng):
    made = Gradient(shape, boundary).gram
    simple = made.simplify()
    assert isinstance(simple, DiagonalIn)
    lib, x = backend("numpy"), Input("x", shape, "real")
    applied = [n.operator for n in walk(simple.trace(x)) if isinstance(n, Apply)]
    assert all(isinstance(o, Gradient) for o in applied) and len(applied) == 2
    shifted = (0.3 * made + 0.1 * Identity(shape)).simplify()
    assert not any(n.operator.kernel().transforms for n in walk(shifted.trace(x)) if isinstance(n, Apply))
    dense = 0.3 * real_matrix(made, "real") + 0.1 * np.eye(prod(shape))
    assert np.allclose(real_matrix(shifted, "real"), dense)
    assert np.allclose(real_matrix(shifted.inverse(), "real") @ dense, np.eye(prod(shape)))
    (found,) = evaluate([by_transform(shifted).trace(x)], {x: rng.standard_normal(shape)}, lib)
    assert found.shape == shape


def test_different_axes_meet_in_one_transform(rng):
    shape = (2, 3, 4)
    for boundary in BOUNDARIES:
        parts = [FiniteDifference(shape, axis, "forward", boundary).gram for axis in (2, 0)]
        total = (parts[0] + 0.5 * parts[1]).simplify()
        assert isinstance(total, DiagonalIn) and total.transform.axes == (-3, -1)
        wanted = real_matrix(parts[0], "real") + 0.5 * real_matrix(parts[1], "real")
        assert np.allclose(real_matrix(by_transform(total), "real"), wanted, atol=1e-13)
        product = (parts[0] @ parts[1]).simplify()
        assert isinstance(product, DiagonalIn)
        assert np.allclose(real_matrix(by_transform(product), "real"), real_matrix(parts[0] @ parts[1], "real"))


def test_periodic_differences_join_spectra_of_convolutions(rng):
    shape = (4, 5)
    blur = Convolve(rng.standard_normal((3, 3)), shape)
    for scheme in SCHEMES:
        d = FiniteDifference(shape, 0, scheme, "periodic")
        for made in (d @ blur, blur @ d, (blur @ d).gram, d.H @ blur.gram @ d):
            simple = made.simplify()
            assert isinstance(simple, DiagonalIn) and not simple.local
            assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-12)
        assert (blur @ d).gram.simplify().facts.positive is YES
        assert d.simplify() is d


def test_boundaries_of_different_bases_stay_apart():
    made = Gradient((4, 5)).gram + Gradient((4, 5), "periodic").gram
    simple = made.simplify()
    assert not isinstance(simple, DiagonalIn)
    assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-13)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_grams_of_complex_images(boundary, rng):
    made = Gradient((3, 4), boundary).gram
    z = rng.standard_normal((2, 3, 4)) + 1j * rng.standard_normal((2, 3, 4))
    wanted = (made @ z.real) + 1j * (made @ z.imag)
    for operator in (made, made.simplify(), by_transform(made.simplify())):
        assert np.allclose(operator @ z, wanted)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_gradient_writes_into_what_it_is_given(library, rng):
    for precision in ("float32", "float64"):
        lib = backend(library, precision)
        for boundary in BOUNDARIES:
            for shape in ((3, 4), (4, 8), (8, 8), (1, 2)):
                made = Gradient(shape, boundary)
                x, p = lib.asarray(rng.standard_normal(shape)), lib.asarray(rng.standard_normal(made.out_shape))
                for kernel, given, size in (
                    (made.kernel(), x, made.out_shape),
                    (made.adjoint_kernel(), p, shape),
                ):
                    out = lib.asarray(np.full(size, 7.0))
                    result = kernel.function(lib, given, *kernel.arguments, out=out)
                    assert result is out
                    wanted = (made @ given) if size == made.out_shape else (made.H @ given)
                    assert np.array_equal(lib.to_numpy(out), lib.to_numpy(wanted))


def test_misuse_is_explained():
    with pytest.raises(UnsupportedError, match="neumann"):
        FiniteDifference((4,), 0, boundary="reflect")
    with pytest.raises(UnsupportedError, match="central"):
        FiniteDifference((4,), 0, scheme="upwind")
    with pytest.raises(ShapeError, match="axes"):
        FiniteDifference((4,), 1)
    with pytest.raises(ShapeError, match="axes"):
        Gradient((4, 4), axes=(0, 0))
    with pytest.raises(UnsupportedError, match="periodic"):
        Gradient((4, 4), "wrap")
