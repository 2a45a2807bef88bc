"""An operator as a tree of its parts, a line each."""

from __future__ import annotations

from typing import Any

from opalg.program.linear import Linear
from opalg.program.text import elided

_MOST = 60  # characters of a part that has no parts itself


def tree_text(operator: Any) -> str:
    """Every part of an operator on a line of its own, with shapes and facts, below the part that it belongs to."""
    lines: list[str] = []
    _write(operator, "", "", lines)
    return "\n".join(lines)


def _write(operator: Any, first: str, rest: str, lines: list[str]) -> None:
    parts = [child for child in operator.children if isinstance(child, Linear) and hasattr(child, "facts")]
    label = type(operator).__name__ if parts else elided(repr(operator), _MOST)
    factor = getattr(operator, "factor", None)
    label += f" by {factor!r}" if factor is not None else ""
    lines.append(f"{first}{label}: {operator.in_shape} -> {operator.out_shape}; {operator.facts}")
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        _write(part, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), lines)
