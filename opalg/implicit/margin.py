"""How far a point is from a kink: by how much the proxes' arguments may move before another entry is held or freed."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.implicit.active import Inspector

FINEST, COARSEST = 1e-15, 1.0
STEPS = 22  # bisections, which give the margin to five digits
CLOSE = 1e-5  # relative, to which a guess has to be right


def active_margin(inspector: Inspector, v: list[Any], masks: list[Any], u: list[Any]) -> float:
    """The largest relative move of every entry, up and down, that changes no mask; 1 or more counts as 1.

    Entries that are free move in units of the largest prox, held ones in units of the largest ``v - prox(v)``, which
    for l1 are the distance from zero and that of the gradient from its bound.
    """
    lib = inspector.lib
    xp = lib.xp
    units = []
    for place, mask, near in zip(v, masks, u, strict=True):
        free = _largest(xp.abs(near), lib)
        held = _largest(xp.abs(lib.subtract(place, near)), lib)
        free, held = free or held or 1.0, held or free or 1.0
        units.append(lib.add(lib.multiply(mask, free - held), held))

    def changes(amount: float) -> bool:
        for sign in (1.0, -1.0):
            moved = [_away(*parts, sign * amount, lib) for parts in zip(v, u, units, strict=True)]
            if any(bool(xp.any(a != b)) for a, b in zip(inspector.masks(moved), masks, strict=True)):
                return True
        return False

    guess = _guess(v, masks, u, units, lib)
    if FINEST < guess < COARSEST and not changes(guess * (1 - CLOSE)) and changes(guess * (1 + CLOSE)):
        return guess
    return _threshold(changes)


def _guess(v: list[Any], masks: list[Any], u: list[Any], units: list[Any], lib: Any) -> float:
    """The margin of terms such as l1: free entries come to zero, held ones to the pull that a free one has."""
    xp, least = lib.xp, COARSEST
    for place, near, mask, unit in zip(v, u, masks, units, strict=True):
        pull = xp.abs(lib.subtract(place, near))
        bound = _largest(lib.multiply(pull, mask), lib)
        way = xp.where(mask > 0, xp.abs(near), lib.subtract(xp.full_like(pull, bound), pull))
        least = min(least, -_largest(-(way / unit), lib)) if 0 not in way.shape else least
    return least


def _away(place: Any, near: Any, unit: Any, amount: float, lib: Any) -> Any:
    """An entry moved along its own direction, outwards or inwards; complex ones along their phase.

    Where a multiplier pulls, ``v - prox(v)`` is not zero, and inwards it goes no further than half of that beyond zero
    of the prox: else it could come out on the other side of the entries that are held.
    """
    xp = lib.xp
    length, pull = xp.abs(place), xp.abs(lib.subtract(place, near))
    whole = lib.multiply(unit, abs(amount))
    if amount < 0:
        furthest = lib.add(xp.abs(near), lib.multiply(pull, 0.5))
        whole = xp.where(pull > 0, xp.where(whole < furthest, whole, furthest), whole)
    phase = xp.where(length > 0, place / xp.where(length > 0, length, length + 1.0), place * 0 + 1.0)
    return lib.add(place, lib.multiply(phase, lib.multiply(whole, 1.0 if amount > 0 else -1.0)))


def _threshold(changes: Any) -> float:
    if not changes(COARSEST):
        return COARSEST
    if changes(FINEST):
        return 0.0
    low, high = np.log(FINEST), np.log(COARSEST)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        if changes(float(np.exp(middle))):
            high = middle
        else:
            low = middle
    return float(np.exp(low))


def _largest(a: Any, lib: Any) -> float:
    return 0.0 if 0 in a.shape else float(lib.item(lib.xp.max(a)).real)
