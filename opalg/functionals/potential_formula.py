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
_RESERVED = ("self", "symbol", "expression", "domain")  # arguments of a Potential that are no parameters
_SIMPLIFY_LIMIT = 80  # operations; larger derivatives are taken as sympy differentiates them


def refuse_text(symbol: Any, expression: Any, parameters: Mapping[str, Any]) -> None:
    """Raise UnsafeExpressionError where something is text, or named by what is no identifier."""
    for value in (symbol, expression):
        if isinstance(value, (str, bytes)):
            raise UnsafeExpressionError(
                f"a potential is built from sympy objects, but {value!r} is text, and text is never evaluated; "
                f"write t = sympy.Symbol('t') and Potential(t, t**2)"
            )
    for name, value in parameters.items():
        if not name.isidentifier():
            raise UnsafeExpressionError(f"{name!r} is no name for a parameter of a potential; use an identifier")
        if isinstance(value, (str, bytes)):
            raise UnsafeExpressionError(
                f"the parameter {name!r} of a potential is the text {value!r}, and text is never evaluated; "
                f"give a number, an array or a Parameter, for example {name}=1.0"
            )


def variable_of(symbol: Any) -> Any:
    """The real dummy symbol that takes the place of a potential's variable.

    Raises
    ------
    UnsafeExpressionError
        For what is no symbol, and for a name that is no identifier.
    ParameterError
        For a symbol with other assumptions than that it is real.
    """
    import sympy

    from opalg.functionals.potential_symbols import PlainDummy

    if not isinstance(symbol, sympy.Symbol):
        raise UnsafeExpressionError(f"a potential's variable must be a sympy Symbol, not {type(symbol).__name__}")
    _check_name(symbol)
    real = sympy.Symbol("t", real=True).assumptions0
    if not symbol.assumptions0.items() <= real.items():
        raise ParameterError(
            f"a potential's variable runs over the reals, but {symbol} was declared otherwise; "
            f"use a plain or real symbol, and domain=(0, None) for half the line"
        )
    return PlainDummy(symbol.name, real=True)


def _check_name(symbol: Any) -> None:
    if not symbol.name.isidentifier():
        raise UnsafeExpressionError(
            f"{symbol.name!r} is no name for a symbol of a potential; use an identifier, such as sympy.Symbol('t')"
        )


def formula_of(expression: Any, symbol: Any) -> Any:
    """A formula as a sympy expression; UnsafeExpressionError for what is none, such as a comparison."""
    import sympy

    found = sympy.sympify(expression) if isinstance(expression, (int, float)) else expression
    if not isinstance(found, sympy.Expr) or getattr(found, "is_Matrix", False):
        raise UnsafeExpressionError(
            f"a potential's formula must be a sympy expression in {symbol} with real values, not "
            f"{type(found).__name__}; write for example sympy.sqrt({symbol}**2 + 1), and give domain=(lower, upper) "
            f"where it does not hold everywhere"
        )
    return found


def ends_of(domain: Any) -> tuple[Any, Any]:
    """The ends of a domain as sympy numbers."""
    import sympy

    ends = (domain.start, domain.end) if isinstance(domain, sympy.Interval) else (None, None)
    ends = domain if domain is not None and not isinstance(domain, sympy.Interval) else ends
    if not isinstance(ends, (tuple, list)) or len(ends) != 2 or any(isinstance(e, str) for e in ends):
        raise ParameterError(f"a potential's domain is a pair of numbers or None, such as (0, None), not {domain!r}")
    lower = -sympy.oo if ends[0] is None else _end(ends[0])
    upper = sympy.oo if ends[1] is None else _end(ends[1])
    if not lower < upper:
        raise ParameterError(f"a potential's domain {domain!r} is empty; give (lower, upper) with lower < upper")
    return lower, upper


def _end(end: Any) -> Any:
    """One end of a domain, infinite ones included."""
    import sympy

    try:
        value = float("nan") if isinstance(end, Expression) else float(end)
    except (TypeError, ValueError):
        value = float("nan")
    if value != value:
        raise ParameterError(
            f"an end of a potential's domain must be a real number or None, not {end!r}; it depends on no parameter: "
            f"give numbers such as domain=(0, 1), and scale the variable in the formula"
        )
    return sympy.Rational(value) if abs(value) < float("inf") else sympy.oo if value > 0 else -sympy.oo


def bind(expression: Any, symbol: Any, given: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...], tuple[Expression, ...]]:
    """The formula with numbers put in, the symbols that remain, and what these stand for."""
    import sympy

    free = sorted((s for s in expression.free_symbols if s != symbol), key=lambda s: s.name)
    names = [s.name for s in free if expression_of(s) is None]
    _check_names([s for s in free if expression_of(s) is None])
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


def _check_names(symbols: list[Any]) -> None:
    for s in symbols:
        _check_name(s)
        if s.name in _RESERVED:
            raise ParameterError(
                f"a parameter of a potential cannot be named {s.name!r}, which Potential itself has as an argument; "
                f"name the symbol otherwise, for example {s.name}_"
            )


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
    from opalg.functionals.potential_symbols import PlainDummy

    symbol = PlainDummy(f"{abs(value):.6g}", positive=True)
    stands_for[symbol] = Literal(abs(value))
    return symbol if value > 0 else -symbol


def _parameter_symbol(name: str, value: Expression) -> Any:
    from opalg.functionals.potential_symbols import PlainDummy

    if positive(value) is YES:
        return PlainDummy(name, positive=True)
    return PlainDummy(name, nonnegative=True) if nonnegative(value) is YES else PlainDummy(name, real=True)


def derivative(formula: Any, symbol: Any) -> Any:
    """The derivative in its shortest form that brings no pieces of its own."""
    import sympy

    sizes = _magnitudes(formula, symbol)
    if sizes:
        return _by_magnitudes(formula, symbol, sizes)
    raw = _without_steps(formula.diff(symbol))
    if sympy.count_ops(raw) > _SIMPLIFY_LIMIT or raw.has(sympy.Piecewise, sympy.DiracDelta):
        return raw
    simple = sympy.simplify(raw)
    forms = [f for f in (raw, simple, sympy.factor(simple)) if not f.has(sympy.Piecewise, sympy.im, sympy.re)]
    return min(forms, key=sympy.count_ops)


def _without_steps(formula: Any) -> Any:
    """``max(g, 0)`` for its product with the step of g, which the derivative of its square brings; ``min`` alike."""
    import sympy

    def shorter(product: Any) -> Any:
        parts = {f.as_base_exp()[0] for f in product.args if f.as_base_exp()[1].is_positive}
        steps = [f for f in product.args if isinstance(f, sympy.Heaviside)]
        idle = [f for f in steps if {sympy.Max(f.args[0], 0), sympy.Min(-f.args[0], 0)} & parts]
        return product.func(*(f for f in product.args if f not in idle))

    return formula.replace(lambda e: e.is_Mul and e.has(sympy.Heaviside), shorter)


def _magnitudes(formula: Any, symbol: Any) -> list[Any]:
    """The magnitudes in a formula, where one of them has an exponent that is no number: sympy makes roots of these."""
    import sympy

    found = [a for a in formula.atoms(sympy.Abs) if a.has(symbol)]
    powers = [p for p in formula.atoms(sympy.Pow) if isinstance(p.base, sympy.Abs) and not p.exp.is_number]
    return found if any(p.base in found for p in powers) else []


def _by_magnitudes(formula: Any, symbol: Any, sizes: list[Any]) -> Any:
    """The derivative by the chain rule over magnitudes of real arguments, ``d|g| = sign(g) dg``."""
    import sympy

    places = {size: sympy.Dummy("a", positive=True) for size in sizes}
    plain = formula.xreplace(places)
    found = plain.diff(symbol)
    for size, place in places.items():
        inner = size.args[0]
        found += plain.diff(place) * sympy.sign(inner) * inner.diff(symbol)
    signs = {sympy.sign(size.args[0]) ** 2: sympy.S.One for size in sizes}
    found = sympy.powsimp(sympy.expand(found).xreplace(signs))
    return found.xreplace({place: size for size, place in places.items()})


def without_deltas(formula: Any) -> Any:
    """A second derivative away from the kinks of the first: deltas that a continuous first derivative has not."""
    import sympy

    return formula.replace(sympy.DiracDelta, lambda *arguments: sympy.S.Zero)


__all__ = ["bind", "derivative", "ends_of", "formula_of", "refuse_text", "variable_of", "without_deltas"]
