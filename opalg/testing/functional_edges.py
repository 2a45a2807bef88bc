"""A functional at the edges: zeros, steps of zero and of 1e30, huge and tiny numbers, empty arrays, NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from math import inf, isfinite, isnan, prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.errors import OpalgError
from opalg.testing.functional_trial import FunctionalTrial, value_of
from opalg.testing.prox_mistakes import Sample
from opalg.testing.proxes import excess, slack
from opalg.testing.subject import SubjectError, guarded, size_of

_NAN = "NaN from 0 / 0, inf - inf or 0 * inf: divide where the denominator is not zero"


def _finite(trial: FunctionalTrial, name: str, found: np.ndarray, what: str) -> bool:
    """Whether an array is finite; a finding where it is not."""
    if np.all(np.isfinite(found)):
        return True
    nan = bool(np.any(np.isnan(found)))
    trial.findings.fail(name, f"{what} holds {'NaN' if nan else 'infinite entries'}", hint=_NAN if nan else "")
    return False


# Steps.


def steps(trial: FunctionalTrial) -> None:
    """``t = 0`` gives the nearest point of the domain, tiny steps nearly that, huge ones the lowest value."""
    for v in (trial.some(), trial.some(0.1))[: trial.share(2)]:
        u = trial.prox(v, 0.7)
        still = trial.prox(u, 0.0)
        if not _finite(trial, "steps", still, "the prox with t = 0"):
            continue
        message = "prox(v, 0) of a point of the domain is not that point"
        trial.measure("steps", size_of(still - u) / (1.0 + size_of(u)), 1e-12, message, part="zero")
        at_zero, tiny = trial.prox(v, 0.0), trial.prox(v, 1e-30)
        if _finite(trial, "steps", at_zero, "the prox with t = 0") and _finite(
            trial, "steps", tiny, "the prox with t = 1e-30"
        ):
            error = size_of(at_zero - tiny) / (1.0 + size_of(v))
            message = "the prox with t = 1e-30 is far from the one with t = 0"
            trial.measure("steps", error, 1e-7, message, part="tiny")
            if isfinite(trial.value(v)):
                message = "prox(v, 1e-30) of a point of the domain is not near that point"
                trial.measure("steps", size_of(tiny - v) / (1.0 + size_of(v)), 1e-7, message, part="near")
        _huge(trial, v)
    zero = trial.prox(trial.zeros(), 0.0)
    _finite(trial, "steps", zero, "the prox of zero with t = 0")


def _huge(trial: FunctionalTrial, v: np.ndarray) -> None:
    huge = trial.prox(v, 1e30)
    if not _finite(trial, "steps", huge, "the prox with t = 1e30"):
        return
    lowest = trial.value(huge)
    if not trial.says("bounded_below"):
        return
    before = trial.value(trial.prox(v, 1e3))
    error = max(0.0, lowest - before) / (1.0 + abs(before)) if isfinite(before) and not isnan(lowest) else 0.0
    message = "the prox with t = 1e30 has a higher value than the one with t = 1e3"
    trial.measure("steps", inf if isnan(lowest) else error, 1e-10, message, part="huge")


# Zeros.


def zeros(trial: FunctionalTrial) -> None:
    """Arrays of zeros, and arrays with rows, columns and entries of zeros."""
    for v in _with_zeros(trial)[: trial.share(6)]:
        for t in (0.3, 2.0)[: trial.share(2)] if trial.offers("prox") else ():
            u = trial.prox(v, t)
            if _finite(trial, "zeros", u, "the prox of an array with zeros"):
                over = excess(trial, Sample(v, t, u), few=True)
                message = "a point near the prox of an array with zeros has a lower f(u) + |u - v|^2 / (2 t)"
                trial.measure("zeros", over, slack(trial, Sample(v, t, u)), message)
        smooth = trial.offers("gradient") and (trial.says("smooth") or np.all(v)) and isfinite(trial.value(v))
        if smooth and _finite(trial, "zeros", trial.gradient(v), "the gradient of an array with zeros"):
            product = trial.hessian_vector(v, trial.some()) if trial.offers("hessian_vector") else trial.zeros()
            _finite(trial, "zeros", product, "the Hessian product at an array with zeros")


def _with_zeros(trial: FunctionalTrial) -> list[np.ndarray]:
    found = [trial.zeros()]
    for axis in range(len(trial.shape)):
        v = trial.some()
        np.moveaxis(v, axis, 0)[:1] = 0.0
        found.append(v)
    v = trial.some()
    v[trial.rng.random(trial.shape) < 0.5] = 0.0
    return [*found, v] if trial.shape else found


# Sizes.


def sizes(trial: FunctionalTrial) -> None:
    """Arrays of one entry, without axes, and without entries."""
    shape = trial.shape
    wanted: list[tuple[int, ...]] = [(1,) * len(shape), (1,), *([()] if trial.says("separable") else [])]
    wanted += [(0,), (0, *shape[1:]), (*shape[:-1], 0)] if shape else []
    for other in dict.fromkeys(wanted):
        if trial.ours and not trial.takes(other):
            continue
        if not trial.ours and not (_flexible(trial) and len(other) == len(shape)):
            continue
        at = trial.at(other)
        try:
            _one_size(at)
        except SubjectError as problem:
            empty = "an empty array" if 0 in other else "an array of one entry"
            hint = "Give sums of nothing 0 and largest entries of nothing a start value" if 0 in other else ""
            trial.findings.fail("sizes", f"{problem} for {empty} of shape {other}", hint=hint)


def _flexible(trial: FunctionalTrial) -> bool:
    """Whether an object of a user's takes arrays of any shape with as many axes."""
    longer = [tuple(n + (i == axis) for i, n in enumerate(trial.shape)) for axis in range(len(trial.shape))]
    return all(trial.takes(shape) for shape in longer)


def _one_size(trial: FunctionalTrial) -> None:
    v = trial.some()
    where = f"of an array of shape {trial.shape}"
    if isnan(trial.public_value(v)):
        trial.findings.fail("sizes", f"the value {where} is NaN")
    if trial.offers("prox"):
        for t in (0.7, 0.0)[: trial.share(2)]:
            _finite(trial, "sizes", trial.prox(v, t), f"the prox {where}")
    if trial.offers("gradient"):
        _finite(trial, "sizes", trial.gradient(v), f"the gradient {where}")


# Numbers near the ends of single precision.


def extremes(trial: FunctionalTrial) -> None:
    """float32 at 1e20 and 1e-30 is what float64 gives, up to its rounding."""
    single = trial.at(trial.shape, lib=backend(trial.lib.name, "float32", trial.lib.device))
    double = trial.at(trial.shape, lib=backend(trial.lib.name, "float64", trial.lib.device))
    for size in (1e20, 1e-30):
        v = single.some(size)
        _values(trial, single, double, v, size)
        if trial.offers("prox"):
            for t in _steps_for(trial, size):
                _proxes(trial, single, double, v, float(np.float32(t)), size)
        if trial.offers("gradient"):
            _gradients(trial, single, double, v, size)


def _steps_for(trial: FunctionalTrial, size: float) -> list[float]:
    """A plain step, and those at which v and t f weigh as much as each other."""
    degree = trial.fact("homogeneity")
    natural = size ** (2.0 - float(degree)) if degree is not None else size
    return [t for t in dict.fromkeys((0.3, 0.3 * natural)) if 1e-36 < t < 1e36]


def _values(
    trial: FunctionalTrial, single: FunctionalTrial, double: FunctionalTrial, v: np.ndarray, size: float
) -> None:
    wanted, found = double.public_value(v), single.public_value(v)
    if isnan(found) and not isnan(wanted):
        trial.findings.fail(
            "extremes", f"the value of a float32 array of entries near {size:g} is NaN", hint=_overflow(size)
        )
    elif isfinite(wanted) and abs(wanted) < 1e37 and not abs(found - wanted) <= 1e-5 * abs(wanted) + 1e-37:
        message = f"the value of a float32 array of entries near {size:g} is {found:.4g} instead of {wanted:.4g}"
        trial.findings.fail("extremes", message, hint=_overflow(size), part="value")


def _overflow(size: float) -> str:
    return f"Squares {'overflow' if size > 1 else 'vanish'}: divide by the largest entry before, multiply after"


def _proxes(
    trial: FunctionalTrial, single: FunctionalTrial, double: FunctionalTrial, v: np.ndarray, t: float, size: float
) -> None:
    wanted, found = double.prox(v, t), single.prox(v, t)
    if not np.all(np.isfinite(wanted)) or np.max(np.abs(wanted), initial=0.0) > 1e37:
        return
    _compared(trial, found, wanted, v, size, f"the prox with t = {t:.2g}", "prox")


def _compared(
    trial: FunctionalTrial, found: np.ndarray, wanted: np.ndarray, v: np.ndarray, size: float, what: str, part: str
) -> None:
    message = f"{what} of a float32 array of entries near {size:g} is not that of float64"
    nan = bool(np.any(np.isnan(found)))
    largest = float(np.max(np.abs(wanted), initial=0.0))
    own_size = 0.0 if trial.fact("homogeneity") is not None else 1e-2  # that of data, if there are any
    around = float(np.max(np.abs(v), initial=0.0))
    if size > 1:  # where entries interact, differences of large numbers stand behind small results
        alone = trial.says("separable") or trial.says("phase_invariant") or trial.fact("homogeneity") is not None
        floor = max(own_size, 0.0 if alone else around)
    else:
        floor = max(own_size, 0.05 * around)
    gap = float(np.max(np.abs(found - wanted), initial=0.0)) if not nan else inf
    error = gap / max(largest, floor, 1e-36)
    trial.findings.measure("extremes", error, 1e-5, message, hint=_overflow(size), part=part)


def _gradients(
    trial: FunctionalTrial, single: FunctionalTrial, double: FunctionalTrial, v: np.ndarray, size: float
) -> None:
    wanted, found = double.gradient(v), single.gradient(v)
    if np.all(np.isfinite(wanted)) and np.max(np.abs(wanted), initial=0.0) < 1e37:
        _compared(trial, found, wanted, v if size > 1 else wanted, size, "the gradient", "gradient")


# NaN, and weights without end.


def missing(trial: FunctionalTrial) -> None:
    """NaN in gives NaN out, or an error; never a finite number that is wrong."""
    if not trial.ours or not prod(trial.shape):
        return
    v = trial.some()
    v.flat[v.size // 2] = np.nan
    given = trial.lib.asarray(v)
    if isfinite(_or_nan(lambda: value_of(trial.functional, given))):
        trial.findings.fail("missing", "the value of an array that holds NaN is finite", hint="Let NaN through")
    for name in ("prox", "gradient"):
        if not trial.offers(name):
            continue
        method = trial.prox if name == "prox" else trial.gradient
        arguments = (0.7,) if name == "prox" else ()
        try:
            found = method(v, *arguments)
        except SubjectError:
            continue  # a refusal is as good
        others = [method(trial.some(), *arguments) for _ in range(2)]
        if np.array_equal(others[0], others[1]):
            continue  # it does not look at its argument
        if np.all(np.isfinite(found)):
            trial.findings.fail("missing", f"the {name} of an array that holds NaN is finite", hint="Let NaN through")


def _or_nan(action: Callable[[], float]) -> float:
    try:
        return action()
    except SubjectError:
        return float("nan")


def weights(trial: FunctionalTrial) -> None:
    """Weights of zero leave entries as they are, infinite ones hold them at zero; none gives NaN."""
    functional = trial.functional
    names = [f.name for f in fields(functional)] if is_dataclass(functional) else []
    if "weights" not in names or not trial.ours:
        _declared_infinite(trial)
        return
    for special in (0.0, inf):
        weighted = _with_weights(trial, special)
        if weighted is None:
            continue
        other = replace(trial, functional=weighted, fast={})
        if not weighted.offers("prox") or (special == inf and not _sparse(other)):
            continue
        for v in (trial.some(), trial.zeros()):
            for t in (0.0, 0.7):
                u = guarded("prox", partial(other.prox, v, t))
                if not _finite(trial, "weights", u, f"the prox with weights of {special:g} and t = {t:g}"):
                    continue
                half = np.arange(u.size).reshape(u.shape) < u.size // 2
                aim = v if special == 0 else np.zeros_like(v)
                error = size_of((u - aim)[half]) / (1.0 + size_of(v)) if half.any() else 0.0
                message = f"entries with weights of {special:g} do not {'stay' if special == 0 else 'go to zero'}"
                trial.measure("weights", error if trial.says("separable") else 0.0, 1e-12, message)


def _with_weights(trial: FunctionalTrial, special: float) -> Any:
    """The functional with some weights of zero or infinity: one for each entry, or one for all; None where refused."""
    w = np.ones(trial.shape)
    w.flat[: w.size // 2] = special
    refusal: Exception | None = None
    for some in (w, special):
        try:
            weighted = replace(trial.functional, weights=some)
            weighted.check_shape(trial.shape)
        except OpalgError as problem:
            refusal = problem
            continue
        return weighted
    trial.findings.note(f"weights of {special:g} were not tried: {refusal}")
    return None


def _sparse(trial: FunctionalTrial) -> bool:
    """Whether an infinite weight means that an entry is zero: where it is, the value is finite."""
    v = trial.some()
    v.flat[: v.size // 2] = 0.0
    return not isnan(trial.public_value(v)) and trial.public_value(v) < inf


def _declared_infinite(trial: FunctionalTrial) -> None:
    """A user's object that holds infinite weights as it is: the prox is finite, at zero too."""
    held = getattr(trial.functional, "weights", None)
    if held is None or not trial.offers("prox") or not np.any(np.isinf(np.asarray(held, dtype=float))):
        return
    for v in (trial.some(), trial.zeros()):
        for t in (0.3, 2.0, 0.0):
            _finite(trial, "weights", trial.prox(v, t), f"the prox with infinite weights and t = {t:g}")
