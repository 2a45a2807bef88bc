"""ODL's operators: their adjoints belong to weighted inner products, and are brought to the plain one here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.operators.algebra import as_shape
from opalg.testing.adapters.adapted import MEMORY, PRECISION, Adapted, kind_of_dtype, label_of, precision_of_dtype


def adapt(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """An ``odl.Operator`` between discrete spaces or powers of them.

    ODL's adjoint B satisfies ``<A x, y>_W = <x, B y>_V``, with the weights W of ``range`` and V of ``domain`` (the
    volume of a cell, for functions on a grid). The plain adjoint is ``V B W^-1``.
    """
    domain, codomain = operator.domain, operator.range
    source, target = shape_of(domain), shape_of(codomain)
    inner, outer = weights_of(domain), weights_of(codomain)
    options: dict[str, Any] = {
        "precision": precision_of_dtype(dtype_of(domain)),
        "unpromised": {"dtype": f"ODL {PRECISION}", "fresh": f"ODL {MEMORY}"},
    }
    label = f"{label_of(operator, 'odl')} {source} -> {target}"
    apply = _on_arrays(operator, domain)
    weighted = _on_arrays(operator.adjoint, codomain)

    def pull(y: Any) -> Any:
        return inner * weighted(y / outer)

    first = Adapted(label, source, target, apply, lambda: second, kind_of_dtype(dtype_of(domain)), **options)
    second = Adapted(f"({label}).H", target, source, pull, lambda: first, **options)
    return first


def parts_of(space: Any) -> list[Any] | None:
    """The spaces that a product space is made of; None for another space."""
    return list(space) if hasattr(space, "is_power_space") else None


def shape_of(space: Any) -> tuple[int, ...]:
    """The shape of the arrays of a space."""
    parts = parts_of(space)
    if parts is not None and not space.is_power_space:
        raise ParameterError(f"{space!r} is a product of different spaces; check the operator of each component")
    return as_shape(space.shape)


def dtype_of(space: Any) -> Any:
    """The dtype of the arrays of a space."""
    parts = parts_of(space)
    return space.dtype if parts is None else dtype_of(parts[0])


def weights_of(space: Any) -> Any:
    """What the inner product of a space multiplies entries by: a number, or an array."""
    weighting = getattr(space, "weighting", None)
    own = getattr(weighting, "const", None)
    if own is None:
        own = getattr(weighting, "array", 1.0)
        own = np.asarray(getattr(own, "data", own), dtype=float) if not isinstance(own, float) else own
    parts = parts_of(space)
    if parts is None:
        return own
    below = np.stack([np.broadcast_to(weights_of(part), shape_of(part)) for part in parts])
    return np.reshape(own, np.shape(own) + (1,) * (below.ndim - np.ndim(own))) * below


def _on_arrays(operator: Any, space: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if np.shape(x) != shape_of(space):
            raise ParameterError(f"the operator takes shape {shape_of(space)}, and was given {np.shape(x)}")
        return array_of(operator(element_of(space, np.array(x))))

    return apply


def element_of(space: Any, values: Any) -> Any:
    """An array as an element of a space."""
    parts = parts_of(space)
    return space.element(values if parts is None else [element_of(p, v) for p, v in zip(parts, values, strict=True)])


def array_of(found: Any) -> Any:
    """An element of a space as an array."""
    parts = getattr(found, "parts", None)
    if parts is not None:
        return np.stack([array_of(part) for part in parts])
    return np.array(getattr(found, "data", found))
