"""The plan: an energy compiled for one method and one backend, ready to be solved again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any

from opalg.arrays import Backend
from opalg.compiler.again import moving, resuming
from opalg.compiler.arguments import kept, limits_of, parameter_values, start_of
from opalg.compiler.binding import Binding
from opalg.compiler.choose import Candidate
from opalg.compiler.compiled import CompiledEnergy
from opalg.compiler.explain import Explanation, explain
from opalg.energies.affine import Variable
from opalg.energies.energy import EnergyExpression
from opalg.errors import NonFiniteError, ParameterError, ShapeError
from opalg.implicit import Differentiator
from opalg.leaves import Parameter
from opalg.methods.method import Lowering, Method
from opalg.methods.problem import Problem
from opalg.rules import Step
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Info, Limits, Outcome, quiet, run
from opalg.solving.progress import progress_of
from opalg.solving.solution import POLICIES, Solution, deliver
from opalg.solving.status import Status


@dataclass(frozen=True, repr=False)
class Plan:
    """A compiled energy.

    Made by `opalg.compile`. Solving does not change it; ``solve(params=...)`` gives parameters other values for one
    solve.

    Attributes
    ----------
    energy : Energy
        As declared.
    problem : Problem
        The canonical energy.
    method : Method
        The method chosen.
    backend : Backend
        Library, device and precision.
    """

    energy: EnergyExpression
    problem: Problem
    rewrites: tuple[Step, ...]
    candidates: tuple[Candidate, ...]
    method: Method
    lowering: Lowering
    backend: Backend
    compiled: CompiledEnergy
    _spare: list[Binding] = field(default_factory=list)
    _embedding: list[Binding] = field(default_factory=list)
    _derivatives: dict[Any, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the energy."""
        return self.energy.parameters

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of the energy."""
        return self.energy.variables

    def solve(
        self,
        x0: Any = None,
        *,
        params: Mapping[Any, Any] | None = None,
        tol: float | None = None,
        max_iter: int | None = None,
        time_limit: float | None = None,
        callback: Callable[[Info], Any] | None = None,
        progress: bool = False,
        on_failure: str | None = None,
        step: float | None = None,
    ) -> Solution:
        """Find the minimiser.

        Parameters
        ----------
        x0 : array, mapping from Variable to array, or Solution, optional
            Where to start; a `Solution` of the same plan also brings its dual variables.
        params : mapping from Parameter (or its name) to value, optional
            Values of parameters for this solve; they are copied, so that gradients are those of now.
        tol : float, optional
            On the relative certificate: the duality gap where there is one, else the residual. Default 1e-4.
        max_iter : int, optional
            Default 10000.
        time_limit : float, optional
            Seconds.
        callback : callable, optional
            Called with an `Info` at each measurement, which a line search makes after every iteration for it; returning
            True stops the solve.
        progress : bool
            Show a progress bar.
        on_failure : {"raise", "warn", "return"}, optional
            What to do when the solve fails. By default NaN, divergence and breakdown raise, the rest warns.
        step : float, optional
            A step size of your own, for proximal_gradient; with a line search, the first one.

        Returns
        -------
        Solution

        Raises
        ------
        ShapeError, DtypeError, NonFiniteError, ParameterError
            Where an argument does not fit.
        DivergedError, NonFiniteError, BreakdownError
            Where the solve fails and the policy says so; the error's ``.solution`` holds the last finite iterate.
        """
        limits = limits_of(tol, max_iter, time_limit, spacing=self.compiled.spacing)
        limits.look_at_start = x0 is not None
        limits.follow = callback is not None and self.lowering.search is not None
        if self.lowering.iteration == "once":
            limits.max_iter = min(limits.max_iter, 2)
        if on_failure not in (None, *POLICIES):
            raise ParameterError(f"on_failure must be one of {POLICIES}, not {on_failure!r}")
        params = kept(params)
        binding = self._lent(params)
        if step is not None:
            self._take_step(binding, step)
        state = self._first_state(binding, x0)
        iteration = binding.iteration(limits.tol)
        iteration.start(state)
        bar = progress_of(progress, limits.tol, self.method.name)
        outcome = run(
            iteration,
            lambda state: (binding.certify if iteration.products >= limits.max_iter else binding.measure)(
                iteration, limits.tol
            ),
            limits,
            keep=lambda state: tuple(binding.lib.copy(s) if hasattr(s, "shape") else s for s in state),
            callback=callback,
            progress=bar,
        )
        with quiet():
            certified = outcome.status.success or outcome.status is Status.NONFINITE
            if outcome.measurement is not None and not certified and iteration.products < limits.max_iter:
                outcome.measurement = binding.certify(iteration, limits.tol)
            solution = self._solution(binding, outcome, binding.slope_of(iteration), limits, params)
        if not params:
            self._spare.append(binding)
        return deliver(solution, on_failure)

    def _lent(self, params: Mapping[Any, Any] | None) -> Binding:
        """A binding for one solve: a spare one, or a new one where parameters differ or all are in use."""
        if params or not self._spare:
            return self.bind(params)
        return self._spare.pop().fresh()

    def bind(self, params: Mapping[Any, Any] | None = None) -> Binding:
        """The compiled functions at parameter values."""
        return Binding(self.compiled, parameter_values(self.parameters, params or {}, self.backend))

    def _first_state(self, binding: Binding, x0: Any) -> tuple[Any, ...]:
        if isinstance(x0, Solution):
            shapes = [tuple(getattr(s, "shape", ())) for s in x0.state]
            alike = x0.method == self.method.name and x0.backend == repr(self.backend)
            if self.lowering.duals and alike and shapes == [s.shape for s in self.lowering.state]:
                binding.controls.update(x0.differentiator.controls)  # what the dual part of the state is scaled by
                return x0.state
            x0 = dict(zip(self.variables, x0.points, strict=True))
        if x0 is None:
            return binding.initial_state(None)
        return binding.initial_state(start_of(x0, self.variables))

    def _take_step(self, binding: Binding, step: float) -> None:
        control = self.lowering.step_size
        if control is None:
            raise ParameterError(f"{self.method.name} takes no step=; its steps follow from certified norms")
        if not 0 < step < inf:
            raise ParameterError(f"step must be a positive number, not {step!r}")
        self._refuse_divergence(binding, step)
        binding.controls[control] = float(step)

    def _refuse_divergence(self, binding: Binding, step: float) -> None:
        """Raise ParameterError where a step overshoots the curvature of a quadratic part, found by Lanczos' method."""
        problem = self.compiled.problem
        hessian = None if self.lowering.search is not None else problem.hessian(problem.smooth_terms)
        if hessian is None or binding.values:
            return
        found = float(hessian.norm_estimate(steps=30))
        if found * step >= 2.0:
            raise ParameterError(
                f"step = {step:g} is not below 2 / L = {2.0 / found:g}, with L the Lipschitz constant of the gradient, "
                f"so the iteration would diverge; without step= it takes a step that is short enough"
            )

    def _solution(
        self,
        binding: Binding,
        outcome: Outcome,
        slope: float | Certificate | None,
        limits: Limits,
        params: Mapping[Any, Any] | None,
    ) -> Solution:
        binding.step.set_controls(binding.controls)
        binding.readout.set_controls(binding.controls)
        points = binding.readout(*outcome.state)
        measured = outcome.measurement
        if measured is None:
            raise NonFiniteError(
                "the energy is not finite at the start; check x0 and the data for NaN, infinity and overflow"
            )
        settled = binding.snapshot()
        by_variable = dict(zip(self.variables, points, strict=True))
        status = outcome.status
        if status.success and not binding.convex and self.compiled.has_value:
            status = Status.STATIONARY
        seconds = outcome.history.rows[-1].seconds if outcome.history.rows else 0.0
        return Solution(
            variables=self.variables,
            points=points,
            status=status,
            value=measured.value,
            evaluate_terms=lambda: settled.term_values(by_variable, limits.tol),
            certificate=measured.certificate,
            evaluate_residual=lambda: settled.residual(outcome.state, slope).relative,
            iterations=outcome.iterations,
            seconds=seconds,
            history=outcome.history,
            error_bound=self._error_bound(binding, measured.certificate),
            method=self.method.name,
            backend=repr(self.backend),
            state=outcome.state,
            differentiator=Differentiator(
                self.problem,
                self.lowering,
                settled,
                self._derivatives,
                resume=resuming(self, limits, params),
                moved=moving(self, limits, params),
            ),
            message=outcome.message,
        )

    def _error_bound(self, binding: Binding, certificate: Any) -> float | None:
        """``|x - x*| <= sqrt(2 gap / mu)`` where the energy is strongly convex with a certified ``mu``."""
        if certificate.kind == "error bound":
            return float(certificate.value)
        if certificate.kind != "duality gap" or binding.strong_convexity == 0.0:
            return None
        return sqrt(2.0 * certificate.value / binding.strong_convexity)

    # Pieces for embedding.

    def initial_state(self, x0: Any = None, *, params: Mapping[Any, Any] | None = None) -> tuple[Any, ...]:
        """The state from which the step starts."""
        return self._first_state(self._embedded(params), x0)

    def step(self, state: tuple[Any, ...], *, params: Mapping[Any, Any] | None = None) -> tuple[Any, ...]:
        """One application of the map ``T`` (without acceleration) to a state; nothing is overwritten."""
        return self._embedded(params).plain_step(*self._checked(state))

    def readout(self, state: tuple[Any, ...], *, params: Mapping[Any, Any] | None = None) -> Any:
        """The variables at a state: an array, or a mapping where there are several."""
        points = self._embedded(params).readout(*self._checked(state))
        return points[0] if len(points) == 1 else dict(zip(self.variables, points, strict=True))

    def _checked(self, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """A state from outside; raises ShapeError where it is not one of this plan."""
        found = [tuple(getattr(part, "shape", ())) for part in state]
        wanted = [part.shape for part in self.lowering.state]
        if found != wanted:
            raise ShapeError(
                f"the state of {self.method.name} has parts of shapes {wanted}, but {found} were given; start from "
                f"plan.initial_state()"
            )
        return tuple(
            self.backend.asarray(part, place.kind) if place.shape else part
            for part, place in zip(state, self.lowering.state, strict=True)
        )

    def _embedded(self, params: Mapping[Any, Any] | None) -> Binding:
        if params:
            return self.bind(params)
        if not self._embedding:
            self._embedding.append(self.bind())
        return self._embedding[0]

    @property
    def cost(self) -> Any:
        """What one iteration costs: transforms, passes over memory, bytes of buffers."""
        return self._embedded(None).step.cost

    def source(self, backend: str | None = None) -> str:
        """The generated step as stand-alone Python for this plan's backend, or for another by name."""
        if backend is None or backend == self.backend.name:
            return self._embedded(None).step.source
        from opalg.arrays import backend as backend_named

        other = CompiledEnergy(
            self.compiled.problem,
            self.lowering,
            backend_named(backend, self.backend.precision),
            self.compiled.nonconvex,
        )
        return Binding(other, {}).step.source

    def explain(self) -> Explanation:
        """Every stage from the energy to the step, as readable text (and HTML in a notebook)."""
        return explain(self)

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_()

    def as_module(self, **options: Any) -> Any:
        """A ``torch.nn.Module`` whose parameters are the energy's; calling it solves, backward differentiates.

        Parameters
        ----------
        **options
            Options of `solve` for every forward pass, and ``gradient_options``, ``warm_start``, ``positive`` and
            ``networks`` of `opalg.implicit.torch_module.SolverModule`.
        """
        from opalg.implicit.torch_module import SolverModule

        return SolverModule(self, **options)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a plan is not a sequence; solve it with plan.solve()")

    def __repr__(self) -> str:
        return f"Plan: {self.method.name} on {self.backend!r} for {self.energy!r}"
