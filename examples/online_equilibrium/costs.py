"""What drawing a third of the views saves: time and memory of the data term, and time of training."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opalg.learning.profiles import profile

from .instances import Instance, tomography
from .model import Residual
from .settings import SMALL, Settings
from .training import CHEAP, MODES, plans

MANY_VIEWS = replace(SMALL, size=64, train=8, test=1, views=360, strata=60, drawn=120, iterations=10)


def profiles(instance: Instance, network: torch.nn.Module, settings: Settings) -> dict[str, Any]:
    """The parts of an iteration, with all measurements and with some."""
    x = instance.train[: settings.batch]
    y = instance.measure(x, torch.Generator().manual_seed(0))["y"]
    both = plans(instance, network, settings, settings.batch)
    return {mode: profile(both[mode], x, params={"y": y}, repeats=15) for mode in MODES}


def training_seconds(
    instance: Instance, network: torch.nn.Module, settings: Settings, repeats: int = 5
) -> dict[str, float]:
    """The median time of a training step of both modes."""
    clean = instance.train[: settings.batch]
    y = instance.measure(clean, torch.Generator().manual_seed(0))["y"]
    both, found = plans(instance, network, settings, settings.batch, acceleration="none"), {}
    k = settings.iterations
    for mode in MODES:
        backward = {"max_iter": k} if mode == "online" else {"mode": "neumann", "terms": k, **CHEAP}
        module = both[mode].as_module(
            networks=[network], max_iter=k, tol=0.0, on_failure="return", gradient_options=backward
        )
        times = []
        for _ in range(repeats + 2):
            begin = time.perf_counter()
            (module(y=y) - clean).square().sum().backward()
            times.append(time.perf_counter() - begin)
        found[mode] = float(np.median(times[2:]))
    return found


def light(settings: Settings = MANY_VIEWS) -> tuple[Instance, torch.nn.Module, Settings]:
    """Many views and a light network, where the data term is most of the work."""
    torch.manual_seed(settings.seed)
    return tomography(settings), Residual(1, features=4), settings
