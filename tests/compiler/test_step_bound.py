"""Bounds on the step of gradient maps, beside dense Hessians and plain iteration."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import UnsupportedError


def energy(rng, weight=0.7, activation="relu"):
    """An energy of six unknowns with its pieces."""
    K, A = rng.normal(size=(4, 6)), oa.Parameter(rng.normal(size=(5, 6)), name="A")
    u = oa.Variable(6, name="u")
    experts = oa.pointwise(oa.activation(activation), oa.Matrix(A) @ u - rng.normal(size=5))
    return u, K, A, 0.5 * oa.sum_squares(oa.Matrix(K) @ u - rng.normal(size=4)) + weight * experts


def test_two_over_the_largest_curvature(rng):
    u, K, A, E = energy(rng, activation="identity")
    largest = np.linalg.norm(K, 2) ** 2 + 0.7 * np.linalg.norm(A.value, 2) ** 2
    for step, safe in ((1.99 / largest, True), (2.01 / largest, False)):
        found = oa.fixed_point(u, u - step * oa.grad(E)).step_bound()
        assert found.kind == "gradient"
        assert found.safe is safe
        np.testing.assert_allclose([found.step, found.lipschitz, found.limit], [step, largest, 2 / largest], rtol=1e-6)


def test_plain_iteration_keeps_what_is_promised(rng):
    u, _, _, E = energy(rng)
    limit = oa.fixed_point(u, u - 0.1 * oa.grad(E)).step_bound().limit
    plan = oa.fixed_point(u, u - 0.99 * limit * oa.grad(E), acceleration="none")
    assert plan.step_bound().safe
    assert plan.solve(tol=1e-8, max_iter=5000).status.success


def test_certified_bounds_are_no_sharper(rng):
    u, _, _, E = energy(rng)
    plan = oa.fixed_point(u, u - 0.1 * oa.grad(E))
    certified, estimated = plan.step_bound(certified=True), plan.step_bound()
    assert certified.certainty == "upper"
    assert certified.limit <= estimated.limit
    assert str(certified) in plan.explain()


def test_an_untied_map_contracts_by_the_factor(rng):
    u, A = oa.Variable(6, name="u"), oa.Parameter(0.3 * rng.normal(size=(5, 6)), name="A")
    experts = oa.pointwise(oa.activation("relu"), oa.Matrix(A) @ u)
    tied = oa.fixed_point(u, u - 0.8 * oa.grad(0.5 * oa.sum_squares(u - rng.normal(size=6)) + 0.2 * experts))
    free = oa.untie(tied, A, name="C", value=0.3 * rng.normal(size=(5, 6)))
    found = free.step_bound()
    assert found.kind == "equilibrium"
    C = next(p for p in free.parameters if p.name == "C").value
    rest = 0.2 * np.linalg.norm(C, 2) * np.linalg.norm(A.value, 2)
    np.testing.assert_allclose([found.factor, found.limit], [0.2 + 0.8 * rest, 2 / (1 + rest)], rtol=1e-6)
    for _ in range(20):
        x, y = rng.normal(size=(2, 6))
        moved = free.step((x,))[0] - free.step((y,))[0]
        assert np.linalg.norm(moved) <= found.factor * np.linalg.norm(x - y)


def test_without_curvature_of_its_own_nothing_is_promised_of_an_untied_map(rng):
    u, _, A, E = energy(rng)
    free = oa.untie(oa.fixed_point(u, u - 0.01 * oa.grad(E)), A, name="C")
    found = free.step_bound()
    assert not found.safe
    assert found.limit == 0.0
    assert "no step is known" in str(found)


def test_values_of_parameters(rng):
    u, _, A, E = energy(rng, activation="identity")
    plan = oa.fixed_point(u, u - 0.1 * oa.grad(E))
    before, after = plan.step_bound(), plan.step_bound({"A": 10 * A.value})
    assert after.lipschitz > 10 * before.lipschitz


def test_steps_for_each_entry_count_with_the_largest(rng):
    u = oa.Variable(3, name="u")
    plan = oa.fixed_point(u, u - np.array([0.5, 1.0, 1.5]) * oa.grad(0.5 * oa.sum_squares(u)))
    found = plan.step_bound()
    assert found.safe
    assert found.step == 1.5
    np.testing.assert_allclose(found.factor, 0.5)


def test_a_step_in_the_wrong_direction_is_not_safe(rng):
    u = oa.Variable(3, name="u")
    assert not oa.fixed_point(u, u + 0.1 * oa.grad(0.5 * oa.sum_squares(u))).step_bound().safe


def test_other_maps_are_refused(rng):
    u, z = oa.Variable(3, name="u"), oa.Variable(3, name="z")
    with pytest.raises(UnsupportedError, match=r"oa\.grad"):
        oa.fixed_point(u, 0.5 * u).step_bound()
    with pytest.raises(UnsupportedError, match=r"oa\.grad"):
        oa.fixed_point(u, 0.5 * u - 0.1 * oa.grad(oa.sum_squares(u))).step_bound()
    with pytest.raises(UnsupportedError, match="one variable"):
        oa.fixed_point({u: 0.5 * z, z: 0.5 * u}).step_bound()


def test_a_map_that_diverges_says_what_its_step_would_have_to_be() -> None:
    u = oa.Variable(2, name="u")
    lam = oa.Parameter(1.0, name="lam")
    plan = oa.fixed_point(u, u - 1.5 * oa.grad(lam * oa.sum_squares(u - np.ones(2))), acceleration="none")
    with pytest.raises(oa.NotAContractionError, match=r"the step 1\.5 is not below 2 / L = 1 with estimated norms"):
        plan.solve()
    with pytest.raises(oa.NotAContractionError, match=r"2 / L = 0\.5 "):
        plan.solve(params={"lam": 2.0})
    other = oa.fixed_point(u, 2.0 * u + np.ones(2), acceleration="none")
    with pytest.raises(oa.NotAContractionError, match=r"normalise the spectra of the weights of its network$"):
        other.solve()
