"""Parallel-beam projections of pixels: geometry, footprints, and projection without a stored matrix.

The pixel in row i and column j of an image of shape ``(n0, n1)`` is the unit square around ``(x, y)`` with
``x = j - (n1 - 1) / 2`` to the right and ``y = (n0 - 1) / 2 - i`` upwards. A ray of angle ``theta`` and offset ``s`` is
the line ``x cos(theta) + y sin(theta) = s``; detector k sits at ``s_k = (k - (detectors - 1) / 2) spacing + offset``.

What a pixel adds to a detector depends only on the distance ``t`` of its centre from the detector's ray, and is called
its footprint here. Forward and back projection use the same footprints, so they are adjoint to each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, cos, floor, hypot, inf, sin
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.leaves import Constant, Indices
from opalg.program.expression import Shape

FOOTPRINTS = ("strip", "ray", "joseph")
_SNAP = 1e-12  # a sine or cosine below counts as zero: the rays are then parallel to the pixels' edges
_TIE = 1e-5  # pixels; how near a parallel ray counts as running along the edge, in single precision too


@dataclass(frozen=True)
class ParallelBeam:
    """Where the rays run and how pixels count on them.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the image.
    angles : tuple of float
        In radians.
    detectors : int
        Number of detectors.
    spacing, offset : float
        Distance of neighbouring detectors, and position of their middle, in pixels.
    weights : str
        One of `FOOTPRINTS`.
    """

    shape: Shape
    angles: tuple[float, ...]
    detectors: int
    spacing: float
    offset: float
    weights: str

    @property
    def sinogram_shape(self) -> Shape:
        """Number of angles, number of detectors."""
        return (len(self.angles), self.detectors)

    @cached_property
    def directions(self) -> tuple[tuple[float, float], ...]:
        """Cosine and sine of each angle."""
        return tuple((_snapped(cos(a), sin(a)), _snapped(sin(a), cos(a))) for a in self.angles)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """For each angle what rows and what columns contribute to a pixel's position, in units of detectors."""
        n0, n1 = self.shape
        cosines, sines = np.array(self.directions).T.reshape(2, -1, 1)
        first = self.offset - (self.detectors - 1) / 2 * self.spacing
        rows = ((n0 - 1) / 2 - np.arange(n0)) * sines / self.spacing
        columns = ((np.arange(n1) - (n1 - 1) / 2) * cosines - first) / self.spacing
        return rows, columns

    @cached_property
    def leaves(self) -> tuple[Indices, Constant, Indices, Constant]:
        """Whole and fractional parts of `places`, apart, so that single precision loses no digits."""
        found: list[Any] = []
        for part in self.places:
            whole = np.floor(part)
            found += [Indices(whole.astype(np.int64)), Constant(part - whole, copy=False)]
        return tuple(found)  # type: ignore[return-value]

    @cached_property
    def entries(self) -> int:
        """About how many weights are not zero."""
        widths = sum(2 * reach(c, s, self.spacing, self.weights) for c, s in self.directions)
        return ceil(self.shape[0] * self.shape[1] * widths / self.spacing)

    def rays(self, weights: str) -> tuple[Any, ...]:
        """What `project` and `backproject` take behind the array, with one of the footprints."""
        return (*self.leaves, self.directions, (self.detectors, self.spacing, weights))

    def squared_norm(self) -> float:
        """An upper bound on the squared norm: over the angles, the sum of longest row times largest column."""
        total = 0.0
        for cosine, sine in self.directions:
            column = largest_sum(cosine, sine, self.spacing, self.weights, self.spacing)
            total += column * longest_chord(self.shape, cosine, sine, self.weights)
        return total

    def squared_norm_of_interpolation(self, shares: Iterable[float]) -> float:
        """An upper bound on the squared norm of `backproject` with the weights "linear" and each angle times its share.

        Weights on a pixel add up to 1 at most, those on a detector to what `largest_sum` finds on each row or column.
        """
        total = 0.0
        for (cosine, sine), share in zip(self.directions, shares, strict=True):
            step = max(abs(cosine), abs(sine))
            lines = self.shape[0 if abs(cosine) >= abs(sine) else 1]
            total += share**2 * lines * largest_sum(cosine, sine, self.spacing, "linear", step)
        return total

    def matrix(self) -> Any:
        """All weights as a matrix of compressed rows, one row for each ray, in float64."""
        import scipy.sparse

        blocks = [self._block(a) for a in range(len(self.angles))]
        starts = np.cumsum([0, *(block.nnz for block in blocks)])
        pointers = np.concatenate(
            [[0], *(block.indptr[1:] + start for block, start in zip(blocks, starts, strict=False))]
        )
        data, indices = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("data", "indices"))
        kind = np.int32 if starts[-1] < np.iinfo(np.int32).max else np.int64
        size = (len(self.angles) * self.detectors, self.shape[0] * self.shape[1])
        return scipy.sparse.csr_array((data, indices.astype(kind, copy=False), pointers.astype(kind)), shape=size)

    def _block(self, angle: int) -> Any:
        """The weights of one angle, by columns of the transposed matrix, which are the rows of the matrix."""
        import scipy.sparse

        lib = backend("numpy", "float64")
        parts = [leaf.value[angle] for leaf in self.leaves]
        hits = list(touched(lib, parts, self.directions[angle], self.spacing, self.weights))
        places = np.stack([place.astype(np.int32).ravel() for place, _ in hits], axis=1)
        weights = np.stack([weight.ravel() for _, weight in hits], axis=1)
        kept = (weights > 0) & (places >= 0) & (places < self.detectors)
        starts = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))]).astype(np.int32)
        block = scipy.sparse.csr_array((weights[kept], places[kept], starts), shape=(len(places), self.detectors))
        return block.tocsc()


def _snapped(value: float, other: float) -> float:
    if abs(value) < _SNAP:
        return 0.0
    return (1.0 if value > 0 else -1.0) if abs(other) < _SNAP else value


def reach(cosine: float, sine: float, spacing: float, weights: str) -> float:
    """The distance from a ray, in pixels, beyond which a pixel does not count."""
    a, b = abs(cosine), abs(sine)
    return {
        "strip": (a + b + spacing) / 2,
        "ray": (a + b) / 2,
        "joseph": max(a, b),
        "linear": spacing,
    }[weights]


def footprint(lib: Any, t: Any, cosine: float, sine: float, spacing: float, weights: str) -> Any:
    """The weight of pixels whose centres lie at signed distances t from the ray.

    ``"ray"`` is the length of the ray in the pixel, a trapezoid of t with area 1; along the edge between two pixels,
    half of it counts for each. ``"joseph"`` interpolates linearly between the two pixels next to the ray in each row,
    or column where the ray is flat. ``"linear"`` interpolates between detectors.
    """
    wide, narrow = max(abs(cosine), abs(sine)), min(abs(cosine), abs(sine))
    distance = lib.xp.abs(t)
    if weights == "ray" and narrow == 0:
        return 0.5 + 0.5 * lib.xp.sign(lib.xp.trunc((0.5 - distance) / _TIE))
    if weights == "ray":
        return lib.xp.clip(((wide + narrow) / 2 - distance) / narrow, 0.0, 1.0) / wide
    half = wide if weights == "joseph" else spacing
    return lib.xp.clip(1 - distance / half, 0.0, 1.0) * (1 / wide if weights == "joseph" else 1.0)


def mass(lib: Any, t: Any, wide: float, narrow: float) -> Any:
    """The integral from 0 to t of the trapezoid of area 1 whose top is ``wide - narrow`` and base ``wide + narrow``."""
    distance = lib.xp.abs(t)
    flat = lib.xp.clip(distance, 0.0, (wide - narrow) / 2)
    if narrow == 0:
        return lib.xp.sign(t) * flat / wide
    slope = lib.xp.clip(distance - (wide - narrow) / 2, 0.0, narrow)
    return lib.xp.sign(t) * (flat + slope - slope * slope / (2 * narrow)) / wide


def touched(lib: Any, parts: Any, direction: Any, spacing: float, weights: str) -> Any:
    """For one angle, the detectors that each pixel counts on, in turn, and its weights there.

    ``parts`` are whole and fractional parts of the positions, of rows and of columns, in units of detectors.
    ``"strip"`` is the mean of the length of a ray in the pixel over the detector's width.
    """
    row, row_share, column, column_share = parts
    share = row_share[:, None] + column_share[None, :]
    half = (reach(direction[0], direction[1], spacing, weights) + _TIE) / spacing
    first = lib.xp.ceil(share - half)
    base = row[:, None] + column[None, :] + lib.xp.astype(first, row.dtype)
    t = (first - share) * spacing
    if weights == "strip":  # strips lie side by side, so each edge is looked at once
        wide, narrow = max(abs(direction[0]), abs(direction[1])), min(abs(direction[0]), abs(direction[1]))
        below = mass(lib, t - spacing / 2, wide, narrow)
        for step in range(int(2 * half) + 1):
            above = mass(lib, t + (step + 0.5) * spacing, wide, narrow)
            yield base + step, (above - below) / spacing
            below = above
        return
    for step in range(int(2 * half) + 1):
        yield base + step, footprint(lib, t + step * spacing, direction[0], direction[1], spacing, weights)


def project(
    lib: Any, x: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, directions: Any, geometry: Any
) -> Any:
    """The sinogram of images, angle by angle; ``geometry`` is (number of detectors, spacing, weights)."""
    detectors, spacing, weights = geometry
    flat = lib.xp.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))
    lines = []
    for a, direction in enumerate(directions):
        parts = (rows[a, ...], row_shares[a, ...], columns[a, ...], column_shares[a, ...])
        line: Any = None
        for places, amounts in touched(lib, parts, direction, spacing, weights):
            inside = lib.xp.clip(places, -1, detectors) + 1
            moved = flat * lib.xp.reshape(amounts, (-1,))
            part = lib.add_at(moved, lib.xp.reshape(inside, (-1,)), detectors + 2, -1)
            line = part if line is None else line + part
        lines.append(line[..., 1:-1])
    return lib.xp.stack(lines, axis=-2)


def backproject(
    lib: Any, y: Any, rows: Any, row_shares: Any, columns: Any, column_shares: Any, directions: Any, geometry: Any
) -> Any:
    """The adjoint of `project`."""
    detectors, spacing, weights = geometry
    batch = tuple(y.shape[:-2])
    padded = lib.zeros_like(y, (*y.shape[:-1], detectors + 2))
    padded[..., 1:-1] = y
    total = None
    for a, direction in enumerate(directions):
        parts = (rows[a, ...], row_shares[a, ...], columns[a, ...], column_shares[a, ...])
        for places, amounts in touched(lib, parts, direction, spacing, weights):
            inside = lib.xp.clip(places, -1, detectors) + 1
            found = lib.take(padded[..., a, :], lib.xp.reshape(inside, (-1,)), -1)
            part = found * lib.xp.reshape(amounts, (-1,))
            total = part if total is None else total + part
    return lib.xp.reshape(total, (*batch, rows.shape[-1], columns.shape[-1]))


def longest_chord(shape: Shape, cosine: float, sine: float, weights: str) -> float:
    """The largest sum of weights on one ray of an angle, over all its offsets, or more.

    No ray is longer in the image than the image is high or wide along it. Joseph's weights add up to ``1 / wide`` in
    each row, or column, that the ray crosses.
    """
    a, b = abs(cosine), abs(sine)
    along_rows = shape[0] / a if a else inf
    along_columns = shape[1] / b if b else inf
    if weights == "joseph":
        return along_rows if a >= b else along_columns
    return min(along_rows, along_columns)


def largest_sum(cosine: float, sine: float, spacing: float, weights: str, step: float) -> float:
    """The largest sum of footprints at distances ``r + k step`` (k all integers) over all r.

    The sum is linear between the places where a kink of the footprint meets one of the distances, so that it is largest
    at one of them, or constant in between. Strips, as wide as a
    step, add up to ``1 / spacing`` for all r.
    """
    if weights == "strip":
        return 1 / spacing
    half = reach(cosine, sine, spacing, weights)
    a, b = abs(cosine), abs(sine)
    kinks = {"ray": (half, abs(a - b) / 2)}.get(weights, (half, 0.0))
    starts = np.unique(np.mod([k * side for k in kinks for side in (-1, 1)], step))
    middles = (starts + np.append(starts[1:], starts[0] + step)) / 2
    count = floor(half / step) + 2
    distances = np.concatenate([starts, middles])[:, None] + np.arange(-count, count + 1) * step
    lib = backend("numpy", "float64")
    return float(footprint(lib, distances, cosine, sine, spacing, weights).sum(axis=1).max())


def fitting_detectors(shape: Shape, spacing: float) -> int:
    """The fewest detectors that see the whole image from everywhere, odd or even as the image has columns."""
    count = ceil(hypot(*shape) / spacing - 1e-9)
    return count + (count - shape[1]) % 2
