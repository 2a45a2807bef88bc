"""The whole experiment: train the baselines and the regularisers, restore test samples with each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import opalg as oa

from .evaluation import Restored, lipschitz_of, restore, restore_red
from .model import Denoiser, Potential, measurement
from .settings import Settings
from .training import train_bilevel, train_gradient_step, train_red

LAMBDAS, STEPS, TUNED_ON = (1e-3, 1e-2, 1e-1), (0.5, 1.0), 24


@dataclass
class Method:
    """A trained method on test samples.

    Attributes
    ----------
    name : str
    restored : Restored
    lam : float
    beta : float or None
        The bound that training held the Lipschitz constant to.
    lipschitz : float or None
        The constant that an attack of 20 steps measures.
    potential : Potential or None
    seconds : float
        Of training.
    log : list of dict
        A row for each step of bilevel training.
    """

    name: str
    restored: Restored
    lam: float
    beta: float | None = None
    lipschitz: float | None = None
    potential: Potential | None = None
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def products(self) -> list[int]:
        """Products of each adjoint solve in training."""
        return [row["products"] for row in self.log if "products" in row]

    @property
    def flags(self) -> list[str]:
        """What adjoint solves noticed in training."""
        return [row["flags"] for row in self.log if row.get("flags")]

    def figures(self) -> dict[str, Any]:
        """Everything but networks and pictures, for a JSON file."""
        return {
            "name": self.name,
            "psnr": self.restored.psnr,
            "ssim": self.restored.ssim,
            "early psnr": self.restored.early_psnr,
            "early ssim": self.restored.early_ssim,
            "residual": self.restored.residual,
            "arrival": self.restored.arrival(),
            "lambda": self.lam,
            "beta": self.beta,
            "lipschitz": self.lipschitz,
            "seconds": self.seconds,
            "most products": max(self.products, default=None),
            "flags": sorted(set(self.flags)),
            "curve": [round(v, 3) for v in self.restored.curve],
        }


@dataclass
class Study:
    """All methods on the same samples."""

    settings: Settings
    train: torch.Tensor
    test: torch.Tensor
    methods: dict[str, Method]

    def __getitem__(self, name: str) -> Method:
        return self.methods[name]

    @property
    def start(self) -> float:
        """The PSNR of ``A'y``."""
        return self.methods["RED"].restored.curve[0]

    def figures(self) -> dict[str, Any]:
        """What was measured, for a JSON file."""
        found = [m.figures() for m in self.methods.values()]
        return {"settings": asdict(self.settings), "start": self.start, "methods": found}


def study(
    settings: Settings,
    train: torch.Tensor,
    test: torch.Tensor,
    say: Callable[[str], Any] = print,
    folder: Path | None = None,
) -> Study:
    """Train and test every method; with a folder, training goes on from what lies there."""
    A = measurement(settings.side)
    found = Study(settings, train, test, {})
    for method in _methods(settings, train, test, A, folder):
        found.methods[method.name] = method
        reached = method.restored
        say(f"{method.name}: {reached.psnr:.2f} dB, SSIM {reached.ssim:.3f}, trained for {method.seconds:.0f} s")
    return found


def _methods(settings: Settings, train: torch.Tensor, test: torch.Tensor, A: oa.LinearOperator, folder: Path | None):  # type: ignore[no-untyped-def]
    how = {"dtype": "float32", "device": settings.device}
    some, shown = train[:TUNED_ON], settings.shown
    begin = time.perf_counter()
    h = fresh(settings)
    train_red(h, train, settings, checkpoint=_place(folder, "red"))
    seconds = time.perf_counter() - begin
    # by the last iterate: the best one on the way would need to be known
    pairs = [(lam, step) for lam in LAMBDAS for step in STEPS]
    lam, step = max(pairs, key=lambda p: restore_red(h, *p, some, A, shown, **how).psnr)
    yield Method("RED", restore_red(h, lam, step, test, A, shown, **how), lam, seconds=seconds)

    begin = time.perf_counter()
    s = Potential(fresh(settings))
    train_gradient_step(s, train, settings, checkpoint=_place(folder, "gradient_step"))
    seconds = time.perf_counter() - begin
    lam = max(LAMBDAS, key=lambda value: restore(s, value, some, A, shown, **how).psnr)
    yield _measured("gradient step", s, lam, 1.0, seconds, [], settings, test, A)

    for beta, rate in settings.rates:
        begin = time.perf_counter()
        place = _place(folder, f"beta_{beta:g}")
        done = train_bilevel(s, train, A, beta, rate, settings, checkpoint=place)
        seconds = time.perf_counter() - begin
        trained, lam = done.module.networks[0], float(done.module.lam.detach())
        yield _measured(f"bilevel {beta:g}", trained, lam, beta, seconds, done.log.steps, settings, test, A)


def _place(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / f"{name}.ckpt"


def _measured(
    name: str,
    s: Potential,
    lam: float,
    beta: float,
    seconds: float,
    log: list[dict[str, Any]],
    settings: Settings,
    test: torch.Tensor,
    A: oa.LinearOperator,
) -> Method:
    restored = restore(s, lam, test, A, settings.shown, alpha=settings.alpha, dtype="float32", device=settings.device)
    return Method(name, restored, lam, beta, lipschitz_of(s, test, settings.radius), s, seconds, log)


def fresh(settings: Settings) -> Denoiser:
    """A network with the same first weights for every method."""
    torch.manual_seed(settings.seed)
    return Denoiser().to(settings.device)
