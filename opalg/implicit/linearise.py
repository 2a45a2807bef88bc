"""From a solution to its linearised equation: the point, its active part, and the cheapest way to solve with ``J``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from math import isfinite, prod
from typing import Any

from opalg.energies.maps import MapExpression
from opalg.errors import ParameterError
from opalg.implicit import proximal
from opalg.implicit.active import Active, Inspector
from opalg.implicit.arguments import Options
from opalg.implicit.constraints import Constraints
from opalg.implicit.data_preconditioner import DataPreconditioner, map_preconditioner, preconditioner_of
from opalg.implicit.dense_system import Columns, dense_inverse
from opalg.implicit.flags import ACTIVE_SET_UNCERTAIN, DEGENERATE
from opalg.implicit.general import General
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Flat
from opalg.implicit.margin import active_margin
from opalg.implicit.multipliers import Approach
from opalg.implicit.null_space import NullSpace
from opalg.implicit.probes import probe, probe_map
from opalg.implicit.programs import Arrays, Programs, minus, plus, size, times
from opalg.implicit.proof import is_proven
from opalg.implicit.reduced import Reduced
from opalg.implicit.refine import ROUNDING, VERIFIED, Goal, Linearised, refine
from opalg.implicit.row_preconditioner import RowPreconditioner
from opalg.implicit.rows import BatchRows
from opalg.implicit.saddle import Saddle
from opalg.implicit.samples import batch_rows, check_apart, samples_of
from opalg.implicit.settle import Settler
from opalg.implicit.system import MapEquation, Optimality, equation_of, reference_map
from opalg.implicit.validity import validity_radius
from opalg.iterations import VectorSpace
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem, has_constant_hessian
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input
from opalg.solving.solution import Solution

LEAST_BUDGET = 2000  # products that refinement may take however short the forward solve was
WORK = 1e7  # entries times products that refinement may take by itself where curvatures make it costly
BESIDE = 0.03  # of the tolerance of the adjoint: a residual of the point that adds nothing to that
OFF = (1e3, 1e5)  # multiples of epsilon by which the arguments of proxes are moved off a kink
WORTH = 1000  # fewer products seldom get to the end there, and the way alone is worth little
NEAR = 10.0  # a margin below so many residuals is no margin


class Lineariser:
    """The equation of a solution and its compiled pieces.

    Parameters
    ----------
    problem : Problem or None
    lowering : Lowering
    binding
        Compiled functions at the parameter values of the solve.
    cache : dict
        What holds for all solutions of a plan.
    solution : Solution
    options : Options
    expression : MapExpression, optional
        Of a declared map.
    """

    def __init__(
        self,
        problem: Problem | None,
        lowering: Lowering,
        binding: Any,
        cache: dict[Hashable, Any],
        solution: Solution,
        options: Options,
        expression: MapExpression | None = None,
    ) -> None:
        self.expression = expression
        self.problem, self.lowering, self.options = problem, lowering, options
        self.binding, self.lib = binding, binding.lib
        self._cache = cache
        self._key = "map" if options.mode != "exact" else "equation"
        if self._key not in cache:
            exact = self._key == "equation"
            cache[self._key] = equation_of(problem, lowering) if exact else reference_map(problem, lowering)
        self.equation, self._start = cache[self._key]
        self.samples = samples_of(self.equation, options.per_sample)
        self._first_slope: float | None = None
        self.move_to(solution)

    def move_to(self, solution: Solution) -> None:
        """Take the point, and the controls that belong to it, from a solution of the same plan and parameters."""
        binding = solution.differentiator.binding
        self.binding = binding = binding if binding.lib == self.lib else binding.in_double()
        self._iterations = solution.iterations
        penalties = dict(zip(self.equation.controls, map(self._number, self._start.penalties), strict=True))
        self.programs = self._programs("functions", penalties)
        self.inspector: Inspector | None = None
        self._constraints: Constraints | None = None
        self._rows: RowPreconditioner | None = None
        self._earlier: Reduced | None = None
        self._columns: Columns | None = None
        if isinstance(self.equation, Optimality) and self.equation.split:
            self.inspector = Inspector(self.equation, self.programs)
            self._constraints = Constraints(self.equation, self.programs, binding.bound, self._cache)
        start = self._programs("functions of the start", {**binding.controls, **penalties})
        nodes, state = list(self.lowering.state), solution.state
        parts = [self.lib.asarray(s, n.kind) if n.shape else s for s, n in zip(state, nodes, strict=True)]
        self.start = start("start", lambda: (list(self._start.formulas), nodes), *parts)

    def _programs(self, kind: str, controls: dict[Input, float]) -> Programs:
        functions = self._cache.setdefault((self._key, kind), {})
        return Programs(self.lib, self.binding.bound, functions, controls)

    def _number(self, penalty: Expression) -> float:
        if isinstance(penalty, Input):
            return float(self.binding.controls[penalty])
        found = float(self.binding.number(penalty, self.binding.controls))
        return found if isfinite(found) and found > 0 else 1.0

    # Points.

    def refined(self) -> tuple[Linearised, int]:
        """The point of the solution, improved by Newton steps where that is wanted and can be had cheaply."""
        here = self.at(self.start)
        if (
            self.options.solver in ("gmres", "minres", "anderson")
            and self.options.refine
            and isinstance(self.equation, Optimality)
        ):
            usual = copy(self)  # how a point is improved is no matter of how its adjoint is sought
            usual.options = replace(self.options, solver="auto")
            better, products = usual.refined()
            return self.at(better.point), products
        if self.samples is not None:
            check_apart(here.jacobian, self.samples)
        if self.options.debug and isinstance(self.equation, Optimality) and self.problem is not None:
            probe(self.equation, self.problem, self.programs, here.point)
        elif self.options.debug:
            probe_map(here.jacobian)
        budget = self._budget(here)
        if not self.options.refine or not here.jacobian.symmetric or budget == 0:
            return here, 0
        equation, approach, settle = self.equation, None, None
        if isinstance(equation, Optimality) and self.inspector is not None and self.options.solver == "auto":
            approach = Approach(
                equation,
                lambda controls: self._programs("functions", controls),
                [self.programs.controls[s.penalty] for s in equation.split],
                self.inspector.masks,
                self._augmented_factors,
                self.at,
                self.sizes,
            )
            settle = Settler(equation, self.inspector, self.at)
        better, products = refine(here, self.at, approach, settle, budget, self._goal(here))
        return self._off_kinks(better, here), products

    def _off_kinks(self, better: Linearised, start: Linearised) -> Linearised:
        """A refined point with the proxes' arguments off any kink, where their derivatives need not be symmetric."""
        if self.inspector is None or isinstance(better.jacobian, Reduced):
            return better
        count = len(self.equation.readout)
        x, v = better.point[:count], better.point[count:]
        away = minus(start.point[count:], v, self.lib)
        if self.inspector.is_symmetric(v) or not size(away, self.lib) > 0:
            return better
        for part in OFF:
            share = min(part * self.lib.epsilon * size(v, self.lib) / size(away, self.lib), 1.0)
            there = plus(v, times(share, away, self.lib), self.lib)
            if self.inspector.is_symmetric(there):
                return self.at([*x, *there])
        return better

    def _goal(self, here: Linearised) -> Goal:
        """A residual that is small beside what the adjoint solve leaves; rounding where refining was asked for."""
        flat = here.active is None or all(form in ("flat", "diagonal") for form in here.active.forms)
        proof = VERIFIED[self.lib.precision] if here.active is not None else 1.0
        beside = BESIDE * min(self.options.accuracy(here.is_curved).tol, proof)
        enough = 0.0 if self.options.refine is True else beside
        return Goal(enough, self.is_quadratic and flat)

    @cached_property
    def is_quadratic(self) -> bool:
        """Whether the smooth part is known to be quadratic."""
        return self.problem is not None and all(map(has_constant_hessian, self.problem.smooth_terms))

    def _budget(self, here: Linearised) -> int:
        """The products that refinement may take: about as many as there were iterations, unless they cost too much."""
        budget = max(LEAST_BUDGET, self._iterations)
        if self.options.refine == "auto" and here.is_curved:
            budget = min(budget, int(WORK / self.entries))
            return budget if budget >= WORTH else 0
        return budget

    @property
    def entries(self) -> int:
        """The number of unknowns."""
        return max(sum(prod(p.shape) for p in self.equation.readout), 1)

    @property
    def work(self) -> float:
        """The work of the forward solve, in entries times iterations."""
        return float(self.entries * self._iterations)

    def at(self, point: Arrays) -> Linearised:
        """The equation linearised at a point."""
        equation = self.equation
        programs = self.programs
        active = None
        if self.inspector is not None:
            assert isinstance(equation, Optimality)
            active = self.inspector.inspect(point[len(equation.variables) :])
        jacobian = self._jacobian(point, active)
        if self.samples is not None and isinstance(equation, Optimality):
            jacobian.batch = batch_rows(jacobian, self.samples, equation.x)

        def measure() -> tuple[Arrays, float]:
            residual = programs("residual", lambda: (list(equation.residual), equation.point), *point)
            return residual, self._relative(point, residual)

        return Linearised(jacobian, active, measure)

    def default_state(self) -> tuple[Any, ...]:
        """Where a solve begins when it is given no start."""
        state = self.binding.default_state
        if len(state) != len(self.equation.point) or any(not hasattr(s, "shape") for s in state):
            return tuple(self.lib.zeros(p.shape, p.kind) for p in self.equation.point)
        return tuple(self.lib.copy(s) for s in state)

    def general(self, point: Arrays) -> General:
        """The derivative without any symmetry, preconditioned by what is known of its linear part."""
        axes, nodes = self.lowering.sample_axes, self.equation.point
        rows = None
        if (axes and self.options.solver == "auto") or self.options.solver == "anderson":
            count = prod(nodes[0].shape[:axes])
            rows = BatchRows([n.shape for n in nodes], [n.kind for n in nodes], count, self.lib)
        return General(self.equation, self.programs, point, None if rows else self._precondition(point), rows)

    def _precondition(self, point: Arrays) -> Flat | None:
        """An approximate inverse of ``J^T``, or of the Hessian, on flat arrays; None where none is known."""
        known = self._known_inverse()
        if known is None:
            return None
        equation, lib = self.equation, self.lib
        space = VectorSpace([p.shape for p in equation.point], [p.kind for p in equation.point], lib)
        numbers = [n for n, _ in known.numbers]
        values = self.programs("numbers", lambda: ([f for _, f in known.numbers], equation.point), *point)
        bound = self.programs.bound("precondition", lambda: (known(equation.adjoints), [*equation.adjoints, *numbers]))
        return lambda flat: space.view(bound(*space.unpack(flat), *values))

    def _known_inverse(self) -> DataPreconditioner | None:
        if (self._key, "inverse") not in self._cache:
            self._cache[self._key, "inverse"] = self._inverse()
        found: DataPreconditioner | None = self._cache[self._key, "inverse"]
        return found

    def _inverse(self) -> DataPreconditioner | None:
        if self.options.mode != "exact":
            return None
        if isinstance(self.equation, Optimality):
            x = dict(zip(self.equation.variables, self.equation.x, strict=True))
            return None if self.problem is None else preconditioner_of(self.problem, x)
        if not isinstance(self.equation, MapEquation):
            return None
        if self.problem is None:
            return map_preconditioner(self.expression, self.expression.variables[0]) if self.expression else None
        step = self.lowering.step_size
        if step is None or self.equation.point != tuple(self.lowering.state):
            return None
        return preconditioner_of(
            self.problem, dict(zip(self.problem.variables, self.equation.point, strict=True)), step
        )

    def _jacobian(self, point: Arrays, active: Active | None) -> Jacobian:
        equation, wanted = self.equation, self.options.solver
        if not isinstance(equation, Optimality) or wanted in ("gmres", "anderson"):
            if wanted in ("conjugate_gradients", "minres"):
                raise ParameterError(
                    f"solver={wanted!r} needs a symmetric system, and this map is no gradient; use solver='gmres'"
                )
            return self.general(point)
        if active is None:
            return self._reduced(point, Active([], (), [], []), None, lambda _: self._precondition(point))
        if wanted == "minres":
            return Saddle(equation, self.programs, point, self._smoothness)
        if active.by_entries:
            null = self._null_space(active)
            if null is not None:
                return self._reduced(point, active, null, self._factors)
        reason = proximal.why_not(equation)
        if reason is None:
            return proximal.Proximal(equation, self.programs, point)
        if wanted == "conjugate_gradients":
            raise ParameterError(f"solver='conjugate_gradients' does not apply: {reason}; use solver='minres'")
        return Saddle(equation, self.programs, point, self._smoothness)

    def _null_space(self, active: Active) -> NullSpace | None:
        """That of the held rows, which are often those of the last point."""
        assert self._constraints is not None
        earlier = self._earlier
        if earlier is not None and earlier.active.forms == active.forms and earlier.active.same_as(active, self.lib):
            return earlier.null_space
        return self._constraints.null_space(active)

    def _reduced(
        self, point: Arrays, active: Active, null: NullSpace | None, precondition: Callable[[Reduced], Flat | None]
    ) -> Reduced:
        assert isinstance(self.equation, Optimality)
        direct = self.options.solver != "conjugate_gradients"
        found = Reduced(self.equation, self.programs, point, active, null, precondition, direct)
        if self.is_quadratic and found.is_flat:
            if self._earlier is not None and self._earlier.null_space is null:
                found.keep_factors_of(self._earlier)
            if self._columns is None:
                self._columns = Columns(found.product, self.lib)
            found.columns = self._columns
        self._earlier = found
        return found

    def _factors(self, jacobian: Reduced) -> Flat | None:
        """A preconditioner of a reduced system."""
        null, rows = jacobian.null_space, self._row_preconditioner
        if null is not None and null.labels is None:
            return None if jacobian.is_flat else dense_inverse(jacobian.product, jacobian.space.size, null, self.lib)
        return None if rows is None else rows(jacobian.curved, jacobian.x, null, jacobian.is_flat)

    def _augmented_factors(self, curved: Callable[[Arrays], Arrays], x: Arrays) -> Flat | None:
        """A preconditioner of the augmented Lagrangian's Hessian."""
        rows = self._row_preconditioner
        return None if rows is None else rows(curved, x)

    @property
    def _row_preconditioner(self) -> RowPreconditioner | None:
        if self._rows is None and isinstance(self.equation, Optimality) and self._constraints is not None:
            self._rows = RowPreconditioner(self.equation, self.programs, self._constraints, self._cache)
        return self._rows

    @property
    def _smoothness(self) -> float:
        bound = None if self.problem is None else self.problem.smoothness
        return 0.0 if bound is None else float(self.binding.number(bound.expression))

    # How good a point is.

    def _relative(self, point: Arrays, residual: Arrays) -> float:
        """The residual relative to what it is made of, gradients and places each in their own unit."""
        equation, lib = self.equation, self.lib
        if not isinstance(equation, Optimality):
            return size(residual, lib) / max(size(point, lib), lib.tiny)
        count = len(equation.variables)
        slope, place = self.sizes(point)
        if slope == 0.0:  # without data, only the first residual has a size
            if self._first_slope is None:
                self._first_slope = size(residual[:count], lib)
            slope = self._first_slope
        first = size(residual[:count], lib) / max(slope, lib.tiny)
        return first + size(residual[count:], lib) / max(place, lib.tiny)

    def sizes(self, point: Arrays) -> tuple[float, float]:
        """The size of the gradients that have to cancel, and that of ``K x + b``."""
        found = self.programs("sizes", self._size_recipe, *point)
        numbers = [float(self.lib.item(f).real) if hasattr(f, "dtype") else float(f) for f in found]
        slope, pull, zero, place, gap = (n**0.5 if n >= 0 else n for n in numbers)
        return max(n for n in (slope, pull, zero) if isfinite(n)), place if place > 0 else gap

    def _size_recipe(self) -> tuple[list[Expression], Any]:
        equation, problem = self.equation, self.problem
        assert isinstance(equation, Optimality)
        assert problem is not None
        zero: Expression = sum_of([ex.norm_squared(g) for g in problem.gradient_at_zero.values()])
        u = [s.prox(v) for s, v in zip(equation.split, equation.v, strict=True)]
        apart = [s.penalty * (v - a) for s, v, a in zip(equation.split, equation.v, u, strict=True)]
        # each term's pull by itself: together they vanish where nothing is smooth
        pulls = [p for s, a in zip(equation.split, apart, strict=True) for p in equation.back_of(s, a)]
        parts = [equation.slopes, pulls, [], u, [v - a for v, a in zip(equation.v, u, strict=True)]]
        totals = [sum_of([ex.norm_squared(p) for p in part]) for part in parts]
        totals[2] = zero
        return totals, equation.point

    def is_rounding(self, here: Linearised) -> bool:
        """Whether what is left of the equation is no more than rounding."""
        return here.relative <= ROUNDING * self.lib.epsilon

    def is_uncertain(self, here: Linearised) -> bool:
        """Whether the active set of a point is not proven by a residual that vanishes."""
        wanted = here.active is not None and bool(self.options.refine)
        return wanted and not here.relative <= VERIFIED[self.lib.precision]

    def margin(self, here: Linearised) -> tuple[float | None, tuple[str, ...]]:
        """How far the point is from a kink, and a flag where that is nothing beside its residual."""
        if here.active is None or self.inspector is None:
            return None, ()
        v = here.point[len(self.equation.readout) :]
        if not here.active.by_entries:
            return None, ()  # what a term holds are no entries, so moving entries says nothing
        found = active_margin(self.inspector, v, here.active.masks, here.active.u)
        if found >= NEAR * max(here.relative, self.lib.epsilon):
            return found, ()
        proven = here.relative <= VERIFIED[self.lib.precision]
        return found, (DEGENERATE,) if proven else (DEGENERATE, ACTIVE_SET_UNCERTAIN)

    def is_proven(self, here: Linearised, margin: float | None) -> bool:
        """Whether a point is proven to be the exact minimiser but for rounding."""
        if self.problem is None:
            return False
        return is_proven(here, self.problem, self.inspector, margin)

    def radius(self, here: Linearised, change: Arrays, leaves: Sequence[Any], directions: Arrays) -> float:
        """How far the parameters may move along directions that change the point before the active set changes."""
        if here.active is None or self.inspector is None:
            return float("inf")
        count = len(self.equation.readout)
        v, rate = here.point[count:], change[count:]
        values = [self.binding.values.get(leaf, leaf.value) for leaf in leaves]
        own = [self.lib.asarray(value, leaf.kind) for value, leaf in zip(values, leaves, strict=True)]
        pairs = [(v, rate), *(([a], [d]) for a, d in zip(own, directions, strict=True))]
        scales = [size(a, self.lib) / size(b, self.lib) for a, b in pairs if size(a, self.lib) and size(b, self.lib)]
        return validity_radius(self.inspector, v, rate, leaves, directions, min(scales, default=1.0))
