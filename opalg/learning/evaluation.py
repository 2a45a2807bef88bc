"""A model's loss and image quality on data that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.learning.batches import batches_of, lone_input
from opalg.learning.evaluation_mode import evaluation_mode
from opalg.learning.losses import checked_loss, loss_of
from opalg.learning.training_log import COLUMNS

Metrics = Mapping[str, Callable[[Any, Any], float]]


def evaluate(
    model: Any,
    data: Any,
    loss: Callable[[Any, Any], Any] | str = "mse",
    *,
    metrics: Metrics | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean loss and metrics of a model over batches.

    Parameters
    ----------
    model : torch.nn.Module
        Called with inputs by name, in evaluation mode and without recording gradients. Warm starts of solver modules
        are set aside, so that a training run goes on as if nothing had been evaluated.
    data : iterable, or callable ``(epoch, generator) -> iterable``
        As for `fit`; a callable gets epoch 0 and a generator of the seed, the same at every call.
    loss : callable or str
        As for `fit`.
    metrics : mapping from name to callable, optional
        ``metric(image, reference)`` of single samples, along the first axis, such as ``oa.metrics.psnr``.
    seed : int

    Returns
    -------
    dict
        ``"loss"``, ``"losses"`` where the loss has several entries, and the mean of every metric.

    Raises
    ------
    ParameterError
        For what is no module, no batch or no mapping of metrics.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> batch = ({"input": torch.ones(4, 2)}, torch.zeros(4, 2))
    >>> oa.learning.evaluate(torch.nn.Identity(), [batch], metrics={"largest": lambda a, b: float(a.max())})
    {'loss': 1.0, 'largest': 1.0}
    """
    return evaluated(model, data, loss, metrics, seed)


def evaluated(
    model: Any, data: Any, loss: Any, metrics: Metrics | None, seed: int, names: Collection[str] | None = None
) -> dict[str, Any]:
    """`evaluate`, of batches that have inputs of these names."""
    import torch

    if not isinstance(model, torch.nn.Module):
        hint = "; turn the plan into one by plan.as_module()" if hasattr(model, "as_module") else ""
        raise ParameterError(f"evaluate takes a torch.nn.Module, not {type(model).__name__}{hint}")
    measure, chosen, alone = loss_of(loss), checked_metrics(metrics), lone_input(model)
    losses: list[Any] = []
    found: dict[str, list[float]] = {name: [] for name in chosen}
    with torch.no_grad(), _apart(model):
        for batch in batches_of(data, 0, torch.Generator().manual_seed(seed), alone, names):
            output = model(**batch.inputs)
            losses.append(checked_loss(measure(output, batch.target)).detach().cpu().numpy())
            for name, metric in chosen.items():
                found[name] += _per_sample(name, metric, output, batch.target)
    mean = np.mean(losses, axis=0)
    figures: dict[str, Any] = {"loss": float(np.sum(mean))}
    if np.ndim(mean):
        figures["losses"] = mean.tolist()
    return figures | {name: float(np.mean(values)) for name, values in found.items()}


def checked_metrics(metrics: Any) -> Metrics:
    """The metrics as a mapping from name to function.

    Raises
    ------
    ParameterError
        For anything else.
    """
    chosen = {} if metrics is None else metrics
    if not isinstance(chosen, Mapping) or not all(callable(m) for m in chosen.values()):
        raise ParameterError(
            f"metrics are a mapping from name to function, as in metrics={{'psnr': oa.metrics.psnr}}, not {metrics!r}"
        )
    for name in chosen:
        if not isinstance(name, str) or name in COLUMNS:
            raise ParameterError(
                f"a metric cannot be called {name!r}, which stands for something else in the log; give it another name"
            )
    return chosen


def _per_sample(name: str, metric: Callable[[Any, Any], float], output: Any, target: Any) -> list[float]:
    if isinstance(output, Mapping):
        raise ParameterError(
            f"the model gives several variables, of which the metric {name!r} cannot choose; evaluate a module that "
            f"returns one of them"
        )
    if len(output) != len(target):
        raise ParameterError(f"the output has {len(output)} samples along its first axis, the target {len(target)}")
    return [_number(name, metric(a, b)) for a, b in zip(output, target, strict=True)]


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(
            f"the metric {name!r} must return a number for each sample, not {type(value).__name__}: {error}"
        ) from error


@contextmanager
def _apart(model: Any) -> Iterator[None]:
    """The model in evaluation mode, and its solvers without warm starts; afterwards all is as it was."""
    with ExitStack() as stack:
        for module in model.modules():
            if hasattr(module, "apart"):
                stack.enter_context(module.apart())
        stack.enter_context(evaluation_mode(model))
        yield


__all__ = ["Metrics", "checked_metrics", "evaluate", "evaluated"]
