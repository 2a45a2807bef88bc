"""Small energies with functionals and their combinations, against CVXPY and closed forms, with what is certified."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import opalg as oa

cp = pytest.importorskip("cvxpy")

known = oa.functionals
SIZE = 5
RNG = np.random.default_rng(11)
B = RNG.standard_normal(SIZE)
Y = 1.5 * RNG.standard_normal(SIZE)
M = RNG.standard_normal((4, SIZE))
POSITIVE = RNG.uniform(0.5, 2.0, SIZE)
LABELS = np.array([1.0, -1.0, -1.0, 1.0])
COUNTS = np.array([2.0, 0.0, 5.0, 1.0])
RATES = np.abs(M)
SQUARE = RNG.standard_normal((3, 3))
A, K = oa.Matrix(M), oa.Matrix(RATES)
T, S = sympy.symbols("t s")


def near(x: Any) -> Any:
    return 0.5 * oa.sum_squares(x - Y)


def near_cp(x: Any) -> Any:
    return 0.5 * cp.sum_squares(x - Y)


def plus(term: Callable[[Any], Any], model: Callable[[Any], Any], *sets: Callable[[Any], Any]) -> Any:
    """A case: half the squared distance to the data plus a term, and its model with constraints."""
    return (
        lambda x: near(x) + term(x),
        lambda x: (near_cp(x) + model(x), [c for s in sets for c in s(x)]),
    )


def alone(term: Callable[[Any], Any], model: Callable[[Any], Any], *sets: Callable[[Any], Any]) -> Any:
    return term, lambda x: (model(x), [c for s in sets for c in s(x)])


def moreau_cp(x: Any, f: Callable[[Any], Any], mu: float) -> Any:
    u = cp.Variable(x.shape)
    return f(u) + cp.sum_squares(x - u) / (2 * mu)


def infimal_cp(x: Any, f: Callable[[Any], Any], g: Callable[[Any], Any]) -> Any:
    w = cp.Variable(x.shape)
    return f(w) + g(x - w)


def to_set_cp(x: Any, size: Callable[[Any], Any], constraints: Callable[[Any], list]) -> Any:
    z = cp.Variable(x.shape)
    return size(x - z) + cp.transforms.indicator(constraints(z))


def nothing(x: Any) -> Any:
    return 0.0


def ordered_cp(x: Any, weights: np.ndarray) -> Any:
    drops = weights - np.append(weights[1:], 0.0)
    return sum(d * cp.sum_largest(cp.abs(x), k + 1) for k, d in enumerate(drops))


def kl_cp(e: Any) -> Any:
    return cp.sum(cp.kl_div(COUNTS[[0, 2, 3]], e[[0, 2, 3]])) + e[1]


def charbonnier_cp(e: Any, eps: float) -> Any:
    return sum(cp.norm(cp.hstack([e[i], eps])) - eps for i in range(e.shape[0]))


WEIGHTS = np.linspace(1.2, 0.0, SIZE)
ENERGIES: dict[str, Any] = {
    "norm_inf": plus(lambda x: 0.7 * oa.norm_inf(x - B), lambda x: 0.7 * cp.norm(x - B, "inf")),
    "norm_inf behind a matrix": plus(
        lambda x: 0.7 * oa.norm_inf(A @ x - 1.0), lambda x: 0.7 * cp.norm(M @ x - 1, "inf")
    ),
    "ball1": plus(lambda x: oa.indicator(oa.ball1(1.1, B), x), nothing, lambda x: [cp.norm1(x - B) <= 1.1]),
    "ball2 behind a matrix": plus(
        lambda x: oa.indicator(oa.ball2(0.6), A @ x), nothing, lambda x: [cp.norm(M @ x) <= 0.6]
    ),
    "ball_inf": plus(lambda x: oa.indicator(oa.ball_inf(0.4, B), x), nothing, lambda x: [cp.abs(x - B) <= 0.4]),
    "simplex": plus(lambda x: oa.indicator(oa.simplex(2.0), x), nothing, lambda x: [x >= 0, cp.sum(x) == 2]),
    "half-space": plus(lambda x: oa.indicator(oa.halfspace(B, -1.0), x), nothing, lambda x: [B @ x <= -1]),
    "second-order cone": plus(
        lambda x: oa.indicator(known.SecondOrderCone(), x), nothing, lambda x: [cp.norm(x[1:]) <= x[0]]
    ),
    "elastic net": plus(
        lambda x: 2.0 * oa.elastic_net(A @ x, 0.3, 0.2),
        lambda x: 0.6 * cp.norm1(M @ x) + 0.4 * cp.sum_squares(M @ x),
    ),
    "ordered norm": plus(lambda x: 0.8 * oa.ordered_norm1(x - B, WEIGHTS), lambda x: 0.8 * ordered_cp(x - B, WEIGHTS)),
    "overlapping groups": plus(
        lambda x: oa.group_norm(x, [[0, 1, 2], [2, 3, 4]], np.array([0.8, 0.5])),
        lambda x: 0.8 * cp.norm(x[:3]) + 0.5 * cp.norm(x[2:]),
    ),
    "hinge": plus(
        lambda x: 1.4 * oa.hinge(A @ x, LABELS), lambda x: 1.4 * cp.sum(cp.pos(1 - cp.multiply(LABELS, M @ x)))
    ),
    "logistic": plus(
        lambda x: 3.0 * oa.logistic(A @ x + 0.5, LABELS) + 0.2 * oa.norm1(x),
        lambda x: 3.0 * cp.sum(cp.logistic(cp.multiply(-LABELS, M @ x + 0.5))) + 0.2 * cp.norm1(x),
    ),
    "quantile": plus(
        lambda x: 0.9 * oa.quantile(A @ x - 1.0, 0.2),
        lambda x: 0.9 * cp.sum(cp.maximum(0.2 * (M @ x - 1), -0.8 * (M @ x - 1))),
    ),
    "Poisson": alone(
        lambda x: oa.kl_divergence(K @ x, COUNTS, background=0.3) + 0.1 * oa.norm1(x) + oa.indicator(x >= 0),
        lambda x: kl_cp(RATES @ x + 0.3) + 0.1 * cp.norm1(x),
        lambda x: [x >= 0],
    ),
    "entropy on a simplex": alone(
        lambda x: oa.entropy(x) + oa.linear(B, x) + oa.indicator(oa.simplex(1.0), x),
        lambda x: -cp.sum(cp.entr(x)) + B @ x,
        lambda x: [cp.sum(x) == 1],
    ),
    "entropy": plus(lambda x: 0.5 * oa.entropy(2.0 * x + 1.0), lambda x: -0.5 * cp.sum(cp.entr(2 * x + 1))),
    "log-barrier": plus(lambda x: 0.5 * oa.log_barrier(K @ x + 1.0), lambda x: -0.5 * cp.sum(cp.log(RATES @ x + 1))),
    "a linear programme": alone(
        lambda x: oa.linear(POSITIVE, x) + oa.indicator(K @ x >= np.ones(4)) + oa.indicator(x >= 0),
        lambda x: POSITIVE @ x,
        lambda x: [RATES @ x >= 1, x >= 0],
    ),
    "linear on a ball": alone(
        lambda x: 2.0 * oa.linear(B, x) + oa.indicator(oa.ball2(1.5, Y), x),
        lambda x: 2 * B @ x,
        lambda x: [cp.norm(x - Y) <= 1.5],
    ),
    "linear and entropy": alone(lambda x: oa.linear(B, x) + oa.entropy(x), lambda x: B @ x - cp.sum(cp.entr(x))),
    "quadratic": plus(
        lambda x: 0.5 * oa.quadratic(A.gram, x - B) + 0.3 * oa.norm1(x),
        lambda x: 0.5 * cp.sum_squares(M @ (x - B)) + 0.3 * cp.norm1(x),
    ),
    "distance": plus(
        lambda x: 0.8 * oa.distance(x, oa.ball1(0.5)),
        lambda x: 0.8 * to_set_cp(x, cp.norm, lambda z: [cp.norm1(z) <= 0.5]),
    ),
    "squared distance": plus(
        lambda x: 1.5 * oa.squared_distance(x, oa.simplex()) + 0.2 * oa.norm2(A @ x),
        lambda x: 1.5 * to_set_cp(x, cp.sum_squares, lambda z: [z >= 0, cp.sum(z) == 1]) + 0.2 * cp.norm(M @ x),
    ),
    "support function": plus(
        lambda x: 0.7 * oa.support_function(A @ x, oa.ball_inf(1.2, LABELS)),
        lambda x: 0.7 * (1.2 * cp.norm1(M @ x) + LABELS @ (M @ x)),
    ),
    "Moreau envelope": plus(
        lambda x: 1.3 * oa.moreau_envelope(known.NormInf(), 0.4)(A @ x),
        lambda x: 1.3 * moreau_cp(M @ x, lambda u: cp.norm(u, "inf"), 0.4),
    ),
    "infimal convolution": plus(
        lambda x: 1.1 * oa.infimal_convolution(known.Norm2(), known.Norm1(np.linspace(0.2, 1.2, SIZE)))(x - B),
        lambda x: 1.1 * infimal_cp(x - B, lambda w: cp.norm(w), lambda z: np.linspace(0.2, 1.2, SIZE) @ cp.abs(z)),
    ),
    "potential": plus(
        lambda x: oa.pointwise(oa.Potential(T, sympy.sqrt(T**2 + S**2) - S, s=0.4), A @ x) + 0.3 * oa.norm1(x),
        lambda x: charbonnier_cp(M @ x, 0.4) + 0.3 * cp.norm1(x),
    ),
    "potential without a Lipschitz constant": plus(
        lambda x: oa.pointwise(oa.Potential(T, sympy.exp(T) - 2 * T), x) + 0.6 * oa.norm1(A @ x),
        lambda x: cp.sum(cp.exp(x) - 2 * x) + 0.6 * cp.norm1(M @ x),
    ),
    "potential with a domain": plus(
        lambda x: 0.5 * oa.pointwise(oa.Potential(T, T * sympy.log(T) - T, domain=(0, None)), K @ x + 0.5),
        lambda x: 0.5 * cp.sum(-cp.entr(RATES @ x + 0.5) - (RATES @ x + 0.5)),
    ),
    "sum with a prox": plus(
        lambda x: 0.6 * oa.norm1(x) + oa.indicator(x >= -0.2) + 0.4 * oa.norm2(x),
        lambda x: 0.6 * cp.norm1(x) + 0.4 * cp.norm(x),
        lambda x: [x >= -0.2],
    ),
    "sum without a prox": plus(
        lambda x: 0.7 * (known.NormInf() + known.Norm1(POSITIVE))(x - B),
        lambda x: 0.7 * (cp.norm(x - B, "inf") + POSITIVE @ cp.abs(x - B)),
    ),
    "weighted, tilted, translated": plus(
        lambda x: 1.2 * known.Tilted(0.5 * known.NormInf(), B, 0.8).translated(Y)(2.0 * x),
        lambda x: 1.2 * (0.5 * cp.norm(2 * x - Y, "inf") + B @ (2 * x - Y) + 0.4 * cp.sum_squares(2 * x - Y)),
    ),
    "weights per entry, some zero": plus(
        lambda x: (np.array([0.0, 1.0, 0.5, 0.0, 2.0]) * known.Huber(0.3))(x - B) + 0.4 * oa.norm_inf(x),
        lambda x: np.array([0.0, 0.5, 0.25, 0.0, 1.0]) @ cp.huber(x - B, 0.3) + 0.4 * cp.norm(x, "inf"),
    ),
    "composition": plus(
        lambda x: 0.9 * known.Composition(known.Norm2(), oa.Diagonal(POSITIVE), B)(-x),
        lambda x: 0.9 * cp.norm(cp.multiply(POSITIVE, -x) + B),
    ),
    "blocks": plus(
        lambda x: 0.8 * known.SeparableSum([known.Norm2(), known.NormInf()], sizes=[2, 3])(x - B),
        lambda x: 0.8 * (cp.norm((x - B)[:2]) + cp.norm((x - B)[2:], "inf")),
    ),
}


def optimum(name: str) -> tuple[float, np.ndarray]:
    """The least energy and a minimiser of an interior point solver."""
    x = cp.Variable(SIZE)
    goal, constraints = ENERGIES[name][1](x)
    problem = cp.Problem(cp.Minimize(goal), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE)  # to more digits than are asked for below
    return float(problem.value), np.asarray(x.value)


@pytest.mark.parametrize("name", ENERGIES)
def test_the_optimum_is_found_and_what_is_certified_is_true(name: str) -> None:
    x = oa.Variable(SIZE, name="x")
    best, at = optimum(name)
    solution = oa.minimize(ENERGIES[name][0](x), tol=1e-8, max_iter=50_000)
    slack = 1e-7 * max(1.0, abs(best))
    assert solution, solution
    assert abs(solution.value - best) <= 1e-6 * max(1.0, abs(best))
    assert solution.certificate.lower_bound is None or solution.certificate.lower_bound <= best + slack
    if solution.certificate.kind == "duality gap":
        assert solution.value - best <= solution.certificate.value + slack
    if name != "a linear programme":
        assert np.linalg.norm(solution.x - at) <= 1e-3 * max(1.0, np.linalg.norm(at))
    if solution.error_bound is not None:
        assert np.linalg.norm(solution.x - at) <= solution.error_bound + 1e-4


UNBOUNDED: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: oa.linear(B, x),
    "linear above a small norm": lambda x: oa.linear(B, x) + 0.01 * oa.norm1(x),
    "linear on a cone": lambda x: oa.linear(-POSITIVE, x) + oa.indicator(x >= 0),
    "linear and a norm of fewer rows": lambda x: oa.linear(B, x) + oa.norm2(A @ x),
    "log-barrier": oa.log_barrier,
    "support of a ball beside zero": lambda x: oa.support_function(x, oa.ball2(0.5, 2.0 * B)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNBOUNDED)
def test_no_solve_of_an_energy_without_a_minimum_succeeds(name: str, dtype: type) -> None:
    energy = UNBOUNDED[name](oa.Variable(SIZE, name="x"))
    for candidate in oa.compile(energy).candidates:
        if candidate.fit.fits:
            plan = oa.compile(energy, method=candidate.method.name, dtype=dtype)
            solution = plan.solve(max_iter=500, on_failure="return")
            assert not solution and solution.certificate.lower_bound is None, solution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_flat_smooth_part_has_no_start_of_its_own(dtype: type) -> None:
    x = oa.Variable(3, name="x")
    energy = oa.linear(np.array([1.0, -0.5, 0.2]), x) + oa.indicator(oa.box(-1.0, 1.0), x)
    for method in ("proximal_gradient", "admm"):
        solution = oa.minimize(energy, method=method, dtype=dtype)
        assert solution and np.allclose(solution.x, [-1.0, 1.0, -1.0])
        assert solution.certificate.relative < 1e-6 and solution.certificate.lower_bound == pytest.approx(-1.7)


@pytest.mark.parametrize("method", ["closed_form", "conjugate_gradient", "proximal_gradient"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_minimum_of_zero_at_the_start_converges(method: str, dtype: type) -> None:
    energy = 0.5 * oa.sum_squares(oa.Variable(SIZE, name="x") - B)
    solution = oa.minimize(energy, method=method, dtype=dtype, tol=1e-6)
    assert solution and solution.iterations <= 20 and np.allclose(solution.x, B, atol=1e-6)


@pytest.mark.parametrize("tol", [1e-4, 1e-9])
def test_a_minimum_of_zero_at_kinks_converges(tol: float) -> None:
    x = oa.Variable(SIZE, name="x")
    energy = 0.7 * oa.sum_squares(x - B) + 2.0 * oa.norm1(x - B) + oa.norm_inf(x - B)
    for method in ("admm", "primal_dual"):
        assert oa.minimize(energy, method=method, tol=tol, max_iter=1000)


def test_every_feasible_point_minimises_constraints_alone() -> None:
    x = oa.Variable(SIZE, name="x")
    blur = oa.Convolve(np.array([0.7, 0.4]), (SIZE,))
    solution = oa.minimize(oa.indicator(blur @ x == blur @ B), method="admm", tol=1e-6)
    assert solution and solution.certificate.kind == "duality gap" and np.allclose(solution.x, B)


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
@pytest.mark.parametrize("name", ["kl_divergence", "log_barrier", "potential"])
def test_a_start_on_the_border_of_a_domain_sets_no_penalty(method: str, name: str) -> None:
    x = oa.Variable(SIZE, name="x")
    e = 2.0 * x - 1.0
    barrier = {
        "kl_divergence": lambda: oa.kl_divergence(e, POSITIVE),
        "log_barrier": lambda: oa.log_barrier(e) + oa.linear(np.ones(SIZE), e),
        "potential": lambda: oa.pointwise(oa.Potential(T, T - sympy.log(T), domain=(0, None)), e),
    }[name]()
    solution = oa.minimize(barrier + 0.1 * oa.norm1(A @ x) + oa.indicator(x <= 0.9), method="primal_dual")
    assert solution and np.all(solution.x > 0.5) and np.all(solution.x <= 0.9 + 1e-4)
    if method == "admm":
        solution = oa.minimize(barrier + oa.indicator(x <= 0.9), method="admm", tol=1e-8)
        weights = POSITIVE if name == "kl_divergence" else np.ones(SIZE)
        assert solution and np.allclose(solution.x, np.minimum((weights + 1.0) / 2.0, 0.9), atol=1e-4)


def test_iterates_a_little_outside_a_domain_have_a_value() -> None:
    x = oa.Variable(2, name="x")
    power = oa.Potential(T, T * sympy.log(T) - T, domain=(0, None))
    energy = 0.5 * oa.sum_squares(x + np.array([0.5, 12.0])) + 0.5 * oa.pointwise(power, x + 0.25)
    for method in ("admm", "primal_dual"):
        split = energy + oa.indicator(oa.box(-5.0, 5.0), x)
        solution = oa.minimize(split, method=method, tol=1e-7)
        assert solution and np.isfinite(solution.value) and np.allclose(solution.x, [0.06988963, -0.25], atol=1e-5)
        assert sum(solution.term_values.values()) == pytest.approx(solution.value)


def test_dual_residuals_have_a_size_where_nothing_pulls_at_the_solution() -> None:
    x = oa.Variable(4, name="x")
    energy = 0.03 * oa.quantile(0.5 * (oa.Gradient((4,)) @ x + oa.Parameter(0.3 * np.ones((1, 4)), name="d")), 0.8)
    solution = oa.minimize(energy, method="primal_dual", tol=1e-6, max_iter=2000)
    assert solution and solution.value == pytest.approx(0.03 * 0.8 * 0.5 * 0.3, rel=1e-5)  # the last difference is zero


def test_a_constraint_that_only_zero_obeys_is_met() -> None:
    x = oa.Variable(SIZE, name="x")
    square = oa.Matrix(RNG.standard_normal((SIZE, SIZE)) + 3.0 * np.eye(SIZE))
    solution = oa.minimize(near(x) + oa.indicator(oa.ball1(0.0), square @ x), method="primal_dual")
    assert solution and np.allclose(solution.x, 0.0, atol=1e-9)


def test_what_takes_anything_balances_a_dual_point_rather_than_a_norm_with_zero_weights() -> None:
    x = oa.Variable(SIZE, name="x")
    some = np.array([1.0, 0.0, 0.5, 0.0, 1.0])
    tilted = known.Tilted(known.Norm1(), B, 0.9)
    energy = oa.norm_inf(oa.Convolve(np.array([1.0, 0.4]), (SIZE,)) @ x - Y) + oa.norm1(x - B, weights=some) + tilted(x)
    solution = oa.minimize(energy, method="admm", tol=1e-7)
    assert solution and solution.certificate.kind == "duality gap"


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("operator", [A, oa.Mask(np.zeros(SIZE, dtype=bool))], ids=["matrix", "nothing"])
def test_a_complex_unknown_of_real_data_stays_complex(backend: str, operator: Any) -> None:
    pytest.importorskip(backend)
    z = oa.Variable(SIZE, name="z", dtype=complex)
    energy = oa.sum_squares(operator @ z)
    for method in ("conjugate_gradient", "proximal_gradient"):
        solution = oa.minimize(energy, backend=backend, method=method)
        assert solution and "complex128" in str(solution.x.dtype)
    assert energy.gradient(np.ones(SIZE, dtype=complex)).dtype == np.complex128


def test_primal_dual_steps_settle_where_the_curvature_is_the_largest_everywhere() -> None:
    x = oa.Variable(SIZE, name="x")
    energy = 7.0 * oa.sum_squares(3.0 * x + B) + oa.norm1(Y - 2.0 * x) + 0.2 * oa.norm1(x + 1.0)
    solution = oa.minimize(energy, method="primal_dual", tol=1e-8, max_iter=300)
    assert solution and solution.certificate.kind == "duality gap"


DIFFERENTIATED: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "radius of a ball": (lambda x, p: oa.indicator(oa.ball1(p), x), 0.9),
    "total of a simplex": (lambda x, p: oa.indicator(oa.simplex(p), x), 1.4),
    "weights of an ordered norm": (lambda x, p: oa.ordered_norm1(x - B, p), WEIGHTS),
    "normal of a half-space": (lambda x, p: oa.indicator(oa.halfspace(p, -1.0), x), B),
    "counts": (lambda x, p: oa.kl_divergence(x + 4.0, p, background=0.3), POSITIVE),
    "background": (lambda x, p: oa.kl_divergence(x + 4.0, POSITIVE, background=p), 0.3),
    "level": (lambda x, p: oa.quantile(A @ x - 1.0, p), 0.3),
    "threshold of an envelope": (lambda x, p: oa.moreau_envelope(known.NormInf(), p)(x - B), 0.6),
    "weight of an infimal convolution": (
        lambda x, p: oa.infimal_convolution(known.Norm2(), p * known.Norm1())(x - B),
        0.6,
    ),
    "width of a potential": (
        lambda x, p: oa.pointwise(oa.Potential(T, sympy.sqrt(T**2 + S**2) - S, s=p), A @ x) + 0.2 * oa.norm1(x),
        0.5,
    ),
    "weight inside a sum that is taken apart": (lambda x, p: (p * known.NormInf() + known.Norm1())(x - B), 0.8),
    "slope": (lambda x, p: known.Tilted(known.Norm1(), p, 0.4)(x - B) + 0.3 * oa.norm_inf(A @ x), Y),
    "matrix in a support function": (lambda x, p: oa.support_function(A @ x, oa.ball2(p, LABELS)), 0.7),
}


@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_gradients_in_parameters_agree_with_differences(name: str) -> None:
    make, value = DIFFERENTIATED[name]
    x, rng = oa.Variable(SIZE, name="x"), np.random.default_rng(3)
    signed = np.any(np.asarray(value) < 0)
    parameter = oa.Parameter(value, name="p") if signed else oa.Parameter(value, name="p", nonneg=True)
    if name in ("threshold of an envelope", "width of a potential"):
        parameter = oa.Parameter(value, name="p", positive=True)
    plan = oa.compile(near(x) + make(x, parameter))
    options = {"tol": 5e-13, "max_iter": 50_000, "on_failure": "return"}
    weights, direction = rng.standard_normal(SIZE), rng.standard_normal(np.shape(value))
    if name == "weights of an ordered norm":
        direction = direction * (np.asarray(value) > 0)
    found = np.sum(plan.solve(**options).vjp(weights, wrt=parameter)[parameter] * direction)
    step = 1e-5
    ends = [plan.solve(params={parameter: value + s * step * direction}, **options).x for s in (1, -1)]
    wanted = weights @ (ends[0] - ends[1]) / (2 * step)
    assert abs(wanted) > 1e-6, "the parameter does not matter here"
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
