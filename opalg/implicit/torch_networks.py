"""The networks inside of a plan: their weights as tensors that come from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch

from opalg.errors import ParameterError
from opalg.program.hidden_networks import called_modules
from opalg.program.network_weights import is_module
from opalg.program.opaque import opaque_functions

_TURNS: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()  # a lock for each network
_MAKING = Lock()


class Networks:
    """The Torch modules that a plan calls.

    Parameters
    ----------
    plan : Plan or MapPlan
    more : sequence of torch.nn.Module, optional
        Modules that functions in the plan call. Where none are said, functions must not be seen to call any that has
        weights to train.

    Attributes
    ----------
    modules : list of torch.nn.Module
        All of them.
    weights : dict from str to torch.nn.Parameter
        Their weights, by name in a ModuleList.

    Raises
    ------
    ParameterError
        For what is no module, and where it has to be said whether hidden modules are to be trained.
    """

    def __init__(self, plan: Any, more: Sequence[Any] | None = None) -> None:
        if more is not None and not isinstance(more, (list, tuple, torch.nn.ModuleList)):
            raise ParameterError(f"networks takes a list of torch.nn.Modules, not {type(more).__name__}")
        for given in more or ():
            if not is_module(given):
                raise ParameterError(f"networks takes torch.nn.Modules, not {type(given).__name__}")
        nodes = [*plan.lowering.step, *plan.lowering.readout.values()]
        functions = [f.forward for f in opaque_functions(*nodes)]
        seen = list({id(f): f for f in functions if is_module(f)}.values())
        self._more = [m for m in more or () if not any(m is s for s in seen)]
        self.modules = [*seen, *self._more]
        if more is None:
            _refuse_hidden(functions, seen)
        self._slots: dict[str, list[Any]] = {}
        self.weights: dict[str, torch.nn.Parameter] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look where weights are kept now, as layers of the networks may have been changed, added or parametrised."""
        with _turn(self.modules):
            slots = _slots_of(self.modules)
            if _places(slots) == _places(self._slots):
                return
            own = {name: owner[attribute] for name, [(owner, attribute), *_] in slots.items()}
            self.weights = {n: t for n, t in own.items() if isinstance(t, torch.nn.Parameter)}
            self._slots = slots

    def keys(self, names: Sequence[str]) -> list[Any]:
        """What `Solution.vjp` calls weights by: themselves, behind the modules that it would not find."""
        tensors = [self.weights[n] for n in names]
        hidden = [m for m in self._more if any(p is t for p in m.parameters() for t in tensors)]
        return [*hidden, *tensors]

    @contextmanager
    def lent(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Let the plan's networks compute with these weights and buffers meanwhile; weights stay the same objects.

        Threads take turns: other copies of a module may lend other weights to the same networks.
        """
        with _turn(self.modules), self._lent(tensors):
            yield

    @contextmanager
    def _lent(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
        lost = next((n for n in tensors if n not in self._slots), None)
        if lost is not None:
            raise ParameterError(
                f"{lost} is no tensor of the networks in this plan: a network has changed in one copy of the module "
                f"only. Change networks before they are copied, or compile a plan with the changed one"
            )
        places: list[tuple[dict[str, Any], str, Any]] = []
        values: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        try:
            for name, tensor in tensors.items():
                held = self.weights.get(name, tensor)
                for owner, attribute in self._slots[name]:
                    if owner[attribute] is not held:
                        places.append((owner, attribute, owner[attribute]))
                        owner[attribute] = held
                if held is not tensor:
                    values.append((held, held.data))
                    held.data = tensor.detach()
            yield
        finally:
            for weight, value in reversed(values):
                weight.data = value
            for owner, attribute, before in reversed(places):
                owner[attribute] = before


def _refuse_hidden(functions: Sequence[Any], seen: Sequence[Any]) -> None:
    """Raise where a function is seen to call a module with weights, which would silently get no gradients."""
    for function in functions:
        for name, module in called_modules(function):
            known = any(module is s for s in seen) or function is module
            if not known and any(p.requires_grad for p in module.parameters()):
                label = name if name.replace(".", "_").isidentifier() else type(module).__name__
                caller = getattr(function, "__name__", type(function).__name__)
                raise ParameterError(
                    f"the function {caller} calls the network {label}, which has weights; say "
                    f"as_module(networks=[{label}]) to train them, or networks=() to leave them as they are"
                )


@contextmanager
def _turn(modules: Sequence[torch.nn.Module]) -> Iterator[None]:
    """Networks to oneself, taken in an order that is the same for all threads."""
    with _MAKING:
        locks = [_TURNS.setdefault(m, RLock()) for m in sorted(modules, key=id)]
    with ExitStack() as turns:
        for lock in locks:
            turns.enter_context(lock)
        yield


Slot = tuple[dict[str, Any], str]


def _places(slots: Mapping[str, Sequence[Slot]]) -> list[tuple[str, str, int]]:
    """What tells where tensors are kept, whichever tensors these are."""
    return [(name, attribute, id(owner)) for name, kept in slots.items() for owner, attribute in kept]


def _slots_of(modules: Sequence[Any]) -> dict[str, list[Slot]]:
    """Where the tensors of modules are kept, by their name in a ModuleList; tied ones are in several places."""
    names: dict[int, str] = {}
    slots: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for prefix, module in torch.nn.ModuleList(modules).named_modules():
        for owner in (module._parameters, module._buffers):
            for attribute, tensor in owner.items():
                if tensor is not None:
                    name = names.setdefault(id(tensor), f"{prefix}.{attribute}")
                    slots.setdefault(name, []).append((owner, attribute))
    return slots


__all__ = ["Networks"]
