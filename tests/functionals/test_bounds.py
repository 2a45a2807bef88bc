"""Boxes some of whose bounds are infinite, and affine sets whose operator is not onto."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import Backend
from opalg.errors import NonFiniteError, ParameterError
from opalg.functionals import Box, Indicator, affine, box
from opalg.leaves import Constant, Parameter
from opalg.nodes import substitute
from opalg.operators import DCT, Diagonal, Gradient, Mask
from opalg.program.interpreter import number
from tests.functionals.members import SHAPE, some

INF = np.inf


def test_infinite_entries_are_no_bounds(lib: Backend) -> None:
    s = box([-INF, 0.0, -INF, -1.0], [INF, INF, 1.0, 1.0])
    v = lib.asarray(np.array([-9.0, -9.0, 9.0, 9.0]))
    assert np.array_equal(lib.to_numpy(s.project(v)), [-9.0, 0.0, 1.0, 1.0])
    assert s.contains(s.project(v)) and not s.contains(v)
    f = Indicator(s).conjugate
    q = lib.asarray(np.array([0.0, -2.0, 3.0, -4.0]))
    assert f.value(q) == 0.0 * -2 + 1.0 * 3 + 4.0
    assert np.isinf(f.value(lib.asarray(np.array([1e-3, 0.0, 0.0, 0.0]))))
    nearest = lib.to_numpy(f.prox(lib.asarray(np.array([5.0, 5.0, -5.0, 5.0])), 0.0))
    assert np.array_equal(nearest, [0.0, 0.0, 0.0, 5.0])
    assert not Indicator(s).offers("dual_gauge") and Indicator(box([0.0], [1.0])).offers("dual_gauge")


def test_no_bound_at_all_on_one_side() -> None:
    assert Box([-INF, -INF], 1.0) is Box(None, 1.0) and Box(0.0, INF) is Box(0.0, None)
    with pytest.raises(ParameterError, match="lower or an upper"):
        box(-INF, INF)
    for low, high in (([INF, 0.0], None), (None, [-INF, 0.0]), (INF, None), (None, -INF)):
        with pytest.raises(ParameterError, match="empty"):
            box(low, high)
    with pytest.raises(NonFiniteError):
        box([np.nan, -INF], None)
    with pytest.raises(NonFiniteError):
        box(None, Parameter(np.array([1.0, INF])))


def test_text_conditions_and_energies() -> None:
    low = np.array([-INF, 0.5, -INF])
    assert repr(box(low, 1.0)) == "box(data, 1)"
    assert box(low, None).text("x") == "x >= data"
    high = Parameter(np.ones(3), name="high")
    ((gap, _, _),) = box(low, high).define_conditions()
    assert number(gap) == 0.5 and number(substitute(gap, {high: Constant(np.zeros(3))})) == -0.5
    x = oa.Variable((3,))
    y = np.array([-4.0, -4.0, 4.0])
    E = oa.sum_squares(x - y) + oa.indicator(box(low, None), x) + oa.indicator(box(None, [INF, INF, 1.0]), x)
    assert np.allclose(oa.minimize(E).x, [-4.0, 0.5, 1.0], atol=1e-8)
    assert np.array_equal(box(low.astype(np.float32), 1.0).project(y.astype(np.float32)), [-4.0, 0.5, 1.0])


def test_affine_sets_of_operators_that_are_not_onto() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(SHAPE) < 0.5
    b, v = np.where(mask, rng.standard_normal(SHAPE), 0.0), some(rng)
    assert np.allclose(affine(Mask(mask), b).project(v), np.where(mask, b, v))
    scales = np.where(mask, 2.0, 0.0)
    s = affine(Diagonal(scales), 2.0 * b)
    assert np.allclose(s.project(v), np.where(mask, b, v)) and s.contains(s.project(v))
    assert Indicator(s).conjugate.value(np.where(mask, 1.0, 0.0)) == pytest.approx(np.sum(b))
    with pytest.raises(ParameterError, match="not in the range"):
        affine(Diagonal(scales), 1.0)
    offset = Parameter(b, name="b")
    ((slack, _, sentence),) = affine(Mask(mask), offset).define_conditions()
    assert number(slack) > 0 and "range" in sentence
    assert number(substitute(slack, {offset: Constant(np.ones(SHAPE))})) < 0
    assert affine(DCT(SHAPE), offset).define_conditions() == []


def test_affine_sets_with_a_fast_inverse_take_batches_and_complex_arrays() -> None:
    rng = np.random.default_rng(1)
    z = np.stack([some(rng, "complex") for _ in range(3)])
    scales = rng.uniform(1.0, 2.0, SHAPE) * np.exp(1j * rng.standard_normal(SHAPE))
    for A in (oa.FFT(SHAPE), Diagonal(scales), Diagonal(scales) @ oa.FFT(SHAPE)):
        s = affine(A, 1.0 + 2.0j)
        p = s.project(z)
        assert np.allclose(A @ p, 1.0 + 2.0j) and np.allclose(p[1], s.project(z[1]))
        assert np.allclose(Indicator(s).prox(z, np.arange(3.0)), p)
    with pytest.raises(oa.errors.UnsupportedError, match="A @ x == b"):
        affine(Gradient(SHAPE), 0.0)
