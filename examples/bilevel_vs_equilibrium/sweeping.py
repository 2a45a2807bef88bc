"""The sweep: all programs, in as many processes as wanted."""

from __future__ import annotations

import json
import multiprocessing
import zlib
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opalg.errors import ParameterError
from opalg.learning import Sweep, sweep

from .experiment import Experiment
from .model import ACTIVATIONS, METHODS, TASKS
from .scales import Pictures, Scale

AXES = ("taus", "gammas", "noises")  # of the grid, which may grow


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


def described(scale: Scale, pictures: Pictures, seed: int) -> dict[str, Any]:
    """What the outcome of a configuration depends on besides the configuration: training, pictures and seed."""
    training = {n: v for n, v in asdict(scale).items() if n not in AXES}
    parts = (pictures.train, pictures.choose, pictures.test)
    sums = [zlib.crc32(part.numpy().tobytes()) for part in parts]
    return json.loads(json.dumps({**training, "seed": seed, "pixels": pictures.shape, "checksums": sums}))  # type: ignore[no-any-return]


def same_runs(out: Path, description: dict[str, Any]) -> None:
    """Keep a description in a folder of outcomes, made where it is not there; refuse one of other runs."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "settings.json"
    if not path.exists():
        path.write_text(json.dumps(description, indent=1))
        return
    known = json.loads(path.read_text())
    other = [n for n in description if known.get(n) != description[n]]
    if other:
        raise ParameterError(f"{out} holds runs of another kind ({', '.join(other)} differ); give another --out")
