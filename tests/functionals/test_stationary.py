"""Values at stationary points: values, first and mixed second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.functionals.stationary import stationary_value, without_parameters
from opalg.leaves import Parameter
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, jvp
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate

A = Parameter(3.0, name="a", positive=True)


def squared(v: Expression) -> Expression:
    """``min_u a |u|^2 + |u - v|^2 = a / (1 + a) |v|^2``, from its minimiser."""
    x, u = Input("x", v.shape, v.kind), Input("u", v.shape, v.kind)
    return stationary_value(A * ex.norm_squared(u) + ex.norm_squared(u - x), {x: v}, {u: v / (1.0 + A)})


def at(expressions: list[Expression], v: np.ndarray, lib: str = "numpy") -> list[np.ndarray]:
    backend_ = backend(lib)
    found = evaluate(expressions, {V: backend_.asarray(v)}, backend_)
    return [backend_.to_numpy(f) for f in found]


V = Input("v", (3,))


@pytest.mark.parametrize("lib", ["numpy", "torch", "array_api_strict"])
def test_value_and_gradients(lib: str) -> None:
    v = np.array([1.0, -2.0, 0.5])
    value = squared(V)
    found = at([value, *gradient(value, [V, A])], v, lib)
    assert found[0] == pytest.approx(0.75 * np.sum(v**2))
    assert np.allclose(found[1], 1.5 * v)
    assert found[2] == pytest.approx(np.sum(v**2) / 16.0)


def test_second_derivatives_go_through_the_point() -> None:
    v, d = np.array([1.0, -2.0, 0.5]), np.array([0.3, 1.0, -1.0])
    slope, in_a = gradient(squared(V), [V, A])
    direction = Input("d", (3,))
    moved, mixed = jvp([slope, in_a], {V: direction})
    assert moved is not None and mixed is not None
    bound = {V: v, direction: d}
    hessian, cross = evaluate([moved, mixed], bound, backend())
    assert np.allclose(hessian, 1.5 * d)
    assert cross == pytest.approx(2 * np.sum(v * d) / 16.0)


def test_formulas_without_parameters() -> None:
    x = Input("x", ())
    formula, found = without_parameters(A * x + A)
    assert list(found) == [A] and found[A].shape == ()
    (value,) = evaluate([formula], {x: np.asarray(2.0), found[A]: np.asarray(5.0)}, backend())
    assert value == 15.0
