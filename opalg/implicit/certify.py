"""Bounds on the errors of gradients of strongly convex quadratic energies, with terms such as l1 beside them.

With a certified modulus ``mu`` the point is off by no more than ``eps = |R| / mu`` and the adjoint by no more than
``delta = |r| / mu``, as long as a move by ``eps`` leaves the active set as it is: the bounds of Ehrhardt and Roberts
(2021) for quadratic energies, for which the Lipschitz constants of the Hessian vanish. Then a parameter ``theta`` with
``R_theta = G(x)``, G affine with a slope of norm n, has a gradient that is off by no more than
``|G| delta + n |w| eps + n eps delta``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opalg.energies.energy import Term
from opalg.implicit.arguments import Request
from opalg.implicit.linear_solve import Solved
from opalg.implicit.linearise import Lineariser
from opalg.implicit.moves import push
from opalg.implicit.programs import Arrays, size
from opalg.implicit.refine import Linearised
from opalg.implicit.system import Optimality
from opalg.leaves import Parameter
from opalg.methods.problem import Problem, has_constant_hessian, squared_norm
from opalg.nodes import walk
from opalg.operators.algebra import Identity
from opalg.program.differentiate import gradient
from opalg.program.expression import Expression, Literal, Pointwise

ROUNDING = 10.0  # multiples of epsilon that a residual may be off by, relative to what it is made of


@dataclass(frozen=True)
class Radii:
    """How far a point and an adjoint may be from the exact ones."""

    point: float
    adjoint: float


def certified_errors(
    lineariser: Lineariser, here: Linearised, a: Arrays, c: Arrays, leaves: Sequence[Parameter], solved: Solved
) -> list[float] | None:
    """A bound on the norm of the error of each gradient; None where no bound is known for one of them."""
    problem, equation = lineariser.problem, lineariser.equation
    if problem is None or not isinstance(equation, Optimality) or not _is_quadratic(problem, equation, here):
        return None
    radii = _radii(lineariser, here, c, solved)
    if radii is None or not _keeps_active_set(lineariser, here, radii.point):
        return None
    w = size(a[: len(equation.variables)], lineariser.lib)
    bounds = [_bound(lineariser, here, leaf, w, radii) for leaf in leaves]
    return None if any(b is None for b in bounds) else [b for b in bounds if b is not None]


def _is_quadratic(problem: Problem, equation: Optimality, here: Linearised) -> bool:
    direct = all(s.direct and isinstance(s.term.expression.parts[0].operator, Identity) for s in equation.split)
    flat = here.active is None or all(form == "flat" for form in here.active.forms)
    return direct and flat and all(has_constant_hessian(t) for t in problem.smooth_terms)


def _radii(lineariser: Lineariser, here: Linearised, c: Arrays, solved: Solved) -> Radii | None:
    lib, problem = lineariser.lib, lineariser.problem
    assert problem is not None
    mu, bound = lineariser.binding.strong_convexity, problem.smoothness
    if mu <= 0 or bound is None or not bound.certified:
        return None
    smoothness = lineariser.binding.number(bound.expression)
    count = len(lineariser.equation.readout)
    first, second = size(here.residual[:count], lib), size(here.residual[count:], lib)
    slope, place = lineariser.sizes(here.point)
    rounding = ROUNDING * lib.epsilon
    left = first + smoothness * second + rounding * (slope + smoothness * place)
    return Radii(left / mu + second, (solved.relative + rounding) * size(c, lib) / mu)


def _keeps_active_set(lineariser: Lineariser, here: Linearised, radius: float) -> bool:
    """Whether no entry is freed or held when the point moves by the radius, and its gradient as it then may."""
    if here.active is None:
        return True
    inspector, lib, problem = lineariser.inspector, lineariser.lib, lineariser.problem
    assert inspector is not None
    assert problem is not None
    assert problem.smoothness is not None
    smoothness = lineariser.binding.number(problem.smoothness.expression)
    v = here.point[len(lineariser.equation.readout) :]
    for sign in (1.0, -1.0):
        moves = [
            radius * (1.0 + smoothness / lineariser.programs.controls[s.penalty]) for s in inspector.equation.split
        ]
        moved = [lib.add(place, sign * move) for place, move in zip(v, moves, strict=True)]
        masks = inspector.masks(moved)
        if any(bool(lib.xp.any(m != n)) for m, n in zip(masks, here.active.masks, strict=True)):
            return False
    return True


def _bound(lineariser: Lineariser, here: Linearised, leaf: Parameter, w: float, radii: Radii) -> float | None:
    """The bound for one parameter, which may be a weight or stand in offsets; None for others."""
    problem = lineariser.problem
    assert problem is not None
    roles = [_role(term, leaf) for term in problem.terms]
    if "other" in roles or (leaf.shape != () and "weight" in roles):
        return None
    slope = bend = 0.0
    for term, role in zip(problem.terms, roles, strict=True):
        if role == "none":
            continue
        size_of_term = _curvature_norm(lineariser, term, leaf, role)
        if size_of_term is None:
            return None
        slope, bend = (slope + size_of_term, bend) if role == "offset" else (slope, bend + size_of_term)
    if "weight" in roles:
        slope += _push_norm(lineariser, here, leaf)
    return slope * radii.adjoint + bend * (w * radii.point + radii.point * radii.adjoint)


def _role(term: Term, leaf: Parameter) -> str:
    """Where a parameter stands in a term."""
    inside = any(leaf in walk(part.operator) for part in term.expression.parts) or leaf in walk(term.functional)
    if inside:
        return "other"
    offset = term.expression.offset
    if offset is not None and leaf in walk(offset):
        plain = offset is leaf or (isinstance(offset, Pointwise) and offset.function == "negative")
        return "offset" if plain and leaf not in walk(term.weight) else "other"
    return "weight" if leaf in walk(term.weight) else "none"


def _curvature_norm(lineariser: Lineariser, term: Term, leaf: Parameter, role: str) -> float | None:
    """A bound on the norm of the second derivative that a term has in the variables and the parameter, or in both."""
    problem = lineariser.problem
    assert problem is not None
    if term in problem.rough_terms:
        return 0.0 if role == "weight" else None
    norm, curvature = squared_norm(term), term.functional.facts.smoothness
    if norm is None or curvature is None or not (norm.certified and curvature.certified):
        return None
    number = lineariser.binding.number
    square, curved = number(norm.expression), number(curvature.expression)
    if role == "offset":
        return abs(number(term.weight)) * curved * square**0.5
    slope: Expression = gradient(term.weight, [leaf])[0] if term.weight is not leaf else Literal(1.0)
    return abs(number(slope)) * curved * square


def _push_norm(lineariser: Lineariser, here: Linearised, leaf: Parameter) -> float:
    """The norm of ``R_theta`` at the point, on the part of the variables."""
    equation, lib = lineariser.equation, lineariser.lib
    one = lib.asarray(1.0, "real")
    moved = push(equation, lineariser.programs, here.point, Request([leaf], {}, ()), [one])
    return size(moved[: len(equation.readout)], lib)
