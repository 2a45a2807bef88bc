"""Every emitter against the reference interpreter, and what a bound function promises."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.arrays.backend import Backend
from opalg.emit import Function, fuse
from opalg.errors import ParameterError, ShapeError
from opalg.leaves import Constant, Parameter
from opalg.program.expression import Apply, Broadcast, Call, Input, Literal, Pointwise, Reduce, maximum, square, total

LIBRARIES = ["numpy", "torch", "array_api_strict"]
COMPLEX = {"float32": "complex64", "float64": "complex128"}


def plain(lib: Backend, value: Any) -> np.ndarray:
    return lib.to_numpy(value) if hasattr(value, "shape") else np.asarray(value)


def assert_equal_to_reference(program: Any, bound: Any, seed: int, out: Any = None) -> Any:
    lib, precision = bound.lib, bound.lib.precision
    arrays = program.arrays(seed)
    given = [lib.asarray(a) for a in arrays]
    got = bound(*given, out=out)
    for value, wanted, e in zip(got, program.expected(arrays, 0.7), program.outputs, strict=True):
        found = plain(lib, value)
        assert found.shape == wanted.shape
        if e.shape:
            assert str(found.dtype) == (COMPLEX[precision] if e.kind == "complex" else precision)
        error = np.abs(found - wanted).max() / (1 + np.abs(wanted).max())
        assert error < (2e-4 if precision == "float32" else 1e-10)
    for array, untouched in zip(given, arrays, strict=True):
        assert np.array_equal(lib.to_numpy(array), lib.to_numpy(lib.asarray(untouched)))
    return got


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_give_the_numbers_of_the_interpreter(
    library: str, precision: str, seed: int, random_program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "BLOCK_ENTRIES", 40)  # several blocks even for small arrays
    program = random_program(seed, steps=45)
    bound = Function(program.outputs, program.inputs, backend(library, precision)).bind({}, {program.control: 0.7})
    first = assert_equal_to_reference(program, bound, seed=1)
    kept = [np.array(plain(bound.lib, v)) for v in first]
    second = assert_equal_to_reference(program, bound, seed=2)
    for value, before in zip(first, kept, strict=True):
        assert np.array_equal(plain(bound.lib, value), before)  # fresh results, not buffers that the next call reuses
    arrays = [v if e.shape else None for v, e in zip(second, program.outputs, strict=True)]
    third = assert_equal_to_reference(program, bound, seed=3, out=tuple(arrays))
    for value, array in zip(third, arrays, strict=True):
        assert array is None or value is array or np.shares_memory(plain(bound.lib, value), plain(bound.lib, array))


def test_a_program_of_usual_size_is_cut_into_blocks(random_program: Any) -> None:
    program = random_program(1, n=300, m=211, steps=40)
    bound = Function(program.outputs, program.inputs, backend("numpy", "float64")).bind({}, {program.control: 0.7})
    assert "for i in range(" in bound.source
    assert_equal_to_reference(program, bound, seed=1)


def test_results_share_no_memory_with_inputs_or_leaves() -> None:
    x, z = Input("x", (6, 5)), Input("z", (6, 5), "complex")
    leaf = Constant(np.ones((6, 5)))
    lib = backend("numpy", "float64")
    bound = Function([x, leaf, Pointwise("real", (z,)), x, Broadcast(Literal(2.0), (2, 3))], [x, z], lib).bind()
    a, b = np.ones((6, 5)), np.full((6, 5), 1 + 2j)
    got = bound(a, b)
    for array in got:
        assert not any(np.shares_memory(array, other) for other in (a, b, leaf.value, *bound.data))
    assert not np.shares_memory(got[0], got[3])
    np.testing.assert_array_equal(got[4], np.full((2, 3), 2.0))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_view_that_a_kernel_returns_is_never_written_over(library: str, primitives: Any) -> None:
    x = Input("x", (4, 3))
    rows = Apply(primitives["FirstRows"]((4, 3), 4), x)
    again = Apply(primitives["FirstRows"]((4, 3), 4), 2.0 * x)
    lib = backend(library, "float64")
    bound = Function([rows + 1.0, rows, again * 3.0 + 2.0 * x], [x], lib).bind()
    a = np.arange(12.0).reshape(4, 3)
    given = lib.asarray(a)
    for _ in range(2):
        got = [plain(lib, v) for v in bound(given)]
        for value, wanted in zip(got, (a + 1, a, 8 * a), strict=True):
            np.testing.assert_allclose(value, wanted)
    assert np.array_equal(plain(lib, given), a)
    assert not np.shares_memory(got[1], plain(lib, given))


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_kernels_are_lent_scratch_that_nothing_else_uses_meanwhile(library: str, kind: str, primitives: Any) -> None:
    lib, turn = backend(library, "float64"), primitives["Reversed"]((3,))
    x, y = Input("x", (2, 3), kind), Input("y", (2, 4), kind)
    once = Apply(turn, 2.0 * x)
    more = 3.0 * y  # of the shape of the scratch, and alive over both calls
    outputs = [once, Apply(turn, once + 1.0, True), more * y, Apply(turn, x) - once]
    bound = Function(outputs, [x, y], lib).bind()
    a, b = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(2, 4)
    if kind == "complex":
        a, b = a * (1 + 2j), b * (2 - 1j)
    got = bound(lib.asarray(a), lib.asarray(b))
    for value, wanted in zip(got, [2 * a[:, ::-1], 2 * a + 1, 3 * b * b, -a[:, ::-1]], strict=True):
        np.testing.assert_allclose(plain(lib, value), wanted)
    assert ("scratch=(b" in bound.source) == (library != "array_api_strict")
    namespace: dict[str, Any] = {}
    exec(compile(bound.source, "source", "exec"), namespace)
    alone = namespace["step"]([lib.asarray(a), lib.asarray(b)], bound.data, namespace["new_buffers"]())
    for value, wanted in zip(alone, got, strict=True):
        np.testing.assert_array_equal(plain(lib, value), plain(lib, wanted))


def test_scalars_are_python_numbers_on_numpy_and_never_promote() -> None:
    x, s = Input("x", (300,)), Input("s", ())
    lib = backend("numpy", "float32")
    scale = Parameter(np.float64(0.3))
    length = Pointwise("sqrt", (total(square(x)),))
    bound = Function([x * scale / length, length * s, Pointwise("greater", (length, s))], [x, s], lib).bind()
    array, product, larger = bound(np.ones(300, "f"), np.float64(2.0))
    assert array.dtype == np.float32
    assert type(product) is float and product == pytest.approx(2 * np.sqrt(300.0))
    assert larger is True


def test_sums_of_single_precision_are_gathered_in_double() -> None:
    n = 1 << 22
    x = Input("x", (n // 64, 64))
    bound = Function([total(square(x))], [x], backend("numpy", "float32")).bind()
    a = np.full(x.shape, 0.1, "f")
    assert bound(a)[0] == pytest.approx(n * float(np.float32(0.1)) ** 2, rel=2e-7)


def test_scalar_arithmetic_follows_numpy_at_its_edges() -> None:
    s = Input("s", ())
    lib = backend("numpy", "float64")
    bound = Function([1.0 / s, Pointwise("sqrt", (s,)), Pointwise("exp", (s,)), maximum(s, 1.0)], [s], lib).bind()
    with np.errstate(all="ignore"):
        assert bound(0.0)[0] == np.inf
        assert np.isnan(bound(-1.0)[1])
        assert bound(1e4)[2] == np.inf
        assert np.isnan(bound(np.nan)[3])


def test_a_pointwise_step_allocates_nothing_on_numpy() -> None:
    x, y = Input("x", (2, 300, 301)), Input("y", (1, 300, 301))
    moved = x - 0.1 * y
    length = Pointwise("sqrt", (Reduce("sum", square(moved), (-3,), keepdims=True),))
    shrunk = moved * maximum(1.0 - Pointwise("safe_divide", (Literal(0.5), length)), 0.0)
    bound = Function([shrunk, y + length, total(square(shrunk - x))], [x, y], backend("numpy", "float32")).bind()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(x.shape).astype("f"), rng.standard_normal(y.shape).astype("f")
    out = bound(a, b)
    bound(a, b, out=out)
    tracemalloc.start()
    try:
        bound(a, b, out=out)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        bound(a, b, out=out)
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert grown < 10_000  # views and loop variables; one block of one array would be 200 kB


def test_only_what_depends_on_changed_controls_is_computed_again() -> None:
    x = Input("x", (4,))
    rho, tau = (Input(n, (), "real", "control") for n in ("rho", "tau"))
    data = Constant(np.arange(1.0, 5.0))
    bound = Function([x / (data + rho) + tau * Pointwise("exp", (data,))], [x, rho, tau], backend("numpy")).bind(
        {}, {rho: 1.0, tau: 0.0}
    )
    before = bound.data
    bound.set_controls({rho: 3.0})
    changed = [i for i, (a, b) in enumerate(zip(before, bound.data, strict=True)) if a is not b]
    comments = [bound.function.generated.data[i].comment({}) for i in changed]
    assert len(changed) == 1 and "rho" in comments[0]
    np.testing.assert_allclose(bound(np.ones(4))[0], 1 / (data.value + 3.0))
    kept = bound.data
    bound.set_controls({rho: 3.0})
    assert bound.data is kept


def test_bindings_replace_the_values_of_leaves() -> None:
    x, weight = Input("x", (3,)), Parameter(np.ones(3), name="weight")
    function = Function([x * square(weight)], [x], backend("numpy"))
    np.testing.assert_allclose(function.bind()(np.ones(3))[0], 1.0)
    np.testing.assert_allclose(function.bind({weight: np.full(3, 3.0)})(np.ones(3))[0], 9.0)
    with pytest.raises(ShapeError, match="'weight' has shape \\(3,\\), but was bound to an array of shape \\(4,\\)"):
        function.bind({weight: np.ones(4)})


def test_wrong_use_is_refused() -> None:
    x, other = Input("x", (3,)), Input("other", (3,))
    rho = Input("rho", (), "real", "control")
    with pytest.raises(ParameterError, match="'other'"):
        Function([x + other], [x], backend("numpy"))
    function = Function([x * rho], [x, rho], backend("numpy"))
    with pytest.raises(ParameterError, match="rho"):
        function.bind()
    with pytest.raises(ParameterError, match="is not a control"):
        function.bind({}, {x: 1.0})
    with pytest.raises(ShapeError, match="takes 1 arrays"):
        function.bind({}, {rho: 1.0})()


class Halves:
    """An opaque function of arrays."""

    def evaluate(self, lib: Backend, x: Any) -> Any:
        return x * 0.5


@pytest.mark.parametrize("library", LIBRARIES)
def test_opaque_functions_are_called(library: str) -> None:
    x = Input("x", (4, 3))
    halved = Call(Halves(), (x + 1.0,), (4, 3), "real")
    lib = backend(library)
    bound = Function([halved * 4.0, halved], [x], lib).bind()
    got = bound(lib.zeros((4, 3)))
    np.testing.assert_allclose(plain(lib, got[0]), 2.0)
    np.testing.assert_allclose(plain(lib, got[1]), 0.5)


def test_neither_names_nor_text_of_users_reach_generated_code() -> None:
    name = 'lambda\nimport os; raise SystemExit  # "'
    x, weight = Input("x\nraise SystemExit", (3,)), Parameter(2.0, name=name)
    bound = Function([x * weight], [x], backend("numpy"), name="not a name").bind()
    code = [line.split("#")[0] for line in bound.source.splitlines()]
    assert not any("SystemExit" in line or "import os" in line for line in code)
    namespace: dict[str, Any] = {}
    exec(compile(bound.source, "source", "exec"), namespace)
    (got,) = namespace["step"]((np.ones(3),), bound.data, namespace["new_buffers"]())
    np.testing.assert_allclose(got, 2.0)


def test_infinite_literals_and_empty_arrays_work() -> None:
    x = Input("x", (0, 3))
    y = Input("y", (2, 3))
    lib = backend("numpy")
    bound = Function([x + 1.0, total(x), Pointwise("minimum", (y, Literal(float("inf"))))], [x, y], lib).bind()
    empty, nothing, same = bound(np.zeros((0, 3)), np.ones((2, 3)))
    assert empty.shape == (0, 3) and nothing == 0.0
    np.testing.assert_array_equal(same, np.ones((2, 3)))


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("seed", range(4))
def test_random_programs_on_a_graphics_card(library: str, seed: int, random_program: Any) -> None:
    program = random_program(seed, steps=45)
    lib = backend(library, "float64", "cuda")
    bound = Function(program.outputs, program.inputs, lib).bind({}, {program.control: 0.7})
    assert_equal_to_reference(program, bound, seed=1)
