"""PyUNLocBoX's functions: ``eval``, ``prox(x, T)`` and ``grad``."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np

from opalg.testing.adapters.adapted import MEMORY, PRECISION, label_of
from opalg.testing.adapters.adapted_functional import SIZES, STEP_ZERO, AdaptedFunctional, through_projection

_UNPROMISED = MappingProxyType(
    {
        "steps": f"PyUNLocBoX {STEP_ZERO}",
        "sizes": f"PyUNLocBoX {SIZES}",
        "dtype": f"PyUNLocBoX {PRECISION}",
        "fresh": f"PyUNLocBoX {MEMORY}",
    }
)


def adapt_functional(functional: Any, shape: Any = None) -> AdaptedFunctional:
    """A ``pyunlocbox.functions.func``.

    A projection has the value 0 everywhere in PyUNLocBoX; here it is infinite where the projection moves a point.
    """
    is_projection = any(cls.__name__ == "proj" for cls in type(functional).__mro__)

    def prox(v: Any, t: Any) -> Any:
        return functional.prox(np.array(v), t)

    def value(v: Any) -> float:
        if is_projection:
            return through_projection(lambda w: prox(w, 1.0), v)
        return float(np.sum(functional.eval(np.array(v))))

    return AdaptedFunctional(
        label_of(functional, "pyunlocbox"),
        value if is_projection or _defines(functional, "_eval") else None,
        prox if _defines(functional, "_prox") else None,
        (lambda v: functional.grad(np.array(v))) if _defines(functional, "_grad") else None,
        unpromised=_UNPROMISED,
    )


def _defines(functional: Any, name: str) -> bool:
    """Whether a function is given, by a class below the base or set on the object."""
    method: Callable[..., Any] | None = getattr(functional, name, None)
    owner = next((cls for cls in type(functional).__mro__ if name in vars(cls)), None)
    return method is not None and (name in vars(functional) or (owner is not None and owner.__name__ != "func"))
