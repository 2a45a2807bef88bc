"""Quality measures against those of scikit-image."""

from math import inf

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ShapeError

reference_metrics = pytest.importorskip("skimage.metrics")
PSNR, SSIM = reference_metrics.peak_signal_noise_ratio, reference_metrics.structural_similarity
WINDOW = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.fixture
def pair(rng):
    """A smooth picture and the same with noise."""
    truth = 0.5 + 0.4 * np.sin(np.add.outer(np.arange(40) / 5.0, np.arange(33) / 7.0))
    return truth + 0.05 * rng.standard_normal(truth.shape), truth


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_psnr(pair, data_range):
    image, truth = (data_range * a for a in pair)
    wanted = PSNR(truth, image, data_range=data_range)
    assert oa.metrics.psnr(image, truth, data_range) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_within_the_border_that_the_reference_leaves_out(pair, data_range):
    image, truth = (data_range * a for a in pair)
    _, everywhere = SSIM(image, truth, data_range=data_range, full=True, **WINDOW)
    assert oa.metrics.ssim(image, truth, data_range) == pytest.approx(everywhere.mean(), abs=1e-10)
    cropped = SSIM(image, truth, data_range=data_range, **WINDOW)
    assert oa.metrics.ssim(image, truth, data_range) == pytest.approx(cropped, abs=0.03)


def test_ssim_of_colour_is_the_mean_over_channels(pair):
    image, truth = pair
    colours = [np.stack([a, 0.5 * a, 1 - a]) for a in (image, truth)]
    wanted = np.mean([oa.metrics.ssim(a, b) for a, b in zip(*colours, strict=True)])
    assert oa.metrics.ssim(*colours) == pytest.approx(wanted, rel=1e-14)


def test_snr(pair):
    image, truth = pair
    wanted = 10 * np.log10((truth**2).sum() / ((image - truth) ** 2).sum())
    assert oa.metrics.snr(image, truth) == pytest.approx(wanted, abs=1e-10)


def test_equal_pictures(pair):
    _, truth = pair
    assert oa.metrics.psnr(truth, truth) == inf
    assert oa.metrics.snr(truth, truth) == inf
    assert oa.metrics.ssim(truth, truth) == pytest.approx(1.0)


def test_complex_errors_count_by_magnitude():
    a, b = np.array([1 + 1j, 0]), np.array([0j, 0])
    assert oa.metrics.psnr(a, b) == pytest.approx(0.0, abs=1e-12)


def test_tensors_and_arrays_go_together(pair):
    torch = pytest.importorskip("torch")
    image, truth = pair
    assert oa.metrics.psnr(torch.from_numpy(image), truth) == pytest.approx(oa.metrics.psnr(image, truth))


def test_shapes_must_agree(pair):
    image, truth = pair
    with pytest.raises(ShapeError, match="reference"):
        oa.metrics.psnr(image, truth[1:])


@pytest.mark.parametrize("name", ["psnr", "snr", "ssim"])
@pytest.mark.parametrize("lead", [(3,), (2, 2)])
def test_many_images_at_once(name, lead, rng):
    images, references = rng.random((2, *lead, 12, 13))
    images[(0,) * len(lead)] = references[(0,) * len(lead)]
    measure = getattr(oa.metrics, name)
    found = measure(images, references, sample_axes=len(lead))
    assert found.shape == lead
    for i in np.ndindex(lead):
        assert found[i] == measure(images[i], references[i])
    assert found[(0,) * len(lead)] == (pytest.approx(1.0) if name == "ssim" else inf)
    assert isinstance(measure(images[0], references[0]), float) or len(lead) == 2


def test_samples_need_their_axes():
    with pytest.raises(ShapeError, match="3 leading axes"):
        oa.metrics.psnr(np.zeros((4, 4)), np.zeros((4, 4)), sample_axes=3)


@pytest.mark.parametrize("shape", [(), (16,), (2, 3, 16, 16)])
def test_similarity_is_that_of_images(shape):
    with pytest.raises(oa.ShapeError, match="sample_axes"):
        oa.metrics.ssim(np.ones(shape), np.ones(shape))
    assert oa.metrics.ssim(np.ones((2, 3, 16, 16)), np.ones((2, 3, 16, 16)), sample_axes=1).tolist() == [1.0, 1.0]


def test_similarity_does_not_drop_imaginary_parts():
    with pytest.raises(oa.DtypeError, match="real images"):
        oa.metrics.ssim(np.ones((16, 16)) * 1j, np.ones((16, 16)))


@pytest.mark.parametrize("data_range", [0, -1.0, float("nan"), "1", True])
def test_ranges_are_positive(data_range):
    for metric in (oa.metrics.psnr, oa.metrics.ssim):
        with pytest.raises(oa.ParameterError, match="data_range"):
            metric(np.ones((16, 16)), np.ones((16, 16)), data_range)


def test_nothing_is_not_compared():
    with pytest.raises(oa.ShapeError, match="no entries"):
        oa.metrics.psnr(np.ones((0, 4)), np.ones((0, 4)))


@pytest.mark.parametrize("axes", ["a", None, 1.0, True])
@pytest.mark.parametrize("name", ["psnr", "snr", "ssim"])
def test_counts_of_axes_are_integers(name, axes):
    with pytest.raises(oa.ParameterError, match="sample_axes is how many"):
        getattr(oa.metrics, name)(np.ones((2, 16, 16)), np.ones((2, 16, 16)), sample_axes=axes)
