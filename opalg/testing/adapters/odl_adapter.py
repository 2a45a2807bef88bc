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
    source, target = _shape(domain), _shape(codomain)
    inner, outer = _weights(domain), _weights(codomain)
    options: dict[str, Any] = {
        "precision": precision_of_dtype(_dtype(domain)),
        "unpromised": {"dtype": f"ODL {PRECISION}", "fresh": f"ODL {MEMORY}"},
    }
    label = f"{label_of(operator, 'odl')} {source} -> {target}"
    apply = _on_arrays(operator, domain)
    weighted = _on_arrays(operator.adjoint, codomain)

    def pull(y: Any) -> Any:
        return inner * weighted(y / outer)

    first = Adapted(label, source, target, apply, lambda: second, kind_of_dtype(_dtype(domain)), **options)
    second = Adapted(f"({label}).H", target, source, pull, lambda: first, **options)
    return first


def _parts(space: Any) -> list[Any] | None:
    """The spaces that a product space is made of; None for another space."""
    return list(space) if hasattr(space, "is_power_space") else None


def _shape(space: Any) -> tuple[int, ...]:
    parts = _parts(space)
    if parts is not None and not space.is_power_space:
        raise ParameterError(f"{space!r} is a product of different spaces; check the operator of each component")
    return as_shape(space.shape)


def _dtype(space: Any) -> Any:
    parts = _parts(space)
    return space.dtype if parts is None else _dtype(parts[0])


def _weights(space: Any) -> Any:
    """What the inner product of a space multiplies entries by: a number, or an array."""
    weighting = getattr(space, "weighting", None)
    own = getattr(weighting, "const", None)
    if own is None:
        own = getattr(weighting, "array", 1.0)
        own = np.asarray(getattr(own, "data", own), dtype=float) if not isinstance(own, float) else own
    parts = _parts(space)
    if parts is None:
        return own
    below = np.stack([np.broadcast_to(_weights(part), _shape(part)) for part in parts])
    return np.reshape(own, np.shape(own) + (1,) * (below.ndim - np.ndim(own))) * below


def _on_arrays(operator: Any, space: Any) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if np.shape(x) != _shape(space):
            raise ParameterError(f"the operator takes shape {_shape(space)}, and was given {np.shape(x)}")
        return _array(operator(_element(space, np.array(x))))

    return apply


def _element(space: Any, values: Any) -> Any:
    parts = _parts(space)
    return space.element(values if parts is None else [_element(p, v) for p, v in zip(parts, values, strict=True)])


def _array(found: Any) -> Any:
    parts = getattr(found, "parts", None)
    if parts is not None:
        return np.stack([_array(part) for part in parts])
    return np.array(getattr(found, "data", found))
