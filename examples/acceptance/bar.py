"""One bar: what is measured, how far it has to go, and how far it went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A measured bar.

    Attributes
    ----------
    name : str
        Such as ``"S1.2"``.
    what : str
    measured : float
    least, most : float or None
        The measured number must lie between them.
    note : str
    """

    name: str
    what: str
    measured: float
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the number is on the right side; NaN is on none."""
        above = self.least is None or self.measured >= self.least
        below = self.most is None or self.measured <= self.most
        return bool(above and below and self.measured == self.measured)

    @property
    def threshold(self) -> str:
        """The bar as text."""
        parts = [] if self.least is None else [f">= {self.least:.4g}"]
        return ", ".join(parts + ([] if self.most is None else [f"<= {self.most:.4g}"]))
