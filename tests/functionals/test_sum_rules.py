from __future__ import annotations

import numpy as np
import pytest

from opalg.functionals.balls import Ball2
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Functional
from opalg.functionals.counting import Norm0
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.scaled import Weighted
from opalg.functionals.second_order_cone import SecondOrderCone
from opalg.functionals.spectral import PSDCone
from opalg.functionals.sum_rules import flattened, inside_out, is_cone, merged, order_of_proxes, scales, tilt_of
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.sums import Sum
from opalg.functionals.tilted import Tilted
from opalg.program.expression import Literal

POSITIVE, BOX, CONE = Indicator(nonneg), Indicator(Box(-1.0, 1.0)), Indicator(SecondOrderCone())

KNOWN = [
    (Norm1(), POSITIVE, (Norm1(), POSITIVE)),
    (BOX, Huber(1.0), (Huber(1.0), BOX)),
    (Norm2(), Norm1(), (Norm1(), Norm2())),
    (Norm21(), POSITIVE, (POSITIVE, Norm21())),
    (Norm21(axis=(0, 1)), Norm21(axis=1), (Norm21(axis=1), Norm21(axis=(0, 1)))),
    (Indicator(Ball2(1.0)), CONE, (CONE, Indicator(Ball2(1.0)))),
    (Indicator(PSDCone()), Norm2(), (Indicator(PSDCone()), Norm2())),
    (CONE, Norm21(axis=0), (CONE, Norm21(axis=0))),
]
UNKNOWN_SUMS = [
    (Norm21(axis=0), Norm21(axis=1)),
    (Huber(1.0), Norm2()),
    (BOX, Norm2()),
    (Norm1(), Huber(1.0)),
    (Indicator(Ball2(1.0, 0.5)), Norm1()),
    (Indicator(PSDCone()), Norm21(axis=0)),
    (Norm0(), POSITIVE),
]


@pytest.mark.parametrize(("f", "g", "expected"), KNOWN, ids=str)
def test_known_orders(f: Functional, g: Functional, expected: tuple[Functional, Functional]) -> None:
    assert order_of_proxes(f, g) == expected and order_of_proxes(g, f) == expected


@pytest.mark.parametrize(("f", "g"), UNKNOWN_SUMS, ids=str)
def test_no_order_where_the_proxes_do_not_follow_each_other(f: Functional, g: Functional) -> None:
    assert order_of_proxes(f, g) is None


def test_the_sums_without_a_rule_are_indeed_not_minimised_by_either_order() -> None:
    """So that the rules are as narrow as they must be."""
    v, t = np.array([3.0, -0.7]), 0.9
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1.5, 251)] * 2), axis=-1).reshape(-1, 2)
    huber = np.where(abs(grid) < 1, grid**2 / 2, abs(grid) - 0.5).sum(axis=1)
    box = np.where(np.all(abs(grid) <= 1, axis=1), 0.0, np.inf)
    near = np.linalg.norm(grid, axis=1) + np.sum((grid - v) ** 2, axis=1) / (2 * t)
    for f, values in ((Huber(1.0), huber), (BOX, box)):
        for inner, outer in ((f, Norm2()), (Norm2(), f)):
            p = outer.prox(inner.prox(v, t), t)
            best = f.value(p) + np.linalg.norm(p) + np.sum((p - v) ** 2) / (2 * t)
            assert np.min(values + near) < best - 1e-5, (inner, outer)


def test_cones_and_scaling() -> None:
    assert is_cone(POSITIVE) and is_cone(CONE) and is_cone(Indicator(PSDCone())) and not is_cone(BOX)
    assert is_cone(Indicator(Box(np.zeros(2), None))) and is_cone(Indicator(Box(0.0, 0.0)))
    assert not is_cone(Indicator(Box(np.array([0.0, -1.0]), None))) and not is_cone(Norm1())
    assert scales(Sum(Norm1(), POSITIVE)) and scales(Weighted(Norm2(), 2.0)) and not scales(SumSquares())


def test_tilts() -> None:
    assert tilt_of(Norm1(), Norm1()) is None
    assert tilt_of(SumSquares(np.ones(2)), Norm2()) is None
    slope, curvature = tilt_of(Weighted(Linear(2.0), 3.0), Norm2()) or (None, None)
    assert slope == Literal(6.0) and curvature == Literal(0.0)


def test_flattening_and_merging() -> None:
    nested = Weighted(Sum(Tilted(Norm1(), 1.0, 2.0), Weighted(Norm2(), 0.5)), 2.0)
    assert [repr(p) for p in flattened(nested, Literal(1.0))] == [
        "Weighted(Norm1(), 2)",
        repr(Weighted(Linear(1.0), 2.0)),
        repr(Weighted(SumSquares(1.0), 2.0)),
        "Norm2()",
    ]
    found = merged([Norm1(), Norm2(), Norm1(3.0), POSITIVE, BOX])
    assert [repr(p) for p in found[:2]] == ["Weighted(Norm1(), 4)", "Norm2()"] and len(found) == 3
    assert found[2].prox(np.array([-2.0, 0.5, 2.0]), 1.0).tolist() == [0.0, 0.5, 1.0]
    assert inside_out([Norm2(), Norm21(), POSITIVE, CONE, Norm1()]) == [Norm1(), POSITIVE, CONE, Norm21(), Norm2()]
