"""What is measured of what: tomography, parallel magnetic resonance imaging, and intensity diffraction tomography."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import opalg as oa
from opalg.errors import ParameterError
from opalg.learning import datasets

from .settings import Settings


@dataclass(frozen=True)
class Instance:
    """A measurement, images to learn from, and how to draw blocks.

    Attributes
    ----------
    name : str
    A : LinearOperator
        Scaled so that ``|A x - y|^2 / (2 blocks)`` has a gradient with a Lipschitz constant of at most 1.
    blocks : int
    sampler : Sampler
    train, test : tensor
    layout : str
        ``"image"``, ``"complex"`` or ``"slices"``: what the network makes channels of.
    start : callable
        ``start(y) -> x0``.
    nonneg : bool
        Whether images are known to be nonnegative.
    snr : float
    """

    name: str
    A: oa.LinearOperator
    blocks: int
    sampler: Any
    train: torch.Tensor
    test: torch.Tensor
    layout: str
    start: Callable[[Any], Any]
    nonneg: bool
    snr: float

    @property
    def channels(self) -> int:
        """Of the network."""
        return {"image": 1, "complex": 2, "slices": int(self.train.shape[1])}[self.layout]

    def measure(self, clean: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
        """Data of images, each with noise of exactly the signal-to-noise ratio; complex noise is circular."""
        y = self.A @ clean
        return {"y": torch.stack([oa.noise.at_snr(v, self.snr, rng=generator) for v in y])}


def tomography(settings: Settings, folder: Path | None = None) -> Instance:
    """Few views of a parallel beam, started by filtered backprojection."""
    n, b = settings.size, settings.views
    radon = oa.Radon((n, n), np.linspace(0.0, np.pi, b, endpoint=False))
    scale = float(np.sqrt(b)) / float(radon.norm_bound())

    def start(y: Any) -> Any:
        return radon.fbp(y / scale, "hann").clip(min=0.0)

    sampler = oa.samplers.Stratified(settings.strata, settings.drawn)
    train, test = _images(settings, folder)
    return Instance("tomography", scale * radon, b, sampler, train, test, "image", start, True, settings.snr)


def resonance(settings: Settings, folder: Path | None = None) -> Instance:
    """Several coils and a quarter of the lines; images with a smooth phase."""
    shape, b = (settings.size, settings.size), settings.coils
    mask = datasets.cartesian_mask(shape, 4, rng=settings.seed)
    maps = datasets.coil_maps(b, shape, width=2.0)
    A = float(np.sqrt(b)) * oa.ParallelMRI(maps.astype(np.complex64), mask)
    rng = np.random.default_rng(settings.seed + 2)
    train, test = (_with_phase(images, rng) for images in _images(settings, folder))
    sampler = oa.samplers.Stratified(settings.coils_drawn)
    return Instance("resonance", A, b, sampler, train, test, "complex", lambda y: (A.H @ y) / b, False, settings.snr)


def diffraction(settings: Settings, folder: Path | None = None) -> Instance:
    """Slices that delay light, seen under light from a ring of directions; of pictures, each is a slice."""
    n, b, slices = settings.size, settings.lights, settings.slices
    optics = {"wavelength": 0.6, "aperture": 0.65, "pixel": 0.25, "index": 1.33}
    depths = 2.0 * (np.arange(slices) - (slices - 1) / 2)
    ring = oa.annular_illumination(b, aperture=0.6)
    operator = oa.IntensityDiffraction((n, n), depths, ring, thickness=2.0, **optics).phase
    A = float(np.sqrt(b)) / float(operator.norm_bound()) * operator
    single = replace(
        settings, train=settings.train * slices, test=settings.test * slices, batch=settings.batch * slices
    )
    train, test = (v[: len(v) // slices * slices].reshape(-1, slices, n, n) for v in _images(single, folder))
    sampler = oa.samplers.Stratified(settings.lights_drawn)
    return Instance("diffraction", A, b, sampler, train, test, "slices", lambda y: (A.H @ y) / b, False, settings.snr)


INSTANCES = {"tomography": tomography, "resonance": resonance, "diffraction": diffraction}


def _images(settings: Settings, folder: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a folder, cut to size and scaled to [0, 1] each; random phantoms where there is none."""
    if folder is None:
        rng = np.random.default_rng(settings.seed)
        return tuple(
            _tensor(datasets.ellipses(k, settings.size, rng), settings) for k in (settings.train, settings.test)
        )  # type: ignore[return-value]
    found = []
    for picture in datasets.pictures(folder):
        if min(picture.shape) < settings.size:
            raise ParameterError(
                f"{folder} holds a picture of {picture.shape[0]} x {picture.shape[1]} pixels, but this scale needs "
                f"{settings.size} x {settings.size}"
            )
        top, left = ((n - settings.size) // 2 for n in picture.shape)
        part = picture[top : top + settings.size, left : left + settings.size]
        found.append((part - part.min()) / max(float(np.ptp(part)), 1e-6))
    needed = settings.test + settings.batch
    if len(found) < needed:
        raise ParameterError(
            f"{folder} holds {len(found)} pictures, but {needed} are needed: {settings.test} to test with and "
            f"{settings.batch} for a step of training"
        )
    images = _tensor(np.stack(found), settings)
    return images[settings.test :], images[: settings.test]


def _tensor(images: np.ndarray, settings: Settings) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(settings.device)


def _with_phase(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    n = images.shape[-1]
    down, across = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    waves = np.stack([np.ones_like(down), down, across, down * across])
    phase = np.tensordot(rng.uniform(-1, 1, (len(images), 4)), waves, axes=1).astype(np.float32)
    return images * torch.polar(torch.ones_like(images), torch.from_numpy(phase).to(images.device))
