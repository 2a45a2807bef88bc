"""SCICO's linear operators: NumPy arrays in and out, JAX within."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.operators.algebra import as_shape
from opalg.testing.adapters.adapted import PRECISION, Adapted, kind_of_dtype, label_of, precision_of_dtype

Shape = tuple[int, ...]


def adapt(operator: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``scico.linop.LinearOperator``; a result of several blocks is flat, block by block.

    An operator is complex or real as its ``input_dtype`` says. Where that is real and the result complex, SCICO's
    adjoint is of the real inner product too, up to the imaginary part, which is dropped.
    """
    kind = kind_of_dtype(operator.input_dtype) or "real"
    forward = _on_numpy(operator, operator.input_shape, operator.input_dtype, None)
    backward = _on_numpy(operator.adj, operator.output_shape, operator.output_dtype, kind)
    source, target = _flat_shape(operator.input_shape), _flat_shape(operator.output_shape)
    unpromised = {"dtype": f"SCICO {PRECISION}", "refusal": "SCICO takes what broadcasts"}
    options: dict[str, Any] = {"precision": precision_of_dtype(operator.input_dtype), "unpromised": unpromised}
    label = f"{label_of(operator, 'scico')} {source} -> {target}"
    first = Adapted(label, source, target, forward, lambda: second, kind, **options)
    second = Adapted(f"({label}).H", target, source, backward, lambda: first, **options)
    return first


def _blocks(shape: Any) -> list[Shape] | None:
    """The shapes of the blocks, where an array has several."""
    return [as_shape(s) for s in shape] if shape and isinstance(shape[0], (tuple, list)) else None


def _flat_shape(shape: Any) -> Shape:
    blocks = _blocks(shape)
    return as_shape(shape) if blocks is None else (sum(int(np.prod(s)) for s in blocks),)


def _on_numpy(function: Callable[[Any], Any], shape: Any, dtype: Any, kind: str | None) -> Callable[[Any], Any]:
    """A function of arrays of SCICO as one of NumPy arrays."""
    blocks = _blocks(shape)

    def apply(x: Any) -> Any:
        import scico.numpy as snp

        given = np.asarray(x).astype(np.dtype(dtype))
        if blocks is None:
            if given.shape != as_shape(shape):
                raise ParameterError(f"the operator takes shape {as_shape(shape)}, and was given {given.shape}")
            argument = snp.array(given)
        else:
            cuts = np.cumsum([int(np.prod(s)) for s in blocks])[:-1]
            parts = zip(np.split(given, cuts), blocks, strict=True)
            argument = snp.BlockArray([snp.array(p.reshape(s)) for p, s in parts])
        found = function(argument)
        flat = np.concatenate([np.ravel(np.asarray(b)) for b in found]) if _is_block(found) else np.array(found)
        return flat.real.copy() if kind == "real" and np.iscomplexobj(flat) else flat

    return apply


def _is_block(found: Any) -> bool:
    return type(found).__name__ == "BlockArray"
