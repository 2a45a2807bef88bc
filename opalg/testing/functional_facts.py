"""What a functional claims about itself, tried where it is most likely to be false."""

from __future__ import annotations

from math import inf, isfinite

import numpy as np

from opalg.facts import NO, YES
from opalg.testing.claims import number_of
from opalg.testing.functional_trial import SCALES, FunctionalTrial, kinds_of
from opalg.testing.subject import inner, size_of

_PLACES = (0.0, 1e-3, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 100.0)


def facts(trial: FunctionalTrial) -> None:
    """Every declared fact."""
    if trial.is_convex or trial.fact("strong_convexity") is not None:
        _convex(trial)
    if trial.fact("smoothness") is not None and trial.offers("gradient"):
        _smoothness(trial)
    if trial.fact("strong_convexity") is not None and trial.offers("gradient"):
        _lowest_curvature(trial)
    if trial.fact("smooth") is YES and trial.offers("gradient"):
        _continuous(trial)
    if trial.says("separable"):
        _separable(trial)
    if trial.says("quadratic"):
        moves = tuple(trial.some() for _ in range(3))
        _differences(trial, "quadratic", "its third differences do not vanish", moves)
    if trial.fact("quadratic") is NO:
        _not_quadratic(trial)
    if trial.fact("indicator") is True:
        values = {trial.value(trial.inside(scale)) for scale in SCALES} | {trial.value(trial.some(9.0))}
        if not values <= {0.0, inf}:
            message = f"it is declared an indicator, but takes the value {max(values - {0.0, inf})}"
            trial.findings.fail("facts", message, part="indicator")
    if trial.says("bounded_below"):
        _bounded(trial)
    if trial.fact("homogeneity") is not None:
        _homogeneous(trial)


def _convex(trial: FunctionalTrial) -> None:
    declared = trial.fact("strong_convexity")
    modulus = 0.0 if declared is None else number_of(declared)
    for scale in (*SCALES, 10.0):
        for part, near in ((0.5, 1.0), (0.1, 1.0), (0.9, 1.0), (0.5, 0.05), (0.5, 0.0)):
            a = trial.inside(scale)
            b = trial.inside(scale) if near == 1.0 else a + near * scale * trial.some()
            b = b if near else a * (trial.rng.random(trial.shape) < 0.5)  # zeros are where kinks and jumps are
            ends = trial.value(a), trial.value(b)
            chord = part * ends[0] + (1 - part) * ends[1]
            bend = modulus / 2 * part * (1 - part) * inner(a - b, a - b)
            above = trial.value(part * a + (1 - part) * b) + bend - chord
            error = max(0.0, above) / (1.0 + abs(ends[0]) + abs(ends[1])) if isfinite(chord) else 0.0
            what = f"strongly convex of modulus {modulus:g}" if modulus else "convex"
            message = f"it is declared {what}, but lies above a chord"
            trial.measure("facts", error, 1e-11, message, part="convex")


def _curved(trial: FunctionalTrial, v: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The Hessian at v times d; by a difference of gradients where no product is offered."""
    if trial.offers("hessian_vector"):
        return trial.hessian_vector(v, d)
    step = 1e-5 * (1.0 + float(np.max(np.abs(v), initial=0.0))) / max(size_of(d), 1e-300)
    return (trial.gradient(v + step * d) - trial.gradient(v - step * d)) / (2 * step)


def _places(trial: FunctionalTrial) -> list[np.ndarray]:
    """Constants of many sizes, where entries reach their kinks and peaks together, and random arrays."""
    ones = trial.zeros() + 1.0
    found = [c * ones for c in _PLACES] + [-c * ones for c in _PLACES[1::3]]
    found += [trial.some(s) for s in (1e-3, 0.1, *SCALES)]
    return found


def _smoothness(trial: FunctionalTrial) -> None:
    bound = number_of(trial.fact("smoothness"))
    slack = 1e-7 if trial.offers("hessian_vector") else 1e-5
    best, at, along = 0.0, trial.zeros(), trial.some()
    for v in _places(trial)[:: max(1, round(1 / trial.effort))]:
        d = along
        for _ in range(2):
            found = _curved(trial, v, d)
            if not np.all(np.isfinite(found)) or not size_of(found):
                break
            ratio = size_of(found) / size_of(d)
            if ratio > best:
                best, at, along = ratio, v, found / size_of(found)
            d = found / size_of(found)
    for _ in range(trial.share(25)):
        found = _curved(trial, at, along)
        if not np.all(np.isfinite(found)) or not size_of(found):
            break
        best = max(best, size_of(found) / size_of(along))
        along = found / size_of(found)
    _report_smoothness(trial, best, bound, slack)
    _pairs(trial, bound)


def _report_smoothness(trial: FunctionalTrial, found: float, bound: float, slack: float) -> None:
    over = max(0.0, found / bound - 1.0) if bound > 0 else found
    message = f"the gradient is declared Lipschitz with {bound:g}, but {found:.6g} occurs"
    ratio = found / bound if bound > 0 else inf
    hint = f"The bound is {1 / ratio:.4g} times what occurs" if over > slack and isfinite(ratio) else ""
    trial.measure("facts", over, slack, message, hint, "smoothness")


def _pairs(trial: FunctionalTrial, bound: float) -> None:
    """Differences of gradients between points, also of opposite sides of a kink."""
    for scale in (1e-3, 0.1, *SCALES):
        for _ in range(trial.share(4)):
            a = trial.some(scale)
            b = a + 0.1 * scale * trial.some() * trial.rng.integers(0, 2, trial.shape)
            for first, second in ((a, b), (a, -a)):
                distance = size_of(second - first)
                if distance == 0:
                    continue
                slopes = trial.gradient(second), trial.gradient(first)
                noise = 8 * trial.lib.epsilon * (size_of(slopes[0]) + size_of(slopes[1]))
                ratio = max(0.0, size_of(slopes[0] - slopes[1]) - noise) / distance
                _report_smoothness(trial, ratio, bound, 1e-7)


def _lowest_curvature(trial: FunctionalTrial) -> None:
    """By power iteration on ``L - H``, at the places where the curvature is lowest."""
    modulus = number_of(trial.fact("strong_convexity"))
    if modulus <= 0 or not trial.zeros().size:
        return
    lowest, at, along = inf, trial.zeros(), trial.some()
    for v in _places(trial)[:: max(1, round(1 / trial.effort))]:
        for d in (along, trial.some()):
            found = _curved(trial, v, d)
            curvature = inner(found, d) / inner(d, d)
            if isfinite(curvature) and curvature < lowest:
                lowest, at, along = curvature, v, d
    top = size_of(_curved(trial, at, along)) / size_of(along)
    top = max(top, *(size_of(_curved(trial, at, d)) for d in trial.units(4)))
    for _ in range(trial.share(20)):
        found = _curved(trial, at, along)
        lowest = min(lowest, inner(found, along) / inner(along, along))
        along = 1.05 * top * along - found
        if not np.all(np.isfinite(along)) or not size_of(along):
            break
        along = along / size_of(along)
    under = max(0.0, 1.0 - lowest / modulus)
    message = f"it is declared strongly convex of modulus {modulus:g}, but the curvature {lowest:.6g} occurs"
    trial.measure("facts", under, 1e-6, message, part="strong")


def _continuous(trial: FunctionalTrial) -> None:
    """A gradient does not jump: half a step leads half as far, up to a bend."""
    for v in (trial.zeros(), trial.some() * (trial.rng.random(trial.shape) < 0.5)):
        if not isfinite(trial.value(v)):
            continue
        d = trial.some()
        changes = [size_of(trial.gradient(v + h * d) - trial.gradient(v - h * d)) for h in (1e-3, 1e-7)]
        if not all(isfinite(c) for c in changes):
            trial.findings.fail("facts", "it is declared smooth, but its gradient at a zero entry is not finite")
            return
        jump = changes[1] / max(changes[0], 1e-300)
        if changes[1] > 1e-5 and jump > 0.5:
            message = "it is declared smooth, but its gradient jumps where entries are zero"
            trial.findings.fail("facts", message, error=jump, tolerance=0.5, part="smooth")


def _separable(trial: FunctionalTrial) -> None:
    mask = np.zeros(trial.shape)
    mask.flat[: mask.size // 2] = 1.0
    trial.rng.shuffle(mask.reshape(-1))
    moves = (trial.some() * mask, trial.some() * (1.0 - mask))
    _differences(trial, "separable", "its entries interact", moves)
    if trial.offers("prox") and mask.size > 1:
        v = trial.some()
        moved = v + (1.0 - mask) * trial.some()
        error = size_of(mask * (trial.prox(v, 0.7) - trial.prox(moved, 0.7))) / (1.0 + size_of(v))
        message = "it is declared separable, but an entry of the prox depends on other entries"
        trial.measure("facts", error, 1e-12, message, part="separable")


def _differences(trial: FunctionalTrial, fact: str, message: str, moves: tuple[np.ndarray, ...]) -> None:
    """The mixed difference of the value along several moves, which has to vanish."""
    start = trial.inside(0.5)
    total, size = 0.0, 1.0
    for code in range(2 ** len(moves)):
        chosen = [m for k, m in enumerate(moves) if code >> k & 1]
        found = trial.value(start + sum(chosen, np.zeros_like(start)))
        total += (-1.0) ** len(chosen) * found
        size += abs(found)
    if isfinite(total):
        trial.measure("facts", abs(total) / size, 1e-11, f"it is declared {fact}, but {message}", part=fact)


def _not_quadratic(trial: FunctionalTrial) -> None:
    """A functional that says no, and is one after all at every sample, loses what only squares can have."""
    seen = 0.0
    for scale in SCALES:
        d, e, g, start = (trial.some(scale) for _ in range(4))
        values = [
            (-1.0) ** bin(code).count("1")
            * trial.value(start + sum(m for k, m in enumerate((d, e, g)) if code >> k & 1))
            for code in range(8)
        ]
        if not all(isfinite(v) for v in values):
            return
        seen = max(seen, abs(sum(values)) / (1.0 + sum(abs(v) for v in values)))
    if trial.zeros().size and seen <= 1e-14:
        trial.findings.note("it is declared not quadratic, but its third differences vanish at every sample")


def _bounded(trial: FunctionalTrial) -> None:
    for d in [sign * ray for ray in (trial.some(), trial.some()) for sign in (1.0, -1.0)]:
        values = [trial.value(c * d) for c in (1e2, 1e4, 1e6)]
        if all(isfinite(v) for v in values) and values[2] < 5 * values[1] < 0 and values[1] < 5 * values[0] < 0:
            message = f"it is declared bounded below, but falls to {values[2]:.3g} along a ray"
            trial.findings.fail("facts", message, part="bounded below")


def _homogeneous(trial: FunctionalTrial) -> None:
    degree = float(trial.fact("homogeneity"))
    v = trial.inside()
    for c in (1e-3, 0.5, 2.0, 1e3):
        found, wanted = trial.value(c * v), c**degree * trial.value(v)
        if found != wanted:
            size = max(abs(found), abs(wanted), 1e-300)
            error = abs(found - wanted) / size if isfinite(found - wanted) else inf
            message = f"it is declared homogeneous of degree {degree:g}, but f({c:g} v) is not {c:g}^{degree:g} f(v)"
            trial.measure("facts", error, 1e-10, message, part="homogeneity")
    if trial.offers("prox"):
        scale, t = 3.0, 0.7
        moved = trial.prox(scale * v, t * scale ** (2.0 - degree))
        error = size_of(moved - scale * trial.prox(v, t)) / (1.0 + size_of(moved))
        message = "its prox does not scale as its degree of homogeneity says"
        trial.measure("facts", error, 1e-10, message, part="homogeneity")


# Phases and magnitudes.


def phases(trial: FunctionalTrial) -> None:
    """Where only magnitudes matter: every entry may turn, and the prox turns with it."""
    if trial.says("phase_invariant"):
        v = trial.some()
        turn = np.exp(2j * np.pi * trial.rng.random(trial.shape)) if trial.kind == "complex" else _signs(trial)
        turned = trial.rounded(turn * v)
        error = abs(trial.value(turned) - trial.value(v)) / (1.0 + abs(trial.value(v)))
        error = error if isfinite(trial.value(v)) else float(isfinite(trial.value(turned)))
        message = "it is declared to depend on magnitudes only, but its value changes with the phases"
        trial.measure("phases", error, 1e-12, message, part="value")
        if trial.offers("prox"):
            for t in (0.3, 2.0):
                error = size_of(trial.prox(turned, t) - turn * trial.prox(v, t)) / (1.0 + size_of(v))
                message = "the prox of e^{ia} v is not e^{ia} times the prox of v"
                hint = "Shrink the magnitude |v| and keep the phase v / |v|"
                trial.measure("phases", error, 1e-11, message, hint, "prox")
    if trial.kind == "complex":
        _real_as_complex(trial)


def _signs(trial: FunctionalTrial) -> np.ndarray:
    return np.where(trial.rng.random(trial.shape) < 0.5, -1.0, 1.0)


def _real_as_complex(trial: FunctionalTrial) -> None:
    """A real array is a complex one without imaginary part."""
    real = trial.at(trial.shape, "real")
    if "real" not in kinds_of(trial.functional):
        return
    v, turned = real.some(), trial.some()
    one, other = trial.value(turned), trial.value(np.conj(turned))
    symmetric = one == other or abs(one - other) <= 1e-12 * (1.0 + abs(one))
    as_complex = v.astype(complex)
    one, other = real.value(v), trial.value(as_complex)
    error = 0.0 if one == other else abs(one - other) / (1.0 + abs(one))
    trial.measure("phases", error, 1e-12, "a real array has another value as a complex one", part="real value")
    pairs = [("prox", lambda at, x: at.prox(x, 0.7)), ("gradient", lambda at, x: at.gradient(x))]
    for name, method in pairs if symmetric else []:  # else imaginary parts may come in
        if trial.offers(name):
            found, wanted = method(trial, as_complex), method(real, v)
            error = size_of(found - wanted) / (1.0 + size_of(wanted))
            message = f"the {name} of a real array is another one where the array is complex without imaginary part"
            trial.measure("phases", error, 1e-11, message, part=f"real {name}")
