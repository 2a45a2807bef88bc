"""How a potential reads its formula: what is refused, how numbers and parameters become symbols, how it derives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsafeExpressionError
from opalg.facts import YES
from opalg.functionals.weights import nonnegative, positive, real_data
from opalg.program.expression import Expression, Literal
from opalg.program.formula import expression_of

_SMALL = 64  # fractions of numbers up to this enter sympy as they are
_SIMPLIFY_LIMIT = 80  # operations; larger derivatives are taken as sympy differentiates them


def refuse_text(symbol: Any, expression: Any, parameters: Mapping[str, Any]) -> None:
    """Raise UnsafeExpressionError where something is text, or named by what is no identifier."""
    for value in (symbol, expression, *parameters.values()):
        if isinstance(value, (str, bytes)):
            raise UnsafeExpressionError(
                f"a potential is built from sympy objects, but {value!r} is text, and text is never evaluated; "
                f"write t = sympy.Symbol('t') and Potential(t, t**2)"
            )
    for name in parameters:
        if not name.isidentifier():
            raise UnsafeExpressionError(f"{name!r} is no name for a parameter of a potential; use an identifier")


def ends_of(domain: Any) -> tuple[Any, Any]:
    """The ends of a domain as sympy numbers."""
    import sympy

    if isinstance(domain, sympy.Interval):
        return domain.start, domain.end
    ends = (None, None) if domain is None else domain
    if not isinstance(ends, (tuple, list)) or len(ends) != 2 or any(isinstance(e, str) for e in ends):
        raise ParameterError(f"a potential's domain is a pair of numbers or None, such as (0, None), not {domain!r}")
    lower = -sympy.oo if ends[0] is None else sympy.Rational(float(ends[0]))
    upper = sympy.oo if ends[1] is None else sympy.Rational(float(ends[1]))
    if not lower < upper:
        raise ParameterError(f"a potential's domain {domain!r} is empty")
    return lower, upper


def bind(expression: Any, symbol: Any, given: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...], tuple[Expression, ...]]:
    """The formula with numbers put in, the symbols that remain, and what these stand for."""
    import sympy

    free = sorted((s for s in expression.free_symbols if s != symbol), key=lambda s: s.name)
    names = [s.name for s in free if expression_of(s) is None]
    unknown = sorted(set(given) - set(names))
    if unknown or len(set(names)) < len(names):
        raise ParameterError(
            f"the parameters {unknown or names} do not fit the formula {expression}, whose symbols besides the "
            f"variable are {names}; each needs its own name and one value"
        )
    missing = [name for name in names if name not in given]
    if missing:
        raise UnsafeExpressionError(
            f"the formula {expression} has symbols without a value: {missing}; give each by keyword, "
            f"for example {missing[0]}=0.1 or {missing[0]}=oa.Parameter(0.1, positive=True)"
        )
    stands_for: dict[Any, Expression] = {}
    replaced: dict[Any, Any] = {}
    for s in free:
        known = expression_of(s)
        value = known if known is not None else real_data(given[s.name], f"the parameter {s.name!r} of a potential")
        if isinstance(value, Literal):
            replaced[s] = _number(float(value.value.real), stands_for)
        else:
            replaced[s] = _parameter_symbol(s.name, value)
            stands_for[replaced[s]] = value
    for n in expression.atoms(sympy.Float, sympy.Rational):
        if not _is_small(n):
            replaced[n] = _number(float(n), stands_for)
    return expression.xreplace(replaced), tuple(stands_for), tuple(stands_for.values())


def _is_small(number: Any) -> bool:
    """Whether sympy can calculate with a number exactly without drowning in digits."""
    return bool(number.is_Rational and abs(number.p) <= _SMALL and number.q <= _SMALL)


def _number(value: float, stands_for: dict[Any, Expression]) -> Any:
    """A number for a formula: itself where it is a small fraction, else a positive symbol for its magnitude."""
    import sympy

    exact = sympy.Rational(value).limit_denominator(_SMALL) if np.isfinite(value) else sympy.S.Zero
    if float(exact) == value and _is_small(exact):
        return exact
    if not np.isfinite(value):
        raise UnsafeExpressionError(f"a potential's formula contains the number {value}, which is not finite")
    symbol = sympy.Dummy(f"{abs(value):.6g}", positive=True)
    stands_for[symbol] = Literal(abs(value))
    return symbol if value > 0 else -symbol


def _parameter_symbol(name: str, value: Expression) -> Any:
    import sympy

    if positive(value) is YES:
        return sympy.Dummy(name, positive=True)
    return sympy.Dummy(name, nonnegative=True) if nonnegative(value) is YES else sympy.Dummy(name, real=True)


def derivative(formula: Any, symbol: Any) -> Any:
    """The derivative in its shortest form that brings no pieces of its own."""
    import sympy

    raw = formula.diff(symbol)
    if sympy.count_ops(raw) > _SIMPLIFY_LIMIT or raw.has(sympy.Piecewise, sympy.DiracDelta):
        return raw
    simple = sympy.simplify(raw)
    forms = [f for f in (raw, simple, sympy.factor(simple)) if not f.has(sympy.Piecewise)]
    return min(forms, key=sympy.count_ops)


def without_deltas(formula: Any) -> Any:
    """A second derivative away from the kinks of the first: deltas that a continuous first derivative has not."""
    import sympy

    return formula.replace(sympy.DiracDelta, lambda *arguments: sympy.S.Zero)


__all__ = ["bind", "derivative", "ends_of", "refuse_text", "without_deltas"]
