"""Convolutions and changes of the sampling rate against SciPy and brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal

import opalg as oa
from tests.operators.catalogue_contract import MODES, Contract, Random, Table, close

CASES = Table()
case = CASES.add
RANDOM = Random(23)
normal, complex_normal = RANDOM.normal, RANDOM.complex_normal


def convolved(x: np.ndarray, kernel: np.ndarray, boundary: str, origin: Any = "center", stride: Any = 1) -> np.ndarray:
    """True convolution, by padding as NumPy does and direct summation."""
    steps = np.broadcast_to(stride, x.ndim)
    if boundary in ("valid", "full"):
        result = scipy.signal.convolve(x, kernel, boundary, "direct")
    else:
        where = [k // 2 for k in kernel.shape] if isinstance(origin, str) else origin
        width = [(k - 1 - o, o) for k, o in zip(kernel.shape, where, strict=True)]
        result = scipy.signal.convolve(np.pad(x, width, mode=MODES[boundary]), kernel, "valid", "direct")
    return result[tuple(slice(None, None, s) for s in steps)]


def banked(x: np.ndarray, filters: np.ndarray, boundary: str, groups: int = 1, **more: Any) -> np.ndarray:
    """Every result is the sum over the channels of its group."""
    inside, outside = filters.shape[1], filters.shape[0] // groups
    return np.stack(
        [
            sum(convolved(x[(a // outside) * inside + c], filters[a, c], boundary, **more) for c in range(inside))
            for a in range(filters.shape[0])
        ]
    )


def add_convolutions() -> None:
    """Convolve and MultiConvolve."""
    kernels: dict[str, tuple[tuple[int, ...], np.ndarray, Any]] = {
        "odd": ((5, 4), normal(3, 3), "center"),
        "even": ((4, 5), normal(2, 4), "center"),
        "corner": ((4, 4), normal(3, 2), (0, 1)),
        "last": ((6,), normal(4), (3,)),
        "complex": ((5,), complex_normal(3), "center"),
        "full_size": ((3, 1), normal(3, 1), "center"),
    }
    for (label, (shape, kernel, origin)), boundary in itertools.product(kernels.items(), (*MODES, "valid", "full")):
        case(
            f"convolve_{boundary}_{label}",
            lambda k=kernel, s=shape, b=boundary, o=origin: oa.Convolve(k, s, b, o),
            lambda x, k=kernel, b=boundary, o=origin: convolved(x, k, b, o),
            boundary == "periodic",
        )
    large = normal(6, 5)
    for boundary in ("periodic", "zero", "full"):
        case(
            f"convolve_{boundary}_large",
            lambda b=boundary: oa.Convolve(large, (3, 4), b, "center"),
            lambda x, b=boundary: convolved(x, large, b),
            boundary == "periodic",
        )
    k = normal(3, 2)
    for boundary, stride in itertools.product((*MODES, "valid", "full"), (2, (1, 3))):
        case(
            f"convolve_{boundary}_stride{stride}".replace(" ", ""),
            lambda b=boundary, s=stride: oa.Convolve(k, (6, 6), b, stride=s),
            lambda x, b=boundary, s=stride: convolved(x, k, b, stride=s),
            boundary == "periodic",
        )
    case(
        "convolve_odd_stride", lambda: oa.Convolve(k, (5, 4), stride=3), lambda x: convolved(x, k, "periodic", stride=3)
    )
    filters, wide, plain = normal(3, 2, 2, 3), complex_normal(4, 1, 3), normal(2, 3, 2)
    for boundary in (*MODES, "valid", "full"):
        case(
            f"multi_{boundary}",
            lambda b=boundary: oa.MultiConvolve(filters, (4, 3), b),
            lambda x, b=boundary: banked(x, filters, b),
        )
        case(
            f"multi_{boundary}_plain",
            lambda b=boundary: oa.MultiConvolve(plain, (4, 3), b),
            lambda x, b=boundary: np.stack([convolved(x, f, b) for f in plain]),
            boundary == "periodic",
        )
    case("multi_groups", lambda: oa.MultiConvolve(wide, (5,), groups=2), lambda x: banked(x, wide, "periodic", 2), True)
    case(
        "multi_stride",
        lambda: oa.MultiConvolve(filters, (4, 6), "symmetric", (1, 0), 2),
        lambda x: banked(x, filters, "symmetric", origin=(1, 0), stride=2),
    )


def spread(x: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Zeros behind every sample."""
    result = np.zeros([n * f for n, f in zip(x.shape, factor, strict=True)], x.dtype)
    result[tuple(slice(None, None, f) for f in factor)] = x
    return result


def upsampled(x: np.ndarray, factor: tuple[int, ...], kernel: np.ndarray, boundary: str, origin: Any) -> np.ndarray:
    """The image extended, zeros put in, convolved, and cut."""
    more = 4
    long = spread(np.pad(x, more, mode=MODES[boundary]), factor)
    result = convolved(long, kernel, "zero", origin)
    return result[tuple(slice(more * f, (more + n) * f) for n, f in zip(x.shape, factor, strict=True))]


def add_sampling() -> None:
    """Downsample and Upsample."""
    case("downsample", lambda: oa.Downsample((5, 6), 2), lambda x: x[::2, ::2], True)
    case("downsample_factors", lambda: oa.Downsample((5, 6), (1, 4)), lambda x: x[:, ::4], True)
    case(
        "downsample_box",
        lambda: oa.Downsample((4, 6), (2, 3), "box"),
        lambda x: x.reshape(2, 2, 2, 3).mean((1, 3)),
        True,
    )
    case("upsample", lambda: oa.Upsample((3, 2), (2, 3)), lambda x: spread(x, (2, 3)), True)
    case("upsample_box", lambda: oa.Upsample((3, 2), (2, 3), "box"), lambda x: x.repeat(2, 0).repeat(3, 1), True)
    grid = np.linspace(0, 4, 12, endpoint=False)
    case(
        "upsample_triangle",
        lambda: oa.Upsample((4,), 3, "triangle"),
        lambda x: np.interp(grid, np.arange(5), np.append(x, x[0])),
        True,
    )
    h = normal(3, 4)
    for boundary in MODES:
        case(
            f"downsample_kernel_{boundary}",
            lambda b=boundary: oa.Downsample((5, 6), (2, 3), h, b, (2, 1)),
            lambda x, b=boundary: convolved(x, h, b, (2, 1), (2, 3)),
        )
        case(
            f"upsample_kernel_{boundary}",
            lambda b=boundary: oa.Upsample((3, 2), (2, 3), h, b, (2, 1)),
            lambda x, b=boundary: upsampled(x, (2, 3), h, b, (2, 1)),
            boundary == "periodic",
        )
    case(
        "upsample_center",
        lambda: oa.Upsample((3, 3), 2, h),
        lambda x: upsampled(x, (2, 2), h, "periodic", (1, 2)),
        True,
    )


add_convolutions()
add_sampling()


class TestConvolutions(Contract):
    """What holds for every case of this file."""

    cases = CASES


@pytest.mark.parametrize("name", ["box", "triangle", "gaussian", "lanczos"])
def test_named_filters_keep_constants(name: str) -> None:
    """Down and up, and the adjoint relation of the two."""
    down, up = oa.Downsample((8, 6), 2, name), oa.Upsample((4, 3), 2, name)
    close(down @ np.ones((8, 6)), np.ones((4, 3)), 1e-12)
    close(up @ np.ones((4, 3)), np.ones((8, 6)), 1e-12)
    for boundary in ("periodic", "zero"):
        down, up = oa.Downsample((8, 6), 2, name, boundary), oa.Upsample((4, 3), 2, name, boundary)
        close(up.to_dense(), 4 * down.to_dense().T, 1e-12)
    for boundary in ("symmetric", "reflect", "edge"):
        close(oa.Upsample((4, 3), 2, name, boundary) @ np.ones((4, 3)), np.ones((8, 6)), 1e-12)
