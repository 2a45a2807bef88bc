"""The optimisers of a training run: one for all parameters, or several that take turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from opalg.errors import ParameterError


class Optimisers:
    """Optimisers of Torch that take turns, each with its scheduler.

    Parameters
    ----------
    weights : mapping from name to tensor
    optimizer : str, callable, torch.optim.Optimizer, or sequence of (names, callable)
    lr : float
        For an optimiser given by name.
    scheduler : callable or None
        ``optimizer -> scheduler``.

    Raises
    ------
    ParameterError
        For an unknown name, and groups of parameters that there are not.
    """

    def __init__(
        self, weights: Mapping[str, Any], optimizer: Any, lr: float, scheduler: Callable[[Any], Any] | None
    ) -> None:
        if isinstance(optimizer, (list, tuple)):
            groups = [(self._chosen(weights, names), make) for names, make in optimizer]
        else:
            groups = [(list(weights.values()), optimizer)]
        self.all = [_made(make, chosen, lr) for chosen, make in groups]
        self.schedulers = [] if scheduler is None else [scheduler(o) for o in self.all]

    @staticmethod
    def _chosen(weights: Mapping[str, Any], names: str | Sequence[str]) -> list[Any]:
        wanted = [names] if isinstance(names, str) else list(names)
        unknown = [n for n in wanted if n not in weights]
        if unknown:
            raise ParameterError(f"{unknown[0]!r} is nothing to train; there are {', '.join(weights)}")
        return [weights[n] for n in wanted]

    def next(self, step: int) -> Any:
        """The optimiser whose turn it is in a step."""
        return self.all[(step - 1) % len(self.all)]

    @staticmethod
    def moved(optimiser: Any) -> list[Any]:
        """The tensors that an optimiser moves."""
        return [p for group in optimiser.param_groups for p in group["params"]]

    def schedule(self) -> None:
        """Tell the schedulers that a step was made."""
        for scheduler in self.schedulers:
            scheduler.step()

    @property
    def rate(self) -> float:
        """The learning rate of the first group."""
        return float(self.all[0].param_groups[0]["lr"])

    def state_dict(self, copy: bool = False) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        state = {
            "optimisers": [o.state_dict() for o in self.all],
            "schedulers": [{k: v for k, v in s.state_dict().items() if _is_plain(v)} for s in self.schedulers],
        }
        return deepcopy(state) if copy else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        for optimiser, own in zip(self.all, state["optimisers"], strict=True):
            optimiser.load_state_dict(deepcopy(own))
        for scheduler, own in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(dict(own))


def _made(make: Any, weights: list[Any], lr: float) -> Any:
    import torch

    if isinstance(make, torch.optim.Optimizer):
        return make
    if callable(make):
        return make(weights)
    known = {n.lower(): c for n, c in vars(torch.optim).items() if isinstance(c, type)}
    if not isinstance(make, str) or make.lower() not in known:
        raise ParameterError(
            f"optimizer must be the name of one in torch.optim, such as 'adam', or a function of tensors, as in "
            f"lambda w: torch.optim.SGD(w, lr=0.1), not {make!r}"
        )
    return known[make.lower()](weights, lr=lr)


def _is_plain(value: Any) -> bool:
    """Whether a part of a scheduler's state is data; functions among them are given again with the scheduler."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


__all__ = ["Optimisers"]
