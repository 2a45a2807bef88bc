"""Pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.plotting.canvas import new_figure


def for_display(image: Any) -> np.ndarray:
    """A picture as NumPy array ``(h, w)`` or ``(h, w, 3)`` with values clipped to [0, 1].

    Parameters
    ----------
    image : array, shape ``(h, w)`` or ``(channels, h, w)`` with 1 or 3 channels
        On any backend, black at 0 and white at 1.

    Raises
    ------
    ShapeError
        For any other shape.
    DtypeError
        For a complex picture.
    """
    picture = pixels_of(image)
    if picture.ndim == 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim == 3 and picture.shape[0] == 3:
        picture = np.moveaxis(picture, 0, -1)
    elif picture.ndim != 2:
        raise ShapeError(f"a picture has shape (h, w) or (3, h, w), not {picture.shape}")
    return np.clip(picture, 0.0, 1.0)


def pixels_of(image: Any) -> np.ndarray:
    """A real picture as NumPy array of floats.

    Parameters
    ----------
    image : array
        On any backend.

    Raises
    ------
    DtypeError
        For a complex picture.
    """
    pixels = np.asarray(backend_of(image).to_numpy(image))
    if pixels.dtype.kind == "c":
        raise DtypeError("a complex picture cannot be shown; give its size, abs(picture), or its real part")
    return pixels.astype(float)


def save_images(images: Mapping[str, Any], path: Any, *, height: float = 4.0, columns: int | None = None) -> Path:
    """Save pictures side by side, each under its title, as one PNG file.

    Parameters
    ----------
    images : mapping from title to array, shape ``(h, w)`` or ``(3, h, w)``
        Pictures between 0 (black) and 1 (white); what lies outside is clipped.
    path : path-like
        The file; it is replaced where it exists, and folders are made.
    height : float
        Height of a picture in inches.
    columns : int, optional
        Pictures in a row; by default all of them.

    Returns
    -------
    Path

    Raises
    ------
    ParameterError, ShapeError
        Where there is nothing to show, or an array is no picture.
    UnsupportedError
        Where matplotlib is not installed.
    """
    if not images:
        raise ParameterError("save_images needs at least one picture")
    if columns is not None and columns < 1:
        raise ParameterError(f"columns is how many pictures stand in a row, at least 1, not {columns!r}")
    pictures = {title: for_display(image) for title, image in images.items()}
    across = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // across)
    widest = max(p.shape[1] / p.shape[0] for p in pictures.values())
    figure = new_figure(across * height * widest + 0.2, rows * (height + 0.6))
    for place, (title, picture) in enumerate(pictures.items(), 1):
        axes = figure.add_subplot(rows, across, place)
        axes.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="none")
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    where = Path(path)
    where.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(where, format="png", dpi=150)
    return where
