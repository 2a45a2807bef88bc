"""The choice among methods: which one is taken, why the others are not, and that it depends on the energy alone."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.compiler.canonical import canonical
from opalg.compiler.choose import all_methods, choose, judge
from opalg.methods.problem import Problem

SHAPE = (6, 5)


def energies() -> dict[str, oa.Energy]:
    rng = np.random.default_rng(0)
    y, k = rng.standard_normal(SHAPE), np.full((3, 3), 1 / 9)
    x = oa.Variable(SHAPE, name="x")
    K, D = oa.Convolve(k, SHAPE), oa.Gradient(SHAPE, boundary="periodic")
    fit = oa.sum_squares(K @ x - y)
    return {
        "closed_form": fit + oa.sum_squares(D @ x),
        "conjugate_gradient": fit + oa.sum_squares(x, weights=rng.random(SHAPE)),
        "proximal_gradient": fit + oa.norm1(x),
        "admm": fit + oa.norm21(D @ x),
        "primal_dual": fit + oa.total_variation(x),
    }


@pytest.mark.parametrize("name", list(energies()))
def test_the_fastest_method_that_fits_is_taken(name: str) -> None:
    energy = energies()[name]
    plan = oa.compile(energy)
    assert plan.method.name == name
    assert oa.compile(energy, method=name).method.name == name
    assert f"* {name}:" in plan.explain()


def test_every_method_is_found_once_and_has_a_text() -> None:
    names = [m.name for m in all_methods()]
    assert sorted(names) == sorted(set(names))
    assert {"closed_form", "conjugate_gradient", "proximal_gradient", "admm", "primal_dual"} <= set(names)
    assert all(type(m).__doc__ for m in all_methods())


@pytest.mark.parametrize("name", list(energies()))
def test_every_judgement_has_a_reason(name: str) -> None:
    found = judge(Problem(canonical(energies()[name])[0]))
    assert all(c.fit.reason for c in found)
    fits = [c.fit.fits for c in found]
    assert fits == sorted(fits, reverse=True)
    preferences = [c.fit.preference for c in found if c.fit.fits]
    assert preferences == sorted(preferences, reverse=True)


def test_the_choice_does_not_depend_on_the_order_of_terms() -> None:
    x = oa.Variable(SHAPE, name="x")
    variation = oa.norm21(oa.Gradient(SHAPE, boundary="periodic") @ x)
    terms = [oa.sum_squares(x - np.ones(SHAPE)), variation, oa.indicator(x >= 0)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert oa.compile(sum((terms[i] for i in order[1:]), terms[order[0]])).method.name == "admm"


def test_a_method_that_does_not_fit_says_why_and_names_those_that_do() -> None:
    with pytest.raises(oa.UnsupportedError, match=r"not every term is a sum of squares.*proximal_gradient"):
        oa.compile(energies()["proximal_gradient"], method="closed_form")


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(oa.ParameterError, match=r"admm.*proximal_gradient"):
        oa.compile(energies()["admm"], method="newton")


def test_convexity_is_asked_for_first() -> None:
    import sympy

    t, x = sympy.Symbol("t"), oa.Variable(SHAPE, name="x")
    energy = oa.sum_squares(x) + oa.pointwise(oa.Potential(t, -sympy.exp(-(t**2))), x)
    problem = Problem(canonical(energy)[0])
    with pytest.raises(oa.ConvexityError):
        choose(problem, "auto", nonconvex=False)
    candidates = choose(problem, "auto", nonconvex=True)
    assert candidates[0].method.name == "proximal_gradient"
    assert not any(c.fit.fits for c in candidates if c.method.name in ("admm", "primal_dual", "conjugate_gradient"))


def test_a_state_of_another_shape_is_refused():
    x = oa.Variable((3, 4), name="x")
    plan = oa.compile(oa.sum_squares(x - np.ones((3, 4))) + oa.norm1(x))
    (state,) = plan.step(plan.initial_state())
    assert plan.readout((state,)).shape == (3, 4)
    with pytest.raises(oa.ShapeError, match="initial_state"):
        plan.step((np.ones((1, 1)),))
    with pytest.raises(oa.ShapeError, match="initial_state"):
        plan.readout((state, state))
