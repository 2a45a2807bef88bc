"""The error of a gradient to first order in what is left of the equation of the point and of that of its adjoint.

With ``J s = R`` the point is off by s, with ``J^T b = (J^T a - c) - (dJ^T[s]) a + c'[s]`` the adjoint is off by b, and
the gradient ``z = -R_theta^T a`` by ``e = -(R_theta^T b + (dR_theta[s])^T a)``. All derivatives are those of the scalar
``<a, J s>``. Both solves may be loose, since an error of an error matters little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opalg.implicit.arguments import Request
from opalg.implicit.expressions import like, pairing, pulled, pushed
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.programs import Arrays, is_zero, minus, plus, size, times, zeros
from opalg.implicit.system import MapEquation
from opalg.program.expression import Expression, Input, Literal

LOOSE = Accuracy(0.05, 300)
FIRM = Accuracy(1e-5, 600)  # for the conditions of an energy by GMRES, whose parts have different units
SAFETY = 1.1  # two solves to 5 per cent each
NOTHING = 4.0  # multiples of epsilon below which a residual, relative to what it is made of, is rounding


@dataclass(frozen=True)
class Estimated:
    """An estimate of the errors of gradients.

    Attributes
    ----------
    errors : list of array
        ``e``, for each parameter.
    products : int
    converged : bool
        Whether both solves reached their loose tolerance.
    """

    errors: Arrays
    products: int
    converged: bool


def estimate(
    jacobian: Jacobian,
    residual: Arrays,
    c: Arrays,
    a: Arrays,
    request: Request,
    negligible: bool,
    changed: Callable[[Arrays], Arrays | None],
) -> Estimated:
    """Estimate the errors of the gradients that an approximate point and adjoint give.

    Parameters
    ----------
    jacobian : Jacobian
        At the point.
    residual : list of array
        ``R`` at the point.
    c, a : list of array
        The right-hand side of the adjoint system and its approximate solution.
    request : Request
        What gradients are wanted in.
    negligible : bool
        Whether the residual of the point is no more than rounding.
    changed : callable
        ``s -> c(z) - c(z - s)``; None where the right-hand side is the same everywhere.
    """
    lib, nodes = jacobian.lib, jacobian.equation.point
    loose = LOOSE if jacobian.symmetric or isinstance(jacobian.equation, MapEquation) else FIRM
    s, products, converged = zeros(nodes, lib), 0, True
    if not negligible and not is_zero(residual, lib):
        s, solved = jacobian.solve_forward(residual, loose)
        products, converged = solved.products, solved.converged
    mapped = jacobian.programs("transposed", lambda: transposed(jacobian), *jacobian.point, *a)
    right = minus(mapped, c, lib)
    if size(right, lib) <= NOTHING * lib.epsilon * size(c, lib):
        right = times(0.0, right, lib)
    direct: Arrays = []
    if not is_zero(s, lib):
        bent = bend(jacobian, a, s, None, [], request)
        right, direct = minus(right, bent[: len(nodes)], lib), bent[len(nodes) :]
        more = changed(s)
        right = right if more is None else plus(right, more, lib)
    b = zeros(nodes, lib)
    if not is_zero(right, lib):
        b, solved = jacobian.solve_adjoint(right, loose)
        products, converged = products + solved.products, converged and solved.converged
    errors = pull(jacobian, times(-1.0, b, lib), request)  # leaves may be larger than b by far
    return Estimated(minus(errors, direct, lib) if direct else errors, products, converged)


def pull(jacobian: Jacobian, a: Arrays, request: Request) -> Arrays:
    """``R_theta^T a`` for each leaf."""
    key = ("pull", tuple(request.leaves))
    return jacobian.programs(key, lambda: pulling(jacobian, request), *jacobian.point, *a)


def bend(
    jacobian: Jacobian, a: Arrays, s: Arrays, along: Request | None, directions: Arrays, request: Request
) -> Arrays:
    """The gradient of ``<a, J s + R_theta t>`` in the point and in leaves, for directions t of the leaves ``along``."""
    moved = () if along is None else tuple(along.leaves)
    key = ("bent", tuple(request.leaves), moved)
    return jacobian.programs(key, lambda: bending(jacobian, request, along), *jacobian.point, *a, *s, *directions)


Recipe = tuple[list[Expression], list[Input]]


def pulling(jacobian: Jacobian, request: Request) -> Recipe:
    """The recipe of `pull`."""
    equation = jacobian.equation
    found = pulled(request.enter(equation.residual), equation.adjoints, request.leaves)
    return found, [*equation.point, *equation.adjoints]


def transposed(jacobian: Jacobian) -> Recipe:
    """The recipe of ``J^T a``."""
    equation = jacobian.equation
    return equation.transposed(equation.adjoints), [*equation.point, *equation.adjoints]


def bending(jacobian: Jacobian, request: Request, along: Request | None) -> Recipe:
    """The recipe of `bend`."""
    equation = jacobian.equation
    moved = [] if along is None else along.leaves
    tangents = like(moved, "t")
    residual = request.enter(equation.residual)
    residual = residual if along is None else along.enter(residual)
    change = pushed(residual, [*equation.point, *moved], [*equation.directions, *tangents])
    value = pairing(equation.adjoints, change)
    found = pulled([value], [Literal(1.0)], [*equation.point, *request.leaves])
    return found, [*equation.point, *equation.adjoints, *equation.directions, *tangents]
