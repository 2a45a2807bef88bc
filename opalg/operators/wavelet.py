"""Wavelet transforms: orthogonal and biorthogonal, periodised, any axes."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import Bound, exact, upper
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, as_shape, compose
from opalg.operators.axes import as_axes
from opalg.operators.diagonal import adjacent
from opalg.operators.filter_bank import FilterBank, filter_bank, level_norms
from opalg.operators.knowledge import Facts
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule


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
        return self._kernel(analyse)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(synthesise)

    def _kernel(self, function: Any) -> Kernel:
        bank = self.bank
        scratch = scratch_shapes(self.shape, len(bank.low))
        arguments = (self.shape, self.axes, bank.low, bank.high, self.levels)
        return Kernel(function, arguments, passes=self._passes, scratch=scratch)

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


def analyse(
    lib: Any, x: Any, shape: Any, axes: Any, low: Any, high: Any, levels: int, scratch: Any = None, out: Any = None
) -> Any:
    """Wavelet coefficients: on each level ``a_k = sum_j h_j x_(2k + L/2 - j)`` and ``d_k`` likewise, axis by axis."""
    out = lib.copy(x, out=out)
    length = len(low)
    room, products = _room(lib, x, shape, length, scratch)
    for corner in _corners(shape, axes, levels):
        block = out[corner]
        for axis in axes:
            n = block.shape[axis]
            source = _wrap(block, axis, length // 2 - 1, length // 2, room)
            halves = block[_slice(axis, 0, n // 2)], block[_slice(axis, n // 2, n)]
            spare = _corner_of(products, halves[0].shape)
            for taps, half in zip((low, high), halves, strict=True):
                parts = ((h, source[_slice(axis, length - 1 - j, length - 1 - j + n, 2)]) for j, h in enumerate(taps))
                _combine(lib, parts, half, spare)
    return out


def synthesise(
    lib: Any, x: Any, shape: Any, axes: Any, low: Any, high: Any, levels: int, scratch: Any = None, out: Any = None
) -> Any:
    """The adjoint of `analyse`, which is its inverse where the wavelet is orthogonal."""
    out = lib.copy(x, out=out)
    length, reach = len(low), len(low) // 2
    room, products = _room(lib, x, shape, length, scratch)
    for corner in reversed(_corners(shape, axes, levels)):
        block = out[corner]
        for axis in reversed(axes):
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
                    parts += [(low[j], coarse[window]), (high[j], detail[window])]
                _combine(lib, parts, block[_slice(axis, parity, n, 2)], spare)
    return out
