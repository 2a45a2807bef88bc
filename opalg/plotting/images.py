"""Pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.errors import ParameterError, ShapeError
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
    """
    picture = np.asarray(backend_of(image).to_numpy(image), dtype=float)
    if picture.ndim == 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim == 3 and picture.shape[0] == 3:
        picture = np.moveaxis(picture, 0, -1)
    elif picture.ndim != 2:
        raise ShapeError(f"a picture has shape (h, w) or (3, h, w), not {picture.shape}")
    return np.clip(picture, 0.0, 1.0)


def save_images(images: Mapping[str, Any], path: Any, *, height: float = 4.0, columns: int | None = None) -> Path:
    """Save pictures side by side, each under its title, as one PNG file.

    Parameters
    ----------
    images : mapping from title to array, shape ``(h, w)`` or ``(3, h, w)``
        Pictures between 0 (black) and 1 (white); what lies outside is clipped.
    path : path-like
        The file; it is replaced where it exists.
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
    figure.savefig(path, format="png", dpi=150)
    return Path(path)
