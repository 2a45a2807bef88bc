"""The numbers inside functionals (weights, thresholds, bounds): how they become expressions, and what their sign is."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, TypeAlias

import numpy as np

from opalg.arrays import backend, library_name
from opalg.errors import DtypeError, NonFiniteError, ParameterError, ShapeError
from opalg.facts import NO, UNKNOWN, YES, Fact
from opalg.leaves import Constant, Leaf, Parameter, check_finite
from opalg.nodes import fold, walk
from opalg.program import expression as ex
from opalg.program.expression import Broadcast, Expression, Literal, Pointwise, Reduce, as_expression
from opalg.program.interpreter import number

Data: TypeAlias = Any  # a number, array, leaf, expression or sympy formula; nodes keep it as an Expression


Condition: TypeAlias = tuple[Expression, bool, str]
"""A scalar that must be at least 0 (above 0 where the flag is True), and the sentence for when it is not."""


def condition(expression: Expression, strict: bool, sentence: str) -> list[Condition]:
    """The condition that every entry is at least 0, or above 0 where strict; none where no value can change it."""
    if is_fixed(expression) or 0 in expression.shape:
        return []
    return [(ex.smallest(expression), strict, sentence)]


def sign_hint(expressions: Iterable[Expression], strict: bool) -> str:
    """Which parameters to declare so that the expressions are known to be nonnegative, or positive where strict."""
    wanted = [e for e in expressions if (positive(e) if strict else nonnegative(e)) is UNKNOWN]
    leaves = [n for n in walk(*wanted) if isinstance(n, Parameter) and n.kind == "real"]
    free = [p for p in leaves if not (p.positive or (p.nonneg and not strict))]
    if not free:
        return ""
    names = ", ".join(dict.fromkeys(repr(p.name) if p.name else "without a name" for p in free))
    declaration = "positive=True" if strict else "nonneg=True"
    return f"declare the parameter{'s' if len(free) > 1 else ''} {names} with {declaration}"


def real_data(value: Any, name: str) -> Expression:
    """A number, array, leaf, expression or sympy formula as a real expression.

    Raises
    ------
    DtypeError
        Where it is complex or boolean, or no number at all.
    """
    found = data(value, name)
    if found.kind != "real":
        raise DtypeError(f"{name} must be real, but {found!r} is {found.kind}")
    if isinstance(found, Literal) and found.value != found.value:
        raise NonFiniteError(f"{name} must be a number, but is NaN")
    return found


def data(value: Any, name: str) -> Expression:
    """A number, array, leaf, expression or sympy formula as an expression; arrays become constants."""
    if isinstance(value, Expression):
        return value
    if type(value).__module__.startswith("sympy"):
        from opalg.program.formula import from_sympy

        return from_sympy(value)
    if isinstance(value, (list, tuple)) or (library_name(value) is not None and value.shape != ()):
        value = np.asarray(value) if isinstance(value, (list, tuple)) else value
        check_finite(value, name)
        return Constant(value.reshape(()) if value.shape == (1,) else value)
    try:
        return as_expression(value.item() if library_name(value) is not None else value)
    except DtypeError:
        raise DtypeError(f"{name} must be a number, an array or an expression, not {type(value).__name__}") from None


def reciprocal(value: Any, name: str) -> Expression:
    """One over a number, array, leaf or expression.

    Raises
    ------
    ParameterError
        Where an entry is known to be zero.
    DtypeError
        Where it is complex or boolean, or no number at all.
    """
    found = real_data(value, name)
    if is_fixed(found) and 0 not in found.shape and number(ex.smallest(abs(found))) == 0:
        raise ParameterError(f"{name} must not be zero")
    return 1.0 / found


def split_infinite(value: Any, infinity: float = np.inf) -> tuple[np.ndarray, np.ndarray] | None:
    """Data with infinite entries as finite ones and where they were infinite; None for data without any.

    In place of infinity stands the largest of the finite magnitudes, so that what holds for those still does.
    """
    if isinstance(value, Expression) or type(value).__module__.startswith("sympy"):
        return None
    if not isinstance(value, (list, tuple, float)) and library_name(value) is None:
        return None
    host = value.detach().cpu() if hasattr(value, "detach") else value.get() if hasattr(value, "get") else value
    host = np.asarray(host)
    if host.dtype.kind != "f" or not np.any(host == infinity):
        return None
    where = host == infinity
    largest = np.max(abs(host), where=np.isfinite(host), initial=0.0)
    return np.where(where, largest if largest > 0 else 1.0, host).astype(host.dtype), where


def weights_of(weights: Any, expression: Any) -> Any:
    """The weights that a term is given: None, a number, or one for each entry of the expression.

    Infinite ones stay an array, which functionals split (`split_infinite`); all others become an expression.

    Raises
    ------
    ParameterError
        For what is no data.
    ShapeError
        For weights of another shape than the expression's.
    """
    if weights is None:
        return None
    if (split := split_infinite(weights)) is not None:
        _check_one_each(split[1].shape, getattr(expression, "shape", split[1].shape))
        return weights if split[1].size > 1 else float("inf")
    try:
        found = data(weights, "the weights")
    except DtypeError as err:
        if library_name(weights) is not None:
            raise
        raise ParameterError(f"weights must be numbers, an array or a Parameter, not {type(weights).__name__}") from err
    _check_one_each(found.shape, getattr(expression, "shape", found.shape))
    return ex.total(found) if prod(found.shape) == 1 else found


def _check_one_each(found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if prod(found) != 1 and found != shape:
        raise ShapeError(f"the weights have shape {found}, the expression {shape}; give one weight per entry")


def check_broadcasts(data: Expression | None, shape: tuple[int, ...], owner: Any, name: str) -> None:
    """Raise ShapeError where data do not broadcast to the shape of what they act on."""
    if data is None:
        return
    trailing = shape[len(shape) - data.ndim :] if data.ndim <= len(shape) else None
    if trailing is None or any(a not in (1, b) for a, b in zip(data.shape, trailing, strict=True)):
        raise ShapeError(
            f"{owner!r} has {name} of shape {data.shape}, which does not broadcast to its argument of shape {shape}; "
            f"give {name} of that shape, or a number"
        )


def nonnegative(expression: Expression) -> Fact:
    """Whether every entry is known to be at least zero, whatever values the parameters take."""
    return _sign(expression, strict=False)


def positive(expression: Expression) -> Fact:
    """Whether every entry is known to be above zero, whatever values the parameters take."""
    return _sign(expression, strict=True)


def require_positive(expression: Expression, name: str) -> None:
    """Raise ParameterError where an entry is known not to be positive."""
    if positive(expression) is NO:
        raise ParameterError(f"{name} must be positive, but its smallest entry is {number(ex.smallest(expression)):g}")


def is_fixed(expression: Expression) -> bool:
    """Whether it is made of numbers and constants alone."""
    return all(
        isinstance(n, (Literal, Constant)) or n.children or not isinstance(n, Expression) for n in walk(expression)
    )


def _sign(expression: Expression, strict: bool) -> Fact:
    if expression.kind != "real":
        return UNKNOWN
    if is_fixed(expression):
        if 0 in expression.shape:
            return YES
        lowest = number(ex.smallest(expression), backend("numpy", "float64"))
        return YES if lowest > 0 or (lowest == 0 and not strict) else NO
    known = fold(_signs, expression)[expression]
    return YES if known[strict] else UNKNOWN


def _signs(current: Any, below: dict[Any, tuple[bool, bool]]) -> tuple[bool, bool]:
    """Whether the value of one node is known to be (nonnegative, positive)."""
    if isinstance(current, Leaf):
        sure = getattr(current, "positive", False)
        if isinstance(current, Constant):
            return nonnegative(current) is YES, positive(current) is YES
        return (sure or getattr(current, "nonneg", False)) and current.kind == "real", sure and current.kind == "real"
    if isinstance(current, Literal):
        real = not isinstance(current.value, complex)
        return real and current.value >= 0, real and current.value > 0  # type: ignore[operator]
    if isinstance(current, Broadcast) or (isinstance(current, Reduce) and current.function in ("sum", "max", "min")):
        return below[current.argument]
    if not isinstance(current, Pointwise):
        return False, False
    return _sign_of_function(current.function, [below[a] for a in current.arguments], current.arguments)


def _sign_of_function(
    name: str, signs: list[tuple[bool, bool]], arguments: tuple[Expression, ...]
) -> tuple[bool, bool]:
    at_least, above = [s[0] for s in signs], [s[1] for s in signs]
    real = all(a.kind == "real" for a in arguments)
    match name:
        case "add":
            return all(at_least), all(at_least) and any(above)
        case "multiply" | "sqrt" | "minimum":
            return all(at_least), all(above)
        case "maximum":
            return any(at_least), any(above)
        case "divide" | "power" | "safe_divide":
            return (at_least[0] and above[1], all(above)) if name != "power" else (at_least[0], above[0])
        case "abs":
            return True, above[0]
        case "square":
            return real, above[0]
        case "exp" | "cosh":
            return real, real
    return False, False


__all__ = [
    "Condition",
    "Data",
    "check_broadcasts",
    "condition",
    "data",
    "is_fixed",
    "nonnegative",
    "positive",
    "real_data",
    "reciprocal",
    "require_positive",
    "sign_hint",
    "split_infinite",
    "weights_of",
]
