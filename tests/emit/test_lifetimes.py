"""When generated steps let go of fresh arrays."""

import gc
import weakref

import numpy as np

import opalg as oa
from opalg.arrays import backend
from opalg.emit import Function
from opalg.emit.lifetimes import with_ends
from opalg.program.expression import Input

NUMPY = backend("numpy")


def test_after_the_last_reader_and_not_before_the_end_of_a_loop():
    lines = ["f1 = a(x0)", "f2 = b(f1)", "for i in range(3):", "    f2_ = f2[i]", "    c(f2_)", "o0 = d(f12)"]
    assert with_ends(lines, ["return (o0,)"]) == [
        *lines[:2],
        "del f1",
        *lines[2:5],
        "del f2, f2_",
        lines[5],
        "del f12",
    ]


def test_what_results_need_stays():
    assert with_ends(["f1 = a(x0)"], ["o0 = f1", "return (o0,)"]) == ["f1 = a(x0)"]


def test_a_chain_of_transforms_is_computed_and_its_arrays_end(rng):
    x = Input("x", (32, 32), "real")
    kernel = rng.standard_normal((3, 3))
    blur = oa.Convolve(kernel, (32, 32))
    function = Function([blur.trace_adjoint(blur.trace(x))], [x], NUMPY)
    assert "del " in function.generated.text
    array = rng.standard_normal((32, 32))
    (found,) = function.bind()(array)
    np.testing.assert_allclose(found, blur.H @ (blur @ array), atol=1e-12)


def test_hoisted_arrays_are_shared_between_functions_and_let_go_with_them(rng):
    x, leaf = Input("x", (16,), "real"), oa.Parameter(rng.standard_normal(16), name="d")
    squared = leaf.expression * leaf.expression if hasattr(leaf, "expression") else leaf * leaf
    shared: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
    first, second = (Function([squared * (x + i)], [x], NUMPY).bind({}, {}, shared) for i in (1.0, 2.0))
    own = [next(a for a in b.data if getattr(a, "shape", ()) == (16,)) for b in (first, second)]
    assert own[0] is own[1]
    np.testing.assert_allclose(second(np.ones(16))[0], 3 * np.asarray(leaf.value) ** 2)
    del first, second, own
    gc.collect()
    assert len(shared) == 0


def test_shared_arrays_belong_to_one_precision(rng):
    x, leaf = Input("x", (16,), "real"), oa.Parameter(rng.standard_normal(16), name="d")
    shared: dict = {}
    for name in ("float64", "float32"):
        bound = Function([leaf * leaf * x], [x], backend("numpy", name)).bind({}, {}, shared)
        (found,) = bound(np.ones(16, dtype=name))
        assert found.dtype == name
