"""Which mistake would explain a wrong prox: each suspicion is corrected for, and the result tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from opalg.testing.functional_trial import STEPS, FunctionalTrial
from opalg.testing.subject import SubjectError, inner, size_of

_SAME = 1e-9


@dataclass(frozen=True)
class Sample:
    """A prox ``u`` of ``v`` with the step ``t``."""

    v: np.ndarray
    t: float
    u: np.ndarray


Excess = Callable[[FunctionalTrial, Sample], float]
Change = Callable[[Sample], Sample]


def likely_mistake(trial: FunctionalTrial, wrong: list[Sample], others: list[Sample], excess: Excess) -> str:
    """A sentence about the mistake that explains all samples of a wrong prox, also the right ones; empty for none."""
    if any(np.any(np.isnan(s.u)) for s in wrong):
        return "NaN from 0 / 0, inf - inf or 0 * inf: divide where the denominator is not zero"

    samples = wrong + others

    def explains(change: Change) -> bool:
        return all(excess(trial, change(s)) <= trial.limit(_SAME) for s in samples)

    for sentence, change in _changes(trial, samples):
        try:
            if explains(change):
                return sentence
        except (SubjectError, FloatingPointError, ZeroDivisionError):
            continue
    for suspect in (_unchanged, _apart, _magnitude, _own_factors, _projection, _scaled, _beyond):
        try:
            found = suspect(trial, samples, excess)
        except SubjectError:
            continue
        if found:
            return found
    return _few_entries(trial, wrong, excess)


def _changes(trial: FunctionalTrial, wrong: list[Sample]) -> Iterator[tuple[str, Change]]:
    """What may be wrong, and the samples as they would be without it."""
    several = len({s.t for s in wrong}) > 1
    for factor in (0.5, 2.0, 0.25, 4.0):
        yield (
            f"It is the prox for the step {factor:g} t: check the factor of t, and whether f has a half",
            lambda s, c=factor: replace(s, t=c * s.t),  # type: ignore[misc]
        )
    if several:
        sentence = "It is the prox for the step t^2 / 2: a threshold is t where sqrt(2 t) belongs"
        yield sentence, lambda s: replace(s, t=s.t**2 / 2)
        yield "It is the prox for the step t^2: the step is squared", lambda s: replace(s, t=s.t**2)
        yield "It is the prox for the step sqrt(t): the root is one too many", lambda s: replace(s, t=s.t**0.5)
        yield "It is the prox for the step 1 / t: the step is inverted", lambda s: replace(s, t=1 / s.t)
        for t in (1.0, 0.5, 0.3, *STEPS):
            sentence = f"It is the prox for the step {t:g} whatever t is: t is not used, or kept from an earlier call"
            yield sentence, lambda s, t=t: replace(s, t=t)  # type: ignore[misc]
    yield "The sign is wrong: minus the result is the prox", lambda s: replace(s, u=-s.u)
    yield (
        "It returns v - prox(v, t) instead of prox(v, t)",
        lambda s: replace(s, u=s.v - s.u),
    )
    yield (
        "It is the prox of the conjugate: by Moreau, prox_f(v, t) = v - t prox_f*(v / t, 1 / t)",
        lambda s: Sample(s.v / s.t, 1 / s.t, (s.v - s.u) / s.t),
    )
    yield (
        "By Moreau, prox_f(v, t) = v - t prox_f*(v / t, 1 / t): the factor t before the prox is missing",
        lambda s: replace(s, u=s.v - s.t * (s.v - s.u)),
    )
    if trial.kind == "complex":
        yield "A conjugate is missing, or one too many", lambda s: replace(s, u=np.conj(s.u))
    yield from _turned(trial)


def _turned(trial: FunctionalTrial) -> Iterator[tuple[str, Change]]:
    """The same on an array with its axes exchanged: groups along another axis."""
    shape = trial.shape
    if len(shape) < 2:
        return
    for axes in {(0, 1), (0, len(shape) - 1), (len(shape) - 2, len(shape) - 1)}:
        turned = list(shape)
        turned[axes[0]], turned[axes[1]] = turned[axes[1]], turned[axes[0]]
        if trial.takes(tuple(turned)):
            other = trial.at(tuple(turned))
            yield (
                f"It is right with the axes {axes[0]} and {axes[1]} exchanged: groups run along another axis",
                lambda s, o=other, a=axes: replace(  # type: ignore[misc]
                    s, u=np.swapaxes(o.prox(np.ascontiguousarray(np.swapaxes(s.v, *a)), s.t), *a)
                ),
            )


def _unchanged(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    if all(np.array_equal(s.u, s.v) for s in wrong):
        return "It returns its argument as it is"
    return ""


def _apart(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    """Whether real and imaginary parts, or magnitudes alone, are what it looks at."""
    if trial.kind != "complex" or not _right_in_magnitude(trial, wrong, excess):
        return ""
    s = max(wrong, key=lambda sample: size_of(sample.u))
    parts = trial.prox(s.v.real + 0j, s.t) + 1j * trial.prox(s.v.imag + 0j, s.t).real
    if size_of(parts - s.u) <= 1e-9 * (1 + size_of(s.u)):
        return "Real and imaginary parts are treated one by one: shrink the magnitude and keep the phase"
    return "The result has no imaginary part: keep the phase, v / |v|" if not np.any(s.u.imag) else ""


def _right_in_magnitude(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> bool:
    """Whether the prox of the magnitudes, with the phases put back, is right."""

    def turned(s: Sample) -> Sample:
        size = np.abs(s.v)
        phase = s.v / np.where(size == 0, 1, size)
        return replace(s, u=phase * trial.prox(size.astype(s.v.dtype), s.t).real)

    return all(excess(trial, turned(s)) <= trial.limit(_SAME) for s in wrong)


def _magnitude(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    s = max(wrong, key=lambda sample: size_of(sample.u))
    if not np.array_equal(trial.prox(-s.v, s.t), s.u) or size_of(s.u) == 0:
        return ""
    if _right_in_magnitude(trial, wrong, excess):
        return "It looks at magnitudes only: multiply by the sign, or the phase v / |v|"
    return "It looks at magnitudes only: is abs where a maximum with zero belongs?"


def _projection(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    s = wrong[-1]
    if not all(np.array_equal(trial.prox(s.v, t), s.u) for t in STEPS):
        return ""
    again = size_of(trial.prox(s.u, s.t) - s.u) <= 1e-9 * (1 + size_of(s.u))
    if trial.says("indicator") or not isfinite(trial.value(s.u)):
        where = "is not in the domain" if not isfinite(trial.value(s.u)) else "is not the nearest point"
        scaled = _scaled(trial, wrong, excess)
        return scaled or (
            f"It is a projection onto another set, since the result {where}: check radius, center and total"
            if again
            else f"It is no projection, since projecting again moves the result, which {where}"
        )
    return "It is a projection where a prox was meant: it does not depend on t" if again else "It does not depend on t"


def _scaled(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    """Whether a factor makes it right, the same one for all samples: a radius, a weight."""
    factors = []
    for s in wrong:
        if not np.any(s.u):
            return ""
        objective = trial.objective(s.v, s.t)
        ladder = np.concatenate([np.linspace(0.05, 3.0, 119), [1 / 3, 2 / 3, np.sqrt(0.5), np.sqrt(2.0)]])
        best = min(ladder, key=lambda c: objective(c * s.u))
        step = 0.025
        while step > 1e-12:
            better = min((best - step, best + step), key=lambda c: objective(c * s.u))
            if objective(better * s.u) < objective(best * s.u):
                best = better
            else:
                step /= 2
        if not excess(trial, replace(s, u=best * s.u)) <= max(trial.limit(_SAME), 1e-8):
            return ""
        factors.append(best)
    if max(factors) - min(factors) > 1e-4 * max(factors):
        return ""
    return f"It is {1 / factors[0]:.6g} times what it should be: check radius, weights and factors"


def _own_factors(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    """Whether ``(v - u) / t`` is the slope of f up to a factor of each entry, which is what lost weights look like."""
    if trial.kind == "complex" or len(wrong) < 2:
        return ""
    ratios = []
    for s in wrong:
        slope = differences(trial, s.u)
        q = (s.v - s.u) / s.t
        sure = (np.abs(slope) > 1e-3) & (np.abs(q) > 1e-3) & (np.abs(s.u) > 1e-3) & np.isfinite(slope)
        ratios.append(np.where(sure, q / np.where(sure, slope, 1.0), np.nan))
    first = np.array(ratios)
    known = np.sum(~np.isnan(first), axis=0) >= 2
    if np.sum(known) < 2:
        return ""
    spread = np.nanmax(first[:, known], axis=0) - np.nanmin(first[:, known], axis=0)
    mean = np.nanmean(first[:, known], axis=0)
    if np.any(spread > 1e-4 * np.abs(mean)):
        return _added(wrong, trial)
    if np.max(mean) - np.min(mean) <= 1e-4 * np.max(np.abs(mean)):
        if abs(mean[0] - 1) <= 1e-4:
            return ""
        return f"It shrinks {mean[0]:.6g} times as much as f asks for: a constant factor"
    return "Each entry has a factor of its own: weights are missing in the prox, or taken twice"


def _added(wrong: list[Sample], trial: FunctionalTrial) -> str:
    """Whether ``(v - u) / t`` differs from the slope by the same array each time: a linear part."""
    rests = np.array([(s.v - s.u) / s.t - differences(trial, s.u) for s in wrong])
    if not np.all(np.isfinite(rests)) or np.max(np.abs(rests)) < 1e-6:
        return ""
    if np.max(np.abs(rests - rests[0])) > 1e-4 * np.max(np.abs(rests)):
        return ""
    return "It lacks a linear part: a shift, data or a background is left out"


def _beyond(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    """Where results leave the domain."""
    outside = [s for s in wrong if not isfinite(trial.value(s.u))]
    if not outside:
        return ""
    u = outside[0].u
    if trial.kind == "real" and np.any(u < 0) and isfinite(trial.value(np.maximum(u, 0.0))):
        return "Negative entries leave the domain: clipping at zero is missing"
    return "The result is not in the domain: check radius, center and total"


def _few_entries(trial: FunctionalTrial, wrong: list[Sample], excess: Excess) -> str:
    """Which entries are wrong, where single ones can be moved to a better place."""
    s = wrong[-1]
    objective = trial.objective(s.v, s.t)
    here, places = objective(s.u), []
    for i in range(min(s.u.size, 256)):
        gain = 0.0
        for c in (1e-5, 1e-3, 0.1, 0.5):
            for phase in (1.0, -1.0, 1j, -1j) if trial.kind == "complex" else (1.0, -1.0):
                moved = s.u.copy()
                moved.flat[i] += c * phase
                gain = max(gain, here - objective(moved))
        places += [i] if gain > 1e-11 * (1 + abs(here)) else []
    if not 0 < len(places) < s.u.size:
        return ""
    index = tuple(int(k) for k in np.unravel_index(places[0], s.u.shape))
    negative = all(s.v.flat[i].real < 0 for i in places) and trial.kind == "real"
    which = "negative entries" if negative else f"{len(places)} of {s.u.size} entries"
    return f"Only {which} are wrong, such as {index}"


def differences(trial: FunctionalTrial, v: np.ndarray) -> np.ndarray:
    """The gradient of the value by central differences."""
    slope = np.zeros_like(v)
    for d in _axes(trial):
        step = trial.lib.epsilon ** (1 / 3) * (1.0 + float(np.max(np.abs(v), initial=0.0)))
        change = (trial.value(v + step * d) - trial.value(v - step * d)) / (2 * step)
        slope = slope + change * d
    return slope


def _axes(trial: FunctionalTrial) -> Iterable[np.ndarray]:
    for i in range(trial.zeros().size):
        for phase in (1.0, 1j) if trial.kind == "complex" else (1.0,):
            unit = trial.zeros()
            unit.flat[i] = phase
            yield unit


__all__ = ["Excess", "Sample", "differences", "inner", "likely_mistake"]
