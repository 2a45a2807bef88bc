"""Quadratic forms: against dense linear algebra, in every form of the operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg import Variable, minimize, norm1
from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.quadratic import Quadratic, mirrored, quadratic
from opalg.functionals.sum_squares import SumSquares, sum_squares
from opalg.leaves import Parameter
from opalg.operators import FFT, Convolve, Diagonal, Gradient, LowRank, Matrix
from opalg.operators.algebra import Identity, LinearOperator
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate, number

RNG = np.random.default_rng(0)
FACTOR = RNG.standard_normal((5, 4))
COMPLEX = RNG.standard_normal((5, 4)) + 1j * RNG.standard_normal((5, 4))
TRANSFORM = FFT((6,))

CASES: dict[str, tuple[LinearOperator, tuple[int, ...], str]] = {
    "dense": (Matrix(FACTOR.T @ FACTOR), (4,), "real"),
    "dense-complex": (Matrix(COMPLEX.conj().T @ COMPLEX), (4,), "complex"),
    "dense-singular": (Matrix(FACTOR[:2].T @ FACTOR[:2]), (4,), "real"),
    "gram": (Matrix(FACTOR).gram, (4,), "real"),
    "gram-parameter": (Matrix(Parameter(FACTOR, name="A")).gram, (4,), "real"),
    "diagonal": (Diagonal(RNG.uniform(0.1, 2.0, (3, 4))), (3, 4), "complex"),
    "convolution": (Convolve(RNG.standard_normal((3, 3)), (5, 6)).gram, (5, 6), "real"),
    "convolution-of-complex": (Convolve(RNG.standard_normal((3, 3)), (5, 6)).gram, (5, 6), "complex"),
    "differences": (Gradient((4, 5)).gram, (4, 5), "real"),
    "shifted": (0.5 * Identity((4, 5)) + 2.0 * Gradient((4, 5), boundary="periodic").gram, (4, 5), "real"),
    "fourier": (TRANSFORM.H @ Diagonal(RNG.uniform(0.5, 1.0, 6)) @ TRANSFORM, (6,), "complex"),
    "low-rank": (LowRank(FACTOR), (5,), "real"),
    "low-rank-shifted": (2.0 * Identity((5,)) + 3.0 * LowRank(FACTOR), (5,), "real"),
}
ALL = pytest.mark.parametrize("name", CASES)


def dense(operator: LinearOperator, kind: str) -> np.ndarray:
    found = operator.to_dense()
    return found.astype(complex) if kind == "complex" else found.real


def some(shape: tuple[int, ...], kind: str, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(shape)
    return v + 1j * rng.standard_normal(shape) if kind == "complex" else v


@ALL
def test_value_gradient_and_hessian_product(name: str) -> None:
    operator, shape, kind = CASES[name]
    f, v, Q = Quadratic(operator), some(shape, kind), dense(operator, kind)
    moved = (Q @ v.ravel()).reshape(shape)
    assert f.value(v) == pytest.approx(np.vdot(v, moved).real, rel=1e-12)
    assert np.allclose(f.gradient(v), 2 * moved, rtol=1e-12, atol=1e-12)
    assert np.allclose(f.hessian_vector(some(shape, kind, 2), v), 2 * moved, rtol=1e-12, atol=1e-12)


@ALL
def test_prox_solves_the_normal_equations(name: str) -> None:
    operator, shape, kind = CASES[name]
    f, v, Q = Quadratic(operator), some(shape, kind), dense(operator, kind)
    for t in (0.0, 0.3, 7.0):
        expected = np.linalg.solve(np.eye(len(Q)) + 2 * t * Q, v.ravel()).reshape(shape)
        assert np.allclose(f.prox(v, t), expected, rtol=1e-10, atol=1e-11)


@ALL
def test_conjugate_on_the_range(name: str) -> None:
    operator, shape, kind = CASES[name]
    f, Q = Quadratic(operator), dense(operator, kind)
    if not f.offers("conjugate_value"):
        assert name in ("low-rank", "gram-parameter")  # singular, or not known to be definite
        return
    q = (Q @ some(shape, kind).ravel()).reshape(shape)
    expected = 0.25 * np.vdot(q, np.linalg.pinv(Q) @ q.ravel()).real
    assert f.conjugate.value(q) == pytest.approx(expected, rel=1e-9)
    rank = np.linalg.matrix_rank(Q)
    assert np.isinf(f.conjugate.value(q + 1.0)) == (rank < len(Q))


@ALL
def test_constants_hold_against_eigenvalues(name: str) -> None:
    operator, _, kind = CASES[name]
    facts, values = Quadratic(operator).facts, np.linalg.eigvalsh(dense(operator, kind))
    assert facts.convex is YES and facts.smoothness is not None
    assert facts.smoothness.value >= 2 * values[-1] * (1 - 1e-12)
    if facts.smoothness.certainty == "exact":
        assert facts.smoothness.value == pytest.approx(2 * values[-1], rel=1e-10)
    modulus = 0.0 if facts.strong_convexity is None else number(facts.strong_convexity)
    assert modulus <= 2 * values[0] + 1e-10


@pytest.mark.parametrize("name", [n for n in CASES if "low-rank" not in n and "parameter" not in n])
def test_one_step_for_each_sample(name: str) -> None:
    operator, shape, kind = CASES[name]
    f, v, steps = Quadratic(operator), some((3, *shape), kind), np.array([0.0, 0.4, 5.0])
    expected = np.stack([f.prox(a, t) for a, t in zip(v, steps, strict=True)])
    assert np.allclose(f.prox(v, steps), expected, rtol=1e-12, atol=1e-13)


def test_steps_that_no_form_allows_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="one sample at a time"):
        Quadratic(CASES["low-rank"][0]).prox(np.zeros((3, 5)), np.ones(3))
    with pytest.raises(UnsupportedError, match="one quadratic form"):
        Quadratic(Gradient((4, 5)).gram).prox(np.zeros((4, 5)), np.ones(4))


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("name", ["dense", "convolution", "low-rank-shifted"])
def test_libraries_and_single_precision(name: str, library: str) -> None:
    operator, shape, kind = CASES[name]
    f, v = Quadratic(operator), some(shape, kind)
    lib = backend(library, "float32")
    found = f.prox(lib.asarray(v), 0.7)
    assert np.allclose(lib.to_numpy(found), f.prox(v, 0.7), rtol=1e-4, atol=1e-5)
    for size in (1e20, 1e-30):
        big = lib.to_numpy(f.prox(lib.asarray(size * v), 0.7)) / size
        assert np.allclose(big, f.prox(v, 0.7), rtol=1e-4, atol=1e-5)


def test_of_the_identity_it_is_the_sum_of_squares() -> None:
    v = some((3, 4), "complex")
    assert Quadratic(Identity((3, 4))).value(v) == pytest.approx(SumSquares().value(v))
    assert np.allclose(Quadratic(Identity((4,))).prox(v, 0.3), SumSquares().prox(v, 0.3))


@pytest.mark.parametrize("name", ["gram", "low-rank"])
def test_gradients_flow_through_parameters_into_the_prox(name: str) -> None:
    leaf = Parameter(FACTOR, name="A")
    operator: Any = Matrix(leaf).gram if name == "gram" else LowRank(leaf)
    shape = operator.in_shape
    v, weight, direction = some(shape, "real"), some(shape, "real", 2), some(FACTOR.shape, "real", 3)
    x, u = Input("x", shape), Input("u", shape)
    t = Input("t", ())
    (back,) = vjp([Quadratic(operator).define_prox(x, t)], [u], [leaf])
    values = {x: v, u: weight, t: np.asarray(0.4)}
    assert back is not None
    (found,) = evaluate([back], values, backend())

    def prox(entries: np.ndarray) -> np.ndarray:
        Q = entries.T @ entries if name == "gram" else entries @ entries.T
        return np.linalg.solve(np.eye(len(Q)) + 0.8 * Q, v)

    h = 1e-6
    slope = np.dot(weight, prox(FACTOR + h * direction) - prox(FACTOR - h * direction)) / (2 * h)
    assert np.sum(found * direction) == pytest.approx(slope, rel=1e-7)


def test_rounding_in_a_symmetric_matrix_is_taken_out() -> None:
    Q = FACTOR.T @ np.diag(np.arange(1.0, 6.0)) @ FACTOR
    Q[0, 1] *= 1 + 1e-12
    assert Quadratic(Matrix(Q)).offers("prox")


def test_symmetrised_operators_are_recognised() -> None:
    A = Matrix(Parameter(RNG.standard_normal((4, 4)), name="A"))
    B = Convolve(RNG.standard_normal((3, 3)), (5, 6), boundary="zero")
    for operator in (0.5 * (A + A.H), B + B.H, 2.0 * (B + 3.0 * Identity((5, 6)) + B.H)):
        assert mirrored(operator)
        v = some(operator.in_shape, "real")
        expected = float(v.ravel() @ operator.to_dense() @ v.ravel())
        assert Quadratic(operator).value(v) == pytest.approx(expected)
    assert not mirrored(A + B.H if A.in_shape == B.in_shape else A + A)


def test_indefinite_forms_have_gradients_but_no_prox() -> None:
    f = Quadratic(Matrix(np.diag([1.0, -2.0])))
    assert f.facts.convex is NO and f.facts.bounded_below is NO
    assert not f.offers("prox") and not f.offers("conjugate_value") and f.offers("gradient")
    assert f.value(np.array([1.0, 1.0])) == -1.0
    with pytest.raises(UnsupportedError, match="positive"):
        f.prox(np.zeros(2), 1.0)


def test_refusals_say_what_to_write() -> None:
    with pytest.raises(UnsupportedError, match=r"0\.5 \* \(Q \+ Q\.H\)"):
        Quadratic(Matrix(FACTOR[:4]))
    with pytest.raises(ShapeError, match="sum_squares"):
        Quadratic(Matrix(FACTOR))
    with pytest.raises(DtypeError, match=r"oa\.Matrix"):
        Quadratic(np.eye(3))  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match="complex"):
        Quadratic(CASES["dense-complex"][0]).value(np.zeros(4))
    f = Quadratic(Convolve(RNG.standard_normal((3, 3)), (5, 6), boundary="zero").gram)
    assert not f.offers("prox") and "inverse" in f.why_not("prox") and f.facts.convex is YES
    assert Quadratic(Parameter(0.5, name="w") * Identity((3,))).facts.convex is UNKNOWN


def test_a_solve_with_a_metric() -> None:
    Q, y = FACTOR.T @ FACTOR, RNG.standard_normal(4)
    x = Variable((4,), name="x")
    found = minimize(quadratic(Matrix(Q), x - y) + 0.3 * sum_squares(x), tol=1e-10).x
    assert np.allclose(found, np.linalg.solve(Q + 0.3 * np.eye(4), Q @ y), atol=1e-6)
    sparse = minimize(quadratic(Matrix(Q), x - y) + 0.8 * norm1(x), tol=1e-10).x
    slope = 2 * Q @ (sparse - y)
    assert np.all(np.abs(slope) <= 0.8 + 1e-4)
    assert np.allclose(slope[sparse != 0], -0.8 * np.sign(sparse[sparse != 0]), atol=1e-4)


def test_batches_add_up() -> None:
    f, v = Quadratic(CASES["dense"][0]), some((3, 4), "real")
    assert f.value(v) == pytest.approx(sum(f.value(a) for a in v))
    hessian = f.define_hessian_operator((3, 4), "real")
    assert hessian.in_shape == (3, 4) and np.allclose(hessian @ v, f.gradient(v))
