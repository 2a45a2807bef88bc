"""Convolutions by direct sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve

from opalg.arrays import backend
from opalg.emit.function import Function
from opalg.leaves import Constant, Parameter
from opalg.operators import Convolve, MultiConvolve
from opalg.operators.direct import DirectSums, considers_sums
from opalg.program.expression import Apply, Input
from opalg.program.interpreter import evaluate
from tests.operators.dense import real_matrix

BOUNDARIES = ["periodic", "zero", "reflect", "symmetric", "edge", "valid", "full"]


def members(boundary, rng):
    """Convolutions with every geometry that the sums have to get right."""
    kernel, line = rng.standard_normal((3, 2)), rng.standard_normal(3)
    bank, grouped = rng.standard_normal((3, 2, 2, 3)), rng.standard_normal((4, 1, 2))
    found = [
        MultiConvolve(rng.standard_normal((2, 3, 2)), (4, 5), boundary),
        MultiConvolve(bank, (4, 4), boundary, origin=(0, 2)),
        MultiConvolve(bank, (5, 4), boundary, stride=(2, 1)),
        MultiConvolve(grouped, (5,), boundary, groups=2, stride=2),
    ]
    if boundary != "periodic":
        found += [Convolve(kernel, (4, 5), boundary), Convolve(line, (5,), boundary, origin=(2,))]
    return found


def moved(made, library, kept=False):
    """The compiled map, with sums where ``kept``."""
    lib = backend(library)
    if kept:
        lib.sums_pay = lambda *sizes: True
    x = Input("x", (2, *made.in_shape))
    return lib, Function([Apply(DirectSums(made), x)], [x], lib).bind()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_sums_equal_transforms(library, boundary, rng):
    for made in members(boundary, rng):
        x = rng.standard_normal((2, *made.in_shape))
        source = Input("x", x.shape)
        (wanted,) = evaluate([made.by_transforms(source)], {source: x}, backend())
        for kept in (False, True):
            lib, bound = moved(made, library, kept)
            assert np.allclose(lib.to_numpy(bound(lib.asarray(x))[0]), wanted, atol=1e-12)
            assert bound.cost.transforms == 0 or not kept
        (plain,) = evaluate([Apply(DirectSums(made), source)], {source: lib.asarray(x)}, lib)
        assert np.allclose(lib.to_numpy(plain), wanted, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_adjoint_of_the_kernel_is_that_of_the_matrix(boundary, rng):
    lib = backend()
    for made in members(boundary, rng):
        matrix, y = real_matrix(made, "real"), rng.standard_normal((2, *made.out_shape))
        source = Input("y", y.shape)
        (found,) = evaluate([Apply(DirectSums(made), source, True)], {source: y}, lib)
        assert np.allclose(found.reshape(2, -1), y.reshape(2, -1) @ matrix, atol=1e-12)


def test_torch_takes_sums_for_many_filters_and_others_transforms(rng):
    made = MultiConvolve(rng.standard_normal((8, 5, 5)), (64, 64))
    x = Input("x", (64, 64))
    costs = {name: Function([made.trace(x)], [x], backend(name)).cost.transforms for name in ("numpy", "torch")}
    assert costs == {"numpy": 2, "torch": 0}


def test_one_filter_of_a_large_image_is_transformed(rng):
    made, x = Convolve(rng.standard_normal((7, 7)), (512, 512), "valid"), Input("x", (512, 512))
    assert Function([made.trace(x)], [x], backend("torch")).cost.transforms == 2


def test_the_sums_are_those_of_scipy(rng):
    kernel, image = rng.standard_normal((3, 3)), rng.standard_normal((8, 8))
    lib, bound = moved(Convolve(kernel, (8, 8), "zero"), "torch", kept=True)
    found = lib.to_numpy(bound(lib.asarray(np.stack([image, image])))[0])[1]
    assert np.allclose(found, convolve(image, kernel, "same"), atol=1e-12)


def test_only_constant_real_filters_are_considered(rng):
    value = rng.standard_normal((3, 3))
    assert considers_sums(Constant(value), (64, 64), 1)
    assert not considers_sums(Parameter(value, name="k"), (64, 64), 1)
    assert not considers_sums(Constant(value + 1j), (64, 64), 1)
    assert not considers_sums(Constant(np.ones((31, 31))), (512, 512), 1)
    assert not considers_sums(Constant(np.ones((1, 1, 1, 1))), (2, 2, 2, 2), 1)


def test_complex_images_pass_both_ways(rng):
    made = MultiConvolve(rng.standard_normal((4, 3, 3)), (6, 6))
    z = rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6))
    lib = backend("torch")
    assert np.allclose(lib.to_numpy(made @ lib.asarray(z)), made @ z, atol=1e-12)


def test_its_source_stands_alone(rng):
    lib, bound = moved(MultiConvolve(rng.standard_normal((8, 3, 3)), (6, 7), "symmetric"), "torch", kept=True)
    names = {}
    exec(compile(bound.source, "source", "exec"), names)
    a = lib.asarray(rng.standard_normal((2, 6, 7)))
    (found,) = names["step"]((a,), bound.data, names["new_buffers"]())
    assert np.array_equal(lib.to_numpy(found), lib.to_numpy(bound(a)[0]))
