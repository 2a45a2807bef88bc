"""Evaluate expressions one node at a time: the reference semantics of the step language.

On NumPy in float64 this is the oracle of every rewrite rule and every emitter. It also evaluates, on any backend, what
a plan computes once when it is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from opalg.arrays.backend import Backend
from opalg.leaves import Indices, Leaf
from opalg.nodes import walk
from opalg.program.expression import (
    Apply,
    Broadcast,
    Call,
    Expression,
    Input,
    Join,
    Literal,
    Pointwise,
    Product,
    Reduce,
)


def evaluate(
    expressions: Sequence[Expression], bindings: Mapping[Any, Any], lib: Backend, known: dict[Any, Any] | None = None
) -> list[Any]:
    """The arrays that expressions stand for.

    Parameters
    ----------
    expressions : sequence of Expression
        What to evaluate.
    bindings : mapping from Leaf or Input to array
        Arrays of ``lib``; a leaf without one gives its own value.
    lib : Backend
        Library, device and precision to compute with.
    known : dict, optional
        Values of expressions that are known already; it is extended.

    Returns
    -------
    list of arrays, in the order of ``expressions``; scalars are arrays without axes.
    """
    values: dict[Any, Any] = {} if known is None else known
    for current in walk(*expressions, within=Expression):
        if current not in values:
            assert isinstance(current, Expression)
            if current in bindings:
                values[current] = bindings[current]
            else:
                arguments = [values[c] for c in current.children if isinstance(c, Expression)]
                values[current] = _value(current, arguments, lib)
    return [values[e] for e in expressions]


@singledispatch
def _value(current: Any, arguments: list[Any], lib: Backend) -> Any:
    raise TypeError(f"{type(current).__name__} cannot be evaluated")


@_value.register
def _(current: Leaf, arguments: list[Any], lib: Backend) -> Any:
    return lib.asarray(current.value)


@_value.register
def _(current: Input, arguments: list[Any], lib: Backend) -> Any:
    raise KeyError(f"the input {current.name!r} has no array")


@_value.register
def _(current: Literal, arguments: list[Any], lib: Backend) -> Any:
    return lib.asarray(current.value, current.kind)


@_value.register
def _(current: Broadcast, arguments: list[Any], lib: Backend) -> Any:
    return lib.copy(lib.xp.broadcast_to(arguments[0], current.shape))


@_value.register
def _(current: Join, arguments: list[Any], lib: Backend) -> Any:
    arrays = [lib.asarray(a, current.kind) for a in arguments]
    return lib.xp.concat(arrays, axis=current.axis)


@_value.register
def _(current: Reduce, arguments: list[Any], lib: Backend) -> Any:
    function = getattr(lib.xp, current.function)
    axis = None if current.axes is None else tuple(a % current.argument.ndim for a in current.axes)
    return function(arguments[0], axis=axis, keepdims=current.keepdims and axis is not None)


@_value.register
def _(current: Apply, arguments: list[Any], lib: Backend) -> Any:
    kernel = current.operator.adjoint_kernel() if current.adjoint else current.operator.kernel()
    (x,) = arguments
    return kernel.function(lib, x, *bind_arguments(kernel.arguments, lib))


@_value.register
def _(current: Product, arguments: list[Any], lib: Backend) -> Any:
    left, right = (lib.asarray(a, current.kind) for a in arguments)
    if current.stack:
        return _stacked(current.form, left, right, lib)
    if current.form != "xyT":
        return _by_matrix(current.form, left, right, lib)
    rows = lib.xp.reshape(left, (-1, left.shape[-1]))
    return lib.xp.matmul(lib.xp.matrix_transpose(rows), lib.xp.reshape(right, (-1, right.shape[-1])))


def _stacked(form: str, left: Any, right: Any, lib: Backend) -> Any:
    """A product with a stack of matrices, one matrix after another."""
    xp, count = lib.xp, left.shape[-2] if form == "xyT" else left.shape[0]
    found = []
    for c in range(count):
        x = right[..., c, :]
        if form == "xyT":
            rows, columns = (xp.reshape(a, (-1, a.shape[-1])) for a in (left[..., c, :], x))
            found.append(xp.matmul(xp.matrix_transpose(rows), columns))
        else:
            found.append(_by_matrix(form, left[c, ...], x, lib))
    return xp.stack(found, axis=0 if form == "xyT" else -2)


def _by_matrix(form: str, matrix: Any, x: Any, lib: Backend) -> Any:
    """``M x`` or ``M^T x`` for vectors along the last axis; many of them as rows, by one product of matrices."""
    transposed = lib.xp.matrix_transpose(matrix)
    there, back = (matrix, transposed) if form == "Mx" else (transposed, matrix)
    return lib.xp.matmul(there, x) if x.ndim == 1 else lib.xp.matmul(x, back)


@_value.register
def _(current: Call, arguments: list[Any], lib: Backend) -> Any:
    return current.function.evaluate(lib, *arguments)


@_value.register
def _(current: Pointwise, arguments: list[Any], lib: Backend) -> Any:
    if current.function in _SPECIAL:
        return _SPECIAL[current.function](lib, current, arguments)
    name = {"power": "pow"}.get(current.function, current.function)
    return getattr(lib.xp, name)(*_one_kind(current, arguments, lib))


def _one_kind(current: Pointwise, arguments: list[Any], lib: Backend) -> list[Any]:
    if current.function in ("logical_and", "logical_not"):
        return [lib.asarray(a, "bool") for a in arguments]
    kind = "complex" if any(a.kind == "complex" for a in current.arguments) else "real"
    return [lib.asarray(a, kind) for a in arguments]


def _safe_divide(lib: Backend, current: Pointwise, arguments: list[Any]) -> Any:
    a, b = arguments
    guarded = lib.xp.maximum(b, lib.asarray(lib.tiny))
    return a / lib.asarray(guarded, current.kind)


def _real_part(lib: Backend, current: Pointwise, arguments: list[Any]) -> Any:
    return lib.xp.real(arguments[0])


def _imaginary_part(lib: Backend, current: Pointwise, arguments: list[Any]) -> Any:
    (z,) = arguments
    return lib.xp.imag(z) if current.arguments[0].kind == "complex" else lib.zeros(tuple(z.shape))


def _conj(lib: Backend, current: Pointwise, arguments: list[Any]) -> Any:
    return lib.xp.conj(arguments[0])


def _where(lib: Backend, current: Pointwise, arguments: list[Any]) -> Any:
    condition, yes, no = arguments
    return lib.xp.where(condition, lib.asarray(yes, current.kind), lib.asarray(no, current.kind))


_SPECIAL: dict[str, Callable[[Backend, Pointwise, list[Any]], Any]] = {
    "safe_divide": _safe_divide,
    "real": _real_part,
    "imag": _imaginary_part,
    "conj": _conj,
    "where": _where,
}


def bind_arguments(arguments: tuple[Any, ...], lib: Backend) -> list[Any]:
    """The static arguments of a kernel, constants and positions as arrays of the backend (sparse ones in its form)."""
    bound = []
    for argument in arguments:
        if isinstance(argument, Leaf):
            sparse = type(argument.value).__module__.startswith("scipy.sparse")
            bound.append(lib.sparse(argument.value) if sparse else lib.asarray(argument.value))
        elif isinstance(argument, Indices):
            bound.append(lib.indices(argument.value))
        else:
            bound.append(argument)
    return bound


def number(expression: Expression, lib: Backend | None = None, bindings: Mapping[Any, Any] | None = None) -> float:
    """A scalar expression of leaves as a Python float, evaluated in float64 on NumPy unless told otherwise."""
    if isinstance(expression, Literal):
        return float(expression.value.real)
    if lib is None:
        from opalg.arrays.backend import backend

        lib = backend("numpy", "float64")
    (value,) = evaluate([expression], bindings or {}, lib)
    return float(lib.item(value).real)
