"""PSNR per iteration."""

import pytest

from opalg.errors import ParameterError
from opalg.plotting import plot_psnr_per_iteration

pytest.importorskip("matplotlib")

CURVES = {"RED": [11.3, 25.1, 26.71, 25.65], "bilevel": [11.5, 22.1, float("inf"), 23.3, 26.38]}


def test_lines_and_their_largest_values(tmp_path):
    axes = plot_psnr_per_iteration(CURVES)
    lines, marks = axes.lines[::2], axes.lines[1::2]
    assert lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert lines[0].get_ydata().tolist() == CURVES["RED"]
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks] == [(2, 26.71), (4, 26.38)]
    assert [m.get_color() for m in marks] == [line.get_color() for line in lines]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "RED: 26.71 at 2, 25.65 at the end",
        "bilevel: 26.38 at 4, 26.38 at the end",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iteration", "PSNR (dB)")
    axes.figure.savefig(tmp_path / "psnr.png")


def test_iterations_may_begin_at_one_and_figures_be_others():
    axes = plot_psnr_per_iteration({"a": [1.0, 2.0]}, first=1, ylabel="SNR (dB)")
    assert axes.lines[1].get_xdata()[0] == 2
    assert axes.get_ylabel() == "SNR (dB)"
    assert plot_psnr_per_iteration({"b": [1.0]}, axes=axes) is axes


@pytest.mark.parametrize("curves", [{}, {"a": []}, {"a": [float("nan")]}, {"a": [[1.0]]}])
def test_what_is_no_curve_is_refused(curves):
    with pytest.raises(ParameterError, match="curve"):
        plot_psnr_per_iteration(curves)


def test_curves_have_names():
    with pytest.raises(ParameterError, match="mapping from method"):
        plot_psnr_per_iteration([1.0, 2.0])
