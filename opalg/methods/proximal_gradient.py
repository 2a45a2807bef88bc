"""Proximal gradient: a gradient step on the smooth terms, then the prox of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opalg.energies.affine import Variable
from opalg.facts import YES
from opalg.functionals.network_functions import NetworkFunctional
from opalg.methods.denoisers import guarantee
from opalg.methods.line_search import check_options, fit_search, lower_search
from opalg.methods.method import Fit, Lowering, Method, refuse, starts_at, state_inputs
from opalg.methods.problem import Problem, squared_norm
from opalg.methods.proximal_step import first_step, inverse_step, must_search, prox_terms, proximal_step
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal


@dataclass(frozen=True)
class ProximalGradient(Method):
    """``x+ = prox_{t g}(x - t grad f(x))``, accelerated with restart.

    The step is ``1 / L`` where a Lipschitz constant ``L`` is certified or declared, else found by backtracking that may
    also grow. Where a term has no energy, only a field or a denoiser in the place of a prox, there is nothing to search
    a step by and no momentum to trust: the fixed point of the step is sought by safeguarded Anderson acceleration.

    Parameters
    ----------
    line_search : {"gradient", "value"}, optional
        Search a step that is accepted by a test, without momentum, so that the energy decreases in each iteration. The
        test by gradients has no cancellation, and an accepted step costs one gradient.
    sample_axes : int
        How many leading axes of every variable count samples, each of which then has a step of its own and rests once
        it has converged; for the test by gradients.

    References
    ----------
    Beck and Teboulle (2009); O'Donoghue and Candes (2015) for the restart; Reehorst and Schniter (2019) and Ryu et al.
    (2019) for the steps of regularisation by denoising and of plug-and-play.
    """

    name = "proximal_gradient"
    reference = "Beck and Teboulle 2009; restart: O'Donoghue and Candes 2015"
    options: ClassVar[tuple[str, ...]] = ("line_search", "prox", "sample_axes")
    line_search: str | None = None
    sample_axes: int = 0

    def __post_init__(self) -> None:
        check_options(self.line_search, self.sample_axes)

    def fit(self, problem: Problem) -> Fit:
        terms = prox_terms(problem)
        if isinstance(terms, str):
            return refuse(terms)
        if not problem.smooth_terms and len(problem.terms) > 1:
            return refuse("there is no smooth term; a plain prox is not a descent method here")
        if self.line_search is not None:
            return fit_search(problem, self.line_search, self.sample_axes)
        if problem.without_value:
            reason = why_no_step(problem)
            if reason is not None:
                return refuse(reason)
            return Fit(True, "a fixed point of its step needs no energy; the step rests on declared constants", 60.0)
        bound = problem.smoothness
        how = "the step is found by backtracking" if must_search(bound) else "the step rests on a certified constant"
        if bound is not None and bound.certainty == "asserted":
            how = "the step rests on a declared constant"
        return Fit(True, f"a smooth part plus terms with a prox of their variable; {how}", 60.0)

    def lower(self, problem: Problem) -> Lowering:
        if self.line_search is not None:
            return lower_search(problem, self.line_search, self.sample_axes)
        if problem.without_value:
            return lowered_map(problem)
        x = state_inputs(problem.variables)
        point: dict[Variable, Expression] = dict(zip(problem.variables, x, strict=True))
        size = Input("t", (), "real", role="control")
        step = proximal_step(problem, point, problem.smooth_gradient(point), size)
        bound = problem.smoothness
        first: Expression = Literal(1.0) if bound is None else first_step(bound.expression)
        return Lowering(
            state=x,
            step=tuple(step),
            readout=dict(point),  # type: ignore[arg-type]
            start={a: starts_at(v) for a, v in zip(x, problem.variables, strict=True)},
            controls={size: first},
            iteration="nesterov",
            scale=sum_of([ex.norm_squared(g) for g in problem.gradient_at_zero.values()]),
            step_size=size,
            backtrack=must_search(bound),
            smooth_value=lambda z: problem.smooth_value(dict(zip(problem.variables, z, strict=True))),
            smooth_gradient=lambda z: problem.smooth_gradient(dict(zip(problem.variables, z, strict=True))),
            notes=(f"step size t = 1 / {bound!r}",) if bound is not None and problem.convex is YES else (),
        )


def why_no_step(problem: Problem) -> str | None:
    """A sentence on an energy without values that leaves the step unknown; None where the step is known."""
    if problem.smoothness is not None:
        return None
    for term in problem.smooth_terms:
        if term.functional.facts.smoothness is None:
            guilty = f"no Lipschitz constant of the gradient of {term!r} is known"
            if term in problem.without_value:
                guilty = f"the field of {term!r} has no Lipschitz constant"
            what = "; declare one with lipschitz=..." if isinstance(term.functional, NetworkFunctional) else ""
            return f"without an energy there is nothing to search a step by, and {guilty}{what}"
    guilty = next(f"{t!r}" for t in problem.smooth_terms if squared_norm(t) is None)
    return f"without an energy there is nothing to search a step by, and the operator of {guilty} has no norm bound"


def lowered_map(problem: Problem) -> Lowering:
    """The step as a map whose fixed point is sought, for energies in which a term has no value."""
    bound, terms = problem.smoothness, prox_terms(problem)
    assert bound is not None
    assert isinstance(terms, dict)
    x = state_inputs(problem.variables)
    point: dict[Variable, Expression] = dict(zip(problem.variables, x, strict=True))
    size = Input("t", (), "real", role="control")
    step = proximal_step(problem, point, problem.smooth_gradient(point), size)
    fixed = [inverse_step(terms, v) for v in problem.variables]
    rates = [1.0 / size if f is None else f for f in fixed]
    moves = [ex.norm_squared(r * (a - b)) for a, b, r in zip(step, x, rates, strict=True)]
    needs, notes = [], ["no energy is known: a point is sought that the step leaves where it is"]
    for variable, rate in zip(problem.variables, fixed, strict=True):
        if rate is not None:
            notes.append(f"step of {variable.label}: one over the weight of its denoiser, at which it is known")
            sentence = (
                f"the denoiser of {terms[variable]!r} acts at the step that is one over its weight, which is longer "
                f"than 2 / L with L the Lipschitz constant of the gradient; give it a larger weight"
            )
            needs.append((2.0 * rate - bound.expression, sentence))
    free = None in fixed
    if free:
        notes.append(f"step size t = 1 / {bound!r}, from the gradient and the fields together")
    return Lowering(
        state=x,
        step=tuple(step),
        readout=dict(point),  # type: ignore[arg-type]
        start={a: starts_at(v) for a, v in zip(x, problem.variables, strict=True)},
        controls={size: first_step(bound.expression)} if free else {},
        iteration="anderson",
        residual=sum_of(moves),
        scale=sum_of([ex.norm_squared(g) for g in problem.gradient_at_zero.values()]),
        step_size=size if free else None,
        needs=tuple(needs),
        notes=(*notes, *guarantee(problem)),
    )
