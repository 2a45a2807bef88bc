"""Energies as one line of readable text; knows terms and expressions only by their attributes."""

from __future__ import annotations

from typing import Any

from opalg.leaves import Leaf
from opalg.operators.algebra import Added, Composed, Identity, Scaled
from opalg.program.expression import Expression, Literal
from opalg.program.text import text_of


def operator_text(operator: Any) -> str:
    """An operator as text, in brackets where it is a sum."""
    text = repr(operator)
    return f"({text})" if isinstance(operator, Added) else text


def part_text(part: Any) -> str:
    """An operator on a variable as text: ``K @ x``, ``2 * x``, ``x``."""
    match part.operator:
        case Identity():
            return part.variable.label
        case Scaled(factor=Literal(value=-1.0), operator=inner):
            return "-" + (part.variable.label if isinstance(inner, Identity) else f"{operator_text(inner)} @ {part.variable.label}")
        case Scaled(factor=factor, operator=Identity()):
            return f"{factor_text(factor)} * {part.variable.label}"
        case Scaled(factor=factor, operator=Composed() | Added() as inner):
            return f"{factor_text(factor)} * ({inner!r}) @ {part.variable.label}"
        case Scaled(factor=factor, operator=inner):
            return f"{factor_text(factor)} * {inner!r} @ {part.variable.label}"
    return f"{operator_text(part.operator)} @ {part.variable.label}"


def affine_text(affine: Any) -> str:
    """An affine expression as text."""
    text = ""
    for part in affine.parts:
        piece = part_text(part)
        text += piece if not text else f" - {piece[1:]}" if piece.startswith("-") else f" + {piece}"
    if affine.offset is None:
        return text
    piece = offset_text(affine.offset)
    return f"{text} - {piece[1:]}" if piece.startswith("-") else f"{text} + {piece}"


def offset_text(offset: Expression) -> str:
    """An offset as text: its name, or a short formula."""
    text = "data" if isinstance(offset, Leaf) and offset.name is None else text_of(offset)
    return text.replace("-constant", "-data") if text in ("-constant", "constant") else text


def factor_text(factor: Expression) -> str:
    """A factor as text, in brackets where it is a sum."""
    text = text_of(factor)
    return f"({text})" if any(sign in text[1:] for sign in (" + ", " - ")) else text


def function_text(functional: Any, inner: str) -> str:
    """A functional of something as text."""
    return functional.text(inner)


def term_text(term: Any) -> str:
    """A term as text: ``lambda * norm21(D @ x)``."""
    body = term.functional.text(affine_text(term.expression))
    if term.functional.facts.indicator or (isinstance(term.weight, Literal) and term.weight.value == 1.0):
        return body
    return f"{factor_text(term.weight)} * {body}"


def energy_text(energy: Any) -> str:
    """An energy as text."""
    pieces = [term_text(term) for term in energy.terms]
    if not (isinstance(energy.constant, Literal) and energy.constant.value == 0.0):
        pieces.append(factor_text(energy.constant))
    text = pieces[0]
    for piece in pieces[1:]:
        text += f" - {piece[1:]}" if piece.startswith("-") else f" + {piece}"
    return text
