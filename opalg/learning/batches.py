"""Batches of training data, from lists, loaders and functions that make them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
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


def batches_of(
    data: Any, epoch: int, generator: Any, alone: str | None = None, names: Collection[str] | None = None
) -> Iterator[Batch]:
    """The batches of one epoch.

    Parameters
    ----------
    data : iterable, or callable ``(epoch, generator) -> iterable``
    epoch : int
    generator : torch.Generator
    alone : str, optional
        The name of the input where a batch has a tensor in place of a mapping.
    names : collection of str, optional
        Of the inputs that every batch has; those of the first batch where they are not given.

    Raises
    ------
    ParameterError
        For what is no batch or has other inputs, what can be gone through only once, and where there is no batch.
    """
    found = _called(data, epoch, generator) if callable(data) else data
    if not isinstance(found, Iterable):
        what = f"what the data return, {type(found).__name__}," if callable(data) else type(found).__name__
        raise ParameterError(f"{what} is not iterable; data are a list of batches, a loader, or a function of them")
    if not callable(data) and isinstance(found, Iterator):
        raise ParameterError(
            f"a {type(data).__name__} is used up after one epoch; give a list of batches, or a function "
            f"(epoch, generator) -> batches"
        )
    count = 0
    for count, item in enumerate(found, 1):
        batch = batch_of(item, alone)
        names = set(batch.inputs) if names is None else names
        if set(batch.inputs) != set(names):
            raise ParameterError(
                f"batch {count} gives {_listed(batch.inputs)}, but the first one gave {_listed(names)}; give every "
                f"batch the same inputs, those for evaluation included"
            )
        yield batch
    if count == 0:
        raise ParameterError(f"there is no batch in the data of epoch {epoch + 1}")


def _called(data: Callable[..., Any], epoch: int, generator: Any) -> Any:
    """What a function of data returns, after a look at what it takes."""
    try:
        inspect.signature(data).bind(epoch, generator)
    except TypeError as error:
        raise ParameterError(
            f"data that are a function are called as data(epoch, generator), which "
            f"{getattr(data, '__name__', type(data).__name__)} does not take: {error}; write def data(epoch, generator)"
        ) from error
    except ValueError:  # a function without a signature, such as those of C
        pass
    return data(epoch, generator)


def batch_of(item: Any, alone: str | None = None) -> Batch:
    """A batch from a tuple ``(inputs, target)`` or ``(inputs, target, indices)``.

    Raises
    ------
    ParameterError
        For anything else.
    """
    if isinstance(item, Batch):
        return item
    hint = (
        "a batch is (inputs, target) or (inputs, target, indices), with inputs a mapping from name to tensor, as in "
        "({'y': measured}, clean)"
    )
    if not isinstance(item, (tuple, list)):
        raise ParameterError(f"{hint}, not {_kind(item)}; a single batch goes into a list, as in data=[batch]")
    if len(item) not in (2, 3):
        raise ParameterError(f"{hint}, not {len(item)} things")
    inputs = item[0]
    if alone is not None and hasattr(inputs, "detach"):
        inputs = {alone: inputs}
    if not isinstance(inputs, Mapping):
        raise ParameterError(f"{hint}; the inputs here are {_kind(inputs)}")
    return Batch(dict(inputs), item[1], item[2] if len(item) == 3 else None)


def lone_input(model: Any) -> str | None:
    """The name of a module's first argument, which a tensor in place of a mapping stands for; None for plans."""
    forward = getattr(model, "forward", model)
    for name, argument in inspect.signature(forward).parameters.items():
        return name if argument.kind in (argument.POSITIONAL_ONLY, argument.POSITIONAL_OR_KEYWORD) else None
    return None


def check_names(model: Any, inputs: Mapping[str, Any]) -> None:
    """Raise ParameterError where a module's ``forward`` has no arguments of these names, or needs others."""
    signature = inspect.signature(model.forward)
    try:
        signature.bind(**inputs)
    except TypeError as error:
        raise ParameterError(
            f"the inputs of the data are {', '.join(map(repr, inputs)) or 'none'}, but {type(model).__name__} takes "
            f"{', '.join(map(repr, signature.parameters)) or 'none'}: {error}"
        ) from error


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "no inputs"


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a tuple" if isinstance(value, tuple) else type(value).__name__


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
        Where there are fewer samples than in one batch, and for what is no tensor.

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
        if not hasattr(self.clean, "detach"):
            raise ParameterError(
                f"clean samples are a tensor of Torch, not {type(self.clean).__name__}; convert them by torch.as_tensor"
            )
        if self.clean.ndim == 0:
            raise ParameterError("clean samples are counted by their first axis, but a single number was given")
        if not callable(self.measure):
            raise ParameterError(
                f"measure is a function (clean, generator) -> inputs by name, not {type(self.measure).__name__}"
            )
        if isinstance(self.batch, bool) or not isinstance(self.batch, Integral):
            raise ParameterError(f"batch is how many samples make one, an integer, not {self.batch!r}")
        if not 1 <= self.batch <= self.clean.shape[0]:
            raise ParameterError(
                f"{self.clean.shape[0]} samples do not make a batch of {self.batch}; give a smaller batch="
            )

    def __call__(self, epoch: int, generator: Any) -> Iterator[tuple[Mapping[str, Any], Any, Any]]:
        """The batches of an epoch."""
        import torch

        count = self.clean.shape[0]
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        for begin in range(0, count - self.batch + 1, self.batch):
            indices = order[begin : begin + self.batch]
            target = self.clean[indices.to(self.clean.device)]
            yield self.measure(target, generator), target, indices

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return int(self.clean.shape[0]) // self.batch


__all__ = ["Batch", "Measured", "batch_of", "batches_of", "check_names", "lone_input"]
