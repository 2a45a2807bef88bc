"""Losses of training, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.errors import ParameterError

Loss = Callable[[Any, Any], Any]


def mse(output: Any, target: Any) -> Any:
    """The mean of ``|output - target|^2``."""
    return (output - target).abs().square().mean()


def half_sse(output: Any, target: Any) -> Any:
    """``|output - target|^2 / 2`` for each sample, averaged over the samples of the first axis."""
    return 0.5 * (output - target).abs().square().sum() / output.shape[0]


def l1(output: Any, target: Any) -> Any:
    """The mean of ``|output - target|``."""
    return (output - target).abs().mean()


NAMED: dict[str, Loss] = {"mse": mse, "half_sse": half_sse, "l1": l1}


def loss_of(loss: Loss | str) -> Loss:
    """The function that a name stands for, or the function itself.

    Raises
    ------
    ParameterError
        For a name that stands for nothing.
    """
    if callable(loss):
        return loss
    if loss not in NAMED:
        raise ParameterError(f"the losses with a name are {', '.join(NAMED)}, not {loss!r}; or give a function")
    return NAMED[loss]


__all__ = ["half_sse", "l1", "loss_of", "mse"]
