"""Reconstructions of test images with a trained network, at its own weight or at the best one for each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import opalg as oa

from .instances import Instance
from .settings import Settings
from .training import Trained, plans

GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Restored:
    """Test images that were reconstructed.

    Attributes
    ----------
    images : array
    snr, psnr, ssim : array, one number for each image
    curve : array
        The mean SNR of the start and after every iteration.
    tau : array
        The weight used for each image.
    """

    images: np.ndarray
    snr: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    curve: np.ndarray
    tau: np.ndarray


def data_of_test(instance: Instance, settings: Settings) -> Any:
    """Data of the test images, the same in every evaluation."""
    return instance.measure(instance.test, torch.Generator().manual_seed(settings.seed + 1))["y"]


def restored(
    instance: Instance,
    trained: Trained,
    mode: str,
    settings: Settings,
    tau: Any = None,
    iterations: int | None = None,
    **options: Any,
) -> Restored:
    """Test images at the trained weight, or at given ones."""
    clean = instance.test
    weights = np.broadcast_to(np.asarray(trained.tau if tau is None else tau, np.float32), len(clean))
    axes = (len(clean),) + (1,) * (clean.ndim - 1)
    plan = plans(instance, trained.network, settings, len(clean), weights.reshape(axes), **options)[mode]
    y = data_of_test(instance, settings)
    start = instance.start(y)
    curve = [snr_of(start, clean).mean()]

    def look(info: Any) -> None:
        if info.iteration > 0:
            curve.append(snr_of(images_of(info.state, clean), clean).mean())

    found = plan.solve(
        start,
        params={"y": y},
        tol=0.0,
        max_iter=settings.test_iterations if iterations is None else iterations,
        callback=look,
        on_failure="return",
    )
    x, psnr, ssim = found.x.detach(), [], []
    for image, truth in zip(_magnitudes(x), _magnitudes(clean), strict=True):
        psnr.append(oa.metrics.psnr(image, truth))
        ssim.append(oa.metrics.ssim(image, truth))
    return Restored(x.cpu().numpy(), snr_of(x, clean), np.array(psnr), np.array(ssim), np.array(curve), weights.copy())


def oracle_tau(
    instance: Instance, trained: Trained, mode: str, settings: Settings, bounds: tuple[float, float] = (0.2, 5.0)
) -> np.ndarray:
    """For each test image the weight with the largest SNR, in ratio to the trained one: it looks at the truth.

    A search by golden sections in the logarithm, for all images at once. This is how the released results were made;
    it shows what a model could do, not what it does.
    """

    def loss(factors: np.ndarray) -> np.ndarray:
        return -restored(instance, trained, mode, settings, trained.tau * np.exp(factors)).snr

    low, high = (np.full(len(instance.test), np.log(b)) for b in bounds)
    return trained.tau * np.exp(golden_section(loss, low, high))


def golden_section(
    loss: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, evaluations: int = 10
) -> np.ndarray:
    """Where functions of one number each, evaluated together, are least between bounds, if they have one minimum."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(evaluations - 2):
        lower = at_left <= at_right  # the minimum lies left of `right`
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        fresh = np.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        found = loss(fresh)
        left, right = np.where(lower, fresh, right), np.where(lower, left, fresh)
        at_left, at_right = np.where(lower, found, at_right), np.where(lower, at_left, found)
    return np.where(at_left <= at_right, left, right)


def snr_of(x: Any, clean: Any) -> np.ndarray:
    """``20 log10(|clean| / |clean - x|)`` of each image."""
    return np.asarray(oa.metrics.snr(x.detach(), clean, sample_axes=1))


def _magnitudes(x: torch.Tensor) -> torch.Tensor:
    return x.abs() if x.is_complex() else x


def images_of(state: Any, like: torch.Tensor) -> torch.Tensor:
    """A flat state as images; complex ones are stored as pairs of reals."""
    flat = state.reshape(-1)
    if like.is_complex():
        return torch.view_as_complex(flat.reshape(*like.shape, 2))
    return flat.reshape(like.shape)
