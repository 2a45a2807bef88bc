"""Parts of formulas in forms that neither overflow nor divide zero by zero where the formula as written would.

Each function gets the translator that meets the part, and asks it to translate what is below.
"""

from __future__ import annotations

from typing import Any

from opalg.program.expression import Expression, Literal, maximum, minimum, pointwise, square, where

PRODUCT_LIMIT = 16  # integer powers up to this are written as products
_LARGE = 1e18  # in single precision, squares of numbers above this are near overflow


def entropic_factor(translator: Any, factors: list[Any]) -> tuple[list[Expression], list[Any]]:
    """``log(u)`` next to a positive power of u, with the value 0 for the product at ``u = 0``."""
    import sympy

    for factor in factors:
        if isinstance(factor, sympy.log):
            for other in factors:
                base, exponent = other.as_base_exp()
                if base == factor.args[0] and exponent.is_positive:
                    u = translator.translate(base)
                    log = pointwise("log", where(pointwise("greater", abs(u), 0.0), u, 1.0))
                    return [log], [f for f in factors if f is not factor]
    return [], factors


def ratio_of_powers(translator: Any, factors: list[Any]) -> tuple[list[Expression], list[Any]]:
    """``a^n / b^n`` as ``(a / b)^n``, which overflows later."""
    found: list[Expression] = []
    rest = list(factors)
    for factor in factors:
        base, exponent = factor.as_base_exp()
        if not (exponent.is_Integer and 2 <= exponent <= PRODUCT_LIMIT):
            continue
        for other in rest:
            below, power = other.as_base_exp()
            if power == -exponent:
                found.append(integer_power(translator.translate(base) / translator.translate(below), int(exponent)))
                rest = [f for f in rest if f is not factor and f is not other]
                break
    return found, rest


def logistic_factors(translator: Any, factors: list[Any]) -> tuple[Expression | None, list[Any]]:
    """``exp(u)^k / (1 + exp(u))^n`` through tanh, which neither overflows nor divides infinity by itself."""
    import sympy

    for factor in factors:
        base, exponent = factor.as_base_exp()
        terms = [a for a in base.args if isinstance(a, sympy.exp)] if base.is_Add and len(base.args) == 2 else []
        if not terms or base - terms[0] != 1 or not exponent.is_Integer or not -PRODUCT_LIMIT <= exponent < 0:
            continue
        argument = terms[0].args[0]
        rest = [f for f in factors if f is not factor]
        power = 0
        for other in [f for f in rest if isinstance(f, sympy.exp)]:
            ratio = sympy.cancel(other.args[0] / argument)
            if ratio.is_Integer and 0 < ratio <= -exponent:
                power = int(ratio)
                rest.remove(other)
                break
        half = 0.5 * pointwise("tanh", 0.5 * translator.translate(argument))
        up, down = integer_power(0.5 + half, power), integer_power(0.5 - half, -int(exponent) - power)
        return up * down, rest
    return None, factors


def exponential_less_one(translator: Any, terms: list[Any]) -> tuple[Expression | None, list[Any]]:
    """``c exp(u) - c`` in a sum for a number c, without cancellation next to ``u = 0``; and the terms that are left.

    That is what a slope needs at its zero. Where u keeps its sign, as in ``1 - exp(-u^2)``, this costs too much.
    """
    import sympy

    for number in terms:
        if not number.is_Rational:
            continue
        for term in terms:
            coefficient, factor = term.as_coeff_Mul()
            if isinstance(factor, sympy.exp) and coefficient == -number and _changes_sign(factor.args[0]):
                argument = translator.translate(factor.args[0])
                small = pointwise("less", abs(argument), 1.0)
                half = pointwise("tanh", 0.5 * where(small, argument, 0.0))
                found = where(small, 2.0 * half / (1.0 - half), pointwise("exp", argument) - 1.0)
                rest = [t for t in terms if t is not number and t is not term]
                return (found if coefficient == 1 else float(coefficient) * found), rest
    return None, terms


def _changes_sign(formula: Any) -> bool:
    return not (formula.is_nonnegative or formula.is_nonpositive)


def integer_power(base: Expression, n: int) -> Expression:
    """A nonnegative integer power as squares and products."""
    if n == 0:
        return Literal(1.0)
    if n == 1:
        return base
    half = square(integer_power(base, n // 2))
    return half * base if n % 2 else half


def hyperbolic(base: Any, exponent: Any) -> Any:
    """``cosh(u)^-2k`` as ``(1 - tanh(u)^2)^k``, which does not overflow; None for other powers."""
    import sympy

    if isinstance(base, sympy.cosh) and exponent.is_Integer and exponent.is_negative and exponent.is_even:
        return base.args[0], -int(exponent) // 2
    return None


def is_square(formula: Any) -> bool:
    """Whether a formula is the square of a real one, or a positive number."""
    base, exponent = formula.as_base_exp()
    return bool((exponent == 2 and base.is_extended_real) or (formula.is_Number and formula.is_positive))


def euclidean_length(translator: Any, squares: Any) -> Expression:
    """The root of a sum of squares, where these would overflow the largest of their roots."""
    total: Expression = Literal(0.0)
    largest: Expression = Literal(0.0)
    for part in squares:
        if part.is_Number:
            total = total + float(part)
            continue
        root = abs(translator.translate(part.as_base_exp()[0]))
        largest = maximum(largest, root) if largest != Literal(0.0) else root
        total = total + square(minimum(root, _LARGE))
    return maximum(pointwise("sqrt", total), largest)


__all__ = [
    "PRODUCT_LIMIT",
    "entropic_factor",
    "euclidean_length",
    "exponential_less_one",
    "hyperbolic",
    "integer_power",
    "is_square",
    "logistic_factors",
    "ratio_of_powers",
]
