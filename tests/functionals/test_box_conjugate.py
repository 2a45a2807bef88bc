from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.functionals.box_conjugate import peak_of, simple_box
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.scaled import Weighted
from opalg.functionals.sums import Sum


@pytest.mark.parametrize("box", [Box(-0.3, 1.2), Box(0.2, None), Box(None, -0.1), nonneg], ids=repr)
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_the_peak_is_not_beaten(box: Box, weight: float) -> None:
    grid = np.linspace(-5 if box.lower is None else -0.3, 5 if box.upper is None else 1.2, 20001)
    grid = Indicator(box).prox(np.append(grid, 0.0), 1.0)
    for f, value in ((Norm1(), abs), (Huber(0.5), lambda v: np.where(abs(v) < 0.5, v**2 / 2, 0.5 * abs(v) - 0.125))):
        g = Sum(Weighted(f, weight), Indicator(box))
        slope = weight * (1.0 if isinstance(f, Norm1) else 0.5)
        for q in np.linspace(-slope, slope, 7):
            expected = np.max(q * grid - weight * value(grid))
            assert g.conjugate.value(np.array([q])) == pytest.approx(expected, abs=1e-6)
            inside = g.conjugate.value(np.array([q]))
            assert inside >= expected - 1e-12


def test_weights_and_gauges() -> None:
    f = Sum(Norm1(np.array([1.0, 2.0])), Indicator(nonneg))
    assert f.conjugate.value(np.array([-50.0, 2.0])) == 0.0
    assert f.conjugate.value(np.array([1.1, 0.0])) == np.inf
    assert np.allclose(f.conjugate.prox(np.array([3.0, -4.0]), 0.0), [1.0, -4.0])
    zero = Sum(Weighted(Huber(1.0), oa.Parameter(0.0, name="w", nonneg=True)), Indicator(Box(-1.0, 2.0)))
    assert zero.conjugate.value(np.array([3.0])) == 6.0


def test_what_is_known() -> None:
    assert peak_of(Norm2()) is None and peak_of(Weighted(Norm2(), 2.0)) is None
    assert peak_of(Weighted(Huber(1.0), np.array([1.0, np.inf]))) is None
    assert simple_box(nonneg) and not simple_box(Box(np.array([-np.inf, 0.0]), None))
