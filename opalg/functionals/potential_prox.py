"""Closed forms of the prox and of the conjugate of a convex scalar function, where its pieces allow them.

Pieces with affine slopes give affine candidates between thresholds, and kinks give flat parts; as a sum of clipped
lines that costs least. A single piece whose stationarity is a quadratic equation, in u or in its root, gives the root
that does not cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opalg.functionals.curvature import Piece
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal

_SIZE_LIMIT = 30  # operations of a slope that is inverted; larger ones are left to numbers


def affine_prox(pieces: list[Piece], symbol: Any, v: Any, t: Any) -> Any:
    """The prox where every piece has an affine slope; None for others.

    Parameters
    ----------
    pieces : list of Piece
        Of a convex function, in increasing order.
    symbol, v, t : sympy symbols
        The variable of the pieces, the argument of the prox, and its step.
    """
    import sympy

    slopes = _affine_slopes(pieces, symbol)
    if slopes is None:
        return None
    found: Any = None
    for piece, (offset, rate) in zip(pieces, slopes, strict=True):
        candidate = (v - t * offset) / (1 + t * rate) if rate != 0 else v - t * offset
        if found is None:
            found = candidate if piece.lower.is_infinite else sympy.Max(candidate, piece.lower)
            before = offset, rate
            continue
        begin = piece.lower
        jumps = sympy.expand(before[0] + before[1] * begin - offset - rate * begin) != 0
        before = offset, rate
        if begin == 0 and jumps:
            found = sympy.Min(found, 0) + sympy.Max(candidate, 0)
            continue
        held = sympy.Min(found, begin) if jumps else found
        found = sympy.Piecewise((candidate, v > begin + t * (offset + rate * begin)), (held, True))
    return found if pieces[-1].upper.is_infinite else sympy.Min(found, pieces[-1].upper)


def clipped_prox(
    pieces: list[Piece], symbol: Any, v: Expression, step: Any, number: Callable[[Any], Expression]
) -> Expression | None:
    """The prox as a sum of clipped lines where every piece has an affine slope; None for others and for one piece.

    Between kinks and joints ``b_1 < b_2 < ...``, u is the sum of ``min(u, b_1)``, ``clip(u, b_i, b_(i+1)) - b_i`` and
    ``max(u, b_n) - b_n``, where the prox of one piece alone stands for u in each. Where the first and the last piece
    are curved alike, both together are a multiple of ``v - clip(v, ., .)``.

    Parameters
    ----------
    pieces : list of Piece
        Of a convex function, in increasing order; beyond the ends of the domain the outer ones go on.
    symbol, step : sympy symbols
        The variable of the pieces, and the step in what ``number`` is given.
    v : Expression
        The argument.
    number : callable
        Makes an expression of a sympy formula in the step and the parameters.
    """
    slopes = _affine_slopes(pieces, symbol)
    if slopes is None or len(pieces) == 1:
        return None
    lines = _Lines(v, step, number, slopes, [piece.lower for piece in pieces[1:]])
    return lines.alike() if slopes[0][1] == slopes[-1][1] else lines.different()


class _Lines:
    """The proxes of single pieces, and what they give together."""

    def __init__(
        self,
        v: Expression,
        step: Any,
        number: Callable[[Any], Expression],
        slopes: list[tuple[Any, Any]],
        breaks: list[Any],
    ) -> None:
        self.v, self.step, self.number, self.slopes, self.breaks = v, step, number, slopes, breaks

    def alike(self) -> Expression:
        """Where both outer pieces have one rate."""
        v, breaks, number = self.v, self.breaks, self.number
        lower, upper = self._threshold(0, 0), self._threshold(-1, -1)
        if len(breaks) == 1 and self.slopes[0][1] == 0:  # a kink between lines: exact for small v, wherever it is
            place = breaks[0]
            return v - _between(_plus(v, number(-place)), number(lower - place), number(upper - place))
        middle = _between(v, number(lower), number(upper))
        found = self._shrunk(v - middle, 0)
        if len(breaks) == 1:
            return _plus(found, number(breaks[0]))
        if len(breaks) == 2 and self.slopes[1][0] == 0 and self._joined(0) and self._joined(1):
            return found + self._shrunk(middle, 1)
        found = found + self._clipped(1)
        for i in range(2, len(breaks)):
            found = found + _plus(self._clipped(i), number(-breaks[i - 1]))
        return found

    def different(self) -> Expression:
        """Where the outer pieces have different rates."""
        breaks, number = self.breaks, self.number
        found = ex.minimum(self._alone(0), number(breaks[0]))
        for i in range(1, len(breaks)):
            found = found + _plus(self._clipped(i), number(-breaks[i - 1]))
        return found + _plus(ex.maximum(self._alone(len(breaks)), number(breaks[-1])), number(-breaks[-1]))

    def _threshold(self, at: int, piece: int) -> Any:
        """The argument from, or up to, which the prox stays on a break that a piece ends at."""
        offset, rate = self.slopes[piece]
        return self.breaks[at] + self.step * (offset + rate * self.breaks[at])

    def _joined(self, at: int) -> bool:
        """Whether the slope does not jump at a break."""
        import sympy

        return bool(sympy.simplify(self._threshold(at, at) - self._threshold(at, at + 1)) == 0)

    def _shrunk(self, e: Expression, piece: int) -> Expression:
        rate = self.slopes[piece][1]
        return e if rate == 0 else e * self.number(1 / (1 + self.step * rate))

    def _alone(self, piece: int) -> Expression:
        """The prox of a piece as if it were the whole function."""
        return self._shrunk(_plus(self.v, self.number(-self.step * self.slopes[piece][0])), piece)

    def _clipped(self, piece: int) -> Expression:
        lower, upper = self.breaks[piece - 1 : piece + 1]
        return _between(self._alone(piece), self.number(lower), self.number(upper))


def _between(x: Expression, lower: Expression, upper: Expression) -> Expression:
    return ex.maximum(ex.minimum(x, upper), lower)


def _plus(x: Expression, shift: Expression) -> Expression:
    return x if shift == Literal(0.0) else x + shift


def _affine_slopes(pieces: list[Piece], symbol: Any) -> list[tuple[Any, Any]] | None:
    """Value at zero and rate of each slope."""
    import sympy

    found = []
    for piece in pieces:
        slope = sympy.expand(piece.formula.diff(symbol))
        if not slope.is_polynomial(symbol) or sympy.degree(slope, symbol) > 1:
            return None
        rate = slope.coeff(symbol, 1)
        found.append((sympy.factor(slope.coeff(symbol, 0)), sympy.factor(rate)))
    return found


def quadratic_prox(piece: Piece, symbol: Any, even: bool, v: Any, t: Any) -> list[Any]:
    """Candidates for the prox of a function of one piece, or of two mirror images, by roots of a quadratic equation."""
    import sympy

    if not (piece.lower == 0 and piece.upper.is_infinite):
        return []
    size = sympy.Dummy("r", nonnegative=True) if even else v
    slope = piece.formula.diff(symbol)
    first = slope.subs(symbol, 0) if even else sympy.S.Zero
    if not first.is_finite:
        return []
    found = []
    for root in _roots(symbol, slope, size, t):
        inside = root if first == 0 else sympy.Piecewise((root, size > t * first), (0, True))
        found.append(sympy.sign(v) * inside.xreplace({size: sympy.Abs(v)}) if even else inside)
    return found


def _roots(symbol: Any, slope: Any, size: Any, t: Any) -> list[Any]:
    import sympy

    for power in (1, 2):  # in u, and in its square root
        place = sympy.Dummy("w", positive=True)
        equation = sympy.together(sympy.powdenest(slope.subs(symbol, place**power), force=True) * t)
        top, below = (place**power - size + equation).together().as_numer_denom()
        del below
        if not top.is_polynomial(place) or sympy.degree(top, place) != 2:
            continue
        a, b, c = sympy.Poly(top, place).all_coeffs()
        return [root**power for root in _stable_roots(a, b, c)]
    return []


def _stable_roots(a: Any, b: Any, c: Any) -> list[Any]:
    """The roots of ``a w^2 + b w + c`` that may be positive, without cancellation or overflow; nothing divides by 0."""
    import sympy

    product = -4 * a * c
    opposite = product.is_nonnegative is True
    size = sympy.sqrt(product if opposite else sympy.Abs(product))
    scale = sympy.Max(sympy.Abs(b), size)
    turned = (size / scale) ** 2 if opposite else sympy.sign(product) * (size / scale) ** 2
    half = (sympy.Abs(b) + scale * sympy.sqrt((b / scale) ** 2 + turned)) / 2
    if opposite and a.is_positive:
        if b.is_nonnegative:
            return [-c / half]
        return [half / a if b.is_nonpositive else sympy.Piecewise((-c / half, b >= 0), (half / a, True))]
    return [-half / a, -c / half, half / a, c / half]


def affine_conjugate(pieces: list[Piece], symbol: Any, q: Any) -> Any:
    """The conjugate where every piece has an affine slope; None for others. Outside its domain it is meaningless."""
    import sympy

    slopes = _affine_slopes(pieces, symbol)
    if slopes is None:
        return None
    parts: list[tuple[Any, Any]] = []  # value of the conjugate, and the slope up to which it holds
    if pieces[0].lower.is_finite:
        begin = pieces[0].lower
        parts.append((q * begin - pieces[0].formula.subs(symbol, begin), slopes[0][0] + slopes[0][1] * begin))
    for i, (piece, (offset, rate)) in enumerate(zip(pieces, slopes, strict=True)):
        end = piece.upper
        if rate != 0:
            value = (q - offset) ** 2 / (2 * rate) - piece.formula.subs(symbol, 0)
            parts.append((value, offset + rate * end))
        if end.is_finite:
            beyond = slopes[i + 1][0] + slopes[i + 1][1] * end if i + 1 < len(pieces) else sympy.oo
            if beyond != offset + rate * end:
                parts.append((q * end - piece.formula.subs(symbol, end), beyond))
    if not parts:  # a linear function
        return -pieces[0].formula.subs(symbol, 0)
    found = parts[-1][0]
    for value, until in reversed(parts[:-1]):
        found = sympy.Piecewise((value, q <= until), (found, True))
    return found


def inverted_conjugates(pieces: list[Piece], symbol: Any, q: Any) -> list[Any]:
    """Candidates for the conjugate by solving ``phi'(u) = q`` where there is one formula for all u."""
    import sympy

    if len(pieces) > 1:
        return []
    slope = pieces[0].formula.diff(symbol)
    if sympy.count_ops(slope) > _SIZE_LIMIT:
        return []
    try:
        places = sympy.solve(slope - q, symbol)
    except NotImplementedError:
        return []
    found = []
    for place in places[:4]:
        value = q * place - pieces[0].formula.subs(symbol, place)
        forms = [value, sympy.simplify(value)] if sympy.count_ops(value) <= 2 * _SIZE_LIMIT else [value]
        found += sorted(forms, key=sympy.count_ops)
    return found


def prox_candidates(pieces: list[Piece], symbol: Any, even: bool, v: Any, t: Any) -> list[Any]:
    """What the prox of a convex function may be for positive steps, given its pieces on the whole line."""
    affine = affine_prox(pieces, symbol, v, t)
    if affine is not None:
        return [affine]
    return quadratic_prox(pieces[-1], symbol, even, v, t) if len(pieces) == 1 + even else []


def conjugate_candidates(pieces: list[Piece], symbol: Any, q: Any) -> list[Any]:
    """What the conjugate of a convex function may be, given its pieces on the whole line."""
    affine = affine_conjugate(pieces, symbol, q)
    return inverted_conjugates(pieces, symbol, q) if affine is None else [affine]


__all__ = ["clipped_prox", "conjugate_candidates", "prox_candidates"]
