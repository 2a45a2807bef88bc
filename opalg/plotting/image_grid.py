"""Rows of pictures that belong together: the truth, the data, the operator applied again, the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.plotting.canvas import new_figure
from opalg.plotting.images import for_display, pixels_of


def plot_image_grid(
    rows: Mapping[str, Any],
    titles: Sequence[str] = (),
    *,
    captions: Mapping[str, Sequence[str]] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    height: float = 1.2,
) -> Any:
    """Plot pictures in a grid with a label for every row.

    Parameters
    ----------
    rows : mapping from label to pictures
        For each row a sequence of arrays of shape ``(h, w)`` or ``(3, h, w)``, or one array of them; None leaves a
        place empty. Rows may be of different lengths.
    titles : sequence of str, optional
        What stands above the columns.
    captions : mapping from label to texts, optional
        What stands below the pictures of a row, such as their PSNR.
    value_range : tuple of float
        What is black and what is white; values beyond are clipped.
    height : float
        Height of a picture in inches.

    Returns
    -------
    matplotlib figure
        To be saved by its ``savefig``.

    Raises
    ------
    ParameterError
        Where there is nothing to show, the range is empty, there are more titles than columns, or captions are for a
        row or for pictures that are not there.
    ShapeError
        Where an array is no picture.
    DtypeError
        For complex pictures.
    UnsupportedError
        Where matplotlib is not installed.

    Examples
    --------
    Of a model ``K`` that blurs, clean pictures ``x``, data ``y`` and outputs ``u``, each of shape ``(count, h, w)``::

        plot_image_grid({"clean": x, "input": y, "K output": K @ u, "output": u}, value_range=(-1, 1))
    """
    if not isinstance(rows, Mapping):
        raise ParameterError(f"rows are a mapping from label to pictures, not {type(rows).__name__}")
    low, high = map(float, value_range)
    if not low < high:
        raise ParameterError(f"value_range is (black, white) with black < white, but {value_range!r} was given")
    pictures = {label: [_scaled(image, low, high) for image in _each(label, row)] for label, row in rows.items()}
    across = max((len(row) for row in pictures.values()), default=0)
    shown = [p for row in pictures.values() for p in row if p is not None]
    if not shown:
        raise ParameterError("an image grid needs at least one picture")
    if len(titles) > across:
        raise ParameterError(f"there are {len(titles)} titles for {across} columns of pictures")
    for label in captions or {}:
        if label not in pictures:
            raise ParameterError(f"captions are for {label!r}, but the rows are {', '.join(map(repr, pictures))}")
        if len((captions or {})[label]) > len(pictures[label]):
            raise ParameterError(
                f"row {label!r} has {len(pictures[label])} pictures, but {len((captions or {})[label])} captions"
            )
    widest = max(p.shape[1] / p.shape[0] for p in shown)
    figure = new_figure(0.6 + across * (height * widest + 0.1), 0.3 + len(pictures) * (height + 0.25))
    panels = figure.subplots(len(pictures), across, squeeze=False)
    for i, (label, row) in enumerate(pictures.items()):
        texts = (captions or {}).get(label, ())
        for j in range(across):
            _panel(panels[i, j], row[j] if j < len(row) else None, texts[j] if j < len(texts) else "")
        panels[i, 0].set_ylabel(label, fontsize=9)
    for j, title in enumerate(titles):
        panels[0, j].set_title(title, fontsize=9)
    return figure


def _each(label: str, row: Any) -> list[Any]:
    """The pictures of a row, whether it is a list of them or one array."""
    shape = getattr(row, "shape", None)
    if shape is not None and len(shape) < 3:
        raise ShapeError(f"row {label!r} is an array of shape {tuple(shape)}; for one picture write [picture]")
    return list(row)


def _scaled(image: Any, low: float, high: float) -> np.ndarray | None:
    if image is None:
        return None
    pixels = pixels_of(image)
    return for_display((pixels - low) / (high - low))


def _panel(axes: Any, picture: np.ndarray | None, caption: str) -> None:
    """A picture without frame and ticks, whose labels stay."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    if picture is not None:
        axes.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="none")
    if caption:
        axes.set_xlabel(caption, fontsize=8)
