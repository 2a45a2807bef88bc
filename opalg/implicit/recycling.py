"""What one linear solve leaves to the next: a few directions with their images, and a preconditioner made of them.

A start that is one per cent off saves two digits of ten. The directions s of a Krylov method with their images
``y = A s`` save more, as long as A changes little, since on their span the preconditioner made of them inverts A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opalg.arrays import Backend

PAIRS = 20  # pairs that are kept: two vectors each
RECORDED = 2 * PAIRS  # pairs that a solve writes down at most
SMALL = 2**19  # entries of all vectors kept up to which they are kept unasked: 4 MiB in double precision
DEPENDENT = 1e4  # multiples of epsilon below which directions count as dependent
WORTH = 0.9  # products for each digit, relative to those without pairs, above which pairs do not help
MOVED = 1e3  # multiples of epsilon that a projection may move directions by rounding

Flat = Callable[[Any], Any]


@dataclass(frozen=True)
class Pairs:
    """Directions and their images under a matrix ``A``, each in the rows of an array.

    With a symmetric A they are normalised to ``s_i . y_j = delta_ij``; else the images are orthonormal, and belong to
    A behind its own preconditioner.

    Attributes
    ----------
    s, y : array of shape (k, n)
    symmetric : bool
    pace : float
        Products for each digit of the solve that had no pairs yet.
    condition : float
        The condition number that the solves saw, from below, before pairs hid it.
    """

    s: Any
    y: Any
    symmetric: bool
    pace: float
    condition: float = 1.0

    def projected(self, project: Flat | None, lib: Backend) -> Pairs | None:
        """The pairs in the range of a projector, if they are not there already; None where nothing is left."""
        if project is None:
            return self
        ones = lib.asarray(np.ones(self.s.shape[0]), "real")
        total = lib.matmul(self.s.T, ones)
        apart = lib.subtract(project(total), total)
        if _largest(apart, lib) <= MOVED * lib.epsilon * _largest(total, lib):
            return self
        s, y = (lib.xp.stack([lib.copy(project(rows[i, ...])) for i in range(rows.shape[0])])
                for rows in (self.s, self.y))  # fmt: skip
        found = _normalised(s, y, self.symmetric, lib)
        return None if found is None else replace(self, s=found[0], y=found[1])

    def around(self, base: Flat | None, lib: Backend) -> Flat:
        """The preconditioner made of the pairs and another one.

        Notes
        -----
        Symmetric: ``S.T S + (I - S.T Y) B (I - Y.T S)``, the block form of the quasi-Newton update (BFGS), which is
        positive definite with B whatever Y is; on the pairs it is the inverse of A. Else
        ``B (I + (S - Y).T Y)``, which maps the images back.

        References
        ----------
        Morales and Nocedal (2000), section 2; Gratton, Sartenaer and Tshimanga (2011), definition 2.1; for general
        matrices Erhel, Burrage and Pohl (1996), with approximate singular in place of eigenvectors.
        """
        s, y, st, yt = self.s, self.y, self.s.T, self.y.T

        def symmetric(r: Any) -> Any:
            a = lib.matmul(s, r)
            z = lib.subtract(r, lib.matmul(yt, a))
            z = z if base is None else base(z)
            return lib.add(z, lib.matmul(st, lib.subtract(a, lib.matmul(y, z))))

        def general(r: Any) -> Any:
            a = lib.matmul(y, r)
            z = lib.add(r, lib.subtract(lib.matmul(st, a), lib.matmul(yt, a)))
            return z if base is None else base(z)

        return symmetric if self.symmetric else general


@dataclass(frozen=True)
class Recycling:
    """What an earlier solve left, and whether this one leaves something.

    Attributes
    ----------
    earlier : Pairs or None
    wanted : bool or "auto"
        Whether pairs are used and kept; ``"auto"`` where all their vectors together are small.
    """

    earlier: Pairs | None = None
    wanted: bool | str = "auto"

    def keeps(self, size: int) -> bool:
        """Whether pairs of vectors of that size are to be kept."""
        return bool(self.wanted) and (self.wanted is True or 2 * PAIRS * size <= SMALL)

    def pairs(self, symmetric: bool, size: int) -> Pairs | None:
        """The earlier pairs, where they may belong to a system of this kind and size."""
        found = self.earlier
        fits = found is not None and bool(self.wanted) and found.symmetric == symmetric and found.s.shape[1] == size
        return found if fits else None


class Recorder:
    """Directions of conjugate gradients with their images, evenly thinned: when full, every second one is dropped."""

    def __init__(self, size: int, lib: Backend) -> None:
        self.lib = lib
        self._s, self._y = lib.empty((RECORDED, size)), lib.empty((RECORDED, size))
        self._count, self._seen, self._stride = 0, 0, 1

    def __call__(self, direction: Any, image: Any) -> None:
        """Take note of a direction and its image, unless it is its turn to be left out."""
        if self._seen % self._stride == 0:
            if self._count == RECORDED:
                self._thin()
            if self._seen % self._stride == 0:
                self._s[self._count, ...], self._y[self._count, ...] = direction, image
                self._count += 1
        self._seen += 1

    def _thin(self) -> None:
        for rows in (self._s, self._y):
            for i in range(1, RECORDED // 2):
                rows[i, ...] = rows[2 * i, ...]
        self._count, self._stride = RECORDED // 2, 2 * self._stride

    def pairs(self) -> tuple[Any, Any]:
        """Directions and images in rows; fresh arrays."""
        return tuple(self.lib.copy(rows[: self._count, ...]) for rows in (self._s, self._y))  # type: ignore[return-value]


def krylov_pairs(basis: Any, rectangle: np.ndarray, aided: Pairs | None, lib: Backend) -> tuple[Any, Any]:
    """The directions that a Krylov space shrinks most, from ``A V = V H``, with their images.

    ``basis`` holds V in rows, one more than ``rectangle`` has columns; ``aided`` are the pairs that preconditioned.
    """
    right = np.linalg.svd(rectangle, full_matrices=False)[2][-PAIRS:]
    s = lib.matmul(lib.asarray(right, "real"), basis[: rectangle.shape[1], ...])
    y = lib.matmul(lib.asarray(right @ rectangle.T, "real"), basis)
    if aided is not None:
        s = lib.add(s, lib.matmul(lib.matmul(s, aided.y.T), lib.subtract(aided.s, aided.y)))
    return s, y


def joined(
    earlier: Pairs | None, new: tuple[Any, Any], symmetric: bool, pace: float, condition: float, lib: Backend
) -> Pairs | None:
    """The pairs to keep of earlier and new ones: those that the matrix shrinks most; None where there are none.

    Earlier ones go where they did not help. Their images are those of an earlier matrix, which spends no product.
    """
    helped = earlier is not None and pace <= WORTH * earlier.pace
    s, y = new
    if earlier is not None:
        pace, condition = earlier.pace, max(condition, earlier.condition)
    if earlier is not None and helped:
        s, y = lib.xp.concat([earlier.s, s]), lib.xp.concat([earlier.y, y])
    found = _normalised(s, y, symmetric, lib) if s.shape[0] else None
    return None if found is None else Pairs(*found, symmetric, pace, condition)


def _normalised(s: Any, y: Any, symmetric: bool, lib: Backend) -> tuple[Any, Any] | None:
    """At most `PAIRS` combinations of pairs, those of the least Ritz (singular) values, normalised."""
    lengths, images = _host(lib.matmul(s, s.T), lib), _host(lib.matmul(s if symmetric else y, y.T), lib)
    if not (np.isfinite(lengths).all() and np.isfinite(images).all()):
        return None
    noise = DEPENDENT * lib.epsilon
    scale = 1.0 / np.sqrt(np.maximum(np.diag(lengths), lib.tiny))
    sizes, turns = np.linalg.eigh(lengths * np.outer(scale, scale))
    kept = sizes > noise * sizes[-1]
    basis = scale[:, None] * turns[:, kept] / np.sqrt(sizes[kept])
    values, vectors = np.linalg.eigh(basis.T @ (0.5 * (images + images.T)) @ basis)
    if not len(values) or values[-1] <= 0:
        return None
    chosen = np.flatnonzero(values > noise * values[-1])[:PAIRS]
    weights = lib.asarray((basis @ vectors[:, chosen] / np.sqrt(values[chosen])).T, "real")
    return lib.matmul(weights, s), lib.matmul(weights, y)


def _host(small: Any, lib: Backend) -> np.ndarray:
    return np.asarray(lib.to_numpy(small), dtype=np.float64)


def _largest(a: Any, lib: Backend) -> float:
    return float(lib.item(lib.xp.max(lib.xp.abs(a))).real)
