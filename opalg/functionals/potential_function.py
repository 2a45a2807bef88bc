"""Potentials: scalar functions given as sympy expressions, and what is derived from their formulas."""

from __future__ import annotations

from functools import cached_property
from math import inf
from typing import Any

from opalg.facts import UNKNOWN, YES, Fact
from opalg.functionals.curvature import Cut, ScalarFacts, analyse, cut, limit
from opalg.functionals.potential_check import agrees_with_conjugate, agrees_with_prox, samples_of
from opalg.functionals.potential_formula import (
    bind,
    derivative,
    ends_of,
    formula_of,
    refuse_text,
    variable_of,
    without_deltas,
)
from opalg.functionals.potential_prox import clipped_prox, conjugate_candidates, prox_candidates
from opalg.functionals.potential_shape import Ends, ends, kinks, turns, whole
from opalg.functionals.scalar_conjugate import scalar_conjugate
from opalg.functionals.scalar_function import ScalarFunction, U, placeholders
from opalg.functionals.scalar_prox import scalar_prox
from opalg.functionals.weights import nonnegative, positive
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal, pointwise
from opalg.program.formula import from_sympy, is_known
from opalg.program.notation import latex_name


class Potential:
    """A function of one real variable, given by a formula.

    Its derivatives, whether it is even, smooth, convex, coercive and bounded below, how curved it is at most, its prox
    and its conjugate are derived from the formula when they are first asked for. A prox or conjugate without a closed
    form is found by Newton's method inside a bracket, to the rounding of the dtype. The prox of a potential that is not
    convex is the global minimiser, where sympy finds the points between which the second derivative is monotone.

    Parameters
    ----------
    symbol : sympy.Symbol
        The variable.
    expression : sympy expression
        The formula; never text.
    domain : pair of numbers or None, optional
        Where the formula holds, ``(lower, upper)`` with None for an infinite end; everywhere by default. Outside, the
        potential is infinite. Its prox stays inside; no gradient step is kept inside, so it is solved through its prox.
    **parameters : number, Parameter or Expression
        What the other symbols of the formula stand for, by name. A `Parameter` may also stand in the formula itself.
        Declare parameters ``positive=True`` where they are: proofs of smoothness mostly need it.

    Attributes
    ----------
    formula, first, second : sympy expression
        The function and its derivatives, the second one away from kinks.
    names : tuple of str
        The parameters' names in the formula.
    prox_formula : sympy expression or None
        The prox in closed form, in the symbols ``v`` (real) and ``t`` (the step, above 0); None where it is found by
        Newton's method, or not known.
    conjugate_formula : sympy expression or None
        The conjugate in closed form, in the real symbol ``q``, on the conjugate's domain; None likewise.
    slope_range : pair of sympy expressions or None
        The limits of the slopes of a convex potential, which are the ends of its conjugate's domain.
    coercive, bounded_below : Fact
        Whether it passes every bound towards the infinite ends of its domain; whether it has a lower bound.

    Raises
    ------
    UnsafeExpressionError
        For text, for names that are no identifiers, for symbols without a value, for what is no real function, and for
        what opalg cannot translate.
    ParameterError
        For parameters that the formula does not have, for a variable with other assumptions than that it is real, and
        for a domain that is empty or whose ends are no numbers.

    Examples
    --------
    >>> import opalg as oa
    >>> import sympy
    >>> t, eps = sympy.symbols("t eps")
    >>> charbonnier = oa.Potential(t, sympy.sqrt(t**2 + eps**2) - eps, eps=0.5)
    >>> charbonnier.facts.convex
    yes
    >>> oa.Potential(t, sympy.Abs(t)).prox_formula
    Max(0, -t + v) + Min(0, t + v)
    """

    def __init__(self, /, symbol: Any, expression: Any, domain: Any = None, **parameters: Any) -> None:
        refuse_text(symbol, expression, parameters)
        self.symbol = variable_of(symbol)
        expression = formula_of(expression, symbol)
        bound = bind(expression.xreplace({symbol: self.symbol}), self.symbol, parameters)
        self.lower, self.upper = ends_of(domain)
        self.formula, self._symbols, self.parameters = bound
        self.names = tuple(s.name for s in self._symbols)
        self.first = derivative(self.formula, self.symbol)
        self.second = without_deltas(derivative(self.first, self.symbol))
        for form in (self.formula, self.first, self.second):
            self.translate(form, Input("t", (), "real"), self.parameters)

    def translate(self, formula: Any, v: Expression, parameters: tuple[Expression, ...]) -> Expression:
        """A formula in the potential's symbols as an expression, with the shape of v."""
        return ex.broadcast_to(from_sympy(formula, self._bindings(v, parameters)), v.shape)

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

    @cached_property
    def _cut(self) -> Cut | None:
        return cut(self.formula, self.symbol, self.lower, self.upper, self.even)

    @cached_property
    def _ends(self) -> Ends | None:
        return None if self._cut is None else ends(self._cut)

    @property
    def coercive(self) -> Fact:
        """Whether it passes every bound towards the infinite ends of its domain."""
        return UNKNOWN if self._ends is None else self._ends.coercive

    @property
    def bounded_below(self) -> Fact:
        """Whether it has a lower bound."""
        return UNKNOWN if self._ends is None else self._ends.bounded_below

    @property
    def slope_range(self) -> tuple[Any, Any] | None:
        """The limits of the slopes of a convex potential; None where they or its convexity are not known."""
        return None if self._ends is None or self.facts.convex is not YES else self._ends.slope_range

    @cached_property
    def steep(self) -> bool:
        """Whether it is even and its second derivative is not known to be finite at zero."""
        if self._cut is None or not self.even:
            return False
        at_zero = limit(
            self._cut.pieces[0].formula.diff(self._cut.symbol, 2), self._cut.symbol, self._cut.pieces[0].lower, "+"
        )
        return at_zero is None or at_zero.is_finite is False

    @property
    def excluded_slopes(self) -> tuple[bool, bool]:
        """Whether the conjugate is infinite at the lower and upper end of the slopes because that is zero."""
        return (False, False) if self._ends is None else self._ends.excluded

    @cached_property
    def scalar(self) -> ScalarFunction | None:
        """The function for the scalar solver; None where neither convexity nor the turning points are known."""
        if self._cut is None:
            return None
        convex = self.facts.convex is YES
        found = () if convex else turns(self._cut)
        if found is None or (not convex and self.bounded_below is not YES):
            return None
        places = placeholders(len(self._symbols))
        bends, turning = (tuple(self.bound(p, places) for p in group) for group in (kinks(self._cut), found))
        return ScalarFunction(
            from_sympy(self.formula, self._bindings(U, places)),
            from_sympy(self.first, self._bindings(U, places)),
            from_sympy(self.second, self._bindings(U, places)),
            places,
            float(self.lower),
            float(self.upper),
            bends,
            None if convex else turning,
            even=self.even,
        )

    @cached_property
    def prox_formula(self) -> Any:
        """The prox in closed form in ``v`` and ``t``, a sympy expression; None where there is none that is exact."""
        if self._cut is None or self.facts.convex is not YES or self.scalar is None:
            return None
        v, t = prox_symbols()
        places = (Input("v", ()), Input("t", ()), *self.scalar.parameters)
        for form in prox_candidates(whole(self._cut, self.symbol), self.symbol, self.even, v, t):
            known = from_sympy(form, {v: places[0], t: places[1], **self._bindings(U, places[2:])})
            if agrees_with_prox(known, self.scalar, self._samples(), places):
                return form
        return None

    @cached_property
    def conjugate_formula(self) -> Any:
        """The conjugate in closed form in ``q``, a sympy expression; None where there is none that is exact."""
        if self._cut is None or self.facts.convex is not YES or self.scalar is None:
            return None
        q = conjugate_symbol()
        places = (Input("q", ()), *self.scalar.parameters)
        for form in conjugate_candidates(whole(self._cut, self.symbol), self.symbol, q):
            if not is_known(form):
                continue
            known = from_sympy(form, {q: places[0], **self._bindings(U, places[1:])})
            if agrees_with_conjugate(known, self.scalar, self._samples(), places):
                return form
        return None

    def _bindings(self, v: Expression, parameters: tuple[Expression, ...]) -> dict[Any, Expression]:
        return {self.symbol: v, **dict(zip(self._symbols, parameters, strict=True))}

    def _samples(self) -> list[Any]:
        signs = ["positive" if s.is_positive else "nonnegative" if s.is_nonnegative else "" for s in self._symbols]
        return samples_of(self.parameters, signs)

    def define_prox(self, v: Expression, t: Expression, parameters: tuple[Expression, ...]) -> Expression:
        """The prox at a real expression, entry by entry: the closed form, or a node that solves for it."""
        if isinstance(t, Literal) and t.value == 0:
            return self.nearest(v)
        if self.prox_formula is not None:
            return self._closed_prox(v, t, parameters)
        assert self.scalar is not None
        return scalar_prox(self.scalar, v, t, parameters)

    @cached_property
    def _clips(self) -> bool:
        """Whether the prox is a sum of clipped lines, which costs less than a choice among formulas."""
        assert self.scalar is not None
        places = (Input("v", ()), Input("t", ()), *self.scalar.parameters)
        form = self._clipped_prox(places[0], places[1], places[2:])
        return form is not None and agrees_with_prox(form, self.scalar, self._samples(), places)

    def _clipped_prox(self, v: Expression, t: Expression, parameters: tuple[Expression, ...]) -> Expression | None:
        assert self._cut is not None
        step = prox_symbols()[1]
        bindings = {step: t, **dict(zip(self._symbols, parameters, strict=True))}
        pieces = whole(self._cut, self.symbol)
        found = clipped_prox(pieces, self.symbol, v, step, lambda formula: from_sympy(formula, bindings))
        return None if found is None else self.nearest(found)

    def _closed_prox(self, v: Expression, t: Expression, parameters: tuple[Expression, ...]) -> Expression:
        """The closed form; where it divides by what may vanish with the step, the limit for short steps at zero."""
        if self._clips:
            clipped = self._clipped_prox(v, t, parameters)
            assert clipped is not None
            return ex.broadcast_to(clipped, v.shape)
        roots = _takes_roots(self.prox_formula)
        moving = pointwise("greater", t, 0.0)
        step = ex.where(moving, t, 1.0) if roots else t
        bindings = {**dict(zip(prox_symbols(), (v, step), strict=True)), **self._bindings(v, parameters)}
        found = from_sympy(self.prox_formula, bindings)
        if roots:
            still = v - t * self.translate(self.first, v, parameters) if self.even else self.nearest(v)
            found = ex.where(moving, found, still)
        return ex.broadcast_to(found, v.shape)

    def define_conjugate(self, q: Expression, parameters: tuple[Expression, ...]) -> Expression:
        """The conjugate at a real expression, entry by entry; at the ends of its domain the limits there."""
        ends = [(end, border) for end, border in self._borders if border is not None]
        inside = q
        for end, _ in ends:  # a formula may fail on an end, and its derivatives with it
            inside = ex.where(self._is_at(end, q, parameters), self._slope_inside(parameters), inside)
        found = self._conjugate_inside(inside, parameters)
        for end, border in ends:
            value = self.bound(border, parameters) if border.is_finite else inf
            found = ex.where(self._is_at(end, q, parameters), value, found)
        return found

    @cached_property
    def _borders(self) -> tuple[tuple[Any, Any], ...]:
        """The ends of the conjugate's domain, and its value there."""
        known = self.slope_range
        assert known is not None or self._ends is None
        return () if known is None or self._ends is None else tuple(zip(known, self._ends.borders, strict=True))

    def _is_at(self, end: Any, q: Expression, parameters: tuple[Expression, ...]) -> Expression:
        assert self.slope_range is not None
        lower = end == self.slope_range[0]
        return pointwise("less_equal" if lower else "greater_equal", q, self.bound(end, parameters))

    def _slope_inside(self, parameters: tuple[Expression, ...]) -> Expression:
        """A slope between the two ends."""
        assert self.slope_range is not None
        lower, upper = self.slope_range
        if lower.is_infinite or upper.is_infinite:
            return self.bound(lower + 1 if upper.is_infinite else upper - 1, parameters)
        return self.bound((lower + upper) / 2, parameters)

    def _conjugate_inside(self, q: Expression, parameters: tuple[Expression, ...]) -> Expression:
        if self.conjugate_formula is not None:
            bindings = {conjugate_symbol(): q, **self._bindings(q, parameters)}
            return ex.broadcast_to(from_sympy(self.conjugate_formula, bindings), q.shape)
        assert self.scalar is not None
        return scalar_conjugate(self.scalar, q, parameters)

    def nearest(self, v: Expression) -> Expression:
        """The nearest point of the domain."""
        lower, upper = float(self.lower), float(self.upper)
        inside = v if lower == -inf else ex.maximum(v, lower)
        return inside if upper == inf else ex.minimum(inside, upper)

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
        return f"Potential({self.symbol} -> {self.readable()})"

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


def _takes_roots(formula: Any) -> bool:
    """Whether a formula has roots of v or t, as solutions of quadratic equations have."""
    import sympy

    v, t = prox_symbols()
    return any(not power.exp.is_Integer and power.base.has(v, t) for power in formula.atoms(sympy.Pow))


def prox_symbols() -> tuple[Any, Any]:
    """The symbols of the argument and of the step in a `Potential.prox_formula`."""
    import sympy

    return sympy.Symbol("v", real=True), sympy.Symbol("t", nonnegative=True)


def conjugate_symbol() -> Any:
    """The symbol of the argument in a `Potential.conjugate_formula`."""
    import sympy

    return sympy.Symbol("q", real=True)


__all__ = ["Potential", "conjugate_symbol", "prox_symbols"]
