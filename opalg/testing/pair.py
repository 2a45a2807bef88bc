"""A map with what is said to be its adjoint, and where the two disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from opalg.testing.subject import Shape, border, inner, place_of, random_array, size_of

ArrayMap = Callable[[np.ndarray], np.ndarray]
Mask = np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """A map and what is said to be its adjoint.

    Attributes
    ----------
    forward, backward : callable
        Functions of NumPy arrays.
    source, target : tuple of int
        The shapes that ``forward`` takes and gives.
    source_kind, target_kind : str
        ``"real"`` or ``"complex"``.
    size : float
        The norm of the map, as far as it was seen.
    tolerance : float
        On ``|<A x, y> - <x, A.H y>| / (size |x| |y|)``.
    where : tuple of two indices, optional
        An output and an input at which the two disagree.
    """

    forward: ArrayMap
    backward: ArrayMap
    source: Shape
    target: Shape
    source_kind: str
    target_kind: str
    size: float
    tolerance: float
    where: tuple[Shape, Shape] | None = None

    def products(self, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """``Re <A x, y>`` and ``Re <x, A.H y>``."""
        return inner(self.forward(x), y), inner(x, self.backward(y))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random pair of arguments."""
        return random_array(rng, self.source, self.source_kind), random_array(rng, self.target, self.target_kind)

    def fits(self, rng: np.random.Generator, keep_x: Mask = None, keep_y: Mask = None) -> bool:
        """Whether arguments, zero outside given masks, find no difference."""
        tried = False
        for x, y in self.arguments(rng):
            x = x if keep_x is None else x * keep_x
            y = y if keep_y is None else y * keep_y
            scale = self.size * size_of(x) * size_of(y)
            if scale == 0:
                continue
            left, right = self.products(x, y)
            if not abs(left - right) <= 10 * self.tolerance * scale:
                return False
            tried = True
        return tried

    def arguments(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs where the two disagree, on the border, and everywhere: random ones see little in large arrays."""
        if self.where is not None:
            x = _phase(rng, self.source_kind) * unit(self.source, self.where[1])
            yield x, _phase(rng, self.target_kind) * unit(self.target, self.where[0])
            yield x, self.forward(x)
        at_source, at_target = border(self.source), border(self.target)
        for _ in range(3):
            x, y = self.draw(rng)
            yield at_source * x, at_target * y
        for _ in range(3):
            yield self.draw(rng)

    def with_backward(self, backward: ArrayMap) -> Pair:
        """The pair with another adjoint."""
        return replace(self, backward=backward)


def worst_place(pair: Pair, rng: np.random.Generator) -> tuple[Shape, Shape]:
    """An output and an input index at which the two disagree, found by halving the arguments."""
    x, y = pair.draw(rng)
    pulled = pair.backward(y)

    def defect_in_x(part: np.ndarray) -> float:
        return abs(inner(pair.forward(part), y) - inner(part, pulled))

    i = _halved(x, defect_in_x)
    alone = np.zeros_like(x)
    alone.flat[i] = x.flat[i]
    moved = pair.forward(alone)

    def defect_in_y(part: np.ndarray) -> float:
        return abs(inner(moved, part) - inner(alone, pair.backward(part)))

    j = _halved(y, defect_in_y)
    return place_of(j, pair.target), place_of(i, pair.source)


def _phase(rng: np.random.Generator, kind: str) -> complex | float:
    return complex(np.exp(2j * np.pi * rng.random())) if kind == "complex" else 1.0


def unit(shape: Shape, place: Shape) -> np.ndarray:
    """One at a place, zero elsewhere."""
    impulse = np.zeros(shape)
    impulse[place] = 1.0
    return impulse


def _halved(x: np.ndarray, defect: Callable[[np.ndarray], float]) -> int:
    low, high = 0, x.size
    while high - low > 1:
        middle = (low + high) // 2
        sizes = []
        for a, b in ((low, middle), (middle, high)):
            part = np.zeros_like(x)
            part.flat[a:b] = x.flat[a:b]
            sizes.append(defect(part))
        low, high = (low, middle) if sizes[0] >= sizes[1] else (middle, high)
    return low
