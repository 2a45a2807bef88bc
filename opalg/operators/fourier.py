"""Discrete Fourier transforms, complex and real."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import exact
from opalg.nodes import node
from opalg.operators.algebra import Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_axes, as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import OnShape, SameShape
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

NORMS = ("backward", "ortho", "forward")
_ADJOINT_NORM = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


@node
class _FourierTransform(LinearOperator):
    """What the discrete Fourier transforms share: an array's shape, the axes to transform and the factor."""

    shape: Shape
    axes: Any = None
    norm: str = "ortho"

    def __post_init__(self) -> None:
        name, shape = type(self).__name__, as_shape(self.shape)
        if self.norm not in NORMS:
            raise ParameterError(f'{name} has no norm={self.norm!r}; it has "ortho", "backward" and "forward"')
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", as_axes(shape, self.axes, name))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths of the axes that are transformed."""
        return tuple(self.shape[axis] for axis in self.axes)

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.shape}"
        text += "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        return text + (")" if self.norm == "ortho" else f", norm={self.norm!r})")


@node
class FFT(_FourierTransform, SameShape):
    """The discrete Fourier transform over some axes.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all.
    norm : str
        ``"ortho"`` (unitary), ``"backward"`` (no factor) or ``"forward"`` (``1 / N``), as in `numpy.fft`.

    Raises
    ------
    ShapeError
        Where there are no such axes.
    ParameterError
        For another ``norm``.

    Notes
    -----
    ``X_k = c sum_n x_n exp(-2 pi i k n / N)``. ``F.H F = F F.H = I``, ``N I`` or ``I / N`` by ``norm``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> (oa.FFT((4,)) @ np.ones(4)).real
    array([2., 0., 0., 0.])
    """

    in_kind = "complex"

    def kernel(self) -> Kernel:
        return Kernel(transform, (self.axes, self.norm), in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        norm = _ADJOINT_NORM[self.norm]
        return Kernel(transform_back, (self.axes, norm), in_place=False, transforms=1, passes=0.0)

    @property
    def facts(self) -> Facts:
        scale = gram_scale(self)
        return Facts(gram_scale=Literal(scale), cogram_scale=Literal(scale), norm=exact(scale**0.5))

    def inverse(self) -> LinearOperator:
        """The inverse transform, of the same ``norm``: the adjoint of the transform with the opposite factor."""
        return FFT(self.shape, self.axes, _ADJOINT_NORM[self.norm]).H

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            FFT((4, 3)),
            FFT((5,), norm="backward"),
            FFT((2, 3), axes=0, norm="forward"),
            FFT((1, 4), axes=(1, 0), norm="backward"),
        ]


@node
class RFFT(_FourierTransform, OnShape):
    """The discrete Fourier transform of real arrays: the half spectrum along the last of ``axes``.

    Parameters
    ----------
    shape : tuple of int
        The shape of the real arrays.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all. The last one is halved.
    norm : str
        As for `FFT`.

    Raises
    ------
    ShapeError, ParameterError
        As for `FFT`.

    Notes
    -----
    Real in, complex out, ``n // 2 + 1`` entries along the halved axis. The adjoint is that of ``Re sum(conj(u) v)``;
    it is not the inverse, since the half spectrum holds most frequencies once. `inverse` is a left inverse. The norm is
    that of the full transform (exact).

    Examples
    --------
    >>> import opalg as oa
    >>> half = oa.RFFT((4,), norm="backward") @ np.array([1.0, 2.0, 3.0, 4.0])
    >>> half.shape, half.round(12).tolist()
    ((3,), [(10+0j), (-2+2j), (-2+0j)])
    """

    in_kind = "real"

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return half_shape(self.shape, self.axes[-1])

    def out_kind(self, kind: str) -> str:
        return "complex"

    def kernel(self) -> Kernel:
        return Kernel(transform_real, (self.axes, self.norm), in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        arguments = (self.axes, self.sizes, _ADJOINT_NORM[self.norm])
        return Kernel(adjoint_transform_real, arguments, in_place=False, transforms=1, passes=2.0)

    @property
    def facts(self) -> Facts:
        scale = gram_scale(self)
        halved = self.shape[self.axes[-1]] > 2
        return Facts(gram_scale=None if halved else Literal(scale), norm=exact(scale**0.5))

    def inverse(self) -> LinearOperator:
        """The left inverse, half spectrum to real array."""
        return InverseRFFT(self.shape, self.axes, self.norm)

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            RFFT((4, 3)),
            RFFT((3, 4), norm="backward"),
            RFFT((5,), norm="forward"),
            RFFT((4, 3), axes=(1, 0)),
            RFFT((3, 4), axes=0),
            RFFT((3, 1)),
            RFFT((2, 2), norm="backward"),
            RFFT((6,)),
        ]


@node
class InverseRFFT(_FourierTransform):
    """The inverse of `RFFT`: a half spectrum to the real array it belongs to.

    Parameters
    ----------
    shape, axes, norm
        Those of the `RFFT` that it inverts; ``shape`` is that of the real result.

    Notes
    -----
    What no real array has in its spectrum (such as an imaginary part of frequency zero) has no effect.
    ``||F^-1|| = sqrt(2 c)`` with the factor c of the full inverse (exact), ``sqrt(c)`` where the halved axis has one or
    two entries.

    Examples
    --------
    >>> import opalg as oa
    >>> back = oa.InverseRFFT((4,), norm="backward") @ np.array([10.0, -2 + 2j, -2.0])
    >>> back.round(12).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """

    in_kind = "complex"

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return half_shape(self.shape, self.axes[-1])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    def out_kind(self, kind: str) -> str:
        return "real"

    def kernel(self) -> Kernel:
        arguments = (self.axes, self.sizes, self.norm)
        return Kernel(transform_real_back, arguments, in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        arguments = (self.axes, self.sizes, _ADJOINT_NORM[self.norm])
        return Kernel(adjoint_transform_real_back, arguments, in_place=False, transforms=1, passes=1.0)

    @property
    def facts(self) -> Facts:
        scale = 1.0 / gram_scale(self)
        halved = self.shape[self.axes[-1]] > 2
        cogram = None if halved else Literal(scale)
        return Facts(cogram_scale=cogram, norm=exact((2.0 * scale if halved else scale) ** 0.5))

    def inverse(self) -> LinearOperator:
        """Refused: a half spectrum of no real array cannot be recovered."""
        raise UnsupportedError(f"{self!r} has a right inverse only, which is RFFT({self.shape}, {self.axes})")

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            InverseRFFT((4, 3)),
            InverseRFFT((3, 4), norm="backward"),
            InverseRFFT((5,), norm="forward"),
            InverseRFFT((4, 3), axes=(1, 0)),
            InverseRFFT((2, 2)),
            InverseRFFT((3, 1), norm="forward"),
        ]


def half_shape(shape: Shape, axis: int) -> Shape:
    """The shape of the half spectrum along a negative axis."""
    half = list(shape)
    half[axis] = half[axis] // 2 + 1
    return tuple(half)


def gram_scale(operator: _FourierTransform) -> float:
    """``F.H F`` of the full transform."""
    count = prod(operator.sizes)
    return {"backward": float(count), "ortho": 1.0, "forward": 1.0 / count}[operator.norm]


def transform(lib: Any, x: Any, axes: Any, norm: str, out: Any = None) -> Any:
    """FFT of x, taken as complex."""
    return lib.fftn(x if lib.kind_of(x) == "complex" else lib.asarray(x, "complex"), axes, norm)


def transform_back(lib: Any, x: Any, axes: Any, norm: str, out: Any = None) -> Any:
    """Inverse FFT of x, taken as complex."""
    return lib.ifftn(x if lib.kind_of(x) == "complex" else lib.asarray(x, "complex"), axes, norm)


def transform_real(lib: Any, x: Any, axes: Any, norm: str, out: Any = None) -> Any:
    """Half spectrum of a real array."""
    return lib.rfftn(x, axes, norm)


def transform_real_back(lib: Any, x: Any, axes: Any, sizes: Any, norm: str, out: Any = None) -> Any:
    """Real array of a half spectrum."""
    half = x if lib.kind_of(x) == "complex" else lib.asarray(x, "complex")
    if sizes[-1] == 1:  # cuFFT gives the transforms of the other axes wrongly here
        return lib.copy(lib.xp.real(lib.ifftn(half, axes, norm)))
    return lib.irfftn(half, sizes, axes, norm)


def adjoint_transform_real(lib: Any, x: Any, axes: Any, sizes: Any, norm: str, out: Any = None) -> Any:
    """The adjoint of the half spectrum: columns that stand for two frequencies count half in the inverse."""
    half = lib.asarray(x, "complex") if lib.kind_of(x) != "complex" else lib.copy(x)
    doubled = (..., slice(1, (sizes[-1] + 1) // 2), *(slice(None),) * (-1 - axes[-1]))
    lib.multiply(half[doubled], 0.5, out=half[doubled])
    return transform_real_back(lib, half, axes, sizes, norm)


def adjoint_transform_real_back(lib: Any, x: Any, axes: Any, sizes: Any, norm: str, out: Any = None) -> Any:
    """The adjoint of the inverse: the half spectrum, with columns that stand for two frequencies doubled."""
    half = lib.rfftn(x, axes, norm)
    doubled = (..., slice(1, (sizes[-1] + 1) // 2), *(slice(None),) * (-1 - axes[-1]))
    lib.multiply(half[doubled], 2.0, out=half[doubled])
    return half


@rule(Composed, group="simplify")
def cancel_inverse_rfft(product: Composed) -> LinearOperator | None:
    """InverseRFFT @ RFFT  ->  I     (same shape and axes, any pair of norms up to a number)"""
    match adjacent(product):
        case (InverseRFFT(shape=shape, axes=axes) as back, RFFT() as there, rest):
            if (there.shape, there.axes) != (shape, axes):
                return None
            scale = (gram_scale(there) / gram_scale(back)) ** 0.5
            merged = scale * Identity(shape)
            return merged if rest is None else compose(merged, rest)
    return None
