"""Changes of the sampling rate: decimation and interpolation with an anti-alias filter."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, ClassVar

import numpy as np

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES, exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.circular import REFLECTIVE, checked_origin, checked_stride
from opalg.operators.convolution import Convolve, norm_of_sampled
from opalg.operators.diagonal import Mask, adjacent
from opalg.operators.kernels import anti_alias_kernel
from opalg.operators.knowledge import Facts
from opalg.operators.lattice import Sampled
from opalg.operators.padding import Pad
from opalg.operators.shaped import OnShape
from opalg.operators.spectra import as_data, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Window
from opalg.rules import rule

BOUNDARIES = ("periodic", "zero", *REFLECTIVE)


@node
class _ChangeOfRate(OnShape):
    """What `Downsample` and `Upsample` share: the image, the factor and the filter."""

    shape: Shape
    factor: Any
    filter: Any = None
    boundary: str = "periodic"
    origin: Any = "center"

    gain_one: ClassVar[bool]

    def __post_init__(self) -> None:
        name, shape = type(self).__name__, as_shape(self.shape)
        if not shape or 0 in shape:
            raise ShapeError(f"{name} needs a shape with axes and without zeros, not {shape}")
        if self.boundary not in BOUNDARIES:
            raise UnsupportedError(f"{name} has the boundaries {BOUNDARIES}, but not {self.boundary!r}")
        factor = checked_stride(self.factor, len(shape), f"the factor of {name}")
        taps, origin = self.filter, self.origin
        if taps is None or isinstance(taps, str):
            if origin != "center":
                raise ParameterError(f"{name} takes an origin for a given kernel only, not for filter={taps!r}")
            if taps is not None:
                anti_alias_kernel(taps, factor)
        else:
            taps = as_data(taps, f"the filter of {name}")
            if taps.ndim != len(shape) or 0 in taps.shape:
                raise ShapeError(f"{name} on {shape} needs a filter with {len(shape)} axes, not of shape {taps.shape}")
            origin = checked_origin(origin, taps.shape, self.boundary)
        for field, value in (("shape", shape), ("factor", factor), ("filter", taps), ("origin", origin)):
            object.__setattr__(self, field, value)
        if taps is not None:
            _ = self.convolution  # which checks that the filter fits the image

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if isinstance(self.filter, Expression) and self.filter.kind == "complex" else "any"

    @property
    def convolution(self) -> Convolve:
        """The convolution that the filter makes."""
        raise NotImplementedError

    @property
    def _kernel(self) -> tuple[Expression, tuple[int, ...]]:
        if isinstance(self.filter, str):
            return _named_filter(self.filter, self.factor, self.gain_one)
        return self.filter, self.origin

    def __repr__(self) -> str:
        shown = f"{type(self).__name__}({self.shape}, {self.factor}"
        if self.filter is not None:
            taps = self.filter
            shown += f", {repr(taps) if isinstance(taps, str) else text(taps)}, {self.boundary!r}"
            if not isinstance(taps, str) and self.origin != tuple(k // 2 for k in taps.shape):
                shown += f", origin={self.origin}"
        return shown + ")"


@node
class Downsample(_ChangeOfRate):
    """Filter, then keep every ``f``-th sample, ``y_n = sum_i h_i x_(f n - i + o)``; without a filter ``y_n = x_(f n)``.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image; the result has ``ceil(n / f)`` entries along each axis.
    factor : int or tuple of int
        The factor ``f``, for all axes or for each.
    filter : None, str, array, Constant, Parameter or Expression
        The anti-alias filter: ``None`` (plain decimation), ``"box"`` (means over blocks of ``f``), ``"triangle"``,
        ``"gaussian"``, ``"lanczos"`` (see `anti_alias_kernel`; all keep constants), or a kernel ``h``.
    boundary : str
        What the filter sees outside: ``"periodic"``, ``"zero"``, ``"reflect"``, ``"symmetric"`` or ``"edge"``.
    origin : "center" or tuple of int
        The index ``o`` of the centre of a given kernel, by default ``h.shape // 2``.

    Raises
    ------
    ShapeError
        Where a factor is no positive integer, or the filter does not fit the image (see `Convolve`).
    ParameterError
        For a filter that has no such name.
    UnsupportedError
        For another boundary.

    Notes
    -----
    Without a filter ``D @ D.H = I`` and ``||D|| = 1`` (exact); the adjoint inserts zeros. With one it is a strided
    `Convolve`, and so are its adjoint and its bound: exact for "periodic" where ``f`` divides the image. There
    ``D @ D.H`` is a convolution of the small image by every ``f``-th entry of the filter's autocorrelation (Zhao et
    al. 2016, Fast single image super-resolution).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Downsample((6,), 2) @ np.arange(6.0)
    array([0., 2., 4.])
    >>> np.round(oa.Downsample((6,), 2, "box") @ np.arange(6.0), 12)
    array([0.5, 2.5, 4.5])
    """

    gain_one = True

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(-(-n // f) for n, f in zip(self.shape, self.factor, strict=True))

    @property
    def convolution(self) -> Convolve:
        """The strided convolution that a filtered one is."""
        kernel, origin = self._kernel
        return Convolve(kernel, self.shape, self.boundary, origin, self.factor)

    @property
    def _samples(self) -> Sampled:
        return Sampled(self.shape, (0,) * len(self.shape), self.shape, self.factor)

    def trace(self, x: Expression) -> Expression:
        return ex.Apply(self._samples, x) if self.filter is None else self.convolution.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        if self.filter is None:
            return ex.Apply(self._samples, y, adjoint=True)
        return self.convolution.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        if self.filter is not None:
            return self.convolution.facts
        one = Literal(1.0)
        if self.out_shape == self.shape:
            return Facts(YES, YES, YES, gram_scale=one, cogram_scale=one, norm=exact(1.0), lowest=one)
        return Facts(cogram_scale=one, norm=exact(1.0))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        taps = Parameter(rng.standard_normal((3, 2)), name="taps")
        return [
            Downsample((5, 4), 2),
            Downsample((1, 6), (2, 3)),
            Downsample((1, 2), (3, 1)),
            Downsample((4, 6), (2, 3), "box"),
            Downsample((5,), 2, "triangle", "symmetric"),
            Downsample((4, 4), 2, taps, "zero"),
            Downsample((4, 3), (2, 1), rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2))),
            Downsample((6,), 3, "lanczos"),
        ]


@node
class Upsample(_ChangeOfRate):
    """Insert ``f - 1`` zeros behind every sample, then filter, ``y_m = sum_j h_(m - f j + o) x_j``.

    Parameters
    ----------
    shape : tuple of int
        The shape of the small image; the result has ``f n`` entries along each axis.
    factor : int or tuple of int
        The factor ``f``, for all axes or for each.
    filter : None, str, array, Constant, Parameter or Expression
        The interpolation filter: ``None`` (zeros stay), ``"box"`` (each sample is repeated), ``"triangle"`` (linear
        interpolation), ``"gaussian"``, ``"lanczos"`` (these have the gain ``prod(f)``, which makes up for the zeros),
        or a kernel ``h``, used as it is.
    boundary : str
        How the small image goes on: ``"periodic"``, ``"zero"``, ``"reflect"``, ``"symmetric"`` or ``"edge"``.
    origin : "center" or tuple of int
        The index ``o`` of the centre of a given kernel, by default ``h.shape // 2``.

    Raises
    ------
    ShapeError, ParameterError, UnsupportedError
        As for `Downsample`.

    Notes
    -----
    ``Upsample(s, f) = Downsample(f s, f).H``. The named filters are symmetric, so for "periodic" and "zero"
    ``Upsample(s, f, name) = prod(f) Downsample(f s, f, name).H``; for a kernel, ``Downsample(f s, f, h).H`` correlates
    with ``conj(h)`` where ``Upsample`` convolves with ``h``. The other boundaries extend the small image before zeros
    are inserted, so that "symmetric", "reflect" and "edge" interpolate constants exactly, which adjoints do not.
    The norm is exact without a filter (1) and for "periodic"; else the smaller of Schur's test and the filter's bound
    times that of the padding (upper).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Upsample((3,), 2) @ np.array([1.0, 2.0, 3.0])
    array([1., 0., 2., 0., 3., 0.])
    >>> np.round(oa.Upsample((3,), 2, "triangle", "edge") @ np.array([1.0, 2.0, 3.0]), 12)
    array([1. , 1.5, 2. , 2.5, 3. , 3. ])
    """

    gain_one = False

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(n * f for n, f in zip(self.shape, self.factor, strict=True))

    @property
    def extension(self) -> Pad:
        """The small image with what the filter reads beyond its border."""
        if self.filter is None or self.boundary == "periodic":
            return Pad(self.shape, 0)
        kernel, origin = self._kernel
        axes = zip(self.shape, self.factor, kernel.shape, origin, strict=True)
        width = [(-(-(k - 1 - o) // f), max(0, (n * f - 1 + o) // f - n + 1)) for n, f, k, o in axes]
        return Pad(self.shape, width, self.boundary)

    @property
    def convolution(self) -> Convolve:
        """The convolution of the large image that has the extended small one among zeros."""
        kernel, origin = self._kernel
        if self.boundary == "periodic":
            return Convolve(kernel, self.out_shape, "periodic", origin)
        return Convolve(kernel, self._insertion.in_shape, "valid")

    @property
    def _insertion(self) -> Sampled:
        large = tuple(n * f for n, f in zip(self.extension.out_shape, self.factor, strict=True))
        return Sampled(large, (0,) * len(large), large, self.factor)

    @property
    def _window(self) -> Window:
        """The part of the valid results that belongs to the image itself."""
        kernel, origin = self._kernel
        axes = zip(self.extension.width, self.factor, kernel.shape, origin, strict=True)
        start = tuple(o + before * f - k + 1 for (before, _), f, k, o in axes)
        stop = tuple(a + n for a, n in zip(start, self.out_shape, strict=True))
        return Window(self.convolution.out_shape, start, stop)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        large = ex.Apply(self._insertion, self.extension.trace(x), adjoint=True)
        if self.filter is None:
            return large
        filtered = self.convolution.trace(large)
        return filtered if self.boundary == "periodic" else ex.Apply(self._window, filtered)

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        if self.filter is not None:
            y = y if self.boundary == "periodic" else ex.Apply(self._window, y, adjoint=True)
            y = self.convolution.trace_adjoint(y)
        return self.extension.trace_adjoint(ex.Apply(self._insertion, y))

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        if self.filter is None:
            if self.out_shape == self.shape:
                return Facts(YES, YES, YES, gram_scale=one, cogram_scale=one, norm=exact(1.0), lowest=one)
            return Facts(gram_scale=one, norm=exact(1.0))
        if self.boundary == "periodic":
            return Facts(norm=norm_of_sampled(self.convolution.diagonalised, self.factor))
        inner, padding = self.convolution.facts.norm, self.extension.facts.norm
        assert inner is not None
        assert padding is not None
        return Facts(norm=upper(ex.minimum(inner.times(padding).expression, self._schur_bound)))

    @property
    def _schur_bound(self) -> Expression:
        """The root of the largest row sum times the largest column sum of magnitudes."""
        kernel, origin = self._kernel
        positive = Upsample(self.shape, self.factor, abs(kernel), self.boundary, origin)
        rows = positive.trace(ex.broadcast_to(Literal(1.0), self.in_shape))
        columns = positive.trace_adjoint(ex.broadcast_to(Literal(1.0), self.out_shape))
        return ex.sqrt(ex.largest(abs(rows)) * ex.largest(abs(columns)))

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        taps = Parameter(rng.standard_normal((3, 2)), name="taps")
        return [
            Upsample((2, 3), 2),
            Upsample((2, 1), 1),
            Upsample((2, 2), (2, 3), "box"),
            Upsample((3,), 2, "triangle", "symmetric"),
            Upsample((2, 2), (2, 1), "lanczos", "edge"),
            Upsample((2, 3), 2, taps, "reflect", (0, 1)),
            Upsample((3,), 3, "gaussian", "zero"),
            Upsample((2, 2), (1, 2), rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2))),
        ]


@lru_cache(maxsize=64)
def _named_filter(name: str, factor: tuple[int, ...], down: bool) -> tuple[Constant, tuple[int, ...]]:
    """The kernel of a named filter and its origin: a block mean begins at its sample, the others are centred."""
    kernel = anti_alias_kernel(name, factor)
    centre = tuple(k // 2 for k in kernel.shape)
    origin = tuple(f - 1 if down else 0 for f in factor) if name == "box" else centre
    return Constant(kernel if down else prod(factor) * kernel, name=f"{name} filter"), origin


@lru_cache(maxsize=8)
def _lattice(shape: Shape, factor: tuple[int, ...]) -> Mask:
    kept = np.zeros(shape, bool)
    kept[tuple(slice(None, None, f) for f in factor)] = True
    return Mask(Constant(kept, name=f"every {factor}th"))


@rule(Upsample, group="simplify")
def unfiltered_upsampling(up: Upsample) -> LinearOperator | None:
    """Upsample(s, f)  ->  Downsample(f s, f).H"""
    return Downsample(up.out_shape, up.factor).H if up.filter is None else None


@rule(Downsample, group="simplify")
def filtered_downsampling(down: Downsample) -> LinearOperator | None:
    """Downsample(s, f, h)  ->  Convolve(h, s, stride=f), and Downsample(s, 1)  ->  I"""
    if down.filter is not None:
        return down.convolution
    return Identity(down.shape) if down.out_shape == down.shape else None


@rule(Composed, group="simplify")
def gram_of_decimation(product: Composed) -> LinearOperator | None:
    """Downsample(f).H @ Downsample(f)  ->  Mask(every f-th entry)"""
    match adjacent(product):
        case (Adjoint(operator=Downsample(filter=None) as left), Downsample() as right, rest) if left is right:
            merged = _lattice(right.shape, right.factor)
            return merged if rest is None else compose(merged, rest)
    return None
