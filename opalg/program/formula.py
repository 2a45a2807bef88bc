"""Between sympy and the step language: formulas become expressions through an allow-list, and leaves become symbols.

Formulas arrive as sympy objects and never as text; whatever is not on the list below is refused, so no text of a user
is ever evaluated. sympy is imported when the first formula comes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from opalg.errors import UnsafeExpressionError
from opalg.program.expression import (
    Expression,
    Literal,
    Pointwise,
    as_expression,
    maximum,
    minimum,
    pointwise,
    square,
    where,
)
from opalg.program.stable_forms import (
    PRODUCT_LIMIT,
    entropic_factor,
    euclidean_length,
    exponential_less_one,
    hyperbolic,
    integer_power,
    is_square,
    logistic_factors,
    ratio_of_powers,
)

_NODE_LIMIT = 20_000


@cache
def _symbol_class() -> Any:
    import sympy

    class LeafSymbol(sympy.Dummy):
        """A symbol that remembers the expression it stands for."""

        __slots__ = ("expression",)

        def _sympystr(self, printer: Any) -> str:
            return str(self.name)  # without the underscore of a dummy

    return LeafSymbol


def symbol_of(expression: Expression) -> Any:
    """A sympy symbol that stands for an expression.

    Parameters
    ----------
    expression : Expression
        Usually a `Parameter`; one declared ``positive`` or ``nonneg`` gives a symbol that sympy knows to be so.

    Returns
    -------
    sympy.Symbol
        A dummy; the same expression always gives an equal one.

    Raises
    ------
    UnsafeExpressionError
        Where the expression is boolean.
    """
    if expression.kind == "bool":
        raise UnsafeExpressionError(f"{expression!r} is boolean; only real and complex expressions enter a formula")
    assumptions: dict[str, bool] = {"complex": True} if expression.kind == "complex" else {"real": True}
    if getattr(expression, "positive", False):
        assumptions = {"positive": True}
    elif getattr(expression, "nonneg", False):
        assumptions = {"nonnegative": True}
    name = getattr(expression, "name", None) or "p"
    symbol = _symbol_class()(name, dummy_index=id(expression), **assumptions)
    symbol.expression = expression  # the symbol keeps the expression alive, so its id stays its own
    return symbol


def expression_of(symbol: Any) -> Expression | None:
    """The expression that a symbol made by `symbol_of` stands for; None for any other object."""
    return symbol.expression if isinstance(symbol, _symbol_class()) else None


def to_sympy(expression: Expression) -> Any:
    """An expression as a sympy formula: arithmetic stays visible, and the rest becomes symbols by `symbol_of`."""
    import sympy

    if isinstance(expression, Literal) and isinstance(expression.value, float):
        value = expression.value
        return sympy.Integer(int(value)) if value.is_integer() else sympy.Float(value)
    if isinstance(expression, Pointwise) and expression.function in _ARITHMETIC and expression.kind == "real":
        return _ARITHMETIC[expression.function](*(to_sympy(a) for a in expression.arguments))
    return symbol_of(expression)


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "negative": operator.neg,
    "square": lambda a: a**2,
}


def is_closed(value: Any) -> bool:
    """Whether all symbols of a sympy formula stand for expressions; true of everything that is no formula."""
    return all(expression_of(s) is not None for s in getattr(value, "free_symbols", ()))


def is_known(formula: Any) -> bool:
    """Whether a sympy formula is made of functions that opalg translates."""
    import sympy

    symbols = {s.func for s in formula.atoms(sympy.Symbol)}
    known = {*_rules(), *symbols, sympy.Tuple, sympy.functions.elementary.piecewise.ExprCondPair}
    parts = sympy.preorder_traversal(formula)
    if not all(part.func in known or part.is_Rational or part.is_Float for part in parts):
        return False
    return not formula.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I)


def from_sympy(formula: Any, bindings: Mapping[Any, Any] | None = None) -> Expression:
    """A sympy expression as an expression of the step language.

    Parameters
    ----------
    formula : sympy expression or number
        Built from numbers, symbols, ``+ * / **``, exp, log, sqrt, sin, cos, tan, tanh, cosh, sinh, atan, Abs, sign,
        Max, Min, Heaviside, and Piecewise over comparisons.
    bindings : mapping from sympy symbol to Expression or number, optional
        What the symbols stand for; symbols that came from parameters need no entry.

    Raises
    ------
    UnsafeExpressionError
        For text, and for anything that is not on the list.
    """
    import sympy

    if not isinstance(formula, sympy.Basic):
        if isinstance(formula, str):
            raise UnsafeExpressionError(
                f"a formula must be built from sympy objects, but {formula!r} is text, and text is never evaluated. "
                f"Write sympy.exp(t) rather than 'exp(t)'."
            )
        if not isinstance(formula, (int, float, complex, Expression)):
            raise UnsafeExpressionError(f"{type(formula).__name__} is not a sympy expression or a number")
        return as_expression(formula)
    return _Translator(dict(bindings or {})).translate(formula)


class _Translator:
    """One walk over a formula; equal subformulas are translated once."""

    def __init__(self, bindings: dict[Any, Any]) -> None:
        self.done = {symbol: as_expression(value) for symbol, value in bindings.items()}
        self.visited = 0

    def translate(self, formula: Any) -> Expression:
        if formula not in self.done:
            self.visited += 1
            if self.visited > _NODE_LIMIT:
                raise UnsafeExpressionError(f"the formula has more than {_NODE_LIMIT} parts; split it")
            self.done[formula] = self._fresh(formula)
        return self.done[formula]

    def each(self, formula: Any) -> list[Expression]:
        return [self.translate(a) for a in formula.args]

    def _fresh(self, formula: Any) -> Expression:
        known = expression_of(formula)
        if known is not None:
            return known
        rule = _rules().get(formula.func)
        if rule is not None:
            return rule(self, formula)
        if getattr(formula, "is_Rational", False) or getattr(formula, "is_Float", False):
            return _number(formula)
        raise UnsafeExpressionError(_refusal(formula))


def _refusal(formula: Any) -> str:
    import sympy

    if isinstance(formula, sympy.DiracDelta):
        return "the formula contains DiracDelta: it was differentiated at a jump, where it has no derivative"
    if isinstance(formula, sympy.Symbol):
        return (
            f"the formula contains the free symbol {formula.name!r}; give it a value, "
            f"for example by using a Parameter in its place"
        )
    return (
        f"the formula contains {type(formula).__name__}, which opalg does not translate; it knows numbers, pi, E, "
        f"+ * / **, exp, log, sqrt, sin, cos, tan, tanh, cosh, sinh, atan, Abs, sign, Max, Min, Heaviside and Piecewise"
    )


def _number(formula: Any) -> Expression:
    try:
        value = float(formula)
    except OverflowError:
        value = float("inf")
    if value in (float("inf"), float("-inf")) or value != value:
        raise UnsafeExpressionError("the formula contains a number too large for floating point")
    return Literal(value)


@cache
def _rules() -> dict[Any, Callable[[_Translator, Any], Expression]]:
    """What each class of sympy becomes; built once sympy is there."""
    import sympy
    from sympy.core.relational import Equality, Unequality
    from sympy.logic.boolalg import ITE, And, BooleanFalse, BooleanTrue, Not, Or

    table: dict[Any, Callable[[_Translator, Any], Expression]] = {
        sympy.Add: _add,
        sympy.Mul: _multiply,
        sympy.Pow: _power,
        sympy.log: _log,
        sympy.Max: lambda t, f: _chain(maximum, t.each(f)),
        sympy.Min: lambda t, f: _chain(minimum, t.each(f)),
        sympy.Heaviside: _heaviside,
        sympy.Piecewise: _piecewise,
        type(sympy.pi): lambda t, f: Literal(float(f)),
        type(sympy.E): lambda t, f: Literal(float(f)),
        sympy.tan: lambda t, f: pointwise("sin", *t.each(f)) / pointwise("cos", *t.each(f)),
        BooleanTrue: lambda t, f: Literal(True),
        BooleanFalse: lambda t, f: Literal(False),
        And: lambda t, f: _chain(_both, t.each(f)),
        Or: lambda t, f: _negate(_chain(_both, [_negate(c) for c in t.each(f)])),
        Not: lambda t, f: _negate(*t.each(f)),
        ITE: lambda t, f: _choice(*t.each(f)),
        Equality: lambda t, f: _equal(*t.each(f)),
        Unequality: lambda t, f: _negate(_equal(*t.each(f))),
    }
    elementary = {
        sympy.exp: "exp", sympy.sin: "sin", sympy.cos: "cos", sympy.tanh: "tanh", sympy.cosh: "cosh",
        sympy.sinh: "sinh", sympy.atan: "atan", sympy.Abs: "abs", sympy.sign: "sign",
        sympy.StrictGreaterThan: "greater", sympy.GreaterThan: "greater_equal",
        sympy.StrictLessThan: "less", sympy.LessThan: "less_equal",
    }  # fmt: skip
    for function, name in elementary.items():
        table[function] = partial(_elementary, name)
    return table


def _elementary(name: str, translator: _Translator, formula: Any) -> Expression:
    return pointwise(name, *translator.each(formula))


def _chain(function: Callable[[Any, Any], Expression], arguments: list[Expression]) -> Expression:
    out = arguments[0]
    for argument in arguments[1:]:
        out = function(out, argument)
    return out


def _both(a: Expression, b: Expression) -> Expression:
    return pointwise("logical_and", a, b)


def _negate(a: Expression) -> Expression:
    return pointwise("logical_not", a)


def _choice(condition: Expression, yes: Expression, no: Expression) -> Expression:
    """A boolean that is another one under a condition."""
    return _negate(_both(_negate(_both(condition, yes)), _negate(_both(_negate(condition), no))))


def _equal(a: Expression, b: Expression) -> Expression:
    return _both(pointwise("less_equal", a, b), pointwise("greater_equal", a, b))


def _add(translator: _Translator, formula: Any) -> Expression:
    difference, rest = exponential_less_one(translator, list(formula.args))
    terms = [(term.could_extract_minus_sign(), term) for term in rest]
    terms.sort(key=lambda pair: pair[0])  # a - b rather than -b + a
    out: Expression = Literal(0.0) if difference is None else difference
    for negative, term in terms:
        part = translator.translate(-term if negative else term)
        out = out - part if negative else out + part
    return out


def _multiply(translator: _Translator, formula: Any) -> Expression:
    """A product as numerator over denominator, so that negative powers become one division."""
    import sympy

    coefficient, factors = formula.as_coeff_mul()
    out, rest = logistic_factors(translator, list(factors))
    for take in (entropic_factor, ratio_of_powers):
        parts, rest = take(translator, rest)
        for part in parts:
            out = part if out is None else out * part
    below: Expression | None = None
    for factor in rest:
        base, exponent = factor.as_base_exp()
        if factor.is_Pow and exponent.is_Rational and exponent.is_negative and hyperbolic(base, exponent) is None:
            part = translator.translate(sympy.Pow(base, -exponent, evaluate=False))
            below = part if below is None else below * part
        else:
            part = translator.translate(factor)
            out = part if out is None else out * part
    if out is None:
        out = translator.translate(coefficient)
    elif coefficient != 1:
        out = translator.translate(coefficient) * out
    return out if below is None else out / below


def _power(translator: _Translator, formula: Any) -> Expression:
    import sympy

    base, exponent = formula.args
    of_cosh = hyperbolic(base, exponent)
    if of_cosh is not None:
        argument, power = of_cosh
        return integer_power(1.0 - square(pointwise("tanh", translator.translate(argument))), power)
    if exponent.is_Rational and exponent.is_negative:
        logistic, rest = logistic_factors(translator, [formula])
        if logistic is not None and not rest:
            return logistic
        return 1.0 / translator.translate(sympy.Pow(base, -exponent, evaluate=False))
    if exponent.is_Integer and exponent <= PRODUCT_LIMIT:
        return integer_power(translator.translate(base), int(exponent))
    if exponent == sympy.S.Half and base.is_Add and all(is_square(a) for a in base.args):
        return euclidean_length(translator, base.args)
    if exponent.is_Rational and exponent.q == 2 and exponent.p <= 2 * PRODUCT_LIMIT:
        root = translator.translate(base)
        return integer_power(root, int(exponent.p) // 2) * pointwise("sqrt", root)
    return pointwise("power", translator.translate(base), translator.translate(exponent))


def _log(translator: _Translator, formula: Any) -> Expression:
    """Logarithms, with log(1 + u), log(cosh(u)) and log(1 + exp(u)) in forms that neither cancel nor overflow."""
    import sympy

    (argument,) = formula.args
    if isinstance(argument, sympy.cosh):
        inner = translator.translate(argument.args[0])
        return pointwise("logaddexp", inner, -inner) - float(sympy.log(2))
    if argument.is_Add and all(isinstance(a, sympy.exp) or a == 1 for a in argument.args):
        logs = [a.args[0] if isinstance(a, sympy.exp) else sympy.S.Zero for a in argument.args]
        exponents = [translator.translate(a) for a in logs]
        return _chain(lambda a, b: pointwise("logaddexp", a, b), exponents)
    if argument.is_Add and sympy.S.One in argument.args:
        return pointwise("log1p", translator.translate(argument - 1))
    return pointwise("log", translator.translate(argument))


def _heaviside(translator: _Translator, formula: Any) -> Expression:
    argument = translator.translate(formula.args[0])
    middle = translator.translate(formula.args[1])
    return where(pointwise("greater", argument, 0.0), 1.0, where(pointwise("less", argument, 0.0), 0.0, middle))


def _piecewise(translator: _Translator, formula: Any) -> Expression:
    import sympy

    if formula.args[-1].cond != sympy.true:
        raise UnsafeExpressionError(
            "a Piecewise formula needs a last piece whose condition is True, so that it has a value everywhere"
        )
    out = translator.translate(formula.args[-1].expr)
    for piece in reversed(formula.args[:-1]):
        out = where(translator.translate(piece.cond), translator.translate(piece.expr), out)
    return out


__all__ = ["expression_of", "from_sympy", "is_closed", "is_known", "symbol_of", "to_sympy"]
