"""Derivatives of step-language graphs, as graphs: ``jvp`` forwards and ``vjp`` backwards.

Complex numbers are pairs of reals with the inner product ``Re sum(conj(u) v)``; a derivative is the real-linear map
between those spaces and ``vjp`` its adjoint, which is also Torch's convention. At kinks a fixed one-sided choice is
made (the derivative of ``abs`` at zero is zero).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from opalg.errors import UnsupportedError
from opalg.nodes import walk
from opalg.program.expression import (
    Apply,
    Broadcast,
    Call,
    Expression,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
    broadcast_to,
    pointwise,
    safe_divide,
    square,
    sum_to,
    total,
    where,
)
from opalg.program.linear import Reshaped, Window

Tangent = Expression | None  # None stands for zero


def jvp(outputs: Sequence[Expression], tangents: dict[Any, Expression]) -> list[Tangent]:
    """The directional derivative of each output when each key of ``tangents`` moves by its value; None is zero."""
    moved: dict[Any, Tangent] = {}
    for current in walk(*outputs):
        if current in tangents:
            moved[current] = tangents[current]
        elif isinstance(current, Expression):
            incoming = [moved.get(c) for c in current.children if isinstance(c, Expression)]
            moved[current] = _push(current, incoming) if any(t is not None for t in incoming) else None
        elif any(moved.get(c) is not None for c in current.children):
            raise _hidden(current)
    return [None if (t := moved.get(o)) is None else broadcast_to(t, o.shape) for o in outputs]


def vjp(outputs: Sequence[Expression], cotangents: Sequence[Tangent], wrt: Sequence[Any]) -> list[Tangent]:
    """The gradient of ``sum_i Re <cotangent_i, output_i>`` in each node of ``wrt``; None is zero."""
    active = _depends_on(outputs, wrt)
    gathered: dict[Any, Expression] = {}

    def gather(target: Expression, amount: Tangent) -> None:
        if amount is None or target not in active:
            return
        if target.kind == "real" and amount.kind == "complex":
            amount = pointwise("real", amount)
        amount = broadcast_to(sum_to(amount, target.shape), target.shape) if amount.shape != target.shape else amount
        gathered[target] = gathered[target] + amount if target in gathered else amount

    for output, cotangent in zip(outputs, cotangents, strict=True):
        gather(output, None if cotangent is None else broadcast_to(cotangent, output.shape))
    wanted = set(wrt)
    for current in reversed(list(walk(*outputs))):
        if current in gathered and current not in wanted:
            children = [c for c in current.children if isinstance(c, Expression)]
            amounts = _pull(current, gathered[current], [c in active for c in children])
            for child, amount in zip(children, amounts, strict=True):
                gather(child, amount)
    return [gathered.get(target) for target in wrt]


def _depends_on(outputs: Sequence[Expression], wrt: Sequence[Any]) -> set[Any]:
    active: set[Any] = set(wrt)
    for current in walk(*outputs):
        if any(child in active for child in current.children):
            if not isinstance(current, Expression):
                raise _hidden(current)
            active.add(current)
    return active


def _hidden(primitive: Any) -> UnsupportedError:
    return UnsupportedError(
        f"{primitive!r} holds data that a gradient is wanted for inside a linear primitive, where none can flow; let "
        f"its operator trace to a product with that data, or hold it as a Constant"
    )


@singledispatch
def _push(current: Any, tangents: list[Tangent]) -> Tangent:
    raise UnsupportedError(f"{type(current).__name__} has no forward derivative")


@singledispatch
def _pull(current: Any, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    raise UnsupportedError(f"{type(current).__name__} has no backward derivative")


@_push.register
def _(current: Reduce, tangents: list[Tangent]) -> Tangent:
    if current.function != "sum":
        raise UnsupportedError(f"a reduction by {current.function} is not differentiated")
    (moved,) = tangents
    assert moved is not None
    return Reduce("sum", broadcast_to(moved, current.argument.shape), current.axes, current.keepdims)


@_pull.register
def _(current: Reduce, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    if current.function != "sum":
        raise UnsupportedError(f"a reduction by {current.function} is not differentiated")
    shape = current.argument.shape
    if current.axes is not None and not current.keepdims:
        dropped = {axis % len(shape) for axis in current.axes}
        kept = tuple(1 if i in dropped else n for i, n in enumerate(shape))
        cotangent = Apply(Reshaped(cotangent.shape, kept), cotangent)
    return [broadcast_to(cotangent, shape)]


@_push.register
def _(current: Broadcast, tangents: list[Tangent]) -> Tangent:
    (moved,) = tangents
    return None if moved is None else broadcast_to(moved, current.shape)


@_pull.register
def _(current: Broadcast, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    return [sum_to(cotangent, current.argument.shape)]


@_push.register
def _(current: Apply, tangents: list[Tangent]) -> Tangent:
    (moved,) = (t for t in tangents)
    return None if moved is None else Apply(current.operator, _full(moved, current.argument), current.adjoint)


@_pull.register
def _(current: Apply, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    return [Apply(current.operator, cotangent, not current.adjoint)]


def _full(moved: Expression, like: Expression) -> Expression:
    return broadcast_to(moved, like.shape)


@_push.register
def _(current: Product, tangents: list[Tangent]) -> Tangent:
    left, right = tangents
    parts = []
    if left is not None:
        parts.append(Product(current.form, _full(left, current.left), current.right, current.stack))
    if right is not None:
        parts.append(Product(current.form, current.left, _full(right, current.right), current.stack))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@_pull.register
def _(current: Product, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    left, right = (pointwise("conj", a) for a in (current.left, current.right))

    def of(form: str, a: Expression, b: Expression) -> Expression:
        return Product(form, a, b, current.stack)

    match current.form:
        case "Mx":
            return [of("xyT", cotangent, right), of("MTx", left, cotangent) if active[1] else None]
        case "MTx":
            return [of("xyT", right, cotangent), of("Mx", left, cotangent) if active[1] else None]
        case _:
            return [of("Mx", cotangent, right), of("MTx", cotangent, left)]


@_push.register
def _(current: Join, tangents: list[Tangent]) -> Tangent:
    pairs = zip(current.arguments, tangents, strict=True)
    full = [broadcast_to(Literal(0.0) if t is None else t, a.shape) for a, t in pairs]
    return Join(tuple(full), current.axis)


@_pull.register
def _(current: Join, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    trailing = current.shape[current.axis :]
    parts: list[Tangent] = []
    begin = 0
    for argument in current.arguments:
        end = begin + argument.shape[current.axis]
        stop = (end, *trailing[1:])
        parts.append(Apply(Window(trailing, (begin,) + (0,) * (len(trailing) - 1), stop), cotangent))
        begin = end
    return parts


@_push.register
def _(current: Call, tangents: list[Tangent]) -> Tangent:
    return current.function.push(current, tangents)


@_pull.register
def _(current: Call, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    return current.function.pull(current, cotangent, active)


@_push.register
def _(current: Pointwise, tangents: list[Tangent]) -> Tangent:
    rule = _LINEAR.get(current.function)
    if rule is not None:
        return rule.push(current, tangents)
    partials = _partials(current)
    moved: Tangent = None
    for partial, tangent in zip(partials, tangents, strict=True):
        if partial is not None and tangent is not None:
            part = partial * tangent
            moved = part if moved is None else moved + part
    return moved


@_pull.register
def _(current: Pointwise, cotangent: Expression, active: list[bool]) -> list[Tangent]:
    rule = _LINEAR.get(current.function)
    if rule is not None:
        return rule.pull(current, cotangent)
    return [
        pointwise("conj", partial) * cotangent if wanted and partial is not None else None
        for partial, wanted in zip(_partials(current), active, strict=True)
    ]


class _RealLinear:
    """Functions that are linear (or piecewise linear) over the reals: their own derivative rules."""

    def __init__(self, push: Callable[..., Tangent], pull: Callable[..., list[Tangent]]) -> None:
        self.push, self.pull = push, pull


def _add_tangents(a: Tangent, b: Tangent, sign: str) -> Tangent:
    if b is None:
        return a
    if a is None:
        return b if sign == "add" else -b
    return pointwise(sign, a, b)


def _zero_or(t: Tangent) -> Expression:
    return Literal(0.0) if t is None else t


def _choose(current: Pointwise, condition: Expression, tangents: list[Tangent]) -> Tangent:
    yes, no = tangents[-2:]
    return None if yes is None and no is None else where(condition, _zero_or(yes), _zero_or(no))


_INNER = {"maximum": ("minimum", "greater", "greater_equal"), "minimum": ("maximum", "less", "less_equal")}


def _larger(current: Pointwise) -> Expression:
    """Where a maximum, or minimum, is its first argument.

    In ``max(min(v, high), low)`` the two bounds may coincide, as those of a soft threshold of weight zero do. Then the
    side on which v lies says which of them moves the value, so that the derivative is that from inside ``low <= high``.
    """
    inner, strictly, weakly = _INNER[current.function]
    a, b = current.arguments
    if isinstance(a, Pointwise) and a.function == inner:
        return pointwise("logical_and", pointwise(weakly, a, b), pointwise(strictly, a.arguments[0], b))
    return pointwise(strictly, a, b)


def _phase(z: Expression) -> Expression:
    """``z / |z|``, and 0 at 0."""
    return safe_divide(z, abs(z)) if z.kind == "complex" else pointwise("sign", z)


def _push_abs(n: Pointwise, t: list[Tangent]) -> Tangent:
    (z,) = n.arguments
    return pointwise("real", pointwise("conj", _phase(z)) * _zero_or(t[0]))


def _pull_choice(condition: Expression, u: Expression) -> list[Tangent]:
    return [where(condition, u, 0.0), where(condition, 0.0, u)]


_LINEAR: dict[str, _RealLinear] = {
    "add": _RealLinear(lambda n, t: _add_tangents(t[0], t[1], "add"), lambda n, u: [u, u]),
    "subtract": _RealLinear(lambda n, t: _add_tangents(t[0], t[1], "subtract"), lambda n, u: [u, -u]),
    "negative": _RealLinear(lambda n, t: -_zero_or(t[0]), lambda n, u: [-u]),
    "conj": _RealLinear(lambda n, t: pointwise("conj", _zero_or(t[0])), lambda n, u: [pointwise("conj", u)]),
    "real": _RealLinear(lambda n, t: pointwise("real", _zero_or(t[0])), lambda n, u: [u]),
    "imag": _RealLinear(lambda n, t: pointwise("imag", _zero_or(t[0])), lambda n, u: [Literal(1j) * u]),
    "abs": _RealLinear(_push_abs, lambda n, u: [_phase(n.arguments[0]) * u]),
    "where": _RealLinear(
        lambda n, t: _choose(n, n.arguments[0], t), lambda n, u: [None, *_pull_choice(n.arguments[0], u)]
    ),
    "maximum": _RealLinear(lambda n, t: _choose(n, _larger(n), t), lambda n, u: _pull_choice(_larger(n), u)),
    "minimum": _RealLinear(lambda n, t: _choose(n, _larger(n), t), lambda n, u: _pull_choice(_larger(n), u)),
}
for _flat in ("sign", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not"):
    _LINEAR[_flat] = _RealLinear(lambda n, t: None, lambda n, u: [None] * len(n.arguments))


def _positive_part(base: Expression) -> Expression:
    """The base of a power for its logarithm; 1 at zero, where ``0^b log 0`` counts as zero."""
    return base if base.kind == "complex" else where(pointwise("greater", base, 0.0), base, 1.0)


def _partials(current: Pointwise) -> list[Tangent]:
    """The holomorphic partial derivatives of an elementary function."""
    args = current.arguments
    match current.function, args:
        case ("multiply", (a, b)):
            return [b, a]
        case ("divide", (a, b)):
            return [1.0 / b, -current / b]
        case ("safe_divide", (a, b)):
            inside = pointwise("greater", b, 0.0)  # at 0 / 0 a multiple of 1 / b may overflow, and then meet a zero
            return [where(inside, safe_divide(1.0, b), 0.0), where(inside, -safe_divide(current, b), 0.0)]
        case ("square", (a,)):
            return [2.0 * a]
        case ("sqrt", (a,)):
            return [0.5 / current if a.kind == "complex" else safe_divide(0.5, current)]
        case ("power", (a, b)):
            in_base = b * pointwise("power", a, b - 1.0)
            return [in_base, None if isinstance(b, Literal) else current * pointwise("log", _positive_part(a))]
        case ("exp", (a,)):
            return [current]
        case ("log", (a,)):
            return [1.0 / a]
        case ("logaddexp", (a, b)):
            return [pointwise("exp", a - current), pointwise("exp", b - current)]
        case ("log1p", (a,)):
            return [1.0 / (1.0 + a)]
        case ("sin", (a,)):
            return [pointwise("cos", a)]
        case ("cos", (a,)):
            return [-pointwise("sin", a)]
        case ("tanh", (a,)):
            return [1.0 - square(current)]
        case ("atan", (a,)):
            return [1.0 / (1.0 + square(a))]
        case ("cosh", (a,)):
            return [pointwise("sinh", a)]
        case ("sinh", (a,)):
            return [pointwise("cosh", a)]
    raise UnsupportedError(f"the elementary function {current.function} has no derivative rule")


def gradient(value: Expression, wrt: Sequence[Any]) -> list[Expression]:
    """The gradient of a scalar expression in each node of ``wrt``, zeros included, with the shape of that node."""
    found = vjp([value], [Literal(1.0)], wrt)
    return [broadcast_to(Literal(0.0) if g is None else g, node.shape) for g, node in zip(found, wrt, strict=True)]


def hessian_vector(value: Expression, wrt: Sequence[Any], directions: Sequence[Expression]) -> list[Expression]:
    """The Hessian of a scalar expression times directions, one expression for each node of ``wrt``."""
    moved = jvp(gradient(value, wrt), dict(zip(wrt, directions, strict=True)))
    return [broadcast_to(Literal(0.0) if h is None else h, node.shape) for h, node in zip(moved, wrt, strict=True)]


def sum_of(parts: Sequence[Expression]) -> Expression:
    """The sum of expressions; the literal zero where there are none."""
    out: Expression = Literal(0.0)
    for part in parts:
        out = out + part
    return out


__all__ = ["gradient", "hessian_vector", "jvp", "sum_of", "total", "vjp"]
