"""Values, gradients and Hessian products of a functional, against differences."""

from __future__ import annotations

from math import isfinite, isnan

import numpy as np

from opalg.testing.functional_trial import SCALES, FunctionalTrial
from opalg.testing.prox_mistakes import differences
from opalg.testing.subject import inner, size_of

_ROUNDING = 1e-9  # slopes that are this small beside v count as zero
_FEW = 48  # real entries up to which the whole gradient is compared


def value(trial: FunctionalTrial) -> None:
    """A number, the same through a compiled kernel, and never NaN inside or out."""
    for scale in SCALES:
        v = trial.some(scale)
        found = trial.public_value(v)
        if isnan(found):
            trial.findings.fail("value", "the value at a random array is NaN")
            return
        if trial.ours:
            again = trial.value(v)
            error = 0.0 if found == again else abs(found - again) / (1.0 + abs(found))
            trial.measure("value", error, 1e-13, "the value inside a plan is another one than value(v)")
    at_zero = trial.public_value(trial.zeros())
    if isnan(at_zero):
        trial.findings.fail("value", "the value at zero is NaN", hint="0 / 0 or 0 * log(0)? Take the limit there")


def gradient(trial: FunctionalTrial) -> None:
    """Along random directions at several scales; where there are few entries, each of them for the hint."""
    samples = []
    for scale in SCALES:
        v, d = trial.inside(scale), trial.some()
        step = _step(trial, v)
        ahead, behind = trial.value(v + step * d), trial.value(v - step * d)
        nearer = (trial.value(v + step / 4 * d) - trial.value(v - step / 4 * d)) / (step / 2)
        if not (isfinite(ahead) and isfinite(behind) and isfinite(nearer)):
            continue
        found = trial.gradient(v)
        slope, said = (ahead - behind) / (2 * step), inner(found, d)
        # rounding, and how far from settled the difference is (near the edge of a domain, not at all)
        noise = 4 * trial.lib.epsilon * (abs(ahead) + abs(behind)) / step + 2 * abs(nearer - slope)
        size = max(size_of(found) * size_of(d), abs(slope), _ROUNDING * size_of(v) * size_of(d), 1e-300)
        error = max(0.0, abs(slope - said) - noise) / size
        message = f"<gradient, d> = {said:.6g}, but the value has the slope {slope:.6g}"
        samples.append((v, found, error, message))
    limit = _limit(trial, 1e-6)
    wrong = [s for s in samples if not s[2] <= limit]
    hint = _gradient_hint(trial, [(v, found) for v, found, _, _ in samples]) if wrong else ""
    for _, _, error, message in samples:
        trial.findings.measure("gradient", error, limit, message, hint=hint)


def _step(trial: FunctionalTrial, v: np.ndarray) -> float:
    return trial.lib.epsilon ** (1 / 3) * (1.0 + float(np.max(np.abs(v), initial=0.0)))


def _limit(trial: FunctionalTrial, tolerance: float) -> float:
    return max(tolerance, 40 * trial.lib.epsilon ** (2 / 3))


def _gradient_hint(trial: FunctionalTrial, samples: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Which mistake explains the difference to the gradient by differences, at all samples."""
    if any(np.any(np.isnan(g)) for _, g in samples):
        return "NaN from 0 / 0, inf - inf or 0 * inf"
    if trial.zeros().size * (2 if trial.kind == "complex" else 1) > _FEW:
        return ""
    true = [differences(trial, v) for v, _ in samples]
    found = [g for _, g in samples]
    points = [v for v, _ in samples]

    def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
        limit = 1e-4 * max(size_of(y) for y in b) + 1e-9
        return all(size_of(x - y) <= limit for x, y in zip(a, b, strict=True))

    ratio = sum(inner(g, s) for g, s in zip(found, true, strict=True)) / max(sum(inner(s, s) for s in true), 1e-300)
    if abs(ratio - 1) > 1e-4 and same(found, [ratio * s for s in true]):
        sign = " and the sign is wrong" if ratio < 0 else ""
        of_complex = " (the derivative by conj(v) is half of the gradient)" if abs(ratio - 0.5) < 1e-3 else ""
        return f"The gradient is {ratio:.4g} times what it should be: a factor{sign or ' or a sign'}{of_complex}"
    if trial.kind == "complex" and same([np.conj(g) for g in found], true):
        return "A conjugate is missing, or one too many: conj(gradient) is right"
    if trial.kind == "complex" and not any(np.any(g.imag) for g in found):
        return "The gradient has no imaginary part: multiply by v / |v| instead of taking real parts"
    if same([np.abs(g) for g in found], [np.abs(s) for s in true]):
        return "Magnitudes are right, signs or phases are not: is abs(v) where v, or its sign, belongs?"
    rest = [g - s for g, s in zip(found, true, strict=True)]
    if same(rest, [rest[0]] * len(rest)):
        return "It differs from the gradient by the same array everywhere: a linear part, shift or data is left out"
    scale = inner(rest[-1], points[-1]) / max(inner(points[-1], points[-1]), 1e-300)
    if same(rest, [scale * v for v in points]):
        return f"It differs from the gradient by {scale:.4g} v: a quadratic part is left out, or taken twice"
    sure = [np.abs(s) > 1e-3 * np.max(np.abs(s), initial=0.0) for s in true]
    if trial.kind == "real" and all(np.all(k) for k in sure):
        own = [g / s for g, s in zip(found, true, strict=True)]
        if same(own, [own[0]] * len(own)):
            return "Each entry has a factor of its own: weights are missing, or taken twice"
    return ""


def hessian(trial: FunctionalTrial) -> None:
    """Against the change of the gradient, and symmetric."""
    samples = []
    for scale in SCALES:
        v, d, e = trial.inside(scale), trial.some(), trial.some()
        step = _step(trial, v)
        ahead, behind = trial.gradient(v + step * d), trial.gradient(v - step * d)
        found, change = trial.hessian_vector(v, d), (ahead - behind) / (2 * step)
        noise = 4 * trial.lib.epsilon * (size_of(ahead) + size_of(behind)) / step
        size = max(size_of(found), size_of(change), _ROUNDING * size_of(d), 1e-300)
        samples.append((v, d, max(0.0, size_of(found - change) - noise) / size))
        left, right = inner(found, e), inner(d, trial.hessian_vector(v, e))
        # where there is no curvature along d, what is left is the rounding of terms that cancel
        terms = (1e-3 * size_of(trial.gradient(v)) / max(size_of(v), 1e-300) + 1e-5) * size_of(d)
        both = max(max(size_of(found), terms) * size_of(e), 1e-300)
        message = "the Hessian product is not symmetric"
        trial.measure("hessian", abs(left - right) / both, 1e-9, message, part="symmetric")
    limit = _limit(trial, 1e-5)
    hint = _hessian_hint(trial, [(v, d) for v, d, _ in samples]) if any(not s[2] <= limit for s in samples) else ""
    for _, _, error in samples:
        message = "the Hessian product is not the change of the gradient"
        trial.findings.measure("hessian", error, limit, message, hint=hint, part="values")


def _hessian_hint(trial: FunctionalTrial, samples: list[tuple[np.ndarray, np.ndarray]]) -> str:
    v = samples[-1][0]
    units = [d for d in trial.units(12) if np.sum(d).real > 0 or np.sum(d).imag > 0]
    if len(units) < 2 or trial.zeros().size * (2 if trial.kind == "complex" else 1) > _FEW:
        return ""
    step = _step(trial, v)
    found = np.array([[inner(trial.hessian_vector(v, d), e) for e in units] for d in units]).T
    true = np.array(
        [
            [inner(trial.gradient(v + step * d) - trial.gradient(v - step * d), e) / (2 * step) for e in units]
            for d in units
        ]
    ).T
    size = float(np.max(np.abs(true), initial=0.0))
    limit = 1e-4 * size
    ratio = float(np.sum(found * true) / max(float(np.sum(true * true)), 1e-300))
    if np.max(np.abs(found - ratio * true)) <= limit and abs(ratio) > 1e-6 < abs(ratio - 1):
        return f"It is {ratio:.4g} times what it should be: a factor or a sign"
    if trial.fact("smooth") is not None and trial.findings.failed("gradient"):
        return "The gradient is wrong, so look there first"
    rest = np.linalg.svd(found - true, compute_uv=False)
    if len(rest) > 1 and rest[0] > 10 * limit and rest[1] <= limit:
        return "A term of rank one is missing: the change of a norm, or of a sum, that the gradient divides by"
    if np.max(np.abs(found - found.T)) > limit:
        return "It is not symmetric: a Hessian is; is an adjoint missing, or the product transposed?"
    off = true - np.diag(np.diag(true))
    if np.max(np.abs(found - np.diag(np.diag(found)))) <= limit < np.max(np.abs(off)):
        return "It is diagonal, but the entries of the gradient depend on each other: a term is missing"
    return ""
