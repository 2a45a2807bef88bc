"""What the adjoint solve of a fixed point learns about the spectrum of the map's Jacobian."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np

from opalg.iterations import GMRES
from opalg.iterations.ritz import orthonormalising, projected_pairs

CONVERGED = 0.1  # a Ritz value whose error is estimated below this times the largest stands for an eigenvalue
OUTSIDE = 1e-6  # how far beyond the unit circle, and from 1, an eigenvalue must lie to be called unstable


@dataclass(frozen=True, repr=False)
class SpectralReport:
    """Estimates of the eigenvalues of a Jacobian J at a fixed point, from Ritz values of ``I - J^T``.

    Attributes
    ----------
    values : array, complex
        Estimated eigenvalues of J, in order of the real parts of ``1 - value``. They are Ritz values: those at the
        outer edges of the spectrum are good first, those inside may be far from any eigenvalue.
    errors : array
        For each value a first-order estimate of its distance from an eigenvalue: the residual of its Ritz vector times
        the condition of the Ritz value.
    condition : float
        A lower estimate of the condition number of ``I - J^T`` (a lower bound up to rounding); infinite where it was
        found to be singular.
    precision : float
        The spacing of 1 at the working precision.
    """

    values: np.ndarray
    errors: np.ndarray
    condition: float
    precision: float = field(default=2.0**-52)

    @property
    def converged(self) -> np.ndarray:
        """For each value, whether it is estimated to be close to an eigenvalue."""
        if not len(self.values):
            return np.zeros(0, dtype=bool)
        return self.errors <= CONVERGED * max(float(np.abs(1 - self.values).max()), 1.0)

    @property
    def radius(self) -> float:
        """The largest magnitude of a value, 0 without values; above the truth at times where J is far from normal."""
        return float(np.abs(self.values).max()) if len(self.values) else 0.0

    @property
    def distance_to_one(self) -> float:
        """The least distance of a value from 1, where ``I - J`` is singular; infinite without values."""
        return float(np.abs(1 - self.values).min()) if len(self.values) else inf

    @property
    def unstable(self) -> bool:
        """Whether an eigenvalue was found outside of the unit disc, by more than its error, with 1 in no reach."""
        beyond = np.abs(self.values) - self.errors > 1 + OUTSIDE
        return bool(np.any(self.converged & beyond)) and self.distance_to_one > OUTSIDE

    @property
    def ill_conditioned(self) -> bool:
        """Whether the condition leaves less than half of the digits of the working precision."""
        return self.condition * self.precision**0.5 > 1.0

    def __repr__(self) -> str:
        if not len(self.values):
            return "SpectralReport: no product was taken, so nothing is known of the spectrum"
        count = int(self.converged.sum())
        how = "the fixed point is unstable: plain iteration leaves it" if self.unstable else "no value is unstable"
        if self.ill_conditioned:
            how += "; an eigenvalue is so close to 1 that half of the digits or more are lost"
        return (
            f"SpectralReport: spectral radius about {self.radius:.4g}, nearest eigenvalue to 1 at a distance of about "
            f"{self.distance_to_one:.2e}, condition at least {self.condition:.2e}; {how} (Ritz estimates, {count} of "
            f"{len(self.values)} converged)"
        )


def spectral_report(iteration: GMRES) -> SpectralReport:
    """The report of a GMRES run on ``I - J^T``, at no product more.

    Parameters
    ----------
    iteration : GMRES
        As far as it went. Without a preconditioner the longer of its two latest cycles is used; with one, the cycle it
        is in, at an application of the preconditioner for each product of that cycle.

    Returns
    -------
    SpectralReport
        Empty where the run has taken no product, or stands at the start of a cycle of a preconditioned run.

    References
    ----------
    Saad and Schultz (1986); Saad (2011), Proposition 6.8 for the residuals and section 4.3.1 for other bases.
    """
    if iteration.precondition is None:
        rectangle = iteration.hessenberg()
        ritz, residuals, conditions = iteration.ritz_pairs()
        gram = np.eye(len(ritz))
    else:
        rectangle, cross, gram = iteration.preconditioned_basis()
        ritz, residuals, conditions = projected_pairs(rectangle, cross, gram)
    condition = inf if iteration.outcome == "singular" else _condition(rectangle, gram)
    return SpectralReport(1 - ritz, residuals * conditions, condition, iteration.lib.epsilon)


def _condition(rectangle: np.ndarray, gram: np.ndarray) -> float:
    """The largest over the least ``|A Z y| / |Z y|``, where ``A Z = V H`` and ``gram = Z.T Z``; 1 without columns."""
    if not len(gram):
        return 1.0
    singular = np.linalg.svd(rectangle @ orthonormalising(gram), compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0.0 else inf
