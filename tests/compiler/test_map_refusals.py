"""What holds for energies only is refused for declared maps, untied plans and denoisers, with what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import pytest

import opalg as oa

C = np.ones(4)


class Declared:
    """A map of gradient descent, its plan and the parts of its energy."""

    def __init__(self) -> None:
        self.x = oa.Variable(4, name="x")
        self.y, self.weight = oa.Parameter(np.arange(4.0), name="y"), oa.Parameter(0.3, name="weight", positive=True)
        self.A = oa.Parameter(np.eye(4) + 0.1, name="A")
        self.data = 0.5 * oa.sum_squares(oa.Matrix(self.A) @ self.x - self.y)
        self.energy = self.data + self.weight * oa.sum_squares(self.x)
        self.map = self.x - 0.5 * oa.grad(self.energy)
        self.plan = oa.fixed_point(self.x, self.map)

    def denoised(self, kind: Any, **facts: Any) -> Any:
        """The data with a denoiser that is no gradient."""
        smooth = 0.2 * np.tril(np.ones((4, 4)))
        return self.data + kind(lambda v: v @ smooth.T, self.x, vjp=lambda v, u: u @ smooth, **facts)

    def solved(self, which: str) -> Any:
        """A solution without an energy, of one of several plans."""
        if which == "declared":
            return self.plan.solve(tol=1e-10)
        if which == "untied":
            return oa.fixed_point(self.x, oa.untie(self.map, self.A, name="B")).solve(tol=1e-10)
        kind, facts = {"red": (oa.red, {"nonexpansive": True}), "plug and play": (oa.plug_and_play, {})}[which]
        return oa.compile(self.denoised(kind, **facts), nonconvex=True).solve(tol=1e-10)


@pytest.fixture
def declared() -> Declared:
    return Declared()


KEYWORDS: list[tuple[str, Any, str]] = [
    ("line_search", "gradient", r"compile\(E, line_search='gradient'\)"),
    ("method", "admm", r"acceleration='anderson', 'nesterov' or 'none'"),
    ("prox", None, r"oa.prox\(functional, map, step\)"),
    ("nonconvex", True, "leave it out"),
    ("fuse", True, "leave it out"),
    ("subject_to", (), r"oa.prox\(oa.nonneg, T\)"),
    ("tol", 1e-3, r"solve\(tol=...\)"),
    ("x0", C, r"solve\(x0=...\)"),
    ("momentum", 0.5, "there are variable, expression, acceleration"),
]


@pytest.mark.parametrize(("name", "value", "words"), KEYWORDS)
def test_options_of_energies_are_no_options_of_maps(declared: Declared, name: str, value: Any, words: str) -> None:
    with pytest.raises(oa.ParameterError, match=f"fixed_point of a declared map takes no {name}=.*{words}"):
        oa.fixed_point(declared.x, declared.map, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("step", 0.1, r"solve\(params=\{'t': ...\}\)"),
        ("line_search", "value", "part of it"),
        ("sample_axes", 1, r"oa.fixed_point\(x, T, sample_axes=...\)"),
        ("memory", 3, r"oa.fixed_point\(x, T, memory=...\)"),
        ("polish", True, "there are x0, params, tol"),
    ],
)
def test_options_of_other_solves_are_refused(declared: Declared, name: str, value: Any, words: str) -> None:
    with pytest.raises(oa.ParameterError, match=f"solve of a declared map takes no {name}=.*{words}"):
        declared.plan.solve(**{name: value})


CALLS: list[tuple[Callable[[Declared], Any], type[Exception], str]] = [
    (lambda d: oa.compile(d.map), oa.NotAffineError, r"oa.fixed_point\(x, T\).solve\(\)"),
    (lambda d: oa.minimize(d.map), oa.NotAffineError, r"oa.fixed_point\(x, T\).solve\(\)"),
    (lambda d: oa.compile(d.map, line_search="value"), oa.NotAffineError, r"oa.fixed_point\(x, T\).solve\(\)"),
    (lambda d: oa.fixed_point(d.x, d.energy), oa.NotAffineError, r"x - step \* oa.grad\(E\)"),
    (lambda d: oa.grad(d.map), oa.NotAffineError, r"SummedMap: a map has no gradient .*sol.vjp"),
    (lambda d: oa.grad(d.map, d.x), oa.NotAffineError, "a map has no gradient"),
    (lambda d: oa.grad(d.plan), oa.NotAffineError, "MapPlan: a map has no gradient"),
    (lambda d: d.map + d.energy, oa.NotAffineError, r"T \+ oa.grad\(E\)"),
    (lambda d: d.energy + d.map, oa.NotAffineError, r"T \+ oa.grad\(E\)"),
    (lambda d: oa.compile(d.energy, sample_axes=1), oa.ParameterError, "say line_search='gradient', too"),
    (
        lambda d: oa.compile(d.energy, sample_axes=1, method="conjugate_gradient"),
        oa.ParameterError,
        "say method='proximal_gradient'",
    ),
    (lambda d: oa.compile(d.denoised(oa.red), line_search="value", nonconvex=True), oa.UnsupportedError, "fixed_point"),
    (
        lambda d: oa.compile(d.denoised(oa.plug_and_play), line_search="gradient", nonconvex=True),
        oa.UnsupportedError,
        "fixed_point",
    ),
    (lambda d: d.denoised(oa.red).value(C), oa.UnsupportedError, "has no energy"),
    (lambda d: d.denoised(oa.plug_and_play).value(C), oa.UnsupportedError, "has no energy"),
    (lambda d: oa.grad(d.denoised(oa.plug_and_play)), oa.UnsupportedError, "take the gradient of the other terms"),
]


@pytest.mark.parametrize(("call", "error", "words"), CALLS)
def test_maps_and_energies_are_not_taken_for_each_other(
    declared: Declared, call: Callable[[Declared], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(declared)


@pytest.mark.parametrize("name", ["energy", "problem", "rewrites", "candidates", "method", "value", "gradient", "gap"])
def test_plans_of_maps_say_why_they_have_no_energy(declared: Declared, name: str) -> None:
    with pytest.raises(oa.UnsupportedError, match=f"a MapPlan has no {name}: .*(compile|explain|acceleration)"):
        getattr(declared.plan, name)
    assert not hasattr(declared.plan, name)
    with pytest.raises(AttributeError, match="has no attribute 'enery'"):
        _ = declared.plan.enery
    assert copy(declared.plan).solve(tol=1e-8)


@pytest.mark.parametrize("name", ["value", "gradient", "terms"])
def test_maps_have_no_values(declared: Declared, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"a map has no {name}, .*plan.step\(\(x,\)\)"):
        getattr(declared.map, name)
    assert not hasattr(declared.map, name)
    with pytest.raises(AttributeError, match="'SummedMap' object has no attribute 'valeu'"):
        _ = declared.map.valeu


@pytest.mark.parametrize("which", ["declared", "untied", "red", "plug and play"])
def test_solutions_without_an_energy_claim_nothing_of_one(declared: Declared, which: str) -> None:
    sol = declared.solved(which)
    assert sol.value is None and "no energy is known" in repr(sol)
    assert sol.status is oa.Status.CONVERGED_RESIDUAL_ONLY and sol.error_bound is None
    assert sol.certificate.kind == "residual" and sol.certificate.lower_bound is None
    for solver in ("conjugate_gradients", "minres"):
        with pytest.raises(oa.ParameterError, match=f"solver='{solver}' needs a symmetric system.*use solver='gmres'"):
            sol.vjp(C, declared.y, solver=solver)
        with pytest.raises(oa.ParameterError, match="use solver='gmres'"):
            sol.jvp({declared.y: C}, solver=solver)
    with pytest.raises(oa.ParameterError, match="solver must be one of"):
        sol.vjp(C, declared.y, solver="cg")
    with pytest.raises(oa.UnsupportedError, match=r"no energy is known here.*sol.vjp\(cotangent, wrt\)"):
        sol.value_gradient(declared.y)
    found = sol.vjp(C, declared.y, estimate="bound")
    assert "no_bound" in found.flags and found.error_kind == "estimated"


@pytest.mark.parametrize("which", ["declared", "untied", "red"])
def test_debiased_gradients_need_no_energy(declared: Declared, which: str) -> None:
    """A loose adjoint, without its error: nearer to the exact gradient than what was asked for."""
    sol = declared.solved(which)
    exact = sol.vjp(C, declared.y, tol=1e-12)[declared.y]
    loose = sol.vjp(C, declared.y, tol=3e-2, solver="gmres", on_inexact="return")
    assert loose.debiased is not None
    before, after = (np.linalg.norm(g[declared.y] - exact) for g in (loose, loose.debiased))
    assert after <= 0.5 * before or before < 1e-9
    assert sol.vjp(C, declared.y, estimate=False).debiased is None


@pytest.mark.parametrize("by", ["supervised", "discrepancy", "sure", "heldout"])
def test_tuning_is_for_energies(declared: Declared, by: str) -> None:
    noise = {"noise": 0.1} if by in ("discrepancy", "sure") else {}
    pairs: list[Any] = [({declared.y: C}, C)]
    for model in (declared.plan, declared.map):
        with pytest.raises(oa.NotAffineError, match=r"tune takes an energy.*oa.fit\(plan, data, loss\)"):
            oa.tune(model, pairs, declared.weight, by=by, **noise)


def test_the_optimal_value_is_no_loss_of_a_map(declared: Declared) -> None:
    with pytest.raises(oa.UnsupportedError, match="no energy is known"):
        oa.learning.hypergradient(declared.plan, "value", declared.weight)


def test_modules_of_maps_take_no_steps() -> None:
    torch = pytest.importorskip("torch")
    x, y = oa.Variable(3, name="x", dtype=torch.float64), oa.Parameter(torch.ones(3, dtype=torch.float64), name="y")
    plan = oa.fixed_point(x, 0.5 * x + y, backend="torch")
    with pytest.raises(oa.ParameterError, match="'step' is no option of a module"):
        plan.as_module(step=0.1)
    module = plan.as_module(gradient_options={"solver": "minres"})
    with pytest.raises(oa.ParameterError, match="use solver='gmres'"):
        module().sum().backward()


# A gradient that first goes on with the forward solve.


def test_a_solve_of_a_map_goes_on_before_its_gradient(declared: Declared) -> None:
    rough = declared.plan.solve(tol=1e-10, max_iter=2, on_failure="return")
    exact = declared.plan.solve(tol=1e-13)
    wanted = exact.vjp(exact.x, declared.weight)
    found = rough.vjp(lambda x: x, declared.weight, on_inexact="polish")
    assert found[declared.weight] == pytest.approx(wanted[declared.weight], rel=1e-7)
    assert "forward_not_converged" not in found.flags


def test_a_solve_that_cannot_go_on_says_so() -> None:
    x, b = oa.Variable(2, name="x"), oa.Parameter(np.ones(2), name="b")
    plan = oa.fixed_point(x, 0.999999 * x + b, acceleration="none")
    found = plan.solve(max_iter=2, on_failure="return").vjp(np.ones(2), b, on_inexact="polish")
    assert "forward_not_converged" in found.flags
