"""How a solve can end, each with a sentence that says what it means and what to try."""

from __future__ import annotations

import enum


class Status(enum.Enum):
    """The outcome of a solve; success are the first four."""

    CONVERGED = "the certificate is below the tolerance"
    CONVERGED_RESIDUAL_ONLY = (
        "the residual of the iteration is below the tolerance; no bound on the distance to the optimum is known here"
    )
    STATIONARY = "the energy is not convex; the point is stationary to the tolerance, not known to be a minimiser"
    SAMPLED = (
        "the iterations that were asked for were done; they look at samples of the data, so no residual tells how far "
        "the point is from the solution"
    )
    MAX_ITER = "the iterations ran out; raise max_iter, loosen tol, or try another method"
    TIME_LIMIT = "the time limit was reached; raise time_limit or loosen tol"
    STAGNATED = "progress stopped at the limit of the working precision; use dtype=float64 or loosen tol"
    DIVERGED = "the iterates grew without bound; the energy may be unbounded below, or a step too long"
    NONFINITE = "NaN or infinity appeared; the solution holds the last finite iterate"
    INTERRUPTED = "the solve was interrupted; the solution holds the last iterate"
    STOPPED = "the callback stopped the solve; the solution holds the last iterate"
    BREAKDOWN = "the iteration broke down"

    @property
    def success(self) -> bool:
        """Whether the solve reached what was asked for."""
        return self in (Status.CONVERGED, Status.CONVERGED_RESIDUAL_ONLY, Status.STATIONARY, Status.SAMPLED)

    def __repr__(self) -> str:
        return self.name


# The value of a status is its sentence; its name is what prints.
