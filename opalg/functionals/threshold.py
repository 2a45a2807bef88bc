"""The threshold at which what exceeds it has a given sum: behind simplices, 1-norm balls and the maximum norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

from opalg.arrays import Backend
from opalg.program import expression as ex
from opalg.program.expression import Apply, Call, Expression, Join, Literal, Reduce, Shape
from opalg.program.linear import Reshaped, Window

_LONG = 1 << 12  # entries from which a group is filtered by itself
_SAMPLE = 1 << 13  # entries that the first guess of a long group is made from
_BLOCK = 1 << 17  # entries of short groups that are swept together, so that they stay in cache
_SWEEPS = 40  # Newton steps before what is left is sorted: random data need fewer than ten


@dataclass(frozen=True)
class Threshold:
    """``(m, total) -> theta`` with ``sum_i max(m_i - theta, 0) = total`` in each group, as a sum of two numbers.

    The result has a new first axis of two: a shift, which is the largest entry where theta is near it and else 0, and
    the rest ``theta - shift``. With both, ``(m - shift) - rest`` does not cancel.

    Attributes
    ----------
    axes : tuple of int or None
        The axes inside a group, counted from the end; None for all.
    nonneg : bool
        Whether a theta below zero counts as zero: then ``sum_i max(m_i - theta, 0) <= total`` is what holds.

    Notes
    -----
    The function ``theta -> sum max(m - theta, 0)`` is convex and piecewise linear, so that Newton's method ends after
    finitely many steps at the exact active set (Michelot 1986). Long groups lose their inactive entries on the way, by
    a first guess from a sample of them; short groups are swept together (compare Condat 2016). Sums are in float64.
    The derivative is ``d theta = mean of dm over the active entries - d total / their number``.
    """

    axes: tuple[int, ...] | None
    nonneg: bool

    def evaluate(self, lib: Backend, m: Any, total: Any) -> Any:
        """The shift and the rest, for arrays."""
        xp, m = lib.xp, lib.asarray(m, "real")
        groups = group_shape(tuple(m.shape), self.axes)
        if 0 in m.shape:
            return lib.zeros((2, *groups))
        blocks = _blocks(lib, m, self.axes)
        totals = xp.broadcast_to(xp.astype(lib.asarray(total, "real"), xp.float64, copy=False), groups)
        totals = xp.reshape(totals, (blocks.shape[0], blocks.shape[2]))
        found = [xp.empty_like(totals), xp.empty_like(totals)]
        for rows, columns in _pieces(lib, tuple(blocks.shape)):
            piece, wanted = blocks[rows, :, columns], totals[rows, columns]
            top, rest = self._solved(lib, piece, wanted)
            # a difference of numbers within a factor of two of each other is exact (Sterbenz 1974)
            near = -rest <= 0.5 * xp.abs(top)
            found[0][rows, columns] = xp.where(near, top, xp.zeros_like(top))
            found[1][rows, columns] = xp.where(near, rest, top + rest)
        return lib.asarray(xp.stack([xp.reshape(part, groups) for part in found]), "real")

    def _solved(self, lib: Backend, piece: Any, totals: Any) -> tuple[Any, Any]:
        """The largest entry of each group of a piece, and theta minus that."""
        xp = lib.xp
        if prod(totals.shape) == 1:
            top, rest = _of_vector(lib, xp.reshape(piece, (-1,)), lib.item(xp.reshape(totals, ())).real, self.nonneg)
            return xp.full_like(totals, top), xp.full_like(totals, rest)
        # a flat array has its entries in order, so that sums over the first axis run along memory
        flat = xp.astype(xp.reshape(xp.permute_dims(piece, (1, 0, 2)), (-1,)), xp.float64, copy=False)
        columns = xp.reshape(flat, (piece.shape[1], -1))
        pair = _of_columns(lib, columns, xp.reshape(totals, (-1,)), self.nonneg)
        return xp.reshape(pair[0], tuple(totals.shape)), xp.reshape(pair[1], tuple(totals.shape))

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative: the shift counts as fixed."""
        m, _ = call.arguments
        moved, raised = tangents
        active, count = self._active(call)
        change: Expression = Literal(0.0)
        if moved is not None:
            change = _summed(active * ex.broadcast_to(moved, m.shape), self.axes)
        if raised is not None:
            change = change - raised
        change = self._where_free(call, change / count)
        groups = call.shape[1:]
        still = ex.broadcast_to(Literal(0.0), (1, *groups))
        return Join((still, Apply(Reshaped(groups, (1, *groups)), ex.broadcast_to(change, groups))), -len(call.shape))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative."""
        used, count = self._active(call)
        share = self._where_free(call, _part(cotangent, 1) / count)
        return [used * share if active[0] else None, -share if active[1] else None]

    def _active(self, call: Call) -> tuple[Expression, Expression]:
        """One where an entry exceeds the threshold, and how many do."""
        m, _ = call.arguments
        active = ex.where(ex.pointwise("greater_equal", m - _part(call, 0), _part(call, 1)), 1.0, 0.0)
        return active, ex.maximum(_summed(active, self.axes), 1.0)

    def _where_free(self, call: Call, change: Expression) -> Expression:
        if not self.nonneg:
            return change
        return ex.where(ex.pointwise("greater", _part(call, 0) + _part(call, 1), 0.0), change, 0.0)

    def __repr__(self) -> str:
        return "threshold"


def threshold(
    m: Expression, total: Expression, axes: tuple[int, ...] | None = None, *, nonneg: bool = False
) -> tuple[Expression, Expression]:
    """The threshold ``theta`` with ``sum max(m - theta, 0) = total`` as the sum of a shift and a rest.

    Parameters
    ----------
    m : Expression
        Real entries.
    total : Expression
        At least 0; a number, or one for each group, broadcasting to the groups with one entry along each of ``axes``.
    axes : tuple of int, optional
        The axes inside a group, counted from the end; all where not given.
    nonneg : bool
        Whether to raise a negative threshold to 0.

    Returns
    -------
    tuple of two Expressions
        With ``theta = shift + rest``; scalars, or with one entry along each of ``axes``.
    """
    groups = group_shape(m.shape, axes)
    pair = Call(Threshold(axes, nonneg), (m, total), (2, *groups), "real")
    return _part(pair, 0), _part(pair, 1)


def excess(m: Expression, shift: Expression, rest: Expression) -> Expression:
    """What exceeds a threshold, ``max(m - theta, 0)``."""
    return ex.maximum((m - shift) - rest, 0.0)


def group_shape(shape: Shape, axes: tuple[int, ...] | None) -> Shape:
    """The shape of one number for each group: one entry along the axes inside a group, none at all for None."""
    inside = set() if axes is None else {a % len(shape) for a in axes}
    return () if axes is None else tuple(1 if i in inside else n for i, n in enumerate(shape))


def _part(pair: Expression, index: int) -> Expression:
    groups = pair.shape[1:]
    zeros = (0,) * len(groups)
    window = Window(pair.shape, (index, *zeros), (index + 1, *groups))
    return Apply(Reshaped((1, *groups), groups), Apply(window, pair))


def _summed(x: Expression, axes: tuple[int, ...] | None) -> Expression:
    return ex.total(x) if axes is None else Reduce("sum", x, axes, keepdims=True)


def _blocks(lib: Backend, m: Any, axes: tuple[int, ...] | None) -> Any:
    """The entries with three axes, the one in the middle inside a group; without a copy where the axes are adjacent."""
    shape = tuple(m.shape)
    inside = sorted(range(len(shape)) if axes is None else (a % len(shape) for a in axes))
    if inside and inside != list(range(inside[0], inside[-1] + 1)):
        outside = [i for i in range(len(shape)) if i not in inside]
        m = lib.xp.permute_dims(m, (*inside, *outside))
        shape, inside = tuple(m.shape), list(range(len(inside)))
    first, last = (inside[0], inside[-1] + 1) if inside else (0, 0)
    return lib.xp.reshape(m, (prod(shape[:first]), prod(shape[first:last]), prod(shape[last:])))


def _pieces(lib: Backend, shape: Shape) -> Iterator[tuple[slice, slice]]:
    """Which groups to treat together: long ones by themselves, short ones in blocks that fit into the cache."""
    rows, length, columns = shape
    on_host = "cpu" in str(lib.device).lower()
    width = 1 if on_host and length >= _LONG else max(1, _BLOCK // length) if on_host else rows * columns
    across = min(width, columns)
    down = max(1, width // columns)
    for i in range(0, rows, down):
        for j in range(0, columns, across):
            yield slice(i, min(i + down, rows)), slice(j, min(j + across, columns))


def _of_vector(lib: Backend, m: Any, total: float, nonneg: bool) -> tuple[float, float]:
    """The largest entry of one group, and its threshold minus that."""
    xp = lib.xp
    top = lib.item(xp.max(m)).real
    if not isfinite(top) or not isfinite(total):
        return top, float("nan")
    if nonneg and lib.item(xp.sum(m, dtype=xp.float64)).real <= total:
        return top, -top
    low = max(-total, -top) if nonneg else -total
    margin = 4 * lib.epsilon * abs(top)
    kept = m
    if m.shape[0] > 2 * _SAMPLE:
        sample = xp.astype(m[:: m.shape[0] // _SAMPLE], xp.float64, copy=False) - top
        share = 1.05 * total * sample.shape[0] / m.shape[0]  # rather too many entries than a second filter
        guess = max(low, _newton(lib, sample, share, low))
        kept = m[m > top + guess - margin]
        found = _mean_bound(lib, kept, top, total)
        if found < guess:
            low = max(low, found)
            kept = m[m > top + low - margin]
    return top, _newton(lib, xp.astype(kept, xp.float64, copy=False) - top, total, low)


def _mean_bound(lib: Backend, kept: Any, top: float, total: float) -> float:
    """``(sum over a subset - total) / its size``, which is never above the threshold."""
    if kept.shape[0] == 0:
        return -float("inf")
    return (lib.item(lib.xp.sum(lib.xp.astype(kept, lib.xp.float64, copy=False) - top)).real - total) / kept.shape[0]


def _newton(lib: Backend, d: Any, total: float, low: float) -> float:
    """The threshold of entries among which all active ones are, from below."""
    rest = low
    for _ in range(_SWEEPS):
        rest = max(rest, (lib.item(lib.xp.sum(d)).real - total) / d.shape[0])
        kept = d[d > rest]
        if kept.shape[0] in (0, d.shape[0]):
            return rest
        d = kept
    return max(rest, lib.item(_by_sorting(lib, d[:, None], lib.xp.full_like(d[:1], total))[0]).real)


def _of_columns(lib: Backend, x: Any, totals: Any, nonneg: bool) -> tuple[Any, Any]:
    """The largest entry of each column, and its threshold minus that."""
    xp = lib.xp
    top = xp.max(x, axis=0)
    x = x - top
    rest = xp.maximum(-totals, (xp.sum(x, axis=0) - totals) / x.shape[0])
    rest = xp.maximum(rest, -top) if nonneg else rest
    before = None
    for _ in range(_SWEEPS):
        active = xp.astype(x > rest, xp.float64)
        count = xp.sum(active, axis=0)
        if before is not None and bool(xp.all(count == before)):
            return top, rest
        active *= x
        rest = xp.maximum(rest, (xp.sum(active, axis=0) - totals) / xp.maximum(count, xp.ones_like(count)))
        before = count
    return top, xp.maximum(rest, _by_sorting(lib, x, totals))


def _by_sorting(lib: Backend, x: Any, totals: Any) -> Any:
    """The threshold of each column by a full sort (Duchi, Shalev-Shwartz, Singer, Chandra 2008, figure 1)."""
    xp = lib.xp
    falling = xp.sort(x, axis=0, descending=True)
    sums = xp.cumulative_sum(falling, axis=0) - totals
    places = xp.reshape(xp.cumulative_sum(xp.ones_like(x[:, 0])), (-1, 1))
    active = xp.astype(falling * places > sums, xp.float64)
    count = xp.maximum(xp.sum(active, axis=0), xp.ones_like(totals))
    return (xp.sum(active * falling, axis=0) - totals) / count


__all__ = ["Threshold", "excess", "group_shape", "threshold"]
