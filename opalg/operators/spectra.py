"""Formulas of diagonals and spectra: conjugates and products that keep realness, and signs that are sure."""

from __future__ import annotations

from math import prod
from typing import Any
from weakref import WeakKeyDictionary

from opalg.errors import DtypeError, ShapeError
from opalg.leaves import Constant, Leaf, Parameter
from opalg.nodes import walk
from opalg.operators.mirrored import Mirrored, Unfolded
from opalg.program import expression as ex
from opalg.program.expression import Apply, Broadcast, Expression, Input, Literal, Pointwise, Reduce, Shape
from opalg.program.interpreter import number
from opalg.program.linear import Reshaped, Window

_CONSTANT_SIGNS: WeakKeyDictionary[Constant, bool] = WeakKeyDictionary()
_FORMULA_ZEROS: WeakKeyDictionary[Expression, bool] = WeakKeyDictionary()
_ROUNDING = 1e-14  # of a transform in double precision, relative to the largest entry


def as_data(value: Any, owner: str) -> Expression:
    """An array, number or expression as a real or complex expression.

    Raises
    ------
    DtypeError
        For boolean data.
    """
    data = value if isinstance(value, Expression) else Constant(value)
    if data.kind == "bool":
        raise DtypeError(f"{owner} takes real or complex numbers, but was given booleans; use Mask for those")
    return data


def check_broadcast(data: Expression, shape: Shape, owner: str) -> None:
    """Raise ShapeError where data does not broadcast to exactly ``shape``."""
    lead = len(shape) - data.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(data.shape, shape[lead:], strict=True)):
        raise ShapeError(f"{owner} has shape {data.shape}, which does not broadcast to {shape}; give it that shape")


def conjugate(e: Expression) -> Expression:
    """The complex conjugate, pushed down to where it meets data, so that conjugate pairs are recognised."""
    if e.kind != "complex":
        return e
    match e:
        case Literal(value=value):
            return ex.as_expression(value.conjugate())
        case Pointwise(function="conj", arguments=(inner,)):
            return inner
        case Pointwise(function="add" | "subtract" | "multiply" | "divide" | "negative" as function, arguments=args):
            return ex.pointwise(function, *(conjugate(a) for a in args))
        case Broadcast(argument=inner, shape=shape):
            return ex.broadcast_to(conjugate(inner), shape)
    return ex.pointwise("conj", e)


def _factors(e: Expression) -> list[Expression]:
    if isinstance(e, Pointwise) and e.function == "multiply":
        return [f for a in e.arguments for f in _factors(a)]
    return [e]


def times(a: Expression, b: Expression) -> Expression:
    """The product ``a b``, where ``conj(s) s`` becomes the real ``|s|^2``, ``s s`` a square, and signs cancel."""
    left: list[Expression] = []
    signs, right = _unsigned(_factors(b))
    more, first = _unsigned(_factors(a))
    for factor in first:
        partner = conjugate(factor)
        if isinstance(factor, Literal) or partner not in right:
            left.append(factor)
        else:
            right.remove(partner)
            left.append(ex.square_abs(partner if _is_conjugated(factor) else factor))
    numbers = [f for f in left + right if isinstance(f, Literal)]
    number = prod((f.value for f in numbers), start=-1.0 if (signs + more) % 2 else 1.0)
    out: Expression = Literal(number.real if number.imag == 0 else number)
    for factor in sorted((f for f in left + right if f not in numbers), key=lambda f: f.kind == "complex"):
        out = out * factor
    return out


def _unsigned(factors: list[Expression]) -> tuple[int, list[Expression]]:
    """The number of negated factors, and the factors without those signs."""
    negated = [isinstance(f, Pointwise) and f.function == "negative" for f in factors]
    bare = [f.arguments[0] if n and isinstance(f, Pointwise) else f for f, n in zip(factors, negated, strict=True)]
    return sum(negated), bare


def _is_conjugated(e: Expression) -> bool:
    return isinstance(e, Pointwise) and e.function == "conj"


def is_nonnegative(e: Expression) -> bool:
    """Whether an expression is real with no negative entry, as far as its form tells (constants are looked at)."""
    if e.kind == "complex":
        return False
    match e:
        case Literal(value=value):
            return value.real >= 0
        case Parameter():
            return e.nonneg or e.positive
        case Constant():
            if e not in _CONSTANT_SIGNS:
                _CONSTANT_SIGNS[e] = 0 in e.shape or bool((e.value >= 0).all())
            return _CONSTANT_SIGNS[e]
        case Pointwise(function="square" | "abs" | "exp" | "sqrt" | "cosh"):
            return True
        case Pointwise(function="add" | "multiply" | "divide" | "safe_divide" | "minimum" | "power", arguments=args):
            return all(map(is_nonnegative, args))
        case Pointwise(function="maximum", arguments=args):
            return any(map(is_nonnegative, args))
        case Pointwise(function="where", arguments=(_, yes, no)):
            return is_nonnegative(yes) and is_nonnegative(no)
        case Broadcast(argument=inner) | Reduce(argument=inner):
            return is_nonnegative(inner)
        case Apply(operator=Window() | Mirrored() | Unfolded() | Reshaped(), argument=inner):
            return is_nonnegative(inner)
        case Apply(operator=primitive, argument=inner) if getattr(primitive, "nonnegative", False):
            return is_nonnegative(inner)
    return False


def has_constant_zero(e: Expression) -> bool:
    """Whether data that do not change have a zero entry; formulas of constants up to the rounding of transforms.

    What holds a parameter or an input is not looked at, since it may change.
    """
    if isinstance(e, Literal):
        return bool(e.value == 0)
    if isinstance(e, Constant):
        return bool((e.value == 0).any())
    if e not in _FORMULA_ZEROS:
        _FORMULA_ZEROS[e] = not any(isinstance(n, (Parameter, Input)) for n in walk(e)) and _nearly_zero(e)
    return _FORMULA_ZEROS[e]


def _nearly_zero(e: Expression) -> bool:
    size = abs(e)
    return number(ex.smallest(size)) <= _ROUNDING * number(ex.largest(size))


def pseudo_reciprocal(e: Expression, cutoff: float) -> Expression:
    """``1 / e``, with 0 where an entry is not larger than ``cutoff`` times the largest one."""
    size = abs(e)
    kept = ex.pointwise("greater", size, cutoff * ex.largest(size))
    return ex.where(kept, 1.0 / ex.where(kept, e, 1.0), 0.0)


def text(e: Expression) -> str:
    """A short text of data for ``repr``: a leaf's name and shape, else the formula."""
    if isinstance(e, Leaf):
        return e.name or f"array of shape {e.shape}"
    return repr(e)
