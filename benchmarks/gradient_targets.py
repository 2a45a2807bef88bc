"""The targets for gradients of solutions, each measured: what was found, the bar, and whether it holds."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

import gradient_cases as cases
import gradient_own as own
import numpy as np
from gradient_cases import Problem, relative
from gradient_closed_forms import CASES

import opalg as oa

RETURN = {"on_inexact": "return"}
BARE = {"refine": False, "estimate": False}
TIGHT: dict[str, Any] = {"tol": 1e-13, "max_iter": 100_000, "on_failure": "return"}


@dataclass
class Row:
    """One measurement."""

    target: str
    case: str
    found: float
    bar: str
    holds: bool
    note: str = ""


@cache
def problem(name: str, quick: bool = False) -> Problem:
    """Problems that several targets share."""
    size = 32 if quick else 64
    makers: dict[str, Callable[[], Problem]] = {
        "lasso, condition 9": lambda: cases.lasso(9.0),
        "lasso, condition 1000": lambda: cases.lasso(1000.0),
        "lasso 1000 x 3000": large_lasso,
        "smoothed TV 256 x 256": large_smooth,
        "smoothed TV": lambda: cases.charbonnier(size),
        "anisotropic TV": lambda: blank_variation(size, False),
        "isotropic TV": lambda: blank_variation(size, True),
        "tanh network": cases.tanh_network,
        "tanh rotation": lambda: cases.tanh_network(rotation=True),
        "tanh network, 2000": large_network,
        "denoiser": cases.smoothing_network,
    }
    return makers[name]()


def blank_variation(size: int, isotropic: bool) -> Problem:
    """TV deblurring without a reference."""
    found = cases.deblurring(size, 0.01)
    found.data["isotropic"] = np.asarray(isotropic)
    return found


def large_lasso() -> Problem:
    """A lasso with a random design, without a reference."""
    rng, truth = np.random.default_rng(12), np.zeros(3000)
    A = rng.standard_normal((1000, 3000)) / np.sqrt(1000)
    truth[:100] = rng.choice([-1.0, 1.0], 100) * rng.uniform(1.0, 3.0, 100)
    y = A @ truth + 0.02 * rng.standard_normal(1000)
    return Problem("lasso 1000 x 3000", {"A": A, "y": y, "lam": 0.05 * np.max(np.abs(A.T @ y))}, truth)


def large_smooth() -> Problem:
    """Smoothed TV deblurring without a reference."""
    found = cases.deblurring(256, 2e-3)
    found.data["eps"] = np.asarray(0.02)
    return found


def large_network() -> Problem:
    """A tanh network without a reference."""
    rng = np.random.default_rng(13)
    W = rng.standard_normal((2000, 2000))
    W *= 0.96 / np.linalg.norm(W, 2)
    b, truth = 0.1 * rng.standard_normal(2000), 0.2 * rng.standard_normal(2000)
    return Problem("tanh network 2000", {"W": W, "b": b}, truth)


LARGE = ("lasso 1000 x 3000", "smoothed TV 256 x 256", "tanh network, 2000")
KINDS = {"lasso": "lasso", "smooth": "smooth", "aniso": "variation", "isotr": "variation", "tanh ": "tanh"}


def build(name: str, quick: bool, **options: Any) -> tuple[own.Compiled, Problem]:
    """A problem by its name, and its plan."""
    found = problem(name, quick)
    kind = "red" if name == "denoiser" else next(k for start, k in KINDS.items() if name.startswith(start))
    return own.BUILD[kind](found, **options), found


def joined(arrays: list[Any]) -> np.ndarray:
    """All gradients in one vector."""
    return np.concatenate([np.ravel(np.asarray(a, dtype=float)) for a in arrays])


def reference(compiled: own.Compiled, given: Problem) -> np.ndarray:
    """The reference gradients in the order of the parameters."""
    lam = float(given.data.get("lam", 1.0))
    known = given.reference
    return joined([known["log lam"] / lam if n == "lam" and "lam" not in known else known[n] for n in order(compiled)])


def order(compiled: own.Compiled) -> list[str]:
    """The names of the parameters."""
    return list(compiled.parameters)


def vector(compiled: own.Compiled, found: Any) -> np.ndarray:
    """The gradients in the order of the parameters."""
    return joined([found[p] for p in compiled.wanted()])


def vector_of(found: Any, parameter: Any) -> np.ndarray:
    """The gradient in one parameter as a vector."""
    return joined([found[parameter]])


# The targets, in the order of the table.


def closed_forms(quick: bool) -> Iterator[Row]:
    """Closed forms at tolerances of 1e-12."""
    for name, function in CASES.items():
        error = function(np.random.default_rng(7))
        yield Row("closed forms, tolerances 1e-12", name, error, "<= 1e-9", error <= 1e-9)


def differences(quick: bool) -> Iterator[Row]:
    """Central differences of the loss along random directions, with steps inside the validity radius."""
    rng = np.random.default_rng(11)
    names = ["lasso, condition 9", "lasso, condition 1000", "smoothed TV", "anisotropic TV", "tanh network"]
    for name in names:
        compiled, given = build(name, True)
        error, step = difference_error(compiled, given, rng)
        yield Row("central differences", name, error, "<= 1e-6", error <= 1e-6, f"worst parameter, step {step:.0e}")


def difference_error(compiled: own.Compiled, given: Problem, rng: np.random.Generator) -> tuple[float, float]:
    """The largest error of a directional derivative, over the parameters, and the smallest step used."""
    plan, slope = compiled.plan, compiled.slope(given)
    solution = plan.solve(**TIGHT)
    found = solution.vjp(slope, compiled.wanted(), tol=1e-12, on_inexact="return")
    largest, smallest = 0.0, np.inf

    def loss(moved: dict[Any, Any]) -> float:
        x = plan.solve(solution.x, params=moved, **TIGHT).x
        return 0.5 * float(np.sum((x - given.truth) ** 2))

    for parameter in compiled.wanted():
        value = np.asarray(parameter.value)
        direction = rng.standard_normal(value.shape) if value.shape else np.asarray(1.0)
        size = np.linalg.norm(value) / np.linalg.norm(direction)
        radius = solution.validity_radius({parameter: direction}, on_inexact="return")
        step = min(1e-4 * size, 0.3 * radius)
        plus, minus = (loss({parameter: value + s * step * direction}) for s in (1.0, -1.0))
        wanted = (plus - minus) / (2 * step)
        exact = float(np.sum(np.asarray(found[parameter]) * direction))
        largest, smallest = max(largest, abs(exact - wanted) / abs(wanted)), min(smallest, step / size)
    return largest, smallest


def single_precision(quick: bool) -> Iterator[Row]:
    """Data in float32 against references in float64 for the same rounded data."""
    for name, bar in (("lasso, condition 9", 1e-5), ("lasso, condition 1000", 1e-5), ("smoothed TV", 3e-3)):
        compiled, given = build(name, quick, dtype=np.float32)
        wanted = reference(compiled, given)
        if name.startswith("lasso"):
            A, y, lam = (np.asarray(given.data[n]).astype(np.float32).astype(float) for n in ("A", "y", "lam"))
            exact = cases.lasso_gradients(A, y, cases.lasso_solution(A, y, float(lam)), given.truth)
            wanted = joined([exact[n] for n in order(compiled)])
        found, usual = (
            vector(compiled, own.gradient(compiled, given, {**forward, "on_failure": "return"}, backward)[2])
            for forward, backward in (({"tol": 1e-6}, {"tol": 1e-6, **RETURN}), ({}, RETURN))
        )
        error = relative(found, wanted)
        cosine = float(found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted)))
        note = f"cosine 1 - {1 - cosine:.0e}; at default settings {relative(usual, wanted):.0e}"
        yield Row("float32, tolerances 1e-6", name, error, f"<= {bar:.0e}", error <= bar and cosine >= 0.9999, note)


def defaults(quick: bool) -> Iterator[Row]:
    """No tolerance given anywhere."""
    for condition in (9, 1000):
        compiled, given = build(f"lasso, condition {condition}", quick)
        error = max(given.errors(own.gradient(compiled, given)[0].gradients).values())
        yield Row("default settings, lasso 100 x 300", f"condition {condition}", error, "<= 1e-4", error <= 1e-4)


def estimates(quick: bool) -> Iterator[Row]:
    """Estimate over true error after loose forward solves that are not refined, where the active set is right."""
    for name in ("lasso, condition 9", "lasso, condition 1000", "smoothed TV", "tanh network", "tanh rotation"):
        compiled, given = build(name, quick)
        wanted = reference(compiled, given)
        for tol in (1e-3, 1e-5, 1e-7):
            solution = compiled.plan.solve(tol=tol, max_iter=100_000, on_failure="return")
            if name.startswith("lasso") and np.any((solution.x != 0) != (given.solution != 0)):
                continue
            options = {"refine": False, "on_inexact": "return"}
            found = solution.vjp(compiled.slope(given), compiled.wanted(), **options)
            true = float(np.linalg.norm(vector(compiled, found) - wanted))
            ratio = found.error_estimate / true
            note = f"true relative error {true / np.linalg.norm(wanted):.0e}"
            holds = bool(0.8 <= ratio <= 2.0 or true <= 1e-11 * np.linalg.norm(wanted))
            yield Row("estimate / true error", f"{name}, forward {tol:.0e}", ratio, "in [0.8, 2]", holds, note)


def linearity(quick: bool) -> Iterator[Row]:
    """The gradient of a scaled cotangent over its scale."""
    for name in ("lasso, condition 1000", "smoothed TV", "tanh network"):
        compiled, given = build(name, quick)
        solution = compiled.plan.solve(on_failure="return")
        c = solution.x - given.truth
        options = {"on_inexact": "return"}
        base = vector(compiled, solution.vjp(c, compiled.wanted(), **options))
        scaled = [vector(compiled, solution.vjp(s * c, compiled.wanted(), **options)) / s for s in (1e-8, 1e8)]
        error = max(relative(found, base) for found in scaled)
        yield Row("linearity, scales 1e-8 and 1e8", name, error, "<= 1e-10", error <= 1e-10)


def batches(quick: bool) -> Iterator[Row]:
    """Eight lassos of condition 1 to 1000 in one energy against one by one."""
    several = cases.lasso_batch()
    first = several[0].data
    x = oa.Variable((8, 300), name="x")
    lam = oa.Parameter(np.stack([np.full(300, p.data["lam"]) for p in several]), name="lam", nonneg=True)
    y = oa.Parameter(np.stack([p.data["y"] for p in several]), name="y")
    scaled = oa.Diagonal(np.stack([p.data["s"] for p in several])) @ (oa.Matrix(first["v"]) @ x)
    plan = oa.compile(0.5 * oa.sum_squares(oa.Matrix(first["u"]) @ scaled - y) + oa.norm1(x, weights=lam))
    truth = np.stack([p.truth for p in several])
    solution = plan.solve(**TIGHT)
    found = solution.vjp(lambda v: v - truth, [lam, y], tol=1e-12, on_inexact="return")
    by_weight, by_data = found[lam].sum(1), found[y]
    for i, single in enumerate(several):
        compiled = own.lasso(single)
        alone = own.gradient(compiled, single, TIGHT, {"tol": 1e-12, "on_inexact": "return"})[0].gradients
        error = max(relative(by_weight[i], alone["lam"]), relative(by_data[i], alone["y"]))
        truly = max(relative(by_weight[i], single.reference["lam"]), relative(by_data[i], single.reference["y"]))
        note = f"against the dense reference {truly:.0e}"
        name = single.name.rpartition(", ")[2]
        yield Row("batch of 8 = one by one", name, error, "<= 1e-9", error <= 1e-9, note)


def memory(quick: bool) -> Iterator[Row]:
    """What backward allocates at most beyond what was there, and what a hundred times the iterations add."""
    compiled, given = build("smoothed TV 256 x 256", quick)
    solution = compiled.plan.solve(on_failure="return")
    c, vector_bytes = solution.x - given.truth, given.truth.nbytes
    options = {"on_inexact": "return", "refine": False, "estimate": False, "tol": 1e-3}
    extra = peak(lambda: solution.vjp(c, compiled.wanted(), **options)) / vector_bytes
    yield Row("memory: backward by CG, vectors", "smoothed TV 256 x 256", extra, "<= 5", extra <= 5)
    extra = peak(lambda: solution.vjp(c, compiled.wanted(), on_inexact="return", tol=1e-3)) / vector_bytes
    note = "with refinement and estimate; the bar is for the solve alone"
    yield Row("memory: all that is done by default", "smoothed TV 256 x 256", extra, "(none)", True, note)
    x = oa.Variable((128, 128), name="x")
    b = oa.Parameter(given.truth[:128, :128].copy(), name="b")
    plan = oa.fixed_point(x, 0.9 * (oa.Roll(x.shape, (1, 0)) @ x) + b)
    point = plan.solve(tol=1e-3, on_failure="return")
    found: list[Any] = []
    options["max_iter"] = 20
    extra = peak(lambda: found.append(point.vjp(point.x, b, **options))) / b.value.nbytes
    allowed = found[-1].products + 4
    note = f"{found[-1].products} products of {found[-1].solver}"
    yield Row("memory: backward by GMRES, vectors", "0.9 Roll, 128 x 128", extra, "<= m + 4", extra <= allowed, note)
    small, iterations = build("lasso, condition 1000", quick)[0], (100, 10_000)
    peaks = []
    for count in iterations:
        forward: dict[str, Any] = {"tol": 1e-300, "max_iter": count, "on_failure": "return"}
        peaks.append(peak(partial(differentiate, small, forward)))
    ratio = peaks[1] / peaks[0]
    note = f"{peaks[0] / 2**20:.2f} and {peaks[1] / 2**20:.2f} MiB"
    yield Row("memory: 10 000 iterations / 100", "lasso, condition 1000", ratio, "<= 1.1", ratio <= 1.1, note)


def differentiate(compiled: own.Compiled, forward: dict[str, Any]) -> None:
    """Solve and differentiate, whatever the accuracy."""
    solution = compiled.plan.solve(**forward)
    c = np.ones(solution.x.shape)
    solution.vjp(c, compiled.wanted(), on_inexact="return", refine=False)


def peak(function: Callable[[], Any]) -> float:
    """The most bytes held at once above those before, in a second call."""
    function()
    gc.collect()
    tracemalloc.start()
    function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float(most)


def times(quick: bool) -> Iterator[Row]:
    """Backward over forward with an adjoint tolerance of 1e-6, medians of runs in turn."""
    convex = ["lasso, condition 9", "lasso, condition 1000", "smoothed TV", "anisotropic TV", "isotropic TV"]
    maps = ["tanh network", "tanh rotation", "denoiser"]
    for name in [*convex, *maps, *LARGE]:
        if name == "denoiser" and importlib.util.find_spec("torch") is None:
            continue
        compiled, given = build(name, quick)
        fixed = name in maps or name.startswith("tanh")
        options = {"tol": 1e-6, "on_inexact": "return"}
        count = 2 if name in LARGE else 4
        runs = [own.gradient(compiled, given, {"on_failure": "return"}, options) for _ in range(count)][1:]
        alone = [own.gradient(compiled, given, {"on_failure": "return"}, options | BARE)[0] for _ in range(count)][1:]
        ratio = statistics.median(timed.backward / timed.forward for timed, _, _ in runs)
        bare = statistics.median(timed.backward / timed.forward for timed in alone)
        found = runs[-1][2]
        note = ", ".join(f"{n} {count}" for n, count in found.counts.items())
        forward = 1e3 * statistics.median(t.forward for t, _, _ in runs)
        note = f"forward {forward:.1f} ms; products: {note}; adjoint alone {bare:.2f}"
        if fixed:
            holds = ratio <= 1.0 and found.counts["adjoint"] <= 40
            yield Row("backward / forward, adjoint 1e-6", name, ratio, "<= 1, 40 VJPs", holds, note)
        else:
            yield Row("backward / forward, adjoint 1e-6", name, ratio, "<= 0.1", ratio <= 0.1, note)


def matched_times(quick: bool) -> Iterator[Row]:
    """Backward without refinement over a forward solve just long enough that its gradient is right to 1e-6."""
    options = {"tol": 1e-7, "refine": False, **RETURN}
    for name in ("lasso, condition 9", "lasso, condition 1000", "smoothed TV", "tanh network", "tanh rotation"):
        compiled, given = build(name, quick)
        wanted, most = reference(compiled, given), compiled.plan.solve(**TIGHT).iterations
        for count in np.unique(np.geomspace(4, most, 60).astype(int)):
            forward = TIGHT | {"max_iter": int(count)}
            error = relative(vector(compiled, own.gradient(compiled, given, forward, options)[2]), wanted)
            if error <= 1e-6:
                break
        runs = [own.gradient(compiled, given, forward, options)[0] for _ in range(3)]
        alone = [own.gradient(compiled, given, forward, options | BARE)[0] for _ in range(3)]
        ratio, bare = (statistics.median(r.backward / r.forward for r in found) for found in (runs, alone))
        bar = 1.0 if name.startswith("tanh") else 0.1
        note = f"{count} iterations, {1e3 * runs[-1].forward:.1f} ms; gradient right to {error:.0e}"
        note += f"; adjoint alone {bare:.2f}"
        yield Row("backward / forward, matched 1e-6", name, ratio, f"<= {bar:g}", ratio <= bar, note)


def libraries(quick: bool) -> Iterator[Row]:
    """The same gradients on every array library."""
    others = [b for b in ("torch", "cupy") if importlib.util.find_spec(b) is not None]
    for backend in others:
        for name in ("lasso, condition 9", "smoothed TV", "anisotropic TV", "tanh network"):
            found = []
            for here in ("numpy", backend):
                compiled, given = build(name, True, backend=here)
                arrays = own.gradient(compiled, given, TIGHT, {"tol": 1e-13, "on_inexact": "return"})[0].gradients
                found.append(joined(list(arrays.values())))
            error = relative(found[1], found[0])
            yield Row(f"NumPy = {backend}", name, error, "<= 1e-10", error <= 1e-10)


def warm_starts(quick: bool) -> Iterator[Row]:
    """The share of adjoint products that the last adjoint saves after the parameters changed by 1 %."""
    for name in ("lasso, condition 1000", "smoothed TV", "anisotropic TV", "tanh rotation"):
        compiled, given = build(name, quick)
        plan, slope = compiled.plan, compiled.slope(given)
        chosen = compiled.wanted()[0]
        options = {"on_inexact": "return"}
        start = plan.solve(on_failure="return")
        first = start.vjp(slope, chosen, **options)
        direct = first.counts["adjoint"] if first.solver == "direct" else 0
        if direct:  # the matrix is at hand, so there is next to nothing to save
            options["solver"] = "conjugate_gradients"
            first = start.vjp(slope, chosen, **options)
        moved = plan.solve(params={chosen: 1.01 * np.asarray(chosen.value)}, on_failure="return")
        cold, warm, state = (
            moved.vjp(slope, chosen, **options, **more)
            for more in ({}, {"start": first}, {"start": first, "recycle": False})
        )
        products = [g.counts["adjoint"] for g in (cold, warm, state)]
        saved = 1 - products[1] / products[0]
        error = relative(vector_of(warm, chosen), vector_of(cold, chosen))
        note = (
            f"{products[0]} products cold, {products[1]} warm, {products[2]} by the state alone; differ by {error:.0e}"
        )
        note += f"; by itself direct, {direct} products" if direct else ""
        yield Row("products saved by a warm start", name, saved, ">= 0.3", saved >= 0.3, note)


MEASURES: tuple[Callable[[bool], Iterator[Row]], ...] = (
    closed_forms,
    differences,
    single_precision,
    defaults,
    estimates,
    linearity,
    batches,
    memory,
    times,
    matched_times,
    libraries,
    warm_starts,
)


def targets(quick: bool, only: str = "") -> list[dict[str, Any]]:
    """Measure every target, print the table and return it."""
    found: list[Row] = []
    print(f"\n{'target':36s} {'case':36s} {'measured':>9s}  {'bar':14s} holds")
    for measure in MEASURES:
        if only.lower() not in measure.__name__.replace("_", " "):
            continue
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for row in measure(quick):
                    found.append(row)
                    print(line(row), flush=True)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            found.append(Row(measure.__name__, "stopped", float("nan"), "", False, text))
            print(line(found[-1]), flush=True)
        print(f"    ({measure.__name__.replace('_', ' ')}: {time.perf_counter() - start:.1f} s)", flush=True)
    held = sum(row.holds for row in found)
    print(f"{held} of {len(found)} measurements hold their bar")
    return [asdict(row) for row in found]


def line(row: Row) -> str:
    """A row of the table."""
    number = f"{row.found:9.1e}" if row.found < 1e-2 or row.found >= 1e4 else f"{row.found:9.3f}"
    return f"{row.target:36s} {row.case:36s} {number}  {row.bar:14s} {'yes' if row.holds else 'NO':5s} {row.note[:120]}"
