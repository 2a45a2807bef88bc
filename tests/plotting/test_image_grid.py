"""Rows of pictures with labels."""

import numpy as np
import pytest

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.plotting import plot_image_grid

pytest.importorskip("matplotlib")


def shown(figure):
    """The arrays that the panels show, None where one is empty."""
    return [axes.images[0].get_array() if axes.images else None for axes in figure.axes]


def test_pictures_stand_in_their_rows(rng, tmp_path):
    clean, output = rng.random((3, 6, 8)), list(rng.random((2, 6, 8)))
    figure = plot_image_grid({"clean": clean, "output": output}, ["a", "b"], captions={"output": ["20 dB", "21 dB"]})
    pictures = shown(figure)
    assert len(pictures) == 6 and pictures[5] is None
    for found, wanted in zip(pictures, [*clean, *output], strict=False):
        np.testing.assert_allclose(found, wanted)
    assert [axes.get_ylabel() for axes in figure.axes] == ["clean", "", "", "output", "", ""]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", "", "", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "", "20 dB", "21 dB", ""]
    figure.savefig(tmp_path / "grid.png")


def test_black_and_white_are_where_they_are_said_to_be():
    (found,) = shown(plot_image_grid({"input": [np.array([[-2.0, -1.0, 0.0, 1.0, 3.0]])]}, value_range=(-1, 1)))
    assert found.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


def test_tensors_colours_and_empty_places():
    torch = pytest.importorskip("torch")
    figure = plot_image_grid({"output": [torch.zeros(3, 4, 5), None, torch.ones(4, 5)]})
    assert [None if p is None else p.shape for p in shown(figure)] == [(4, 5, 3), None, (4, 5)]


def test_what_cannot_be_shown_is_refused():
    picture = np.zeros((4, 4))
    for rows, options, error, message in (
        ({}, {}, ParameterError, "at least one picture"),
        ({"a": [None]}, {}, ParameterError, "at least one picture"),
        ({"a": picture}, {}, ShapeError, r"write \[picture\]"),
        ({"a": [np.zeros(4)]}, {}, ShapeError, "picture has shape"),
        ({"a": [picture]}, {"titles": ["x", "y"]}, ParameterError, "2 titles for 1 columns"),
        ({"a": [picture]}, {"captions": {"b": ["x"]}}, ParameterError, "'b'"),
        ({"a": [picture]}, {"value_range": (1, 1)}, ParameterError, "black < white"),
    ):
        with pytest.raises(error, match=message):
            plot_image_grid(rows, **options)


def test_complex_pictures_and_captions_of_nothing_are_refused():
    with pytest.raises(DtypeError, match=r"abs\(picture\)"):
        plot_image_grid({"a": [np.ones((4, 4)) * 1j]})
    with pytest.raises(ParameterError, match="has 1 pictures, but 2 captions"):
        plot_image_grid({"a": np.ones((1, 4, 4))}, captions={"a": ["x", "y"]})
    with pytest.raises(ParameterError, match="mapping from label"):
        plot_image_grid([np.ones((4, 4))])
