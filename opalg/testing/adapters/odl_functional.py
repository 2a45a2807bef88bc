"""ODL's functionals: gradients, proxes and conjugates belong to weighted inner products, and are brought to the plain
one here."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.facts import YES, exact
from opalg.testing.adapters.adapted import MEMORY, PRECISION, kind_of_dtype, label_of, precision_of_dtype
from opalg.testing.adapters.adapted_functional import SIZES, STEP_ZERO, AdaptedFunctional
from opalg.testing.adapters.odl_adapter import array_of, dtype_of, element_of, shape_of, weights_of

_UNPROMISED = MappingProxyType(
    {
        "dtype": f"ODL {PRECISION}",
        "extremes": f"ODL {PRECISION}",
        "steps": f"ODL {STEP_ZERO}",
        "sizes": f"ODL {SIZES}",
        "fresh": f"ODL {MEMORY}",
    }
)


def adapt_functional(functional: Any, shape: Any = None) -> AdaptedFunctional:
    """An ``odl.functionals.Functional``: ``f(x)``, ``f.proximal(sigma)(x)``, ``f.gradient(x)``, ``f.convex_conj``.

    With one weight w for all entries of the space, ODL minimises ``f(u) + w |u - v|^2 / (2 sigma)``, so that its step
    is ``sigma = w t``; its gradient is that of the plain inner product over w, and its conjugate takes ``q / w``.
    """
    return _adapted(functional, label_of(functional, "odl"), primal=True)


def _adapted(functional: Any, label: str, primal: bool) -> AdaptedFunctional:
    space = functional.domain
    weight = weights_of(space)
    if np.ndim(weight) and np.ptp(weight) > 0:
        raise ParameterError(f"{label} lives in a space with several weights; check it in one with a single weight")
    w = float(np.mean(weight))
    unit = 1.0 if primal else w  # the dual variable of the plain inner product is w times ODL's

    def value(v: Any) -> float:
        found = functional(element_of(space, np.array(v) / unit))
        return float(found if np.imag(found) else np.real(found))

    def prox(v: Any, t: Any) -> Any:
        found = functional.proximal(w * t / unit**2)(element_of(space, np.array(v) / unit))
        return unit * array_of(found)

    def gradient(v: Any) -> Any:
        return w / unit * array_of(functional.gradient(element_of(space, np.array(v) / unit)))

    point = space.one()
    return AdaptedFunctional(
        label,
        value if _has(lambda: functional(point)) else None,
        prox if _has(lambda: functional.proximal(1.0)(point)) else None,
        gradient if _has(lambda: functional.gradient(point)) else None,
        _conjugate(functional, label) if primal else None,
        kinds=(kind_of_dtype(dtype_of(space)) or "real",),
        precision=precision_of_dtype(dtype_of(space)),
        facts=_facts(functional, w) if primal else None,
        unpromised=_UNPROMISED,
        example_shape=shape_of(space),
    )


def _conjugate(functional: Any, label: str) -> AdaptedFunctional | None:
    """The conjugate, where it is more than a name."""
    try:
        found = functional.convex_conj
    except NotImplementedError:
        return None
    if type(found).__name__ == "FunctionalDefaultConvexConjugate":
        return None
    return _adapted(found, f"{label}.convex_conj", primal=False)


def _facts(functional: Any, weight: float) -> SimpleNamespace:
    slope = float(getattr(functional, "grad_lipschitz", np.nan))
    smoothness = exact(weight * slope) if np.isfinite(slope) else None
    convex = YES if _conjugate(functional, "") is not None else None
    return SimpleNamespace(smoothness=smoothness, convex=convex)


def _has(method: Any) -> bool:
    """Whether there is a method; what else goes wrong is found when it is tried."""
    try:
        method()
    except Exception as problem:
        return not isinstance(problem, NotImplementedError)
    return True
