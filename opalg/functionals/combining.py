"""What arithmetic makes of functionals: functions with which each combinator registers itself.

The base class calls them, and so knows none of the classes that are built on it.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any


@singledispatch
def weighted(functional: Any, weight: Any) -> Any:
    """What ``weight * f`` is, a functional."""
    return NotImplemented


@singledispatch
def added(functional: Any, other: Any) -> Any:
    """What ``f + other`` is, where the other is a functional or a number."""
    return NotImplemented


@singledispatch
def composed(functional: Any, operator: Any) -> Any:
    """What ``f @ A`` is, ``x -> f(A x)``."""
    return NotImplemented


@singledispatch
def translated(functional: Any, offset: Any) -> Any:
    """What ``f.translated(offset)`` is, ``v -> f(v - offset)``."""
    return NotImplemented


@singledispatch
def argument_scaled(functional: Any, factor: Any) -> Any:
    """What ``f.scaled(factor)`` is, ``v -> f(factor v)``."""
    return NotImplemented


@singledispatch
def conjugated(functional: Any) -> Any:
    """What ``f.conjugate`` is, ``q -> sup_v Re <q, v> - f(v)``."""
    return NotImplemented


@singledispatch
def level_set(functional: Any, bound: Any) -> Any:
    """The set ``{v : f(v) <= bound}``, which the constraint ``f(A @ x + b) <= bound`` asks for; None where unknown."""
    return None


__all__ = ["added", "argument_scaled", "composed", "conjugated", "level_set", "translated", "weighted"]
