"""The gradient of the least value of an energy: that of the Lagrangian, at the solution, with everything held.

``d/dtheta min_x E(x; theta)`` needs no derivative of the solution (envelope theorem; Danskin 1967). Its error is that
of the point, to first order, so the point is refined first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.errors import UnsupportedError
from opalg.implicit.expressions import full, pairing, pulled
from opalg.implicit.linearise import Lineariser
from opalg.implicit.programs import Arrays
from opalg.implicit.system import Optimality, SplitTerm
from opalg.methods.problem import Problem
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal


def value_gradient(lineariser: Lineariser, problem: Problem, leaves: Sequence[Any], point: Arrays) -> Arrays:
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
        u = [Input(f"u{i}", v.shape, v.kind) for i, v in enumerate(equation.v)]
        total: list[Expression] = full([None] * len(leaves), leaves)
        for split, v, at, held in zip(equation.split, equation.v, u, q, strict=True):
            value = value + pairing([held], [split.place(x)])
            found = _envelope(split, v, at, leaves)
            total = [a + b for a, b in zip(total, found, strict=True)]
        total = [a + b for a, b in zip(total, pulled([value], [Literal(1.0)], leaves), strict=True)]
        return total, [*equation.point, *u, *q]

    v = point[len(equation.variables) :]
    u = lineariser.programs("proxes of v", lambda: _proxes(equation), *v) if v else []
    penalties = [lineariser.programs.controls[s.penalty] for s in equation.split]
    lib = lineariser.lib
    q = [lib.multiply(lib.subtract(a, b), p) for a, b, p in zip(v, u, penalties, strict=True)]
    return lineariser.programs(("value", tuple(leaves)), recipe, *point, *u, *q)


def _proxes(equation: Optimality) -> tuple[list[Expression], Sequence[Input]]:
    found = [s.prox(v) for s, v in zip(equation.split, equation.v, strict=True)]
    return [ex.broadcast_to(u, v.shape) for u, v in zip(found, equation.v, strict=True)], equation.v


def _envelope(split: SplitTerm, v: Expression, at: Expression, leaves: Sequence[Any]) -> list[Expression]:
    """The gradient of ``min_u w h(u) + s |u - v|^2 / 2`` in leaves.

    Through the minimiser, which counts offsets behind kinks and bounds of sets as they should; where a value has no
    derivative, as a largest entry has none at ties, with the minimiser held, which is the same for a weight.
    """
    u = split.prox(v)
    value = 0.5 * split.penalty * ex.norm_squared(u - v)
    if split.term.functional.facts.indicator:
        return pulled([value], [Literal(1.0)], leaves)
    try:
        return pulled([value + _value(split, u)], [Literal(1.0)], leaves)
    except UnsupportedError:
        return pulled([_value(split, at)], [Literal(1.0)], leaves)


def _value(split: SplitTerm, u: Expression) -> Expression:
    """``w h`` at the prox u."""
    term = split.term
    if split.direct:
        return term.trace({split.variable: u})
    return term.weight * term.functional.define_value(u)
