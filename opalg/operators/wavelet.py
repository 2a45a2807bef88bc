"""Orthogonal wavelet transforms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from opalg.errors import DeviceError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import exact
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, as_shape
from opalg.operators.knowledge import Facts
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel

_ORTHOGONALITY = 1e-9


@node
class Wavelet(LinearOperator):
    """The periodised orthogonal wavelet transform over all axes.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; the coefficients have it too.
    wavelet : str
        An orthogonal wavelet of PyWavelets, such as ``"haar"``, ``"db4"`` or ``"sym8"``.
    levels : int, optional
        Number of levels; by default the most for which sizes divide evenly and the filter is no longer than what the
        coarsest level filters.

    Raises
    ------
    ShapeError
        Where a size is not divisible by ``2 ** levels``.
    UnsupportedError
        For a wavelet that is not orthogonal.
    DeviceError
        Where PyWavelets is not installed.

    Notes
    -----
    Coefficients lie as in ``pywt.coeffs_to_array(pywt.wavedecn(x, wavelet, "periodization", levels))[0]``: the coarse
    image in the first corner. ``W.H W = W W.H = I`` (Daubechies 1992, Ten lectures on wavelets, chapter 5). The
    tabulated filters are orthogonal to about 1e-12; the nearest exactly orthogonal ones are used.
    """

    shape: Shape
    wavelet: str = "db4"
    levels: int | None = None

    def __post_init__(self) -> None:
        shape, low = as_shape(self.shape), low_pass(self.wavelet)
        if not shape or 0 in shape:
            raise ShapeError(f"Wavelet needs a shape with axes and without zeros, not {shape}")
        levels = _most_levels(shape, len(low), self.wavelet) if self.levels is None else self.levels
        if not isinstance(levels, int) or levels < 0:
            raise ParameterError(f"the levels of Wavelet must be a nonnegative integer, not {levels!r}")
        if any(n % 2**levels for n in shape):
            fitting = tuple(-(-n // 2**levels) * 2**levels for n in shape)
            raise ShapeError(
                f"Wavelet with {levels} levels needs sizes divisible by {2**levels}, not {shape}; take fewer levels, "
                f"or pad the image to {fitting}"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "levels", levels)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    def kernel(self) -> Kernel:
        return self._kernel(analyse)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(synthesise)

    def _kernel(self, function: Any) -> Kernel:
        low = low_pass(self.wavelet)
        scratch = scratch_shapes(self.shape, len(low))
        return Kernel(function, (self.shape, low, self.levels), passes=self._passes, scratch=scratch)

    @property
    def _passes(self) -> float:
        shrink = 0.5 ** len(self.shape)
        work = sum(shrink**level for level in range(self.levels or 0))
        return 1.0 + 2.0 * len(low_pass(self.wavelet)) * len(self.shape) * work

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        return Facts(gram_scale=one, cogram_scale=one, norm=exact(1.0))

    def __repr__(self) -> str:
        return f"Wavelet({self.shape}, {self.wavelet!r}, levels={self.levels})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Wavelet((4, 6), "haar", 1),
            Wavelet((8,), "db2"),
            Wavelet((4, 2), "db4", 1),
            Wavelet((2, 2, 4), "sym4", 1),
            Wavelet((3, 1), "db2", 0),
        ]


@lru_cache(maxsize=64)
def low_pass(name: str) -> tuple[float, ...]:
    """The decomposition low-pass filter of an orthogonal wavelet."""
    try:
        import pywt
    except ModuleNotFoundError:
        raise DeviceError("Wavelet needs PyWavelets: pip install 'opalg[wavelets]'") from None
    try:
        taps = np.array(pywt.Wavelet(name).dec_lo)
    except ValueError as err:
        known = "pywt.wavelist(kind='discrete')"
        raise UnsupportedError(f"PyWavelets has no discrete wavelet {name!r}; see {known}") from err
    if not pywt.Wavelet(name).orthogonal or np.max(np.abs(_defect(taps))) > _ORTHOGONALITY:
        raise UnsupportedError(f'Wavelet takes orthogonal wavelets such as "haar", "db4", "sym8", not {name!r}')
    for _ in range(2):
        taps = taps - np.linalg.lstsq(_defect_jacobian(taps), _defect(taps), rcond=None)[0]
    return tuple(float(h) for h in taps)


def _shifted(taps: np.ndarray, shift: int) -> np.ndarray:
    out = np.zeros_like(taps)
    out[max(0, shift) : len(taps) + min(0, shift)] = taps[max(0, -shift) : len(taps) - max(0, shift)]
    return out


def _defect(taps: np.ndarray) -> np.ndarray:
    """``sum_j h_j h_(j + 2k) - [k = 0]`` for each k: zero for an orthogonal filter."""
    return np.array([taps @ _shifted(taps, k) - (k == 0) for k in range(0, len(taps), 2)])


def _defect_jacobian(taps: np.ndarray) -> np.ndarray:
    return np.array([_shifted(taps, k) + _shifted(taps, -k) for k in range(0, len(taps), 2)])


def _most_levels(shape: Shape, length: int, name: str) -> int:
    levels = 0
    while all(n % 2 ** (levels + 1) == 0 and n // 2**levels >= length for n in shape):
        levels += 1
    if levels == 0:
        raise ShapeError(
            f"Wavelet {name!r} with {length} taps has no level on shape {shape} by itself: it needs even sizes of at "
            f"least {length}; pad the image, take a shorter wavelet, or give levels="
        )
    return levels


def high_pass(low: tuple[float, ...]) -> tuple[float, ...]:
    """The conjugate mirror filter, ``g_j = (-1)^(j + 1) h_(L - 1 - j)``."""
    return tuple(h if j % 2 else -h for j, h in enumerate(reversed(low)))


def _slice(axis: int, start: int | None, stop: int | None, step: int | None = None) -> tuple[Any, ...]:
    return (..., slice(start, stop, step), *(slice(None) for _ in range(-1 - axis)))


def scratch_shapes(shape: Any, length: int) -> Any:
    """The trailing shapes of what the kernels work in: a copy with its borders, on any axis, and a product."""
    return tuple(n + 2 * length for n in shape), tuple(shape)


def _room(lib: Any, x: Any, shape: Any, length: int, scratch: Any) -> Any:
    """The arrays to work in, made here where none were given."""
    batch = tuple(x.shape[: x.ndim - len(shape)])
    return scratch or tuple(lib.empty_like(x, batch + trailing) for trailing in scratch_shapes(shape, length))


def _corner_of(array: Any, shape: Any) -> Any:
    return array[tuple(slice(0, n) for n in shape)]


def _wrap(x: Any, axis: int, before: int, after: int, room: Any) -> Any:
    """A copy of x, in the corner of some room, that goes on periodically by some entries on both sides."""
    n = x.shape[axis]
    shape = list(x.shape)
    shape[axis] = n + before + after
    out = _corner_of(room, shape)
    done = 0
    while done < n + before + after:
        begin = (done - before) % n
        count = min(n - begin, n + before + after - done)
        out[_slice(axis, done, done + count)] = x[_slice(axis, begin, begin + count)]
        done += count
    return out


def _combine(lib: Any, terms: Any, out: Any, spare: Any) -> None:
    """``out = sum_j h_j x_j`` for pairs ``(h_j, x_j)``."""
    for index, (tap, part) in enumerate(terms):
        if index == 0:
            lib.multiply(part, tap, out=out)
        else:
            lib.multiply(part, tap, out=spare)
            lib.add(out, spare, out=out)


def _corners(shape: Any, levels: int) -> list[tuple[Any, ...]]:
    """The boxes that the levels work on, finest first."""
    return [(..., *(slice(0, n >> level) for n in shape)) for level in range(levels)]


def analyse(lib: Any, x: Any, shape: Any, low: Any, levels: int, scratch: Any = None, out: Any = None) -> Any:
    """Wavelet coefficients: on each level ``a_k = sum_j h_j x_(2k + L/2 - j)`` and ``d_k`` likewise, axis by axis."""
    out = lib.copy(x, out=out)
    length = len(low)
    room, products = _room(lib, x, shape, length, scratch)
    for corner in _corners(shape, levels):
        block = out[corner]
        for axis in range(-len(shape), 0):
            n = block.shape[axis]
            source = _wrap(block, axis, length // 2 - 1, length // 2, room)
            halves = block[_slice(axis, 0, n // 2)], block[_slice(axis, n // 2, n)]
            spare = _corner_of(products, halves[0].shape)
            for taps, half in zip((low, high_pass(low)), halves, strict=True):
                parts = ((h, source[_slice(axis, length - 1 - j, length - 1 - j + n, 2)]) for j, h in enumerate(taps))
                _combine(lib, parts, half, spare)
    return out


def synthesise(lib: Any, x: Any, shape: Any, low: Any, levels: int, scratch: Any = None, out: Any = None) -> Any:
    """The image of wavelet coefficients; the adjoint and inverse of `analyse`."""
    out = lib.copy(x, out=out)
    length, reach = len(low), len(low) // 2
    room, products = _room(lib, x, shape, length, scratch)
    for corner in reversed(_corners(shape, levels)):
        block = out[corner]
        for axis in reversed(range(-len(shape), 0)):
            n = block.shape[axis]
            halves = block[_slice(axis, 0, n // 2)], block[_slice(axis, n // 2, n)]
            rooms = room[_slice(axis, 0, n // 2 + length)], room[_slice(axis, n // 2 + length, n + 2 * length)]
            coarse, detail = (_wrap(h, axis, reach, reach, r) for h, r in zip(halves, rooms, strict=True))
            spare = _corner_of(products, halves[0].shape)
            for parity in (0, 1):
                parts = []
                for j in range((length // 2 - parity) % 2, length, 2):
                    begin = reach - (length // 2 - j - parity) // 2
                    window = _slice(axis, begin, begin + n // 2)
                    parts += [(low[j], coarse[window]), (high_pass(low)[j], detail[window])]
                _combine(lib, parts, block[_slice(axis, parity, n, 2)], spare)
    return out
