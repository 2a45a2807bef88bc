"""Lowering: the few functions that no array library has, written with those that every library has."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from opalg.arrays.backend import Backend
from opalg.nodes import walk
from opalg.program.expression import Apply, Broadcast, Expression, Join, Literal, Pointwise, Product, Reduce
from opalg.program.linear import reshape_trailing

_INF, _MINUS_INF = Literal(inf), Literal(-inf)
_LOGICAL = ("logical_and", "logical_not", "where")


def lower(outputs: Sequence[Expression], lib: Backend, blocked: bool = True) -> list[Expression]:
    """The same outputs without ``safe_divide``, slow powers, and arithmetic on booleans.

    Parameters
    ----------
    outputs : sequence of Expression
        What to compute.
    lib : Backend
        Where to compute.
    blocked : bool
        Whether sums run block by block together with what they sum, for which they keep their axes.
    """
    chosen = _chosen(outputs, lib)
    done: dict[Any, Any] = {}
    for current in walk(*chosen, within=Expression):
        rebuilt = current.rebuild(lambda child: done.get(child, child))
        done[current] = _lowered(rebuilt, lib, blocked)
    return [done[e] for e in chosen]


def _chosen(outputs: Sequence[Expression], lib: Backend) -> Sequence[Expression]:
    """The same outputs, with the steps of those linear maps that have other ones for this library."""
    done: dict[Any, Any] = {}
    changed = False
    for current in walk(*outputs, within=Expression):
        rebuilt: Any = current.rebuild(lambda child: done.get(child, child)) if changed else current
        other = rebuilt.operator.chosen(rebuilt.argument, rebuilt.adjoint, lib) if isinstance(rebuilt, Apply) else None
        changed = changed or other is not None
        done[current] = rebuilt if other is None else other
    return [done[e] for e in outputs]


def _lowered(e: Any, lib: Backend, blocked: bool) -> Any:
    if isinstance(e, Pointwise):
        return _pointwise(e, lib, blocked)
    if isinstance(e, Broadcast):
        inner = e.argument.argument if isinstance(e.argument, Broadcast) else _without_new_axes(e.argument)
        return inner if inner.shape == e.shape else Broadcast(inner, e.shape)
    if isinstance(e, Reduce):
        if e.argument.shape == ():
            return e.argument
        return Reduce(e.function, e.argument, None) if e.shape == () and (e.axes is not None or e.keepdims) else e
    if isinstance(e, Apply):
        return _dropped_axes(e, blocked) or e
    if isinstance(e, Join):
        arguments = tuple(_as_kind(a, e.kind) for a in e.arguments)
        return arguments[0] if len(arguments) == 1 else Join(arguments, e.axis)
    if isinstance(e, Product):
        return Product(e.form, _as_kind(e.left, e.kind), _as_kind(e.right, e.kind), e.stack)
    return e


def _without_new_axes(e: Expression) -> Expression:
    """What a reshape puts axes of one entry in front of, which broadcasting does anyway; else the expression."""
    if isinstance(e, Apply):
        kernel = e.operator.adjoint_kernel() if e.adjoint else e.operator.kernel()
        given = e.argument.shape
        if kernel.function is reshape_trailing and e.shape == (1,) * (e.ndim - len(given)) + given:
            return e.argument
    return e


def _dropped_axes(e: Apply, blocked: bool) -> Expression | None:
    """A reduction that drops its axes, leading ones only where blocked, for one that keeps them, reshaped; or None."""
    inner = e.argument
    if not isinstance(inner, Reduce) or not inner.keepdims or inner.axes is None or (blocked and not e.shape):
        return None
    kernel = e.operator.adjoint_kernel() if e.adjoint else e.operator.kernel()
    leading = sorted(axis % inner.ndim for axis in inner.axes) == list(range(len(inner.axes)))
    part = isinstance(inner.argument, Pointwise) and inner.argument.function in ("real", "imag")
    if kernel.function is not reshape_trailing or not (leading or (not blocked and not part)):
        return None
    if not e.shape:
        return Reduce(inner.function, inner.argument, None) if len(inner.axes) == inner.ndim else None
    dropped = Reduce(inner.function, inner.argument, inner.axes)
    return dropped if dropped.shape == e.shape else None


def _pointwise(e: Pointwise, lib: Backend, blocked: bool) -> Expression:
    function, arguments = e.function, e.arguments
    if function not in _LOGICAL and any(a.kind == "bool" for a in arguments) and not (blocked and _is_masking(e)):
        arguments = tuple(_as_real(a) if a.kind == "bool" else a for a in arguments)
        e = Pointwise(function, arguments)
    first = arguments[0]
    if function in ("real", "conj") and first.kind != "complex":
        return first
    if function == "imag" and first.kind != "complex":
        return Broadcast(Literal(0.0), e.shape) if e.shape else Literal(0.0)
    if function == "safe_divide":
        return Pointwise("divide", (first, _at_least_tiny(arguments[1], lib)))
    if function in ("maximum", "minimum") and blocked:
        return _clip(e)
    if function == "power" and isinstance(arguments[1], Literal):
        return _power(first, arguments[1].value) or e
    return e


def _at_least_tiny(e: Expression, lib: Backend) -> Expression:
    """``max(e, tiny)``; of a maximum with a scalar, only the scalar is guarded, which costs no pass."""
    tiny = Literal(lib.tiny)
    if isinstance(e, Pointwise) and e.function == "clip":
        x, lower, upper = e.arguments
        return Pointwise("clip", (x, _larger(lower, tiny), _larger(upper, tiny)))
    if isinstance(e, Pointwise) and e.function == "maximum" and e.shape:
        for scalar, other in (e.arguments, e.arguments[::-1]):
            if scalar.shape == () and other.shape == e.shape:
                return Pointwise("maximum", (other, _larger(scalar, tiny)))
    return Pointwise("maximum", (e, tiny))


def _larger(a: Expression, b: Literal) -> Expression:
    if isinstance(a, Literal) and isinstance(a.value, float) and isinstance(b.value, float):
        return a if a.value >= b.value else b
    return Pointwise("maximum", (a, b))


def _is_masking(e: Pointwise) -> bool:
    """Whether an array is multiplied by a mask, which NumPy does as it is."""
    return e.function == "multiply" and {a.kind for a in e.arguments} == {"bool", "real"} and e.shape != ()


def _clip(e: Pointwise) -> Expression:
    """A maximum or minimum of an array and a scalar as ``clip(x, lower, upper)``.

    NumPy has no vector instructions for the first with a scalar, so that it takes half or a third of the time; and of a
    maximum and a minimum one call remains.
    """
    for scalar, x in (e.arguments, e.arguments[::-1]):
        if scalar.shape == () and x.shape == e.shape != ():
            lower, upper = (scalar, _INF) if e.function == "maximum" else (_MINUS_INF, scalar)
            if isinstance(x, Pointwise) and x.function == "clip":
                inner, below, above = x.arguments
                if e.function == "maximum" and below == _MINUS_INF:
                    x, upper = inner, above
                elif e.function == "minimum" and above == _INF:
                    x, lower = inner, below
            return Pointwise("clip", (_one_sided(x, lower), lower, upper))
    return e


def _one_sided(x: Expression, lower: Expression) -> Expression:
    """``y - b`` in place of ``y - clip(y, -b, b)``, a soft threshold, where all that is below zero is cut off next."""
    if not (isinstance(x, Pointwise) and x.function == "subtract" and _is_nonnegative(lower)):
        return x
    y, inner = x.arguments
    if isinstance(inner, Pointwise) and inner.function == "clip" and inner.arguments[0] == y:
        below, above = inner.arguments[1:]
        mirrored = Pointwise("negative", (above,)) if not isinstance(above, Literal) else Literal(-above.value)
        return Pointwise("subtract", (y, above)) if below == mirrored else x
    return x


def _is_nonnegative(e: Expression) -> bool:
    return isinstance(e, Literal) and isinstance(e.value, float) and e.value >= 0


def _as_kind(e: Expression, kind: str) -> Expression:
    real = _as_real(e) if e.kind == "bool" else e
    return Pointwise("multiply", (Literal(1.0 + 0.0j), real)) if kind == "complex" and real.kind == "real" else real


def _as_real(mask: Expression) -> Expression:
    return Pointwise("where", (mask, Literal(1.0), Literal(0.0)))


def _power(base: Expression, exponent: Any) -> Expression | None:
    """A power by products and square roots, which are much faster; None where there is none."""
    if exponent == 3.0:
        return Pointwise("multiply", (Pointwise("square", (base,)), base))
    if exponent == 4.0:
        return Pointwise("square", (Pointwise("square", (base,)),))
    if exponent == 1.5 and base.kind == "real":
        return Pointwise("multiply", (base, Pointwise("sqrt", (base,))))
    if exponent in (-1.0, -2.0):
        return Pointwise("divide", (Literal(1.0), base if exponent == -1.0 else Pointwise("square", (base,))))
    return None
