"""A compiled map at one set of parameter values."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from opalg.arrays import backend as backend_named
from opalg.compiler.arguments import in_precision
from opalg.emit import BoundFunction, Function
from opalg.leaves import Leaf, Parameter
from opalg.nodes import walk
from opalg.program.expression import Input
from opalg.program.opaque import opaque_functions


class MapBinding:
    """The compiled map of a `MapPlan` at one set of parameter values."""

    def __init__(self, plan: Any, values: Mapping[Parameter, Any]) -> None:
        self.plan, self.lib = plan, plan.backend
        self.values: dict[Any, Any] = dict(values)
        self.controls: dict[Input, float] = {}
        self._hoisted: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        for parameter, value in values.items():
            parameter.check(value)

    def in_double(self) -> MapBinding | None:
        """The same with the data of functions cast to double precision once; None where networks have their own."""
        step = self.plan.lowering.step
        if opaque_functions(*step):
            return None
        twin = MapBinding(self.plan, {})
        twin.lib = backend_named(self.lib.name, "float64", None if self.lib.name == "numpy" else self.lib.device)
        twin.values = in_precision(twin.lib, (n for n in walk(*step) if isinstance(n, Leaf)), self.values)
        return twin

    def bound(
        self,
        function: Function,
        controls: Mapping[Input, float] | None = None,
        held: Mapping[Parameter, Any] | None = None,
    ) -> BoundFunction:
        """A function at these values, and at values of further leaves."""
        if held is not None:  # what follows from these is not shared, since the next call may hold others
            return function.bind({**self._arrays, **held}, dict(controls or {}))
        return function.bind(self._arrays, dict(controls or {}), self._hoisted)

    @cached_property
    def _arrays(self) -> dict[Any, Any]:
        """The values as arrays of the library, the same for all functions."""
        return {p: self.lib.asarray(v, p.kind) for p, v in self.values.items()}

    @property
    def default_state(self) -> tuple[Any, ...]:
        """The state of the default start."""
        return self.plan.initial_state()

    @cached_property
    def step(self) -> BoundFunction:
        """The compiled map."""
        return self.bound(self.plan.function)


__all__ = ["MapBinding"]
