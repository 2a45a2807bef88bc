"""Plans for declared maps: a fixed point is sought, no energy is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from opalg.arrays import Backend
from opalg.arrays import backend as backend_named
from opalg.compiler.again import moving, resuming
from opalg.compiler.arguments import kept, limits_of, parameter_values, start_of
from opalg.compiler.explain import Explanation, block
from opalg.compiler.map_binding import MapBinding
from opalg.compiler.map_outcomes import Samples, growth_of, measured, not_a_contraction
from opalg.compiler.map_refusals import OF_COMPILE, OF_SOLVE, missing, refuses
from opalg.compiler.placement import placement_of
from opalg.compiler.step_bound import StepBound, step_bound, step_facts
from opalg.emit import Function
from opalg.energies.affine import Variable
from opalg.energies.maps import MapExpression, as_map
from opalg.energies.names import check_names
from opalg.errors import (
    DivergedError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnsupportedError,
)
from opalg.implicit import Differentiator
from opalg.implicit.rows import BatchRows
from opalg.iterations import Anderson, BatchedAnderson, BatchedMomentum, Iteration, Momentum, Picard, VectorSpace
from opalg.iterations.vectors import norm
from opalg.leaves import Leaf, Parameter
from opalg.methods.fixed_point import lower_map
from opalg.methods.method import Lowering
from opalg.nodes import walk
from opalg.program.text import program_text
from opalg.solving.loop import Info, Measurement, run
from opalg.solving.progress import progress_of
from opalg.solving.solution import Solution, deliver

ACCELERATIONS = ("anderson", "nesterov", "none")


@dataclass(frozen=True, repr=False)
class MapPlan:
    """A compiled map ``x -> T(x)``; made by `opalg.fixed_point`.

    Attributes
    ----------
    variables : tuple of Variable
    expressions : tuple of MapExpression
        The image of each variable.
    backend : Backend
    acceleration : str
        ``"anderson"``, ``"nesterov"`` or ``"none"``.
    memory : int
        How many differences Anderson acceleration keeps.
    """

    variables: tuple[Variable, ...]
    expressions: tuple[MapExpression, ...]
    lowering: Lowering
    backend: Backend
    acceleration: str
    memory: int
    _derivatives: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the map."""
        return tuple(dict.fromkeys(p for e in self.expressions for p in e.parameters))

    @cached_property
    def space(self) -> VectorSpace:
        """The states as flat arrays."""
        return VectorSpace([v.shape for v in self.variables], [v.kind for v in self.variables], self.backend)

    @cached_property
    def rows(self) -> BatchRows | None:
        """The states as one row for each sample."""
        if not self.sample_axes:
            return None
        count = prod(self.variables[0].shape[: self.sample_axes])
        shapes, kinds = [v.shape for v in self.variables], [v.kind for v in self.variables]
        return BatchRows(shapes, kinds, count, self.backend)

    @property
    def sample_axes(self) -> int:
        """How many leading axes count samples that are accelerated and stopped one by one."""
        return self.lowering.sample_axes

    def change(self, expressions: Sequence[MapExpression]) -> MapPlan:
        """The plan of other images of the same variables, solved in the same way."""
        images = tuple(expressions)
        lowering = lower_map(self.variables, images, self.sample_axes)
        return replace(self, expressions=images, lowering=lowering, _derivatives={})

    @cached_property
    def function(self) -> Function:
        """The compiled map."""
        return Function(self.lowering.step, self.lowering.state, self.backend, "step")

    def bind(self, params: Mapping[Any, Any] | None = None) -> MapBinding:
        """The compiled map at parameter values."""
        return MapBinding(self, parameter_values(self.parameters, params or {}, self.backend))

    @refuses(OF_SOLVE)
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

        A callback is called after every iteration.

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
        limits.follow = callback is not None
        limits.watch_growth = not self.sample_axes
        params = kept(params)
        binding, lib, space = self.bind(params), self.backend, self.space
        begin = self.initial_state(x0)

        def step(flat: Any) -> Any:
            return space.view(binding.step(*space.unpack(flat)))  # a call makes fresh arrays

        iteration, flat_of = self._iteration(step, limits.tol, space.pack(list(begin)))
        samples = Samples(iteration, limits.tol) if isinstance(iteration, BatchedAnderson) else None
        residuals: list[float] = []

        def measure(state: Any) -> Measurement:
            residual = iteration.residual
            if samples is not None and iteration.products:
                residuals.append(residual)
                return samples.measure()
            flat = flat_of(state)
            residual = residual if iteration.products else norm(lib.subtract(step(flat), flat), lib)
            residuals.append(residual)
            return measured(residual, flat, lib)

        bar = progress_of(progress, limits.tol, "fixed_point")
        # the states of many samples stay as they are
        keep = lib.copy if samples is None else lambda state: state
        outcome = run(iteration, measure, limits, keep=keep, callback=callback, progress=bar)
        if outcome.measurement is None:
            raise NonFiniteError(
                "the map is not finite at the start; check x0 and the data for NaN, infinity and overflow"
            )
        final = flat_of(outcome.state)
        if samples is not None:
            samples.settle(outcome)
        growth = growth_of(outcome, residuals, step, (final, space.pack(list(begin))), lib)
        points = tuple(lib.copy(p) for p in space.unpack(final))
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
                resume=resuming(self, limits, params),
                expression=self._linear,
                moved=moving(self, limits, params),
            ),
            message="; ".join(m for m in (outcome.message, growth and self._advice(growth, binding.values)) if m),
            sample_statuses=() if samples is None else samples.statuses(growth is not None),
            sample_residuals=() if samples is None else tuple(samples.relative.tolist()),
        )
        try:
            return deliver(solution, on_failure)
        except (DivergedError, NonFiniteError) as error:
            if growth is None:
                raise
            raise not_a_contraction(error, growth) from error

    @property
    def _linear(self) -> MapExpression | None:
        """What a preconditioner of gradients is made of: the map of a single variable."""
        return self.expressions[0] if len(self.expressions) == 1 else None

    def _iteration(self, step: Callable[[Any], Any], tol: float, start: Any) -> tuple[Iteration, Callable[[Any], Any]]:
        """The iteration, started, and how its states become flat arrays."""
        lib, rows = self.backend, self.rows
        if rows is not None:
            batched = self._batched(lambda r: rows.rows(step(rows.flat(r))), tol)
            batched.start(rows.rows(start))
            return batched, rows.flat
        kinds: dict[str, Callable[[], Iteration]] = {
            "anderson": lambda: Anderson(step, lib, memory=self.memory),
            "nesterov": lambda: Momentum(step, lib),
            "none": lambda: Picard(step, lib),
        }
        iteration = kinds[self.acceleration]()
        iteration.start(start)
        return iteration, lambda flat: flat

    def _batched(self, step: Callable[[Any], Any], tol: float) -> BatchedAnderson:
        if self.acceleration == "nesterov":
            return BatchedMomentum(step, self.backend, tol)
        return BatchedAnderson(step, self.backend, tol, self.memory if self.acceleration == "anderson" else 0)

    def _advice(self, growth: float, values: Mapping[Parameter, Any]) -> str:
        """What a map that lengthens residuals means, and what to try."""
        accelerate = (
            "seek its fixed point with acceleration='anderson'"
            if self.acceleration != "anderson"
            else f"give Anderson acceleration more memory than {self.memory}"
        )
        return (
            f"an application of the map lengthens residuals by a factor of about {growth:.4g} here, so it is no "
            f"contraction: damp it as x + d * (T(x) - x) with a small d, {accelerate}, or normalise the spectra of the "
            f"weights of its network{self._step_too_long(values)}"
        )

    def _step_too_long(self, values: Mapping[Parameter, Any]) -> str:
        """What a bound on the step says, where the map is of a form that one is known for and it is not kept."""
        if len(self.variables) != 1:
            return ""
        try:
            bound = step_bound(self.expressions[0], self.variables[0], values, certified=False)
        except UnsupportedError:
            return ""
        return "" if bound.safe else f". By its form, {bound}"

    # Pieces for embedding.

    def initial_state(self, x0: Any = None) -> tuple[Any, ...]:
        """The state from which the map starts, an array for each variable; zero where no start is given."""
        lib = self.backend
        if x0 is None:
            return tuple(lib.zeros(v.shape, v.kind) for v in self.variables)
        given = dict(zip(x0.variables, x0.points, strict=True)) if isinstance(x0, Solution) else x0
        starts = start_of(given, self.variables)
        return tuple(lib.asarray(starts[v], v.kind) for v in self.variables)

    def readout(self, state: tuple[Any, ...]) -> Any:
        """The variable at a state, or a mapping from each variable."""
        return state[0] if len(state) == 1 else dict(zip(self.variables, state, strict=True))

    def step(self, state: tuple[Any, ...], *, params: Mapping[Any, Any] | None = None) -> tuple[Any, ...]:
        """``T`` applied once to a state, a tuple of one array for each variable."""
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

    def step_bound(self, params: Mapping[Any, Any] | None = None, *, certified: bool = False) -> StepBound:
        """Whether the step of a map ``x - t * oa.grad(E)``, tied or untied, is small enough for plain iteration.

        Parameters
        ----------
        params : mapping from Parameter or name to value, optional
            As for `solve`.
        certified : bool
            Bound norms of operators by proofs, which can be far from sharp, instead of estimating them.

        Returns
        -------
        StepBound
            ``print`` shows it as a sentence; ``.safe`` and ``.limit`` are for programs.

        Raises
        ------
        UnsupportedError
            For a map of another form, or of several variables, and where too little is known.

        Examples
        --------
        >>> import opalg as oa
        >>> u = oa.Variable(2, name="u")
        >>> plan = oa.fixed_point(u, u - 1.5 * oa.grad(oa.sum_squares(u)))
        >>> print(plan.step_bound())
        the step 1.5 is not below 2 / L = 1 with estimated norms, so plain iteration may diverge
        """
        if len(self.variables) != 1:
            raise UnsupportedError("a bound on the step is known for maps of one variable")
        values = parameter_values(self.parameters, params or {}, self.backend) if params else {}
        return step_bound(self.expressions[0], self.variables[0], values, certified)

    def as_module(self, **options: Any) -> Any:
        """A ``torch.nn.Module`` whose parameters are the map's; see ``Plan.as_module``."""
        from opalg.implicit.torch_module import SolverModule

        return SolverModule(self, **options)

    def explain(self) -> Explanation:
        """The map, how its fixed point is sought, and the step, as readable text."""
        names = [s.name for s in self.lowering.state]
        how = {
            "none": "plain iteration",
            "nesterov": "Nesterov's momentum with a safeguard",
            "anderson": f"Anderson acceleration, memory {self.memory}",
        }[self.acceleration]
        if self.sample_axes:
            how += f", each sample of the leading {self.sample_axes} axes by itself"
        facts = step_facts(self.expressions, self.variables)
        return block(
            [
                ("Map", self._equations),
                ("Facts", ["a declared map, so the certificate is a residual", *facts]),
                ("Iteration", [how]),
                ("Step", program_text([*self.lowering.step], names).splitlines()),
                ("Runs on", [repr(self.backend)]),
                ("Cost of an iteration", [str(self.cost)]),
            ]
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise missing("MapPlan", name)

    def __repr__(self) -> str:
        return f"MapPlan: fixed_point on {self.backend!r} for {'; '.join(self._equations)}"

    @property
    def _equations(self) -> list[str]:
        return [f"{v.label} = {e!r}" for v, e in zip(self.variables, self.expressions, strict=True)]


@refuses(OF_COMPILE)
def fixed_point(
    variable: Variable | Mapping[Variable, Any],
    expression: Any = None,
    *,
    acceleration: str = "anderson",
    memory: int = 5,
    sample_axes: int = 0,
    backend: str | None = None,
    device: Any = None,
    dtype: Any = None,
) -> MapPlan:
    """Compile the equation ``x = T(x)`` for a map written in the language.

    Parameters
    ----------
    variable : Variable, or mapping from Variable to map
        The unknown; or all unknowns with their images, for a state of several arrays.
    expression : map or affine expression
        ``T(x)``, for example ``x - tau * (A.H @ (A @ x - y) + oa.apply(network, x))``; left out for a mapping.
    acceleration : {"anderson", "nesterov", "none"}
        How the fixed point is sought. Anderson's method and Nesterov's momentum fall back on the plain map where they
        do not help.
    memory : int
        How many differences Anderson's method keeps.
    sample_axes : int
        How many leading axes count samples; each then has its own acceleration and is left alone once it has
        converged, and ``tol`` is on the worst of them. One that diverges is left at its last iterate at which the map
        was finite, the others go on, and ``sample_statuses`` of the solution tell which it was. The map must keep
        samples apart.
    backend, device, dtype
        As for `compile`.

    Returns
    -------
    MapPlan

    Raises
    ------
    ShapeError
        Where the map changes the shape, or variables do not begin with the same axes of samples.
    ParameterError
        Where it involves other variables, for an unknown acceleration, and for options that only energies have.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x, z = oa.Variable(2, name="x"), oa.Variable(2, name="z")
    >>> sol = oa.fixed_point({x: 0.5 * z + np.array([1.0, 0.0]), z: 0.5 * x}).solve(tol=1e-12)
    >>> sol[x].round(6), sol[z].round(6)
    (array([1.333333, 0.      ]), array([0.666667, 0.      ]))
    """
    if isinstance(variable, Mapping) == (expression is not None):
        raise ParameterError("write fixed_point(x, T), or fixed_point({x: T, z: S}) for several variables")
    given = dict(variable) if isinstance(variable, Mapping) else {variable: expression}
    images = {v: as_map(e) for v, e in given.items()}
    for own, image in images.items():
        if image.shape != own.shape:
            raise ShapeError(f"the map gives shape {image.shape}, but {own.label} has shape {own.shape}")
        others = [v for v in image.variables if v not in images]
        if others:
            raise ParameterError(f"the map of {own.label} also involves {others!r}; make them Parameters, or unknowns")
    if acceleration not in ACCELERATIONS:
        raise ParameterError(f"acceleration must be one of {ACCELERATIONS}, not {acceleration!r}")
    _check_samples(list(images), sample_axes)
    every = list(images.values())
    check_names(list(images), list(dict.fromkeys(p for e in every for p in e.parameters)), "map")
    leaves = [n for n in walk(*every) if isinstance(n, Leaf) and n.kind != "bool" and n.shape != ()]
    lib = placement_of(leaves, list(images), backend, device, dtype)
    lowering = lower_map(tuple(images), tuple(every), sample_axes)
    return MapPlan(tuple(images), tuple(every), lowering, lib, acceleration, memory)


def _check_samples(variables: Sequence[Variable], axes: int) -> None:
    if isinstance(axes, bool) or not isinstance(axes, int) or axes < 0:
        raise ParameterError(f"sample_axes must be a nonnegative integer, not {axes!r}")
    if len({v.shape[:axes] for v in variables}) != 1 or any(len(v.shape) < axes for v in variables):
        found = ", ".join(f"{v.label} {v.shape}" for v in variables)
        raise ShapeError(f"sample_axes={axes} needs variables that begin with the same {axes} axes, not {found}")
