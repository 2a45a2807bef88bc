"""The symbols in the formulas of potentials; a module of its own, since it needs sympy when it is imported."""

from __future__ import annotations

from typing import Any

import sympy


class PlainDummy(sympy.Dummy):
    """A dummy symbol that prints as its name, without the underscore that sympy puts before it."""

    __slots__ = ()

    def _sympystr(self, printer: Any) -> str:
        return str(self.name)

    _sympyrepr = _sympystr


__all__ = ["PlainDummy"]
