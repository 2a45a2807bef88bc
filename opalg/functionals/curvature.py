"""What can be proved about a scalar function of one real variable: smooth, convex, how curved. Done with sympy.

The line is cut where the formula changes its piece; on each piece the second derivative takes its extremes at zeros of
the third derivative or in the limits at the ends. What sympy does not settle stays unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from opalg.facts import NO, UNKNOWN, YES, Fact

_SIZE_LIMIT = 60  # operations; beyond this sympy may take very long, and nothing is tried


@dataclass(frozen=True)
class ScalarFacts:
    """What is known about a function of one real variable.

    Attributes
    ----------
    smooth, convex, quadratic : Fact
        Differentiable on its domain; convex; a polynomial of degree two at most.
    highest : sympy expression or None
        An upper bound of ``|phi''|``.
    lowest : sympy expression or None
        A lower bound of ``phi'' >= 0``.
    sharp : bool
        Whether these bounds are attained or approached.
    """

    smooth: Fact = UNKNOWN
    convex: Fact = UNKNOWN
    quadratic: Fact = UNKNOWN
    highest: Any = None
    lowest: Any = None
    sharp: bool = True


@dataclass(frozen=True)
class _Piece:
    """One formula between two ends."""

    formula: Any
    lower: Any
    upper: Any


@dataclass(frozen=True)
class _Curvatures:
    """Values among which the extremes of the second derivative are; some may lie outside the domain if not sharp."""

    values: tuple[Any, ...]
    sharp: bool


def analyse(formula: Any, symbol: Any, lower: Any, upper: Any, even: bool) -> ScalarFacts:
    """What can be proved about ``formula`` as a function of ``symbol`` between two ends.

    Parameters
    ----------
    formula : sympy expression
        Its other symbols are parameters, with the assumptions they carry.
    symbol : sympy symbol
        Real.
    lower, upper : sympy numbers
        The ends of the domain, perhaps infinite.
    even : bool
        Whether the function is even and its domain symmetric, so that half the line is enough.
    """
    import sympy

    if sympy.count_ops(formula) > _SIZE_LIMIT:
        return ScalarFacts()
    lower = sympy.S.Zero if even else lower
    if lower.is_nonnegative:
        on_half = sympy.Dummy(symbol.name, nonnegative=True) if even else sympy.Dummy(symbol.name, positive=True)
        formula, symbol = formula.xreplace({symbol: on_half}), on_half
    pieces = _pieces(formula, symbol, lower, upper)
    if pieces is None or not all(is_analytic(piece.formula, symbol) for piece in pieces):
        return ScalarFacts()
    jumps = _slope_jumps(pieces, symbol, even)
    if jumps is None:
        return ScalarFacts()
    smooth = YES if all(jump == 0 for jump in jumps) else NO if any(j.is_zero is False for j in jumps) else UNKNOWN
    curvatures = _curvatures(pieces, symbol)
    convex, highest, lowest = _conclude(jumps, smooth, curvatures)
    return ScalarFacts(
        smooth, convex, _quadratic(pieces, symbol, smooth), highest, lowest, curvatures is None or curvatures.sharp
    )


def _quadratic(pieces: list[_Piece], symbol: Any, smooth: Fact) -> Fact:
    if len(pieces) > 1 or smooth is not YES:
        return UNKNOWN
    (piece,) = pieces
    return YES if piece.formula.is_polynomial(symbol) and piece.formula.diff(symbol, 3).expand() == 0 else NO


def _conclude(jumps: list[Any], smooth: Fact, curvatures: _Curvatures | None) -> tuple[Fact, Any, Any]:
    """Convexity, and bounds of the second derivative from above and below."""
    import sympy

    if any(jump.is_negative for jump in jumps):
        return NO, None, None
    if curvatures is None:
        return UNKNOWN, None, None
    values = curvatures.values
    bounded = smooth is YES and all(value.is_finite for value in values)
    highest = sympy.Max(*(sympy.Abs(value) for value in values)) if bounded else None
    if all(value.is_nonnegative or value == sympy.oo for value in values):
        convex = YES if all(jump.is_nonnegative for jump in jumps) else UNKNOWN
        lowest = sympy.Min(*values) if convex is YES else None
        return convex, highest, lowest if lowest is not None and lowest.is_finite else None
    certain = curvatures.sharp and any(value.is_negative for value in values)
    return NO if certain else UNKNOWN, highest, None


def is_analytic(formula: Any, symbol: Any) -> bool:
    """Whether a formula is proved to have derivatives of all orders for every value that its symbol may take."""
    import sympy

    if symbol not in formula.free_symbols or formula == symbol:
        return True
    if not all(is_analytic(a, symbol) for a in formula.args):
        return False
    if (
        formula.is_Add
        or formula.is_Mul
        or isinstance(formula, (sympy.exp, sympy.sin, sympy.cos, sympy.tanh, sympy.cosh, sympy.sinh, sympy.atan))
    ):
        return True
    if isinstance(formula, sympy.log):
        return formula.args[0].is_positive is True
    if formula.is_Pow:
        base, exponent = formula.args
        if exponent.is_Integer:
            return bool(exponent >= 0) or base.is_nonzero is True
        return base.is_positive is True
    return False


def _pieces(formula: Any, symbol: Any, lower: Any, upper: Any) -> list[_Piece] | None:
    """The formula cut where Abs, Max, Min, sign or Piecewise change; None where that is not settled."""
    import sympy

    if not formula.has(sympy.Abs, sympy.sign, sympy.Max, sympy.Min, sympy.Piecewise, sympy.Heaviside):
        return [_Piece(formula, lower, upper)]
    cut = sympy.piecewise_fold(formula.rewrite(sympy.Piecewise))
    if not isinstance(cut, sympy.Piecewise):
        return None
    ends = _ends(cut, symbol, lower, upper)
    if ends is None:
        return None
    pieces = []
    for begin, end in pairwise(ends):
        found = _piece_at(cut, symbol, _between(begin, end))
        if found is None:
            return None
        pieces.append(_Piece(found, begin, end))
    return pieces


def _ends(cut: Any, symbol: Any, lower: Any, upper: Any) -> list[Any] | None:
    """The ends of the pieces in increasing order."""
    import sympy

    found = {lower, upper}
    for relation in cut.atoms(sympy.core.relational.Relational):
        try:
            found.update(sympy.solve(relation.lhs - relation.rhs, symbol))
        except NotImplementedError:
            return None
    ends: list[Any] = []
    for end in found:
        if end not in (lower, upper) and ((end - lower).is_extended_negative or (upper - end).is_extended_negative):
            continue
        place = 0
        while place < len(ends) and (end - ends[place]).is_extended_positive:
            place += 1
        if place < len(ends) and not (ends[place] - end).is_extended_positive:
            return None
        ends.insert(place, end)
    return ends


def _between(begin: Any, end: Any) -> Any:
    """A point strictly between two ends."""
    import sympy

    if begin.is_infinite and end.is_infinite:
        return sympy.S.Zero
    if begin.is_infinite:
        return end - 1
    return begin + 1 if end.is_infinite else (begin + end) / 2


def _piece_at(cut: Any, symbol: Any, place: Any) -> Any:
    """The formula that a Piecewise takes at a point; None where its conditions are not settled there."""
    import sympy

    for formula, condition in cut.args:
        holds = condition.subs(symbol, place)
        if holds == sympy.true:
            return formula
        if holds != sympy.false:
            return None
    return None


def _slope_jumps(pieces: list[_Piece], symbol: Any, even: bool) -> list[Any] | None:
    """By how much the derivative jumps between pieces; None where the function itself jumps, or may."""
    import sympy

    jumps = []
    for left, right in pairwise(pieces):
        step = sympy.simplify((right.formula - left.formula).subs(symbol, right.lower))
        if step != 0:
            return None
        slopes = sympy.simplify((right.formula - left.formula).diff(symbol).subs(symbol, right.lower))
        jumps.append(slopes)
    if even:
        jumps.append(sympy.simplify(2 * pieces[0].formula.diff(symbol).subs(symbol, 0)))
    return jumps


def _curvatures(pieces: list[_Piece], symbol: Any) -> _Curvatures | None:
    """The second derivative at its critical points and at the ends of the pieces; None where they are not all found."""
    values: list[Any] = []
    sharp = True
    for piece in pieces:
        found = _curvatures_of(piece, symbol)
        if found is None:
            return None
        values.extend(found.values)
        sharp = sharp and found.sharp
    return _Curvatures(tuple(values), sharp)


def _curvatures_of(piece: _Piece, symbol: Any) -> _Curvatures | None:
    import sympy
    from sympy.core.function import PoleError

    second = sympy.simplify(piece.formula.diff(symbol, 2))
    third = sympy.factor(sympy.together(sympy.simplify(second.diff(symbol))))
    real = sympy.Dummy("t", real=True)
    try:
        places = sympy.solveset(third.xreplace({symbol: real}), real, sympy.S.Reals) if third != 0 else sympy.S.EmptySet
        values = [sympy.limit(second, symbol, piece.lower, "+"), sympy.limit(second, symbol, piece.upper, "-")]
    except (NotImplementedError, PoleError):
        return None
    if not isinstance(places, (sympy.FiniteSet, sympy.sets.sets.EmptySet)):
        return None
    sharp = True
    for place in places:
        inside, outside = _lies_inside(place, piece)
        if not outside:
            values.append(sympy.simplify(second.subs(symbol, place)))
            sharp = sharp and inside
    if any(not value.is_extended_real or isinstance(value, sympy.AccumBounds) for value in values):
        return None
    return _Curvatures(tuple(values), sharp)


def _lies_inside(place: Any, piece: _Piece) -> tuple[bool, bool]:
    """Whether a point is known to lie in a piece, and whether it is known not to."""
    gaps = [place - piece.lower, piece.upper - place]
    return all(bool(gap.is_extended_nonnegative) for gap in gaps), any(bool(gap.is_extended_negative) for gap in gaps)


__all__ = ["ScalarFacts", "analyse", "is_analytic"]
