"""PyProximal's operators, on flat arrays as they take them."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from opalg.facts import YES, Fact
from opalg.testing.adapters.adapted import MEMORY, PRECISION, label_of
from opalg.testing.adapters.adapted_functional import SIZES, STEP_ZERO, AdaptedFunctional, through_projection

_UNPROMISED = MappingProxyType(
    {
        "steps": f"PyProximal {STEP_ZERO}",
        "sizes": f"PyProximal {SIZES}",
        "dtype": f"PyProximal {PRECISION}",
        "fresh": f"PyProximal {MEMORY}",
    }
)


def adapt_functional(functional: Any, shape: Any = None) -> AdaptedFunctional:
    """A ``pyproximal.ProxOperator``: ``f(x)``, ``f.prox(x, tau)``, and ``f.grad(x)`` where it has a gradient.

    Functions that say whether a point is in a set count as indicators. ``proxdual`` is the prox of the conjugate. The
    gradient that a function without one gives is that of its Moreau envelope, and is not looked at. Arrays are
    flattened, as PyProximal takes them.
    """
    own_gradient = _defines(functional, "grad") and getattr(functional, "hasgrad", False)
    dual = SimpleNamespace(prox=_flat_prox(functional.proxdual)) if _defines(functional, "proxdual") else None

    prox = _flat_prox(functional.prox)

    def value(v: Any) -> float:
        found = functional(np.ravel(v))
        if isinstance(found, (bool, np.bool_)):  # rounding leads out of a set that has no tolerance
            return 0.0 if found else through_projection(lambda w: prox(w, 1.0), v)
        return float(found)

    def gradient(v: Any) -> Any:
        return np.reshape(functional.grad(np.ravel(v)), np.shape(v))

    return AdaptedFunctional(
        label_of(functional, "pyproximal"),
        value,
        prox,
        gradient if own_gradient else None,
        dual,
        facts=SimpleNamespace(convex=_convex(functional, dual)),
        unpromised=_UNPROMISED,
        example_shape=_shape(functional),
    )


def _convex(functional: Any, dual: Any) -> Fact | None:
    """A prox of the conjugate makes sense for convex functions alone."""
    return YES if dual is not None else None


def _shape(functional: Any) -> tuple[int, ...] | None:
    """The shape of the matrices that it is made for."""
    dims = getattr(functional, "dims", None) or getattr(functional, "dim", None)
    return tuple(dims) if isinstance(dims, (tuple, list)) else None


def _defines(functional: Any, name: str) -> bool:
    """Whether a class below PyProximal's base defines a method itself."""
    for cls in type(functional).__mro__:
        if name in vars(cls):
            return cls.__name__ != "ProxOperator"
    return False


def _flat_prox(prox: Any) -> Any:
    def apply(v: Any, t: Any) -> Any:
        return np.reshape(prox(np.ravel(v), t), np.shape(v))

    return apply
