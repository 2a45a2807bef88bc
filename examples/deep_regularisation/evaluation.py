"""Restoring samples with a trained regulariser, looked at after every iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import opalg as oa

from .model import Denoiser, Potential, declare, declare_red
from .training import measured_by

EARLY = 50  # iterations of which the poster's table is


@dataclass(frozen=True)
class Restored:
    """Samples that were restored.

    Attributes
    ----------
    images : array, shape ``(samples, h, w)``
    curve : list of float
        The mean PSNR of the start and after every iteration.
    psnr, ssim : float
        Means over the last iterates.
    residual : float
        The relative residual at the end, of the worst sample.
    early_ssim : float
        The mean SSIM after `EARLY` iterations, as `early_psnr` is; at the end where there are fewer.
    """

    images: np.ndarray
    curve: list[float]
    psnr: float
    ssim: float
    residual: float
    early_ssim: float

    @property
    def early_psnr(self) -> float:
        """The mean PSNR after `EARLY` iterations."""
        return self.curve[min(EARLY, len(self.curve) - 1)]

    def arrival(self, within: float = 0.1) -> int:
        """The iteration from which on the PSNR stays so close to its last value."""
        far = [k for k, value in enumerate(self.curve) if abs(value - self.curve[-1]) > within]
        return far[-1] + 1 if far else 0


def restore(
    s: Potential, lam: float, clean: torch.Tensor, A: oa.LinearOperator, iterations: int, **how: Any
) -> Restored:
    """Minimise the energy with a potential."""
    plan = declare(s, A, len(clean), **how)
    return _followed(plan, {"lam": lam}, clean, A, iterations)


def restore_red(
    h: Denoiser, lam: float, step: float, clean: torch.Tensor, A: oa.LinearOperator, iterations: int, **how: Any
) -> Restored:
    """Iterate with the field of a denoiser."""
    return _followed(declare_red(h, A, len(clean), lam, step, **how), {}, clean, A, iterations)


def _followed(plan: Any, params: Any, clean: torch.Tensor, A: oa.LinearOperator, iterations: int) -> Restored:
    y = measured_by(A)(clean)["y"]
    start = A.H @ y
    curve, early = [_psnr(start, clean)], []

    def look(info: Any) -> None:
        state = info.state[0] if isinstance(info.state, (tuple, list)) else info.state
        if info.iteration > 0:
            curve.append(_psnr(state.reshape(clean.shape), clean))
        if info.iteration == EARLY:
            early.append(_ssim(state.reshape(clean.shape), clean))

    found = plan.solve(
        start, params={"y": y, **params}, tol=0.0, max_iter=iterations, callback=look, on_failure="return"
    )
    curve += [curve[-1]] * (iterations + 1 - len(curve))
    images = found.x.detach()
    ssim, residual = _ssim(images, clean), found.certificate.relative
    return Restored(images.cpu().numpy(), curve, _psnr(images, clean), ssim, residual, (early or [ssim])[0])


def _psnr(images: Any, clean: Any) -> float:
    return float(oa.metrics.psnr(images, clean, sample_axes=1).mean())


def _ssim(images: Any, clean: Any) -> float:
    return float(oa.metrics.ssim(images, clean, sample_axes=1).mean())


def lipschitz_of(s: Potential, samples: torch.Tensor, radius: float = 0.3, steps: int = 20) -> float:
    """The largest Lipschitz quotient of ``grad s`` that an attack finds around some samples."""
    attack = oa.penalties.Lipschitz(oa.penalties.gradient_of(s), radius=radius)
    return float(attack.measure(samples, steps))
