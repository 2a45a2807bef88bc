"""Proximal gradient with a line search: a step of its own for each sample, found by gradients or by values."""

from __future__ import annotations

from typing import Any

from opalg.energies.affine import Variable
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.methods.denoisers import fixes_step
from opalg.methods.method import Fit, LineSearch, Lowering, refuse, starts_at, state_inputs
from opalg.methods.problem import Problem
from opalg.methods.proximal_step import first_step, must_search, prox_terms, proximal_step, step_of
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Literal

TESTS = ("gradient", "value")
LEAVE_OUT = "leave line_search= out"


def check_options(line_search: Any, sample_axes: Any) -> None:
    """Raise ParameterError for options of the line search that make no sense."""
    if line_search is not None and line_search not in TESTS:
        raise ParameterError(f"line_search must be 'gradient' or 'value', not {line_search!r}")
    if isinstance(sample_axes, bool) or not isinstance(sample_axes, int) or sample_axes < 0:
        raise ParameterError(f"sample_axes must be a nonnegative integer, not {sample_axes!r}")
    if sample_axes and line_search is None:
        raise ParameterError(
            f"sample_axes={sample_axes} counts the axes of samples that have a step of their own, which a line search "
            f"finds; say line_search='gradient', too"
        )
    if sample_axes and line_search == "value":
        raise ParameterError(
            "values of terms are added up over samples, so a line search by values has one step for all of them; "
            "line_search='gradient' has one for each"
        )


def check_samples(variables: tuple[Variable, ...], axes: int) -> None:
    """Raise ShapeError where variables do not begin with the same axes of samples."""
    if len({v.shape[:axes] for v in variables}) != 1 or any(len(v.shape) < axes for v in variables):
        found = ", ".join(f"{v.label} {v.shape}" for v in variables)
        raise ShapeError(f"sample_axes={axes} needs variables that begin with the same {axes} axes, not {found}")


def fit_search(problem: Problem, test: str, sample_axes: int) -> Fit:
    """Whether a line search applies to an energy whose terms are known to suit the method."""
    check_samples(problem.variables, sample_axes)
    if problem.without_value:
        return refuse(
            f"a line search seeks a step that decreases an energy, and the term {problem.without_value[0]!r} has none; "
            f"{LEAVE_OUT} for a step that rests on declared constants, or write the update as a map, "
            f"oa.fixed_point(x, x - step * oa.grad(E))"
        )
    if not problem.smooth_terms:
        return refuse(f"there is no smooth term whose gradient a line search would test; {LEAVE_OUT}")
    terms = prox_terms(problem)
    assert isinstance(terms, dict)
    fixed = next((t for t in terms.values() if fixes_step(t)), None)
    if fixed is not None:
        return refuse(f"the denoiser of {fixed!r} is known at one step only, so there is none to search; {LEAVE_OUT}")
    x = state_inputs(problem.variables)
    try:
        _trial(problem, sample_axes, x, x, step_inputs(x, sample_axes))
    except UnsupportedError as reason:
        return refuse(f"a prox is not known with a step for each sample: {reason}")
    found = "a step for each sample" if sample_axes else "a step"
    words = f"a smooth part plus terms with a prox of their variable; a line search by {test}s finds {found}"
    return Fit(True, words, 60.0)


def step_inputs(state: tuple[Input, ...], sample_axes: int) -> tuple[Input, ...]:
    """The step as an input for each variable: one number for all, or one for each sample beside axes of length 1."""
    if not sample_axes:
        return (Input("t", (), "real", role="control"),) * len(state)
    shapes = [s.shape[:sample_axes] + (1,) * (s.ndim - sample_axes) for s in state]
    return tuple(Input(f"t_{s.name}", shape, "real") for s, shape in zip(state, shapes, strict=True))


def lower_search(problem: Problem, test: str, sample_axes: int) -> Lowering:
    """The plain step as a map, and the pieces that a line search is made of."""
    x = state_inputs(problem.variables)
    point: dict[Variable, Expression] = dict(zip(problem.variables, x, strict=True))
    size = Input("t", (), "real", role="control")
    bound = problem.smoothness
    taken = prox_terms(problem)
    assert isinstance(taken, dict)

    def at(z: tuple[Expression, ...]) -> dict[Variable, Expression]:
        return dict(zip(problem.variables, z, strict=True))

    def value(z: tuple[Expression, ...]) -> tuple[Expression, Expression]:
        parts = [t.trace(at(z)) for t in problem.smooth_terms]
        return sum_of(parts), sum_of([abs(p) for p in parts])

    zero = problem.gradient_at_zero
    return Lowering(
        state=x,
        step=tuple(proximal_step(problem, point, problem.smooth_gradient(point), size)),
        readout=dict(point),  # type: ignore[arg-type]
        start={a: starts_at(v) for a, v in zip(x, problem.variables, strict=True)},
        controls={size: Literal(1.0) if bound is None else first_step(bound.expression)},
        iteration="backtracking",
        scale=sum_of([ex.norm_squared(g) for g in zero.values()]),
        step_size=size,
        backtrack=True,
        smooth_gradient=lambda z: problem.smooth_gradient(at(z)),
        search=LineSearch(
            test=test,
            steps=step_inputs(x, sample_axes),
            trial=lambda z, slopes, steps: _trial(problem, sample_axes, z, slopes, steps),
            value=value if test == "value" else None,
            slopes_at_zero=tuple(zero[v] for v in problem.variables),
            has_prox=bool(taken),
            guesses=must_search(bound),
        ),
        sample_axes=sample_axes,
        notes=_notes(problem, test, sample_axes),
    )


def _trial(
    problem: Problem,
    sample_axes: int,
    z: tuple[Expression, ...],
    slopes: tuple[Expression, ...],
    steps: tuple[Expression, ...],
) -> list[Expression]:
    """``prox_{t g}(z - t s)`` with steps as `step_inputs` shapes them."""
    terms = prox_terms(problem)
    assert isinstance(terms, dict)
    return [step_of(terms, v, a, s, t) for v, a, s, t in zip(problem.variables, z, slopes, steps, strict=True)]


def _notes(problem: Problem, test: str, sample_axes: int) -> tuple[str, ...]:
    whose = f"a step t for each sample of the leading {sample_axes} axes" if sample_axes else "one step t"
    rule = {
        "gradient": "Re <grad f(x+) - grad f(x), x+ - x> <= |x+ - x|^2 / t",
        "value": "f(x+) <= f(x) + Re <grad f(x), x+ - x> + |x+ - x|^2 / (2 t)",
    }[test]
    taken = [f"by its prox although it is smooth: {t!r}" for t in problem.apart]
    return (f"{whose}, accepted where {rule}", *taken)


__all__ = ["check_options", "check_samples", "fit_search", "lower_search", "step_inputs"]
