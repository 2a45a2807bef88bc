"""Random crops of pictures."""

import numpy as np
import pytest

from opalg.errors import ParameterError, ShapeError
from opalg.learning import datasets
from opalg.learning.crops import turned

NUMBERED = np.arange(20 * 30, dtype="float32").reshape(20, 30)


def test_crops_are_windows_of_the_pictures():
    found = datasets.crops([NUMBERED], (4, 7), 50, 0)
    assert found.shape == (50, 4, 7) and found.dtype == np.float32
    places = np.array([divmod(int(c[0, 0]), 30) for c in found])
    for crop, (i, j) in zip(found, places, strict=True):
        np.testing.assert_array_equal(crop, NUMBERED[i : i + 4, j : j + 7])
    assert places.min() >= 0 and places[:, 0].max() <= 16 and places[:, 1].max() <= 23
    assert len(np.unique(places, axis=0)) > 30


def test_every_place_is_reached_the_last_one_too():
    found = datasets.crops([NUMBERED[:3, :4]], 2, 300, 1)
    assert sorted({int(c[0, 0]) for c in found}) == [0, 1, 2, 30, 31, 32]
    assert (datasets.crops([NUMBERED], NUMBERED.shape, 2, 0) == NUMBERED).all()


def test_the_seed_decides():
    a, b, c = (datasets.crops([NUMBERED], 5, 4, seed, augment=True) for seed in (7, np.random.default_rng(7), 8))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_flat_crops_are_left_out(rng):
    picture = np.full((40, 40), 0.5)
    picture[:, 20:] += 0.1 * rng.standard_normal((40, 20))
    found = datasets.crops([picture], 6, 60, 0, min_std=0.06)
    assert (found.std(axis=(1, 2)) >= 0.06).all()
    assert (datasets.crops([picture], 6, 60, 0, min_std=0.0).std(axis=(1, 2)) == 0).any()
    with pytest.raises(ParameterError, match=r"standard deviation below 0\.06"):
        datasets.crops([picture[:, :20]], 6, 1, 0, min_std=0.06)


@pytest.mark.parametrize(("shape", "count"), [((3, 3), 8), ((2, 3), 4)])
def test_all_symmetries_and_no_others(shape, count, rng):
    picture = NUMBERED[: shape[0], : shape[1]]
    seen = {turned(picture, rng).tobytes() for _ in range(200)}
    wanted = {np.rot90(p, k).tobytes() for p in (picture, picture.T) for k in range(4) if np.rot90(p, k).shape == shape}
    assert seen == wanted
    assert len(seen) == count


def test_pictures_must_be_large_enough():
    with pytest.raises(ShapeError, match=r"picture 1 has shape \(20, 3\), but crops have 4 x 4"):
        datasets.crops([NUMBERED, NUMBERED[:, :3]], 4, 1)
    with pytest.raises(ParameterError, match="at least one"):
        datasets.crops([], 4, 1)


def test_an_array_of_pictures_will_do():
    assert datasets.crops(np.stack([NUMBERED, -NUMBERED]), 5, 3, 0).shape == (3, 5, 5)
