"""Nuclear norm, rank ball and semidefinite cone against singular values, cvxpy, differences and each other's duals."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, YES
from opalg.functionals import Indicator
from opalg.functionals.spectral import NuclearNorm, RankBall, nuclear_norm, psd_cone, rank_ball
from opalg.functionals.spectral_calls import singular_values
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, jvp, vjp
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate
from tests.functionals.members import inner

SHAPES = [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1), (2, 3, 4), (2, 2, 4, 3)]
KINDS = ["real", "complex"]


def some(shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(shape)
    return v + 1j * rng.standard_normal(shape) if kind == "complex" else v


def thresholded(v: np.ndarray, t: float) -> np.ndarray:
    """By the eigenvalues of ``v^H v``, matrix by matrix: no singular value decomposition."""
    out = np.zeros_like(v)
    for at in np.ndindex(v.shape[:-2]):
        values, w = np.linalg.eigh(v[at].conj().T @ v[at])
        s = np.sqrt(np.maximum(values, 0.0))
        factor = np.where(s > t, 1.0 - t / np.where(s > t, s, 1.0), 0.0)
        out[at] = (v[at] @ w * factor) @ w.conj().T
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prox_of_the_nuclear_norm(shape: tuple[int, ...], kind: str) -> None:
    v = some(shape, kind, 1)
    for t in (0.0, 0.1, 1.0, 2.0, 100.0):
        assert np.allclose(NuclearNorm().prox(v, t), thresholded(v, t), atol=1e-10)
        single = NuclearNorm().prox(v.astype(np.complex64 if kind == "complex" else np.float32), t)
        assert np.allclose(single, thresholded(v, t), atol=1e-5 * np.abs(v).max())
    assert NuclearNorm().value(v) == pytest.approx(np.linalg.svd(v, compute_uv=False).sum(), rel=1e-13)
    assert not NuclearNorm().prox(v, 100.0).any()


def test_prox_against_cvxpy() -> None:
    v, t = some((4, 3), "real", 2), 0.7
    u = cvxpy.Variable(v.shape)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(u) + cvxpy.sum_squares(u - v) / (2 * t))).solve(
        solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    assert np.allclose(NuclearNorm().prox(v, t), u.value, atol=1e-6)


def test_dual_ball_is_that_of_the_spectral_norm() -> None:
    q = 3 * some((4, 6), "complex", 3)
    u, s, wh = np.linalg.svd(q, full_matrices=False)
    assert np.allclose(NuclearNorm().conjugate.prox(q, 0.4), (u * np.minimum(s, 1.0)) @ wh, atol=1e-12)
    x = Input("q", q.shape, "complex")
    (gauge,) = evaluate([NuclearNorm().define_dual_gauge(x)], {x: q}, backend())
    assert gauge == pytest.approx(s[0], rel=1e-13)


def test_a_step_for_each_matrix() -> None:
    v, t = some((3, 4, 5), "complex", 4), np.array([0.0, 0.5, 2.0])
    expected = np.stack([NuclearNorm().prox(a, s) for a, s in zip(v, t, strict=True)])
    assert np.allclose(NuclearNorm().prox(v, t), expected, atol=1e-14)
    with pytest.raises(ShapeError, match="one step for each matrix"):
        NuclearNorm().prox(v[0], np.ones(4))


@pytest.mark.parametrize("scale", [1e20, 1e-30])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_units_in_single_precision(kind: str, scale: float) -> None:
    v = some((3, 5), kind, 5)
    large = (scale * v).astype(np.complex64 if kind == "complex" else np.float32)
    assert np.allclose(NuclearNorm().prox(large, scale * 0.8) / scale, thresholded(v, 0.8), atol=1e-5)
    assert NuclearNorm().value(large) / scale == pytest.approx(NuclearNorm().value(v), rel=1e-5)
    square = some((4, 4), kind, 6)
    projected = psd_cone.project((scale * square).astype(large.dtype)) / scale
    assert np.allclose(projected, psd_cone.project(square), atol=1e-5)
    assert np.allclose(rank_ball(1).project(large) / scale, rank_ball(1).project(v), atol=1e-5)


def check_derivatives(build, v: np.ndarray, kind: str, lib_name: str, symmetric: bool = True) -> None:
    """Forward against differences, backward against forward, symmetry."""
    lib = backend(lib_name)
    x, d, u = (Input(name, v.shape, kind) for name in "xdu")
    direction, weight = some(v.shape, kind, 20), some(v.shape, kind, 21)
    out = build(x)
    forward, backward = jvp([out], {x: d})[0], vjp([out], [u], [x])[0]
    points = {x: v, d: direction, u: weight}
    bound = {key: lib.asarray(value) for key, value in points.items()}
    moved, back = (lib.to_numpy(a) for a in evaluate([forward, backward], bound, lib))
    step = 1e-6
    ends = [evaluate([out], {x: v + sign * step * direction}, backend())[0] for sign in (1, -1)]
    assert np.allclose(moved, (ends[0] - ends[1]) / (2 * step), atol=2e-8)
    assert inner(back, direction) == pytest.approx(inner(weight, moved), rel=1e-10)
    if symmetric:
        (again,) = evaluate([forward], {x: v, d: weight}, backend())
        assert np.allclose(again, back, atol=1e-11)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_derivatives_of_the_proxes(shape: tuple[int, ...], kind: str, library: str) -> None:
    v = some(shape, kind, 7)
    check_derivatives(lambda x: NuclearNorm().define_prox(x, ex.Literal(0.9)), v, kind, library)
    check_derivatives(lambda x: NuclearNorm().define_dual_projection(x), v, kind, library)
    if min(shape[-2:]) > 1:
        check_derivatives(lambda x: RankBall(1).define_project(x), v, kind, library)
    if shape[-1] == shape[-2]:
        check_derivatives(lambda x: psd_cone.define_project(x), v, kind, library)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_where_values_coincide_or_vanish(kind: str) -> None:
    u, _ = np.linalg.qr(some((5, 5), kind, 8))
    w, _ = np.linalg.qr(some((3, 3), kind, 9))
    for s in ([2.0, 2.0, 2.0], [2.0, 2.0, 0.1], [1.5, 0.0, 0.0], [0.2, 0.2, 0.0], [0.0, 0.0, 0.0]):
        v = (u[:, :3] * np.asarray(s)) @ w.conj().T
        check_derivatives(lambda x: NuclearNorm().define_prox(x, ex.Literal(0.9)), v, kind, "numpy")
    v = (u * np.asarray([1.0, 1.0, 1.0, -2.0, -2.0])) @ u.conj().T
    check_derivatives(lambda x: psd_cone.define_project(x), v, kind, "numpy")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (2, 1, 1)], ids=str)
def test_derivative_in_the_step(shape: tuple[int, ...], kind: str) -> None:
    v, weight, t = some((2, 3, 4), kind, 10), some((2, 3, 4), kind, 11), np.full(shape, 0.9)
    x, step, d, u = Input("x", v.shape, kind), Input("t", shape), Input("d", shape), Input("u", v.shape, kind)
    out = NuclearNorm().define_prox(x, step)
    forward, backward = jvp([out], {step: d})[0], vjp([out], [u], [step])[0]
    moved, back = evaluate([forward, backward], {x: v, step: t, d: np.ones(shape), u: weight}, backend())
    ends = [evaluate([out], {x: v, step: t + h}, backend())[0] for h in (1e-6, -1e-6)]
    change = (ends[0] - ends[1]) / 2e-6
    assert np.allclose(moved, change, atol=1e-8)
    assert back.shape == shape
    expected = np.sum(np.conj(weight) * change, axis=None if shape == () else (-2, -1), keepdims=shape != ()).real
    assert np.allclose(back, expected, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_singular_values(kind: str) -> None:
    v = some((2, 3, 4), kind, 12)
    check_derivatives_of_value(lambda x: ex.total(ex.square(singular_values(x))), v, kind, 2 * v)


def check_derivatives_of_value(build, v: np.ndarray, kind: str, expected: np.ndarray) -> None:
    x, d = Input("x", v.shape, kind), Input("d", v.shape, kind)
    (found,) = evaluate(gradient(build(x), [x]), {x: v}, backend())
    assert np.allclose(found, expected, atol=1e-12)
    direction = some(v.shape, kind, 22)
    (slope,) = evaluate([jvp([build(x)], {x: d})[0]], {x: v, d: direction}, backend())
    assert slope == pytest.approx(inner(expected, direction), rel=1e-12)


def test_second_derivatives_are_refused_with_a_sentence() -> None:
    x, d, u = (Input(name, (3, 4)) for name in "xdu")

    def refused(first: Expression) -> None:
        with pytest.raises(UnsupportedError, match=r"second derivatives of .* take its first derivatives only"):
            jvp([first], {x: u})
        with pytest.raises(UnsupportedError, match=r"second derivatives of .* take its first derivatives only"):
            vjp([first], [u], [x])

    t = Input("t", ())
    refused(jvp([NuclearNorm().define_prox(x, t)], {x: d})[0])
    refused(jvp([NuclearNorm().define_prox(x, t)], {t: Input("e", ())})[0])
    refused(RankBall(1).define_project(x) + vjp([RankBall(1).define_project(x)], [d], [x])[0])
    # in the direction, a derivative is linear and may be differentiated
    back = vjp([jvp([NuclearNorm().define_prox(x, t)], {x: d})[0]], [u], [d])[0]
    values = {x: some((3, 4), "real", 0), u: some((3, 4), "real", 1), t: np.asarray(0.5)}
    forward = jvp([NuclearNorm().define_prox(x, t)], {x: u})[0]
    assert np.allclose(*evaluate([back, forward], values, backend()))


@pytest.mark.parametrize("kind", KINDS)
def test_psd_projection(kind: str) -> None:
    v = some((2, 4, 4), kind, 13)
    p = psd_cone.project(v)
    assert np.array_equal(p, np.conj(np.swapaxes(p, -1, -2)))
    assert np.linalg.eigvalsh(p).min() > -1e-13
    assert psd_cone.contains(p) and not psd_cone.contains(v) and not psd_cone.contains(-p)
    for seed in range(5):
        a = some((2, 4, 4), kind, 30 + seed)
        other = a @ np.conj(np.swapaxes(a, -1, -2))
        assert inner(v - p, other - p) <= 1e-11


def test_psd_projection_against_cvxpy() -> None:
    v = some((3, 3), "real", 14)
    u = cvxpy.Variable((3, 3), PSD=True)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - v))).solve(
        solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    assert np.allclose(psd_cone.project(v), u.value, atol=1e-6)


def test_psd_support_is_the_indicator_of_the_polar_cone() -> None:
    f, q = Indicator(psd_cone), some((4, 4), "complex", 15)
    assert not f.offers("dual_gauge")
    p = f.conjugate.prox(q, 1.0)
    assert f.conjugate.value(p) == 0.0 and np.isinf(f.conjugate.value(q))
    assert np.allclose(p + psd_cone.project(q), q) and abs(inner(p, psd_cone.project(q))) < 1e-12
    assert np.linalg.eigvalsh(p + p.conj().T).max() < 1e-12
    skew = q - q.conj().T
    assert f.conjugate.value(skew) == 0.0


def test_rank_ball() -> None:
    v = some((40, 60), "real", 16)
    p = rank_ball(3).project(v)
    s = np.linalg.svd(v, compute_uv=False)
    assert np.linalg.matrix_rank(p) == 3 and np.sum((v - p) ** 2) == pytest.approx(np.sum(s[3:] ** 2))
    assert rank_ball(3).contains(p) and not rank_ball(2).contains(p) and rank_ball(40).contains(v)
    assert np.array_equal(rank_ball(50).project(v), v)
    facts = Indicator(rank_ball(3)).facts
    assert facts.convex is NO and Indicator(psd_cone).facts.convex is YES
    assert not Indicator(rank_ball(3)).offers("conjugate_value")


def test_large_projections_stay_inside_up_to_rounding() -> None:
    for kind in KINDS:
        v = some((150, 150), kind, 17)
        for scale in (1e-6, 1.0, 1e6):
            assert rank_ball(5).contains(rank_ball(5).project(scale * v))
            assert psd_cone.contains(psd_cone.project(scale * v))


def test_empty_batches_and_empty_matrices() -> None:
    for shape in ((0, 3, 4), (2, 0, 4), (3, 0)):
        v = np.zeros(shape)
        assert NuclearNorm().prox(v, 0.5).shape == shape and NuclearNorm().value(v) == 0.0
    assert psd_cone.project(np.zeros((0, 3, 3))).shape == (0, 3, 3)


def test_nan_is_handed_on_and_not_raised_by_lapack() -> None:
    v = some((2, 3, 3), "real", 18)
    v[0, 1, 1] = np.nan
    for made in (NuclearNorm().prox(v, 0.5), rank_ball(1).project(v), psd_cone.project(v)):
        assert np.isnan(made[0]).all() and np.isfinite(made[1]).all()
    assert np.isnan(NuclearNorm().value(v))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="last two axes"):
        NuclearNorm().value(np.ones(3))
    with pytest.raises(ShapeError, match="square"):
        psd_cone.project(np.ones((2, 3)))
    with pytest.raises(ParameterError, match="positive integer"):
        rank_ball(0)
    with pytest.raises(ParameterError, match="positive integer"):
        rank_ball(1.5)  # type: ignore[arg-type]
    assert repr(psd_cone) == "psd_cone" and repr(rank_ball(2)) == "rank_ball(2)"
    assert repr(nuclear_norm(oa.Variable((3, 4), name="X"))) == "nuclear_norm(X)"


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_matrix_completion_has_the_solution_of_cvxpy_and_gradients(library: str) -> None:
    rng = np.random.default_rng(19)
    y = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))
    mask = rng.random((6, 5)) < 0.7
    lam = oa.Parameter(0.4, name="lam", positive=True)
    X = oa.Variable((6, 5), name="X")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Mask(mask) @ X - mask * y) + lam * nuclear_norm(X), backend=library)
    sol = plan.solve(tol=1e-10)
    found = backend(library).to_numpy(sol.x)
    u = cvxpy.Variable((6, 5))
    misfit = cvxpy.sum_squares(cvxpy.multiply(mask, u - y))
    cvxpy.Problem(cvxpy.Minimize(0.5 * misfit + 0.4 * cvxpy.normNuc(u))).solve(solver=cvxpy.CLARABEL)
    assert np.allclose(found, u.value, atol=1e-4)
    weight = rng.standard_normal((6, 5))
    slope = float(sol.vjp(backend(library).asarray(weight), [lam])[lam])
    ends = [
        np.sum(weight * backend(library).to_numpy(plan.solve(params={lam: 0.4 + h}, tol=1e-12).x))
        for h in (1e-4, -1e-4)
    ]
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)


def test_nan_is_in_no_set_of_matrices_not_even_of_all() -> None:
    v = some((3, 4), "real", 19)
    assert rank_ball(3).contains(v) and Indicator(rank_ball(3)).value(v) == 0.0
    v[1, 1] = np.nan
    assert not any(rank_ball(k).contains(v) for k in (1, 2, 3))
