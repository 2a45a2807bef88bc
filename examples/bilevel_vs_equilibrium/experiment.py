"""One program of the sweep: a task, an activation, a method and a noise level, for all steps and weights at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import opalg as oa

from .model import measurement, plan_of
from .scales import Pictures, Scale, pictures_of

SOLVE = {"tol": 1e-3, "max_iter": 50, "on_failure": "return"}
# The published runs stop adjoint solves after 50 evaluations, mixed with a ridge far above the size of gradients: a
# truncated series. Where systems are next to singular, as in inpainting, exact gradients train worse than that.
ADJOINT = {"mode": "phantom", "terms": 30, "damping": 0.5, "estimate": False, "on_inexact": "return"}
BEYOND = 1e4  # far outside of any picture; what diverges stays there, so that its loss remains a number
SHOWN = 8  # pictures that are kept for figures


@dataclass(frozen=True)
class Experiment:
    """What the runs of a sweep have in common.

    Attributes
    ----------
    scale : Scale
    data, out : Path or None
        Where pictures are, and where outputs of trained models go.
    seed : int
    threads : int or None
        Of Torch, in the process that runs.
    """

    scale: Scale
    data: Path | None = None
    out: Path | None = None
    seed: int = 0
    threads: int | None = None

    def __call__(
        self, task: str, activation: str, method: str, noise: float, tau: Sequence[float], gamma: Sequence[float]
    ) -> list[dict[str, Any]]:
        """Train and test all pairs of a step and a weight; the figures of each."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        scale, pictures = self.scale, pictures_of(self.scale, self.data)
        sensor = Sensor(task, pictures.shape, noise, len(tau))
        given = (method, task, activation, tau, gamma, pictures.shape)
        plan = plan_of(*given, scale.batch, self.seed)
        module = plan.as_module(gradient_options=ADJOINT, **SOLVE)
        for name, weight in module.named_parameters():
            if name != "f":
                weight.register_hook(apart)
        curve = list(sensor.batches(pictures.test[: scale.curve], scale.batch, self.seed + 1))
        first = oa.learning.evaluate(module, curve, losses_of)["losses"]
        quiet = replace(sensor, noise=0.0)
        before = self._tested(module, plan_of(*given, SHOWN, self.seed), quiet, pictures)
        training = oa.fit(
            module,
            Epochs(pictures.train, sensor, scale),
            losses_of,
            epochs=scale.epochs,
            lr=scale.lr,
            scheduler=lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, scale.steps, 1e-3 * scale.lr),
            validate=curve,
            seed=self.seed,
        )
        curves = np.array([first] + [row["losses"] for row in training.log.evaluations]).T
        after = self._tested(module, plan_of(*given, len(pictures.test), self.seed), sensor, pictures)
        chosen = [float("nan")] * len(tau)
        if len(pictures.choose):
            choose = list(sensor.batches(pictures.choose, scale.batch, self.seed + 2))
            chosen = oa.learning.evaluate(module, choose, losses_of)["losses"]
        self._keep(after, f"{task}-{activation}-{method}-{noise:g}", tau, gamma)
        taken = training.log.column("outcome")
        common = {
            "iterations": float(np.median(training.log.column("iterations"))),
            "adjoint residual": float(np.median(training.log.column("adjoint_residual"))),
            "seconds": float(training.log.steps[-1]["seconds"]),
            "skipped": int(np.count_nonzero(taken == "skipped")),
        }
        return [
            {
                "loss": float(after["loss"][i]),
                "chosen by": float(chosen[i]),
                "curve": curves[i].tolist(),
                "consistency": float(after["consistency"][i]),
                "untrained": float(before["consistency"][i]),
                "converged": float(after["converged"][i]),
                "nothing": float(after["nothing"]),
                **common,
            }
            for i in range(len(tau))
        ]

    def _tested(self, module: Any, plan: Any, sensor: Sensor, pictures: Pictures) -> dict[str, Any]:
        """Loss, data consistency and pictures of the test set, by a plan for that many pictures."""
        samples = plan.variables[0].shape[0]
        clean = pictures.test[:samples]
        f = sensor(clean, torch.Generator().manual_seed(self.seed + 3))["f"]
        weights = {n: p.detach() for n, p in module.named_parameters() if n != "f"}
        found = plan.solve(params={"f": f, **weights}, **SOLVE)
        u = found.x
        again = sensor.K @ u
        relative = (again - f).flatten(2).norm(dim=2) / f.flatten(2).norm(dim=2)
        residual = (plan.step((u,), params={"f": f, **weights})[0] - u).flatten(2).norm(dim=2)
        scale = u.flatten(2).norm(dim=2).clamp_min(1e-5)
        return {
            "loss": losses_of(u, clean),
            "consistency": relative.mean(dim=0),
            "converged": (residual <= 2 * SOLVE["tol"] * scale).float().mean(dim=0),
            "nothing": (f[:, 0] - clean).square().mean(),
            "clean": clean[:SHOWN],
            "input": f[:SHOWN],
            "again": again[:SHOWN],
            "output": u[:SHOWN],
        }

    def _keep(self, tested: Mapping[str, Any], name: str, tau: Sequence[float], gamma: Sequence[float]) -> None:
        if self.out is None:
            return
        folder = self.out / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {n: tested[n].numpy() for n in ("clean", "input", "again", "output")}
        np.savez_compressed(folder / f"{name}.npz", tau=tau, gamma=gamma, **arrays)


@dataclass(frozen=True)
class Sensor:
    """Data of a task with white noise, the same pictures and noise for every configuration."""

    task: str
    shape: tuple[int, int]
    noise: float
    count: int

    @property
    def K(self) -> oa.LinearOperator:
        """The forward operator."""
        return measurement(self.task, self.shape)

    def __call__(self, clean: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Data of some pictures."""
        measured = self.K @ clean + self.noise * torch.randn(clean.shape, generator=generator)
        return {"f": measured[:, None].expand(-1, self.count, -1, -1).contiguous()}

    def batches(self, pictures: torch.Tensor, size: int, seed: int) -> Iterator[Any]:
        """Batches for testing, measured once."""
        yield from oa.learning.Measured(pictures, self, size, shuffle=False)(0, torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Epochs:
    """Pictures in random order with fresh noise, so many in an epoch."""

    pictures: torch.Tensor
    sensor: Sensor
    scale: Scale

    def __call__(self, epoch: int, generator: torch.Generator) -> Iterator[Any]:
        """The batches of an epoch."""
        drawn = torch.randperm(len(self.pictures), generator=generator)[: self.scale.epoch]
        yield from oa.learning.Measured(self.pictures[drawn], self.sensor, self.scale.batch)(epoch, generator)


def losses_of(u: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """The mean squared error of each configuration."""
    return (u.clamp(-BEYOND, BEYOND) - clean[:, None]).square().mean(dim=(0, 2, 3))


def apart(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient cut to length 1 for each configuration; one that is not finite stands still and stops no other."""
    lengths = gradient.double().flatten(1).norm(dim=1)
    factors = torch.where(lengths.isfinite(), 1.0 / lengths.clamp_min(1.0), 0.0).to(gradient.dtype)
    return gradient.nan_to_num(0.0, 0.0, 0.0) * factors.reshape(-1, *[1] * (gradient.ndim - 1))
