"""Crops and slices against NumPy's indexing, and how they merge."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from opalg.errors import ShapeError
from opalg.operators import Diagonal, Identity, Mask, Zero
from opalg.operators.rearrangement import Flip
from opalg.operators.windows import Crop, Slice, sliced
from tests.operators.rewritten import rewritten

SHAPE = (5, 4, 3)
INDICES = [
    0,
    -1,
    slice(1, 4),
    slice(None, None, -1),
    slice(-1, None, -2),
    (1, 2, 0),
    (..., 1),
    (slice(None, None, 2), ..., slice(1, None)),
    (None, slice(3, 0, -2), None, 1),
    (slice(-100, 100), slice(2, 3), slice(None, None, -1)),
    (None, 0, None, ..., None),
    (slice(4, None, -3), slice(3, 4, 5)),
    (),
    ...,
    None,
    (np.int64(2), slice(np.int64(1), None)),
]


def rule_members(rng):
    """Operators on which the rules of this family fire."""
    crop, steps = Crop((4, 3), (1, 0), (3, 2)), Slice((5, 3), (slice(None, None, -2), 1))
    mask = np.zeros((4, 3), bool)
    mask[1:3] = True
    simple = [Crop((2, 2)), Slice((4,), slice(1, 3)), Slice((4,), slice(None, None, -1))]
    return [*simple, Flip((2, 2)) @ crop, (Flip((2, 2)) @ crop).H, crop.gram, steps.gram, crop @ Mask(mask)]


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_slice_is_numpys(rng, index):
    x = rng.standard_normal((2, *SHAPE))
    own = index if isinstance(index, tuple) else (index,)
    wanted = np.stack([each[own] for each in x])
    taken = Slice(SHAPE, index)
    assert taken.out_shape == wanted.shape[1:]
    assert np.array_equal(taken @ x, wanted)
    assert np.array_equal(sliced(SHAPE, index) @ x, wanted)
    back = np.zeros_like(x)
    for each, y in zip(back, wanted, strict=True):
        each[own] = y
    assert np.array_equal(taken.H @ wanted, back)


def test_equal_slices_are_one_object():
    assert Slice((5,), slice(0, 5)) is Slice((5,), slice(None))
    assert Slice((5,), slice(None, None, 3)) is Slice((5,), slice(0, 4, 3))
    assert Slice((5, 2), (None, 0)) is Slice((5, 2), (0, None))
    assert repr(Slice((5, 4), (slice(None, None, -2), 1))) == "Slice((5, 4), [4::-2, 1])"


def test_slices_become_what_is_simpler():
    assert rewritten(Slice(SHAPE, slice(1, 3)), "simplify_slice") is Crop(SHAPE, (1, 0, 0), (3, 4, 3))
    assert rewritten(Slice(SHAPE, slice(None, None, -1)), "simplify_slice") is Flip(SHAPE, 0)
    assert rewritten(Slice(SHAPE, ...), "simplify_slice") is Identity(SHAPE)
    assert rewritten(Crop(SHAPE), "drop_crop_of_nothing") is Identity(SHAPE)


def test_crop_is_a_box(rng):
    x = rng.standard_normal((2, *SHAPE))
    crop = Crop(SHAPE, (1, 0, -2), (4, -1, None))
    assert np.array_equal(crop @ x, x[:, 1:4, :3, 1:])
    back = np.zeros_like(x)
    back[:, 1:4, :3, 1:] = 1
    assert np.array_equal(crop.H @ np.ones((2, *crop.out_shape)), back)
    assert Crop((5, 5), 1, -1) is Crop((5, 5), (1, 1), (4, 4))


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(INDICES[2:10], INDICES[:12])), ids=repr)
def test_slices_of_slices_are_slices(rng, outer, inner):
    x = rng.standard_normal(SHAPE)
    try:
        wanted = x[inner][outer]
    except IndexError:
        with pytest.raises(ShapeError):
            Slice(Slice(SHAPE, inner).out_shape, outer)
        return
    if wanted.size == 0:
        with pytest.raises(ShapeError, match="takes nothing"):
            Slice(Slice(SHAPE, inner).out_shape, outer)
        return
    merged = (Slice(Slice(SHAPE, inner).out_shape, outer) @ Slice(SHAPE, inner)).simplify()
    assert isinstance(merged, (Slice, Crop, Flip, Identity))
    assert np.array_equal(merged @ x, wanted)


def test_windows_merge_with_each_other_and_with_flips():
    crop, inner = Crop((6, 5), (1, 1), (5, 4)), Crop((4, 3), (1, 0), (3, 2))
    assert rewritten(inner @ crop, "merge_windows") is Crop((6, 5), (2, 1), (4, 3))
    assert rewritten((inner @ crop).H, "merge_windows") is Crop((6, 5), (2, 1), (4, 3)).H
    assert isinstance(rewritten(Flip((4, 3)) @ crop, "merge_windows"), Slice)
    assert rewritten(crop.H @ Flip((4, 3)), "merge_windows") is rewritten((Flip((4, 3)) @ crop).H)
    assert rewritten(Flip((3,)) @ Slice((6,), slice(5, None, -2)), "merge_windows") is Slice((6,), slice(1, None, 2))


def test_grams_are_masks(rng):
    crop, steps = Crop((4, 3), (1, 0), (3, 2)), Slice((5, 3), (slice(None, None, -2), 1))
    kept = np.zeros((4, 3), bool)
    kept[1:3, :2] = True
    made = rewritten(crop.gram, "merge_gram_of_selection")
    assert isinstance(made, Mask) and np.array_equal(made.mask.value, kept)
    kept = np.zeros((5, 3), bool)
    kept[::2, 1] = True
    assert np.array_equal(rewritten(steps.gram).mask.value, kept)
    assert rewritten(crop.gram) is rewritten(crop.gram)
    assert rewritten(crop.cogram) is Identity((2, 2))
    assert rewritten(Slice((3, 2), None).gram) is Identity((3, 2))
    d = Diagonal(rng.standard_normal((4, 3)))
    assert isinstance(rewritten(d @ crop.gram @ d), Diagonal)


def test_masks_inside_and_outside_of_a_window():
    crop, mask = Crop((4,), 1, 3), np.array([False, True, True, False])
    assert rewritten(crop @ Mask(mask), "merge_selection_of_mask") is crop
    assert rewritten(Mask(mask) @ crop.H, "merge_selection_of_mask") is crop.H
    assert rewritten(crop @ Mask(~mask), "merge_selection_of_mask") is Zero((4,), (2,))
    half = crop @ Mask(np.array([True, True, False, True]))
    assert rewritten(half) is half


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Crop((4, 3), (1, 0), (5, 3)), "within|start < stop"),
        (lambda: Crop((4, 3), (2, 0), (2, 3)), "start < stop"),
        (lambda: Crop((4, 3), (1,), (2, 3)), "start= of 2 integers"),
        (lambda: Crop((4, 3), 0, 1.5), "stop= of 2 integers"),
        (lambda: Slice((4, 3), 4), "4 lies outside an axis of 4"),
        (lambda: Slice((4, 3), (0, 0, 0)), "more parts"),
        (lambda: Slice((4, 3), (..., ...)), "more than one Ellipsis"),
        (lambda: Slice((4, 3), slice(2, 2)), "takes nothing"),
        (lambda: Slice((4, 3), [0, 1]), "use Gather"),
        (lambda: Slice((4, 3), np.array([0, 1])), "use Gather"),
        (lambda: Slice((4, 3), True), "for boolean masks Restrict"),
        (lambda: Slice((4, 3), "a"), "Slice takes integers"),
    ],
)
def test_misuse_is_explained(build, words):
    with pytest.raises(ShapeError, match=words):
        build()
