"""Boxes and regular slices of an array: what basic indexing takes."""

from __future__ import annotations

from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np

from opalg.errors import ShapeError
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.positions import facts_of_selection, flip
from opalg.operators.rearrangement import Flip
from opalg.operators.shaped import OnShape
from opalg.program.expression import Shape
from opalg.program.linear import Kernel, place_window
from opalg.rules import rule


class Steps(NamedTuple):
    """The positions ``start, start + step, ...`` along an axis, ``size`` of them."""

    start: int
    size: int
    step: int = 1

    @property
    def last(self) -> int:
        """The last position."""
        return self.start + (self.size - 1) * self.step

    @property
    def upwards(self) -> tuple[int, int, int]:
        """Start, stop and step of the slice that takes the same positions from the smallest on."""
        low, high = sorted((self.start, self.last))
        return low, high + 1, abs(self.step)


_PARTS = (int, np.integer, slice, Steps, EllipsisType)
Item = int | Steps | None  # an axis taken at one place, an axis taken at several, a new axis


@node
class Crop(OnShape):
    """The box ``y_i = x_{start + i}`` of an array, ``start <= index < stop``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    start, stop : int or tuple of int or None
        The first index along each axis, and the one behind the last. Negative numbers count from the end, None is the
        border; one value stands for all axes.

    Raises
    ------
    ShapeError
        Where the box is empty or does not lie within ``shape``.

    Notes
    -----
    ``C.H`` puts the box back among zeros; ``C @ C.H = I`` and ``||C|| = 1`` (exact); ``C.H @ C`` is a `Mask`. Nothing
    is copied on the way forward.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Crop((5,), 1, 4) @ np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    array([2., 3., 4.])
    """

    shape: Shape
    start: Any = None
    stop: Any = None
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        ends = []
        for given, name in ((self.start, "start"), (self.stop, "stop")):
            each = given if isinstance(given, (tuple, list)) else (given,) * len(shape)
            if len(each) != len(shape) or any(e is not None and not isinstance(e, (int, np.integer)) for e in each):
                raise ShapeError(f"Crop of shape {shape} needs {name}= of {len(shape)} integers or None, not {given!r}")
            border = (0,) * len(shape) if name == "start" else shape
            full = tuple(
                b if e is None else int(e) + (n if e < 0 else 0) for e, n, b in zip(each, shape, border, strict=True)
            )
            ends.append(full)
        if any(not 0 <= a < b <= n for a, b, n in zip(*ends, shape, strict=True)):
            raise ShapeError(
                f"Crop of shape {shape} was given start={self.start!r} and stop={self.stop!r}; it needs "
                f"0 <= start < stop <= length along each axis (to enlarge an array, use Pad)"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "start", ends[0])
        object.__setattr__(self, "stop", ends[1])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def kernel(self) -> Kernel:
        return Kernel(view_window, (self.start, self.stop), in_place=False, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return Kernel(place_window, (self.start, self.stop, self.shape))

    @property
    def facts(self) -> Facts:
        whole = self.out_shape == self.shape
        return facts_of_selection(self.shape, self.out_shape, identity=whole, involution=whole)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Crop({self.shape}, {self.start}, {self.stop})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Crop((4, 5), (1, 0), (3, 4)),
            Crop((6,), 2, None),
            Crop((2, 3, 4), 0, (-1, 3, 2)),
            Crop((1, 3), None, (1, 3)),
        ]


@node
class Slice(OnShape):
    """What basic indexing takes, ``y = x[index]``.

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on.
    index : int, slice, Ellipsis, None or tuple of those
        As for NumPy: an integer drops its axis, a slice may have any step, negative ones included, and None makes a new
        axis of one entry. It counts the axes of ``shape``, never those of a batch.

    Raises
    ------
    ShapeError
        Where the index has too many parts, an integer lies outside, or nothing is left.

    Notes
    -----
    ``S.H`` puts the entries back among zeros; ``S @ S.H = I`` and ``||S|| = 1`` (exact); ``S.H @ S`` is a `Mask`.
    Entries at given positions are taken by `Gather` and `Restrict`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.Slice((4,), slice(None, None, -2)) @ np.array([1.0, 2.0, 3.0, 4.0])
    array([4., 2.])
    >>> (oa.Slice((4, 3), (None, 0)) @ np.ones((4, 3))).shape
    (1, 3)
    """

    shape: Shape
    index: Any
    nonnegative = True

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "index", normal_index(shape, self.index))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(1 if i is None else i.size for i in self.index if not isinstance(i, int))

    def _forwards(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """The index with positive steps, and the axes of its result to be reversed after it."""
        kept = [i for i in self.index if not isinstance(i, int)]
        reversed_ = tuple(k - len(kept) for k, i in enumerate(kept) if i is not None and i.step < 0)
        return tuple(i.upwards if isinstance(i, Steps) else i for i in self.index), reversed_

    def kernel(self) -> Kernel:
        index, reversed_ = self._forwards()
        return Kernel(take_slice, (index, reversed_), in_place=False, passes=float(bool(reversed_)))

    def adjoint_kernel(self) -> Kernel:
        index, reversed_ = self._forwards()
        without = tuple(k for k in index if k is not None)
        met = tuple(i.size for i in self.index if isinstance(i, Steps))
        return Kernel(place_slice, (without, reversed_, self.out_shape, met, self.shape))

    @property
    def facts(self) -> Facts:
        steps = [i for i in self.index if isinstance(i, Steps)]
        same = self.out_shape == self.shape == tuple(i.size for i in steps)
        identity = same and all(i.step > 0 for i in steps)
        return facts_of_selection(self.shape, self.out_shape, identity=identity, involution=same)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        texts = [_text(i, n) for i, n in zip(self.index, _lengths(self.shape, self.index), strict=True)]
        return f"Slice({self.shape}, [{', '.join(texts)}])"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Slice((4, 5), (slice(1, None), slice(None, None, 2))),
            Slice((4, 3), (slice(None, None, -1), 1)),
            Slice((5, 4), (..., slice(-1, 0, -2))),
            Slice((2, 3, 4), (None, 1, ..., None, 2)),
            Slice((6,), slice(1, 5)),
            Slice((3, 1), (slice(None), slice(None, None, -1))),
            Slice((3, 2), (slice(None, None, -1), slice(None, None, -1))),
        ]


def normal_index(shape: Shape, index: Any) -> tuple[Item, ...]:
    """A basic index with one part for each axis, nonnegative, and new axes as late as they can stand.

    Raises
    ------
    ShapeError
        Where it is not a basic index of such an array, or takes nothing.
    """
    parts = index if isinstance(index, tuple) and not isinstance(index, Steps) else (index,)
    for part in parts:
        if isinstance(part, bool) or not (part is None or isinstance(part, _PARTS)):
            raise ShapeError(
                f"Slice takes integers, slices, Ellipsis and None, not {part!r}; for arrays of positions use "
                f"Gather, for boolean masks Restrict"
            )
    used = sum(part is not None and part is not ... for part in parts)
    if used > len(shape) or sum(part is ... for part in parts) > 1:
        raise ShapeError(
            f"the index {index!r} has more parts than the shape {shape} has axes, or more than one Ellipsis"
        )
    at = next((k for k, part in enumerate(parts) if part is ...), len(parts))
    full = (*parts[:at], *(slice(None),) * (len(shape) - used), *parts[at + 1 :])
    lengths = _lengths(shape, full)
    found = [_item(part, n, shape) for part, n in zip(full, lengths, strict=True)]
    return _settled(found)


def _lengths(shape: Shape, parts: Any) -> list[int]:
    """The length of the axis that each part of an index takes from; 1 for new axes."""
    left = iter(shape)
    return [1 if part is None else next(left) for part in parts]


def _item(part: Any, n: int, shape: Shape) -> Item:
    if part is None or isinstance(part, Steps):
        return part
    if isinstance(part, slice):
        start, stop, step = part.indices(n)
        count = len(range(start, stop, step))
        if count == 0:
            raise ShapeError(f"the slice {part.start}:{part.stop}:{part.step} takes nothing of an axis of {n} entries")
        return Steps(start, count, step if count > 1 else 1)
    if not -n <= part < n:
        raise ShapeError(f"the index {part} lies outside an axis of {n} entries, in an array of shape {shape}")
    return int(part) % n


def _settled(items: list[Item]) -> tuple[Item, ...]:
    """The items with each new axis moved behind the integers that follow it, which changes nothing."""
    out: list[Item] = []
    waiting = 0
    for item in items:
        if item is None:
            waiting += 1
        else:
            out += [None] * waiting if isinstance(item, Steps) else []
            waiting = 0 if isinstance(item, Steps) else waiting
            out.append(item)
    return (*out, *(None,) * waiting)


def _text(item: Item, n: int) -> str:
    if not isinstance(item, Steps):
        return str(item)
    if item == Steps(0, n):
        return ":"
    stop = item.last + (1 if item.step > 0 else -1)
    ends = f"{item.start}:{'' if stop < 0 else stop}"
    return ends if item.step == 1 else f"{ends}:{item.step}"


def view_window(lib: Any, x: Any, start: Any, stop: Any, out: Any = None) -> Any:
    """The box ``start <= index < stop`` of the trailing axes, as a view."""
    return x[(..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))]


def take_slice(lib: Any, x: Any, index: Any, reversed_: Any, out: Any = None) -> Any:
    """Index the trailing axes, then reverse some; slices are given as start, stop and step."""
    taken = x[(..., *(slice(*part) if isinstance(part, tuple) else part for part in index))]
    return flip(lib, taken, reversed_)


def place_slice(lib: Any, x: Any, index: Any, reversed_: Any, given: Any, met: Any, shape: Any, out: Any = None) -> Any:
    """Put x where an index took it from, in an array of zeros; ``met`` is its shape without new axes."""
    batch = tuple(x.shape[: x.ndim - len(given)])
    out = lib.zeros_like(x, batch + tuple(shape), out=out)
    value = flip(lib, x, reversed_)
    if given != met:
        value = lib.xp.reshape(value, batch + tuple(met))
    out[(..., *(slice(*part) if isinstance(part, tuple) else part for part in index))] = value
    return out


def items_of(operator: LinearOperator) -> tuple[Item, ...] | None:
    """The basic index that a `Crop`, `Slice` or `Flip` takes; None for other operators."""
    match operator:
        case Crop(start=start, stop=stop):
            return tuple(Steps(a, b - a) for a, b in zip(start, stop, strict=True))
        case Slice(index=index):
            return tuple(index)
        case Flip(shape=shape, axes=axes):
            turned = [axis + len(shape) in {a + len(shape) for a in axes} for axis in range(-len(shape), 0)]
            return tuple(Steps(n - 1, n, -1) if t else Steps(0, n) for n, t in zip(shape, turned, strict=True))
    return None


def sliced(shape: Any, index: Any) -> LinearOperator:
    """The simplest operator that takes a basic index: `Identity`, `Crop`, `Flip`, else `Slice`.

    Raises
    ------
    ShapeError
        As for `Slice`.
    """
    made = Slice(shape, index)
    items = [i for i in made.index if isinstance(i, Steps)]
    if len(items) < len(made.index):
        return made
    if all(i.step == 1 for i in items):
        start, stop = tuple(i.start for i in items), tuple(i.last + 1 for i in items)
        return Identity(made.shape) if made.out_shape == made.shape else Crop(made.shape, start, stop)
    if made.out_shape == made.shape:
        return Flip(made.shape, tuple(k for k, i in enumerate(items) if i.step < 0))
    return made


def _after(inner: tuple[Item, ...], outer: tuple[Item, ...]) -> tuple[Item, ...]:
    """The index that takes at once what ``outer`` takes of what ``inner`` took."""
    out: list[Item] = []
    left = list(outer)
    for item in inner:
        if isinstance(item, int):
            out.append(item)
            continue
        while left[0] is None:
            out.append(left.pop(0))
        taken = left.pop(0)
        if item is None:
            out += [] if isinstance(taken, int) else [None]
        elif isinstance(taken, int):
            out.append(item.start + taken * item.step)
        else:
            assert taken is not None
            step = item.step * taken.step if taken.size > 1 else 1
            out.append(Steps(item.start + taken.start * item.step, taken.size, step))
    return (*out, *left)


@rule(Crop, group="simplify")
def drop_crop_of_nothing(crop: Crop) -> LinearOperator | None:
    """Crop(everything)  ->  I"""
    return Identity(crop.shape) if crop.out_shape == crop.shape else None


@rule(Slice, group="simplify")
def simplify_slice(window: Slice) -> LinearOperator | None:
    """Slice(steps of 1) -> Crop, Slice(everything, some axes reversed) -> Flip, Slice(everything) -> I"""
    simple = sliced(window.shape, window.index)
    return None if isinstance(simple, Slice) else simple


@rule(Composed, group="merge")
def merge_windows(product: Composed) -> LinearOperator | None:
    """Slice @ Slice -> Slice, Crop @ Crop -> Crop, and mixed with Flip; the same for their adjoints"""
    a, b, rest = adjacent(product)
    if isinstance(a, Flip) and isinstance(b, Flip):
        return None
    merged = _merged(a, b)
    if merged is None and (isinstance(a, (Adjoint, Flip)) and isinstance(b, (Adjoint, Flip))):
        back = _merged(b.H, a.H)
        merged = None if back is None else back.H
    if merged is None:
        return None
    return merged if rest is None else compose(merged, rest)


def _merged(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    outer, inner = items_of(a), items_of(b)
    if outer is None or inner is None:
        return None
    return sliced(b.in_shape, _settled(list(_after(inner, outer))))
