"""One functional on one kind of array: its methods on NumPy arrays, and points to try them at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite, prod
from time import perf_counter
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.emit.calling import Prepared
from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.calculus import ABILITIES, Functional, is_within
from opalg.functionals.exactness import Exactness
from opalg.program.expression import Input, Literal
from opalg.testing.report import Findings
from opalg.testing.subject import SubjectError, guarded, random_array

Shape = tuple[int, ...]
SCALES = (0.3, 1.0, 3.0)
STEPS = (0.05, 0.7, 6.0)
_SLOW = 5e-3  # seconds
_OF_ITERATIONS = 0.04


@dataclass
class FunctionalTrial:
    """One functional on one kind of array.

    Attributes
    ----------
    functional : object
        A functional of opalg, or an object with its methods.
    shape : tuple of int
        The shape of the arrays.
    kind : str
        ``"real"`` or ``"complex"``.
    findings : Findings
        Where to write.
    rng : numpy.random.Generator
    lib : Backend
        Library and precision.
    """

    functional: Any
    shape: Shape
    kind: str
    findings: Findings
    rng: np.random.Generator
    lib: Backend
    fast: dict[Any, Callable[[np.ndarray], float]] = field(default_factory=dict)
    known: dict[str, bool] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    # What it is.

    @property
    def ours(self) -> bool:
        """Whether it is a functional of opalg, which promises more than the protocol asks for."""
        return isinstance(self.functional, Functional)

    def offers(self, ability: str) -> bool:
        """Whether the functional has an ability; ``""`` is what every functional has."""
        if not ability:
            return True
        if ability == "conjugate":
            return self.is_convex and getattr(self.functional, "conjugate", None) is not None
        if self.ours and ability == "hessian_vector":
            return self.functional.offers("gradient") and self._has_hessian()
        if self.ours and ability in ABILITIES:
            return self.functional.offers(ability)
        return callable(getattr(self.functional, ability, None))

    def _has_hessian(self) -> bool:
        """Whether there is a Hessian product in this library; a network may have none, and says so."""
        if "hessian" not in self.known:
            v = self.lib.asarray(self.zeros() + 0.5)
            try:
                self.functional.hessian_vector(v, v)
            except UnsupportedError as refusal:
                self.findings.note(f"Hessian products were not tried: {refusal}")
                self.known["hessian"] = False
            except Exception:  # it is tried again, and found, where Hessian products are checked
                self.known["hessian"] = True
            else:
                self.known["hessian"] = True
        return self.known["hessian"]

    def fact(self, name: str) -> Any:
        """A declared fact; None where there is none."""
        return getattr(getattr(self.functional, "facts", None), name, None)

    def says(self, name: str) -> bool:
        """Whether a fact is declared to be true."""
        return self.fact(name) is YES or self.fact(name) is True

    @property
    def is_convex(self) -> bool:
        """Whether it is declared convex."""
        return self.says("convex")

    def at(self, shape: Shape, kind: str = "", lib: Backend | None = None) -> FunctionalTrial:
        """The same functional on arrays of another shape, kind or precision."""
        return replace(self, shape=shape, kind=kind or self.kind, lib=lib or self.lib)

    def takes(self, shape: Shape) -> bool:
        """Whether it takes arrays of a shape: one of opalg says it, another one is tried."""
        if self.ours:
            try:
                self.functional.check_shape(shape)
            except ShapeError:
                return False
            return True
        other = self.at(shape)
        v = other.some()
        try:
            other.value(v)
            return not self.offers("prox") or other.prox(v, 0.5).shape == shape
        except SubjectError:
            return False

    @property
    def effort(self) -> float:
        """1 for what is fast; less for proxes that iterate, and for another's that take more than some milliseconds."""
        if self.ours:
            return _OF_ITERATIONS if self.functional.exactness is Exactness.ITERATIVE else 1.0
        if "cost" not in self.costs:
            v = self.some()
            for _ in range(2):
                start = perf_counter()
                self.value(v)
                if self.offers("prox"):
                    self.prox(v, 0.7)
                self.costs["cost"] = perf_counter() - start
            if self.costs["cost"] > _SLOW:
                taken = 1e3 * self.costs["cost"]
                self.findings.note(f"a value and a prox take {taken:.0f} ms, so fewer points were tried")
        return min(1.0, max(0.02, 1e-3 / self.costs["cost"])) if self.costs["cost"] > _SLOW else 1.0

    def share(self, count: int, least: int = 1) -> int:
        """How many of some points to try."""
        return max(least, round(count * self.effort))

    def measure(self, name: str, error: float, tolerance: float, message: str, hint: str = "", part: str = "") -> None:
        """Keep an error; in single precision no less than its rounding is tolerated."""
        self.findings.measure(name, error, self.limit(tolerance), message, hint=hint, part=part)

    def limit(self, tolerance: float) -> float:
        """A tolerance for double precision in the precision of the trial."""
        return max(tolerance, 300 * self.lib.epsilon if self.lib.epsilon > 1e-10 else 0.0)

    # Points.

    def some(self, scale: float = 1.0) -> np.ndarray:
        """A random array, in the precision of the trial."""
        return self.rounded(np.asarray(scale * random_array(self.rng, self.shape, self.kind)))

    def rounded(self, v: np.ndarray) -> np.ndarray:
        """An array whose entries are numbers of the precision of the trial, in double."""
        if self.lib.epsilon < 1e-10:
            return v
        single = v.astype(np.complex64 if np.iscomplexobj(v) else np.float32)
        return single.astype(complex if np.iscomplexobj(v) else float)

    def zeros(self) -> np.ndarray:
        """An array of zeros."""
        return np.zeros(self.shape, complex if self.kind == "complex" else float)

    def inside(self, scale: float = 1.0) -> np.ndarray:
        """A random array, moved into the domain where a prox can do that."""
        v = self.some(scale)
        return v if isfinite(self.value(v)) or not self.offers("prox") else self.feasible(v)

    def feasible(self, v: np.ndarray) -> np.ndarray:
        """Where a prox of a small step brings an array; a point of the domain, if the prox is right."""
        return self.prox(v, 1e-3)

    def units(self, most: int) -> list[np.ndarray]:
        """Arrays with one entry of modulus 1, of random places: along each real axis of some entries."""
        found = []
        for i in self.rng.permutation(prod(self.shape))[:most]:
            for phase in (1.0, -1.0, 1j, -1j) if self.kind == "complex" else (1.0, -1.0):
                d = self.zeros()
                d.flat[i] = phase
                found.append(d)
        return found

    # Methods.

    def value(self, v: np.ndarray) -> float:
        """The value at an array."""
        return self.evaluator()(v)

    def public_value(self, v: np.ndarray) -> float:
        """The value as a user gets it."""
        return value_of(self.functional, self.lib.asarray(v))

    def evaluator(self) -> Callable[[np.ndarray], float]:
        """The value as a function; of a functional of opalg, compiled once, since searches take thousands."""
        key = (self.shape, self.kind, self.lib.key)
        if key not in self.fast:
            known = _compiled(self.functional, self.shape, self.kind, self.lib) if self.ours else self.public_value
            self.fast[key] = known
        return self.fast[key]

    def conjugate_value(self, q: np.ndarray) -> float:
        """The value of the conjugate."""
        return value_of(self.functional.conjugate, self.lib.asarray(q))

    def objective(self, v: np.ndarray, t: float) -> Callable[[np.ndarray], float]:
        """What a prox minimises."""
        value, half = self.evaluator(), 1 / (2 * t)

        def evaluate(u: np.ndarray) -> float:
            d = (u - v).ravel()
            return value(u) + half * np.vdot(d, d).real

        return evaluate

    def _array(self, name: str, functional: Any, *arguments: Any) -> np.ndarray:
        given = [self.lib.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        raw = guarded(name, partial(getattr(functional, name), *given))
        found = np.array(guarded(name, partial(self.lib.to_numpy, raw)))
        wanted = arguments[0]
        if found.shape != wanted.shape or np.iscomplexobj(found) != np.iscomplexobj(wanted):
            shapes = f"of shape {found.shape} from {wanted.dtype} arrays of shape {wanted.shape}"
            raise SubjectError(f"{name} gives {found.dtype} arrays {shapes}")
        return found.astype(complex if np.iscomplexobj(found) else float)

    def gradient(self, v: np.ndarray) -> np.ndarray:
        """The gradient."""
        return self._array("gradient", self.functional, v)

    def hessian_vector(self, v: np.ndarray, d: np.ndarray) -> np.ndarray:
        """The Hessian at v times d."""
        return self._array("hessian_vector", self.functional, v, d)

    def prox(self, v: np.ndarray, t: Any) -> np.ndarray:
        """The prox."""
        return self._array("prox", self.functional, v, t)

    def conjugate_prox(self, q: np.ndarray, t: float) -> np.ndarray:
        """The prox of the conjugate."""
        return self._array("prox", self.functional.conjugate, q, t)


def has(functional: Any, ability: str) -> bool:
    """Whether a functional, of opalg or another, has an ability."""
    if isinstance(functional, Functional) and ability in ABILITIES:
        return functional.offers(ability)
    return callable(getattr(functional, ability, None))


def value_of(functional: Any, v: Any) -> float:
    """The value of a functional at an array of its library."""
    return guarded("value", lambda: float(functional.value(v)))


def kinds_of(functional: Any) -> list[str]:
    """The kinds of array that a functional takes; real ones where it does not say."""
    said = getattr(functional, "kinds", None)
    if said is not None and not callable(said):
        return list(said)
    found = []
    for kind in ("real", "complex"):
        try:
            functional.check_kind(kind)
        except DtypeError:
            continue
        except AttributeError:
            return ["real"]
        found.append(kind)
    return found


def _compiled(functional: Functional, shape: Shape, kind: str, lib: Backend) -> Callable[[np.ndarray], float]:
    """`Functional.value` without its checks; extreme entries go the long way."""
    x = Input("v", shape, kind)
    violation = guarded("value", partial(functional.define_violation, x))
    value = Prepared(guarded("value", partial(functional.define_value, x)), x, lib)
    everywhere = isinstance(violation, Literal) and violation.value == 0
    outside = None if everywhere else Prepared(violation, x, lib)

    plain = lib.name == "numpy"

    def evaluate(v: np.ndarray) -> float:
        given = lib.asarray(v)
        size = float(abs(v).max()) if v.size else 0.0
        if not 1e-9 < size < 1e9:
            return value_of(functional, given)
        try:
            if outside is not None and not is_within(outside(given), given, lib):
                return float("inf")
            found = value(given)
        except Exception as problem:
            raise SubjectError(f"value raises {type(problem).__name__}: {problem}") from problem
        return float(found.real) if plain else float(lib.item(found).real)

    return evaluate
