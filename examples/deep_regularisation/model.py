"""The learned regulariser and the energy with it: ``|A x - y|^2 / 2 + lam ((1 + alpha) / 2 |x|^2 - s(x))``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import opalg as oa

CHANNELS, WIDTH = 16, 3


class Denoiser(torch.nn.Module):
    """``h``: three convolutions with normalisation over a whole sample and SiLU between them, without a skip.

    Parameters
    ----------
    eps : float
        Is added to the variance that a sample is divided by.
    """

    def __init__(self, channels: int = CHANNELS, eps: float = 1e-5) -> None:
        super().__init__()

        def convolution(before: int, after: int) -> torch.nn.Module:
            return torch.nn.Conv2d(before, after, WIDTH, padding=WIDTH // 2)

        self.layers = torch.nn.Sequential(
            convolution(1, channels),
            torch.nn.GroupNorm(1, channels, eps=eps),
            torch.nn.SiLU(),
            convolution(channels, channels),
            torch.nn.GroupNorm(1, channels, eps=eps),
            torch.nn.SiLU(),
            convolution(channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x[:, None])[:, 0]  # type: ignore[no-any-return]


class Potential(torch.nn.Module):
    """``s(x) = x'h(x) / 2``, one number for each sample; its gradient is ``(h(x) + J_h(x)'x) / 2``."""

    def __init__(self, h: torch.nn.Module) -> None:
        super().__init__()
        self.h = h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x * self.h(x)).flatten(1).sum(dim=1)


class GradientStep(torch.nn.Module):
    """``grad s`` as a denoiser of ``y``."""

    def __init__(self, s: Potential) -> None:
        super().__init__()
        self.s = s
        self.gradient = oa.penalties.gradient_of(s)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return self.gradient(y)  # type: ignore[no-any-return]


class Red(torch.nn.Module):
    """``h`` as a denoiser of ``y``."""

    def __init__(self, h: Denoiser) -> None:
        super().__init__()
        self.h = h

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return self.h(y)  # type: ignore[no-any-return]


def measurement(side: int, seed: int = 0) -> oa.LinearOperator:
    """A structurally random matrix with half as many orthonormal rows as there are pixels."""
    return oa.StructuredRandom((side, side), side * side // 2, seed=seed)


def declare(s: Potential, A: oa.LinearOperator, samples: int, alpha: float = 0.0, **options: Any) -> Any:
    """The energy with the regulariser, solved by proximal gradient with a step of its own for each sample."""
    x = oa.Variable((samples, *A.in_shape), name="x")
    y = oa.Parameter(np.zeros((samples, *A.out_shape)), name="y")
    lam = oa.Parameter(0.1, name="lam", positive=True)
    data = 0.5 * oa.sum_squares(A @ x - y)
    r = 0.5 * (1 + alpha) * oa.sum_squares(x) - oa.scalar_network(s, x)
    how = {"prox": data, "line_search": "gradient", "sample_axes": 1, "nonconvex": True}
    return oa.compile(data + lam * r, backend="torch", **how, **options)


def declare_red(h: Denoiser, A: oa.LinearOperator, samples: int, lam: float, step: float, **options: Any) -> Any:
    """The same step with ``x - h(x)`` where the gradient was: a map without an energy, so its step is fixed."""
    x = oa.Variable((samples, *A.in_shape), name="x")
    y = oa.Parameter(np.zeros((samples, *A.out_shape)), name="y")
    data = 0.5 * oa.sum_squares(A @ x - y)
    denoised = x - step * oa.grad(oa.red(h, x))
    return oa.fixed_point(x, oa.prox(data, denoised, step / lam), acceleration="none", backend="torch", **options)
