"""What a solve returns."""

from __future__ import annotations

import sys
import warnings
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

    def vjp(self, cotangent: Any, wrt: Any, **options: Any) -> Any:
        """The gradient of ``Re <cotangent, x>`` in parameters, by implicit differentiation.

        Parameters
        ----------
        cotangent : array, or mapping from Variable to array
            The gradient of an outer loss in the solution.
        wrt : Parameter or sequence of Parameter
            What to differentiate in.
        **options
            ``tol``, ``max_iter``, ``on_inexact``; see `opalg.implicit.Differentiator.vjp`.

        Returns
        -------
        Gradients
            A mapping from Parameter to array.
        """
        return self.differentiator.vjp(self, cotangent, wrt, **options)

    def jvp(self, directions: Mapping[Any, Any], **options: Any) -> Any:
        """The change of the solution when parameters move along directions.

        Parameters
        ----------
        directions : mapping from Parameter to array
            The directions.

        Returns
        -------
        array, or mapping from Variable to array where there are several variables
        """
        return self.differentiator.jvp(self, directions, **options)

    def plot(self, axes: Any = None) -> Any:
        """Plot the convergence history (needs matplotlib)."""
        import importlib

        return importlib.import_module("opalg.plotting").plot_history(self.history, axes=axes)

    def __repr__(self) -> str:
        return (
            f"Solution: {self.status.name} after {self.iterations} iterations of {self.method} on {self.backend} "
            f"({self.seconds:.2f} s)\n  {self._value_text}, {self.certificate}\n  {self.status.value}"
        )

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
