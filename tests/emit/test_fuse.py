"""What is fused, where blocks are cut, and what the plan and the cost make of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit import Function, fuse
from opalg.emit.fuse import Barrier, Schedule, Sweep, schedule
from opalg.emit.hoist import Hoisting
from opalg.program.expression import Apply, Expression, Input, Join, Pointwise, Reduce, square, total


def scheduled(outputs: list[Expression], inputs: list[Input], blocked: bool = True) -> Schedule:
    return schedule(Hoisting(outputs, inputs).nodes, outputs, blocked)


def kinds(found: Schedule) -> list[str]:
    return [type(step).__name__ for step in found.steps]


def test_connected_pointwise_nodes_and_sums_are_one_sweep() -> None:
    x, y = Input("x", (8, 8)), Input("y", (8, 8))
    found = scheduled([x + 2.0 * y, total(square(x - y))], [x, y])
    assert kinds(found) == ["Sweep"]


def test_a_full_sum_ends_a_sweep_and_feeds_the_next() -> None:
    x = Input("x", (8, 8))
    scaled = x / total(square(x))
    found = scheduled([scaled], [x])
    assert kinds(found) == ["Sweep", "Sweep"]


def test_barriers_stand_between_sweeps(primitives: Any) -> None:
    x = Input("x", (8, 8))
    moved = Apply(primitives["Neighbours"]((8,), 0.5), 2.0 * x)
    assert kinds(scheduled([moved - x], [x])) == ["Sweep", "Barrier", "Sweep"]


def test_a_value_used_late_is_computed_late(primitives: Any) -> None:
    x, y = Input("x", (8, 8)), Input("y", (8, 8))
    late = x - y
    moved = Apply(primitives["Neighbours"]((8,), 0.5), x)
    found = scheduled([moved + late], [x, y])
    assert kinds(found) == ["Barrier", "Sweep"]


def test_arrays_of_different_shapes_meet_in_different_sweeps() -> None:
    x, y, c = Input("x", (5, 4)), Input("y", (7, 4)), Input("c", (4,))
    base = 2.0 * c
    a = x + base
    b = y * (base + Reduce("sum", a, (-2,), keepdims=True))
    found = scheduled([a, b], [x, y, c])
    assert all(isinstance(s, Sweep) for s in found.steps) and len(found.steps) == 2
    bound = Function([a, b], [x, y, c], backend("numpy")).bind()
    rng = np.random.default_rng(0)
    xs, ys, cs = (rng.standard_normal(e.shape) for e in (x, y, c))
    got = bound(xs, ys, cs)
    np.testing.assert_allclose(got[0], xs + 2 * cs)
    np.testing.assert_allclose(got[1], ys * (2 * cs + (xs + 2 * cs).sum(0)))


@pytest.mark.parametrize(
    ("shape", "axes", "axis"),
    [((2, 512, 512), (-3,), -2), ((1 << 18,), None, -1), ((40, 512, 512), None, -2), ((512, 4, 200), (-2,), -3)],
)
def test_the_block_axis_is_one_that_no_partial_sum_crosses(shape: Any, axes: Any, axis: int) -> None:
    x = Input("x", shape)
    e = square(x) + x if axes is None else x * Reduce("sum", square(x), axes, keepdims=True)
    (sweep,) = scheduled([e], [x]).steps
    assert isinstance(sweep, Sweep) and sweep.axis == axis
    entries = int(np.prod(shape)) // shape[axis] * sweep.step
    assert entries <= fuse.BLOCK_ENTRIES


def test_sums_over_the_axes_to_be_cut_are_gathered_over_blocks() -> None:
    x = Input("x", (3, 400, 500))
    mean = Reduce("sum", x, (-2, -1), keepdims=True) / 200000.0
    found = scheduled([x - mean], [x])
    assert kinds(found) == ["Sweep", "Sweep"]
    bound = Function([x - mean], [x], backend("numpy")).bind()
    a = np.random.default_rng(0).standard_normal(x.shape)
    np.testing.assert_allclose(bound(a)[0], a - a.mean((1, 2), keepdims=True), atol=1e-12)


def test_small_arrays_and_other_libraries_are_not_cut() -> None:
    x = Input("x", (2, 512, 512))
    (sweep,) = scheduled([square(x)], [x], blocked=False).steps
    assert isinstance(sweep, Sweep) and sweep.axis is None
    y = Input("y", (8, 8))
    assert "for i in" not in Function([square(y) + y], [y], backend("numpy")).generated.text


def test_one_pass_over_a_whole_array_is_not_cut() -> None:
    x = Input("x", (512, 512))
    (sweep,) = scheduled([0.5 * Reduce("sum", x, (-2,))], [x]).steps
    assert isinstance(sweep, Sweep) and sweep.axis is None


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("axis", [0, -1])
def test_joined_values_are_computed_where_they_belong(library: str, axis: int, primitives: Any) -> None:
    x, z = Input("x", (300, 300)), Input("z", (300, 300), "complex")
    stencil = Apply(primitives["Neighbours"]((300,), 0.5), x)
    shared = x * 3.0
    joined = Join((x, stencil, 2.0 * x + square(x), shared, shared, Pointwise("real", (square(z),))), axis)
    function = Function([joined], [x, z], backend(library))
    if library != "array_api_strict":
        assert "p1 = o0[" in function.generated.text and "p2" not in function.generated.text
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 300)), rng.standard_normal((300, 300)) + 1j
    lib, one = function.lib, Function([stencil], [x], backend("numpy")).bind()(a)[0]
    (found,) = function.bind()(lib.asarray(a), lib.asarray(b))
    expected = np.concatenate((a, one, 2 * a + a**2, 3 * a, 3 * a, (b**2).real), axis)
    np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=1e-9)


def test_buffers_are_reused_once_their_values_are_dead(primitives: Any) -> None:
    x = Input("x", (64, 64))
    e: Expression = x
    for _ in range(10):
        e = Apply(primitives["Neighbours"]((64,), 0.5), e) * 0.5
    function = Function([e], [x], backend("numpy", "float32"))
    assert function.cost.buffers == 2 * 64 * 64 * 4


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_what_waits_in_the_array_of_a_result_is_not_written_over(library: str, primitives: Any) -> None:
    x, y, z = Input("x", (6, 8)), Input("y", (6, 8)), Input("z", (6, 8))
    moved, far = (Apply(primitives["Neighbours"]((8,), 0.5), e) for e in (x, z))
    gap = y - total(square(far))
    kept = z - gap  # ends the chain of `gap`, is needed later, and must not end in the array where `moved` waits
    function = Function([moved + 2.0 * (x - gap), kept * total(z * kept)], [x, y, z], backend(library))
    a, b, c = np.random.default_rng(0).standard_normal((3, 6, 8))
    lib = function.lib
    found = [lib.to_numpy(f) for f in function.bind()(*(lib.asarray(v) for v in (a, b, c)))]
    near_a, near_c = (v + 0.5 * np.pad(v, ((0, 0), (1, 0)))[:, :-1] for v in (a, c))
    rest = c - (b - np.sum(near_c**2))
    np.testing.assert_allclose(found[0], near_a + 2 * (a - c + rest), rtol=1e-12)
    np.testing.assert_allclose(found[1], rest * np.sum(c * rest), rtol=1e-12)


def test_a_fresh_transform_is_written_over(primitives: Any) -> None:
    x = Input("x", (64, 64))
    spectrum = Apply(primitives["Spectrum"]((64, 64)), x)
    e = Apply(primitives["Spectrum"]((64, 64)), spectrum * 0.5, adjoint=True)
    function = Function([e], [x], backend("numpy"))
    assert function.cost.buffers == 0
    assert function.cost.transforms == 2
    a = np.random.default_rng(0).standard_normal((64, 64))
    np.testing.assert_allclose(function.bind()(a)[0], 0.5 * a, atol=1e-12)


def test_the_cost_counts_each_array_of_a_sweep_once(primitives: Any) -> None:
    x, y = Input("x", (100, 100)), Input("y", (100, 100))
    cost = Function([x * y + x, total(square(x - y))], [x, y], backend("numpy", "float32")).cost
    assert (cost.transforms, cost.passes, cost.traffic) == (0, 3, 3 * 40000)
    barrier = Function([Apply(primitives["Neighbours"]((100,), 0.5), x)], [x], backend("numpy")).cost
    assert (barrier.passes, barrier.buffers) == (2, 0)
    assert "2 passes over memory (160 kB)" in str(barrier)
    assert isinstance(scheduled([Apply(primitives["Neighbours"]((100,), 0.5), x)], [x]).steps[0], Barrier)
