"""What a solution solves: an equation ``R(z; theta) = 0`` in the step language, of which everything else is derived.

With ``J = dR/dz`` the change of the solution along ``d theta`` solves ``J dz = -R_theta d theta``, and the gradient of
``Re <c, z(theta)>`` is ``-R_theta^T a`` where ``J^T a = c`` (implicit function theorem). Momentum, restarts, line
searches and accelerators of the solver that found the point do not occur in R, so nothing flows through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.errors import UnsupportedError
from opalg.implicit.expressions import full, like, pulled, pushed
from opalg.methods.denoisers import is_symmetric
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem, adjoint_at, apply_direct_prox, direct_prox, split_prox
from opalg.methods.proximal_gradient import ProximalGradient
from opalg.nodes import substitute
from opalg.operators.algebra import Identity
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal
from opalg.program.opaque import opaque_functions


@dataclass(frozen=True)
class Equation:
    """An equation ``R(z; theta) = 0`` in the step language.

    Attributes
    ----------
    point : tuple of Input
        The unknowns ``z``.
    controls : tuple of Input
        Numbers such as a penalty, on which the solution does not depend.
    residual : tuple of Expression
        ``R``, with as many parts as the point, of the same shapes.
    readout : dict from Variable to Expression
        The variables at a point.
    """

    point: tuple[Input, ...]
    controls: tuple[Input, ...]
    residual: tuple[Expression, ...]
    readout: dict[Variable, Expression]

    @cached_property
    def directions(self) -> tuple[Input, ...]:
        """Inputs that stand for a change of the point."""
        return tuple(like(self.point, "d"))

    @cached_property
    def adjoints(self) -> tuple[Input, ...]:
        """Inputs that stand for an adjoint, which has the shapes of the residual."""
        return tuple(like(self.point, "a"))

    @cached_property
    def calls_networks(self) -> bool:
        """Whether the equation calls functions that are no formulas."""
        return bool(opaque_functions(*self.residual))

    def jacobian(self, directions: Sequence[Expression]) -> list[Expression]:
        """``J d``"""
        return pushed(self.residual, self.point, directions)

    def transposed(self, adjoints: Sequence[Expression]) -> list[Expression]:
        """``J^T a``"""
        return pulled(self.residual, adjoints, self.point)


@dataclass(frozen=True)
class MapEquation(Equation):
    """``R = z - T(z)`` for a map without an energy; ``J`` has no symmetry."""

    image: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class SplitTerm:
    """A term ``w h(K x + b)`` known by its prox: at a solution ``K x + b = prox_{w h / s}(v)`` for some ``v``.

    Attributes
    ----------
    term : Term
    v : Input
        Where the prox is taken; ``s (v - prox(v))`` is a subgradient of ``w h``.
    penalty : Input
        ``s``, a control.
    direct : bool
        Whether the prox is that of the whole term in its one variable, so that ``K = I``.
    """

    term: Term
    v: Input
    penalty: Input
    direct: bool

    @property
    def is_direct(self) -> bool:
        """Whether ``K = I``, by the way the prox is taken or by the operator itself."""
        parts = self.term.expression.parts
        return self.direct or (len(parts) == 1 and isinstance(parts[0].operator, Identity))

    @property
    def variable(self) -> Variable:
        """The variable of a direct term."""
        return self.term.expression.parts[0].variable

    def place(self, x: dict[Variable, Expression]) -> Expression:
        """``K x + b``"""
        return x[self.variable] if self.direct else self.term.expression.trace(x)

    def forward(self, w: dict[Variable, Expression]) -> Expression:
        """``K w``"""
        return w[self.variable] if self.direct else self.term.expression.linear_trace(w)

    def back(self, variable: Variable, p: Expression) -> Expression | None:
        """``K^T p`` for one variable; None where the term does not involve it."""
        if self.direct:
            return p if variable is self.variable else None
        return adjoint_at(self.term, variable, p)

    def prox(self, v: Expression) -> Expression:
        """``prox_{w h / s}(v)``"""
        step = 1.0 / self.penalty
        return apply_direct_prox(self.term, v, step) if self.direct else split_prox(self.term, v, step)

    def derivative(self, v: Expression, d: Expression) -> Expression:
        """The derivative ``P`` of the prox at v, times d; symmetric."""
        at = Input("at", self.v.shape, self.v.kind)
        (moved,) = pushed([self.prox(at)], [at], [d])
        return substitute(moved, {at: v})

    def curvature(self, u: Expression, d: Expression) -> Expression | None:
        """The Hessian of ``w h`` at u times d, where it has one; None where it is not said."""
        functional = self.term.functional
        if functional.facts.indicator:
            return ex.broadcast_to(Literal(0.0), d.shape)
        try:
            if not self.direct:
                return self.term.weight * functional.define_hessian_product(u, d)
            inner = self.term.expression.trace({self.variable: u})
            moved = self.term.expression.linear_trace({self.variable: d})
            back = adjoint_at(
                self.term, self.variable, self.term.weight * functional.define_hessian_product(inner, moved)
            )
        except (UnsupportedError, NotImplementedError):
            return None
        return back


@dataclass(frozen=True)
class Optimality(Equation):
    """The optimality conditions of ``f(x) + sum_i w_i h_i(K_i x + b_i)`` in ``z = (x, v_1, ..., v_m)``.

    ``R = (grad f(x) + sum_i K_i^T s_i (v_i - u_i), K_i x + b_i - u_i)`` with ``u_i = prox_{w_i h_i / s_i}(v_i)``: the
    normal map of Robinson (1992), for terms behind operators. With ``H`` the Hessian of f and ``P_i`` the derivatives
    of the proxes ``J = [H, s K^T (I - P); K, -P]``.
    """

    variables: tuple[Variable, ...] = ()
    split: tuple[SplitTerm, ...] = ()
    slopes: tuple[Expression, ...] = ()

    @property
    def x(self) -> tuple[Input, ...]:
        """The part of the point that is the variables."""
        return self.point[: len(self.variables)]

    @property
    def v(self) -> tuple[Input, ...]:
        """The part of the point that is the proxes' arguments."""
        return self.point[len(self.variables) :]

    def by_variable(self, arrays: Sequence[Expression]) -> dict[Variable, Expression]:
        """Expressions for the variables as a mapping."""
        return dict(zip(self.variables, arrays, strict=True))

    def hessian(self, w: Sequence[Expression]) -> list[Expression]:
        """``H w``"""
        return pushed(self.slopes, self.x, w)

    def forward(self, w: Sequence[Expression]) -> list[Expression]:
        """``K_i w`` for every split term."""
        return [s.forward(self.by_variable(w)) for s in self.split]

    def back(self, p: Sequence[Expression]) -> list[Expression]:
        """``sum_i K_i^T p_i`` for every variable."""
        return gathered_back(self.variables, self.split, p)

    def back_of(self, split: SplitTerm, p: Expression) -> list[Expression]:
        """``K_i^T p`` of one split term for every variable."""
        return gathered_back(self.variables, [split], [p])

    def derivatives(self, d: Sequence[Expression]) -> list[Expression]:
        """``P_i d_i`` at the point, for every split term."""
        return [s.derivative(v, e) for s, v, e in zip(self.split, self.v, d, strict=True)]


def gathered_back(
    variables: Sequence[Variable], split: Sequence[SplitTerm], p: Sequence[Expression]
) -> list[Expression]:
    """``sum_i K_i^T p_i`` for every variable, zeros written out."""
    out: list[Expression | None] = []
    for variable in variables:
        parts = [s.back(variable, q) for s, q in zip(split, p, strict=True)]
        kept = [part for part in parts if part is not None]
        out.append(sum_of(kept) if kept else None)
    return full(out, variables)


@dataclass(frozen=True)
class Start:
    """How the point of an equation follows from the state of a solve.

    Attributes
    ----------
    formulas : tuple of Expression
        One for each part of the point, in the state's inputs, the solver's controls and the equation's controls.
    penalties : tuple of Expression
        The values of the equation's controls, in the solver's controls.
    """

    formulas: tuple[Expression, ...]
    penalties: tuple[Expression, ...]


def equation_of(problem: Problem | None, lowering: Lowering) -> tuple[Equation, Start]:
    """What the fixed points of a lowered energy or map solve, and how a state becomes a point."""
    if problem is None or not is_symmetric(problem) or not is_covered(problem, lowering):
        return map_equation(lowering)
    return optimality_of(problem, lowering)


def is_covered(problem: Problem, lowering: Lowering) -> bool:
    """Whether every rough term has a prox of its own or of its variable, which the conditions need."""
    return all(t in lowering.arguments or direct_prox(t) is not None for t in problem.rough_terms)


def map_equation(lowering: Lowering) -> tuple[MapEquation, Start]:
    """The equation ``z = T(z)`` of a method's own map."""
    residual = tuple(z - t for z, t in zip(lowering.state, lowering.step, strict=True))
    equation = MapEquation(
        lowering.state, tuple(lowering.controls), residual, dict(lowering.readout), tuple(lowering.step)
    )
    return equation, Start(tuple(lowering.state), tuple(lowering.controls))


def reference_map(problem: Problem | None, lowering: Lowering) -> tuple[MapEquation, Start]:
    """The map that heuristic modes run through: the method's own, or a gradient step for methods that have no other.

    Conjugate gradients and closed forms carry a state that is no fixed-point iteration of the variables.
    """
    if problem is None or (lowering.iteration != "once" and all(s.shape != () for s in lowering.state)):
        return map_equation(lowering)
    plain = ProximalGradient().lower(problem)
    equation, _ = map_equation(plain)
    return equation, Start(tuple(lowering.readout[v] for v in problem.variables), tuple(plain.controls.values()))


def optimality_of(problem: Problem, lowering: Lowering) -> tuple[Optimality, Start]:
    """The optimality conditions of an energy."""
    variables = problem.variables
    x = tuple(Input(f"x{i}", v.shape, v.kind) for i, v in enumerate(variables))
    split = []
    for i, term in enumerate(problem.rough_terms):
        direct = term not in lowering.arguments
        node = term.expression.parts[0].variable if direct else term.expression
        penalty = Input(f"s{i}", (), "real", role="control")
        split.append(SplitTerm(term, Input(f"v{i}", node.shape, node.kind), penalty, direct))
    at: dict[Variable, Expression] = dict(zip(variables, x, strict=True))
    slopes = tuple(full(problem.smooth_gradient(at), x) if problem.smooth_terms else full([None] * len(x), x))
    u = [s.prox(s.v) for s in split]
    back = gathered_back(variables, split, [s.penalty * (s.v - a) for s, a in zip(split, u, strict=True)])
    first = [a + b for a, b in zip(slopes, back, strict=True)] if split else list(slopes)
    second = [s.place(at) - a for s, a in zip(split, u, strict=True)]
    point = (*x, *(s.v for s in split))
    equation = Optimality(
        point,
        tuple(s.penalty for s in split),
        tuple(full([*first, *second], point)),
        dict(zip(variables, x, strict=True)),
        variables,
        tuple(split),
        slopes,
    )
    return equation, start_of(problem, lowering, equation)


def start_of(problem: Problem, lowering: Lowering, equation: Optimality) -> Start:
    """A state as a point: where no dual variable is at hand, what cancels the gradient takes its place."""
    x = [lowering.readout[v] for v in problem.variables]
    at = dict(zip(problem.variables, x, strict=True))
    slopes = full(problem.smooth_gradient(at), x) if problem.smooth_terms else full([None] * len(x), x)
    held = [t for t in problem.rough_terms if t in lowering.arguments]
    pulls = dict(zip(problem.variables, slopes, strict=True))
    for term in held:
        for variable in problem.variables:
            back = adjoint_at(term, variable, lowering.duals[term])
            if back is not None:
                pulls[variable] = pulls[variable] + back
    formulas, penalties = list(x), []
    for split in equation.split:
        if split.term in lowering.arguments:
            place, penalty = lowering.arguments[split.term]
        else:
            penalty = direct_penalty(problem, lowering)
            place = at[split.variable] - pulls[split.variable] / split.penalty
        formulas.append(ex.broadcast_to(place, split.v.shape))
        penalties.append(penalty)
    return Start(tuple(formulas), tuple(penalties))


def direct_penalty(problem: Problem, lowering: Lowering) -> Expression:
    """One over the step of a prox in a variable: the method's own, else the smooth part's Lipschitz constant, or 1."""
    if lowering.step_size is not None:
        return 1.0 / lowering.step_size
    bound = problem.smoothness
    if bound is None:
        return Literal(1.0)
    return ex.where(ex.pointwise("greater", bound.expression, 0.0), bound.expression, 1.0)


__all__ = ["Equation", "MapEquation", "Optimality", "SplitTerm", "Start", "equation_of", "reference_map"]
