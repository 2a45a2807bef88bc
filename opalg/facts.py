"""What is known about an operator or functional: three-valued facts, and bounds that carry their certainty."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from opalg.program.expression import Expression, as_expression
from opalg.program.interpreter import number


class Fact(enum.Enum):
    """Yes, no, or unknown. ``bool`` of unknown raises, so that silence is never taken for an answer."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        if self is Fact.UNKNOWN:
            raise ValueError(
                "this fact is unknown; compare with `is YES`, `is NO` or `is UNKNOWN` instead of using bool()"
            )
        return self is Fact.YES

    def __and__(self, other: Fact) -> Fact:
        if self is Fact.NO or other is Fact.NO:
            return Fact.NO
        return Fact.YES if self is Fact.YES and other is Fact.YES else Fact.UNKNOWN

    def __or__(self, other: Fact) -> Fact:
        if self is Fact.YES or other is Fact.YES:
            return Fact.YES
        return Fact.NO if self is Fact.NO and other is Fact.NO else Fact.UNKNOWN

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


YES, NO, UNKNOWN = Fact.YES, Fact.NO, Fact.UNKNOWN

_RANK = {"exact": 0, "upper": 1, "asserted": 2, "estimate": 3}


@dataclass(frozen=True)
class Bound:
    """A bound on a nonnegative number, with its certainty.

    Parameters
    ----------
    expression : Expression
        The bound as a formula over leaves, evaluated in float64 when needed.
    certainty : str
        ``"exact"`` (it is the number), ``"upper"`` (proved from above), ``"asserted"`` (the user's word) or
        ``"estimate"`` (may lie below the truth; no safe step is built on it).
    """

    expression: Expression
    certainty: str = "exact"

    @property
    def value(self) -> float:
        """The bound as a number, at the leaves' own values."""
        return number(self.expression)

    @property
    def certified(self) -> bool:
        """Whether the bound is proved."""
        return self.certainty in ("exact", "upper")

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"{self.value:.6g} ({self.certainty})"

    def times(self, other: Bound, *, exact: bool = False) -> Bound:
        """The product of two bounds: an upper bound, unless ``exact`` says that the product is attained."""
        return Bound(self.expression * other.expression, _weaker(self, other, exact))

    def plus(self, other: Bound, *, exact: bool = False) -> Bound:
        """The sum of two bounds: an upper bound, unless ``exact``."""
        return Bound(self.expression + other.expression, _weaker(self, other, exact))

    def scaled(self, factor: Expression | float) -> Bound:
        """The bound times a nonnegative factor; its certainty stays."""
        return Bound(as_expression(factor) * self.expression, self.certainty)


def _weaker(a: Bound, b: Bound, exact: bool) -> str:
    worst = max(a.certainty, b.certainty, key=lambda c: _RANK[c])
    return "upper" if worst == "exact" and not exact else worst


def exact(value: Expression | float) -> Bound:
    """A bound that is the number itself."""
    return Bound(as_expression(value), "exact")


def upper(value: Expression | float) -> Bound:
    """A bound proved from above."""
    return Bound(as_expression(value), "upper")
