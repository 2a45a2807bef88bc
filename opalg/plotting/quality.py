"""Image quality over the iterations of several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.plotting.canvas import new_figure
from opalg.plotting.colours import colour


def plot_psnr_per_iteration(
    curves: Mapping[str, Sequence[float]],
    *,
    first: int = 0,
    ylabel: str = "PSNR (dB)",
    axes: Any = None,
) -> Any:
    """Plot the PSNR of every iterate with a line for each method, and mark where each is largest.

    Parameters
    ----------
    curves : mapping from method to numbers
        In decibels, one for each iterate; what is not finite is left out. Curves may have different lengths.
    first : int
        The number of the first iterate: 0 where curves begin with the start.
    ylabel : str
        What the numbers are, where they are no PSNR.
    axes : matplotlib axes, optional
        Where to draw; by default on a new figure, ``axes.figure``.

    Returns
    -------
    matplotlib axes
        The legend gives the largest number of a method with its iteration, and the last number.

    Raises
    ------
    ParameterError
        Where there is no curve, or one without a finite number.
    UnsupportedError
        Where matplotlib is not installed.
    """
    if not isinstance(curves, Mapping):
        raise ParameterError(
            f"curves are a mapping from method to numbers, as in {{'RED': [20.1, 21.3]}}, not {type(curves).__name__}"
        )
    if not curves:
        raise ParameterError("there is no curve to plot")
    if axes is None:
        axes = new_figure(6.4, 4.0).add_subplot()
    for place, (method, numbers) in enumerate(curves.items()):
        values = np.asarray(numbers, dtype=float)
        finite = np.where(np.isfinite(values), values, np.nan)
        if values.ndim != 1 or np.isnan(finite).all():
            raise ParameterError(f"the curve of {method!r} has no finite number, or more than one axis")
        top = int(np.nanargmax(finite))
        label = f"{method}: {finite[top]:.2f} at {first + top}, {values[-1]:.2f} at the end"
        axes.plot(range(first, first + len(values)), finite, color=colour(place), label=label)
        axes.plot([first + top], [finite[top]], color=colour(place), marker="o", markersize=6, linestyle="")
    axes.set_xlabel("iteration")
    axes.set_ylabel(ylabel)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    return axes
