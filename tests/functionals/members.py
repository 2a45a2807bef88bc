"""Every functional of opalg, found through its class and its ``examples``, and arrays to try them on."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import numpy as np

import opalg.functionals
from opalg.errors import DtypeError
from opalg.functionals import Functional
from opalg.testing.catalogue import shape_for

SHAPE = (3, 4)


def _classes(base: type) -> list[type]:
    below = [c for child in base.__subclasses__() for c in [child, *_classes(child)]]
    return sorted(set(below), key=lambda c: c.__qualname__)


def every_functional() -> list[Functional]:
    """Examples of every functional class in `opalg.functionals`."""
    for module in pkgutil.iter_modules(opalg.functionals.__path__):
        importlib.import_module(f"opalg.functionals.{module.name}")
    rng = np.random.default_rng(7)
    classes = [c for c in _classes(Functional) if c.__module__.startswith("opalg.") and hasattr(c, "examples")]
    return [f for c in classes for f in c.examples(rng)]


def kinds(functional: Functional) -> list[str]:
    """The kinds of array that a functional takes."""
    found = []
    for kind in ("real", "complex"):
        try:
            functional.check_kind(kind)
        except DtypeError:
            continue
        found.append(kind)
    return found


def some(
    rng: np.random.Generator, kind: str = "real", scale: float = 1.0, shape: tuple[int, ...] = SHAPE
) -> np.ndarray:
    """A random array, of the common shape where none is given."""
    out = scale * rng.standard_normal(shape)
    return out + 1j * scale * rng.standard_normal(shape) if kind == "complex" else out


def point(f: Functional, kind: str, seed: int, scale: float = 1.0) -> np.ndarray:
    """A random array of the shape that a functional takes, the same for the same seed."""
    return some(np.random.default_rng(seed), kind, scale, shape_for(f))


def inner(u: np.ndarray, v: np.ndarray) -> float:
    """``Re sum(conj(u) v)``."""
    return float(np.sum(np.conj(u) * v).real)


MEMBERS = every_functional()
CASES = [(f, kind) for f in MEMBERS for kind in kinds(f)]
NAMES = [f"{f!r}-{kind}".replace(" ", "") for f, kind in CASES]


def offering(ability: str, suits: Callable[[Functional], bool] = lambda f: True) -> dict[str, object]:
    """Arguments for ``pytest.mark.parametrize``: the cases whose functional offers an ability and suits a test."""
    kept = [(case, name) for case, name in zip(CASES, NAMES, strict=True) if case[0].offers(ability) and suits(case[0])]
    return {"argnames": ("f", "kind"), "argvalues": [c for c, _ in kept], "ids": [n for _, n in kept]}
