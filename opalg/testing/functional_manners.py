"""How a functional treats the arrays and steps it is given: memory, layout, precision, repetition, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import inf, prod
from typing import Any

import numpy as np

from opalg.arrays import backend
from opalg.arrays.backend import precision_of
from opalg.errors import UnsupportedError
from opalg.testing.functional_trial import FunctionalTrial
from opalg.testing.manners import views
from opalg.testing.subject import SubjectError, guarded, size_of
from opalg.testing.trial import far

_BATCH = 3


def _far(found: np.ndarray, wanted: np.ndarray, scale: float = 0.0) -> float:
    """The largest difference; infinite entries may be equal too."""
    return 0.0 if np.array_equal(found, wanted) else far(found, wanted, scale)


def _point(trial: FunctionalTrial, name: str, scale: float = 1.0) -> np.ndarray:
    """A random array; one of the domain, for what makes sense there only."""
    return trial.some(scale) if name in ("value", "prox") else trial.inside(scale)


def _methods(trial: FunctionalTrial) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """What gives arrays, and its arguments behind the first."""
    if trial.offers("prox"):
        yield "prox", trial.functional.prox, (0.3,)
    if trial.offers("gradient"):
        yield "gradient", trial.functional.gradient, ()
    if trial.offers("hessian_vector"):
        yield "hessian_vector", trial.functional.hessian_vector, (trial.lib.asarray(trial.some()),)


def inputs(trial: FunctionalTrial) -> None:
    """Arguments are not written to."""
    calls = [("value", trial.functional.value, ()), *_methods(trial)]
    for name, method, arguments in calls:
        for scale in (1.0, 0.01)[: trial.share(2)]:
            v = trial.lib.asarray(_point(trial, name, scale))
            before = np.array(trial.lib.to_numpy(v))
            guarded(name, partial(method, v, *arguments))
            if not np.array_equal(before, trial.lib.to_numpy(v)):
                trial.findings.fail("inputs", f"{name} writes into its argument", hint="Work on a copy")


def fresh(trial: FunctionalTrial) -> None:
    """Results have memory of their own, also where the result is the argument."""
    for name, method, arguments in _methods(trial):
        points = [_point(trial, name, scale) for scale in (1.0, 1e-3, 1e3)]
        points += [trial.zeros(), trial.inside()] if name == "prox" or trial.says("smooth") else []
        for v in points[: trial.share(5, 2)]:
            for step in ((0.0,), (0.3,)) if name == "prox" and trial.ours else (arguments,):
                _own_memory(trial, name, method, v, step)


def _own_memory(
    trial: FunctionalTrial, name: str, method: Callable[..., Any], point: np.ndarray, arguments: tuple[Any, ...]
) -> None:
    v = trial.lib.asarray(np.array(point))
    before = np.array(trial.lib.to_numpy(v))
    found = guarded(name, partial(method, v, *arguments))
    kept = np.array(trial.lib.to_numpy(found))
    guarded(name, partial(method, trial.lib.asarray(_point(trial, name)), *arguments))
    if not np.array_equal(kept, trial.lib.to_numpy(found), equal_nan=True):
        trial.findings.fail("fresh", f"a second call of {name} overwrites the first result", hint="Return a copy")
        return
    flags = getattr(found, "flags", None)
    if flags is not None and not getattr(flags, "writeable", True):
        return
    try:
        found[...] = 7.0
    except (TypeError, ValueError, RuntimeError):
        return  # arrays of a library without assignment
    if not np.array_equal(before, trial.lib.to_numpy(v)):
        message = f"the result of {name} shares memory with its argument"
        trial.findings.fail("fresh", message, hint="Return a copy, also where nothing changes")


def layout(trial: FunctionalTrial) -> None:
    """How an argument lies in memory does not matter, nor whether it may be written to."""
    if not prod(trial.shape):
        return
    for name, method, arguments in [("value", trial.functional.value, ()), *_methods(trial)]:
        x = _point(trial, name)
        flat = np.broadcast_to(x[:1], x.shape) if x.ndim else x
        if name not in ("value", "prox") and not np.isfinite(trial.value(flat)):
            flat = x
        wanted = {id(w): guarded(name, partial(method, trial.lib.asarray(np.array(w)), *arguments)) for w in (x, flat)}
        for label, values, view in views(trial.lib, x, flat):
            plain = wanted[id(values)]
            found = guarded(f"{name} of {label}", partial(method, view, *arguments))
            if name == "value":
                error = 0.0 if found == plain else abs(float(found) - float(plain)) / (1.0 + abs(float(plain)))
            else:
                error = _far(np.array(trial.lib.to_numpy(found)), np.array(trial.lib.to_numpy(plain)), size_of(x))
            message = f"{name} of {label} is not what it gives for a contiguous one"
            trial.measure("layout", error, 1e-13, message, "Do not rely on strides")


def dtype(trial: FunctionalTrial) -> None:
    """float32 in gives float32 out, and the same up to rounding."""
    for precision in ("float32", "float64"):
        lib = backend(trial.lib.name, precision, trial.lib.device)
        at = trial.at(trial.shape, lib=lib)
        v = lib.asarray(at.some())
        inside = lib.asarray(at.inside())
        for name, method, arguments in _methods(at):
            found = guarded(name, partial(method, v if name == "prox" else inside, *arguments))
            if precision_of(found) != precision:
                message = f"{name} of a {v.dtype} array is {found.dtype}"
                trial.findings.fail("dtype", message, hint="Keep the precision of the argument: multiply by numbers")
                return
    single = trial.at(trial.shape, lib=backend(trial.lib.name, "float32", trial.lib.device))
    v = single.rounded(single.inside())
    for name in ("prox", "gradient"):
        if trial.offers(name):
            arguments = (0.3,) if name == "prox" else ()
            one, other = getattr(single, name)(v, *arguments), getattr(trial, name)(v, *arguments)
            error = size_of(one - other) / (1.0 + size_of(v) + size_of(other))
            trial.findings.measure("dtype", error, 1e-5, f"{name} in float32 is not that in float64 up to rounding")


def repeatable(trial: FunctionalTrial) -> None:
    """The same again for the same arguments, whatever was asked in between."""
    for name in ("value", "prox", "gradient"):
        if not trial.offers(name):
            continue
        given = [trial.lib.asarray(_point(trial, name, scale)) for scale in (1.0, 3.0)]
        method = getattr(trial.functional, name)
        steps: tuple[tuple[Any, ...], ...] = ((0.7,), (0.05,)) if name == "prox" else ((),)
        asked = [(x, s) for x in given for s in steps]
        first = [_numbers(trial, name, method, x, s) for x, s in asked]
        for _ in range(trial.share(2)):
            for (x, s), wanted in zip(reversed(asked), reversed(first), strict=True):
                error = _far(_numbers(trial, name, method, x, s), wanted)
                message = f"{name} gives another result the second time"
                trial.findings.measure("repeatable", error, 0.0, message, hint="It keeps a state, or draws at random")
        _moved(trial, name, method, steps[0])


def _moved(trial: FunctionalTrial, name: str, method: Callable[..., Any], step: tuple[Any, ...]) -> None:
    """The same array holds other numbers the second time."""
    first, second = _point(trial, name), _point(trial, name)
    x = trial.lib.asarray(np.array(first))
    guarded(name, partial(method, x, *step))
    try:
        x[...] = trial.lib.asarray(second)
    except (TypeError, ValueError, RuntimeError):
        return  # arrays of a library without assignment
    wanted = _numbers(trial, name, method, trial.lib.asarray(np.array(second)), step)
    error = _far(_numbers(trial, name, method, x, step), wanted)
    message = f"{name} gives an old result where the same array holds other numbers"
    trial.measure("repeatable", error, 1e-13, message, "Do not tell arrays apart by where they lie in memory")


def _numbers(
    trial: FunctionalTrial, name: str, method: Callable[..., Any], x: Any, arguments: tuple[Any, ...]
) -> np.ndarray:
    found = guarded(name, partial(method, x, *arguments))
    return np.array([float(found)]) if name == "value" else np.array(trial.lib.to_numpy(found))


# Batches of steps.


def batch(trial: FunctionalTrial) -> None:
    """``prox(V, t)`` with a step for each sample is what a loop gives; with a step for each entry, where separable."""
    if not prod(trial.shape):
        return
    try:
        _samples(trial)
    except SubjectError as problem:
        if not isinstance(problem.__cause__, UnsupportedError):
            raise
        trial.findings.note(f"steps for each sample were not tried: {problem.__cause__}")
    if trial.says("separable"):
        _entries(trial)


def _samples(trial: FunctionalTrial) -> None:
    # as many samples as the last axis is long, so that steps along the wrong axis are no error but a wrong result
    last = trial.shape[-1] if trial.shape else 0
    count = last if not trial.ours and 1 < last <= 6 else _BATCH
    steps = np.linspace(0.0 if trial.ours else 0.2, 3.0, count)
    singles = [trial.some() for _ in steps]
    together = trial.at((count, *trial.shape))
    V = np.array(singles)
    if not trial.ours and not getattr(trial.functional, "batched", False):
        shape = (count, *(1,) * len(trial.shape))
        if not _understands(trial, together, V, singles, shape):
            return
        steps_given = np.reshape(steps, shape)
    else:
        steps_given = steps
    found = together.prox(V, steps_given)
    wanted = np.array([trial.prox(v, float(t)) for v, t in zip(singles, steps, strict=True)])
    error = far(found, wanted, size_of(V)) if np.all(np.isfinite(found)) else inf
    hint = _batch_hint(trial, together, V, steps, found) if not error <= trial.limit(1e-12) else ""
    message = "prox(V, t) with a step for each sample is not what it gives sample by sample"
    trial.measure("batch", error, 1e-12, message, hint, "samples")


def _understands(
    trial: FunctionalTrial, together: FunctionalTrial, V: np.ndarray, singles: list[np.ndarray], shape: Any
) -> bool:
    """Whether an object of a user's takes arrays of steps, as equal steps show."""
    try:
        found = together.prox(V, np.full(shape, 0.7))
    except SubjectError:
        return False
    wanted = np.array([trial.prox(v, 0.7) for v in singles])
    return far(found, wanted, size_of(V)) <= 1e-12


def _batch_hint(
    trial: FunctionalTrial, together: FunctionalTrial, V: np.ndarray, steps: np.ndarray, found: np.ndarray
) -> str:
    if np.any(np.isnan(found)):
        return "NaN: is a step of zero divided by?"
    try:
        for t in (steps[0], steps[-1], float(np.mean(steps))):
            same = np.array([trial.prox(v, float(t)) for v in V])
            if far(found, same, size_of(V)) <= 1e-12:
                return f"All samples get the step {t:g}"
        trailing = np.broadcast_to(steps, V.shape) if V.shape[-1] == len(steps) else None
        if trailing is not None and far(found, together.prox(V, np.array(trailing)), size_of(V)) <= 1e-12:
            return "The steps belong to leading axes of V, and are taken along the last one"
    except SubjectError:
        return ""
    return "Does a sum or a norm run over the axis of samples?"


def _entries(trial: FunctionalTrial) -> None:
    """A step for each entry of a separable functional: neighbours do not matter."""
    v = trial.some()
    steps = trial.rng.uniform(0.1, 2.0, trial.shape)
    try:
        found = trial.prox(v, steps)
    except SubjectError:
        if trial.ours:
            raise
        return
    wanted = found.copy()
    for i in trial.rng.permutation(v.size)[: trial.share(min(v.size, 24), 3)]:
        wanted.flat[i] = trial.prox(v, float(steps.flat[i])).flat[i]
    message = "prox(v, t) with a step for each entry is not what each entry gives by itself"
    trial.measure("batch", far(found, wanted, size_of(v)), 1e-12, message, part="entries")
