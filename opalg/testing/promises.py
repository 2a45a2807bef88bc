"""What makes a pair of functions an operator and its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.testing.bends import why_not_linear
from opalg.testing.mistakes import likely_mistake
from opalg.testing.pair import Pair, worst_place
from opalg.testing.subject import Side, adjoint_applier, applier, place_of, random_array
from opalg.testing.trial import Trial, far, gram, norms


def runs(trial: Trial) -> None:
    """Both sides give finite arrays of the declared shapes and the right kinds."""
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
    """Both sides respect sums and multiples, large and small ones, and zero."""
    for side, source, kind in trial.sides:
        x, y = (random_array(trial.rng, side.source, source) for _ in range(2))
        there, other = trial.run(side, x), trial.run(side, y)
        scale = float(max(np.abs(there).max(initial=0.0), np.abs(other).max(initial=0.0)))
        error = far(trial.run(side, 1.75 * x - 0.5 * y), 1.75 * there - 0.5 * other, scale)
        message = f"{side.name}(a x + b y) is not a {side.name} x + b {side.name} y"
        zero = trial.run(side, np.zeros_like(x))
        hint = why_not_linear(trial, side, x, there)
        if np.any(zero != 0):
            found = float(np.abs(zero).max())
            trial.findings.fail("linear", f"{side.name} does not map zero to zero", found, 0.0, hint=hint(found))
        trial.findings.measure("linear", error, trial.tolerance, message, hint=hint(error))
        for factor in (1e4, -1e-4):
            floor = abs(factor) * trial.size * float(np.abs(x).max(initial=0.0))  # where entries cancel
            error = far(trial.run(side, factor * x), factor * there, floor)
            message = f"{side.name}({factor:g} x) is not {factor:g} {side.name} x"
            trial.findings.measure("linear", error, trial.tolerance, message, hint=hint(error))
        if source == kind == "complex" and far(trial.run(side, 1j * x), 1j * there) > trial.tolerance:
            trial.findings.note(f"{side.name} is linear over the reals only: {side.name}(i x) is not i {side.name} x")


def adjoint(trial: Trial) -> None:
    """``<A x, y> = <x, A.H y>``: entry by entry where the matrix is small, else for all pairs of probes."""
    error, where = _by_matrix(trial) if trial.small else (_by_probes(trial), None)
    if error <= trial.tolerance:
        trial.findings.measure("adjoint", error, trial.tolerance, "")
        return
    if not getattr(trial.subject.operator, "adjoint_exact", True):
        trial.findings.note(f"A.H is declared to be approximate, and differs from the adjoint by {error:.1e}")
        return
    ends, kinds = trial.subject.forward, (trial.kind, trial.out_kind)
    pair = Pair(trial.forward, trial.backward, ends.source, ends.target, *kinds, trial.size, trial.tolerance)
    where = worst_place(pair, trial.rng) if where is None else where
    hint = "" if trial.findings.failed("linear") else likely_mistake(pair, where, trial.rng)
    message = f"<A x, y> is not <x, A.H y> for {trial.kind} x; the worst pair is output {where[0]}, input {where[1]}"
    trial.findings.measure("adjoint", error, trial.tolerance, message, where, hint)


def _by_matrix(trial: Trial) -> tuple[float, tuple | None]:
    """The largest difference between ``A.H`` and the transposed matrix, and where it is."""
    matrix, back = trial.matrices
    difference = np.abs(back - matrix.T)
    if not difference.size:
        return 0.0, None
    scale = float(max(np.abs(matrix).max(), np.abs(back).max()))
    i, j = np.unravel_index(int(np.argmax(difference)), difference.shape)
    ends = trial.subject.forward
    where = (place_of(int(j), ends.target), place_of(int(i), ends.source))
    return (float(difference[i, j]) / scale if scale > 0 else 0.0), where


def _by_probes(trial: Trial) -> float:
    """The largest difference of ``<A x, y>`` and ``<x, A.H y>``, relative to ``|A| |x| |y|``."""
    x, image, y, pulled = trial.probed
    scales = trial.size * np.outer(norms(x), norms(y))
    difference = np.abs(gram(image, y) - gram(x, pulled))
    return float(np.max(difference / np.where(scales > 0, scales, 1.0), initial=0.0))


def involution(trial: Trial) -> None:
    """The adjoint of the adjoint is the operator."""
    adjoint = getattr(trial.subject.operator, "H", None)
    if adjoint is None or not (hasattr(adjoint, "H") or hasattr(adjoint, "adjoint")):
        trial.findings.note("the adjoint has no adjoint of its own, so A.H.H = A was not tried")
        return
    twice = Side("A.H.H", adjoint_applier(adjoint), *_ends(trial.subject.forward))
    x = random_array(trial.rng, twice.source, trial.kind)
    error = far(trial.run(twice, x), trial.forward(x))
    trial.findings.measure("involution", error, trial.tolerance, "A.H.H is not A")


def gram_operator(trial: Trial) -> None:
    """``A.gram x = A.H (A x)`` and ``A.cogram y = A (A.H y)``, where the operator has them."""
    for name, (inside, source, _), outside in (
        ("gram", trial.sides[0], trial.subject.backward),
        ("cogram", trial.sides[1], trial.subject.forward),
    ):
        made = getattr(trial.subject.operator, name, None)
        if made is None or callable(getattr(made, "__func__", None)):
            continue
        both = Side(f"A.{name}", applier(made), inside.source, inside.source, inside.lib)
        x = random_array(trial.rng, inside.source, source)
        wanted = trial.run(outside, trial.run(inside, x))
        found = trial.run(both, x)
        if np.iscomplexobj(found) and not np.iscomplexobj(wanted):
            # Where A takes real arrays to complex ones, A.H A is the real part of what a complex gram gives.
            found = found.real
        message = f"A.{name} is not {'A.H @ A' if name == 'gram' else 'A @ A.H'}"
        trial.findings.measure("gram", far(found, wanted, trial.size**2), trial.tolerance, message)


def _ends(side: Side) -> tuple[Any, Any, Any]:
    return side.source, side.target, side.lib
