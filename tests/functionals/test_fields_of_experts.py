"""Fields of experts by SciPy's convolutions, and gradients of solutions against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from scipy.ndimage import convolve

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals import Huber, Norm1, Norm2, PotentialSum, SumSquares
from opalg.functionals.fields_of_experts import ExpertSum, fields_of_experts
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.interpreter import number
from tests.functionals.members import inner

T, S = sympy.symbols("t s")
rng = np.random.default_rng(0)
FILTERS = rng.standard_normal((3, 2, 3))
WEIGHTS = np.array([0.5, 2.0, 0.1])
IMAGE = rng.standard_normal((6, 7))
MODES = {"periodic": "wrap", "zero": "constant", "symmetric": "reflect", "reflect": "mirror", "edge": "nearest"}


@node
class Odd(Huber):
    """A separable functional whose value is not written as a plain sum."""

    delta: Any = 1.0

    def define_value(self, v: Any) -> Any:
        return ex.sqrt(ex.square(ex.total(abs(v))))


def lorentzian(s: Any = 0.5) -> oa.Potential:
    return oa.Potential(T, sympy.log(1 + (T / S) ** 2), s=s)


def charbonnier(s: Any = 0.1) -> oa.Potential:
    return oa.Potential(T, sympy.sqrt(T**2 + S**2) - S, s=s)


def responses(x: np.ndarray, boundary: str = "periodic") -> list[np.ndarray]:
    return [convolve(x, f, mode=MODES[boundary]) for f in FILTERS]


@pytest.mark.parametrize("boundary", MODES)
def test_value_by_definition(boundary: str) -> None:
    x = oa.Variable((6, 7), name="x")
    field = fields_of_experts(FILTERS, lorentzian(), x, weights=WEIGHTS, boundary=boundary)
    parts = [w * np.sum(np.log1p((r / 0.5) ** 2)) for w, r in zip(WEIGHTS, responses(IMAGE, boundary), strict=True)]
    assert field.value(IMAGE) == pytest.approx(sum(parts), rel=1e-12)
    plain = fields_of_experts(FILTERS, lorentzian(), x, boundary=boundary)
    unweighted = [np.sum(np.log1p((r / 0.5) ** 2)) for r in responses(IMAGE, boundary)]
    assert plain.value(IMAGE) == pytest.approx(sum(unweighted), rel=1e-12)


EXPERTS = [Norm1(), Huber(0.3), SumSquares(), Norm1(0.7), PotentialSum(lorentzian())]


@pytest.mark.parametrize("functional", EXPERTS, ids=repr)
def test_weights_against_a_term_for_each_filter(functional: oa.functionals.Functional) -> None:
    x = oa.Variable((6, 7), name="x")
    together = fields_of_experts(FILTERS, functional, x, weights=WEIGHTS)
    apart = sum(w * functional(oa.Convolve(f, (6, 7)) @ x) for w, f in zip(WEIGHTS, FILTERS, strict=True))
    assert together.value(IMAGE) == pytest.approx(apart.value(IMAGE), rel=1e-12)
    if functional.facts.smooth is YES:
        assert np.allclose(together.gradient(IMAGE), apart.gradient(IMAGE), atol=1e-12)
        d = np.cos(IMAGE)
        assert np.allclose(together.hessian_vector(IMAGE, d), apart.hessian_vector(IMAGE, d), atol=1e-12)
    f, v = together.functional, rng.standard_normal((3, 4, 5))
    if functional.offers("prox"):
        expected = np.stack([functional.prox(r, 0.6 * w) for r, w in zip(v, WEIGHTS, strict=True)])
        assert np.allclose(f.prox(v, 0.6), expected, atol=1e-14)
        steps = np.array([0.0, 0.2])
        batch = np.stack([v, 2 * v])
        assert np.allclose(f.prox(batch, steps), np.stack([f.prox(b, s) for b, s in zip(batch, steps, strict=True)]))


def test_conjugate_of_weighted_functionals() -> None:
    f, q = ExpertSum(SumSquares(), WEIGHTS), rng.standard_normal((3, 4, 5))
    expected = sum(np.sum(r**2) / (4 * w) for r, w in zip(q, WEIGHTS, strict=True))
    assert f.conjugate.value(q) == pytest.approx(expected, rel=1e-12)
    g = ExpertSum(Norm1(), WEIGHTS)
    assert np.allclose(g.conjugate.prox(q, 0.5), np.clip(q, -WEIGHTS[:, None, None], WEIGHTS[:, None, None]))
    assert g.conjugate.value(0.01 * q) == 0.0 and np.isinf(g.conjugate.value(100 * q))


def test_facts_follow_the_weights() -> None:
    assert ExpertSum(Huber(0.3), WEIGHTS).facts.convex is YES
    smoothness = ExpertSum(Huber(0.3), WEIGHTS).facts.smoothness
    assert smoothness is not None and smoothness.value == 2.0 and smoothness.certified
    signed = ExpertSum(Huber(0.3), oa.Parameter(WEIGHTS, name="w"))
    assert signed.facts.convex is UNKNOWN and not signed.offers("prox") and "nonneg=True" in signed.hint()
    learned = ExpertSum(Huber(0.3), oa.Parameter(WEIGHTS, name="w", nonneg=True))
    assert learned.facts.convex is YES and learned.offers("prox") and not learned.offers("conjugate_value")
    modulus = ExpertSum(SumSquares(), WEIGHTS).facts.strong_convexity
    assert modulus is not None and number(modulus) == pytest.approx(0.2)


def test_batches_are_filtered_image_by_image() -> None:
    x = oa.Variable((2, 6, 7), name="x")
    images = np.stack([IMAGE, IMAGE[::-1]])
    field = fields_of_experts(FILTERS, charbonnier(), x, weights=WEIGHTS)
    one = fields_of_experts(FILTERS, charbonnier(), oa.Variable((6, 7)), weights=WEIGHTS)
    assert field.value(images) == pytest.approx(sum(one.value(i) for i in images), rel=1e-13)


def learned(potential: Any, library: str) -> tuple[Any, dict[str, Any]]:
    """A plan, and its parameters: filters, weights and the potential's scale."""
    filters = oa.Parameter(0.5 * FILTERS, name="filters")
    weights = oa.Parameter(WEIGHTS, name="weights", nonneg=True)
    scale = oa.Parameter(0.6, name="scale", positive=True)
    x = oa.Variable((6, 7), name="x")
    energy = 0.5 * oa.sum_squares(x - IMAGE) + 0.1 * fields_of_experts(filters, potential(scale), x, weights=weights)
    plan = oa.compile(energy, backend=library, nonconvex=True)
    return plan, {p.name: p for p in (filters, weights, scale)}


@pytest.mark.parametrize("potential", [charbonnier, lorentzian])
def test_gradients_of_a_solution_in_everything_that_can_be_learned(potential: Any) -> None:
    plan, leaves = learned(potential, "numpy")
    c = np.cos(3 * IMAGE)
    found = plan.solve(tol=1e-11).vjp(c, list(leaves.values()))
    for seed, leaf in enumerate(leaves.values()):
        d = np.random.default_rng(seed).standard_normal(leaf.shape)
        moved = [plan.solve(params={leaf: leaf.value + h * d}, tol=1e-12).x for h in (1e-4, -1e-4)]
        slope = float(np.sum(c * (moved[0] - moved[1]))) / 2e-4
        assert inner(found[leaf], d) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_gradients_of_a_solution_on_torch() -> None:
    found = {}
    for library in ("numpy", "torch"):
        plan, leaves = learned(charbonnier, library)
        c = backend(library).asarray(np.cos(3 * IMAGE))
        gradients = plan.solve(tol=1e-8).vjp(c, list(leaves.values()))
        found[library] = {name: backend(library).to_numpy(gradients[leaf]) for name, leaf in leaves.items()}
    for name, value in found["numpy"].items():
        assert np.allclose(found["torch"][name], value, rtol=1e-5, atol=1e-7)


def test_a_nonsmooth_field_is_split_and_has_gradients_in_the_filters() -> None:
    filters = oa.Parameter(np.array([[[1.0, -1.0]], [[0.7, 0.5]]]), name="filters")
    x = oa.Variable((1, 6), name="x")
    y = np.array([[0.0, 0.17, 1.1, 2.3, -1.0, 3.1]])
    energy = 0.5 * oa.sum_squares(x - y) + 0.1 * fields_of_experts(filters, Norm1(), x, weights=[1.0, 0.3])
    plan = oa.compile(energy, method="primal_dual")
    sol = plan.solve(tol=1e-10)
    d, c = np.array([[[0.3, -0.2]], [[0.1, 0.4]]]), np.cos(y)
    ends = [np.sum(c * plan.solve(params={filters: filters.value + h * d}, tol=1e-12).x) for h in (1e-5, -1e-5)]
    found = sol.vjp(c, [filters])[filters]
    assert inner(found, d) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    x = oa.Variable((6, 7), name="x")
    with pytest.raises(ShapeError, match=r"filters of shape \(count, \*size\)"):
        fields_of_experts(np.ones((2, 2, 2, 2)), charbonnier(), x)
    with pytest.raises(ParameterError, match=r"must be an oa\.Potential"):
        fields_of_experts(FILTERS, T**2, x)
    with pytest.raises(ParameterError, match="one entry at a time"):
        fields_of_experts(FILTERS, Norm2(), x, weights=WEIGHTS)
    with pytest.raises(ShapeError, match="one weight for each filter"):
        fields_of_experts(FILTERS, charbonnier(), x, weights=np.ones(2))
    with pytest.raises(ShapeError, match="one axis"):
        ExpertSum(Norm1(), np.ones((2, 2)))
    with pytest.raises(oa.NotAffineError, match=r"fields_of_experts\(...\) takes"):
        fields_of_experts(FILTERS, charbonnier(), IMAGE)
    with pytest.raises(UnsupportedError, match="sum over entries"):
        ExpertSum(Odd(), WEIGHTS).value(np.ones((3, 2, 2)))


def test_values_whose_squares_overflow_single_precision() -> None:
    t = sympy.Symbol("t")
    f = ExpertSum(PotentialSum(oa.Potential(t, sympy.log(1 + t**2))), [0.5, 2.0], axes=1)
    v = np.array([[1e20, 1.0], [-3e20, 0.0]], dtype=np.float32)
    wanted = 0.5 * (40 * np.log(10) + np.log(2)) + 2.0 * 2 * (np.log(3) + 20 * np.log(10))
    assert np.isclose(f.value(v), wanted, rtol=1e-6)
