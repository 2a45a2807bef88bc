"""Array calls that an expert writes by hand, on NumPy with SciPy, and on Torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from opalg.arrays import Backend

Map = Callable[[Any], Any]
Index = tuple[slice, ...]


def along(axis: int, start: int | None, stop: int | None) -> Index:
    """A range of one of two axes."""
    return (slice(start, stop), slice(None)) if axis == 0 else (slice(None), slice(start, stop))


class Hand:
    """What both libraries share: stencils by slices that write into given arrays."""

    name: str
    subtract: Any
    add: Any
    multiply: Any

    def __init__(self, lib: Backend) -> None:
        self.lib = lib
        self.dtype, self.complex = lib.dtypes["real"], lib.dtypes["complex"]
        self.array, self.positions, self.sparse = lib.asarray, lib.indices, lib.sparse
        self.flags = lambda mask: lib.asarray(mask, "bool")

    def empty(self, shape: Any) -> Any:
        """A real array."""
        raise NotImplementedError

    def difference(self, x: Any, axis: int, boundary: str, out: Any) -> Any:
        """Forward differences along an axis."""
        head, tail = along(axis, None, -1), along(axis, 1, None)
        first, last = along(axis, 0, 1), along(axis, -1, None)
        self.subtract(x[tail], x[head], out=out[head])
        if boundary == "periodic":
            self.subtract(x[first], x[last], out=out[last])
        else:
            out[last] = 0 if boundary == "neumann" else -x[last]
        return out

    def adjoint_difference(self, y: Any, axis: int, boundary: str, out: Any) -> Any:
        """The adjoint of forward differences."""
        head, tail = along(axis, None, -1), along(axis, 1, None)
        first, last = along(axis, 0, 1), along(axis, -1, None)
        self.subtract(y[head], y[tail], out=out[tail])
        if boundary == "periodic":
            self.subtract(y[last], y[first], out=out[first])
            return out
        out[first] = -y[first]
        if boundary == "neumann":
            out[last] = y[along(axis, -2, -1)]
        return out

    def add_adjoint_difference(self, y: Any, axis: int, boundary: str, out: Any) -> Any:
        """The adjoint of forward differences, added to what is there."""
        head, tail = along(axis, None, -1), along(axis, 1, None)
        out[tail] += y[head]
        if boundary == "neumann":
            out[head] -= y[head]
            return out
        out -= y
        if boundary == "periodic":
            out[along(axis, 0, 1)] += y[along(axis, -1, None)]
        return out

    def central(self, x: Any, axis: int) -> Any:
        """Periodic central differences."""
        first, second = along(axis, 0, 1), along(axis, 1, 2)
        last, before = along(axis, -1, None), along(axis, -2, -1)
        out = self.empty(x.shape)
        self.subtract(x[along(axis, 2, None)], x[along(axis, None, -2)], out=out[along(axis, 1, -1)])
        self.subtract(x[second], x[last], out=out[first])
        self.subtract(x[first], x[before], out=out[last])
        out *= 0.5
        return out

    def laplacian(self, x: Any, axes: tuple[int, ...], out: Any) -> Any:
        """The sum of second differences with the border repeated."""
        self.multiply(x, -2.0 * len(axes), out=out)
        for axis in axes:
            head, tail = along(axis, None, -1), along(axis, 1, None)
            first, last = along(axis, 0, 1), along(axis, -1, None)
            out[head] += x[tail]
            out[tail] += x[head]
            out[first] += x[first]
            out[last] += x[last]
        return out

    def unpad(self, y: Any, w: int, boundary: str) -> Any:
        """The adjoint of padding, one axis after the other."""
        inner = y[w:-w, w:-w]
        if boundary == "zero":
            return self.packed(inner)
        out = y
        for axis in (0, 1):
            before, after = out[along(axis, None, w)], out[along(axis, -w, None)]
            out = self.packed(out[along(axis, w, -w)])
            if boundary == "periodic":
                out[along(axis, -w, None)] += before
                out[along(axis, None, w)] += after
            elif boundary == "edge":
                out[along(axis, 0, 1)] += before.sum(axis)[self.kept(axis)]
                out[along(axis, -1, None)] += after.sum(axis)[self.kept(axis)]
            else:
                n, s = out.shape[axis], 1 if boundary == "reflect" else 0
                out[along(axis, s, w + s)] += self.flip(before, (axis,))
                out[along(axis, n - w - s, n - s)] += self.flip(after, (axis,))
        return out

    def kept(self, axis: int) -> Any:
        """The index that puts a summed axis back."""
        return (None, slice(None)) if axis == 0 else (slice(None), None)

    def packed(self, x: Any) -> Any:
        """A copy in order."""
        raise NotImplementedError

    def flip(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Some axes reversed."""
        raise NotImplementedError

    def rfft(self, x: Any, norm: str = "backward", shape: Any = None) -> Any:
        """The real transform of the last two axes."""
        raise NotImplementedError

    def irfft(self, s: Any, shape: Any, norm: str = "backward") -> Any:
        """Its inverse."""
        raise NotImplementedError

    def extended(self, n: int, w: int, boundary: str) -> Map:
        """The fastest way to go on beyond the border."""
        return self.paddings(n, w, boundary)[-1]

    def paddings(self, n: int, w: int, boundary: str) -> list[Map]:
        """The library's padding, and slices laid out by hand."""

        def laid(x: Any) -> Any:
            out = (self.zeros if boundary == "zero" else self.empty)((n + 2 * w, n + 2 * w))
            inner = slice(w, w + n)
            out[inner, inner] = x
            for axis in (0, 1) if boundary != "zero" else ():
                box = out[:, inner] if axis == 0 else out
                first, last = along(axis, None, w), along(axis, w + n, None)
                if boundary == "periodic":
                    box[first], box[last] = box[along(axis, n, n + w)], box[along(axis, w, 2 * w)]
                elif boundary == "edge":
                    box[first], box[last] = box[along(axis, w, w + 1)], box[along(axis, w + n - 1, w + n)]
                else:
                    s = 1 if boundary == "reflect" else 0
                    box[first] = self.flip(box[along(axis, w + s, 2 * w + s)], (axis,))
                    box[last] = self.flip(box[along(axis, n - s, n + w - s)], (axis,))
            return out

        return [*self.library_padding(w, boundary), laid]

    def library_padding(self, w: int, boundary: str) -> list[Map]:
        """The library's own padding, where it has one."""
        raise NotImplementedError

    def zeros(self, shape: Any) -> Any:
        """An array of zeros."""
        raise NotImplementedError

    def by_transforms(self, kernel: np.ndarray, n: int, boundary: str, conjugate: bool) -> Map:
        """A convolution, or its adjoint, by a product of spectra on a fast length."""
        k = kernel.shape[0]
        c = k // 2
        size = n if boundary == "periodic" else scipy.fft.next_fast_len(n + (c if boundary == "zero" else 0), real=True)
        if boundary == "reflect":
            size = scipy.fft.next_fast_len(n + 2 * c, real=True)
        laid = np.zeros((size, size))
        laid[:k, :k] = kernel
        shift = {"valid": 1 - k, "reflect": 1 - k}.get(boundary, -c)
        spectrum = np.fft.rfft2(np.roll(laid, (shift, shift), (0, 1)))
        on = self.array(spectrum.conj() if conjugate else spectrum)
        shape = (size, size)
        m = n - k + 1
        if boundary == "periodic":
            return lambda x: self.irfft(on * self.rfft(x), shape)
        if boundary in ("zero", "valid"):
            keep = n if conjugate or boundary == "zero" else m
            return lambda x: self.packed(self.irfft(on * self.rfft(x, shape=shape), shape)[:keep, :keep])
        extend = self.extended(n, c, "reflect")
        if not conjugate:
            return lambda x: self.packed(self.irfft(on * self.rfft(extend(x), shape=shape), shape)[:n, :n])
        whole = n + 2 * c
        return lambda y: self.unpad(self.irfft(on * self.rfft(y, shape=shape), shape)[:whole, :whole], c, "reflect")

    def convolutions(self, kernel: np.ndarray, n: int, boundary: str) -> list[Map]:
        """Ways to convolve."""
        return [self.by_transforms(kernel, n, boundary, False), *self.direct(kernel, n, boundary)]

    def correlations(self, kernel: np.ndarray, n: int, boundary: str) -> list[Map]:
        """Ways to apply the adjoint."""
        return [self.by_transforms(kernel, n, boundary, True)]

    def direct(self, kernel: np.ndarray, n: int, boundary: str) -> list[Map]:
        """Direct sums by the library."""
        raise NotImplementedError

    def filter_banks(self, filters: np.ndarray, n: int) -> list[Map]:
        """Several filters at once by the library."""
        return []


class NumpyHand(Hand):
    """NumPy and SciPy."""

    name = "numpy"
    subtract, add, multiply = np.subtract, np.add, np.multiply
    where, einsum = staticmethod(np.where), staticmethod(np.einsum)
    conj, repeated = np.conj, staticmethod(np.broadcast_to)
    copy = staticmethod(np.copy)

    def empty(self, shape: Any) -> Any:
        return np.empty(shape, self.dtype)

    def zeros(self, shape: Any) -> Any:
        return np.zeros(shape, self.dtype)

    def packed(self, x: Any) -> Any:
        return np.array(x, order="C")

    def flip(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x[tuple(slice(None, None, -1) if axis in axes else slice(None) for axis in range(x.ndim))]

    def roll(self, x: Any, shift: tuple[int, ...]) -> Any:
        return np.roll(x, shift, (0, 1))

    def take(self, x: Any, at: Any, axis: int) -> Any:
        return np.take(x, at, axis=axis)

    def add_at(self, shape: Any, at: Any, y: Any, axis: int) -> Any:
        out = np.zeros(shape, y.dtype)
        np.add.at(out, at if axis == 0 else (slice(None), at), y)
        return out

    def as_complex(self, y: Any) -> Any:
        return y.astype(self.complex)

    def workers(self, x: Any) -> int | None:
        """Threads, where they pay."""
        return -1 if x.size > 1 << 14 else None

    def fft(self, x: Any) -> Any:
        return scipy.fft.fft2(x, norm="ortho", workers=self.workers(x))

    def ifft(self, x: Any) -> Any:
        return scipy.fft.ifft2(x, norm="ortho", workers=self.workers(x))

    def rfft(self, x: Any, norm: str = "backward", shape: Any = None) -> Any:
        return scipy.fft.rfft2(x, s=shape, norm=norm, workers=self.workers(x))

    def irfft(self, s: Any, shape: Any, norm: str = "backward") -> Any:
        return scipy.fft.irfft2(s, s=shape, norm=norm, workers=self.workers(s))

    def library_padding(self, w: int, boundary: str) -> list[Map]:
        mode: Any = {"zero": "constant", "periodic": "wrap"}.get(boundary, boundary)
        return [lambda x: np.pad(x, w, mode=mode)]

    def direct(self, kernel: np.ndarray, n: int, boundary: str) -> list[Map]:
        on = self.array(kernel)
        if boundary == "valid":
            return [lambda x: scipy.signal.oaconvolve(x, on, "valid")]
        mode = {"zero": "constant", "periodic": "wrap", "reflect": "mirror"}[boundary]
        ways: list[Map] = [lambda x: scipy.ndimage.convolve(x, on, mode=mode)] if kernel.size < 50 else []
        return ways + ([lambda x: scipy.signal.oaconvolve(x, on, "same")] if boundary == "zero" else [])

    def patches(self, x: Any, size: int, step: int) -> Any:
        """All patches, copied out of a view."""
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size))
        return np.ascontiguousarray(windows[::step, ::step])


class TorchHand(Hand):
    """Torch."""

    name = "torch"

    def __init__(self, lib: Backend) -> None:
        import torch

        super().__init__(lib)
        self.torch = torch
        self.subtract, self.add, self.multiply = torch.sub, torch.add, torch.mul
        self.where, self.einsum, self.conj = torch.where, torch.einsum, torch.conj_physical
        self.repeated, self.copy = torch.broadcast_to, torch.clone
        self.device: Any = lib.device

    def empty(self, shape: Any) -> Any:
        return self.torch.empty(shape, dtype=self.dtype, device=self.device)

    def zeros(self, shape: Any) -> Any:
        return self.torch.zeros(shape, dtype=self.dtype, device=self.device)

    def packed(self, x: Any) -> Any:
        return x.clone(memory_format=self.torch.contiguous_format)

    def flip(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.flip(axes)

    def roll(self, x: Any, shift: tuple[int, ...]) -> Any:
        return self.torch.roll(x, shift, (0, 1))

    def take(self, x: Any, at: Any, axis: int) -> Any:
        return self.torch.index_select(x, axis, at)

    def add_at(self, shape: Any, at: Any, y: Any, axis: int) -> Any:
        return self.zeros(shape).index_add_(axis, at, y)

    def as_complex(self, y: Any) -> Any:
        return y.to(self.complex)

    def fft(self, x: Any) -> Any:
        return self.torch.fft.fft2(x, norm="ortho")

    def ifft(self, x: Any) -> Any:
        return self.torch.fft.ifft2(x, norm="ortho")

    def rfft(self, x: Any, norm: str = "backward", shape: Any = None) -> Any:
        return self.torch.fft.rfft2(x, s=shape, norm=norm)

    def irfft(self, s: Any, shape: Any, norm: str = "backward") -> Any:
        return self.torch.fft.irfft2(s, s=shape, norm=norm)

    def library_padding(self, w: int, boundary: str) -> list[Map]:
        mode = {"zero": "constant", "periodic": "circular", "edge": "replicate"}.get(boundary, boundary)
        pad = self.torch.nn.functional.pad
        return [] if boundary == "symmetric" else [lambda x: pad(x[None, None], (w, w, w, w), mode=mode)[0, 0]]

    def direct(self, kernel: np.ndarray, n: int, boundary: str) -> list[Map]:
        if kernel.size > 50:
            return []
        flipped = self.array(kernel[None, None, ::-1, ::-1].copy())
        c = kernel.shape[0] // 2
        convolve = self.torch.nn.functional.conv2d
        if boundary in ("zero", "valid"):
            return [lambda x: convolve(x[None, None], flipped, padding=0 if boundary == "valid" else c)[0, 0]]
        extend = self.extended(n, c, boundary)
        return [lambda x: convolve(extend(x)[None, None], flipped)[0, 0]]

    def filter_banks(self, filters: np.ndarray, n: int) -> list[Map]:
        flipped = self.array(filters[:, None, ::-1, ::-1].copy())
        extend = self.extended(n, filters.shape[-1] // 2, "periodic")
        return [lambda x: self.torch.nn.functional.conv2d(extend(x)[None, None], flipped)[0]]

    def patches(self, x: Any, size: int, step: int) -> Any:
        """All patches, copied out of a view."""
        return x.unfold(0, size, step).unfold(1, size, step).contiguous()


def hand(lib: Backend) -> Hand:
    """The calls by hand of one library."""
    return (TorchHand if lib.name == "torch" else NumpyHand)(lib)
