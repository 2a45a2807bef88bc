"""Variables, affine expressions of one or several of them (``K @ x - y``), and constraints on those (``x >= 0``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.energies.data import as_data, as_scalar, has_one_entry, label_of, reciprocal
from opalg.energies.text import affine_text, constraint_text
from opalg.errors import DtypeError, NotAffineError, ParameterError, ShapeError
from opalg.functionals.boxes import Box
from opalg.functionals.points import Point, point
from opalg.functionals.sets import Set
from opalg.nodes import Node, node
from opalg.operators.algebra import Identity, LinearOperator, Zero, add, compose, scale
from opalg.operators.axes import as_shape
from opalg.operators.batched import AsComplex, trim_to
from opalg.operators.diagonal import Diagonal
from opalg.operators.indexing import indexed
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape


class AffineExpression(Node):
    """What variables and affine expressions share: their arithmetic, and comparisons that make constraints."""

    __array_ufunc__ = None
    __array_priority__ = 1000.0  # so that SciPy's sparse matrices leave their products to us
    shape: Shape

    def as_affine(self) -> Affine:
        """This expression as operators on variables plus an offset."""
        raise NotImplementedError

    def __rmatmul__(self, operator: Any) -> Affine:
        if not isinstance(operator, LinearOperator):
            hint = f"; write oa.Matrix(...) @ {self!r}" if len(getattr(operator, "shape", ())) == 2 else ""
            raise NotAffineError(f"{type(operator).__name__} @ {self!r}: the left side must be a linear operator{hint}")
        return self.as_affine().mapped(operator)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LinearOperator):
            raise NotAffineError(f"{self!r} @ {other!r}: operators stand on the left; write {other!r} @ {self!r}")
        if isinstance(other, AffineExpression) or as_data(other) is not None:
            raise NotAffineError(f"{self!r} @ {type(other).__name__}: the left side of @ must be an operator")
        return NotImplemented

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

    def __pos__(self) -> AffineExpression:
        return self

    def __mul__(self, factor: Any) -> Any:
        return _multiplied(self, factor)

    def __rmul__(self, factor: Any) -> Any:
        return _multiplied(self, factor)

    def __truediv__(self, factor: Any) -> Any:
        if isinstance(factor, AffineExpression):
            raise NotAffineError(f"({self!r}) / ({factor!r}) is not affine; only numbers and data divide")
        found = as_data(factor)
        return NotImplemented if found is None else _multiplied(self, reciprocal(found, self))

    def __rtruediv__(self, other: Any) -> Any:
        raise NotAffineError(f"a quotient by {self!r} is not affine; unknowns may be scaled, added and operated on")

    def __pow__(self, exponent: Any) -> Any:
        raise NotAffineError(
            f"({self!r}) ** {exponent!r} is not affine; for a sum of squares write oa.sum_squares({self!r})"
        )

    def __rpow__(self, base: Any) -> Any:
        raise NotAffineError(f"{base!r} ** ({self!r}) is not affine; see oa.pointwise for functions of the entries")

    def __abs__(self) -> Any:
        raise NotAffineError(f"abs({self!r}) is not affine; for a sum of magnitudes write oa.norm1({self!r})")

    def __getitem__(self, index: Any) -> Affine:
        return self.as_affine().mapped(indexed(self.shape, index))

    __iter__ = None  # without it Python would try x[0], x[1], ...

    def __ge__(self, bound: Any) -> Any:
        return compared(self, bound, ">=")

    def __le__(self, bound: Any) -> Any:
        return compared(self, bound, "<=")

    def __gt__(self, bound: Any) -> Any:
        raise NotAffineError(f"strict bounds have no nearest point; write {self!r} >= ... in place of >")

    def __lt__(self, bound: Any) -> Any:
        raise NotAffineError(f"strict bounds have no nearest point; write {self!r} <= ... in place of <")

    def __eq__(self, other: object) -> Any:
        if other is self:
            return True
        if isinstance(other, AffineExpression):
            if other.shape != self.shape:
                return NotImplemented  # so that Python says False, and `x in [z, x]` works whatever the shapes
        elif as_data(other) is None:
            return NotImplemented
        return compared(self, other, "==")

    __hash__ = Node.__hash__

    def __bool__(self) -> bool:
        raise NotAffineError(
            f"{self!r} stands for unknown numbers and has no truth value; test `is not None`, or the solution's array"
        )


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
    ShapeError, DtypeError, ParameterError
        For what is no shape, no floating or complex dtype, or no text for a name.

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
        if self.name is not None and not isinstance(self.name, str):
            raise ParameterError(f"the name of a variable must be text, not {self.name!r}")
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
        """``operator @ self``.

        Raises
        ------
        ShapeError, DtypeError
            Where the operator takes other trailing axes, or real arrays only.
        """
        split = len(self.shape) - len(operator.in_shape)
        if split < 0 or self.shape[split:] != operator.in_shape:
            raise ShapeError(
                f"{operator!r} @ {self!r}: the operator takes arrays whose trailing axes are {operator.in_shape}, but "
                f"{self!r} has shape {self.shape}; make the operator for {self.shape}, or the variable for "
                f"{operator.in_shape}"
            )
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


def _added(left: AffineExpression, right: Any, sign: float) -> Any:
    a = left.as_affine()
    if isinstance(right, AffineExpression):
        return _sum_of_affine(a, right.as_affine().scaled(Literal(sign)))
    offset = as_data(right)
    if offset is None:
        return NotImplemented
    if isinstance(offset, Literal) and offset.value == 0:
        return a
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
    label = label_of(offset)
    if not has_one_entry(offset) and offset.shape != affine.shape:
        raise ShapeError(
            f"{label} has shape {offset.shape}, but {affine.without_offset()!r} has shape {affine.shape}; nothing "
            f"is broadcast silently. Give it shape {affine.shape}, or declare the variable with the batch axes "
            f"of the data."
        )
    if offset.kind == "complex" and affine.kind == "real":
        raise DtypeError(
            f"{label} is complex, but {affine.without_offset()!r} is real; declare Variable(..., dtype=complex) or "
            f"give real data"
        )
    if offset.kind == "bool":
        raise DtypeError(f"{label} is boolean, but is added to {affine!r}; convert it: array.astype(float)")
    return ex.broadcast_to(as_scalar(offset), affine.shape) if offset.shape != affine.shape else offset


def _sum_of_affine(a: Affine, b: Affine) -> Affine:
    if a.shape != b.shape:
        raise ShapeError(
            f"cannot add {a!r} of shape {a.shape} and {b!r} of shape {b.shape}; both need the same shape, so put an "
            f"operator in front of one of them"
        )
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
    if isinstance(factor, LinearOperator):
        raise NotAffineError(
            f"{factor!r} * {expression!r}: operators are applied with @; write {factor!r} @ {expression!r}"
        )
    if isinstance(factor, AffineExpression):
        hint = f"; for a sum of squares write oa.sum_squares({expression!r})" if factor is expression else ""
        raise NotAffineError(f"the product of {expression!r} and {factor!r} is not affine{hint}")
    found = as_data(factor)
    if found is None:
        return NotImplemented
    affine = expression.as_affine()
    if has_one_entry(found):
        found = as_scalar(found)
        plain = found.kind != "complex" or affine.kind == "complex"
        return affine.scaled(found) if plain else affine.mapped(scale(found, Identity(affine.shape)))
    trailing = affine.shape[max(len(affine.shape) - found.ndim, 0) :]
    if len(trailing) < found.ndim or any(n not in (1, m) for n, m in zip(found.shape, trailing, strict=True)):
        raise ShapeError(
            f"{label_of(found)} has shape {found.shape} and cannot multiply the entries of {expression!r}, whose shape "
            f"is {affine.shape}; give it that shape, or one that broadcasts to it"
        )
    return affine.mapped(Diagonal(found, in_shape=affine.shape))


@node
class Constraint(Node):
    """An affine expression that must lie in a set; made by comparing, used by ``indicator`` and ``minimize``."""

    expression: Affine
    set: Set
    text: str

    def __bool__(self) -> bool:
        if isinstance(self.set, Point):
            return False  # two different expressions; the same one compares equal before a constraint is made
        raise NotAffineError(
            f"the constraint {self.text} has no truth value (0 <= x <= 1 asks for one); write the two bounds as two "
            f"constraints, x >= 0 and x <= 1, or as oa.indicator(oa.box(0, 1), x)"
        )

    def __repr__(self) -> str:
        return self.text


def compared(left: AffineExpression, right: Any, sense: str) -> Any:
    """The constraint that ``left >= right``, ``left <= right`` or ``left == right`` states.

    Raises
    ------
    ShapeError, DtypeError
        For bounds of another shape, and for an order of complex expressions.
    """
    if isinstance(right, AffineExpression):
        return compared(left - right, 0.0, sense)
    bound = as_data(right)
    if bound is None:
        return NotImplemented
    affine = left.as_affine()
    text = constraint_text(affine, sense, bound)
    if sense == "==":
        return Constraint(affine - bound, point(), text)
    if affine.kind == "complex":
        raise DtypeError(f"{text}: a complex expression has no order; constrain its real part or its magnitude")
    if bound.kind != "real":
        kind = "complex" if bound.kind == "complex" else "boolean"
        raise DtypeError(f"{text}: the bound must be real, but is {kind}; give real numbers or floating point data")
    bound = as_scalar(bound) if has_one_entry(bound) else bound
    if bound.shape not in ((), affine.shape):
        raise ShapeError(
            f"{text}: the bound has shape {bound.shape}, the expression {affine.shape}; give the bound that shape, or "
            f"one number"
        )
    if affine.offset is not None:
        bound = as_offset(bound, affine) - affine.offset
    box = Box(bound, None) if sense == ">=" else Box(None, bound)
    return Constraint(affine.without_offset(), box, text)
