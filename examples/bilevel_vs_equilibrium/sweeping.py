"""The sweep: all programs, in as many processes as wanted."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from opalg.learning import Sweep, sweep

from .experiment import Experiment
from .model import ACTIVATIONS, METHODS, TASKS
from .scales import Scale


def grid_of(scale: Scale, tasks: Any = TASKS, activations: Any = ACTIVATIONS, methods: Any = METHODS) -> dict[str, Any]:
    """The grid; programs of noise levels and tasks that come first are done first."""
    return {
        "noise": scale.noises,
        "task": tasks,
        "activation": activations,
        "method": methods,
        "tau": scale.taus,
        "gamma": scale.gammas,
    }


def run_sweep(
    scale: Scale,
    *,
    data: Path | None = None,
    out: Path | None = None,
    processes: int = 2,
    seed: int = 0,
    progress: bool = False,
    **axes: Any,
) -> Sweep:
    """Train every configuration, those with one noise level, task, activation and method in one program.

    Parameters
    ----------
    scale : Scale
    data, out : Path, optional
        MNIST, and the folder for outputs and for the outcomes so far, from which an interrupted sweep goes on.
    processes : int
        How many programs run at a time, each on one core; 1 runs them here, on as many cores as Torch likes.
    seed : int
    progress : bool
    **axes
        Some of the tasks, activations and methods, as for `grid_of`.
    """
    experiment = Experiment(scale, data, out, seed, threads=1 if processes > 1 else None)
    cache = None if out is None else out / "runs.jsonl"
    pool: AbstractContextManager[Executor | None] = nullcontext()
    if processes > 1:
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    with pool as executor:
        return sweep(
            experiment,
            grid_of(scale, **axes),
            together=("tau", "gamma"),
            executor=executor,
            cache=cache,
            progress=progress,
        )
