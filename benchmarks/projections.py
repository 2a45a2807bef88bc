"""What projections onto the simplex and the 1-norm ball cost beside those that sort all entries.

    python benchmarks/projections.py [--size 1000000] [--repeat 15] [--backend numpy|torch|cupy] [--device cuda]

Prints, for vectors of several distributions and for pictures of class probabilities, the medians of both sides in
milliseconds and the median of the ratios of paired runs, ours over theirs, in float32 and float64. Both sides are run
in turn in one process and give the same numbers, which is checked. The way by sorting is that of Duchi, Shalev-Shwartz,
Singer, Chandra (2008), written for each library by hand; Torch has one thread on both sides unless told otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend
from opalg.functionals.balls import Ball1
from opalg.functionals.sets import Set
from opalg.functionals.simplex import Simplex

CLASSES = 21


def simplex_by_sorting(lib: Backend, v: Any, axis: int) -> Any:
    """Projection onto the simplex along an axis by a full sort."""
    xp = lib.xp
    if lib.name == "torch":
        falling = v.sort(dim=axis, descending=True).values
    else:
        falling = xp.flip(xp.sort(v, axis=axis), axis=axis)
    shape = [1] * v.ndim
    shape[axis] = -1
    places = xp.reshape(lib.asarray(np.arange(1.0, v.shape[axis] + 1)), tuple(shape))
    excess = (xp.cumulative_sum(falling, axis=axis) - 1.0) / places
    count = xp.sum(xp.astype(falling > excess, xp.int64), axis=axis, keepdims=True)
    theta = xp.take_along_axis(excess, count - 1, axis=axis)
    return xp.maximum(v - theta, lib.asarray(0.0))


def ball_by_sorting(lib: Backend, v: Any, axis: int) -> Any:
    """Projection onto the ball of the 1-norm by a full sort, for a vector outside."""
    return lib.xp.sign(v) * simplex_by_sorting(lib, abs(v), axis)


def cases(size: int) -> dict[str, tuple[Set, np.ndarray, int, Callable[..., Any]]]:
    """The set, what to project, along which axis, and the way by sorting."""
    rng = np.random.default_rng(0)
    side = round((size / 4) ** 0.5)
    normal, uniform = rng.standard_normal(size), rng.random(size)
    picture = rng.standard_normal((CLASSES, side, side))
    return {
        "simplex, normal": (Simplex(), normal, 0, simplex_by_sorting),
        "simplex, uniform": (Simplex(), uniform, 0, simplex_by_sorting),
        "simplex, half active": (Simplex(), normal * (5.0 / size), 0, simplex_by_sorting),
        "simplex, heavy tails": (Simplex(), rng.standard_cauchy(size), 0, simplex_by_sorting),
        "ball, normal": (Ball1(), normal, 0, ball_by_sorting),
        "ball, half active": (Ball1(), normal * (5.0 / size), 0, ball_by_sorting),
        f"simplex, {CLASSES} x {side} x {side} axis 0": (Simplex(axis=0), picture, 0, simplex_by_sorting),
        f"simplex, {side} x {side} x {CLASSES} axis -1": (
            Simplex(axis=-1),
            np.ascontiguousarray(np.moveaxis(picture, 0, -1)),
            2,
            simplex_by_sorting,
        ),
    }


def compared(
    made: Set, v: Any, axis: int, by_sorting: Callable[..., Any], lib: Backend, repeat: int
) -> tuple[float, float, float]:
    """Medians of both sides in milliseconds, and the median of the ratios of paired runs."""
    sides = (lambda: made.project(v), lambda: by_sorting(lib, v, axis))
    ours, other = (lib.to_numpy(side()) for side in sides)
    if not np.max(np.abs(ours - other)) <= 1e3 * lib.epsilon * max(1.0, float(np.max(np.abs(ours)))):
        raise AssertionError(f"{made!r}: the two sides differ by {np.max(np.abs(ours - other)):g}")
    times: list[tuple[float, float]] = []
    for done in range(repeat):
        pair = [_timed(side, lib) for side in sides[:: -1 if done % 2 else 1]]
        times.append((pair[1], pair[0]) if done % 2 else (pair[0], pair[1]))
    first, second = zip(*times, strict=True)
    return 1e3 * statistics.median(first), 1e3 * statistics.median(second), statistics.median(a / b for a, b in times)


def _timed(function: Callable[[], Any], lib: Backend) -> float:
    _wait(lib)
    start = time.perf_counter()
    function()
    _wait(lib)
    return time.perf_counter() - start


def _wait(lib: Backend) -> None:
    if lib.name == "cupy":
        __import__("cupy").cuda.Device().synchronize()
    elif lib.name == "torch" and "cuda" in str(lib.device):
        __import__("torch").cuda.synchronize()


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--backend", default="numpy", choices=("numpy", "torch", "cupy"))
    parser.add_argument("--device", default=None)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="threads of Torch, for both sides")
    options = parser.parse_args()
    if options.backend == "torch":
        __import__("torch").set_num_threads(options.threads)
    print(f"{options.backend}, {options.size} entries: milliseconds here / by sorting, and the ratio")
    for name, (made, v, axis, by_sorting) in cases(options.size).items():
        line = f"  {name:34s}"
        for precision in ("float32", "float64"):
            lib = backend(options.backend, precision, options.device)
            ours, other, ratio = compared(made, lib.asarray(v), axis, by_sorting, lib, options.repeat)
            line += f"  {precision} {ours:7.2f} / {other:7.2f} = {ratio:5.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
