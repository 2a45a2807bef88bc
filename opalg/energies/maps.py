"""Maps that are no gradient: affine expressions plus functions of them, ``x - tau * (A.H @ (A @ x - y) + R(x))``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opalg.energies.affine import Affine, AffineExpression, Variable, as_data
from opalg.energies.energy import EnergyExpression
from opalg.errors import NotAffineError, ParameterError, ShapeError
from opalg.functionals.potential import Potential, PotentialSum
from opalg.leaves import Leaf, Parameter
from opalg.nodes import Node, node, walk
from opalg.operators.algebra import LinearOperator, Zero, add, compose, scale
from opalg.operators.batched import trim_to
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, Shape
from opalg.program.opaque import OpaqueFunction, opaque


class MapExpression(Node):
    """An expression of variables that need not be affine; built by `apply` and arithmetic on its results."""

    __array_ufunc__ = None
    shape: Shape
    kind: str

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        """The expression at a point, in the step language."""
        raise NotImplementedError

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        """The operator of the part that is linear in a variable: zero for applied functions, None where it is none."""
        return Zero(variable.shape, self.shape)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables it depends on."""
        return tuple(n for n in walk(self) if isinstance(n, Variable))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters it depends on."""
        return tuple(n for n in walk(self) if isinstance(n, Parameter))

    def __add__(self, other: Any) -> Any:
        return _combined(self, other, 1.0)

    def __radd__(self, other: Any) -> Any:
        return _combined(self, other, 1.0)

    def __sub__(self, other: Any) -> Any:
        return _combined(self, other, -1.0)

    def __rsub__(self, other: Any) -> Any:
        return _combined(-self, other, 1.0)

    def __neg__(self) -> MapExpression:
        return ScaledMap(ex.Literal(-1.0), self)

    def __mul__(self, factor: Any) -> Any:
        found = as_data(factor)
        if found is None:
            return NotImplemented
        if not _fits(found.shape, self.shape):
            raise ShapeError(f"a factor of shape {found.shape} does not fit a map of shape {self.shape}")
        return ScaledMap(found, self)

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> Any:
        found = as_data(factor)
        return NotImplemented if found is None else self.__mul__(1.0 / found)

    def __rmatmul__(self, operator: Any) -> Any:
        return OperatedMap(operator, self) if isinstance(operator, LinearOperator) else NotImplemented

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("value", "gradient", "terms"):
                raise AttributeError(
                    f"a map has no {name}, since it need not be the gradient of any energy; oa.fixed_point(x, T) seeks "
                    f"its fixed point, and its plan evaluates it: plan.step((x,))"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@node
class AffineMap(MapExpression):
    """An affine expression as a map."""

    expression: Affine

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.expression.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.expression.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return self.expression.trace(point)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        return self.expression.operator_of(variable)

    def __repr__(self) -> str:
        return repr(self.expression)


@node
class SummedMap(MapExpression):
    """A sum of maps of the same shape."""

    first: MapExpression
    second: MapExpression

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.first.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "complex" if "complex" in (self.first.kind, self.second.kind) else "real"

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return self.first.trace(point) + self.second.trace(point)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        parts = [e.linear_part(variable) for e in (self.first, self.second)]
        if any(p is None for p in parts):
            return None
        kept = [p for p in parts if p is not None and not isinstance(p, Zero)]
        if len(kept) < 2:
            return kept[0] if kept else parts[0]
        return add(*trim_to(*kept, same_input=True))

    def __repr__(self) -> str:
        return f"{self.first!r} + {self.second!r}"


@node
class ScaledMap(MapExpression):
    """A number, parameter or array times a map, entry by entry."""

    factor: Expression
    inner: MapExpression

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.inner.shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "complex" if "complex" in (self.factor.kind, self.inner.kind) else "real"

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return self.factor * self.inner.trace(point)

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        inner = self.inner.linear_part(variable)
        if inner is None or isinstance(inner, Zero):
            return inner
        if self.factor.shape == ():
            return scale(self.factor, inner)
        if self.factor.shape != self.shape:
            return None
        return compose(*trim_to(Diagonal(self.factor), inner))

    def __repr__(self) -> str:
        return f"{self.factor!r} * ({self.inner!r})"


@node
class OperatedMap(MapExpression):
    """A linear operator applied to a map."""

    operator: LinearOperator
    inner: MapExpression

    def __post_init__(self) -> None:
        batch = ex.batch_shape(self.inner.shape, self.operator.in_shape, self.operator)
        object.__setattr__(self, "shape", batch + self.operator.out_shape)
        object.__setattr__(self, "kind", self.operator.out_kind(self.inner.kind))

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return self.operator.trace(self.inner.trace(point))

    def linear_part(self, variable: Variable) -> LinearOperator | None:
        return applied_to(self.operator, self.inner.linear_part(variable), Zero(variable.shape, self.shape))

    def __repr__(self) -> str:
        return f"{self.operator!r} @ ({self.inner!r})"


@node
class AppliedMap(MapExpression):
    """A function applied to a map: a potential's derivative, or an opaque function such as a network."""

    function: Any
    inner: MapExpression
    shape: Shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.inner.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        argument = self.inner.trace(point)
        if isinstance(self.function, OpaqueFunction):
            return Call(self.function, (argument,), self.shape, self.kind)
        return PotentialSum(self.function).define_gradient(argument)

    def __repr__(self) -> str:
        return f"{self.function!r}({self.inner!r})"


def applied_to(operator: LinearOperator, inner: LinearOperator | None, nothing: LinearOperator) -> Any:
    """An operator after the linear part of a map: None where that is None, ``nothing`` where it is zero."""
    if inner is None or isinstance(inner, Zero):
        return None if inner is None else nothing
    return compose(*trim_to(operator, inner))


def as_map(value: Any) -> MapExpression:
    """A map or affine expression as a map."""
    if isinstance(value, MapExpression):
        return value
    if isinstance(value, AffineExpression):
        return AffineMap(value.as_affine())
    if isinstance(value, EnergyExpression):
        raise NotAffineError(
            "an energy is no map: minimise it with oa.compile(E), or write the map of its gradient descent, "
            "x - step * oa.grad(E)"
        )
    raise NotAffineError(f"{type(value).__name__} is not an expression of variables")


def apply(function: Any, expression: Any, vjp: Any = None, shape: Any = None) -> MapExpression:
    """Apply a function to an expression of variables; for maps that `fixed_point` solves.

    Parameters
    ----------
    function : Potential, or callable on arrays
        A `Potential` stands for its derivative, entry by entry. A callable gets an array of the plan's library: a Torch
        function or module, whose derivatives Torch knows; on NumPy or CuPy give ``vjp`` as well where gradients are
        wanted.
    expression : affine expression or map
    vjp : callable, optional
        ``vjp(x, cotangent) -> array``: the transposed derivative at x times a cotangent.
    shape : tuple of int, optional
        The shape of the result where it is not that of the argument.

    Returns
    -------
    MapExpression
    """
    inner = as_map(expression)
    if isinstance(function, Potential):
        return AppliedMap(function, inner, inner.shape)
    if not callable(function):
        raise ParameterError(f"apply takes a Potential or a callable on arrays, not {type(function).__name__}")
    return AppliedMap(
        opaque(function, vjp, keeps_shape=shape is None), inner, inner.shape if shape is None else tuple(shape)
    )


def _fits(shape: Shape, whole: Shape) -> bool:
    """Whether data of a shape spread over an array of another one."""
    behind = whole[len(whole) - len(shape) :]
    return len(shape) <= len(whole) and all(a in (1, b) for a, b in zip(shape, behind, strict=True))


def _combined(left: MapExpression, right: Any, sign: float) -> Any:
    if isinstance(right, (MapExpression, AffineExpression)):
        other = as_map(right)
        if other.shape != left.shape:
            raise ShapeError(f"cannot add maps of shapes {left.shape} and {other.shape}")
        return SummedMap(left, other if sign == 1.0 else -other)
    if isinstance(right, EnergyExpression):
        raise NotAffineError("a map and an energy cannot be added; add the gradient of the energy, T + oa.grad(E)")
    found = as_data(right)
    if found is None:
        return NotImplemented
    if not _fits(found.shape, left.shape):
        raise ShapeError(f"data of shape {found.shape} do not fit a map of shape {left.shape}")
    return SummedMap(left, DataMap(found if sign == 1.0 else -found, left.shape))


@node
class DataMap(MapExpression):
    """Data as a constant map."""

    data: Expression
    shape: Shape

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.data.kind

    def trace(self, point: Mapping[Variable, Expression]) -> Expression:
        return ex.broadcast_to(self.data, self.shape)

    def __repr__(self) -> str:
        return self.data.label if isinstance(self.data, Leaf) else repr(self.data)
