"""All patches of an image, overlapping or not."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ShapeError, UnsupportedError
from opalg.facts import exact
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose
from opalg.operators.axes import as_shape
from opalg.operators.diagonal import Diagonal, adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import OnShape
from opalg.program.expression import Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

BOUNDARIES = ("valid", "periodic")


@node
class Patches(OnShape):
    """All patches of an image, ``y_(g, s) = x_(stride g + s)`` with the place g of the patch and the place s within.

    Parameters
    ----------
    shape : tuple of int
        The shape of the image.
    size : int or tuple of int
        The size of the patches, one for all axes or one per axis.
    stride : int or tuple of int
        The step from a patch to the next, likewise.
    boundary : str
        ``"valid"`` (patches lie inside the image) or ``"periodic"`` (the image repeats; a patch starts at every
        multiple of the stride).

    Raises
    ------
    ShapeError
        Where sizes and strides do not fit the shape, or no patch fits into the image.
    UnsupportedError
        For another boundary.

    Notes
    -----
    The result has the axes of the grid of patches first, then those of a patch: shape ``(*grid, *size)`` with ``grid =
    (n - size) // stride + 1`` on each axis (``ceil(n / stride)`` for ``"periodic"``). The adjoint adds overlapping
    patches back, so ``P.H P`` is diagonal: it multiplies each pixel by the number of patches that hold it, the
    multiplicity. ``||P||`` is the root of the largest multiplicity (exact). Where every pixel lies in some patch,
    ``P.inverse()`` averages the patches back, ``(P.H P)^-1 P.H``; patches that do not overlap have ``P P.H = I``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> P = oa.Patches((5,), 2)
    >>> (P @ np.array([1.0, 2.0, 3.0, 4.0, 5.0])).tolist()
    [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0]]
    >>> P.gram @ np.ones(5)
    array([1., 2., 2., 2., 1.])
    >>> oa.Patches((6, 8), (3, 4), stride=(3, 2)).out_shape
    (2, 3, 3, 4)
    """

    shape: Shape
    size: Any
    stride: Any = 1
    boundary: str = "valid"

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not shape or 0 in shape:
            raise ShapeError(f"Patches needs a shape with axes and without zeros, not {shape}")
        if self.boundary not in BOUNDARIES:
            raise UnsupportedError(f"Patches has the boundaries {BOUNDARIES}, but not {self.boundary!r}")
        size, stride = _each(self.size, shape, "size"), _each(self.stride, shape, "stride")
        if self.boundary == "valid" and any(s > n for s, n in zip(size, shape, strict=True)):
            raise ShapeError(
                f"no patch of size {size} fits into an image of shape {shape}; take smaller patches, pad the image, or "
                f'use boundary="periodic"'
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "stride", stride)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (*self.grid, *self.size)

    @property
    def grid(self) -> Shape:
        """How many patches there are along each axis."""
        each = zip(self.shape, self.size, self.stride, strict=True)
        if self.boundary == "periodic":
            return tuple(-(-n // step) for n, _, step in each)
        return tuple((n - s) // step + 1 for n, s, step in each)

    def kernel(self) -> Kernel:
        return self._kernel(take_patches)

    def adjoint_kernel(self) -> Kernel:
        return self._kernel(add_patches)

    def _kernel(self, function: Any) -> Kernel:
        runs = tuple(_runs(*axis) for axis in zip(self.shape, self.size, self.stride, self.grid, strict=True))
        stages = _stages(self.shape, self.grid, self.size)
        passes = 2.0 * prod(self.out_shape) / prod(self.shape)
        return Kernel(function, (stages, runs), passes=passes, scratch=stages[1:-1])

    @property
    def multiplicity(self) -> Constant:
        """How many patches hold each pixel, in the shape of the image."""
        return _multiplicity(self.shape, self.size, self.stride, self.grid)

    @property
    def facts(self) -> Facts:
        counts = [_counts(*axis) for axis in zip(self.shape, self.size, self.stride, self.grid, strict=True)]
        least, most = prod(int(c.min()) for c in counts), prod(int(c.max()) for c in counts)
        gram = Literal(float(most)) if least == most else None
        cogram = Literal(1.0) if most == 1 else None
        return Facts(gram_scale=gram, cogram_scale=cogram, norm=exact(sqrt(most)))

    def inverse(self) -> LinearOperator:
        """The left inverse that averages overlapping patches, ``(P.H P)^-1 P.H``.

        Raises
        ------
        UnsupportedError
            Where some pixel lies in no patch.
        """
        if bool((self.multiplicity.value == 0).any()):
            raise UnsupportedError(
                f"{self!r} has no inverse, since some pixels lie in no patch; take a stride that is not larger than "
                f'the size and reaches the border, or boundary="periodic"'
            )
        return compose(Diagonal(self.multiplicity).inverse(), self.H)

    def __repr__(self) -> str:
        boundary = "" if self.boundary == "valid" else f", boundary={self.boundary!r}"
        return f"Patches({self.shape}, {self.size}, stride={self.stride}{boundary})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            Patches((5,), 2),
            Patches((3, 4), (2, 3)),
            Patches((4, 4), 2, stride=2),
            Patches((5, 4), 2, stride=(3, 1)),
            Patches((4, 3), 2, boundary="periodic"),
            Patches((5, 2), (3, 1), stride=2, boundary="periodic"),
            Patches((2, 1, 3), (2, 1, 2)),
            Patches((2,), 5, boundary="periodic"),
        ]


def _each(value: Any, shape: Shape, name: str) -> Shape:
    given = (value,) * len(shape) if isinstance(value, (int, np.integer)) else value
    found = as_shape(given)
    if len(found) != len(shape) or 0 in found:
        raise ShapeError(
            f"the {name} of Patches must be one positive integer, or one for each of the {len(shape)} axes of {shape}, "
            f"but is {value!r}"
        )
    return found


@lru_cache(maxsize=256)
def _runs(n: int, size: int, stride: int, count: int) -> tuple[tuple[tuple[int, int, int, int], ...], ...]:
    """For each place within a patch the runs ``(first, last, begin, stride)`` of patches and their pixels.

    A run ends where the image does, and the next one begins anew.
    """
    found = []
    for place in range(size):
        laps = (place + stride * np.arange(count)) // n
        edges = [0, *(np.flatnonzero(np.diff(laps)) + 1).tolist(), count]
        each = [(a, b, (place + stride * a) % n, stride) for a, b in pairwise(edges)]
        found.append(tuple(each))
    return tuple(found)


def _counts(n: int, size: int, stride: int, count: int) -> np.ndarray:
    """How many patches hold each pixel of a line."""
    held = np.arange(size)[:, None] + stride * np.arange(count)
    return np.bincount(held.ravel() % n, minlength=n)


@lru_cache(maxsize=64)
def _multiplicity(shape: Shape, size: Shape, stride: Shape, grid: Shape) -> Constant:
    lines = [_counts(*axis).astype(float) for axis in zip(shape, size, stride, grid, strict=True)]
    out = np.ones(())
    for line in lines:
        out = np.multiply.outer(out, line)
    return Constant(out, name="multiplicity", copy=False)


def _stages(shape: Shape, grid: Shape, size: Shape) -> tuple[Shape, ...]:
    """The shapes between image and patches, where the last axes have been cut already."""
    cuts = range(len(shape), -1, -1)
    return tuple((*shape[:cut], *grid[cut:], *size[cut:]) for cut in cuts)


def _pixels(cut: int, begin: int, count: int, stride: int) -> tuple[Any, ...]:
    """The index of pixels that are ``stride`` apart, along the axis before those of ``cut`` axes that were cut."""
    return (..., slice(begin, begin + (count - 1) * stride + 1, stride), *(slice(None),) * (2 * cut))


def _places(cut: int, place: int, first: int, last: int) -> tuple[Any, ...]:
    """The index of one place within each of some patches, along the first axis of the grid."""
    rest = tuple(slice(None) for _ in range(cut))
    return (..., slice(first, last), *rest, place, *rest)


def _rooms(lib: Any, x: Any, batch: Any, stages: Any, scratch: Any) -> Any:
    """The arrays between image and patches, made here where none were given."""
    return scratch or tuple(lib.empty_like(x, batch + stage) for stage in stages[1:-1])


def take_patches(lib: Any, x: Any, stages: Any, runs: Any, scratch: Any = None, out: Any = None) -> Any:
    """Cut one axis after the other into patches, the last one first; one copy per place within a patch."""
    batch = tuple(x.shape[: x.ndim - len(runs)])
    out = lib.empty_like(x, batch + stages[-1], out=out)
    if all(len(pieces) == 1 for along in runs for pieces in along) and hasattr(lib, "windows"):
        size, stride = tuple(len(along) for along in runs), tuple(along[0][0][3] for along in runs)
        every = lib.windows(x, size, stride)
        if every is not None:
            return lib.copy(every, out=out)
    source = x
    for cut, target in enumerate((*_rooms(lib, x, batch, stages, scratch), out)):
        for place, pieces in enumerate(runs[-1 - cut]):
            for first, last, begin, stride in pieces:
                target[_places(cut, place, first, last)] = source[_pixels(cut, begin, last - first, stride)]
        source = target
    return out


def add_patches(lib: Any, x: Any, stages: Any, runs: Any, scratch: Any = None, out: Any = None) -> Any:
    """The adjoint of `take_patches`: overlapping patches add up, along the first axis first."""
    batch = tuple(x.shape[: x.ndim - 2 * len(runs)])
    out = lib.empty_like(x, batch + stages[0], out=out)
    source = x
    for cut, target in reversed(list(enumerate((out, *_rooms(lib, x, batch, stages, scratch))))):
        lib.zeros_like(x, tuple(target.shape), out=target)
        for place, pieces in enumerate(runs[-1 - cut]):
            for first, last, begin, stride in pieces:
                pixels = _pixels(cut, begin, last - first, stride)
                lib.add(target[pixels], source[_places(cut, place, first, last)], out=target[pixels])
        source = target
    return out


@rule(Composed, group="diagonalise")
def diagonal_gram_of_patches(product: Composed) -> LinearOperator | None:
    """P.H @ P  ->  diag(multiplicity)     (P takes patches)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=Patches() as left), Patches() as right) if left is right:
            merged = Diagonal(right.multiplicity)
            return merged if rest is None else compose(merged, rest)
    return None
