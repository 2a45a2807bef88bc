"""Boxes of a figure over the configurations of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.learning.sweep_results import Sweep, described, is_finite
from opalg.plotting.canvas import new_figure
from opalg.plotting.colours import colour


@dataclass(frozen=True)
class Box:
    """The runs of one box.

    Attributes
    ----------
    group, hue : str
        What they have in common, as text; hue is empty where there is none.
    kept : array
        The figures that the box shows.
    dropped : int
        How many runs it does not show: those behind the bound, those without a finite figure, and those that raised.
    """

    group: str
    hue: str
    kept: np.ndarray
    dropped: int


def boxes_of(
    sweep: Sweep,
    figure: str,
    *,
    group: str,
    hue: str | None = None,
    drop: float | None = None,
    largest: bool = False,
) -> list[Box]:
    """The boxes that `plot_boxes` draws, group by group and hue by hue.

    Parameters
    ----------
    sweep, figure, group, hue, drop, largest
        As for `plot_boxes`.

    Raises
    ------
    ParameterError
        Where the sweep lacks a name, the figure is no number, or ``drop`` is none.
    """
    if not isinstance(sweep, Sweep):
        raise ParameterError(f"boxes are of a sweep, which oa.sweep returns, not of {type(sweep).__name__}")
    if drop is not None and not isinstance(drop, Real):
        raise ParameterError(f"drop is the number beyond which runs are left out, not {drop!r}")
    sweep.check_numbers(figure)
    hues = [shared for shared, _ in sweep.groups(() if hue is None else hue)]
    found = []
    for shared, runs in sweep.groups(group):
        for there in hues:
            figures = [row.get(figure) for row in runs.where(**there)]
            kept = [v for v in figures if _is_kept(v, drop, largest)]
            found.append(Box(described(shared), described(there), np.array(kept, float), len(figures) - len(kept)))
    return found


def _is_kept(value: Any, drop: float | None, largest: bool) -> bool:
    if not is_finite(value):
        return False
    return drop is None or bool(value >= drop if largest else value <= drop)


def plot_boxes(
    sweep: Sweep,
    figure: str,
    *,
    group: str,
    hue: str | None = None,
    drop: float | None = None,
    largest: bool = False,
    axes: Any = None,
) -> Any:
    """Plot a box of a figure for every group of configurations, with the number of runs in it and left out of it.

    Parameters
    ----------
    sweep : Sweep
        From `opalg.sweep`.
    figure : str
        What the boxes are of, such as ``"loss"``.
    group : str
        The name whose entries stand side by side, such as ``"task"``.
    hue : str, optional
        The name whose entries have boxes of their own colours within a group, such as ``"method"``.
    drop : float, optional
        Runs with a larger figure are left out, and counted. Runs without a finite figure always are.
    largest : bool
        Large figures are good, so that ``drop`` leaves out smaller ones.
    axes : matplotlib axes, optional
        Where to draw; by default on a new figure, ``axes.figure``.

    Returns
    -------
    matplotlib axes
        Boxes from the first to the third quartile with the median, whiskers to the last run within 1.5 times their
        distance, and points for runs beyond. Above a box stand the numbers of runs kept and dropped, which `boxes_of`
        gives with the figures.

    Raises
    ------
    ParameterError
        Where the sweep is empty or lacks a name, the figure is no number, or ``drop`` is none.
    UnsupportedError
        Where matplotlib is not installed.
    """
    if isinstance(sweep, Sweep) and not sweep.rows:
        raise ParameterError("the sweep has no rows, so there is nothing to plot")
    boxes = boxes_of(sweep, figure, group=group, hue=hue, drop=drop, largest=largest)
    groups, hues = ([*dict.fromkeys(getattr(box, name) for box in boxes)] for name in ("group", "hue"))
    if axes is None:
        axes = new_figure(1.6 + max(3.2, 0.8 * len(boxes)), 4.2).add_subplot()
    width = 0.8 / len(hues)
    handles: dict[str, Any] = {}
    for box in boxes:
        place = groups.index(box.group) + (hues.index(box.hue) - (len(hues) - 1) / 2) * width
        handles[box.hue] = _box(axes, box, place, 0.8 * width, colour(hues.index(box.hue)))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(figure)
    axes.grid(True, axis="y", alpha=0.3)
    if hue is not None:
        axes.legend([handles[name] for name in hues], hues, fontsize=8)
    return axes


def _box(axes: Any, box: Box, place: float, width: float, shade: str) -> Any:
    """Draw one box with its counts, and return the part that a legend shows."""
    drawn = axes.boxplot(
        [box.kept],
        positions=[place],
        widths=[width],
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": shade, "alpha": 0.6},
        medianprops={"color": "black"},
        flierprops={"marker": ".", "markersize": 4, "markeredgecolor": shade},
    )
    axes.text(
        place,
        1.01,
        f"{len(box.kept)} kept\n{box.dropped} dropped",
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="bottom",
        fontsize=7,
    )
    return drawn["boxes"][0]
