"""Adding into CuPy arrays at repeated positions."""

from __future__ import annotations

from typing import Any

import cupy


def add_at(y: Any, indices: Any, length: int, axis: int, repeats: bool = True) -> Any:
    """Add y to zeros at some positions along an axis."""
    rows = cupy.moveaxis(y, axis, 0)
    out = cupy.zeros((length, *rows.shape[1:]), dtype=y.dtype)
    if not repeats:
        out[indices] = rows
    elif y.dtype.kind == "c":
        cupy.add.at(out.real, indices, rows.real)
        cupy.add.at(out.imag, indices, rows.imag)
    else:
        cupy.add.at(out, indices, rows)
    return cupy.ascontiguousarray(cupy.moveaxis(out, 0, axis))
