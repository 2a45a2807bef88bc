"""Operators on one input whose results are joined, and operators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.facts import Bound, exact
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, Together, as_operators
from opalg.operators.diagonal import Diagonal, diagonal_of
from opalg.operators.kinds import (
    adjoint_part,
    forward_part,
    restricted,
)
from opalg.operators.knowledge import Facts
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Join, Shape
from opalg.program.linear import Window

_CERTAINTIES = ("exact", "upper", "asserted", "estimate")


def cut(x: Expression, shape: Shape, sizes: Sequence[int]) -> list[Expression]:
    """The pieces of an array along the first axis of ``shape``."""
    parts, begin = [], 0
    for size in sizes:
        box = Window(shape, (begin,) + (0,) * (len(shape) - 1), (begin + size, *shape[1:]))
        parts.append(ex.Apply(box, x) if len(sizes) > 1 else x)
        begin += size
    return parts


def least_certain(bounds: Sequence[Bound]) -> str:
    """The weakest certainty among bounds."""
    return max((b.certainty for b in bounds), key=_CERTAINTIES.index, default="exact")


@node
class Stacked(Together):
    """Operators on one input, their results joined along the first axis (``vstack``).

    Notes
    -----
    ``V.H y = sum_i A_i.H y_i``. ``||V||^2 <= sum_i ||A_i||^2``, which is exact where all parts but one are scaled
    isometries, or all are diagonal.
    """

    operators: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.operators[0].in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        first = self.operators[0].out_shape
        return (sum(o.out_shape[0] for o in self.operators), *first[1:])

    def trace(self, x: Expression) -> Expression:
        return Join(tuple(forward_part(o, x) for o in self.operators), -len(self.out_shape))

    def trace_adjoint(self, y: Expression) -> Expression:
        parts = cut(y, self.out_shape, [o.out_shape[0] for o in self.operators])
        kind = self.in_kind
        return sum_of([adjoint_part(o, part, kind) for o, part in zip(self.operators, parts, strict=True)])

    @property
    def facts(self) -> Facts:
        scales = [o.facts.gram_scale for o in self.operators]
        gram = None if any(s is None for s in scales) else sum_of([s for s in scales if s is not None])
        return Facts(gram_scale=gram, norm=exact(ex.sqrt(gram)) if gram is not None else self._norm())

    def _norm(self) -> Bound | None:
        diagonals = [diagonal_of(o) for o in self.operators]
        if all(d is not None for d in diagonals):
            return exact(ex.sqrt(ex.largest(sum_of([ex.square_abs(d) for d in diagonals if d is not None]))))
        squares, rough, certain, kind = [], [], True, self.in_kind
        for o in self.operators:
            facts = o.facts
            if facts.gram_scale is None and facts.norm is None:
                return None
            if facts.gram_scale is None and facts.norm is not None:
                rough.append(facts.norm)
                certain = certain and not restricted(o, kind)
            square = facts.gram_scale if facts.norm is None else ex.square(facts.norm.expression)
            squares.append(facts.gram_scale or square)
        certainty = least_certain(rough)
        inexact = certainty == "exact" and (len(rough) > 1 or not certain)
        return Bound(ex.sqrt(sum_of([s for s in squares if s is not None])), "upper" if inexact else certainty)

    def __repr__(self) -> str:
        return f"vstack([{', '.join(map(repr, self.operators))}])"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        d = Diagonal(rng.standard_normal((2, 3)))
        z = Diagonal(rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3)))
        eye = Identity((2, 3))
        return [vstack([d, z]), vstack([d, 2.0 * eye, d @ d]), vstack([eye, -2.0 * eye]), hstack([d, z])]


def vstack(operators: Any) -> LinearOperator:
    """Operators on the same input, their results joined along the first axis: ``(V x)_i = A_i x``.

    Parameters
    ----------
    operators : sequence of LinearOperator
        With the same ``in_shape``, and the same ``out_shape`` behind its first axis.

    Returns
    -------
    LinearOperator
        From ``in_shape`` to ``(sum of the first axes, ...)``.

    Raises
    ------
    ShapeError
        Where inputs differ, or outputs differ in more than the first axis.

    Notes
    -----
    ``V.H y = sum_i A_i.H y_i``; ``V.H V = sum_i A_i.H A_i``; ``||V||^2 <= sum_i ||A_i||^2`` (exact where all but one
    are scaled isometries, or all diagonal).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.vstack([oa.Identity((2,)), 2.0 * oa.Identity((2,))]) @ np.array([1.0, 3.0])
    array([1., 3., 2., 6.])
    """
    stack = as_operators(operators, "vstack")
    for other in stack:
        if other.in_shape != stack[0].in_shape or other.out_shape[1:] != stack[0].out_shape[1:] or not other.out_shape:
            raise ShapeError(
                f"vstack joins results along their first axis, but {stack[0]!r} maps {stack[0].in_shape} to "
                f"{stack[0].out_shape} and {other!r} maps {other.in_shape} to {other.out_shape}"
            )
    return stack[0] if len(stack) == 1 else Stacked(stack)


def hstack(operators: Any) -> LinearOperator:
    """Operators side by side: the input is cut along its first axis and the results are added, ``sum_j A_j x_j``.

    Parameters
    ----------
    operators : sequence of LinearOperator
        With the same ``out_shape``, and the same ``in_shape`` behind its first axis.

    Returns
    -------
    LinearOperator
        From ``(sum of the first axes, ...)`` to ``out_shape``: the adjoint of the stacked adjoints.

    Raises
    ------
    ShapeError
        Where outputs differ, or inputs differ in more than the first axis.

    Notes
    -----
    ``H.H y = (A_1.H y, A_2.H y, ...)``; the norm is that of `vstack`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.hstack([oa.Identity((1,)), 2.0 * oa.Identity((1,))]) @ np.array([1.0, 3.0])
    array([7.])
    """
    row = as_operators(operators, "hstack")
    for other in row:
        if other.out_shape != row[0].out_shape or other.in_shape[1:] != row[0].in_shape[1:] or not other.in_shape:
            raise ShapeError(
                f"hstack joins arguments along their first axis and adds results, but {row[0]!r} maps "
                f"{row[0].in_shape} to {row[0].out_shape} and {other!r} maps {other.in_shape} to {other.out_shape}"
            )
    return vstack([o.H for o in row]).H
