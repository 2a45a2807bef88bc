"""The search of everything: kinks, jumps, several valleys, infinite values."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from opalg.testing.global_search import lowest


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_bowl(count):
    bottom = np.array([0.31, -0.72, 1.4])[:count]
    at, value = lowest(lambda x: float(np.sum((x - bottom) ** 2)), np.zeros(count), 3.0)
    assert np.allclose(at, bottom, atol=1e-2) and 0 <= value < 1e-4


@pytest.mark.parametrize("count", [1, 2])
def test_a_kink_beside_a_shallower_valley(count):
    def rough(x):
        return float(np.sum(np.minimum(np.abs(x - 1.23) - 0.5, np.abs(x + 1.1))))

    at, value = lowest(rough, np.zeros(count), 4.0)
    assert np.allclose(at, 1.23, atol=1e-2) and value == pytest.approx(-0.5 * count, abs=1e-2)


def test_a_jump_and_an_edge():
    _, value = lowest(lambda x: inf if x[0] < 0.2 else float(x[0] + (x[0] > 0.9)), np.zeros(1), 2.0)
    assert value == pytest.approx(0.2, abs=1e-6)
    at, value = lowest(lambda x: inf, np.zeros(2), 1.0)
    assert value == inf and np.array_equal(at, np.zeros(2))


def test_a_start_decides_where_the_rest_is_infinite():
    def thin(x):
        return float(x[1] ** 2) if x[0] == 0.123 else inf

    _, value = lowest(thin, np.zeros(2), 1.0, starts=(np.array([0.123, 0.5]),))
    assert value < 1e-6


def test_fewer_values_where_they_are_dear():
    calls = [0]

    def counted(x):
        calls[0] += 1
        return float(np.sum(x**2))

    lowest(counted, np.zeros(2), 1.0)
    many, calls[0] = calls[0], 0
    lowest(counted, np.zeros(2), 1.0, fineness=0.05)
    assert calls[0] < many / 3
