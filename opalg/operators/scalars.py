"""Numbers that stand in front of operators."""

from __future__ import annotations

from typing import Any

from opalg.arrays import library_name
from opalg.errors import DtypeError
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.linear import Linear


def as_scalar(value: Any) -> Expression | None:
    """A number, formula or array of one entry as an expression; None for anything else."""
    if getattr(value, "shape", ()) not in ((), (1,)) or isinstance(value, Linear):
        return None
    if type(value).__module__.startswith("sympy"):
        from opalg.program.formula import from_sympy

        return from_sympy(value)
    try:
        return ex.as_expression(value.item() if library_name(value) else value)
    except DtypeError:
        return None
