"""Variables, affine expressions of one or several of them (``K @ x - y``), and constraints on those (``x >= 0``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.energies.text import affine_text
from opalg.errors import DtypeError, NotAffineError, ShapeError
from opalg.functionals.sets import Box, Set, point
from opalg.leaves import Constant, Leaf
from opalg.nodes import Node, node
from opalg.operators.algebra import Identity, LinearOperator, Zero, add, as_shape, compose, scale
from opalg.operators.batched import AsComplex, trim_to
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape


class AffineExpression(Node):
    """What variables and affine expressions share: their arithmetic, and comparisons that make constraints."""

    __array_ufunc__ = None
    shape: Shape

    def as_affine(self) -> Affine:
        """This expression as operators on variables plus an offset."""
        raise NotImplementedError

    def __rmatmul__(self, operator: Any) -> Affine:
        if not isinstance(operator, LinearOperator):
            raise NotAffineError(
                f"{type(operator).__name__} @ {self!r}: the left side must be an operator; wrap arrays in oa.Matrix"
            )
        return self.as_affine().mapped(operator)

    def __add__(self, other: Any) -> Any:
        return _added(self, other, 1.0)

    def __radd__(self, other: Any) -> Any:
        return _added(self, other, 1.0)

    def __sub__(self, other: Any) -> Any:
        return _added(self, other, -1.0)

    def __rsub__(self, other: Any) -> Any:
        return _added(-self, other, 1.0)

    def __neg__(self) -> Affine:
        return self.as_affine().scaled(Literal(-1.0))

    def __mul__(self, factor: Any) -> Any:
        return _multiplied(self, factor)

    def __rmul__(self, factor: Any) -> Any:
        return _multiplied(self, factor)

    def __truediv__(self, factor: Any) -> Any:
        found = as_data(factor)
        return NotImplemented if found is None else _multiplied(self, 1.0 / found)

    def __pow__(self, exponent: Any) -> Any:
        raise NotAffineError(f"({self!r}) ** {exponent!r} is not affine; write oa.sum_squares(...) or another functional")

    def __ge__(self, bound: Any) -> Any:
        return compared(self, bound, "lower")

    def __le__(self, bound: Any) -> Any:
        return compared(self, bound, "upper")

    def __eq__(self, other: object) -> Any:
        if other is self:
            return True
        if not isinstance(other, AffineExpression) and as_data(other) is None:
            return NotImplemented
        return compared(self, other, "equal")

    __hash__ = Node.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} stands for unknown numbers and has no truth value")


@node
class Variable(AffineExpression):
    """An unknown of an energy.

    Parameters
    ----------
    shape : int or tuple of int
        Its shape, batch axes included.
    name : str, optional
        A label for people.
    dtype : optional
        A complex dtype makes it complex; a floating one also fixes its precision. By default it is real, with the
        precision of the data.

    Raises
    ------
    ShapeError, DtypeError
        For what is no shape, or no floating or complex dtype.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.Variable((3, 4), name="x").shape
    (3, 4)
    """

    interned = False
    shape: Shape
    name: str | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape))
        precision_and_kind(self.dtype)

    @property
    def kind(self) -> str:
        """``"real"`` or ``"complex"``."""
        return precision_and_kind(self.dtype)[1]

    @property
    def precision(self) -> str | None:
        """``"float32"``, ``"float64"`` or None where the data decide."""
        return precision_and_kind(self.dtype)[0]

    @property
    def label(self) -> str:
        """The name for messages and formulas."""
        return self.name or "x"

    def as_affine(self) -> Affine:
        return Affine((Part(self, Identity(self.shape)),), None)

    def __repr__(self) -> str:
        return self.label


def precision_and_kind(dtype: Any) -> tuple[str | None, str]:
    """The precision (or None) and kind that a user's dtype means."""
    if dtype is None or dtype is float or dtype == "real":
        return None, "real"
    if dtype is complex or dtype == "complex":
        return None, "complex"
    name = str(getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or dtype).rpartition(".")[2]
    known = {
        "float32": ("float32", "real"),
        "float64": ("float64", "real"),
        "complex64": ("float32", "complex"),
        "complex128": ("float64", "complex"),
    }
    if name not in known:
        raise DtypeError(f"a variable's dtype must be one of {', '.join(known)}, float or complex, not {dtype!r}")
    return known[name]


@node
class Part(Node):
    """An operator on the trailing axes of one variable."""

    variable: Variable
    operator: LinearOperator

    @property
    def shape(self) -> Shape:
        """The shape of the result, batch axes included."""
        lead = len(self.variable.shape) - len(self.operator.in_shape)
        return self.variable.shape[:lead] + self.operator.out_shape

    @property
    def kind(self) -> str:
        """The kind of the result."""
        return self.operator.out_kind(self.variable.kind)


@node
class Affine(AffineExpression):
    """A sum of operators on variables, plus an offset."""

    parts: tuple[Part, ...]
    offset: Expression | None = None

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.parts[0].shape

    @property
    def kind(self) -> str:
        """``"real"`` or ``"complex"``."""
        kinds = {p.kind for p in self.parts} | ({self.offset.kind} if self.offset is not None else set())
        return "complex" if "complex" in kinds else "real"

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables, in order."""
        return tuple(p.variable for p in self.parts)

    def as_affine(self) -> Affine:
        return self

    def operator_of(self, variable: Variable) -> LinearOperator:
        """The operator that acts on a variable."""
        for part in self.parts:
            if part.variable is variable:
                return part.operator
        return Zero(variable.shape, self.shape)

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        """The expression at a point, in the step language."""
        moved = self.linear_trace(point)
        return moved if self.offset is None else moved + self.offset

    def linear_trace(self, point: Mapping[Variable, Expression]) -> Expression:
        """The expression at a point without its offset."""
        out: Expression | None = None
        for part in self.parts:
            piece = part.operator.trace(point[part.variable])
            out = piece if out is None else out + piece
        assert out is not None
        return out

    def mapped(self, operator: LinearOperator) -> Affine:
        """``operator @ self``."""
        ex.batch_shape(self.shape, operator.in_shape, operator)
        parts = tuple(Part(p.variable, _after(operator, p)) for p in self.parts)
        return Affine(parts, None if self.offset is None else operator.trace(self.offset))

    def scaled(self, factor: Expression) -> Affine:
        """``factor * self`` for a scalar factor."""
        parts = tuple(Part(p.variable, scale(factor, p.operator)) for p in self.parts)
        return Affine(parts, None if self.offset is None else factor * self.offset)

    def without_offset(self) -> Affine:
        """The linear part."""
        return Affine(self.parts, None)

    def __repr__(self) -> str:
        return affine_text(self)


def _after(operator: LinearOperator, part: Part) -> LinearOperator:
    """The operator after a part's own; identities shrink to the trailing axes that the operator acts on."""
    inner: LinearOperator = part.operator
    if operator.in_kind == "complex" and part.kind == "real":
        inner = compose(AsComplex(inner.out_shape), inner)
    if operator.in_kind == "real" and part.kind == "complex":
        raise DtypeError(
            f"{operator!r} takes real arrays, but {part.operator!r} @ {part.variable.label} is complex; "
            f"declare the variable real, or put a real part in between"
        )
    outer, inner = trim_to(operator, inner)
    return compose(outer, inner)


def as_data(value: Any) -> Expression | None:
    """A number, array, leaf, formula or sympy expression as an expression; None for anything else."""
    if isinstance(value, Expression):
        return value
    if library_name(value) is not None or isinstance(value, (list, tuple)):
        array = np.asarray(value, dtype=float) if isinstance(value, (list, tuple)) else value
        return Literal(array.item()) if array.shape == () and library_name(array) == "numpy" else Constant(array)
    if type(value).__module__.startswith("sympy"):
        from opalg.program.formula import from_sympy

        return from_sympy(value)
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return ex.as_expression(value)
    return None


def _added(left: AffineExpression, right: Any, sign: float) -> Any:
    a = left.as_affine()
    if isinstance(right, AffineExpression):
        return _sum_of_affine(a, right.as_affine().scaled(Literal(sign)) if sign != 1.0 else right.as_affine())
    offset = as_data(right)
    if offset is None:
        return NotImplemented
    offset = as_offset(offset, a)
    shifted = offset if sign == 1.0 else -offset
    return Affine(a.parts, shifted if a.offset is None else a.offset + shifted)


def as_offset(offset: Expression, affine: Affine) -> Expression:
    """An offset that fits an affine expression: the same shape, or one number.

    Raises
    ------
    ShapeError, DtypeError
        For another shape (nothing is broadcast silently), or complex data where the expression is real.
    """
    label = offset.label if isinstance(offset, Leaf) else "the offset"
    if int(np.prod(offset.shape)) != 1 and offset.shape != affine.shape:
        raise ShapeError(
            f"{label} has shape {offset.shape}, but {affine.without_offset()!r} has shape {affine.shape}; nothing is "
            f"broadcast silently. Give it shape {affine.shape}, or declare the variable with the batch axes of the data."
        )
    if offset.kind == "complex" and affine.kind == "real":
        raise DtypeError(
            f"{label} is complex, but {affine.without_offset()!r} is real; declare Variable(..., dtype=complex) or give "
            f"real data"
        )
    if offset.kind == "bool":
        raise DtypeError(f"{label} is boolean; convert it to a floating dtype first")
    return ex.broadcast_to(offset, affine.shape) if offset.shape != affine.shape else offset


def _sum_of_affine(a: Affine, b: Affine) -> Affine:
    if a.shape != b.shape:
        raise ShapeError(f"cannot add {a!r} of shape {a.shape} and {b!r} of shape {b.shape}")
    operators = {p.variable: p.operator for p in a.parts}
    for part in b.parts:
        if part.variable in operators:
            operators[part.variable] = add(*trim_to(operators[part.variable], part.operator, same_input=True))
        else:
            operators[part.variable] = part.operator
    offsets = [o for o in (a.offset, b.offset) if o is not None]
    offset = None if not offsets else offsets[0] if len(offsets) == 1 else offsets[0] + offsets[1]
    return Affine(tuple(Part(v, o) for v, o in operators.items()), offset)


def _multiplied(expression: AffineExpression, factor: Any) -> Any:
    if isinstance(factor, (AffineExpression, LinearOperator)):
        raise NotAffineError(f"the product of {expression!r} and {factor!r} is not affine; apply operators with @")
    found = as_data(factor)
    if found is None:
        return NotImplemented
    affine = expression.as_affine()
    if int(np.prod(found.shape)) == 1:
        if found.kind == "complex" and affine.kind == "real":
            raise DtypeError(f"{affine!r} is real and cannot be scaled by the complex number {factor!r}")
        return affine.scaled(found if found.shape == () else ex.total(found))
    return affine.mapped(Diagonal(found, in_shape=affine.shape))


@node
class Constraint(Node):
    """An affine expression that must lie in a set; made by comparing, used by ``indicator`` and ``minimize``."""

    expression: Affine
    set: Set
    text: str

    def __bool__(self) -> bool:
        if "==" in self.text:
            return False  # two different expressions; the same one compares equal before a constraint is made
        raise TypeError(f"the constraint {self.text} has no truth value; write a double bound as two constraints")

    def __repr__(self) -> str:
        return self.text


def compared(left: AffineExpression, right: Any, sense: str) -> Any:
    """The constraint that ``left >= right`` ("lower"), ``left <= right`` ("upper") or ``left == right`` states."""
    if isinstance(right, AffineExpression):
        difference = left - right
        return compared(difference, 0.0, sense)
    bound = as_data(right)
    if bound is None:
        return NotImplemented
    affine = left.as_affine()
    symbol = {"lower": ">=", "upper": "<=", "equal": "=="}[sense]
    text = f"{left!r} {symbol} {bound!r}"
    if sense == "equal":
        shifted = affine - bound
        return Constraint(shifted, point(), text)
    if affine.kind == "complex":
        raise DtypeError(f"{text}: a complex expression has no order; constrain its real part or its magnitude")
    if bound.shape not in ((), affine.shape):
        raise ShapeError(f"{text}: the bound has shape {bound.shape}, the expression {affine.shape}")
    if affine.offset is not None:
        bound = bound - affine.offset if bound.shape == affine.shape else as_offset(bound, affine) - affine.offset
    box = Box(bound, None) if sense == "lower" else Box(None, bound)
    return Constraint(affine.without_offset(), box, text)
