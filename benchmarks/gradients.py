"""Gradients of solutions: opalg beside JAXopt, torchdeq, DeepInverse and plain unrolling, and the table of targets.

    python benchmarks/gradients.py [--quick] [--only TEXT] [--repeat 3] [--no-peers] [--no-targets] [--json FILE]

For each problem every library that is importable runs in turn in one process, at its default settings and at tight
ones, in double precision; compilation is not timed. A row tells the relative error of each gradient of
``|x - truth|^2 / 2`` against a reference that no library computed (dense or sparse solves on the exact active set, in
`gradient_cases.py`), the median times of the forward and of the backward pass, and iterations and products where the
library tells them. The second table measures each target: what was found, the bar, and whether it holds. opalg alone is
enough; the rest is named as missing. ``OMP_NUM_THREADS=1`` steadies the times on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradient_cases as cases
import gradient_own as own
import numpy as np
from gradient_cases import Problem
from gradient_peers import NAMES, Found, Runner, importable, peers_of, unrolled_primal_dual
from gradient_targets import targets

PATIENCE = 4.0  # seconds for one library on one problem, once it ran


def problems(quick: bool) -> Iterator[tuple[str, Callable[[], Problem]]]:
    """The kind of each problem, and how it is made."""
    for condition in (9.0, 1000.0):
        yield "lasso", partial(cases.lasso, condition)
    yield "smooth", partial(cases.charbonnier, 64 if quick else 128)
    for isotropic in (False, True):
        for size in (32,) if quick else (32, 128):
            yield "variation", partial(cases.total_variation, size, isotropic, 0.01, jumps_of)
    yield "tanh", cases.tanh_network
    yield "tanh", partial(cases.tanh_network, rotation=True)
    yield "red", cases.smoothing_network


def jumps_of(problem: Problem) -> np.ndarray:
    """A solution of TV deblurring that is accurate enough to see its jumps."""
    plan = own.variation(problem).plan
    most = 40_000 if problem.truth.size <= 4096 else 20_000
    return plan.solve(tol=1e-14, max_iter=most, on_failure="return").x


def runners_of(problem: Problem, kind: str, here: list[str], quick: bool) -> dict[str, Runner]:
    """opalg first, then the others."""
    found = own.runners(problem, kind, here)
    if kind != "variation":
        return found | peers_of(problem, kind, here, quick)
    if "torch" in here:
        isotropic = bool(problem.data["isotropic"])
        for count in (200, 1000):
            name = f"unrolled, {count} primal-dual"
            found[name] = partial(unrolled_primal_dual, problem, isotropic, count)
    return found


def in_turn(runners: dict[str, Runner], repeat: int) -> dict[str, Found | str]:
    """Every runner in turn, several rounds; medians of the times, or what went wrong."""
    found: dict[str, list[Found]] = {name: [] for name in runners}
    failed: dict[str, str] = {}
    spent = dict.fromkeys(runners, 0.0)
    for _ in range(repeat + 1):
        for name, runner in runners.items():
            if name in failed or (found[name] and spent[name] > PATIENCE):
                continue
            start = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found[name].append(runner())
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
            spent[name] += time.perf_counter() - start
    return {name: failed[name] if name in failed else middle(found[name]) for name in runners}


def middle(found: list[Found]) -> Found:
    """The last run with the median times; the first run warmed up, if there were others."""
    timed = found[1:] or found
    last = timed[-1]
    last.forward = statistics.median(f.forward for f in timed)
    last.backward = statistics.median(f.backward for f in timed)
    return last


def table(problem: Problem, found: dict[str, Found | str]) -> list[dict[str, Any]]:
    """Print the rows of one problem; return them too."""
    names = list(problem.reference)
    rows: list[dict[str, Any]] = []
    print(f"\n{problem.name}{f' ({problem.remark})' if problem.remark else ''}")
    head = "".join(f"{'error ' + n:>15s}" for n in names)
    print(f"  {'':30s}{head}{'forward ms':>12s}{'backward ms':>12s}{'steps':>8s}{'products':>9s}  says of itself")
    for name, row in found.items():
        if isinstance(row, str):
            print(f"  {name:30s}  {row[:110]}")
            rows.append({"problem": problem.name, "name": name, "failed": row})
            continue
        errors = problem.errors(row.gradients)
        text = "".join(f"{errors.get(n, float('nan')):15.1e}" for n in names)
        steps, products = ("-" if v is None else str(v) for v in (row.steps, row.products))
        times = f"{1e3 * row.forward:12.1f}{1e3 * row.backward:12.1f}{steps:>8s}{products:>9s}"
        print(f"  {name:30s}{text}{times}  {row.note}", flush=True)
        numbers = {"forward": row.forward, "backward": row.backward, "steps": row.steps, "products": row.products}
        rows.append({"problem": problem.name, "name": name, "errors": errors, "note": row.note, **numbers})
    return rows


def main() -> None:
    """Run the comparison and the table of targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller problems and fewer runs, under two minutes")
    parser.add_argument("--only", default="", help="problems and targets whose name holds this text")
    parser.add_argument("--repeat", type=int, default=None, help="timed runs of each library")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-targets", action="store_true")
    parser.add_argument("--no-problems", action="store_true")
    parser.add_argument("--json", default=None, help="a file for the numbers")
    options = parser.parse_args()
    repeat = options.repeat or (1 if options.quick else 3)
    here, missing = ([], {}) if options.no_peers else importable()
    print("beside opalg: " + (", ".join(NAMES[n] for n in here) or "nothing"))
    for name, reason in missing.items():
        print(f"missing: {NAMES[name]} ({reason[:100]})")
    rows: list[dict[str, Any]] = []
    for kind, make in () if options.no_problems else problems(options.quick):
        problem = make()
        if options.only.lower() in problem.name.lower():
            rows += table(problem, in_turn(runners_of(problem, kind, here, options.quick), repeat))
    verdicts = [] if options.no_targets else targets(options.quick, options.only)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"problems": rows, "targets": verdicts}, file, indent=1, default=float)


if __name__ == "__main__":
    main()
