"""Pointwise operators, selections, rearrangements and sums of the catalogue against NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import opalg as oa
from tests.operators.catalogue_contract import MODES, Contract, Random, Table

CASES = Table()
case = CASES.add
RANDOM = Random(20)
normal, complex_normal = RANDOM.normal, RANDOM.complex_normal


def add_pointwise() -> None:
    """Identity, zero, scalings, diagonals, masks, parts."""
    case("identity", lambda: oa.Identity((3, 1, 2)), lambda x: x, True)
    case("zero", lambda: oa.Zero((3,), (2, 2)), lambda x: np.zeros((2, 2), x.dtype), True)
    case("zero_square", lambda: oa.Zero((3,)), np.zeros_like, True)
    case("scaled", lambda: -2.5 * oa.Identity((3,)), lambda x: -2.5 * x, True)
    case("scaled_complex", lambda: (1 + 2j) * oa.Identity((3,)), lambda x: (1 + 2j) * x, True)
    d, c = normal(2, 3), complex_normal(4)
    case("diagonal", lambda: oa.Diagonal(d), lambda x: d * x, True)
    case("diagonal_complex", lambda: oa.Diagonal(c), lambda x: c * x, True)
    case("diagonal_broadcast", lambda: oa.Diagonal(c, (3, 4)), lambda x: c * x, True)
    holes = np.array([1.0, 0.0, -3.0])
    case("diagonal_singular", lambda: oa.Diagonal(holes), lambda x: holes * x, True)
    mask = RANDOM.rng.random((3, 4)) < 0.5
    case("mask", lambda: oa.Mask(mask), lambda x: np.where(mask, x, 0), True)
    case("mask_none", lambda: oa.Mask(np.zeros(3, bool)), np.zeros_like)
    case("real", lambda: oa.Real((2, 3)), np.real, True)
    case("imag", lambda: oa.Imag((2, 3)), np.imag, True)
    case("conj", lambda: oa.Conj((2, 3)), np.conj, True)


def add_selection() -> None:
    """Restrict, Gather, Crop, Slice, Permutation."""
    mask = np.array([[True, False, True], [False, True, True]])
    case("restrict_mask", lambda: oa.Restrict(mask), lambda x: x[mask], True)
    case("restrict_flat", lambda: oa.Restrict([5, 0, 3], (2, 3)), lambda x: x.ravel()[[5, 0, 3]], True)
    case("restrict_even", lambda: oa.Restrict(np.arange(1, 7, 2), 7), lambda x: x[1:7:2], True)
    case("restrict_all", lambda: oa.Restrict(np.ones((2, 2), bool)), lambda x: x.ravel(), True)
    case("gather_repeated", lambda: oa.Gather((4,), [2, 0, 2, -1, 2]), lambda x: x[[2, 0, 2, -1, 2]], True)
    case("gather_axis", lambda: oa.Gather((3, 4), [3, 3, 1], axis=1), lambda x: x[:, [3, 3, 1]], True)
    case("gather_negative_axis", lambda: oa.Gather((3, 4), [3, 0], axis=-1), lambda x: x[:, [3, 0]], True)
    case("gather_default_axis", lambda: oa.Gather((3, 4), [2, 2]), lambda x: x[[2, 2]], True)
    index = np.array([[0, 1, 1], [2, 1, 0]])
    case("gather_matrix", lambda: oa.Gather((3, 2), index), lambda x: x[index], True)
    case("gather_matrix_axis", lambda: oa.Gather((2, 3), index, axis=1), lambda x: x[:, index], True)
    case("crop", lambda: oa.Crop((5, 4), (1, 0), (4, 3)), lambda x: x[1:4, 0:3], True)
    case("crop_negative", lambda: oa.Crop((5, 4), (-3, None), -1), lambda x: x[-3:-1, :-1], True)
    case("crop_scalar", lambda: oa.Crop((4, 3), 1), lambda x: x[1:, 1:], True)
    case("crop_one", lambda: oa.Crop((1, 3), None, (None, 1)), lambda x: x[:, :1], True)
    slices: list[Any] = [
        slice(None, None, -1),
        (slice(4, 0, -2), slice(None)),
        (1, slice(None, None, -3)),
        (Ellipsis, -1),
        (None, slice(1, 3), None, 2),
        (slice(-2, None), Ellipsis, slice(3, None, -1)),
        (2, 3),
        (0, None, 0),
        Ellipsis,
    ]
    for number, index_ in enumerate(slices):
        case(f"slice_{number}", lambda i=index_: oa.Slice((5, 4), i), lambda x, i=index_: x[i], True)
    order = np.array([2, 0, 3, 1, 4])
    case("permutation", lambda: oa.Permutation(order), lambda x: x[order], True)


def add_rearrangement() -> None:
    """Flip, Roll, Transpose, Reshape, Pad."""
    case("flip", lambda: oa.Flip((3, 2)), np.flip, True)
    case("flip_axis", lambda: oa.Flip((3, 2, 1), -2), lambda x: x[:, ::-1], True)
    case("flip_axes", lambda: oa.Flip((3, 2, 2), (0, 2)), lambda x: x[::-1, :, ::-1], True)
    case("roll_all", lambda: oa.Roll((4, 3), (5, -1)), lambda x: np.roll(x, (5, -1), (0, 1)), True)
    case("roll_axis", lambda: oa.Roll((4, 3), -2, 1), lambda x: np.roll(x, -2, 1), True)
    case("roll_axes", lambda: oa.Roll((4, 3, 2), (1, 9), (2, 0)), lambda x: np.roll(x, (1, 9), (2, 0)), True)
    case("roll_half", lambda: oa.Roll((4,), 2), lambda x: np.roll(x, 2), True)
    case("transpose", lambda: oa.Transpose((2, 3, 4)), lambda x: x.transpose(), True)
    case("transpose_cycle", lambda: oa.Transpose((2, 3, 4), (1, 2, 0)), lambda x: x.transpose(1, 2, 0), True)
    case("transpose_negative", lambda: oa.Transpose((2, 1, 3), (-1, 0, 1)), lambda x: x.transpose(-1, 0, 1), True)
    case("reshape", lambda: oa.Reshape((2, 6), (3, 4)), lambda x: x.reshape(3, 4), True)
    case("reshape_infer", lambda: oa.Reshape((2, 6), (3, -1, 1)), lambda x: x.reshape(3, -1, 1), True)
    widths: dict[str, tuple[tuple[int, ...], Any, Any]] = {
        "pair": ((4, 3), (1, 2), ((1, 2), (1, 2))),
        "axes": ((4, 3), ((2, 0), (0, 1)), ((2, 0), (0, 1))),
        "beyond": ((3,), (7, 8), (7, 8)),
        "single": ((1, 2), ((2, 1), (0, 3)), ((2, 1), (0, 3))),
    }
    for (label, (shape, width, numpy_width)), (boundary, mode) in itertools.product(widths.items(), MODES.items()):
        case(
            f"pad_{boundary}_{label}",
            lambda s=shape, w=width, b=boundary: oa.Pad(s, w, b),
            lambda x, w=numpy_width, m=mode: np.pad(x, w, mode=m),
            True,
        )
    case("pad_none", lambda: oa.Pad((3,), 0, "reflect"), lambda x: x, True)
    case("pad_default", lambda: oa.Pad((2, 3), 2), lambda x: np.pad(x, 2), True)


def add_reductions() -> None:
    """Sum, Mean, CumulativeSum."""
    for name, kind, function in (("sum", oa.Sum, np.sum), ("mean", oa.Mean, np.mean)):
        for label, axes, keep in (
            ("all", None, False),
            ("first", 0, True),
            ("two", (0, -1), False),
            ("keep", None, True),
        ):
            case(
                f"{name}_{label}",
                lambda k=kind, a=axes, d=keep: k((3, 1, 4), axes=a, keepdims=d),
                lambda x, f=function, a=axes, d=keep: f(x, axis=a, keepdims=d),
                True,
            )
    case("cumulative", lambda: oa.CumulativeSum((3, 4)), lambda x: np.cumsum(x, -1), True)
    case("cumulative_first", lambda: oa.CumulativeSum((5, 2), 0), lambda x: np.cumsum(x, 0), True)
    case("cumulative_one", lambda: oa.CumulativeSum((1, 2), axis=0), lambda x: x, True)


add_pointwise()
add_selection()
add_rearrangement()
add_reductions()


class TestEntries(Contract):
    """What holds for every case of this file."""

    cases = CASES
