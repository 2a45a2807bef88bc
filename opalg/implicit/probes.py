"""Probes of what a gradient rests on: that adjoints belong to their operators, and that Hessians are symmetric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.energies.energy import Term
from opalg.errors import AdjointError
from opalg.implicit.expressions import full
from opalg.implicit.programs import Programs
from opalg.implicit.symmetry import is_symmetric, symmetry_defect
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
from opalg.iterations.vectors import dot, norm
from opalg.methods.problem import Problem, adjoint_at
from opalg.program.expression import Expression, Input

SEED = 7


def probe(equation: Optimality, problem: Problem, programs: Programs, point: Sequence[Any]) -> None:
    """Raise AdjointError where an operator's adjoint, or the symmetry of the Hessian, fails a random test."""
    for index, term in enumerate(problem.terms):
        _probe_adjoint(index, term, equation, programs)
    count = len(equation.variables)
    space = VectorSpace([x.shape for x in equation.x], [x.kind for x in equation.x], programs.lib)

    def recipe() -> tuple[list[Expression], Sequence[Input]]:
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(equation.x)]
        return equation.hessian(w), [*equation.x, *w]

    bound = programs.bound("hessian", recipe)
    defect = symmetry_defect(lambda w: space.pack(bound(*point[:count], *space.unpack(w))), space.size, programs.lib)
    if not is_symmetric(defect, programs.lib):
        raise AdjointError(
            f"the Hessian of the smooth terms is not symmetric: it differs from its transpose by {defect:.1e} of its "
            f"size, so conjugate gradients would be wrong; use solver='gmres', or declare the term for what it is"
        )


def _probe_adjoint(index: int, term: Term, equation: Optimality, programs: Programs) -> None:
    lib, rng = programs.lib, np.random.default_rng(SEED)
    involved = [p.variable for p in term.expression.parts]
    spot = Input("y", term.expression.shape, term.expression.kind)

    def recipe() -> tuple[list[Expression], Sequence[Input]]:
        x = dict(zip(equation.variables, equation.x, strict=True))
        back = [adjoint_at(term, v, spot) for v in involved]
        forward = term.expression.linear_trace(x)
        return [*full([forward], [term.expression]), *full(back, involved)], [*equation.x, spot]

    x = VectorSpace([i.shape for i in equation.x], [i.kind for i in equation.x], lib)
    y = VectorSpace([spot.shape], [spot.kind], lib)
    own = VectorSpace([v.shape for v in involved], [v.kind for v in involved], lib)
    a, b = (lib.asarray(rng.standard_normal(s.size), "real") for s in (x, y))
    arrays = x.unpack(a)
    image, *back = programs(("adjoint", index), recipe, *arrays, *y.unpack(b))
    chosen = [arrays[equation.variables.index(v)] for v in involved]
    first = dot(y.pack([image]), b, lib)
    second = dot(own.pack(chosen), own.pack(back), lib)
    scale = norm(y.pack([image]), lib) * norm(b, lib) + norm(own.pack(back), lib) * norm(own.pack(chosen), lib)
    if not abs(first - second) <= lib.epsilon**0.5 * scale:
        raise AdjointError(
            f"the operator of the term {term!r} and its adjoint do not match: <A x, y> = {first:.6g}, but "
            f"<x, A.H y> = {second:.6g} for random x and y; check it with oa.testing.check_operator"
        )
