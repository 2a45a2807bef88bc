"""Bounds of boxes, some entries of which may be infinite and so are no bounds."""

from __future__ import annotations

from math import inf, isinf
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.functionals.weights import real_data, split_infinite
from opalg.leaves import Constant
from opalg.nodes import walk
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Pointwise


def as_bound(value: Any, side: str) -> Expression | None:
    """A bound that a user gave as an expression; None where no entry is bounded.

    Entries that are ``-inf`` below, or ``inf`` above, stay infinite in the expression, which is the only way for a
    constant to be so.

    Raises
    ------
    ParameterError
        Where an entry is infinite to the other side, so that no number obeys it.
    """
    none = -inf if side == "lower" else inf
    name = f"the {side} bound of a box"
    if value is None:
        return None
    if split_infinite(value, -none) is not None or (isinstance(value, Literal) and value.value == -none):
        raise ParameterError(f"a box is empty: {name} is {-none} in some entry; bounds of {none} are no bounds")
    if isinstance(value, Literal) and value.value == none:
        return None
    split = split_infinite(value, none)
    if split is None:
        return real_data(value, name)
    finite, where = split
    return None if np.all(where) else ex.where(Constant(where), Literal(none), Constant(finite))


def is_partial(bound: Expression) -> bool:
    """Whether some entries of a bound are, or may be, infinite."""
    return any(isinstance(n, Literal) and isinstance(n.value, float) and isinf(n.value) for n in walk(bound))


def where_bound(bound: Expression, yes: Any, no: Any) -> Expression:
    """``yes`` where the bound is finite, else ``no``."""
    if not is_partial(bound):
        return ex.as_expression(yes)
    return ex.where(ex.pointwise("less", abs(bound), inf), yes, no)


def shown(bound: Expression) -> Expression:
    """What to print for a bound: the finite numbers of a constant with infinite entries."""
    match bound:
        case Pointwise(function="where", arguments=(Constant(), Literal(), Constant() as finite)):
            return finite
    return bound


__all__ = ["as_bound", "is_partial", "shown", "where_bound"]
