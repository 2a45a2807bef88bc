"""Second differences against padding and subtracting."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.nodes import walk
from opalg.operators import Convolve, DiagonalIn, FiniteDifference, Gradient, Identity
from opalg.operators.second_order import Hessian, Laplacian, SymmetrizedGradient, packed
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import number
from tests.operators.dense import real_matrix
from tests.operators.test_difference import BOUNDARIES, by_transform, reference

PAD = {"periodic": {"mode": "wrap"}, "neumann": {"mode": "edge"}, "dirichlet": {"mode": "constant"}}
SHAPES = [((4, 5), None), ((3, 1, 4), None), ((2, 5, 3), (2, 0)), ((6,), None), ((2, 2), None)]


def rule_members(rng):
    """Operators on which this family's rules fire."""
    shape = (3, 4)
    lap = Laplacian(shape, "dirichlet")
    return [
        Hessian(shape).gram + 0.5 * Laplacian(shape).gram,
        Hessian(shape, "dirichlet", axes=0).gram @ FiniteDifference(shape, 1),
        SymmetrizedGradient(shape, "dirichlet", axes=0).gram @ SymmetrizedGradient(shape, axes=0).H,
        0.3 * lap.gram - lap + 0.2 * Identity(shape) + FiniteDifference(shape, 0),
    ]


def second(x, axis, boundary):
    """Pad by one entry on both sides, then combine three shifted arrays."""
    width = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
    padded, n = np.pad(x, width, **PAD[boundary]), x.shape[axis]
    after, here, before = (np.take(padded, range(s, s + n), axis) for s in (2, 1, 0))
    return after - 2 * here + before


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_definitions(shape, axes, boundary, rng):
    own = tuple(range(len(shape))) if axes is None else axes
    x = rng.standard_normal((2, *shape)) + 1j * rng.standard_normal((2, *shape))
    wanted = sum(second(x, a + 1, boundary) for a in own)
    assert np.allclose(Laplacian(shape, boundary, axes) @ x, wanted)
    parts = []
    for j, k in packed(len(own)):
        inner = reference(x, own[k] + 1, "forward", boundary)
        mixed = np.sqrt(2) * reference(inner, own[j] + 1, "forward", boundary)
        parts.append(second(x, own[j] + 1, boundary) if j == k else mixed)
    assert np.allclose(Hessian(shape, boundary, axes) @ x, np.stack(parts, axis=1))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_symmetrized_gradient(shape, axes, boundary, rng):
    own = tuple(range(len(shape))) if axes is None else axes
    w = rng.standard_normal((2, len(own), *shape))
    jacobian = [[reference(w[:, k], a + 1, "backward", boundary) for k in range(len(own))] for a in own]
    wanted = []
    for j, k in packed(len(own)):
        wanted.append(jacobian[j][j] if j == k else np.sqrt(2) * (jacobian[j][k] + jacobian[k][j]) / 2)
    found = SymmetrizedGradient(shape, boundary, axes) @ w
    assert np.allclose(found, np.stack(wanted, axis=1))
    matrix = [[(jacobian[j][k] + jacobian[k][j]) / 2 for k in range(len(own))] for j in range(len(own))]
    assert np.allclose(np.sum(found**2, axis=1), sum(entry**2 for row in matrix for entry in row))


def members():
    rng = np.random.default_rng(4)
    return [o for cls in (Laplacian, Hessian, SymmetrizedGradient) for o in cls.examples(rng)]


@pytest.mark.parametrize("operator", members(), ids=repr)
def test_adjoints_norms_and_grams(operator):
    dense = real_matrix(operator, "real")
    assert np.allclose(real_matrix(operator.H, "real"), dense.T)
    bound, norm = operator.norm_bound(), np.linalg.norm(dense, 2)
    assert bound.value >= norm * (1 - 1e-14)
    assert bound.certainty == "upper" or bound.value == pytest.approx(norm)
    simple = operator.gram.simplify()
    assert np.allclose(real_matrix(simple, "complex"), np.kron(np.eye(2), dense.T @ dense))
    if isinstance(simple, DiagonalIn):
        assert simple.local and simple.facts.positive is YES
        assert np.allclose(real_matrix(by_transform(simple), "real"), dense.T @ dense)


def test_which_grams_are_diagonal():
    for boundary in BOUNDARIES:
        assert isinstance(Laplacian((3, 4), boundary).gram.simplify(), DiagonalIn)
        assert isinstance(Hessian((3, 4), boundary).gram.simplify(), DiagonalIn) == (boundary != "dirichlet")
        assert isinstance(Hessian((3, 4), boundary, axes=1).gram.simplify(), DiagonalIn)
        assert isinstance(SymmetrizedGradient((3, 4), boundary, axes=0).gram.simplify(), DiagonalIn)
        assert not isinstance(SymmetrizedGradient((3, 4), boundary).gram.simplify(), DiagonalIn)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_laplacians_stay_stencils_and_invert_by_transforms(boundary):
    shape = (3, 4)
    lap = Laplacian(shape, boundary)
    assert lap.simplify() is lap
    shifted = (0.5 * Identity(shape) - 2.0 * lap).simplify()
    assert isinstance(shifted, DiagonalIn)
    x = Input("x", shape, "real")
    assert not any(n.operator.kernel().transforms for n in walk(shifted.trace(x)) if isinstance(n, Apply))
    dense = 0.5 * np.eye(12) - 2.0 * real_matrix(lap, "real")
    assert np.allclose(real_matrix(shifted, "real"), dense)
    assert np.allclose(real_matrix(shifted.inverse(), "real") @ dense, np.eye(12))
    assert number(shifted.facts.lowest) == pytest.approx(np.linalg.eigvalsh(dense)[0])
    if boundary == "dirichlet":
        assert np.allclose(real_matrix(lap.inverse(), "real") @ real_matrix(lap, "real"), np.eye(12))
    else:
        with pytest.raises(UnsupportedError, match="constants"):
            lap.inverse()


def test_laplacian_is_minus_the_gram_of_the_gradient_but_for_dirichlet():
    for boundary in BOUNDARIES:
        total = real_matrix(Laplacian((3, 4), boundary), "real") + real_matrix(Gradient((3, 4), boundary).gram, "real")
        assert np.allclose(total, 0.0) == (boundary != "dirichlet")


def test_laplacian_joins_the_spectrum_of_a_blur(rng):
    blur = Convolve(rng.standard_normal((3, 3)), (4, 5))
    lap = Laplacian((4, 5), "periodic")
    ahead = FiniteDifference((4, 5), 1, "central", "periodic")
    for made in (lap @ blur, blur.gram + 0.1 * lap.gram, lap @ ahead @ blur, blur.gram - lap + 0.3 * ahead.gram):
        simple = made.simplify()
        assert isinstance(simple, DiagonalIn) and not simple.local
        assert np.allclose(real_matrix(simple, "real"), real_matrix(made, "real"), atol=1e-12)


def test_total_generalised_variation_ignores_affine_images():
    i, j = np.meshgrid(np.arange(6.0), np.arange(5.0), indexing="ij")
    w = np.stack([np.full((6, 5), 2.0), np.full((6, 5), -3.0)])
    inside = (Gradient((6, 5)) @ (2 * i - 3 * j))[:, :-1, :-1]
    assert np.allclose(inside, w[:, :-1, :-1])
    assert np.allclose(SymmetrizedGradient((6, 5)) @ w, 0.0)
    assert np.allclose((Hessian((6, 5)) @ (2 * i - 3 * j + i * j))[:, 1:-1, 1:-1], [[[0.0]], [[np.sqrt(2)]], [[0.0]]])


def test_second_order_denoising_by_an_exact_update(rng):
    y = rng.standard_normal((8, 7))
    x = oa.Variable((8, 7), name="x")
    energy = 0.5 * oa.sum_squares(x - y) + 0.2 * oa.norm21(Hessian((8, 7)) @ x)
    values = [oa.compile(energy, method=m).solve(tol=1e-8).value for m in ("admm", "primal_dual")]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_misuse_is_explained():
    for cls in (Laplacian, Hessian, SymmetrizedGradient):
        with pytest.raises(UnsupportedError, match="neumann"):
            cls((4, 4), "reflect")
        with pytest.raises(ShapeError, match="axes"):
            cls((4, 4), axes=(0, 0))
