"""How far parameters may move along a direction before another entry is held or freed, to first order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.implicit.active import Inspector
from opalg.implicit.expressions import like
from opalg.nodes import substitute
from opalg.program.expression import Expression, Input

FINEST = 1e-12  # of the longest move that is looked at
STEPS = 60  # bisections
LONGEST = 1e3  # times the move that changes the arguments of the proxes by their own size


def validity_radius(
    inspector: Inspector, v: list[Any], rate: list[Any], leaves: Sequence[Any], directions: list[Any], scale: float
) -> float:
    """The largest h for which no mask changes as v and the parameters move by ``h`` times their rates.

    Parameters
    ----------
    inspector : Inspector
    v, rate : list of array
        The arguments of the proxes, and how they move.
    leaves, directions : sequence
        The parameters and their directions; thresholds and bounds move with them.
    scale : float
        A natural length of h.
    """
    lib, split = inspector.lib, inspector.equation.split
    h = Input("h", (), "real")
    d, t = like([s.v for s in split], "d"), like(leaves, "t")

    def recipe() -> tuple[list[Expression], Sequence[Input]]:
        moved = {leaf: leaf + h * along for leaf, along in zip(leaves, t, strict=True)}
        at = {s.v: s.v + h * r for s, r in zip(split, like([s.v for s in split], "r"), strict=True)}
        outputs = [substitute(e, {**moved, **at}) for e in inspector.equation.derivatives(d)]
        return outputs, [*(s.v for s in split), *like([s.v for s in split], "r"), *d, *t, h]

    def masks(amount: float) -> list[Any]:
        number = lib.asarray(amount, "real")
        found = inspector.programs(
            ("derivatives along", tuple(leaves)), recipe, *v, *rate, *inspector.directions, *directions, number
        )
        return [lib.xp.abs(m) > inspector.smallest for m in found]

    here = masks(0.0)

    def changes(amount: float) -> bool:
        return any(bool(lib.xp.any(a != b)) for a, b in zip(masks(amount), here, strict=True))

    longest = LONGEST * scale
    low, high = np.log(FINEST * scale), np.log(longest)
    steps = [float(np.exp(low + (high - low) * k / 40)) for k in range(41)]
    last = next((k for k, amount in enumerate(steps) if changes(amount)), None)
    if last is None:
        return float("inf")
    if last == 0:
        return 0.0
    lower, upper = steps[last - 1], steps[last]
    for _ in range(STEPS):
        middle = 0.5 * (lower + upper)
        lower, upper = (lower, middle) if changes(middle) else (middle, upper)
    return lower
