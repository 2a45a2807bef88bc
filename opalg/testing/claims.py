"""What an operator claims about itself: every yes among its facts, and the bound on its norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import YES
from opalg.program.expression import as_expression
from opalg.program.interpreter import number
from opalg.testing.subject import random_array
from opalg.testing.trial import OperatorError, Trial, far


def facts(trial: Trial) -> None:
    facts = getattr(trial.subject.operator, "facts", None)
    if facts is None:
        return
    x, image, y, pulled = trial.probed
    square = trial.subject.forward.source == trial.subject.forward.target and trial.kind == trial.out_kind
    for name in ("diagonal", "self_adjoint", "positive"):
        if getattr(facts, name, None) is YES and not square:
            trial.findings.fail("facts", f"{name} is declared, but A maps {trial.subject.forward.source} elsewhere")
            return
    if getattr(facts, "self_adjoint", None) is YES or getattr(facts, "positive", None) is YES:
        error = max(far(trial.forward(p), trial.backward(p)) for p in _arrays(trial))
        trial.findings.measure("facts", error, trial.tolerance, "it is declared self-adjoint, but A x is not A.H x")
    _lowest(trial, facts)
    if getattr(facts, "diagonal", None) is YES:
        _diagonal(trial)
    for name, words, back, outer in (
        ("gram_scale", "A.H A", trial.backward, trial.forward),
        ("cogram_scale", "A A.H", trial.forward, trial.backward),
    ):
        declared = getattr(facts, name, None)
        if declared is not None:
            scale = _number(declared)
            source, kind = (
                (trial.subject.forward.source, trial.kind)
                if name == "gram_scale"
                else (trial.subject.forward.target, trial.out_kind)
            )
            p = random_array(trial.rng, source, kind)
            error = far(back(outer(p)), scale * p, trial.size**2)
            trial.findings.measure("facts", error, trial.tolerance, f"{name} says {words} = {scale:g} I, which is not so")


def _arrays(trial: Trial) -> list[np.ndarray]:
    return [random_array(trial.rng, trial.subject.forward.source, trial.kind) for _ in range(3)]


def _number(value: Any) -> float:
    return number(as_expression(value)) if not hasattr(value, "certainty") else float(value)


def _lowest(trial: Trial, facts: Any) -> None:
    declared = getattr(facts, "lowest", None)
    floor = 0.0 if getattr(facts, "positive", None) is YES else -np.inf
    floor = floor if declared is None else max(floor, _number(declared))
    if floor == -np.inf:
        return
    x, image, _, _ = trial.probed
    if trial.small:
        matrix = trial.matrices[0]
        found = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]) if matrix.size else floor
    else:
        found = float(np.min(np.sum(x * image, axis=1) / np.sum(x * x, axis=1)))
    shortfall = max(0.0, floor - found) / max(trial.size, 1e-300)
    trial.findings.measure("facts", shortfall, trial.tolerance, f"<x, A x> >= {floor:g} |x|^2 is declared, but {found:g} occurs")


def _diagonal(trial: Trial) -> None:
    side = trial.subject.forward
    for p in _arrays(trial):
        mask = trial.rng.integers(0, 2, side.source).astype(float)
        error = far(trial.forward(mask * p), mask * trial.forward(p), trial.size)
        trial.findings.measure("facts", error, trial.tolerance, "it is declared diagonal, but mixes entries")


def norm(trial: Trial) -> None:
    bound = _norm_bound(trial)
    if bound is None:
        trial.findings.note("it gives no bound on its norm")
        return
    certainty = getattr(bound, "certainty", "upper")
    if certainty == "estimate":
        trial.findings.note("its norm is an estimate, which promises nothing")
        return
    if trial.small:
        matrix = trial.matrices[0]
        found = float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0
    else:
        found = max(trial.size, _power_iteration(trial))
    value, slack = float(bound), 1e-12 + trial.tolerance
    excess = max(0.0, found / value - 1.0) if value > 0 else (0.0 if found == 0 else float("inf"))
    trial.findings.measure("norm", excess, slack, f"the norm bound {value:g} is below the ratio |A x| / |x| = {found:g}")
    if certainty == "exact" and trial.small:
        deviation = abs(value - found) / max(value, found, 1e-300)
        trial.findings.measure("norm", deviation, slack, f"the norm is declared to be {value:g} exactly, but is {found:g}")


def _norm_bound(trial: Trial) -> Any:
    given = getattr(trial.subject.operator, "norm_bound", None)
    if given is None:
        return None
    try:
        return trial.guarded("norm_bound", given) if callable(given) else given
    except OperatorError as problem:
        if isinstance(problem.__cause__, UnsupportedError):
            return None
        raise


def _power_iteration(trial: Trial) -> float:
    x = random_array(trial.rng, trial.subject.forward.source, trial.kind)
    ratio = 0.0
    for _ in range(8):
        size = float(np.linalg.norm(x))
        if size == 0:
            break
        x = x / size
        image = trial.forward(x)
        ratio = max(ratio, float(np.linalg.norm(image)))
        x = trial.backward(image)
    return ratio
