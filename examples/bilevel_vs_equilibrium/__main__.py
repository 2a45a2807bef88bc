"""Bilevel learning beside deep equilibrium models, over steps, weights, activations and tasks.

python -m examples.bilevel_vs_equilibrium --scale small --out FOLDER
python -m examples.bilevel_vs_equilibrium --scale medium --data MNIST --out FOLDER
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from opalg.errors import OpalgError

from ..folders import folder
from .model import ACTIVATIONS, METHODS, TASKS
from .report import write_report
from .scales import SCALES, pictures_of
from .sweeping import described, run_sweep, same_runs


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.bilevel_vs_equilibrium",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument(
        "--data",
        type=folder,
        help="the folder of MNIST's IDX files; without it, small takes digits of scikit-learn",
    )
    parser.add_argument("--out", type=Path, default=Path("bilevel_vs_equilibrium"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="programs at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--epoch", type=int, help="pictures in an epoch")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--taus", type=float, nargs="+")
    parser.add_argument("--gammas", type=float, nargs="+")
    parser.add_argument("--noises", type=float, nargs="+")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=ACTIVATIONS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    asked = parser.parse_args()
    scale = SCALES[asked.scale].change(
        **{n: getattr(asked, n) for n in ("epochs", "epoch", "batch", "lr", "taus", "gammas", "noises")}
    )
    try:  # what is missing is missed before anything runs
        same_runs(asked.out, described(scale, pictures_of(scale, asked.data), asked.seed))
    except OpalgError as error:
        parser.error(str(error))
    begin = time.perf_counter()
    found = run_sweep(
        scale,
        data=asked.data,
        out=asked.out,
        processes=asked.processes,
        seed=asked.seed,
        progress=True,
        tasks=asked.tasks,
        activations=asked.activations,
        methods=asked.methods,
    )
    seconds = time.perf_counter() - begin
    print(write_report(found, scale, asked.out))
    print(f"{len(found)} runs of {scale.steps} steps, {seconds:.0f} s in this call; figures in {asked.out}")


if __name__ == "__main__":
    main()
