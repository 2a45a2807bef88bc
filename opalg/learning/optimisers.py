"""The optimisers of a training run: one for all parameters, or several that take turns."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from math import inf
from typing import Any

from opalg.errors import ParameterError
from opalg.learning.weights import named_by

HINT = "the name of one in torch.optim, such as 'adam', or a function of tensors: lambda w: torch.optim.SGD(w, lr=0.1)"


class Optimisers:
    """Optimisers of Torch that take turns, each with its scheduler.

    Parameters
    ----------
    weights : mapping from name to tensor
    optimizer : str, class, callable, torch.optim.Optimizer, or sequence of (names, any of these)
    lr : float
        For an optimiser given by its name or its class.
    scheduler : callable, scheduler or None
        ``optimizer -> scheduler``; or a scheduler of an optimiser that was given.
    names : mapping from str to str
        The module's names of parameters by their own.

    Attributes
    ----------
    all : list of torch.optim.Optimizer
    schedulers : list

    Raises
    ------
    ParameterError
        For an unknown name, groups of parameters that there are not, and optimisers of other tensors.
    """

    def __init__(
        self,
        weights: Mapping[str, Any],
        optimizer: Any,
        lr: float,
        scheduler: Any = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(optimizer, (list, tuple)):
            groups = [(_chosen(weights, wanted, names or {}), make) for wanted, make in map(_pair, optimizer)]
            if not groups:
                raise ParameterError("the sequence of optimisers is empty; give pairs (names, optimizer)")
            if not all(chosen for chosen, _ in groups):
                raise ParameterError(
                    "one of the optimisers that take turns has no name of a parameter to move; write pairs such as "
                    "(['A'], 'adam')"
                )
        else:
            groups = [(list(weights.values()), optimizer)]
        self.all = [_made(make, chosen, lr) for chosen, make in groups]
        self._given = [_settings(o, made is o, weights) for o, (_, made) in zip(self.all, groups, strict=True)]
        for optimiser in self.all:
            if not any(p is w for p in self.moved(optimiser) for w in weights.values()):
                raise ParameterError(
                    f"the {type(optimiser).__name__} given moves none of the tensors to train, {', '.join(weights)}; "
                    f"make it of the parameters of the model that fit is given"
                )
        self.schedulers = [] if scheduler is None else _schedulers(scheduler, self.all)

    def turn(self, step: int) -> int:
        """The number of the optimiser whose turn it is in a step; steps count from 1."""
        return (step - 1) % len(self.all)

    @staticmethod
    def moved(optimiser: Any) -> list[Any]:
        """The tensors that an optimiser moves."""
        return [p for group in optimiser.param_groups for p in group["params"]]

    @staticmethod
    def wants_closure(optimiser: Any) -> bool:
        """Whether an optimiser evaluates the loss by itself, as L-BFGS does."""
        closure = inspect.signature(optimiser.step).parameters.get("closure")
        return closure is not None and closure.default is closure.empty

    def schedule(self, loss: float) -> None:
        """Tell the schedulers that a step was made."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        with warnings.catch_warnings():  # the turn of an optimiser may still be to come
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler.step\(\)` before")
            for scheduler in self.schedulers:
                scheduler.step(loss) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()

    @staticmethod
    def rate(optimiser: Any) -> float:
        """The learning rate of the first group of an optimiser."""
        return float(optimiser.param_groups[0]["lr"])

    @property
    def kinds(self) -> list[str]:
        """What the optimisers and schedulers are."""
        return [type(o).__name__ for o in (*self.all, *self.schedulers)]

    def state_dict(self, copy: bool = False) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        state = {
            "optimisers": [o.state_dict() for o in self.all],
            "schedulers": [_plain(dict(s.state_dict())) for s in self.schedulers],
            "given": self._given,
        }
        return deepcopy(state) if copy else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state.

        Raises
        ------
        ParameterError
            Where the optimisers of the state were set up otherwise, which would be forgotten.
        """
        for optimiser, before, now in zip(self.all, state.get("given", self._given), self._given, strict=True):
            for what in before or ():
                if now is not None and what in now and before[what] != now[what]:
                    raise ParameterError(
                        f"the {type(optimiser).__name__} of the checkpoint has {what} = {before[what]!r}, but now "
                        f"{now[what]!r} is given; give the former, or another checkpoint="
                    )
        for optimiser, own in zip(self.all, state["optimisers"], strict=True):
            optimiser.load_state_dict(deepcopy(own))
        for scheduler, own in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(deepcopy(own))


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise ParameterError(
            f"optimisers that take turns are pairs (names, optimizer), as in [(['A'], 'adam'), (['lam'], 'sgd')], not "
            f"{item!r}"
        )
    return item[0], item[1]


def _chosen(weights: Mapping[str, Any], wanted: Any, names: Mapping[str, str]) -> list[Any]:
    every = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    found = dict.fromkeys(name for one in every for name in named_by(one, weights, names))
    return [weights[name] for name in found]


def _made(make: Any, weights: list[Any], lr: float) -> Any:
    import torch

    if isinstance(make, torch.optim.Optimizer):
        return make
    known = {
        n.lower(): c for n, c in vars(torch.optim).items() if isinstance(c, type) and c is not torch.optim.Optimizer
    }
    if isinstance(make, str) and make.lower() in known:
        make = known[make.lower()]
    if isinstance(make, type) and issubclass(make, torch.optim.Optimizer):
        return make(weights, lr=_checked_rate(lr))  # type: ignore[call-arg]
    if not callable(make):
        raise ParameterError(f"optimizer must be {HINT}; not {make!r}")
    made = make(weights)
    if not isinstance(made, torch.optim.Optimizer):
        raise ParameterError(f"optimizer must be {HINT}; the one given returned {type(made).__name__}")
    return made


def _settings(optimiser: Any, is_given: bool, weights: Mapping[str, Any]) -> dict[str, Any] | None:
    """How an optimiser was set up and what it moves; None for one that was given, which may have made steps."""
    if is_given:
        return None
    found: dict[str, Any] = {}
    names = {id(w): name for name, w in weights.items()}
    for number, group in enumerate(optimiser.param_groups):
        own = f" of group {number}" if len(optimiser.param_groups) > 1 else ""
        found[f"parameters{own}"] = [names.get(id(p), "another") for p in group["params"]]
        for what, value in group.items():
            if what != "params" and isinstance(_listed(value), (bool, int, float, str, list)):
                found[what + own] = _listed(value)
    return found


def _listed(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def _checked_rate(lr: Any) -> Any:
    found = lr.item() if hasattr(lr, "item") and getattr(lr, "ndim", 0) == 0 else lr
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < inf:
        raise ParameterError(f"lr is a learning rate, a finite number that is not negative, not {lr!r}")
    return lr


def _schedulers(scheduler: Callable[[Any], Any] | Any, optimisers: Sequence[Any]) -> list[Any]:
    if hasattr(scheduler, "step") and hasattr(scheduler, "optimizer"):
        if not any(scheduler.optimizer is o for o in optimisers):
            raise ParameterError(
                "the scheduler belongs to another optimiser than the one that trains; give a function of it, as in "
                "scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 100)"
            )
        return [scheduler]
    if not callable(scheduler):
        raise ParameterError(
            f"scheduler is a function of an optimiser, as in lambda o: torch.optim.lr_scheduler.StepLR(o, 100), not "
            f"{scheduler!r}"
        )
    try:
        made = [scheduler(o) for o in optimisers]
    except TypeError as error:
        if not isinstance(scheduler, type):
            raise
        raise ParameterError(
            f"{scheduler.__name__} needs more than an optimiser ({error}); write a function, as in "
            f"scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 100)"
        ) from error
    for one in made:
        if not hasattr(one, "step") or not hasattr(one, "state_dict"):
            raise ParameterError(f"scheduler must return a scheduler of Torch, not {type(one).__name__}")
    return made


def _plain(value: Any) -> Any:
    """The part of a scheduler's state that is data; functions and tables in it are given again with the scheduler."""
    if type(value) is dict:
        kept = {k: _plain(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v is not _DROPPED}
    if isinstance(value, (list, tuple)):
        items = [_plain(v) for v in value]
        return _DROPPED if any(v is _DROPPED for v in items) else type(value)(items)
    is_data = value is None or isinstance(value, (bool, int, float, str)) or hasattr(value, "detach")
    return value if is_data else _DROPPED


_DROPPED: Any = object()

__all__ = ["Optimisers"]
