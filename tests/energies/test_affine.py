"""Variables, affine expressions and constraints: what can be written, what it means, and what is refused how."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import sympy
import torch
from numpy.testing import assert_allclose

import opalg as oa
from opalg.energies.affine import Affine
from tests.energies.at import at

rng = np.random.default_rng(11)
M = rng.standard_normal((5, 4))
N = rng.standard_normal((5, 4))
Y = rng.standard_normal((3, 4))
X0, Z0 = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
x, z = oa.Variable((3, 4), name="x"), oa.Variable((3, 4), name="z")
c = oa.Variable((3, 4), name="c", dtype=complex)
C0 = X0 + 1j * Z0
A, B = oa.Matrix(M), oa.Matrix(N)
lam = oa.Parameter(0.7, name="lambda", nonneg=True)
P = oa.Parameter(Y + 3.0, name="P")
POINT = {x: X0, z: Z0, c: C0}


def _half_spectrum() -> np.ndarray:
    """The real matrix of the real FFT on arrays of shape (3, 4): real parts, then imaginary parts."""
    spectra = np.fft.rfft2(np.eye(12).reshape(12, 3, 4), norm="ortho").reshape(12, -1)
    return np.concatenate([spectra.real, spectra.imag], axis=1).T


HALF = _half_spectrum()

SUMS = {
    "a variable": (lambda: x, X0),
    "plus": (lambda: +x, X0),
    "minus": (lambda: -x, -X0),
    "data first": (lambda: Y - A.H @ (A @ x), Y - X0 @ M.T @ M),
    "numbers": (lambda: 2 * x + z - 1, 2 * X0 + Z0 - 1),
    "number first": (lambda: 1 - x, 1 - X0),
    "half": (lambda: x / 2, X0 / 2),
    "divided by a parameter": (lambda: x / lam, X0 / 0.7),
    "divided by an array": (lambda: x / (Y + 9), X0 / (Y + 9)),
    "array times variable": (lambda: Y * x, Y * X0),
    "variable times array": (lambda: x * Y, Y * X0),
    "row times variable": (lambda: Y[0] * x, Y[0] * X0),
    "parameter array": (lambda: P * x - P, (Y + 3) * (X0 - 1)),
    "scalar parameter": (lambda: lam * x + lam, 0.7 * X0 + 0.7),
    "numpy scalar": (lambda: np.float32(2) * x - np.float64(1), 2 * X0 - 1),
    "array of no axes": (lambda: np.array(2.0) * x + np.array(1), 2 * X0 + 1),
    "one entry": (lambda: np.array([2.0]) * x + np.array([[1.0]]), 2 * X0 + 1),
    "torch on the left": (lambda: torch.from_numpy(Y) - x, Y - X0),
    "torch on the right": (lambda: x * torch.from_numpy(Y) + torch.tensor(2), X0 * Y + 2),
    "torch times": (lambda: torch.from_numpy(Y) * x, X0 * Y),
    "lists": (lambda: x + [[1, 2, 3, 4]] * 3, X0 + np.arange(1, 5)),
    "sympy": (lambda: sympy.exp(lam) * x - sympy.Rational(1, 2), np.exp(0.7) * X0 - 0.5),
    "formula of a parameter": (lambda: lam**2 * x, 0.49 * X0),
    "operators": (lambda: A @ x - 2 * (B @ z) + 1, X0 @ M.T - 2 * Z0 @ N.T + 1),
    "one variable twice": (lambda: A @ x - B @ x, X0 @ (M - N).T),
    "cancelled": (lambda: x - x, 0 * X0),
    "nothing": (lambda: 0 * x + 1, np.ones((3, 4))),
    "operator on a difference": (lambda: A @ (x - Y), (X0 - Y) @ M.T),
    "product of operators": (lambda: A.H @ A @ (2 * x - z + Y), (2 * X0 - Z0 + Y) @ M.T @ M),
    "sum": (lambda: sum([x, z, 2 * x]), 3 * X0 + Z0),
    "nested": (lambda: 2 * (x - (z - 3 * (x + 1)) / 2), 2 * (X0 - (Z0 - 3 * (X0 + 1)) / 2)),
    "complex": (lambda: (1 + 2j) * c - Y, (1 + 2j) * C0 - Y),
    "complex number on a real one": (lambda: 1j * (x - Y), 1j * (X0 - Y)),
    "complex array on a real one": (lambda: (1j * Y) * x, 1j * Y * X0),
    "complex operator on a real one": (lambda: oa.FFT((3, 4)) @ (x - Y), np.fft.fft2(X0 - Y, norm="ortho")),
    "real and complex": (lambda: x + c - oa.FFT((3, 4)) @ x, X0 + C0 - np.fft.fft2(X0, norm="ortho")),
    "back to real": (
        lambda: oa.RFFT((3, 4)).H @ (oa.RFFT((3, 4)) @ x) - 2 * x,
        (HALF.T @ HALF @ X0.ravel()).reshape(3, 4) - 2 * X0,
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_expressions_mean_what_numpy_means(name):
    build, wanted = SUMS[name]
    assert_allclose(at(build(), POINT), wanted, rtol=1e-12, atol=1e-12)


X3, Z3 = rng.standard_normal((8, 5, 6)), rng.standard_normal((8, 5, 6))
b, w = oa.Variable((8, 5, 6), name="b"), oa.Variable((8, 5, 6), name="w")
D = np.zeros((2, 5, 6, 5, 6))
for _i in range(5):
    for _j in range(6):
        D[0, _i, _j, min(_i + 1, 4), _j] += 1
        D[0, _i, _j, _i, _j] -= 1
        D[1, _i, _j, _i, min(_j + 1, 5)] += 1
        D[1, _i, _j, _i, _j] -= 1
DATA3 = rng.standard_normal((8, 5, 6))
WEIGHTS2, WEIGHTS3 = rng.standard_normal((5, 6)), rng.standard_normal((8, 5, 6))


def _gradient(v):
    return np.einsum("dijkl,bkl->bdij", D, v)


BATCHES = {
    "operator on trailing axes": (lambda: oa.Gradient((5, 6)) @ b, _gradient(X3)),
    "with data": (lambda: oa.Gradient((5, 6)) @ (b - DATA3), _gradient(X3 - DATA3)),
    "with the identity": (lambda: oa.Diagonal(WEIGHTS2) @ b - w / 2, WEIGHTS2 * X3 - Z3 / 2),
    "with a full diagonal": (lambda: oa.Gradient((5, 6)) @ (WEIGHTS3 * b), _gradient(WEIGHTS3 * X3)),
    "sum of both kinds": (lambda: oa.Diagonal(WEIGHTS2) @ b + oa.Diagonal(WEIGHTS3) @ b, (WEIGHTS2 + WEIGHTS3) * X3),
    "sum with the variable": (lambda: b - oa.Diagonal(WEIGHTS2) @ b - DATA3, X3 - WEIGHTS2 * X3 - DATA3),
    "full after trailing": (lambda: oa.Diagonal(WEIGHTS3) @ (oa.Diagonal(WEIGHTS2) @ b), WEIGHTS3 * WEIGHTS2 * X3),
    "trailing after full": (lambda: oa.Diagonal(WEIGHTS2) @ (oa.Diagonal(WEIGHTS3) @ b), WEIGHTS3 * WEIGHTS2 * X3),
    "scaled": (lambda: 3 * (2 * b) - oa.Diagonal(WEIGHTS2) @ (2 * b), (6 - 2 * WEIGHTS2) * X3),
    "complex": (lambda: oa.FFT((5, 6)) @ (b - w), np.fft.fft2(X3 - Z3, norm="ortho")),
    "complex on the last axis": (lambda: oa.FFT((6,)) @ b - 1j * b, np.fft.fft(X3, norm="ortho") - 1j * X3),
    "matrix on the last axis": (lambda: oa.Matrix(WEIGHTS2) @ b, X3 @ WEIGHTS2.T),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches_are_treated_alike(name):
    build, wanted = BATCHES[name]
    assert_allclose(at(build(), {b: X3, w: Z3}), wanted, rtol=1e-12, atol=1e-12)


KEPT = Y > 0
INDEXED = {
    "one entry": (lambda: x[1, -2], X0[1, -2]),
    "a row": (lambda: 2 * x[0] - 1, 2 * X0[0] - 1),
    "a box": (lambda: x[1:, :2], X0[1:, :2]),
    "steps back": (lambda: x[::-2, ..., None], X0[::-2, ..., None]),
    "everything": (lambda: x[...], X0),
    "differences": (lambda: x[:, 1:] - x[:, :-1], X0[:, 1:] - X0[:, :-1]),
    "positions": (lambda: x[[2, 0, 2]], X0[[2, 0, 2]]),
    "positions along the last axis": (lambda: x[1:, np.array([3, 0])], X0[1:, [3, 0]]),
    "a mask": (lambda: x[KEPT] - Y[KEPT], (X0 - Y)[KEPT]),
    "a mask of rows": (lambda: x[np.array([True, False, True])], X0[[0, 2]]),
    "a mask of torch": (lambda: x[torch.from_numpy(KEPT)], X0[KEPT]),
    "an affine expression": (lambda: (A @ x - 2 * (B @ z) + 1)[:, 2], (X0 @ M.T - 2 * Z0 @ N.T + 1)[:, 2]),
    "an index of an index": (lambda: x[1:][0][::-1], X0[1, ::-1]),
    "complex": (lambda: (c - Y)[..., ::2], (C0 - Y)[..., ::2]),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices_mean_what_numpy_means(name):
    build, wanted = INDEXED[name]
    expression = build()
    assert expression.shape == wanted.shape
    assert_allclose(at(expression, POINT), wanted, rtol=1e-12, atol=1e-12)


def test_an_indexed_variable_is_fitted():
    v = oa.Variable((4, 3), name="v")
    kept = np.array([[True, False, True]] * 4)
    data = np.arange(8.0)
    solution = oa.minimize(oa.sum_squares(v[kept] - data) + 0.5 * oa.sum_squares(v[:, 1] - 2.0))
    wanted = np.full((4, 3), 2.0)
    wanted[kept] = data
    assert_allclose(solution.x, wanted, rtol=1e-6, atol=1e-6)


def test_numbers_are_gathered():
    assert (2 * (3 * x)).parts[0].operator is (6 * x).parts[0].operator
    assert (x + 0).offset is None
    assert ((2 * x) / 2).parts[0].operator is x.as_affine().parts[0].operator
    assert (A @ x + 0 * x.as_affine().mapped(B)).parts[0].operator is A


def test_variables_are_symbols():
    assert oa.Variable(3).shape == (3,)
    assert oa.Variable((), name="s").shape == ()
    assert oa.Variable([2, np.int64(3)]).shape == (2, 3)
    one, other = oa.Variable(3, name="v"), oa.Variable(3, name="v")
    assert one is not other and len({one, other}) == 2
    assert {one: 1}[one] == 1 and other not in {one: 1}
    assert one in [x, one] and x not in [one, z]  # whatever the shapes
    assert (x in [z, x]) and (x not in [z, c]) and [z, x].index(x) == 1
    assert (x == x) is True and x != "x" and x is not None and x != None  # noqa: E711
    assert c.kind == "complex" and c.precision is None and x.kind == "real"
    assert oa.Variable(3, dtype=np.float32).precision == "float32"
    assert oa.Variable(3, dtype=torch.complex128).precision == "float64"
    assert oa.Variable(3, dtype="complex64").kind == "complex"


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: oa.Variable((3, -1)), oa.ShapeError, "nonnegative"),
        (lambda: oa.Variable((3, 2.5)), oa.ShapeError, "2.5"),
        (lambda: oa.Variable("three"), oa.ShapeError, "three"),
        (lambda: oa.Variable(3, dtype=int), oa.DtypeError, "float32"),
        (lambda: oa.Variable(3, dtype="float16"), oa.DtypeError, "float16"),
        (lambda: oa.Variable(3, name=3), oa.ParameterError, "text"),
        (lambda: x**2, oa.NotAffineError, r"oa.sum_squares\(x\)"),
        (lambda: 2**x, oa.NotAffineError, "pointwise"),
        (lambda: x * x, oa.NotAffineError, r"oa.sum_squares\(x\)"),
        (lambda: x * z, oa.NotAffineError, "product of x and z"),
        (lambda: x / z, oa.NotAffineError, "only numbers"),
        (lambda: 1 / x, oa.NotAffineError, "quotient by x"),
        (lambda: abs(x), oa.NotAffineError, r"oa.norm1\(x\)"),
        (lambda: x[3], oa.ShapeError, "3 lies outside an axis of 3 entries"),
        (lambda: x[:, x], oa.DtypeError, "x cannot stand in an index"),
        (lambda: x[0, [1, 2]], oa.ShapeError, "in several steps"),
        (lambda: x["a"], oa.DtypeError, "not 'a'"),
        (lambda: x[:0], oa.ShapeError, "takes nothing"),
        (lambda: x @ A, oa.NotAffineError, r"write Matrix\(.*\) @ x"),
        (lambda: A * x, oa.NotAffineError, r"write Matrix\(.*\) @ x"),
        (lambda: x * A, oa.NotAffineError, r"write Matrix\(.*\) @ x"),
        (lambda: M @ x, oa.NotAffineError, r"oa.Matrix\(...\) @ x"),
        (lambda: torch.from_numpy(M) @ x, oa.NotAffineError, r"oa.Matrix\(...\) @ x"),
        (lambda: scipy.sparse.csr_matrix(M) @ x, oa.NotAffineError, r"oa.Matrix\(...\) @ x"),
        (lambda: x @ M, oa.NotAffineError, "left side"),
        (lambda: A @ oa.Variable(3, name="v"), oa.ShapeError, r"@ v: .*\(4,\), but v has shape \(3,\)"),
        (lambda: x + oa.Variable(3, name="v"), oa.ShapeError, r"v of shape \(3,\)"),
        (lambda: x + np.ones(4), oa.ShapeError, r"shape \(4,\), but x has shape \(3, 4\); nothing is broadcast"),
        (lambda: x - oa.Parameter(np.ones(4), name="y"), oa.ShapeError, r"^y has shape \(4,\)"),
        (lambda: x * np.ones((4, 3)), oa.ShapeError, r"\(4, 3\) and cannot multiply the entries of x"),
        (lambda: x * np.ones((2, 3, 4)), oa.ShapeError, r"\(2, 3, 4\)"),
        (lambda: x + np.arange(12).reshape(3, 4), oa.DtypeError, r"int64.*array.astype\(float\)"),
        (lambda: x + torch.arange(12).reshape(3, 4), oa.DtypeError, r"int64.*array.to\(torch.float64\)"),
        (lambda: x * np.arange(12).reshape(3, 4), oa.DtypeError, "int64"),
        (lambda: x + (Y > 0), oa.DtypeError, "boolean"),
        (lambda: x * (Y > 0), oa.DtypeError, "Mask"),
        (lambda: x + 1j * Y, oa.DtypeError, r"complex, but x is real; declare Variable\(..., dtype=complex\)"),
        (lambda: x + 1j, oa.DtypeError, "complex, but x is real"),
        (lambda: oa.RFFT((3, 4)) @ c, oa.DtypeError, "c is complex"),
        (lambda: x + np.full((3, 4), np.nan), oa.NonFiniteError, "12 entries"),
        (lambda: x + float("nan"), oa.NonFiniteError, "nan"),
        (lambda: float("inf") * x, oa.NonFiniteError, "inf"),
        (lambda: x / 0, oa.ParameterError, "divides by zero"),
        (lambda: x / np.zeros((3, 4)), oa.ParameterError, "divides by zero"),
        (lambda: x + [[1, 2], [3]], oa.DtypeError, "equal length"),  # noqa: RUF005
        (lambda: bool(x), oa.NotAffineError, "no truth value"),
        (lambda: x < 1, oa.NotAffineError, "x <= "),
        (lambda: x > 1, oa.NotAffineError, "x >= "),
        (lambda: x + None, TypeError, "NoneType"),
        (lambda: x / "a", TypeError, "str"),
        (lambda: list(x), TypeError, "iterable"),
    ],
)
def test_what_cannot_be_written_says_what_to_write(build, error, words):
    with pytest.raises(error, match=words):
        build()


LOW, HIGH = Y - 1.0, Y + 1.0
ORDERS = {
    "number below": (lambda: x >= 0, 0.0, None),
    "number above": (lambda: x <= 1, None, 1.0),
    "arrays": (lambda: x >= LOW, LOW, None),
    "array on the right": (lambda: x <= HIGH, None, HIGH),
    "torch": (lambda: torch.from_numpy(LOW) <= x, LOW, None),
    "torch on the right": (lambda: x >= torch.from_numpy(LOW), LOW, None),
    "torch number": (lambda: x >= torch.tensor(0.5), 0.5, None),
    "numpy number": (lambda: np.float64(0.5) <= x, 0.5, None),
    "numpy number on the right": (lambda: x <= np.float32(0.5), None, 0.5),
    "one entry": (lambda: x <= np.array([0.5]), None, 0.5),
    "parameter": (lambda: lam <= x, 0.7, None),
    "parameter array": (lambda: x <= P, None, Y + 3.0),
    "with an offset": (lambda: 2 * x - Y >= LOW, (LOW + Y) / 2, None),
    "offset and number": (lambda: 2 * x - 1 >= 3, 2.0, None),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_is_a_box(name):
    build, low, high = ORDERS[name]
    term = oa.indicator(build())
    inside = np.clip(X0, low, high)
    edge = low if low is not None else high
    outside = edge + np.zeros((3, 4))
    outside[1, 2] += -1e-3 if low is not None else 1e-3
    assert term.value(inside) == 0.0
    assert term.value(edge + np.zeros((3, 4))) == 0.0
    assert term.value(outside) == float("inf")


def test_equations_and_orders_of_two_expressions():
    b0 = X0 @ M.T
    assert oa.indicator(A @ x == b0).value(X0) == 0.0
    assert oa.indicator(b0 == A @ x).value(X0 + 1e-6) == float("inf")
    assert oa.indicator(A @ x == b0 + 0.1).value(X0) == float("inf")
    assert oa.indicator(x == z).value({x: X0, z: X0}) == 0.0
    assert oa.indicator(x == z).value({x: X0, z: Z0}) == float("inf")
    assert oa.indicator(x >= z).value({x: X0 + 5, z: Z0}) == 0.0
    assert oa.indicator(x <= z).value({x: X0 + 5, z: Z0}) == float("inf")
    assert oa.indicator(c == C0).value(C0) == 0.0
    assert oa.indicator(x == 1).value(np.ones((3, 4))) == 0.0


def test_a_constraint_shows_itself_and_has_no_truth_value():
    assert repr(x >= 0) == "x >= 0"
    assert repr(A @ x == 0).endswith("@ x == 0")
    with pytest.raises(oa.NotAffineError, match=r"oa.indicator\(oa.box\(0, 1\), x\)"):
        _ = 0 <= x <= 1
    with pytest.raises(oa.NotAffineError, match="x >= 0"):
        bool(x >= 0)
    assert not (x == z)  # noqa: SIM201  (two variables are not the same one)
    assert x != z


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: c >= 0, oa.DtypeError, "no order"),
        (lambda: x >= 1j, oa.DtypeError, "must be real"),
        (lambda: x >= np.ones(4), oa.ShapeError, r"\(4,\), the expression \(3, 4\)"),
        (lambda: x >= np.arange(12).reshape(3, 4), oa.DtypeError, "int64"),
        (lambda: x <= float("inf"), oa.NonFiniteError, "leave out"),
        (lambda: x <= np.full((3, 4), np.nan), oa.NonFiniteError, "NaN"),
        (lambda: x <= (Y > 0), oa.DtypeError, "boolean"),
        (lambda: x <= "one", TypeError, "str"),
        (lambda: x == np.ones(4), oa.ShapeError, r"\(4,\)"),
    ],
)
def test_wrong_bounds_are_named(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_parts_answer_for_their_variables():
    e = A @ x + 2 * (B @ z) - 1.0
    assert isinstance(e, Affine) and e.variables == (x, z) and e.shape == (3, 5)
    assert e.operator_of(x) is A
    assert_allclose(e.operator_of(z) @ Z0, 2 * Z0 @ N.T, rtol=1e-12)
    assert_allclose(e.operator_of(oa.Variable((3, 5))) @ np.ones((3, 5)), np.zeros((3, 5)))
    assert e.without_offset().offset is None
    assert (A @ x).as_affine().parts[0].kind == "real" and (1j * x).kind == "complex"


def test_data_are_copied():
    data = Y.copy()
    e = x - data
    data[:] = 0.0
    assert_allclose(at(e, POINT), X0 - Y)
