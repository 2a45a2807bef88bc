"""Losses of training, by name, and what a loss has to return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opalg.errors import ParameterError, ShapeError

Loss = Callable[[Any, Any], Any]


def mse(output: Any, target: Any) -> Any:
    """The mean of ``|output - target|^2``."""
    return _difference(output, target).abs().square().mean()


def half_sse(output: Any, target: Any) -> Any:
    """``|output - target|^2 / 2`` for each sample, averaged over the samples of the first axis."""
    return 0.5 * _difference(output, target).abs().square().sum() / output.shape[0]


def l1(output: Any, target: Any) -> Any:
    """The mean of ``|output - target|``."""
    return _difference(output, target).abs().mean()


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
    if not isinstance(loss, str) or loss not in NAMED:
        raise ParameterError(f"the losses with a name are {', '.join(NAMED)}, not {loss!r}; or give a function")
    return NAMED[loss]


def checked_loss(losses: Any) -> Any:
    """What a loss has returned.

    Raises
    ------
    ParameterError
        Where that is no real tensor.
    """
    if not hasattr(losses, "detach") or not losses.is_floating_point():
        found = f"a tensor of {losses.dtype}" if hasattr(losses, "detach") else type(losses).__name__
        raise ParameterError(
            f"the loss must return a tensor of real numbers that Torch can differentiate, not {found}; compute it by "
            f"Torch's functions of the output, without float() and .item()"
        )
    return losses


def _difference(output: Any, target: Any) -> Any:
    if isinstance(output, Mapping):
        names = ", ".join(getattr(v, "label", str(v)) for v in output)
        raise ParameterError(
            f"the model gives the variables {names}, of which a loss by name cannot choose; give a function, as in "
            f"loss=lambda output, target: (output[x] - target).square().mean()"
        )
    if not hasattr(target, "detach"):
        raise ParameterError(
            f"the target is a tensor of Torch, not {type(target).__name__}; convert it by torch.as_tensor"
        )
    if tuple(output.shape) != tuple(target.shape):
        raise ShapeError(
            f"the model gives shape {tuple(output.shape)}, but the target has {tuple(target.shape)}; losses by name "
            f"compare entry by entry, a function of your own may do otherwise"
        )
    return output - target


__all__ = ["checked_loss", "half_sse", "l1", "loss_of", "mse"]
