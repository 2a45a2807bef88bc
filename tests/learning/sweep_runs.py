"""What sweeps run in other processes: functions of a module, which can be pickled."""

from __future__ import annotations

import os
from typing import Any


def distance(tau: float, target: float) -> dict[str, Any]:
    """A figure, or an error where tau is negative."""
    if tau < 0:
        raise ValueError("a negative step")
    return {"loss": (tau - target) ** 2}


def dying(n: int) -> dict[str, Any]:
    """A figure, or the end of the process where n is 2."""
    if n == 2:
        os._exit(1)
    return {"loss": n}
