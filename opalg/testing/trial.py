"""One operator on one kind of array: guarded products, its matrix where it is small, and probes where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from opalg.testing.report import Findings
from opalg.testing.subject import Side, Subject, guarded, probes, random_array, reals

_PIECE = 1024
DENSE_LIMIT = 1 << 14  # entries of the largest matrix that is built and compared in full


@dataclass
class Trial:
    """One operator on one kind of array.

    Attributes
    ----------
    subject : Subject
        What is being checked.
    kind : str
        The kind of its arguments.
    findings : Findings
        Where to write.
    rng : numpy.random.Generator
    tolerance : float
        Relative.
    batched : bool
        Whether leading axes should count as a batch.
    """

    subject: Subject
    kind: str
    findings: Findings
    rng: np.random.Generator
    tolerance: float
    batched: bool

    def run(self, side: Side, x: np.ndarray) -> np.ndarray:
        """A side applied to an array; its exceptions are told apart from ours."""
        return self.guarded(side.name, lambda: side(x))

    def guarded(self, name: str, action: Callable[[], Any]) -> Any:
        """The result of the operator's own code."""
        return guarded(name, action)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """``A x``."""
        return self.run(self.subject.forward, x)

    def backward(self, y: np.ndarray) -> np.ndarray:
        """``A.H y``."""
        return self.run(self.subject.backward, y)

    @cached_property
    def image(self) -> np.ndarray:
        """``A x`` for a random x."""
        return self.forward(random_array(self.rng, self.subject.forward.source, self.kind))

    @property
    def out_kind(self) -> str:
        """The kind of results."""
        return "complex" if np.iscomplexobj(self.image) else "real"

    @property
    def sides(self) -> list[tuple[Side, str, str]]:
        """Each side, with the kinds that it takes and gives."""
        return [
            (self.subject.forward, self.kind, self.out_kind),
            (self.subject.backward, self.out_kind, self.kind),
        ]

    @cached_property
    def small(self) -> bool:
        """Whether the whole matrix is looked at."""
        return prod(self.subject.forward.source) * prod(self.subject.forward.target) <= DENSE_LIMIT

    @cached_property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """The real-linear matrices of both sides."""
        first, second = (self._matrix(side, source, target) for side, source, target in self.sides)
        return first, second

    def _matrix(self, side: Side, source: str, target: str) -> np.ndarray:
        columns = []
        for phase in (1.0, 1j) if source == "complex" else (1.0,):
            for i in range(prod(side.source)):
                unit = np.zeros(side.source, complex if source == "complex" else float)
                unit.flat[i] = phase
                columns.append(reals(self.run(side, unit), target))
        height = prod(side.target) * (2 if target == "complex" else 1)
        return np.array(columns).T if columns else np.zeros((height, 0))

    @cached_property
    def probed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rows of probes x, A x, y, A.H y, as reals."""
        found: list[np.ndarray] = []
        for side, source, target in self.sides:
            given = probes(self.rng, side.source, source)
            found.append(np.array([reals(p, source) for p in given]))
            found.append(np.array([reals(self.run(side, p), target) for p in given]))
        return found[0], found[1], found[2], found[3]

    @cached_property
    def size(self) -> float:
        """The norm of the map, as far as probes show it."""
        _, _, y, pulled = self.probed
        return max(self.reach, _largest_ratio(pulled, y))

    @cached_property
    def reach(self) -> float:
        """The largest ratio ``|A x| / |x|`` among the probes."""
        x, image, _, _ = self.probed
        return _largest_ratio(image, x)


def norms(rows: np.ndarray) -> np.ndarray:
    """The norm of each row."""
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))


def gram(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The inner products of rows, summed piece by piece: one matrix product would lose digits on long rows."""
    length = left.shape[1]
    pieces = [left[:, k : k + _PIECE] @ right[:, k : k + _PIECE].T for k in range(0, length, _PIECE)]
    return np.sum(pieces, axis=0) if pieces else np.zeros((len(left), len(right)))


def _largest_ratio(images: np.ndarray, arguments: np.ndarray) -> float:
    sizes = norms(arguments)
    return float(np.max(norms(images)[sizes > 0] / sizes[sizes > 0], initial=0.0))


def far(found: np.ndarray, wanted: np.ndarray, scale: float = 0.0) -> float:
    """The largest difference, relative to the largest entry or a scale."""
    if found.shape != wanted.shape:
        return float("inf")
    size = max(scale, float(np.max(np.abs(wanted), initial=0.0)))
    difference = np.max(np.abs(found - wanted), initial=0.0)
    return float(difference / size) if size > 0 else (0.0 if difference == 0 else float("inf"))
