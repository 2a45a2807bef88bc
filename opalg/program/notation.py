"""Formulas of data as people write them, as text and as LaTeX: numbers gathered, broadcasts hidden, names escaped."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import Any

from opalg.leaves import Constant, Leaf, Parameter
from opalg.nodes import Node, transform, walk
from opalg.program import expression as ex
from opalg.program.expression import Broadcast, Expression, Input, Literal, Pointwise, Reduce
from opalg.program.text import printable, text_of

_MOST_NODES = 60  # what one formula shows, so that shared graphs do not blow up
_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_GREEK = """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
    Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
"""
_LETTERS = frozenset(_GREEK.split())
_ESCAPES = {
    "\\": r"\backslash{}",
    "~": r"\sim{}",
    "^": r"\wedge{}",
    " ": r"\ ",
    **{c: "\\" + c for c in "{}$&#%_"},
}
_NAMED_FUNCTIONS = {"exp", "log", "sin", "cos", "tanh", "sinh", "cosh"}


def plain(expression: Expression) -> Expression | None:
    """A formula of leaves and numbers without its broadcasts; None where it contains operators and the like."""
    for n in walk(expression):
        if isinstance(n, Reduce) and prod(n.argument.shape) != 1:
            return None
        if not isinstance(n, (Pointwise, Broadcast, Literal, Leaf, Input, Reduce)):
            return None
    return transform(expression, _simpler)  # type: ignore[return-value]


def _simpler(current: Node) -> Node:
    if isinstance(current, (Broadcast, Reduce)):
        return current.argument
    if not isinstance(current, Pointwise):
        return current
    if current.function == "divide" and all(isinstance(a, Literal) for a in current.arguments):
        above, below = (a.value for a in current.arguments)  # type: ignore[attr-defined]
        return Literal(above / below) if below != 0 else current
    return ex.pointwise(current.function, *current.arguments)


def summands(expression: Expression) -> list[tuple[str, Expression]]:
    """A plain formula as a sum: signs and what they stand before."""
    match expression:
        case Pointwise(function="add", arguments=(a, b)):
            return summands(a) + summands(b)
        case Pointwise(function="subtract", arguments=(a, b)):
            return summands(a) + [(_times(s, "-"), e) for s, e in summands(b)]
    return [_signed(expression)]


def _signed(expression: Expression) -> tuple[str, Expression]:
    match expression:
        case Literal(value=float() as value) if value < 0:
            return "-", Literal(-value)
        case Literal(value=complex() as value) if value.real == 0 and value.imag < 0:
            return "-", Literal(complex(0.0, -value.imag))
        case Pointwise(function="negative", arguments=(a,)):
            sign, rest = _signed(a)
            return _times(sign, "-"), rest
        case Pointwise(function="multiply" | "divide" as function, arguments=(a, b)):
            (one, left), (other, right) = _signed(a), _signed(b)
            return _times(one, other), ex.pointwise(function, left, right)
    return "+", expression


def _times(a: str, b: str) -> str:
    return "+" if a == b else "-"


def is_sum(expression: Expression) -> bool:
    """Whether a factor needs parentheses."""
    found = plain(expression)
    return isinstance(found, Pointwise) and found.function in ("add", "subtract")


def data_text(expression: Expression) -> str:
    """Data as text: ``2 * lambda^2``; unnamed arrays are ``data``, what operators made ``data(k, y)``."""
    found = plain(expression)
    leaves = dict.fromkeys(n for n in walk(expression) if isinstance(n, Leaf))
    if found is None:
        names = dict.fromkeys(printable(leaf.name) for leaf in leaves if leaf.name)
        return f"data({', '.join(names)})" if names else "data"
    return text_of(found, {leaf: _text_of_array(leaf) for leaf in leaves if leaf.name is None}).replace(" ** ", "^")


def _text_of_array(leaf: Leaf) -> str:
    if isinstance(leaf, Parameter):
        return "parameter"
    return f"{float(leaf.value):g}" if leaf.shape == () and leaf.kind == "real" else "data"


def latex_name(name: str) -> str:
    r"""A name as LaTeX that only shows it: ``lambda`` becomes ``\lambda``, ``my_name`` ``\mathrm{my\_name}``."""
    name = printable(name)
    base, _, index = name.partition("_")
    if index and index.isascii() and index.isalnum() and _is_symbol(base):
        short = len(index) == 1 or index.isdigit()
        return f"{_symbol(base)}_{{{index}}}" if short else rf"{_symbol(base)}_{{\mathrm{{{index}}}}}"
    return _symbol(name) if _is_symbol(name) else rf"\mathrm{{{escaped(name)}}}"


def escaped(text: str) -> str:
    """Text for use inside LaTeX formulas, its special characters escaped."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def _is_symbol(name: str) -> bool:
    return name in _LETTERS or (len(name) == 1 and name.isascii() and name.isalpha())


def _symbol(name: str) -> str:
    return "\\" + name if name in _LETTERS else name


def data_latex(expression: Expression, names: Mapping[Any, str] | None = None) -> str:
    """Data as LaTeX; ``names`` are the symbols of leaves, and of whole formulas."""
    return _Writer(names or {}).whole(expression, _SUM)


def factor_latex(expression: Expression, names: Mapping[Any, str] | None = None) -> str:
    """Data as LaTeX to stand before something that it multiplies."""
    return _Writer(names or {}).whole(expression, _PRODUCT)


class _Writer:
    """Writes one formula, within a budget of nodes."""

    def __init__(self, names: Mapping[Any, str]) -> None:
        self.names = names
        self.left = _MOST_NODES

    def whole(self, expression: Expression, level: int) -> str:
        if expression in self.names:
            return self.names[expression]
        found = plain(expression)
        return r"\mathrm{data}" if found is None else self.write(found, level)

    def write(self, e: Expression, level: int) -> str:
        """The LaTeX of ``e``, in parentheses where it binds less tightly than ``level``."""
        if e in self.names:
            return self.names[e]
        self.left -= 1
        if self.left < 0:
            return r"\cdots"
        text, own = self._parts(e)
        return rf"\left({text}\right)" if own < level else text

    def _parts(self, e: Expression) -> tuple[str, int]:
        match e:
            case Literal(value=value):
                return number_latex(value)
            case Leaf() | Input():
                return (latex_name(e.name) if e.name else _letter(e)), _ATOM
            case Pointwise(function="add", arguments=(a, b)):
                return f"{self.write(a, _SUM)} + {self.write(b, _PRODUCT)}", _SUM
            case Pointwise(function="subtract", arguments=(a, b)):
                return f"{self.write(a, _SUM)} - {self.write(b, _PRODUCT)}", _SUM
            case Pointwise(function="negative", arguments=(a,)):
                return f"-{self.write(a, _PRODUCT)}", _SUM
            case Pointwise(function="multiply", arguments=(a, b)):
                left, right = self.write(a, _PRODUCT), self.write(b, _PRODUCT)
                between = r" \cdot " if right[0].isdigit() else " "
                return f"{left}{between}{right}", _PRODUCT
            case Pointwise(function="divide", arguments=(a, b)):
                return rf"\frac{{{self.write(a, _SUM)}}}{{{self.write(b, _SUM)}}}", _POWER
            case Pointwise(function="power", arguments=(a, b)):
                return f"{self.write(a, _ATOM)}^{{{self.write(b, _SUM)}}}", _POWER
            case Pointwise(function="square", arguments=(a,)):
                return f"{self.write(a, _ATOM)}^{{2}}", _POWER
            case Pointwise(function=name, arguments=arguments):
                return self._call(name, [self.write(a, _SUM) for a in arguments]), _ATOM
        return r"\mathrm{data}", _ATOM

    def _call(self, name: str, arguments: list[str]) -> str:
        inside = ", ".join(arguments)
        match name:
            case "sqrt":
                return rf"\sqrt{{{inside}}}"
            case "abs":
                return rf"\left|{inside}\right|"
            case "conj":
                return rf"\overline{{{inside}}}"
            case "maximum" | "minimum":
                return rf"\{name[:3]}\left({inside}\right)"
        head = rf"\{name}" if name in _NAMED_FUNCTIONS else rf"\operatorname{{{escaped(name)}}}"
        return rf"{head}\left({inside}\right)"


def _letter(leaf: Any) -> str:
    if isinstance(leaf, Constant):
        return number_latex(float(leaf.value))[0] if leaf.shape == () and leaf.kind == "real" else r"\mathrm{data}"
    return "p"


def number_latex(value: Any) -> tuple[str, int]:
    """A number as LaTeX, small fractions as such, and how tightly it binds."""
    if isinstance(value, complex):
        sign = "-" if value.imag < 0 else "+"
        imaginary = rf"{'' if abs(value.imag) == 1 else f'{abs(value.imag):g} '}\mathrm{{i}}"
        if value.real == 0:
            return (f"-{imaginary}", _SUM) if sign == "-" else (imaginary, _PRODUCT)
        return f"{value.real:g} {sign} {imaginary}", _SUM
    sign, size = ("-", -value) if value < 0 else ("", value)
    simple = Fraction(size).limit_denominator(12) if size < 100 else Fraction(0)
    if simple.denominator > 1 and float(simple) == size and size < 1:
        text, level = rf"\tfrac{{{simple.numerator}}}{{{simple.denominator}}}", _POWER
    else:
        digits, _, exponent = f"{size:g}".partition("e")
        power = rf"10^{{{int(exponent)}}}" if exponent else ""
        text = power if exponent and digits == "1" else rf"{digits} \cdot {power}" if exponent else digits
        level = (_POWER if digits == "1" else _PRODUCT) if exponent else _ATOM
    return sign + text, level if not sign else _SUM


__all__ = [
    "data_latex",
    "data_text",
    "escaped",
    "factor_latex",
    "is_sum",
    "latex_name",
    "number_latex",
    "plain",
    "summands",
]
