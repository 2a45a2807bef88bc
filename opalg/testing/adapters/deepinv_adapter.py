"""DeepInverse's linear physics, ``A`` and ``A_adjoint``, on one sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import ParameterError
from opalg.interop.torch_module import module_dtype
from opalg.operators.algebra import as_shape
from opalg.testing.adapters import torch_adapter
from opalg.testing.adapters.adapted import Adapted, kind_of_dtype, label_of, precision_of_dtype, shape_from


def adapt(physics: Any, in_shape: Any = None, out_shape: Any = None) -> Adapted:
    """A ``deepinv.physics.LinearPhysics``; ``in_shape`` is that of an image with its channels, without the batch axis.

    Noise is not part of ``A``, so it is not looked at. Other modules of the library are tried as Torch modules.
    """
    import torch

    if not (callable(getattr(physics, "A", None)) and callable(getattr(physics, "A_adjoint", None))):
        return torch_adapter.adapt(physics, in_shape, out_shape)
    source = shape_from(physics, in_shape, ("in_shape", "img_size", "img_shape"))
    dtype = module_dtype(physics)

    def of_sample(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def apply(x: Any) -> Any:
            with torch.no_grad():
                found = function(x[None])
            if not isinstance(found, torch.Tensor):
                raise ParameterError(
                    f"{type(physics).__name__} gives {type(found).__name__}; check the physics that it is made of"
                )
            return found[0]

        return apply

    forward = of_sample(physics.A)
    probe = forward(torch.zeros(source, dtype=dtype or torch.float64))
    target = tuple(probe.shape) if out_shape is None else as_shape(out_shape)
    return torch_adapter.pair(
        f"{label_of(physics, 'deepinv')} {source} -> {target}",
        (source, target),
        (forward, of_sample(physics.A_adjoint)),
        kind=kind_of_dtype(dtype) or "real",
        precision=None if dtype is None else precision_of_dtype(dtype),
        library="DeepInverse",
    )
