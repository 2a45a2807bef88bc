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


def test_leaves_inside_operators_are_left_alone_when_controls_change(primitives: Any) -> None:
    rho = Input("rho", (), "real", "control")
    weights = Constant(np.arange(1.0, 5.0))
    hoisted = Apply(primitives["Weigh"](weights), weights * rho)
    y = Input("y", (4,))
    bound = Function([y + hoisted], [y, rho], backend("numpy")).bind({}, {rho: 1.0})
    np.testing.assert_allclose(bound(np.zeros(4))[0], weights.value**2)
    bound.set_controls({rho: 2.0})
    np.testing.assert_allclose(bound(np.zeros(4))[0], 2 * weights.value**2)
