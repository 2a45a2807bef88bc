"""How many lines the declarations of the works' models take."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import FunctionType
from typing import Any

DECLARED = {
    "bilevel and equilibrium models": ("examples.bilevel_vs_equilibrium.model", "declare"),
    "deep regularisation": ("examples.deep_regularisation.model", "declare"),
    "deep regularisation, without an energy": ("examples.deep_regularisation.model", "declare_red"),
    "online equilibrium": ("examples.online_equilibrium.model", "declare"),
}
MEASURING = "measurement"  # the operators, which make the data as well


def declared_lines() -> Iterator[tuple[str, float, str]]:
    """The name of every declaration, its count of lines, which is NaN where there is none, and what is not in it."""
    for name, (module, function) in DECLARED.items():
        found = getattr(import_module(module), function, None)
        if found is None:
            yield name, float("nan"), f"{module} has no {function}"
            continue
        operators = getattr(import_module(module), MEASURING, None)
        note = f"and {lines_of(operators)} of the operators that make the data" if operators is not None else ""
        yield name, sum(lines_of(part) for part in parts_of(found)), note


def parts_of(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """A function and what it calls of the examples' own, but for operators: all that somebody writes for a model."""
    found: list[Callable[..., Any]] = []
    waiting = [function]
    while waiting:
        part = waiting.pop()
        found.append(part)
        for node in ast.walk(_tree_of(part)):
            called = part.__globals__.get(node.id) if isinstance(node, ast.Name) else None  # type: ignore[attr-defined]
            if not isinstance(called, FunctionType) or called.__name__ == MEASURING:
                continue
            if called.__module__.startswith("examples.") and called not in found + waiting:
                waiting.append(called)
    return found


def lines_of(function: Callable[..., Any]) -> int:
    """The lines of a function's body that hold code, without its description."""
    tree = _tree_of(function)
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return len({line for statement in body for line in range(statement.lineno, (statement.end_lineno or 0) + 1)})


def _tree_of(function: Callable[..., Any]) -> ast.FunctionDef:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    return tree
