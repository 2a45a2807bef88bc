"""The plot of a tuning's path."""

import numpy as np
import pytest

import opalg as oa

pytest.importorskip("matplotlib")


def tuned(**options):
    """A shrinkage tuned to a truth."""
    truth = np.linspace(0.2, 1.0, 6)
    y = oa.Parameter(truth + 0.1 * (-1.0) ** np.arange(6), name="y")
    x, w = oa.Variable(6, name="x"), oa.Parameter(3.0, name="w", positive=True)
    return oa.tune(0.5 * oa.sum_squares(x - y) + 0.5 * w * oa.sum_squares(x), [({}, truth)], w, steps=6, **options)


def test_loss_parameters_and_gradients_have_their_axes():
    found = tuned()
    loss, parameters, slopes = found.plot().axes
    assert loss.get_ylabel() == "mean squared error"
    assert loss.get_yscale() == parameters.get_yscale() == slopes.get_yscale() == "log"
    assert parameters.lines[0].get_ydata()[0] == 1.0
    np.testing.assert_allclose(
        parameters.lines[0].get_ydata() * 3.0, [row.values[p] for row in found.path for p in row.values]
    )
    np.testing.assert_allclose(slopes.lines[0].get_ydata(), [row.slope_norm for row in found.path])
    assert slopes.get_xlabel() == "evaluation"


def test_errors_are_drawn_only_where_they_were_estimated():
    labels = [line.get_label() for line in tuned(tol=1e-8).plot().axes[2].lines]
    assert labels == ["gradient"]
    labels = [line.get_label() for line in tuned(schedule=oa.learning.Adaptive(first=1e-1)).plot().axes[2].lines]
    assert labels == ["gradient", "its estimated error"]


def test_a_given_figure_is_used():
    from matplotlib.figure import Figure

    figure = Figure()
    assert tuned().plot(figure) is figure
