"""Which operators are linear over the complex numbers, and not only over the reals."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from opalg.nodes import substitute, walk
from opalg.operators.algebra import Added, Adjoint, Composed, Conjugated, LinearOperator, Scaled
from opalg.operators.batched import Batched
from opalg.operators.block import BlockDiagonal, BlockMatrix
from opalg.operators.function import OpaqueOperator
from opalg.operators.mirrored import Mirrored, Unfolded
from opalg.operators.spectral import DiagonalIn
from opalg.operators.stack import Stacked
from opalg.program.expression import (
    Apply,
    Broadcast,
    Expression,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
    pointwise,
)

_KNOWN: WeakKeyDictionary[LinearOperator, bool] = WeakKeyDictionary()
_COMBINED = (Added, Adjoint, Composed, Conjugated, Scaled, Batched, BlockDiagonal, BlockMatrix, Stacked)
_LINEAR = {"add", "subtract", "negative", "multiply", "divide", "where"}


def complex_linear(operator: LinearOperator) -> bool:
    """Whether ``A (c x) = c A x`` is sure for complex c, as the operator's trace tells; False where it is not."""
    if operator not in _KNOWN:
        _KNOWN[operator] = _looked_at(operator)
    return _KNOWN[operator]


def is_real(operator: LinearOperator) -> bool:
    """Whether it maps real arrays to real ones and treats real and imaginary parts alike."""
    if isinstance(operator, OpaqueOperator):
        return False
    plain = operator.in_kind == "any" and operator.out_kind("real") == "real"
    return plain and operator.out_kind("complex") == "complex"


def _looked_at(operator: LinearOperator) -> bool:
    if operator.in_kind == "real" or operator.out_dtype == "real":
        return False
    if isinstance(operator, DiagonalIn):
        return True
    if isinstance(operator, _COMBINED):
        return all(complex_linear(part) for part in operator.children if isinstance(part, LinearOperator))
    x = Input("x", operator.in_shape, "complex")
    out = operator.trace(x)
    if _treats_parts_alike(out, x):
        return True
    moving: set[Expression] = {x}
    for current in walk(out, within=Expression):
        if isinstance(current, Expression) and any(child in moving for child in current.children):
            if current.kind != "complex" or not _keeps_multiples(current, moving):
                return False
            moving.add(current)
    return True


def _treats_parts_alike(out: Expression, x: Expression) -> bool:
    """Whether an expression is ``B(Re x) + i B(Im x)``, as operators write it that apply a real transform twice."""
    match out:
        case Pointwise(
            function="add", arguments=(one, Pointwise(function="multiply", arguments=(Literal(value=1j), other)))
        ):
            return substitute(one, {pointwise("real", x): pointwise("imag", x)}) is other
    return False


def _keeps_multiples(current: Expression, moving: set[Expression]) -> bool:
    """Whether one node that depends on the argument commutes with complex numbers."""
    match current:
        case Pointwise(function="divide", arguments=(_, below)):
            return below not in moving
        case Pointwise(function=function):
            return function in _LINEAR
        case Apply(operator=operator):
            return not isinstance(operator, (OpaqueOperator, Mirrored, Unfolded))
        case Reduce(function=function):
            return function == "sum"
        case Broadcast() | Join() | Product():
            return True
    return False
