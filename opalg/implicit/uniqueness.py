"""Whether gradients are those of a unique solution: singular systems with an answer, and multipliers that may vary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opalg.implicit.dense_system import is_singular
from opalg.implicit.flags import SOLUTION_NOT_UNIQUE
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.reduced import Reduced
from opalg.nodes import walk


def uniqueness_flags(jacobian: Jacobian, leaves: Iterable[Any]) -> tuple[str, ...]:
    """``("solution_not_unique",)`` where the solution, or multipliers that the gradient depends on, is not unique.

    Systems that are written out are tested by their eigenvalues, exactly but for rounding; larger ones are not.

    Parameters
    ----------
    jacobian : Jacobian
        At the point.
    leaves : iterable of Parameter
        What the gradient is wanted in.
    """
    if not isinstance(jacobian, Reduced):
        return ()
    rows_vary = not jacobian.has_unique_multipliers and uses_multipliers(jacobian, leaves)
    if not rows_vary:
        dense = jacobian.dense
        if dense is None or not is_singular(dense.values, jacobian.lib.epsilon):
            return ()
    return (SOLUTION_NOT_UNIQUE,)


def uses_multipliers(jacobian: Reduced, leaves: Iterable[Any]) -> bool:
    """Whether a leaf occurs in the operators of the split terms, whose derivatives the multipliers enter."""
    parts = [p for s in jacobian.optimality.split for p in s.term.expression.parts]
    found = set(map(id, walk(*(p.operator for p in parts))))
    return any(id(leaf) in found for leaf in leaves)
