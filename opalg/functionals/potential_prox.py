"""Closed forms of the prox and of the conjugate of a convex scalar function, where its pieces allow them.

Pieces with affine slopes give affine candidates between thresholds, and kinks give flat parts. A single piece whose
stationarity is a quadratic equation, in u or in its root, gives the root that does not cancel.
"""

from __future__ import annotations

from typing import Any

from opalg.functionals.curvature import Piece

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


__all__ = ["conjugate_candidates", "prox_candidates"]
