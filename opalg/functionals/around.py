"""What combinators of functionals share: how they ask their parts, and formulas that stay right at any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

from opalg.arrays import Backend
from opalg.errors import DtypeError
from opalg.facts import NO, UNKNOWN, YES, Fact
from opalg.functionals.calculus import Functional, group_axes
from opalg.functionals.exactness import Exactness
from opalg.functionals.weights import Condition, positive
from opalg.nodes import substitute, walk
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, Input, Literal, Pointwise, Reduce


class Around(Functional):
    """A functional made of another one, as which it behaves unless it says otherwise."""

    functional: Functional

    @property
    def squares(self) -> bool:  # type: ignore[override]
        """Whether formulas of the other functional square entries."""
        return self.functional.squares

    @property
    def everywhere(self) -> bool:
        """Whether it is known to be finite at every array."""
        return finite_everywhere(self.functional)

    def define_violation(self, v: Expression) -> Expression:
        return self.functional.define_violation(v)

    @property
    def exactness(self) -> Exactness | None:
        return self.functional.exactness if self.offers("prox") else None

    def define_conditions(self) -> list[Condition]:
        return self.functional.define_conditions()

    def hint(self) -> str:
        return self.functional.hint()

    def why_not(self, ability: str) -> str:
        return self.functional.why_not(ability)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.functional.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.functional.check_kind(kind)


def finite_everywhere(functional: Functional) -> bool:
    """Whether a functional is known to be finite at every array."""
    found: bool | None = getattr(functional, "everywhere", None)
    if found is not None:
        return found
    return functional.facts.smooth is YES or type(functional).define_violation is Functional.define_violation


def differentiable(functional: Functional) -> bool:
    """Whether a functional is known to have a gradient wherever it is finite, or inside a domain."""
    return functional.facts.smooth is YES or functional.differentiable_inside


def takes(functional: Functional, kind: str) -> bool:
    """Whether a functional takes arrays of a kind."""
    try:
        functional.check_kind(kind)
    except DtypeError:
        return False
    return True


def is_literal(expression: Expression | None, value: float) -> bool:
    """Whether an expression is that number, as its form tells."""
    return isinstance(expression, Literal) and expression.value == value


def lasting(fact: Fact, kept: bool) -> Fact:
    """A fact about a part that its combination shares; its denial only where the combination can be undone."""
    return fact if fact is not NO or kept else UNKNOWN


def step_times(t: Expression, factor: Expression, v: Expression) -> Expression:
    """The step of a prox times a factor, with no axes or those of v; steps that are the number 0 stay that."""
    if is_literal(t, 0.0):
        return t
    if is_literal(factor, 0.0):
        return Literal(0.0) if t.shape == () else ex.broadcast_to(Literal(0.0), t.shape)
    step = t * factor
    return step if len(step.shape) in (0, v.ndim) else ex.broadcast_to(step, v.shape)


# Formulas of functionals that are not homogeneous, around one that is and squares entries.


@dataclass(frozen=True)
class SafeUnit:
    """A power of two, by which squares of the entries of an array neither overflow nor vanish; mostly 1.

    What it is used in does not depend on the unit, so its derivative is left out.
    """

    axes: tuple[int, ...] | None

    def evaluate(self, lib: Backend, v: Any) -> Any:
        """The unit of the whole array, or one for each sample, as its axes say."""
        xp, axes = lib.xp, self.axes
        kept = axes is not None
        if 0 in v.shape:
            shape = tuple(1 if axes is None or i - v.ndim in axes else n for i, n in enumerate(v.shape))
            return xp.ones_like(lib.zeros(shape if kept else ()))
        where = None if axes is None else tuple(a % v.ndim for a in axes)
        largest = xp.max(xp.abs(v), axis=where, keepdims=kept)
        low, high = sqrt(lib.tiny) * 1e6, 1e-6 / sqrt(lib.tiny)
        strange = xp.logical_and(xp.logical_or(largest <= low, largest >= high), xp.isfinite(largest))
        strange = xp.logical_and(strange, largest > 0)
        one = xp.ones_like(largest)
        return xp.pow(2.0 * one, xp.round(xp.log2(xp.where(strange, largest, one))))

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """None: see the class."""
        return None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """None: see the class."""
        return [None]

    def __repr__(self) -> str:
        return "safe_unit"


def _unit(v: Expression, axes: tuple[int, ...] | None) -> Expression:
    if axes is None:
        return Call(SafeUnit(None), (v,), (), "real")
    shape = tuple(1 if i - v.ndim in axes else n for i, n in enumerate(v.shape))
    return Call(SafeUnit(axes), (v,), shape, "real")


def _needs_unit(functional: Functional) -> bool:
    known = functional.facts
    return functional.squares and known.separable is not YES and known.homogeneity is not None


def safe_prox(functional: Functional, v: Expression, t: Expression) -> Expression:
    """The prox of a functional, in a unit in which its formulas can square entries."""
    if not _needs_unit(functional):
        return functional.define_prox(v, t)
    unit, degree = _unit(v, group_axes(v, t)), functional.facts.homogeneity
    assert degree is not None
    step = t if degree == 2.0 or is_literal(t, 0.0) else t * unit ** (degree - 2.0)
    return unit * functional.define_prox(v / unit, step)


def safe_value(functional: Functional, v: Expression) -> Expression:
    """The value of a functional, in a unit in which its formulas can square entries."""
    if not _needs_unit(functional):
        return functional.define_value(v)
    unit, degree = _unit(v, None), functional.facts.homogeneity
    assert degree is not None
    return unit**degree * functional.define_value(v / unit)


# Values entry by entry.


def entries(define: Callable[[Expression], Expression], v: Expression) -> Expression | None:
    """The summands of a value that is a sum over the entries of v, as its formula tells; None where it does not.

    Parameters
    ----------
    define : callable
        The value as a scalar expression, such as ``f.define_value`` of a separable functional.
    v : Expression
        The argument.
    """
    x = Input("entry", v.shape, v.kind)
    found = _summand(define(x), x)
    return None if found is None else substitute(found, {x: v})


def _summand(total: Expression, x: Input) -> Expression | None:
    if x.shape == ():
        return total
    if x not in set(walk(total)):
        return total if is_literal(total, 0.0) else total / float(prod(x.shape))
    match total:
        case Reduce(function="sum", argument=inside, axes=None):
            return inside
        case Pointwise(function="negative", arguments=(a,)):
            part = _summand(a, x)
            return None if part is None else -part
        case Pointwise(function="add" | "subtract" as name, arguments=(a, b)):
            left, right = _summand(a, x), _summand(b, x)
            return None if left is None or right is None else ex.pointwise(name, left, right)
        case Pointwise(function="multiply" | "divide" as name, arguments=(a, b)):
            return _multiple(name, a, b, x)
    return None


def _multiple(name: str, a: Expression, b: Expression, x: Input) -> Expression | None:
    if x not in set(walk(b)):
        part = _summand(a, x)
        return None if part is None else ex.pointwise(name, part, b)
    if name == "multiply" and x not in set(walk(a)):
        part = _summand(b, x)
        return None if part is None else a * part
    return None


# Data and text.


def above_zero(w: Expression) -> Expression:
    """The data where they are positive, else 1: what can be divided by."""
    return w if positive(w) is YES else ex.where(ex.pointwise("greater", w, 0.0), w, 1.0)


def where_positive(w: Expression, yes: Expression, no: Expression) -> Expression:
    """One expression where data are positive, another elsewhere."""
    return yes if positive(w) is YES else ex.where(ex.pointwise("greater", w, 0.0), yes, no)


def grouped(text: str) -> str:
    """Readable text as a factor: in parentheses where it is a sum."""
    return f"({text})" if _is_sum(text) else text


def _is_sum(text: str) -> bool:
    depth = 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if depth == 0 and (text[i : i + 3] in (" + ", " - ", " >=", " <=", " ==") or (i == 0 and c == "-")):
            return True
    return False


def latex_grouped(text: str) -> str:
    r"""LaTeX as a factor: in parentheses where it has a sign outside braces and ``\left( \right)``."""
    depth = 0
    for i, c in enumerate(text):
        opened, closed = c == "{" or text.startswith(r"\left", i), c == "}" or text.startswith(r"\right", i)
        depth += opened - closed
        if depth == 0 and (text[i : i + 3] in (" + ", " - ") or (i == 0 and c == "-")):
            return rf"\left({text}\right)"
    return text


__all__ = [
    "Around",
    "SafeUnit",
    "above_zero",
    "differentiable",
    "entries",
    "finite_everywhere",
    "grouped",
    "is_literal",
    "lasting",
    "latex_grouped",
    "safe_prox",
    "safe_value",
    "step_times",
    "takes",
    "where_positive",
]
