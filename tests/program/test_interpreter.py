"""The reference semantics of the step language, against NumPy written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.arrays import backend
from opalg.errors import DeviceError
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Apply, Broadcast, Call, Expression, Input, Join, Literal, Product, Reduce
from opalg.program.interpreter import bind_arguments, evaluate, number
from opalg.program.linear import Kernel, Linear, Window

FUNCTIONS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "negative": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
}
COMPLEX = ["add", "subtract", "multiply", "divide", "negative", "abs", "square", "sqrt", "exp", "log", "sin", "cos"]


def draw(rng, shape, kind):
    return rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind == "complex" else 0)


def value_of(expression, bindings, lib):
    (value,) = evaluate([expression], {k: lib.asarray(v) for k, v in bindings.items()}, lib)
    assert lib.owns(value)
    assert tuple(value.shape) == expression.shape
    assert lib.kind_of(value) == expression.kind
    return lib.to_numpy(value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_elementary_functions(function, lib, rng):
    count = 2 if function in list(FUNCTIONS)[:11] else 1
    inputs = [Input(name, shape) for name, shape in (("a", (3, 1)), ("b", (4,)))][:count]
    points = {x: rng.uniform(0.5, 2, size=x.shape) for x in inputs}
    found = value_of(ex.pointwise(function, *inputs), points, lib)
    np.testing.assert_allclose(found, FUNCTIONS[function](*points.values()), rtol=1e-14)


@pytest.mark.parametrize("function", COMPLEX)
def test_elementary_functions_of_complex_numbers(function, lib, rng):
    count = 2 if function in COMPLEX[:4] else 1
    inputs = [Input("z", (3, 4), "complex"), Input("b", (4,))][:count]
    points = {x: draw(rng, x.shape, x.kind) for x in inputs}
    found = value_of(ex.pointwise(function, *inputs), points, lib)
    np.testing.assert_allclose(found, FUNCTIONS[function](*points.values()), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_parts_of_complex_numbers(kind, lib, rng):
    z = Input("z", (3,), kind)
    point = rng.normal(size=3) + (1j * rng.normal(size=3) if kind == "complex" else 0)
    for part, expected in (("real", point.real), ("imag", point.imag), ("conj", np.conj(point))):
        np.testing.assert_array_equal(value_of(ex.pointwise(part, z), {z: point}, lib), expected)


def test_logic_and_where(lib):
    x = Input("x", (4,))
    point = np.array([-2.0, -0.5, 0.5, 2.0])
    inside = ex.pointwise("logical_and", ex.pointwise("greater", x, -1.0), ex.pointwise("less", x, 1.0))
    np.testing.assert_array_equal(value_of(inside, {x: point}, lib), [False, True, True, False])
    outside = ex.pointwise("logical_not", inside)
    np.testing.assert_array_equal(value_of(outside, {x: point}, lib), [True, False, False, True])
    np.testing.assert_array_equal(value_of(ex.where(inside, x, 9.0), {x: point}, lib), [9.0, -0.5, 0.5, 9.0])
    np.testing.assert_array_equal(value_of(ex.where(inside, 1j, x), {x: point}, lib), [-2, 1j, 1j, 2])


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_safe_divide_gives_zero_for_zero_over_zero(kind, lib):
    a, b = Input("a", (3,), kind), Input("b", (3,))
    unit = 1j if kind == "complex" else 1.0
    points = {a: unit * np.array([0.0, 1.0, 3.0]), b: np.array([0.0, 2.0, 1.0])}
    np.testing.assert_array_equal(value_of(ex.safe_divide(a, b), points, lib), unit * np.array([0.0, 0.5, 3.0]))


@pytest.mark.parametrize("function", ["sum", "max", "min"])
@pytest.mark.parametrize(("axes", "keepdims"), [(None, False), ((-1,), False), ((-1,), True), ((-3, -1), True)])
def test_reductions(function, axes, keepdims, lib, rng):
    x = Input("x", (2, 3, 4))
    point = rng.normal(size=x.shape)
    expected = getattr(np, function)(point, axis=axes, keepdims=keepdims)
    np.testing.assert_allclose(value_of(Reduce(function, x, axes, keepdims), {x: point}, lib), expected, rtol=1e-14)


@pytest.mark.parametrize("function", ["all", "any"])
def test_reductions_of_truth_values(function, lib):
    x = Input("x", (3,))
    truth = Reduce(function, ex.pointwise("greater", x, 0.0), None)
    for point in ([1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]):
        assert bool(value_of(truth, {x: np.array(point)}, lib)) == getattr(np, function)(np.array(point) > 0)


def test_broadcast_is_a_fresh_array(lib):
    x = Input("x", (3, 1))
    array = lib.asarray(np.array([[1.0], [2.0], [3.0]]))
    (value,) = evaluate([Broadcast(x, (2, 3, 4))], {x: array}, lib)
    value[...] = 0
    np.testing.assert_array_equal(lib.to_numpy(array), [[1.0], [2.0], [3.0]])


@pytest.mark.parametrize("kinds", [("real", "real"), ("real", "complex"), ("complex", "complex")])
def test_products(kinds, lib, rng):
    matrix, x, y = Input("M", (3, 4), kinds[0]), Input("x", (2, 5, 4), kinds[1]), Input("y", (2, 5, 3), kinds[1])
    points = {v: draw(rng, v.shape, v.kind) for v in (matrix, x, y)}
    m, a, b = points.values()
    cases = {
        Product("Mx", matrix, x): np.einsum("ij,abj->abi", m, a),
        Product("MTx", matrix, y): np.einsum("ij,abi->abj", m, b),
        Product("xyT", y, x): np.einsum("abi,abj->ij", b, a),
    }
    for product, expected in cases.items():
        np.testing.assert_allclose(value_of(product, points, lib), expected, rtol=1e-13, atol=1e-14)


def test_join_of_mixed_kinds(lib, rng):
    a, b = Input("a", (2, 3)), Input("b", (2, 1), "complex")
    points = {a: rng.normal(size=(2, 3)), b: np.array([[1j], [2.0]])}
    expected = np.concatenate(list(points.values()), axis=-1)
    np.testing.assert_array_equal(value_of(Join((a, b), -1), points, lib), expected)


def test_windows_cut_and_put_back(lib, rng):
    window = Window((4, 5), (1, 2), (3, 5))
    x, y = Input("x", (2, 4, 5)), Input("y", (2, 2, 3))
    points = {x: rng.normal(size=x.shape), y: rng.normal(size=y.shape)}
    np.testing.assert_array_equal(value_of(Apply(window, x), points, lib), points[x][:, 1:3, 2:5])
    back = np.zeros((2, 4, 5))
    back[:, 1:3, 2:5] = points[y]
    np.testing.assert_array_equal(value_of(Apply(window, y, adjoint=True), points, lib), back)


class Tripled:
    def evaluate(self, lib, x):
        return 3 * x


def test_calls_are_evaluated_by_their_function(lib):
    x = Input("x", (2,))
    np.testing.assert_array_equal(value_of(Call(Tripled(), (x,), (2,), "real"), {x: np.ones(2)}, lib), [3.0, 3.0])


def test_leaves_have_values_that_bindings_override(lib):
    lam, c = Parameter(2.0), Constant(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(value_of(lam * c, {}, lib), [2.0, 4.0])
    np.testing.assert_array_equal(value_of(lam * c, {lam: np.array(5.0)}, lib), [5.0, 10.0])


def test_known_values_are_used_and_extended(lib):
    x = Input("x", (2,))
    inside = ex.exp(x)
    known = {inside: lib.asarray(np.array([10.0, 20.0]))}
    (value,) = evaluate([inside + 1.0], {x: lib.zeros((2,))}, lib, known)
    np.testing.assert_array_equal(lib.to_numpy(value), [11.0, 21.0])
    assert inside + 1.0 in known


def test_a_shared_node_is_evaluated_once(lib):
    calls = []

    class Counting:
        def evaluate(self, lib, x):
            calls.append(1)
            return x

    x = Input("x", ())
    shared = Call(Counting(), (x,), (), "real")
    evaluate([shared + ex.exp(shared), ex.square(shared)], {x: lib.zeros(())}, lib)
    assert calls == [1]


def test_a_missing_input_is_named(lib):
    with pytest.raises(KeyError, match="'noisy' has no array"):
        evaluate([Input("noisy", (2,)) + 1.0], {}, lib)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_float32_is_kept(name):
    lib = backend(name, "float32")
    x, z = Input("x", (2,)), Input("z", (2,), "complex")
    points = {x: lib.asarray(np.ones(2)), z: lib.asarray(np.ones(2, complex))}
    outputs = [0.1 * x + Constant(np.ones(2)), x * 2.0, Literal(1j) * z, ex.total(x), ex.safe_divide(x, x), abs(z)]
    for output, value in zip(outputs, evaluate(outputs, points, lib), strict=True):
        assert str(value.dtype).endswith("complex64" if output.kind == "complex" else "float32")


def sparse_product(lib, x, matrix, out=None):
    return lib.sparse_matmul(matrix, x)


@node
class Sparse(Linear):
    """A primitive around a sparse matrix."""

    matrix: Expression
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    def kernel(self):
        return Kernel(sparse_product, (self.matrix,), in_place=False)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_primitive_may_hold_a_sparse_constant(name, rng):
    lib = backend(name)
    matrix = scipy.sparse.random(5, 4, density=0.5, random_state=1, format="csr")
    x = Input("x", (3, 4))
    point = rng.normal(size=(3, 4))
    found = value_of(Apply(Sparse(Constant(matrix), (4,), (5,)), x), {x: point}, lib)
    np.testing.assert_allclose(found, point @ matrix.toarray().T, rtol=1e-13)


def test_bind_arguments(lib):
    leaf = Constant(np.array([1.0, 2.0]))
    bound = bind_arguments((leaf, 3, "ortho", (1, 2)), lib)
    assert lib.owns(bound[0])
    assert bound[1:] == [3, "ortho", (1, 2)]


def test_number():
    lam = Parameter(0.5)
    assert number(Literal(2.5)) == 2.5
    assert number(lam**2) == 0.25
    assert number(ex.largest(Constant(np.array([1.0, 7.0])))) == 7.0
    assert number(lam, backend("numpy"), {lam: np.array(3.0)}) == 3.0


def test_unknown_backend_is_named():
    with pytest.raises(DeviceError, match="numpy, torch, cupy, array_api_strict"):
        backend("jax")
