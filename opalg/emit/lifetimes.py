"""When a generated step lets go of the arrays that kernels made: after the last statement that reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FRESH = re.compile(r"\b(f\d+_?)\b")


def with_ends(lines: Sequence[str], results: Sequence[str]) -> list[str]:
    """The statements of a step with a ``del`` for each array ``f0, f1, ...`` that its results do not need.

    Parameters
    ----------
    lines : sequence of str
        Statements without the indentation of the function; those in a loop are indented.
    results : sequence of str
        The statements after them.
    """
    last: dict[str, int] = {}
    for index, line in enumerate(lines):
        last.update(dict.fromkeys(_FRESH.findall(line), index))
    needed = set(_FRESH.findall("\n".join(results)))
    ends: dict[int, list[str]] = {}
    for name, index in last.items():
        if name in needed:
            continue
        while index + 1 < len(lines) and lines[index + 1].startswith(" "):
            index += 1  # to the end of the loop, which reads it again
        ends.setdefault(index, []).append(name)
    found: list[str] = []
    for index, line in enumerate(lines):
        found.append(line)
        if index in ends:
            found.append(f"del {', '.join(ends[index])}")
    return found
