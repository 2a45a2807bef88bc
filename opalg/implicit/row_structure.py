"""Which entries the rows of a linear map read, found by probing it: none, one, or the difference of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from opalg.errors import ShapeError

HostMap = Callable[[np.ndarray], np.ndarray]

_PRESENT = 1e-5  # of the largest probe: below it a digit is the same at head and tail; the digits have at most 14 bits
_SHARPER = 6  # calls of the map that may be spent on the last places of the coefficients
_RANGE = 30.0  # decades, up and down, over which one of the vectors that verify is spread


@dataclass(frozen=True, eq=False)
class RowStructure:
    """Rows that are zero, read one entry, or read a scaled difference of two.

    Row r maps x to ``coefficient[r] * (x[head[r]] - x[tail[r]])``, without what is absent.

    Attributes
    ----------
    head : array of int64
        The entry that is read; -1 for a row of zeros.
    tail : array of int64
        The entry that is subtracted; -1 where there is none.
    coefficient : array of float64
        Positive for a difference, of any sign for a single entry, 0 for a row of zeros.
    in_size : int
        How many entries x has.
    """

    head: np.ndarray
    tail: np.ndarray
    coefficient: np.ndarray
    in_size: int

    def __len__(self) -> int:
        return len(self.head)

    @property
    def single(self) -> bool:
        """Whether no row is a difference."""
        return not np.any(self.tail >= 0)

    def select(self, rows: np.ndarray) -> RowStructure:
        """Some of the rows, by a mask or by positions."""
        return RowStructure(self.head[rows], self.tail[rows], self.coefficient[rows], self.in_size)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """The rows times a vector, or times vectors that stand along the last axis."""
        c = self.coefficient.reshape(-1, *(1,) * (x.ndim - 1))
        reads = (self.head >= 0).reshape(c.shape)
        subtracts = (self.tail >= 0).reshape(c.shape)
        if self.in_size == 0:
            return np.zeros((len(self), *x.shape[1:]))
        return c * (np.where(reads, x[self.head], 0.0) - np.where(subtracts, x[self.tail], 0.0))

    def matrix(self) -> csr_array:
        """The rows as a sparse matrix."""
        rows = np.arange(len(self))
        reads, subtracts = self.head >= 0, self.tail >= 0
        values = np.concatenate((self.coefficient[reads], -self.coefficient[subtracts]))
        places = (
            np.concatenate((rows[reads], rows[subtracts])),
            np.concatenate((self.head[reads], self.tail[subtracts])),
        )
        return csr_array((values, places), shape=(len(self), self.in_size))

    @staticmethod
    def stack(parts: Sequence[RowStructure]) -> RowStructure:
        """The rows of several maps of one argument, one below the other.

        Raises
        ------
        ShapeError
            Where there are none, or their arguments differ in size.
        """
        sizes = {part.in_size for part in parts}
        if len(sizes) != 1:
            found = "none were given" if not sizes else f"their arguments have {sorted(sizes)} entries"
            raise ShapeError(f"row structures of maps of one argument can be stacked, but {found}; embed them first")
        head, tail, coefficient = (
            np.concatenate([getattr(p, n) for p in parts]) for n in ("head", "tail", "coefficient")
        )
        return RowStructure(head, tail, coefficient, sizes.pop())


def row_structure(apply: HostMap, in_size: int, *, tolerance: float = 1e-10) -> RowStructure | None:
    """The structure of the rows of a linear map; None where a row is none of zero, ``c x[h]`` and ``c (x[h] - x[t])``.

    Parameters
    ----------
    apply : callable
        The map, from a flat float64 NumPy array to another; it must not write to its argument. It is called ten times,
        and up to six times more where rows are differences.
    in_size : int
        How many entries the argument has.
    tolerance : float
        The error of a row, relative to the sizes of what it reads, up to which it may depart from its structure.

    Returns
    -------
    RowStructure or None

    Notes
    -----
    An index is read as two digits ``a`` and ``b``, centred, to a base near its square root. A row of a difference maps
    their powers to ``c (h - t)``, ``c (h^2 - t^2)`` and ``c (h^3 - t^3)``, whose quotients by the first are
    ``S = h + t`` and ``(3 S^2 + (h - t)^2) / 4``. With digits so small all of them are exact to many places, whatever
    the size; they are rounded to whole numbers, and the structure is then held against two random vectors, one of them
    with entries of sixty decades, which other entries of a row could not pass.

    Examples
    --------
    >>> import numpy as np
    >>> rows = row_structure(lambda x: 3.0 * np.diff(x), 4)
    >>> rows.head.tolist(), rows.tail.tolist(), rows.coefficient.tolist()
    ([1, 2, 3], [0, 1, 2], [3.0, 3.0, 3.0])
    >>> row_structure(np.cumsum, 4) is None
    True
    """
    with np.errstate(all="ignore"):
        digits = _Digits(in_size)
        found = digits.read([np.array(apply(probe), dtype=np.float64) for probe in digits.probes()])
        return _sharpen(found, apply) if found is not None and _holds(found, apply, tolerance) else None


class _Digits:
    """Indices as two centred digits to a base that is a power of two, so that scaled powers of them are exact."""

    def __init__(self, in_size: int) -> None:
        self.in_size = in_size
        self.base = 1 << max(1, -(-max(in_size - 1, 1).bit_length() // 2))
        self.middle = -(-in_size // self.base) // 2, self.base // 2

    def probes(self) -> list[np.ndarray]:
        """Ones, the first three powers of the scaled digits, and their product."""
        index = np.arange(self.in_size)
        a, b = ((d - m) / self.base for d, m in zip(divmod(index, self.base), self.middle, strict=True))
        return [np.ones(self.in_size), a, a**2, a**3, b, b**2, b**3, a * b]

    def read(self, answers: list[np.ndarray]) -> RowStructure | None:
        """The rows that give those answers, if there are any."""
        table = np.stack(answers)
        if not np.all(np.isfinite(table)):
            return None
        used = np.any(table != 0, axis=0)
        first = np.max(np.abs(table[[1, 4]]), axis=0)
        single = used & (np.abs(table[0]) > first / self.base)
        pair = used & ~single
        head, tail = np.full((2, table.shape[1]), -1, dtype=np.int64)
        coefficient = np.zeros(table.shape[1])
        lone, both = self._single(table[:, single]), self._pair(table[:, pair])
        if lone is None or both is None:
            return None
        head[single], coefficient[single] = lone
        head[pair], tail[pair], coefficient[pair] = both
        return RowStructure(head, tail, coefficient, self.in_size)

    def _single(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        head = self._index(*(table[k] / table[0] * self.base for k in (1, 4)))
        return None if head is None else (head, table[0])

    def _pair(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        a, b = table[1], table[4]
        across = np.abs(a) > _PRESENT * np.abs(b)
        along = np.abs(b) > _PRESENT * np.abs(a)
        gap_a, sum_a = self._gap_and_sum(table[1:4])
        gap_b, sum_b = self._gap_and_sum(table[4:7])
        coefficient = np.where(across, a / gap_a, b / gap_b) * self.base
        gap_b = np.where(across, np.where(along, b / coefficient * self.base, 0.0), gap_b)
        gap_a = np.where(across, gap_a, 0.0)
        sum_b = np.where(along, sum_b, 2 * self.base * table[7] / a)
        sum_a = np.where(across, sum_a, 2 * self.base * table[7] / b)
        head = self._index((sum_a + gap_a) / 2, (sum_b + gap_b) / 2)
        tail = self._index((sum_a - gap_a) / 2, (sum_b - gap_b) / 2)
        if head is None or tail is None:
            return None
        falls = coefficient < 0
        return np.where(falls, tail, head), np.where(falls, head, tail), np.abs(coefficient)

    def _gap_and_sum(self, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``|h - t|`` and ``h + t`` of a digit, from the first three powers; NaN where it is the same."""
        both = np.round(powers[1] / powers[0] * self.base)
        gap = np.round(np.sqrt(4 * (powers[2] / powers[0]) * self.base**2 - 3 * both**2))
        return gap, both

    def _index(self, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        """The index of two centred digits; None where they are none."""
        if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
            return None
        index = (np.round(a) + self.middle[0]) * self.base + np.round(b) + self.middle[1]
        if np.any((index < 0) | (index >= self.in_size)):
            return None
        return index.astype(np.int64)


def _holds(rows: RowStructure, apply: HostMap, tolerance: float) -> bool:
    """Whether random vectors are mapped as the structure says."""
    rng = np.random.default_rng(0)
    signs = rng.choice((-1.0, 1.0), rows.in_size)
    for x in (rng.normal(size=rows.in_size), signs * 10.0 ** rng.uniform(-_RANGE, _RANGE, rows.in_size)):
        found = np.array(apply(x), dtype=np.float64)
        absent = RowStructure(rows.head, np.full_like(rows.tail, -1), np.abs(rows.coefficient), rows.in_size)
        sizes = absent.apply(np.abs(x))
        sizes += RowStructure(rows.tail, absent.tail, absent.coefficient, rows.in_size).apply(np.abs(x))
        if found.shape != rows.head.shape or not np.all(
            np.abs(found - rows.apply(x)) <= tolerance * sizes + np.finfo(np.float64).tiny
        ):
            return False
    return True


def _sharpen(rows: RowStructure, apply: HostMap) -> RowStructure:
    """The same rows, with coefficients read off where x is one at one end and zero at the other, hence not rounded."""
    index, coefficient = np.arange(rows.in_size), rows.coefficient.copy()
    differing = np.where(rows.tail >= 0, rows.head ^ rows.tail, 0)
    for _ in range(_SHARPER):
        counts = [np.count_nonzero(differing >> bit & 1) for bit in range(rows.in_size.bit_length())]
        if not any(counts):
            break
        bit = int(np.argmax(counts))
        read = (differing >> bit & 1).astype(bool)
        coefficient[read] = np.abs(np.array(apply((index >> bit & 1).astype(np.float64)))[read])
        differing[read] = 0
    return RowStructure(rows.head, rows.tail, coefficient, rows.in_size)
