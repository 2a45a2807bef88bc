"""The ways through an equation and its read-out: points to variables, and small changes and cotangents along them."""

from __future__ import annotations

from typing import Any

from opalg.implicit.arguments import Request
from opalg.implicit.expressions import like, pulled, pushed
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.system import Equation, Optimality
from opalg.nodes import walk


def variables_at(equation: Equation, programs: Programs, point: Arrays) -> Arrays:
    """The variables that a point stands for."""
    return programs("readout", lambda: (list(equation.readout.values()), equation.point), *point)


def feasible_variables(equation: Equation, programs: Programs, point: Arrays) -> Arrays:
    """The variables at a point, on the side of rounding where a constraint on a variable itself holds.

    A variable with one such constraint is taken from its projection, which the point agrees with up to its residual.
    """
    splits = equation.split if isinstance(equation, Optimality) else ()
    held = [s for s in splits if s.term.functional.facts.indicator and s.is_direct and s.term.expression.offset is None]
    inside = {v: [s for s in held if s.variable is v] for v in equation.readout}

    def recipe() -> Any:
        found = [only[0].prox(only[0].v) if len(only) == 1 else equation.readout[v] for v, only in inside.items()]
        return found, equation.point

    return programs("feasible variables", recipe, *point)


def through_readout(
    equation: Equation, programs: Programs, point: Arrays, given: Arrays, request: Request
) -> tuple[Arrays, Arrays]:
    """The cotangent of a point from one of the variables, and the part of the gradient through the read-out itself.

    That part is zero, and takes no memory, for leaves that the read-out does not use.
    """
    outputs, lib = list(equation.readout.values()), programs.lib
    entered = request.enter(outputs)
    reached = set(walk(*entered))
    used = [leaf for leaf in request.leaves if leaf in reached]

    def recipe() -> Any:
        c = like(outputs, "c")
        return pulled(entered, c, [*equation.point, *used]), [*equation.point, *c]

    found = iter(programs(("through", tuple(used)), recipe, *point, *given))
    cotangent = [next(found) for _ in point]
    zeros = (lib.xp.broadcast_to(lib.zeros((), leaf.kind), leaf.shape) for leaf in request.leaves)
    return cotangent, [next(found) if leaf in used else zero for leaf, zero in zip(request.leaves, zeros, strict=True)]


def readout_change(
    equation: Equation, programs: Programs, point: Arrays, change: Arrays, along: Request, arrays: Arrays
) -> Arrays:
    """The change of the variables from one of a point and of parameters."""
    outputs = list(equation.readout.values())

    def recipe() -> Any:
        t = like(along.leaves, "t")
        moved = pushed(along.enter(outputs), [*equation.point, *along.leaves], [*equation.directions, *t])
        return moved, [*equation.point, *equation.directions, *t]

    return programs(("readout change", tuple(along.leaves)), recipe, *point, *change, *arrays)


def push(equation: Equation, programs: Programs, point: Arrays, along: Request, arrays: Arrays) -> Arrays:
    """``R_theta d theta`` at a point, for directions of parameters."""

    def recipe() -> Any:
        t = like(along.leaves, "t")
        return pushed(along.enter(equation.residual), along.leaves, t), [*equation.point, *t]

    return programs(("push", tuple(along.leaves)), recipe, *point, *arrays)
