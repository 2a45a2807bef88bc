"""Convolution with a kernel that may be a formula over parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from itertools import product
from math import prod
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import Bound, exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_shape
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
from opalg.operators.kernels import gaussian_kernel
from opalg.operators.knowledge import Facts
from opalg.operators.lattice import Sampled
from opalg.operators.padding import Pad
from opalg.operators.round_trip import from_spectrum
from opalg.operators.shaped import OnShape
from opalg.operators.spectra import as_data, conjugate, text
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Window
from opalg.rules import rule

__all__ = ["Convolve", "gaussian_kernel", "norm_of_sampled"]

_MOST_TAPS, _FEW_TAPS = 36, 9  # of kernels that strided convolutions sum over, forwards and backwards


@node
class Convolve(OnShape):
    """Convolution with a kernel, ``y_n = sum_i k_i x_(s n - i + o)`` (the kernel is flipped).

    Parameters
    ----------
    kernel : array, Constant, Parameter or Expression, with as many axes as ``shape``
        The kernel ``k``, real or complex; a formula over parameters lets gradients through.
    shape : tuple of int
        The shape of the image.
    boundary : str
        What lies outside the image: ``"periodic"`` (it repeats), ``"zero"``, ``"reflect"``, ``"symmetric"`` or
        ``"edge"``, with the meaning of `numpy.pad`; the result has the shape of the image. Or ``"valid"``: only the
        results for which no outside is needed, ``n - k + 1`` on each axis; or ``"full"``: all that an image among
        zeros has, ``n + k - 1``.
    origin : "center" or tuple of int
        The index ``o`` of the kernel's centre, by default ``k.shape // 2``. ``"valid"`` and ``"full"`` begin with
        their first sample, whatever the origin.
    stride : int or tuple of int
        Keep every ``s``-th result of each axis, beginning with the first.

    Raises
    ------
    ShapeError
        Where the kernel has not as many axes as the image, or the origin lies outside it, the stride is no positive
        integer, or a kernel is larger than the image for another boundary than "periodic", "zero" and "full".
    UnsupportedError
        For another boundary.

    Notes
    -----
    Every boundary is one product of spectra: ``"periodic"`` on the image itself, the others on an image that was
    extended to a fast length, so that nothing wraps into the result. Strides with few taps for each result are sums
    over the taps instead. The adjoint correlates with ``conj(k)`` and adds what falls outside back to where it was
    taken from.

    The norm is ``max |spectrum of k|`` (exact) for ``"periodic"``, and, with a stride that divides the image, the root
    of the largest entry of ``|spectrum|^2`` averaged over its aliases (exact). Otherwise it is bounded by the smaller
    one of the padded spectrum's maximum (times the norm of the padding) and of Schur's test (upper).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> blur = oa.Convolve(np.array([0.25, 0.5, 0.25]), (4,))
    >>> np.round(blur @ np.array([0.0, 4.0, 0.0, 0.0]), 12)
    array([1., 2., 1., 0.])
    >>> np.round(oa.Convolve(np.array([1.0, -1.0]), (4,), "valid") @ np.array([1.0, 3.0, 6.0, 10.0]), 12)
    array([2., 3., 4.])
    """

    kernel: Any = field()  # type: ignore[assignment]  # shadows the method, which only primitives have
    shape: Shape
    boundary: str = "periodic"
    origin: Any = "center"
    stride: Any = 1

    def __post_init__(self) -> None:
        kernel, shape = as_data(self.kernel, "Convolve"), as_shape(self.shape)
        checked_boundary(self.boundary, "Convolve")
        checked_sizes(shape, kernel.shape, self.boundary, "Convolve")
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "origin", checked_origin(self.origin, kernel.shape, self.boundary))
        object.__setattr__(self, "stride", checked_stride(self.stride, len(shape), "the stride of Convolve"))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self._layout.out_shape(self.stride)

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.kernel.kind == "complex" else "any"

    @property
    def strided(self) -> bool:
        """Whether it leaves results out."""
        return any(s > 1 for s in self.stride)

    @property
    def _layout(self) -> Layout:
        return layout(self.shape, self.kernel.shape, self.boundary, self.origin)

    @property
    def diagonalised(self) -> DiagonalIn:
        """The circular convolution that does the work: on the image itself, or on the extended one."""
        return DiagonalIn(*spectrum_of(self.kernel, self._layout))

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        if self.sums_taps:
            return self._weighed(self.border.trace(x))
        plain = x.kind == "real" and self.boundary != "periodic"
        if plain and considers_sums(self.kernel, self.shape, 1):
            return ex.Apply(DirectSums(self), x)
        return self.by_transforms(x)

    def by_transforms(self, x: Expression) -> Expression:
        """The trace by a product of spectra."""
        plan = self._layout
        return plan.sample(self.diagonalised.trace(plan.extension.trace(x)), self.stride)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        if self.sums_taps and prod(self.kernel.shape) <= _FEW_TAPS:
            parts = [ex.Apply(part, conjugate(weight) * y, adjoint=True) for weight, part in self._terms]
            return self.border.trace_adjoint(sum_of(parts))
        return self.adjoint_by_transforms(y)

    def adjoint_by_transforms(self, y: Expression) -> Expression:
        """The trace of the adjoint by a product of spectra."""
        plan = self._layout
        return plan.extension.trace_adjoint(self.diagonalised.trace_adjoint(plan.spread(y, self.stride)))

    @property
    def sums_taps(self) -> bool:
        """Whether a sum over the taps is quicker than transforms, which also make the results that are left out."""
        return self.strided and prod(self.kernel.shape) <= min(_MOST_TAPS, 4 * prod(self.stride))

    @property
    def filters(self) -> Expression:
        """The kernel, under the name that banks of several have."""
        return self.kernel

    @property
    def border(self) -> Pad:
        """The image with the border that the taps reach."""
        return bordered(self.shape, self.kernel.shape, self.boundary, self.origin, self.stride, self.out_shape)

    def _weighed(self, bordered: Expression) -> Expression:
        """The sum over the taps; what equal ones weigh is added up first."""
        parts: dict[Expression, list[Expression]] = {}
        for weight, part in self._terms:
            parts.setdefault(weight, []).append(ex.Apply(part, bordered))
        return sum_of([weight * sum_of(summands) for weight, summands in parts.items()])

    @property
    def _terms(self) -> Iterator[tuple[Expression, Sampled]]:
        """Each tap, and the entries of the bordered image that it weighs."""
        size, shape = self.kernel.shape, self.border.out_shape
        for place in product(*map(range, size)):
            weight: Expression = ex.Apply(Window(size, place, tuple(i + 1 for i in place)), self.kernel)
            if isinstance(self.kernel, Constant):
                weight = Literal(self.kernel.value[place].item())
            start = tuple(k - 1 - i for k, i in zip(size, place, strict=True))
            reach = zip(start, self.stride, self.out_shape, strict=True)
            yield weight, Sampled(shape, start, tuple(a + s * (m - 1) + 1 for a, s, m in reach), self.stride)

    @property
    def H(self) -> LinearOperator:
        return Adjoint(self)

    @property
    def facts(self) -> Facts:
        inner = self.diagonalised.facts
        if self.boundary == "periodic" and not self.strided:
            return inner
        if self.boundary == "periodic" and all(n % s == 0 for n, s in zip(self.shape, self.stride, strict=True)):
            return Facts(norm=norm_of_sampled(self.diagonalised, self.stride))
        reach = self._layout.reach.facts.norm
        assert inner.norm is not None
        assert reach is not None
        return Facts(norm=upper(ex.minimum(inner.norm.times(reach).expression, self._schur_bound)))

    @property
    def _schur_bound(self) -> Expression:
        """The root of the largest row sum times the largest column sum of magnitudes."""
        size = abs(self.kernel)
        row = ex.total(size)
        if self.boundary not in REFLECTIVE and not self.strided:
            return row
        positive = Convolve(size, self.shape, self.boundary, self.origin, self.stride)
        columns = positive.trace_adjoint(ex.broadcast_to(Literal(1.0), self.out_shape))
        return ex.sqrt(row * ex.largest(abs(columns)))

    def inverse(self) -> LinearOperator:
        """The inverse filter.

        Raises
        ------
        UnsupportedError
            For other boundaries than ``"periodic"`` and for strides, where it is no convolution.
        """
        if self.boundary != "periodic" or self.strided:
            raise UnsupportedError(f"no cheap inverse of {self!r} is known; solve with conjugate gradients instead")
        return self.diagonalised.inverse()

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The inverse filter, with zeros where the spectrum is zero up to the cutoff; "periodic", without strides."""
        if self.boundary != "periodic" or self.strided:
            return super().pinv(cutoff)
        return self.diagonalised.pinv(cutoff)

    def __repr__(self) -> str:
        text_of = f"Convolve({text(self.kernel)}, {self.shape}, boundary={self.boundary!r}"
        if self.origin != tuple(k // 2 for k in self.kernel.shape):
            text_of += f", origin={self.origin}"
        return text_of + (f", stride={self.stride})" if self.strided else ")")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        z = rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3))
        kernel = Parameter(rng.standard_normal((3, 2)), name="kernel")
        return [
            Convolve(z, (3, 4)),
            Convolve(z, (3, 3), boundary="zero", origin=(0, 2)),
            Convolve(kernel, (4, 3), origin=(2, 0), stride=(2, 1)),
            Convolve(rng.standard_normal(9), (4,), stride=2),
            Convolve(rng.standard_normal((2, 5)), (3, 2), boundary="full", stride=(1, 3)),
            Convolve(rng.standard_normal((1, 3)), (1, 4), boundary="reflect", origin=(0, 2)),
            Convolve(gaussian_kernel(Parameter(0.8, name="width"), 1), (3, 4), boundary="symmetric"),
            Convolve(z, (4, 3), boundary="edge", stride=2),
            Convolve(kernel, (3, 4), boundary="valid"),
        ]


def norm_of_sampled(convolution: DiagonalIn, step: tuple[int, ...]) -> Bound:
    """The norm of every step-th entry of a circular convolution, where the steps divide the sizes.

    With S taking the samples and K the convolution, ``||S K||^2 = ||S K K.H S.H||``, which is a circular convolution on
    the samples by every step-th entry of the autocorrelation of the kernel.
    """
    transform = convolution.transform
    shape = transform.in_shape
    power = from_spectrum(transform, ex.square_abs(convolution.spectrum))
    kept = ex.Apply(Sampled(shape, (0,) * len(shape), shape, step), power)
    coarse = (RFFT if isinstance(transform, RFFT) else FFT)(kept.shape, norm="backward")
    return exact(ex.sqrt(ex.largest(abs(ex.Apply(coarse, kept)))))


@rule(Convolve, group="diagonalise")
def diagonalise_periodic_convolution(convolution: Convolve) -> LinearOperator | None:
    """Convolve(k, periodic)  ->  DiagonalIn(RFFT, RFFT k)     (FFT for complex k)"""
    return convolution.diagonalised if convolution.boundary == "periodic" and not convolution.strided else None


@rule(Composed, group="merge")
def merge_full_and_valid_convolutions(product: Composed) -> LinearOperator | None:
    """Convolve(a, full) @ Convolve(b, full)  ->  Convolve(a * b, full), also for valid     (b unstrided)"""
    match adjacent(product):
        case (Convolve(boundary="full" | "valid" as a) as left, Convolve(boundary=b) as right, rest):
            if a != b or right.strided:
                return None
            kernel = Convolve(right.kernel, left.kernel.shape, "full").trace(left.kernel)
            merged = Convolve(kernel, right.shape, b, stride=left.stride)
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="merge")
def merge_adjoint_full_with_full(product: Composed) -> LinearOperator | None:
    """Convolve(a, full).H @ Convolve(b, full)  ->  Convolve(correlation of a and b, zero)     (kernels of one shape)"""
    match adjacent(product):
        case (Adjoint(operator=Convolve(boundary="full") as left), Convolve(boundary="full") as right, rest):
            size = right.kernel.shape
            if left.kernel.shape != size or left.strided or right.strided:
                return None
            among_zeros = Pad(size, tuple((k - 1, k - 1) for k in size)).trace(right.kernel)
            correlation = Convolve(left.kernel, tuple(2 * k - 1 for k in size), "full").trace_adjoint(among_zeros)
            merged = Convolve(correlation, right.shape, "zero")
            return merged if rest is None else compose(merged, rest)
    return None
