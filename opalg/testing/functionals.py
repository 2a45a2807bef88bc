"""Check a functional: value, gradient, Hessian product, prox, conjugate and declared facts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, isnan
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend
from opalg.errors import DtypeError, ParameterError
from opalg.facts import YES
from opalg.functionals.calculus import ABILITIES, Functional
from opalg.operators.algebra import as_shape
from opalg.testing.claims import number_of
from opalg.testing.report import Findings, Report
from opalg.testing.subject import KINDS, SubjectError, guarded, inner, random_array, size_of

_SCALES = (0.3, 1.0, 3.0)
_STEPS = (0.05, 0.7, 4.0)


def check_functional(
    functional: Any,
    shape: Any = (3, 4),
    rng: np.random.Generator | None = None,
    *,
    kinds: Collection[str] | None = None,
    library: str = "numpy",
    skip: Collection[str] = (),
) -> Report:
    """Try everything that a functional promises, in float64.

    Parameters
    ----------
    functional : object
        A functional of opalg, or any object with ``value(v)`` and perhaps ``gradient(v)``, ``hessian_vector(v, d)``,
        ``prox(v, t)``, ``conjugate`` and ``facts``.
    shape : tuple of int
        The shape of the arrays to try.
    rng : numpy.random.Generator, optional
        Where random arrays come from; the same ones each time by default.
    kinds : collection of {"real", "complex"}, optional
        The arrays to try; by default those that the functional takes, and real ones where it does not say.
    library : str
        The array library.
    skip : collection of str
        Properties to leave out, of `PROPERTIES`.

    Returns
    -------
    Report
        True where everything holds.

    Raises
    ------
    ParameterError
        Where the object has no ``value``, and for unknown names in ``skip`` or ``kinds``.

    Notes
    -----
    Gradients and Hessian products are compared with central differences. A prox ``u`` of ``v`` may not be beaten by any
    point that random and coordinate directions lead to, and where f is convex it is firmly nonexpansive (Moreau 1965).
    ``v = prox_{t f}(v) + t prox_{f* / t}(v / t)``, and ``f(u) + f*(q) >= Re <u, q>``, with equality for a prox ``u``
    and ``q = (v - u) / t``. Facts are sampled: what passes was not falsified.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.testing.check_functional(oa.functionals.Norm1()).ok
    True
    """
    unknown = [name for name in skip if name not in PROPERTIES] + [k for k in kinds or () if k not in KINDS]
    if unknown:
        raise ParameterError(f"{unknown[0]!r} is none of the properties {', '.join(PROPERTIES)} or kinds {KINDS}")
    if not callable(getattr(functional, "value", None)):
        raise ParameterError(f"{functional!r} has no value(v); give it one, or check an operator with check_operator")
    rng = np.random.default_rng(0) if rng is None else rng
    findings = Findings(repr(functional), tuple(skip))
    for kind in _kinds_of(functional) if kinds is None else kinds:
        trial = _Trial(functional, as_shape(shape), kind, findings, rng, backend(library, "float64"))
        for name, (ability, try_it) in PROPERTIES.items():
            if ability and not trial.offers(ability):
                continue
            if findings.trying(name):
                try:
                    try_it(trial)
                except SubjectError as problem:
                    findings.fail(name, f"{problem} for {kind} arrays")
    return findings.report()


def _kinds_of(functional: Any) -> list[str]:
    found = []
    for kind in KINDS:
        try:
            functional.check_kind(kind)
        except DtypeError:
            continue
        except AttributeError:
            return ["real"]
        found.append(kind)
    return found


@dataclass
class _Trial:
    """One functional on one kind of array, its methods taking and giving NumPy arrays."""

    functional: Any
    shape: tuple[int, ...]
    kind: str
    findings: Findings
    rng: np.random.Generator
    lib: Backend

    def offers(self, ability: str) -> bool:
        """Whether the functional has an ability."""
        if ability == "conjugate":
            return self.is_(YES, "convex") and getattr(self.functional, "conjugate", None) is not None
        if isinstance(self.functional, Functional) and ability in ABILITIES:
            return self.functional.offers(ability)
        if isinstance(self.functional, Functional) and ability == "hessian_vector":
            return self.functional.offers("gradient")
        return callable(getattr(self.functional, ability, None))

    def is_(self, answer: Any, fact: str) -> bool:
        """Whether a fact has that answer."""
        return self.fact(fact) is answer

    def fact(self, name: str) -> Any:
        """A declared fact, or all facts for the empty name."""
        facts = getattr(self.functional, "facts", None)
        return getattr(facts, name, None) if name else facts

    def some(self, scale: float = 1.0) -> np.ndarray:
        """A random array."""
        return scale * random_array(self.rng, self.shape, self.kind)

    def inside(self, scale: float = 1.0) -> np.ndarray:
        """A random array, moved into the domain where a prox can do that."""
        v = self.some(scale)
        return self.prox(v, 0.5) if not isfinite(self.value(v)) and self.offers("prox") else v

    def value(self, v: np.ndarray) -> float:
        """The value at an array."""
        return self._value(self.functional, v)

    def _value(self, functional: Any, v: np.ndarray) -> float:
        return float(guarded("value", partial(functional.value, self.lib.asarray(v))))

    def conjugate_value(self, q: np.ndarray) -> float:
        """The value of the conjugate."""
        return self._value(self.functional.conjugate, q)

    def _array(self, name: str, functional: Any, *arguments: Any) -> np.ndarray:
        given = [self.lib.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        found = np.array(self.lib.to_numpy(guarded(name, partial(getattr(functional, name), *given))))
        wanted = arguments[0]
        if found.shape != wanted.shape or np.iscomplexobj(found) != np.iscomplexobj(wanted):
            shapes = f"of shape {found.shape} from {wanted.dtype} arrays of shape {wanted.shape}"
            raise SubjectError(f"{name} gives {found.dtype} arrays {shapes}")
        return found

    def gradient(self, v: np.ndarray) -> np.ndarray:
        """The gradient."""
        return self._array("gradient", self.functional, v)

    def hessian_vector(self, v: np.ndarray, d: np.ndarray) -> np.ndarray:
        """The Hessian at v times d."""
        return self._array("hessian_vector", self.functional, v, d)

    def prox(self, v: np.ndarray, t: float) -> np.ndarray:
        """The prox."""
        return self._array("prox", self.functional, v, t)

    def conjugate_prox(self, q: np.ndarray, t: float) -> np.ndarray:
        """The prox of the conjugate."""
        return self._array("prox", self.functional.conjugate, q, t)


def _value(trial: _Trial) -> None:
    v = trial.some()
    before = v.copy()
    if isnan(trial.value(v)):
        trial.findings.fail("value", "the value at a random array is NaN")
    if not np.array_equal(v, before):
        trial.findings.fail("value", "value writes into its argument", hint="Work on a copy")


def _gradient(trial: _Trial) -> None:
    ratios = []
    for scale in _SCALES:
        v, d = trial.inside(scale), trial.some()
        step = 6e-6 * (1.0 + float(np.max(np.abs(v), initial=0.0)))
        ahead, behind = trial.value(v + step * d), trial.value(v - step * d)
        if not (isfinite(ahead) and isfinite(behind)):
            continue
        found = trial.gradient(v)
        slope, said = (ahead - behind) / (2 * step), inner(found, d)
        noise = 4 * trial.lib.epsilon * (abs(ahead) + abs(behind)) / step
        size = max(size_of(found) * size_of(d), abs(slope), 1e-300)
        error = max(0.0, abs(slope - said) - noise) / size
        ratios.append(said / slope if slope else 0.0)
        message = f"<gradient, d> = {said:.6g}, but the value has the slope {slope:.6g}"
        trial.findings.measure("gradient", error, 1e-6, message, hint=_factor_hint(ratios))


def _factor_hint(ratios: list[float]) -> str:
    if len(ratios) < 2 or ratios[0] == 0 or abs(ratios[0] - 1) < 1e-4:
        return ""
    same = max(abs(r / ratios[0] - 1) for r in ratios) < 1e-4
    return f"The gradient is {ratios[0]:.4g} times what it should be: a factor or a sign" if same else ""


def _hessian(trial: _Trial) -> None:
    for scale in _SCALES:
        v, d, e = trial.inside(scale), trial.some(), trial.some()
        step = 6e-6 * (1.0 + float(np.max(np.abs(v), initial=0.0)))
        ahead, behind = trial.gradient(v + step * d), trial.gradient(v - step * d)
        found, change = trial.hessian_vector(v, d), (ahead - behind) / (2 * step)
        noise = 4 * trial.lib.epsilon * (size_of(ahead) + size_of(behind)) / step
        size = max(size_of(found), size_of(change), 1e-300)
        error = max(0.0, size_of(found - change) - noise) / size
        trial.findings.measure("hessian", error, 1e-5, "the Hessian product is not the change of the gradient")
        left, right = inner(found, e), inner(d, trial.hessian_vector(v, e))
        scale_of_both = max(size_of(found) * size_of(e), 1e-300)
        message = "the Hessian product is not symmetric"
        trial.findings.measure("hessian", abs(left - right) / scale_of_both, 1e-9, message)


def _objective(trial: _Trial, v: np.ndarray, t: float) -> Callable[[np.ndarray], float]:
    return lambda u: trial.value(u) + inner(u - v, u - v) / (2 * t)


def _directions(trial: _Trial, u: np.ndarray, v: np.ndarray) -> Iterator[np.ndarray]:
    """Random arrays, single entries, and the ways to v and to zero."""
    yield from (v - u, u - v, u, -u)
    for _ in range(6):
        yield trial.some()
    for i in trial.rng.permutation(u.size)[:32]:
        for phase in (1.0, -1.0, 1j, -1j) if trial.kind == "complex" else (1.0, -1.0):
            d = np.zeros(trial.shape, u.dtype)
            d.flat[i] = phase
            yield d


def _excess(trial: _Trial, u: np.ndarray, v: np.ndarray, t: float) -> float:
    """By how much the best point around u beats it."""
    objective = _objective(trial, v, t)
    here = objective(u)
    if not isfinite(here):
        return inf
    found = 0.0
    for d in _directions(trial, u, v):
        for length in (1e-5, 1e-3, 1e-1, 1.0):
            there = objective(u + length * d)
            found = max(found, (here - there) / (1.0 + abs(here)))
    return found


def _prox(trial: _Trial) -> None:
    for t in _STEPS:
        v = trial.some()
        before, u = v.copy(), trial.prox(v, t)
        if not np.array_equal(v, before):
            trial.findings.fail("prox", "prox writes into its argument", hint="Work on a copy")
        excess = _excess(trial, u, v, t)
        if not excess <= 1e-12:
            others = [c for c in (0.5, 2.0, 1 / t, t) if abs(c - 1) > 1e-9 and _excess(trial, u, v, c * t) <= 1e-12]
            hint = f"It is the prox for the step {others[0]:g} t: check the factor of t" if others else ""
            message = f"a point near the prox with t = {t:g} has a lower f(u) + |u - v|^2 / (2 t)"
            trial.findings.measure("prox", excess, 1e-12, message, hint=hint)
        if not isinstance(trial.functional, Functional):
            continue  # only opalg asks for t = 0
        message = "prox(v, 0) of a point of the domain is not that point"
        trial.findings.measure("prox", size_of(trial.prox(u, 0.0) - u) / (1.0 + size_of(u)), 1e-12, message)


def _nonexpansive(trial: _Trial) -> None:
    if not trial.is_(YES, "convex"):
        return
    for t in _STEPS:
        for _ in range(5):
            a, b = trial.some(2.0), trial.some()
            moved = trial.prox(a, t) - trial.prox(b, t)
            excess = max(0.0, inner(moved, moved) - inner(moved, a - b)) / inner(a - b, a - b)
            message = "it is declared convex, but its prox is not firmly nonexpansive"
            trial.findings.measure("nonexpansive", excess, 1e-12, message)


def _moreau(trial: _Trial) -> None:
    if not (trial.offers("prox") and _has(trial.functional.conjugate, "prox")):
        return
    for t in _STEPS:
        v = trial.some()
        found = trial.prox(v, t) + t * trial.conjugate_prox(v / t, 1.0 / t)
        error = size_of(found - v) / size_of(v)
        trial.findings.measure("moreau", error, 1e-11, "prox_{t f}(v) + t prox_{f*/t}(v / t) is not v")


def _has(functional: Any, ability: str) -> bool:
    if isinstance(functional, Functional):
        return functional.offers(ability)
    return callable(getattr(functional, ability, None))


def _fenchel(trial: _Trial) -> None:
    if isinstance(trial.functional, Functional) and not trial.functional.offers("conjugate_value"):
        return
    for scale in _SCALES:
        v, q = trial.inside(scale), trial.some(scale)
        gap = trial.value(v) + trial.conjugate_value(q) - inner(v, q)
        size = 1.0 + abs(inner(v, q))
        message = "f(v) + f*(q) < Re <v, q>, so f* is no conjugate of f"
        trial.findings.measure("fenchel", max(0.0, -gap) / size, 1e-12, message)
        if trial.offers("prox"):
            u = trial.prox(v, 0.7)
            q = (v - u) / 0.7
            gap = trial.value(u) + trial.conjugate_value(q) - inner(u, q)
            size = 1.0 + abs(inner(u, q)) + abs(trial.value(u))
            message = "f(u) + f*(q) is not Re <u, q> for a subgradient q at u"
            trial.findings.measure("fenchel", abs(gap) / size, 1e-10, message)


def _facts(trial: _Trial) -> None:
    if trial.fact("") is None:
        return
    if trial.is_(YES, "convex"):
        _convex(trial)
    if trial.offers("gradient") and getattr(trial.fact("smoothness"), "certainty", "") in (
        "exact",
        "upper",
        "asserted",
    ):
        _smoothness(trial)
    if trial.is_(YES, "separable"):
        _differences(trial, "separable", "its entries interact", _two_entries(trial))
    if trial.is_(YES, "quadratic"):
        d, e, g = (trial.some() for _ in range(3))
        _differences(trial, "quadratic", "its third differences do not vanish", (d, e, g))
    if trial.fact("indicator") is True:
        values = {trial.value(trial.inside(scale)) for scale in _SCALES} | {trial.value(trial.some(9.0))}
        if not values <= {0.0, inf}:
            message = f"it is declared an indicator, but takes the value {max(values - {0.0, inf})}"
            trial.findings.fail("facts", message, part="indicator")


def _convex(trial: _Trial) -> None:
    declared = trial.fact("strong_convexity")
    modulus = 0.0 if declared is None else number_of(declared)
    for scale in (*_SCALES, 10.0):
        for part in (0.5, 0.1, 0.9):
            a, b = trial.inside(scale), trial.inside(scale)
            chord = part * trial.value(a) + (1 - part) * trial.value(b)
            bend = modulus / 2 * part * (1 - part) * inner(a - b, a - b)
            above = trial.value(part * a + (1 - part) * b) + bend - chord
            error = max(0.0, above) / (1.0 + abs(chord)) if isfinite(chord) else 0.0
            what = f"strongly convex of modulus {modulus:g}" if modulus else "convex"
            trial.findings.measure(
                "facts", error, 1e-11, f"it is declared {what}, but lies above a chord", part="convex"
            )


def _smoothness(trial: _Trial) -> None:
    bound = float(trial.fact("smoothness"))
    for scale in (1e-3, 0.1, *_SCALES):
        for _ in range(10):
            a = trial.some(scale)
            b = a + 0.1 * scale * trial.some() * trial.rng.integers(0, 2, trial.shape)
            distance = size_of(b - a)
            if distance == 0:
                continue
            slopes = trial.gradient(b), trial.gradient(a)
            noise = 4 * trial.lib.epsilon * (size_of(slopes[0]) + size_of(slopes[1]))
            ratio = max(0.0, size_of(slopes[0] - slopes[1]) - noise) / distance
            excess = max(0.0, ratio / bound - 1.0) if bound > 0 else ratio
            message = f"the gradient is declared Lipschitz with {bound:g}, but {ratio:g} occurs"
            trial.findings.measure("facts", excess, 1e-7, message, part="smoothness")


def _two_entries(trial: _Trial) -> tuple[np.ndarray, ...]:
    """Two moves that touch different entries, so that a separable function has no mixed difference."""
    mask = np.zeros(trial.shape)
    mask.flat[: mask.size // 2] = 1.0
    trial.rng.shuffle(mask.reshape(-1))
    return trial.some() * mask, trial.some() * (1.0 - mask)


def _differences(trial: _Trial, fact: str, message: str, moves: tuple[np.ndarray, ...]) -> None:
    """The mixed difference of the value along several moves, which has to vanish."""
    start = trial.inside(0.5)
    total, size = 0.0, 1.0
    for code in range(2 ** len(moves)):
        chosen = [m for k, m in enumerate(moves) if code >> k & 1]
        value = trial.value(start + sum(chosen, np.zeros_like(start)))
        total += (-1.0) ** len(chosen) * value
        size += abs(value)
    if isfinite(total):
        text = f"it is declared {fact}, but {message}"
        trial.findings.measure("facts", abs(total) / size, 1e-11, text, part=fact)


def _dtype(trial: _Trial) -> None:
    lib = backend(trial.lib.name, "float32")
    v = lib.asarray(trial.some())
    for name, arguments in (("gradient", (v,)), ("hessian_vector", (v, v)), ("prox", (v, 0.3))):
        if trial.offers(name):
            found = guarded(name, partial(getattr(trial.functional, name), *arguments))
            if found.dtype != v.dtype:
                message = f"{name} of a {v.dtype} array is {found.dtype}"
                trial.findings.fail("dtype", message, hint="Keep the precision of the argument")


PROPERTIES: dict[str, tuple[str, Callable[[_Trial], None]]] = {
    "value": ("", _value),
    "gradient": ("gradient", _gradient),
    "hessian": ("hessian_vector", _hessian),
    "prox": ("prox", _prox),
    "nonexpansive": ("prox", _nonexpansive),
    "moreau": ("conjugate", _moreau),
    "fenchel": ("conjugate", _fenchel),
    "facts": ("", _facts),
    "dtype": ("", _dtype),
}
