"""SigPy's linops, on complex arrays."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from opalg.operators.algebra import as_shape
from opalg.testing.adapters.adapted import MEMORY, PRECISION, Adapted, label_of

_UNPROMISED = MappingProxyType({"dtype": f"SigPy {PRECISION}", "fresh": f"SigPy {MEMORY}"})


def adapt(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``sigpy.linop.Linop``, which maps ``ishape`` to ``oshape``."""
    source, target = as_shape(operator.ishape), as_shape(operator.oshape)
    return Adapted(
        f"{label_of(operator, 'sigpy')} {source} -> {target}",
        source,
        target,
        operator.apply,
        lambda: adapt(operator.H),
        "complex",
        unpromised=_UNPROMISED,
    )
