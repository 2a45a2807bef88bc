"""What an operator claims about itself: every yes among its facts, and the bound on its norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import YES
from opalg.program.expression import as_expression
from opalg.program.interpreter import number
from opalg.testing.subject import SubjectError, random_array, size_of
from opalg.testing.trial import Trial, far, gram, norms


def facts(trial: Trial) -> None:
    """Every yes, and every number, among the declared facts."""
    known = getattr(trial.subject.operator, "facts", None)
    if known is None:
        return
    ends = trial.subject.forward
    said = [name for name in ("diagonal", "self_adjoint", "positive") if getattr(known, name, None) is YES]
    if said and not (ends.source == ends.target and trial.kind == trial.out_kind):
        trial.findings.fail("facts", f"it is declared {said[0]}, but maps {ends.source} to another space")
        return
    if "self_adjoint" in said or "positive" in said:
        x, image, _, _ = trial.probed
        forms = gram(image, x)
        error = far(forms, forms.T, trial.size * float(np.max(norms(x), initial=0.0)) ** 2)
        trial.findings.measure(
            "facts", error, trial.tolerance, "it is declared self-adjoint, but <A x, y> is not <x, A y>"
        )
    if "diagonal" in said:
        _diagonal(trial)
    _lowest(trial, known)
    _isometry(trial, "A.H A", getattr(known, "gram_scale", None), (trial.forward, trial.backward))
    _isometry(trial, "A A.H", getattr(known, "cogram_scale", None), (trial.backward, trial.forward))


def _isometry(trial: Trial, words: str, declared: Any, maps: tuple[Any, Any]) -> None:
    if declared is None:
        return
    inner, outer = maps
    scale, (forward, backward) = number_of(declared), (trial.sides[0], trial.sides[1])
    side, kind, _ = forward if words == "A.H A" else backward
    x = random_array(trial.rng, side.source, kind)
    error = far(outer(inner(x)), scale * x, trial.size**2)
    message = f"{words} = {scale:g} I is declared, which is not so"
    trial.findings.measure("facts", error, trial.tolerance, message, part=words)


def number_of(value: Any) -> float:
    """A declared number, bound or formula as a number."""
    return number(as_expression(value)) if not hasattr(value, "certainty") else float(value)


def _lowest(trial: Trial, facts: Any) -> None:
    declared = getattr(facts, "lowest", None)
    floor = 0.0 if getattr(facts, "positive", None) is YES else -np.inf
    floor = floor if declared is None else max(floor, number_of(declared))
    if floor == -np.inf:
        return
    x, image, _, _ = trial.probed
    if trial.small:
        matrix = trial.matrices[0]
        found = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]) if matrix.size else floor
    else:
        found = float(np.min(np.sum(x * image, axis=1) / np.sum(x * x, axis=1)))
    shortfall = max(0.0, floor - found) / max(trial.size, 1e-300)
    message = f"<x, A x> >= {floor:g} |x|^2 is declared, but {found:g} |x|^2 occurs"
    trial.findings.measure("facts", shortfall, trial.tolerance, message, part="lowest")


def _diagonal(trial: Trial) -> None:
    side = trial.subject.forward
    for _ in range(3):
        p = random_array(trial.rng, side.source, trial.kind)
        mask = trial.rng.integers(0, 2, side.source).astype(float)
        error = far(trial.forward(mask * p), mask * trial.forward(p), trial.size)
        trial.findings.measure(
            "facts", error, trial.tolerance, "it is declared diagonal, but mixes entries", part="diagonal"
        )


def norm(trial: Trial) -> None:
    """The bound is at least every ratio ``|A x| / |x|``, and the norm itself where it is called exact."""
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
        found = max(trial.reach, _power_iteration(trial))
    value, slack = float(bound), 1e-12 + trial.tolerance
    excess = max(0.0, found / value - 1.0) if value > 0 else (0.0 if found == 0 else float("inf"))
    message = f"the norm bound {value:g} is below the ratio |A x| / |x| = {found:g}"
    trial.findings.measure("norm", excess, slack, message)
    if certainty == "exact" and trial.small:
        deviation = abs(value - found) / max(value, found, 1e-300)
        message = f"the norm is declared to be {value:g} exactly, but is {found:g}"
        trial.findings.measure("norm", deviation, slack, message)


def _norm_bound(trial: Trial) -> Any:
    given = getattr(trial.subject.operator, "norm_bound", None)
    if given is None:
        return None
    try:
        return trial.guarded("norm_bound", given) if callable(given) else given
    except SubjectError as problem:
        if isinstance(problem.__cause__, UnsupportedError):
            return None
        raise


def _power_iteration(trial: Trial) -> float:
    x = random_array(trial.rng, trial.subject.forward.source, trial.kind)
    ratio = 0.0
    for _ in range(8):
        size = size_of(x)
        if size == 0:
            break
        x = x / size
        image = trial.forward(x)
        ratio = max(ratio, size_of(image))
        x = trial.backward(image)
    return ratio
