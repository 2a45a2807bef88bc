"""A functional of another library with the names that the kit asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any

import numpy as np

STEP_ZERO = "refuses or does not define the step zero"
SIZES = "is made for arrays of one size, or of one entry at least"


@dataclass(frozen=True)
class AdaptedFunctional:
    """A functional of another library, on NumPy arrays.

    Attributes
    ----------
    label : str
        Its name in reports.
    value : callable or None
        ``value(v)``; infinite outside the domain.
    prox : callable or None
        ``prox(v, t)``, which minimises ``f(u) + |u - v|^2 / (2 t)``.
    gradient : callable or None
        With respect to the plain inner product.
    conjugate : object or None
        The convex conjugate, as far as the library gives it.
    kinds : tuple of str
        The arrays that it takes.
    precision : str
        ``"float32"`` or ``"float64"``.
    facts : object or None
        What its library declares.
    unpromised : mapping from str to str
        Properties that its library does not promise, and what it does instead; they are not tried.
    example_shape : tuple of int or None
        The only shape it takes, where there is one.
    """

    label: str
    value: Callable[[Any], float] | None
    prox: Callable[[Any, float], Any] | None = None
    gradient: Callable[[Any], Any] | None = None
    conjugate: Any = None
    kinds: tuple[str, ...] = ("real",)
    precision: str = "float64"
    facts: Any = None
    unpromised: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    example_shape: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return self.label


def through_projection(project: Callable[[Any], Any], v: Any) -> float:
    """The indicator of what a projection leaves where it is."""
    moved = float(np.max(np.abs(project(v) - v), initial=0.0))
    return 0.0 if moved <= 1e-9 * (1.0 + float(np.max(np.abs(v), initial=0.0))) else inf
