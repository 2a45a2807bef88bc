"""The only place that imports matplotlib; no global state of pyplot is touched."""

from __future__ import annotations

from typing import Any

from opalg.errors import UnsupportedError


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure that draws into memory.

    Parameters
    ----------
    width, height : float
        In inches.

    Raises
    ------
    UnsupportedError
        Where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UnsupportedError("plotting needs matplotlib: pip install 'opalg[plot]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
