"""The gradient of the least value of an energy: that of the Lagrangian, at the solution, with everything held.

``d/dtheta min_x E(x; theta)`` needs no derivative of the solution (envelope theorem; Danskin 1967), and its error is of
second order in that of the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.implicit.expressions import pairing, pulled
from opalg.implicit.linearise import Lineariser
from opalg.implicit.programs import Arrays
from opalg.implicit.system import Optimality
from opalg.methods.problem import Problem
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal


def value_gradient(lineariser: Lineariser, problem: Problem, leaves: Sequence[Any]) -> Arrays:
    """The gradient of the optimal value in parameters.

    A split term enters by its envelope ``min_u w h(u) + s |u - v|^2 / 2`` and by ``<q, K x + b>`` with the subgradient
    ``q = s (v - u)`` held, so bounds of sets and offsets behind kinks count as they should.
    """
    equation = lineariser.equation
    assert isinstance(equation, Optimality)

    def recipe() -> tuple[list[Expression], Sequence[Input]]:
        x = equation.by_variable(equation.x)
        q = [Input(f"q{i}", v.shape, v.kind) for i, v in enumerate(equation.v)]
        value = problem.energy.constant + problem.smooth_value(x) if problem.smooth_terms else problem.energy.constant
        for split, v, held in zip(equation.split, equation.v, q, strict=True):
            u = split.prox(v)
            value = value + 0.5 * split.penalty * ex.norm_squared(u - v) + pairing([held], [split.place(x)])
            if not split.term.functional.facts.indicator:
                value = value + _value(split, u)
        return pulled([value], [Literal(1.0)], leaves), [*equation.point, *q]

    point = lineariser.start
    v = point[len(equation.variables) :]
    u = lineariser.programs("proxes of v", lambda: _proxes(equation), *v) if v else []
    penalties = [lineariser.programs.controls[s.penalty] for s in equation.split]
    lib = lineariser.lib
    q = [lib.multiply(lib.subtract(a, b), p) for a, b, p in zip(v, u, penalties, strict=True)]
    return lineariser.programs(("value", tuple(leaves)), recipe, *point, *q)


def _proxes(equation: Optimality) -> tuple[list[Expression], Sequence[Input]]:
    found = [s.prox(v) for s, v in zip(equation.split, equation.v, strict=True)]
    return [ex.broadcast_to(u, v.shape) for u, v in zip(found, equation.v, strict=True)], equation.v


def _value(split: Any, u: Expression) -> Expression:
    """``w h`` at the prox u."""
    term = split.term
    if split.direct:
        return term.trace({split.variable: u})
    return term.weight * term.functional.define_value(u)
