"""Sampling and splatting: adjoint to each other, and their derivatives of first and second order."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.leaves import Parameter
from opalg.program.differentiate import gradient, hessian_vector, jvp
from opalg.program.expression import Apply, Input, inner
from opalg.program.interpreter import evaluate
from opalg.program.sampling import BOUNDARIES, Component, fold, sample, splat

SHAPE, POINTS = (3, 4), (2, 3)


def nodes(kind="real"):
    """A grid, values at points, and coordinates for each axis."""
    grid, values = Input("grid", (2, *SHAPE), kind), Input("values", (2, *POINTS), kind)
    return grid, values, [Input(f"p{k}", POINTS) for k in range(2)]


def arrays(rng, wanted):
    drawn = {n: rng.uniform(-0.9, 3.9, n.shape) for n in wanted}
    return {n: a + 1j * rng.standard_normal(n.shape) if n.kind == "complex" else a for n, a in drawn.items()}


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_splat_is_the_adjoint(rng, lib, boundary, kind):
    grid, values, positions = nodes(kind)
    at = {n: lib.asarray(a) for n, a in arrays(rng, [grid, values, *positions]).items()}
    there = inner(sample(grid, positions, SHAPE, boundary), values)
    back = inner(grid, splat(values, positions, SHAPE, boundary))
    a, b = (lib.item(v) for v in evaluate([there, back], at, lib))
    assert a == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_derivatives_against_differences(rng, boundary, kind):
    """Forward derivatives, gradients and Hessians of <splat(sample(x, p), q), z> in all that it depends on."""
    lib, h = backend(), 1e-6
    grid, values, p = nodes(kind)
    q = [Input(f"q{k}", POINTS) for k in range(2)]
    read = sample(grid, p, SHAPE, boundary)
    value = inner(splat(values * read, q, SHAPE, boundary), grid)
    wrt = [grid, values, *p, *q]
    at, move = arrays(rng, wrt), arrays(rng, wrt)
    along = {n: Input(f"along {i}", n.shape, n.kind) for i, n in enumerate(wrt)}
    slopes = gradient(value, wrt)
    everything = {**at, **{along[n]: move[n] for n in wrt}}
    found = evaluate(hessian_vector(value, wrt, [along[n] for n in wrt]), everything, lib)
    (moved,) = jvp([value], along)
    assert moved is not None
    ahead, behind = ({n: at[n] + s * h * move[n] for n in wrt} for s in (1, -1))
    for exact, a, b in zip(found, evaluate(slopes, ahead, lib), evaluate(slopes, behind, lib), strict=True):
        wanted = (a - b) / (2 * h)
        assert np.allclose(exact, wanted, atol=2e-6 * np.abs(wanted).max())
    rise = (evaluate([value], ahead, lib)[0] - evaluate([value], behind, lib)[0]) / (2 * h)
    assert evaluate([moved], everything, lib)[0] == pytest.approx(rise, rel=1e-6)
    slope = sum(np.vdot(g, move[n]).real for g, n in zip(evaluate(slopes, at, lib), wrt, strict=True))
    assert slope == pytest.approx(rise, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fold_is_padding(n):
    index = np.arange(-11, 17)
    modes = {"edge": "edge", "periodic": "wrap", "reflect": "reflect", "symmetric": "symmetric"}
    for boundary, mode in modes.items():
        inside, counted = fold(backend().xp, index, n, boundary)
        assert counted is None
        assert np.array_equal(inside, np.pad(np.arange(n), (11, 17 - n), mode=mode))
    inside, counted = fold(backend().xp, index, n, "zero")
    assert np.array_equal(counted, (index >= 0) & (index < n))
    assert np.array_equal(inside[counted], np.arange(n))


def test_components(rng, lib):
    data = Parameter(rng.standard_normal((2, 3, 4)))
    value = lib.asarray(data.value)
    for axis, index in ((-1, 2), (-2, 0), (-3, 1)):
        primitive = Component((2, 3, 4), axis, index)
        (found,) = evaluate([Apply(primitive, data)], {data: value}, lib)
        assert np.array_equal(lib.to_numpy(found), np.take(data.value, index, axis))
        (back,) = evaluate([Apply(primitive, Apply(primitive, data), adjoint=True)], {data: value}, lib)
        wanted = np.zeros((2, 3, 4))
        place = [slice(None)] * 3
        place[axis] = index
        wanted[tuple(place)] = data.value[tuple(place)]
        assert np.array_equal(lib.to_numpy(back), wanted)
