"""Bars of bilevel learning beside deep equilibrium models: S1.1 to S1.7 and S1.9, at small scale."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from examples.acceptance.bar import Bar
from examples.bilevel_vs_equilibrium.model import ACTIVATIONS, METHODS, TASKS, declare, plan_of
from examples.bilevel_vs_equilibrium.report import DROP, is_kept
from examples.bilevel_vs_equilibrium.scales import SCALES, Scale
from examples.bilevel_vs_equilibrium.sweeping import run_sweep
from opalg.learning import Sweep

SHAPE = (8, 8)
LOSSES = {
    ("denoising", "bilevel"): 0.95 * 0.1**2,
    ("denoising", "equilibrium"): 0.95 * 0.1**2,
    ("inpainting", "bilevel"): 0.060,
    ("inpainting", "equilibrium"): 0.070,
    ("deblurring", "bilevel"): 0.047,
    ("deblurring", "equilibrium"): 0.050,
}


def bars(scale: Scale = SCALES["small"]) -> Iterator[Bar]:
    """Measure them; the sweep takes minutes."""
    yield from tied_bars()
    yield hypergradient_bar()
    yield from step_bars()
    begin, before = time.perf_counter(), os.times()
    found = run_sweep(scale)
    after, wall = os.times(), time.perf_counter() - begin
    work = sum(b - a for a, b in zip(before[:4], after[:4], strict=True))
    yield Bar(
        "S1.4",
        f"{len(found)} runs of {scale.steps} steps in two processes: minutes by the clock",
        wall / 60,
        most=10.0,
        note=f"{work / 60:.1f} min of one core's work",
    )
    yield from loss_bars(found)
    yield from failure_bars(found)
    yield from anchor_bars(found, scale)


def tied_bars() -> Iterator[Bar]:
    """With ``C = A`` the equilibrium model is the bilevel model, iterates, loss and gradients."""
    apart = {"iterates": 0.0, "loss": 0.0, "gradient": 0.0}
    for task in TASKS:
        for activation in ACTIVATIONS:
            for name, value in _difference(task, activation).items():
                apart[name] = max(apart[name], value)
    yield Bar("S1.1", "tied: iterates agree", apart["iterates"], most=1e-6)
    yield Bar("S1.1", "tied: losses agree", apart["loss"], most=1e-6)
    yield Bar("S1.1", "tied: gradients in A and C add up", apart["gradient"], most=1e-5)


def _difference(task: str, activation: str) -> dict[str, float]:
    """How far the two models are apart with the same weights; a small threshold, so that experts are at work."""
    given = (task, activation, [0.5, 0.9], [0.1, 0.5], SHAPE, 4, 0)
    bilevel, equilibrium = declare(*given, threshold=0.05, dtype=np.float64)
    values = _values(bilevel)
    iterates: list[list[Any]] = []
    gradients, losses = [], []
    for plan, weights in ((bilevel, values), (equilibrium, {**values, "C": values["A"]})):
        seen: list[Any] = []
        found = plan.solve(
            params=weights,
            tol=1e-10,
            max_iter=300,
            on_failure="return",
            callback=lambda info, seen=seen: seen.append(info.state.numpy().copy()),
        )
        iterates.append(seen)
        target = np.cos(np.arange(found.x.numel())).reshape(found.x.shape)
        error = found.x.numpy() - target
        losses.append(float(np.mean(error**2)))
        wanted = [p for p in plan.parameters if p.name in ("A", "C")]
        pulled = found.vjp(
            plan.backend.asarray(2 * error / error.size), wanted, tol=1e-12, refine=False, on_inexact="return"
        )
        gradients.append(sum(pulled[p].numpy() for p in wanted))
    pairs = list(zip(*iterates, strict=False))
    return {
        "iterates": max(float(np.max(np.abs(a - b))) for a, b in pairs) + abs(len(iterates[0]) - len(iterates[1])),
        "loss": abs(losses[0] - losses[1]) / losses[0],
        "gradient": _relative(gradients[1], gradients[0]),
    }


def hypergradient_bar() -> Bar:
    """The gradient of the bilevel model depends on the energy, not on the step of its map."""
    worst = 0.0
    for task, activation in (("denoising", "softshrink"), ("deblurring", "identity"), ("denoising", "relu")):
        found = []
        for tau in (0.5, 0.25):
            plan = plan_of("bilevel", task, activation, [tau], [0.5], SHAPE, 4, 0, threshold=0.05, dtype=np.float64)
            solution = plan.solve(params=_values(plan), tol=1e-12, max_iter=20000)
            wanted = [p for p in plan.parameters if p.name in ("A", "b")]
            pulled = solution.vjp(solution.x - 1.0, wanted, tol=1e-12, max_iter=20000)
            found.append(np.concatenate([pulled[p].numpy().ravel() for p in wanted]))
        worst = max(worst, _relative(found[1], found[0]))
    return Bar("S1.2", "hypergradients at tau and tau / 2 agree, threshold fixed", worst, most=1e-6)


def step_bars() -> Iterator[Bar]:
    """The step check says what dense matrices say, and what it promises is kept."""
    wrong = checked = 0
    broken = 0.0
    for task in TASKS:
        for tau in (0.1, 0.5, 0.9, 1.1, 2.1):
            for gamma in (0.1, 0.5, 1.0):
                given = (task, "relu", [tau], [gamma], SHAPE, 1, 0)
                bilevel, equilibrium = declare(*given, threshold=0.05, dtype=np.float64)
                wrong += bilevel.step_bound().safe != (tau < 2 / _curvature(task, _values(bilevel)["A"][0], gamma))
                broken = max(broken, _excess(equilibrium))
                checked += 1
    yield Bar("S1.3", f"bilevel steps judged wrongly, of {checked}", wrong, most=0)
    yield Bar("S1.3", "equilibrium map: Lipschitz quotient over its bound", broken, most=1.0)


def _curvature(task: str, A: np.ndarray, gamma: float) -> float:
    """The bound on the curvature from dense matrices."""
    from examples.bilevel_vs_equilibrium.model import measurement

    K = measurement(task, SHAPE)
    dense = np.stack([np.ravel(K @ e.reshape(SHAPE)) for e in np.eye(A.shape[1])], axis=1)
    return float(np.linalg.norm(dense, 2) ** 2 + gamma * np.linalg.norm(A, 2) ** 2)


def _excess(plan: Any) -> float:
    """The largest quotient of distances that the map makes of pairs of points, over its bound."""
    rng, worst = np.random.default_rng(0), 0.0
    bound, lib = plan.step_bound().factor, plan.backend
    for _ in range(5):
        x, y = (rng.normal(size=plan.variables[0].shape) for _ in range(2))
        moved = plan.step((lib.asarray(x),))[0] - plan.step((lib.asarray(y),))[0]
        worst = max(worst, float(moved.norm()) / float(np.linalg.norm(x - y)) / bound)
    return worst


def loss_bars(found: Sweep) -> Iterator[Bar]:
    """The best run of each task and method."""
    for (task, method), most in LOSSES.items():
        (best,) = found.where(task=task, method=method).best("loss").rows
        setting = f"{best['activation']}, tau {best['tau']:g}, gamma {best['gamma']:g}"
        note = f"{setting}; nothing done: {best['nothing']:.4f}"
        name = "S1.5" if task == "denoising" else "S1.6"
        yield Bar(name, f"{task}: best loss, {method}", best["loss"], most=most, note=note)


def failure_bars(found: Sweep) -> Iterator[Bar]:
    """Runs with a loss of at least 0.5, or none."""
    lost = {shared["tau"]: [r for r in runs if not is_kept(r.get("loss"))] for shared, runs in found.groups("tau")}
    counts = [len(lost[tau]) for tau in sorted(lost)]
    every = [r for runs in lost.values() for r in runs]
    typical = [r for r in every if r["activation"] == "identity" and r["gamma"] >= 0.5]
    text = ", ".join(f"{tau:g}: {len(lost[tau])}" for tau in sorted(lost))
    yield Bar("S1.7", f"runs at the smallest tau with a loss of {DROP:g} or more", counts[0], most=0, note=text)
    yield Bar("S1.7", "how many more runs fail at the largest tau", counts[-1] - counts[0], least=1)
    falls = sum(max(a - b, 0) for a, b in pairwise(counts))
    yield Bar("S1.7", "by how much the count falls anywhere as tau rises", falls, most=0)
    share = len(typical) / len(every) if every else 1.0
    yield Bar("S1.7", "share of failures that are identity with gamma >= 0.5", share, least=0.8)


def anchor_bars(found: Sweep, scale: Scale) -> Iterator[Bar]:
    """Better than doing nothing, and next to nothing where there is no noise."""
    noisy = scale.change(noises=(0.5, 1.0), taus=(0.1, 0.5, 0.9), gammas=(0.1, 0.5))
    more = run_sweep(noisy, tasks=("denoising",), activations=("softshrink",), processes=1)
    for runs in (found, more):
        for shared, some in runs.groups(("noise", "task", "method")):
            (best,) = some.best("loss").rows
            nothing = best["nothing"]
            if shared["task"] == "denoising":
                nothing = min(nothing, shared["noise"] ** 2)
            what = f"{shared['task']}, noise {shared['noise']:g}: best loss over nothing done, {shared['method']}"
            yield Bar("S1.9", what, best["loss"] / nothing, most=1.0)
    quiet = scale.change(noises=(0.0,), taus=(0.1, 0.5, 0.9), gammas=(0.1,))
    clean = run_sweep(quiet, tasks=("denoising",), activations=("softshrink",), processes=1)
    for method in METHODS:
        (best,) = clean.where(method=method).best("loss").rows
        yield Bar("S1.9", f"denoising without noise: best loss, {method}", best["loss"], most=1e-3)


def _values(plan: Any) -> dict[str, Any]:
    """The plan's own weights with data of pictures."""
    rng = np.random.default_rng(1)
    values = {p.name: np.asarray(p.value) for p in plan.parameters}
    return {**values, "f": np.clip(rng.normal(size=values["f"].shape), -1, 1)}


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
