"""SCICO's functionals: NumPy arrays in and out, JAX within."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from opalg.facts import YES
from opalg.testing.adapters.adapted import MEMORY, label_of, precision_of_dtype
from opalg.testing.adapters.adapted_functional import SIZES, STEP_ZERO, AdaptedFunctional

_UNPROMISED = MappingProxyType(
    {
        "steps": f"SCICO {STEP_ZERO}",
        "sizes": f"SCICO {SIZES}",
        "fresh": f"SCICO {MEMORY}",
    }
)


def adapt_functional(functional: Any, shape: Any = None) -> AdaptedFunctional:
    """A ``scico.functional.Functional``: ``f(x)``, ``f.prox(v, lam)`` and ``f.grad(x)``, which JAX derives.

    The precision is that of JAX: single, unless its ``jax_enable_x64`` is set. Where a class gives its own
    ``conj_prox``, that is the prox of the conjugate.
    """
    import scico.numpy as snp

    def arrays(method: Any) -> Any:
        def apply(v: Any, *arguments: Any) -> Any:
            return np.array(method(snp.array(np.array(v)), *arguments))

        return apply

    own_dual = any("conj_prox" in vars(c) for c in type(functional).__mro__ if c.__name__ != "Functional")
    precision = precision_of_dtype(snp.array(np.zeros(1)).dtype)
    return AdaptedFunctional(
        label_of(functional, "scico"),
        (lambda v: float(functional(snp.array(np.array(v))))) if functional.has_eval else None,
        arrays(functional.prox) if functional.has_prox else None,
        None,
        SimpleNamespace(prox=arrays(functional.conj_prox)) if own_dual else None,
        kinds=("real", "complex"),
        precision=precision,
        facts=SimpleNamespace(convex=YES) if own_dual else None,
        unpromised=dict(_UNPROMISED)
        | ({"dtype": "SCICO computes in JAX's precision"} if precision == "float32" else {}),
    )
