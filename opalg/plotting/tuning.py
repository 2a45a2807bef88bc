"""The path of a tuning as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from opalg.learning.path import Tuning, TuningStep
from opalg.plotting.canvas import new_figure
from opalg.plotting.history import CERTIFICATE_COLOUR, ENERGY_COLOUR

REPEATED_COLOUR = "#9a9a9a"


def plot_tuning(tuning: Tuning, figure: Any = None) -> Any:
    """Plot loss, parameters, and gradients with their estimated errors against the evaluation.

    Parameters
    ----------
    tuning : Tuning
        From `opalg.tune`.
    figure : matplotlib figure, optional
        Where to draw; by default a new one.

    Returns
    -------
    matplotlib figure
        With three axes: the loss, with error bars where errors were estimated and in grey where an evaluation was
        repeated with more accuracy; the parameters relative to their starts, arrays by their norm; the norm of the
        gradient in the coordinates of the search, and its estimated error.

    Raises
    ------
    UnsupportedError
        Where matplotlib is not installed.
    """
    figure = new_figure(6.4, 7.2) if figure is None else figure
    loss, parameters, slopes = figure.subplots(3, 1, sharex=True)
    _loss(loss, tuning)
    _parameters(parameters, tuning.path)
    _slopes(slopes, tuning.path)
    slopes.set_xlabel("evaluation")
    for axes in (loss, parameters, slopes):
        axes.grid(True, which="major", alpha=0.3)
    return figure


def _loss(axes: Any, tuning: Tuning) -> None:
    path = tuning.path
    for accepted, colour, label in ((False, REPEATED_COLOUR, "repeated"), (True, CERTIFICATE_COLOUR, "used")):
        rows = [(i, row) for i, row in enumerate(path) if row.accepted is accepted]
        if not rows:
            continue
        errors = [row.loss_error if isfinite(row.loss_error) else 0.0 for _, row in rows]
        places, losses = [i for i, _ in rows], [row.loss for _, row in rows]
        axes.errorbar(
            places, losses, yerr=errors, color=colour, marker=".", label=label, linestyle="-" if accepted else ""
        )
    if all(row.loss > 0 for row in path):
        axes.set_yscale("log")
    axes.set_ylabel(tuning.unit)
    axes.set_title(f"best {tuning.loss:.4g}: {tuning.message}", fontsize=9)


def _parameters(axes: Any, path: Sequence[TuningStep]) -> None:
    for parameter in path[0].values:
        sizes = np.array([float(np.linalg.norm(row.values[parameter])) for row in path])
        axes.plot(sizes / (sizes[0] or 1.0), marker=".", label=parameter.label)
    axes.set_yscale("log")
    axes.set_ylabel("parameter / start")
    axes.legend(fontsize=8)


def _slopes(axes: Any, path: Sequence[TuningStep]) -> None:
    for column, label, colour in (
        ("slope_norm", "gradient", CERTIFICATE_COLOUR),
        ("slope_error", "its estimated error", ENERGY_COLOUR),
    ):
        shown = [(i, getattr(row, column)) for i, row in enumerate(path)]
        shown = [(i, v) for i, v in shown if isfinite(v) and v > 0]
        if shown:
            axes.plot([i for i, _ in shown], [v for _, v in shown], marker=".", color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("gradient")
    if axes.lines:
        axes.legend(fontsize=8)
