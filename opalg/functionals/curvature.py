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
class Piece:
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
    found = cut(formula, symbol, lower, upper, even)
    if found is None:
        return ScalarFacts()
    pieces, jumps = found.pieces, found.jumps
    smooth = YES if all(jump == 0 for jump in jumps) else NO if any(j.is_zero is False for j in jumps) else UNKNOWN
    curvatures = _curvatures(found)
    convex, highest, lowest = _conclude(jumps, smooth, curvatures)
    quadratic = _quadratic(pieces, found.symbol, smooth)
    return ScalarFacts(smooth, convex, quadratic, highest, lowest, curvatures is None or curvatures.sharp)


@dataclass(frozen=True)
class Cut:
    """A function cut into pieces that have all derivatives inside.

    Attributes
    ----------
    pieces : list of Piece
        In increasing order; for even functions those of half the line.
    jumps : list
        By how much the slope jumps at the inner ends, and for even functions at zero, last.
    symbol : sympy symbol
        The variable of the pieces.
    even : bool
        Whether the other half of the line mirrors these pieces.
    """

    pieces: list[Piece]
    jumps: list[Any]
    symbol: Any
    even: bool


def cut(formula: Any, symbol: Any, lower: Any, upper: Any, even: bool) -> Cut | None:
    """A function cut into analytic pieces; None where sympy does not settle where they lie, or that it is continuous.

    The arguments are those of `analyse`.
    """
    import sympy

    if sympy.count_ops(formula) > _SIZE_LIMIT:
        return None
    lower = sympy.S.Zero if even else lower
    for sign in _signs_on(lower, even, formula, symbol):
        place = sympy.Dummy(symbol.name, **sign) if sign else symbol
        pieces = _pieces(formula.xreplace({symbol: place}), place, lower, upper)
        if pieces is not None and all(
            is_analytic(piece.formula, place, (piece.lower, piece.upper)) for piece in pieces
        ):
            jumps = _slope_jumps(pieces, place, even)
            return None if jumps is None else Cut(pieces, jumps, place, even)
    return None


def _signs_on(lower: Any, even: bool, formula: Any, symbol: Any) -> list[dict[str, bool]]:
    """What to assume of the variable to the right of an end, the assumption that proves most first."""
    if not lower.is_nonnegative:
        return [{}]
    if not even:
        return [{"positive": True}]
    # limits at zero are those of generic parameters: without analyticity there, none of them may vanish
    sure = all(s.is_positive for s in formula.free_symbols - {symbol})
    return [{"nonnegative": True}, *([{"positive": True}] if sure else [])]


def _quadratic(pieces: list[Piece], symbol: Any, smooth: Fact) -> Fact:
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
    certain = curvatures.sharp and any(value.is_extended_negative for value in values)
    return NO if certain else UNKNOWN, highest, None


def is_analytic(formula: Any, symbol: Any, between: tuple[Any, Any] | None = None) -> bool:
    """Whether a formula is proved to have derivatives of all orders for every value that its symbol may take.

    ``between`` are the ends of an open interval to which the symbol is restricted, where its assumptions say less.
    """
    import sympy

    if symbol not in formula.free_symbols or formula == symbol:
        return True
    if not all(is_analytic(a, symbol, between) for a in formula.args):
        return False
    if (
        formula.is_Add
        or formula.is_Mul
        or isinstance(formula, (sympy.exp, sympy.sin, sympy.cos, sympy.tanh, sympy.cosh, sympy.sinh, sympy.atan))
    ):
        return True
    if isinstance(formula, sympy.log):
        return _is_positive(formula.args[0], symbol, between)
    if formula.is_Pow:
        base, exponent = formula.args
        if exponent.is_Integer and (exponent >= 0 or base.is_nonzero is True):
            return True
        return _is_positive(base, symbol, between)
    return False


def _is_positive(formula: Any, symbol: Any, between: tuple[Any, Any] | None) -> bool:
    """Whether a formula is proved to be positive; affine ones are where they are at both ends of an open interval."""
    import sympy

    if formula.is_positive:
        return True
    if between is None or not formula.is_polynomial(symbol) or sympy.degree(formula, symbol) != 1:
        return False
    values = [formula.subs(symbol, end) for end in between]
    return all(value.is_extended_nonnegative for value in values) and any(v.is_extended_positive for v in values)


def _pieces(formula: Any, symbol: Any, lower: Any, upper: Any) -> list[Piece] | None:
    """The formula cut where Abs, Max, Min, sign or Piecewise change; None where that is not settled."""
    import sympy

    if not formula.has(sympy.Abs, sympy.sign, sympy.Max, sympy.Min, sympy.Piecewise, sympy.Heaviside):
        return [Piece(formula, lower, upper)]
    folded = sympy.piecewise_fold(formula.rewrite(sympy.Piecewise))
    if not isinstance(folded, sympy.Piecewise):
        return None
    ends = _ends(folded, symbol, lower, upper)
    if ends is None:
        return None
    pieces = []
    for begin, end in pairwise(ends):
        found = _piece_at(folded, symbol, _between(begin, end))
        if found is None:
            return None
        pieces.append(Piece(found, begin, end))
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
        holds = _decided(condition.subs(symbol, place))
        if holds == sympy.true:
            return formula
        if holds != sympy.false:
            return None
    return None


def _decided(condition: Any) -> Any:
    """A condition with its comparisons decided by the signs of differences, where these are known."""
    import sympy

    known = {}
    for relation in condition.atoms(sympy.core.relational.Relational):
        gap = sympy.factor(relation.lhs - relation.rhs)
        strict, loose = (gap.is_positive, gap.is_nonnegative)
        if isinstance(relation, (sympy.StrictLessThan, sympy.LessThan)):
            strict, loose = gap.is_negative, gap.is_nonpositive
        decided = strict if isinstance(relation, (sympy.StrictLessThan, sympy.StrictGreaterThan)) else loose
        if decided is not None and not isinstance(relation, (sympy.Equality, sympy.Unequality)):
            known[relation] = sympy.true if decided else sympy.false
    return condition.xreplace(known)


def _slope_jumps(pieces: list[Piece], symbol: Any, even: bool) -> list[Any] | None:
    """By how much the derivative jumps between pieces; None where the function itself jumps, or may."""
    import sympy

    jumps = []
    for left, right in pairwise(pieces):
        step = _at_end(right.formula - left.formula, symbol, right.lower, "+")
        if step is None or sympy.simplify(step) != 0:
            return None
        slopes = _at_end((right.formula - left.formula).diff(symbol), symbol, right.lower, "+")
        if slopes is None:
            return None
        jumps.append(sympy.simplify(slopes))
    if even:
        slope = _at_end(pieces[0].formula.diff(symbol), symbol, pieces[0].lower, "+")
        if slope is None:
            return None
        jumps.append(sympy.simplify(2 * slope))
    return jumps


def _at_end(formula: Any, symbol: Any, place: Any, side: str) -> Any:
    """The value at an end of a piece, by a limit where the formula itself says nothing; None where that fails."""
    import sympy

    if place.is_finite:
        value = formula.subs(symbol, place)
        if value.is_finite:
            return value
    return limit(formula, symbol, place, side) if isinstance(place, (sympy.Number, sympy.Symbol)) else None


def limit(formula: Any, symbol: Any, place: Any, side: str) -> Any:
    """The limit of a formula from one side, perhaps infinite; None where sympy finds none."""
    import sympy
    from sympy.core.function import PoleError

    if not formula.has(symbol):
        return formula
    try:
        found = sympy.limit(formula, symbol, place, side)
    except (NotImplementedError, PoleError, ValueError, TypeError):
        return None
    if isinstance(found, (sympy.AccumBounds, sympy.Limit)) or not found.is_extended_real:
        return None
    return found


def _curvatures(cut: Cut) -> _Curvatures | None:
    """The second derivative at its critical points and at the ends of the pieces; None where they are not all found."""
    import sympy

    values: list[Any] = []
    sharp = True
    for piece in cut.pieces:
        second = sympy.simplify(piece.formula.diff(cut.symbol, 2))
        places = critical_points(second, cut.symbol, piece)
        ends = limit(second, cut.symbol, piece.lower, "+"), limit(second, cut.symbol, piece.upper, "-")
        if places is None or None in ends:
            return None
        inner = [(sympy.simplify(second.subs(cut.symbol, place)), inside) for place, inside in places]
        if any(not value.is_extended_real for value, _ in inner):
            return None
        values += [*ends, *(value for value, _ in inner)]
        sharp = sharp and all(inside for _, inside in inner)
    return _Curvatures(tuple(values), sharp)


def critical_points(second: Any, symbol: Any, piece: Piece) -> list[tuple[Any, bool]] | None:
    """Where the derivative of a second derivative vanishes in a piece, and whether the place is known to lie there."""
    import sympy

    third = sympy.factor(sympy.together(sympy.simplify(second.diff(symbol))))
    if third == 0:
        return []
    real = sympy.Dummy("t", real=True)
    try:
        places = sympy.solveset(third.xreplace({symbol: real}), real, sympy.S.Reals)
    except (NotImplementedError, ValueError, TypeError):
        return None
    if not isinstance(places, (sympy.FiniteSet, sympy.sets.sets.EmptySet)):
        return None
    known = [(place, *_lies_inside(place, piece)) for place in places]
    return [(place, inside) for place, inside, outside in known if not outside]


def _lies_inside(place: Any, piece: Piece) -> tuple[bool, bool]:
    """Whether a point is known to lie in a piece, and whether it is known not to."""
    gaps = [place - piece.lower, piece.upper - place]
    return all(bool(gap.is_extended_nonnegative) for gap in gaps), any(bool(gap.is_extended_negative) for gap in gaps)


__all__ = ["Cut", "Piece", "ScalarFacts", "analyse", "critical_points", "cut", "is_analytic", "limit"]
