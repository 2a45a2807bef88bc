"""Implicit differentiation of a solution: one linear solve, whatever the number of iterations that found it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

from opalg.arrays import Backend
from opalg.energies.maps import MapExpression
from opalg.errors import UnsupportedError
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
from opalg.implicit.estimate import SAFETY, Estimated, bend, estimate, pull
from opalg.implicit.expressions import like, pulled, pushed
from opalg.implicit.gradients import Adjoint, Gradients
from opalg.implicit.judgement import Judged, check_accuracy, judge, warn_of
from opalg.implicit.linear_solve import Solved
from opalg.implicit.linearise import Lineariser
from opalg.implicit.optimal_value import value_gradient
from opalg.implicit.programs import Arrays, is_zero, minus, size, times
from opalg.implicit.refine import Linearised
from opalg.implicit.samples import PerSample, per_sample
from opalg.implicit.uniqueness import uniqueness_flags
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
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
    """

    def __init__(
        self,
        problem: Problem | None,
        lowering: Lowering,
        binding: Any,
        cache: dict[Hashable, Any] | None = None,
        resume: Resume | None = None,
        expression: MapExpression | None = None,
    ) -> None:
        self.problem, self.lowering, self.binding = problem, lowering, binding
        self.lib: Backend = binding.lib
        self.controls = binding.controls
        self.resume, self.expression = resume, expression
        self._cache = {} if cache is None else cache

    def vjp(self, solution: Solution, cotangent: Any, wrt: Any, **options: Any) -> Gradients:
        """The gradient of ``Re <cotangent, x(theta)>`` in each parameter of ``wrt``; see `Solution.vjp`."""
        asked = options_of(options, self.lib)
        request = request_of(wrt, self.lowering, self.lib, self._cache)
        cotangents = cotangent_of(solution, cotangent, self.lib)
        flags = forward_flags(solution, asked.on_inexact) + request.flags + cotangents.flags
        if not request.leaves or cotangents.is_zero:
            return self._nothing(request, flags)
        lineariser = self._lineariser(solution, asked)
        if asked.mode != "exact":
            values, found = approximate_gradients(lineariser, solution, cotangents, request, asked)
            return self._heuristic(values, found, request, asked, flags)
        here, counts, more = self._linearised(lineariser, solution, asked)
        flags += more
        given = cotangents(self._variables(lineariser, here.point))
        if is_zero(given, self.lib):
            return self._nothing(request, flags)
        c, direct = self._through_readout(lineariser, here.point, given, request)
        a, judged = self._adjoint(here, c, asked)
        counts["adjoint"] = judged.solved.products
        apart = None
        if lineariser.samples is not None:
            apart = per_sample(here.jacobian, lineariser.samples, a, c, request, judged.solved)
            a = apart.adjoint
        values = self._gradients(here, a, direct, request)
        estimated, unable = self._estimated(lineariser, here, c, a, request, cotangents, asked)
        counts["estimate"] = 0 if estimated is None else estimated.products
        flags += unable
        margin, kinks = lineariser.margin(here)
        flags += judged.flags + kinks + uniqueness_flags(here.jacobian, request.leaves)
        result = self._result(here, values, request, judged, estimated, asked, flags, counts, margin, apart)
        if asked.estimate == "bound":
            fixed = (
                None if cotangents.varies else certified_errors(lineariser, here, a, c, request.leaves, judged.solved)
            )
            result = _with_bounds(result, request, fixed)
        result.proven = lineariser.is_proven(here, margin)
        return check_accuracy(result, asked)

    def jvp(self, solution: Solution, directions: Mapping[Any, Any], **options: Any) -> Any:
        """The change of the solution when parameters move along directions; see `Solution.jvp`."""
        asked = options_of(options, self.lib, FORWARD)
        along, arrays = directions_of(directions, self.lowering, self.lib, self._cache)
        forward_flags(solution, asked.on_inexact)
        lineariser = self._lineariser(solution, asked)
        here, _, flags = self._linearised(lineariser, solution, asked)
        change, judged = self._change(here, along, arrays, asked)
        warn_of(flags + judged.flags, asked)
        moved = self._readout_change(lineariser, here.point, change, along, arrays)
        return moved[0] if len(moved) == 1 else dict(zip(solution.variables, moved, strict=True))

    def validity_radius(self, solution: Solution, directions: Mapping[Any, Any], **options: Any) -> float:
        """How far parameters may move before the active set changes, to first order; see `Solution.validity_radius`."""
        asked = options_of(options, self.lib, FORWARD)
        along, arrays = directions_of(directions, self.lowering, self.lib, self._cache)
        lineariser = self._lineariser(solution, asked)
        here = self._linearised(lineariser, solution, asked)[0]
        return lineariser.radius(here, self._change(here, along, arrays, asked)[0], along.leaves, arrays)

    def value_gradient(self, solution: Solution, wrt: Any, **options: Any) -> Gradients:
        """The gradient of the least value of the energy, which takes no linear solve; see `Solution.value_gradient`."""
        request = request_of(wrt, self.lowering, self.lib, self._cache, self.problem)
        if self.problem is None or self.problem.without_value:
            raise UnsupportedError("no energy is known here, so there is no optimal value to differentiate")
        asked = replace(options_of(options, self.lib), per_sample=False, mode="exact")
        lineariser = self._lineariser(solution, asked)
        here, products = lineariser.refined()
        values = value_gradient(lineariser, self.problem, request.leaves, here.point) if request.leaves else []
        arrays = self._named(request, values)
        return Gradients(
            {**arrays, **request.zeros}, 0.0, "value", "none", request.flags, {"refine": products}, None, "none"
        )

    def polish(self, solution: Solution, **options: Any) -> tuple[Any, ...]:
        """The variables where the conditions of optimality hold best, by Newton steps; see `Solution.polish`."""
        lineariser = self._lineariser(solution, options_of(options, self.lib, FORWARD))
        return tuple(self._variables(lineariser, lineariser.refined()[0].point))

    def second_order(
        self, solution: Solution, cotangent: Any, directions: Mapping[Any, Any], wrt: Any, **options: Any
    ) -> tuple[Any, Gradients]:
        """Derivatives of ``<directions, gradient>`` in the cotangent and in parameters; see `Solution.second_order`."""
        asked = options_of(options, self.lib)
        if asked.mode != "exact":
            raise UnsupportedError(f"second derivatives need mode='exact', not {asked.mode!r}")
        networks = sorted([*networks_in(wrt), *networks_in(tuple(directions))], key=id)
        request = request_of(wrt, self.lowering, self.lib, self._cache, beside=networks)
        along, arrays = directions_of(directions, self.lowering, self.lib, self._cache, beside=networks)
        flags = forward_flags(solution, asked.on_inexact) + request.flags
        cotangents = cotangent_of(solution, cotangent, self.lib)
        lineariser = self._lineariser(solution, asked)
        if not all(e in lineariser.equation.point for e in lineariser.equation.readout.values()):
            raise UnsupportedError(
                "second derivatives are not offered where the variables are read out of the method's state by more "
                "than a selection; compile with method='proximal_gradient'"
            )
        here, counts, more = self._linearised(lineariser, solution, asked)
        given = cotangents(self._variables(lineariser, here.point))
        c, _ = self._through_readout(lineariser, here.point, given, NOTHING)
        a, judged = self._adjoint(here, c, asked)
        change, _ = self._change(here, along, arrays, asked)
        moved = self._readout_change(lineariser, here.point, change, along, arrays)
        count = len(here.point)
        bent = bend(here.jacobian, a, change, along, arrays, request)
        beta, again = self._adjoint(here, bent[:count], asked)
        back = pull(here.jacobian, beta, request)
        values = minus(back, bent[count:], self.lib)
        counts["adjoint"] = judged.solved.products + again.solved.products
        gradients = self._result(here, values, request, again, None, asked, flags + more + again.flags, counts, None)
        x = moved[0] if len(moved) == 1 else dict(zip(solution.variables, moved, strict=True))
        return x, gradients

    # The point.

    def _lineariser(self, solution: Solution, asked: Options) -> Lineariser:
        return Lineariser(self.problem, self.lowering, self.binding, self._cache, solution, asked, self.expression)

    def _linearised(
        self, lineariser: Lineariser, solution: Solution, asked: Options
    ) -> tuple[Linearised, dict[str, int], tuple[str, ...]]:
        """The point at which to differentiate: refined, after the forward solve went on where that was needed."""
        if asked.on_inexact == "polish" and not solution.status.success and self.resume is not None:
            solution = self._resumed(solution, lineariser, 1.0)
        here, products = lineariser.refined()
        flags: tuple[str, ...] = ()
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
            flags = ("polished",)
        if lineariser.is_uncertain(here):
            flags = (*flags, "active_set_uncertain")
        return here, {"refine": products}, flags

    def _resumed(self, solution: Solution, lineariser: Lineariser, factor: float) -> Solution:
        assert self.resume is not None
        found = self.resume(solution, factor)
        lineariser.move_to(found)
        return found

    def _variables(self, lineariser: Lineariser, point: Arrays) -> Arrays:
        equation = lineariser.equation
        recipe = lambda: (list(equation.readout.values()), equation.point)  # noqa: E731
        return lineariser.programs("readout", recipe, *point)

    def _through_readout(
        self, lineariser: Lineariser, point: Arrays, given: Arrays, request: Request
    ) -> tuple[Arrays, Arrays]:
        """The cotangent of the point, and the part of the gradient that goes through the read-out itself."""
        equation = lineariser.equation
        outputs = list(equation.readout.values())

        def recipe() -> Any:
            c = like(outputs, "c")
            return pulled(request.enter(outputs), c, [*equation.point, *request.leaves]), [*equation.point, *c]

        found = lineariser.programs(("through", tuple(request.leaves)), recipe, *point, *given)
        return found[: len(point)], found[len(point) :]

    def _readout_change(
        self, lineariser: Lineariser, point: Arrays, change: Arrays, along: Request, arrays: Arrays
    ) -> Arrays:
        equation = lineariser.equation
        outputs = list(equation.readout.values())

        def recipe() -> Any:
            t = like(along.leaves, "t")
            moved = pushed(along.enter(outputs), [*equation.point, *along.leaves], [*equation.directions, *t])
            return moved, [*equation.point, *equation.directions, *t]

        return lineariser.programs(("readout change", tuple(along.leaves)), recipe, *point, *change, *arrays)

    # The solves.

    def _adjoint(self, here: Linearised, c: Arrays, asked: Options) -> tuple[Arrays, Judged]:
        a, solved = here.jacobian.solve_adjoint(c, asked.accuracy(here.is_curved), asked.start_for(here.jacobian.name))
        return a, judge(here, solved, asked)

    def _change(self, here: Linearised, along: Request, arrays: Arrays, asked: Options) -> tuple[Arrays, Judged]:
        """The change ``-J^-1 R_theta d theta`` of the point, and how its system was solved."""
        equation = here.jacobian.equation

        def recipe() -> Any:
            t = like(along.leaves, "t")
            return pushed(along.enter(equation.residual), along.leaves, t), [*equation.point, *t]

        moved = here.jacobian.programs(("push", tuple(along.leaves)), recipe, *here.point, *arrays)
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
            before = cotangents(self._variables(lineariser, minus(here.point, s, self.lib)))
            now, _ = self._through_readout(lineariser, here.point, before, NOTHING)
            return minus(c, now, self.lib)

        if not asked.estimate:
            return None, ()
        rounding = lineariser.is_rounding(here)
        try:
            return estimate(here.jacobian, here.residual, c, a, request, rounding, changed), ()
        except UnsupportedError:  # a network with a transposed derivative only, for example
            return None, ("no_estimate",)

    # The result.

    def _result(
        self,
        here: Linearised,
        values: Arrays,
        request: Request,
        judged: Judged,
        found: Estimated | None,
        asked: Options,
        flags: tuple[str, ...],
        counts: dict[str, int],
        margin: float | None,
        apart: PerSample | None = None,
    ) -> Gradients:
        lib = self.lib
        named = self._named(request, values)
        errors = debiased = None
        if found is not None:
            floor = lib.epsilon * min(judged.condition, 1.0 / lib.epsilon)
            wrong = request.named(found.errors)
            errors = {p: _error(e, named[p], floor, lib) for p, e in wrong.items()} | dict.fromkeys(request.zeros, 0.0)
            debiased = {**self._named(request, minus(values, found.errors, lib)), **request.zeros}
        doubtful = {"active_set_uncertain", "adjoint_not_converged", "forward_not_converged"} & set(flags)
        kind = "heuristic" if doubtful or (found is not None and not found.converged) else "estimated"
        kind = "none" if found is None and kind == "estimated" else kind
        return Gradients(
            {**named, **request.zeros},
            judged.solved.relative,
            here.jacobian.name,
            judged.solved.solver,
            tuple(dict.fromkeys(flags)),
            counts,
            errors,
            kind,
            margin,
            Adjoint(here.jacobian.name, judged.solved.state),
            debiased,
            judged.spectrum,
            None if apart is None else request.named(apart.gradients),
            () if apart is None else apart.residuals,
            () if apart is None else apart.flags,
        )

    def _heuristic(
        self, values: Arrays, solved: Solved, request: Request, asked: Options, flags: tuple[str, ...]
    ) -> Gradients:
        arrays = self._named(request, values)
        counts = {"adjoint": solved.products}
        found = Gradients(
            {**arrays, **request.zeros}, solved.relative, "map", asked.mode, flags, counts, error_kind="heuristic"
        )
        return check_accuracy(found, asked)

    def _nothing(self, request: Request, flags: tuple[str, ...]) -> Gradients:
        values = request.named([self.lib.zeros(p.shape, p.kind) for p in request.leaves])
        zero = dict.fromkeys((*values, *request.zeros), 0.0)
        return Gradients({**values, **request.zeros}, 0.0, "none", "none", flags, {}, zero, "certified", None)

    def _named(self, request: Request, values: Arrays) -> dict[Any, Any]:
        """Gradients by what was asked for, each of the kind of its parameter."""
        kinds = zip(request.leaves, values, strict=True)
        return request.named([self.lib.asarray(g, leaf.kind) for leaf, g in kinds])


def _error(error: Any, gradient: Any, floor: float, lib: Backend) -> float:
    """The norm of an estimated error, and no less than what rounding makes of the gradient."""
    return max(SAFETY * size([error], lib), floor * size([gradient], lib))


def _with_bounds(found: Gradients, request: Request, bounds: list[float] | None) -> Gradients:
    """Gradients with certified errors in the place of estimates, or a flag where there are none."""
    if bounds is None:
        return replace(found, flags=(*found.flags, "no_bound"))
    errors = dict(zip(request.leaves, bounds, strict=True))
    return replace(found, error_estimates={**errors, **dict.fromkeys(request.zeros, 0.0)}, error_kind="certified")
