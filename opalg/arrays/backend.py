"""A backend: one array library, on one device, at one precision. Nothing mathematical lives here.

A backend for the library ``name`` is the class in ``opalg/arrays/<name>_backend.py``; it is imported when arrays of
that library first arrive, so that ``import opalg`` never imports Torch or CuPy.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import numpy as np

from opalg.errors import DeviceError, DtypeError, UnsupportedError

PRECISIONS = ("float32", "float64")


class Backend:
    """One array library, device and working precision; kernels receive it as ``lib``.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"torch"``, ``"cupy"`` or ``"array_api_strict"``.
    xp : module
        The library's array-API namespace.
    device : object
        The library's device.
    precision : str
        ``"float32"`` or ``"float64"``.
    """

    name: ClassVar[str]
    xp: Any

    def __init__(self, precision: str = "float64", device: Any = None) -> None:
        if precision not in PRECISIONS:
            raise DtypeError(f"the working precision must be one of {PRECISIONS}, not {precision!r}")
        self.precision = precision
        self.device = self.find_device(device)
        complex_name = {"float32": "complex64", "float64": "complex128"}[precision]
        self.dtypes = {
            "real": getattr(self.xp, precision),
            "complex": getattr(self.xp, complex_name),
            "bool": getattr(self.xp, "bool", None) or self.xp.bool_,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backend) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells two backends apart."""
        return (self.name, str(self.device), self.precision)

    def __repr__(self) -> str:
        return f"{self.name} {self.precision} on {self.device}"

    @property
    def epsilon(self) -> float:
        """The spacing of 1.0 at the working precision."""
        return float(np.finfo(self.precision).eps)

    @property
    def tiny(self) -> float:
        """The smallest normal number at the working precision."""
        return float(np.finfo(self.precision).tiny)

    # What a library must answer; the array-API way stands here, libraries with better ways override it.

    def find_device(self, device: Any) -> Any:
        """The library's device for a name, or its default."""
        if device not in (None, "cpu"):
            raise DeviceError(f"{self.name} has no device {device!r}")
        return "cpu"

    def owns(self, array: Any) -> bool:
        """Whether an array belongs to this library."""
        return library_name(array) == self.name

    def asarray(self, value: Any, kind: str | None = None) -> Any:
        """An array or number as an array of this backend, of the working precision."""
        raise NotImplementedError

    def to_numpy(self, array: Any) -> np.ndarray:
        """A copy-free NumPy view where possible, else a copy."""
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        """A fresh uninitialised array."""
        return self.xp.empty(shape, dtype=self.dtypes[kind])

    def zeros(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        """A fresh array of zeros."""
        return self.xp.zeros(shape, dtype=self.dtypes[kind])

    def empty_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        """``out`` where given, else an uninitialised array of the dtype and device of x."""
        return self.xp.empty(shape, dtype=x.dtype) if out is None else out

    def zeros_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        """``out`` filled with zeros where given, else zeros of the dtype and device of x."""
        if out is None:
            return self.xp.zeros(shape, dtype=x.dtype)
        out[...] = 0
        return out

    def copy(self, x: Any, out: Any = None) -> Any:
        """A copy of x, in ``out`` where given."""
        if out is None:
            return self.xp.asarray(x, copy=True)
        out[...] = x
        return out

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        """``a + b``, in ``out`` where given."""
        return self._put(a + b, out)

    def subtract(self, a: Any, b: Any, out: Any = None) -> Any:
        """``a - b``, in ``out`` where given."""
        return self._put(a - b, out)

    def multiply(self, a: Any, b: Any, out: Any = None) -> Any:
        """``a * b``, in ``out`` where given."""
        return self._put(a * b, out)

    def negative(self, a: Any, out: Any = None) -> Any:
        """``-a``, in ``out`` where given."""
        return self._put(-a, out)

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        """``a @ b``, in ``out`` where given."""
        return self._put(self.xp.matmul(a, b), out)

    def _put(self, value: Any, out: Any) -> Any:
        if out is None:
            return value
        out[...] = value
        return out

    def rfftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        """Real-to-complex FFT over some axes."""
        return self.xp.fft.rfftn(x, axes=axes, norm=norm)

    def irfftn(self, x: Any, sizes: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
        """Complex-to-real FFT over some axes, with the given output sizes."""
        return self.xp.fft.irfftn(x, s=sizes, axes=axes, norm=norm)

    def fftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        """Complex FFT over some axes."""
        return self.xp.fft.fftn(x, axes=axes, norm=norm)

    def ifftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        """Inverse complex FFT over some axes."""
        return self.xp.fft.ifftn(x, axes=axes, norm=norm)

    def indices(self, value: np.ndarray) -> Any:
        """Integer positions as an array of this backend."""
        return self.xp.asarray(value)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """A fresh array of the entries at some positions, an array with one axis, along a negative axis."""
        return self.xp.take(x, indices, axis=axis)

    def add_at(self, y: Any, indices: Any, length: int, axis: int, repeats: bool = True) -> Any:
        """The adjoint of `take`: y added to zeros of that length along the axis; ``repeats`` where positions do."""
        padding = list(y.shape)
        padding[axis] = 1
        rows = self.xp.concat((y, self.zeros_like(y, tuple(padding))), axis=axis)
        found = None
        for places in rounds(self.to_numpy(indices), length):
            part = self.take(rows, self.indices(places), axis)
            found = part if found is None else found + part
        return found

    def windows(self, x: Any, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        """A view of every stride-th window of some size in the trailing axes, ``(..., *count, *size)``; else None."""
        return None

    def sums_pay(self, entries: int, taps: int, inputs: int, outputs: int) -> bool:
        """Whether `correlate` is faster than transforms; ``entries`` of the bordered images, ``inputs`` of a group."""
        return False

    def correlate(
        self, x: Any, weights: Any, batch: tuple[int, ...], out_shape: tuple[int, ...], stride: Any, groups: int
    ) -> Any:
        """``y_(a, n) = sum_c sum_i w_(a, c, i) x_(c, s n + i)`` with a batch of images, each ``(channels, *size)``."""
        outputs, inputs, *size = weights.shape
        ndim, rows, found = len(size), outputs // groups, []
        x = self.xp.reshape(x, (*batch, groups * inputs, *x.shape[x.ndim - ndim :]))
        count = out_shape[len(out_shape) - ndim :]
        for group in range(groups):
            total = None
            for c, *place in np.ndindex(inputs, *size):
                steps = [slice(i, i + s * (m - 1) + 1, s) for i, s, m in zip(place, stride, count, strict=True)]
                at = group * inputs + c
                taps = weights[(slice(group * rows, (group + 1) * rows), c, *place)]
                term = self.xp.reshape(taps, (rows,) + (1,) * ndim) * x[(..., slice(at, at + 1), *steps)]
                total = term if total is None else total + term
            found.append(total)
        return self.xp.reshape(self.xp.concat(found, axis=-ndim - 1), (*batch, *out_shape))

    def item(self, array: Any) -> float | complex:
        """A one-element array as a Python number."""
        return complex(array) if "complex" in str(array.dtype) else float(array)

    def sparse(self, matrix: Any) -> Any:
        """A scipy.sparse matrix in this library's sparse form."""
        raise UnsupportedError(f"{self.name} has no sparse matrices; use NumPy, CuPy or Torch")

    def sparse_matmul(self, matrix: Any, x: Any) -> Any:
        """A sparse matrix times vectors on the last axis."""
        raise UnsupportedError(f"{self.name} has no sparse matrices; use NumPy, CuPy or Torch")

    def kind_of(self, array: Any) -> str:
        """Which of "real", "complex" and "bool" it is."""
        dtype = str(array.dtype)
        return "complex" if "complex" in dtype else "bool" if "bool" in dtype else "real"


def rounds(positions: np.ndarray, length: int) -> list[np.ndarray]:
    """Where the first, the second, ... entry for each target lies; one behind the end where there is none."""
    positions = positions.astype(np.int64)
    order = np.argsort(positions, kind="stable")
    targets = positions[order]
    first = np.searchsorted(targets, targets)
    turn = np.arange(len(order)) - first
    found = []
    for round_ in range(max(1, int(turn.max(initial=0)) + 1)):
        places = np.full(length, len(positions), dtype=np.int64)
        places[targets[turn == round_]] = order[turn == round_]
        found.append(places)
    return found


def library_name(array: Any) -> str | None:
    """The name of the library that an array belongs to, from its type alone; None for what is no array."""
    root = type(array).__module__.partition(".")[0]
    if root in ("numpy", "cupy", "torch", "array_api_strict") and hasattr(array, "dtype") and hasattr(array, "shape"):
        return root
    return None


def precision_of(array: Any) -> str | None:
    """The precision of a floating or complex array; None for other dtypes."""
    dtype = str(array.dtype).rpartition(".")[2]
    return {"float32": "float32", "complex64": "float32", "float64": "float64", "complex128": "float64"}.get(dtype)


def backend(name: str = "numpy", precision: str = "float64", device: Any = None) -> Backend:
    """The backend of that name.

    Raises
    ------
    DeviceError
        Where the library is not installed or has no such device.
    """
    try:
        module = importlib.import_module(f"opalg.arrays.{name}_backend")
    except ModuleNotFoundError as err:
        missing = (err.name or "").removeprefix("opalg.arrays.").removesuffix("_backend")
        known = "numpy, torch, cupy, array_api_strict"
        if missing == name and (err.name or "").startswith("opalg"):
            raise DeviceError(f"there is no backend {name!r}; there are {known}") from None
        raise DeviceError(f"the backend {name!r} needs the package {err.name!r}: pip install 'opalg[{name}]'") from None
    return module.BACKEND(precision, device)


def backend_of(array: Any, precision: str | None = None) -> Backend:
    """The backend on which an array lives."""
    name = library_name(array)
    if name is None:
        raise DtypeError(f"{type(array).__name__} is not an array of NumPy, CuPy or Torch")
    device = getattr(array, "device", None)
    return backend(name, precision or precision_of(array) or "float64", device)
