"""Readable text of expressions and programs: for ``repr``, for ``explain()`` and for comments in generated code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from opalg.leaves import Constant, Leaf
from opalg.nodes import Node, walk
from opalg.program.expression import (
    Apply,
    Broadcast,
    Call,
    Expression,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
)

_INFIX = {
    "add": ("+", 2),
    "subtract": ("-", 2),
    "multiply": ("*", 3),
    "divide": ("/", 3),
    "power": ("**", 5),
    "greater": (">", 1),
    "greater_equal": (">=", 1),
    "less": ("<", 1),
    "less_equal": ("<=", 1),
    "logical_and": ("and", 0),
}
_ATOM = 9
_MOST_NODES = 60  # what one line shows; the rest is "...", so that shared graphs do not blow up
_MOST_DEPTH = 24
_MOST_CHARACTERS = 300


def text_of(expression: Expression, names: Mapping[Any, str] | None = None) -> str:
    """One readable line for an expression, such as ``0.5 * (x - y)``; what is too long is elided.

    Parameters
    ----------
    expression : Expression
        What to write.
    names : mapping from Expression to str, optional
        Texts to use for some of the nodes.
    """
    return elided(_Writer(names or {}).write(expression, 0, 0), _MOST_CHARACTERS)


def neutral_text(expression: Expression, names: Mapping[Any, str]) -> str:
    """As `text_of`, without any name that a user chose: leaves as in ``names``, operators by their class alone."""
    return elided(_Writer(names, neutral=True).write(expression, 0, 0), _MOST_CHARACTERS)


def neutral_names(*roots: Node) -> dict[Any, str]:
    """A label such as ``parameter 0`` or ``constant 1`` for each leaf at or below the roots."""
    counts: Counter[str] = Counter()
    names: dict[Any, str] = {}
    for leaf in walk(*roots):
        if isinstance(leaf, Leaf):
            sort = "constant" if isinstance(leaf, Constant) else "parameter"
            names[leaf] = f"{sort} {counts[sort]}"
            counts[sort] += 1
    return names


def program_text(outputs: Sequence[Expression], names: Sequence[str] | None = None) -> str:
    """The steps that lead to some outputs, one numbered line each; what is used more than once is computed once.

    Parameters
    ----------
    outputs : sequence of Expression
        What the program computes.
    names : sequence of str, optional
        A name for each output.
    """
    known: dict[Any, str] = {}
    lines: list[tuple[str, str]] = []
    labels = [f"result {i}" for i in range(len(outputs))] if names is None else [printable(n) for n in names]
    nodes = [n for n in walk(*outputs, within=Expression) if isinstance(n, Expression)]
    uses = Counter(child for n in nodes for child in set(n.children))
    for current in nodes:
        if isinstance(current, (Literal, Input, Leaf)):
            continue
        if uses[current] > 1 or isinstance(current, (Apply, Product, Join, Call)):
            text = text_of(current, known)
            known[current] = f"t{len(known) + 1}"
            lines.append((known[current], text))
    for label, output in zip(labels, outputs, strict=True):
        lines.append((label, text_of(output, known)))
    width = len(str(len(lines)))
    return "\n".join(f"{i:>{width}}. {name} = {text}" for i, (name, text) in enumerate(lines, 1))


def elided(text: str, limit: int) -> str:
    """The text, its middle left out where it is longer than ``limit``."""
    if len(text) <= limit:
        return text
    head = (limit - 5) * 2 // 3
    return f"{text[:head]} ... {text[len(text) - (limit - 5 - head) :]}"


def printable(text: str) -> str:
    """The text on one line, without characters that do not print."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class _Writer:
    """Writes one line, within a budget of nodes."""

    def __init__(self, names: Mapping[Any, str], neutral: bool = False) -> None:
        self.names, self.neutral = names, neutral
        self.left = _MOST_NODES

    def write(self, e: Expression, level: int, depth: int) -> str:
        """The text of ``e``, in parentheses where it binds less tightly than ``level``."""
        if e in self.names:
            return self.names[e]
        self.left -= 1
        if self.left < 0 or depth > _MOST_DEPTH:
            return "..."
        text, own = self._parts(e, depth + 1)
        return f"({text})" if own < level else text

    def _parts(self, e: Expression, depth: int) -> tuple[str, int]:
        match e:
            case Literal(value=value):
                return _number(value)
            case Input(name=name):
                return printable(name), _ATOM
            case Leaf():
                return printable(e.label), _ATOM
            case Pointwise():
                return self._pointwise(e, depth)
            case Reduce(function=function, argument=a, axes=axes):
                over = "" if axes is None else f", axes={axes}"
                return f"{function}({self.write(a, 0, depth)}{over})", _ATOM
            case Broadcast(argument=a, shape=shape):
                return f"broadcast({self.write(a, 0, depth)}, {shape})", _ATOM
            case Apply(operator=operator, argument=a, adjoint=adjoint):
                return f"{self._operator(operator)}{'.H' if adjoint else ''}({self.write(a, 0, depth)})", _ATOM
            case Product(form=form, left=left, right=right):
                return self._product(form, left, right, depth)
            case Join(arguments=arguments, axis=axis):
                return f"join({', '.join(self.write(a, 0, depth) for a in arguments)}, axis={axis})", _ATOM
            case Call(function=function, arguments=arguments):
                return f"{self._operator(function)}({', '.join(self.write(a, 0, depth) for a in arguments)})", _ATOM
        return f"<{type(e).__name__} {e.shape}>", _ATOM

    def _operator(self, operator: Any) -> str:
        return type(operator).__name__ if self.neutral else _operator(operator)

    def _pointwise(self, e: Pointwise, depth: int) -> tuple[str, int]:
        arguments = e.arguments
        if e.function in _INFIX and len(arguments) == 2:
            sign, level = _INFIX[e.function]
            left = self.write(arguments[0], level + (e.function == "power"), depth)
            return f"{left} {sign} {self.write(arguments[1], level + 1, depth)}", level
        if e.function == "negative":
            return f"-{self.write(arguments[0], 4, depth)}", 3
        if e.function == "square":
            return f"{self.write(arguments[0], 6, depth)} ** 2", 5
        return f"{e.function}({', '.join(self.write(a, 0, depth) for a in arguments)})", _ATOM

    def _product(self, form: str, left: Expression, right: Expression, depth: int) -> tuple[str, int]:
        if form == "xyT":
            return f"outer({self.write(left, 0, depth)}, {self.write(right, 0, depth)})", _ATOM
        transposed = ".T" if form == "MTx" else ""
        return f"{self.write(left, _ATOM, depth)}{transposed} @ {self.write(right, 4, depth)}", 3


def _number(value: Any) -> tuple[str, int]:
    if isinstance(value, complex):
        return f"({value.real:g}{value.imag:+g}j)", _ATOM
    text = str(value) if isinstance(value, bool) else f"{value:g}"
    return text, 4 if text.startswith("-") else _ATOM


def _operator(operator: Any) -> str:
    plain = getattr(type(operator), "__repr__", None) is object.__repr__ or hasattr(operator, "__name__")
    text = getattr(operator, "__name__", type(operator).__name__) if plain else repr(operator)
    text = elided(printable(text), 80)
    return f"({text})" if " " in text.split("(")[0].strip() else text
