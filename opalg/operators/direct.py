"""Convolutions by direct sums where the array library has fast ones, and by transforms elsewhere."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.padding import extend, fold_onto
from opalg.operators.positions import host_array
from opalg.program import expression as ex
from opalg.program.expression import Expression, Shape
from opalg.program.linear import Kernel, Linear, place_window, take_window

_MOST_AXES, _MOST_TAPS, _MOST_WORK = 3, 64, 1 << 18  # beyond these, transforms are taken everywhere


@node
class DirectSums(Linear):
    """A convolution with constant real filters, for which each library takes the way that is fast on it.

    Parameters
    ----------
    owner : Convolve or MultiConvolve
        The convolution, with its ``border``, and ``by_transforms`` and ``adjoint_by_transforms`` for the other way.
    bordered : bool
        Whether the argument has its border already, because the choice fell on direct sums.
    """

    owner: Any
    bordered: bool = False

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        whole = self.owner.in_shape
        channels = whole[: len(whole) - len(self.owner.shape)]
        return (*channels, *self.owner.border.out_shape) if self.bordered else whole

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.owner.out_shape

    @property
    def _weights(self) -> Constant:
        return _flipped(self.owner.filters, len(self.owner.shape))

    @property
    def _geometry(self) -> tuple[Any, ...]:
        """How images lie in their borders, if these are to be made: box, way, runs and shape; then what is summed."""
        border, owner = self.owner.border, self.owner
        frame = None if self.bordered or border.out_shape == border.shape else border.frame
        lead = len(owner.in_shape) - len(owner.shape)
        return frame, lead, self.out_shape, owner.stride, getattr(owner, "groups", 1)

    def kernel(self) -> Kernel:
        arguments = (self._weights, *self._geometry)
        if self.bordered:
            taps = float(prod(self._weights.value.shape[1:]))
            return Kernel(correlate, arguments, in_place=False, fresh=True, passes=taps)
        return Kernel(correlate, arguments, in_place=False, fresh=True, transforms=self._transforms)

    def adjoint_kernel(self) -> Kernel:
        arguments = (self._weights, *self._geometry, self.in_shape)
        return Kernel(spread_taps, arguments, in_place=False, fresh=True, transforms=self._transforms)

    @property
    def _transforms(self) -> int:
        outputs, inputs = self._weights.value.shape[:2]
        return int(outputs + inputs * getattr(self.owner, "groups", 1))

    def chosen(self, argument: Expression, adjoint: bool, lib: Backend) -> Expression | None:
        if self.bordered:
            return None
        if adjoint:
            return self.owner.adjoint_by_transforms(argument)
        border, (outputs, inputs, *size) = self.owner.border, self._weights.value.shape
        batch = prod(argument.shape[: argument.ndim - len(self.in_shape)])
        if lib.sums_pay(batch * prod(border.out_shape), prod(size), inputs, outputs):
            return ex.Apply(DirectSums(self.owner, True), border.trace(argument))
        return self.owner.by_transforms(argument)

    def __repr__(self) -> str:
        return repr(self.owner)


def considers_sums(filters: Expression, shape: Shape, inputs: int) -> bool:
    """Whether direct sums may be quicker than transforms, on some library."""
    if not isinstance(filters, Constant) or filters.kind != "real" or len(shape) > _MOST_AXES:
        return False
    taps = inputs * prod(filters.shape[filters.ndim - len(shape) :])
    return taps <= _MOST_TAPS or taps * prod(shape) <= _MOST_WORK


@lru_cache(maxsize=64)
def _flipped(filters: Constant, ndim: int) -> Constant:
    """Filters reversed along the axes of the image, ``(out_channels, in_channels, *size)``."""
    value = host_array(filters)
    channels, size = value.shape[: value.ndim - ndim], value.shape[value.ndim - ndim :]
    taps = np.flip(value.reshape((*channels, *(1,) * (2 - len(channels)), *size)), tuple(range(2, 2 + ndim)))
    return Constant(np.ascontiguousarray(taps), name="weights")


def correlate(
    lib: Any, x: Any, weights: Any, frame: Any, lead: int, out_shape: Any, stride: Any, groups: int, out: Any = None
) -> Any:
    """``y_(a, n) = sum_c sum_i w_(a, c, i) x_(c, s n + i)`` on images that are given a border first where one is named.

    Images have ``lead`` axes for channels; ``groups`` of channels do not see each other.
    """
    batch = tuple(x.shape[: x.ndim - lead - len(weights.shape) + 2])
    if frame is not None:
        way, start, stop, runs, shape = frame
        x = place_window(lib, x, start, stop, shape) if way == "zero" else extend(lib, x, start, stop, runs, shape)
    return lib.correlate(x, weights, batch, out_shape, stride, groups)


def spread_taps(
    lib: Any,
    y: Any,
    weights: Any,
    frame: Any,
    lead: int,
    out_shape: Any,
    stride: Any,
    groups: int,
    in_shape: Any,
    out: Any = None,
) -> Any:
    """The adjoint of `correlate`."""
    ndim = len(weights.shape) - 2
    batch = tuple(y.shape[: y.ndim - len(out_shape)])
    image = tuple(in_shape[len(in_shape) - ndim :]) if frame is None else tuple(frame[4])
    rows, columns = weights.shape[0] // groups, weights.shape[1]
    count = tuple(out_shape[len(out_shape) - ndim :])
    y = lib.xp.reshape(y, (*batch, groups * rows, *count))
    total = lib.zeros_like(y, (*batch, groups * columns, *image))
    for a, c in product(range(groups * rows), range(columns)):
        source = y[(..., a, *(slice(None) for _ in count))]
        for place in product(*map(range, weights.shape[2:])):
            ends = (i + s * (m - 1) + 1 for i, s, m in zip(place, stride, count, strict=True))
            steps = (slice(i, b, s) for i, b, s in zip(place, ends, stride, strict=True))
            target = (..., a // rows * columns + c, *steps)
            total[target] = total[target] + weights[(a, c, *place)] * source
    if frame is not None:
        way, start, stop, runs, _ = frame
        total = take_window(lib, total, start, stop) if way == "zero" else fold_onto(lib, total, start, stop, runs)
    return lib.xp.reshape(total, (*batch, *in_shape))
