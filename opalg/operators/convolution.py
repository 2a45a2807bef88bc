"""Convolution with a kernel that may be a formula over parameters."""

from __future__ import annotations

from dataclasses import field
from itertools import product
from typing import Any

import numpy as np
import scipy.fft

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, as_shape
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.knowledge import Facts
from opalg.operators.spectra import as_data, text
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape
from opalg.program.linear import Kernel, Linear, Window
from opalg.rules import rule

BOUNDARIES = ("periodic", "zero")


@node
class Convolve(LinearOperator):
    """Convolution with a kernel, ``y_n = sum_i k_i x_(n - i + o)`` (the kernel is flipped).

    Parameters
    ----------
    kernel : array, Constant, Parameter or Expression, with as many axes as ``shape``
        The kernel ``k``, real or complex, of any size; a formula over parameters lets gradients through.
    shape : tuple of int
        The shape of the image; the result has it too.
    boundary : str
        ``"periodic"`` (the image repeats) or ``"zero"`` (it is zero outside).
    origin : "center" or tuple of int
        The index ``o`` of the kernel's centre, by default ``k.shape // 2``.

    Raises
    ------
    ShapeError
        Where the kernel has not as many axes as the image, or the origin lies outside it.
    UnsupportedError
        For another boundary.

    Notes
    -----
    ``"periodic"`` is a product of spectra; ``"zero"`` pads to a fast length so that nothing wraps around. Both are
    exact for kernels larger than the image. The norm bound is exact for ``"periodic"``; for ``"zero"`` it is the
    smaller of ``max |padded spectrum|`` and ``sum |k|``.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.operators import Convolve
    >>> blur = Convolve(np.array([0.25, 0.5, 0.25]), (4,))
    >>> np.round(blur @ np.array([0.0, 4.0, 0.0, 0.0]), 12)
    array([1., 2., 1., 0.])
    """

    kernel: Any = field()  # type: ignore[assignment]  # shadows the method, which only primitives have
    shape: Shape
    boundary: str = "periodic"
    origin: Any = "center"

    def __post_init__(self) -> None:
        kernel, shape = as_data(self.kernel, "Convolve"), as_shape(self.shape)
        if kernel.ndim != len(shape) or 0 in kernel.shape or 0 in shape:
            raise ShapeError(f"Convolve on {shape} needs a kernel with {len(shape)} axes, not of shape {kernel.shape}")
        if self.boundary not in BOUNDARIES:
            raise UnsupportedError(f'Convolve has the boundaries "periodic" and "zero", but not {self.boundary!r}')
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "origin", _checked_origin(self.origin, kernel.shape))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.kernel.kind == "complex" else "any"

    def out_kind(self, kind: str) -> str:
        return "complex" if self.kernel.kind == "complex" else kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind)

    @property
    def diagonalised(self) -> DiagonalIn:
        """The periodic convolution that does the work: on the image itself, or on the padded one."""
        if self.boundary == "periodic":
            return _periodic(self.kernel, self.shape, self.origin)
        window, origin, padded = self._padding
        return _periodic(ex.Apply(window, self.kernel), padded, origin)

    @property
    def _padding(self) -> tuple[Window, tuple[int, ...], Shape]:
        """The part of the kernel that matters, its origin, and a size at which nothing wraps into the image."""
        size, place = self.kernel.shape, self.origin
        start = tuple(max(0, o - n + 1) for o, n in zip(place, self.shape, strict=True))
        stop = tuple(min(k, o + n) for k, o, n in zip(size, place, self.shape, strict=True))
        origin = tuple(o - a for o, a in zip(place, start, strict=True))
        reach = (max(o, b - a - 1 - o) for o, a, b in zip(origin, start, stop, strict=True))
        padded = tuple(scipy.fft.next_fast_len(n + r, real=True) for n, r in zip(self.shape, reach, strict=True))
        return Window(size, start, stop), origin, padded

    def trace(self, x: Expression) -> Expression:
        return self._apply(self.diagonalised, x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self._apply(self.diagonalised.H, y)

    def _apply(self, convolution: LinearOperator, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        if self.boundary == "periodic":
            return convolution.trace(x)
        image = Window(convolution.in_shape, (0,) * len(self.shape), self.shape)
        return ex.Apply(image, convolution.trace(ex.Apply(image, x, adjoint=True)))

    @property
    def facts(self) -> Facts:
        inner = self.diagonalised.facts
        if self.boundary == "periodic":
            return inner
        assert inner.norm is not None
        return Facts(norm=upper(ex.minimum(inner.norm.expression, ex.total(abs(self.kernel)))))

    def inverse(self) -> LinearOperator:
        """The inverse filter.

        Raises
        ------
        UnsupportedError
            For ``boundary="zero"``, where it is no convolution.
        """
        if self.boundary == "zero":
            raise UnsupportedError(f"no cheap inverse of {self!r} is known; solve with conjugate gradients instead")
        return self.diagonalised.inverse()

    def __repr__(self) -> str:
        text_of = f"Convolve({text(self.kernel)}, {self.shape}, boundary={self.boundary!r}"
        centred = self.origin == tuple(k // 2 for k in self.kernel.shape)
        return text_of + (")" if centred else f", origin={self.origin})")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
        kernel = Parameter(rng.standard_normal((3, 2)), name="kernel")
        return [
            Convolve(rng.standard_normal((3, 3)), (4, 5)),
            Convolve(rng.standard_normal((2, 4)), (3, 4), boundary="zero"),
            Convolve(z, (3, 4)),
            Convolve(z, (3, 3), boundary="zero", origin=(0, 2)),
            Convolve(kernel, (4, 3), origin=(2, 0)),
            Convolve(rng.standard_normal(9), (4,)),
            Convolve(rng.standard_normal(10), (3,), boundary="zero"),
            Convolve(rng.standard_normal((1, 3)), (1, 1)),
            Convolve(gaussian_kernel(Parameter(0.8, name="width"), 1), (3, 4)),
        ]


def _checked_origin(origin: Any, size: Shape) -> tuple[int, ...]:
    if isinstance(origin, str):
        if origin != "center":
            raise ParameterError(f'origin is "center" or a kernel index per axis, not {origin!r}')
        return tuple(k // 2 for k in size)
    found = (origin,) if isinstance(origin, int) else tuple(int(o) for o in origin)
    if len(found) != len(size) or any(not 0 <= o < k for o, k in zip(found, size, strict=True)):
        raise ShapeError(f"the origin {origin} is no index of a kernel of shape {size}")
    return found


def _periodic(kernel: Expression, shape: Shape, origin: tuple[int, ...]) -> DiagonalIn:
    transform = (FFT if kernel.kind == "complex" else RFFT)(shape, norm="backward")
    return DiagonalIn(transform, ex.Apply(transform, ex.Apply(WrapAround(kernel.shape, shape, origin), kernel)))


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


def gaussian_kernel(sigma: Any, radius: int, ndim: int = 2) -> Expression:
    """A sampled Gaussian that sums to 1, ``exp(-|i|^2 / (2 sigma^2)) / sum``.

    Parameters
    ----------
    sigma : number, Parameter or scalar Expression
        The standard deviation in samples; gradients in it flow.
    radius : int
        The kernel reaches from ``-radius`` to ``radius`` on each axis.
    ndim : int
        Number of axes.

    Returns
    -------
    Expression, shape ``(2 * radius + 1,) * ndim``

    Raises
    ------
    ParameterError
        For a sigma that is no positive scalar, or a negative radius.
    """
    width = ex.as_expression(sigma)
    value = getattr(width, "value", 1.0)
    if width.shape != () or width.kind != "real" or float(value) <= 0:
        raise ParameterError(f"the width of a Gaussian must be one positive number, not {sigma!r}")
    if radius < 0 or ndim < 1:
        raise ParameterError(f"a Gaussian kernel needs radius >= 0 and ndim >= 1, not {radius} and {ndim}")
    steps = np.arange(-radius, radius + 1.0) ** 2
    distances = sum(steps.reshape((-1,) + (1,) * axis) for axis in range(ndim))
    weights = ex.exp(Constant(-0.5 * distances) / ex.square(width))
    return weights / ex.total(weights)


@rule(Convolve, group="diagonalise")
def diagonalise_periodic_convolution(convolution: Convolve) -> LinearOperator | None:
    """Convolve(k, periodic)  ->  DiagonalIn(RFFT, RFFT k)     (FFT for complex k)"""
    return convolution.diagonalised if convolution.boundary == "periodic" else None
