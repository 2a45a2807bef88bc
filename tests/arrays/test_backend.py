"""Every array library gives the same numbers through the same few methods."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from opalg.arrays import Backend, backend, backend_of, library_name, precision_of
from opalg.errors import DeviceError, DtypeError, UnsupportedError

NAMES = ["numpy", "torch", "array_api_strict"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_asarray_takes_every_library_and_gives_the_working_precision(name, precision, rng):
    lib = backend(name, precision)
    values = rng.normal(size=(2, 3)).astype(np.float32).astype(float)
    for other in NAMES:
        source = backend(other).asarray(values)
        array = lib.asarray(source)
        assert lib.owns(array)
        assert library_name(array) == name
        assert precision_of(array) == precision
        np.testing.assert_array_equal(lib.to_numpy(array), values)
    assert lib.kind_of(lib.asarray(values, "complex")) == "complex"
    assert precision_of(lib.asarray(values + 1j)) == precision
    assert tuple(lib.asarray(2.0).shape) == ()
    assert lib.kind_of(lib.asarray(np.array([True]))) == "bool"


@pytest.mark.parametrize("name", NAMES)
def test_asarray_of_read_only_and_reversed_arrays(name):
    values = np.arange(6.0)
    values.flags.writeable = False
    lib = backend(name)
    np.testing.assert_array_equal(lib.to_numpy(lib.asarray(values)), values)
    np.testing.assert_array_equal(lib.to_numpy(lib.asarray(values[::-2])), values[::-2])


def test_fresh_arrays(lib):
    for kind in ("real", "complex", "bool"):
        zeros = lib.zeros((2, 3), kind)
        assert tuple(zeros.shape) == tuple(lib.empty((2, 3), kind).shape) == (2, 3)
        assert lib.kind_of(zeros) == lib.kind_of(lib.empty((2, 3), kind)) == kind
        assert not lib.to_numpy(zeros).any()
    x = lib.zeros((2,), "complex")
    assert lib.empty_like(x, (4,)).dtype == lib.zeros_like(x, (4,)).dtype == x.dtype
    used = lib.asarray(np.ones(4))
    assert lib.empty_like(x, (4,), out=used) is used
    assert lib.zeros_like(x, (4,), out=used) is used
    np.testing.assert_array_equal(lib.to_numpy(used), np.zeros(4))


@pytest.mark.parametrize("function", ["add", "subtract", "multiply"])
def test_binary_functions_write_into_out(function, lib, rng):
    a, b = rng.normal(size=(2, 3)), rng.normal(size=3)
    expected = getattr(np, function)(a, b)
    first, second = lib.asarray(a), lib.asarray(b)
    np.testing.assert_array_equal(lib.to_numpy(getattr(lib, function)(first, second)), expected)
    out = lib.empty((2, 3))
    assert getattr(lib, function)(first, second, out=out) is out
    np.testing.assert_array_equal(lib.to_numpy(out), expected)
    assert getattr(lib, function)(first, second, out=first) is first
    np.testing.assert_array_equal(lib.to_numpy(first), expected)


def test_functions_with_a_python_number_keep_the_precision():
    for name in NAMES:
        lib = backend(name, "float32")
        x, out = lib.asarray(np.ones(3)), lib.empty((3,))
        assert precision_of(lib.multiply(x, 0.1)) == "float32"
        lib.multiply(x, 0.1, out=out)
        np.testing.assert_array_equal(lib.to_numpy(out), np.full(3, np.float32(0.1)))


def test_negative_matmul_and_copy(lib, rng):
    m, v = rng.normal(size=(3, 4)), rng.normal(size=4)
    a, b, out = lib.asarray(m), lib.asarray(v), lib.empty((3,))
    np.testing.assert_array_equal(lib.to_numpy(lib.negative(a)), -m)
    assert lib.matmul(a, b, out=out) is out
    np.testing.assert_allclose(lib.to_numpy(out), m @ v, rtol=1e-14)
    fresh = lib.copy(b)
    fresh[...] = 0
    np.testing.assert_array_equal(lib.to_numpy(b), v)
    assert lib.copy(b, out=fresh) is fresh
    np.testing.assert_array_equal(lib.to_numpy(fresh), v)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("shape", [(4, 6), (5, 7)])
def test_fourier_transforms(lib, shape, norm, rng):
    x = rng.normal(size=(2, *shape))
    z = x + 1j * rng.normal(size=x.shape)
    axes = (-2, -1)
    half = lib.rfftn(lib.asarray(x), axes, norm)
    np.testing.assert_allclose(lib.to_numpy(half), np.fft.rfftn(x, axes=axes, norm=norm), atol=1e-12)
    np.testing.assert_allclose(lib.to_numpy(lib.irfftn(half, shape, axes, norm)), x, atol=1e-12)
    full = lib.fftn(lib.asarray(z), axes, norm)
    np.testing.assert_allclose(lib.to_numpy(full), np.fft.fftn(z, axes=axes, norm=norm), atol=1e-12)
    np.testing.assert_allclose(lib.to_numpy(lib.ifftn(full, axes, norm)), z, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_transforms_keep_float32(name):
    lib = backend(name, "float32")
    assert precision_of(lib.rfftn(lib.asarray(np.ones((4, 4))), (-2, -1), "ortho")) == "float32"


def test_item(lib):
    assert lib.item(lib.asarray(np.array(2.5))) == 2.5
    assert lib.item(lib.asarray(np.array([1 + 2j]))[0, ...]) == 1 + 2j
    assert isinstance(lib.item(lib.asarray(np.array(2.5))), float)


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_products(name, dtype, rng):
    lib = backend(name)
    matrix = scipy.sparse.random(5, 4, density=0.5, random_state=0).astype(dtype) * (1j if dtype is complex else 1)
    x = rng.normal(size=(2, 3, 4)).astype(dtype)
    found = lib.sparse_matmul(lib.sparse(matrix), lib.asarray(x))
    np.testing.assert_allclose(lib.to_numpy(found), x @ matrix.toarray().T, atol=1e-13)


def test_a_library_without_sparse_matrices_says_so():
    lib = backend("array_api_strict")
    with pytest.raises(UnsupportedError, match="no sparse matrices; use NumPy"):
        lib.sparse(scipy.sparse.eye(2))
    with pytest.raises(UnsupportedError):
        lib.sparse_matmul(None, None)


def test_backends_are_values():
    assert backend("numpy") == backend("numpy")
    assert hash(backend("numpy")) == hash(backend("numpy"))
    assert backend("numpy") != backend("numpy", "float32")
    assert backend("numpy") != backend("torch")
    assert backend("numpy").epsilon == np.finfo(float).eps
    assert backend("torch", "float32").tiny == np.finfo(np.float32).tiny
    assert repr(backend("torch", "float32")) == "torch float32 on cpu"


def test_backend_of_an_array(lib):
    found = backend_of(lib.zeros((2,)))
    assert found.name == lib.name
    assert found.precision == "float64"
    assert backend_of(np.ones(2, np.complex64)).precision == "float32"
    assert backend_of(np.ones(2), "float32").precision == "float32"
    with pytest.raises(DtypeError, match="list is not an array"):
        backend_of([1.0])


def test_library_and_precision_names():
    assert library_name(np.ones(2)) == "numpy"
    assert library_name([1.0]) is None
    assert library_name(scipy.sparse.eye(2)) is None
    assert precision_of(np.ones(2, int)) is None


def test_what_is_not_there_is_named():
    with pytest.raises(DtypeError, match="float16"):
        backend("numpy", "float16")
    with pytest.raises(DeviceError, match="no backend 'jax'"):
        backend("jax")
    with pytest.raises(DeviceError, match="numpy has no device 'cuda'"):
        backend("numpy", device="cuda")


def test_a_missing_library_names_the_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "opalg.arrays.cupy_backend", None)
    with pytest.raises(DeviceError, match="cupy"):
        backend("cupy")


def test_torch_without_a_graphics_card_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(DeviceError, match="no CUDA device"):
        backend("torch", device="cuda")


def test_backend_is_an_interface():
    for method in ("asarray", "to_numpy"):
        with pytest.raises(NotImplementedError):
            getattr(Backend, method)(None, np.ones(2))
