"""Pictures side by side."""

import numpy as np
import pytest

from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.plotting.images import for_display, save_images

pytest.importorskip("matplotlib")


def test_pictures_are_clipped_and_their_channels_go_last(rng):
    colour = rng.standard_normal((3, 4, 5))
    shown = for_display(colour)
    assert shown.shape == (4, 5, 3)
    np.testing.assert_array_equal(shown[..., 1], np.clip(colour[1], 0, 1))
    assert for_display(np.ones((1, 4, 5))).shape == (4, 5)


def test_tensors_are_pictures_too():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(for_display(torch.full((2, 3), 0.5)), np.full((2, 3), 0.5))


@pytest.mark.parametrize("shape", [(4,), (2, 4, 5), (1, 3, 4, 5)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="picture"):
        for_display(np.zeros(shape))


def test_a_sheet_shows_black_and_white_where_they_are(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = save_images({"black": np.zeros((20, 20)), "white": np.ones((3, 20, 20))}, tmp_path / "sheet.png", height=2)
    with image.open(path) as opened:
        sheet = np.asarray(opened.convert("L"))
    middle = sheet[int(0.7 * sheet.shape[0])]
    assert middle[sheet.shape[1] // 4] == 0
    assert middle[3 * sheet.shape[1] // 4] == 255
    assert sheet.shape[1] > 1.5 * sheet.shape[0]


def test_rows_of_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = {f"picture {i}": np.full((10, 10), 0.1 * i) for i in range(4)}
    with image.open(save_images(pictures, tmp_path / "sheet.png", height=1, columns=2)) as opened:
        assert 0.5 < opened.size[0] / opened.size[1] < 0.8  # two rows, each with room for a title


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="at least one"):
        save_images({}, tmp_path / "sheet.png")


def test_folders_are_made_and_complex_pictures_refused(tmp_path):
    assert save_images({"a": np.ones((4, 4))}, tmp_path / "new" / "a.png").exists()
    with pytest.raises(DtypeError, match=r"abs\(picture\)"):
        save_images({"a": np.ones((4, 4)) * 1j}, tmp_path / "b.png")
    with pytest.raises(ParameterError, match="columns"):
        save_images({"a": np.ones((4, 4))}, tmp_path / "c.png", columns=0)
