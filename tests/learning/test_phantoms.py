"""Phantoms of tomography, and coils and masks of magnetic resonance imaging."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError
from opalg.learning import datasets


def test_phantoms_lie_in_the_disc_and_between_0_and_1():
    size = 48
    found = datasets.ellipses(20, size, 0)
    assert found.shape == (20, size, size) and found.dtype == np.float32
    assert found.min() == 0.0 and 0.8 < found.max() <= 1.0
    i, j = np.indices((size, size)) - (size - 1) / 2
    assert (found[:, i**2 + j**2 > (0.45 * size) ** 2] == 0).all()
    inside = (found > 0).mean(axis=(1, 2))
    assert inside.min() > np.pi * 0.6**2 / 4 * 0.6 and inside.max() < np.pi * 0.9**2 / 4
    assert all(len(np.unique(p)) > 4 for p in found)


def test_phantoms_are_their_seeds():
    a, b = datasets.ellipses(2, 16, 5), datasets.ellipses(2, 16, np.random.default_rng(5))
    np.testing.assert_array_equal(a, b)
    assert (a[0] != a[1]).any() and (a != datasets.ellipses(2, 16, 6)).any()


def test_a_phantom_without_parts_is_one_ellipse():
    (image,) = datasets.ellipses(1, 64, 3, parts=(0, 0))
    assert len(np.unique(image)) == 2
    np.testing.assert_array_equal(image, image[::-1, ::-1])


@pytest.mark.parametrize("coils", [1, 2, 5])
def test_coils_see_everything_once(coils):
    maps = datasets.coil_maps(coils, (12, 17))
    assert maps.shape == (coils, 12, 17)
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1.0, rtol=1e-13)
    x = np.random.default_rng(0).standard_normal((12, 17)) + 0j
    S = oa.CoilSensitivities(maps)
    np.testing.assert_allclose(S.H @ (S @ x), x, rtol=1e-12)
    assert S.facts.gram_scale is not None


def test_maps_are_smooth_complex_and_different():
    maps = datasets.coil_maps(4, (64, 64))
    steps = max(np.abs(np.diff(maps, axis=axis)).max() for axis in (1, 2))
    assert steps < 0.1
    assert np.abs(maps.imag).max() > 0.3
    strongest = np.argmax(np.abs(maps), axis=0)
    assert [strongest[32, 63], strongest[63, 32], strongest[32, 0], strongest[0, 32]] == [0, 1, 2, 3]
    narrow = datasets.coil_maps(4, (64, 64), width=0.02)
    assert np.isfinite(narrow).all() and np.abs(narrow).max() == pytest.approx(1.0)
    assert datasets.coil_maps(2, (4, 4), dtype="complex64").dtype == np.complex64


def test_coils_that_cannot_be():
    with pytest.raises(ShapeError, match="two axes"):
        datasets.coil_maps(4, (8,))
    with pytest.raises(ParameterError, match=r"0 and 0\.8"):
        datasets.coil_maps(0, (8, 8))
    with pytest.raises(ParameterError, match="width"):
        datasets.coil_maps(2, (8, 8), width=0.0)


@pytest.mark.parametrize(("n", "factor", "middle"), [(48, 4, 4), (49, 3, 5), (64, 8, 0), (10, 1, 1)])
def test_masks_have_whole_lines_the_middle_and_the_right_number(n, factor, middle):
    mask = datasets.cartesian_mask((6, n), factor, middle / n, 0)
    assert mask.dtype == bool and mask.shape == (6, n)
    assert (mask == mask[0]).all() and mask[0].sum() == round(n / factor)
    start = n // 2 - middle // 2
    assert mask[0, start : start + middle].all()
    turned = datasets.cartesian_mask((n, 6), factor, middle / n, 0, axis=0)
    np.testing.assert_array_equal(turned, mask.T)


def test_lines_elsewhere_are_random_and_everywhere():
    masks = np.stack([datasets.cartesian_mask((1, 40), 4, 0.1, seed)[0] for seed in range(300)])
    share = masks.mean(axis=0)
    assert (share[18:22] == 1).all()
    others = np.delete(share, range(18, 22))
    np.testing.assert_allclose(others, 6 / 36, atol=0.09)
    np.testing.assert_array_equal(masks[3], datasets.cartesian_mask((1, 40), 4, 0.1, np.random.default_rng(3))[0])


@pytest.mark.parametrize(("factor", "centre"), [(0.5, 0.1), (4, 0.3), (100, 0.0), (4, -0.1)])
def test_masks_that_cannot_be(factor, centre):
    with pytest.raises(ParameterError, match="take another factor or centre"):
        datasets.cartesian_mask((8, 40), factor, centre, 0)


def test_masks_and_maps_make_an_operator():
    A = oa.ParallelMRI(datasets.coil_maps(3, (16, 12)), datasets.cartesian_mask((16, 12), 2, 0.2, 0))
    x = datasets.ellipses(1, 16, 0)[0][:, 2:14]
    y = A @ x.astype("complex64")
    assert y.dtype == np.complex64
    assert 0.5 < np.linalg.norm(y) / np.linalg.norm(x) < 1.0


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "4"])
def test_counts_that_are_none_are_refused(wrong):
    with pytest.raises(ParameterError, match="count of ellipses"):
        datasets.ellipses(wrong, 16)
    with pytest.raises(ParameterError, match="size of ellipses"):
        datasets.ellipses(1, wrong)
    with pytest.raises(ParameterError, match="one or more coils"):
        datasets.coil_maps(wrong, (8, 8))


def test_coils_come_before_the_shape():
    with pytest.raises(ShapeError, match=r"coil_maps\(coils, shape\)"):
        datasets.coil_maps((16, 16), 4)
