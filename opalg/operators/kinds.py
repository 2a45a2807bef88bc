"""Real and complex arrays where several operators share an argument, or a result."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal

if TYPE_CHECKING:
    from opalg.operators.algebra import LinearOperator


def common_in_kind(operators: Sequence[LinearOperator]) -> str:
    """The kind that operators take together: real where one insists on it, else complex where one does."""
    kinds = {o.in_kind for o in operators}
    return "real" if "real" in kinds else "complex" if "complex" in kinds else "any"


def common_out_kind(operators: Sequence[LinearOperator], kind: str) -> str:
    """The kind of what operators that take one kind together give: complex where one gives that."""
    kinds = {o.out_kind("complex" if o.in_kind == "complex" else kind) for o in operators}
    return "complex" if "complex" in kinds else "real"


def common_adjoint_kind(operators: Sequence[LinearOperator], kind: str) -> str:
    """The kind of what the adjoints of operators that take one kind together give."""
    if common_in_kind(operators) == "real":
        return "real"
    return "complex" if any(o.adjoint_kind(kind) == "complex" for o in operators) else "real"


def embedded(operators: Sequence[LinearOperator]) -> bool:
    """Whether operators side by side give real and complex arrays, so that the real ones do not fill the result."""
    taken = common_in_kind(operators)
    kinds = ("real", "complex") if taken == "any" else (taken,)
    some_real = len({o.out_dtype == "real" for o in operators}) > 1
    return some_real and any(common_out_kind(operators, kind) == "complex" for kind in kinds)


def restricted(operator: LinearOperator, in_kind: str) -> bool:
    """Whether one of several operators sees real arrays only, though it might take complex ones of a larger norm."""
    plain = operator.in_kind == "any" and operator.out_dtype is None
    return in_kind == "real" and operator.in_kind != "real" and not plain


def forward_part(operator: LinearOperator, x: Expression) -> Expression:
    """One of several operators applied to a common argument, which is made complex where it needs that."""
    return operator.trace(Literal(1 + 0j) * x if operator.in_kind == "complex" and x.kind == "real" else x)


def adjoint_part(operator: LinearOperator, y: Expression, in_kind: str) -> Expression:
    """The adjoint of one of several operators; real parts are taken where that side of it is real."""
    if operator.out_dtype == "real" and y.kind == "complex":
        y = ex.pointwise("real", y)
    back = operator.trace_adjoint(y)
    return ex.pointwise("real", back) if in_kind == "real" and back.kind == "complex" else back


def joins(outer: LinearOperator, inner: LinearOperator) -> bool:
    """Whether one operator takes the kind of array that another gives: a real one does not take complex arrays."""
    return not (outer.in_kind == "real" and inner.out_dtype == "complex")


def alike_in_kind(a: LinearOperator, b: LinearOperator) -> bool:
    """Whether two operators take and give the same kinds of arrays."""
    kinds = ("real", "complex") if a.in_kind == "any" else (a.in_kind,)
    return a.in_kind == b.in_kind and all(a.out_kind(k) == b.out_kind(k) for k in kinds)


def growth_in_size(operator: LinearOperator) -> set[int]:
    """The signs of what the operator adds to the number of reals, over the kinds that it takes."""
    signs = set()
    for kind in ("real", "complex") if operator.in_kind == "any" else (operator.in_kind,):
        before = prod(operator.in_shape) * (1 + (kind == "complex"))
        after = prod(operator.out_shape) * (1 + (operator.out_kind(kind) == "complex"))
        signs.add((after > before) - (after < before))
    return signs
