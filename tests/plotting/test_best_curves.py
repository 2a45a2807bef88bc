"""Curves of the best configurations in a grid of panels."""

import numpy as np
import pytest

from opalg.errors import ParameterError
from opalg.learning import Sweep
from opalg.plotting import plot_best_curves

pytest.importorskip("matplotlib")

ENDS = {"BL": {0.1: 0.3, 0.9: 0.2}, "DEQ": {0.1: 0.25, 0.9: 0.5}}


@pytest.fixture
def sweep():
    rows = [
        {"task": task, "noise": noise, "method": method, "tau": tau, "losses": [1.0, noise + end], "validation": -end}
        for task in ("denoise", "blur")
        for noise in (0.1, 0.5, 1.0)
        for method, ends in ENDS.items()
        for tau, end in ends.items()
    ]
    rows[0] = {"task": "denoise", "noise": 0.1, "method": "BL", "tau": 0.1, "error": "no"}
    return Sweep(rows, ("task", "noise", "method", "tau"))


def test_panels_and_lines(sweep):
    figure = plot_best_curves(sweep, "losses", lines="method", columns="task", rows="noise", describe="tau")
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        "denoise, noise 0.1",
        "blur, noise 0.1",
        "denoise, noise 0.5",
    ]
    for axes, noise in zip(figure.axes, np.repeat([0.1, 0.5, 1.0], 2), strict=True):
        assert [line.get_label() for line in axes.lines] == ["BL (tau 0.9)", "DEQ (tau 0.1)"]
        np.testing.assert_allclose([line.get_ydata() for line in axes.lines], [[1, noise + 0.2], [1, noise + 0.25]])
        assert axes.lines[0].get_xdata().tolist() == [0, 1]
        assert axes.get_yscale() == "log"
    assert [axes.get_xlabel() for axes in figure.axes] == [""] * 4 + ["epoch"] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["losses", ""] * 3


def test_another_figure_may_judge(sweep):
    axes = plot_best_curves(
        sweep, "losses", lines="method", figure="validation", describe=("tau", "task"), first=1
    ).axes[0]
    assert [line.get_label() for line in axes.lines] == ["BL (tau 0.1, denoise)", "DEQ (tau 0.9, denoise)"]
    assert axes.lines[0].get_xdata().tolist() == [1, 2]
    largest = plot_best_curves(sweep, "losses", lines="method", figure="validation", largest=True, describe="tau").axes[
        0
    ]
    assert [line.get_label() for line in largest.lines] == ["BL (tau 0.9)", "DEQ (tau 0.1)"]


def test_a_line_without_figures_is_left_out_and_keeps_its_colour(sweep, tmp_path):
    rows = [
        row | {"losses": [1.0, float("nan")]} if row["method"] == "BL" and row["task"] == "blur" else row
        for row in sweep
    ]
    figure = plot_best_curves(Sweep(rows, sweep.names), "losses", lines="method", columns="task", logarithmic=False)
    left, right = figure.axes
    assert [line.get_label() for line in right.lines] == ["DEQ"]
    assert right.lines[0].get_color() == left.lines[1].get_color()
    assert right.get_yscale() == "linear"
    figure.savefig(tmp_path / "curves.png")


def test_curves_that_touch_zero_are_not_logarithmic():
    sweep = Sweep([{"method": "BL", "losses": [1.0, 0.0]}], ["method"])
    assert plot_best_curves(sweep, "losses", lines="method").axes[0].get_yscale() == "linear"


def test_what_is_not_there_is_refused(sweep):
    for names, message in (
        ({"curve": "psnr"}, "'psnr'"),
        ({"curve": "tau"}, "no run has a list"),
        ({"curve": "losses", "rows": "sigma"}, "'sigma'"),
    ):
        with pytest.raises(ParameterError, match=message):
            plot_best_curves(sweep, lines="method", **names)
    with pytest.raises(ParameterError, match="nothing to plot"):
        plot_best_curves(Sweep([], ()), "losses", lines="method")


def test_curves_are_of_sweeps():
    with pytest.raises(ParameterError, match="of a sweep"):
        plot_best_curves([{"curve": [1.0]}], "curve", lines="n")
