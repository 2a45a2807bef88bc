"""Conjugate gradients for quadratic energies (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from functools import partial

from opalg.facts import YES
from opalg.methods.method import Fit, Lowering, Method, refuse, starts_at, state_inputs
from opalg.methods.problem import Problem, effort, in_kind
from opalg.program import expression as ex
from opalg.program.differentiate import jvp, sum_of
from opalg.program.expression import Expression, Input, Literal, safe_divide, square

ROUNDING = 64.0


class ConjugateGradient(Method):
    """``H x = b`` by conjugate gradients; one iteration is one product with ``H``.

    The state is the iterate, the residual ``r = b - H x``, the direction and ``|r|^2``.
    """

    name = "conjugate_gradient"
    reference = "Hestenes and Stiefel 1952"

    def fit(self, problem: Problem) -> Fit:
        if not problem.quadratic:
            return refuse("not every term is a sum of squares")
        if problem.convex is not YES:
            return refuse("the quadratic is not known to be convex")
        return Fit(True, "every term is a sum of squares", 80.0)

    def lower(self, problem: Problem) -> Lowering:
        variables = problem.variables
        x = state_inputs(variables)
        r, p = state_inputs(variables, "r"), state_inputs(variables, "p")
        size = Input("rr", (), "real")
        epsilon = Input("epsilon", (), "real", role="control")
        scale = sum_of([ex.norm_squared(g) for g in problem.gradient_at_zero.values()])
        product = hessian_product(problem, x, p)
        curvature = sum_of([ex.inner(a, b) for a, b in zip(p, product, strict=True)])
        going = more_than_rounding(problem, x, p, size, curvature, scale, epsilon)
        length = ex.where(going, safe_divide(size, ex.maximum(curvature, 0.0)), 0.0)
        x_next = tuple(a + length * b for a, b in zip(x, p, strict=True))
        r_next = tuple(a - length * b for a, b in zip(r, product, strict=True))
        size_next = sum_of([ex.norm_squared(a) for a in r_next])
        ratio = ex.where(going, safe_divide(size_next, size), 0.0)
        p_next = tuple(a + ratio * b for a, b in zip(r_next, p, strict=True))

        def residual_at(point: dict) -> list[Expression]:
            return [-g for g in problem.smooth_gradient(point)]

        def entry(i: int, point: dict) -> Expression:
            return residual_at(point)[i]

        start = {a: starts_at(v) for a, v in zip(x, variables, strict=True)}
        for i in range(len(variables)):
            start[r[i]] = start[p[i]] = partial(entry, i)
        start[size] = lambda point: sum_of([ex.norm_squared(g) for g in residual_at(point)])
        return Lowering(
            state=(*x, *r, *p, size),
            step=(*x_next, *r_next, *p_next, size_next),
            readout=dict(zip(variables, x, strict=True)),
            start=start,
            residual=sum_of([ex.norm_squared(g) for g in residual_at(dict(zip(variables, x, strict=True)))]),
            scale=scale,
            controls={epsilon: Literal(2.0**-52)},
            epsilon=epsilon,
        )


def more_than_rounding(
    problem: Problem,
    x: tuple[Input, ...],
    p: tuple[Input, ...],
    size: Expression,
    curvature: Expression,
    scale: Expression,
    epsilon: Expression,
) -> Expression:
    """Whether residual and curvature stand above rounding; a step on less would walk off along a null space."""
    bound = problem.smoothness
    constant = Literal(0.0) if bound is None else bound.expression
    reached = scale + square(constant) * sum_of([ex.norm_squared(a) for a in x])
    left = ex.pointwise("greater", size, square(ROUNDING * epsilon) * reached)
    lengths = sum_of([ex.norm_squared(a) for a in p])
    return ex.pointwise("logical_and", left, ex.pointwise("greater", curvature, 4.0 * epsilon * constant * lengths))


def hessian_product(problem: Problem, x: tuple[Input, ...], p: tuple[Input, ...]) -> list[Expression]:
    """The Hessian of the smooth terms at x times p, in the form that takes fewer transforms."""
    point = dict(zip(problem.variables, x, strict=True))
    slopes = problem.smooth_gradient(dict(point))
    moved = jvp(slopes, dict(zip(x, p, strict=True)))
    direct = [ex.broadcast_to(Literal(0.0) if m is None else m, a.shape) for m, a in zip(moved, p, strict=True)]
    hessian = problem.hessian(problem.smooth_terms)
    if hessian is None:
        return direct
    by_operator = [in_kind(hessian.trace(p[0]), p[0].kind)]
    return by_operator if effort(by_operator, [*x, *p]) <= effort(direct, [*x, *p]) else direct
