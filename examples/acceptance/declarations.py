"""How many lines the declarations of the works' models take."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

DECLARED = {
    "bilevel and equilibrium models": ("examples.bilevel_vs_equilibrium.model", "declare"),
    "deep regularisation": ("examples.deep_regularisation.model", "declare"),
    "online equilibrium": ("examples.online_equilibrium.model", "declare"),
}


def declared_lines() -> Iterator[tuple[str, int]]:
    """The name of every declaration, and its count of lines."""
    for name, (module, function) in DECLARED.items():
        if find_spec(module) is not None and hasattr(import_module(module), function):
            yield name, lines_of(getattr(import_module(module), function))


def lines_of(function: Callable[..., Any]) -> int:
    """The lines of a function's body that hold code, without its description."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return len({line for statement in body for line in range(statement.lineno, (statement.end_lineno or 0) + 1)})
