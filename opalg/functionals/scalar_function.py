"""A function of one real variable as formulas of the step language over placeholders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from typing import Any

from opalg.functionals.scalar_solver import Equation, T, U, V, stationary
from opalg.program import expression as ex
from opalg.program.differentiate import jvp
from opalg.program.expression import Expression, Input, Literal


def placeholders(count: int) -> tuple[Input, ...]:
    """The inputs that stand for that many parameters in the formulas of a `ScalarFunction`."""
    return tuple(Input(f"p{i}", ()) for i in range(count))


@dataclass(frozen=True)
class ScalarFunction:
    """A function of one real variable u, as formulas over ``U`` and ``placeholders(n)``; compared by its formulas.

    Parameters
    ----------
    value, slope, curvature : Expression
        The function and its derivatives, without axes; the value is needed where ``turns`` are given only.
    parameters : tuple of Input
        The placeholders of its parameters.
    lower, upper : float
        The domain; outside, the function is infinite.
    kinks : tuple of Expression
        Where the slope jumps, in increasing order: formulas in the parameters.
    turns : tuple of Expression or None
        None for a convex function; else the inner points between which the second derivative is monotone, in
        increasing order; kinks are among them.
    even : bool
        Whether the function is even and its domain symmetric; used where there are ``turns``, half of which suffice.
    start : Expression or None
        A good first guess of the prox, a formula in ``V``, ``T`` and the parameters; it need not be safe.
    """

    value: Expression | None
    slope: Expression
    curvature: Expression
    parameters: tuple[Input, ...] = ()
    lower: float = -inf
    upper: float = inf
    kinks: tuple[Expression, ...] = ()
    turns: tuple[Expression, ...] | None = None
    start: Expression | None = None
    even: bool = False

    @staticmethod
    def of(
        value: Callable[..., Expression] | None,
        count: int = 0,
        *,
        slope: Callable[..., Expression] | None = None,
        curvature: Callable[..., Expression] | None = None,
        lower: float = -inf,
        upper: float = inf,
        kinks: Callable[..., tuple[Any, ...]] | None = None,
        turns: Callable[..., tuple[Any, ...]] | None = None,
        start: Callable[..., Expression] | None = None,
        even: bool = False,
    ) -> ScalarFunction:
        """The function that callables write.

        Parameters
        ----------
        value, slope, curvature : callable
            ``value(u, *parameters) -> Expression``; derivatives that are left out are derived from the one before.
        count : int
            How many parameters there are.
        lower, upper : float
            The domain.
        kinks, turns : callable, optional
            ``kinks(*parameters) -> tuple`` of numbers or expressions, in increasing order.
        start : callable, optional
            ``start(v, t, *parameters) -> Expression``, a first guess of the prox.
        even : bool
            Whether the function is even.
        """
        p = placeholders(count)
        written = None if value is None else value(U, *p)
        first = slope(U, *p) if slope is not None else derivative_of(written, U)
        second = curvature(U, *p) if curvature is not None else derivative_of(first, U)
        return ScalarFunction(
            written,
            first,
            second,
            p,
            float(lower),
            float(upper),
            _expressions(kinks, p),
            None if turns is None else _expressions(turns, p),
            None if start is None else start(V, T, *p),
            even,
        )

    @cached_property
    def equation(self) -> Equation:
        """``u + t slope(u) = v``."""
        return stationary(self.slope, self.curvature, self.parameters, self.turns is None)


def _expressions(write: Callable[..., tuple[Any, ...]] | None, p: tuple[Input, ...]) -> tuple[Expression, ...]:
    return () if write is None else tuple(ex.as_expression(e) for e in write(*p))


@lru_cache(maxsize=1024)
def derivative_of(formula: Expression | None, place: Input) -> Expression:
    """The derivative of a formula without axes in one placeholder."""
    if formula is None:
        raise ValueError("a ScalarFunction needs its value or its slope")
    (moved,) = jvp([formula], {place: Literal(1.0)})
    return Literal(0.0) if moved is None else moved


__all__ = ["ScalarFunction", "T", "U", "V", "derivative_of", "placeholders"]
