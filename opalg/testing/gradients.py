"""Check the gradients of a solution: implicit differentiation against differences of solutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from opalg.arrays import backend_of
from opalg.compiler import compile
from opalg.energies.energy import EnergyExpression
from opalg.errors import DtypeError, ParameterError
from opalg.leaves import Parameter
from opalg.solving.solution import Solution
from opalg.testing.report import Findings, Report
from opalg.testing.subject import inner, random_array, size_of


def check_gradient(
    plan: Any,
    params: Mapping[Any, Any] | None = None,
    *,
    wrt: Sequence[Parameter] | None = None,
    rng: np.random.Generator | None = None,
    directions: int = 3,
    step: float = 1e-4,
    tol: float = 1e-12,
    max_iter: int = 100_000,
    tolerance: float = 1e-4,
    x0: Any = None,
) -> Report:
    """Compare ``sol.vjp`` with central differences of the solution in random directions.

    Parameters
    ----------
    plan : Plan, MapPlan or Energy
        What is solved; an energy is compiled first. It must compute in float64.
    params : mapping from Parameter (or its name) to value, optional
        Where to differentiate; by default at the parameters' own values.
    wrt : sequence of Parameter, optional
        What to differentiate in; by default every parameter.
    rng : numpy.random.Generator, optional
        Where directions come from; the same ones each time by default.
    directions : int
        How many directions for each parameter.
    step : float
        The length of a difference, relative to the parameter.
    tol, max_iter
        For the solves. The error of a difference is about the solution's error divided by ``step``.
    tolerance : float
        On the relative difference.
    x0 : optional
        Where solves start.

    Returns
    -------
    Report
        True where all agree; ``report.errors`` maps the label of each parameter to its largest relative error.

    Raises
    ------
    ParameterError
        Where there are no parameters, or one lies at the edge of its declared domain with every entry.
    DtypeError
        Where the plan does not compute in float64, in which differences would be noise.

    Notes
    -----
    For a random cotangent c, ``<vjp(c), d>`` is compared with ``<c, x(theta + h d) - x(theta - h d)> / (2 h)``, with
    solutions polished by Newton steps, which find their zeros whatever derivative they use. The step is shortened where
    the solution has a kink in the parameter nearby, as where an entry of a sparse solution is about to vanish; what is
    left of the step then says how exact the difference can be.

    Examples
    --------
    >>> import opalg as oa
    >>> lam = oa.Parameter(0.5, name="lambda")
    >>> x = oa.Variable(3)
    >>> oa.testing.check_gradient(oa.sum_squares(x - [1.0, 2.0, 3.0]) + lam * oa.sum_squares(x)).ok
    True
    """
    plan = compile(plan) if isinstance(plan, EnergyExpression) else plan
    _check_plan(plan)
    rng = np.random.default_rng(0) if rng is None else rng
    chosen = tuple(plan.parameters if wrt is None else wrt)
    if not chosen:
        raise ParameterError("there is no parameter to differentiate in; make data a Parameter, or give wrt=[...]")
    runner = _Runner(plan, dict(params or {}), {"tol": tol, "max_iter": max_iter, "x0": x0, "on_failure": "return"})
    findings = Findings(f"gradients of {plan!r}".partition("\n")[0])
    centre = runner.solve({})
    cotangent = {v: random_array(rng, v.shape, v.kind) for v in plan.variables}
    given = {v: plan.backend.asarray(c, v.kind) for v, c in cotangent.items()}
    gradients = centre.vjp(given if len(given) > 1 else next(iter(given.values())), chosen, on_inexact="return")
    noise = 10 * tol / step * _size(cotangent, centre)
    for parameter in chosen:
        value = runner.value(parameter)
        gradient = np.asarray(plan.backend.to_numpy(plan.backend.asarray(gradients[parameter])))
        findings.trying(parameter.label)
        pairs = []
        for _ in range(directions):
            d = _direction(rng, parameter, value)
            said = inner(gradient, d)
            h = runner.step(centre, parameter, d, step)
            ahead, behind = (runner.polished({parameter: value + sign * h * d}) for sign in (1.0, -1.0))
            slope = (_along(cotangent, ahead) - _along(cotangent, behind)) / (2 * h)
            pairs.append((said, slope, size_of(gradient) * size_of(d)))
        _compare(findings, parameter, pairs, tolerance, noise)
    for flag in getattr(gradients, "flags", ()):
        findings.note(f"the backward solve says: {flag}")
    if runner.unfinished:
        findings.note(f"{runner.unfinished} solves ended short of tol={tol:g}; differences are less exact than that")
    return findings.report()


def _check_plan(plan: Any) -> None:
    for name in ("solve", "parameters", "variables", "backend"):
        if not hasattr(plan, name):
            raise ParameterError(f"check_gradient takes a plan or an energy, not {type(plan).__name__}")
    if plan.backend.precision != "float64":
        raise DtypeError("differences need float64; compile the energy with dtype='float64'")


class _Runner:
    """Solves one plan at changed parameters, on NumPy."""

    def __init__(self, plan: Any, params: dict[Any, Any], options: dict[str, Any]) -> None:
        self.plan, self.options = plan, options
        by_name = {p.name: p for p in plan.parameters}
        self.params = {by_name.get(key, key) if isinstance(key, str) else key: value for key, value in params.items()}
        self.unfinished = 0

    def value(self, parameter: Parameter) -> np.ndarray:
        """The value around which a parameter is moved."""
        lib = self.plan.backend
        return np.array(lib.to_numpy(lib.asarray(self.params.get(parameter, parameter.value), parameter.kind)))

    def solve(self, changed: dict[Parameter, np.ndarray]) -> Solution:
        """The solution with some parameters changed."""
        values = {**self.params, **changed}
        moved = {p: v if np.shape(v) else v.item() if hasattr(v, "item") else v for p, v in values.items()}
        solution = self.plan.solve(params=moved, **self.options)
        self.unfinished += not solution
        return solution

    def polished(self, changed: dict[Parameter, np.ndarray]) -> list[Any]:
        """The variables of the solution with some parameters changed, as exact as they can be had."""
        solution = self.solve(changed)
        found = solution.polish()
        return [found] if len(solution.variables) == 1 else list(found.values())

    def step(self, centre: Solution, parameter: Parameter, d: np.ndarray, longest: float) -> float:
        """A step along d that leaves the active set alone, as far as that is known and no shorter than a hundredth."""
        radius = min(centre.validity_radius({parameter: sign * d}, on_inexact="return") for sign in (1.0, -1.0))
        return min(longest, max(0.5 * radius, 0.01 * longest))


def _along(cotangent: Mapping[Any, np.ndarray], points: Sequence[Any]) -> float:
    return sum(inner(c, backend_of(p).to_numpy(p)) for c, p in zip(cotangent.values(), points, strict=True))


def _size(cotangent: Mapping[Any, np.ndarray], solution: Solution) -> float:
    """``|c| |x|``, on which the noise of a difference depends."""
    points = zip(cotangent.values(), solution.points, strict=True)
    return sum(size_of(c) * size_of(backend_of(p).to_numpy(p)) for c, p in points)


def _direction(rng: np.random.Generator, parameter: Parameter, value: np.ndarray) -> np.ndarray:
    """A random direction, as long as the value; a parameter with a domain stays inside it."""
    d = random_array(rng, parameter.shape, parameter.kind)
    if not (parameter.nonneg or parameter.positive):
        return d * max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
    if not np.any(value):
        raise ParameterError(
            f"parameter {parameter.label!r} lies at the edge of its domain, where it cannot move both ways; give it a "
            f"positive value: params={{{parameter.label!r}: ...}}"
        )
    return np.clip(d, -3.0, 3.0) * value


def _compare(
    findings: Findings, parameter: Parameter, pairs: list[tuple[float, float, float]], tolerance: float, noise: float
) -> None:
    """Keep the errors of one parameter; differences below the noise of the solves pass."""
    largest = max(abs(slope) for _, slope, _ in pairs)
    for said, slope, size in pairs:
        scale = max(largest, abs(said), 1e-3 * size, noise / tolerance, 1e-300)
        ratio = said / slope if slope else float("inf")
        message = f"<vjp, d> = {said:.6g}, but the solution changes by {slope:.6g} per step along d"
        hint = f"Their ratio is {ratio:.4g}"
        findings.measure(parameter.label, abs(said - slope) / scale, tolerance, message, hint=hint)
