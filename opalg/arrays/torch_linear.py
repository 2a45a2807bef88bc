"""Linear maps on tensors that autograd records: the backward pass is the adjoint, and can itself be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Map = Callable[[Any], Any]


class _LinearMap(torch.autograd.Function):
    """``x -> A x`` with the backward pass ``u -> A.H u``."""

    @staticmethod
    def forward(ctx: Any, x: Any, forward: Map, adjoint: Map) -> Any:
        ctx.maps = forward, adjoint
        return forward(x.detach())

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        forward, adjoint = ctx.maps
        return _LinearMap.apply(cotangents[0], adjoint, forward), None, None


def recorded(forward: Map, adjoint: Map, x: Any) -> Any:
    """The map of a tensor, with a node of autograd's graph where the tensor asks for one.

    Parameters
    ----------
    forward, adjoint : callable
        The map and its adjoint on plain tensors, for the inner product ``Re sum(conj(u) v)``.
    x : torch.Tensor
        The argument.
    """
    return _LinearMap.apply(x, forward, adjoint)
