"""What makes a pair of functions an operator and its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.testing.mistakes import Pair, likely_mistake, worst_place
from opalg.testing.subject import Side, adjoint_applier, place_of, random_array
from opalg.testing.trial import Trial, far


def runs(trial: Trial) -> None:
    for side, source, target in trial.sides:
        result = trial.run(side, random_array(trial.rng, side.source, source))
        if result.shape != side.target:
            trial.findings.fail("runs", f"{side.name} gives shape {result.shape}, but {side.target} is declared")
        elif not np.all(np.isfinite(result)):
            trial.findings.fail("runs", f"{side.name} gives NaN or infinity for finite arrays")
        elif target == "real" and np.iscomplexobj(result):
            trial.findings.fail(
                "runs",
                f"{side.name} gives complex arrays, but A takes real ones",
                hint="The adjoint of a map from real arrays is the real part",
            )


def linear(trial: Trial) -> None:
    for side, source, _ in trial.sides:
        x, y = (random_array(trial.rng, side.source, source) for _ in range(2))
        there, other = trial.run(side, x), trial.run(side, y)
        scale = float(max(np.abs(there).max(initial=0.0), np.abs(other).max(initial=0.0)))
        error = far(trial.run(side, 1.75 * x - 0.5 * y), 1.75 * there - 0.5 * other, scale)
        zero = trial.run(side, np.zeros_like(x))
        if np.any(zero != 0):
            trial.findings.fail("linear", f"{side.name} does not map zero to zero", float(np.abs(zero).max()), 0.0)
        trial.findings.measure("linear", error, trial.tolerance, f"{side.name}(a x + b y) is not a {side.name} x + b {side.name} y")
        for factor in (1e4, -1e-4):
            error = far(trial.run(side, factor * x), factor * there)
            trial.findings.measure("linear", error, trial.tolerance, f"{side.name}({factor:g} x) is not {factor:g} {side.name} x")


def adjoint(trial: Trial) -> None:
    found, forward, where = trial.findings, trial.subject.forward, None
    if trial.small:
        matrix, back = trial.matrices
        difference = np.abs(back - matrix.T)
        scale = float(max(np.abs(matrix).max(initial=0.0), np.abs(back).max(initial=0.0)))
        error = float(difference.max(initial=0.0)) / scale if scale > 0 else 0.0
        if not error <= trial.tolerance:
            i, j = np.unravel_index(int(np.argmax(difference)), difference.shape)
            where = (place_of(int(j), forward.target), place_of(int(i), forward.source))
    else:
        x, image, y, pulled = trial.probed
        scales = trial.size * np.outer(_norms(x), _norms(y))
        difference = np.abs(image @ y.T - x @ pulled.T)
        error = float(np.max(difference / np.where(scales > 0, scales, 1.0), initial=0.0))
    if error <= trial.tolerance:
        found.measure("adjoint", error, trial.tolerance, "")
        return
    exact = getattr(trial.subject.operator, "adjoint_exact", True)
    if not exact:
        found.note(f"A.H is declared to be approximate, and differs from the adjoint by {error:.1e}")
        return
    pair = Pair(
        trial.forward, trial.backward, forward.source, forward.target, trial.kind, trial.out_kind, trial.size, trial.tolerance
    )
    where = worst_place(pair, trial.rng) if where is None else where
    hint = likely_mistake(pair, where, trial.rng)
    found.measure("adjoint", error, trial.tolerance, "")
    message = f"<A x, y> is not <x, A.H y> for {trial.kind} x; the worst pair is output {where[0]}, input {where[1]}"
    found.fail("adjoint", message, error, trial.tolerance, where, hint)


def involution(trial: Trial) -> None:
    adjoint = getattr(trial.subject.operator, "H", None)
    if adjoint is None or not (hasattr(adjoint, "H") or hasattr(adjoint, "adjoint")):
        trial.findings.note("the adjoint has no adjoint of its own, so A.H.H = A was not tried")
        return
    twice = Side("A.H.H", adjoint_applier(adjoint), *_ends(trial.subject.forward))
    x = random_array(trial.rng, twice.source, trial.kind)
    error = far(trial.run(twice, x), trial.forward(x))
    trial.findings.measure("involution", error, trial.tolerance, "A.H.H is not A")


def _ends(side: Side) -> tuple[Any, Any, Any]:
    return side.source, side.target, side.lib
