"""A model's loss and image quality on data that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from opalg.learning.batches import batches_of
from opalg.learning.losses import loss_of


def evaluate(
    model: Any,
    data: Any,
    loss: Callable[[Any, Any], Any] | str = "mse",
    *,
    metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean loss and metrics of a model over batches.

    Parameters
    ----------
    model : torch.nn.Module
        Called with inputs by name, without recording gradients.
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
    """
    import torch

    measure = loss_of(loss)
    losses: list[Any] = []
    found: dict[str, list[float]] = {name: [] for name in metrics or {}}
    with torch.no_grad():
        for batch in batches_of(data, 0, torch.Generator().manual_seed(seed)):
            output = model(**batch.inputs)
            losses.append(measure(output, batch.target).detach().cpu().numpy())
            for name, metric in (metrics or {}).items():
                found[name] += [metric(a, b) for a, b in zip(output, batch.target, strict=True)]
    mean = np.mean(losses, axis=0)
    figures: dict[str, Any] = {"loss": float(np.sum(mean))}
    if np.ndim(mean):
        figures["losses"] = mean.tolist()
    return figures | {name: float(np.mean(values)) for name, values in found.items()}


__all__ = ["evaluate"]
