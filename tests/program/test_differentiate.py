"""Forward and backward derivatives against central differences, and against each other."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import UnsupportedError
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, hessian_vector, jvp, sum_of, vjp
from opalg.program.expression import Apply, Broadcast, Call, Expression, Input, Join, Literal, Product, Reduce
from opalg.program.interpreter import evaluate
from opalg.program.linear import Kernel, Linear, Window

LIB = backend("numpy")


def draw(rng, shape, kind, positive=False):
    if kind == "complex":
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return rng.uniform(0.5, 2.0, size=shape) if positive else rng.normal(size=shape)


def inner(u, v):
    return float(np.sum(np.conj(u) * v).real)


def run(outputs, bindings):
    return [np.asarray(a) for a in evaluate(outputs, bindings, LIB)]


def check(outputs, points, rng, rtol=1e-6):
    """jvp against central differences, and <J d, u> = <d, J^T u>, for outputs over inputs at given points."""
    inputs = list(points)
    directions = {x: draw(rng, x.shape, x.kind) for x in inputs}
    tangents = {x: Input("d_" + x.name, x.shape, x.kind) for x in inputs}
    moved = jvp(outputs, tangents)
    bindings = {**points, **{tangents[x]: directions[x] for x in inputs}}
    forward = [
        np.zeros(o.shape) if m is None else value
        for o, m, value in zip(outputs, moved, _run_some(moved, bindings), strict=True)
    ]
    step = 1e-6
    ahead = run(outputs, {x: points[x] + step * directions[x] for x in inputs})
    behind = run(outputs, {x: points[x] - step * directions[x] for x in inputs})
    for o, f, a, b in zip(outputs, forward, ahead, behind, strict=True):
        assert f.shape == o.shape
        difference = (a - b) / (2 * step)
        np.testing.assert_allclose(f, difference, rtol=rtol, atol=rtol * max(1.0, np.abs(difference).max(initial=0)))
    cotangents = [draw(rng, o.shape, o.kind) for o in outputs]
    names = [Input(f"u{i}", o.shape, o.kind) for i, o in enumerate(outputs)]
    back = vjp(outputs, names, inputs)
    values = _run_some(back, {**points, **dict(zip(names, cotangents, strict=True))})
    left = sum(inner(u, f) for u, f in zip(cotangents, forward, strict=True))
    right = 0.0
    for x, b, value in zip(inputs, back, values, strict=True):
        if b is not None:
            assert value.shape == x.shape
            assert x.kind == "complex" or not np.iscomplexobj(value)
            right += inner(value, directions[x])
    assert left == pytest.approx(right, rel=1e-11, abs=1e-11)


def _run_some(expressions, bindings):
    found = iter(run([e for e in expressions if e is not None], bindings))
    return [None if e is None else next(found) for e in expressions]


# Elementary functions -------------------------------------------------------------------------------------------------

UNARY_REAL = ["negative", "square", "exp", "sin", "cos", "tanh", "atan", "sinh", "cosh", "abs", "sqrt", "log", "log1p"]
UNARY_COMPLEX = [
    *("negative", "conj", "real", "imag", "abs", "square", "exp", "sin", "cos", "sinh", "cosh", "tanh"),
    *("sqrt", "log", "log1p", "atan"),
]


@pytest.mark.parametrize("function", UNARY_REAL)
def test_unary_functions_of_reals(function, rng):
    x = Input("x", (3, 4))
    positive = function in ("sqrt", "log", "log1p")
    check([ex.pointwise(function, x)], {x: draw(rng, x.shape, "real", positive)}, rng)


@pytest.mark.parametrize("function", UNARY_COMPLEX)
def test_unary_functions_of_complex_numbers(function, rng):
    z = Input("z", (3, 4), "complex")
    check([ex.pointwise(function, z)], {z: 0.5 * draw(rng, z.shape, "complex") + 0.7}, rng)


BINARY = ["add", "subtract", "multiply", "divide", "power", "safe_divide"]
SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (3,)), ((2, 1, 3), (4, 1))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("function", [*BINARY, "maximum", "minimum"])
def test_binary_functions_of_reals_with_broadcasting(function, shapes, rng):
    a, b = Input("a", shapes[0]), Input("b", shapes[1])
    points = {x: draw(rng, x.shape, "real", positive=True) for x in (a, b)}
    check([ex.pointwise(function, a, b)], points, rng)


@pytest.mark.parametrize("kinds", [("complex", "complex"), ("real", "complex"), ("complex", "real")])
@pytest.mark.parametrize("shapes", SHAPES[:4])
@pytest.mark.parametrize("function", ["add", "subtract", "multiply", "divide", "power", "safe_divide"])
def test_binary_functions_of_complex_numbers(function, shapes, kinds, rng):
    if function == "safe_divide" and kinds[1] == "complex":
        kinds = ("complex", "real")  # its denominator is a nonnegative real
    a, b = Input("a", shapes[0], kinds[0]), Input("b", shapes[1], kinds[1])
    points = {x: 0.4 * draw(rng, x.shape, x.kind, positive=True) + 1.0 for x in (a, b)}
    check([ex.pointwise(function, a, b)], points, rng)


def test_functions_of_one_input_twice(rng):
    x = Input("x", (5,))
    check([x * ex.exp(x) / (1.0 + ex.square(x))], {x: draw(rng, (5,), "real")}, rng)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.5])
def test_powers_with_a_number_as_exponent(exponent, rng):
    x = Input("x", (4,))
    check([x**exponent], {x: draw(rng, (4,), "real", positive=True)}, rng)


@pytest.mark.parametrize("kinds", [("real", "real"), ("complex", "real"), ("real", "complex"), ("complex", "complex")])
def test_where(kinds, rng):
    c, a, b = Input("c", (3, 4)), Input("a", (4,), kinds[0]), Input("b", (3, 1), kinds[1])
    points = {x: draw(rng, x.shape, x.kind) for x in (c, a, b)}
    check([ex.where(ex.pointwise("greater", c, 0.1), a, b)], points, rng)


@pytest.mark.parametrize("function", ["sign", "greater", "greater_equal", "less", "less_equal"])
def test_piecewise_constant_functions_have_no_derivative(function):
    x, y = Input("x", (3,)), Input("y", (3,))
    out = ex.pointwise(function, x) if function == "sign" else ex.pointwise(function, x, y)
    assert jvp([out], {x: x}) == [None]
    assert vjp([out], [Literal(1.0)], [x]) == [None]


def test_choices_at_kinks():
    x = Input("x", (3,))
    points = {x: np.array([-1.0, 0.0, 2.0])}
    (slope,) = run(gradient(ex.total(abs(x)), [x]), points)
    np.testing.assert_array_equal(slope, [-1.0, 0.0, 1.0])
    z = Input("z", (2,), "complex")
    (slope,) = run(gradient(ex.total(abs(z)), [z]), {z: np.array([0j, 3 + 4j])})
    np.testing.assert_allclose(slope, [0.0, 0.6 + 0.8j], atol=1e-15)
    (slope,) = run(gradient(ex.total(ex.maximum(x, 0.0)), [x]), points)
    np.testing.assert_array_equal(slope, [0.0, 0.0, 1.0])


def test_masked_square_roots_give_finite_gradients():
    x = Input("x", (3,))
    norm = ex.sqrt(ex.norm_squared(x))
    (slope,) = run(gradient(norm, [x]), {x: np.zeros(3)})
    np.testing.assert_array_equal(slope, np.zeros(3))


def test_unknown_function_is_refused():
    x = Input("x", (3,))
    with pytest.raises(UnsupportedError, match="erf has no derivative rule"):
        gradient(ex.total(ex.pointwise("erf", x)), [x])


# The other nodes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(
    ("axes", "keepdims"),
    [(None, False), ((-1,), True), ((-2, -1), True), ((-3,), True), ((-2,), False), ((-3, -1), False)],
)
def test_sums(axes, keepdims, kind, rng):
    x = Input("x", (2, 3, 4), kind)
    check([Reduce("sum", ex.square(x), axes, keepdims)], {x: draw(rng, x.shape, kind)}, rng)


def test_sum_without_kept_axes_is_pushed(rng):
    x, d = Input("x", (2, 3)), Input("d", (2, 3))
    (moved,) = jvp([Reduce("sum", ex.square(x), (-1,))], {x: d})
    points = {x: draw(rng, (2, 3), "real"), d: draw(rng, (2, 3), "real")}
    np.testing.assert_allclose(run([moved], points)[0], (2 * points[x] * points[d]).sum(axis=-1), rtol=1e-14)


@pytest.mark.parametrize("function", ["max", "min"])
def test_other_reductions_are_refused(function):
    x = Input("x", (3,))
    with pytest.raises(UnsupportedError, match=f"reduction by {function}"):
        vjp([Reduce(function, x, None)], [Literal(1.0)], [x])
    with pytest.raises(UnsupportedError, match=f"reduction by {function}"):
        jvp([Reduce(function, x, None)], {x: x})


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("shape", "target"), [((), (3,)), ((3,), (2, 3)), ((3, 1), (3, 4)), ((1,), (2, 5))])
def test_broadcast(shape, target, kind, rng):
    x = Input("x", shape, kind)
    check([Broadcast(ex.square(x), target)], {x: draw(rng, shape, kind)}, rng)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("adjoint", [False, True])
def test_apply_with_a_batch(kind, adjoint, rng):
    window = Window((4, 5), (1, 0), (3, 4))
    x = Input("x", (2, *(window.out_shape if adjoint else window.in_shape)), kind)
    check([Apply(window, ex.square(x), adjoint)], {x: draw(rng, x.shape, kind)}, rng)


@pytest.mark.parametrize("kinds", [("real", "real"), ("complex", "real"), ("real", "complex"), ("complex", "complex")])
@pytest.mark.parametrize(
    ("form", "left", "right"),
    [
        ("Mx", (3, 4), (4,)),
        ("Mx", (3, 4), (2, 5, 4)),
        ("MTx", (3, 4), (3,)),
        ("MTx", (3, 4), (2, 3)),
        ("xyT", (3,), (4,)),
        ("xyT", (2, 3), (2, 4)),
    ],
)
def test_products(form, left, right, kinds, rng):
    a, b = Input("a", left, kinds[0]), Input("b", right, kinds[1])
    check([Product(form, a, b)], {x: draw(rng, x.shape, x.kind) for x in (a, b)}, rng)
    check([Product(form, ex.square(a), Constant(draw(rng, right, kinds[1])))], {a: draw(rng, left, kinds[0])}, rng)
    check([Product(form, Constant(draw(rng, left, kinds[0])), ex.square(b))], {b: draw(rng, right, kinds[1])}, rng)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("kinds", [("real", "real"), ("real", "complex")])
def test_join(axis, kinds, rng):
    second = (2, 3, 5) if axis == -1 else (2, 1, 4)
    a, b = Input("a", (2, 3, 4), kinds[0]), Input("b", second, kinds[1])
    out = Join((ex.square(a), b, a), axis)
    check([out], {x: draw(rng, x.shape, x.kind) for x in (a, b)}, rng)
    check([out], {a: draw(rng, a.shape, a.kind), b: draw(rng, b.shape, b.kind)}, rng)


class Doubled:
    """An opaque function with its own derivative rules."""

    def evaluate(self, lib, x):
        return 2 * x

    def push(self, current, tangents):
        return 2.0 * tangents[0]

    def pull(self, current, cotangent, active):
        return [2.0 * cotangent]


def test_calls_bring_their_own_rules(rng):
    x = Input("x", (3,))
    check([Call(Doubled(), (ex.square(x),), (3,), "real")], {x: draw(rng, (3,), "real")}, rng)


def spin(lib: Any, x: Any, out: Any = None) -> Any:
    """Real to complex: ``(1 + 2j) x``."""
    return lib.asarray(x, "complex") * (1 + 2j)


def unspin(lib: Any, y: Any, out: Any = None) -> Any:
    """The adjoint of `spin` between real spaces."""
    return lib.xp.real(lib.asarray(y, "complex") * (1 - 2j))


@node
class Spin(Linear):
    """A primitive from real to complex arrays."""

    in_shape: tuple[int, ...]

    @property
    def out_shape(self):
        return self.in_shape

    def kernel(self):
        return Kernel(spin, in_place=False)

    def adjoint_kernel(self):
        return Kernel(unspin, in_place=False)

    def out_kind(self, kind):
        return "complex"

    def adjoint_kind(self, kind):
        return "real"


@pytest.mark.parametrize("part", ["real", "imag", "abs"])
def test_primitive_from_real_to_complex_under_real_functions(part, rng):
    x = Input("x", (4,))
    out = ex.pointwise(part, Apply(Spin((4,)), ex.square(x)))
    check([out], {x: draw(rng, (4,), "real")}, rng)


def weigh(lib: Any, x: Any, weights: Any, out: Any = None) -> Any:
    """Multiply by weights."""
    return x * weights


@node
class Weighed(Linear):
    """A primitive that holds data as a field."""

    weights: Expression
    in_shape: tuple[int, ...] = field(default=(3,))

    @property
    def out_shape(self):
        return self.in_shape

    def kernel(self):
        return Kernel(weigh, (self.weights,), in_place=False)

    adjoint_kernel = kernel


def test_primitive_that_holds_a_constant(rng):
    x = Input("x", (3,))
    check([Apply(Weighed(Constant(np.arange(3.0))), ex.square(x))], {x: draw(rng, (3,), "real")}, rng)


def test_parameter_hidden_in_a_primitive_is_refused_instead_of_ignored():
    x, weights = Input("x", (3,)), Parameter(np.ones(3), name="w")
    out = Apply(Weighed(weights), x)
    with pytest.raises(UnsupportedError):
        vjp([out], [Literal(1.0)], [weights])
    with pytest.raises(UnsupportedError):
        jvp([out], {weights: Literal(1.0)})


# Graphs ---------------------------------------------------------------------------------------------------------------


def test_several_outputs_inputs_and_sharing(rng):
    a, b = Input("a", (3, 4)), Input("b", (4,), "complex")
    shared = ex.exp(0.3 * a) * b
    outputs = [shared + a, ex.square_abs(shared), ex.total(pointwise_sum(shared)), ex.square(b)]
    check(outputs, {x: draw(rng, x.shape, x.kind) for x in (a, b)}, rng)


def pointwise_sum(z):
    return ex.pointwise("real", z) + ex.pointwise("imag", z)


def test_leaves_are_differentiated_like_inputs(rng):
    lam, x = Parameter(0.7, name="lambda"), Input("x", (4,))
    value = lam**2 * ex.norm_squared(x) + ex.log(lam)
    point = draw(rng, (4,), "real")
    (slope,) = run(gradient(value, [lam]), {x: point})
    assert slope.shape == ()
    assert float(slope) == pytest.approx(1.4 * np.sum(point**2) + 1 / 0.7, rel=1e-14)


def test_an_intermediate_expression_counts_as_independent():
    x = Input("x", (2,))
    middle = ex.square(x)
    value = ex.total(ex.square(middle))
    (slope,) = run(gradient(value, [middle]), {x: np.array([1.0, 3.0])})
    np.testing.assert_array_equal(slope, [2.0, 18.0])


def test_what_does_not_matter_has_no_derivative():
    x, y = Input("x", (2,)), Input("y", (3,))
    assert vjp([ex.square(x)], [Literal(1.0)], [y]) == [None]
    assert jvp([ex.square(x)], {y: y}) == [None]
    assert vjp([ex.square(x)], [None], [x]) == [None]
    (zero,) = run(gradient(ex.total(x), [y]), {})
    np.testing.assert_array_equal(zero, np.zeros(3))


def test_real_inner_product_is_the_gradient_of_the_squared_norm(rng):
    z = Input("z", (4,), "complex")
    point = draw(rng, (4,), "complex")
    (slope,) = run(gradient(0.5 * ex.norm_squared(z), [z]), {z: point})
    np.testing.assert_allclose(slope, point, rtol=1e-14)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_hessian_products(kind, rng):
    x = Input("x", (2, 3), kind)
    weights = Constant(rng.uniform(1, 2, size=(3,)))
    values = [
        0.5 * ex.total(weights * ex.square_abs(x)),
        ex.total(ex.sqrt(1.0 + ex.square_abs(x))),
        ex.total(ex.log(1.0 + ex.square_abs(x)) * weights),
        ex.square(ex.norm_squared(x)),
        ex.total(ex.exp(pointwise_sum(x) if kind == "complex" else x)),
    ]
    point, direction, other = (draw(rng, x.shape, kind) for _ in range(3))
    d = Input("d", x.shape, kind)
    for value in values:
        (slope,) = gradient(value, [x])
        (product,) = hessian_vector(value, [x], [d])
        (found,) = run([product], {x: point, d: direction})
        (against,) = run([product], {x: point, d: other})
        step = 1e-6
        (ahead,), (behind,) = (run([slope], {x: point + s * step * direction}) for s in (1, -1))
        np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)
        assert inner(other, found) == pytest.approx(inner(against, direction), rel=1e-11)


def test_hessian_of_two_inputs_has_mixed_parts(rng):
    a, b = Input("a", (3,)), Input("b", ())
    value = ex.total(ex.square(a) * ex.exp(b))
    da, db = Input("da", (3,)), Input("db", ())
    points = {a: draw(rng, (3,), "real"), b: np.array(0.3), da: draw(rng, (3,), "real"), db: np.array(0.8)}
    in_a, in_b = run(hessian_vector(value, [a, b], [da, db]), points)
    grow = np.exp(0.3)
    np.testing.assert_allclose(in_a, 2 * grow * points[da] + 2 * points[a] * grow * 0.8, rtol=1e-13)
    expected = np.sum(2 * points[a] * grow * points[da]) + np.sum(points[a] ** 2) * grow * 0.8
    np.testing.assert_allclose(in_b, expected, rtol=1e-13)


def test_sum_of():
    x = Input("x", (2,))
    assert sum_of([]) is Literal(0.0)
    assert sum_of([x]) is x
    assert sum_of([x, x, x]) is (x + x) + x


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_derivatives_run_on_every_library(lib, kind, rng):
    x, m = Input("x", (2, 4), kind), Input("m", (3, 4), kind)
    out = Product("Mx", m, ex.square(x)) * Literal(0.5) + 1.0
    value = ex.total(abs(out) if kind == "complex" else ex.sqrt(1.0 + ex.square(out)))
    points = {v: draw(rng, v.shape, kind) for v in (x, m)}
    expected = run(gradient(value, [x, m]), points)
    found = evaluate(gradient(value, [x, m]), {v: lib.asarray(a) for v, a in points.items()}, lib)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(lib.to_numpy(a), b, rtol=1e-12)
