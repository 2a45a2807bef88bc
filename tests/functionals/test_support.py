"""Support functions: against corners, Moreau's identity and indicators."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from opalg import Variable
from opalg.arrays import backend
from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import UNKNOWN, YES
from opalg.functionals.affine_sets import Affine
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1
from opalg.functionals.points import Point
from opalg.functionals.support import SupportFunction, support_function
from opalg.operators.algebra import Identity
from tests.functionals.test_distance import Signs

LOW, HIGH = np.array([-1.0, -0.5, 0.25]), np.array([2.0, 0.0, 0.75])


def test_the_largest_product_with_a_corner() -> None:
    v = np.random.default_rng(0).standard_normal(3)
    corners = np.array(list(product(*zip(LOW, HIGH, strict=True))))
    assert SupportFunction(Box(LOW, HIGH)).value(v) == pytest.approx(np.max(corners @ v))


def test_of_the_unit_box_it_is_norm1() -> None:
    f, v = SupportFunction(Box(-1.0, 1.0)), np.random.default_rng(1).standard_normal((3, 4))
    assert f.value(v) == pytest.approx(Norm1().value(v))
    for t in (0.0, 0.4, 10.0):
        assert np.allclose(f.prox(v, t), Norm1().prox(v, t), atol=1e-15)
    steps = np.array([0.0, 0.3, 2.0])
    assert np.allclose(f.prox(v, steps), Norm1().prox(v, steps), atol=1e-15)


def test_prox_by_moreau() -> None:
    s, v = Box(LOW, HIGH), np.random.default_rng(2).standard_normal(3)
    for t in (0.2, 3.0):
        assert np.allclose(SupportFunction(s).prox(v, t), v - t * np.clip(v / t, LOW, HIGH))


def test_the_conjugate_is_the_indicator() -> None:
    f = SupportFunction(Box(LOW, HIGH))
    assert isinstance(f.conjugate, Indicator) and f.conjugate.set is f.set
    assert f.conjugate.value(HIGH) == 0.0 and np.isinf(f.conjugate.value(HIGH + 0.1))


def test_unbounded_sets_have_a_domain() -> None:
    f = SupportFunction(nonneg)
    assert f.value(np.array([-1.0, 0.0])) == 0.0 and np.isinf(f.value(np.array([-1.0, 1e-3])))
    assert np.array_equal(f.prox(np.array([-1.0, 2.0]), 0.7), [-1.0, 0.0])
    assert np.array_equal(f.prox(np.array([-1.0, 2.0]), 0.0), [-1.0, 0.0])
    line = SupportFunction(Box(None, np.array([0.5, 1.0])))
    assert np.isinf(line.value(np.array([-1.0, 1.0]))) and line.value(np.array([2.0, 1.0])) == 2.0


def test_of_a_point_it_is_linear() -> None:
    b = np.array([1.0 + 1.0j, -2.0])
    f, v = SupportFunction(Point(b)), np.array([3.0, 1.0j])
    assert f.value(v) == pytest.approx(np.vdot(b, v).real)
    assert np.allclose(f.prox(v, 0.5), v - 0.5 * b)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_single_precision_at_strange_sizes(library: str) -> None:
    lib, f = backend(library, "float32"), SupportFunction(Box(-1.0, 2.0))
    for size in (1e20, 1e-30):
        found = lib.to_numpy(f.prox(lib.asarray(size * np.array([3.0, -5.0])), size))
        assert np.allclose(found / size, [1.0, -4.0], rtol=1e-5)


def test_facts_and_refusals() -> None:
    facts = SupportFunction(Box(-0.5, 0.25)).facts
    assert facts.convex is YES and facts.separable is YES and facts.homogeneity == 1.0
    assert facts.bounded_below is YES and SupportFunction(Box(0.1, 0.2)).facts.bounded_below is not YES
    assert SupportFunction(Affine(Identity((2,)), 1.0)).facts.bounded_below is UNKNOWN
    with pytest.raises(DtypeError, match="set such as"):
        SupportFunction(Norm1())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="convex"):
        SupportFunction(Signs())
    x = Variable((2,), name="x")
    assert repr(support_function(x, nonneg)) == "support_function(x, nonneg)"
    assert r"\sigma" in support_function(x, nonneg).latex()
