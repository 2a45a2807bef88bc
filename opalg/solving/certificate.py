"""Certificates: numbers that a sceptic can recompute from the definition."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

RESOLUTION = 1e-12  # a relative gap below this is a difference of energies that double precision does not resolve


@dataclass(frozen=True)
class Certificate:
    """What is known about the distance of an iterate from the optimum.

    Attributes
    ----------
    kind : str
        ``"duality gap"``: ``value`` bounds ``E(x) - min E``, relative to the larger of the two values.
        ``"error bound"``: ``value`` bounds ``|x - x*|``, relative to ``|x|``.
        ``"residual"``: ``value`` is the size of what vanishes at a solution; no bound is known.
    value : float
        The absolute number.
    relative : float
        The number that is compared with ``tol``.
    lower_bound : float or None
        With a gap: a number that no value of the energy lies below.
    """

    kind: str
    value: float
    relative: float
    lower_bound: float | None = None

    @property
    def is_bound(self) -> bool:
        """Whether it bounds the distance from the optimum."""
        return self.kind != "residual"

    def __str__(self) -> str:
        return f"{self.kind} {self.value:.3g} (relative {self.relative:.2e})"


def gap_certificate(value: float, dual: float, rounding: float, floor: float) -> Certificate | None:
    """The certificate of an energy and a lower bound; None where the two contradict each other.

    Parameters
    ----------
    value, dual : float
        The energy and the lower bound, without the energy's constant.
    rounding : float
        What rounding can do to their difference; it is added to the gap.
    floor : float
        The least size that the gap is relative to, for energies whose minimum is zero.
    """
    if not (isfinite(value) and isfinite(dual) and isfinite(rounding)):
        return None
    if value - dual < -rounding:
        return None
    gap = max(value - dual, 0.0) + rounding
    return Certificate("duality gap", gap, gap / max(abs(value), abs(dual), floor), dual - rounding)
