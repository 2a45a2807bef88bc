"""Sizes and rates of the experiment at three scales."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on besides its data.

    Attributes
    ----------
    side, train, test : int
        Pixels along a side of a square sample, and how many samples there are.
    augment : bool
        Whether training samples are turned and mirrored.
    alpha : float
        The strong convexity that is added to the regulariser.
    noise : float
        Standard deviation of the noise that denoisers are trained with.
    denoiser_batch, denoiser_steps, denoiser_rate, denoiser_xi
        Of the training of both denoisers, by Adam with a cosine schedule; and the weight of the penalty for ``grad s``.
    batch, steps, rates
        Of bilevel training: each largest constant ``beta`` with the largest rate of Adam for it.
    begin, end : int, float
        Over how many steps rates rise, and what part of them a cosine leaves at the end.
    clip : float
        Longest gradient of bilevel training.
    xi, radius, ascent : float, float, int
        Weight of the penalty for each sample, and where and how far its maximum is looked for.
    tol, iterations : float, int
        Of the lower level in training.
    adjoint_tol, adjoint_iterations : float, int
    shown : int
        Iterations of which curves are drawn.
    device : str
    """

    side: int = 24
    train: int = 240
    test: int = 24
    augment: bool = False
    alpha: float = 0.0
    noise: float = 0.05
    denoiser_batch: int = 8
    denoiser_steps: int = 600
    denoiser_rate: float = 1e-3
    denoiser_xi: float = 10.0
    batch: int = 12
    steps: int = 400
    rates: tuple[tuple[float, float], ...] = ((1.0, 1e-3), (3.0, 2e-3), (10.0, 4e-3))
    begin: int = 20
    end: float = 0.1
    clip: float = 10.0
    xi: float = 100.0
    radius: float = 0.3
    ascent: int = 5
    tol: float = 1e-4
    iterations: int = 120
    adjoint_tol: float = 1e-2
    adjoint_iterations: int = 60
    shown: int = 240
    device: str = "cpu"
    seed: int = 0


SMALL = Settings()
MEDIUM = replace(
    SMALL,
    side=48,
    train=1480,
    test=30,
    augment=True,
    denoiser_steps=3000,
    batch=8,
    steps=900,
)
FULL = replace(
    SMALL,
    side=180,
    train=1480,
    test=30,
    augment=True,
    denoiser_steps=6000,
    batch=16,
    steps=4000,
    device="cuda",
)
SCALES = {"small": SMALL, "medium": MEDIUM, "full": FULL}
