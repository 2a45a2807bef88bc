"""Padding: an image that goes on beyond its border."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import product
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import YES, exact
from opalg.leaves import Constant, Indices
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import Diagonal, adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import OnShape
from opalg.operators.windows import Crop
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel, place_window, take_window
from opalg.rules import rule

EXTENSIONS = ("zero", "periodic", "reflect", "symmetric", "edge")
_FEW = 1 << 14  # entries up to which the number of calls counts, not that of passes over memory
Run = tuple[int, int, int, int]  # target begin, source begin, count, step of the source (1, -1, or 0: one entry)


@node
class Pad(OnShape):
    """Padding beyond the border, ``y_i = x_{r(i - before)}`` with ``r`` mapping outside indices back into the image.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image.
    width : int, pair of int, or one pair per axis
        How many entries to add ``(before, after)`` each axis, as in `numpy.pad`.
    boundary : str
        What lies outside, with the meaning of `numpy.pad`: ``"zero"``; ``"periodic"`` (``cdabcdab``, NumPy's
        ``"wrap"``); ``"reflect"`` (``cbabcdcb``, the border entry once); ``"symmetric"`` (``baabcddc``, the border
        entry twice); or ``"edge"`` (``aaabcddd``). Widths may exceed the image: it then repeats or is reflected
        again and again, and an axis of one entry is repeated.

    Raises
    ------
    ShapeError
        For a shape without axes or with zeros, and for widths that are negative or not one pair per axis.
    UnsupportedError
        For another boundary.

    Notes
    -----
    The adjoint adds every copy back onto the entry it was taken from (``"zero"``: it crops). So ``P.H P`` is diagonal,
    with the number of copies of each entry, and ``||P||`` is the root of the largest number (exact); where all numbers
    agree, ``P`` is a scaled isometry, which padding with zeros is always.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Pad((3,), 2, "reflect") @ np.array([1.0, 2.0, 3.0])
    array([3., 2., 1., 2., 3., 2., 1.])
    >>> oa.Pad((3,), (0, 2), "edge").H @ np.ones(5)
    array([1., 1., 3.])
    """

    shape: Shape
    width: Any
    boundary: str = "zero"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not shape or 0 in shape:
            raise ShapeError(f"Pad needs a shape with axes and without zeros, not {shape}")
        if self.boundary not in EXTENSIONS:
            raise UnsupportedError(f"Pad has the boundaries {EXTENSIONS}, but not {self.boundary!r}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "width", _checked_width(self.width, shape))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(before + n + after for n, (before, after) in zip(self.shape, self.width, strict=True))

    def trace(self, x: Expression) -> Expression:
        return ex.Apply(self, x) if self._widens else self._unchanged(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return ex.Apply(self, y, adjoint=True) if self._widens else self._unchanged(y)

    @property
    def _widens(self) -> bool:
        return self.out_shape != self.shape

    def _unchanged(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        return x

    def conj(self) -> LinearOperator:
        return self

    def kernel(self) -> Kernel:
        start, stop = self._box
        if self.boundary == "zero":
            return Kernel(place_window, (start, stop, self.out_shape))
        if prod(self.out_shape) <= _FEW:
            moved = [(axis - len(self.shape), p) for axis, p in enumerate(self._positions) if p is not None]
            return Kernel(extend_few, tuple(a for pair in moved for a in pair), in_place=False, fresh=True)
        return Kernel(extend, (start, stop, self._runs, self.out_shape, self.boundary))

    def adjoint_kernel(self) -> Kernel:
        start, stop = self._box
        if self.boundary == "zero":
            return Kernel(take_window, (start, stop), in_place=False, passes=0.0)
        return Kernel(fold_onto, (start, stop, self._runs))

    @property
    def _box(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the image itself lies in the result."""
        start = tuple(before for before, _ in self.width)
        return start, tuple(a + n for a, n in zip(start, self.shape, strict=True))

    @property
    def frame(self) -> tuple[Any, ...]:
        """The boundary, where the image itself lies in the result, what its border copies, and the result's shape."""
        runs = () if self.boundary == "zero" else self._runs
        return (self.boundary, *self._box, runs, self.out_shape)

    @property
    def _axes(self) -> list[tuple[int, int, int]]:
        return [(n, before, after) for n, (before, after) in zip(self.shape, self.width, strict=True)]

    @property
    def _runs(self) -> tuple[tuple[Run, ...], ...]:
        """For each axis the runs of entries that the border copies."""
        return tuple(_runs(n, before, after, self.boundary) for n, before, after in self._axes)

    @cached_property
    def _positions(self) -> tuple[Indices | None, ...]:
        """For each axis that widens the entries that its own are copied from."""
        axes = [(n, before, after) for n, before, after in self._axes]
        return tuple(Indices(_sources(*axis, self.boundary)) if any(axis[1:]) else None for axis in axes)

    @property
    def copies(self) -> tuple[np.ndarray, ...]:
        """For each axis how often each entry of the image occurs in the result; the diagonal of the gram."""
        if self.boundary == "zero":
            return tuple(np.ones(n, int) for n in self.shape)
        sources = (_sources(n, before, after, self.boundary) for n, before, after in self._axes)
        return tuple(np.bincount(s, minlength=n) for s, n in zip(sources, self.shape, strict=True))

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        if not self._widens:
            return Facts(YES, YES, YES, gram_scale=one, cogram_scale=one, norm=exact(1.0), lowest=one)
        copies = self.copies
        most = prod(int(c.max()) for c in copies)
        least = prod(int(c.min()) for c in copies)
        return Facts(gram_scale=Literal(float(most)) if most == least else None, norm=exact(sqrt(most)))

    def __repr__(self) -> str:
        return f"Pad({self.shape}, {self.width}, {self.boundary!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Pad((2, 3), ((1, 2), (0, 1))),
            Pad((3,), 2, "periodic"),
            Pad((2, 3), ((1, 2), (2, 0)), "periodic"),
            Pad((3, 2), ((2, 1), (1, 3)), "reflect"),
            Pad((2, 1, 2), ((0, 1), (1, 0), (1, 2)), "symmetric"),
            Pad((3,), (4, 7), "symmetric"),
            Pad((2, 3), (1, 2), "edge"),
            Pad((1, 3), 0, "reflect"),
        ]


def _checked_width(width: Any, shape: Shape) -> tuple[tuple[int, int], ...]:
    given = np.asarray(width)
    try:
        pairs = np.broadcast_to(given, (len(shape), 2))
    except ValueError:
        raise ShapeError(
            f"the width of Pad on {shape} must be a number, one pair, or {len(shape)} pairs (before, after), not "
            f"{width!r}"
        ) from None
    if given.dtype.kind not in "iu" or (pairs < 0).any():
        raise ShapeError(f"the widths of Pad must be nonnegative integers, not {width!r}; use Crop to cut")
    return tuple((int(before), int(after)) for before, after in pairs)


def _sources(n: int, before: int, after: int, boundary: str) -> np.ndarray:
    """The index of the entry of an axis that each entry of the padded axis copies."""
    at = np.arange(-before, n + after)
    if boundary == "edge" or n == 1:
        return np.clip(at, 0, n - 1)
    if boundary == "periodic":
        return at % n
    period = 2 * n if boundary == "symmetric" else 2 * (n - 1)
    at = at % period
    return np.where(at < n, at, (2 * n - 1 if boundary == "symmetric" else 2 * (n - 1)) - at)


def _runs(n: int, before: int, after: int, boundary: str) -> tuple[Run, ...]:
    """The border entries of an axis as runs of neighbours, those before the image and those behind it."""
    found: list[Run] = []
    sources = _sources(n, before, after, boundary)
    for begin, end in ((0, before), (before + n, before + n + after)):
        at = begin
        while at < end:
            step = int(sources[at + 1] - sources[at]) if at + 1 < end else 1
            step = step if step in (-1, 0, 1) else 1
            stop = at + 1
            while stop < end and sources[stop] - sources[stop - 1] == step:
                stop += 1
            found.append((at, int(min(sources[at], sources[stop - 1])), stop - at, step))
            at = stop
    return tuple(found)


def extend(lib: Any, x: Any, start: Any, stop: Any, runs: Any, shape: Any, way: Any = None, out: Any = None) -> Any:
    """Copy x into its box, then fill the border axis by axis from what is there already.

    Where the library extends images in that way by one call, and need not write to ``out``, this is taken.
    """
    padded = getattr(lib, "padded", None)
    whole = padded(x, start, stop, shape, way) if padded and way and out is None else None
    if whole is not None:
        return whole
    out = lib.empty_like(x, tuple(x.shape[: x.ndim - len(shape)]) + tuple(shape), out=out)
    box = [slice(a, b) for a, b in zip(start, stop, strict=True)]
    out[(..., *box)] = x
    for position, along in enumerate(runs):
        axis = position - len(shape)
        for target, source, count, step in along:
            box[position] = slice(start[position] + source, start[position] + source + (count if step else 1))
            part = out[(..., *box)]
            box[position] = slice(target, target + count)
            out[(..., *box)] = lib.xp.flip(part, axis=axis) if step < 0 else part
        box[position] = slice(0, shape[position])
    return out


def extend_few(lib: Any, x: Any, *moves: Any, out: Any = None) -> Any:
    """`extend` by positions, axis after axis; fewer calls, for small images."""
    for axis, positions in zip(moves[::2], moves[1::2], strict=True):
        x = lib.take(x, positions, axis)
    return x


def fold_onto(lib: Any, y: Any, start: Any, stop: Any, runs: Any, out: Any = None) -> Any:
    """The adjoint of `extend`: every copy is added to the entry it was taken from."""
    size = prod(b - a for a, b in zip(start, stop, strict=True))
    if size <= _FEW:
        return fold_axes(lib, y, start, stop, runs, out)
    out = lib.copy(y[(..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))], out=out)
    ndim = len(start)
    inside = [((a, 0, b - a, 1),) for a, b in zip(start, stop, strict=True)]
    for block in product(*(own + along for own, along in zip(inside, runs, strict=True))):
        if all(run in own for run, own in zip(block, inside, strict=True)):
            continue
        part = y[(..., *(slice(target, target + count) for target, _, count, _ in block))]
        for position, (_, _, count, step) in enumerate(block):
            if step < 0:
                part = lib.xp.flip(part, axis=position - ndim)
            elif step == 0 and count > 1:
                part = lib.xp.sum(part, axis=position - ndim, keepdims=True)
        box = (..., *(slice(source, source + (count if step else 1)) for _, source, count, step in block))
        lib.add(out[box], part, out=out[box])
    return out


def fold_axes(lib: Any, y: Any, start: Any, stop: Any, runs: Any, out: Any) -> Any:
    """`fold_onto` axis by axis: fewer calls, but more traffic; quicker for small images."""
    ndim = len(start)
    for position, along in enumerate(runs):
        rest = (slice(None),) * (ndim - 1 - position)
        last = position == ndim - 1
        inner = y[(..., slice(start[position], stop[position]), *rest)]
        total = lib.copy(inner, out=out if last else lib.empty_like(y, tuple(inner.shape)))
        for target, source, count, step in along:
            part = y[(..., slice(target, target + count), *rest)]
            if step < 0:
                part = lib.xp.flip(part, axis=position - ndim)
            elif step == 0 and count > 1:
                part = lib.xp.sum(part, axis=position - ndim, keepdims=True)
            goal = total[(..., slice(source, source + (count if step else 1)), *rest)]
            lib.add(goal, part, out=goal)
        y = total
    return y


@lru_cache(maxsize=8)
def _gram_diagonal(pad: Pad) -> Constant:
    diagonal = np.ones(())
    for position, counts in enumerate(pad.copies):
        diagonal = diagonal * counts.reshape((-1,) + (1,) * (len(pad.shape) - 1 - position))
    return Constant(diagonal.astype(float), name="copies")


@rule(Pad, group="simplify")
def drop_padding_by_nothing(pad: Pad) -> LinearOperator | None:
    """Pad(0)  ->  I     (no width on any axis)"""
    return Identity(pad.shape) if pad.out_shape == pad.shape else None


@rule(Composed, group="simplify")
def gram_of_padding(product: Composed) -> LinearOperator | None:
    """P.H @ P  ->  diag(number of copies of each entry)     (P a Pad)"""
    match adjacent(product):
        case (Adjoint(operator=Pad() as left), Pad() as pad, rest) if left is pad and pad.facts.gram_scale is None:
            merged = Diagonal(_gram_diagonal(pad))
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="merge")
def merge_paddings(product: Composed) -> LinearOperator | None:
    """Pad(v) @ Pad(w)  ->  Pad(v + w)     (both zero, or both edge)"""
    match adjacent(product):
        case (Pad(boundary="zero" | "edge" as way) as a, Pad(boundary=b) as pad, rest) if way == b:
            width = tuple((p + r, q + s) for (p, q), (r, s) in zip(a.width, pad.width, strict=True))
            merged = Pad(pad.shape, width, way)
            return merged if rest is None else compose(merged, rest)
    return None


@rule(Composed, group="merge")
def crop_of_padding(product: Composed) -> LinearOperator | None:
    """Crop @ Pad  ->  Crop where the box lies within the image, and a smaller Pad where it holds the whole image"""
    match adjacent(product):
        case (Crop(start=start, stop=stop), Pad(shape=shape, width=width) as pad, rest):
            begin = tuple(a - before for a, (before, _) in zip(start, width, strict=True))
            end = tuple(b - before for b, (before, _) in zip(stop, width, strict=True))
            if all(a >= 0 and b <= n for a, b, n in zip(begin, end, shape, strict=True)):
                merged: LinearOperator = Crop(shape, begin, end)
            elif all(a <= 0 and b >= n for a, b, n in zip(begin, end, shape, strict=True)):
                merged = Pad(shape, tuple((-a, b - n) for a, b, n in zip(begin, end, shape, strict=True)), pad.boundary)
            else:
                return None
            return merged if rest is None else compose(merged, rest)
    return None
