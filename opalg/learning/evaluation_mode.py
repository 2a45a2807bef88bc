"""Networks in evaluation mode for a while, since a penalty or a test is of one function and not of a random one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opalg.program.hidden_networks import called_modules
from opalg.program.network_weights import is_module


@contextmanager
def evaluation_mode(function: Callable[..., Any]) -> Iterator[None]:
    """Put a network, or those that a function is seen to call, in evaluation mode; afterwards all is as it was.

    Parameters
    ----------
    function : torch.nn.Module or callable
    """
    modes = [(m, m.training) for network in networks_of(function) for m in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def networks_of(function: Any) -> list[Any]:
    """The networks that a function is, refers to by name, or wraps."""
    if is_module(function):
        return [function]
    found = [module for _, module in called_modules(function)]
    wrapped = getattr(function, "__wrapped__", None)
    return found if wrapped is None else found + [m for m in networks_of(wrapped) if not any(m is f for f in found)]


__all__ = ["evaluation_mode", "networks_of"]
