"""Gradients of solutions in the numbers of functionals: weights, data, shapes, bounds, radii, levels."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import opalg as oa
from tests.implicit.parameter_kinds import Made, Table, assert_agrees, assert_slopes, coupled, design, near, parameter

KINDS = Table()


def lasso(rng: np.random.Generator, weight: oa.Expression, *parameters: oa.Parameter) -> Made:
    """A lasso with a formula for its weight."""
    x = oa.Variable(8, name="x")
    return 0.5 * oa.sum_squares(oa.Matrix(design(rng, 12, 8)) @ x - 2 * rng.standard_normal(12)) + weight * oa.norm1(
        x
    ), list(parameters)


# Weights of terms.


@KINDS.entry
def weight(rng: np.random.Generator) -> Made:
    lam = parameter(0.3, "lambda", nonneg=True)
    return lasso(rng, lam, lam)


@KINDS.entry
def squared_weight(rng: np.random.Generator) -> Made:
    lam = parameter(-0.5, "lambda")
    return lasso(rng, lam**2, lam)


@KINDS.entry
def product_of_weights(rng: np.random.Generator) -> Made:
    lam, mu = parameter(0.5, "lambda", nonneg=True), parameter(0.7, "mu", nonneg=True)
    return lasso(rng, lam * mu, lam, mu)


@KINDS.entry
def quotient_of_weights(rng: np.random.Generator) -> Made:
    lam, mu = parameter(0.2, "lambda", positive=True), parameter(0.7, "mu", positive=True)
    return lasso(rng, lam / mu, lam, mu)


@KINDS.entry
def exponential_weight(rng: np.random.Generator) -> Made:
    theta = parameter(-1.0, "theta")
    return lasso(rng, oa.exp(theta), theta)


@KINDS.entry
def root_of_a_weight(rng: np.random.Generator) -> Made:
    theta = parameter(0.1, "theta", positive=True)
    return lasso(rng, oa.sqrt(theta), theta)


@KINDS.entry
def sum_of_an_array_as_weight(rng: np.random.Generator) -> Made:
    parts = parameter(rng.uniform(0.05, 0.1, 4), "parts", positive=True)
    return lasso(rng, oa.total(parts), parts)


@KINDS.entry
def weight_of_the_fit(rng: np.random.Generator) -> Made:
    beta = parameter(1.7, "beta", positive=True)
    x = oa.Variable(6, name="x")
    return beta * oa.sum_squares(oa.Matrix(design(rng, 9, 6)) @ x - 2 * rng.standard_normal(9)) + 0.5 * oa.norm1(x), [
        beta
    ]


@KINDS.entry
def weights_by_entry(rng: np.random.Generator) -> Made:
    w = parameter(rng.uniform(0.1, 0.9, 8), "w", nonneg=True)
    x = oa.Variable(8, name="x")
    return 0.5 * oa.sum_squares(oa.Matrix(design(rng, 12, 8)) @ x - 2 * rng.standard_normal(12)) + oa.norm1(
        x, weights=w
    ), [w]


@KINDS.entry
def weights_by_sample(rng: np.random.Generator) -> Made:
    """One weight for each row of a batch: the gradient adds up over the row."""
    w = parameter(rng.uniform(0.2, 0.9, (3, 1)), "w", nonneg=True)
    spread = w * oa.Constant(np.ones((3, 4)))
    return near(rng, (3, 4), lambda x: oa.norm1(x, weights=spread), w)


@KINDS.entry
def weights_of_residuals(rng: np.random.Generator) -> Made:
    w = parameter(rng.uniform(0.2, 1.5, 9), "w", nonneg=True)
    x = oa.Variable(6, name="x")
    residual = oa.Matrix(design(rng, 9, 6)) @ x - rng.standard_normal(9)
    return oa.sum_squares(residual, weights=w) + 0.1 * oa.sum_squares(x), [w]


@KINDS.entry
def weights_of_groups(rng: np.random.Generator) -> Made:
    w = parameter(rng.uniform(0.5, 2.0, 4), "w", nonneg=True)
    return near(rng, (4, 3), lambda x: oa.norm21(x, axis=1, weights=w), w)


@KINDS.entry
def weights_of_listed_groups(rng: np.random.Generator) -> Made:
    w = parameter(rng.uniform(0.5, 1.2, 3), "w", nonneg=True)
    groups = [[0, 1], [2, 3, 4], [5]]
    return near(rng, (6,), lambda x: oa.group_norm(x, groups, weights=w), w)


@KINDS.entry
def ordered_weights(rng: np.random.Generator) -> Made:
    w = parameter(np.linspace(1.0, 0.2, 6) + 0.02 * rng.standard_normal(6), "w", nonneg=True)
    return near(rng, (6,), lambda x: oa.ordered_norm1(x, w), w)


@KINDS.entry
def both_weights_of_the_elastic_net(rng: np.random.Generator) -> Made:
    a, b = parameter(0.3, "a", nonneg=True), parameter(0.6, "b", nonneg=True)
    return coupled(rng, lambda x: oa.elastic_net(x, a, b), a, b)


@KINDS.entry
def weight_of_the_nuclear_norm(rng: np.random.Generator) -> Made:
    lam = parameter(0.9, "lambda", nonneg=True)
    return near(rng, (4, 3), lambda x: lam * oa.nuclear_norm(x), lam)


@KINDS.entry
def weight_of_a_maximum(rng: np.random.Generator) -> Made:
    lam = parameter(1.1, "lambda", nonneg=True)
    return near(rng, (6,), lambda x: lam * oa.norm_inf(x), lam)


@KINDS.entry
def weight_of_a_length(rng: np.random.Generator) -> Made:
    lam = parameter(1.1, "lambda", nonneg=True)
    return near(rng, (6,), lambda x: lam * oa.norm2(x), lam)


# Data, offsets and slopes.


@KINDS.entry
def offset(rng: np.random.Generator) -> Made:
    b = parameter(rng.standard_normal(6), "b")
    return coupled(rng, lambda x: 1.5 * oa.norm1(x - b), b)


@KINDS.entry
def one_offset_for_all(rng: np.random.Generator) -> Made:
    b = parameter(0.4, "b")
    return coupled(rng, lambda x: 0.3 * oa.norm1(x - b), b)


@KINDS.entry
def broadcast_data(rng: np.random.Generator) -> Made:
    y = parameter(rng.standard_normal((1, 4)), "y")
    x = oa.Variable((3, 4), name="x")
    spread = y * oa.Constant(np.ones((3, 4)))
    return oa.sum_squares(oa.Diagonal(rng.uniform(0.5, 1.5, (3, 4))) @ x - spread) + 0.3 * oa.norm1(x), [y]


@KINDS.entry
def slope(rng: np.random.Generator) -> Made:
    c = parameter(rng.standard_normal(6), "c")
    return coupled(rng, lambda x: oa.linear(c, x) + 0.3 * oa.norm1(x), c)


@KINDS.entry
def matrix_of_a_quadratic(rng: np.random.Generator) -> Made:
    U = parameter(design(rng, 6, 2), "U")
    return coupled(rng, lambda x: oa.quadratic(oa.Identity((6,)) + oa.LowRank(U), x), U)


@KINDS.entry
def counts(rng: np.random.Generator) -> Made:
    y, b = parameter(rng.uniform(0.5, 4.0, 6), "y", nonneg=True), parameter(0.3, "background", nonneg=True)
    x = oa.Variable(6, name="x")
    return oa.kl_divergence(x, y, background=b) + 0.3 * oa.sum_squares(x - rng.standard_normal(6)), [y, b]


@KINDS.entry
def background_behind_an_operator(rng: np.random.Generator) -> Made:
    y, b = rng.uniform(0.5, 4.0, 8), parameter(rng.uniform(0.5, 1.0, 8), "background", positive=True)
    x = oa.Variable(5, name="x")
    A = oa.Matrix(rng.uniform(0.1, 1.0, (8, 5)))
    return oa.kl_divergence(A @ x, y, background=b) + 0.5 * oa.sum_squares(x) + oa.indicator(x >= 0), [b]


# Shapes.


@KINDS.entry
def huber(rng: np.random.Generator) -> Made:
    delta = parameter(0.4, "delta", positive=True)
    return coupled(rng, lambda x: 2.0 * oa.huber(x, delta), delta)


@KINDS.entry
def huber_by_entry(rng: np.random.Generator) -> Made:
    delta = parameter(rng.uniform(0.2, 0.6, 6), "delta", positive=True)
    shape = oa.functionals.Huber(delta)
    return coupled(rng, lambda x: 2.0 * shape(x - np.full(6, 0.9)), delta)


@KINDS.entry
def charbonnier(rng: np.random.Generator) -> Made:
    eps = parameter(0.3, "eps", positive=True)
    return coupled(rng, lambda x: oa.charbonnier(x, eps), eps)


@KINDS.entry
def log_cosh(rng: np.random.Generator) -> Made:
    scale = parameter(0.3, "scale", positive=True)
    return coupled(rng, lambda x: oa.log_cosh(x, scale), scale)


@KINDS.entry
def cauchy(rng: np.random.Generator) -> Made:
    scale = parameter(2.0, "scale", positive=True)
    x = oa.Variable(5, name="x")
    return 2.0 * oa.sum_squares(x - rng.standard_normal(5)) + oa.cauchy(x, scale), [scale]


@KINDS.entry
def geman_mcclure(rng: np.random.Generator) -> Made:
    scale = parameter(2.0, "scale", positive=True)
    x = oa.Variable(5, name="x")
    return 2.0 * oa.sum_squares(x - rng.standard_normal(5)) + oa.geman_mcclure(x, scale), [scale]


@KINDS.entry
def potential(rng: np.random.Generator) -> Made:
    t, s, a = sympy.symbols("t s a")
    scale, height = parameter(0.7, "s", positive=True), parameter(1.3, "a", positive=True)
    shape = oa.Potential(t, a * (sympy.sqrt(t**2 + s**2) - s), s=scale, a=height)
    return coupled(rng, lambda x: oa.pointwise(shape, x), scale, height)


@KINDS.entry
def potential_with_a_kink(rng: np.random.Generator) -> Made:
    t, a = sympy.symbols("t a")
    slope = parameter(0.4, "a", positive=True)
    shape = oa.Potential(t, a * sympy.Abs(t), a=slope)
    return coupled(rng, lambda x: oa.pointwise(shape, x), slope)


@KINDS.entry
def potential_by_entry(rng: np.random.Generator) -> Made:
    t, s = sympy.symbols("t s")
    scale = parameter(rng.uniform(0.3, 1.0, 6), "s", positive=True)
    shape = oa.Potential(t, sympy.log(sympy.cosh(t / s)), s=scale)
    return coupled(rng, lambda x: oa.pointwise(shape, x), scale)


@KINDS.entry
def level_of_a_quantile(rng: np.random.Generator) -> Made:
    level = parameter(0.3, "level", positive=True)
    return near(rng, (8,), lambda x: 1.5 * oa.quantile(x, level), level)


@KINDS.entry
def smoothing_of_an_envelope(rng: np.random.Generator) -> Made:
    mu = parameter(0.5, "mu", positive=True)
    return coupled(rng, lambda x: oa.moreau_envelope(oa.functionals.Norm1(), mu)(x), mu)


@KINDS.entry
def part_of_an_infimal_convolution(rng: np.random.Generator) -> Made:
    w = parameter(0.7, "w", nonneg=True)
    f = oa.infimal_convolution(oa.functionals.Norm1(w), oa.functionals.SumSquares())
    return coupled(rng, lambda x: f(x), w)


@KINDS.entry
def smoothed_groups(rng: np.random.Generator) -> Made:
    delta = parameter(0.6, "delta", positive=True)
    return near(rng, (4, 3), lambda x: oa.functionals.HuberNorm21(delta, axis=1)(x), delta)


@KINDS.entry
def experts(rng: np.random.Generator) -> Made:
    t, s = sympy.symbols("t s")
    filters = parameter(rng.standard_normal((2, 2, 2)), "filters")
    weights = parameter(rng.uniform(0.3, 1.0, 2), "weights", positive=True)
    scale = parameter(0.5, "s", positive=True)
    x = oa.Variable((4, 5), name="x")
    field = oa.fields_of_experts(filters, oa.Potential(t, sympy.sqrt(t**2 + s**2) - s, s=scale), x, weights=weights)
    return 0.5 * oa.sum_squares(x - rng.standard_normal((4, 5))) + field, [filters, weights, scale]


@KINDS.entry
def experts_behind_data(rng: np.random.Generator) -> Made:
    filters = parameter(rng.standard_normal((3, 3)), "filters")
    delta = parameter(0.4, "delta", positive=True)
    x = oa.Variable((7,), name="x")
    field = oa.fields_of_experts(filters, oa.functionals.Huber(delta), x, boundary="symmetric")
    return 0.5 * oa.sum_squares(x - 2 * rng.standard_normal(7)) + field, [filters, delta]


# Several variables.


@KINDS.entry
def sum_of_two_unknowns(rng: np.random.Generator) -> Made:
    y, lam, mu = parameter(rng.standard_normal(7), "y"), parameter(0.3, "lambda", nonneg=True), parameter(0.8, "mu")
    u, v = oa.Variable(7, name="u"), oa.Variable(7, name="v")
    energy = 0.5 * oa.sum_squares(u + mu * v - y) + lam * oa.norm1(u) + lam**2 * oa.sum_squares(v)
    return energy, [y, lam, mu]


@KINDS.entry
def zero_in_a_formula(rng: np.random.Generator) -> Made:
    lam, slope = parameter(0.0, "lambda"), parameter(np.zeros(6), "slope")
    return coupled(rng, lambda x: oa.exp(lam) * oa.sum_squares(x) + oa.linear(slope, x), lam, slope)


OPTIONS = {"cauchy": {"nonconvex": True}, "geman_mcclure": {"nonconvex": True}}


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_slopes(name: str, rng: np.random.Generator) -> None:
    assert_slopes(KINDS[name](rng), **OPTIONS.get(name, {}))


@pytest.mark.parametrize("backend", ["torch", "array_api_strict"])
@pytest.mark.parametrize(
    "name",
    ["weights_by_sample", "weights_of_groups", "huber_by_entry", "experts", "slope", "counts"],
)
def test_libraries_agree(name: str, backend: str, rng: np.random.Generator) -> None:
    pytest.importorskip(backend)
    assert_agrees(KINDS[name](rng), backend)


ZERO_WEIGHTS = {
    "sum_squares": (lambda x, w: w * oa.sum_squares(x), lambda x: 2 * x),
    "norm1": (lambda x, w: w * oa.norm1(x), np.sign),
    "norm1_by_entry": (lambda x, w: oa.norm1(x, weights=w * oa.Constant(np.ones(6))), np.sign),
    "norm2": (lambda x, w: w * oa.norm2(x), lambda x: x / np.linalg.norm(x)),
    "quantile": (lambda x, w: w * oa.quantile(x, 0.3), lambda x: np.where(x > 0, 0.3, -0.7)),
    "elastic_net": (lambda x, w: oa.elastic_net(x, w, 0.1 * w), lambda x: np.sign(x) + 0.2 * x),
    "huber": (lambda x, w: w * oa.huber(x, 0.2), lambda x: np.clip(x, -0.2, 0.2)),
}


@pytest.mark.parametrize("name", ZERO_WEIGHTS)
def test_weight_of_zero(name: str, rng: np.random.Generator) -> None:
    """Where the weight of a term is zero, its gradient is the slope to the right: ``-H^-1`` times the term's own."""
    term, slope = ZERO_WEIGHTS[name]
    A, y, c = design(rng, 30, 6), rng.standard_normal(30), rng.standard_normal(6)
    lam, x = parameter(0.0, "lambda", nonneg=True), oa.Variable(6, name="x")
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(A) @ x - y) + term(x, lam))
    solution = plan.solve(tol=1e-14, max_iter=20_000, on_failure="return")
    exact = np.linalg.solve(A.T @ A, A.T @ y)
    found = float(solution.vjp(c, lam, tol=1e-13, on_inexact="return")[lam])
    assert abs(found + c @ np.linalg.solve(A.T @ A, slope(exact))) <= 1e-9 * abs(found)


def test_broadcast_parameters_sum(rng: np.random.Generator) -> None:
    """The gradient in one number for all is the sum, not the mean, of the gradients in one number for each."""
    one, each = parameter(0.3, "one", nonneg=True), parameter(np.full(8, 0.3), "each", nonneg=True)
    A, y, c = design(rng, 12, 8), 2 * rng.standard_normal(12), rng.standard_normal(8)
    x = oa.Variable(8, name="x")
    fit_of_data = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y)
    shared, apart = (
        oa.compile(fit_of_data + term)
        .solve(tol=1e-14, on_failure="return")
        .vjp(c, p, tol=1e-13, on_inexact="return")[p]
        for term, p in ((one * oa.norm1(x), one), (oa.norm1(x, weights=each), each))
    )
    assert np.count_nonzero(apart) > 2
    assert abs(float(shared) - apart.sum()) <= 1e-10 * abs(float(shared))


def test_a_formula_and_its_parts(rng: np.random.Generator) -> None:
    """The gradient through ``lambda**2 mu`` is that in the weight times the formula's own derivatives."""
    A, y, c = design(rng, 12, 8), 2 * rng.standard_normal(12), rng.standard_normal(8)
    lam, mu, whole = (
        parameter(0.6, "lambda"),
        parameter(0.8, "mu", nonneg=True),
        parameter(0.36 * 0.8, "w", nonneg=True),
    )
    x = oa.Variable(8, name="x")
    fit_of_data = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - y)
    by_parts = oa.compile(fit_of_data + lam**2 * mu * oa.norm1(x)).solve(tol=1e-14, on_failure="return")
    by_whole = oa.compile(fit_of_data + whole * oa.norm1(x)).solve(tol=1e-14, on_failure="return")
    parts = by_parts.vjp(c, [lam, mu], tol=1e-13, on_inexact="return")
    g = float(by_whole.vjp(c, whole, tol=1e-13, on_inexact="return")[whole])
    assert abs(float(parts[lam]) - 2 * 0.6 * 0.8 * g) <= 1e-9 * abs(g)
    assert abs(float(parts[mu]) - 0.36 * g) <= 1e-9 * abs(g)
