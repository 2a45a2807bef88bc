"""The curves of the best configurations of a sweep, in a grid of panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.learning.sweep_results import Sweep, described, is_finite, names_of
from opalg.plotting.canvas import new_figure
from opalg.plotting.colours import colour


def plot_best_curves(
    sweep: Sweep,
    curve: str,
    *,
    lines: str,
    columns: str | None = None,
    rows: str | None = None,
    figure: str | None = None,
    largest: bool = False,
    describe: str | Sequence[str] = (),
    first: int = 0,
    xlabel: str = "epoch",
    logarithmic: bool = True,
) -> Any:
    """Plot, in a panel for each group of configurations, a curve of the best configuration for each line.

    Parameters
    ----------
    sweep : Sweep
        From `opalg.sweep`.
    curve : str
        The figure that is a list of numbers, such as the test loss after every epoch.
    lines : str
        The name whose entries are lines, such as ``"method"``.
    columns, rows : str, optional
        The names whose entries are columns and rows of panels, such as ``"task"`` and ``"noise"``.
    figure : str, optional
        What the best configuration has the smallest of; by default the last number of its curve.
    largest : bool
        The best configuration has the largest.
    describe : str or sequence of str
        Names whose entries of the best configuration stand in the legend.
    first : int
        The number of a curve's first entry: 0 where curves begin before training.
    xlabel : str
        What the entries of a curve are counted in.
    logarithmic : bool
        Whether figures are on a logarithmic scale, where all of them are positive.

    Returns
    -------
    matplotlib figure
        Panels in a row share their scale. A line without any finite figure is left out of its panel.

    Raises
    ------
    ParameterError
        Where the sweep is empty or lacks a name, or no run has the curve.
    UnsupportedError
        Where matplotlib is not installed.

    Notes
    -----
    What is best is judged by the figure that is drawn, so curves show what was possible, not what would have been
    chosen by validation; give ``figure`` a validation loss for that.
    """
    ranked = _ranked(sweep, curve, figure)
    down, across = (ranked.groups(() if name is None else name) for name in (rows, columns))
    entries = [described(shared) for shared, _ in ranked.groups(lines)]
    canvas = new_figure(1.0 + 3.2 * len(across), 0.6 + 2.3 * len(down))
    panels = canvas.subplots(len(down), len(across), squeeze=False, sharex=True, sharey="row")
    for i, (there, _) in enumerate(down):
        for j, (here, _) in enumerate(across):
            axes = panels[i, j]
            best = ranked.where(**there, **here).best(_RANK, by=lines, largest=largest)
            for row in best:
                _line(axes, row, curve, entries.index(described({lines: row[lines]})), lines, names_of(describe), first)
            axes.set_title(", ".join(filter(None, (described(here), described(there)))), fontsize=9)
            axes.grid(True, which="major", alpha=0.3)
            if axes.lines:
                axes.legend(fontsize=7)
    numbers = [v for axes in panels.flat for line in axes.lines for v in line.get_ydata() if is_finite(v)]
    if logarithmic and numbers and min(numbers) > 0:
        for axes in panels.flat:
            axes.set_yscale("log")
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    for axes in panels[:, 0]:
        axes.set_ylabel(curve)
    return canvas


_RANK = "rank of the configuration"


def _ranked(sweep: Sweep, curve: str, figure: str | None) -> Sweep:
    """The runs that have the curve, with what they are compared by as a further figure."""
    if not isinstance(sweep, Sweep):
        raise ParameterError(f"curves are those of a sweep, which oa.sweep returns, not of {type(sweep).__name__}")
    if not sweep.rows:
        raise ParameterError("the sweep has no rows, so there is nothing to plot")
    for name in (curve, *([] if figure is None else [figure])):
        sweep.column(name)
    rows = []
    for row in sweep:
        numbers = row.get(curve)
        if isinstance(numbers, list) and numbers:
            rows.append(row | {_RANK: numbers[-1] if figure is None else row.get(figure)})
    if not rows:
        raise ParameterError(f"no run has a list of numbers as {curve!r}; return one number for every epoch under it")
    return Sweep(rows, sweep.names)


def _line(
    axes: Any, row: dict[str, Any], curve: str, place: int, lines: str, describe: tuple[str, ...], first: int
) -> None:
    numbers = [v if is_finite(v) else np.nan for v in row[curve]]
    details = described({name: row.get(name) for name in describe})
    label = described({lines: row[lines]}) + (f" ({details})" if details else "")
    axes.plot(range(first, first + len(numbers)), numbers, color=colour(place), label=label)
