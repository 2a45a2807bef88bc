"""Shapes, kinds and foldings of expressions."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant, Parameter
from opalg.program import expression as ex
from opalg.program.expression import (
    Apply,
    Broadcast,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
    as_expression,
    batch_shape,
    pointwise,
)
from opalg.program.linear import Window

x, y, z = Input("x", (3, 4)), Input("y", (4,)), Input("z", (3, 1), "complex")


@pytest.mark.parametrize(
    ("expression", "shape", "kind"),
    [
        (x + y, (3, 4), "real"),
        (x * z, (3, 4), "complex"),
        (abs(z), (3, 1), "real"),
        (pointwise("imag", z), (3, 1), "real"),
        (pointwise("greater", x, 0.0), (3, 4), "bool"),
        (pointwise("logical_not", pointwise("less", x, 0.0)), (3, 4), "bool"),
        (ex.where(pointwise("greater", x, 0.0), z, 0.0), (3, 4), "complex"),
        (ex.where(pointwise("greater", x, 0.0), y, 0.0), (3, 4), "real"),
        (Reduce("sum", z, None), (), "complex"),
        (Reduce("max", x, (-1,)), (3,), "real"),
        (Reduce("sum", x, (-2,), keepdims=True), (1, 4), "real"),
        (Reduce("any", pointwise("less", x, 0.0), None), (), "bool"),
        (Broadcast(z, (2, 3, 5)), (2, 3, 5), "complex"),
        (Apply(Window((4,), (1,), (3,)), x), (3, 2), "real"),
        (Apply(Window((4,), (1,), (3,)), Input("w", (7, 2)), adjoint=True), (7, 4), "real"),
        (Product("Mx", x, y), (3,), "real"),
        (Product("Mx", x, Input("b", (2, 4), "complex")), (2, 3), "complex"),
        (Product("MTx", x, Input("b", (3,))), (4,), "real"),
        (Product("xyT", Input("a", (5, 3)), Input("b", (5, 4))), (3, 4), "real"),
        (Join((x, Input("a", (3, 2), "complex")), -1), (3, 6), "complex"),
        (ex.total(x), (), "real"),
        (ex.square_abs(z), (3, 1), "real"),
        (ex.inner(x, z), (), "real"),
        (1j * x, (3, 4), "complex"),
    ],
)
def test_shapes_and_kinds(expression, shape, kind):
    assert expression.shape == shape
    assert expression.ndim == len(shape)
    assert expression.kind == kind


def test_equal_expressions_are_one_object():
    assert x + y is x + y
    assert (x + y) is not (y + x)
    assert Input("x", (3, 4)) is x
    assert ex.exp(2.0 * x) is ex.exp(x * 2.0)


def test_neutral_elements_fold():
    zero, one = Literal(0.0), Literal(1.0)
    for folded in (x + 0.0, 0.0 + x, x - 0.0, 1.0 * x, x * 1.0, x / 1.0, x**1.0, -(0.0 - x), x + zero, x * one):
        assert folded is x
    assert 0.0 - x is -x
    assert -1.0 * x is -x
    assert x**2.0 is ex.square(x)
    assert x**0.5 is ex.sqrt(x)
    assert pointwise("conj", x) is x
    assert pointwise("real", x) is x
    assert pointwise("conj", pointwise("conj", z)) is z


def test_folding_never_changes_kind_or_shape():
    assert (Literal(0j) + x).kind == "complex"
    assert (x - Literal(0j)).kind == "complex"
    wide = Broadcast(Literal(0.0), (5, 3, 4)) + x
    assert wide.shape == (5, 3, 4)
    assert (Literal(True) * x) is not x


def test_numbers_fold_and_gather_in_front():
    assert Literal(2.0) + 3.0 is Literal(5.0)
    assert ex.square(Literal(3.0)) is Literal(9.0)
    assert -Literal(2.0) is Literal(-2.0)
    assert 2.0 * (3.0 * x) is 6.0 * x
    assert (x * 2.0) * 3.0 is 6.0 * x
    assert abs(Literal(-2.0)) is Literal(2.0)


def test_needless_broadcasts_vanish():
    assert Broadcast(y, (3, 4)) + x is y + x
    kept = Broadcast(y, (2, 3, 4)) + x
    assert isinstance(kept, Pointwise)
    assert isinstance(kept.arguments[0], Broadcast)
    assert (Broadcast(y, (3, 4)) * Broadcast(y, (3, 4))).shape == (3, 4)


def test_numbers_of_every_sort_become_literals():
    for value, kind in ((1, "real"), (np.float32(0.5), "real"), (np.int64(3), "real"), (2j, "complex")):
        assert as_expression(value).kind == kind
    assert as_expression(np.complex64(1j)) is Literal(1j)
    assert as_expression(True) is Literal(True)
    assert as_expression(np.bool_(False)) is Literal(False)
    assert Literal(1.0) is not Literal(True)
    assert as_expression(x) is x


def test_arrays_are_refused_with_the_way_out():
    with pytest.raises(DtypeError, match=r"oa.Constant or oa.Parameter"):
        as_expression(np.ones(3))
    with pytest.raises(TypeError):
        np.ones(4) + y
    with pytest.raises(TypeError):
        y * "text"


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        x + Input("w", (5,))
    with pytest.raises(ShapeError, match=r"expects the trailing axes \(4,\).*shape \(3, 5\)"):
        Apply(Window((4,), (0,), (2,)), Input("w", (3, 5)))
    assert batch_shape((2, 3, 4), (4,), "owner") == (2, 3)
    assert batch_shape((4,), (4,), "owner") == ()
    with pytest.raises(ShapeError, match="count as a batch"):
        batch_shape((), (4,), "owner")


@pytest.mark.parametrize(
    ("big", "small"),
    [((3, 4), (4,)), ((3, 4), (3, 1)), ((3, 4), ()), ((2, 3, 4), (1, 4)), ((2, 3), (2, 3)), ((5,), (1,))],
)
def test_sum_to_is_the_adjoint_of_broadcasting(big, small, rng):
    from opalg.arrays import backend
    from opalg.program.interpreter import evaluate

    u, v = Input("u", big), Input("v", small)
    points = {u: rng.normal(size=big), v: rng.normal(size=small)}
    summed = ex.sum_to(u, small)
    assert summed.shape == small
    a, b = evaluate([ex.inner(summed, v), ex.inner(u, ex.broadcast_to(v, big))], points, backend("numpy"))
    assert float(a) == pytest.approx(float(b), rel=1e-13)
    assert float(b) == pytest.approx(np.sum(points[u] * points[v]), rel=1e-13)


def test_inner_product_of_mixed_kinds(rng):
    from opalg.arrays import backend
    from opalg.program.interpreter import evaluate

    a, b = Input("a", (3,), "complex"), Input("b", (3,))
    points = {a: rng.normal(size=3) + 1j * rng.normal(size=3), b: rng.normal(size=3)}
    for u, v in ((a, a), (a, b), (b, a), (b, b)):
        (found,) = evaluate([ex.inner(u, v)], points, backend("numpy"))
        assert float(found) == pytest.approx(np.vdot(points[u], points[v]).real, rel=1e-13)


def test_leaves_are_compared_by_identity():
    a, b = Constant(np.ones(2)), Constant(np.ones(2))
    assert a is not b
    assert a + 1.0 is a + 1.0
    assert a + 1.0 is not b + 1.0
    assert Parameter(1.0) + a is not Parameter(1.0) + a


def test_repr_is_text():
    assert isinstance(repr(ex.exp(x) + y), str)
