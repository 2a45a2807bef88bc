"""Detached values: what they are, and that no derivative of any order goes through them, on every library."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.leaves import Parameter
from opalg.program.detached import detached
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate

X = np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_the_value_is_kept_and_the_derivative_is_that_of_the_rest(library):
    lib = backend(library, "float64")
    x = Parameter(X, name="x")
    product = detached(x * x) * x
    (slope,) = vjp([product], [Literal(1.0)], [x])
    (moved,) = jvp([product], {x: Literal(1.0)})
    (bent,) = vjp([slope], [Literal(1.0)], [x])
    assert slope is not None and moved is not None and bent is None
    value, back, along = (lib.to_numpy(v) for v in evaluate([product, slope, moved], {}, lib))
    np.testing.assert_allclose(value, X**3)
    np.testing.assert_allclose(np.broadcast_to(back, X.shape), X**2)
    np.testing.assert_allclose(np.broadcast_to(along, X.shape), X**2)


def test_nothing_is_left_of_what_is_detached_alone():
    x = Input("x", (3,), "real")
    assert vjp([detached(x)], [Literal(1.0)], [x]) == [None]
    assert jvp([detached(x)], {x: Literal(1.0)}) == [None]


def test_results_share_no_memory_with_arguments():
    lib, x = backend("numpy", "float64"), Input("x", (3,), "real")
    given = X.copy()
    (found,) = evaluate([detached(x)], {x: given}, lib)
    assert not np.shares_memory(found, given)
    assert repr(detached(x)) == "detached(x)"
