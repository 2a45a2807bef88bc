"""Lengths at every size, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.functionals.length import safe_norms
from opalg.program.differentiate import vjp
from opalg.program.expression import Input, Literal
from opalg.program.interpreter import evaluate


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e20])
@pytest.mark.parametrize("axes", [None, (-1,), (0, 1)])
def test_single_precision_at_any_size(size: float, axes: tuple[int, ...] | None) -> None:
    v = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    x, lib = Input("x", (3, 4)), backend("numpy", "float32")
    (found,) = evaluate([safe_norms(x, axes)], {x: np.float32(size) * v}, lib)
    expected = size * np.sqrt(np.sum(v.astype(float) ** 2, axis=axes, keepdims=axes is not None))
    assert found.shape == expected.shape and np.allclose(found, expected, rtol=1e-5, atol=0.0)


def test_of_nothing_it_is_zero() -> None:
    x = Input("x", (2, 0))
    (found,) = evaluate([safe_norms(x, None)], {x: np.zeros((2, 0))}, backend())
    assert found == 0.0


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0])
def test_gradient_is_the_direction(size: float) -> None:
    x, v = Input("x", (2,)), np.array([3.0, -4.0])
    (back,) = vjp([safe_norms(x, None)], [Literal(1.0)], [x])
    assert back is not None
    lib = backend("numpy", "float32")
    (found,) = evaluate([back], {x: (size * v).astype(np.float32)}, lib)
    assert np.allclose(found, v / 5.0 if size else 0.0, rtol=1e-6)
