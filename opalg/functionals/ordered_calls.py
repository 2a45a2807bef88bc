"""Sorting and monotone regression along the last axis as nodes of the step language, with derivatives of any order.

Both are piecewise linear: sorting permutes entries, and regression averages over blocks. Their derivatives are that
permutation and those averages, which are linear again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.program import expression as ex
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Call, Expression

Maybe = Expression | None


def _order(lib: Backend, keys: Any) -> Any:
    """The positions of entries from the largest to the smallest."""
    return lib.xp.argsort(keys, axis=-1, descending=True, stable=True)


@dataclass(frozen=True)
class Sorted:
    """``x -> x`` from its largest entry to its smallest."""

    def evaluate(self, lib: Backend, x: Any) -> Any:
        """The sorted array."""
        return lib.xp.sort(x, axis=-1, descending=True, stable=True)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The direction in the order of x."""
        (moved,) = tangents
        return None if moved is None else in_order_of(call.arguments[0], ex.broadcast_to(moved, call.shape))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The cotangent put back."""
        return [out_of_order_of(call.arguments[0], cotangent)]

    def __repr__(self) -> str:
        return "sorted"


@dataclass(frozen=True)
class Ordered:
    """``(keys, x) ->`` x in the order of falling keys, or back out of it; linear in x, flat in the keys."""

    back: bool

    def evaluate(self, lib: Backend, keys: Any, x: Any) -> Any:
        """The permuted array."""
        order = _order(lib, keys)
        if self.back:
            order = lib.xp.argsort(order, axis=-1, stable=True)
        return lib.xp.take_along_axis(x, order, axis=-1)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The same of the direction of x."""
        moved = tangents[1]
        return None if moved is None else Call(self, (call.arguments[0], _full(moved, call)), call.shape, call.kind)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The inverse permutation of the cotangent."""
        return [None, Call(Ordered(not self.back), (call.arguments[0], cotangent), call.shape, call.kind)]

    def __repr__(self) -> str:
        return "out_of_order" if self.back else "in_order"


@dataclass(frozen=True)
class Falling:
    """``y -> argmin |x - y|^2`` over ``x_1 >= x_2 >= ...``: isotonic regression, on the host.

    Arrays of other libraries than NumPy are copied to the host and back: the pooling of violators is sequential.
    """

    def evaluate(self, lib: Backend, y: Any) -> Any:
        """The regression of an array."""
        return _on_host(lib, lambda row: _regression(row)[0], y)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The direction, averaged over the blocks of the regression."""
        (moved,) = tangents
        return None if moved is None else _pooled(call.arguments[0], _full(moved, call))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The same: averaging is symmetric."""
        return [_pooled(call.arguments[0], cotangent)]

    def __repr__(self) -> str:
        return "falling"


@dataclass(frozen=True)
class Pooled:
    """``(y, d) ->`` d averaged over the blocks of the `Falling` regression of y; linear in d, flat in y."""

    def evaluate(self, lib: Backend, y: Any, d: Any) -> Any:
        """The averages."""
        return _on_host(lib, _averaged, y, d)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The same of the direction of d."""
        return None if tangents[1] is None else _pooled(call.arguments[0], _full(tangents[1], call))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The same of the cotangent: averaging is symmetric."""
        return [None, _pooled(call.arguments[0], cotangent)]

    def __repr__(self) -> str:
        return "pooled"


@dataclass(frozen=True)
class Shrunk:
    """``(a, h) ->`` in the order of a, ``max(r, 0)`` of the regression r of sorted a minus h, on the host.

    Its derivatives are those of `shrunk_in_steps`, which says the same in four nodes.
    """

    def evaluate(self, lib: Backend, a: Any, h: Any) -> Any:
        """The result for arrays."""
        return _on_host(lib, _shrunk, a, lib.xp.broadcast_to(h, a.shape))

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The directional derivative."""
        moving = {a: t for a, t in zip(call.arguments, tangents, strict=True) if t is not None}
        return jvp([shrunk_in_steps(*call.arguments)], moving)[0] if moving else None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The transposed derivative."""
        return vjp([shrunk_in_steps(*call.arguments)], [cotangent], call.arguments)

    def __repr__(self) -> str:
        return "shrunk"


def _shrunk(a: np.ndarray, h: np.ndarray) -> np.ndarray:
    order, out = np.argsort(-a), np.empty_like(a)
    out[order] = np.maximum(_regression(a[order] - h)[0], 0.0)
    return out


def _full(moved: Expression, call: Call) -> Expression:
    return ex.broadcast_to(moved, call.shape)


def _pooled(y: Expression, d: Expression) -> Call:
    return Call(Pooled(), (y, d), y.shape, "real")


def _on_host(lib: Backend, function: Any, *arrays: Any) -> Any:
    """A function of rows, row by row, in double precision."""
    hosts = [np.asarray(lib.to_numpy(a), dtype=np.float64) for a in arrays]
    out = np.empty(hosts[0].shape)
    for at in np.ndindex(out.shape[:-1]):
        out[at] = function(*(h[at] for h in hosts))
    return lib.asarray(out, "real")


def _regression(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The regression of a row and where its blocks begin, with the end behind them; NaN is handed on."""
    from scipy.optimize import isotonic_regression

    if not np.all(np.isfinite(y)):
        return np.full_like(y, np.nan), np.arange(y.size + 1)
    found = isotonic_regression(y, increasing=False)
    return found.x, found.blocks


def _averaged(y: np.ndarray, d: np.ndarray) -> np.ndarray:
    x, ends = _regression(y)
    if not y.size:
        return d
    # equal neighbours share a block of the regression without being pooled: each of them moves by itself
    pooled = np.add.reduceat((x != y).astype(float), ends[:-1]) > 0
    means = np.repeat(np.add.reduceat(d, ends[:-1]) / np.diff(ends), np.diff(ends))
    return np.where(np.repeat(pooled, np.diff(ends)), means, d)


def in_falling_order(x: Expression) -> Call:
    """x from its largest entry to its smallest, along the last axis."""
    return Call(Sorted(), (x,), x.shape, "real")


def in_order_of(keys: Expression, x: Expression) -> Call:
    """x in the order in which the keys fall."""
    return Call(Ordered(False), (keys, x), x.shape, x.kind)


def out_of_order_of(keys: Expression, x: Expression) -> Call:
    """The inverse of `in_order_of`."""
    return Call(Ordered(True), (keys, x), x.shape, x.kind)


def nearest_falling(y: Expression) -> Call:
    """The nearest sequence that does not rise, along the last axis."""
    return Call(Falling(), (y,), y.shape, "real")


def shrunk_in_steps(a: Expression, h: Expression) -> Expression:
    """Sorted a minus h, made falling, cut at zero, and put back into the order of a."""
    return out_of_order_of(a, ex.maximum(nearest_falling(in_falling_order(a) - h), 0.0))


def shrunk(a: Expression, h: Expression) -> Call:
    """`shrunk_in_steps` as one node."""
    return Call(Shrunk(), (a, h), a.shape, "real")


__all__ = ["in_falling_order", "in_order_of", "nearest_falling", "out_of_order_of", "shrunk", "shrunk_in_steps"]
