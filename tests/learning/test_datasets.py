"""Pictures from folders and installed libraries, and splits."""

import builtins
import gzip
import importlib.util

import numpy as np
import pytest

from opalg.errors import ParameterError, UnsupportedError
from opalg.learning import datasets
from tests.learning.test_idx import idx


@pytest.fixture
def image():
    """Pillow's pictures."""
    return pytest.importorskip("PIL.Image")


def save(image, path, pixels):
    """Write an array as a picture."""
    image.fromarray(pixels).save(path)


def test_mnist(tmp_path, rng):
    pictures, labels = rng.integers(0, 256, (5, 28, 28)).astype("u1"), np.array([3, 1, 4, 1, 5], "u1")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures, 8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels, 8))
    found, numbers = datasets.mnist(tmp_path)
    assert found.dtype == np.float32 and numbers.dtype == np.int64
    np.testing.assert_allclose(found, pictures / 255, rtol=1e-6)
    np.testing.assert_array_equal(numbers, labels)
    assert datasets.mnist(tmp_path, dtype="float64")[0].dtype == np.float64
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(pictures[:2], 8))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(labels[:2], 8))
    assert datasets.mnist(str(tmp_path), "train")[0].shape == (2, 28, 28)
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(labels[:1], 8))
    with pytest.raises(ParameterError, match="2 pictures, but 1 labels"):
        datasets.mnist(tmp_path, "train")


def test_missing_files_are_named_with_their_folder(tmp_path):
    wanted = r"no file of .*nowhere \(there is no such folder\) is called 't10k-images-idx3-ubyte' or .*ubyte.gz'"
    with pytest.raises(ParameterError, match=wanted):
        datasets.mnist(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="which holds nothing"):
        datasets.mnist(tmp_path, "train")
    (tmp_path / "a.png").touch()
    with pytest.raises(ParameterError, match=r"which holds a.png\) is called 'test_\*.png'"):
        datasets.pictures(tmp_path, "test_*.png")
    with pytest.raises(ParameterError, match="'validation'"):
        datasets.mnist(tmp_path, "validation")


def test_digits_of_scikit_learn():
    pytest.importorskip("sklearn")
    pictures, labels = datasets.digits()
    assert pictures.shape == (1797, 8, 8) and pictures.dtype == np.float32
    assert pictures.min() == 0.0 and pictures.max() == 1.0
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_allclose(16 * pictures[0, 0], [0, 0, 5, 13, 9, 1, 0, 0])


def test_pictures_come_in_the_order_of_their_numbers(tmp_path, image):
    for number in (10, 2, 1):
        save(image, tmp_path / f"test_{number}.png", np.full((2, number + 2), number, "u1"))
    save(image, tmp_path / "other.png", np.zeros((2, 2), "u1"))
    found = datasets.pictures(tmp_path, "test_*.png")
    assert [p.shape for p in found] == [(2, 3), (2, 4), (2, 12)]
    np.testing.assert_allclose([p[0, 0] for p in found], np.array([1, 2, 10]) / 255, rtol=1e-6)
    assert {p.dtype for p in found} == {np.dtype("float32")}
    assert len(datasets.pictures(tmp_path)) == 4


def test_grey_of_colours_opacity_and_depth(tmp_path, image):
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], "u1")
    save(image, tmp_path / "colour.png", colours)
    np.testing.assert_allclose(datasets.read_grey(tmp_path / "colour.png"), [[0.299, 0.587, 0.114, 1]], atol=0.5 / 255)
    save(image, tmp_path / "opacity.png", np.concatenate([colours, np.full((1, 4, 1), 255, "u1")], axis=2))
    np.testing.assert_array_equal(*(datasets.read_grey(tmp_path / f"{n}.png") for n in ("colour", "opacity")))
    deep = np.array([[0, 1000, 65535]], "u2")
    save(image, tmp_path / "deep.png", deep)
    np.testing.assert_allclose(datasets.read_grey(tmp_path / "deep.png", "float64"), deep / 65535, rtol=1e-12)
    save(image, tmp_path / "bits.png", np.array([[False, True]]))
    assert datasets.read_grey(tmp_path / "bits.png").tolist() == [[0.0, 1.0]]


def test_files_that_are_no_pictures(tmp_path, image):
    (tmp_path / "a.png").write_bytes(b"nothing")
    save(image, tmp_path / "b.png", np.arange(10000, dtype="u2").reshape(100, 100))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:100])
    for name in ("a.png", "b.png"):
        with pytest.raises(ParameterError, match=f"{name} cannot be read as a picture"):
            datasets.pictures(tmp_path, name)


def test_photographs_of_scikit_image(image):
    data = pytest.importorskip("skimage.data")
    camera, coins = datasets.photographs(["camera", "coins"])
    np.testing.assert_allclose(camera, data.camera() / 255.0, rtol=1e-6)
    np.testing.assert_allclose(coins, data.coins() / 255.0, rtol=1e-6)
    (astronaut,) = datasets.photographs("astronaut")
    np.testing.assert_allclose(astronaut, data.astronaut() @ [0.299, 0.587, 0.114] / 255.0, atol=1 / 255)
    with pytest.raises(ParameterError, match="no photograph 'cat'"):
        datasets.photographs(["cat"])


def test_every_photograph_comes_without_a_download(image):
    pytest.importorskip("skimage")
    found = datasets.photographs()
    assert len(found) == len(datasets.PHOTOGRAPHS)
    assert all(
        p.ndim == 2 and p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1 and p.std() > 0.05 for p in found
    )
    assert min(min(p.shape) for p in found) == 300


@pytest.mark.parametrize("call", [lambda p: datasets.digits(), lambda p: datasets.read_grey(p / "a.png")])
def test_missing_libraries_are_named(monkeypatch, tmp_path, call):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] in ("sklearn", "PIL"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r"pip install 'opalg\[examples\]'"):
        call(tmp_path)


def test_photographs_need_scikit_image(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="scikit-image"):
        datasets.photographs()


def test_a_split_is_disjoint_and_repeatable():
    parts = datasets.split(100, (60, None, 10), seed=3)
    assert [len(p) for p in parts] == [60, 30, 10]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert parts[0].tolist() != list(range(60))
    for a, b in zip(parts, datasets.split(100, (60, None, 10), seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert datasets.split(100, (60, None, 10), seed=4)[0].tolist() != parts[0].tolist()
    assert [p.tolist() for p in datasets.split(5, (2, 0, 2))] == [[0, 1], [], [2, 3]]


@pytest.mark.parametrize("sizes", [(60, 50), (-1, 5), (None, None), (101, None)])
def test_sizes_that_do_not_fit(sizes):
    with pytest.raises(ParameterError, match="100 indices cannot be split"):
        datasets.split(100, sizes)


@pytest.mark.parametrize("sizes", [(0.8, 0.2), "ab", (2.5, None), (True, 1)])
def test_sizes_that_are_no_counts(sizes):
    with pytest.raises(ParameterError, match="counts of indices"):
        datasets.split(100, sizes)
