"""What sweeps run in other processes: functions of a module, which can be pickled."""

from __future__ import annotations

from typing import Any


def distance(tau: float, target: float) -> dict[str, Any]:
    """A figure, or an error where tau is negative."""
    if tau < 0:
        raise ValueError("a negative step")
    return {"loss": (tau - target) ** 2}
