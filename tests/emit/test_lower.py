"""Lowering and hoisting keep the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit import Function
from opalg.emit.lower import lower
from opalg.leaves import Constant
from opalg.nodes import walk
from opalg.program.expression import Apply, Input, Join, Literal, Pointwise, Product, Reduce
from opalg.program.interpreter import evaluate
from opalg.program.linear import Reshaped

x, z = Input("x", (3, 4)), Input("z", (3, 4), "complex")
mask = Pointwise("greater", (x, Literal(0.0)))


@pytest.mark.parametrize(
    "expression",
    [
        Pointwise("safe_divide", (x, abs(x))),
        *(Pointwise("power", (abs(x), Literal(p))) for p in (3.0, 4.0, 1.5, -1.0, -2.0, 0.3)),
        Pointwise("power", (z, Literal(-2.0))),
        Pointwise("imag", (x,)) + x,
        Pointwise("multiply", (mask, z)),
        Pointwise("add", (mask, mask)),
        Join((x, z), -1),
        Product("MTx", x, Reduce("sum", z, (-1,))),
        Reduce("sum", x, (-2, -1)),
    ],
)
def test_lowering_keeps_the_value(expression: Any) -> None:
    lib = backend("numpy")
    rng = np.random.default_rng(0)
    given = {x: rng.standard_normal((3, 4)), z: rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))}
    (lowered,) = lower([expression], lib)
    before, after = evaluate([expression, lowered], given, lib)
    np.testing.assert_allclose(after, before, rtol=1e-13)
    functions = {n.function for n in walk(lowered) if isinstance(n, Pointwise)}
    assert "safe_divide" not in functions


def test_axes_that_are_summed_and_reshaped_away_are_dropped_at_once() -> None:
    summed = Reduce("sum", x, (-2,), keepdims=True)
    (dropped,) = lower([Apply(Reshaped((1, 4), (4,)), summed)], backend("numpy"))
    assert dropped == Reduce("sum", x, (-2,))
    behind = Apply(Reshaped((3, 1), (3,)), Reduce("sum", x, (-1,), keepdims=True))
    assert lower([behind], backend("numpy")) == [behind]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_real_arrays_become_complex_by_a_copy(library: str) -> None:
    function = Function([Literal(1.0 + 0.0j) * x], [x], backend(library))
    assert "mul" not in function.generated.text
    a = np.array([[np.inf, 1.0, 2.0, 3.0]] * 3)
    (found,) = function.bind()(function.lib.asarray(a))
    np.testing.assert_array_equal(function.lib.to_numpy(found), a.astype(complex))


def test_leaves_inside_operators_are_left_alone_when_controls_change(primitives: Any) -> None:
    rho = Input("rho", (), "real", "control")
    weights = Constant(np.arange(1.0, 5.0))
    hoisted = Apply(primitives["Weigh"](weights), weights * rho)
    y = Input("y", (4,))
    bound = Function([y + hoisted], [y, rho], backend("numpy")).bind({}, {rho: 1.0})
    np.testing.assert_allclose(bound(np.zeros(4))[0], weights.value**2)
    bound.set_controls({rho: 2.0})
    np.testing.assert_allclose(bound(np.zeros(4))[0], 2 * weights.value**2)
