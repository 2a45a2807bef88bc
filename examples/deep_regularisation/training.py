"""Training: denoisers as baselines and as a start, and the regulariser itself by bilevel optimisation."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from math import cos, pi
from typing import Any

import torch

import opalg as oa

from .model import Denoiser, GradientStep, Potential, Red, declare
from .settings import Settings

CHEAP = {"refine": False, "estimate": False, "on_inexact": "return", "precision": "float32"}


def train_red(h: Denoiser, clean: torch.Tensor, settings: Settings, **options: Any) -> Any:
    """Train ``h`` as a denoiser."""
    return _train_denoiser(Red(h), clean, (), settings, **options)


def train_gradient_step(
    s: Potential, clean: torch.Tensor, settings: Settings, bound: float | None = 1.0, **options: Any
) -> Any:
    """Train ``grad s`` as a denoiser, with its Lipschitz constant held down to a bound."""
    held = () if bound is None else (penalty_on(s, bound, settings, settings.denoiser_xi / settings.denoiser_batch),)
    return _train_denoiser(GradientStep(s), clean, held, settings, **options)


def _train_denoiser(module: Any, clean: torch.Tensor, penalties: Any, settings: Settings, **options: Any) -> Any:
    def noisy(x: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"y": x + settings.noise * torch.randn(x.shape, generator=generator).to(x)}

    data = oa.learning.Measured(clean, noisy, settings.denoiser_batch)
    steps = settings.denoiser_steps
    return oa.fit(
        module,
        data,
        loss,
        epochs=_epochs(steps, data),
        lr=settings.denoiser_rate,
        scheduler=partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        penalties=penalties,
        guard=oa.learning.Guard(clip=settings.clip, explode=20.0),
        seed=settings.seed,
        callback=lambda row: row["step"] >= steps,
        **options,
    )


def train_bilevel(
    start: Potential,
    clean: torch.Tensor,
    A: oa.LinearOperator,
    bound: float,
    rate: float,
    settings: Settings,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    **options: Any,
) -> Any:
    """Train a copy of a regulariser, and its weight, on what proximal gradient restores with it."""
    s = deepcopy(start)
    plan = declare(s, A, settings.batch, settings.alpha, dtype="float32", device=settings.device)
    data = oa.learning.Measured(clean, measured_by(A), settings.batch)
    return oa.fit(
        plan,
        data,
        loss,
        epochs=_epochs(settings.steps, data),
        lr=rate,
        scheduler=lambda optimiser: torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_pace, settings)),
        penalties=[penalty_on(s, bound, settings, settings.xi / settings.batch)],
        guard=oa.learning.Guard(clip=settings.clip, explode=20.0),
        seed=settings.seed,
        callback=lambda row: (callback is not None and callback(row) is True) or row["step"] >= settings.steps,
        positive="exp",
        tol=settings.tol,
        max_iter=settings.iterations,
        on_failure="return",
        gradient_options={"tol": settings.adjoint_tol, "max_iter": settings.adjoint_iterations, **CHEAP},
        **options,
    )


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The squared error of a sample, on average."""
    return (output - target).square().flatten(1).sum(dim=1).mean()


def penalty_on(s: Potential, bound: float, settings: Settings, weight: float) -> Any:
    """What holds the Lipschitz constant of ``grad s`` down at clean samples, as a sum over them."""
    gradient = oa.penalties.gradient_of(s)
    return oa.penalties.Lipschitz(
        gradient, bound, weight, radius=settings.radius, steps=settings.ascent, seed=settings.seed
    )


def measured_by(A: oa.LinearOperator) -> Callable[..., dict[str, torch.Tensor]]:
    """Measurements without noise."""
    return lambda x, generator=None: {"y": torch.as_tensor(A @ x)}


def _pace(settings: Settings, step: int) -> float:
    """The rate of a step relative to the largest: it begins low, or the first steps undo the warm start."""
    begun, done = min(1.0, (step + 1) / settings.begin), step / settings.steps
    return begun * (settings.end + (1 - settings.end) * 0.5 * (1 + cos(pi * min(1.0, done))))


def _epochs(steps: int, data: Any) -> int:
    return -(-steps // (data.clean.shape[0] // data.batch))
