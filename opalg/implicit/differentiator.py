"""Implicit differentiation of a solution: one linear solve, whatever the number of iterations that found it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from opalg.arrays import Backend
from opalg.energies.maps import MapExpression
from opalg.errors import ParameterError, UnsupportedError
from opalg.implicit.approximate import approximate_gradients
from opalg.implicit.arguments import (
    FORWARD,
    Cotangents,
    Options,
    Request,
    cotangent_of,
    directions_of,
    forward_flags,
    networks_in,
    options_of,
    request_of,
)
from opalg.implicit.certify import certified_errors
from opalg.implicit.estimate import Estimated, bend, estimate, pull
from opalg.implicit.flags import ACTIVE_SET_UNCERTAIN, FORWARD_NOT_CONVERGED, NO_ESTIMATE, POLISHED
from opalg.implicit.gradients import Gradients
from opalg.implicit.judgement import Judged, check_accuracy, judge, warn_of
from opalg.implicit.linearise import Lineariser
from opalg.implicit.moves import feasible_variables, push, readout_change, through_readout, variables_at
from opalg.implicit.one_sided import Moved, change_to_side, gradient_to_side, way_of
from opalg.implicit.optimal_value import value_gradient
from opalg.implicit.precision import binding_in
from opalg.implicit.programs import Arrays, is_zero, minus, times
from opalg.implicit.refine import Linearised
from opalg.implicit.results import Results
from opalg.implicit.samples import per_sample
from opalg.implicit.system import MapEquation
from opalg.implicit.uniqueness import uniqueness_flags
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
from opalg.program.recordings import recorded_once
from opalg.solving.solution import Solution

Resume = Callable[[Solution, float], Solution]
NOTHING = Request([], {}, ())
ROUNDS = 3  # how often the forward solve goes on where its active set has not settled


class Differentiator:
    """Gradients of the solutions of one plan at one set of parameter values.

    Parameters
    ----------
    problem : Problem or None
        The canonical energy; None for a declared map.
    lowering : Lowering
        The method's map.
    binding
        The compiled functions: gives the backend, parameter values and controls.
    cache : dict, optional
        Compiled pieces that all solutions of a plan share.
    resume : callable, optional
        ``(solution, factor) -> Solution``: goes on with the solve to a tolerance smaller by the factor.
    expression : MapExpression, optional
        A declared map, whose linear part makes a preconditioner.
    moved : callable, optional
        ``(solution, values) -> Solution``: solves again with parameters at other values.
    """

    def __init__(
        self,
        problem: Problem | None,
        lowering: Lowering,
        binding: Any,
        cache: dict[Hashable, Any] | None = None,
        resume: Resume | None = None,
        expression: MapExpression | None = None,
        moved: Moved | None = None,
    ) -> None:
        self.problem, self.lowering, self.binding = problem, lowering, binding
        self.lib: Backend = binding.lib
        self.controls = binding.controls
        self.resume, self.expression, self.moved = resume, expression, moved
        self._cache = {} if cache is None else cache

    def vjp(self, solution: Solution, cotangent: Any, wrt: Any, side: str | None = None, **options: Any) -> Gradients:
        """The gradient of ``Re <cotangent, x(theta)>`` in each parameter of ``wrt``; see `Solution.vjp`."""
        asked, binding = self._asked(options)
        request = request_of(wrt, self.lowering, self.lib, self._cache)
        if side is not None:
            return self._one_sided(solution, cotangent, request, side, options)
        results = Results(request, self.lib)
        cotangents = cotangent_of(solution, cotangent, binding.lib, self.lib)
        flags = forward_flags(solution, asked.on_inexact) + request.flags + cotangents.flags
        if not request.leaves or cotangents.is_zero:
            return results.nothing(flags)
        lineariser = self._lineariser(solution, asked, binding)
        if asked.mode != "exact":
            with recorded_once():
                values, found = approximate_gradients(lineariser, cotangents, request, asked)
            return check_accuracy(results.heuristic(values, found, asked.mode, flags), asked)
        here, counts, more = self._linearised(lineariser, solution, asked)
        flags += more
        given = cotangents(variables_at(lineariser.equation, lineariser.programs, here.point))
        if cotangents.varies and is_zero(given, self.lib):
            return results.nothing(flags)
        c, direct = through_readout(lineariser.equation, lineariser.programs, here.point, given, request)
        apart = None
        with recorded_once():
            a, judged = self._adjoint(here, c, asked)
            counts["adjoint"] = judged.solved.products
            if lineariser.samples is not None:
                ends = solution.sample_statuses
                apart = per_sample(here.jacobian, lineariser.samples, a, c, request, judged.solved, ends)
                a = apart.adjoint
            values = self._gradients(here, a, direct, request)
        estimated, unable = self._estimated(lineariser, here, c, a, request, cotangents, asked)
        counts["estimate"] = 0 if estimated is None else estimated.products
        flags += unable
        margin, kinks = lineariser.margin(here)
        flags += judged.flags + kinks + uniqueness_flags(here.jacobian, request.leaves)
        proven = lineariser.is_proven(here, margin)
        if proven:  # however the forward solve ended
            flags = tuple(f for f in flags if f != FORWARD_NOT_CONVERGED)
        result = results.exact(here, values, judged, estimated, flags, counts, margin, apart)
        if asked.estimate == "bound":
            fixed = (
                None if cotangents.varies else certified_errors(lineariser, here, a, c, request.leaves, judged.solved)
            )
            result = results.with_bounds(result, fixed, asked.rounded)
        result.proven = proven
        return check_accuracy(result, asked)

    def jvp(self, solution: Solution, directions: Mapping[Any, Any], side: str | None = None, **options: Any) -> Any:
        """The change of the solution when parameters move along directions; see `Solution.jvp`."""
        asked, binding = self._asked(options, FORWARD)
        along, arrays = directions_of(directions, self.lowering, binding.lib, self._cache)
        if side is not None:
            assert self.moved is not None
            way = way_of(side, along, arrays, binding)
            return self._by_variable(change_to_side(solution, self.moved, way, options), solution)
        forward_flags(solution, asked.on_inexact)
        lineariser = self._lineariser(solution, asked, binding)
        here, _, flags = self._linearised(lineariser, solution, asked)
        change, judged = self._change(here, along, arrays, asked)
        warn_of(flags + judged.flags, asked)
        moved = readout_change(lineariser.equation, lineariser.programs, here.point, change, along, arrays)
        return self._by_variable(moved, solution)

    def validity_radius(self, solution: Solution, directions: Mapping[Any, Any], **options: Any) -> float:
        """How far parameters may move before the active set changes, to first order; see `Solution.validity_radius`."""
        asked, binding = self._asked(options, FORWARD)
        along, arrays = directions_of(directions, self.lowering, binding.lib, self._cache)
        lineariser = self._lineariser(solution, asked, binding)
        here = self._linearised(lineariser, solution, asked)[0]
        if here.active is None:
            return inf
        return lineariser.radius(here, self._change(here, along, arrays, asked)[0], along.leaves, arrays)

    def value_gradient(self, solution: Solution, wrt: Any, **options: Any) -> Gradients:
        """The gradient of the least value of the energy, which takes no linear solve; see `Solution.value_gradient`."""
        request = request_of(wrt, self.lowering, self.lib, self._cache, self.problem)
        if self.problem is None or self.problem.without_value:
            raise UnsupportedError(
                "no energy is known here, so there is no optimal value to differentiate; sol.vjp(cotangent, wrt) "
                "differentiates a loss of the solution"
            )
        given, binding = self._asked(options)
        asked = replace(given, per_sample=False, mode="exact")
        lineariser = self._lineariser(solution, asked, binding)
        here, products = lineariser.refined()
        values = value_gradient(lineariser, self.problem, request.leaves, here.point) if request.leaves else []
        return Results(request, self.lib).of_value(values, products)

    def polish(self, solution: Solution, **options: Any) -> tuple[Any, ...]:
        """The variables where the conditions of optimality hold best, by Newton steps; see `Solution.polish`."""
        lineariser = self._lineariser(solution, *self._asked(options, FORWARD))
        points = feasible_variables(lineariser.equation, lineariser.programs, lineariser.refined()[0].point)
        return tuple(self.lib.asarray(p, v.kind) for p, v in zip(points, solution.variables, strict=True))

    def second_order(
        self, solution: Solution, cotangent: Any, directions: Mapping[Any, Any], wrt: Any, **options: Any
    ) -> tuple[Any, Gradients]:
        """Derivatives of ``<directions, gradient>`` in the cotangent and in parameters; see `Solution.second_order`."""
        asked, binding = self._asked(options)
        if asked.mode != "exact":
            raise UnsupportedError(f"second derivatives need mode='exact', not {asked.mode!r}")
        networks = sorted([*networks_in(wrt), *networks_in(tuple(directions))], key=id)
        request = request_of(wrt, self.lowering, self.lib, self._cache, beside=networks)
        along, arrays = directions_of(directions, self.lowering, binding.lib, self._cache, beside=networks)
        flags = forward_flags(solution, asked.on_inexact) + request.flags
        cotangents = cotangent_of(solution, cotangent, binding.lib, self.lib)
        lineariser = self._lineariser(solution, asked, binding)
        if not all(e in lineariser.equation.point for e in lineariser.equation.readout.values()):
            raise UnsupportedError(
                "second derivatives are not offered where the variables are read out of the method's state by more "
                "than a selection; compile with method='proximal_gradient'"
            )
        here, counts, more = self._linearised(lineariser, solution, asked)
        given = cotangents(variables_at(lineariser.equation, lineariser.programs, here.point))
        c, _ = through_readout(lineariser.equation, lineariser.programs, here.point, given, NOTHING)
        a, judged = self._adjoint(here, c, asked)
        change, _ = self._change(here, along, arrays, asked)
        moved = readout_change(lineariser.equation, lineariser.programs, here.point, change, along, arrays)
        count = len(here.point)
        bent = bend(here.jacobian, a, change, along, arrays, request)
        beta, again = self._adjoint(here, bent[:count], asked)
        back = pull(here.jacobian, beta, request)
        values = minus(back, bent[count:], self.lib)
        counts["adjoint"] = judged.solved.products + again.solved.products
        gradients = Results(request, self.lib).exact(
            here, values, again, None, flags + more + again.flags, counts, None
        )
        return self._by_variable(moved, solution), gradients

    def _one_sided(
        self, solution: Solution, cotangent: Any, request: Request, side: str, options: Mapping[str, Any]
    ) -> Gradients:
        if len(request.leaves) != 1 or request.leaves[0].shape != () or request.leaves[0].kind != "real":
            raise ParameterError(
                "side= needs wrt to be one parameter that is a real number, since in several a one-sided change "
                "depends on the direction; sol.jvp({parameter: direction}, side=...) takes one"
            )
        assert self.moved is not None
        _, binding = self._asked(options)
        way = way_of(side, request, [binding.lib.asarray(1.0, "real")], binding)
        common = {n: v for n, v in options.items() if n in FORWARD}
        return gradient_to_side(solution, self.moved, way, cotangent, options, common)

    # What is asked, and in which precision.

    def _asked(self, options: Mapping[str, Any], taken: Sequence[str] | None = None) -> tuple[Options, Any]:
        """The options, and the functions of the plan in the precision to compute in."""
        asked = options_of(options, self.lib, taken)
        if asked.mode != "exact":  # a heuristic has no digits to lose
            return asked, self.binding
        binding = binding_in(self.binding, asked.precision, self.lowering, self._cache)
        return replace(asked, working=binding.lib.precision, rounded=binding.lib != self.lib), binding

    # The point.

    def _lineariser(self, solution: Solution, asked: Options, binding: Any) -> Lineariser:
        alike = binding.lib == self.lib
        cache = self._cache if alike else self._cache.setdefault("in double", {})
        return Lineariser(self.problem, self.lowering, binding, cache, solution, asked, self.expression)

    def _linearised(
        self, lineariser: Lineariser, solution: Solution, asked: Options
    ) -> tuple[Linearised, dict[str, int], tuple[str, ...]]:
        """The point at which to differentiate: refined, after the forward solve went on where that was needed."""
        missed = False  # maps without symmetry are not refined, so that what a solve leaves, it leaves
        if asked.on_inexact == "polish" and not solution.status.success and self.resume is not None:
            solution = self._resumed(solution, lineariser, 1.0)
            missed = isinstance(lineariser.equation, MapEquation) and not solution.status.success
        here, products = lineariser.refined()
        flags: tuple[str, ...] = (FORWARD_NOT_CONVERGED,) if missed else ()
        rounds = 0
        while (
            lineariser.is_uncertain(here)
            and self.resume is not None
            and rounds < ROUNDS
            and asked.settles(lineariser.work)
        ):
            rounds += 1
            solution = self._resumed(solution, lineariser, 0.1)
            here, more = lineariser.refined()
            products += more
            flags = (POLISHED,)
        if lineariser.is_uncertain(here):
            flags = (*flags, ACTIVE_SET_UNCERTAIN)
        return here, {"refine": products}, flags

    def _resumed(self, solution: Solution, lineariser: Lineariser, factor: float) -> Solution:
        assert self.resume is not None
        found = self.resume(solution, factor)
        lineariser.move_to(found)
        return found

    def _by_variable(self, arrays: Arrays, solution: Solution) -> Any:
        """Arrays of the variables, rounded to the precision of the plan, as `Solution.x` holds them."""
        found = [self.lib.asarray(a, v.kind) for a, v in zip(arrays, solution.variables, strict=True)]
        return found[0] if len(found) == 1 else dict(zip(solution.variables, found, strict=True))

    # The solves.

    def _adjoint(self, here: Linearised, c: Arrays, asked: Options) -> tuple[Arrays, Judged]:
        name = here.jacobian.name
        accuracy = replace(asked.accuracy(here.is_curved), recycling=asked.recycling_for(name))
        a, solved = here.jacobian.solve_adjoint(c, accuracy, asked.start_for(name))
        judged = judge(here, solved, asked)
        solved.release()
        here.jacobian.programs.release()
        return a, judged

    def _change(self, here: Linearised, along: Request, arrays: Arrays, asked: Options) -> tuple[Arrays, Judged]:
        """The change ``-J^-1 R_theta d theta`` of the point, and how its system was solved."""
        moved = push(here.jacobian.equation, here.jacobian.programs, here.point, along, arrays)
        change, solved = here.jacobian.solve_forward(times(-1.0, moved, self.lib), asked.accuracy(here.is_curved))
        return change, judge(here, solved, asked)

    def _gradients(self, here: Linearised, a: Arrays, direct: Arrays, request: Request) -> Arrays:
        back = pull(here.jacobian, a, request)
        return minus(direct, back, self.lib)

    def _estimated(
        self,
        lineariser: Lineariser,
        here: Linearised,
        c: Arrays,
        a: Arrays,
        request: Request,
        cotangents: Cotangents,
        asked: Options,
    ) -> tuple[Estimated | None, tuple[str, ...]]:
        """The estimate of the errors, or a flag where a function of the equation has no derivatives for it."""

        def changed(s: Arrays) -> Arrays | None:
            if not cotangents.varies:
                return None
            before = cotangents(variables_at(lineariser.equation, lineariser.programs, minus(here.point, s, self.lib)))
            now, _ = through_readout(lineariser.equation, lineariser.programs, here.point, before, NOTHING)
            return minus(c, now, self.lib)

        if not asked.estimate:
            return None, ()
        rounding = lineariser.is_rounding(here)
        try:
            return estimate(here.jacobian, here.residual, c, a, request, rounding, changed), ()
        except UnsupportedError:  # a network with a transposed derivative only, for example
            return None, (NO_ESTIMATE,)
