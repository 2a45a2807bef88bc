"""Terms and energies: their arithmetic, values and derivatives against formulas written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from numpy.testing import assert_allclose

import opalg as oa
from opalg.energies import Energy, Term

rng = np.random.default_rng(5)
M = rng.standard_normal((5, 4))
Y = rng.standard_normal((3, 5))
X0, Z0, D0, E0 = (rng.standard_normal((3, 4)) for _ in range(4))
x, z = oa.Variable((3, 4), name="x"), oa.Variable((3, 4), name="z")
c = oa.Variable((3, 4), name="c", dtype=complex)
A = oa.Matrix(M)
lam = oa.Parameter(0.7, name="lambda", nonneg=True)
f, g = oa.norm1(x - 1), oa.sum_squares(A @ x - Y)
F0, G0 = float(np.sum(np.abs(X0 - 1))), float(np.sum((X0 @ M.T - Y) ** 2))

VALUES = {
    "a term": (lambda: f, F0),
    "weights multiply": (lambda: 2 * (3 * f), 6 * F0),
    "sums": (lambda: f + g, F0 + G0),
    "weights of sums": (lambda: 2 * (f + 3 * g), 2 * F0 + 6 * G0),
    "differences": (lambda: g - f, G0 - F0),
    "negated": (lambda: -(f - g), G0 - F0),
    "unchanged": (lambda: +f, F0),
    "half": (lambda: g / 2, G0 / 2),
    "divided by a parameter": (lambda: (f + g) / lam, (F0 + G0) / 0.7),
    "constant": (lambda: g + 1.0, G0 + 1),
    "constant first": (lambda: 1 - g, 1 - G0),
    "constants are weighted": (lambda: 2 * (g + 1.0) - 3, 2 * G0 - 1),
    "parameter added": (lambda: g + lam, G0 + 0.7),
    "sum of a list": (lambda: sum([f, 2 * g, f]), 2 * F0 + 2 * G0),
    "parameter": (lambda: lam * f, 0.7 * F0),
    "parameter squared": (lambda: lam**2 * f, 0.49 * F0),
    "parameter behind": (lambda: f * lam * 2, 1.4 * F0),
    "sympy": (lambda: sympy.exp(lam) * f, np.exp(0.7) * F0),
    "sympy behind": (lambda: f * sympy.sqrt(2), np.sqrt(2) * F0),
    "formula": (lambda: oa.exp(lam) * f, np.exp(0.7) * F0),
    "numpy number": (lambda: np.float32(0.5) * f, 0.5 * F0),
    "array of one entry": (lambda: np.array([2.0]) * f, 2 * F0),
    "torch number": (lambda: torch.tensor(2.0) * f, 2 * F0),
    "integer": (lambda: f * 3, 3 * F0),
    "nothing": (lambda: 0 * f + g, G0),
    "indicator keeps its weight": (lambda: lam * (f + oa.indicator(x >= -9)), 0.7 * F0),
    "outside": (lambda: f + oa.indicator(x >= 9), float("inf")),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    build, wanted = VALUES[name]
    assert build().value(X0) == pytest.approx(wanted, rel=1e-13)
    assert build().value({x: X0}) == pytest.approx(wanted, rel=1e-13)


def test_a_product_of_weights_is_one_weight():
    assert (2 * (3 * f)) is 6 * f
    assert isinstance(2 * f, Term) and isinstance(f + g, Energy)
    assert (f + g).terms == (f, g) and f.terms == (f,)
    assert (lam * (f + oa.indicator(x >= 0))).constant is (f + g).constant


def test_the_parts_of_an_energy():
    k = oa.Parameter(np.ones(3), name="k")
    energy = lam * oa.norm1(oa.Convolve(k, shape=(4,)) @ x - z) + oa.sum_squares(
        x, weights=oa.Parameter(X0**2, name="w")
    )
    assert energy.variables == (x, z)
    assert {p.name for p in energy.parameters} == {"lambda", "k", "w"}
    assert all(p in energy.leaves for p in energy.parameters)


def _smooth():
    """An energy of two variables, and its value, gradient and Hessian product as formulas of NumPy."""
    energy = 0.5 * oa.sum_squares(A @ (x - 2 * z) - Y) + lam * oa.huber(x + z - 1, 0.3) + lam**2 * oa.sum_squares(z) + 4

    def value(a, b):
        s = np.abs(a + b - 1)
        hub = np.where(s <= 0.3, s**2 / 2, 0.3 * (s - 0.15))
        return 0.5 * np.sum(((a - 2 * b) @ M.T - Y) ** 2) + 0.7 * np.sum(hub) + 0.49 * np.sum(b**2) + 4

    def gradient(a, b):
        back = ((a - 2 * b) @ M.T - Y) @ M
        clipped = 0.7 * np.clip(a + b - 1, -0.3, 0.3)
        return back + clipped, -2 * back + clipped + 0.98 * b

    def product(a, b, d, e):
        back = (d - 2 * e) @ M.T @ M
        curved = 0.7 * (np.abs(a + b - 1) <= 0.3) * (d + e)
        return back + curved, -2 * back + curved + 0.98 * e

    return energy, value, gradient, product


def test_derivatives_of_several_variables():
    energy, value, gradient, product = _smooth()
    point = {x: X0, z: Z0}
    assert energy.value(point) == pytest.approx(value(X0, Z0), rel=1e-13)
    found = energy.gradient(point)
    assert list(found) == [x, z]
    for v, wanted in zip((x, z), gradient(X0, Z0), strict=True):
        assert_allclose(found[v], wanted, rtol=1e-12, atol=1e-12)
    moved = energy.hessian_vector(point, {x: D0, z: E0})
    for v, wanted in zip((x, z), product(X0, Z0, D0, E0), strict=True):
        assert_allclose(moved[v], wanted, rtol=1e-12, atol=1e-12)


def test_one_variable_goes_without_a_mapping():
    assert_allclose(g.gradient(X0), 2 * (X0 @ M.T - Y) @ M, rtol=1e-12)
    assert_allclose(g.gradient({x: X0})[x], 2 * (X0 @ M.T - Y) @ M, rtol=1e-12)
    assert_allclose(g.hessian_vector(X0, D0), 2 * D0 @ M.T @ M, rtol=1e-12)
    assert_allclose(g.hessian_vector({x: X0}, {x: D0})[x], 2 * D0 @ M.T @ M, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_library_and_precision_are_those_of_the_point(dtype):
    wanted = 2 * (X0 @ M.T - Y) @ M
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    ours = g.gradient(X0.astype(dtype))
    assert isinstance(ours, np.ndarray) and ours.dtype == dtype
    assert_allclose(ours, wanted, rtol=tolerance, atol=tolerance)
    theirs = g.gradient(torch.tensor(X0, dtype=getattr(torch, dtype)))
    assert isinstance(theirs, torch.Tensor) and theirs.dtype == getattr(torch, dtype)
    assert_allclose(theirs.numpy(), wanted, rtol=tolerance, atol=tolerance)
    moved = g.hessian_vector(torch.tensor(X0, dtype=getattr(torch, dtype)), torch.tensor(D0))
    assert moved.dtype == getattr(torch, dtype)
    assert g.value(torch.tensor(X0, dtype=getattr(torch, dtype))) == pytest.approx(G0, rel=tolerance)
    assert isinstance(g.value(X0.astype(dtype)), float)


def test_the_higher_precision_wins():
    found = oa.sum_squares(x - z).gradient({x: X0.astype("float32"), z: Z0})
    assert found[x].dtype == found[z].dtype == np.float64


def test_inputs_stay_as_they_were():
    at, direction = X0.copy(), D0.copy()
    g.value(at), g.gradient(at), g.hessian_vector(at, direction)
    assert (at == X0).all() and (direction == D0).all()


def test_complex_energies():
    c0 = X0 + 1j * Z0
    energy = oa.sum_squares(oa.FFT((3, 4)) @ c - 1j)
    spectrum = np.fft.fft2(c0, norm="ortho")
    assert energy.value(c0) == pytest.approx(np.sum(np.abs(spectrum - 1j) ** 2), rel=1e-13)
    assert_allclose(energy.gradient(c0), 2 * np.fft.ifft2(spectrum - 1j, norm="ortho"), rtol=1e-12, atol=1e-12)
    assert energy.gradient(X0).dtype == np.complex128
    real = oa.sum_squares(oa.FFT((3, 4)) @ x - 1j)
    wanted = 2 * np.fft.ifft2(np.fft.fft2(X0, norm="ortho") - 1j, norm="ortho").real
    assert_allclose(real.gradient(X0), wanted, rtol=1e-12, atol=1e-12)
    assert real.gradient(X0).dtype == np.float64


def test_batches_add_up():
    v, x3 = oa.Variable((8, 3, 4), name="v"), rng.standard_normal((8, 3, 4))
    energy = oa.sum_squares(A @ v - 2.0)
    assert energy.value(x3) == pytest.approx(np.sum((x3 @ M.T - 2) ** 2), rel=1e-13)
    assert_allclose(energy.gradient(x3), 2 * (x3 @ M.T - 2) @ M, rtol=1e-12)
    spectral = oa.sum_squares(oa.FFT((3, 4)) @ v)
    assert_allclose(spectral.gradient(x3), 2 * x3, rtol=1e-12, atol=1e-12)


def test_a_variable_without_axes_takes_a_number():
    s = oa.Variable((), name="s")
    assert oa.sum_squares(s - 2.0).value(5) == 9.0
    assert float(oa.sum_squares(s - 2.0).gradient(np.array(5.0))) == 6.0


def test_constraints_hold_up_to_the_rounding_of_what_went_in():
    big = 1e6 * rng.standard_normal((40, 30))
    at = rng.standard_normal(30)
    v = oa.Variable(30, name="v")
    assert oa.indicator(oa.Matrix(big) @ v == big @ at).value(at) == 0.0
    assert oa.indicator(oa.Matrix(big) @ v == big @ at).value(at + 1e-9) == float("inf")
    assert oa.indicator(v == at).value(at + 1e-12) == float("inf")


def test_nan_stays_nan():
    at = X0.copy()
    at[0, 0] = np.nan
    assert np.isnan(g.value(at))
    assert np.isnan(oa.indicator(x >= 0).value(at))
    assert np.isnan((g + oa.indicator(x >= 0)).value(at))


def test_outside_its_domain_a_formula_is_not_asked():
    t = sympy.Symbol("t")
    barrier = oa.pointwise(oa.Potential(t, -sympy.log(t), domain=(0, None)), x)
    with np.errstate(all="raise"):
        assert barrier.value(X0 - 9) == float("inf")
    assert barrier.value(np.abs(X0) + 1) == pytest.approx(-np.sum(np.log(np.abs(X0) + 1)), rel=1e-13)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: f + x, oa.NotAffineError, r"x is no number.*oa.sum_squares\(x\)"),
        (lambda: x + f, oa.NotAffineError, "x is no number"),
        (lambda: f - x, oa.NotAffineError, "x is no number"),
        (lambda: x * f, oa.NotAffineError, "x is no number"),
        (lambda: f + (x >= 0), oa.NotAffineError, r"write oa.indicator\(x >= 0\)"),
        (lambda: (x >= 0) + f, oa.NotAffineError, r"write oa.indicator\(x >= 0\)"),
        (lambda: f + X0, oa.ShapeError, r"shape \(3, 4\); an energy is one number"),
        (lambda: X0 * f, oa.ShapeError, r"oa.norm1\(e, weights=...\)"),
        (lambda: oa.Parameter(X0, name="w") * f, oa.ShapeError, r"w has shape \(3, 4\)"),
        (lambda: f * g, oa.NotAffineError, "no energy"),
        (lambda: f**2, oa.NotAffineError, r"oa.sum_squares\(...\)"),
        (lambda: f / 0, oa.ParameterError, "divides by zero"),
        (lambda: 1j * f, oa.DtypeError, "must be real"),
        (lambda: float("nan") * f, oa.NonFiniteError, "nan"),
        (lambda: f + float("inf"), oa.NonFiniteError, "inf"),
        (lambda: -oa.indicator(x >= 0), oa.ParameterError, r"indicator\(x >= 0\) cannot have the weight -1"),
        (lambda: f - oa.indicator(x >= 0), oa.ParameterError, "no minimum"),
        (lambda: 2 * f <= 1, oa.UnsupportedError, "no constraints"),
        (lambda: f + f <= 1, oa.UnsupportedError, "no constraints"),
        (lambda: f >= 1, oa.UnsupportedError, "no constraints"),
        (lambda: f + "a", TypeError, "str"),
        (lambda: f.gradient(X0), oa.UnsupportedError, r"norm1\(x - 1\) is not differentiable.*huber"),
        (lambda: (g + f).hessian_vector(X0, X0), oa.UnsupportedError, "no Hessian"),
        (lambda: oa.indicator(x >= 0).gradient(X0), oa.UnsupportedError, r"indicator\(x >= 0\)"),
        (lambda: g.value(3.0), oa.DtypeError, "value of x must be an array.*not float"),
        (lambda: g.value(X0.tolist()), oa.DtypeError, "numpy.asarray"),
        (lambda: g.value(X0[0]), oa.ShapeError, r"x has shape \(3, 4\).*\(4,\)"),
        (lambda: g.value(X0.astype(int)), oa.DtypeError, "int64"),
        (lambda: g.value(X0 > 0), oa.DtypeError, "bool"),
        (lambda: g.value(1j * X0), oa.DtypeError, r"x is real.*Variable\(\(3, 4\), dtype=complex\)"),
        (lambda: g.value({z: X0}), oa.ParameterError, "has the variables x, but z is none of them"),
        (lambda: g.value({"x": X0}), oa.ParameterError, "'x' is none of them"),
        (lambda: (g + oa.norm1(z)).value(X0), oa.ParameterError, "x, z; give a mapping"),
        (lambda: (g + oa.norm1(z)).value({x: X0}), oa.ParameterError, "z is missing"),
        (lambda: (g + oa.norm1(z)).value({x: X0, z: torch.zeros(3, 4)}), oa.DtypeError, "x of numpy and z of torch"),
        (lambda: g.hessian_vector(X0, X0[0]), oa.ShapeError, r"\(4,\)"),
        (lambda: g.hessian_vector(X0, torch.zeros(3, 4)), oa.DtypeError, "direction of torch"),
    ],
)
def test_what_is_refused_says_why(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_minimize_takes_one_constraint_or_several():
    goal = oa.sum_squares(x - X0)
    assert_allclose(oa.minimize(goal, subject_to=x >= 0, tol=1e-9).x, np.maximum(X0, 0), atol=1e-6)
    both = oa.minimize(goal, subject_to=[x >= -0.5, x <= 0.5], tol=1e-9)
    assert_allclose(both.x, np.clip(X0, -0.5, 0.5), atol=1e-6)
