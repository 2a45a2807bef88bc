"""The networks inside of a plan: their weights as tensors from outside, and derivatives in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch

from opalg.errors import ParameterError
from opalg.implicit.differentiator import Differentiator
from opalg.implicit.system import Equation, Optimality, equation_of, map_equation
from opalg.leaves import Parameter
from opalg.methods.method import Lowering
from opalg.program.network_weights import NetworkWeights, is_module, modules_of
from opalg.solving.solution import Solution


@dataclass(frozen=True)
class Entered:
    """Weights that entered the equation of a plan as one vector.

    Attributes
    ----------
    weights : NetworkWeights
    leaf : Parameter
        The vector.
    names : tuple of str
        The weights in the order of their entries.
    lowering : Lowering
    cache : dict
        Compiled pieces that all solutions share.
    """

    weights: NetworkWeights
    leaf: Parameter
    names: tuple[str, ...]
    lowering: Lowering
    cache: dict[Any, Any]

    def vector(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Values, or directions, of the weights as one vector; zero for those that are not given."""
        shapes = self.weights.shapes
        parts = [tensors[n] if n in tensors else torch.zeros(s) for n, s in zip(self.names, shapes, strict=True)]
        like = next(iter(tensors.values()))
        return torch.cat([p.detach().to(like).reshape(-1) for p in parts])

    def by_name(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """A vector as tensors by name."""
        return dict(zip(self.names, self.weights.split(vector).values(), strict=True))

    def attach(self, solution: Solution, tensors: Mapping[str, torch.Tensor]) -> Solution:
        """The same solution, which can be differentiated in the weights as well."""
        vector, base = self.vector(tensors), solution.differentiator

        def with_weights(found: Solution) -> Solution:
            binding = copy(found.differentiator.binding)
            binding.values = {**binding.values, self.leaf: vector}
            again = None if base.resume is None else resume
            return replace(
                found, differentiator=Differentiator(base.problem, self.lowering, binding, self.cache, again)
            )

        def resume(found: Solution, factor: float) -> Solution:
            return with_weights(base.resume(found, factor))

        return with_weights(solution)


class Networks:
    """The Torch modules that a plan calls.

    Parameters
    ----------
    plan : Plan or MapPlan
    more : sequence of torch.nn.Module
        Modules that functions in the plan call, where they cannot be seen.

    Attributes
    ----------
    modules : list of torch.nn.Module
        The ones that the plan itself calls.

    Raises
    ------
    ParameterError
        For what is no module.
    """

    def __init__(self, plan: Any, more: Sequence[Any] = ()) -> None:
        for given in more:
            if not is_module(given):
                raise ParameterError(f"networks takes torch.nn.Modules, not {type(given).__name__}")
        self.lowering: Lowering = plan.lowering
        self.problem = getattr(plan, "problem", None)
        seen = modules_of(*self.lowering.step, *self.lowering.readout.values())
        self.more = [m for m in more if not any(m is s for s in seen)]
        self.modules = [*seen, *self.more]
        self._slots = _slots_of(self.modules)
        self._entered: dict[Any, Entered] = {}

    @contextmanager
    def lent(self, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Let the plan's networks compute with these weights and buffers meanwhile."""
        kept = []
        try:
            for name, tensor in tensors.items():
                for owner, attribute in self._slots[name]:
                    if owner[attribute] is not tensor:
                        kept.append((owner, attribute, owner[attribute]))
                        owner[attribute] = tensor
            yield
        finally:
            for owner, attribute, before in reversed(kept):
                owner[attribute] = before

    def entered(self, wanted: Sequence[str]) -> Entered:
        """The plan's equation with weights of these names (and maybe more) as a vector."""
        tensors = {n: self._weight(n) for n in wanted}
        hidden = [m for m in self.more if any(p is t for p in m.parameters() for t in tensors.values())]
        key = (tuple(wanted), *(tuple(p.requires_grad for p in m.parameters()) for m in hidden))
        if key not in self._entered:
            self._entered[key] = self._enter([*hidden, *tensors.values()])
        return self._entered[key]

    def _weight(self, name: str) -> Any:
        owner, attribute = self._slots[name][0]
        return owner[attribute]

    def _enter(self, wanted: Sequence[Any]) -> Entered:
        lowering = self.lowering
        nodes = [*lowering.step, *lowering.readout.values()]
        weights = NetworkWeights(wanted, nodes)
        leaf = Parameter(weights.leaf.value, copy=False)
        weights.leaf = leaf  # type: ignore[assignment]
        found = iter(weights.enter(nodes))
        step = tuple(next(found) for _ in lowering.step)
        lowering = replace(lowering, step=step, readout={v: next(found) for v in lowering.readout})
        equation, start = equation_of(self.problem, self.lowering)
        if isinstance(equation, Optimality):
            equation = _with_residual(equation, weights)
        else:
            equation, start = map_equation(lowering)
        by_id = {id(self._weight(n)): n for n in self._slots}
        names = tuple(by_id[id(t)] for t in weights.tensors)
        return Entered(weights, leaf, names, lowering, {"equation": (equation, start)})


def _with_residual(equation: Optimality, weights: NetworkWeights) -> Equation:
    """The equation with the weights in its residual; systems are solved with the networks as they are."""
    return replace(equation, residual=tuple(weights.enter(equation.residual)))


def _slots_of(modules: Sequence[Any]) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """Where the tensors of modules are kept, by the name that a ModuleList of them gives; tied ones in several places."""
    names: dict[int, str] = {}
    slots: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for prefix, module in torch.nn.ModuleList(modules).named_modules():
        for owner in (module._parameters, module._buffers):
            for attribute, tensor in owner.items():
                if tensor is not None:
                    name = names.setdefault(id(tensor), f"{prefix}.{attribute}")
                    slots.setdefault(name, []).append((owner, attribute))
    return slots


__all__ = ["Entered", "Networks"]
