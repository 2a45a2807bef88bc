"""IntensityDiffraction: the Born integral with Green's function as oracle, limits of physics, bounds, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.operators import DiagonalIn
from opalg.operators.diffraction import IntensityDiffraction, annular_illumination
from opalg.program.interpreter import evaluate
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient

WAVELENGTH, INDEX = 0.5, 1.33


def transfer(operator):
    """The transfer functions as an array."""
    return evaluate([operator.transfer], {}, oa.arrays.backend("numpy"))[0]


def setting(shape=(6, 8), depths=(-1.5, 0.0, 1.5), lights=None, aperture=0.6, pixel=0.3, **options):
    lights = annular_illumination(4, 0.45, 0.3) if lights is None else np.atleast_2d(lights)
    given = {"index": INDEX, **options}
    return IntensityDiffraction(shape, np.array(depths), lights, WAVELENGTH, aperture, pixel, **given)


def born_field(contrast, x, pixel, thickness, depth, light, at):
    """The scattered field at points of the plane z = 0: the sum over pixels of Green's function (Helmholtz)."""
    k0, k = 2 * np.pi / WAVELENGTH, 2 * np.pi * INDEX / WAVELENGTH
    tilt = np.asarray(light) / WAVELENGTH
    axial = np.sqrt((INDEX / WAVELENGTH) ** 2 - tilt @ tilt)
    source = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    incident = np.exp(2j * np.pi * (source @ tilt + axial * depth))
    strength = contrast.ravel() * incident * k0**2 / (4 * np.pi) * pixel**2 * thickness
    distance = np.sqrt(((at[:, None, :] - source[None, :, :]) ** 2).sum(-1) + depth**2)
    return (np.exp(1j * k * distance) / distance) @ strength


@pytest.mark.parametrize("light", [(0.0, 0.0), (0.35, -0.2), (-0.1, 0.5)])
def test_it_is_the_linear_part_of_the_born_intensity(light):
    """A smooth weak object before the focus, an open pupil, and Green's function in place of spectra."""
    n, pixel, thickness, depth = 64, 0.12, 0.01, -1.5
    x = (np.arange(n) - n // 2) * pixel
    down, across = np.meshgrid(x, x, indexing="ij")
    bump = np.exp(-((down - 0.3) ** 2 + (across + 0.2) ** 2) / (2 * 0.55**2))
    real, imaginary = 0.8 * bump, 0.5 * bump * np.cos(2 * down)
    rows = np.arange(n // 2 - 12, n // 2 + 13, 4)
    at = np.stack(np.meshgrid(x[rows], x[rows], indexing="ij"), -1).reshape(-1, 2)
    scattered = born_field(real + 1j * imaginary, x, pixel, thickness, depth, light, at)
    background = np.exp(2j * np.pi * (at @ np.asarray(light)) / WAVELENGTH)
    step = 1e-3
    wanted = (np.abs(background + step * scattered) ** 2 - np.abs(background - step * scattered) ** 2) / (2 * step)
    A = setting((n, n), (depth,), light, aperture=INDEX * 0.999, pixel=pixel, thickness=thickness)
    found = (A @ np.stack([real, imaginary])[None])[0][np.ix_(rows, rows)].ravel()
    assert np.max(np.abs(found - wanted)) <= 5e-3 * np.max(np.abs(wanted))


def test_a_phase_object_in_focus_is_invisible_under_light_along_the_axis(rng):
    A = setting(depths=(0.0, 2.0), lights=(0.0, 0.0), thickness=1.0)
    e = rng.standard_normal((2, 6, 8))
    in_focus, out_of_focus = e * [[[1]], [[0]]], e * [[[0]], [[1]]]
    assert np.max(np.abs(A.phase @ in_focus)) <= 1e-13 * np.max(np.abs(A.phase @ out_of_focus))
    tilted = setting(depths=(0.0, 2.0), lights=(0.0, 0.5), thickness=1.0)
    assert np.max(np.abs(tilted.phase @ in_focus)) > 0.1 * np.max(np.abs(tilted.phase @ out_of_focus))


def test_defocus_turns_phase_over_and_keeps_absorption():
    before, behind = (setting(depths=(z,), lights=(0.0, 0.0), thickness=1.0) for z in (-1.0, 1.0))
    assert np.allclose(transfer(before.phase), -transfer(behind.phase), atol=1e-13)
    assert np.allclose(transfer(before.absorption), transfer(behind.absorption), atol=1e-13)


def test_defocused_phase_shows_its_curvature():
    """Transport of intensity (Teague 1983): dI/dz = -div grad(phase) / k, with phase = pi thickness e / (n lambda)."""
    n, pixel, thickness, depth = 32, 0.5, 0.1, -0.05
    A = setting((n, n), (depth,), (0.0, 0.0), aperture=1.2, pixel=pixel, thickness=thickness)
    x = (np.arange(n) - n // 2) * pixel
    squared = x[:, None] ** 2 + x[None, :] ** 2
    bump = np.exp(-squared / (2 * 1.5**2))
    curvature = bump * (squared / 1.5**4 - 2 / 1.5**2)
    phase = np.pi * thickness / (INDEX * WAVELENGTH) * curvature
    wanted = depth * phase * WAVELENGTH / (2 * np.pi * INDEX)
    found = (A.phase @ bump[None])[0]
    assert np.max(np.abs(found - wanted)) <= 0.02 * np.max(np.abs(wanted))


@pytest.mark.parametrize("light", [(0.0, 0.0), (0.3, 0.2)])
def test_a_uniform_slice_absorbs_as_beer_and_lambert_say(light):
    A = setting(depths=(0.7,), lights=light, thickness=0.2)
    sine = np.hypot(*light) / INDEX
    path = 0.2 / np.sqrt(1 - sine**2)
    lost = -2 * np.pi / (WAVELENGTH * INDEX) * path * 0.01
    assert np.allclose(A.absorption @ np.full((1, 6, 8), 0.01), lost, rtol=1e-12)
    assert np.allclose(A.phase @ np.full((1, 6, 8), 0.01), 0, atol=1e-13)


def test_opposite_lights_mirror_each_other(rng):
    light = np.array([0.3, -0.2])
    one, other = setting((5, 7), lights=light), setting((5, 7), lights=-light)
    e = rng.standard_normal((3, 2, 5, 7))
    mirrored = np.roll(np.flip(e, (-2, -1)), (1, 1), (-2, -1))
    assert np.allclose(np.roll(np.flip(one @ e, (-2, -1)), (1, 1), (-2, -1)), other @ mirrored, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 7), (6, 8), (1, 5), (4, 1)])
def test_spectra_are_those_of_real_kernels(rng, shape):
    """The half spectrum of an image equals the transfer functions times those of the slices, on all frequencies."""
    A = setting(shape)
    e = rng.standard_normal((3, 2, *shape))
    spectra = np.fft.rfft2(e)
    wanted = (transfer(A) * spectra[None]).sum((1, 2))
    assert np.allclose(np.fft.rfft2(A @ e), wanted, atol=1e-11)


def test_phase_and_absorption_are_the_two_parts(rng):
    A = setting()
    e = rng.standard_normal((3, 2, 6, 8))
    assert np.allclose(A @ e, A.phase @ e[:, 0] + A.absorption @ e[:, 1], atol=1e-12)
    re, im = oa.Variable((3, 6, 8), name="re"), oa.Variable((3, 6, 8), name="im")
    data = A @ e
    energy = (
        oa.sum_squares(A.phase @ re + A.absorption @ im - data) + 0.1 * oa.sum_squares(re) + 0.1 * oa.sum_squares(im)
    )
    sol = oa.minimize(energy, tol=1e-9, max_iter=2000)
    dense = A.to_dense()
    wanted = np.linalg.solve(dense.T @ dense + 0.1 * np.eye(dense.shape[1]), dense.T @ data.ravel()).reshape(e.shape)
    assert np.allclose(sol[re], wanted[:, 0], atol=1e-5) and np.allclose(sol[im], wanted[:, 1], atol=1e-5)


def test_the_norm_bound_and_where_it_is_exact():
    for A, certainty in ((setting(), "upper"), (setting(lights=(0.2, 0.1)), "exact")):
        norm = np.linalg.norm(A.to_dense(), 2)
        assert A.norm_bound().certainty == certainty
        assert norm * (1 - 1e-12) <= float(A.norm_bound()) <= (1 + 1e-12 if certainty == "exact" else 3) * norm


def test_one_unknown_array_has_a_diagonal_gram():
    A = setting(depths=(0.6,), thickness=1.0).phase
    assert isinstance(A.gram.simplify(), DiagonalIn)
    assert np.allclose(A.gram.simplify().to_dense(), A.to_dense().T @ A.to_dense(), atol=1e-12)
    single = setting(lights=(0.1, 0.2))
    assert isinstance(single.cogram.simplify(), DiagonalIn)
    assert np.allclose(single.cogram.simplify().to_dense(), single.to_dense() @ single.to_dense().T, atol=1e-11)
    assert not isinstance(setting().gram.simplify(), DiagonalIn)


@pytest.mark.parametrize("name", ["depths", "illumination", "wavelength", "pixel", "index", "thickness"])
def test_gradients_reach_the_optics(rng, name):
    given = {
        "depths": np.array([-1.0, 0.7]),
        "illumination": np.array([[0.11, 0.2], [-0.15, 0.05]]),
        "wavelength": 0.52,
        "aperture": 0.6,
        "pixel": 0.31,
        "index": 1.4,
        "thickness": 0.5,
    }
    parameter = oa.Parameter(given[name], name=name)
    check_parameter_gradient(IntensityDiffraction((4, 3), **{**given, name: parameter}), parameter, rng)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_checks_on_every_library(library, dtype):
    assert check_operator(setting((4, 5), (-20.0, 0.0, 20.0)), library=library, dtype=dtype)


def test_rings_of_light():
    ring = annular_illumination(6, 0.4, start=0.5)
    assert np.allclose(np.hypot(*ring.T), 0.4) and np.allclose(ring[0], 0.4 * np.array([np.sin(0.5), np.cos(0.5)]))
    assert np.allclose(ring.sum(0), 0, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("aperture", [0.6, INDEX])
def test_light_at_the_edge_of_the_pupil_is_seen(dtype, aperture):
    A = setting(lights=annular_illumination(7, aperture), aperture=aperture)
    seen = A.absorption @ np.ones((3, 6, 8), dtype)
    assert np.all(np.isfinite(seen)) and np.allclose(seen, seen[0], rtol=1e-4) and seen.max() < 0


def test_rings_of_light_need_light():
    with pytest.raises(ParameterError, match="count"):
        annular_illumination(0, 0.4)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"shape": (4,)}, ShapeError, "rows and columns"),
        ({"lights": (0.5, 0.5)}, ParameterError, "light 0.*0.707.*dark-field"),
        ({"aperture": 1.5}, ParameterError, "exceeds the refractive index 1.33"),
        ({"depths": (0.0, 1.0, 3.0)}, ParameterError, "thickness="),
        ({"depths": (0.0,)}, ParameterError, "thickness="),
        ({"pixel": 0.0}, ParameterError, "pixel.*positive"),
        ({"pixel": oa.Parameter(np.ones(2))}, ShapeError, r"pixel.*\(2,\)"),
        ({"lights": [[0.1, 0.2, 0.3]]}, ShapeError, r"\(leds, 2\)"),
        ({"lights": [[0.1j, 0.2]]}, DtypeError, "complex"),
        ({"component": "amplitude"}, ParameterError, "absorption"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        setting(**changes)
