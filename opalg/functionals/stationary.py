"""Values at a point that makes them stationary, and their derivatives by the envelope theorem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.emit import call as compute
from opalg.leaves import Parameter
from opalg.nodes import substitute, walk
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Call, Expression, Input


@dataclass(frozen=True)
class _AtStationaryPoint:
    """``(moving, found) -> output``, where found makes the output stationary, so that its changes do not count."""

    output: Expression
    moving: tuple[Input, ...]
    found: tuple[Input, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Everything that the output depends on."""
        return self.moving + self.found

    def evaluate(self, lib: Backend, *arrays: Any) -> Any:
        """The output at arrays."""
        return compute([self.output], self.inputs, arrays, lib)[0]

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative with the stationary point held fixed."""
        moved = {x: t for x, t in zip(self.moving, tangents, strict=False) if t is not None}
        if not moved:
            return None
        (out,) = jvp([self.output], moved)
        return None if out is None else substitute(out, self._at(call))

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative with the stationary point held fixed."""
        back = Input("cotangent", call.shape, call.kind)
        wanted = [x for x, on in zip(self.moving, active, strict=False) if on]
        values = {**self._at(call), back: cotangent}
        found = dict(zip(wanted, vjp([self.output], [back], wanted), strict=True))
        amounts = [found.get(x) for x in self.inputs]
        return [None if a is None else substitute(a, values) for a in amounts]

    def _at(self, call: Call) -> dict[Any, Expression]:
        return dict(zip(self.inputs, call.arguments, strict=True))

    def __repr__(self) -> str:
        return "stationary value"


def stationary_value(output: Expression, moving: dict[Input, Expression], found: dict[Input, Expression]) -> Expression:
    """A scalar at a point that makes it stationary.

    Parameters
    ----------
    output : Expression
        The scalar as a formula of the inputs, and of parameters.
    moving : dict from Input to Expression
        The inputs that derivatives count in; parameters of the formula join them.
    found : dict from Input to Expression
        The inputs in which the formula is stationary, with the point where it is. Derivatives do not go through them,
        which the envelope theorem allows, also where the formula has kinks there.
    """
    output, parameters = without_parameters(output)
    moving = {**moving, **{x: p for p, x in parameters.items()}}
    function = _AtStationaryPoint(output, tuple(moving), tuple(found))
    return Call(function, (*moving.values(), *found.values()), output.shape, output.kind)


def parameters_of(expressions: Sequence[Expression]) -> dict[Parameter, Input]:
    """An input for each parameter of some formulas, in order of appearance."""
    leaves = [n for n in walk(*expressions) if isinstance(n, Parameter)]
    return {p: Input(f"parameter {i}", p.shape, p.kind) for i, p in enumerate(leaves)}


def without_parameters(output: Expression) -> tuple[Expression, dict[Parameter, Input]]:
    """A formula with inputs in place of its parameters, and those inputs."""
    parameters = parameters_of([output])
    return substitute(output, dict(parameters)), parameters


__all__ = ["parameters_of", "stationary_value", "without_parameters"]
