"""Packed flat arrays as one row for each sample, for linear solves that go sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.arrays import Backend
from opalg.iterations import VectorSpace


class BatchRows:
    """The arrays of a packed state, all of which begin with the axes of samples, as an array ``(samples, n)``.

    Parameters
    ----------
    shapes, kinds : sequence
        Of the arrays, as for `VectorSpace`.
    count : int
        How many samples.
    lib : Backend
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], kinds: Sequence[str], count: int, lib: Backend) -> None:
        self.count, self.lib = count, lib
        space = VectorSpace(shapes, kinds, lib)
        self._ranges = sorted(space.range_of(i) for i in range(len(kinds)))

    def rows(self, flat: Any) -> Any:
        """A flat array as rows; it may share its memory."""
        xp = self.lib.xp
        if len(self._ranges) == 1:
            return xp.reshape(flat, (self.count, -1))
        parts = [xp.reshape(flat[begin:end], (self.count, -1)) for begin, end in self._ranges]
        return xp.concat(parts, axis=1)

    def flat(self, rows: Any) -> Any:
        """Rows as a flat array; it may share its memory."""
        xp, parts, at = self.lib.xp, [], 0
        if len(self._ranges) == 1:
            return xp.reshape(rows, (-1,))
        for begin, end in self._ranges:
            width = (end - begin) // self.count
            parts.append(xp.reshape(rows[:, at : at + width], (-1,)))
            at += width
        return xp.concat(parts)
