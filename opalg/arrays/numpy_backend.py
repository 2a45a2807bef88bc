"""NumPy, with SciPy's multithreaded FFT."""

from __future__ import annotations

import os
from typing import Any

import array_api_compat.numpy
import numpy as np
import scipy.fft

from opalg.arrays.backend import Backend

_WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_COLUMNS = 8  # of a transposed copy at a time: as many lines of the cache are written at once
_KINDS = {"c": "complex", "b": "bool"}
_THREADING_PAYS = 1 << 14  # entries; below this, starting threads costs more than it saves


def add_at(y: Any, indices: Any, length: int, axis: int, repeats: bool = True) -> Any:
    """Add y to zeros at some positions along a negative axis.

    Sums along the last axis are made in double precision where positions repeat, those along others in that of y.
    """
    if axis < -1:
        return add_rows(y, indices, length, axis, repeats)
    last = y
    out = np.zeros((*last.shape[:-1], length), dtype=y.dtype)
    count = out.size // max(length, 1)
    rows, sums = last.reshape(count, last.shape[-1]), out.reshape(count, length)
    if not repeats and len(rows) <= last.shape[-1]:
        for row, total in zip(rows, sums, strict=True):
            total[indices] = row
    elif not repeats:
        sums[:, indices] = rows
    elif last.shape[-1] * 8 < count:
        for column, target in enumerate(indices):
            out[..., target] += last[..., column]
    else:
        for row, total in zip(rows, sums, strict=True):
            if y.dtype.kind == "c":
                total.real = np.bincount(indices, row.real, length)
                total.imag = np.bincount(indices, row.imag, length)
            else:
                total[:] = np.bincount(indices, row, length)
    return out


def add_rows(y: Any, indices: Any, length: int, axis: int, repeats: bool) -> Any:
    """`add_at` along an axis with others behind it: whole rows are added, many of them by a sparse matrix."""
    from scipy.sparse import csc_array

    rest, shape = (slice(None),) * (-1 - axis), (*y.shape[:axis], length, *y.shape[axis + 1 :])
    if repeats and len(indices) > 256:
        ones, starts = np.ones(len(indices), dtype=y.real.dtype), np.arange(len(indices) + 1)
        counting = csc_array((ones, indices, starts), shape=(length, len(indices)))
        many = int(np.prod(y.shape[:axis]))
        sums = [counting @ sample for sample in y.reshape(many, len(indices), -1)]
        return (sums[0] if many == 1 else np.stack(sums)).reshape(shape)
    out = np.zeros(shape, dtype=y.dtype)
    if not repeats:
        out[(..., indices, *rest)] = y
        return out
    for place, target in enumerate(indices.tolist()):
        out[(..., target, *rest)] += y[(..., place, *rest)]
    return out


class NumpyBackend(Backend):
    """NumPy arrays on the CPU."""

    name = "numpy"
    xp = array_api_compat.numpy
    add = staticmethod(np.add)
    subtract = staticmethod(np.subtract)
    multiply = staticmethod(np.multiply)

    def asarray(self, value: Any, kind: str | None = None) -> Any:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        elif hasattr(value, "get") and not isinstance(value, np.ndarray):
            value = value.get()
        array = np.asarray(value)
        return array.astype(self.dtypes[kind or self.kind_of(array)], copy=False)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def kind_of(self, array: Any) -> str:
        return _KINDS.get(array.dtype.kind, "real")

    def empty(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        return np.empty(shape, self.dtypes[kind])

    def zeros(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        return np.zeros(shape, self.dtypes[kind])

    def empty_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        return np.empty(shape, x.dtype) if out is None else out

    def zeros_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        if out is None:
            return np.zeros(shape, x.dtype)
        large = out.size > _THREADING_PAYS and out.flags.c_contiguous
        (out.view(np.uint8) if large else out).fill(0)  # bytes are filled much faster than numbers
        return out

    def copy(self, x: Any, out: Any = None) -> Any:
        if out is None:
            return np.array(x)
        if x.ndim > 1 and x.size > _THREADING_PAYS and x.strides[-2] == x.itemsize < x.strides[-1]:
            for i in range(0, x.shape[-1], _COLUMNS):  # a transposed array is read along its memory, in strips
                np.copyto(out[..., i : i + _COLUMNS], x[..., i : i + _COLUMNS])
            return out
        np.copyto(out, x)
        return out

    def negative(self, a: Any, out: Any = None) -> Any:
        # np.negative reads wrong entries where both a and out are strided and the stride is the item size (NumPy 2.4).
        return np.multiply(a, -1.0, out=out)

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)

    def rfftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return scipy.fft.rfftn(x, axes=axes, norm=norm, workers=_WORKERS if x.size > _THREADING_PAYS else 1)

    def irfftn(self, x: Any, sizes: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
        return scipy.fft.irfftn(x, s=sizes, axes=axes, norm=norm, workers=_WORKERS if x.size > _THREADING_PAYS else 1)

    def fftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return scipy.fft.fftn(x, axes=axes, norm=norm, workers=_WORKERS if x.size > _THREADING_PAYS else 1)

    def ifftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return scipy.fft.ifftn(x, axes=axes, norm=norm, workers=_WORKERS if x.size > _THREADING_PAYS else 1)

    def indices(self, value: np.ndarray) -> Any:
        return np.array(value)  # a copy that may be written to, since np.take copies others at each call

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        return np.take(x, indices, axis=axis)

    add_at = staticmethod(add_at)

    def dctn(self, x: Any, axes: tuple[int, ...], type: int) -> Any:
        """Orthonormal cosine transform of a type from 1 to 4 over some axes."""
        workers = _WORKERS if x.size > _THREADING_PAYS else 1
        return scipy.fft.dctn(x, type=type, axes=axes, norm="ortho", workers=workers)

    def dstn(self, x: Any, axes: tuple[int, ...], type: int) -> Any:
        """Orthonormal sine transform of a type from 1 to 4 over some axes."""
        workers = _WORKERS if x.size > _THREADING_PAYS else 1
        return scipy.fft.dstn(x, type=type, axes=axes, norm="ortho", workers=workers)

    def sparse(self, matrix: Any) -> Any:
        kind = "complex" if matrix.dtype.kind == "c" else "real"
        return matrix.tocsr().astype(self.dtypes[kind], copy=False)

    def windows(self, x: Any, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        axes = tuple(range(-len(size), 0))
        every = np.lib.stride_tricks.sliding_window_view(x, size, axes)
        steps: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride), *(slice(None) for _ in size))
        return every[steps]

    def sparse_matmul(self, matrix: Any, x: Any) -> Any:
        if x.ndim == 1:
            return matrix @ x
        flat = x.reshape(-1, x.shape[-1])
        return (matrix @ flat.T).T.reshape(*x.shape[:-1], matrix.shape[0])


BACKEND = NumpyBackend
