"""Boxes over the configurations of a sweep."""

import numpy as np
import pytest

from opalg.errors import ParameterError
from opalg.learning import Sweep
from opalg.plotting import boxes_of, plot_boxes

pytest.importorskip("matplotlib")

LOSSES = {
    ("denoise", "BL"): [0.1, 0.2, 0.3, 0.4, 0.5],
    ("denoise", "DEQ"): [0.2, 0.7, float("nan"), float("inf"), None],
    ("blur", "BL"): [0.6, 0.9],
}


@pytest.fixture
def sweep():
    rows = [
        {"task": task, "method": method, "seed": i} | ({"error": "no"} if loss is None else {"loss": loss})
        for (task, method), losses in LOSSES.items()
        for i, loss in enumerate(losses)
    ]
    return Sweep(rows, ("task", "method", "seed"))


def test_runs_are_kept_or_counted(sweep):
    found = boxes_of(sweep, "loss", group="task", hue="method", drop=0.5)
    assert [(b.group, b.hue, b.kept.tolist(), b.dropped) for b in found] == [
        ("denoise", "BL", [0.1, 0.2, 0.3, 0.4, 0.5], 0),
        ("denoise", "DEQ", [0.2], 4),
        ("blur", "BL", [], 2),
        ("blur", "DEQ", [], 0),
    ]
    assert [b.dropped for b in boxes_of(sweep, "loss", group="task")] == [3, 0]
    assert [b.kept.tolist() for b in boxes_of(sweep, "loss", group="task", drop=0.5, largest=True)] == [
        [0.5, 0.7],
        [0.6, 0.9],
    ]


def test_boxes_show_quartiles_and_counts(sweep):
    axes = plot_boxes(sweep, "loss", group="task", hue="method", drop=0.5)
    assert [t.get_text() for t in axes.texts] == [
        "5 kept\n0 dropped",
        "1 kept\n4 dropped",
        "0 kept\n2 dropped",
        "0 kept\n0 dropped",
    ]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["denoise", "blur"]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["BL", "DEQ"]
    box = axes.patches[0].get_path().vertices
    np.testing.assert_allclose([box[:, 1].min(), box[:, 1].max()], [0.2, 0.4])
    assert box[:, 0].max() < 0 < axes.patches[1].get_path().vertices[:, 0].min()  # BL left, DEQ right of the tick
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    assert axes.get_ylabel() == "loss"


def test_the_plot_can_be_saved_and_drawn_on_given_axes(sweep, tmp_path):
    plot_boxes(sweep, "loss", group="task", hue="method", drop=0.5).figure.savefig(tmp_path / "boxes.png")
    assert (tmp_path / "boxes.png").stat().st_size > 1000
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert plot_boxes(sweep, "loss", group="method", axes=axes) is axes
    assert axes.get_legend() is None


def test_what_is_not_there_is_refused(sweep):
    with pytest.raises(ParameterError, match="'psnr'"):
        plot_boxes(sweep, "psnr", group="task")
    with pytest.raises(ParameterError, match="'noise'"):
        plot_boxes(sweep, "loss", group="noise")
    with pytest.raises(ParameterError, match="nothing to plot"):
        plot_boxes(Sweep([], ()), "loss", group="task")


def test_what_has_no_boxes_is_refused():
    found = Sweep([{"n": 0, "curve": [1.0], "loss": 1.0}], ["n"])
    with pytest.raises(ParameterError, match="holds list"):
        plot_boxes(found, "curve", group="n")
    with pytest.raises(ParameterError, match="drop is the number"):
        plot_boxes(found, "loss", group="n", drop="1")
    with pytest.raises(ParameterError, match="boxes are of a sweep"):
        plot_boxes(found.rows, "loss", group="n")
