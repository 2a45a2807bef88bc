"""What the solve of an adjoint system means: flags where it fell short, errors where the result would be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opalg.errors import AdjointNotConvergedError, InexactSolutionError, NonFiniteError, SingularAdjointError
from opalg.implicit.arguments import Options
from opalg.implicit.flags import (
    ADJOINT_INEXACT,
    ADJOINT_NOT_CONVERGED,
    BREAKDOWN,
    ILL_CONDITIONED,
    NONFINITE,
    NOT_A_MINIMUM,
    SERIOUS,
    SINGULAR,
    UNSTABLE_FIXED_POINT,
)
from opalg.implicit.gradients import Gradients
from opalg.implicit.linear_solve import Solved
from opalg.implicit.refine import Linearised
from opalg.implicit.spectrum import SpectralReport, spectral_report
from opalg.implicit.system import MapEquation
from opalg.iterations import GMRES
from opalg.solving.solution import warn_caller

SETTLE = 2e-2  # a relative residual that is taken, with a flag, where the caller asked for no tolerance
POOR = {"float64": 1e-10, "float32": 1e-5}


@dataclass(frozen=True)
class Judged:
    """A linear solve with what was noticed."""

    solved: Solved
    flags: tuple[str, ...]
    spectrum: SpectralReport | None

    @property
    def condition(self) -> float:
        """About the condition number of the system, from below; 1 where nothing is known."""
        if self.spectrum is not None:
            return max(self.spectrum.condition, 1.0)
        return self.solved.condition


def judge(here: Linearised, solved: Solved, asked: Options) -> Judged:
    """Judge a solve; raises, warns or flags as the caller asked.

    Raises
    ------
    AdjointNotConvergedError, SingularAdjointError, NonFiniteError
        Where the system was not solved and ``on_inexact`` is ``"raise"`` or ``"polish"``.
    """
    flags: list[str] = []
    spectrum = None
    if isinstance(solved.iteration, GMRES) and isinstance(here.jacobian.equation, MapEquation):
        spectrum = spectral_report(solved.iteration)
        if spectrum.unstable:
            flags.append(UNSTABLE_FIXED_POINT)
        if spectrum.ill_conditioned:
            flags.append(ILL_CONDITIONED)
    elif solved.iteration is not None and not isinstance(solved.iteration, GMRES):
        flags += spectral_flags(solved)
    if solved.negative:
        flags.append(NOT_A_MINIMUM)
    if not asked.per_sample:
        flags += _shortfall(here, solved, asked)
    elif any(solved.sample_outcomes) or not solved.converged:
        flags.append(ADJOINT_NOT_CONVERGED)  # of some sample, whose own flags say so
    return Judged(solved, tuple(flags), spectrum)


def spectral_flags(solved: Solved) -> list[str]:
    """What the Ritz values of a symmetric system say of its condition."""
    assert solved.iteration is not None
    values = np.abs(np.asarray(solved.iteration.ritz_values()))
    if not len(values) or solved.solver == "minres":
        return []
    ratio = min(values.min() / max(values.max(), np.finfo(float).tiny), 1.0 / solved.condition)
    precision = solved.iteration.lib.precision
    return [ILL_CONDITIONED] if ratio < POOR[precision] else []


def _shortfall(here: Linearised, solved: Solved, asked: Options) -> tuple[str, ...]:
    if solved.converged:
        return ()
    if asked.tol is None and solved.relative <= SETTLE and solved.outcome != SINGULAR:
        return (ADJOINT_INEXACT,)
    name = here.jacobian.name
    text = (
        f"the {name} system of the gradient has a relative residual of {solved.relative:.1e} after {solved.products} "
        f"products, above the tolerance {solved.tol:.0e}"
    )
    singular = solved.outcome in (SINGULAR, BREAKDOWN)
    if solved.outcome == NONFINITE:
        raise NonFiniteError(f"{text}: {solved.message}")
    advice = solved.message or "raise max_iter, loosen tol, or solve the forward problem more accurately"
    if singular:
        advice += (
            " The solution is not unique, and the loss depends on which one is meant: add a small strongly convex "
            "term, or say on_inexact='return' for the least-squares adjoint."
        )
    if asked.on_inexact in ("raise", "polish"):
        raise (SingularAdjointError if singular else AdjointNotConvergedError)(f"{text}: {advice}")
    if asked.on_inexact == "warn":
        warn_caller(f"{text}: {advice}")
    return (ADJOINT_NOT_CONVERGED, *((solved.outcome,) if solved.outcome else ()))


def warn_of(flags: tuple[str, ...], asked: Options) -> None:
    """Warn of what a result that carries no flags would keep to itself, unless the caller said not to."""
    serious = [f for f in flags if f in SERIOUS]
    if serious and asked.on_inexact != "return":
        warn_caller(
            f"the change of the solution is less certain than it looks: {', '.join(serious)}; give tol or max_iter, "
            f"solve to a smaller tolerance, or say on_inexact='return'"
        )


def check_accuracy(found: Gradients, asked: Options) -> Gradients:
    """The gradients, where they are as accurate as was asked for; raises InexactSolutionError or warns otherwise."""
    wanted, reached = asked.accuracy_wanted, found.relative_error
    if wanted is None or (reached is not None and reached <= wanted and found.error_kind != "heuristic"):
        return found
    how = "is not known" if reached is None else f"is {reached:.1e} ({found.error_kind})"
    text = (
        f"the relative error of the gradient {how}, and accuracy={wanted:g} was asked for; solve to a smaller tol, or "
        f"let the gradient refine the point (refine=True)"
    )
    if asked.on_inexact in ("raise", "polish"):
        raise InexactSolutionError(text)
    if asked.on_inexact == "warn":
        warn_caller(text)
    return found
