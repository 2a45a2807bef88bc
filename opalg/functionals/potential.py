"""Potentials: scalar functions given as sympy expressions, and their sum over the entries of an array."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, UnsafeExpressionError
from opalg.facts import NO, UNKNOWN, YES, Bound
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.curvature import ScalarFacts, analyse
from opalg.functionals.weights import (
    Condition,
    check_broadcasts,
    condition,
    nonnegative,
    positive,
    real_data,
    sign_hint,
)
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.program.formula import expression_of, from_sympy, symbol_of
from opalg.program.notation import latex_name

_SMALL = 64  # fractions of numbers up to this enter sympy as they are
_NO_SOLVER = "a potential with domain= has values, and derivatives inside, but no solver in this version"
_SIMPLIFY_LIMIT = 80  # operations; larger derivatives are taken as sympy differentiates them


class Potential:
    """A function of one real variable, given by a formula.

    Its derivatives, whether it is even, smooth and convex, and how curved it is at most are derived from the formula.

    Parameters
    ----------
    symbol : sympy.Symbol
        The variable.
    expression : sympy expression
        The formula; never text.
    domain : pair of numbers or None, optional
        Where the formula holds, ``(lower, upper)`` with None for an infinite end; everywhere by default. Outside, the
        potential is infinite. A potential with a domain has values, and derivatives inside, but no solver in this
        version: no prox is known and no step is kept inside, so every method declines it and says so.
    **parameters : number, Parameter or Expression
        What the other symbols of the formula stand for, by name. A `Parameter` may also stand in the formula itself.
        Declare parameters ``positive=True`` where they are: proofs of smoothness mostly need it.

    Attributes
    ----------
    formula, first, second : sympy expression
        The function and its derivatives, the second one away from kinks.
    names : tuple of str
        The parameters' names in the formula.

    Raises
    ------
    UnsafeExpressionError
        For text, for names that are no identifiers, for symbols without a value, and for what opalg cannot translate.
    ParameterError
        For parameters that the formula does not have, and for a symbol that is not simply real.

    Examples
    --------
    >>> import opalg as oa
    >>> import sympy
    >>> t, eps = sympy.symbols("t eps")
    >>> charbonnier = oa.Potential(t, sympy.sqrt(t**2 + eps**2) - eps, eps=0.5)
    >>> charbonnier.facts.convex
    yes
    """

    def __init__(self, symbol: Any, expression: Any, domain: Any = None, **parameters: Any) -> None:
        import sympy

        _refuse_text(symbol, expression, parameters)
        if not isinstance(symbol, sympy.Symbol):
            raise UnsafeExpressionError(f"a potential's variable must be a sympy Symbol, not {type(symbol).__name__}")
        if symbol.is_nonnegative or symbol.is_nonpositive or symbol.is_extended_real is False:
            raise ParameterError(
                f"a potential's variable runs over the reals, but {symbol} was declared otherwise; "
                f"use a plain or real symbol, and domain=(0, None) for half the line"
            )
        expression = sympy.sympify(expression, strict=True) if not isinstance(expression, sympy.Basic) else expression
        self.symbol = sympy.Dummy(symbol.name, real=True)
        self.lower, self.upper = _domain(domain)
        bound = _bind(expression.xreplace({symbol: self.symbol}), self.symbol, parameters)
        self.formula, self._symbols, self.parameters = bound
        self.names = tuple(s.name for s in self._symbols)
        self.first = _derivative(self.formula, self.symbol)
        self.second = _without_deltas(_derivative(self.first, self.symbol))
        for form in (self.formula, self.first, self.second):
            self.translate(form, Input("t", (), "real"), self.parameters)

    def translate(self, formula: Any, v: Expression, parameters: tuple[Expression, ...]) -> Expression:
        """A formula in the potential's symbols as an expression, with the shape of v."""
        bindings = {self.symbol: v, **dict(zip(self._symbols, parameters, strict=True))}
        return ex.broadcast_to(from_sympy(formula, bindings), v.shape)

    @cached_property
    def even(self) -> bool:
        """Whether it is proved to be an even function on a symmetric domain."""
        import sympy

        mirrored = self.formula.xreplace({self.symbol: -self.symbol})
        return self.lower == -self.upper and sympy.simplify(mirrored - self.formula) == 0

    @cached_property
    def facts(self) -> ScalarFacts:
        """What is proved about it as a function of one variable."""
        return analyse(self.formula, self.symbol, self.lower, self.upper, self.even)

    @property
    def bounded_domain(self) -> bool:
        """Whether it is infinite somewhere."""
        import sympy

        return (self.lower, self.upper) != (-sympy.oo, sympy.oo)

    def meets_assumptions(self, parameters: tuple[Expression, ...]) -> bool:
        """Whether parameters have the signs that the proofs relied on."""
        if parameters == self.parameters:
            return True
        return all(
            (not s.is_positive or positive(p) is YES) and (not s.is_nonnegative or nonnegative(p) is YES)
            for s, p in zip(self._symbols, parameters, strict=True)
        )

    def signs(self, parameters: tuple[Expression, ...]) -> list[tuple[str, str, Expression]]:
        """Name, declared sign ("positive" or "nonnegative") and value of the parameters that have a sign."""
        return [
            (s.name, "positive" if s.is_positive else "nonnegative", p)
            for s, p in zip(self._symbols, parameters, strict=True)
            if s.is_nonnegative
        ]

    def bound(self, formula: Any, parameters: tuple[Expression, ...]) -> Expression:
        """A formula in the parameters as an expression."""
        return from_sympy(formula, dict(zip(self._symbols, parameters, strict=True)))

    def __repr__(self) -> str:
        return f"Potential({str(self.symbol).lstrip('_')} -> {self.readable()})"

    def readable(self) -> str:
        """The formula as text for people."""
        import sympy

        plain = {s: sympy.Symbol(s.name) for s in self.formula.free_symbols}
        return str(self.formula.xreplace(plain))

    def latex(self, argument: str = "t") -> str:
        """The formula as LaTeX, of an argument that is LaTeX already."""
        import sympy

        names = {s: latex_name(s.name) for s in self.formula.free_symbols}
        names[self.symbol] = argument
        return str(sympy.latex(self.formula, symbol_names=names))


def _refuse_text(symbol: Any, expression: Any, parameters: Mapping[str, Any]) -> None:
    for value in (symbol, expression, *parameters.values()):
        if isinstance(value, (str, bytes)):
            raise UnsafeExpressionError(
                f"a potential is built from sympy objects, but {value!r} is text, and text is never evaluated; "
                f"write t = sympy.Symbol('t') and Potential(t, t**2)"
            )
    for name in parameters:
        if not name.isidentifier():
            raise UnsafeExpressionError(f"{name!r} is no name for a parameter of a potential; use an identifier")


def _domain(domain: Any) -> tuple[Any, Any]:
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


def _bind(
    expression: Any, symbol: Any, given: Mapping[str, Any]
) -> tuple[Any, tuple[Any, ...], tuple[Expression, ...]]:
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


def _derivative(formula: Any, symbol: Any) -> Any:
    """The derivative in its shortest form that brings no pieces of its own."""
    import sympy

    raw = formula.diff(symbol)
    if sympy.count_ops(raw) > _SIMPLIFY_LIMIT or raw.has(sympy.Piecewise, sympy.DiracDelta):
        return raw
    simple = sympy.simplify(raw)
    forms = [f for f in (raw, simple, sympy.factor(simple)) if not f.has(sympy.Piecewise)]
    return min(forms, key=sympy.count_ops)


def _without_deltas(formula: Any) -> Any:
    """A second derivative away from the kinks of the first: deltas that a continuous first derivative has not."""
    import sympy

    return formula.replace(sympy.DiracDelta, lambda *arguments: sympy.S.Zero)


@node
class PotentialSum(Functional):
    """``f(v) = sum_i phi(v_i)`` for a `Potential` phi and real v.

    Parameters
    ----------
    potential : Potential
        The function phi.
    parameters : tuple of Expression, optional
        What its symbols stand for; by default what the potential was given.

    Raises
    ------
    DtypeError
        For complex arguments.

    Notes
    -----
    The Lipschitz constant of the gradient is ``sup |phi''|``, where sympy proves what that is.
    """

    potential: Potential
    parameters: tuple[Expression, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.potential, Potential):
            raise DtypeError(f"PotentialSum needs a Potential, not {type(self.potential).__name__}")
        if self.parameters is None:
            object.__setattr__(self, "parameters", self.potential.parameters)

    @property
    def _values(self) -> tuple[Expression, ...]:
        assert self.parameters is not None
        return self.parameters

    def _entrywise(self, formula: Any, v: Expression) -> Expression:
        self.check_kind(v.kind)
        return self.potential.translate(formula, v, self._values)

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._entrywise(self.potential.formula, v))

    def define_violation(self, v: Expression) -> Expression:
        if not self.potential.bounded_domain:
            return Literal(0.0)
        lower, upper = (float(end) for end in (self.potential.lower, self.potential.upper))
        inside = v if lower == -np.inf else ex.maximum(v, lower)
        inside = inside if upper == np.inf else ex.minimum(inside, upper)
        return ex.largest(abs(v - inside))

    def define_gradient(self, v: Expression) -> Expression:
        return self._entrywise(self.potential.first, v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return self._entrywise(self.potential.second, v) * ex.broadcast_to(d, v.shape)

    @property
    def facts(self) -> FunctionalFacts:
        known = self.potential.facts
        if not self.potential.meets_assumptions(self._values):
            return FunctionalFacts(separable=YES)
        everywhere = not self.potential.bounded_domain
        smoothness = strong = None
        if known.highest is not None and everywhere:
            bound = ex.largest(self.potential.bound(known.highest, self._values))
            smoothness = Bound(bound, "exact" if known.sharp else "upper")
        if known.lowest is not None and known.lowest.is_positive:
            strong = ex.smallest(self.potential.bound(known.lowest, self._values))
        smooth = known.smooth if everywhere else (NO if known.smooth is NO else UNKNOWN)
        return FunctionalFacts(known.convex, smooth, smoothness, strong, known.quadratic, YES)

    def define_conditions(self) -> list[Condition]:
        if not self.potential.meets_assumptions(self._values):
            return []
        conditions: list[Condition] = []
        for name, sign, value in self.potential.signs(self._values):
            sentence = f"the parameter {name!r} of a potential must be {sign}"
            conditions += condition(value, sign == "positive", sentence)
        return conditions

    def hint(self) -> str:
        if self.potential.bounded_domain:
            return _NO_SOLVER
        known = self.potential.facts
        proved = known.convex is not UNKNOWN and known.smooth is not UNKNOWN
        if proved and self.potential.meets_assumptions(self._values):
            return ""
        return sign_hint(self._values, strict=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        for name, value in zip(self.potential.names, self._values, strict=True):
            check_broadcasts(value, shape, self, f"the parameter {name!r}")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; apply it to its parts")

    def why_not(self, ability: str) -> str:
        if self.potential.bounded_domain:
            return _NO_SOLVER
        if ability == "gradient":
            remedy = self.hint() or "declare parameters positive=True where they are"
            return f"sympy did not prove its potential differentiable; {remedy}"
        return ""

    def text(self, inner: str) -> str:
        return f"pointwise({self.potential!r}, {inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        rule = self.potential.latex(rf"\left({inner}\right)_i")
        return rf"\sum_i \left[{rule}\right]"

    def __repr__(self) -> str:
        return f"PotentialSum({self.potential!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests."""
        import sympy

        t, s = sympy.symbols("t s")
        scale = Parameter(float(rng.uniform(0.3, 1.5)), name="s", positive=True)
        inline = symbol_of(scale)
        potentials = [
            Potential(t, sympy.sqrt(t**2 + s**2) - s, s=scale),
            Potential(t, s * sympy.log(sympy.cosh(t / s)), s=float(rng.uniform(0.3, 1.5))),
            Potential(t, sympy.log(1 + t**2 / inline**2)),
            Potential(t, 1 - sympy.exp(-(t**2) / (2 * s**2)), s=rng.uniform(0.5, 1.5, (3, 4))),
            Potential(t, sympy.log(1 + sympy.exp(s * t)), s=scale),
            Potential(t, sympy.Piecewise((t**2 / 2, sympy.Abs(t) <= s), (s * (sympy.Abs(t) - s / 2), True)), s=scale),
            Potential(t, t**2 / 2 + t / 3),
        ]
        return [PotentialSum(p) for p in potentials]


def pointwise(potential: Potential, e: Any) -> Any:
    """The sum of a scalar potential over all entries."""
    return PotentialSum(potential)(e)


__all__ = ["Potential", "PotentialSum", "pointwise"]
