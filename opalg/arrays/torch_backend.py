"""Torch tensors on any device that Torch has."""

from __future__ import annotations

import warnings
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from opalg.arrays.backend import Backend
from opalg.errors import DeviceError


def take(x: Any, indices: Any, axis: int) -> Any:
    """The entries at some positions along an axis."""
    return torch.index_select(x, axis, indices)


def add_at(y: Any, indices: Any, length: int, axis: int, repeats: bool = True) -> Any:
    """Add y to zeros at some positions along an axis, in the same order each time."""
    if y.device.type == "cpu":
        shape = list(y.shape)
        shape[axis] = length
        return torch.zeros(shape, dtype=y.dtype).index_add_(axis, indices, y)
    rows = y.movedim(axis, 0)
    out = torch.zeros((length, *rows.shape[1:]), dtype=y.dtype, device=y.device)
    return out.index_put_((indices,), rows, accumulate=repeats).movedim(0, axis).contiguous()


def correlate(x: Any, weights: Any, batch: Any, out_shape: Any, stride: Any, groups: int) -> Any:
    """Sums over the taps of filters, by Torch's convolutions."""
    ndim = weights.ndim - 2
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[ndim - 1]
    images = x.reshape(-1, weights.shape[1] * groups, *x.shape[x.ndim - ndim :])
    return convolve(images, weights, None, stride, 0, 1, groups).reshape(*batch, *out_shape)


class TorchBackend(Backend):
    """Torch tensors; nothing here is recorded by autograd."""

    name = "torch"
    xp = array_api_compat.torch
    add = staticmethod(torch.add)
    subtract = staticmethod(torch.sub)
    multiply = staticmethod(torch.mul)
    negative = staticmethod(torch.neg)

    def find_device(self, device: Any) -> Any:
        try:
            found = torch.device("cpu" if device is None else device)
        except (RuntimeError, TypeError):
            raise DeviceError(f"Torch has no device {device!r}; use 'cpu', 'cuda', 'cuda:1' or 'mps'") from None
        if found.type == "cuda" and not torch.cuda.is_available():
            raise DeviceError("Torch sees no CUDA device here; use device='cpu' or leave it out")
        return found

    def asarray(self, value: Any, kind: str | None = None) -> Any:
        if isinstance(value, torch.Tensor):
            tensor = value.detach()
        else:
            array = np.asarray(value.get() if hasattr(value, "get") and not isinstance(value, np.ndarray) else value)
            tensor = torch.from_numpy(np.array(array))
        return tensor.to(device=self.device, dtype=self.dtypes[kind or self.kind_of(tensor)])

    def kind_of(self, array: Any) -> str:
        return "complex" if array.is_complex() else "bool" if array.dtype == torch.bool else "real"

    def to_numpy(self, array: Any) -> np.ndarray:
        return array.numpy(force=True)

    def empty(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        return torch.empty(shape, dtype=self.dtypes[kind], device=self.device)

    def zeros(self, shape: tuple[int, ...], kind: str = "real") -> Any:
        return torch.zeros(shape, dtype=self.dtypes[kind], device=self.device)

    def empty_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        return torch.empty(shape, dtype=x.dtype, device=x.device) if out is None else out

    def zeros_like(self, x: Any, shape: tuple[int, ...], out: Any = None) -> Any:
        return torch.zeros(shape, dtype=x.dtype, device=x.device) if out is None else out.zero_()

    def copy(self, x: Any, out: Any = None) -> Any:
        return x.clone(memory_format=torch.contiguous_format) if out is None else out.copy_(x)

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return torch.matmul(a, b) if out is None else torch.matmul(a, b, out=out)

    def rfftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return torch.fft.rfftn(x, dim=axes, norm=norm)

    def irfftn(self, x: Any, sizes: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
        return torch.fft.irfftn(x, s=sizes, dim=axes, norm=norm)

    def fftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return torch.fft.fftn(x, dim=axes, norm=norm)

    def ifftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return torch.fft.ifftn(x, dim=axes, norm=norm)

    def indices(self, value: np.ndarray) -> Any:
        return torch.from_numpy(np.array(value)).to(self.device)

    take = staticmethod(take)
    add_at = staticmethod(add_at)
    correlate = staticmethod(correlate)

    def sums_pay(self, entries: int, taps: int, inputs: int, outputs: int) -> bool:
        # Nanoseconds on one thread, measured. Graphics cards may round the factors of sums, so they are left out.
        if self.device.type != "cpu":
            return False
        single = self.precision == "float32"
        each = 0.55 * -(-outputs // 8) if single else 0.6 + 0.2 * outputs
        by_transforms = 30_000 + entries * (inputs + outputs) * (3.5 if single else 7.0)
        return entries * taps * inputs * each < by_transforms

    def item(self, array: Any) -> float | complex:
        return array.item()

    def sparse(self, matrix: Any) -> Any:
        csr = matrix.tocsr()
        kind = "complex" if csr.dtype.kind == "c" else "real"
        pointers, indices = torch.from_numpy(csr.indptr.astype("i8")), torch.from_numpy(csr.indices.astype("i8"))
        values = torch.from_numpy(csr.data.copy()).to(self.dtypes[kind])
        with warnings.catch_warnings():  # Torch calls its CSR support a beta, and its checks switched off
            warnings.filterwarnings("ignore", message="Sparse ")
            return torch.sparse_csr_tensor(
                pointers, indices, values, csr.shape, device=self.device, check_invariants=False
            )

    def padded(self, x: Any, start: Any, stop: Any, shape: tuple[int, ...], way: str) -> Any:
        """Images that go on beyond a box of the new shape, by one call; None where there is none."""
        mode = {"reflect": "reflect", "edge": "replicate"}.get(way)
        if mode is None or x.is_complex() or len(shape) > 3:
            return None
        widths = [(a, n - b) for a, b, n in zip(start, stop, shape, strict=True)]
        if mode == "reflect" and any(max(w) >= b - a for w, a, b in zip(widths, start, stop, strict=True)):
            return None
        images = x.reshape(-1, 1, *x.shape[x.ndim - len(shape) :])
        flat = [w for pair in reversed(widths) for w in pair]
        padded = torch.nn.functional.pad(images, flat, mode=mode)
        return padded.reshape(*x.shape[: x.ndim - len(shape)], *shape)

    def roll(self, x: Any, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
        """The array rolled along some axes, in one call."""
        return torch.roll(x, shifts, axes)

    def windows(self, x: Any, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
        first = x.ndim - len(size)
        for axis, (width, step) in enumerate(zip(size, stride, strict=True)):
            x = x.unfold(first + axis, width, step)
        return x

    def sparse_matmul(self, matrix: Any, x: Any) -> Any:
        if x.ndim == 1:
            return matrix @ x
        flat = x.reshape(-1, x.shape[-1])
        return (matrix @ flat.T).T.reshape(*x.shape[:-1], matrix.shape[0])


BACKEND = TorchBackend
