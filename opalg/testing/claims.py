"""What an operator claims about itself: every yes among its facts, and the bound on its norm."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.facts import NO, YES
from opalg.program.expression import as_expression
from opalg.program.interpreter import number
from opalg.testing.subject import SubjectError, random_array, reals, size_of
from opalg.testing.trial import Trial, far, gram, norms


def facts(trial: Trial) -> None:
    """Every yes, every no, and every number among the declared facts."""
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
    _denied(trial, known)
    _lowest(trial, known)
    _isometry(trial, "A.H A", getattr(known, "gram_scale", None), (trial.forward, trial.backward))
    _isometry(trial, "A A.H", getattr(known, "cogram_scale", None), (trial.backward, trial.forward))


def _denied(trial: Trial, known: Any) -> None:
    """Every no: a property that is denied must not hold for the matrix."""
    ends = trial.subject.forward
    if not trial.small or ends.source != ends.target or trial.kind != trial.out_kind:
        return
    matrix = trial.matrices[0]
    scale = max(float(np.max(np.abs(matrix), initial=0.0)), 1e-300)
    size = prod(ends.source)
    symmetric = float(np.max(np.abs(matrix - matrix.T), initial=0.0)) <= trial.tolerance * scale
    block = matrix[:size, :size]
    holds = {
        "self_adjoint": symmetric,
        "diagonal": float(np.max(np.abs(block - np.diag(np.diag(block))), initial=0.0)) <= trial.tolerance * scale,
        "positive": symmetric and float(np.linalg.eigvalsh(matrix).min(initial=0.0)) >= -trial.tolerance * scale,
    }
    for name, true in holds.items():
        if true and getattr(known, name, None) is NO:
            trial.findings.fail(
                "facts", f"it is declared not to be {name.replace('_', '-')}, but is", part=f"not {name}"
            )


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
        found = max(trial.reach, _largest_ratio(trial))
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


def _largest_ratio(trial: Trial, steps: int = 12) -> float:
    """The largest ``|A x| / |x|`` in a Krylov space of ``A.H A`` (Lanczos 1950), which is never above the norm."""
    source, kind = trial.subject.forward.source, trial.kind
    x = random_array(trial.rng, source, kind)
    basis, images = np.zeros((steps, reals(x, kind).size)), []
    for k in range(steps):
        row = reals(x, kind)
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            row -= basis[:k].T @ (basis[:k] @ row)
        size = size_of(row)
        if not size > 1e-10 * trial.size:
            break
        basis[k] = row / size
        images.append(trial.forward(_array(basis[k], source, kind)))
        x = trial.backward(images[-1])
    if not images:
        return 0.0
    rows = np.array([reals(image, trial.out_kind) for image in images])
    direction = np.linalg.eigh(rows @ rows.T)[1][:, -1]
    best = direction @ basis[: len(images)]
    return size_of(trial.forward(_array(best, source, kind))) / size_of(best)


def _array(row: np.ndarray, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """The array whose `reals` are given."""
    half = row.size // 2
    return np.reshape(row[:half] + 1j * row[half:] if kind == "complex" else row, shape)
