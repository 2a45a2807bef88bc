"""A functional and its conjugate: Moreau's identity, the inequality of Fenchel and Young, and the way back."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from opalg.errors import UnsupportedError
from opalg.testing.functional_trial import SCALES, STEPS, FunctionalTrial, has, value_of
from opalg.testing.global_search import lowest
from opalg.testing.subject import inner, size_of


def moreau(trial: FunctionalTrial) -> None:
    """``prox_{t f}(v) + t prox_{f*/t}(v / t) = v``."""
    if not (trial.offers("prox") and has(trial.functional.conjugate, "prox")):
        return
    samples, errors = [], []
    for t in STEPS:
        v = trial.some()
        u, p = trial.prox(v, t), trial.conjugate_prox(v / t, 1.0 / t)
        samples.append((v, t, u, p))
        errors.append(size_of(u + t * p - v) / size_of(v) if np.all(np.isfinite(p)) else inf)
    wrong = [s for s, error in zip(samples, errors, strict=True) if not error <= trial.limit(1e-11)]
    hint = next((text for text in (_moreau_hint(trial, *sample) for sample in wrong) if text), "")
    for error in errors:
        trial.measure("moreau", error, 1e-11, "prox_{t f}(v) + t prox_{f*/t}(v / t) is not v", hint)


def _moreau_hint(trial: FunctionalTrial, v: np.ndarray, t: float, u: np.ndarray, p: np.ndarray) -> str:
    wanted = (v - u) / t
    limit = 1e-8 * (1.0 + size_of(wanted))
    if trial.findings.failed("prox"):
        return "The prox is wrong, so look there first"
    if np.any(np.isnan(p)):
        return "NaN in the prox of the conjugate"
    tries = [
        ("The prox of the conjugate takes its step for 1 / step", (v / t, t)),
        ("The prox of the conjugate squares its step", (v / t, t**-0.5)),
        (
            "The prox of the conjugate lacks the factor of its argument: it divides by the step once too often",
            (v, 1.0 / t),
        ),
        ("The prox of the conjugate is that of f", (v, t)),
    ]
    for sentence, (point, step) in tries:
        found = u if sentence.endswith("of f") else trial.conjugate_prox(point, step)
        reached = p if sentence.endswith("of f") else wanted
        compared = trial.prox(v / t, 1.0 / t) if sentence.endswith("of f") else found
        if size_of(compared - reached) <= limit:
            return sentence
    for factor in (0.5, 2.0, 0.25, 4.0):
        if size_of(trial.conjugate_prox(v / t, factor / t) - wanted) <= limit:
            return f"The prox of the conjugate takes {1 / factor:g} times its step"
    far = 1e-3  # a step at which v / t is far out, beyond every radius
    p, wanted = trial.conjugate_prox(v / far, 1.0 / far), (v - trial.prox(v, far)) / far
    if np.any(p) and size_of(p * (inner(p, wanted) / inner(p, p)) - wanted) <= 1e-8 * (1.0 + size_of(wanted)):
        return f"The prox of the conjugate is {inner(p, p) / inner(p, wanted):.4g} times what it should be: a radius?"
    return ""


def fenchel(trial: FunctionalTrial) -> None:
    """``f(v) + f*(q) >= Re <v, q>``, with equality for a prox and its subgradient."""
    if trial.ours and not trial.functional.offers("conjugate_value"):
        return
    if not has(trial.functional.conjugate, "value"):
        return
    for scale in (*SCALES, 30.0):
        v, q = trial.inside(scale), trial.some(min(scale, 3.0))
        left = trial.value(v) + trial.conjugate_value(q)
        size = 1.0 + abs(inner(v, q))
        message = "f(v) + f*(q) < Re <v, q>, so f* is no conjugate of f"
        hint = "f* is too small: a factor, or a domain that is too large"
        trial.measure("fenchel", max(0.0, inner(v, q) - left) / size, 1e-12, message, hint, "inequality")
        if scale == SCALES[-1]:
            _rim(trial, q)
        for t in (0.7, 3.0) if trial.offers("prox") and scale in SCALES else ():
            u = trial.prox(v, t)
            q = (v - u) / t
            # at the rim of the domain rounding may lead out of it
            reached = min(trial.conjugate_value(q), trial.conjugate_value((1 - 1e-12) * q))
            gap = trial.value(u) + reached - inner(u, q)
            size = 1.0 + abs(inner(u, q)) + abs(trial.value(u))
            message = "f(u) + f*(q) is not Re <u, q> for a subgradient q at u"
            far = abs(gap) / size if isfinite(gap) else inf
            hint = "" if far <= trial.limit(1e-9) else _fenchel_hint(trial, u, q)
            trial.measure("fenchel", far, 1e-9, message, hint, "equality")


def _rim(trial: FunctionalTrial, q: np.ndarray) -> None:
    """The inequality where it is sharpest: at the rim of the domain of f*, in the direction that leads out."""
    low, high = 0.0, 1.0
    if not isfinite(trial.conjugate_value(q)):
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if isfinite(trial.conjugate_value(middle * q)) else (low, middle)
        q = low * q
    if not size_of(q):
        return
    largest = np.abs(q) == np.max(np.abs(q))
    for v in (30 * q / size_of(q), 30 * q * largest / size_of(q * largest), 0.3 * q):
        over = inner(v, q) - trial.value(v) - trial.conjugate_value(q)
        message = "f(v) + f*(q) < Re <v, q> at the rim of the domain of f*, so f* is no conjugate of f"
        hint = "f* is too small: a factor, or a domain that is too large"
        error = max(0.0, over) / (1.0 + abs(inner(v, q)))
        # points a little outside the domain count as its rim
        trial.measure("fenchel", error, 1e-7, message, hint, "inequality")


def _fenchel_hint(trial: FunctionalTrial, u: np.ndarray, q: np.ndarray) -> str:
    if trial.findings.failed("prox"):
        return "The prox is wrong, so look there first"
    found, wanted = trial.conjugate_value(q), inner(u, q) - trial.value(u)
    if not isfinite(found):
        for factor in (1 - 1e-6, 0.9, 0.75, 0.6, 0.5, 0.3, 0.1):
            if isfinite(trial.conjugate_value(factor * q)):
                return f"Its domain is too small: f* is infinite at q, finite at {factor:g} q; check the radius"
        return "f* is infinite at a subgradient of f: its domain is wrong"
    if wanted and abs(found) > 1e-9:
        return f"f*(q) is {found / wanted:.4g} times what it should be"
    return ""


def biconjugate(trial: FunctionalTrial) -> None:
    """f* is the highest of ``<q, v> - f(v)`` in one dimension, and the conjugate of the conjugate is f."""
    conjugate = trial.functional.conjugate
    if trial.ours and not trial.functional.offers("conjugate_value"):
        return
    if has(conjugate, "value"):
        for shape in ((1,), (1,) * len(trial.shape)):
            one = trial.at(shape)
            if trial.kind == "real" and shape and one.takes(shape):
                _supremum(one)
                break
    try:
        again = getattr(conjugate, "conjugate", None)
    except UnsupportedError:
        return
    if again is None or again is trial.functional:
        return
    v = trial.inside()
    if has(again, "value"):
        wanted, found = trial.value(v), value_of(again, trial.lib.asarray(v))
        error = 0.0 if found == wanted else abs(found - wanted) / (1.0 + abs(wanted))
        trial.measure("biconjugate", error, 1e-10, "the value of the conjugate of the conjugate is not that of f")


def _supremum(trial: FunctionalTrial) -> None:
    for scale in (0.2, 0.7):
        q = trial.some(scale)
        said = trial.conjugate_value(q)
        if not isfinite(said):
            continue
        center = trial.zeros()

        def below(x: np.ndarray, q: np.ndarray = q) -> float:
            v = np.reshape(x, trial.shape)
            return trial.value(v) - inner(q, v)

        _, found = lowest(below, center.ravel(), 30.0, (center.ravel(), q.ravel()))
        if not isfinite(found):
            continue
        error = max(0.0, -found - said) / (1.0 + abs(said))
        message = "<q, v> - f(v) is larger somewhere than f*(q)"
        trial.measure("biconjugate", error, 1e-9, message, part="supremum")
        # values that grow towards the rim of the search say nothing about what lies beyond
        if trial.findings.failed("biconjugate"):
            return
