"""Pictures from files and from the wheel of scikit-image."""

import numpy as np
import pytest

from opalg.cli.photograph import LIMIT, blurred, busiest, centre, photograph, radius
from opalg.errors import NonFiniteError, ParameterError, ShapeError
from opalg.operators import Convolve, gaussian_kernel

skimage_io = pytest.importorskip("skimage.io")
Image = pytest.importorskip("PIL.Image")
RAMP = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)


def saved(tmp_path, pixels, name="picture.png"):
    """The name of a file with these pixels."""
    path = tmp_path / name
    skimage_io.imsave(path, pixels, check_contrast=False)
    return str(path)


def several(tmp_path):
    """The name of a file with three frames."""
    frames = [Image.fromarray(RAMP + i) for i in range(3)]
    frames[0].save(tmp_path / "stack.tif", save_all=True, append_images=frames[1:])
    return str(tmp_path / "stack.tif")


def test_the_sample_needs_no_network(monkeypatch):
    import socket

    def refuse(*arguments, **options):
        raise AssertionError("the sample was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = photograph(None, None)
    assert found.size == (512, 512)
    assert not found.colour
    assert found.pixels.min() >= 0.0
    assert 0.9 < found.pixels.max() <= 1.0


def test_grey_pictures_keep_their_values(tmp_path):
    found = photograph(saved(tmp_path, RAMP), None)
    np.testing.assert_allclose(found.pixels, RAMP / 255.0)
    assert "grey, 40 x 30" in str(found)


def test_colour_pictures_have_their_channels_first(tmp_path):
    pixels = np.stack([RAMP, 2 * RAMP, 255 - RAMP], axis=-1)
    found = photograph(saved(tmp_path, pixels), None)
    assert found.colour
    np.testing.assert_allclose(found.pixels[2], (255 - RAMP) / 255.0)


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.dstack([RAMP, RAMP, RAMP, np.full_like(RAMP, 51)])
    found = photograph(saved(tmp_path, pixels), None)
    np.testing.assert_allclose(found.pixels[0], 0.2 * RAMP / 255.0 + 0.8)


def test_sixteen_bits_are_scaled(tmp_path):
    pixels = RAMP.astype(np.uint16) * 257
    np.testing.assert_allclose(photograph(saved(tmp_path, pixels), None).pixels, RAMP / 255.0, atol=1e-12)


@pytest.mark.parametrize(("colours", "limit"), [(1, LIMIT[2]), (3, LIMIT[3])])
def test_large_pictures_are_cropped_unless_a_size_is_given(tmp_path, colours, limit):
    pixels = np.random.default_rng(0).integers(0, 255, (600, 530, colours)).astype(np.uint8).squeeze()
    file = saved(tmp_path, pixels)
    found = photograph(file, None)
    assert found.size == (limit, limit)
    assert "the centre of 600 x 530" in str(found)
    assert photograph(file, 700).size == (600, 530)
    assert photograph(file, 40).size == (40, 40)


def test_centre_keeps_the_middle():
    assert centre(np.arange(49).reshape(7, 7), 3).tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]


def test_busiest_finds_the_contrast():
    pixels = np.full((64, 64), 0.5)
    pixels[32:48, 16:32] = np.indices((16, 16)).sum(axis=0) % 2
    assert busiest(pixels, 16) == (..., slice(32, 48), slice(16, 32))


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"there is no file .*nothing\.png"):
        photograph(str(tmp_path / "nothing.png"), None)
    text = tmp_path / "text.png"
    text.write_text("not a picture", encoding="utf-8")
    with pytest.raises(ParameterError, match="cannot be read as a picture"):
        photograph(str(text), None)
    with pytest.raises(ShapeError, match="10 x 30"):
        photograph(saved(tmp_path, RAMP[:10]), None)
    with pytest.raises(ParameterError, match="3 frames"):
        photograph(several(tmp_path), None)
    with pytest.raises(NonFiniteError, match="NaN"):
        photograph(saved(tmp_path, np.full((30, 30), np.nan, np.float32), "nan.tif"), None)


def test_the_blur_is_the_operator_of_the_energy(rng):
    pixels = rng.random((3, 20, 24))
    K = Convolve(gaussian_kernel(1.7, radius(1.7)), (20, 24))
    np.testing.assert_allclose(blurred(pixels, 1.7, 0.0, rng), K @ pixels, atol=1e-12)


def test_the_noise_has_its_size(rng):
    noise = blurred(np.zeros((200, 200)), 1.0, 0.05, rng)
    assert noise.std() == pytest.approx(0.05, rel=0.02)
