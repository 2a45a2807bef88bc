"""Linear Torch modules: the adjoint is the module's own where it has one, else what autograd makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import ParameterError
from opalg.interop.torch_module import autograd_adjoint, module_dtype
from opalg.operators.algebra import as_shape
from opalg.testing.adapters.adapted import (
    MEMORY,
    PRECISION,
    SHAPES,
    Adapted,
    kind_of_dtype,
    label_of,
    precision_of_dtype,
    shape_from,
)


def adapt(module: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``torch.nn.Module`` that is a linear map of one tensor, or a tensor of two axes as a matrix.

    A method ``adjoint`` of the module, or an attribute ``H`` that is a module, is its adjoint. Otherwise autograd
    transposes it, and what is tried is its linearity and, where it defines its own backward pass, that.
    """
    import torch

    if isinstance(module, torch.Tensor):
        return _matrix(module)
    source = shape_from(module, in_shape, ("in_shape", "in_features"))
    dtype = module_dtype(module)

    def apply(x: Any) -> Any:
        with torch.no_grad():
            return module(x)

    probe = apply(torch.zeros(source, dtype=dtype or torch.float64, device=_device(module)))
    if not isinstance(probe, torch.Tensor):
        raise ParameterError(f"{label_of(module, 'torch')} gives {type(probe).__name__}, and not one tensor")
    target = tuple(probe.shape) if out_shape is None else as_shape(out_shape)
    backward = _own_adjoint(module) or autograd_adjoint(module, source)
    return pair(
        f"{label_of(module, 'torch')} {source} -> {target}",
        (source, target),
        (apply, backward),
        kind=kind_of_dtype(dtype),
        precision=None if dtype is None else precision_of_dtype(dtype),
        library="Torch",
    )


def pair(
    label: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    maps: tuple[Callable[[Any], Any], Callable[[Any], Any]],
    *,
    kind: str | None,
    precision: str | None,
    library: str,
) -> Adapted:
    """Two functions of tensors as an operator and its adjoint; with a precision of their own where one is given."""
    unpromised = {"fresh": f"{library} {MEMORY}", "refusal": f"{library} {SHAPES}"}
    if precision is not None:
        unpromised["dtype"] = f"{library} {PRECISION}"
    options: dict[str, Any] = {
        "in_kind": kind,
        "library": "torch",
        "precision": precision or "float64",
        "unpromised": unpromised,
    }
    forward = Adapted(label, shapes[0], shapes[1], maps[0], lambda: backward, **options)
    backward = Adapted(f"({label}).H", shapes[1], shapes[0], maps[1], lambda: forward, **options)
    return forward


def _matrix(tensor: Any) -> Adapted:
    if tensor.ndim != 2:
        raise ParameterError(f"a matrix has two axes, but this tensor has the shape {tuple(tensor.shape)}")
    rows, columns = (int(n) for n in tensor.shape)
    return pair(
        f"torch matrix of shape {(rows, columns)}",
        ((columns,), (rows,)),
        (lambda x: tensor @ x, lambda y: tensor.mH @ y),
        kind=kind_of_dtype(tensor.dtype),
        precision=precision_of_dtype(tensor.dtype),
        library="Torch",
    )


def _own_adjoint(module: Any) -> Callable[[Any], Any] | None:
    import torch

    for name in ("adjoint", "H"):
        found = getattr(module, name, None)
        if callable(found):

            def pull(y: Any, found: Callable[[Any], Any] = found) -> Any:
                with torch.no_grad():
                    return found(y)

            return pull
    return None


def _device(module: Any) -> Any:
    return next((p.device for p in module.parameters()), None)
