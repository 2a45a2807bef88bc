"""Plans for declared maps: a fixed point is sought, no energy is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from opalg.arrays import Backend
from opalg.arrays import backend as backend_named
from opalg.compiler.again import moving
from opalg.compiler.arguments import in_precision, limits_of, parameter_values, start_of
from opalg.compiler.explain import Explanation, block
from opalg.compiler.placement import placement_of
from opalg.emit import BoundFunction, Function
from opalg.energies.affine import Variable
from opalg.energies.maps import MapExpression, as_map
from opalg.errors import DivergedError, NonFiniteError, NotAContractionError, OpalgError, ParameterError, ShapeError
from opalg.implicit import Differentiator
from opalg.iterations import Anderson, Picard, VectorSpace
from opalg.iterations.contraction import contraction_factor
from opalg.iterations.vectors import norm
from opalg.leaves import Leaf, Parameter
from opalg.methods.fixed_point import lower_map
from opalg.methods.method import Lowering
from opalg.nodes import walk
from opalg.program.expression import Input
from opalg.program.opaque import opaque_functions
from opalg.program.text import program_text
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Info, Measurement, Outcome, quiet, run
from opalg.solving.progress import progress_of
from opalg.solving.solution import Solution, deliver
from opalg.solving.status import Status

ACCELERATIONS = ("anderson", "none")
ENOUGH = 20  # iterations before residuals that have not shrunk say something about the map
GROWN = 10.0  # growth of the residual over the first that counts as divergence where the map lengthens residuals


@dataclass(frozen=True, repr=False)
class MapPlan:
    """A compiled map ``x -> T(x)``; made by `opalg.fixed_point`.

    Attributes
    ----------
    variable : Variable
    expression : MapExpression
    backend : Backend
    acceleration : str
        ``"anderson"`` or ``"none"``.
    memory : int
        How many differences Anderson acceleration keeps.
    """

    variable: Variable
    expression: MapExpression
    lowering: Lowering
    backend: Backend
    acceleration: str
    memory: int
    _derivatives: dict[Any, Any] = field(default_factory=dict)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variable, as a tuple of one."""
        return (self.variable,)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the map."""
        return self.expression.parameters

    @cached_property
    def function(self) -> Function:
        """The compiled map."""
        return Function(self.lowering.step, self.lowering.state, self.backend, "step")

    def bind(self, params: Mapping[Any, Any] | None = None) -> MapBinding:
        """The compiled map at parameter values."""
        return MapBinding(self, parameter_values(self.parameters, params or {}, self.backend))

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
    ) -> Solution:
        """Find ``x = T(x)``; the arguments are those of ``Plan.solve``, ``tol`` is on ``|T(x) - x| / |x|``.

        Returns
        -------
        Solution
            Its ``value`` is None, since no energy is known, and its certificate a residual.

        Raises
        ------
        NotAContractionError
            Where the residuals grow since the map does not contract; ``.contraction`` estimates by how much.
        NonFiniteError
            Where the map gives NaN or infinity for another reason.
        """
        limits = limits_of(tol, max_iter, time_limit, spacing=1)
        limits.look_at_start = False  # the first application of the map measures the start
        binding, lib = self.bind(params), self.backend
        space = VectorSpace([self.variable.shape], [self.variable.kind], lib)

        def step(flat: Any) -> Any:
            return space.pack(binding.step(*space.unpack(flat)))

        iteration = Picard(step, lib) if self.acceleration == "none" else Anderson(step, lib, memory=self.memory)
        iteration.start(space.pack(list(self.initial_state(x0))))
        residuals: list[float] = []

        def measure(flat: Any) -> Measurement:
            size = norm(flat, lib)
            residual = iteration.residual if iteration.products else norm(lib.subtract(step(flat), flat), lib)
            relative = residual / max(size, lib.tiny) if residual > 0 else 0.0
            residuals.append(residual)
            return Measurement(Certificate("residual", residual, relative))

        bar = progress_of(progress, limits.tol, "fixed_point")
        outcome = run(iteration, measure, limits, keep=lib.copy, callback=callback, progress=bar)
        if outcome.measurement is None:
            raise NonFiniteError(
                "the map is not finite at the start; check x0 and the data for NaN, infinity and overflow"
            )
        starts = (outcome.state, space.pack(list(self.initial_state(x0))))
        growth = _growth(outcome, residuals, step, starts, lib)
        points = tuple(lib.copy(p) for p in space.unpack(outcome.state))
        relative = outcome.measurement.certificate.relative
        solution = Solution(
            variables=self.variables,
            points=points,
            status=outcome.status,
            value=None,
            certificate=outcome.measurement.certificate,
            evaluate_residual=lambda: relative,
            iterations=outcome.iterations,
            seconds=outcome.history.rows[-1].seconds,
            history=outcome.history,
            error_bound=None,
            method="fixed_point",
            backend=repr(lib),
            state=points,
            differentiator=Differentiator(
                None,
                self.lowering,
                binding,
                self._derivatives,
                expression=self.expression,
                moved=moving(self, limits, params),
            ),
            message=outcome.message if growth is None else self._advice(growth),
        )
        try:
            return deliver(solution, on_failure)
        except (DivergedError, NonFiniteError) as error:
            if growth is None:
                raise
            raise _not_a_contraction(error, growth) from error

    def _advice(self, growth: float) -> str:
        """What a map that lengthens residuals means, and what to try."""
        accelerate = (
            "seek its fixed point with acceleration='anderson'"
            if self.acceleration == "none"
            else f"give Anderson acceleration more memory than {self.memory}"
        )
        return (
            f"an application of the map lengthens residuals by a factor of about {growth:.4g} here, so it is no "
            f"contraction: damp it as x + d * (T(x) - x) with a small d, {accelerate}, or normalise the spectra of the "
            f"weights of its network"
        )

    # Pieces for embedding.

    def initial_state(self, x0: Any = None) -> tuple[Any, ...]:
        """The state from which the map starts: a tuple of one array, zero where no start is given."""
        if x0 is None:
            return (self.backend.zeros(self.variable.shape, self.variable.kind),)
        start = start_of(x0.x if isinstance(x0, Solution) else x0, self.variables)[self.variable]
        return (self.backend.asarray(start, self.variable.kind),)

    def readout(self, state: tuple[Any, ...]) -> Any:
        """The variable at a state."""
        return state[0]

    def step(self, state: tuple[Any, ...], *, params: Mapping[Any, Any] | None = None) -> tuple[Any, ...]:
        """``T`` applied once to a state, a tuple of one array."""
        return self.bind(params).step(*state)

    @property
    def cost(self) -> Any:
        """What one application of the map costs."""
        return self.function.cost

    def source(self, backend: str | None = None) -> str:
        """The generated map as stand-alone Python for this plan's backend, or for another by name."""
        if backend is None or backend == self.backend.name:
            return self.function.source
        other = backend_named(backend, self.backend.precision)
        return Function(self.lowering.step, self.lowering.state, other, "step").source

    def as_module(self, **options: Any) -> Any:
        """A ``torch.nn.Module`` whose parameters are the map's; see ``Plan.as_module``."""
        from opalg.implicit.torch_module import SolverModule

        return SolverModule(self, **options)

    def explain(self) -> Explanation:
        """The map, how its fixed point is sought, and the step, as readable text."""
        names = [s.name for s in self.lowering.state]
        how = "plain iteration" if self.acceleration == "none" else f"Anderson acceleration, memory {self.memory}"
        return block(
            [
                ("Map", [f"{self.variable.label} = {self.expression!r}"]),
                ("Facts", ["a declared map: no energy is known, so the certificate is a residual"]),
                ("Iteration", [how]),
                ("Step", program_text([*self.lowering.step], names).splitlines()),
                ("Runs on", [repr(self.backend)]),
                ("Cost of an iteration", [str(self.cost)]),
            ]
        )

    def __repr__(self) -> str:
        return f"MapPlan: fixed_point on {self.backend!r} for {self.variable.label} = {self.expression!r}"


class MapBinding:
    """A compiled map at one set of parameter values."""

    def __init__(self, plan: MapPlan, values: Mapping[Parameter, Any]) -> None:
        self.plan, self.lib = plan, plan.backend
        self.values: dict[Any, Any] = dict(values)
        self.controls: dict[Input, float] = {}
        self._hoisted: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        for parameter, value in values.items():
            parameter.check(value)

    def in_double(self) -> MapBinding | None:
        """The same with the data of functions cast to double precision once; None where networks have their own."""
        step = self.plan.lowering.step
        if opaque_functions(*step):
            return None
        twin = MapBinding(self.plan, {})
        twin.lib = backend_named(self.lib.name, "float64", None if self.lib.name == "numpy" else self.lib.device)
        twin.values = in_precision(twin.lib, (n for n in walk(*step) if isinstance(n, Leaf)), self.values)
        return twin

    def bound(self, function: Function, controls: Mapping[Input, float] | None = None) -> BoundFunction:
        """A function at these values."""
        values = {p: self.lib.asarray(v, p.kind) for p, v in self.values.items()}
        return function.bind(values, dict(controls or {}), self._hoisted)

    @property
    def default_state(self) -> tuple[Any, ...]:
        """The state of the default start."""
        return self.plan.initial_state()

    @cached_property
    def step(self) -> BoundFunction:
        """The compiled map."""
        return self.bound(self.plan.function)


def _growth(
    outcome: Outcome, residuals: list[float], step: Callable[[Any], Any], starts: Sequence[Any], lib: Backend
) -> float | None:
    """The factor above 1 by which the map lengthens residuals, where a solve failed for that; it sets the status.

    A solve that ran out of iterations with residuals larger than at its start has diverged, too.
    """
    failed = outcome.status in (Status.DIVERGED, Status.NONFINITE)
    ran_out = outcome.status in (Status.MAX_ITER, Status.TIME_LIMIT)
    if not failed and not (ran_out and outcome.iterations >= ENOUGH and residuals[-1] > 0.5 * residuals[0]):
        return None
    with quiet():
        found = [contraction_factor(step, start, lib) for start in starts]
    factor = next((f for f in found if f is not None), None)
    if factor is None or not factor > 1.0 + lib.epsilon**0.5:
        return None
    if not failed and residuals[-1] > GROWN * residuals[0]:
        outcome.status = Status.DIVERGED
    return factor


def _not_a_contraction(error: OpalgError, growth: float) -> NotAContractionError:
    found = NotAContractionError(str(error))
    found.solution, found.contraction = error.solution, growth
    return found


def fixed_point(
    variable: Variable,
    expression: Any,
    *,
    acceleration: str = "anderson",
    memory: int = 5,
    backend: str | None = None,
    device: Any = None,
    dtype: Any = None,
) -> MapPlan:
    """Compile the equation ``x = T(x)`` for a map written in the language.

    Parameters
    ----------
    variable : Variable
        The unknown.
    expression : map or affine expression
        ``T(x)``, for example ``x - tau * (A.H @ (A @ x - y) + oa.apply(network, x))``.
    acceleration : {"anderson", "none"}
        How the fixed point is sought; Anderson's method falls back on the plain map where it does not help.
    memory : int
        How many differences Anderson's method keeps.
    backend, device, dtype
        As for `compile`.

    Returns
    -------
    MapPlan

    Raises
    ------
    ShapeError
        Where the map changes the shape.
    ParameterError
        Where it involves other variables.
    """
    image = as_map(expression)
    if image.shape != variable.shape:
        raise ShapeError(f"the map gives shape {image.shape}, but {variable.label} has shape {variable.shape}")
    others = [v for v in image.variables if v is not variable]
    if others:
        raise ParameterError(f"the map of {variable.label} also involves {others!r}; make them Parameters")
    if acceleration not in ACCELERATIONS:
        raise ParameterError(f"acceleration must be one of {ACCELERATIONS}, not {acceleration!r}")
    leaves = [n for n in walk(image) if isinstance(n, Leaf) and n.kind != "bool" and n.shape != ()]
    lib = placement_of(leaves, [variable], backend, device, dtype)
    return MapPlan(variable, image, lower_map(variable, image), lib, acceleration, memory)
