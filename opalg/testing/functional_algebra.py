"""What arithmetic makes of a functional: weights, shifts and scaled arguments, against what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from opalg.errors import OpalgError
from opalg.testing.functional_trial import FunctionalTrial
from opalg.testing.subject import guarded, size_of


def algebra(trial: FunctionalTrial) -> None:
    """``2 f``, ``f(. - b)`` and ``f(c .)``, as far as the functional can be written so."""
    b = trial.some()
    c = -1.7
    _weight(trial, 2.5)
    _made(
        trial,
        "translated",
        lambda f: f.translated(b),
        lambda v: trial.value(v - b),
        lambda v, t: b + trial.prox(v - b, t),
        "f(v - b) has the prox b + prox_f(v - b, t)",
    )
    _made(
        trial,
        "scaled",
        lambda f: f.scaled(c),
        lambda v: trial.value(c * v),
        lambda v, t: trial.prox(c * v, c * c * t) / c,
        "f(c v) has the prox prox_f(c v, c^2 t) / c",
    )


def _weight(trial: FunctionalTrial, w: float) -> None:
    _made(
        trial,
        "__rmul__",
        lambda f: w * f,
        lambda v: w * trial.value(v),
        lambda v, t: trial.prox(v, w * t),
        "w f has the prox prox_f(v, w t)",
    )


def _made(
    trial: FunctionalTrial,
    method: str,
    make: Callable[[Any], Any],
    value: Callable[[np.ndarray], float],
    prox: Callable[[np.ndarray, float], np.ndarray],
    rule: str,
) -> None:
    """One construction: its value, and its prox where it has one."""
    if not callable(getattr(trial.functional, method, None)):
        return
    try:
        made = make(trial.functional)
    except OpalgError as refusal:
        trial.findings.note(f"{rule}: not tried, since {refusal}")
        return
    other = replace(trial, functional=made, fast={}, known={}, costs={})
    v = trial.inside()
    found, wanted = guarded("value", partial(other.public_value, v)), value(v)
    error = 0.0 if found == wanted else abs(found - wanted) / (1.0 + abs(wanted))
    trial.measure("algebra", error, 1e-11, f"{rule[: rule.index(' has')]} has another value than that", part=method)
    if not (trial.offers("prox") and other.offers("prox")):
        return
    for t in (0.3, 2.0)[: trial.share(2)]:
        v = trial.some()
        error = size_of(other.prox(v, t) - prox(v, t)) / (1.0 + size_of(v))
        trial.measure("algebra", error, 1e-10, f"it does not hold that {rule}", part=f"{method} prox")
