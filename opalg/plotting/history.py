"""The course of a solve as a plot."""

from __future__ import annotations

from math import isfinite
from typing import Any

from opalg.errors import ParameterError
from opalg.plotting.canvas import new_figure
from opalg.solving.history import History

CERTIFICATE_COLOUR, ENERGY_COLOUR = "#1f4e9c", "#b3541e"
WIDE = 20.0  # energies that fall by a larger factor are shown on a logarithmic scale


def plot_history(history: History, axes: Any = None) -> Any:
    """Plot the relative certificate, and the energy where it is known, against the iteration.

    Parameters
    ----------
    history : History
        ``solution.history``.
    axes : matplotlib axes, optional
        Where to draw; by default on a new figure, ``axes.figure``.

    Returns
    -------
    matplotlib axes
        The axes of the certificate, with a logarithmic scale; those of the energy share its iterations.

    Raises
    ------
    UnsupportedError
        Where matplotlib is not installed.
    ParameterError
        Where the history holds no measurement.
    """
    if len(history) == 0:
        raise ParameterError("the history holds no measurement, so there is nothing to plot")
    if axes is None:
        axes = new_figure(6.4, 4.0).add_subplot()
    kind = history[-1].kind
    _curve(axes, history, "relative", f"relative {kind}", CERTIFICATE_COLOUR)
    axes.set_xlabel("iteration")
    axes.grid(True, which="major", alpha=0.3)
    if any(row.value is not None and isfinite(row.value) for row in history):
        _curve(axes.twinx(), history, "value", "energy", ENERGY_COLOUR)
    return axes


def _curve(axes: Any, history: History, column: str, label: str, colour: str) -> None:
    """One column over the iterations: on a logarithmic scale where it is the certificate, or falls far."""
    points = [(row.iteration, getattr(row, column)) for row in history]
    shown = [(i, v) for i, v in points if v is not None and isfinite(v)]
    positive = [(i, v) for i, v in shown if v > 0]
    far = len(positive) == len(shown) and bool(shown) and max(v for _, v in shown) > WIDE * min(v for _, v in shown)
    logarithmic = bool(positive) and (column == "relative" or far)
    curve = positive if logarithmic else shown
    axes.plot([i for i, _ in curve], [v for _, v in curve], color=colour, marker=".", markersize=4, label=label)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylabel(label, color=colour)
    axes.tick_params(axis="y", which="both", colors=colour)
