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
from opalg.program.expression import (
    Apply,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
    maximum,
    minimum,
    where,
)
from opalg.program.interpreter import evaluate
from opalg.program.linear import Reshaped

x, z, z_real = Input("x", (3, 4)), Input("z", (3, 4), "complex"), Input("z", (3, 4))
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


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_numpy_chooses_whatever_is_not_chosen(precision: str) -> None:
    lib = backend("numpy", precision)
    small = np.array([[0.0, -0.0, 1.5, np.nan], [np.inf, -np.inf, 1e-30, 3.0], [1.0, 2.0, -3.0, 4.0]])
    other = np.array([[np.inf, np.nan, -1.0, 2.0], [0.0, 5.0, -np.inf, 1e30], [7.0, -8.0, 9.0, np.nan]])
    a, b = lib.asarray(small), lib.asarray(other)
    for no in (z_real, Literal(-2.5)):
        function = Function([where(mask, x, no)], [x] if isinstance(no, Literal) else [x, z_real], lib)
        with np.errstate(invalid="ignore"):
            (found,) = function.bind()(*([a] if isinstance(no, Literal) else [a, b]))
        wanted = np.where(a > 0, a, lib.asarray(-2.5) if isinstance(no, Literal) else b)
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == precision


def test_numpy_clips_between_scalars() -> None:
    """One call for a maximum and a minimum, and for a soft threshold that is cut off below."""
    t = Input("t", (), "real", "control")
    a = np.random.default_rng(0).standard_normal((3, 4))
    soft = x - maximum(minimum(x, t), -t)
    cases: list[tuple[Any, Any, int]] = [
        (maximum(x, t), np.maximum(a, 0.3), 1),
        (minimum(maximum(x, -1.0), t), np.clip(a, -1.0, 0.3), 1),
        (maximum(minimum(x, t), -t), np.clip(a, -0.3, 0.3), 1),
        (soft, a - np.clip(a, -0.3, 0.3), 1),
        (maximum(soft, 0.0), np.maximum(a - 0.3, 0.0), 1),
        (maximum(soft, -0.1), np.maximum(a - np.clip(a, -0.3, 0.3), -0.1), 2),
    ]
    for expression, wanted, count in cases:
        function = Function([expression], [x, t], backend("numpy"))
        text = function.generated.text
        assert text.count("np.clip") == count and "np.m" not in text.split("def step")[1].replace("np.multiply", "")
        np.testing.assert_allclose(function.bind({}, {t: 0.3})(a)[0], wanted, rtol=1e-15, atol=1e-16)
