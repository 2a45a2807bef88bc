"""The step language: what every value, gradient, prox and iteration of opalg is written in.

An expression is a graph of a few kinds of node: `Literal`, `Input` (a state or control of a program), leaves that hold
data (`opalg.leaves`), `Pointwise` (one elementary function of its arguments, with NumPy broadcasting), `Reduce`,
`Broadcast`, `Apply` (a linear primitive), `Product` (a dense matrix that is itself data), `Join`, and `Call` (an opaque
function with its own derivative). Shapes are static; precision, device and library are chosen when a program is bound.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import numpy as np

from opalg.errors import DtypeError, ShapeError
from opalg.nodes import Node, node
from opalg.program.linear import Linear

Kind = str  # "real", "complex" or "bool"
Shape = tuple[int, ...]

_TO_BOOL = {"greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not"}
_TO_REAL = {"abs", "real", "imag"}


class Expression(Node):
    """A node of the step language, with a static ``shape`` and ``kind``; arithmetic builds larger ones."""

    __array_ufunc__ = None
    shape: Shape
    kind: Kind

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __add__(self, other: Any) -> Any:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _binary("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _binary("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _binary("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _binary("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _binary("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return _binary("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _binary("power", other, self)

    def __neg__(self) -> Expression:
        return pointwise("negative", self)

    def __abs__(self) -> Expression:
        return pointwise("abs", self)

    def _sympy_(self) -> Any:
        from opalg.program.formula import to_sympy

        return to_sympy(self)

    def __repr__(self) -> str:
        from opalg.program.text import text_of

        return text_of(self)


@node
class Literal(Expression):
    """A number written in a formula; it takes the precision of what it meets."""

    value: float | complex | bool
    shape: ClassVar[Shape] = ()  # type: ignore[misc]

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        if isinstance(self.value, bool):
            return "bool"
        return "complex" if isinstance(self.value, complex) else "real"


@node
class Input(Expression):
    """A named input of a program: part of the state, or a control (a scalar that the loop may change)."""

    name: str
    shape: Shape
    kind: Kind = "real"
    role: str = "state"


@node
class Pointwise(Expression):
    """An elementary function of its arguments, entry by entry, with NumPy broadcasting."""

    function: str
    arguments: tuple[Expression, ...]

    def __post_init__(self) -> None:
        shape = np.broadcast_shapes(*(a.shape for a in self.arguments))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "kind", _result_kind(self.function, self.arguments))


@node
class Reduce(Expression):
    """Sum, maximum or minimum over some trailing-counted axes (negative numbers), or over all (``axes=None``)."""

    function: str
    argument: Expression
    axes: tuple[int, ...] | None
    keepdims: bool = False

    def __post_init__(self) -> None:
        shape = self.argument.shape
        if self.axes is None:
            reduced: Shape = ()
        else:
            dropped = {axis % len(shape) for axis in self.axes}
            kept = ((1 if i in dropped else n) for i, n in enumerate(shape) if self.keepdims or i not in dropped)
            reduced = tuple(kept)
        object.__setattr__(self, "shape", reduced)
        object.__setattr__(self, "kind", "bool" if self.function in ("all", "any") else self.argument.kind)


@node
class Broadcast(Expression):
    """The argument repeated to a larger shape, as NumPy broadcasts."""

    argument: Expression
    shape: Shape

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return self.argument.kind


@node
class Apply(Expression):
    """A linear primitive, or its adjoint, applied to the trailing axes of the argument."""

    operator: Linear
    argument: Expression
    adjoint: bool = False

    def __post_init__(self) -> None:
        source, target = self.operator.in_shape, self.operator.out_shape
        kind_of = self.operator.out_kind
        if self.adjoint:
            source, target, kind_of = target, source, self.operator.adjoint_kind
        batch = batch_shape(self.argument.shape, source, self.operator)
        object.__setattr__(self, "shape", batch + target)
        object.__setattr__(self, "kind", kind_of(self.argument.kind))


@node
class Product(Expression):
    """A dense matrix times vectors on the last axis, where the matrix is data that gradients may be wanted for.

    ``form`` is ``"Mx"`` (``M @ x``), ``"MTx"`` (``M.T @ x``, no conjugate) or ``"xyT"`` (the sum over the batch of
    ``x y^T``). With ``stack`` there are as many matrices as the axis in front of the last one of a vector says, each
    with vectors of its own.
    """

    form: str
    left: Expression
    right: Expression
    stack: bool = False

    def __post_init__(self) -> None:
        left, right = self.left.shape, self.right.shape
        outer = left[-2 if self.stack else -1 :] + right[-1:]
        shapes = {"Mx": right[:-1] + left[-2:-1], "MTx": right[:-1] + left[-1:], "xyT": outer}
        object.__setattr__(self, "shape", shapes[self.form])
        kinds = {self.left.kind, self.right.kind}
        object.__setattr__(self, "kind", "complex" if "complex" in kinds else "real")


@node
class Join(Expression):
    """Arguments laid end to end along an axis counted from the end."""

    arguments: tuple[Expression, ...]
    axis: int

    def __post_init__(self) -> None:
        first = list(self.arguments[0].shape)
        first[self.axis] = sum(a.shape[self.axis] for a in self.arguments)
        object.__setattr__(self, "shape", tuple(first))
        kinds = {a.kind for a in self.arguments}
        object.__setattr__(self, "kind", "complex" if "complex" in kinds else "real")


@node
class Call(Expression):
    """An opaque function of arrays that brings its own derivatives: a network, an iterative prox."""

    function: Any
    arguments: tuple[Expression, ...]
    shape: Shape
    kind: Kind


def batch_shape(shape: Shape, trailing: Shape, owner: Any) -> Shape:
    """The leading axes of ``shape`` in front of ``trailing``; raises ShapeError where the trailing axes differ."""
    split = len(shape) - len(trailing)
    if split < 0 or shape[split:] != trailing:
        raise ShapeError(
            f"{owner!r} expects the trailing axes {trailing}, but was given an array of shape {shape}. "
            f"Give it an array whose last {len(trailing)} axes are {trailing}; axes before them count as a batch."
        )
    return shape[:split]


def _result_kind(function: str, arguments: tuple[Expression, ...]) -> Kind:
    if function in _TO_BOOL:
        return "bool"
    if function in _TO_REAL:
        return "real"
    values = arguments[1:] if function == "where" else arguments
    return "complex" if any(a.kind == "complex" for a in values) else "real"


def as_expression(value: Any) -> Expression:
    """A number or expression as an expression; raises DtypeError for anything else."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, (bool, np.bool_)):
        return Literal(bool(value))
    if isinstance(value, (int, float, np.integer, np.floating)):
        return Literal(float(value))
    if isinstance(value, (complex, np.complexfloating)):
        return Literal(complex(value))
    raise DtypeError(
        f"{type(value).__name__} is not a number or an expression; wrap arrays in oa.Constant or oa.Parameter"
    )


def _binary(function: str, left: Any, right: Any) -> Any:
    if type(left).__module__.startswith("sympy") or type(right).__module__.startswith("sympy"):
        from opalg.program.formula import from_sympy, is_closed

        if not all(is_closed(v) for v in (left, right)):
            return NotImplemented  # a formula with free symbols stays a formula: sympy takes it from here
        left, right = (from_sympy(v) if type(v).__module__.startswith("sympy") else v for v in (left, right))
    try:
        return pointwise(function, as_expression(left), as_expression(right))
    except DtypeError:
        return NotImplemented


def _is(expression: Expression, value: float) -> bool:
    """Whether it is that real number; a complex literal is not, since it makes its partner complex."""
    return isinstance(expression, Literal) and isinstance(expression.value, float) and expression.value == value


def pointwise(function: str, *arguments: Any) -> Expression:
    """Build a pointwise node, folding what is trivial: literals, neutral elements, needless broadcasts."""
    args = tuple(as_expression(a) for a in arguments)
    args = _without_needless_broadcasts(args)
    if all(isinstance(a, Literal) for a in args) and function in _LITERAL:
        return as_expression(_LITERAL[function](*(a.value for a in args if isinstance(a, Literal))))
    folded = _fold_neutral(function, args)
    return folded if folded is not None else Pointwise(function, args)


_LITERAL: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "negative": lambda a: -a,
    "conj": lambda a: a.conjugate(),
    "square": lambda a: a * a,
    "abs": abs,
}


def _without_needless_broadcasts(args: tuple[Expression, ...]) -> tuple[Expression, ...]:
    shape = np.broadcast_shapes(*(a.shape for a in args))
    kept = list(args)
    for i, a in enumerate(kept):
        if isinstance(a, Broadcast):
            others = [b.shape for j, b in enumerate(kept) if j != i]
            if np.broadcast_shapes(a.argument.shape, *others) == shape:
                kept[i] = a.argument
    return tuple(kept)


def _fold_neutral(function: str, args: tuple[Expression, ...]) -> Expression | None:
    """x + 0, x - 0, 1 * x, x / 1, -(-x), conj of real, and numbers gathered at the front; None where nothing folds."""
    match function, args:
        case ("add", (a, b)) if _is(a, 0.0) and _result_kind(function, args) == b.kind:
            return b
        case ("add" | "subtract", (a, b)) if _is(b, 0.0) and _result_kind(function, args) == a.kind:
            return a
        case ("subtract", (a, b)) if _is(a, 0.0):
            return pointwise("negative", b)
        case ("multiply", (a, b)) if _is(a, 1.0):
            return b
        case ("multiply" | "divide" | "power", (a, b)) if _is(b, 1.0):
            return a
        case ("multiply", (a, Literal() as b)) if not isinstance(a, Literal):
            return pointwise("multiply", b, a)
        case ("multiply", (Literal() as a, Pointwise(function="multiply", arguments=(Literal() as b, c)))):
            return pointwise("multiply", pointwise("multiply", a, b), c)
        case ("multiply", (a, b)) if _is(a, -1.0):
            return pointwise("negative", b)
        case ("negative", (Pointwise(function="negative", arguments=(a,)),)):
            return a
        case ("conj", (a,)) if a.kind != "complex":
            return a
        case ("conj", (Pointwise(function="conj", arguments=(a,)),)):
            return a
        case ("real", (a,)) if a.kind != "complex":
            return a
        case ("power", (a, b)) if _is(b, 2.0):
            return square(a)
        case ("power", (a, b)) if _is(b, 0.5):
            return pointwise("sqrt", a)
    return None


def square(x: Expression) -> Expression:
    """``x * x`` for a real or complex expression (no conjugate)."""
    return pointwise("square", x)


def square_abs(x: Expression) -> Expression:
    """``|x|^2`` as a real expression."""
    if x.kind != "complex":
        return pointwise("square", x)
    return pointwise("square", pointwise("real", x)) + pointwise("square", pointwise("imag", x))


def total(x: Expression) -> Expression:
    """The sum of all entries."""
    return x if x.shape == () else Reduce("sum", x, None)


def inner(u: Expression, v: Expression) -> Expression:
    """The real inner product ``Re sum(conj(u) v)``."""
    if u.kind == "complex" and v.kind == "complex":
        parts = [pointwise(part, u) * pointwise(part, v) for part in ("real", "imag")]
        return total(parts[0] + parts[1])
    if u.kind == "complex" or v.kind == "complex":
        u, v = pointwise("real", u), pointwise("real", v)
    return total(u * v)


def norm_squared(x: Expression) -> Expression:
    """The sum of squared magnitudes, ``sum |x|^2``."""
    return total(square_abs(x))


def broadcast_to(x: Expression, shape: Shape) -> Expression:
    """The expression with exactly the given shape."""
    return x if x.shape == shape else Broadcast(x, shape)


def sum_to(x: Expression, shape: Shape) -> Expression:
    """Sum over the axes that broadcasting from ``shape`` to ``x.shape`` had repeated; the adjoint of broadcasting."""
    if x.shape == shape:
        return x
    if prod(shape) == 1 and shape == ():
        return total(x)
    lead = x.ndim - len(shape)
    if lead:
        x = Reduce("sum", x, tuple(range(-x.ndim, -len(shape))))
    repeated = tuple(i - len(shape) for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return Reduce("sum", x, repeated, keepdims=True) if repeated else x


def where(condition: Expression, yes: Any, no: Any) -> Expression:
    """``yes`` where the condition holds, else ``no``."""
    return pointwise("where", condition, yes, no)


def maximum(a: Any, b: Any) -> Expression:
    """The larger of two real expressions, entry by entry."""
    return pointwise("maximum", a, b)


def minimum(a: Any, b: Any) -> Expression:
    """The smaller of two real expressions, entry by entry."""
    return pointwise("minimum", a, b)


def sqrt(a: Any) -> Expression:
    """The square root; its derivative at zero is taken as a large finite number, so that masked zeros stay zero."""
    return pointwise("sqrt", a)


def exp(a: Any) -> Expression:
    """The exponential, entry by entry."""
    return pointwise("exp", a)


def log(a: Any) -> Expression:
    """The natural logarithm, entry by entry."""
    return pointwise("log", a)


def safe_divide(a: Any, b: Any) -> Expression:
    """``a / b`` for ``b >= 0``, with 0 where both are zero."""
    return pointwise("safe_divide", a, b)


def largest(x: Expression) -> Expression:
    """The largest entry of a real expression; 0 where there are none."""
    if 0 in x.shape:
        return Literal(0.0)
    return x if x.shape == () else Reduce("max", x, None)


def smallest(x: Expression) -> Expression:
    """The smallest entry of a real expression."""
    return x if x.shape == () else Reduce("min", x, None)
