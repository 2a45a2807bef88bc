"""What a pointwise prox costs beside the calls that an expert writes by hand on NumPy.

    python benchmarks/functionals.py [--size 1024] [--repeat 15] [--only NAME] [--json FILE]

Prints, for each functional, the median of the ratios of paired runs in float64 and float32, how many copies of the
array the prox takes the time of (one copy reads it once and writes it once), and how many passes over memory the
compiled prox counts, in which a read and a write are one; an iteration counts as one call. Both sides are run in turn
in one process and give the same numbers, which is checked; of several ways by hand the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from operators import keep_memory
from prox_cases import CASES, Case

from opalg.arrays import backend_of
from opalg.emit import Function
from opalg.program.expression import Input

PATIENCE = 1.5  # seconds for one row, unless fewer than three pairs were timed


def timed(function: Callable[[Any], Any], v: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function(v)
    return time.perf_counter() - start


def paired(
    first: Callable[[Any], Any], second: Callable[[Any], Any], v: Any, repeat: int
) -> Iterator[tuple[float, float]]:
    """Seconds of the two functions, timed in turn."""
    begin = time.perf_counter()
    for done in range(repeat):
        if done >= 3 and time.perf_counter() - begin > PATIENCE:
            return
        if done % 2:
            b, a = timed(second, v), timed(first, v)
        else:
            a, b = timed(first, v), timed(second, v)
        yield a, b


def row(name: str, case: Case, size: int, dtype: str, repeat: int) -> tuple[float, float]:
    """The median ratio to the fastest way by hand, and the median time in copies of the array."""
    v = case.argument(size, dtype)

    def ours(x: Any) -> Any:
        return case.functional.prox(x, case.step)

    wanted, tolerance = ours(v), 1e-9 if dtype == "float64" else 1e-4
    for way in case.ways:
        if not np.max(np.abs(way(v) - wanted)) <= tolerance * np.max(np.abs(wanted)):
            raise AssertionError(f"{name}: the two sides differ by {np.max(np.abs(way(v) - wanted)):.2g}")
    fastest = min(case.ways, key=lambda way: min(timed(way, v) for _ in range(3)))
    ratios = [a / b for a, b in paired(ours, fastest, v, repeat)]
    copies = [a / b for a, b in paired(ours, np.copy, v, repeat)]
    return statistics.median(ratios), statistics.median(copies)


def passes(case: Case, size: int) -> float:
    """The passes over memory of the compiled prox; a read of the array and a write of one like it are one pass."""
    v = case.argument(size, "float64")
    lib = backend_of(v)
    x, step = Input("v", v.shape, lib.kind_of(v)), Input("t", (), "real", role="control")
    return Function([case.functional.define_prox(x, step)], [x, step], lib).cost.passes / 2


def main() -> None:
    """Print one line for each functional."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--json", default=None, help="a file for the numbers")
    options = parser.parse_args()
    keep_memory()
    found: dict[str, list[float]] = {}
    print(f"{'prox at ' + str(options.size) + ' x ' + str(options.size):34s} float64  float32   copies   passes")
    for name, case in CASES.items():
        if options.only.lower() not in name.lower():
            continue
        double, copies = row(name, case, options.size, "float64", options.repeat)
        single, _ = row(name, case, options.size, "float32", options.repeat)
        found[name] = [double, single, copies, passes(case, options.size)]
        print(f"{name:34s} {double:7.2f}  {single:7.2f}  {copies:7.1f}  {found[name][-1]:7.1f}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
