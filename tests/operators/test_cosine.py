"""Cosine and sine transforms against SciPy, their defining sums, and what they cancel with."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.operators import Diagonal, DiagonalIn, Identity, Mask, Wavelet
from opalg.operators.cosine import DCT, DST
from opalg.program.interpreter import number
from tests.operators.dense import real_matrix

NORMS = ("ortho", "backward", "forward")
SCIPY = {DCT: scipy.fft.dctn, DST: scipy.fft.dstn}
ODD_TYPES = [(DCT, 8), (DST, 6), (DST, 7)]


def rule_members(rng):
    """Operators on which this family's rules fire."""
    plain = DCT((4, 3), norm="backward")
    middle = Diagonal(rng.standard_normal((4, 3)))
    return [
        plain.inverse() @ plain,
        DST((4,), type=3, norm="forward") @ (DST((4,), norm="forward") @ Mask(rng.random(4) < 0.5)),
        DST((4, 3), type=1) @ middle @ DST((4, 3), type=1) @ middle,
    ]


def defining_matrix(kind, number_of, n):
    """Twice the cosine or sine of each pair of indices, for the types that SciPy has not."""
    k, i = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    angle = {6: (k + 1) * (i + 0.5), 7: (k + 0.5) * (i + 1), 8: (k + 0.5) * (i + 0.5)}[number_of] / (n + 0.5)
    return 2 * (np.cos if kind is DCT else np.sin)(np.pi * angle)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [DCT, DST])
def test_types_of_scipy(kind, norm, library, rng):
    lib = backend(library)
    for number_of in (1, 2, 3, 4):
        for shape, axes in (((4, 5), None), ((3, 2, 7), (-1, 0)), ((2, 8, 3), (1,))):
            x = rng.standard_normal((2, *shape)) + 1j * rng.standard_normal((2, *shape))
            own = tuple(a % len(shape) + 1 for a in (range(len(shape)) if axes is None else axes))
            wanted = SCIPY[kind](x, type=number_of, axes=own, norm=norm)
            made = kind(shape, axes, number_of, norm)
            for given, expected in ((x, wanted), (x.real.copy(), wanted.real)):
                found = lib.to_numpy(made @ lib.asarray(given))
                assert np.allclose(found, expected, atol=1e-12)
                assert np.iscomplexobj(found) == np.iscomplexobj(given)


@pytest.mark.parametrize(("kind", "number_of"), ODD_TYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_types_of_odd_length(kind, number_of, n):
    plain = defining_matrix(kind, number_of, n)
    for norm, scale in (("backward", 1.0), ("forward", 1 / (2 * n + 1)), ("ortho", (2 * n + 1) ** -0.5)):
        assert np.allclose(real_matrix(kind((n,), type=number_of, norm=norm), "real"), scale * plain)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("kind", [DCT, DST])
def test_paths_by_fft_agree_with_scipy_at_every_length(kind, n, rng):
    lib, x = backend("array_api_strict"), rng.standard_normal((2, n, 3))
    for number_of in (1, 2, 3, 4):
        if (kind, number_of, n) != (DCT, 1, 1):
            found = lib.to_numpy(kind((n, 3), 0, number_of) @ lib.asarray(x))
            assert np.allclose(found, SCIPY[kind](x, type=number_of, axes=[1], norm="ortho"))


def every_member():
    rng = np.random.default_rng(3)
    return [*DCT.examples(rng), *DST.examples(rng)]


@pytest.mark.parametrize("operator", every_member(), ids=repr)
def test_inverse_adjoint_and_facts(operator):
    dense = real_matrix(operator, "real")
    assert np.allclose(real_matrix(operator.inverse(), "real") @ dense, np.eye(len(dense)))
    assert np.allclose(real_matrix(operator.H, "real"), dense.T)
    bound, norm = operator.norm_bound(), np.linalg.norm(dense, 2)
    assert bound.value >= norm * (1 - 1e-14)
    if bound.certainty == "exact":
        assert bound.value == pytest.approx(norm)
    if operator.norm == "ortho":
        assert operator.facts.unitary is YES and isinstance(operator.H, type(operator))


@pytest.mark.parametrize(("kind", "number_of"), [(DCT, t) for t in (1, 2, 3, 4, 8)] + [(DST, t) for t in (1, 2, 3, 6)])
def test_transforms_cancel_their_inverses(kind, number_of):
    for norm in NORMS:
        there = kind((4, 3), type=number_of, norm=norm)
        assert (there.inverse() @ there).simplify() is Identity((4, 3))
        assert (there @ there.inverse()).simplify() is Identity((4, 3))
    plain = kind((4, 3), type=number_of, norm="backward")
    twice = kind((4, 3), type=plain.inverse().type, norm="backward") @ plain
    simple = twice.simplify()
    assert simple.operator is Identity((4, 3))
    assert np.allclose(real_matrix(twice, "real"), number(simple.factor) * np.eye(12))


def test_orthogonal_transforms_cancel_across_axes_orders():
    made = DCT((4, 3), axes=(1, 0), type=3) @ DCT((4, 3), axes=(1, 0))
    assert made.simplify() is Identity((4, 3))
    assert not isinstance((DCT((4, 3)) @ DST((4, 3))).simplify(), Identity)


@pytest.mark.parametrize(
    "transform", [DCT((4, 6)), DCT((4, 6), axes=0), DST((4, 6), type=1), Wavelet((4, 6), "haar", 1)]
)
def test_diagonals_between_a_transform_and_its_adjoint(transform, rng):
    for middle in (Diagonal(rng.standard_normal((4, 6))), Mask(rng.random((4, 6)) < 0.5)):
        made = transform.H @ middle @ transform
        simple = made.simplify()
        assert isinstance(simple, DiagonalIn) and simple.transform is transform
        assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-13)
        gram = (middle @ transform).gram.simplify()
        assert isinstance(gram, DiagonalIn) and gram.facts.positive is YES


def test_misuse_is_explained():
    with pytest.raises(UnsupportedError, match="types"):
        DCT((4,), type=5)
    with pytest.raises(UnsupportedError, match="types"):
        DST((4,), type=8)
    with pytest.raises(ParameterError, match="norm"):
        DST((4,), norm="unitary")
    with pytest.raises(ShapeError, match="type 1"):
        DCT((1, 4), type=1)
    with pytest.raises(ShapeError, match="axes"):
        DCT((4, 4), axes=2)
