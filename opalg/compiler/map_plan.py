"""Plans for declared maps: a fixed point is sought, no energy is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opalg.arrays import Backend
from opalg.arrays import backend as backend_named
from opalg.compiler.arguments import limits_of, parameter_values, start_of
from opalg.compiler.explain import Explanation, block
from opalg.compiler.placement import placement_of
from opalg.emit import BoundFunction, Function
from opalg.energies.affine import Variable
from opalg.energies.maps import MapExpression, as_map
from opalg.errors import NonFiniteError, ParameterError, ShapeError
from opalg.implicit import Differentiator
from opalg.iterations import Anderson, Picard, VectorSpace
from opalg.iterations.vectors import norm
from opalg.leaves import Leaf, Parameter
from opalg.methods.fixed_point import lower_map
from opalg.methods.method import Lowering
from opalg.nodes import walk
from opalg.program.expression import Input
from opalg.program.text import program_text
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Info, Measurement, run
from opalg.solving.progress import progress_of
from opalg.solving.solution import Solution, deliver

ACCELERATIONS = ("anderson", "none")


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
            Its ``value`` is NaN, since no energy is known, and its certificate a residual.
        """
        limits = limits_of(tol, max_iter, time_limit, spacing=1)
        limits.look_at_start = False  # the first application of the map measures the start
        binding, lib = self.bind(params), self.backend
        space = VectorSpace([self.variable.shape], [self.variable.kind], lib)

        def step(flat: Any) -> Any:
            return space.pack(binding.step(*space.unpack(flat)))

        iteration = Picard(step, lib) if self.acceleration == "none" else Anderson(step, lib, memory=self.memory)
        iteration.start(space.pack(list(self.initial_state(x0))))

        def measure(flat: Any) -> Measurement:
            size = norm(flat, lib)
            residual = iteration.residual if iteration.products else norm(lib.subtract(step(flat), flat), lib)
            relative = residual / max(size, lib.tiny) if residual > 0 else 0.0
            return Measurement(Certificate("residual", residual, relative))

        bar = progress_of(progress, limits.tol, "fixed_point")
        outcome = run(iteration, measure, limits, keep=lib.copy, callback=callback, progress=bar)
        if outcome.measurement is None:
            raise NonFiniteError(
                "the map is not finite at the start; check x0 and the data for NaN, infinity and overflow"
            )
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
            differentiator=Differentiator(None, self.lowering, binding),
            message=outcome.message,
        )
        return deliver(solution, on_failure)

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
        self.plan, self.lib, self.values = plan, plan.backend, dict(values)
        self.controls: dict[Input, float] = {}
        for parameter, value in self.values.items():
            parameter.check(value)

    def bound(self, function: Function, controls: Mapping[Input, float] | None = None) -> BoundFunction:
        """A function at these values."""
        values: dict[Leaf, Any] = {p: self.lib.asarray(v, p.kind) for p, v in self.values.items()}
        return function.bind(values, dict(controls or {}))

    @cached_property
    def step(self) -> BoundFunction:
        """The compiled map."""
        return self.bound(self.plan.function)


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
