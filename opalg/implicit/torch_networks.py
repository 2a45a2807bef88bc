"""The networks inside of a plan: their weights as tensors that come from outside."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from opalg.errors import ParameterError
from opalg.program.network_weights import is_module
from opalg.program.opaque import opaque_functions


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
        self._slots = _slots_of(self.modules)
        own = {name: owner[attribute] for name, [(owner, attribute), *_] in self._slots.items()}
        self.weights = {n: t for n, t in own.items() if isinstance(t, torch.nn.Parameter)}

    def keys(self, names: Sequence[str]) -> list[Any]:
        """What `Solution.vjp` calls weights by: themselves, behind the modules that it would not find."""
        tensors = [self.weights[n] for n in names]
        hidden = [m for m in self._more if any(p is t for p in m.parameters() for t in tensors)]
        return [*hidden, *tensors]

    @contextmanager
    def lent(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Let the plan's networks compute with these weights and buffers meanwhile; weights stay the same objects."""
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
                raise ParameterError(
                    f"the function {getattr(function, '__name__', function)} calls the network {name}, which has "
                    f"weights; say as_module(networks=[{name}]) to train them, or networks=() to leave them as they are"
                )


def called_modules(function: Any) -> list[tuple[str, Any]]:
    """The modules that a plain function refers to by name, or that it is a method of."""
    if isinstance(function, partial):
        inner = [function.func, *function.args, *function.keywords.values()]
        return [(type(m).__name__, m) for m in inner if is_module(m)] + called_modules(function.func)
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    found = [("self", owner)] if is_module(owner) else []
    if inspect.isfunction(plain):
        names = inspect.getclosurevars(plain)
        found += [(n, v) for n, v in {**names.globals, **names.nonlocals}.items() if is_module(v)]
    return found


def _slots_of(modules: Sequence[Any]) -> dict[str, list[tuple[dict[str, Any], str]]]:
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
