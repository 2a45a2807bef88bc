"""What finufft prepares for a set of points, on the CPU and on CUDA devices."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from threading import RLock
from types import ModuleType
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError

_KEPT = 8  # plans for different directions, precisions and batch sizes
_FINEST_SINGLE = 1e-6  # relative accuracy that single precision can hold
_THREADING_PAYS = 1 << 14  # entries; below this, starting threads costs more than it saves
_OVERSAMPLING = 2.0  # fixed, since finufft may choose different fine grids for the two directions


class Plans:
    """The transforms of one set of points, prepared when they are first needed.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image.
    points : array, shape ``(samples, len(shape))``
        Frequencies in radians per sample.
    tolerance : float
        Relative accuracy.
    threads : int or None
        As for `opalg.operators.NonuniformFFT`.
    """

    def __init__(self, shape: tuple[int, ...], points: np.ndarray, tolerance: float, threads: int | None) -> None:
        self.shape, self.tolerance, self.threads = shape, tolerance, threads
        # Frequencies repeat after 2 pi; folded ones lose no digits in single precision.
        self.points = np.mod(points + np.pi, 2 * np.pi) - np.pi
        self._plans: OrderedDict[Any, Any] = OrderedDict()
        self._lock = RLock()

    def forward(self, lib: Any, x: Any, source: Any, target: Any, factor: float) -> Any:
        """Type 2: a batch of images at the points, times a factor."""
        return self._run(2, lib, x, tuple(source), tuple(target), factor)

    def adjoint(self, lib: Any, y: Any, source: Any, target: Any, factor: float) -> Any:
        """Type 1 with the conjugate exponent: a batch of samples as images, times a factor."""
        return self._run(1, lib, y, tuple(source), tuple(target), factor)

    def _run(self, sort: int, lib: Any, x: Any, source: Any, target: Any, factor: float) -> Any:
        batch = tuple(x.shape[: x.ndim - len(source)])
        given, count = lib.asarray(x, "complex"), prod(batch)
        if count == 0:
            return lib.zeros(batch + target, "complex")
        before = self.shape if sort == 2 else (len(self.points),)
        stack = () if count == 1 else (count,)
        with self._lock:
            if _on_device(lib, given):
                rows = lib.copy(lib.xp.reshape(given, stack + before), out=lib.empty(stack + before, "complex"))
                found = self._plan(sort, lib, count, _cufinufft(lib)).execute(rows)
            else:
                rows = np.ascontiguousarray(lib.to_numpy(given)).reshape(stack + before)
                found = lib.asarray(self._plan(sort, lib, count, None).execute(rows), "complex")
        found = lib.xp.reshape(found, batch + target)
        return found if factor == 1.0 else lib.multiply(found, factor)

    def _plan(self, sort: int, lib: Any, count: int, device: ModuleType | None) -> Any:
        key = (sort, lib.key, count)
        if key not in self._plans:
            while len(self._plans) >= _KEPT:
                self._plans.popitem(last=False)
            self._plans[key] = self._made(sort, lib, count, device)
        self._plans.move_to_end(key)
        return self._plans[key]

    def _made(self, sort: int, lib: Any, count: int, device: ModuleType | None) -> Any:
        single = lib.precision == "float32"
        tolerance = max(self.tolerance, _FINEST_SINGLE) if single else self.tolerance
        columns = [np.ascontiguousarray(c, dtype=lib.precision) for c in self.points.T]
        options: dict[str, Any] = {"n_trans": count, "eps": tolerance, "isign": -1 if sort == 2 else 1}
        options |= {"dtype": "complex64" if single else "complex128", "upsampfac": _OVERSAMPLING}
        if device is None:
            plan = _finufft().Plan(sort, self.shape, nthreads=self._threads(sort, count), **options)
            plan.setpts(*columns)
        else:
            plan = device.Plan(sort, self.shape, gpu_device_id=_index_of(lib.device), **options)
            plan.setpts(*(lib.asarray(c) for c in columns))
        return plan

    def _threads(self, sort: int, count: int) -> int:
        if self.threads is not None:
            return self.threads
        large = count * (prod(self.shape) + len(self.points)) > _THREADING_PAYS
        return 0 if sort == 2 and large else 1  # 0 lets finufft take all cores


def _on_device(lib: Any, x: Any) -> bool:
    """Whether an array lies on a CUDA device; raises where it lies on another one."""
    place = lib.name if lib.name == "cupy" else str(getattr(x, "device", "cpu"))
    if lib.name == "torch" and not place.startswith(("cpu", "cuda")):
        raise UnsupportedError(f"NonuniformFFT runs on the CPU and on CUDA devices, but the tensor lies on {place!r}")
    return place.startswith(("cupy", "cuda"))


def _index_of(device: Any) -> int:
    """The number of a CUDA device of Torch or CuPy."""
    index = getattr(device, "id", None) if not hasattr(device, "index") else device.index
    return 0 if index is None else int(index)


def _finufft() -> Any:
    try:
        import finufft
    except ModuleNotFoundError:
        raise UnsupportedError("NonuniformFFT needs the package finufft: pip install 'opalg[nufft]'") from None
    return finufft


def _cufinufft(lib: Any) -> Any:
    try:
        import cufinufft
    except ModuleNotFoundError:
        raise UnsupportedError(
            f"NonuniformFFT of {lib.name} arrays on a CUDA device needs the package cufinufft: pip install cufinufft; "
            f"or move the arrays to the CPU"
        ) from None
    return cufinufft
