"""Functionals behind operators, sums, blocks and total variations, from dense matrices, loops and CVXPY."""

from __future__ import annotations

import warnings
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import opalg as oa
from opalg import functionals as fs
from tests.functionals.definition_cases import charbonnier, huber, magnitude
from tests.functionals.definitions import STEPS, inner

RNG = np.random.default_rng(2)
ORDER = RNG.permutation(8)
SIGNS = np.where(RNG.uniform(size=8) > 0.5, 1.0, -1.0)
OFFSET = RNG.normal(size=8)
ROTATION = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
TIGHT = {
    "permutation": (oa.Permutation(ORDER), 1.0),
    "cosine": (oa.DCT((8,)), 1.0),
    "wavelet": (oa.Wavelet((8,), wavelet="haar", levels=2), 1.0),
    "hadamard": (oa.Hadamard((8,)), None),
    "reflection": (3.0 * oa.DCT((8,)), 9.0),
    "turned": (oa.DCT((8,)) @ oa.Permutation(ORDER), 1.0),
    "rows": (oa.Restrict([1, 4, 6], (8,)) @ oa.DCT((8,)), 1.0),
    "sensing": (oa.StructuredRandom((8,), 4), 1.0),
    "means": (oa.Downsample((8,), 2), 1.0),
}


SHARP = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}


def dense(A: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The matrix of an operator, column by column."""
    size = int(np.prod(shape))
    return np.stack([np.ravel(A @ e.reshape(shape)) for e in np.eye(size)], axis=1)


@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("name", TIGHT)
def test_prox_of_a_smooth_function_behind_a_tight_operator_is_stationary(name: str, t: float) -> None:
    A, constant = TIGHT[name]
    matrix = dense(A, (8,))
    rows = matrix.shape[0]
    if constant is not None:
        np.testing.assert_allclose(matrix @ matrix.T, constant * np.eye(rows), atol=1e-12)
    for g, model in ((fs.Charbonnier(0.3), charbonnier(0.3)), (fs.Huber(0.8), huber(0.8))):
        v = 5 * RNG.normal(size=8)
        f = g @ A
        u = f.prox(v, t)
        np.testing.assert_allclose(
            u + t * matrix.T @ model.slope(matrix @ u), v, atol=1e-10 * np.max(np.abs(v)) * (1 + t)
        )
        np.testing.assert_allclose(f.value(v), model.total(matrix @ v), rtol=1e-12)
        np.testing.assert_allclose(f.gradient(v), matrix.T @ model.slope(matrix @ v), atol=1e-12)
        moved = fs.Composition(g, A, OFFSET[:rows])
        u = moved.prox(v, t)
        np.testing.assert_allclose(
            u + t * matrix.T @ model.slope(matrix @ u + OFFSET[:rows]), v, atol=1e-10 * np.max(np.abs(v)) * (1 + t)
        )


@pytest.mark.parametrize("name", TIGHT)
def test_prox_of_the_l1_norm_behind_a_tight_operator(name: str) -> None:
    A, _ = TIGHT[name]
    matrix, v = dense(A, (8,)), 2 * np.random.default_rng(4).normal(size=8)
    f = fs.Norm1() @ A
    u = f.prox(v, 0.4)
    np.testing.assert_allclose(u, programmed(lambda u: cp.norm1(matrix @ u), nothing, v, 0.4), atol=1e-6)
    assert f.exactness.value in ("closed form", "exact by change of basis")
    batch = f.prox(np.stack([v, 2 * v]), np.array([0.4, 0.8]))
    np.testing.assert_allclose(batch, [u, 2 * u], atol=1e-12)
    q = np.asarray((v - u) / 0.4)
    np.testing.assert_allclose(f.conjugate.value(q * (1 - 1e-12)), 0.0, atol=1e-9)
    np.testing.assert_allclose(f.conjugate.prox(v, 0.4), v - 0.4 * f.prox(v / 0.4, 1 / 0.4), atol=1e-12)


def test_exactness_behind_operators() -> None:
    f = fs.Norm1()
    assert (f @ oa.Diagonal(SIGNS)).exactness.value == "closed form"
    assert (f @ oa.DCT((8,))).exactness.value == "exact by change of basis"
    assert not (f @ oa.Gradient((3, 4))).offers("prox")
    assert (f @ oa.Gradient((3, 4))).exactness is None
    with pytest.raises(oa.UnsupportedError, match="prox"):
        (f @ oa.Gradient((3, 4))).prox(np.zeros((3, 4)), 1.0)


def test_complex_unitary_transforms(rng: np.random.Generator) -> None:
    A = oa.FFT((3, 4))
    v = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    spectrum = np.fft.fft2(v, norm="ortho")
    size = np.abs(spectrum)
    expected = np.fft.ifft2(spectrum / size * np.maximum(size - 0.6, 0), norm="ortho")
    np.testing.assert_allclose((fs.Norm1() @ A).prox(v, 0.6), expected, atol=1e-13)
    np.testing.assert_allclose((fs.Norm1() @ A).value(v), np.sum(size))


def test_a_norm_behind_columns_of_equal_length(rng: np.random.Generator) -> None:
    A = oa.vstack([oa.DCT((8,)), 2.0 * oa.Identity((8,))])
    v = 3 * rng.normal(size=8)
    f = fs.Norm2() @ A
    length = np.sqrt(5) * np.linalg.norm(v)
    np.testing.assert_allclose(f.value(v), length)
    np.testing.assert_allclose(f.prox(v, 0.7), v * (1 - 0.7 * np.sqrt(5) / np.linalg.norm(v)))


@pytest.mark.parametrize("t", STEPS)
def test_squares_behind_any_matrix_with_a_cheap_inverse(t: float) -> None:
    kernel = np.array([[0.5, 0.3], [0.1, 0.0]])
    A = oa.Convolve(kernel, (4, 4))
    matrix, v = dense(A, (4, 4)), RNG.normal(size=(4, 4))
    f = fs.SumSquares() @ A
    expected = np.linalg.solve(np.eye(16) + 2 * t * matrix.T @ matrix, v.ravel()).reshape(4, 4)
    np.testing.assert_allclose(f.prox(v, t), expected, atol=1e-12)
    np.testing.assert_allclose(f.value(v), np.sum((matrix @ v.ravel()) ** 2))
    metric = fs.Quadratic(A.H @ A)
    np.testing.assert_allclose(metric.prox(v, t), expected, atol=1e-12)
    np.testing.assert_allclose(metric.hessian_vector(v, v), (2 * matrix.T @ matrix @ v.ravel()).reshape(4, 4))


def programmed(penalty: Any, constraints: Any, v: Any, t: float) -> np.ndarray:
    """A prox by an interior point method."""
    u = cp.Variable(v.shape)
    problem = cp.Problem(cp.Minimize(penalty(u) + cp.sum_squares(u - v) / (2 * t)), constraints(u))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops short of the tolerance, at about 1e-11
        problem.solve(solver=cp.CLARABEL, **SHARP)
    return np.asarray(u.value)


def columns(u: Any) -> Any:
    return cp.sum(cp.norm(u, 2, axis=0))


def whole(u: Any) -> Any:
    return cp.norm(cp.vec(u, order="C"))


def nothing(u: Any) -> list[Any]:
    return []


SUMS = {
    "sparse groups": (0.3 * fs.Norm1() + fs.Norm21(), lambda u: 0.3 * cp.sum(cp.abs(u)) + columns(u), nothing),
    "sparse norm": (
        fs.Norm2() + 0.2 * fs.Norm1(),
        lambda u: cp.norm(cp.vec(u, order="C")) + 0.2 * cp.sum(cp.abs(u)),
        nothing,
    ),
    "nonnegative groups": (fs.Norm21() + fs.Indicator(oa.nonneg), columns, lambda u: [u >= 0]),
    "groups in groups": (
        fs.Norm2() + 0.5 * fs.Norm21(axis=0),
        lambda u: cp.norm(cp.vec(u, order="C")) + 0.5 * columns(u),
        nothing,
    ),
    "nonnegative l1": (fs.Norm1() + fs.Indicator(oa.nonneg), lambda u: cp.sum(cp.abs(u)), lambda u: [u >= 0]),
    "l1 and box": (
        fs.Norm1() + fs.Indicator(oa.box(0.5, 2.0)),
        lambda u: cp.sum(cp.abs(u)),
        lambda u: [u >= 0.5, u <= 2],
    ),
    "l1 and square": (fs.Norm1() + fs.SumSquares(), lambda u: cp.sum(cp.abs(u)) + cp.sum_squares(u), nothing),
    "norm and tilt": (
        fs.Norm2() + fs.Linear(np.full((3, 4), 0.3)) + fs.SumSquares(),
        lambda u: cp.norm(cp.vec(u, order="C")) + 0.3 * cp.sum(u) + cp.sum_squares(u),
        nothing,
    ),
    "ordered": (
        fs.OrderedNorm1(np.array([3.0, 2.0, 1.0] + [0.5] * 9)) + 0.5 * fs.SumSquares(),
        lambda u: (
            cp.sum_largest(cp.vec(cp.abs(u), order="C"), 1)
            + cp.sum_largest(cp.vec(cp.abs(u), order="C"), 2)
            + 0.5 * cp.sum_largest(cp.vec(cp.abs(u), order="C"), 3)
            + 0.5 * cp.sum(cp.abs(u))
            + 0.5 * cp.sum_squares(u)
        ),
        nothing,
    ),
    "largest": (fs.NormInf(), lambda u: cp.norm_inf(cp.vec(u, order="C")), nothing),
    "nuclear": (fs.NuclearNorm() + 0.5 * fs.SumSquares(), lambda u: cp.normNuc(u) + 0.5 * cp.sum_squares(u), nothing),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_against_an_interior_point_method(name: str) -> None:
    f, penalty, constraints = SUMS[name]
    for seed, t in enumerate((0.3, 1.5)):
        v = 2 * np.random.default_rng(seed).normal(size=(3, 4))
        np.testing.assert_allclose(f.prox(v, t), programmed(penalty, constraints, v, t), atol=1e-6)


@pytest.mark.parametrize("name", ["sparse groups", "sparse norm", "nonnegative groups", "groups in groups"])
def test_sum_rules_are_named(name: str) -> None:
    assert SUMS[name][0].exactness.value == "exact by a sum rule"


def test_a_cone_and_a_ball_by_the_multiplier_of_the_ball(rng: np.random.Generator) -> None:
    f = fs.Indicator(oa.nonneg) + fs.Indicator(oa.ball2(1.2))
    for v in (rng.normal(size=(3, 4)), 0.1 * rng.normal(size=(3, 4))):
        part = np.maximum(v, 0)
        more = max(np.linalg.norm(part) / 1.2 - 1, 0)
        np.testing.assert_allclose(f.prox(v, 0.3), part / (1 + more), atol=1e-13)
    assert f.exactness.value == "exact by a sum rule"


def test_sums_without_a_rule_have_no_prox() -> None:
    f = fs.Norm21(axis=0) + fs.Norm21(axis=1)
    assert not f.offers("prox") and f.exactness is None
    with pytest.raises(oa.UnsupportedError, match=r"prox"):
        f.prox(np.zeros((3, 4)), 1.0)


def test_separable_sums(rng: np.random.Generator) -> None:
    v = rng.normal(size=(3, 4)) * 3
    f = fs.SeparableSum([fs.Norm1(), fs.Norm2(), fs.Indicator(oa.nonneg)])
    norm = np.linalg.norm(v[1])
    expected = np.stack(
        [np.sign(v[0]) * np.maximum(np.abs(v[0]) - 0.5, 0), v[1] * max(1 - 0.5 / norm, 0), np.maximum(v[2], 0)]
    )
    np.testing.assert_allclose(f.prox(v, 0.5), expected, atol=1e-14)
    v[2] = np.abs(v[2])
    np.testing.assert_allclose(f.value(v), np.sum(np.abs(v[0])) + norm)
    g = fs.SeparableSum([fs.SumSquares(), fs.NormInf()], axis=1, sizes=[1, 3])
    np.testing.assert_allclose(g.value(v), np.sum(v[:, 0] ** 2) + np.max(np.abs(v[:, 1:])))
    q = np.concatenate([v[:, :1], np.full((3, 3), 0.1)], axis=1)
    np.testing.assert_allclose(g.conjugate.value(q), np.sum(q[:, 0] ** 2) / 4)
    batch = np.stack([v, 2 * v])
    t = np.array([0.5, 2.0])
    np.testing.assert_allclose(f.prox(batch, t)[1], f.prox(2 * v, 2.0))
    x = oa.Variable((3, 4), name="x")
    np.testing.assert_allclose(
        oa.separable_sum([fs.Norm1(), fs.Norm2(), fs.Norm0()], x).value(v), np.sum(np.abs(v[0])) + norm + 4
    )


def test_separable_sums_over_variables_are_energies(rng: np.random.Generator) -> None:
    x, y = oa.Variable((3,), name="x"), oa.Variable((2,), name="y")
    a, b = rng.normal(size=3), rng.normal(size=2)
    energy = oa.norm1(x) + 2.0 * oa.sum_squares(y - 1.0)
    np.testing.assert_allclose(energy.value({x: a, y: b}), np.sum(np.abs(a)) + 2 * np.sum((b - 1) ** 2))


def differences(u: Any, boundary: str, axes: tuple[int, ...]) -> np.ndarray:
    """Forward differences along axes, on a new first axis, by loops over the border's definition."""
    parts = []
    for axis in axes:
        after = np.roll(u, -1, axis)
        last = [slice(None)] * u.ndim
        last[axis] = slice(-1, None)
        if boundary == "neumann":
            after[tuple(last)] = u[tuple(last)]
        if boundary == "dirichlet":
            after[tuple(last)] = 0
        parts.append(after - u)
    return np.stack(parts)


@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_total_variation(boundary: str, rng: np.random.Generator) -> None:
    v = rng.normal(size=(5, 6))
    x = oa.Variable((5, 6), name="x")
    d = differences(v, boundary, (0, 1))
    lengths = np.sqrt(np.sum(d**2, axis=0))
    np.testing.assert_allclose(oa.total_variation(x, boundary=boundary).value(v), np.sum(lengths))
    np.testing.assert_allclose(oa.total_variation(x, isotropic=False, boundary=boundary).value(v), np.sum(np.abs(d)))
    smooth = oa.total_variation(x, boundary=boundary, delta=0.5)
    np.testing.assert_allclose(smooth.value(v), huber(0.5).total(lengths))
    slope = smooth.gradient(v)
    direction = rng.normal(size=(5, 6))

    def along(s: float) -> float:
        moved = differences(v + s * direction, boundary, (0, 1))
        return huber(0.5).total(np.sqrt(np.sum(moved**2, axis=0)))

    np.testing.assert_allclose(inner(slope, direction), (along(1e-5) - along(-1e-5)) / 2e-5, rtol=1e-6)
    aniso = oa.total_variation(x, isotropic=False, boundary=boundary, delta=0.5)
    np.testing.assert_allclose(aniso.value(v), huber(0.5).total(np.abs(d)))


def test_vectorial_total_variation_takes_the_norm_over_colours(rng: np.random.Generator) -> None:
    v = rng.normal(size=(3, 5, 6))
    x = oa.Variable((3, 5, 6), name="x")
    d = differences(v, "neumann", (1, 2))
    np.testing.assert_allclose(oa.total_variation(x, channels=0).value(v), np.sum(np.sqrt(np.sum(d**2, axis=(0, 1)))))
    np.testing.assert_allclose(oa.total_variation(x, axes=(1, 2)).value(v), np.sum(np.sqrt(np.sum(d**2, axis=0))))
    last = oa.Variable((5, 6, 3), name="x")
    moved = np.moveaxis(v, 0, 2)
    np.testing.assert_allclose(
        oa.total_variation(last, channels=-1).value(moved), np.sum(np.sqrt(np.sum(d**2, axis=(0, 1))))
    )


def test_total_variation_of_complex_pictures_of_one_axis_and_of_volumes(rng: np.random.Generator) -> None:
    v = rng.normal(size=(4, 5)) + 1j * rng.normal(size=(4, 5))
    x = oa.Variable((4, 5), name="x", dtype="complex128")
    d = differences(v, "neumann", (0, 1))
    np.testing.assert_allclose(oa.total_variation(x).value(v), np.sum(np.sqrt(np.sum(np.abs(d) ** 2, axis=0))))
    w = rng.normal(size=7)
    np.testing.assert_allclose(oa.total_variation(oa.Variable(7)).value(w), np.sum(np.abs(np.diff(w))))
    z = rng.normal(size=(3, 4, 2))
    d = differences(z, "neumann", (0, 1, 2))
    np.testing.assert_allclose(
        oa.total_variation(oa.Variable((3, 4, 2))).value(z), np.sum(np.sqrt(np.sum(d**2, axis=0)))
    )


def test_total_generalized_variation(rng: np.random.Generator) -> None:
    """The field's derivatives are the negative adjoint's: backward differences, made symmetric."""
    x, w = oa.Variable((5, 6), name="x"), oa.Variable((2, 5, 6), name="w")
    energy = oa.total_generalized_variation(x, alpha0=1.7, alpha1=0.6, boundary="periodic", field=w)
    u, p = rng.normal(size=(5, 6)), rng.normal(size=(2, 5, 6))
    d = differences(u, "periodic", (0, 1)) - p
    a, b = ([p[i] - np.roll(p[i], 1, axis) for axis in (0, 1)] for i in (0, 1))
    second = np.sqrt(a[0] ** 2 + b[1] ** 2 + 2 * ((a[1] + b[0]) / 2) ** 2)
    expected = 0.6 * np.sum(np.sqrt(np.sum(d**2, axis=0))) + 1.7 * np.sum(second)
    np.testing.assert_allclose(energy.value({x: u, w: p}), expected)


def test_fields_of_experts(rng: np.random.Generator) -> None:
    filters, v = rng.normal(size=(2, 3, 3)), rng.normal(size=(5, 6))
    x = oa.Variable((5, 6), name="x")
    field = oa.fields_of_experts(filters, fs.Charbonnier(0.4), x, weights=[1.0, 0.3])

    def energy(u: Any) -> float:
        total = 0.0
        for kernel, w in zip(filters, (1.0, 0.3), strict=True):
            response = sum(kernel[i, j] * np.roll(u, (i - 1, j - 1), axis=(0, 1)) for i in range(3) for j in range(3))
            total += w * charbonnier(0.4).total(response)
        return total

    np.testing.assert_allclose(field.value(v), energy(v))
    d = rng.normal(size=(5, 6))
    slope = (energy(v + 1e-5 * d) - energy(v - 1e-5 * d)) / 2e-5
    np.testing.assert_allclose(inner(field.gradient(v), d), slope, rtol=1e-7)


def test_infimal_convolutions_with_closed_forms(rng: np.random.Generator) -> None:
    v = rng.normal(size=(3, 4)) * 2
    huberised = oa.infimal_convolution(fs.Norm1(), 0.5 * fs.SumSquares())
    np.testing.assert_allclose(huberised.value(v), huber(1.0).total(v))
    assert oa.infimal_convolution(fs.Indicator(oa.nonneg), fs.Norm2()).value(v) == pytest.approx(
        np.linalg.norm(np.minimum(v, 0))
    )
    assert oa.infimal_convolution(fs.Indicator(oa.point(1.0)), fs.Norm1()).value(v) == pytest.approx(
        magnitude(1.0).total(v - 1)
    )


def test_infimal_convolution_of_norms_against_an_interior_point_method(rng: np.random.Generator) -> None:
    v = rng.normal(size=(3, 4)) * 2
    h = oa.infimal_convolution(fs.Norm21(), 1.3 * fs.Norm1())
    w = cp.Variable((3, 4))
    problem = cp.Problem(cp.Minimize(columns(w) + 1.3 * cp.sum(cp.abs(v - w))))
    problem.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(h.value(v), problem.value, rtol=1e-6)
    assert h.exactness.value == "iterative with a certified gap"
    u, w = cp.Variable((3, 4)), cp.Variable((3, 4))
    prox = cp.Problem(cp.Minimize(columns(w) + 1.3 * cp.sum(cp.abs(u - w)) + cp.sum_squares(u - v) / 1.4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prox.solve(solver=cp.CLARABEL, **SHARP)
    np.testing.assert_allclose(h.prox(v, 0.7), u.value, atol=1e-6)
