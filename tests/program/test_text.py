"""Readable text of expressions and programs."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.leaves import Constant, Parameter
from opalg.program.expression import Apply, Broadcast, Input, Join, Literal, Pointwise, Product, Reduce, square, total
from opalg.program.linear import Window
from opalg.program.text import program_text, text_of

x, y = Input("x", (3,)), Input("y", (3,))
lam = Parameter(0.1, name="lambda")
image = Constant(np.ones(3))
matrix = Constant(np.ones((3, 3)), name="M")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (0.5 * (x - y), "0.5 * (x - y)"),
        (x - (y - x), "x - (y - x)"),
        (x - y - x, "x - y - x"),
        (x / (y * 2.0), "x / (2 * y)"),
        (-(x + y) * lam, "-(x + y) * lambda"),
        (square(x + y), "(x + y) ** 2"),
        (Pointwise("power", (x, y)), "x ** y"),
        (Pointwise("where", (Pointwise("greater", (x, Literal(1e-5))), x, y)), "where(x > 1e-05, x, y)"),
        (total(image * x), "sum(constant * x)"),
        (Reduce("sum", x, (-1,), keepdims=True), "sum(x, axes=(-1,))"),
        (Broadcast(lam, (3,)), "broadcast(lambda, (3,))"),
        (Apply(Window((3,), (0,), (2,)), x), "Window((3,), (0,), (2,))(x)"),
        (Product("MTx", matrix, x + y), "M.T @ (x + y)"),
        (Join((x, y), -1), "join(x, y, axis=-1)"),
        (Literal(1 + 2j) * x, "(1+2j) * x"),
    ],
)
def test_text(expression, text: str) -> None:  # type: ignore[no-untyped-def]
    assert text_of(expression) == text
    assert repr(expression) == text


def test_names_can_be_given() -> None:
    assert text_of(x + y, {x: "state"}) == "state + y"


def test_shared_graphs_and_long_chains_stay_short_and_quick() -> None:
    doubled = x
    for _ in range(200):
        doubled = doubled * doubled
    assert len(text_of(doubled)) <= 300
    summed = x
    for i in range(300):
        summed = summed + Literal(float(i + 1)) * y
    assert "..." in text_of(summed) and len(text_of(summed)) <= 300


def test_names_stay_on_one_line() -> None:
    assert "\n" not in text_of(Parameter(1.0, name="a\nb") * x)


def test_program_text_numbers_the_steps_and_computes_shared_nodes_once() -> None:
    shared = x - y
    text = program_text([shared * lam, total(square(shared))], ["z", "residual"])
    assert text.splitlines() == ["1. t1 = x - y", "2. z = t1 * lambda", "3. residual = sum(t1 ** 2)"]
