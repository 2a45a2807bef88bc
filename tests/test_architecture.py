"""The order of the floors: imports point downwards only, nobody imports in a circle, and `import opalg` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import opalg

ROOT = Path(opalg.__file__).parent

# Ground floor first. A room may import what stands on a lower floor, and itself; rooms that share a floor do not see
# each other. The longest prefix decides, so a file may stand lower or higher than the rest of its room.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "nodes"),
    ("program.linear",),
    ("program.expression",),
    ("arrays",),
    ("leaves",),
    ("program",),
    ("emit",),
    ("facts", "rules"),
    ("operators",),
    ("functionals",),
    ("energies",),
    ("rewriting",),
    ("iterations",),
    ("methods",),
    ("solving",),
    ("implicit",),
    ("compiler",),
    ("learning",),
    ("interop",),
    ("testing", "plotting"),
    ("",),
    ("cli",),
    ("__main__",),
)

# Imports inside functions that point upwards within one room, each with its reason.
TOLERATED: dict[tuple[str, str], str] = {
    ("program.expression", "program.text"): "the repr of an expression is its readable text, printed on demand",
    ("program.expression", "program.formula"): "a number may be a sympy formula, which is read only where one arrives",
}


def files() -> dict[str, Path]:
    """The files of the package by their names below it; the package itself is the empty name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor(name: str) -> int:
    """The floor on which a file stands."""
    best, level = -1, -1
    for i, rooms in enumerate(FLOORS):
        for room in rooms:
            if (name == room or (room and name.startswith(room + "."))) and len(room) > best:
                best, level = len(room), i
    if level < 0:
        raise AssertionError(f"opalg.{name} belongs to no floor; give its room a place in FLOORS")
    return level


def room(name: str) -> str:
    """The room of a file: the first part of its name."""
    return name.partition(".")[0]


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree but those that only type checkers see."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _statements(other)
        else:
            yield from _statements(child)


def imported(name: str, path: Path, known: set[str]) -> set[str]:
    """The files of the package that a file imports, at any level."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {_below(alias.name) for alias in node.names if _belongs(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, package)
            if source is None:
                continue
            for alias in node.names:
                deeper = f"{source}.{alias.name}".strip(".")
                found.add(deeper if deeper in known else source)
    return found - {name}


def _belongs(module: str) -> bool:
    return module == "opalg" or module.startswith("opalg.")


def _below(module: str) -> str:
    return module.removeprefix("opalg").removeprefix(".")


def _source(node: ast.ImportFrom, package: str) -> str | None:
    if node.level == 0:
        return _below(node.module) if node.module and _belongs(node.module) else None
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def graph() -> dict[str, set[str]]:
    """Which file imports which."""
    known = files()
    return {name: imported(name, path, set(known)) for name, path in known.items()}


def circle_in(edges: dict[str, set[str]]) -> list[str] | None:
    """One circle of a graph, or None."""
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> list[str] | None:
        state[name] = 1
        for other in sorted(edges.get(name, ())):
            if state.get(other) == 1:
                return [*trail[trail.index(other) :], other]
            if other not in state and (found := visit(other, [*trail, other])):
                return found
        state[name] = 2
        return None

    for name in sorted(edges):
        if name not in state and (found := visit(name, [name])):
            return found
    return None


def test_no_two_files_import_each_other_in_a_circle():
    edges = {name: {o for o in others if (name, o) not in TOLERATED} for name, others in graph().items()}
    found = circle_in(edges)
    assert found is None, "files import each other in a circle: " + " -> ".join(f"opalg.{n}" for n in found)


def test_imports_point_downwards():
    wrong = []
    for name, others in graph().items():
        for other in sorted(others):
            below = floor(other) < floor(name) or (floor(other) == floor(name) and room(other) == room(name))
            if not below and (name, other) not in TOLERATED:
                wrong.append(f"opalg.{name} imports opalg.{other}, which does not stand below it")
    assert not wrong, "\n".join(wrong)


def test_every_tolerated_import_is_still_there_and_inside_a_function():
    edges = graph()
    for (name, other), reason in TOLERATED.items():
        assert reason
        assert room(name) == room(other)
        assert other in edges[name], f"opalg.{name} no longer imports opalg.{other}: strike it from TOLERATED"
        tree = ast.parse(files()[name].read_text(encoding="utf-8"))
        top = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
        assert f"opalg.{other}" not in {n.module for n in top}


def test_every_room_has_a_floor():
    for name in files():
        floor(name)


def test_the_reader_of_imports_sees_what_it_should(tmp_path):
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from opalg.cli import main\nelse:\n    from opalg.errors import OpalgError\n"
        "from opalg import leaves\nimport opalg.arrays.backend\nimport opalgebra\n"
        "from . import text\nfrom ..nodes import Node\n"
        "def late():\n    from opalg.solving.loop import run\n"
    )
    path = tmp_path / "sample.py"
    path.write_text(source, encoding="utf-8")
    known = {"cli", "errors", "leaves", "arrays.backend", "program.text", "nodes", "solving.loop"}
    expected = {"errors", "leaves", "arrays.backend", "program.text", "nodes", "solving.loop"}
    assert imported("program.sample", path, known) == expected
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert floor("program.linear") < floor("program.expression") < floor("arrays.backend") < floor("program.text")


@pytest.mark.parametrize("heavy", ["torch", "cupy", "sympy", "matplotlib"])
def test_import_opalg_is_light(heavy):
    code = f"import sys, opalg; raise SystemExit({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"import opalg imports {heavy}"
