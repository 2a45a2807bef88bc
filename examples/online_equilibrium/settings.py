"""Sizes and rates of the experiment at three scales."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on besides its data.

    Attributes
    ----------
    size : int
        Pixels along a side of an image.
    train, test : int
        How many images there are.
    views, strata, drawn : int
        Views of the tomograph, the sectors of angles, and how many views an online iteration looks at.
    coils, coils_drawn : int
        Of magnetic resonance imaging.
    lights, lights_drawn, slices : int
        Of diffraction tomography.
    snr : float
        Input signal-to-noise ratio of every measurement in decibels.
    network : str
        ``"residual"`` or ``"unet"``.
    noise, pretrain_steps, pretrain_rate
        Of training the network to predict noise, which is where end-to-end training starts.
    step : float
        The step of the map, for data terms whose gradient has a Lipschitz constant of at most 1.
    tau : float
        The weight of the network at the start of training.
    acceleration : str
        ``"nesterov"`` or ``"none"``.
    iterations, backward : int
        Iterations forwards and backwards in a training step.
    steps, batch, rate, clip
        How many steps of training, and the longest gradient.
    afresh : float
        The part of images whose solve begins anew in a training step, and not where their last one ended.
    test_iterations : int
    device : str
    """

    size: int = 32
    train: int = 60
    test: int = 8
    views: int = 30
    strata: int = 5
    drawn: int = 10
    coils: int = 12
    coils_drawn: int = 4
    lights: int = 24
    lights_drawn: int = 8
    slices: int = 3
    snr: float = 40.0
    network: str = "residual"
    noise: float = 0.1
    pretrain_steps: int = 400
    pretrain_rate: float = 5e-3
    step: float = 1.2
    tau: float = 0.2
    acceleration: str = "nesterov"
    iterations: int = 30
    backward: int = 30
    steps: int = 160
    batch: int = 4
    rate: float = 2e-3
    clip: float = 10.0
    afresh: float = 0.1
    test_iterations: int = 180
    device: str = "cpu"
    seed: int = 0


SMALL = Settings()
MEDIUM = replace(SMALL, size=128, train=400, test=16, views=90, drawn=30, pretrain_steps=2000, steps=1000)
FULL = replace(
    MEDIUM,
    size=512,
    train=500,
    test=5,
    snr=50.0,
    network="unet",
    iterations=180,
    backward=180,
    batch=1,
    rate=1e-4,
    steps=2000,
    device="cuda",
)
SCALES = {"small": SMALL, "medium": MEDIUM, "full": FULL}
