r"""Energies as LaTeX formulas and as HTML; knows terms and expressions only by their attributes.

Operators get letters by their class (``K`` a convolution, ``D`` differences, ``F`` a Fourier transform, ``W`` wavelets,
``M`` a mask, ``A`` others), arrays without a name get ``y``; what is met twice under one letter is numbered.
"""

from __future__ import annotations

from html import escape
from typing import Any

from opalg.leaves import Leaf, Parameter
from opalg.nodes import walk
from opalg.operators.algebra import Added, Adjoint, Composed, Conjugated, Identity, LinearOperator, Scaled, Zero
from opalg.operators.batched import AsComplex, Batched
from opalg.operators.stack import Stacked
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text, factor_latex, latex_name, plain, summands

_LETTERS = {
    "Convolve": "K",
    "Gradient": "D",
    "FiniteDifference": "D",
    "FFT": "F",
    "RFFT": "F",
    "Wavelet": "W",
    "Mask": "M",
}

Piece = tuple[str, str]  # a sign and what it stands before


def latex_of(energy: Any) -> str:
    """An energy as a LaTeX formula, without delimiters."""
    return _Formula(energy).text()


def html_of(energy: Any) -> str:
    """An energy as its formula above a table of the symbols in it; every name of a user is escaped."""
    formula = _Formula(energy)
    text = formula.text()
    rows = "".join(
        f'<tr><td style="text-align:left">${escape(symbol)}$</td>'
        + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for symbol, cells in formula.rows()
    )
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in ("symbol", "what", "shape", "dtype"))
    return f"<div>$\\displaystyle {escape(text)}$</div><table><tr>{head}</tr>{rows}</table>"


class _Formula:
    """One energy being written: gives out the symbols and remembers them."""

    def __init__(self, energy: Any) -> None:
        self.energy = energy
        self.symbols: dict[Any, str] = {}
        self._name_leaves([*energy.variables, *energy.leaves])

    def text(self) -> str:
        """The whole formula."""
        pieces = [self._term(term) for term in self.energy.terms] + self._data(self.energy.constant)
        return _joined(pieces)

    # Symbols.

    def _name_leaves(self, leaves: list[Any]) -> None:
        shown = [leaf for leaf in leaves if leaf.name is not None]
        for leaf in shown:
            self._take(leaf, latex_name(leaf.name))

    def _take(self, thing: Any, wanted: str) -> str:
        """A symbol for a thing: the wanted one, or that with the first number that is free."""
        if thing not in self.symbols:
            taken, symbol, number = set(self.symbols.values()), wanted, 1
            while symbol in taken:
                number += 1
                symbol = f"{{{wanted}}}_{{{number}}}" if "_" in wanted else f"{wanted}_{{{number}}}"
            self.symbols[thing] = symbol
        return self.symbols[thing]

    def _name_data(self, data: Expression, letter: str) -> None:
        """Give symbols to the arrays without a name in a formula, or to the whole where operators made it."""
        if plain(data) is None:
            self._take(data, letter)
            return
        for leaf in walk(data):
            if isinstance(leaf, Leaf) and (isinstance(leaf, Parameter) or leaf.shape != ()):
                self._take(leaf, "p" if isinstance(leaf, Parameter) else letter)

    # Terms.

    def _term(self, term: Any) -> Piece:
        inner = self._affine(term.expression)
        for data in _fields(term.functional, Expression):
            self._name_data(data, "w")
        operators = {o: self._operator(o) for o in _fields(term.functional, LinearOperator)}
        body = term.functional.latex(inner, {**self.symbols, **operators})
        if term.functional.facts.indicator:
            return "+", body
        self._name_data(term.weight, "p")
        sign, size = self._signed(term.weight)
        return sign, body if size is None else f"{size} {body}"

    def _affine(self, affine: Any) -> str:
        moved = [
            piece
            for part in affine.parts
            for piece in self._operator_pieces(
                part.operator, self._take(part.variable, latex_name(part.variable.label))
            )
        ]
        offset = [] if affine.offset is None else self._data(affine.offset)
        data_first = bool(offset) and moved[0][0] == "-" and offset[0][0] == "+"
        return _joined(offset + moved if data_first else moved + offset)

    def _data(self, data: Expression) -> list[Piece]:
        self._name_data(data, "y")
        found = plain(data)
        if found is None:
            return [("+", self.symbols[data])]
        if isinstance(found, Literal) and found.value == 0:
            return []
        return [(sign, data_latex(each, self.symbols)) for sign, each in summands(found)]

    def _signed(self, factor: Expression) -> tuple[str, str | None]:
        found = plain(factor)
        pieces = [("+", factor)] if found is None else summands(found)
        sign, size = pieces[0] if len(pieces) == 1 else ("+", factor)
        if isinstance(size, Literal) and size.value == 1.0:
            return sign, None
        return sign, factor_latex(size, self.symbols)

    # Operators.

    def _operator_pieces(self, operator: LinearOperator, variable: str) -> list[Piece]:
        match operator:
            case Identity() | AsComplex():
                return [("+", variable)]
            case Added(operators=many):
                return [piece for each in many for piece in self._operator_pieces(each, variable)]
            case Batched(operator=inner):
                return self._operator_pieces(inner, variable)
            case Scaled(factor=factor, operator=inner):
                self._name_data(factor, "p")
                sign, size = self._signed(factor)
                plainly = isinstance(inner, (Identity, AsComplex))
                body = variable if plainly else f"{self._operator(inner)} {variable}"
                return [(sign, body if size is None else f"{size} {body}")]
        return [("+", f"{self._operator(operator)} {variable}")]

    def _operator(self, operator: LinearOperator) -> str:
        """An operator as LaTeX that may stand in a product."""
        match operator:
            case Composed(outer=outer, inner=AsComplex()):
                return self._operator(outer)
            case Composed(outer=outer, inner=inner):
                return f"{self._operator(outer)} {self._operator(inner)}"
            case Batched(operator=inner):
                return self._operator(inner)
            case Adjoint(operator=inner):
                return f"{{{self._operator(inner)}}}^{{*}}"
            case Conjugated(operator=inner):
                return rf"\overline{{{self._operator(inner)}}}"
            case Stacked(operators=many):
                rows = r" \\ ".join(self._operator(each) for each in many)
                return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"
            case Added() | Scaled():
                return rf"\left({self._sum(operator)}\right)"
            case Identity() | AsComplex():
                return "I"
            case Zero():
                return "0"
        return self._operator_letter(operator)

    def _sum(self, operator: LinearOperator) -> str:
        pieces = self._operator_pieces(operator, "")
        return _joined([(sign, text.strip() or "I") for sign, text in pieces])

    def _operator_letter(self, operator: LinearOperator) -> str:
        return self._take(operator, _LETTERS.get(type(operator).__name__, "A"))

    # The table.

    def rows(self) -> list[tuple[str, tuple[str, str, str]]]:
        """A row for each symbol: operators, variables, parameters, data."""
        things = sorted(self.symbols, key=_rank)
        return [(self.symbols[thing], _described(thing)) for thing in things]


def _rank(thing: Any) -> int:
    if isinstance(thing, LinearOperator):
        return 0
    if not isinstance(thing, Expression):
        return 1
    return 2 if isinstance(thing, Parameter) else 3


def _described(thing: Any) -> tuple[str, str, str]:
    """What a thing is, its shape and its dtype, for people."""
    if isinstance(thing, LinearOperator):
        return repr(thing), f"{thing.in_shape} → {thing.out_shape}", thing.out_dtype or "as the argument"
    if isinstance(thing, Parameter):
        domain = "positive parameter" if thing.positive else "nonnegative parameter" if thing.nonneg else "parameter"
        return domain, str(thing.shape), str(thing.value.dtype)
    if isinstance(thing, Leaf):
        return "data", str(thing.shape), str(thing.value.dtype)
    if isinstance(thing, Expression):
        return f"computed: {data_text(thing)}", str(thing.shape), thing.kind
    return "variable", str(thing.shape), f"{thing.kind}, {thing.precision or 'precision of the data'}"


def _fields(node: Any, wanted: type) -> list[Any]:
    """The data (or the operators) that a functional holds, sets and inner functionals included."""
    found: list[Any] = []
    for child in node.children:
        if isinstance(child, wanted):
            found.append(child)
        elif not isinstance(child, (Expression, LinearOperator)):
            found.extend(_fields(child, wanted))
    return found


def _joined(pieces: list[Piece]) -> str:
    text = ""
    for sign, piece in pieces:
        text += f" {sign} {piece}" if text else f"-{piece}" if sign == "-" else piece
    return text


__all__ = ["html_of", "latex_of"]
