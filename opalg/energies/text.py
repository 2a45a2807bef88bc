"""Energies as readable text, as users would type them; knows terms and expressions only by their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opalg.operators.algebra import Added, Composed, Identity, LinearOperator, Scaled, Zero
from opalg.operators.batched import AsComplex, Batched
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_text, is_sum, plain, summands

_WIDTH = 100  # what is longer stands on several lines, one term each

Piece = tuple[str, str]  # a sign and what it stands before


def energy_text(energy: Any) -> str:
    """An energy as text, on several lines where it is long."""
    labels = labels_of(energy.variables)
    pieces = [_term_piece(term, labels) for term in energy.terms] + _data_pieces(energy.constant)
    line = _joined(pieces)
    if len(line) <= _WIDTH or len(pieces) == 1:
        return line
    return "\n  ".join([_joined(pieces[:1]), *(f"{sign} {text}" for sign, text in pieces[1:])])


def term_text(term: Any) -> str:
    """A term as text: ``lambda * norm21(D @ x)``."""
    return _joined([_term_piece(term, labels_of(term.variables))])


def affine_text(affine: Any, labels: Mapping[Any, str] | None = None) -> str:
    """An affine expression as text: ``K @ x - y``."""
    labels = labels_of(affine.variables) if labels is None else labels
    moved = [piece for part in affine.parts for piece in _operator_pieces(part.operator, labels[part.variable])]
    offset = [] if affine.offset is None else _data_pieces(affine.offset)
    data_first = bool(offset) and moved[0][0] == "-" and offset[0][0] == "+"
    return _joined(offset + moved if data_first else moved + offset)


def constraint_text(affine: Any, sense: str, bound: Expression) -> str:
    """A constraint as text: ``A @ x == b``."""
    return f"{affine_text(affine)} {sense} {data_text(bound)}"


def labels_of(variables: Iterable[Any]) -> dict[Any, str]:
    """A name for each variable; those without one are ``x``, or ``x1``, ``x2``, ... where that is taken."""
    several = list(variables)
    unnamed = [v for v in several if v.name is None]
    labels = {v: v.name for v in several if v.name is not None}
    for number, variable in enumerate(unnamed, 1):
        alone = len(unnamed) == 1 and "x" not in labels.values()
        labels[variable] = (
            "x"
            if alone
            else next(label for n in range(number, number + len(several)) if (label := f"x{n}") not in labels.values())
        )
    return labels


def operator_text(operator: LinearOperator) -> str:
    """An operator as text, to stand before ``@``; casts of real arrays to complex ones go without saying."""
    factors = [f for f in _factors(operator) if not isinstance(f, AsComplex)] or [operator]
    return " @ ".join(f"({f!r})" if isinstance(f, (Added, Scaled)) else repr(f) for f in factors)


def _factors(operator: LinearOperator) -> list[LinearOperator]:
    match operator:
        case Composed(outer=outer, inner=inner):
            return _factors(outer) + _factors(inner)
        case Batched(operator=inner):
            return _factors(inner)
    return [operator]


def _operator_pieces(operator: LinearOperator, label: str) -> list[Piece]:
    """An operator on a variable as a sum."""
    match operator:
        case Identity() | AsComplex():
            return [("+", label)]
        case Zero(in_shape=source, out_shape=target) if source == target:
            return [("+", f"0 * {label}")]
        case Added(operators=many):
            return [piece for each in many for piece in _operator_pieces(each, label)]
        case Batched(operator=inner):
            return _operator_pieces(inner, label)
        case Scaled(factor=factor, operator=inner):
            sign, size = _signed(factor)
            body = label if isinstance(inner, (Identity, AsComplex)) else f"{operator_text(inner)} @ {label}"
            return [(sign, body if size is None else f"{size} * {body}")]
    return [("+", f"{operator_text(operator)} @ {label}")]


def _signed(factor: Expression) -> tuple[str, str | None]:
    """The sign and the size of a factor, in parentheses where it is a sum; None for the size one."""
    found = plain(factor)
    pieces = [("+", factor)] if found is None else summands(found)
    sign, size = pieces[0] if len(pieces) == 1 else ("+", factor)
    if isinstance(size, Literal) and size.value == 1.0:
        return sign, None
    return sign, f"({data_text(size)})" if is_sum(size) else data_text(size)


def _data_pieces(data: Expression) -> list[Piece]:
    found = plain(data)
    if found is None:
        return [("+", data_text(data))]
    if isinstance(found, Literal) and found.value == 0:
        return []
    return [(sign, data_text(each)) for sign, each in summands(found)]


def _term_piece(term: Any, labels: Mapping[Any, str]) -> Piece:
    body = term.functional.text(affine_text(term.expression, labels))
    if term.functional.facts.indicator:
        return "+", body
    sign, size = _signed(term.weight)
    return sign, body if size is None else f"{size} * {body}"


def _joined(pieces: list[Piece]) -> str:
    text = ""
    for sign, piece in pieces:
        text += f" {sign} {piece}" if text else f"-{piece}" if sign == "-" else piece
    return text
