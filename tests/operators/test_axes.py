"""Axes as negative numbers."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import ShapeError
from opalg.operators.axes import as_axes


def test_any_way_of_naming_axes():
    assert as_axes((4, 5, 6), None, "it") == (-3, -2, -1)
    assert as_axes((4, 5, 6), 1, "it") == as_axes((4, 5, 6), np.int64(-2), "it") == (-2,)
    assert as_axes((4, 5, 6), [2, 0], "it") == (-1, -3)


@pytest.mark.parametrize("axes", [(0, 0), (1, -1), (), 2, -3, (0.5,), "a"])
def test_other_axes_are_refused(axes):
    with pytest.raises(ShapeError, match="it "):
        as_axes((4, 5), axes, "it")


def test_shapes_without_entries_are_refused():
    with pytest.raises(ShapeError, match="without zeros"):
        as_axes((4, 0), (0,), "it")
    with pytest.raises(ShapeError, match="axes"):
        as_axes((), None, "it")
