"""Convolution of images with several channels, by a bank of filters that may be learned."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import ShapeError
from opalg.facts import Bound, exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, as_shape, compose
from opalg.operators.circular import (
    REFLECTIVE,
    Layout,
    bordered,
    checked_boundary,
    checked_origin,
    checked_sizes,
    checked_stride,
    layout,
    spectrum_of,
)
from opalg.operators.diagonal import adjacent
from opalg.operators.direct import DirectSums, considers_sums
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.knowledge import Facts
from opalg.operators.padding import Pad
from opalg.operators.rearrangement import Reshape
from opalg.operators.round_trip import from_spectrum, to_spectrum
from opalg.operators.spectra import as_data, conjugate, text
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce, Shape
from opalg.program.interpreter import evaluate
from opalg.program.linear import Reshaped
from opalg.rules import rule

_MOST_WORK = 1_000_000  # multiplications; the exact norm of a larger bank is not computed


@node
class MultiConvolve(LinearOperator):
    """Convolution by a bank of filters, ``y_(a, n) = sum_c sum_i k_(a, c, i) x_(c, s n - i + o)``.

    Parameters
    ----------
    filters : array, Constant, Parameter or Expression
        The filters ``k``, real or complex, of shape ``(out_channels, in_channels // groups, *size)``; or
        ``(out_channels, *size)`` for images of one channel without an axis for it.
    shape : tuple of int
        The shape of the image, without its channels.
    boundary : str
        That of `Convolve`: ``"periodic"``, ``"zero"``, ``"reflect"``, ``"symmetric"``, ``"edge"``, ``"valid"`` or
        ``"full"``.
    origin : "center" or tuple of int
        The index ``o`` of the filters' centre, by default ``size // 2``.
    stride : int or tuple of int
        Keep every ``s``-th result of each axis, beginning with the first.
    groups : int
        Cut the channels into so many groups of neighbours; each group of results sees its own group of the image's
        channels only. With as many groups as channels, each channel is filtered by itself.

    Raises
    ------
    ShapeError
        Where the filters have not one or two axes more than the image or no channels, the channels do not divide into
        the groups, and as for `Convolve`.
    UnsupportedError
        For another boundary.

    Notes
    -----
    Takes ``(in_channels, *shape)``, or ``shape``, to ``(out_channels, *out)``, with one forward transform for each
    channel of the image and one inverse for each result; the filters' spectra are made once. The adjoint correlates
    each result with its filters' conjugates and adds up.

    The norm for ``"periodic"`` is the largest spectral norm of the ``out x in`` matrices of all frequencies. It is
    exact where each group has one channel on one side, or the filters are a constant of moderate size; else the smaller
    of the Frobenius norm and Schur's test at each frequency bounds it. Other boundaries are bounded by that of the
    extended image times the norm of the extension, or Schur's test over the image, whichever is smaller (upper).

    References
    ----------
    Roth, Black 2009, Fields of experts, section 3; Sedghi, Gupta, Long 2019, The singular values of convolutional
    layers, theorem 6.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> differences = np.array([[[1.0, -1.0]], [[0.5, 0.5]]])
    >>> bank = oa.MultiConvolve(differences, (1, 4), boundary="valid")
    >>> bank.in_shape, bank.out_shape
    ((1, 4), (2, 1, 3))
    >>> np.round(bank @ np.array([[1.0, 3.0, 6.0, 10.0]]), 12).tolist()
    [[[2.0, 3.0, 4.0]], [[2.0, 4.5, 8.0]]]
    """

    filters: Any
    shape: Shape
    boundary: str = "periodic"
    origin: Any = "center"
    stride: Any = 1
    groups: int = 1

    def __post_init__(self) -> None:
        filters, shape = as_data(self.filters, "MultiConvolve"), as_shape(self.shape)
        checked_boundary(self.boundary, "MultiConvolve")
        channels = filters.ndim - len(shape)
        if channels not in (1, 2) or 0 in filters.shape[:channels]:
            raise ShapeError(
                f"MultiConvolve on {shape} needs filters of shape (out_channels, in_channels // groups, *size) or "
                f"(out_channels, *size), not {filters.shape}"
            )
        size = filters.shape[channels:]
        checked_sizes(shape, size, self.boundary, "MultiConvolve")
        if not isinstance(self.groups, int) or self.groups < 1 or filters.shape[0] % self.groups:
            raise ShapeError(f"the {filters.shape[0]} results of MultiConvolve do not divide into {self.groups} groups")
        if channels == 1 and self.groups != 1:
            raise ShapeError("MultiConvolve cannot cut an image without channel axis into groups; give the filters one")
        object.__setattr__(self, "filters", filters)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "origin", checked_origin(self.origin, size, self.boundary))
        object.__setattr__(self, "stride", checked_stride(self.stride, len(shape), "the stride of MultiConvolve"))

    @property
    def has_channels(self) -> bool:
        """Whether images have an axis of channels."""
        return self.filters.ndim == len(self.shape) + 2

    @property
    def in_channels(self) -> int:
        """The number of channels of the image."""
        return self.groups * self._inputs

    @property
    def out_channels(self) -> int:
        """The number of results."""
        return self.filters.shape[0]

    @property
    def _inputs(self) -> int:
        """Channels of the image in each group."""
        return self.filters.shape[1] if self.has_channels else 1

    @property
    def _outputs(self) -> int:
        """Results of each group."""
        return self.out_channels // self.groups

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return (self.in_channels, *self.shape) if self.has_channels else self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (self.out_channels, *self._layout.out_shape(self.stride))

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.filters.kind == "complex" else "any"

    def out_kind(self, kind: str) -> str:
        return "complex" if self.filters.kind == "complex" else kind

    def adjoint_kind(self, kind: str) -> str:
        return self.out_kind(kind)

    @property
    def strided(self) -> bool:
        """Whether it leaves results out."""
        return any(s > 1 for s in self.stride)

    @property
    def border(self) -> Pad:
        """The image with the border that the taps reach."""
        return bordered(self.shape, self._size, self.boundary, self.origin, self.stride, self.out_shape[1:])

    @property
    def _layout(self) -> Layout:
        return layout(self.shape, self.filters.shape[-len(self.shape) :], self.boundary, self.origin)

    @property
    def spectra(self) -> tuple[FFT | RFFT, Expression]:
        """The transform, and the filters' spectra of shape ``(groups, outputs, inputs, *frequencies)``."""
        transform, spectra = spectrum_of(self.filters, self._layout)
        return transform, _grouped(spectra, (self.groups, self._outputs, self._inputs, *transform.out_shape))

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        if x.kind == "real" and considers_sums(self.filters, self.shape, self._inputs):
            return ex.Apply(DirectSums(self), x)
        return self.by_transforms(x)

    def by_transforms(self, x: Expression) -> Expression:
        """The trace by products of spectra."""
        transform, spectra = self.spectra
        if isinstance(transform, RFFT) and x.kind == "complex":
            parts = (self.by_transforms(ex.pointwise(part, x)) for part in ("real", "imag"))
            return next(parts) + Literal(1j) * next(parts)
        plan, bins = self._layout, transform.out_shape
        channels = to_spectrum(transform, plan.extension.trace(x))
        inner = (self.in_channels,) if self.has_channels else ()
        channels = _seen_as(channels, (self.groups, 1, self._inputs, *bins), (*inner, *bins))
        filtered = spectra * channels
        if self._inputs > 1:
            filtered = Reduce("sum", filtered, (-len(bins) - 1,), keepdims=True)
        results = _seen_as(filtered, (self.out_channels, *bins), (self.groups, self._outputs, 1, *bins))
        return plan.sample(from_spectrum(transform, results), self.stride)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        return self.adjoint_by_transforms(y)

    def adjoint_by_transforms(self, y: Expression) -> Expression:
        """The trace of the adjoint by products of spectra."""
        transform, spectra = self.spectra
        if isinstance(transform, RFFT) and y.kind == "complex":
            parts = (self.adjoint_by_transforms(ex.pointwise(part, y)) for part in ("real", "imag"))
            return next(parts) + Literal(1j) * next(parts)
        plan, bins = self._layout, transform.out_shape
        results = to_spectrum(transform, plan.spread(y, self.stride))
        results = _seen_as(results, (self.groups, self._outputs, 1, *bins), (self.out_channels, *bins))
        filtered = conjugate(spectra) * results
        if self._outputs > 1:
            filtered = Reduce("sum", filtered, (-len(bins) - 2,), keepdims=True)
        inner = (self.in_channels,) if self.has_channels else ()
        channels = _seen_as(filtered, (*inner, *bins), (self.groups, 1, self._inputs, *bins))
        return plan.extension.trace_adjoint(from_spectrum(transform, channels))

    @property
    def H(self) -> LinearOperator:
        return Adjoint(self)

    @property
    def facts(self) -> Facts:
        inner = self._circular_bound
        if self.boundary == "periodic" and not self.strided:
            return Facts(norm=inner)
        reach = self._layout.reach.facts.norm
        assert reach is not None
        return Facts(norm=upper(ex.minimum(inner.times(reach).expression, self._schur_bound)))

    @property
    def _circular_bound(self) -> Bound:
        """The norm of the periodic convolution that does the work."""
        if _work(self) <= _MOST_WORK and isinstance(self.filters, Constant) and min(self._inputs, self._outputs) > 1:
            return exact(_largest_singular_value(self))
        transform, spectra = self.spectra
        first, second = -len(transform.shape) - 2, -len(transform.shape) - 1
        frobenius = ex.largest(Reduce("sum", ex.square_abs(spectra), (first, second), keepdims=True))
        if 1 in (self._inputs, self._outputs):
            return exact(ex.sqrt(frobenius))
        rows, columns = (
            Reduce("max", Reduce("sum", abs(spectra), (summed,), keepdims=True), (other,), keepdims=True)
            for summed, other in ((second, first), (first, second))
        )
        return upper(ex.sqrt(ex.minimum(frobenius, ex.largest(rows * columns))))

    @property
    def _schur_bound(self) -> Expression:
        """The root of the largest row sum times the largest column sum of magnitudes."""
        size = abs(self.filters)
        taps = tuple(range(1, size.ndim))
        row = ex.largest(Reduce("sum", size, tuple(axis - size.ndim for axis in taps)))
        if self.boundary not in REFLECTIVE and not self.strided:
            grouped = _grouped(size, (self.groups, self._outputs, self._inputs, prod(self._size)))
            column = ex.largest(Reduce("sum", grouped, (-3, -1)))
        else:
            positive = MultiConvolve(size, self.shape, self.boundary, self.origin, self.stride, self.groups)
            column = ex.largest(abs(positive.trace_adjoint(ex.broadcast_to(Literal(1.0), self.out_shape))))
        return ex.sqrt(row * column)

    @property
    def _size(self) -> Shape:
        return self.filters.shape[-len(self.shape) :]

    def __repr__(self) -> str:
        shown = f"MultiConvolve({text(self.filters)}, {self.shape}, boundary={self.boundary!r}"
        if self.origin != tuple(k // 2 for k in self._size):
            shown += f", origin={self.origin}"
        shown += f", stride={self.stride}" if self.strided else ""
        return shown + (f", groups={self.groups})" if self.groups > 1 else ")")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        experts = Parameter(rng.standard_normal((3, 2, 2)), name="experts")
        bank = Parameter(rng.standard_normal((2, 3, 2)), name="bank")
        z = rng.standard_normal((2, 2, 2)) + 1j * rng.standard_normal((2, 2, 2))
        return [
            MultiConvolve(experts, (2, 3)),
            MultiConvolve(bank, (3,)),
            MultiConvolve(rng.standard_normal((2, 3, 2)), (4,), boundary="zero", stride=2),
            MultiConvolve(rng.standard_normal((4, 1, 2)), (3,), groups=2),
            MultiConvolve(rng.standard_normal((4, 2, 2)), (3,), boundary="symmetric", origin=(0,), groups=2),
            MultiConvolve(z, (3,), boundary="full"),
            MultiConvolve(experts, (2, 2), boundary="edge", stride=(1, 2)),
            MultiConvolve(rng.standard_normal((1, 2, 2, 1)), (2, 2), boundary="valid"),
        ]


def _grouped(data: Expression, shape: Shape) -> Expression:
    """Data in another shape, whose signs are still seen through it."""
    return data if data.shape == shape else ex.Apply(Reshaped(data.shape, shape), data)


def _seen_as(e: Expression, shape: Shape, old: Shape) -> Expression:
    """A view of an array with its trailing axes ``old`` in another shape."""
    return e if old == shape else ex.Apply(Reshape(old, shape), e)


def _work(bank: MultiConvolve) -> int:
    inputs, outputs = bank._inputs, bank._outputs
    return bank.groups * inputs * outputs * min(inputs, outputs) * prod(bank._layout.torus)


@lru_cache(maxsize=8)
def _largest_singular_value(bank: MultiConvolve) -> float:
    """The largest singular value over all frequencies, of constant filters."""
    (spectra,) = evaluate([bank.spectra[1]], {}, backend("numpy", "float64"))
    matrices = np.moveaxis(spectra, (1, 2), (-2, -1))
    return float(np.linalg.norm(matrices, 2, axis=(-2, -1)).max())


def _power(bank: MultiConvolve, axis: int, shape: Shape) -> DiagonalIn:
    """The operator diagonal in Fourier space by the squared magnitudes summed over one kind of channel."""
    transform, spectra = bank.spectra
    power = Reduce("sum", ex.square_abs(spectra), (axis - len(transform.shape) - 3,), keepdims=True)
    axes = tuple(range(-len(bank.shape), 0))
    whole = type(transform)(shape, axes=axes, norm="backward")
    return DiagonalIn(whole, _grouped(power, whole.out_shape))


def _is_plain(bank: MultiConvolve) -> bool:
    return bank.boundary == "periodic" and not bank.strided


@rule(Composed, group="diagonalise")
def diagonalise_gram_of_filters(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  DiagonalIn(RFFT, sum_a |k_a|^2)     (A periodic filters of one channel for each group)"""
    match adjacent(product):
        case (Adjoint(operator=MultiConvolve() as left), MultiConvolve() as bank, rest) if left is bank:
            if not _is_plain(bank) or bank._inputs > 1:
                return None
            merged = _power(bank, 1, bank.in_shape)
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="diagonalise")
def diagonalise_cogram_of_filters(product: Composed) -> LinearOperator | None:
    """A @ A.H  ->  DiagonalIn(RFFT, sum_c |k_c|^2)     (A periodic filters of one result for each group)"""
    match adjacent(product):
        case (MultiConvolve() as bank, Adjoint(operator=MultiConvolve() as right), rest) if right is bank:
            if not _is_plain(bank) or bank._outputs > 1:
                return None
            merged = _power(bank, 2, bank.out_shape)
            return merged if rest is None else compose(merged, rest)
    return None
