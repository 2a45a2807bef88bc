"""A contract over every rewrite rule: what stands before and after it are the same operator, or the same energy.

Random operators and energies are rewritten, and every single step is checked: operators by their dense matrices,
energies by their values (inside and outside their domains), gradients, proxes and minimisers. A rule that none of the
samples, here or in ``tests/operators/rule_members.py``, lets fire fails the contract, so a new rule needs one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import opalg as oa
import opalg.operators as ops
from opalg import rewriting
from opalg.arrays import backend
from opalg.compiler.choose import choose
from opalg.compiler.compiled import CompiledEnergy
from opalg.compiler.plan import Plan
from opalg.energies import Energy, EnergyExpression
from opalg.facts import YES
from opalg.methods.problem import Problem
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, Scaled
from opalg.operators.batched import Batched
from opalg.program.expression import Literal
from opalg.rewriting.unfold import is_stuck
from opalg.rules import RULES, Step, rewrite
from tests.operators import rule_members
from tests.operators.dense import argument_kinds, random_array, real_matrix

assert rewriting  # importing it registers the rules

SHAPE = (3, 4)


# Samples.


def operators(rng: np.random.Generator) -> list[LinearOperator]:
    """Operators, some of them deliberately left as their users wrote them."""
    d, e = (ops.Diagonal(rng.standard_normal(SHAPE)) for _ in range(2))
    zd = ops.Diagonal(rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    mask = ops.Mask(rng.random(SHAPE) < 0.6)
    m = ops.Matrix(rng.standard_normal((4, 4)))
    n = ops.Matrix(rng.standard_normal((5, 4)) + 1j * rng.standard_normal((5, 4)))
    fft, rfft = ops.FFT(SHAPE), ops.RFFT(SHAPE)
    inverse = ops.InverseRFFT(SHAPE)
    periodic = ops.Gradient(SHAPE, boundary="periodic")
    K = ops.Convolve(rng.standard_normal((3, 2)), shape=SHAPE)
    L = ops.Convolve(rng.standard_normal((2, 2)), shape=SHAPE)
    C = ops.Convolve(rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3)), shape=SHAPE)
    lam = oa.Parameter(float(rng.uniform(0.5, 2.0)), name="lambda")
    one, identity = Literal(1.0), ops.Identity(SHAPE)
    return [
        Composed(mask, mask),
        mask @ (mask @ d),
        d @ (e @ mask),
        Scaled(Literal(2.5), d),
        (d + 2.0 * identity) + (zd - mask),
        Composed(Scaled(Literal(3.0), d), Composed(identity, e)),
        ops.Added((identity, ops.Zero(SHAPE), ops.Added((d, K)))),
        Scaled(Literal(2.0), Scaled(lam, K)),
        Scaled(one, K),
        Adjoint(d),
        Adjoint(Adjoint(m)),
        Adjoint(Composed(m, m)),
        Adjoint(ops.Added((m, 2.0 * m))),
        Adjoint(Scaled(Literal(-1.5), n)),
        Adjoint(Scaled(lam, rfft)),
        fft.H @ fft,
        fft @ (fft.H @ zd),
        (2.0 * fft).H @ (3.0 * fft),
        inverse @ rfft,
        ops.vstack([K, d, 2.0 * L]).H @ ops.vstack([d, K, e]),
        ops.vstack([m, n]).H @ (ops.vstack([n, m]) @ m),
        Batched(m, (3,)) @ Batched(m.H, (3,)),
        Adjoint(Batched(n, (2,))),
        Scaled(lam, Batched(m, (3,))),
        ops.Added((Batched(m, (3,)), Batched(2.0 * m, (3,)))),
        fft.H @ (zd @ fft),
        fft.H @ (zd @ (fft @ d)),
        K.H @ K + 0.7 * identity,
        K @ L,
        2.0 * K,
        (1 - 2j) * C,
        C.H @ (C @ K),
        periodic.H @ periodic + K.H @ K,
        ops.FiniteDifference(SHAPE, 0, boundary="periodic").H @ ops.FiniteDifference(SHAPE, 0, boundary="periodic"),
        ops.InverseRFFT(SHAPE, norm="forward") @ ops.RFFT(SHAPE, norm="ortho"),
        ops.AsComplex(SHAPE).H @ (C @ ops.AsComplex(SHAPE)),
    ]


def energies(rng: np.random.Generator) -> list[EnergyExpression]:
    """Energies whose weights are not one and whose offsets are not zero."""
    x, z = oa.Variable(SHAPE, name="x"), oa.Variable(SHAPE, name="z")
    weight = oa.Parameter(float(rng.uniform(1.5, 3.0)), name="w", nonneg=True)
    y, b = rng.standard_normal(SHAPE), rng.standard_normal((3, 5))
    A = oa.Matrix(rng.standard_normal((5, 4)))
    positive = rng.uniform(0.5, 2.0, SHAPE)
    factor = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 3.0))
    low = rng.uniform(-2.5, -1.5, SHAPE)
    convex, e = 0.7 * oa.sum_squares(x - y), x - b[:, :4]
    return [
        convex + 1.7 * oa.norm1(factor * (x - y)),
        convex + weight * oa.norm1(factor * x - y, weights=positive),
        convex + weight * oa.norm2(factor * (A @ x) - b) + 0.4,
        convex + 2.3 * oa.norm21(factor * (A @ x) - b, axis=-1),
        convex + 0.6 * oa.norm2(factor * x - factor * (oa.Diagonal(y) @ x) + y),
        weight * oa.sum_squares(factor * x - y, weights=positive),
        1.3 * oa.sum_squares(factor * (A @ x) - b) + convex,
        convex + 0.8 * oa.norm1(factor * x + factor * z - y) + 0.5 * oa.sum_squares(z - 1.5),
        convex + 2.0 * oa.norm1(e) + 0 * oa.norm2(x) + weight * oa.norm1(e),
        convex + 0 * oa.norm1(z) + 0 * oa.norm2(x + 1.0) + 0.2,
        1.5 * oa.sum_squares(e) + oa.indicator(x >= low) + weight * oa.sum_squares(e) + oa.indicator(x <= 0.5),
        convex + oa.indicator(2 * x - y >= low) + oa.indicator(2 * x - y <= low + 1.5) + oa.indicator(2 * x - y >= low),
        convex + oa.indicator(x >= low) + oa.indicator(x >= -1.0) + oa.indicator(x <= low + 3) + oa.indicator(x <= 2.0),
        convex + 1.2 * oa.norm1(oa.Convolve(rng.standard_normal((2, 2)), shape=SHAPE) @ (2 * x) - 2.0 * y),
        convex + 0.7 * oa.norm1(x) + oa.indicator(x >= low) + 0.2 * oa.norm1(2.0 * e),
        convex + 0.7 * oa.norm1(e) + 0.4 * oa.norm2(e) + oa.indicator(x <= low + 3),
        convex + oa.indicator(A @ (factor * x) == A @ y) + weight * oa.huber(factor * x - 1.0, 0.3),
    ]


def stuck_energies(rng: np.random.Generator) -> list[EnergyExpression]:
    """Energies with terms that have neither a gradient nor a prox, so that nothing minimises them as they stand."""
    known = oa.functionals
    x = oa.Variable(SHAPE, name="x")
    weight = oa.Parameter(float(rng.uniform(1.5, 3.0)), name="w", nonneg=True)
    y, d = rng.standard_normal(SHAPE), rng.uniform(0.5, 2.0, SHAPE)
    both = known.NormInf() + known.Norm1(d)
    held = known.Norm21(axis=-1) + known.Indicator(oa.ball1(9.0))
    behind = known.Composition(known.NormInf(), oa.Diagonal(d), y)
    convex = 0.7 * oa.sum_squares(x - y)
    return [
        convex + weight * both(x + 0.5),
        convex + weight * held(2.0 * x - y),
        convex + 0.6 * (weight * both)(x),
        convex + 1.7 * known.Postcomposed(both, weight, -0.3)(x - y),
        convex + weight * known.Tilted(both, y, 1.3)(x + y),
        convex + weight * behind(x) + 0.5 * behind.translated(y)(x),
        convex + weight * both.scaled(-1.5)(x - y) + 0.4,
    ]


def steps(roots: list[Any]) -> list[tuple[int, Step]]:
    """Every rewriting of the samples, with the number of its sample."""
    found = []
    for i, root in enumerate(roots):
        trace: list[Step] = []
        rewrite(root, trace=trace)
        found += [(i, step) for step in trace]
    return found


SEED = 20
OPERATOR_STEPS = steps(operators(np.random.default_rng(SEED)))
ENERGIES = energies(np.random.default_rng(SEED)) + energies(np.random.default_rng(SEED + 1))
STUCK = stuck_energies(np.random.default_rng(SEED))
ENERGY_STEPS = steps([Energy(e.terms, e.constant) for e in ENERGIES + STUCK])


def on(cases: list[tuple[int, Step]], wanted: type) -> list[Any]:
    """The steps on nodes of a class as test cases, each pair of nodes once."""
    once = {(step.before, step.after): (i, step) for i, step in cases if isinstance(step.before, wanted)}
    return [pytest.param(s, id=f"{i}-{s.rule.name}-{j}") for j, (i, s) in enumerate(once.values())]


def test_every_rule_fired():
    fired = {step.rule.name for _, step in OPERATOR_STEPS + ENERGY_STEPS}
    fired |= {step.rule.name for step in rule_members.steps()}
    silent = [r.name for r in RULES if r.function.__module__.startswith("opalg.") and r.name not in fired]
    assert not silent, f"no sample lets {silent} fire; add one here, or to tests/operators/rule_members.py"


# Operators.


@pytest.mark.parametrize("step", on(OPERATOR_STEPS + ENERGY_STEPS, LinearOperator))
def test_operators_stay_the_same_map(step):
    before, after = step.before, step.after
    assert (before.in_shape, before.out_shape) == (after.in_shape, after.out_shape)
    for kind in argument_kinds(before):
        wanted, found = real_matrix(before, kind), real_matrix(after, kind)
        if found.shape != wanted.shape:  # a result that turned out to be real
            wanted = wanted[: len(found)] if np.allclose(wanted[len(found) :], 0, atol=1e-12) else wanted
        assert_allclose(found, wanted, rtol=1e-10, atol=1e-11 * max(1.0, np.abs(wanted).max(initial=0)))


@pytest.mark.parametrize("step", on(OPERATOR_STEPS, LinearOperator))
def test_adjoints_stay_the_same_map(step):
    rng = np.random.default_rng(1)
    before, after = step.before, step.after
    u = random_array(rng, before.out_shape, "complex" if before.out_dtype == "complex" else "real")
    wanted, found = before.adjoint(u), after.adjoint(u)
    assert_allclose(found, wanted, rtol=1e-10, atol=1e-11 * max(1.0, np.abs(wanted).max(initial=0)))


# Energies.


def points(energy: EnergyExpression, rng: np.random.Generator) -> list[dict[Any, np.ndarray]]:
    """Points inside, at and outside the boxes of the samples."""
    sizes = (0.3, 1.0, 3.0)
    return [{v: s * random_array(rng, v.shape, v.kind) for v in energy.variables} for s in sizes for _ in range(4)]


energy_steps = pytest.mark.parametrize("step", on(ENERGY_STEPS, EnergyExpression))


@energy_steps
def test_values_stay(step):
    rng = np.random.default_rng(2)
    assert step.after.variables == step.before.variables
    for point in points(step.before, rng):
        assert step.after.value(point) == pytest.approx(step.before.value(point), rel=1e-10, abs=1e-12)


@energy_steps
def test_gradients_stay(step):
    rng = np.random.default_rng(3)
    smooth = [e for e in (step.before, step.after) if all(t.functional.facts.smooth is YES for t in e.terms)]
    if len(smooth) < 2:
        rough = [t for t in step.before.terms if t.functional.facts.smooth is not YES]
        assert rough, "the rule lost the gradient"
        return
    for point in points(step.before, rng):
        direction = {v: random_array(rng, v.shape, v.kind) for v in step.before.variables}
        for name, arguments in (("gradient", (point,)), ("hessian_vector", (point, direction))):
            wanted, found = (getattr(e, name)(*arguments) for e in (step.before, step.after))
            for v in step.before.variables:
                assert_allclose(found[v], wanted[v], rtol=1e-10, atol=1e-10)


@energy_steps
def test_convexity_and_smoothness_are_not_lost(step):
    def known(energy: EnergyExpression, fact: str) -> bool:
        return all(getattr(t.functional.facts, fact) is YES for t in energy.terms)

    for fact in ("convex", "smooth", "quadratic", "separable"):
        assert known(step.after, fact) or not known(step.before, fact), f"{fact} is no longer known"


def has_method(step: Step) -> bool:
    """Whether both sides can be minimised as they stand."""
    return not any(is_stuck(t) for side in (step.before, step.after) for t in side.terms)


def prox(energy: EnergyExpression, at: dict[Any, np.ndarray], t: float) -> dict[Any, np.ndarray]:
    """The prox of an energy as it stands, without any rewriting: the minimiser of it plus a quadratic."""
    near = sum([oa.sum_squares(v - at[v]) / (2 * t) for v in energy.variables], energy)
    return minimiser(near)


def minimiser(energy: EnergyExpression) -> dict[Any, np.ndarray]:
    """The minimiser of an energy as it stands."""
    problem = Problem(Energy(energy.terms, energy.constant))
    candidates = choose(problem, "auto", False)
    chosen = candidates[0].method
    lowering = chosen.lower(problem)
    lib = backend("numpy", "float64")
    compiled = CompiledEnergy(problem, lowering, lib)
    plan = Plan(problem.energy, problem, (), tuple(candidates), chosen, lowering, lib, compiled)
    found = plan.solve(tol=1e-11, max_iter=60_000, on_failure="return")
    return {v: found[v] for v in energy.variables}


def distance(a: dict[Any, np.ndarray], b: dict[Any, np.ndarray]) -> float:
    return max(float(np.max(np.abs(a[v] - b[v]))) for v in a)


@pytest.mark.parametrize(
    "step",
    on(
        [(i, s) for i, s in ENERGY_STEPS if not isinstance(s.before, EnergyExpression) or has_method(s)],
        EnergyExpression,
    ),
)
def test_proxes_stay(step):
    rng = np.random.default_rng(4)
    at = {v: random_array(rng, v.shape, v.kind) for v in step.before.variables}
    assert distance(prox(step.before, at, 0.7), prox(step.after, at, 0.7)) < 1e-4


def _strongly_convex(energy: EnergyExpression) -> bool:
    anchored = {v for t in energy.terms if isinstance(t.functional, oa.functionals.SumSquares) for v in t.variables}
    return anchored == set(energy.variables)


@pytest.mark.parametrize("number", range(len(ENERGIES)))
def test_the_minimiser_stays_through_all_rules(number):
    energy = ENERGIES[number]
    if not _strongly_convex(energy):
        energy = energy + sum([0.1 * oa.sum_squares(v - 0.3) for v in energy.variables])
    before = minimiser(energy)
    after = oa.minimize(energy, tol=1e-11, max_iter=60_000, on_failure="return")
    assert distance(before, {v: after[v] for v in energy.variables}) < 1e-4
    assert after.value == pytest.approx(energy.value(before), rel=1e-6, abs=1e-8) or energy.value(before) == float(
        "inf"
    )


@pytest.mark.parametrize("number", range(len(STUCK)))
def test_what_no_method_takes_whole_is_taken_apart_and_solved(number):
    energy = STUCK[number]
    solution = oa.minimize(energy, tol=1e-9, max_iter=60_000)
    value, at = energy.value(solution.x), solution.x
    assert solution.value == pytest.approx(value, rel=1e-9)
    rng = np.random.default_rng(number)
    moves = [at + 10.0 ** float(rng.uniform(-3, 0)) * rng.standard_normal(SHAPE) for _ in range(50)]
    modulus = 0.7  # of strong convexity, from the sum of squares alone, halved
    assert all(energy.value(m) >= value + modulus * np.sum((m - at) ** 2) - 1e-6 for m in moves)


def test_boxes_that_exclude_each_other_are_named():
    x = oa.Variable(3, name="x")
    with pytest.raises(oa.ParameterError, match=r"indicator\(x >= 1\) and indicator\(x <= 0\) exclude each other"):
        oa.compile(oa.sum_squares(x) + oa.indicator(x >= 1) + oa.indicator(x <= 0))


def test_no_variable_is_lost_with_its_weight():
    x, z = oa.Variable(3, name="x"), oa.Variable(4, name="z")
    found = oa.minimize(oa.sum_squares(x - 1.0) + 0 * oa.norm1(z), tol=1e-9)
    assert_allclose(found[x], np.ones(3), atol=1e-6)
    assert found[z].shape == (4,)


# The contract itself can fail.


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: oa.energies.Term(t.weight, t.functional, t.expression.without_offset()),
        lambda t: oa.energies.Term(Literal(1.0), t.functional, t.expression),
    ],
    ids=["offset lost", "weight lost"],
)
def test_a_wrong_rule_would_be_seen(wrong: Callable[[Any], Any]):
    term = next(t for t in ENERGIES[1].terms if isinstance(t.functional, oa.functionals.Norm1))
    rng = np.random.default_rng(5)
    broken = wrong(term)
    assert any(broken.value(p) != pytest.approx(term.value(p), rel=1e-10) for p in points(term, rng))
