"""Whether a point is proven to be the exact minimiser: optimality conditions of a piecewise quadratic energy that hold.

On one piece such an energy is quadratic, so a point whose residual is no more than rounding, and from which no kink is
near, is the minimiser to the condition number times rounding, and its gradient is as exact.
"""

from __future__ import annotations

import numpy as np

from opalg.implicit.active import Inspector
from opalg.implicit.refine import ROUNDING, Linearised
from opalg.methods.problem import Problem, has_constant_hessian

MOVE = 1e-3  # relative to the largest entry: over so much the derivative of a piecewise linear prox stays the same
SAME = {"float64": 1e-10, "float32": 1e-4}


def is_proven(here: Linearised, problem: Problem, inspector: Inspector | None, margin: float | None) -> bool:
    """Whether a point is the exact minimiser but for rounding, by optimality conditions that hold with a margin.

    Parameters
    ----------
    here : Linearised
    problem : Problem
    inspector : Inspector or None
        None where no term is split off.
    margin : float or None
        How far the point is from the next kink; None where there is none.

    Returns
    -------
    bool
        False where anything about it is not known. That the system is not singular is another question
        (`opalg.implicit.uniqueness`).
    """
    lib = here.jacobian.lib
    if not all(map(has_constant_hessian, problem.smooth_terms)) or not here.relative <= ROUNDING * lib.epsilon:
        return False
    if here.active is None or inspector is None:
        return True
    if margin is None or margin <= lib.epsilon or not here.active.by_entries:
        return False
    return all(form == "flat" for form in here.active.forms) or _is_piecewise_linear(here, inspector)


def _is_piecewise_linear(here: Linearised, inspector: Inspector) -> bool:
    """Whether the derivatives of the proxes stay the same, to the last places, where their arguments move a little."""
    assert here.active is not None
    lib, forms = inspector.lib, here.active.forms
    v = here.point[len(here.point) - len(forms) :]
    rng = np.random.default_rng(0)
    moved, ones = [], []
    for place, near in zip(v, here.active.u, strict=True):
        largest = 0.0 if 0 in near.shape else float(lib.item(lib.xp.max(lib.xp.abs(near))).real)
        kind = lib.kind_of(place)
        random = lib.asarray(rng.uniform(-MOVE, MOVE, tuple(place.shape)) * largest, kind)
        moved.append(lib.add(place, random))
        ones.append(lib.asarray(rng.uniform(0.5, 1.5, tuple(place.shape)), kind))
    before, after = inspector.derivatives(v, ones), inspector.derivatives(moved, ones)
    found = inspector.masks(moved)
    for a, b, mask, other, form in zip(before, after, here.active.masks, found, forms, strict=True):
        if form == "hessian":
            return False
        change = lib.multiply(lib.subtract(a, b), lib.multiply(mask, other))
        if 0 not in change.shape and float(lib.item(lib.xp.max(lib.xp.abs(change))).real) > SAME[lib.precision]:
            return False
    return True
