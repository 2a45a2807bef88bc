"""Circular convolutions between a fine and a coarse grid, and the rules that find and merge them."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.circular import checked_stride
from opalg.operators.convolution import Convolve, norm_of_sampled
from opalg.operators.diagonal import adjacent
from opalg.operators.fourier import FFT, RFFT
from opalg.operators.knowledge import Facts
from opalg.operators.lattice import Sampled
from opalg.operators.round_trip import from_spectrum
from opalg.operators.sampling import Downsample, Upsample
from opalg.operators.spectra import conjugate, is_nonnegative, times
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rule


@node
class SampledDiagonalIn(LinearOperator):
    """Every ``f``-th sample of a circular convolution, ``x -> (T^-1 s T x)_(f n)``, where ``f`` divides the sizes.

    Parameters
    ----------
    convolution : DiagonalIn
        The convolution, diagonal in an `FFT` or `RFFT` of all axes.
    factor : int or tuple of int
        The factor ``f``.
    taps : Expression, optional
        The kernel, where it is small: the map is then applied as a sum over its taps, without transforms.
    origin : tuple of int
        The index of that kernel's centre.

    Raises
    ------
    ShapeError
        Where a factor does not divide the size of its axis.
    ParameterError
        For another basis.

    Notes
    -----
    What periodic `Downsample` and strided `Convolve` are rewritten to. The adjoint inserts zeros and applies the
    convolution's adjoint. The norm is the root of the largest entry of ``|s|^2`` averaged over the frequencies that
    alias (exact); ``A @ A.H`` is a convolution on the samples, and is rewritten to a `DiagonalIn`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> blurred = oa.Downsample((6,), 2) @ oa.Convolve(np.array([0.25, 0.5, 0.25]), (6,))
    >>> blurred.simplify()
    SampledDiagonalIn(DiagonalIn(RFFT, RFFT array), (2,))
    >>> np.round(blurred.simplify() @ np.array([0.0, 4.0, 0.0, 0.0, 0.0, 8.0]), 12)
    array([3., 1., 2.])
    """

    convolution: DiagonalIn
    factor: Any
    taps: Expression | None = None
    origin: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        transform, shape = self.convolution.transform, self.convolution.in_shape
        if not isinstance(transform, (FFT, RFFT)) or len(transform.axes) != len(shape):
            raise ParameterError(f"SampledDiagonalIn needs an FFT or RFFT of all axes, not {transform!r}")
        factor = checked_stride(self.factor, len(shape), "the factor of SampledDiagonalIn")
        if any(n % f for n, f in zip(shape, factor, strict=True)):
            raise ShapeError(f"SampledDiagonalIn needs factors that divide the sizes {shape}, not {factor}")
        object.__setattr__(self, "factor", factor)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.convolution.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.samples.out_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return self.convolution.in_kind

    @property
    def samples(self) -> Sampled:
        """The samples that are kept."""
        shape = self.convolution.in_shape
        return Sampled(shape, (0,) * len(shape), shape, self.factor)

    def trace(self, x: Expression) -> Expression:
        if self.taps is not None:
            return self._summing(self.taps).trace(x)
        return ex.Apply(self.samples, self.convolution.trace(x))

    def trace_adjoint(self, y: Expression) -> Expression:
        if self.taps is not None:
            return self._summing(self.taps).trace_adjoint(y)
        return self.convolution.trace_adjoint(ex.Apply(self.samples, y, adjoint=True))

    def _summing(self, taps: Expression) -> Convolve:
        return Convolve(taps, self.in_shape, "periodic", self.origin, self.factor)

    @property
    def facts(self) -> Facts:
        return Facts(norm=norm_of_sampled(self.convolution, self.factor))

    def __repr__(self) -> str:
        return f"SampledDiagonalIn({self.convolution!r}, {self.factor})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        kernel = rng.standard_normal((4, 3))
        return [
            SampledDiagonalIn(DiagonalIn(RFFT((4, 3)), np.fft.rfftn(kernel)), (2, 3)),
            SampledDiagonalIn(DiagonalIn(FFT((6,)), rng.standard_normal(6) + 1j * rng.standard_normal(6)), 2),
        ]


def _divides(factor: tuple[int, ...], shape: Shape) -> bool:
    return all(n % f == 0 for n, f in zip(shape, factor, strict=True))


@rule(Convolve, group="diagonalise")
def diagonalise_strided_convolution(convolution: Convolve) -> LinearOperator | None:
    """Convolve(k, periodic, stride=f)  ->  SampledDiagonalIn(DiagonalIn(RFFT, RFFT k), f)     (f divides the sizes)"""
    if convolution.boundary != "periodic" or not convolution.strided:
        return None
    if not _divides(convolution.stride, convolution.shape):
        return None
    if not convolution.sums_taps:
        return SampledDiagonalIn(convolution.diagonalised, convolution.stride)
    return SampledDiagonalIn(convolution.diagonalised, convolution.stride, convolution.kernel, convolution.origin)


@rule(Upsample, group="diagonalise")
def diagonalise_periodic_upsampling(up: Upsample) -> LinearOperator | None:
    """Upsample(s, f, h, periodic)  ->  SampledDiagonalIn(DiagonalIn(RFFT, conj(RFFT h)), f).H"""
    if up.filter is None or up.boundary != "periodic":
        return None
    return SampledDiagonalIn(up.convolution.diagonalised.H, up.factor).H  # type: ignore[arg-type]


@rule(Composed, group="merge")
def merge_decimation_and_convolution(product: Composed) -> LinearOperator | None:
    """Downsample(f) @ DiagonalIn(F, s)  ->  SampledDiagonalIn(DiagonalIn(F, s), f)     (f divides the sizes)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Downsample(filter=None, factor=f), DiagonalIn(transform=FFT() | RFFT() as t)):
            if not _divides(f, b.in_shape) or len(t.axes) != len(t.shape):
                return None
            merged = SampledDiagonalIn(b, f)
        case (SampledDiagonalIn(convolution=k, factor=f), DiagonalIn(transform=t, spectrum=s)) if t is k.transform:
            merged = SampledDiagonalIn(DiagonalIn(t, times(k.spectrum, s)), f)
        case _:
            return None
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="merge")
def merge_convolution_and_zero_insertion(product: Composed) -> LinearOperator | None:
    """DiagonalIn(F, s) @ Downsample(f).H  ->  SampledDiagonalIn(DiagonalIn(F, conj(s)), f).H     (f divides sizes)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (DiagonalIn(transform=FFT() | RFFT() as t), Adjoint(operator=Downsample(filter=None, factor=f))):
            if not _divides(f, a.in_shape) or len(t.axes) != len(t.shape):
                return None
            merged = SampledDiagonalIn(a.H, f).H  # type: ignore[arg-type]
        case (DiagonalIn(transform=t, spectrum=s), Adjoint(operator=SampledDiagonalIn(convolution=k, factor=f))):
            if t is not k.transform:
                return None
            merged = SampledDiagonalIn(DiagonalIn(t, times(k.spectrum, conjugate(s))), f).H
        case _:
            return None
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="diagonalise")
def diagonalise_sampled_cogram(product: Composed) -> LinearOperator | None:
    """S A @ (S B).H  ->  convolution of the samples by every f-th entry of the correlation of A's and B's kernels"""
    a, b, rest = adjacent(product)
    left, right = (a, b.operator) if isinstance(b, Adjoint) else (a, None)
    sampled = next((o for o in (left, right) if isinstance(o, SampledDiagonalIn)), None)
    if sampled is None:
        return None
    spectra = [_spectrum_in(sampled, operator) for operator in (left, right)]
    if spectra[0] is None or spectra[1] is None:
        return None
    transform = sampled.convolution.transform
    both = ex.broadcast_to(times(spectra[0], conjugate(spectra[1])), transform.out_shape)
    kept = ex.Apply(sampled.samples, from_spectrum(transform, both))
    coarse = type(transform)(kept.shape, norm="backward")  # type: ignore[call-arg]
    spectrum: Expression = ex.Apply(coarse, kept)
    if is_nonnegative(both):  # so are means of it; without rounding errors the spectrum would show that
        spectrum = ex.maximum(ex.pointwise("real", spectrum), 0.0)
    merged = DiagonalIn(coarse, spectrum)
    return merged if rest is None else compose(merged, rest)


def _spectrum_in(sampled: SampledDiagonalIn, operator: Any) -> Expression | None:
    """The spectrum of an operator that samples on the same lattice, in the same basis."""
    match operator:
        case SampledDiagonalIn(convolution=k) if operator.factor == sampled.factor:
            return k.spectrum if k.transform is sampled.convolution.transform else None
        case Downsample(filter=None) if (operator.shape, operator.factor) == (sampled.in_shape, sampled.factor):
            return Literal(1.0)
    return None
