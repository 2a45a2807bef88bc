"""Energies as LaTeX and HTML: known formulas, and names that stay names."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
import sympy

import opalg as oa
from opalg.functionals.calculus import Functional

rng = np.random.default_rng(4)
Y = rng.standard_normal((8, 8))
x, z = oa.Variable((8, 8), name="x"), oa.Variable((8, 8), name="z")
lam = oa.Parameter(0.7, name="lambda", nonneg=True)
k = oa.Parameter(np.ones((3, 3)), name="k")
K, D, F = oa.Convolve(k, shape=(8, 8)), oa.Gradient((8, 8)), oa.FFT((8, 8))
A, B = oa.Matrix(Y), oa.Matrix(Y + 1)
f = oa.norm1(x)
T = sympy.Symbol("t")
N = r"\left\|x\right\|_1"

FORMULAS = {
    "deblurring": (
        lambda: 0.5 * oa.sum_squares(K @ x - Y) + lam * oa.norm21(D @ x) + oa.indicator(x >= 0),
        r"\tfrac{1}{2} \left\|K x - y\right\|_2^2 + \lambda \left\|D x\right\|_{2,1} + \iota_{x \ge 0}",
    ),
    "plain": (lambda: f, N),
    "number": (lambda: 3 * f, f"3 {N}"),
    "third": (lambda: f / 3, rf"\tfrac{{1}}{{3}} {N}"),
    "small": (lambda: 2e-5 * f, rf"2 \cdot 10^{{-5}} {N}"),
    "square": (lambda: lam**2 * f, rf"\lambda^{{2}} {N}"),
    "half a parameter": (lambda: lam * f / 2, rf"\tfrac{{1}}{{2}} \lambda {N}"),
    "quotient": (lambda: f / lam, rf"\frac{{1}}{{\lambda}} {N}"),
    "sum": (lambda: (1 + lam) * f, rf"\left(1 + \lambda\right) {N}"),
    "exponential": (lambda: sympy.exp(lam) * f, rf"\exp\left(\lambda\right) {N}"),
    "difference": (lambda: oa.norm2(z) - f, rf"\left\|z\right\|_2 - {N}"),
    "constant": (lambda: f - 1, f"{N} - 1"),
    "data first": (lambda: oa.norm1(Y - K @ x), r"\left\|y - K x\right\|_1"),
    "named data": (lambda: oa.norm1(x - oa.Constant(Y, name="b_0")), r"\left\|x - b_{0}\right\|_1"),
    "two matrices": (lambda: oa.norm1(A @ x - B @ z), r"\left\|A x - A_{2} z\right\|_1"),
    "adjoint": (lambda: oa.norm1(A.H @ B @ x), r"\left\|{A}^{*} A_{2} x\right\|_1"),
    "scaled": (lambda: oa.norm1(-2 * (A @ x) + lam * z), r"\left\|-2 A x + \lambda z\right\|_1"),
    "gram": (lambda: oa.norm1(x - A @ x), r"\left\|x - A x\right\|_1"),
    "product with a sum": (lambda: oa.norm1(A @ (x - F @ x)), r"\left\|A \left(I - F\right) x\right\|_1"),
    "stack": (
        lambda: oa.norm1(oa.vstack([A, B]) @ x),
        r"\left\|\begin{pmatrix} A \\ A_{2} \end{pmatrix} x\right\|_1",
    ),
    "computed data": (lambda: oa.norm1(K @ (x - Y)), r"\left\|K x + y\right\|_1"),
    "weights": (lambda: oa.norm1(x, weights=Y**2), r"\left\|x\right\|_{1,w}"),
    "weights of squares": (lambda: oa.sum_squares(x, weights=lam), r"\left\|x\right\|_{2,\lambda}^2"),
    "huber": (lambda: oa.huber(x, 0.5), r"\operatorname{huber}_{\tfrac{1}{2}}\left(x\right)"),
    "box": (lambda: oa.indicator(oa.box(0, 1), x), r"\iota_{0 \le x \le 1}"),
    "array bound": (lambda: oa.indicator(x <= Y), r"\iota_{x \le w}"),
    "equation": (lambda: oa.indicator(A @ x == Y), r"\iota_{A x - y = 0}"),
    "affine set of a complex one": (
        lambda: oa.indicator(oa.affine(2 * F, 1.0), 1j * x),
        r"\iota_{\left(2 F\right) \left(\mathrm{i} x\right) = 1}",
    ),
    "complex numbers": (
        lambda: oa.norm1((1 - 2j) * x - 2j),
        r"\left\|\left(1 - 2 \mathrm{i}\right) x - 2 \mathrm{i}\right\|_1",
    ),
    "potential": (
        lambda: oa.pointwise(oa.Potential(T, sympy.sqrt(1 + T**2)), x - Y),
        r"\sum_i \left[\sqrt{\left(x - y\right)_i^{2} + 1}\right]",
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    build, wanted = FORMULAS[name]
    found = build().latex()
    assert balanced(found)
    assert found == wanted


def balanced(formula: str) -> bool:
    """Whether braces and ``\\left`` and ``\\right`` come in pairs."""
    bare = re.sub(r"\\[{}]", "", formula)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0 and len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lambda", r"\lambda"),
        ("Omega", r"\Omega"),
        ("a", "a"),
        ("x_1", "x_{1}"),
        ("lambda_tv", r"\lambda_{\mathrm{tv}}"),
        ("noise", r"\mathrm{noise}"),
        ("my_name", r"\mathrm{my\_name}"),
        ("50% {of} $x$ & #1", r"\mathrm{50\%\ \{of\}\ \$x\$\ \&\ \#1}"),
        (r"\href{javascript:alert(1)}{x}", r"\mathrm{\backslash{}href\{javascript:alert(1)\}\{x\}}"),
        ("a^b~c", r"\mathrm{a\wedge{}b\sim{}c}"),
        ("two\nlines", r"\mathrm{two\ lines}"),
    ],
)
def test_names_are_escaped(name, wanted):
    assert (oa.Parameter(0.5, name=name) * f).latex() == f"{wanted} {N}"
    assert oa.norm1(oa.Variable(3, name=name)).latex() == rf"\left\|{wanted}\right\|_1"


def test_names_inside_a_potential_are_escaped():
    evil = oa.Parameter(1.0, name=r"\input{x}", positive=True)
    found = oa.pointwise(oa.Potential(T, evil * T**2), x).latex()
    assert r"\input" not in found.replace(r"\backslash{}input", "")
    assert balanced(found)


def test_html_shows_every_symbol_and_runs_nothing():
    evil = oa.Parameter(1.0, name="<script>alert(1)</script>", positive=True)
    mask = oa.Mask(Y > 0)
    page = (evil * oa.sum_squares(mask @ x - Y.astype("float32")) + lam * oa.norm1(K @ z))._repr_html_()
    assert "<script" not in page
    assert html.escape("<script>alert(1)</script>", quote=True).replace("_", r"\_") in page
    assert page.count("<table>") == page.count("</table>") == 1
    rows = re.findall(r"<tr><td.*?</tr>", page)
    cells = [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    shown = {row[0]: row[1:] for row in cells}
    assert shown["$M$"] == ["Mask(array of shape (8, 8))", "(8, 8) → (8, 8)", "as the argument"]
    assert shown["$K$"][0] == "Convolve(k, (8, 8), boundary='periodic')"
    assert shown["$x$"] == ["variable", "(8, 8)", "real, precision of the data"]
    assert shown["$k$"] == ["parameter", "(3, 3)", "float64"]
    assert shown[r"$\lambda$"] == ["nonnegative parameter", "()", "float64"]
    assert shown["$y$"] == ["data", "(8, 8)", "float32"]
    assert [row[1].split("(")[0] for row in cells[:2]] == ["Mask", "Convolve"]


def test_symbols_are_not_used_twice():
    K_parameter = oa.Parameter(0.5, name="K")
    first, second = oa.Convolve(np.ones((3, 3)), shape=(8, 8)), oa.Convolve(np.eye(3), shape=(8, 8))
    found = (K_parameter * oa.norm1(first @ x - Y) + oa.norm2(second @ x - Y - 1.0 * oa.Constant(Y))).latex()
    assert found == r"K \left\|K_{2} x - y\right\|_1 + \left\|K_{3} x - y_{2} - y_{3}\right\|_2"
    one, two = oa.Variable(3), oa.Variable(3)
    assert oa.norm1(one - two).latex() == r"\left\|x - x_{2}\right\|_1"


def test_notebooks_get_latex_and_html():
    assert f._repr_latex_() == rf"$\displaystyle {N}$"
    assert N in (f + 1)._repr_html_()
    assert oa.compile(oa.sum_squares(x - Y))._repr_html_().startswith("<pre>Energy")


def test_big_formulas_stay_short():
    weight = lam
    for _ in range(40):
        weight = weight * weight + 1
    found = (weight * f).latex()
    assert len(found) < 2000 and balanced(found)


def _families(cls: type) -> list[type]:
    return [c for sub in cls.__subclasses__() for c in [sub, *_families(sub)] if c.__module__.startswith("opalg.")]


@pytest.mark.parametrize(
    "family", [c for c in _families(Functional) if "examples" in vars(c)], ids=lambda c: c.__name__
)
def test_every_functional_writes_itself(family):
    for functional in family.examples(np.random.default_rng(0)):
        try:
            functional.check_kind("real")
            kind = float
        except oa.DtypeError:
            kind = complex
        term = functional(oa.Variable((3, 4), name="v", dtype=kind))
        assert "v" in repr(term) and "\n" not in repr(term)
        assert "v" in term.latex() and balanced(term.latex())
        assert "<table>" in term._repr_html_()
