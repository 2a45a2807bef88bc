"""Certificates: numbers that a sceptic can recompute from the definition."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("duality gap", "error bound", "residual")


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
