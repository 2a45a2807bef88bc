"""The undecimated wavelet transform: all translates of the wavelets, as a frame."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.facts import exact
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_axes, as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.filter_bank import FilterBank, filter_bank, response
from opalg.operators.fourier import RFFT, transform_real_back
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import OnShape
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule


@node
class UndecimatedWavelet(OnShape):
    """The periodic undecimated wavelet transform, ``a_(l + 1) = H_l a_l`` and ``d_(l + 1) = G_l a_l`` on each level.

    Along each axis ``(H_l x)_n = sum_j h_j x_(n + 2^l (L/2 - j)) / sqrt(2)``, the filter "with holes", and ``G_l``
    likewise with the high-pass filter; ``a_0`` is the image.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image, of any sizes.
    wavelet : str
        An orthogonal or biorthogonal wavelet of PyWavelets, such as ``"haar"``, ``"db2"``, ``"bior2.2"``.
    levels : int
        Number of levels.
    axes : tuple of int, optional
        The axes to filter, counted within ``shape``; by default all.

    Raises
    ------
    ShapeError
        Where there are no such axes.
    ParameterError
        For a number of levels that is negative or no integer.
    UnsupportedError, DeviceError
        As for `Wavelet`.

    Notes
    -----
    The bands lie on a new first axis, ``1 + levels * (2^d - 1)`` of them for d axes: the coarse image, then the details
    of each level, coarsest first, in the order of the binary numbers whose digits say "high-pass", first axis first.
    These are PyWavelets' ``swtn(..., trim_approx=True, norm=True)``. For orthogonal wavelets they are a tight frame,
    ``A.H A = I`` (Coifman, Donoho 1995, Translation-invariant de-noising), at odd sizes too. In general ``A.H A`` is
    diagonal in the Fourier basis, which gives the norm (exact) and `inverse`, a left inverse. The adjoint filters each
    band with the reversed filters and adds. Filters act as spectra: one real FFT of the image and one of each band.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.UndecimatedWavelet((4,), "haar", levels=1)
    >>> np.round(A @ np.array([0.0, 0.0, 8.0, 0.0]), 12).tolist()
    [[0.0, 4.0, 4.0, 0.0], [0.0, -4.0, 4.0, 0.0]]
    >>> oa.UndecimatedWavelet((5, 6)).gram.simplify()
    Identity((5, 6))
    """

    shape: Shape
    wavelet: str = "db2"
    levels: int = 2
    axes: Any = None

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        axes = tuple(sorted(as_axes(shape, self.axes, "UndecimatedWavelet")))
        if not isinstance(self.levels, int) or self.levels < 0:
            raise ParameterError(f"the levels of UndecimatedWavelet must be a nonnegative integer, not {self.levels!r}")
        filter_bank(self.wavelet)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", axes)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (self.bands, *self.shape)

    @property
    def bands(self) -> int:
        """How many images the transform gives."""
        return 1 + self.levels * (2 ** len(self.axes) - 1)

    @property
    def bank(self) -> FilterBank:
        """The filters."""
        return filter_bank(self.wavelet)

    def kernel(self) -> Kernel:
        return self._kernel(split_into_bands, in_place=True)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(merge_bands, in_place=False)

    def _kernel(self, function: Any, in_place: bool) -> Kernel:
        sizes = tuple(self.shape[axis] for axis in self.axes)
        table = _table(self.bank, sizes, self.levels)
        passes = 2.0 * self.levels * (2 ** (len(self.axes) + 1) - 2)
        arguments = (table, self.axes, sizes, len(self.shape), self.levels)
        return Kernel(function, arguments, in_place, transforms=1 + self.bands, passes=passes)

    @property
    def gram_spectrum(self) -> Expression:
        """The spectrum of ``A.H A`` on the half frequencies of `RFFT`."""
        return _gram_spectrum(self.bank, self.shape, self.axes, self.levels)

    @property
    def diagonalised_gram(self) -> DiagonalIn:
        """``A.H A``, diagonal in the Fourier basis."""
        return DiagonalIn(RFFT(self.shape, self.axes, "backward"), self.gram_spectrum)

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        if self.bank.orthogonal or self.levels == 0:
            return Facts(gram_scale=one, cogram_scale=None if self.levels else one, norm=exact(1.0))
        return Facts(norm=exact(ex.sqrt(ex.largest(self.gram_spectrum))))

    def inverse(self) -> LinearOperator:
        """The left inverse ``(A.H A)^-1 A.H``, which is the adjoint for orthogonal wavelets."""
        return self.H if self.facts.gram_scale is not None else compose(self.diagonalised_gram.inverse(), self.H)

    def __repr__(self) -> str:
        axes = "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return f"UndecimatedWavelet({self.shape}, {self.wavelet!r}, levels={self.levels}{axes})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            UndecimatedWavelet((3, 4)),
            UndecimatedWavelet((5,), "haar", 3),
            UndecimatedWavelet((4, 3), "db2", 1, axes=0),
            UndecimatedWavelet((2, 1, 3), "haar", 1),
            UndecimatedWavelet((4, 5), "bior2.2", 2),
            UndecimatedWavelet((6,), "rbio3.1", 2),
            UndecimatedWavelet((3, 2), "haar", 0),
        ]


def _responses(bank: FilterBank, n: int, level: int) -> tuple[np.ndarray, np.ndarray]:
    """The spectra of the low- and high-pass filters with holes of ``2^level`` on n frequencies, over ``sqrt(2)``."""
    stretched = np.arange(n) * 2**level % n
    centred = np.exp(2j * np.pi * (stretched * (len(bank.low) // 2) % n) / n) / np.sqrt(2.0)
    low, high = (response(taps, n)[stretched] * centred for taps in (bank.low, bank.high))
    return low, high


@lru_cache(maxsize=64)
def _table(bank: FilterBank, sizes: Shape, levels: int) -> Constant:
    """The spectra of all levels and axes end to end: for each level, for each axis, low then high."""
    pieces = [part for level in range(levels) for n in sizes for part in _responses(bank, n, level)]
    return Constant(np.concatenate([*pieces, np.zeros(0, complex)]), name="filters", copy=False)


@lru_cache(maxsize=64)
def _gram_spectrum(bank: FilterBank, shape: Shape, axes: tuple[int, ...], levels: int) -> Expression:
    """``S_l = prod |h|^2 S_(l + 1) + `` the other products of ``|h|^2`` or ``|g|^2`` over the axes."""
    out: Expression = Literal(1.0)
    for level in reversed(range(levels)):
        parts: list[Expression] = [Literal(1.0)]
        for axis in axes:
            n = shape[axis]
            kept, column = n // 2 + 1 if axis == axes[-1] else n, (-1,) + (1,) * (-1 - axis)
            squares = (np.abs(part[:kept].reshape(column)) ** 2 for part in _responses(bank, n, level))
            pair = [Constant(s, name=f"|{f}|^2 on axis {axis}") for f, s in zip("hg", squares, strict=True)]
            parts = [p * c for p in parts for c in pair]
        out = parts[0] * out
        for part in parts[1:]:
            out = out + part
    return out


def _filters(lib: Any, table: Any, axes: Any, sizes: Any, level: int, halved: bool) -> Any:
    """For each axis of a level its low- and high-pass spectrum, ready to broadcast."""
    pairs, begin = [], 2 * level * sum(sizes)
    for axis, n in zip(axes, sizes, strict=True):
        count = n // 2 + 1 if halved and axis == axes[-1] else n
        column = (count,) + (1,) * (-1 - axis)
        pairs.append(tuple(lib.xp.reshape(table[a : a + count], column) for a in (begin, begin + n)))
        begin += 2 * n
    return pairs


def _spectrum_of(lib: Any, x: Any, axes: Any) -> Any:
    return lib.fftn(x, axes, "backward") if lib.kind_of(x) == "complex" else lib.rfftn(x, axes, "backward")


def _array_of(lib: Any, spectrum: Any, axes: Any, sizes: Any, halved: bool) -> Any:
    if halved:
        return transform_real_back(lib, spectrum, axes, sizes, "backward")
    return lib.ifftn(spectrum, axes, "backward")


def _bands(x: Any, ndim: int) -> list[Any]:
    """Views of the bands of an array with batch axes in front and ndim axes of the image behind."""
    split = x.ndim - ndim - 1
    return [x[(*(slice(None),) * (split), index, ...)] for index in range(x.shape[split])]


def split_into_bands(
    lib: Any, x: Any, table: Any, axes: Any, sizes: Any, ndim: int, levels: int, out: Any = None
) -> Any:
    """All bands: on each level the spectrum of the coarse image is split along one axis after the other."""
    split, halved, each = x.ndim - ndim, lib.kind_of(x) != "complex", 2 ** len(axes) - 1
    out = lib.empty_like(x, (*x.shape[:split], 1 + levels * each, *x.shape[split:]), out=out)
    bands = _bands(out, ndim)
    coarse = _spectrum_of(lib, x, axes)
    for level in range(levels):
        parts = [coarse]
        for low, high in _filters(lib, table, axes, sizes, level, halved):
            parts = [made for p in parts for made in (lib.multiply(p, low), lib.multiply(p, high, out=p))]
        coarse, details = parts[0], parts[1:]
        first = 1 + (levels - 1 - level) * each
        for band, detail in zip(bands[first : first + each], details, strict=True):
            lib.copy(_array_of(lib, detail, axes, sizes, halved), out=band)
    lib.copy(_array_of(lib, coarse, axes, sizes, halved), out=bands[0])
    return out


def merge_bands(lib: Any, x: Any, table: Any, axes: Any, sizes: Any, ndim: int, levels: int, out: Any = None) -> Any:
    """The adjoint of `split_into_bands`: spectra times conjugated filters, added pair by pair."""
    halved, each = lib.kind_of(x) != "complex", 2 ** len(axes) - 1
    bands = _bands(x, ndim)
    conjugated = lib.xp.conj(table)
    coarse = _spectrum_of(lib, bands[0], axes)
    for level in reversed(range(levels)):
        first = 1 + (levels - 1 - level) * each
        parts = [coarse, *(_spectrum_of(lib, band, axes) for band in bands[first : first + each])]
        for low, high in reversed(_filters(lib, conjugated, axes, sizes, level, halved)):
            for a, b in zip(parts[::2], parts[1::2], strict=True):
                lib.multiply(a, low, out=a)
                lib.multiply(b, high, out=b)
                lib.add(a, b, out=a)
            parts = parts[::2]
        coarse = parts[0]
    return _array_of(lib, coarse, axes, sizes, halved)


@rule(Composed, group="diagonalise")
def diagonalise_gram_of_undecimated(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  DiagonalIn(RFFT, sum_b |s_b|^2)     (A an undecimated biorthogonal wavelet transform)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=UndecimatedWavelet() as left), UndecimatedWavelet() as right):
            if left is not right or right.facts.gram_scale is not None:
                return None
            return right.diagonalised_gram if rest is None else compose(right.diagonalised_gram, rest)
    return None
