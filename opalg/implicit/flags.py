"""What a gradient may notice: the names of its flags, what each means and what to do about it."""

from __future__ import annotations

FORWARD_NOT_CONVERGED = "forward_not_converged"
ACTIVE_SET_UNCERTAIN = "active_set_uncertain"
POLISHED = "polished"
DEGENERATE = "degenerate"
ONE_SIDED = "one_sided"
SOLUTION_NOT_UNIQUE = "solution_not_unique"
SINGULAR = "singular"
NOT_A_MINIMUM = "not_a_minimum"
UNSTABLE_FIXED_POINT = "unstable_fixed_point"
ILL_CONDITIONED = "ill_conditioned"
ADJOINT_NOT_CONVERGED = "adjoint_not_converged"
ADJOINT_INEXACT = "adjoint_inexact"
NO_BOUND = "no_bound"
NO_ESTIMATE = "no_estimate"
DEMOTED = "demoted"
UNUSED_PARAMETER = "unused_parameter"
NO_INFLUENCE = "no_influence"

# How linear solvers end that fall short; but for the last these stand among the flags, beside ADJOINT_NOT_CONVERGED.
STAGNATED, BREAKDOWN, NEGATIVE_CURVATURE, NONFINITE = "stagnated", "breakdown", "negative_curvature", "nonfinite"

MEANINGS: dict[str, tuple[str, str]] = {
    ACTIVE_SET_UNCERTAIN: (
        "refining did not end at a solution: entries are still being freed and held",
        "solve to a smaller `tol`",
    ),
    POLISHED: ("the forward solve went on by itself, because the active set had not settled", "nothing"),
    DEGENERATE: (
        "the solution is at a kink: one-sided derivatives differ, and this is one of them",
        'ask for one with `side="right"` or `"left"`, or move the parameter',
    ),
    ONE_SIDED: ("the derivative to the side that was asked for", "nothing"),
    SOLUTION_NOT_UNIQUE: (
        "the system is singular, and the loss does not mind: the least adjoint is taken",
        "nothing",
    ),
    NOT_A_MINIMUM: ("negative curvature: a saddle point of an energy that is not convex", "start elsewhere"),
    UNSTABLE_FIXED_POINT: ("the map leaves the point that was found", "see `g.spectrum`"),
    ILL_CONDITIONED: (
        "the condition of the system leaves few digits",
        "expect `error_estimate` to say how few",
    ),
    ADJOINT_NOT_CONVERGED: (
        "the linear solver ran out of products, and `on_inexact` asked for no error",
        "raise `max_iter`, loosen `tol`",
    ),
    FORWARD_NOT_CONVERGED: (
        "the forward solve has not converged, and `on_inexact` asked for no error",
        "solve further",
    ),
    SINGULAR: (
        "the system is singular, and `on_inexact` asked for no error: the least-squares adjoint is taken",
        "add a small strongly convex term",
    ),
    NO_BOUND: ('`estimate="bound"` found nothing to prove a bound with', "rely on the estimate"),
    STAGNATED: ("the linear solver came no nearer, and `on_inexact` asked for no error", "give another `solver`"),
    BREAKDOWN: (
        "the system is not symmetric, or has no solution, and `on_inexact` asked for no error",
        'see `debug=True`, or take `solver="gmres"`',
    ),
    NEGATIVE_CURVATURE: (
        "the linear solver met negative curvature, and `on_inexact` asked for no error",
        "start elsewhere",
    ),
    ADJOINT_INEXACT: (
        "the default tolerance was not reached, but the residual is below 2 %",
        "see `relative_residual`; give `tol` to insist",
    ),
    NO_ESTIMATE: ("a function in the energy has no forward derivative", "give it one, or do without"),
    DEMOTED: ("the cotangent is more precise than the plan, whose precision the gradient has", "convert it"),
    UNUSED_PARAMETER: ("the gradient is exactly zero because nothing depends on it", "nothing"),
    NO_INFLUENCE: ("the gradient is exactly zero: a solution does not depend on how it was sought", "nothing"),
}
DOUBTS = frozenset((ACTIVE_SET_UNCERTAIN, ADJOINT_NOT_CONVERGED, FORWARD_NOT_CONVERGED))  # of the error, too
SERIOUS = (ADJOINT_INEXACT, ADJOINT_NOT_CONVERGED, ACTIVE_SET_UNCERTAIN, FORWARD_NOT_CONVERGED)
