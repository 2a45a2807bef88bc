"""States as flat real vectors, and the few vector operations that iterations are made of."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import DtypeError, ShapeError


class VectorSpace:
    """States, that is tuples of real or complex arrays, as one flat real array.

    A complex entry counts as a pair of reals, so the Euclidean inner product of packed states is the real inner
    product ``sum_i Re sum(conj(u_i) v_i)`` of the states. The complex arrays come first in the flat array, entries as
    (real, imaginary), so that they can be viewed in place as complex numbers.

    Parameters
    ----------
    shapes : sequence of tuple of int
        The shape of each array.
    kinds : sequence of str
        ``"real"`` or ``"complex"`` for each array.
    lib : Backend
        Library, device and precision.

    Raises
    ------
    ShapeError
        Where there are not as many kinds as shapes.
    DtypeError
        Where a kind is neither real nor complex.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], kinds: Sequence[str], lib: Backend) -> None:
        if len(shapes) != len(kinds):
            raise ShapeError(f"a state of {len(shapes)} arrays needs as many kinds, but {len(kinds)} were given")
        for kind in kinds:
            if kind not in ("real", "complex"):
                raise DtypeError(f"an array of a state must be of kind 'real' or 'complex', not {kind!r}")
        self.shapes = tuple(tuple(int(n) for n in shape) for shape in shapes)
        self.kinds = tuple(kinds)
        self.lib = lib
        self._order = sorted(range(len(kinds)), key=lambda i: self.kinds[i])  # "complex" < "real"
        self._ranges: list[tuple[int, int]] = [(0, 0)] * len(kinds)
        self.size = 0
        for i in self._order:
            length = prod(self.shapes[i]) * (2 if self.kinds[i] == "complex" else 1)
            self._ranges[i] = (self.size, self.size + length)
            self.size += length

    def pack(self, arrays: Sequence[Any], out: Any = None) -> Any:
        """The arrays as one flat real array, in ``out`` where given; never shares memory with them.

        Raises
        ------
        ShapeError, DtypeError
            Where the arrays do not belong to this space.
        """
        self._check(arrays)
        flat = self.lib.empty((self.size,)) if out is None else out
        for (begin, end), kind, array in zip(self._ranges, self.kinds, arrays, strict=True):
            entries = self.lib.xp.reshape(array, (-1,))
            if kind == "real":
                flat[begin:end] = entries
            else:
                self._put_complex(flat, begin, end, entries)
        return flat

    def view(self, arrays: Sequence[Any]) -> Any:
        """The arrays as one flat real array that may share their memory: no copy where there is one, and real."""
        if self.kinds != ("real",):
            return self.pack(arrays)
        self._check(arrays)
        return self.lib.xp.reshape(arrays[0], (-1,))

    def unpack(self, flat: Any) -> tuple[Any, ...]:
        """The arrays that a flat array stands for; they may share its memory."""
        if tuple(flat.shape) != (self.size,):
            raise ShapeError(f"a packed state has shape {(self.size,)}, but an array of {tuple(flat.shape)} was given")
        if self.kinds == ("real",):
            return (self.lib.xp.reshape(flat, self.shapes[0]),)
        parts = []
        for (begin, end), kind, shape in zip(self._ranges, self.kinds, self.shapes, strict=True):
            entries = flat[begin:end]
            if kind == "complex":
                entries = self._as_complex(entries)
            parts.append(self.lib.xp.reshape(entries, shape))
        return tuple(parts)

    def range_of(self, i: int) -> tuple[int, int]:
        """Where the packed entries of array i begin and end."""
        return self._ranges[i]

    def zeros(self) -> Any:
        """The packed zero state."""
        return self.lib.zeros((self.size,))

    def _put_complex(self, flat: Any, begin: int, end: int, entries: Any) -> None:
        if hasattr(flat, "view"):
            flat[begin:end].view(self.lib.dtypes["complex"])[...] = entries
            return
        xp = self.lib.xp
        entries = self.lib.asarray(entries, "complex")
        flat[begin:end] = xp.reshape(xp.stack([xp.real(entries), xp.imag(entries)], axis=-1), (-1,))

    def _as_complex(self, entries: Any) -> Any:
        if hasattr(entries, "view"):
            return entries.view(self.lib.dtypes["complex"])
        real, imaginary = entries[0::2], entries[1::2]
        return self.lib.asarray(real, "complex") + self.lib.asarray(imaginary, "complex") * 1j

    def _check(self, arrays: Sequence[Any]) -> None:
        if len(arrays) != len(self.shapes):
            raise ShapeError(f"the state has {len(self.shapes)} arrays, but {len(arrays)} were given")
        for i, (array, shape, kind) in enumerate(zip(arrays, self.shapes, self.kinds, strict=True)):
            if tuple(array.shape) != shape:
                raise ShapeError(f"array {i} of the state has shape {shape}, but one of {tuple(array.shape)} was given")
            if kind == "real" and self.lib.kind_of(array) == "complex":
                raise DtypeError(f"array {i} of the state is real, but a complex one was given; take its real part")


def dot(a: Any, b: Any, lib: Backend) -> float:
    """The Euclidean inner product of two flat real arrays, as a Python float; not finite where it overflows."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return float(lib.item(lib.matmul(a, b)).real)


def norm(a: Any, lib: Backend) -> float:
    """The Euclidean norm of a flat real array, safe against overflow and underflow of the squares."""
    squared = dot(a, a, lib)
    if lib.tiny / lib.epsilon < squared and isfinite(squared):
        return sqrt(squared)
    if a.shape[0] == 0:
        return 0.0
    largest = float(lib.item(lib.xp.max(lib.xp.abs(a))).real)
    if largest == 0.0 or not isfinite(largest):
        return largest
    scaled = a / largest
    return largest * sqrt(dot(scaled, scaled, lib))


def add_scaled(x: Any, factor: float, y: Any, scratch: Any, lib: Backend) -> None:
    """``x += factor * y`` without allocation; ``scratch`` is overwritten and must be neither x nor y."""
    lib.multiply(y, factor, out=scratch)
    lib.add(x, scratch, out=x)


def flat_vector(value: Any, lib: Backend, what: str) -> Any:
    """A flat real array on the library's device and in its precision, itself where it is there already.

    Raises
    ------
    ShapeError, DtypeError
        Where it is not flat, or not real.
    """
    if len(value.shape) != 1:
        raise ShapeError(f"{what} must be a flat array, but has shape {tuple(value.shape)}; pack it with a VectorSpace")
    if lib.kind_of(value) != "real":
        raise DtypeError(f"{what} must be real, but has dtype {value.dtype}; pack complex arrays with a VectorSpace")
    return lib.asarray(value, "real")


def own_vector(value: Any, lib: Backend, what: str) -> Any:
    """A copy of a flat real array, on the library's device and in its precision; raises as `flat_vector` does."""
    return lib.copy(flat_vector(value, lib, what))
