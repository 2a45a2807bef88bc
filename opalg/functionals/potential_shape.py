"""The shape of a scalar function cut into pieces: kinks, turning points of its curvature, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from opalg.facts import NO, UNKNOWN, YES, Fact
from opalg.functionals.curvature import Cut, Piece, critical_points, limit


def whole(cut: Cut, symbol: Any) -> list[Piece]:
    """The pieces on the whole line in a given symbol, those of even functions with their mirror images."""
    right = [Piece(p.formula.xreplace({cut.symbol: symbol}), p.lower, p.upper) for p in cut.pieces]
    if not cut.even:
        return right
    left = [Piece(p.formula.xreplace({symbol: -symbol}), -p.upper, -p.lower) for p in reversed(right)]
    if cut.jumps[-1] == 0 and _is_even_polynomial(right[0].formula, symbol):
        middle = Piece(right[0].formula, -right[0].upper, right[0].upper)
        return [*left[:-1], middle, *right[1:]]
    return [*left, *right]


def _is_even_polynomial(formula: Any, symbol: Any) -> bool:
    return bool(formula.is_polynomial(symbol)) and (formula.xreplace({symbol: -symbol}) - formula).expand() == 0


def kinks(cut: Cut) -> tuple[Any, ...]:
    """Where the slope jumps, or is not known not to, in increasing order."""
    places = [right.lower for right in cut.pieces[1:]]
    found = [place for place, jump in zip(places, cut.jumps, strict=False) if jump != 0]
    if not cut.even:
        return tuple(found)
    return (*(-place for place in reversed(found)), *((0,) if cut.jumps[-1] != 0 else ()), *found)


def turns(cut: Cut) -> tuple[Any, ...] | None:
    """The inner points between which the second derivative is monotone, in increasing order; None where not settled."""
    import sympy

    found: list[Any] = []
    for i, piece in enumerate(cut.pieces):
        second = sympy.simplify(piece.formula.diff(cut.symbol, 2))
        inner = critical_points(second, cut.symbol, piece)
        if inner is None or not all(inside for _, inside in inner):
            return None
        places = _ascending([place for place, _ in inner if place not in (piece.lower, piece.upper)])
        if places is None:
            return None
        found += ([piece.lower] if i else []) + places
    return (*(-place for place in reversed(found)), sympy.S.Zero, *found) if cut.even else tuple(found)


def _ascending(places: list[Any]) -> list[Any] | None:
    """Places in increasing order; None where that depends on parameters."""
    out: list[Any] = []
    for place in places:
        at = 0
        while at < len(out) and (place - out[at]).is_positive:
            at += 1
        out.insert(at, place)
    return out if all((b - a).is_positive for a, b in pairwise(out)) else None


@dataclass(frozen=True)
class Ends:
    """How a function ends, in limits at the ends of its domain; None where sympy finds no limit.

    Attributes
    ----------
    values, slopes : pair
        Limits of the function and of its derivative.
    infinite : pair of bool
        Which ends of the domain are infinite.
    borders : pair
        The conjugate at the slopes of infinite ends, perhaps infinite; None where there are none, or not known.
    """

    values: tuple[Any, Any]
    slopes: tuple[Any, Any]
    infinite: tuple[bool, bool]
    borders: tuple[Any, Any] = (None, None)

    @property
    def coercive(self) -> Fact:
        """Whether the function passes every bound towards the infinite ends of its domain."""
        import sympy

        return _all([_settled(v, v == sympy.oo) for v, far in zip(self.values, self.infinite, strict=True) if far])

    @property
    def bounded_below(self) -> Fact:
        """Whether it has a lower bound."""
        import sympy

        return _all([_settled(v, v != -sympy.oo) for v in self.values])

    @property
    def slope_range(self) -> tuple[Any, Any] | None:
        """The slopes of a convex function, those beyond finite ends of its domain included; None where not known."""
        import sympy

        lower = self.slopes[0] if self.infinite[0] else -sympy.oo
        upper = self.slopes[1] if self.infinite[1] else sympy.oo
        return None if lower is None or upper is None else (lower, upper)

    @property
    def excluded(self) -> tuple[bool, bool]:
        """Whether zero is an end of the slopes at which the conjugate is infinite, since the function has no bound."""
        import sympy

        lower, upper = (s == 0 and v == -sympy.oo for s, v in zip(self.slopes, self.values, strict=True))
        return lower, upper


def _settled(value: Any, holds: bool) -> Fact:
    if value is None or not (value.is_finite or value.is_infinite):
        return UNKNOWN
    return YES if holds else NO


def _all(facts: list[Fact]) -> Fact:
    out = YES
    for fact in facts:
        out = out & fact
    return out


def ends(cut: Cut) -> Ends:
    """How a function ends."""
    last = cut.pieces[-1]
    upper = [limit(f, cut.symbol, last.upper, "-") for f in (last.formula, last.formula.diff(cut.symbol))]
    above = _border(last, cut.symbol, last.upper, upper[1], "-")
    if cut.even:
        mirrored = None if upper[1] is None else -upper[1]
        far = bool(last.upper.is_infinite)
        return Ends((upper[0], upper[0]), (mirrored, upper[1]), (far, far), (above, above))
    first = cut.pieces[0]
    lower = [limit(f, cut.symbol, first.lower, "+") for f in (first.formula, first.formula.diff(cut.symbol))]
    below = _border(first, cut.symbol, first.lower, lower[1], "+")
    infinite = bool(first.lower.is_infinite), bool(last.upper.is_infinite)
    return Ends((lower[0], upper[0]), (lower[1], upper[1]), infinite, (below, above))


def _border(piece: Piece, symbol: Any, end: Any, slope: Any, side: str) -> Any:
    """The limit of ``slope u - phi(u)`` at an infinite end; None for lines, for which every formula is right."""
    import sympy

    if slope is None or not slope.is_finite or end.is_finite or piece.formula.is_polynomial(symbol):
        return None
    gap = slope * symbol - piece.formula
    for form in (gap, sympy.logcombine(sympy.expand(gap), force=True)):
        found = limit(form, symbol, end, side)
        if found is not None and (found.is_finite or found.is_infinite):
            return found
    return None


__all__ = ["Ends", "ends", "kinks", "turns", "whole"]
