from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ShapeError
from opalg.functionals.boxes import Box
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.points import Point
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.translated import Translated, moved
from tests.functionals.scalar_search import scalar_prox


def test_prox_against_bisection() -> None:
    rng = np.random.default_rng(0)
    v, b = 2 * rng.standard_normal((2, 3, 4))
    found = Translated(Huber(0.5), b).prox(v, 0.8)
    assert np.allclose(found, scalar_prox(lambda u: np.clip(u - b, -0.5, 0.5), v, 0.8), atol=1e-12)


def test_single_precision_far_away_and_close_by() -> None:
    b = np.array([1.0, -2.0], dtype=np.float32)
    for size in (1e20, 1e-30):
        v = (size * np.array([3.0, 4.0])).astype(np.float32)
        f, g = Translated(Norm2(), 0.0 * b), Norm2()
        assert np.allclose(f.prox(v, 0.1 * size), g.prox(v.astype(float), 0.1 * size), rtol=1e-5)
        assert f.value(v) == pytest.approx(5 * size, rel=1e-5)


def test_a_step_for_each_sample_and_each_its_unit() -> None:
    v = np.array([[3e20, 4e20], [3.0, 4.0], [3e-30, 4e-30]], dtype=np.float32)
    t = np.array([1e20, 1.0, 1e-30], dtype=np.float32)
    assert np.allclose(Translated(Norm2(), np.zeros(2)).prox(v, t), 0.8 * v, rtol=1e-5)


def test_complex_offsets_need_complex_arrays() -> None:
    f = Translated(Norm1(), 1j)
    assert f.value(np.array([1j])) == 0.0
    with pytest.raises(DtypeError, match="complex offset"):
        f.value(np.ones(1))
    with pytest.raises(ShapeError, match="offset"):
        Translated(Norm1(), np.ones(3)).value(np.ones(4))


def test_conjugate_gains_a_slope() -> None:
    b, q = np.array([1.0, -3.0]), np.array([0.25, 0.5])
    assert Translated(SumSquares(), b).conjugate.value(q) == pytest.approx(q @ q / 4 + b @ q)


def test_simplest_forms() -> None:
    assert repr(Norm2().translated(1.0).translated(2.0)) == "Translated(Norm2(), 3)"
    assert Norm2().translated(0.0) is Norm2()
    assert moved(Indicator(Box(0.0, 1.0)), 2.0) is Indicator(Box(2.0, 3.0))
    assert moved(Indicator(Point(1.0)), 2.0) is Indicator(Point(3.0))
    b = oa.Parameter(1.0, name="b")
    assert Norm1().translated(b).text("x") == "norm1(x - b)" and Norm1().translated(-b).text("x") == "norm1(x + b)"
    assert Norm1().translated(b + 1.0).text("x") == "norm1(x - (b + 1))"
    assert Norm1().translated(-2.0).latex("x") == r"\left\|x + 2\right\|_1"


def test_a_term_of_a_translated_functional_is_the_term_of_the_difference() -> None:
    x, b = oa.Variable((3,), name="x"), np.array([1.0, 2.0, 3.0])
    at = np.array([0.5, 2.5, -1.0])
    assert Huber(1.0).translated(b)(x).value(at) == pytest.approx(Huber(1.0)(x - b).value(at))
