"""The compiled pieces of an equation: what is computed, and what is only handed out."""

from __future__ import annotations

import numpy as np

from opalg.arrays import backend
from opalg.emit import BoundFunction, Function
from opalg.implicit.programs import Programs
from opalg.program.expression import Input

NUMPY = backend("numpy")
X, Y, N = Input("x", (3,), "real"), Input("y", (2,), "real"), Input("n", (), "real")


def programs():
    """Programs without parameters, and the list of functions that they had bound."""
    bound: list[Function] = []

    def bind(function, controls, held=None) -> BoundFunction:
        bound.append(function)
        return function.bind({}, dict(controls))

    return Programs(NUMPY, bind, {}, {}), bound


def test_outputs_that_are_inputs_are_copied_and_nothing_is_bound():
    found, bound = programs()
    x, y = np.arange(3.0), np.ones(2)
    for _ in range(2):
        first, second = found("swapped", lambda: ([Y, X], [X, Y]), x, y)
        np.testing.assert_array_equal(first, y)
        np.testing.assert_array_equal(second, x)
        assert not np.shares_memory(first, y)
        assert not np.shares_memory(second, x)
    assert bound == []


def test_one_output_that_is_computed_makes_a_program():
    found, bound = programs()
    same, twice = found("mixed", lambda: ([X, X + X], [X]), np.arange(3.0))
    np.testing.assert_array_equal(same, np.arange(3.0))
    np.testing.assert_array_equal(twice, 2 * np.arange(3.0))
    assert len(bound) == 1


def test_numbers_become_arrays_without_axes():
    found, bound = programs()
    (number,) = found("number", lambda: ([N], [N]), 2.0)
    assert number.shape == ()
    assert number == 2.0
    assert len(bound) == 1
