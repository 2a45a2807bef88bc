"""Convergence plots."""

import builtins
import sys
from math import inf

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError
from opalg.plotting import plot_history
from opalg.solving.history import History, Row

pytest.importorskip("matplotlib")


def history(values, relatives, kind="duality gap"):
    """A history with these energies and certificates at iterations 0, 10, 20, ..."""
    rows = zip(values, relatives, strict=True)
    return History([Row(10 * i, 0.1 * i, value, relative, kind) for i, (value, relative) in enumerate(rows)])


def test_the_certificate_is_on_a_logarithmic_scale_with_the_energy_beside_it():
    axes = plot_history(history([3.0, 2.5, 2.4], [1.0, 1e-2, 1e-4]))
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "relative duality gap"
    assert axes.get_xlabel() == "iteration"
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[0, 1.0], [10, 1e-2], [20, 1e-4]]
    _, other = axes.figure.axes
    assert other.get_ylabel() == "energy"
    assert other.get_yscale() == "linear"
    assert other.lines[0].get_ydata().tolist() == [3.0, 2.5, 2.4]


def test_an_energy_that_falls_far_is_on_a_logarithmic_scale():
    axes = plot_history(history([1e4, 10.0, 1.0], [1.0, 1e-2, 1e-4]))
    assert axes.figure.axes[1].get_yscale() == "log"


def test_what_is_not_finite_or_not_there_is_left_out():
    axes = plot_history(history([inf, -1.0, 2.0], [inf, 0.5, 0.0]))
    assert axes.lines[0].get_xydata().tolist() == [[10, 0.5]]
    assert axes.figure.axes[1].lines[0].get_xydata().tolist() == [[10, -1.0], [20, 2.0]]
    assert len(plot_history(history([None, None], [1.0, 0.5], "residual")).figure.axes) == 1


def test_given_axes_are_used_and_no_global_figure_is_made():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert plot_history(history([1.0], [1.0]), axes) is axes
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_a_solution_plots_itself(tmp_path):
    x = oa.Variable(4, name="x")
    solution = oa.minimize(oa.sum_squares(x - np.ones(4)) + oa.norm1(x))
    axes = solution.plot()
    assert len(axes.lines[0].get_xdata()) <= len(solution.history)
    axes.figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_an_empty_history_is_refused():
    with pytest.raises(ParameterError, match="no measurement"):
        plot_history(History())


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r"pip install 'opalg\[plot\]'"):
        plot_history(history([1.0], [1.0]))
