"""What a solve returns."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from opalg.errors import BreakdownError, DivergedError, NonFiniteError, OpalgError, ParameterError
from opalg.solving.certificate import Certificate
from opalg.solving.history import History
from opalg.solving.status import Status


class ConvergenceWarning(UserWarning):
    """A solve ended without reaching its tolerance."""


@dataclass(repr=False)
class Solution:
    """The result of a solve; true where it succeeded.

    Attributes
    ----------
    status : Status
        How the solve ended; ``status.value`` is a sentence.
    value : float or None
        The energy, infinity where a constraint is violated; None where a term has no energy.
    certificate : Certificate
        What is known about the distance from the optimum.
    iterations : int
        Iterations done.
    seconds : float
        Wall-clock time of the loop.
    history : History
        The measurements.
    error_bound : float or None
        A bound on ``|x - x*|`` where one is known.
    method, backend : str
        What solved it, and where.
    sample_statuses : tuple of Status
        How each sample ended, in the order of the flattened axes of samples, where the solve ends them one by one as
        ``oa.fixed_point(..., sample_axes=1)`` does; empty elsewhere. A sample that failed holds its last iterate at
        which the map was finite, and the others do not notice.
    sample_residuals : tuple of float
        What was compared with ``tol`` for each of them.
    """

    variables: tuple[Any, ...]
    points: tuple[Any, ...]
    status: Status
    value: float | None
    certificate: Certificate
    iterations: int
    seconds: float
    history: History
    error_bound: float | None
    method: str
    backend: str
    state: tuple[Any, ...]
    differentiator: Any = field(default=None)
    message: str = ""
    evaluate_terms: Callable[[], dict[Any, float | None]] = dict
    evaluate_residual: Callable[[], float] = float
    sample_statuses: tuple[Status, ...] = ()
    sample_residuals: tuple[float, ...] = ()

    @cached_property
    def residual(self) -> float:
        """The relative size of what vanishes at a solution."""
        return self.evaluate_residual()

    @cached_property
    def term_values(self) -> dict[Any, float | None]:
        """The value of each term, by term of the canonical energy; None for a term without an energy."""
        return self.evaluate_terms()

    @property
    def x(self) -> Any:
        """The minimiser: an array, or a mapping from Variable to array where there are several variables."""
        return self.points[0] if len(self.points) == 1 else dict(zip(self.variables, self.points, strict=True))

    def __getitem__(self, variable: Any) -> Any:
        for known, point in zip(self.variables, self.points, strict=True):
            if known is variable or known.name == variable:
                return point
        raise ParameterError(f"{variable!r} is not a variable of this energy; there are {self.variables!r}")

    def __bool__(self) -> bool:
        return self.status.success

    def vjp(self, cotangent: Any, wrt: Any, side: str | None = None, **options: Any) -> Any:
        """The gradient of ``Re <cotangent, x>`` in parameters, by implicit differentiation.

        Parameters
        ----------
        cotangent : array, mapping from Variable to array, or callable
            The gradient of an outer loss in the solution. A callable ``x -> gradient`` is taken at the refined point,
            and its change enters the estimate of the error.
        wrt : Parameter, name, or sequence of them
            What to differentiate in. ``"x0"`` and ``"step"`` have exactly no influence.
        side : {"right", "left"}, optional
            At a kink: the one-sided derivative in a single real parameter, see `jvp`.
        tol : float, optional
            On the true residual of the adjoint system relative to its right-hand side; by default 1e-10 in double and
            1e-5 in single precision, 1e-6 and 1e-4 where split terms have curvatures, as isotropic total variation has;
            1e-8 and 1e-6 where the gradient of a solve in single precision is computed in double.
        max_iter : int, optional
            Products at most; by default 2000.
        mode : {"exact", "jacobian_free", "phantom", "neumann", "unroll"}
            All but the first are heuristics on the map of the method: no inverse at all, ``terms`` damped steps, a
            series of ``terms`` terms, ``terms`` steps of the map itself from the default start.
        on_inexact : {"raise", "warn", "return", "polish"}
            What to do where the forward or the adjoint solve has not converged; ``"polish"`` first goes on with the
            forward solve.
        refine : bool or "auto"
            Whether to improve the point by Newton steps on the optimality conditions first, and to go on with the
            forward solve where the active set has not settled. ``"auto"`` does so as long as it takes about as many
            products as the solve took iterations, and leaves large pictures with isotropic total variation and the
            like as they are.
        estimate : bool or "bound"
            Whether to estimate the error, for two loose linear solves more; ``"bound"`` certifies it where that is
            possible (strongly convex quadratic energies, with l1 and boxes beside them, in weights and data), and says
            ``"no_bound"`` among the flags elsewhere.
        start : Gradients, optional
            Earlier gradients, whose adjoint starts the solve, with what they kept of theirs.
        recycle : bool or "auto"
            Whether to use what ``start`` kept besides its adjoint, and to keep as much: up to 20 directions of the
            solve and their images, 40 vectors of its unknowns, which make a preconditioner for a system that differs
            little. ``"auto"`` does so where that is no more than 2**19 entries, True always, False never.
        per_sample : bool or int
            Whether to give a gradient, a residual and flags for each sample; a number counts the leading batch axes.
        solver : {"auto", "conjugate_gradients", "minres", "gmres"}
            How the linear system is solved.
        debug : bool
            Whether to probe the adjoints of operators and the symmetry of the system first.
        terms, damping : int, float, optional
            Of the modes that are not exact.
        accuracy : float, optional
            The relative error, as estimated, beyond which the gradient counts as inexact.
        precision : {"auto", "float32", "float64"}
            What gradients of a plan in single precision are computed in, before they are rounded to it. ``"auto"``
            takes double where there are no networks, at most 2**17 unknowns and at most 64 MiB of data.

        Returns
        -------
        Gradients
            A mapping from Parameter to array, with residual, error estimate, flags and counts.

        Raises
        ------
        InexactSolutionError
            Where the solution has not converged, or the estimated error exceeds ``accuracy``.
        AdjointNotConvergedError, SingularAdjointError
            Where the adjoint system could not be solved.
        AdjointError
            With ``debug``, where an operator's adjoint or the symmetry of the system fails.
        ShapeError, ParameterError, NonFiniteError
            Where an argument does not fit.
        """
        return self.differentiator.vjp(self, cotangent, wrt, side, **options)

    def jvp(self, directions: Mapping[Any, Any], side: str | None = None, **options: Any) -> Any:
        """The change of the solution when parameters move along directions.

        Parameters
        ----------
        directions : mapping from Parameter (or its name) to array
            The directions.
        side : {"right", "left"}, optional
            At a kink: the change per unit as the parameters move along the directions, or come along them. It takes two
            more solves, a step h to that side, and has an error of order h^2 with h at most the cube root of the
            working precision relative to the parameters; none where the solution is piecewise linear in them.
        **options
            ``tol``, ``max_iter``, ``on_inexact``, ``refine``, ``solver`` and ``precision`` of `vjp`.

        Returns
        -------
        array, or mapping from Variable to array where there are several variables

        Raises
        ------
        InexactSolutionError
            With ``side``, where kinks lie so close to each other that no step is free of them.
        """
        return self.differentiator.jvp(self, directions, side, **options)

    def value_gradient(self, wrt: Any, **options: Any) -> Any:
        """The gradient of the least value of the energy in parameters, which takes no linear solve.

        Parameters
        ----------
        wrt : Parameter, name, or sequence of them
        **options
            ``refine`` of `vjp`.

        Returns
        -------
        Gradients

        Raises
        ------
        UnsupportedError
            Where a term has no energy.

        References
        ----------
        Danskin (1967). The error is that of the solution, to first order, so the solution is refined first.
        """
        return self.differentiator.value_gradient(self, wrt, **options)

    def validity_radius(self, directions: Mapping[Any, Any], **options: Any) -> float:
        """How far parameters may move along directions, in their sense, before another entry is held or freed.

        Parameters
        ----------
        directions : mapping from Parameter (or its name) to array
            The directions.
        **options
            As for `jvp`.

        Returns
        -------
        float
            To first order in the move; infinite where there is no kink, and for maps, whose kinks are not known.
            Difference quotients need steps below it.
        """
        return self.differentiator.validity_radius(self, directions, **options)

    def polish(self, **options: Any) -> Any:
        """The solution improved by Newton steps on its optimality conditions, as gradients do before they start.

        Parameters
        ----------
        **options
            ``solver`` of `vjp`.

        Returns
        -------
        array, or mapping from Variable to array where there are several variables
            The point where the conditions hold best; that of the solution where no step improved it, as for maps that
            are no gradient. Newton's method finds stationary points: for an energy that is not convex it may end at
            another one.
        """
        points = self.differentiator.polish(self, **options)
        return points[0] if len(points) == 1 else dict(zip(self.variables, points, strict=True))

    def second_order(self, cotangent: Any, directions: Mapping[Any, Any], wrt: Any, **options: Any) -> Any:
        """Derivatives of ``sum Re <direction, gradient>``, with the gradients that `vjp` gives for a cotangent.

        Parameters
        ----------
        cotangent : array or mapping from Variable to array
        directions : mapping from Parameter (or its name) to array
            What the gradients are contracted with.
        wrt : Parameter, name, or sequence of them
        **options
            As for `vjp`.

        Returns
        -------
        tuple
            The derivative in the cotangent, which is the change of the solution along the directions, and `Gradients`.
        """
        return self.differentiator.second_order(self, cotangent, directions, wrt, **options)

    def plot(self, axes: Any = None) -> Any:
        """Plot the convergence history (needs matplotlib)."""
        import importlib

        return importlib.import_module("opalg.plotting").plot_history(self.history, axes=axes)

    def __repr__(self) -> str:
        lines = [
            f"Solution: {self.status.name} after {self.iterations} iterations of {self.method} on {self.backend} "
            f"({self.seconds:.2f} s)",
            f"{self._value_text}, {self.certificate}",
            self.status.value,
        ]
        if self.sample_statuses:
            lines.append(self._samples_text)
        return "\n  ".join(lines)

    @property
    def _samples_text(self) -> str:
        counts = Counter(status.name for status in self.sample_statuses)
        return "samples: " + ", ".join(f"{count} {name}" for name, count in counts.items())

    @property
    def _value_text(self) -> str:
        return "no energy is known" if self.value is None else f"value {self.value:.8g}"

    def _repr_html_(self) -> str:
        rows = {
            "status": f"{self.status.name}: {self.status.value}",
            "value": "no energy is known" if self.value is None else f"{self.value:.8g}",
            "certificate": str(self.certificate),
            "iterations": f"{self.iterations} of {self.method} on {self.backend}, {self.seconds:.2f} s",
        }
        if self.sample_statuses:
            rows["samples"] = self._samples_text.removeprefix("samples: ")
        cells = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{v}</td></tr>" for k, v in rows.items())
        return f"<table>{cells}</table>"


POLICIES = ("raise", "warn", "return")


def deliver(solution: Solution, on_failure: str | None) -> Solution:
    """Hand a solution out as the policy says: raise or warn where the solve failed.

    The default raises on NONFINITE, DIVERGED and BREAKDOWN and warns on every other failure.
    """
    if solution.status.success or on_failure == "return":
        return solution
    text = f"{solution.method} ended with {solution.status.name}: {solution.status.value} ({solution.certificate})"
    if solution.message:
        text += f"; {solution.message}"
    severe = solution.status in (Status.NONFINITE, Status.DIVERGED, Status.BREAKDOWN)
    if on_failure == "raise" or (on_failure is None and severe):
        kinds: dict[Status, type[OpalgError]] = {Status.NONFINITE: NonFiniteError, Status.DIVERGED: DivergedError}
        error = kinds.get(solution.status, BreakdownError)(text)
        error.solution = solution
        raise error
    if solution.status is not Status.STOPPED:
        warn_caller(text)
    return solution


def warn_caller(text: str) -> None:
    """Warn of a solve that fell short, at the line outside of opalg that asked for it."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "opalg":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ConvergenceWarning, stacklevel=level)
