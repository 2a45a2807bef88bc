"""Growth beyond all reason is told from blocks that are drawn late."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.iterations import Picard
from opalg.learning.drift import Drift
from opalg.learning.online_watch import Watched, exploded


@pytest.mark.parametrize("factor", [5.0, 20.0, 1e4])
def test_steps_that_grow_by_a_factor_explode(rng, factor):
    steps = (factor ** np.arange(48) * rng.uniform(0.2, 1.0, 48)).tolist()
    assert exploded(steps)
    assert not exploded(steps[::-1])


@pytest.mark.parametrize("late", range(1, 31))
def test_steps_that_are_longer_from_some_draw_on_do_not(late):
    steps = [1e-17] * late + [1.0] * (32 - late)
    assert not exploded(steps)


def test_nothing_is_said_of_few_steps_or_of_none_but_zeros():
    assert not exploded([])
    assert not exploded([1.0, 1e20, 1e40])
    assert not exploded([0.0] * 24 + [1.0] * 8)


def test_a_watched_iteration_ends_where_it_explodes_and_begins_anew():
    lib = backend()
    watched = Watched(Picard(lambda z: 1e3 * z, lib), Drift(lib, 100))
    for _ in range(2):
        watched.start(np.ones(2))
        assert watched.outcome is None
        for _ in range(16):
            watched.advance()
        assert watched.outcome == "diverged"
