"""The linear systems of implicit differentiation, one class for each kind of solution.

At a fixed point ``z = T(z; theta)`` with ``J = dT/dz`` the adjoint ``u`` of a cotangent ``c`` solves
``(I - J^T) u = c`` and the gradient is ``(dT/dtheta)^T u`` (implicit function theorem). What is differentiated is
always a reference map, never the accelerator that found the point. Symmetric forms are used where there are such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opalg.methods.denoisers import is_symmetric
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
from opalg.methods.proximal_gradient import prox_terms, proximal_step
from opalg.program import expression as ex
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Expression, Input, Literal

UNIT_STEP = Literal(1.0)


def full(found: Sequence[Expression | None], like: Sequence[Any]) -> list[Expression]:
    """Derivatives with zeros written out in the shape of their target."""
    zero = {"real": Literal(0.0), "complex": Literal(0j)}
    return [ex.broadcast_to(zero[n.kind] if g is None else g, n.shape) for g, n in zip(found, like, strict=True)]


def like(nodes: Sequence[Any], prefix: str) -> list[Input]:
    """Fresh inputs of the shapes and kinds of nodes."""
    return [Input(f"{prefix}{i}", n.shape, n.kind) for i, n in enumerate(nodes)]


@dataclass(frozen=True)
class System:
    """A reference map in the step language, and the linear system of its adjoint.

    Attributes
    ----------
    point : tuple of Input
        Where it is evaluated; ``auxiliary`` arrays are computed from the point first.
    image : tuple of Expression
        ``T`` at the point.
    controls : tuple of Input
        Scalars such as the step size, on which the gradient does not depend.
    """

    point: tuple[Input, ...]
    image: tuple[Expression, ...]
    controls: tuple[Input, ...]
    name: str
    symmetric: bool

    @cached_property
    def cotangents(self) -> list[Input]:
        """Inputs that stand for an adjoint state."""
        return like(self.point, "u")

    @property
    def auxiliary(self) -> tuple[tuple[Input, Expression], ...]:
        """Inputs that are computed once from the point, with their formulas."""
        return ()

    def right_side(self, given: Sequence[Expression]) -> list[Expression]:
        """The right-hand side of the system for a cotangent."""
        return list(given)

    def matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        """The system's matrix times a vector."""
        raise NotImplementedError

    def adjoint_state(self, given: Sequence[Expression], solved: Sequence[Expression]) -> list[Expression]:
        """The ``u`` with ``(I - J^T) u = c`` from the solution of the system."""
        return list(solved)

    def pull_back(self, adjoint: Sequence[Expression], leaves: Sequence[Any]) -> list[Expression | None]:
        """``(dT/dtheta)^T u`` for each leaf."""
        return vjp(list(self.image), list(adjoint), list(leaves))

    def push_forward(self, tangents: dict[Any, Expression]) -> list[Expression]:
        """``(dT/dtheta) dtheta``."""
        return full(jvp(list(self.image), tangents), self.point)

    def forward_matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        """The matrix of the forward system, whose solution is the change of the point."""
        moved = full(jvp(list(self.image), dict(zip(self.point, vector, strict=True))), self.point)
        return [v - m for v, m in zip(vector, moved, strict=True)]

    def forward_right_side(self, pushed: Sequence[Expression]) -> list[Expression]:
        """The right-hand side of the forward system."""
        return list(pushed)

    def change(self, pushed: Sequence[Expression], solved: Sequence[Expression]) -> list[Expression]:
        """The change of the point from the solution of the forward system."""
        return list(solved)


class HessianSystem(System):
    """A smooth energy: ``H u = c`` with ``T(x) = x - grad E(x)``; symmetric, for conjugate gradients."""

    def matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        moved = full(jvp(list(self.image), dict(zip(self.point, vector, strict=True))), self.point)
        return [v - m for v, m in zip(vector, moved, strict=True)]

    forward_matrix = matrix


class MapSystem(System):
    """A general map: ``(I - J^T) u = c``, for GMRES."""

    def matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        pulled = full(vjp(list(self.image), list(vector), list(self.point)), self.point)
        return [v - m for v, m in zip(vector, pulled, strict=True)]


@dataclass(frozen=True)
class ProximalSystem(System):
    """``x = prox(x - t grad f(x))`` reduced to its active part: ``(P - P G P) u = P c``, symmetric semidefinite.

    ``P`` is the derivative of the prox at ``v = x - t grad f(x)`` and ``G = I - t H``. For l1 the matrix is ``t H`` on
    the support. The adjoint state is ``c + G P u``.
    """

    moved: tuple[Input, ...] = ()
    moved_formula: tuple[Expression, ...] = ()
    proxed: tuple[Expression, ...] = ()
    slopes: tuple[Expression, ...] = ()
    step: Expression = UNIT_STEP

    @property
    def auxiliary(self) -> tuple[tuple[Input, Expression], ...]:
        return tuple(zip(self.moved, self.moved_formula, strict=True))

    def P(self, vector: Sequence[Expression]) -> list[Expression]:
        """The derivative of the prox times a vector."""
        return full(jvp(list(self.proxed), dict(zip(self.moved, vector, strict=True))), self.point)

    def G(self, vector: Sequence[Expression]) -> list[Expression]:
        """``I - t H`` times a vector."""
        curved = full(jvp(list(self.slopes), dict(zip(self.point, vector, strict=True))), self.point)
        return [v - self.step * c for v, c in zip(vector, curved, strict=True)]

    def right_side(self, given: Sequence[Expression]) -> list[Expression]:
        return self.P(given)

    def matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        projected = self.P(vector)
        turned = self.P(self.G(projected))
        return [p - q for p, q in zip(projected, turned, strict=True)]

    def adjoint_state(self, given: Sequence[Expression], solved: Sequence[Expression]) -> list[Expression]:
        back = self.G(self.P(solved))
        return [c + b for c, b in zip(given, back, strict=True)]

    def forward_matrix(self, vector: Sequence[Expression]) -> list[Expression]:
        return self.matrix(vector)

    def forward_right_side(self, pushed: Sequence[Expression]) -> list[Expression]:
        return self.P(self.G(pushed))

    def change(self, pushed: Sequence[Expression], solved: Sequence[Expression]) -> list[Expression]:
        return [b + p for b, p in zip(pushed, self.P(solved), strict=True)]


def system_of(problem: Problem | None, lowering: Lowering) -> System:
    """The system for an energy: on its Hessian, on its active part, or on the method's own map."""
    if problem is None or not is_symmetric(problem) or (problem.rough_terms and isinstance(prox_terms(problem), str)):
        return MapSystem(lowering.state, lowering.step, tuple(lowering.controls), "map", False)
    x = like(problem.variables, "x")
    point: dict[Any, Expression] = dict(zip(problem.variables, x, strict=True))
    slopes = problem.smooth_gradient(point) if problem.smooth_terms else full([None] * len(x), x)
    if not problem.rough_terms:
        image = tuple(a - s for a, s in zip(x, slopes, strict=True))
        return HessianSystem(tuple(x), image, (), "hessian", True)
    t = Input("t", (), "real", role="control")
    v = like(problem.variables, "v")
    formula = tuple(a - t * s for a, s in zip(x, slopes, strict=True))
    return ProximalSystem(
        tuple(x),
        tuple(proximal_step(problem, point, slopes, t)),
        (t,),
        "proximal",
        True,
        moved=tuple(v),
        moved_formula=formula,
        proxed=tuple(prox_at(problem, v, t)),
        slopes=tuple(slopes),
        step=t,
    )


def prox_at(problem: Problem, v: Sequence[Expression], step: Expression) -> list[Expression]:
    """The prox of the rough terms at v."""
    nothing = full([None] * len(v), v)
    return proximal_step(problem, dict(zip(problem.variables, v, strict=True)), nothing, step)
