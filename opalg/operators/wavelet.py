"""Wavelet transforms: orthogonal and biorthogonal, periodised, any axes."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import Bound, exact, upper
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, as_shape, compose
from opalg.operators.axes import as_axes
from opalg.operators.diagonal import adjacent
from opalg.operators.filter_bank import FilterBank, Taps, filter_bank, level_norms
from opalg.operators.knowledge import Facts
from opalg.operators.small_matrices import is_small, multiply_corners, of_kind
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

_BLOCK = 16  # entries of a coarser level that one product makes


@node
class Wavelet(LinearOperator):
    """The periodised wavelet transform, on each level ``a_k = sum_j h_j x_(2k + L/2 - j)`` and ``d_k`` likewise with g.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; the coefficients have it too.
    wavelet : str
        A wavelet of PyWavelets: orthogonal, such as ``"haar"``, ``"db4"``, ``"sym8"``, or biorthogonal, such as
        ``"bior4.4"`` and ``"rbio2.2"``.
    levels : int, optional
        Number of levels; by default the most for which sizes divide evenly and the filter is no longer than what the
        coarsest level filters.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError
        Where a size is not divisible by ``2 ** levels``, or there are no such axes.
    UnsupportedError
        For a wavelet that does not reconstruct exactly.
    DeviceError
        Where PyWavelets is not installed.

    Notes
    -----
    Coefficients lie as in ``pywt.coeffs_to_array(pywt.wavedecn(x, wavelet, "periodization", levels))[0]``: the coarse
    image in the first corner. ``W.H`` is the true adjoint. Orthogonal wavelets have ``W.H W = W W.H = I`` (Daubechies
    1992, Ten lectures on wavelets, chapter 5). For biorthogonal ones the adjoint is not the inverse: ``W.inverse()`` is
    the synthesis, the adjoint of the dual wavelet's analysis (Cohen, Daubechies, Feauveau 1992); the norm of one level
    is exact, the largest over all frequencies of the alias-component matrix, and that of several is bounded from above
    by ``||W||^2 <= ||S||^2 + (||W'||^2 - 1) ||L||^2`` with the finest level ``S``, its low-pass part ``L`` and the
    coarser levels ``W'``. Tabulated filters are exact to about 1e-12; the nearest exact ones are used.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> W = oa.Wavelet((4,), "haar", levels=1)
    >>> np.round(W @ np.array([1.0, 3.0, 5.0, 5.0]) / np.sqrt(2), 12)
    array([ 2.,  5., -1.,  0.])
    >>> V = oa.Wavelet((8, 8), "bior2.2")
    >>> x = np.arange(64.0).reshape(8, 8)
    >>> np.allclose(V.inverse() @ (V @ x), x), np.allclose(V.H @ (V @ x), x)
    (True, False)
    """

    shape: Shape
    wavelet: str = "db4"
    levels: int | None = None
    axes: Any = None

    def __post_init__(self) -> None:
        shape, bank = as_shape(self.shape), filter_bank(self.wavelet)
        if not shape or 0 in shape:
            raise ShapeError(f"Wavelet needs a shape with axes and without zeros, not {shape}")
        axes = tuple(sorted(as_axes(shape, self.axes, "Wavelet")))
        sizes = tuple(shape[axis] for axis in axes)
        levels = _most_levels(sizes, len(bank.low), self.wavelet) if self.levels is None else self.levels
        if not isinstance(levels, int) or levels < 0:
            raise ParameterError(f"the levels of Wavelet must be a nonnegative integer, not {levels!r}")
        if any(n % 2**levels for n in sizes):
            fitting = list(shape)
            for axis in axes:
                fitting[axis] = -(-shape[axis] // 2**levels) * 2**levels
            raise ShapeError(
                f"Wavelet with {levels} levels needs sizes divisible by {2**levels}, not {shape}; take fewer levels, "
                f"or pad the image to {tuple(fitting)}"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "axes", axes)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def bank(self) -> FilterBank:
        """The filters."""
        return filter_bank(self.wavelet)

    @property
    def dual(self) -> Wavelet:
        """The transform by the dual wavelet, whose adjoint is the inverse; itself for orthogonal wavelets."""
        if self.bank.orthogonal:
            return self
        return Wavelet(self.shape, self.bank.dual_name, self.levels, self.axes)

    def kernel(self) -> Kernel:
        bank, levels = self.bank, self.levels or 0
        if levels and is_small(self.shape, self.axes):
            return self._by_matrices(adjoint=False)
        bands = tuple(_analysis_band(taps) for taps in (bank.low, bank.high))
        return self._kernel(analyse, *bands)

    def adjoint_kernel(self) -> Kernel:
        bank, levels = self.bank, self.levels or 0
        if levels and is_small(self.shape, self.axes):
            return self._by_matrices(adjoint=True)
        bands = tuple(_synthesis_band(taps) for taps in (bank.low, bank.high))
        return self._kernel(synthesise, *bands)

    def _kernel(self, function: Any, *bands: Constant) -> Kernel:
        bank = self.bank
        scratch = scratch_shapes(self.shape, len(bank.low))
        arguments = (self.shape, self.axes, bank.low, bank.high, self.levels, *bands)
        return Kernel(function, arguments, passes=self._passes, scratch=scratch)

    def _by_matrices(self, adjoint: bool) -> Kernel:
        corners = tuple(
            tuple(
                n >> level if axis in self.axes else n
                for axis, n in zip(range(-len(self.shape), 0), self.shape, strict=True)
            )
            for level in range(self.levels or 0)
        )[:: -1 if adjoint else 1]
        matrices = (_level_matrix(self.wavelet, corner[axis], adjoint) for corner in corners for axis in self.axes)
        return Kernel(multiply_corners, (self.shape, self.axes, corners, *matrices), passes=self._passes)

    @property
    def _passes(self) -> float:
        shrink = 0.5 ** len(self.axes)
        work = sum(shrink**level for level in range(self.levels or 0))
        taps = sum(h != 0 for h in self.bank.low + self.bank.high)
        return 1.0 + taps * len(self.axes) * work

    @property
    def facts(self) -> Facts:
        if self.bank.orthogonal or self.levels == 0:
            one = Literal(1.0)
            return Facts(gram_scale=one, cogram_scale=one, norm=exact(1.0))
        return Facts(norm=self._norm)

    @property
    def _norm(self) -> Bound:
        """The bound of the levels, coarsest first, by the formula in the notes."""
        squared, levels = 1.0, self.levels or 0
        for level in reversed(range(levels)):
            pairs = [level_norms(self.bank.low, self.bank.high, self.shape[axis] >> level) for axis in self.axes]
            full, coarse = prod(p[0] for p in pairs), prod(p[1] for p in pairs)
            squared = full + max(squared - 1.0, 0.0) * coarse
        return (exact if levels == 1 else upper)(sqrt(squared))

    def inverse(self) -> LinearOperator:
        """The synthesis: the adjoint of the dual wavelet's analysis."""
        return self.dual.H

    def __repr__(self) -> str:
        axes = "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return f"Wavelet({self.shape}, {self.wavelet!r}, levels={self.levels}{axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Wavelet((4, 6), "haar", 1),
            Wavelet((8,), "db2"),
            Wavelet((2, 2, 4), "sym4", 1),
            Wavelet((3, 1), "db2", 0),
            Wavelet((4, 3), "db2", 2, axes=0),
            Wavelet((4, 4), "bior2.2", 2),
            Wavelet((4, 6), "rbio4.4", 1),
            Wavelet((2, 8), "bior3.3", axes=-1),
        ]


def _most_levels(sizes: Shape, length: int, name: str) -> int:
    levels = 0
    while all(n % 2 ** (levels + 1) == 0 and n // 2**levels >= length for n in sizes):
        levels += 1
    if levels == 0:
        raise ShapeError(
            f"Wavelet {name!r} with {length} taps has no level on axes of sizes {sizes} by itself: it needs even sizes "
            f"of at least {length}; pad the image, take a shorter wavelet, or give levels="
        )
    return levels


@rule(Composed, group="simplify")
def cancel_dual_wavelets(product: Composed) -> LinearOperator | None:
    """V.H @ W  ->  I, W @ V.H  ->  I     (V the wavelet dual to W; Cohen, Daubechies, Feauveau 1992)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=Wavelet() as left), Wavelet() as right):
            pair = left, right
        case (Wavelet() as left, Adjoint(operator=Wavelet() as right)):
            pair = left, right
        case _:
            return None
    if pair[0].bank.orthogonal or pair[0].dual is not pair[1]:
        return None
    return Identity(b.in_shape) if rest is None else compose(Identity(b.in_shape), rest)


@lru_cache(maxsize=64)
def _level_matrix(name: str, n: int, adjoint: bool) -> Constant:
    """One level on a periodic line of even length: averages first, then details."""
    bank = filter_bank(name)
    length, matrix = len(bank.low), np.zeros((n, n))
    for half, taps in enumerate((bank.low, bank.high)):
        for k in range(n // 2):
            for j, tap in enumerate(taps):
                matrix[half * (n // 2) + k, (2 * k + length // 2 - j) % n] += tap
    return Constant(np.ascontiguousarray(matrix.T) if adjoint else matrix, name="level")


@lru_cache(maxsize=64)
def _analysis_band(taps: Taps) -> Constant:
    """What takes a stretch of a line that goes on beyond its ends to some entries of the coarser level."""
    length, matrix = len(taps), np.zeros((_BLOCK, 2 * _BLOCK + len(taps) - 2))
    for k in range(_BLOCK):
        for j, tap in enumerate(taps):
            matrix[k, 2 * k + length - 1 - j] = tap
    return Constant(matrix, name="band")


@lru_cache(maxsize=64)
def _synthesis_band(taps: Taps) -> Constant:
    """What takes a stretch of a half that goes on beyond its ends to twice as many entries of the finer level."""
    length = len(taps)
    matrix = np.zeros((2 * _BLOCK, _BLOCK + 2 * (length // 2)))
    for m in range(_BLOCK):
        for parity in (0, 1):
            for j in range((length // 2 - parity) % 2, length, 2):
                matrix[2 * m + parity, m + length // 2 - (length // 2 - j - parity) // 2] = taps[j]
    return Constant(matrix, name="band")


def _slice(axis: int, start: int | None, stop: int | None, step: int | None = None) -> tuple[Any, ...]:
    return (..., slice(start, stop, step), *(slice(None),) * (-1 - axis))


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
    """``out = sum_j h_j x_j`` for pairs ``(h_j, x_j)``, of which those with ``h_j = 0`` are skipped."""
    begun = False
    for tap, part in terms:
        if tap == 0.0:
            continue
        if begun:
            lib.multiply(part, tap, out=spare)
            lib.add(out, spare, out=out)
        else:
            lib.multiply(part, tap, out=out)
        begun = True


def _corners(shape: Any, axes: Any, levels: int) -> list[tuple[Any, ...]]:
    """The boxes that the levels work on, finest first."""
    halved = [axis in axes for axis in range(-len(shape), 0)]
    boxes = []
    for level in range(levels):
        sizes = (n >> level if shrinks else n for n, shrinks in zip(shape, halved, strict=True))
        boxes.append((..., *(slice(0, n) for n in sizes)))
    return boxes


def _banded(lib: Any, band: Any, source: Any, axis: int, stretch: Any, kept: int, out: Any) -> None:
    """The first ``kept`` entries that a band makes of a stretch of the source, along one of the last two axes."""
    part, rows = source[_slice(axis, *stretch)], band[:kept, : stretch[1] - stretch[0]]
    if part.ndim == 1:
        lib.matmul(part, rows.T, out=out)
        return
    across = -3 - axis
    # Libraries start threads for larger products, which then wait for each other longer than they work.
    width = max(1, 250_000 // (rows.shape[0] * rows.shape[1]))
    for begin in range(0, part.shape[across], width):
        cut = _slice(across, begin, begin + width)
        if axis == -1:
            lib.matmul(part[cut], rows.T, out=out[cut])
        else:
            lib.matmul(rows, part[cut], out=out[cut])


def analyse(
    lib: Any,
    x: Any,
    shape: Any,
    axes: Any,
    low: Any,
    high: Any,
    levels: int,
    low_band: Any,
    high_band: Any,
    scratch: Any = None,
    out: Any = None,
) -> Any:
    """Wavelet coefficients: on each level ``a_k = sum_j h_j x_(2k + L/2 - j)`` and ``d_k`` likewise, axis by axis.

    Along the last two axes, blocks are products with a band matrix, which libraries make at full speed.
    """
    out = lib.copy(x, out=out)
    length, step = len(low), low_band.shape[0]
    room, products = _room(lib, x, shape, length, scratch)
    bands = of_kind(lib, x, low_band), of_kind(lib, x, high_band)
    for corner in _corners(shape, axes, levels):
        block = out[corner]
        for axis in axes:
            n = block.shape[axis]
            source = _wrap(block, axis, length // 2 - 1, length // 2, room)
            halves = block[_slice(axis, 0, n // 2)], block[_slice(axis, n // 2, n)]
            for taps, band, half in zip((low, high), bands, halves, strict=True):
                if axis < -2:
                    spare = _corner_of(products, half.shape)
                    ends = ((h, length - 1 - j) for j, h in enumerate(taps))
                    _combine(lib, ((h, source[_slice(axis, a, a + n, 2)]) for h, a in ends), half, spare)
                    continue
                for k in range(0, n // 2, step):
                    kept = min(step, n // 2 - k)
                    stretch = 2 * k, 2 * k + 2 * kept + length - 2
                    _banded(lib, band, source, axis, stretch, kept, half[_slice(axis, k, k + kept)])
    return out


def synthesise(
    lib: Any,
    x: Any,
    shape: Any,
    axes: Any,
    low: Any,
    high: Any,
    levels: int,
    low_band: Any,
    high_band: Any,
    scratch: Any = None,
    out: Any = None,
) -> Any:
    """The adjoint of `analyse`, which is its inverse where the wavelet is orthogonal."""
    out = lib.copy(x, out=out)
    length, reach, step = len(low), len(low) // 2, low_band.shape[0] // 2
    room, products = _room(lib, x, shape, length, scratch)
    bands = of_kind(lib, x, low_band), of_kind(lib, x, high_band)
    for corner in reversed(_corners(shape, axes, levels)):
        block = out[corner]
        for axis in reversed(axes):
            n = block.shape[axis]
            halves = block[_slice(axis, 0, n // 2)], block[_slice(axis, n // 2, n)]
            rooms = room[_slice(axis, 0, n // 2 + length)], room[_slice(axis, n // 2 + length, n + 2 * length)]
            parts = [_wrap(h, axis, reach, reach, r) for h, r in zip(halves, rooms, strict=True)]
            if axis < -2:
                _interleave(lib, parts, (low, high), axis, block, products)
                continue
            for k in range(0, n // 2, step):
                kept = min(step, n // 2 - k)
                stretch, target = (k, k + kept + 2 * reach), block[_slice(axis, 2 * k, 2 * (k + kept))]
                spare = _corner_of(products, target.shape)
                _banded(lib, bands[0], parts[0], axis, stretch, 2 * kept, target)
                _banded(lib, bands[1], parts[1], axis, stretch, 2 * kept, spare)
                lib.add(target, spare, out=target)
    return out


def _interleave(lib: Any, halves: Any, filters: Any, axis: int, block: Any, products: Any) -> None:
    """The even and the odd entries along any axis from wrapped halves, tap by tap."""
    n, length = block.shape[axis], len(filters[0])
    reach = length // 2
    for parity in (0, 1):
        terms = []
        for j in range((reach - parity) % 2, length, 2):
            begin = reach - (reach - j - parity) // 2
            window = _slice(axis, begin, begin + n // 2)
            terms += [(taps[j], half[window]) for taps, half in zip(filters, halves, strict=True)]
        target = block[_slice(axis, parity, n, 2)]
        _combine(lib, terms, target, _corner_of(products, target.shape))
