"""Batches of training data, from lists, loaders and functions that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opalg.errors import ParameterError


@dataclass(frozen=True)
class Batch:
    """What a step of training works on.

    Attributes
    ----------
    inputs : dict from str to tensor
        Arguments of the model, by name.
    target : tensor
        What the output is to be.
    indices : tensor of int, or None
        Which samples these are.
    """

    inputs: dict[str, Any]
    target: Any
    indices: Any = None


def batches_of(data: Any, epoch: int, generator: Any) -> Iterator[Batch]:
    """The batches of one epoch.

    Raises
    ------
    ParameterError
        For what is no batch.
    """
    for item in data(epoch, generator) if callable(data) else data:
        yield batch_of(item)


def batch_of(item: Any) -> Batch:
    """A batch from a tuple ``(inputs, target)`` or ``(inputs, target, indices)``."""
    if isinstance(item, Batch):
        return item
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3) or not isinstance(item[0], Mapping):
        raise ParameterError(
            f"a batch is (inputs, target) or (inputs, target, indices), with inputs a mapping from name to tensor as "
            f"in ({{'y': measured}}, clean), not {type(item).__name__}"
        )
    return Batch(dict(item[0]), item[1], item[2] if len(item) == 3 else None)


@dataclass(frozen=True)
class Measured:
    """Clean samples in random order, measured anew for every batch: what `fit` takes as data.

    Parameters
    ----------
    clean : tensor, shape ``(samples, ...)``
        The targets.
    measure : callable
        ``measure(clean, generator) -> mapping`` of inputs from a batch of clean samples, with noise drawn from the
        ``torch.Generator``.
    batch : int
        Samples in a batch; what is left over at the end of an epoch is left out, since plans have a fixed shape.
    shuffle : bool
        Whether the order is drawn anew in every epoch.

    Raises
    ------
    ParameterError
        Where there are fewer samples than in one batch.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> def noisy(x, generator):
    ...     return {"y": x + 0.1 * torch.randn(x.shape, generator=generator)}
    >>> data = oa.learning.Measured(torch.zeros(10, 3), noisy, batch=4)
    >>> [inputs["y"].shape for inputs, target, indices in data(0, torch.Generator())]
    [torch.Size([4, 3]), torch.Size([4, 3])]
    """

    clean: Any
    measure: Callable[[Any, Any], Mapping[str, Any]]
    batch: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.clean.shape[0]:
            raise ParameterError(f"{self.clean.shape[0]} samples do not make a batch of {self.batch}")

    def __call__(self, epoch: int, generator: Any) -> Iterator[tuple[Mapping[str, Any], Any, Any]]:
        """The batches of an epoch."""
        import torch

        count = self.clean.shape[0]
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        for begin in range(0, count - self.batch + 1, self.batch):
            indices = order[begin : begin + self.batch]
            target = self.clean[indices.to(self.clean.device)]
            yield self.measure(target, generator), target, indices


__all__ = ["Batch", "Measured", "batch_of", "batches_of"]
