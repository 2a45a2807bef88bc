"""A prox against what it should minimise: nearby, along directions, and against a search of everything."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, isnan

import numpy as np

from opalg.errors import UnsupportedError
from opalg.testing.functional_trial import STEPS, FunctionalTrial
from opalg.testing.global_search import lowest
from opalg.testing.prox_mistakes import Sample, likely_mistake
from opalg.testing.subject import inner, size_of

_NEAREST = "The result is in the set, but another point of it is nearer: a projection is the nearest one"
_DRAWS = ((1.0, 0.7), (3.0, 1.9), (0.4, 0.2), (1.0, 0.4), (2.0, 0.9))  # the size of v, and t
_MORE_STEPS = (0.2, 1.4, 2.5)  # for the hint
_LENGTHS = (1e-5, 1e-3, 1e-1, 1.0)
_SMALL = ((1,), (2,), (3,))


def prox(trial: FunctionalTrial) -> None:
    """Optimal at any size: no better point near by or on the way to others, and the conditions of first order."""
    right: list[Sample] = []
    wrong: list[Sample] = []
    for t in STEPS:
        sample = _sampled(trial, t)
        failed = _not_finite(trial, sample) or _beaten(trial, sample)
        (wrong if failed else right).append(sample)
        if not failed:
            _first_order(trial, sample)
    if wrong:
        others = right + [_sampled(trial, t) for t in _MORE_STEPS]
        hint = likely_mistake(trial, wrong, others, excess)
        for message in {_message(trial, s): s for s in wrong}:
            trial.findings.fail("prox", message, error=_worst(trial, wrong), tolerance=trial.limit(1e-12), hint=hint)


def _sampled(trial: FunctionalTrial, t: float) -> Sample:
    v = trial.some()
    return Sample(v, t, trial.prox(v, t))


def _message(trial: FunctionalTrial, sample: Sample) -> str:
    if np.any(np.isnan(sample.u)):
        return f"the prox with t = {sample.t:g} holds NaN"
    if not isfinite(trial.value(sample.u)):
        return (
            f"the result of the prox with t = {sample.t:g} is not in the domain: its value is {trial.value(sample.u)}"
        )
    return f"a point near the prox with t = {sample.t:g} has a lower f(u) + |u - v|^2 / (2 t)"


def _worst(trial: FunctionalTrial, wrong: list[Sample]) -> float | None:
    errors = [excess(trial, s) for s in wrong]
    return max((e for e in errors if isfinite(e)), default=None)


def _not_finite(trial: FunctionalTrial, sample: Sample) -> bool:
    return bool(np.any(np.isnan(sample.u))) or not isfinite(trial.value(sample.u))


def _beaten(trial: FunctionalTrial, sample: Sample) -> bool:
    return not excess(trial, sample) <= trial.limit(slack(trial, sample))


def excess(trial: FunctionalTrial, sample: Sample, few: bool = False) -> float:
    """By how much the best point around u, or on the way to other points of the domain, beats it."""
    objective = trial.objective(sample.v, sample.t)
    here = objective(sample.u)
    if not isfinite(here):
        return inf
    found, size = 0.0, 1.0 + abs(here)
    for d in _directions(trial, sample, 3 if few else 8):
        for length in _LENGTHS[1:] if few else _LENGTHS:
            gain = (here - objective(sample.u + length * d)) / size
            found = gain if gain > found else found
    return found


def _directions(trial: FunctionalTrial, sample: Sample, entries: int = 8) -> Iterator[np.ndarray]:
    """The ways to v, to zero and to other points, random ones, and single entries."""
    u, v = sample.u, sample.v
    yield from (v - u, u - v, u, -u)
    for _ in range(trial.share(entries)):
        yield trial.some()
    if trial.offers("prox"):
        for scale in (1.0, 0.1, 3.0)[: trial.share(3)]:
            other = trial.feasible(u + scale * trial.some())
            if np.all(np.isfinite(other)):
                yield other - u
    for i in trial.rng.permutation(u.size)[: trial.share(entries)]:
        for d in (v - u, -u):
            alone = np.zeros_like(u)
            alone.flat[i] = d.flat[i]
            yield alone
    yield from trial.units(trial.share(entries))


def _first_order(trial: FunctionalTrial, sample: Sample) -> None:
    """``u + t f'(u) = v``, or ``f(z) >= f(u) + <(v - u) / t, z - u>``: sharper than any comparison of values."""
    u, v, t = sample.u, sample.v, sample.t
    if trial.offers("gradient") and trial.says("smooth"):
        slope = trial.gradient(u)
        size = max(size_of(v), size_of(u), t * size_of(slope), 1e-300)
        message = f"u + t f'(u) is not v at the prox with t = {t:g}"
        trial.measure("prox", size_of(u + t * slope - v) / size, 1e-10, message, _first_hint(trial), "first order")
    elif trial.is_convex:
        _subgradient(trial, sample)


def _subgradient(trial: FunctionalTrial, sample: Sample) -> None:
    """Whether ``(v - u) / t`` is one at u, along short ways and long ones."""
    u, v, t = sample.u, sample.v, sample.t
    q, here = (v - u) / t, trial.value(u)
    known_to = size_of(q) + 1e-4 * (size_of(u) + size_of(v)) / t  # q is a difference, and may be rounding alone
    for d in _directions(trial, sample):
        if size_of(d) <= 1e-6 * (1.0 + size_of(u)):
            continue  # rounding
        for length in (1e-4, 1e-2, 1.0):
            there = trial.value(u + length * d)
            rise = length * inner(q, d)
            scale = abs(here) + abs(rise) + abs(there) + length * known_to * size_of(d)
            error = max(0.0, here + rise - there) / scale if isfinite(there) and scale > 0 else 0.0
            message = f"(v - u) / t is no subgradient at the prox u with t = {t:g}"
            limit = 1e-4 if slack(trial, sample) > 1e-12 else 1e-10 if length == 1e-4 else 1e-11
            trial.measure("prox", error, limit, message, part="first order")


def _first_hint(trial: FunctionalTrial) -> str:
    return "The gradient is wrong, so look there first" if trial.findings.failed("gradient") else ""


# Against a search of everything.


def brute_force(trial: FunctionalTrial) -> None:
    """The lowest point of all in one to three dimensions, and in planes through the prox in more."""
    shapes: tuple[tuple[int, ...], ...] = _SMALL if trial.kind == "real" else _SMALL[:1]
    shapes = shapes[: trial.share(len(shapes))]
    small = [trial.at(shape) for shape in shapes if trial.takes(shape)]
    if not small and len(trial.shape) > 1:
        ones = (1,) * (len(trial.shape) - 1)
        small = [trial.at(shape) for shape in ((*ones, 1), (*ones, 2), (2, *ones)) if trial.takes(shape)]
        small = small if trial.kind == "real" else small[:1]
    for at in small:
        reals = at.zeros().size * (2 if trial.kind == "complex" else 1)
        for scale, t in _DRAWS[: trial.share({1: 4, 2: 2, 3: 1}[reals])]:
            _searched(at, at.some(scale), t, np.arange(at.zeros().size))
    if len(small) < 2 and np.prod(trial.shape) and (trial.effort == 1 or not small):
        entries = trial.rng.permutation(trial.zeros().size)[: 1 if trial.kind == "complex" else 3]
        _searched(trial, trial.some(), 0.7, entries)
        for scale, t in _DRAWS[: trial.share(2)]:
            _planes(trial, trial.some(scale), t)


def _searched(trial: FunctionalTrial, v: np.ndarray, t: float, entries: np.ndarray) -> None:
    """Vary some entries of the prox over everything."""
    u = trial.prox(v, t)
    units = []
    for i in entries:
        for phase in (1.0, 1j) if trial.kind == "complex" else (1.0,):
            unit = trial.zeros()
            unit.flat[i] = phase
            units.append(unit)
    _compared(trial, Sample(v, t, u), units, "a search of everything finds a lower point")


def _planes(trial: FunctionalTrial, v: np.ndarray, t: float) -> None:
    """Vary along random directions and to other points of the domain."""
    u = trial.prox(v, t)
    others = [trial.feasible(trial.some(3.0)) - u, trial.feasible(v) - u]
    for axes in ([trial.some(), v - u], others):
        units = [d / size_of(d) for d in axes if size_of(d) > 1e-9 and np.all(np.isfinite(d))]
        if units:
            _compared(trial, Sample(v, t, u), units, "a search of a plane through it finds a lower point")


def _compared(trial: FunctionalTrial, sample: Sample, units: list[np.ndarray], message: str) -> None:
    if np.any(np.isnan(sample.u)):
        trial.findings.fail("brute_force", f"the prox with t = {sample.t:g} holds NaN")
        return
    objective = trial.objective(sample.v, sample.t)

    base = np.array([d.ravel() for d in units])

    def moved(x: np.ndarray) -> float:
        found = objective(sample.u + np.reshape(x @ base, sample.u.shape))
        return inf if isnan(found) else found

    here = objective(sample.u)
    radius = 2.0 * float(np.max(np.abs(sample.v), initial=0.0)) + 2.0
    to_v = np.array([inner(d, sample.v - sample.u) for d in units])
    to_zero = np.array([-inner(d, sample.u) for d in units])
    zero = np.zeros(len(units))
    _, found = lowest(moved, zero, radius, (zero, to_v, to_zero), fineness=trial.effort)
    gain = (here - found) / (1.0 + abs(found)) if isfinite(here) else inf
    if found < inf or not isfinite(here):
        hint = _NEAREST if trial.value(sample.u) == 0 and trial.value(sample.v) == inf else ""
        trial.measure(
            "brute_force", max(0.0, gain), slack(trial, sample), f"{message} than the prox with t = {sample.t:g}", hint
        )
    _feasible_points(trial, sample, here)


def _feasible_points(trial: FunctionalTrial, sample: Sample, here: float) -> None:
    """Where the domain is thin, compare with points of it."""
    if isfinite(trial.value(sample.u + 1e-4 * trial.some())):
        return
    objective = trial.objective(sample.v, sample.t)
    for scale in (0.03, 0.3, 1.0, 3.0):
        for _ in range(trial.share(6)):
            other = trial.feasible(sample.u + scale * trial.some())
            gain = (here - objective(other)) / (1.0 + abs(here))
            message = f"another point of the domain is better than the prox with t = {sample.t:g}"
            hint = _NEAREST if trial.value(sample.u) == 0 else ""
            trial.measure("brute_force", max(0.0, gain) if gain == gain else inf, slack(trial, sample), message, hint)


def slack(trial: FunctionalTrial, sample: Sample) -> float:
    """A user's indicator may let points pass that are a little outside, which then are a little better."""
    edge = not trial.ours and trial.value(sample.u) == 0 and trial.value(sample.v) == inf
    return 1e-7 if edge else 1e-12


# What convexity says.


def nonexpansive(trial: FunctionalTrial) -> None:
    """``|p(a) - p(b)|^2 <= <p(a) - p(b), a - b>`` for a convex f, and p(a) of an indicator stays where it is."""
    if trial.is_convex:
        for t in STEPS:
            for near in (1.0, 1e-2, 1.0, 1e-2, 1.0)[: trial.share(5, 2)]:
                a = trial.some(2.0)
                b = trial.some() if near == 1.0 else a + near * trial.some()
                moved = trial.prox(a, t) - trial.prox(b, t)
                over = max(0.0, inner(moved, moved) - inner(moved, a - b)) / inner(a - b, a - b)
                # the difference of proxes is known up to the rounding of the proxes
                rounding = 8 * trial.lib.epsilon * size_of(a) / size_of(a - b)
                message = "it is declared convex, but its prox is not firmly nonexpansive"
                trial.measure("nonexpansive", max(0.0, over - rounding), 1e-12, message, _sign_hint(trial))
    if trial.says("indicator"):
        u = trial.prox(trial.some(2.0), 0.7)
        for t in (STEPS[0], STEPS[-1]):
            error = size_of(trial.prox(u, t) - u) / (1.0 + size_of(u))
            message = "a projected point is moved by projecting it again"
            trial.measure("nonexpansive", error, 1e-10, message, part="again")


def _sign_hint(trial: FunctionalTrial) -> str:
    try:
        v = trial.some()
        if inner(trial.prox(v, 0.7), v) < 0 and inner(trial.prox(2.0 * v, 0.7), v) < 0:
            return "It points away from its argument: a sign is wrong"
    except UnsupportedError:
        return ""
    return ""
