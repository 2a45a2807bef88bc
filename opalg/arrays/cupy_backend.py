"""CuPy arrays on a CUDA device."""

from __future__ import annotations

from typing import Any

import array_api_compat.cupy
import cupy
import cupyx.scipy.sparse
import numpy as np

from opalg.arrays.backend import Backend
from opalg.arrays.cupy_scatter import add_at
from opalg.errors import DeviceError


class CupyBackend(Backend):
    """CuPy arrays."""

    name = "cupy"
    xp = array_api_compat.cupy
    add = staticmethod(cupy.add)
    subtract = staticmethod(cupy.subtract)
    multiply = staticmethod(cupy.multiply)
    negative = staticmethod(cupy.negative)

    def find_device(self, device: Any) -> Any:
        if device is None:
            return cupy.cuda.Device()
        if isinstance(device, cupy.cuda.Device):
            return device
        kind, _, index = str(device).partition(":")
        if kind not in ("cuda", "gpu"):
            raise DeviceError(f"CuPy has no device {device!r}; use 'cuda' or 'cuda:0'")
        return cupy.cuda.Device(int(index or 0))

    def asarray(self, value: Any, kind: str | None = None) -> Any:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        with self.device:
            array = cupy.asarray(value)
            return array.astype(self.dtypes[kind or self.kind_of(array)], copy=False)

    def to_numpy(self, array: Any) -> np.ndarray:
        return cupy.asnumpy(array)

    def copy(self, x: Any, out: Any = None) -> Any:
        if out is None:
            return x.copy()
        cupy.copyto(out, x)
        return out

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.matmul(a, b) if out is None else cupy.matmul(a, b, out=out)

    def rfftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return cupy.fft.rfftn(x, axes=axes, norm=norm)

    def irfftn(self, x: Any, sizes: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
        return cupy.fft.irfftn(x, s=sizes, axes=axes, norm=norm)

    def fftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return cupy.fft.fftn(x, axes=axes, norm=norm)

    def ifftn(self, x: Any, axes: tuple[int, ...], norm: str) -> Any:
        return cupy.fft.ifftn(x, axes=axes, norm=norm)

    def indices(self, value: np.ndarray) -> Any:
        with self.device:
            return cupy.asarray(value)

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        return cupy.take(x, indices, axis=axis)

    add_at = staticmethod(add_at)

    def item(self, array: Any) -> float | complex:
        return array.item()

    def sparse(self, matrix: Any) -> Any:
        kind = "complex" if matrix.dtype.kind == "c" else "real"
        return cupyx.scipy.sparse.csr_matrix(matrix.tocsr().astype(np.dtype(self.dtypes[kind])))

    def sparse_matmul(self, matrix: Any, x: Any) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        return (matrix @ flat.T).T.reshape(*x.shape[:-1], matrix.shape[0])


BACKEND = CupyBackend
