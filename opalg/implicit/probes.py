"""Probes of what a gradient rests on: that adjoints belong to their operators, and that Hessians are symmetric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.energies.energy import Term
from opalg.errors import AdjointError
from opalg.implicit.estimate import transposed
from opalg.implicit.expressions import full
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.programs import Programs
from opalg.implicit.symmetry import is_symmetric, symmetry_defect
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
from opalg.iterations.vectors import dot, norm
from opalg.methods.problem import Problem, adjoint_at
from opalg.program.expression import Expression, Input

SEED = 7
DIFFERENCES = 1e3  # times the root of epsilon, what a difference quotient of a rough map may be off by


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


def probe_map(jacobian: Jacobian) -> None:
    """Raise AdjointError where the transposed derivative of a map does not agree with differences of the map."""
    lib, rng, equation = jacobian.lib, np.random.default_rng(SEED), jacobian.equation
    space = VectorSpace([p.shape for p in equation.point], [p.kind for p in equation.point], lib)
    at = space.pack(jacobian.point)
    d, u = (lib.asarray(rng.standard_normal(space.size), "real") for _ in range(2))
    h = lib.epsilon ** (1 / 3) * max(norm(at, lib), 1.0) / norm(d, lib)

    def residual(flat: Any) -> Any:
        arrays = space.unpack(flat)
        return space.pack(jacobian.programs("residual", lambda: (list(equation.residual), equation.point), *arrays))

    moved = [residual(lib.add(at, lib.multiply(d, sign * h))) for sign in (1.0, -1.0)]
    change = lib.multiply(lib.subtract(*moved), 0.5 / h)
    back = jacobian.programs("transposed", lambda: transposed(jacobian), *jacobian.point, *space.unpack(u))
    first, second = dot(u, change, lib), dot(space.pack(back), d, lib)
    scale = norm(u, lib) * norm(change, lib) + norm(space.pack(back), lib) * norm(d, lib)
    if not abs(first - second) <= DIFFERENCES * lib.epsilon**0.5 * scale:
        raise AdjointError(
            f"the transposed derivative of the map does not belong to it: <u, J d> = {first:.6g} by differences, but "
            f"<J^T u, d> = {second:.6g}; look at the vjp= of the functions that it applies"
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
