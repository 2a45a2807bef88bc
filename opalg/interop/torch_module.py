"""Linear Torch modules as operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import NotLinearError, ParameterError, UnsupportedError
from opalg.operators.algebra import LinearOperator
from opalg.operators.axes import as_shape
from opalg.operators.function import FunctionOperator


def from_torch(
    module: Callable[[Any], Any],
    in_shape: Any,
    *,
    adjoint: Callable[[Any], Any] | None = None,
    batched: bool = False,
    name: str | None = None,
) -> LinearOperator:
    """A linear Torch module, or function of one tensor, as an operator of opalg on Torch tensors.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Takes a tensor of shape ``in_shape`` and returns one tensor. Its weights are constants of the operator.
    in_shape : tuple of int
        Without batch axes; for a convolution with its channels, ``(channels, height, width)``.
    adjoint : callable, optional
        The adjoint, where it is better than what autograd makes of the module.
    batched : bool
        Whether the module takes any number of leading batch axes; otherwise it is called sample by sample.
    name : str, optional
        What prints; by default the name of the module's class.

    Returns
    -------
    LinearOperator
        A `FunctionOperator`. A module computes in the precision of its own weights; arguments are cast to it, and
        results to that of the argument.

    Raises
    ------
    NotLinearError
        Where the module does not map zero to zero: it has a bias.
    ParameterError
        Where it gives something else than one tensor.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> layer = torch.nn.Linear(3, 2, bias=False)
    >>> oa.interop.from_torch(layer, (3,)).out_shape
    (2,)
    """
    import torch

    source = as_shape(in_shape)
    label = name or getattr(module, "__name__", type(module).__name__)
    dtype = module_dtype(module)

    def forward(x: Any) -> Any:
        # Gradients are recorded only where autograd asks for the transpose, not in the weights.
        with torch.set_grad_enabled(x.requires_grad):
            return module(x if dtype is None else x.to(dtype))

    zero = torch.zeros(source, dtype=dtype or torch.float64, device=_device_of(module))
    with torch.no_grad():
        there = module(zero)
    if not isinstance(there, torch.Tensor):
        raise ParameterError(f"{label} gives {type(there).__name__}; from_torch takes modules that give one tensor")
    if bool((there != 0).any()):
        raise NotLinearError(
            f"{label} does not map zero to zero, so it is not linear; leave out its bias (bias=False), or keep the "
            f"offset apart: y - {label}(0)"
        )
    is_complex = there.is_complex()
    return FunctionOperator(
        forward,
        adjoint,
        in_shape=source,
        out_shape=tuple(there.shape),
        in_dtype=None if dtype is None else "complex" if zero.is_complex() else "real",
        out_dtype=None if dtype is None else "complex" if is_complex else "real",
        name=label,
        batched=batched,
    )


def module_dtype(module: Any) -> Any:
    """The floating dtype of a module's weights and buffers; None where it has none."""
    for group in ("parameters", "buffers"):
        for tensor in getattr(module, group, list)():
            if tensor.is_floating_point() or tensor.is_complex():
                return tensor.dtype
    return None


def autograd_adjoint(module: Any, in_shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """The transpose of a linear function of one tensor, by autograd; complex numbers count as pairs of reals."""
    import torch

    dtype = module_dtype(module)

    def pull(y: Any) -> Any:
        at = torch.zeros(in_shape, dtype=dtype or y.dtype, device=y.device, requires_grad=True)
        with torch.enable_grad():
            image = module(at)
        if not image.requires_grad:
            raise UnsupportedError("autograd cannot follow the module: it leaves Torch, or detaches its argument")
        (found,) = torch.autograd.grad(image, at, y.to(image.dtype))
        return found

    return pull


def _device_of(module: Any) -> Any:
    tensors: Any = getattr(module, "parameters", list)()
    return next((t.device for t in tensors), None)
