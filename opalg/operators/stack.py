"""Operators on one input whose results are joined, and operators side by side."""

from __future__ import annotations

from typing import Any

from opalg.errors import ShapeError
from opalg.facts import Bound, exact
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.knowledge import Facts
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Join, Shape
from opalg.program.linear import Window


@node
class Stacked(LinearOperator):
    """Operators on one input, their results joined along the first axis (``vstack``)."""

    operators: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.operators[0].in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        first = self.operators[0].out_shape
        return (sum(o.out_shape[0] for o in self.operators), *first[1:])

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return next((o.in_kind for o in self.operators if o.in_kind != "any"), "any")

    def out_kind(self, kind: str) -> str:
        return "complex" if any(o.out_kind(kind) == "complex" for o in self.operators) else kind

    def adjoint_kind(self, kind: str) -> str:
        return "complex" if any(o.adjoint_kind(kind) == "complex" for o in self.operators) else "real"

    def trace(self, x: Expression) -> Expression:
        return Join(tuple(o.trace(x) for o in self.operators), -len(self.out_shape))

    def trace_adjoint(self, y: Expression) -> Expression:
        parts, begin = [], 0
        for o in self.operators:
            end = begin + o.out_shape[0]
            window = Window(self.out_shape, (begin,) + (0,) * (len(o.out_shape) - 1), (end, *o.out_shape[1:]))
            parts.append(o.trace_adjoint(ex.Apply(window, y)))
            begin = end
        return sum_of(parts)

    @property
    def facts(self) -> Facts:
        each = [o.facts for o in self.operators]
        scales = [f.gram_scale for f in each]
        gram = None if any(s is None for s in scales) else sum_of([s for s in scales if s is not None])
        norms = [f.norm for f in each]
        if gram is not None:
            norm: Bound | None = exact(ex.sqrt(gram))
        elif all(n is not None for n in norms):
            squares = sum_of([ex.square(n.expression) for n in norms if n is not None])
            worst = "asserted" if any(n is not None and n.certainty == "asserted" for n in norms) else "upper"
            worst = "estimate" if any(n is not None and n.certainty == "estimate" for n in norms) else worst
            norm = Bound(ex.sqrt(squares), worst)
        else:
            norm = None
        return Facts(gram_scale=gram, norm=norm)

    def __repr__(self) -> str:
        return f"vstack([{', '.join(map(repr, self.operators))}])"


def vstack(operators: Any) -> LinearOperator:
    """Operators on the same input, their results joined along the first axis.

    Raises
    ------
    ShapeError
        Where inputs differ, or outputs differ in more than the first axis.
    """
    stack = tuple(operators)
    if not stack:
        raise ShapeError("vstack needs at least one operator")
    for other in stack:
        if other.in_shape != stack[0].in_shape or other.out_shape[1:] != stack[0].out_shape[1:] or not other.out_shape:
            raise ShapeError(
                f"vstack joins results along their first axis, but {stack[0]!r} maps {stack[0].in_shape} to "
                f"{stack[0].out_shape} and {other!r} maps {other.in_shape} to {other.out_shape}"
            )
    return stack[0] if len(stack) == 1 else Stacked(stack)


def hstack(operators: Any) -> LinearOperator:
    """Operators side by side: the input is cut along its first axis and the results are added."""
    return vstack([o.H for o in operators]).H
