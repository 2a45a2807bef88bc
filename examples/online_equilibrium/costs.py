"""What drawing a third of the views saves: time and memory of the data term, and time of training."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import torch

from opalg.learning.profiles import Profile, profile

from .instances import Instance, tomography
from .model import Residual
from .settings import SMALL, Settings
from .training import CHEAP, MODES, plans

MANY_VIEWS = replace(SMALL, size=64, train=8, test=1, views=720, strata=120, drawn=240, iterations=10)


def profiles(instance: Instance, network: torch.nn.Module, settings: Settings, rounds: int = 6) -> dict[str, Profile]:
    """The parts of an iteration, with all measurements and with some, in turns; of each part the quickest.

    Whatever else a machine does makes a part slower, never quicker.
    """
    x = instance.train[: settings.batch]
    y = instance.measure(x, torch.Generator().manual_seed(0))["y"]
    both = plans(instance, network, settings, settings.batch)
    found: dict[str, list[Profile]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode in MODES:
            found[mode].append(profile(both[mode], x, params={"y": y}))
    names = [field.name for field in fields(Profile)]
    return {mode: Profile(*(min(getattr(p, n) for p in ps) for n in names)) for mode, ps in found.items()}


def training_seconds(
    instance: Instance, network: torch.nn.Module, settings: Settings, rounds: int = 6
) -> dict[str, float]:
    """The time of the quickest of several training steps of both modes, taken in turns."""
    clean = instance.train[: settings.batch]
    y = instance.measure(clean, torch.Generator().manual_seed(0))["y"]
    both, modules = plans(instance, network, settings, settings.batch, acceleration="none"), {}
    k = settings.iterations
    for mode in MODES:
        backward = {"max_iter": k} if mode == "online" else {"mode": "neumann", "terms": k, **CHEAP}
        modules[mode] = both[mode].as_module(
            networks=[network], max_iter=k, tol=0.0, on_failure="return", gradient_options=backward
        )
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds + 1):  # the first one compiles
        for mode in MODES:
            begin = time.perf_counter()
            (modules[mode](y=y) - clean).square().sum().backward()
            times[mode].append(time.perf_counter() - begin)
    return {mode: min(times[mode][1:]) for mode in MODES}


def light(settings: Settings = MANY_VIEWS) -> tuple[Instance, torch.nn.Module, Settings]:
    """Many views and a light network, where the data term is most of the work."""
    torch.manual_seed(settings.seed)
    return tomography(settings), Residual(1, features=4), settings
