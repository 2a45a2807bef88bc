"""The functions of an energy and its method, compiled once for a backend; they are bound to values elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from opalg.arrays import Backend, backend
from opalg.compiler.searching import SearchFunctions
from opalg.emit import Function
from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.iterations.nesterov import accelerated
from opalg.methods.gap import Gap, duality_gap, without_constant
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.program.opaque import opaque_functions

VANISHED = 1e-10  # entries this much smaller than at the start are taken for zero


class CompiledEnergy:
    """The functions of a lowering, compiled once for a backend; bound again whenever parameters change.

    Parameters
    ----------
    problem : Problem
    lowering : Lowering
    lib : Backend
    nonconvex : bool
        Whether the caller accepts an energy that is not convex, also through a negative weight.
    fuse : bool
        Whether the array library's compiler fuses the step.

    Attributes
    ----------
    opaque : list of OpaqueFunction
        The networks of the energy, which compute in their own precision only.

    Raises
    ------
    DeviceError, DtypeError, ParameterError
        Where a network cannot work on the backend, or changes from call to call.
    """

    def __init__(
        self, problem: Problem, lowering: Lowering, lib: Backend, nonconvex: bool = False, fuse: bool = False
    ) -> None:
        self.problem, self.lowering, self.lib, self.nonconvex, self.fuse = problem, lowering, lib, nonconvex, fuse
        self.opaque = opaque_functions(*lowering.step, *lowering.readout.values())
        for function in self.opaque:
            function.check(lib)
        self.precise = backend(lib.name, "float64", None if lib.name == "numpy" else lib.device)

    @property
    def has_value(self) -> bool:
        """Whether every term has a value, so that there is an energy to speak of."""
        return not self.problem.without_value

    @cached_property
    def gap(self) -> Gap | None:
        """The duality gap, where one can be had; a line search measures residuals, sample by sample."""
        return None if self.lowering.search is not None else duality_gap(self.problem, self.lowering)

    @cached_property
    def step(self) -> Function:
        """The step ``T``; for Nesterov's iteration, one accelerated step."""
        low = self.lowering
        if low.iteration == "nesterov":
            extra = (low.smooth_value, low.smooth_gradient) if low.backtrack else ()
            outputs, inputs = accelerated(low.state, low.step, *extra)
            return Function(outputs, [*inputs, *low.controls], self.lib, name="step", fuse=self.fuse)
        return self.plain_step

    @cached_property
    def search(self) -> SearchFunctions:
        """The programs of a line search."""
        return SearchFunctions(self.lowering, self.lib, self.fuse)

    @cached_property
    def plain_step(self) -> Function:
        """The map ``T`` itself, without acceleration."""
        low = self.lowering
        return Function(low.step, [*low.state, *low.controls], self.lib, name="step", fuse=self.fuse)

    @cached_property
    def readout(self) -> Function:
        """The read-out ``R``."""
        low = self.lowering
        return Function(
            [low.readout[v] for v in self.problem.variables], [*low.state, *low.controls], self.lib, "readout"
        )

    @cached_property
    def start(self) -> Function:
        """The initial state from a start of the variables."""
        inputs = [Input(f"start{i}", v.shape, v.kind) for i, v in enumerate(self.problem.variables)]
        points: dict[Variable, Expression] = dict(zip(self.problem.variables, inputs, strict=True))
        outputs = [self.lowering.start[s](points) for s in self.lowering.state]
        return Function(outputs, inputs, self.lib, "start")

    @cached_property
    def default_start(self) -> Function:
        """The start where the caller gives none."""
        start = self.problem.default_start
        return Function([start[v] for v in self.problem.variables], [], self.lib, "default_start")

    @cached_property
    def look(self) -> Function:
        """Energy, lower bound (where there is a gap), violation and squared size at the read-out."""
        return self._look(self.lib)

    @cached_property
    def certificate(self) -> Function:
        """The same in double precision."""
        return self.look if self.lib.precision == "float64" or self.opaque else self._look(self.precise)

    def _look(self, lib: Backend) -> Function:
        """At the working precision, of the read-out; in double, of the very arrays that are handed out."""
        low, variables = self.lowering, self.problem.variables
        handed = [Input(f"handed{i}", v.shape, v.kind) for i, v in enumerate(variables)]
        working = lib is self.lib
        point = {v: low.readout[v] if working else x for v, x in zip(variables, handed, strict=True)}
        gap = self.gap if working or self.gap is None else duality_gap(self.problem, low, point)
        outputs: list[Expression] = [without_constant(self.problem, point) if self.has_value else Literal(0.0)]
        if gap is not None:
            outputs += [gap.dual, gap.rounding]
        start = self.problem.default_start
        outputs.append(largest_of([relative_violation(t, point, start) for t in self.problem.rough_terms]))
        outputs.append(sum_all([ex.norm_squared(point[v]) for v in variables]))
        return Function(outputs, [*low.state, *([] if working else handed), *low.controls], lib, "certificate")

    @cached_property
    def residual(self) -> Function:
        """The squared residual and its scale."""
        low = self.lowering
        moved = low.residual if low.residual is not None else squared_change(low)
        scale = low.scale if low.scale is not None else sum_all([ex.norm_squared(s) for s in low.state])
        return Function([moved, scale], [*low.state, *low.controls], self.lib, "residual")

    @property
    def spacing(self) -> int:
        """Iterations between two measurements, such that measuring is about a tenth of the work."""
        if self.lowering.iteration == "once":
            return 1
        look = work(self.look) + (0 if self.gap is not None else work(self.residual))
        return max(10, min(round(10 * look / max(work(self.step), 1)), 100))

    @cached_property
    def balances(self) -> list[tuple[Input, Function, Function | None]]:
        """For each control to be balanced: its residuals, and the state after it grew by a factor."""
        low, out = self.lowering, []
        for control, first, second in low.balance:
            residuals = Function([first, second], [*low.state, *low.controls], self.lib, "balance")
            rescaled = None
            if low.rescale is not None:
                factor = Input("factor", (), "real", role="control")
                moved = low.rescale(control, factor)
                rescaled = Function(moved, [*low.state, *low.controls, factor], self.lib, "rescale")
            out.append((control, residuals, rescaled))
        return out


def relative_violation(
    term: Term, point: Mapping[Variable, Expression], start: Mapping[Variable, Expression]
) -> Expression:
    """By how much a term leaves its domain, relative to the largest entry of what it is computed from.

    Where that vanishes at the solution, it is relative to a small part of what it is at the start.
    """
    violation = term.functional.define_violation(term.expression.trace(point))
    if isinstance(violation, Literal):
        return Literal(0.0)
    size = ex.largest(abs(term.expression.linear_trace(point)))
    if term.expression.offset is not None:
        size = ex.maximum(size, ex.largest(abs(term.expression.offset)))
    else:
        size = ex.maximum(size, VANISHED * ex.largest(abs(term.expression.linear_trace(start))))
    return ex.safe_divide(violation, size)


def work(function: Function) -> float:
    """The work of a call in bytes moved, a transform counted as ten passes over its arrays."""
    cost = function.cost
    passes = max(cost.passes, 1)
    return cost.traffic * (1.0 + 10.0 * cost.transforms / passes)


def squared_change(low: Lowering) -> Expression:
    """The squared length of one step, ``|T(z) - z|^2``."""
    return sum_all([ex.norm_squared(new - old) for new, old in zip(low.step, low.state, strict=True)])


def sum_all(parts: list[Expression]) -> Expression:
    """The sum of scalars, zero where there are none."""
    out: Expression = Literal(0.0)
    for part in parts:
        out = out + part
    return out


def largest_of(parts: list[Expression]) -> Expression:
    """The largest of nonnegative scalars, zero where there are none."""
    out: Expression = Literal(0.0)
    for part in parts:
        out = ex.maximum(out, part)
    return out
