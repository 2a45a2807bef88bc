"""Coils, non-uniform transforms, diffraction and functions of the user against the sums that define them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.operators.catalogue_contract import LIGHTS, OPTICS, Contract, Random, Table

CASES = Table()
case = CASES.add
RANDOM = Random(26)
normal, complex_normal = RANDOM.normal, RANDOM.complex_normal


def centered_fft(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The orthonormal transform with both origins in the middle."""
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def fourier_sum(x: np.ndarray, points: np.ndarray, factor: float) -> np.ndarray:
    """The sum itself, positions counted from the centre."""
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in x.shape), indexing="ij"), -1)
    phases = np.tensordot(points, grid, axes=(-1, -1))
    return factor * np.tensordot(np.exp(-1j * phases), x, axes=x.ndim)


def diffracted(e: np.ndarray, depths: np.ndarray, thickness: float) -> np.ndarray:
    """Transfer functions of phase and absorption as the catalogue's formulas say."""
    k = OPTICS["index"] / OPTICS["wavelength"]
    shape = e.shape[-2:]
    v = np.stack(np.meshgrid(*(np.fft.fftfreq(n, OPTICS["pixel"]) for n in shape), indexing="ij"))
    keep = np.ones(shape)
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            keep[(slice(None),) * axis + (n // 2,)] = 0

    def eta(v: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(k**2 - np.sum(v**2, 0), 1e-9))

    def amplitude(v: np.ndarray) -> np.ndarray:
        pupil = np.sqrt(np.sum(v**2, 0)) <= OPTICS["aperture"] / OPTICS["wavelength"]
        return pupil * np.pi * thickness / (OPTICS["wavelength"] ** 2 * eta(v))

    spectra, images = np.fft.fft2(e), []
    for light in LIGHTS / OPTICS["wavelength"]:
        u, total = light[:, None, None], 0
        for z, (phase, absorption) in zip(depths, spectra, strict=True):
            f = np.exp(-2j * np.pi * z * (eta(v + u) - eta(u)))
            g = np.exp(2j * np.pi * z * (eta(v - u) - eta(u)))
            total = total + 1j * (amplitude(v + u) * f - amplitude(v - u) * g) * phase
            total = total - (amplitude(v + u) * f + amplitude(v - u) * g) * absorption
        images.append(np.fft.ifft2(keep * total).real)
    return np.stack(images)


def add_physics() -> None:
    """Coils, parallel MRI, non-uniform FFT, intensity diffraction, functions of the user."""
    maps, real_maps = complex_normal(3, 4, 3), normal(2, 5)
    unit = maps / np.sqrt(np.sum(abs(maps) ** 2, 0))
    case("coils", lambda: oa.CoilSensitivities(maps), lambda x: maps * x, True)
    case("coils_real", lambda: oa.CoilSensitivities(real_maps), lambda x: real_maps * x, True)
    case("coils_normalised", lambda: oa.CoilSensitivities(maps, normalise=True), lambda x: unit * x, True)
    lines, mask = np.array([True, False, True]), RANDOM.rng.random((4, 3)) < 0.6
    case("mri", lambda: oa.ParallelMRI(maps, mask), lambda x: mask * centered_fft(maps * x, (1, 2)))
    case("mri_lines", lambda: oa.ParallelMRI(maps, lines[None]), lambda x: lines * centered_fft(maps * x, (1, 2)))
    case("mri_full", lambda: oa.ParallelMRI(unit), lambda x: centered_fft(unit * x, (1, 2)), True)
    case("mri_single", lambda: oa.ParallelMRI(None, mask), lambda x: mask * centered_fft(x, (0, 1)))
    case(
        "mri_corner",
        lambda: oa.ParallelMRI(maps, mask, centered=False, normalise=True),
        lambda x: mask * np.fft.fft2(unit * x, norm="ortho"),
    )
    points, many = RANDOM.rng.uniform(-9, 9, (6, 2)), RANDOM.rng.uniform(-4, 4, (2, 3, 1))
    for norm, factor in (("ortho", 12**-0.5), ("backward", 1.0), ("forward", 1 / 12)):
        case(
            f"nonuniform_{norm}",
            lambda n=norm: oa.NonuniformFFT((4, 3), points, 1e-12, n),
            lambda x, c=factor: fourier_sum(x, points, c),
            accuracy=1e-9,
        )
    case(
        "nonuniform_line", lambda: oa.NonuniformFFT((5,), many), lambda x: fourier_sum(x, many, 5**-0.5), accuracy=1e-7
    )
    flat = many.ravel()
    case(
        "nonuniform_plain",
        lambda: oa.NonuniformFFT((4,), flat, norm="backward"),
        lambda x: fourier_sum(x, flat[:, None], 1.0),
        accuracy=1e-7,
    )
    depths = np.array([-1.5, 0.5, 2.0])
    for label, part in (("both", slice(None)), ("phase", 0), ("absorption", 1)):

        def oracle(e: np.ndarray, part: Any = part) -> np.ndarray:
            full = np.zeros((3, 2, *e.shape[-2:]))
            full[:, part] = e
            return diffracted(full, depths, 0.7)

        case(
            f"diffraction_{label}",
            lambda c=label: oa.IntensityDiffraction((4, 5), depths, LIGHTS, thickness=0.7, component=c, **OPTICS),
            oracle,
        )
    case(
        "function",
        lambda: oa.FunctionOperator(
            lambda x: x[:-1] - 2 * x[1:], lambda y: np.append(y, 0) - 2 * np.append(0, y), in_shape=(4,), out_shape=(3,)
        ),
        lambda x: x[:-1] - 2 * x[1:],
    )
    twist = complex_normal(2, 3)
    case(
        "function_complex",
        lambda: oa.FunctionOperator(
            lambda x: twist @ x,
            lambda y: twist.conj().T @ y,
            in_shape=(3,),
            out_shape=(2,),
            in_dtype="complex",
            norm=99.0,
        ),
        lambda x: twist @ x,
    )


add_physics()


class TestPhysics(Contract):
    """What holds for every case of this file."""

    cases = CASES


def test_functions_of_the_user() -> None:
    """Buffers, in-place work, missing adjoints, asserted norms and results of a wrong shape."""
    buffer = np.zeros(3)

    def forward(x: np.ndarray) -> np.ndarray:
        x *= 2.0
        buffer[:] = x
        return buffer

    operator = oa.FunctionOperator(forward, forward, in_shape=(3,), in_dtype="real", norm=2.5, name="twice")
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(operator @ x, [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0]])
    np.testing.assert_array_equal(x[0], [1.0, 2.0, 3.0])
    bound = operator.norm_bound()
    assert (bound.value, bound.certainty) == (2.5, "asserted") and "twice" in repr(operator)
    assert oa.testing.check_operator(operator).ok
    wrong = oa.FunctionOperator(lambda x: x[1:], in_shape=(3,), name="short")
    with pytest.raises(oa.ShapeError, match="short"):
        wrong @ np.ones(3)
    pytest.importorskip("torch")
    automatic = oa.FunctionOperator(lambda x: 3.0 * x[1:] * x.shape[0], in_shape=(3,), out_shape=(2,))
    np.testing.assert_allclose(automatic.H @ np.array([1.0, 2.0]), [0.0, 9.0, 18.0])
