"""Taking entries at positions and adding them back, on every library and in stand-alone programs."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit.function import Function
from opalg.errors import DtypeError
from opalg.leaves import Indices
from opalg.program.expression import Apply, Input
from opalg.program.linear import Take

POSITIONS = [[3, 0, 3, 1, 3], [2, 0], [], [0, 2, 3, 0] * 75]


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("shape", "axis"), [((2, 4), -1), ((4, 3), -2), ((40, 4, 50), -2)])
@pytest.mark.parametrize("positions", POSITIONS, ids=str)
def test_take_and_its_adjoint(library, kind, shape, axis, positions):
    rng = np.random.default_rng(0)
    taking = Take(shape, Indices(np.array(positions, dtype=int)), axis)
    x, y = (
        rng.standard_normal(s) + (1j * rng.standard_normal(s) if kind == "complex" else 0.0)
        for s in (shape, taking.out_shape)
    )
    back = np.zeros_like(x)
    np.add.at(np.moveaxis(back, axis, 0), np.array(positions, dtype=int), np.moveaxis(y, axis, 0))
    lib, inputs = backend(library), (Input("x", shape, kind), Input("y", taking.out_shape, kind))
    outputs = [Apply(taking, inputs[0]), Apply(taking, inputs[1], adjoint=True)]
    function = Function(outputs, inputs, lib)
    bound = function.bind()
    arrays = lib.asarray(x), lib.asarray(y)
    names: dict = {}
    exec(function.source, names)
    alone = names[function.name](arrays, bound.data, names["new_buffers"](), None)
    for found in (bound(*arrays), alone):
        assert np.array_equal(lib.to_numpy(found[0]), np.take(x, positions, axis=axis).reshape(taking.out_shape))
        assert np.allclose(lib.to_numpy(found[1]), back, rtol=0, atol=1e-13)


def test_positions_are_integers():
    with pytest.raises(DtypeError, match="integers"):
        Indices(np.array([1.5]))
