"""Implicit differentiation of a solution: one linear solve, whatever the number of iterations that found it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from opalg.arrays import Backend, library_name
from opalg.emit import Function
from opalg.errors import (
    AdjointNotConvergedError,
    InexactSolutionError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SingularAdjointError,
)
from opalg.implicit.gradients import Gradients
from opalg.implicit.systems import MapSystem, full, like, system_of
from opalg.iterations import GMRES, ConjugateGradients, LinearIteration, VectorSpace
from opalg.leaves import Parameter
from opalg.methods.method import Lowering
from opalg.methods.problem import Problem
from opalg.nodes import walk
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Expression, Input
from opalg.solving.certificate import Certificate
from opalg.solving.loop import Limits, Measurement, run
from opalg.solving.solution import Solution, warn_caller
from opalg.solving.status import Status

ON_INEXACT = ("raise", "warn", "return")
NEWTON_STEPS = 4
SETTLE = 2e-2
RESTART = 60  # GMRES keeps as many states


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
    """

    def __init__(self, problem: Problem | None, lowering: Lowering, binding: Any) -> None:
        self.problem, self.lowering, self.binding = problem, lowering, binding
        self.lib: Backend = binding.lib
        self.controls: dict[Input, float] = binding.controls

    def vjp(
        self,
        solution: Solution,
        cotangent: Any,
        wrt: Any,
        *,
        tol: float | None = None,
        max_iter: int | None = None,
        on_inexact: str = "raise",
        refine: bool = True,
    ) -> Gradients:
        """The gradient of ``Re <cotangent, x(theta)>`` in each parameter of ``wrt``.

        Parameters
        ----------
        solution : Solution
        cotangent : array, or mapping from Variable to array
        wrt : Parameter or sequence of Parameter
        tol : float, optional
            On the residual of the adjoint system relative to its right-hand side; by default 1e-10 in double and 1e-5
            in single precision. Where terms are split off (total variation), the default settles for `SETTLE` if that
            is all that the default number of products gives, with the flag ``"adjoint_inexact"``: such systems are
            ill-conditioned, and the point's own active set is seldom known more exactly.
        max_iter : int, optional
            Products at most; by default 200 where terms are split off, else 2000.
        on_inexact : {"raise", "warn", "return"}
            What to do where the forward or the adjoint solve has not converged.
        refine : bool
            First polish the point by Newton steps on the reference map, where the system is symmetric; a step that does
            not shrink the residual is not taken.

        Returns
        -------
        Gradients

        Raises
        ------
        InexactSolutionError
            Where the solution is not converged.
        AdjointNotConvergedError, SingularAdjointError
            Where the adjoint system could not be solved.
        ShapeError, ParameterError, NonFiniteError
            Where an argument does not fit.
        """
        leaves, unused = _wanted(wrt, self.lowering)
        given = self._cotangent(solution, cotangent)
        flags = (*_forward_flags(solution, on_inexact), *unused)
        if all(_is_zero(g, self.lib) for g in given):
            zeros = {p: self._zero_like(p) for p in leaves}
            return Gradients(zeros, 0.0, 0, "none", "none", flags)
        system = system_of(self.problem, self.lowering)
        point, controls = self._point(system, solution)
        direct: list[Any] = []
        if isinstance(system, MapSystem):
            given, direct = self._through_readout(solution, given, leaves, controls)
        session = self._session(system, point, controls, refine)
        solved, residual, products, solver, more = session.solve(
            given, "right_side", "matrix", tol, max_iter, on_inexact
        )
        gradients = session.pull_back(given, solved, leaves)
        if direct:
            gradients = [a + b for a, b in zip(gradients, direct, strict=True)]
        arrays = {p: self._real_if_real(p, g) for p, g in zip(leaves, gradients, strict=True)}
        return Gradients(arrays, residual, products, system.name, solver, flags + more)

    def jvp(
        self,
        solution: Solution,
        directions: Mapping[Any, Any],
        *,
        tol: float | None = None,
        max_iter: int | None = None,
        on_inexact: str = "raise",
        refine: bool = True,
    ) -> Any:
        """The change of the solution when parameters move along directions; see `vjp` for the options."""
        leaves, _ = _wanted(tuple(directions), self.lowering)
        arrays = []
        for parameter, direction in zip(leaves, directions.values(), strict=True):
            array = self.lib.asarray(direction, parameter.kind)
            if tuple(array.shape) != parameter.shape:
                raise ShapeError(
                    f"the direction of {parameter.label} has shape {tuple(array.shape)}, not {parameter.shape}"
                )
            arrays.append(array)
        _forward_flags(solution, on_inexact)
        system = system_of(self.problem, self.lowering)
        point, controls = self._point(system, solution)
        session = self._session(system, point, controls, refine)
        tangents = like(leaves, "d")
        pushed = session.evaluate(system.push_forward(dict(zip(leaves, tangents, strict=True))), tangents, arrays)
        solved = session.solve(pushed, "forward_right_side", "forward_matrix", tol, max_iter, on_inexact)[0]
        change = session.change(pushed, solved)
        if isinstance(system, MapSystem):
            change = self._readout_change(solution, change, leaves, arrays, controls)
        return change[0] if len(change) == 1 else dict(zip(solution.variables, change, strict=True))

    # Pieces.

    def _point(self, system: Any, solution: Solution) -> tuple[list[Any], dict[Input, float]]:
        """The arrays at which the system is linearised, and its controls."""
        if isinstance(system, MapSystem):
            return list(solution.state), dict(self.binding.controls)
        controls = {}
        for control in system.controls:
            bound = self.problem.smoothness if self.problem is not None else None
            constant = self.binding.number(bound.expression) if bound is not None else 0.0
            known = [v for c, v in self.binding.controls.items() if c.name == "t"]
            controls[control] = 1.0 / constant if constant > 0 else (known[0] if known else 1.0)
        return list(solution.points), controls

    def _session(self, system: Any, point: list[Any], controls: dict[Input, float], refine: bool) -> _Session:
        """The system at the point, or at a point polished by (semismooth) Newton steps on ``T(x) - x = 0``."""
        session = _Session(self, system, point, controls)
        if not refine or not system.symmetric:
            return session
        residual, defect = session.defect()
        for _ in range(NEWTON_STEPS):
            if residual <= 10 * self.lib.epsilon:
                break
            solved = session.solve(defect, "forward_right_side", "forward_matrix", 1e-8, 500, "return")[0]
            step = session.change(defect, solved)
            moved = [self.lib.add(a, b) for a, b in zip(session.point, step, strict=True)]
            polished = _Session(self, system, moved, controls)
            shrunk, defect = polished.defect()
            if not shrunk < 0.5 * residual:
                break
            session, residual = polished, shrunk
        return session

    def _cotangent(self, solution: Solution, cotangent: Any) -> list[Any]:
        given = cotangent if isinstance(cotangent, Mapping) else {solution.variables[0]: cotangent}
        out = []
        for variable in solution.variables:
            if variable not in given:
                out.append(self.lib.zeros(variable.shape, variable.kind))
                continue
            if library_name(given[variable]) is None or tuple(given[variable].shape) != variable.shape:
                found = tuple(getattr(given[variable], "shape", ())) or type(given[variable]).__name__
                raise ShapeError(
                    f"the cotangent of {variable.label} must be an array of shape {variable.shape}, not {found}"
                )
            array = self.lib.asarray(given[variable], variable.kind)
            if not bool(self.lib.xp.all(self.lib.xp.isfinite(array))):
                raise NonFiniteError(f"the cotangent of {variable.label} holds NaN or infinity")
            out.append(array)
        return out

    def _through_readout(
        self, solution: Solution, given: list[Any], leaves: Sequence[Parameter], controls: dict[Input, float]
    ) -> tuple[list[Any], list[Any]]:
        """The cotangent of the state, and the part of the gradient that goes through the read-out itself."""
        low = self.lowering
        outputs = [low.readout[v] for v in solution.variables]
        cotangents = like(solution.variables, "c")
        pulled = full(vjp(outputs, cotangents, [*low.state, *leaves]), [*low.state, *leaves])
        found = self.run(pulled, [*low.state, *cotangents], [*solution.state, *given], controls)
        return list(found[: len(low.state)]), list(found[len(low.state) :])

    def _readout_change(
        self,
        solution: Solution,
        change: list[Any],
        leaves: Sequence[Parameter],
        arrays: list[Any],
        controls: dict[Input, float],
    ) -> list[Any]:
        low = self.lowering
        moved, tangents = like(low.state, "dz"), like(leaves, "d")
        outputs = [low.readout[v] for v in solution.variables]
        directions: dict[Any, Expression] = dict(zip([*low.state, *leaves], [*moved, *tangents], strict=True))
        pushed = full(jvp(outputs, directions), solution.variables)
        inputs = [*low.state, *moved, *tangents]
        return list(self.run(pushed, inputs, [*solution.state, *change, *arrays], controls))

    def run(
        self,
        outputs: Sequence[Expression],
        inputs: Sequence[Input],
        arrays: Sequence[Any],
        controls: dict[Input, float],
    ) -> tuple[Any, ...]:
        """Evaluate expressions at the parameter values of the solve."""
        function = Function(list(outputs), [*inputs, *controls], self.lib, "gradient")
        return self.binding.bound(function, controls)(*arrays)

    def _zero_like(self, parameter: Parameter) -> Any:
        return self.lib.zeros(parameter.shape, parameter.kind)

    def _real_if_real(self, parameter: Parameter, gradient: Any) -> Any:
        return self.lib.asarray(gradient, parameter.kind)


class _Session:
    """One system at one point, with its compiled products."""

    def __init__(self, owner: Differentiator, system: Any, point: list[Any], controls: dict[Input, float]) -> None:
        self.owner, self.system, self.controls, self.lib = owner, system, controls, owner.lib
        self.point = list(point)
        self.inputs: list[Input] = list(system.point)
        self.arrays = list(point)
        auxiliary = system.auxiliary
        if auxiliary:
            formulas = [f for _, f in auxiliary]
            self.arrays += list(owner.run(formulas, self.inputs, self.arrays, controls))
            self.inputs += [i for i, _ in auxiliary]

    def evaluate(self, outputs: Sequence[Expression], inputs: Sequence[Input], arrays: Sequence[Any]) -> list[Any]:
        """Expressions in the point and further inputs."""
        return list(self.owner.run(outputs, [*self.inputs, *inputs], [*self.arrays, *arrays], self.controls))

    def defect(self) -> tuple[float, list[Any]]:
        """``|T(x) - x|`` relative to ``|x|``, and ``T(x) - x``."""
        images = self.evaluate(list(self.system.image), [], [])
        found = [self.lib.subtract(a, b) for a, b in zip(images, self.point, strict=True)]
        size = sqrt(sum(_square(b, self.lib) for b in self.point))
        return sqrt(sum(_square(f, self.lib) for f in found)) / max(size, self.lib.tiny), found

    def change(self, pushed: Sequence[Any], solved: Sequence[Any]) -> list[Any]:
        """The change of the point that the solution of the forward system stands for."""
        b, e = like(self.system.point, "b"), like(self.system.point, "e")
        return self.evaluate(self.system.change(b, e), [*b, *e], [*pushed, *solved])

    def solve(
        self, given: Sequence[Any], right: str, matrix: str, tol: float | None, max_iter: int | None, on_inexact: str
    ) -> tuple[list[Any], float, int, str, tuple[str, ...]]:
        """Solve the system; returns the solution, true relative residual, products, solver and flags."""
        lib, system = self.lib, self.system
        c, u = like(system.point, "c"), like(system.point, "u")
        rhs = self.evaluate(getattr(system, right)(c), c, given)
        space = VectorSpace([n.shape for n in system.point], [n.kind for n in system.point], lib)
        product = Function(getattr(system, matrix)(u), [*self.inputs, *u, *self.controls], lib, "product")
        bound = self.owner.binding.bound(product, self.controls)

        def apply(flat: Any) -> Any:
            return space.pack(bound(*self.arrays, *space.unpack(flat)))

        flat_rhs = space.pack(rhs)
        iteration: LinearIteration
        if system.symmetric:
            iteration = ConjugateGradients(apply, flat_rhs, lib)
        else:
            iteration = GMRES(apply, flat_rhs, lib, restart=RESTART)
        size = iteration.rhs_norm
        if size == 0.0:
            return list(space.unpack(lib.zeros((space.size,)))), 0.0, 0, "none", ()
        problem = self.owner.problem
        split = not system.symmetric and problem is not None and not problem.without_value
        settle = SETTLE if tol is None and split else None
        tol = (1e-10 if lib.precision == "float64" else 1e-5) if tol is None else tol
        max_iter = (200 if split else 2000) if max_iter is None else max_iter
        iteration.start(None)

        def measure(_state: Any) -> Measurement:
            relative = iteration.residual / size
            return Measurement(Certificate("residual", iteration.residual, relative))

        outcome = run(iteration, measure, Limits(tol, max_iter, spacing=1, growth=1.0, adapt_until=0), keep=lib.copy)
        if outcome.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        residual = iteration.true_residual() / size
        solver = "conjugate_gradients" if system.symmetric else "gmres"
        flags = self._judge(iteration, residual, tol, on_inexact, settle)
        return list(space.unpack(outcome.state)), residual, iteration.products, solver, flags

    def _judge(
        self, iteration: Any, residual: float, tol: float, on_inexact: str, settle: float | None
    ) -> tuple[str, ...]:
        if residual <= 10 * tol:
            return ()
        if settle is not None and residual <= settle:
            return ("adjoint_inexact",)
        text = (
            f"the {self.system.name} system of the gradient has a relative residual of {residual:.1e} after "
            f"{iteration.products} products, above the tolerance {tol:.0e}"
        )
        singular = iteration.outcome in ("singular", "negative_curvature", "breakdown")
        advice = iteration.message or "raise max_iter, loosen tol, or solve the forward problem more accurately"
        if on_inexact == "raise":
            raise (SingularAdjointError if singular else AdjointNotConvergedError)(f"{text}: {advice}")
        if on_inexact == "warn":
            warn_caller(f"{text}: {advice}")
        return ("adjoint_not_converged", *((iteration.outcome,) if iteration.outcome else ()))

    def pull_back(self, given: Sequence[Any], solved: Sequence[Any], leaves: Sequence[Parameter]) -> list[Any]:
        """The gradient in each leaf from the solution of the adjoint system."""
        system = self.system
        c, s = like(system.point, "c"), like(system.point, "s")
        adjoint = system.adjoint_state(c, s)
        pulled = full(system.pull_back(adjoint, leaves), leaves)
        return self.evaluate(pulled, [*c, *s], [*given, *solved])


def _wanted(wrt: Any, lowering: Lowering) -> tuple[list[Parameter], tuple[str, ...]]:
    """The parameters meant, by themselves or by name, and a flag where the solution does not depend on one."""
    used = [n for n in walk(*lowering.step, *lowering.readout.values()) if isinstance(n, Parameter)]
    names = {p.name: p for p in used if p.name}
    leaves = []
    for key in wrt if isinstance(wrt, (tuple, list)) else [wrt]:
        leaf = names.get(key) if isinstance(key, str) else key
        if not isinstance(leaf, Parameter):
            known = ", ".join(p.label for p in used) or "none"
            raise ParameterError(
                f"wrt takes Parameters of the energy ({known}); {key!r} is not one. Declare it with oa.Parameter(value)"
            )
        leaves.append(leaf)
    return leaves, () if all(leaf in used for leaf in leaves) else ("unused_parameter",)


def _is_zero(array: Any, lib: Backend) -> bool:
    return not bool(lib.xp.any(array != 0))


def _square(array: Any, lib: Backend) -> float:
    return float(lib.item(lib.xp.sum(lib.xp.abs(array) ** 2)).real)


def _forward_flags(solution: Solution, on_inexact: str) -> tuple[str, ...]:
    if on_inexact not in ON_INEXACT:
        raise ParameterError(f"on_inexact must be one of {ON_INEXACT}, not {on_inexact!r}")
    if solution.status.success:
        return ()
    text = (
        f"the solution ended with {solution.status.name} ({solution.certificate}), so its gradient would be wrong by "
        f"an unknown amount; solve to the tolerance first, or say on_inexact='warn'"
    )
    if on_inexact == "raise":
        raise InexactSolutionError(text)
    if on_inexact == "warn":
        warn_caller(text)
    return ("forward_not_converged",)
