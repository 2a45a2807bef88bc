"""Convolutions of every boundary as one circular convolution on a torus that is large enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import scipy.fft

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.nodes import node
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.lattice import Sampled
from opalg.operators.padding import Pad
from opalg.operators.windows import Crop
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape
from opalg.program.linear import Kernel, Linear, Window

BOUNDARIES = ("periodic", "zero", "reflect", "symmetric", "edge", "valid", "full")
REFLECTIVE = ("reflect", "symmetric", "edge")


@dataclass(frozen=True)
class Layout:
    """How an image is laid on a torus so that the first entries of a circular convolution are the wanted ones.

    Attributes
    ----------
    extension : Pad
        From the image to the torus.
    reach : Pad
        The image with just the border that the kernel reads; what lies beyond has no effect.
    start, stop : tuple of int
        The part of the kernel that meets the image.
    origin : tuple of int
        The entry of that part which is laid on index 0.
    span : tuple of int
        How many results there are on each axis before any stride.
    """

    extension: Pad
    reach: Pad
    start: tuple[int, ...]
    stop: tuple[int, ...]
    origin: tuple[int, ...]
    span: Shape

    @property
    def torus(self) -> Shape:
        """The shape of the torus."""
        return self.extension.out_shape

    def laid(self, kernel: Expression) -> Expression:
        """The kernel, on the trailing axes of an expression, laid on the torus."""
        size = kernel.shape[kernel.ndim - len(self.start) :]
        if (self.start, self.stop) != ((0,) * len(size), size):
            kernel = ex.Apply(Window(size, self.start, self.stop), kernel)
        size = tuple(b - a for a, b in zip(self.start, self.stop, strict=True))
        return ex.Apply(WrapAround(size, self.torus, self.origin), kernel)

    def out_shape(self, stride: tuple[int, ...]) -> Shape:
        """The shape of the result."""
        return tuple(-(-n // s) for n, s in zip(self.span, stride, strict=True))

    def sample(self, torus: Expression, stride: tuple[int, ...]) -> Expression:
        """The results, read off the torus."""
        sampler = self._sampler(stride)
        return torus if sampler is None else ex.Apply(sampler, torus)

    def spread(self, y: Expression, stride: tuple[int, ...]) -> Expression:
        """The adjoint of `sample`."""
        sampler = self._sampler(stride)
        return y if sampler is None else ex.Apply(sampler, y, adjoint=True)

    def _sampler(self, stride: tuple[int, ...]) -> Linear | None:
        ones, zeros = (1,) * len(stride), (0,) * len(stride)
        if stride == ones:
            return None if self.torus == self.span else Crop(self.torus, zeros, self.span)
        return Sampled(self.torus, zeros, self.span, stride)


@lru_cache(maxsize=256)
def layout(shape: Shape, size: Shape, boundary: str, origin: tuple[int, ...]) -> Layout:
    """The layout of a convolution of an image of some shape with a kernel of some size."""
    axes = [_along(n, k, boundary, o) for n, k, o in zip(shape, size, origin, strict=True)]
    width, reach, start, stop, at, span = zip(*axes, strict=True)
    way = boundary if boundary in REFLECTIVE else "zero"
    return Layout(Pad(shape, width, way), Pad(shape, reach, way), start, stop, at, span)


def _along(n: int, k: int, boundary: str, origin: int) -> Any:
    """``(extension, reach, start, stop, origin, span)`` of one axis."""
    if boundary == "periodic":
        return (0, 0), (0, 0), 0, k, origin, n
    if boundary == "zero":
        start, stop = max(0, origin - n + 1), min(k, origin + n)
        at = origin - start
        return (0, _fast(n + max(at, stop - start - 1 - at)) - n), (0, 0), start, stop, at, n
    if boundary == "full":
        return (0, _fast(n + k - 1) - n), (0, 0), 0, k, 0, n + k - 1
    if boundary == "valid":
        return (0, _fast(n) - n), (0, 0), 0, k, k - 1, n - k + 1
    before = k - 1 - origin
    return (before, _fast(n + k - 1) - n - before), (before, origin), 0, k, k - 1, n


def bordered(
    shape: Shape, size: Shape, boundary: str, origin: tuple[int, ...], stride: tuple[int, ...], count: Shape
) -> Pad:
    """The image with the border that the taps of a kernel reach for ``count`` results on each axis."""
    width = []
    for n, k, o, s, m in zip(shape, size, origin, stride, count, strict=True):
        before = {"valid": 0, "full": k - 1}.get(boundary, k - 1 - o)
        width.append((before, max(0, s * (m - 1) + k - before - n)))
    return Pad(shape, tuple(width), boundary if boundary in ("periodic", *REFLECTIVE) else "zero")


def _fast(n: int) -> int:
    return int(scipy.fft.next_fast_len(n, real=True))


def checked_boundary(boundary: str, name: str) -> str:
    """A boundary; raises UnsupportedError for one that convolutions have not."""
    if boundary not in BOUNDARIES:
        raise UnsupportedError(f"{name} has the boundaries {BOUNDARIES}, but not {boundary!r}")
    return boundary


def checked_sizes(shape: Shape, size: Shape, boundary: str, name: str) -> None:
    """Raise ShapeError where a kernel does not fit an image."""
    if len(size) != len(shape) or 0 in size or 0 in shape or not shape:
        raise ShapeError(f"{name} on {shape} needs a kernel with {len(shape)} axes and entries, not of shape {size}")
    if boundary in ("valid", *REFLECTIVE) and any(k > n for k, n in zip(size, shape, strict=True)):
        raise ShapeError(
            f"{name} with boundary={boundary!r} needs a kernel no larger than the image {shape}, but it has shape "
            f'{size}; take "periodic", "zero" or "full", or pad the image first'
        )


def checked_origin(origin: Any, size: Shape, boundary: str) -> tuple[int, ...]:
    """The origin as an index; that of "valid" and "full", whose shape leaves no choice, is the centre."""
    centre = tuple(k // 2 for k in size)
    if isinstance(origin, str):
        if origin != "center":
            raise ParameterError(f'origin is "center" or a kernel index per axis, not {origin!r}')
        return centre
    found = tuple(origin) if isinstance(origin, (tuple, list)) else (origin,)
    whole = all(isinstance(o, (int, np.integer)) for o in found)
    if not whole or len(found) != len(size) or any(not 0 <= o < k for o, k in zip(found, size, strict=True)):
        raise ShapeError(f"the origin {origin} is no index of a kernel of shape {size}")
    return centre if boundary in ("valid", "full") else tuple(int(o) for o in found)


def checked_stride(stride: Any, ndim: int, name: str) -> tuple[int, ...]:
    """A stride as a positive integer per axis."""
    given = tuple(stride) if isinstance(stride, (tuple, list)) else (stride,) * ndim
    if len(given) != ndim or any(not isinstance(s, (int, np.integer)) or s < 1 for s in given):
        raise ShapeError(f"{name} must be a positive integer, or one for each of the {ndim} axes, not {stride!r}")
    return tuple(int(s) for s in given)


def spectrum_of(kernel: Expression, plan: Layout) -> tuple[FFT | RFFT, Expression]:
    """The transform on a layout's torus, and the spectrum of a kernel laid on it; axes in front are a batch."""
    transform = (FFT if kernel.kind == "complex" else RFFT)(plan.torus, norm="backward")
    return transform, ex.Apply(transform, plan.laid(kernel))


@node
class WrapAround(Linear):
    """Lay an array on a torus: entry ``i`` is added at ``(i - origin) mod out_shape``; the adjoint reads it back."""

    in_shape: Shape
    out_shape: Shape
    origin: tuple[int, ...]

    def kernel(self) -> Kernel:
        return Kernel(wrap_add, (self._runs, self.out_shape))

    def adjoint_kernel(self) -> Kernel:
        return Kernel(wrap_read, (self._runs, self.in_shape))

    @property
    def _runs(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """For each axis the runs ``(start, begin, count)`` of neighbours: where they lie in the source and go to."""
        return tuple(_runs(k, n, o) for k, n, o in zip(self.in_shape, self.out_shape, self.origin, strict=True))

    def __repr__(self) -> str:
        return f"WrapAround({self.in_shape}, {self.out_shape}, {self.origin})"


def _runs(length: int, period: int, origin: int) -> tuple[tuple[int, int, int], ...]:
    found, start = [], 0
    while start < length:
        begin = (start - origin) % period
        count = min(period - begin, length - start)
        found.append((start, begin, count))
        start += count
    return tuple(found)


def wrap_add(lib: Any, x: Any, runs: Any, shape: Any, out: Any = None) -> Any:
    """Add the runs of x to where they belong on the torus."""
    out = lib.zeros_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    for block in product(*runs):
        source = (..., *(slice(start, start + count) for start, _, count in block))
        target = (..., *(slice(begin, begin + count) for _, begin, count in block))
        lib.add(out[target], x[source], out=out[target])
    return out


def wrap_read(lib: Any, x: Any, runs: Any, shape: Any, out: Any = None) -> Any:
    """Read the runs back from the torus."""
    out = lib.empty_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    for block in product(*runs):
        source = (..., *(slice(start, start + count) for start, _, count in block))
        target = (..., *(slice(begin, begin + count) for _, begin, count in block))
        out[source] = x[target]
    return out
