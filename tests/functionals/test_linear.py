"""The linear functional: values, proxes, the point conjugate, solves."""

from __future__ import annotations

import numpy as np
import pytest

from opalg import Variable, minimize, sum_squares
from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError
from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.linear import Linear, linear
from opalg.leaves import Parameter
from tests.functionals.members import inner, some


def test_value_is_the_real_inner_product() -> None:
    rng = np.random.default_rng(0)
    c, v = some(rng, "complex"), some(rng, "complex")
    assert Linear(c).value(v) == pytest.approx(inner(c, v), rel=1e-14)
    assert Linear(c).value(v.real) == pytest.approx(np.sum(c.real * v.real), rel=1e-14)
    assert Linear(c.real).value(v) == pytest.approx(np.sum(c.real * v.real), rel=1e-14)


def test_prox_and_gradient_are_exact() -> None:
    rng = np.random.default_rng(1)
    c, v = some(rng), some(rng)
    f = Linear(c)
    assert np.array_equal(f.prox(v, 0.5), v - 0.5 * c)
    assert np.array_equal(f.prox(v, 0.0), v)
    assert np.array_equal(f.gradient(v), c)
    assert not f.hessian_vector(v, v).any()
    steps = np.array([0.0, 0.5, 2.0])
    assert np.array_equal(f.prox(v, steps), v - steps[:, None] * c)


def test_a_complex_slope_moves_real_arrays_by_its_real_part() -> None:
    f = Linear(np.array([1.0 + 2.0j, -1.0j]))
    found = f.prox(np.zeros(2), 1.0)
    assert found.dtype == float and np.array_equal(found, [-1.0, 0.0])


def test_conjugate_is_finite_at_the_slope_only() -> None:
    c = np.array([1.0, -2.0])
    conjugate = Linear(c).conjugate
    assert conjugate.value(c) == 0.0 and np.isinf(conjugate.value(c + 1e-3))
    assert np.array_equal(conjugate.prox(np.array([5.0, 5.0]), 0.3), c)


def test_facts() -> None:
    facts = Linear(np.array([1.0, 0.0])).facts
    assert facts.convex is YES and facts.quadratic is YES and facts.bounded_below is NO
    assert facts.smoothness is not None and facts.smoothness.value == 0.0
    assert Linear(0.0).facts.bounded_below is YES
    assert Linear(Parameter(0.0, name="c")).facts.bounded_below is UNKNOWN


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_single_precision_and_extremes(library: str) -> None:
    lib = backend(library, "float32")
    f = Linear(np.array([1e20, 1e-30]))
    found = f.prox(lib.asarray(np.array([0.0, 0.0])), 2.0)
    assert np.allclose(lib.to_numpy(found), [-2e20, -2e-30], rtol=1e-6, atol=0.0)


def test_a_linear_term_in_a_solve() -> None:
    rng = np.random.default_rng(2)
    c, y = rng.standard_normal(5), rng.standard_normal(5)
    x = Variable((5,), name="x")
    assert np.allclose(minimize(sum_squares(x - y) + linear(c, x)).x, y - 0.5 * c, atol=1e-8)


def test_text_and_refusals() -> None:
    x = Variable((2,), name="x")
    c = Parameter(np.ones(2), name="c")
    assert repr(linear(c, x)) == "linear(c, x)"
    assert "langle" in linear(c, x).latex()
    with pytest.raises(ShapeError, match="broadcast"):
        Linear(np.zeros(3)).value(np.zeros(2))
    with pytest.raises(DtypeError, match="linear"):
        Linear("c")
    assert not Linear(1.0).offers("dual_gauge") and "one point" in Linear(1.0).why_not("dual_gauge")
