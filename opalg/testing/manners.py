"""How an operator treats the arrays it is given: batches, memory, precision, and shapes that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend
from opalg.arrays.backend import precision_of
from opalg.testing.subject import random_array
from opalg.testing.trial import Trial, far


def batch(trial: Trial) -> None:
    """Leading axes are treated sample by sample."""
    if not trial.batched:
        trial.findings.note("leading batch axes were not tried; ask for it with batched=True")
        return
    for side, source, _ in trial.sides:
        x = random_array(trial.rng, (2, 3, *side.source), source)
        together = trial.run(side, x)
        single = np.array([[trial.run(side, x[i, j]) for j in range(3)] for i in range(2)])
        floor = trial.size * float(np.abs(x).max(initial=0.0))  # where entries cancel
        where = f"{side.name} of a batch of shape (2, 3) is not what it gives sample by sample"
        trial.findings.measure("batch", far(together, single, floor), trial.tolerance, where)


def layout(trial: Trial) -> None:
    """How an argument lies in memory does not matter."""
    for side, source, _ in trial.sides:
        if not prod(side.source):
            continue
        x = random_array(trial.rng, side.source, source)
        flat = np.broadcast_to(x[:1], x.shape) if x.ndim else x
        wanted = {id(v): trial.run(side, v) for v in (x, flat)}
        floor = trial.size * float(np.abs(x).max())  # where entries cancel
        for name, values, view in views(side.lib, x, flat):
            found = np.array(side.lib.to_numpy(trial.guarded(f"{side.name} of {name}", partial(side.raw, view))))
            error = far(found, wanted[id(values)], floor)
            message = f"{side.name} of {name} is not what it gives for a contiguous one"
            trial.findings.measure("layout", error, trial.tolerance, message, hint="Do not rely on strides")


def views(lib: Backend, x: np.ndarray, flat: np.ndarray) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Arrays of an unusual layout: what they are called, the values they have, and the array."""
    if not x.ndim:
        return
    backwards = tuple(reversed(range(x.ndim)))
    if x.ndim > 1:
        yield "an array in Fortran order", x, lib.xp.permute_dims(lib.asarray(x.T.copy()), backwards)
    yield "every second entry of an array", x, lib.asarray(np.repeat(x, 2, axis=-1))[..., ::2]
    yield "an array with strides of zero", flat, lib.xp.broadcast_to(lib.asarray(x[:1]), x.shape)
    if lib.name == "numpy":
        yield "a reversed array", x, lib.asarray(x[..., ::-1].copy())[..., ::-1]
        frozen = lib.asarray(x.copy())
        frozen.flags.writeable = False
        yield "a read-only array", x, frozen


def inputs(trial: Trial) -> None:
    """Arguments are not written to."""
    for side, source, _ in trial.sides:
        x = side.lib.asarray(random_array(trial.rng, side.source, source))
        before = np.array(side.lib.to_numpy(x))
        trial.guarded(side.name, partial(side.raw, x))
        if not np.array_equal(before, side.lib.to_numpy(x)):
            trial.findings.fail("inputs", f"{side.name} writes into its argument", hint="Work on a copy")


def fresh(trial: Trial) -> None:
    """Results share memory neither with arguments nor with each other."""
    for side, source, _ in trial.sides:
        x, other = (side.lib.asarray(random_array(trial.rng, side.source, source)) for _ in range(2))
        before = np.array(side.lib.to_numpy(x))
        first = trial.guarded(side.name, partial(side.raw, x))
        kept = np.array(side.lib.to_numpy(first))
        trial.guarded(side.name, partial(side.raw, other))
        if not np.array_equal(kept, side.lib.to_numpy(first), equal_nan=True):
            message = f"a second call of {side.name} overwrites the first result"
            trial.findings.fail("fresh", message, hint="Return a copy")
            continue
        if _writable(first):
            first[...] = 7.0
            if not np.array_equal(before, side.lib.to_numpy(x)):
                message = f"the result of {side.name} shares memory with its argument"
                trial.findings.fail("fresh", message, hint="Return a copy")


def _writable(array: Any) -> bool:
    return array.flags.writeable if isinstance(array, np.ndarray) else hasattr(array, "__setitem__")


def repeatable(trial: Trial) -> None:
    """The same argument gives the same result, whatever was computed in between."""
    for side, source, _ in trial.sides:
        x = random_array(trial.rng, side.source, source)
        first = trial.run(side, x)
        message = f"{side.name} gives another result the second time"
        trial.findings.measure("repeatable", far(trial.run(side, x), first), 0.0, message)
        for other, kind, _ in trial.sides:
            z = random_array(trial.rng, other.source, kind)
            for sign in (1.0, -1.0):
                trial.run(other, sign * z)
                message = f"{side.name} gives another result after a call of {other.name}: it keeps a state"
                trial.findings.measure("repeatable", far(trial.run(side, x), first), 0.0, message)


def dtype(trial: Trial) -> None:
    """Precision is kept, and single precision differs by rounding only."""
    for side, source, _ in trial.sides:
        given = random_array(trial.rng, side.source, source)
        results = []
        for precision in ("float64", "float32"):
            lib = backend(side.lib.name, precision, side.lib.device)
            raw = trial.guarded(side.name, partial(side.raw, lib.asarray(given)))
            results.append(np.asarray(lib.to_numpy(raw)))
            if precision_of(results[-1]) != precision:
                message = f"{side.name} of a {lib.asarray(given).dtype} array is {raw.dtype}"
                trial.findings.fail("dtype", message, hint="Keep the precision of the argument")
        error = far(results[1].astype(results[0].dtype), results[0], trial.size)
        message = f"{side.name} in float32 is not its value in float64 up to rounding"
        trial.findings.measure("dtype", error, 2000 * float(np.finfo("float32").eps), message)


def refusal(trial: Trial) -> None:
    """Arrays whose trailing axes do not fit are refused."""
    for side, source, _ in trial.sides:
        if not side.source:
            continue
        wrong = (*side.source[:-1], side.source[-1] + 1)
        x = side.lib.asarray(random_array(trial.rng, wrong, source))
        try:
            side.raw(x)
        except Exception:  # any refusal will do
            continue
        hint = "Raise where the trailing axes are not the operator's"
        trial.findings.fail("refusal", f"{side.name} takes shape {side.source}, but accepts shape {wrong}", hint=hint)
