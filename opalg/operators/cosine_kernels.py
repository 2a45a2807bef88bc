"""Cosine and sine transforms as plain functions of arrays: the library's own where it has them, else by its FFT.

All are orthonormal. Types 2 and 3 follow Makhoul (1980), "A fast cosine transform in one and two dimensions": one real
FFT of the same length of the entries in the order 0, 2, 4, ..., 5, 3, 1. The others are real FFTs of the entries among
zeros, on the grid of frequencies that their angles lie on. A complex array is transformed part by part.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt
from typing import Any

import numpy as np

from opalg.leaves import Constant


@lru_cache(maxsize=256)
def factors(family: str, type: int, n: int, axis: int) -> tuple[Constant, ...]:
    """The numbers that a transform of n entries along an axis multiplies by, ready to broadcast.

    Type 2 needs a complex number for each frequency of the real FFT, type 3 two, type 4 one for each entry and one for
    each result, the cosine transform of type 1 the weights of its entries.
    """
    if type in (2, 3):
        k = np.arange(n // 2 + 1)
        turned = np.where(k == 0, sqrt(1 / n), sqrt(2 / n)) * np.exp(-0.5j * pi * k / n)
        found = [turned] if type == 2 else [1.0 / turned, -1j / turned]
    elif type == 4:
        k = np.arange(n)
        found = [np.exp(-0.5j * pi * k / n), sqrt(2 / n) * np.exp(-0.25j * pi * (2 * k + 1) / n)]
    elif (family, type) == ("cosine", 1):
        ends = np.ones(n)
        ends[[0, -1]] = sqrt(0.5)
        found = [ends * (2 / (n - 1)) ** 0.25]
    else:
        found = []
    return tuple(Constant(f.reshape((-1,) + (1,) * (-1 - axis)), name=f"{family} factors of {n}") for f in found)


def cosine_transform(lib: Any, x: Any, axes: Any, type: int, *numbers: Any, out: Any = None) -> Any:
    """Orthonormal cosine transforms of a type over some axes."""
    native = getattr(lib, "dctn", None)
    if native is not None and type <= 4:
        return native(x, axes, type)
    return over_axes(lib, x, axes, "cosine", type, numbers)


def sine_transform(lib: Any, x: Any, axes: Any, type: int, *numbers: Any, out: Any = None) -> Any:
    """Orthonormal sine transforms of a type over some axes."""
    native = getattr(lib, "dstn", None)
    if native is not None and type <= 4:
        return native(x, axes, type)
    return over_axes(lib, x, axes, "sine", type, numbers)


def over_axes(lib: Any, x: Any, axes: Any, family: str, type: int, numbers: Any) -> Any:
    """One axis after the other, by FFTs; ``numbers`` are the factors of the first axis, of the second, and so on."""
    if lib.kind_of(x) == "complex":
        parts = (lib.xp.real(x), lib.xp.imag(x))
        return as_one(lib, *(over_axes(lib, part, axes, family, type, numbers) for part in parts))
    each = len(numbers) // len(axes)
    for i, axis in enumerate(axes):
        own = numbers[i * each : (i + 1) * each]
        x = cosine_of(lib, x, axis, type, own) if family == "cosine" else sine_of(lib, x, axis, type, own)
    return x


def cosine_of(lib: Any, x: Any, axis: int, type: int, numbers: Any) -> Any:
    """A cosine transform along one axis."""
    if type == 1:
        (ends,) = numbers
        return lib.xp.real(spectrum_among_zeros(lib, x * ends, axis, 0, 2 * x.shape[axis] - 2)) * ends
    if type == 2:
        return second_cosine(lib, x, axis, *numbers)
    if type == 3:
        return third_cosine(lib, x, axis, *numbers)
    if type == 4:
        return fourth_cosine(lib, x, axis, *numbers)
    return alternated(lib, sine_of(lib, lib.xp.flip(x, axis=axis), axis, 7, numbers), axis)


def sine_of(lib: Any, x: Any, axis: int, type: int, numbers: Any) -> Any:
    """A sine transform along one axis, most of them by the cosine transform of the same type."""
    n = x.shape[axis]
    if type == 1:
        sines = lib.xp.imag(spectrum_among_zeros(lib, x, axis, 1, 2 * n + 2))
        return sines[along(axis, 1, n + 1)] * (-((2 / (n + 1)) ** 0.5))
    if type == 2:
        return lib.xp.flip(second_cosine(lib, alternated(lib, x, axis), axis, *numbers), axis=axis)
    if type == 3:
        return alternated(lib, third_cosine(lib, lib.xp.flip(x, axis=axis), axis, *numbers), axis)
    if type == 4:
        return alternated(lib, fourth_cosine(lib, lib.xp.flip(x, axis=axis), axis, *numbers), axis)
    entries = lib.xp.flip(x, axis=axis) if type == 6 else alternated(lib, x, axis)
    sines = lib.xp.imag(spectrum_among_zeros(lib, entries, axis, 1, 2 * n + 1))[along(axis, 1, n + 1)]
    sines = sines * (-2 / (2 * n + 1) ** 0.5)
    return alternated(lib, sines, axis) if type == 6 else lib.xp.flip(sines, axis=axis)


def second_cosine(lib: Any, x: Any, axis: int, turn: Any) -> Any:
    """The cosine transform of type 2: the real FFT ``V`` of the reordered entries, turned by a quarter step.

    With ``z_k = c_k exp(-i pi k / 2n) V_k`` the results k and n - k are the real part of ``z_k`` and minus its
    imaginary part.
    """
    n = x.shape[axis]
    folded = lib.empty_like(x, tuple(x.shape))
    folded[along(axis, 0, (n + 1) // 2)] = x[along(axis, 0, n, 2)]
    folded[along(axis, (n + 1) // 2, n)] = lib.xp.flip(x[along(axis, 1, n, 2)], axis=axis)
    turned = lib.rfftn(folded, (axis,), "backward") * turn
    out = folded
    out[along(axis, 0, n // 2 + 1)] = lib.xp.real(turned)
    mirrored, tail = lib.xp.imag(turned)[along(axis, 1, (n + 1) // 2)], along(axis, n // 2 + 1, n)
    lib.negative(lib.xp.flip(mirrored, axis=axis), out=out[tail])
    return out


def third_cosine(lib: Any, x: Any, axis: int, turn: Any, mirrored_turn: Any) -> Any:
    """The cosine transform of type 3, which goes the way of type 2 back: ``V_k = (x_k - i x_(n - k)) / turn_k``."""
    n = x.shape[axis]
    spectrum = x[along(axis, 0, n // 2 + 1)] * turn
    mirrored = lib.xp.flip(x[along(axis, n - n // 2, n)], axis=axis)
    inside = along(axis, 1, n // 2 + 1)
    lib.add(spectrum[inside], mirrored * mirrored_turn[inside], out=spectrum[inside])
    folded = lib.irfftn(spectrum, (n,), (axis,), "backward")
    out = lib.empty_like(x, tuple(x.shape))
    out[along(axis, 0, n, 2)] = folded[along(axis, 0, (n + 1) // 2)]
    out[along(axis, 1, n, 2)] = lib.xp.flip(folded[along(axis, (n + 1) // 2, n)], axis=axis)
    return out


def fourth_cosine(lib: Any, x: Any, axis: int, before: Any, after: Any) -> Any:
    """The cosine transform of type 4: a complex FFT of twice the length between two rotations."""
    n = x.shape[axis]
    padded = lib.zeros_like(before, (*x.shape[: x.ndim + axis], 2 * n, *x.shape[x.ndim + axis + 1 :]))
    padded[along(axis, 0, n)] = lib.asarray(x, "complex") * before
    return lib.xp.real(lib.fftn(padded, (axis,), "backward")[along(axis, 0, n)] * after)


def spectrum_among_zeros(lib: Any, x: Any, axis: int, start: int, length: int) -> Any:
    """The real FFT of an array of zeros of some length that holds x from an index on."""
    padded = lib.zeros_like(x, (*x.shape[: x.ndim + axis], length, *x.shape[x.ndim + axis + 1 :]))
    padded[along(axis, start, start + x.shape[axis])] = x
    return lib.rfftn(padded, (axis,), "backward")


def alternated(lib: Any, x: Any, axis: int) -> Any:
    """A copy with every second entry negated, beginning with the entry 1."""
    out = lib.copy(x)
    odd = along(axis, 1, x.shape[axis], 2)
    lib.negative(x[odd], out=out[odd])
    return out


def as_one(lib: Any, real: Any, imaginary: Any) -> Any:
    """The complex array of two real ones."""
    return lib.asarray(real, "complex") + lib.multiply(lib.asarray(imaginary, "complex"), 1j)


def along(axis: int, start: int, stop: int, step: int = 1) -> Any:
    """The index of a range along a negative axis."""
    return (..., slice(start, stop, step), *(slice(None),) * (-1 - axis))
