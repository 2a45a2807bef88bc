"""The X-ray transform against clipped polygons, sampled lines, analytic projections and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.operators.filtered_backprojection import FilteredBackprojection, angular_shares
from opalg.operators.projector import FOOTPRINTS, ParallelBeam
from opalg.operators.radon import Radon
from opalg.testing import check_operator
from tests.operators.dense import real_matrix

ANGLES = [0.0, 0.3, np.pi / 4, np.pi / 2, 2.0, 3 * np.pi / 4, np.pi, 5.0, -1.2]
GEOMETRIES = [
    ((4, 5), None, 1.0, 0.0),
    ((5, 4), 6, 0.7, 0.3),
    ((1, 6), None, 1.0, 0.0),
    ((3, 1), 4, 1.6, -0.4),
    ((6, 6), 3, 2.5, 0.0),
]


def middles(shape, angle):
    """The position of each pixel's middle along the detector axis."""
    i, j = np.indices(shape)
    return (j - (shape[1] - 1) / 2) * np.cos(angle) + ((shape[0] - 1) / 2 - i) * np.sin(angle)


def detectors_of(made):
    return (np.arange(made.detectors) - (made.detectors - 1) / 2) * made.spacing + made.offset


def clipped_area(corners, normal, low, high):
    """The area of a convex polygon between two parallel lines, by cutting it twice."""
    for sign, level in ((1, high), (-1, -low)):
        kept = []
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            da, db = level - sign * (a @ normal), level - sign * (b @ normal)
            if da >= 0:
                kept.append(a)
            if da * db < 0:
                kept.append(a + (b - a) * da / (da - db))
        corners = np.array(kept)
        if len(corners) < 3:
            return 0.0
    x, y = corners.T
    return 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def ray_length(corner, normal, s):
    """The length of a line in the unit square at a corner, from where it meets the borders."""
    along = np.array([-normal[1], normal[0]])
    low, high = -np.inf, np.inf
    for axis in (0, 1):
        start = s * normal[axis] - corner[axis]
        if abs(along[axis]) < 1e-12:
            if abs(start - 0.5) > 0.5 + 1e-12:
                return 0.0
            if abs(abs(start - 0.5) - 0.5) < 1e-12:
                return 0.5  # along an edge, which two pixels share
            continue
        ends = sorted(((0 - start) / along[axis], (1 - start) / along[axis]))
        low, high = max(low, ends[0]), min(high, ends[1])
    return max(0.0, high - low)


def joseph_weights(shape, angle, s):
    """Joseph's interpolation, row by row or column by column."""
    out = np.zeros(shape)
    c, q = np.cos(angle), np.sin(angle)
    by_rows = abs(c) >= abs(q)
    for line in range(shape[0] if by_rows else shape[1]):
        other = (shape[0] - 1) / 2 - line if by_rows else line - (shape[1] - 1) / 2
        middle = (np.array(shape) - 1) / 2
        crossing = middle[1] + (s - other * q) / c if by_rows else middle[0] - (s - other * c) / q
        low = int(np.floor(crossing))
        for place, weight in ((low, 1 - (crossing - low)), (low + 1, crossing - low)):
            if 0 <= place < (shape[1] if by_rows else shape[0]):
                out[(line, place) if by_rows else (place, line)] += weight / max(abs(c), abs(q))
    return out


def reference(made):
    """The dense matrix, pixel by pixel."""
    out = np.zeros((*made.out_shape, *made.shape))
    n0, n1 = made.shape
    for a, angle in enumerate(made.angles):
        normal = np.array([np.cos(angle), np.sin(angle)])
        for k, s in enumerate(detectors_of(made)):
            if made.weights == "joseph":
                out[a, k] = joseph_weights(made.shape, angle, s)
                continue
            for i, j in np.ndindex(n0, n1):
                corner = np.array([j - n1 / 2, n0 / 2 - i - 1])
                if made.weights == "ray":
                    out[a, k, i, j] = ray_length(corner, normal, s)
                else:
                    square = corner + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
                    half = made.spacing / 2
                    out[a, k, i, j] = clipped_area(square, normal, s - half, s + half) / made.spacing
    return out.reshape(np.prod(made.out_shape), -1)


@pytest.mark.parametrize(("shape", "detectors", "spacing", "offset"), GEOMETRIES)
@pytest.mark.parametrize("weights", FOOTPRINTS)
def test_weights_by_geometry(shape, detectors, spacing, offset, weights):
    made = Radon(shape, ANGLES, detectors, spacing, offset, weights)
    wanted = reference(made)
    assert np.allclose(made.matrix.toarray(), wanted, atol=1e-12)
    assert np.allclose(real_matrix(made, "real"), wanted, atol=1e-12)
    assert np.allclose(real_matrix(made.H, "real"), wanted.T, atol=1e-12)
    assert made.norm_bound().value >= np.linalg.norm(wanted, 2) * (1 - 1e-12)


@pytest.mark.parametrize("weights", FOOTPRINTS)
@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_stored_and_matrix_free_agree(weights, library):
    shape, angles = (9, 12), np.linspace(0, 4, 7)
    stored, free = (Radon(shape, angles, weights=weights, matrix_free=free) for free in (False, True))
    assert stored.norm_bound().value == free.norm_bound().value
    for dtype in ("float64", "float32"):
        pairs = [
            (real_matrix(m, "real", library, dtype), real_matrix(m.H, "real", library, dtype)) for m in (stored, free)
        ]
        limit = 1e-13 if dtype == "float64" else 2e-5
        assert np.allclose(pairs[0][0], pairs[1][0], atol=limit)
        assert np.allclose(pairs[0][1], pairs[1][1], atol=limit)
        assert np.allclose(pairs[1][0], pairs[1][1].T, atol=limit / 10)


@pytest.mark.parametrize("weights", FOOTPRINTS)
def test_large_images_agree_too(rng, weights):
    shape, angles = (97, 120), np.pi * np.arange(31) / 31
    stored, free = (Radon(shape, angles, weights=weights, matrix_free=free) for free in (False, True))
    x, y = rng.standard_normal((2, *shape)), rng.standard_normal(stored.out_shape)
    assert np.allclose(stored @ x, free @ x, atol=1e-11)
    assert np.allclose(stored.H @ y, free.H @ y, atol=1e-11)
    assert abs(np.vdot(free @ x[0], y) - np.vdot(x[0], free.H @ y)) <= 1e-10 * np.linalg.norm(free @ x[0]) * 100


def test_size_chooses_between_stored_and_matrix_free():
    angles = np.pi * np.arange(180) / 180
    assert not Radon((256, 256), angles).matrix_free
    assert Radon((512, 512), angles).matrix_free
    assert not Radon((512, 512), angles, matrix_free=False).matrix_free
    assert Radon((4, 4), [0.0], matrix_free=True).matrix_free


def test_angle_zero_sums_columns_and_a_quarter_turn_sums_rows(rng):
    x = rng.standard_normal((3, 4))
    for weights in FOOTPRINTS:
        made = Radon((3, 4), [0.0, np.pi / 2, np.pi], weights=weights)
        columns, rows, reverse = made @ x
        assert np.allclose(columns[1:-1], x.sum(axis=0)) and np.allclose(reverse, columns[::-1])
        assert made.detectors == 6 and columns[0] == columns[-1] == 0.0
        assert rows.sum() == pytest.approx(x.sum())
    centred = Radon((3, 4), [np.pi / 2], 3) @ x
    assert np.allclose(centred[0], x.sum(axis=1)[::-1])


def test_no_weight_is_lost_between_strips(rng):
    """Strips cover the plane, so that each angle holds the sum of the image."""
    made = Radon((5, 6), np.linspace(0, 6, 11), spacing=0.8, detectors=15, offset=0.1)
    x = rng.standard_normal((5, 6))
    assert np.allclose((made @ x).sum(axis=1) * 0.8, x.sum())


@pytest.mark.parametrize("weights", FOOTPRINTS)
def test_disc_and_gaussian_against_their_transforms(weights):
    n, angles = 101, np.pi * np.arange(40) / 40
    made = Radon((n, n), angles, weights=weights)
    s, (i, j) = detectors_of(made), np.indices((n, n))
    fine = (np.arange(n * 8) - (n * 8 - 1) / 2) / 8
    inside = np.hypot(fine[:, None], fine[None, :]) < 32.3
    disc = inside.reshape(n, 8, n, 8).mean(axis=(1, 3))
    chords = 2 * np.sqrt(np.maximum(32.3**2 - s**2, 0))
    far_from_rim = np.abs(np.abs(s) - 32.3) > 2.5
    error = np.abs(made @ disc - chords)[:, far_from_rim]
    assert np.sqrt(np.mean(error**2)) < 0.004 * chords.max()

    middle = 10.0 * np.cos(angles) + 7.0 * np.sin(angles)
    blob = np.exp(-((j - 50 - 10.0) ** 2 + (50 - 7.0 - i) ** 2) / (2 * 8.0**2))
    wanted = np.sqrt(2 * np.pi) * 8.0 * np.exp(-((s[None, :] - middle[:, None]) ** 2) / (2 * 8.0**2))
    limit = 0.015 if weights == "ray" else 0.003
    assert np.max(np.abs(made @ blob - wanted)) < limit * wanted.max()


def test_agrees_with_scikit_image():
    from skimage.transform import radon

    n, angles = 65, np.arange(0.0, 180.0, 7.0)
    i, j = np.indices((n, n))
    image = np.exp(-((i - 25) ** 2 + (j - 40) ** 2) / 50) + 0.5 * np.exp(-((i - 40) ** 2 + (j - 22) ** 2) / 30)
    image[np.hypot(i - 32, j - 32) > 31] = 0.0
    wanted = radon(image, theta=angles, circle=True).T
    made = Radon((n, n), np.deg2rad(angles), detectors=n, weights="joseph")
    assert np.max(np.abs(made @ image - wanted)) < 0.005 * wanted.max()


def test_subset_is_a_block_of_rows(rng):
    for made in (Radon((5, 6), ANGLES), Radon((5, 6), ANGLES, 4, 1.3, 0.2, "ray", matrix_free=True)):
        x = rng.standard_normal((2, 5, 6))
        full, mask = made @ x, np.arange(9) % 2 == 0
        for which in ([3, 0, 5], slice(1, 9, 3), mask, np.array([8]), [-1]):
            part = made.subset(which)
            assert np.allclose(part @ x, full[:, which], atol=1e-13)
            assert (part.detectors, part.weights, part.matrix_free) == (made.detectors, made.weights, made.matrix_free)
        blocks = [made.subset(slice(k, None, 3)) for k in range(3)]
        total = sum(b.H @ (b @ x) for b in blocks)
        assert np.allclose(total, made.H @ full)
    with pytest.raises(ParameterError, match="no such angles"):
        made.subset([9])
    with pytest.raises(ParameterError, match="one or more"):
        made.subset([])


def phantom(n):
    """A head of ellipses, each given as height, half axes, middle and turn."""
    y, x = np.mgrid[1 : -1 : n * 1j, -1 : 1 : n * 1j]
    out = np.zeros((n, n))
    for height, a, b, x0, y0, turn in [
        (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
        (-0.8, 0.66, 0.87, 0.0, -0.02, 0.0),
        (-0.2, 0.11, 0.31, 0.22, 0.0, -0.3),
        (-0.2, 0.16, 0.41, -0.22, 0.0, 0.3),
        (0.2, 0.21, 0.25, 0.0, 0.35, 0.0),
        (0.2, 0.05, 0.05, 0.0, -0.3, 0.0),
    ]:
        u = (x - x0) * np.cos(turn) + (y - y0) * np.sin(turn)
        v = (y - y0) * np.cos(turn) - (x - x0) * np.sin(turn)
        out += height * ((u / a) ** 2 + (v / b) ** 2 < 1)
    return out


def psnr(found, wanted):
    return 10 * np.log10(np.ptp(wanted) ** 2 / np.mean((found - wanted) ** 2))


@pytest.mark.parametrize("weights", FOOTPRINTS)
def test_filtered_backprojection_recovers_images(weights):
    n = 128
    made = Radon((n, n), np.pi * np.arange(180) / 180, weights=weights)
    i, j = np.indices((n, n))
    blob = np.exp(-((i - 50) ** 2 + (j - 80) ** 2) / 128) + 0.5 * np.exp(-((i - 80) ** 2 + (j - 50) ** 2) / 50)
    assert psnr(made.fbp(made @ blob), blob) > 60
    head = phantom(n)
    figures = [psnr(made.fbp(made @ head, w), head) for w in ("ramp", "shepp-logan", "cosine", "hamming", "hann")]
    assert figures == sorted(figures, reverse=True)  # without noise, each further damping costs detail
    assert figures[0] > 24 and figures[-1] > 20
    assert psnr(made.fbp(made @ head, cutoff=0.5), head) < figures[0]


def test_filtered_backprojection_of_other_geometries(rng):
    """A disc keeps its height for detectors off the middle, finer spacing, turned and uneven angles, and batches."""
    i, j = np.indices((40, 48))
    disc = (np.hypot(i - 19.5, j - 23.5) < 12).astype(float)
    core = np.hypot(i - 19.5, j - 23.5) < 9
    uneven = np.cumsum(rng.uniform(0.5, 1.5, 90))
    for angles, options in [
        (np.pi * np.arange(90) / 90, {"spacing": 0.5}),
        (np.pi * np.arange(90) / 90 + 0.7, {"offset": 0.4, "detectors": 71}),
        (2 * np.pi * np.arange(120) / 120, {"spacing": 1.25}),
        (uneven / uneven[-1] * np.pi, {"weights": "ray"}),
    ]:
        made = Radon((40, 48), angles, **options)
        pair = made.fbp(made @ np.stack([disc, 2 * disc]), "hann")
        assert np.allclose(pair[1], 2 * pair[0], atol=1e-12)
        assert pair[0][core].mean() == pytest.approx(1.0, abs=0.01)
        assert np.abs(pair[0][core] - 1).max() < 0.1
        z = made.fbp((1 + 2j) * (made @ disc), "hann")
        assert np.allclose(z, (1 + 2j) * pair[0], atol=1e-12)


def test_shares_of_angles():
    assert np.allclose(angular_shares((0.0, 0.5, 1.5)), [(np.pi - 1.5 + 0.5) / 2, 0.75, (1.0 + np.pi - 1.5) / 2])
    assert np.allclose(angular_shares(tuple(np.pi * np.arange(6) / 6)), np.pi / 6)
    assert np.allclose(angular_shares(tuple(2 * np.pi * np.arange(6) / 6 + 0.1)).sum(), np.pi)
    assert np.allclose(angular_shares(tuple(np.arange(10) / 20)), 1 / 20)
    assert np.allclose(angular_shares((2.0,)), np.pi)


def test_filter_is_the_ramp_of_the_band_limit():
    """The transform of a constant disc's filtered row, by direct summation of the kernel."""
    made = FilteredBackprojection(ParallelBeam((1, 1), (0.0,), 9, 0.5, 0.0, "strip"))
    y = np.random.default_rng(3).standard_normal((1, 9))
    lag = np.subtract.outer(np.arange(9), np.arange(9))
    with np.errstate(divide="ignore"):
        kernel = np.where(lag == 0, 1 / (4 * 0.25), np.where(lag % 2 == 0, 0.0, -1 / (np.pi * lag * 0.5) ** 2))
    filtered = 0.5 * kernel @ y[0]
    assert np.allclose(made @ y, np.pi * filtered[4])


def test_everything_that_operators_promise(rng):
    for made in [*Radon.examples(rng), *FilteredBackprojection.examples(rng)]:
        report = check_operator(made)
        assert report.ok, report


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_other_libraries(rng, library):
    for made in (Radon.examples(rng)[4], FilteredBackprojection.examples(rng)[1]):
        report = check_operator(made, library=library, dtype="float32")
        assert report.ok, report


def test_reconstruction_by_least_squares(rng):
    made = Radon((8, 8), np.pi * np.arange(12) / 12)
    truth, x = rng.standard_normal((8, 8)), oa.Variable((8, 8))
    energy = oa.sum_squares(made @ x - made @ truth) + 1e-6 * oa.sum_squares(x)
    found = oa.minimize(energy, tol=1e-10).x
    dense = real_matrix(made, "real")
    wanted = np.linalg.solve(dense.T @ dense + 1e-6 * np.eye(64), dense.T @ dense @ truth.ravel())
    assert np.allclose(found.ravel(), wanted, atol=1e-5)


def test_misuse_is_explained():
    with pytest.raises(ShapeError, match="two axes"):
        Radon((4, 4, 4), [0.0])
    with pytest.raises(ParameterError, match="radians"):
        Radon((4, 4), [[0.0]])
    with pytest.raises(ParameterError, match="radians"):
        Radon((4, 4), [np.nan])
    with pytest.raises(ParameterError, match="detectors"):
        Radon((4, 4), [0.0], 0)
    with pytest.raises(ParameterError, match="spacing"):
        Radon((4, 4), [0.0], spacing=-1.0)
    with pytest.raises(UnsupportedError, match="'strip'"):
        Radon((4, 4), [0.0], weights="area")
    with pytest.raises(ParameterError, match="'hann'"):
        Radon((4, 4), [0.0]).fbp(np.zeros((1, 6)), "blackman")
    with pytest.raises(ParameterError, match="cutoff"):
        Radon((4, 4), [0.0]).fbp(np.zeros((1, 6)), cutoff=0.0)
    with pytest.raises(ShapeError, match="trailing axes"):
        Radon((4, 4), [0.0]).fbp(np.zeros((2, 6)))
