"""Training: the network as a predictor of noise first, then the equilibrium end to end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

import opalg as oa

from .instances import Instance
from .model import Residual, UNet, declare, field_of
from .settings import Settings

MODES = ("full", "online")
CHEAP = {"refine": False, "estimate": False, "on_inexact": "return", "precision": "float32"}


@dataclass(frozen=True)
class Trained:
    """A network and its weight, and how they were trained.

    Attributes
    ----------
    network : torch.nn.Module
    tau : float
    log : TrainingLog
    seconds : float
    """

    network: torch.nn.Module
    tau: float
    log: Any
    seconds: float


def pretrained(instance: Instance, settings: Settings) -> torch.nn.Module:
    """A network that predicts white noise in images of the instance."""
    torch.manual_seed(settings.seed)
    network: torch.nn.Module = (UNet if settings.network == "unet" else Residual)(instance.channels)
    network.to(settings.device)
    field = field_of(network, instance.layout)

    class Predictor(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = field(x)
            return torch.view_as_real(found) if found.is_complex() else found

    def batches(epoch: int, generator: torch.Generator) -> Any:
        count = max(2 * settings.batch, 1)
        for _ in range(settings.pretrain_steps):
            chosen = instance.train[
                torch.randint(len(instance.train), (count,), generator=generator).to(settings.device)
            ]
            error = oa.noise.gaussian(chosen.shape, settings.noise, like=chosen, rng=generator)
            yield {"x": chosen + error}, torch.view_as_real(error) if error.is_complex() else error

    oa.fit(Predictor(), batches, lr=settings.pretrain_rate, seed=settings.seed)
    return network.eval()


def plans(instance: Instance, network: Any, settings: Settings, samples: int, tau: Any = 1.0, **options: Any) -> Any:
    """The map with all measurements, and with some of them in each iteration."""
    field = field_of(network, instance.layout)
    how = {"acceleration": settings.acceleration} | ({} if settings.device == "cpu" else {"device": settings.device})
    full = declare(instance.A, field, instance.blocks, samples, settings.step, instance.nonneg, tau, **how | options)
    return {"full": full, "online": oa.online(full, sampler=instance.sampler, seed=settings.seed)}


class Starts:
    """Every image's solve begins where its last one ended, the first one at the instance's start.

    So over the epochs a training sees the map far beyond the iterations of one step, and a drift that few iterations
    hide is not rewarded. Now and then an image begins afresh, as test images do.
    """

    def __init__(self, instance: Instance, settings: Settings) -> None:
        self.data = oa.learning.Measured(instance.train, instance.measure, settings.batch)
        self.instance, self.settings = instance, settings
        self.last: dict[int, torch.Tensor] = {}
        self.chosen: list[int] = []

    def batches(self, epoch: int, generator: torch.Generator) -> Any:
        """The batches of an epoch; remembers which images are in the one at work."""
        for inputs, target, indices in self.data(epoch, generator):
            self.chosen = indices.tolist()
            afresh = torch.rand(len(self.chosen), generator=generator) < self.settings.afresh
            for i in (i for i, drop in zip(self.chosen, afresh.tolist(), strict=True) if drop):
                self.last.pop(i, None)
            yield inputs, target, indices

    def __call__(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        first = self.instance.start(y)
        return torch.stack([self.last.get(i, x) for i, x in zip(self.chosen, first, strict=True)])

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Half the squared error, a mean over images; keeps the images for the next time."""
        self.last.update(zip(self.chosen, output.detach(), strict=True))
        error = torch.view_as_real(output - target) if output.is_complex() else output - target
        return 0.5 * error.square().sum() / len(output)


def trained(
    instance: Instance,
    start: torch.nn.Module,
    mode: str,
    settings: Settings,
    callback: Callable[[dict[str, Any]], Any] | None = None,
    **options: Any,
) -> Trained:
    """A copy of a network trained end to end; both modes see the same images, noise and steps."""
    network = deepcopy(start)
    plan = plans(instance, network, settings, settings.batch, settings.tau, **options)[mode]
    terms = settings.backward
    backward = {"max_iter": terms} if mode == "online" else {"mode": "neumann", "terms": terms, **CHEAP}
    starts = Starts(instance, settings)
    steps_in_epoch = len(instance.train) // settings.batch
    done = oa.fit(
        plan,
        starts.batches,
        starts.loss,
        epochs=-(-settings.steps // steps_in_epoch),
        lr=settings.rate,
        guard=oa.learning.Guard(clip=settings.clip),
        seed=settings.seed,
        callback=lambda row: row["step"] >= settings.steps or (callback is not None and callback(row) is True),
        networks=[network],
        positive="softplus",
        x0=starts,
        max_iter=settings.iterations,
        tol=0.0,
        on_failure="return",
        gradient_options=backward,
    )
    seconds = float(done.log.column("seconds")[-1])
    return Trained(network, float(done.module.tau.detach()), done.log, seconds)
