"""Packing of states into flat real arrays."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ShapeError
from opalg.iterations import VectorSpace
from opalg.iterations.vectors import add_scaled, dot, norm, own_vector

SHAPES = [(3,), (2, 3), (), (1, 5), (0, 4)]
KINDS = ["real", "complex", "real", "complex", "real"]


def random_state(rng, lib):
    state = []
    for shape, kind in zip(SHAPES, KINDS, strict=True):
        entries = rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind == "complex" else 0)
        state.append(lib.asarray(np.asarray(entries)))
    return state


def test_unpack_inverts_pack(rng, lib):
    space = VectorSpace(SHAPES, KINDS, lib)
    state = random_state(rng, lib)
    flat = space.pack(state)
    assert tuple(flat.shape) == (space.size,) == (3 + 12 + 1 + 10 + 0,)
    assert lib.kind_of(flat) == "real"
    for array, back in zip(state, space.unpack(flat), strict=True):
        assert array.dtype == back.dtype
        np.testing.assert_array_equal(lib.to_numpy(array), lib.to_numpy(back))


def test_inner_product_is_the_real_one_of_the_states(rng, lib):
    space = VectorSpace(SHAPES, KINDS, lib)
    u, v = random_state(rng, lib), random_state(rng, lib)
    expected = sum(np.sum(np.conj(lib.to_numpy(a)) * lib.to_numpy(b)).real for a, b in zip(u, v, strict=True))
    assert dot(space.pack(u), space.pack(v), lib) == pytest.approx(expected, rel=1e-14)


def test_pack_copies_and_writes_into_out(rng, lib):
    space = VectorSpace([(4,)], ["real"], lib)
    array = lib.asarray(rng.normal(size=4))
    kept = lib.to_numpy(array).copy()
    flat = space.pack([array])
    flat[...] = 0
    np.testing.assert_array_equal(lib.to_numpy(array), kept)
    assert space.pack([array], out=flat) is flat
    np.testing.assert_array_equal(lib.to_numpy(flat), kept)


def test_pack_takes_a_real_array_where_a_complex_one_belongs(lib):
    space = VectorSpace([(2,)], ["complex"], lib)
    (back,) = space.unpack(space.pack([lib.asarray(np.array([1.0, -2.0]))]))
    np.testing.assert_array_equal(lib.to_numpy(back), [1.0 + 0j, -2.0 + 0j])


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_pack_of_strided_and_conjugated_arrays(rng, name):
    lib = backend(name)
    values = rng.normal(size=(4, 6)) + 1j * rng.normal(size=(4, 6))
    array = lib.xp.conj(lib.asarray(values)[::2, ::3]).T
    space = VectorSpace([(2, 2), (3,)], ["complex", "real"], lib)
    flat = space.pack([array, lib.asarray(np.ones(3))])
    np.testing.assert_array_equal(lib.to_numpy(space.unpack(flat)[0]), np.conj(values[::2, ::3]).T)


def test_float32_stays_float32(rng):
    lib = backend("numpy", "float32")
    space = VectorSpace([(2,), (3,)], ["complex", "real"], lib)
    flat = space.pack([np.ones(2, np.complex64), np.ones(3, np.float32)])
    assert flat.dtype == np.float32
    assert [a.dtype for a in space.unpack(flat)] == [np.complex64, np.float32]


def test_what_does_not_fit_is_refused(lib):
    space = VectorSpace([(2,)], ["real"], lib)
    with pytest.raises(ShapeError, match="has 1 arrays, but 2"):
        space.pack([lib.zeros((2,)), lib.zeros((2,))])
    with pytest.raises(ShapeError, match=r"has shape \(2,\), but one of \(3,\)"):
        space.pack([lib.zeros((3,))])
    with pytest.raises(DtypeError, match="take its real part"):
        space.pack([lib.zeros((2,), "complex")])
    with pytest.raises(ShapeError, match="packed state"):
        space.unpack(lib.zeros((5,)))
    with pytest.raises(DtypeError, match="bool"):
        VectorSpace([(2,)], ["bool"], lib)
    with pytest.raises(ShapeError, match="as many kinds"):
        VectorSpace([(2,)], [], lib)


def test_own_vector_copies_and_checks(lib):
    given = lib.asarray(np.ones(3))
    own = own_vector(given, lib, "the start")
    own[...] = 5
    np.testing.assert_array_equal(lib.to_numpy(given), np.ones(3))
    with pytest.raises(ShapeError, match="the start must be a flat array"):
        own_vector(lib.zeros((2, 2)), lib, "the start")
    with pytest.raises(DtypeError, match="the start must be real"):
        own_vector(lib.zeros((2,), "complex"), lib, "the start")


def test_norm_survives_overflow_and_underflow_of_squares():
    lib = backend("numpy", "float32")
    for scale in (1e-30, 1e30, 1.0):
        vector = np.full(4, scale, np.float32)
        assert norm(vector, lib) == pytest.approx(2 * scale, rel=1e-6)
    assert norm(np.zeros(3, np.float32), lib) == 0.0
    assert norm(np.zeros(0, np.float32), lib) == 0.0
    assert np.isnan(norm(np.array([1.0, np.nan], np.float32), lib))
    assert norm(np.array([1.0, np.inf], np.float32), lib) == np.inf


def test_add_scaled_works_in_place(rng, lib):
    x, y = rng.normal(size=5), rng.normal(size=5)
    a, b = lib.asarray(x.copy()), lib.asarray(y.copy())
    add_scaled(a, -0.5, b, lib.empty((5,)), lib)
    np.testing.assert_allclose(lib.to_numpy(a), x - 0.5 * y, rtol=1e-15)
    np.testing.assert_array_equal(lib.to_numpy(b), y)
