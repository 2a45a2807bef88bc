"""Pictures to learn from, as NumPy arrays between 0 and 1: from folders, from installed libraries, and drawn at random.

Nothing is downloaded. What is read from files needs Pillow, which comes with ``pip install 'opalg[examples]'``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.learning.crops import crops
from opalg.learning.idx import read_idx
from opalg.learning.phantoms import cartesian_mask, coil_maps, ellipses

PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon")
_PARTS = {"train": "train", "test": "t10k"}


def mnist(folder: Any, part: str = "test", *, dtype: Any = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits with their labels, from the files of the MNIST database.

    Parameters
    ----------
    folder : str or Path
        Holds ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte`` (for training pictures, ``train-...``), with
        or without ``.gz``.
    part : {"test", "train"}
        The 10,000 test pictures or the 60,000 training pictures.
    dtype : dtype
        Of the pictures.

    Returns
    -------
    pictures : array, shape ``(count, 28, 28)``
        0 is the background.
    labels : int64 array, shape ``(count,)``

    Raises
    ------
    ParameterError
        Where a file is missing or damaged, or there is no such part.

    Notes
    -----
    LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition.
    """
    if part not in _PARTS:
        raise ParameterError(f"MNIST has the parts 'test' and 'train', but {part!r} was asked for")
    pictures, labels = (
        read_idx(_found(folder, f"{_PARTS[part]}-{what}-idx{axes}-ubyte", f"{_PARTS[part]}-{what}.idx{axes}-ubyte"))
        for what, axes in (("images", 3), ("labels", 1))
    )
    if len(pictures) != len(labels):
        raise ParameterError(f"MNIST in {folder} has {len(pictures)} pictures, but {len(labels)} labels")
    return pictures.astype(dtype) / np.asarray(255, dtype), labels.astype(np.int64)


def digits(*, dtype: Any = "float32") -> tuple[np.ndarray, np.ndarray]:
    """The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    Parameters
    ----------
    dtype : dtype
        Of the pictures.

    Returns
    -------
    pictures : array, shape ``(1797, 8, 8)``
    labels : int64 array, shape ``(1797,)``

    Raises
    ------
    UnsupportedError
        Where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise UnsupportedError("the 8 x 8 digits come with scikit-learn: pip install 'opalg[examples]'") from None
    found = load_digits()
    return (found.images / 16.0).astype(dtype), found.target.astype(np.int64)


def pictures(folder: Any, pattern: str = "*.png", *, dtype: Any = "float32") -> list[np.ndarray]:
    """The pictures of a folder in grey, in the order of their names, where 2 comes before 10.

    Parameters
    ----------
    folder : str or Path
    pattern : str
        Which names, with ``*`` and ``?``.
    dtype : dtype

    Returns
    -------
    list of array, shape ``(h, w)``
        ``np.stack`` makes one array of pictures of one size.

    Raises
    ------
    ParameterError
        Where no file has such a name, or one is no picture.
    UnsupportedError
        Where Pillow is not installed.
    """
    paths = sorted((p for p in Path(folder).glob(pattern) if p.is_file()), key=_natural)
    if not paths:
        raise ParameterError(f"no file of {_contents(folder)} is called {pattern!r}")
    return [read_grey(path, dtype) for path in paths]


def photographs(names: Iterable[str] = PHOTOGRAPHS, *, dtype: Any = "float32") -> list[np.ndarray]:
    """Photographs that come with scikit-image, in grey.

    Parameters
    ----------
    names : sequence of str
        In the order wanted; by default all of ``PHOTOGRAPHS``.
    dtype : dtype

    Returns
    -------
    list of array, shape ``(h, w)``
        Of different sizes, the smallest 300 x 451 pixels.

    Raises
    ------
    ParameterError
        For another name, and where the installed scikit-image lacks a photograph.
    UnsupportedError
        Where scikit-image or Pillow is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise UnsupportedError("the photographs come with scikit-image: pip install 'opalg[examples]'")
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in PHOTOGRAPHS:
            raise ParameterError(f"there is no photograph {name!r}; there are {', '.join(map(repr, PHOTOGRAPHS))}")
    folder = Path(spec.origin).parent / "data"
    return [read_grey(_found(folder, f"{name}.png"), dtype) for name in chosen]


def read_grey(path: Any, dtype: Any = "float32") -> np.ndarray:
    """A picture file in grey, black 0 and white 1; of colours, ``0.299 red + 0.587 green + 0.114 blue``.

    Parameters
    ----------
    path : str or Path
        Any format that Pillow reads, with 8 or 16 bits.
    dtype : dtype

    Raises
    ------
    ParameterError
        Where the file is no picture.
    UnsupportedError
        Where Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise UnsupportedError("reading pictures needs Pillow: pip install 'opalg[examples]'") from None
    try:
        with Image.open(path) as opened:
            deep = opened.mode.startswith("I")
            pixels = np.asarray(opened if deep else opened.convert("L"))
    except (OSError, SyntaxError, ValueError) as problem:  # what Pillow raises for broken files
        raise ParameterError(f"{path} cannot be read as a picture: {problem}") from problem
    return pixels.astype(dtype) / np.asarray(65535 if deep else 255, dtype)


def split(n: int, sizes: Sequence[int | None], seed: int | None = None) -> tuple[np.ndarray, ...]:
    """Disjoint indices, such as those of training, validation and test pictures.

    Parameters
    ----------
    n : int
        How many there are to choose from.
    sizes : sequence of int or None
        How many are in each part; one None takes the rest.
    seed : int, optional
        Of a random choice; by default the first part has the first indices, the second those behind them, and so on.

    Returns
    -------
    tuple of int64 arrays

    Raises
    ------
    ParameterError
        Where a size is negative, all of them are more than n, or more than one is None.

    Examples
    --------
    >>> from opalg.learning import datasets
    >>> datasets.split(6, (3, 2))
    (array([0, 1, 2]), array([3, 4]))
    >>> train, test = datasets.split(1797, (None, 397), seed=0)
    >>> len(train), len(test)
    (1400, 397)
    """
    for size in sizes:
        if size is not None and (isinstance(size, bool) or not isinstance(size, Integral)):
            raise ParameterError(f"sizes of parts are counts of indices, and one may be None, not {size!r}")
    known = [size for size in sizes if size is not None]
    rest = n - sum(known)
    if rest < 0 or any(size < 0 for size in known) or len(sizes) - len(known) > 1:
        raise ParameterError(f"{n} indices cannot be split into parts of {tuple(sizes)!r}; at most one size is None")
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    ends = np.cumsum([rest if size is None else size for size in sizes])
    return tuple(order[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True))


def _found(folder: Any, *names: str) -> Path:
    """The first file of a folder that has one of some names, gzipped or not."""
    wanted = [f"{name}{ending}" for name in names for ending in ("", ".gz")]
    for name in wanted:
        if (path := Path(folder) / name).is_file():
            return path
    raise ParameterError(f"no file of {_contents(folder)} is called {' or '.join(map(repr, wanted))}")


def _contents(folder: Any) -> str:
    """A folder and what is in it, for error messages."""
    if not Path(folder).is_dir():
        return f"{folder} (there is no such folder)"
    inside = sorted(p.name for p in Path(folder).iterdir())
    some = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
    return f"{folder} (which holds {some or 'nothing'})"


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their size."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path.name) if part]


__all__ = [
    "PHOTOGRAPHS",
    "cartesian_mask",
    "coil_maps",
    "crops",
    "digits",
    "ellipses",
    "mnist",
    "photographs",
    "pictures",
    "read_grey",
    "split",
]
