"""Patches, interpolation, warps and X-rays of the catalogue against SciPy, geometry and scikit-image."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import opalg as oa
from tests.operators.catalogue_contract import Contract, Random, Table

CASES = Table()
case = CASES.add
RANDOM = Random(25)
normal = RANDOM.normal
INTERPOLATION_MODES = {
    "zero": "grid-constant",
    "edge": "nearest",
    "periodic": "grid-wrap",
    "reflect": "mirror",
    "symmetric": "reflect",
}


def patches(x: np.ndarray, size: tuple[int, ...], stride: tuple[int, ...], boundary: str = "valid") -> np.ndarray:
    """Windows of NumPy."""
    if boundary == "periodic":
        x = np.pad(x, [(0, s - 1) for s in size], mode="wrap")
    return np.lib.stride_tricks.sliding_window_view(x, size)[tuple(slice(None, None, s) for s in stride)]


def interpolated(x: np.ndarray, points: np.ndarray, boundary: str) -> np.ndarray:
    """Splines of degree one in SciPy."""
    coordinates = np.moveaxis(points, -1, 0)
    return scipy.ndimage.map_coordinates(x, coordinates, order=1, mode=INTERPOLATION_MODES[boundary], prefilter=False)


def warped(x: np.ndarray, u: np.ndarray, boundary: str) -> np.ndarray:
    """The image at its own grid plus the displacement."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in x.shape), indexing="ij"))
    return interpolated(x, np.moveaxis(grid + u, 0, -1), boundary)


def projected(x: np.ndarray, angles: Any, detectors: int, weights: str, spacing: float = 1.0, offset: float = 0.0):
    """Sums over all pixels with the weight of each pixel in each ray, from the profile of a turned square."""
    rows, columns = np.indices(x.shape)
    across, up = columns - (x.shape[1] - 1) / 2, (x.shape[0] - 1) / 2 - rows
    places = (np.arange(detectors) - (detectors - 1) / 2) * spacing + offset
    result = np.zeros((len(angles), detectors), x.dtype)
    for a, angle in enumerate(angles):
        c, s = abs(np.cos(angle)), abs(np.sin(angle))
        t = places[:, None, None] - (across * np.cos(angle) + up * np.sin(angle))
        corners = ((c + s) / 2, 1), ((c - s) / 2, -1), ((s - c) / 2, -1), (-(c + s) / 2, 1)

        def power(t: Any, n: int, corners: Any = corners, area: float = c * s) -> Any:
            return sum(sign * np.maximum(t + p, 0) ** n for p, sign in corners) / (n * area)

        weight = {
            "ray": lambda t: power(t, 1),
            "strip": lambda t: (power(t + spacing / 2, 2) - power(t - spacing / 2, 2)) / spacing,
            "joseph": lambda t, c=c, s=s: np.maximum(0, 1 - abs(t) / max(c, s)) / max(c, s),
        }[weights](t)
        result[a] = np.sum(weight * x, axis=(1, 2))
    return result


def add_imaging() -> None:
    """Patches, interpolation, warps, X-rays."""
    case("patches", lambda: oa.Patches((5, 4), (2, 3)), lambda x: patches(x, (2, 3), (1, 1)), True)
    case("patches_stride", lambda: oa.Patches((6, 5), (3, 2), (2, 3)), lambda x: patches(x, (3, 2), (2, 3)), True)
    case("patches_tiles", lambda: oa.Patches((4, 6), 2, 2), lambda x: patches(x, (2, 2), (2, 2)), True)
    case("patches_one", lambda: oa.Patches((1, 3), (1, 2)), lambda x: patches(x, (1, 2), (1, 1)), True)
    for stride in (1, 2, 3):
        case(
            f"patches_periodic_{stride}",
            lambda s=stride: oa.Patches((5, 4), 3, s, "periodic"),
            lambda x, s=stride: patches(x, (3, 3), (s, s), "periodic"),
            True,
        )
    points = RANDOM.rng.uniform(-4, 8, (3, 4, 2))
    points[0, 0] = 1.0, 2.0
    points[0, 1] = 3.0, 3.0
    line = RANDOM.rng.uniform(-0.9, 4.9, (5, 1))
    displacement = 1.7 * normal(2, 4, 3)
    for boundary in INTERPOLATION_MODES:
        case(
            f"interpolate_{boundary}",
            lambda b=boundary: oa.Interpolate((4, 4), points, b),
            lambda x, b=boundary: interpolated(x, points, b),
        )
        case(
            f"interpolate_{boundary}_parameter",
            lambda b=boundary: oa.Interpolate((5,), oa.Parameter(line, name="p"), b),
            lambda x, b=boundary: interpolated(x, line, b),
        )
        case(
            f"warp_{boundary}",
            lambda b=boundary: oa.Warp((4, 3), displacement, b),
            lambda x, b=boundary: warped(x, displacement, b),
        )
        case(
            f"warp_{boundary}_parameter",
            lambda b=boundary: oa.Warp((4, 3), oa.Parameter(displacement), b),
            lambda x, b=boundary: warped(x, displacement, b),
        )
    shift = np.array([[[0.25]], [[-1.5]]])
    case("warp_shift", lambda: oa.Warp((3, 4), shift, "periodic"), lambda x: warped(x, shift, "periodic"))
    angles = [0.3, 1.2, 2.9, 4.0]
    for weights, free in itertools.product(("strip", "ray", "joseph"), (False, True)):
        case(
            f"radon_{weights}_{'free' if free else 'stored'}",
            lambda w=weights, f=free: oa.Radon((4, 3), angles, 6, 0.8, 0.3, w, f),
            lambda x, w=weights: projected(x, angles, 6, w, 0.8, 0.3),
        )
    case("radon_default", lambda: oa.Radon((2, 5), angles), lambda x: projected(x, angles, 7, "strip"))
    case("radon_row", lambda: oa.Radon((1, 4), angles), lambda x: projected(x, angles, 6, "strip"))
    case("radon_columns", lambda: oa.Radon((3, 3), [0.0], 3), lambda x: x.sum(0, keepdims=True))


add_imaging()


class TestImaging(Contract):
    """What holds for every case of this file."""

    cases = CASES


@pytest.mark.parametrize("weights", ["strip", "ray", "joseph"])
def test_radon_of_a_disc(weights: str) -> None:
    """A disc off the centre has chords of known length at known places; FBP and back projection bring it back."""
    n, radius, middle = 64, 14.0, (9.0, -6.0)
    row, column = np.indices((n, n))
    fine = (np.arange(8) - 3.5) / 8
    disc = np.mean(
        [
            np.hypot(column + a - (n - 1) / 2 - middle[0], (n - 1) / 2 - row + b - middle[1]) < radius
            for a in fine
            for b in fine
        ],
        0,
    )
    angles = np.linspace(0, np.pi, 60, endpoint=False)
    operator = oa.Radon((n, n), angles, weights=weights)
    assert operator.out_shape == (60, 92)
    s = np.arange(92) - 45.5
    t = s[None] - (middle[0] * np.cos(angles) + middle[1] * np.sin(angles))[:, None]
    chords = 2 * np.sqrt(np.maximum(radius**2 - t**2, 0))
    y = operator @ disc
    assert np.linalg.norm(y - chords) < 0.03 * np.linalg.norm(chords)
    image = operator.fbp(y)
    assert np.linalg.norm(image - disc) < 0.25 * np.linalg.norm(disc)
    assert abs(image[disc == 1].mean() - 1) < 0.03
    np.testing.assert_allclose(operator.backproject(y), operator.H @ y)
    np.testing.assert_allclose(operator.subset([7, 3]) @ disc, y[[7, 3]], atol=1e-9)


def test_radon_agrees_with_scikit_image() -> None:
    """The same geometry, for an image of odd size whose middle both have at the same pixel."""
    transform = pytest.importorskip("skimage.transform")
    image = np.zeros((33, 33))
    image[9:15, 12:23] = 1.0
    image[18:24, 15:17] = 2.0
    degrees = np.array([0.0, 30.0, 75.0, 90.0, 140.0])
    theirs = transform.radon(image, theta=degrees, circle=True).T
    ours = oa.Radon((33, 33), np.deg2rad(degrees), 33) @ image
    assert np.linalg.norm(ours - theirs) < 0.06 * np.linalg.norm(theirs)
