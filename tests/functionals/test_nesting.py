"""Combinators of combinators, against cvxpy."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.facts import YES
from opalg.program.interpreter import number
from tests.functionals.convex_models import SHAPE, combined


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_prox_of_nested_combinators_is_the_minimiser(depth: int) -> None:
    tried = 0
    for seed in range(24):
        rng = np.random.default_rng([depth, seed])
        model = combined(rng, depth)
        f = model.functional
        v, t = 1.5 * rng.standard_normal(SHAPE), float(rng.uniform(0.2, 2.0))
        if not f.offers("prox"):
            assert f.why_not("prox")
            continue
        tried += 1
        found, expected = f.prox(v, t), model.prox(v, t)
        assert np.allclose(found, expected, atol=2e-5), f
        best = f.value(found) + np.sum((found - v) ** 2) / (2 * t)
        inside = f.prox(expected, 0.0)
        assert best <= f.value(inside) + np.sum((inside - v) ** 2) / (2 * t) + 1e-9, f
    assert tried >= 12


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_facts_and_duality_of_nested_combinators_hold(depth: int) -> None:
    conjugates = 0
    for seed in range(60):
        rng = np.random.default_rng([depth, seed])
        f = combined(rng, depth).functional
        if not f.offers("prox"):
            continue
        assert f.facts.convex is YES
        a, b = 2.0 * rng.standard_normal((2, *SHAPE))
        p, r = f.prox(a, 0.7), f.prox(b, 0.7)
        gap = np.sum((a - p - b + r) * (p - r)) / 0.7
        modulus = f.facts.strong_convexity
        size = np.sum((p - r) ** 2)
        assert gap >= (0.0 if modulus is None else number(modulus) * size) - 1e-9 * (1 + size)
        if f.facts.smoothness is not None and f.offers("gradient"):
            change = f.gradient(a) - f.gradient(b)
            assert np.linalg.norm(change) <= f.facts.smoothness.value * np.linalg.norm(a - b) * (1 + 1e-9)
        if f.facts.homogeneity is not None:
            assert f.value(3.0 * p) == pytest.approx(3.0**f.facts.homogeneity * f.value(p), rel=1e-9, abs=1e-9)
        if f.offers("conjugate_value"):
            conjugates += 1
            q = (a - p) / 0.7
            assert f.value(p) + f.conjugate.value(q) == pytest.approx(np.sum(p * q), rel=1e-9, abs=1e-9), f
            assert f.value(r) + f.conjugate.value(q) >= np.sum(r * q) - 1e-9, f
    assert conjugates >= 9
