"""Random crops of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError

_TRIES = 200  # for one crop, before pictures count as too flat


def crops(
    pictures: Sequence[np.ndarray],
    size: int | tuple[int, int],
    count: int,
    rng: Any = None,
    *,
    min_std: float = 0.02,
    augment: bool = False,
) -> np.ndarray:
    """Crops of pictures at random places, without near-constant ones.

    Parameters
    ----------
    pictures : sequence of array, shape ``(h, w)``
        Of any sizes; each is drawn equally often on average.
    size : int or tuple of int
        Height and width of a crop.
    count : int
    rng : numpy.random.Generator or int, optional
        Where randomness comes from, or a seed.
    min_std : float
        A crop whose standard deviation is smaller is drawn again; normalising layers divide by it.
    augment : bool
        Turn and mirror crops at random: each of the eight symmetries of a square is equally likely, and of the four of
        a rectangle.

    Returns
    -------
    array, shape ``(count, height, width)``
        Of the pictures' dtype.

    Raises
    ------
    ShapeError
        Where a picture is smaller than a crop, or is none.
    ParameterError
        Where nearly all places of the pictures are too flat.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.learning import datasets
    >>> datasets.crops([np.eye(40), np.eye(60)], 24, 10, rng=0, min_std=0.1).shape
    (10, 24, 24)
    """
    height, width = (size, size) if isinstance(size, (int, np.integer)) else size
    if not len(pictures):
        raise ParameterError("crops needs at least one picture")
    for i, picture in enumerate(pictures):
        if picture.ndim != 2 or picture.shape[0] < height or picture.shape[1] < width:
            raise ShapeError(f"picture {i} has shape {picture.shape}, but crops have {height} x {width} pixels")
    rng = np.random.default_rng(rng)
    found = np.empty((count, height, width), np.result_type(*(p.dtype for p in pictures)))
    for i in range(count):
        crop = _textured(pictures, (height, width), rng, min_std)
        found[i] = turned(crop, rng) if augment else crop
    return found


def _textured(pictures: Sequence[np.ndarray], size: tuple[int, int], rng: np.random.Generator, least: float) -> Any:
    for _ in range(_TRIES):
        picture = pictures[int(rng.integers(len(pictures)))]
        top, left = (rng.integers(n - m + 1) for n, m in zip(picture.shape, size, strict=True))
        crop = picture[top : top + size[0], left : left + size[1]]
        if np.std(crop, dtype=np.float64) >= least:
            return crop
    raise ParameterError(
        f"{_TRIES} random crops of {size[0]} x {size[1]} pixels had a standard deviation below {least:g}; take other "
        f"pictures, larger crops or a smaller min_std"
    )


def turned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture after a random symmetry of its square or rectangle."""
    square = picture.shape[0] == picture.shape[1]
    picture = np.rot90(picture, int(rng.integers(4) if square else 2 * rng.integers(2)))
    return picture[:, ::-1] if rng.integers(2) else picture


__all__ = ["crops", "turned"]
