"""Functionals, and the calculus that builds them from each other.

A functional is defined by what it does in the step language: ``define_value``, and where there is one,
``define_prox``, ``define_conjugate_value`` and so on. Gradients and Hessian products follow from the value. An ability
that is missing is not declared: ``f.offers("prox")`` tells, and the compiler splits where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import singledispatch
from typing import Any, ClassVar

from opalg.arrays import library_name
from opalg.errors import NotAffineError
from opalg.facts import UNKNOWN, YES, Bound, Fact
from opalg.functionals.combining import added, argument_scaled, composed, conjugated, translated, weighted
from opalg.functionals.evaluation import (
    check_differentiable,
    checked_argument,
    gradient_at,
    hessian_product_at,
    is_within,
    need,
    prox_at,
    value_at,
)
from opalg.functionals.exactness import Exactness
from opalg.functionals.weights import Condition, positive, reciprocal
from opalg.nodes import Node, substitute
from opalg.operators.algebra import LinearOperator
from opalg.program import expression as ex
from opalg.program.differentiate import gradient, jvp
from opalg.program.expression import Expression, Input, Literal

ABILITIES = ("gradient", "prox", "conjugate_value", "dual_gauge", "dual_projection")


@dataclass(frozen=True)
class FunctionalFacts:
    """What is known about a functional; silence is unknown.

    Attributes
    ----------
    convex : Fact
        Whether it is convex.
    smooth : Fact
        Whether it is differentiable everywhere.
    smoothness : Bound or None
        A Lipschitz constant of the gradient.
    strong_convexity : Expression or None
        A certified ``mu >= 0`` with ``f - mu/2 |.|^2`` convex.
    quadratic : Fact
        Whether it is a quadratic polynomial.
    separable : Fact
        Whether it is a sum of functions of one entry each.
    indicator : bool
        Whether its values are zero and infinity only (so that a positive weight changes nothing).
    bounded_below : Fact
        Whether it has a lower bound; where it is convex, that 0 is in the domain of its conjugate.
    homogeneity : float or None
        The degree ``d`` with ``f(c v) = c^d f(v)`` for all ``c > 0``; 1 for norms, 2 for squares.
    phase_invariant : Fact
        Whether it depends on the magnitudes of the entries only.
    has_value : Fact
        Whether there is an energy: a map of a declared regulariser may have none.
    """

    convex: Fact = UNKNOWN
    smooth: Fact = UNKNOWN
    smoothness: Bound | None = None
    strong_convexity: Expression | None = None
    quadratic: Fact = UNKNOWN
    separable: Fact = UNKNOWN
    indicator: bool = False
    bounded_below: Fact = UNKNOWN
    homogeneity: float | None = None
    phase_invariant: Fact = UNKNOWN
    has_value: Fact = YES


class Functional(Node):
    """A function from arrays to numbers.

    ``f.value(v)``, ``f.gradient(v)``, ``f.hessian_vector(v, d)`` and ``f.prox(v, t)`` work on arrays;
    ``f(expression)`` makes an energy of one term. ``prox(v, t)`` minimises ``f(u) + |u - v|^2 / (2 t)``.
    """

    __array_ufunc__ = None
    squares: ClassVar[bool] = False  # whether formulas of a homogeneous functional square entries (see in_safe_units)
    differentiable_inside: ClassVar[bool] = False  # whether it has a gradient inside a domain that is not everything
    slope_at_kinks: ClassVar[bool] = False  # whether its gradient, where there is none, is one of Clarke's subgradients

    # What a subclass says, in the step language.

    def define_value(self, v: Expression) -> Expression:
        """The value as a scalar expression (indicators: 0; their domain is `define_violation`)."""
        raise NotImplementedError

    def define_violation(self, v: Expression) -> Expression:
        """How far, in the largest entry, v is from the domain; 0 where the domain is everything."""
        return Literal(0.0)

    def define_gradient(self, v: Expression) -> Expression:
        """The gradient, by default derived from the value."""
        x = _placeholder(v)
        return substitute(gradient(self.define_value(x), [x])[0], {x: v})

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        """The Hessian at v times d, by default derived from the gradient."""
        x = _placeholder(v)
        (moved,) = jvp([self.define_gradient(x)], {x: ex.broadcast_to(d, v.shape)})
        product = ex.broadcast_to(Literal(0.0) if moved is None else moved, v.shape)
        return substitute(product, {x: v})

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        """``argmin_u f(u) + |u - v|^2 / (2 t)`` for ``t >= 0``.

        The step is a scalar, or has as many axes as v: then it is a step for each sample, and axes on which it has one
        entry run inside a sample (`group_axes`). At ``t = 0`` it is the nearest point of the domain.
        """
        raise NotImplementedError

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        """The Hessian where it is the same everywhere, as an operator on arrays; None where it is not constant."""
        return None

    def define_conjugate_value(self, q: Expression) -> Expression:
        """``sup_v Re <q, v> - f(v)`` for q in the conjugate's domain."""
        raise NotImplementedError

    def define_dual_gauge(self, q: Expression) -> Expression:
        """The least ``g >= 0`` such that ``c q`` is in the conjugate's domain for all ``0 <= c <= 1 / g``.

        The literal 0 says that the domain is everything. Not offered where the domain is a cone or unknown.
        """
        raise NotImplementedError

    def define_dual_projection(self, q: Expression) -> Expression:
        """The nearest point of the conjugate's domain."""
        raise NotImplementedError

    def dual_gauge_bound(self, q: Expression) -> Expression | None:
        """A number ``g`` such that ``q / max(g, 1)`` is in the conjugate's domain, and 1 or less for q in it.

        By default the gauge; None where no such number is known.
        """
        return self.define_dual_gauge(q) if self.offers("dual_gauge") else None

    @property
    def facts(self) -> FunctionalFacts:
        """What is known about this functional."""
        return FunctionalFacts()

    @property
    def vanishes_at_zero_only(self) -> bool:
        """Whether it is known to be 0 at 0 and positive elsewhere, so that an infinite weight holds entries at 0."""
        known = self.facts
        modulus = known.strong_convexity
        return known.homogeneity == 2.0 and modulus is not None and positive(modulus) is YES

    @property
    def exactness(self) -> Exactness | None:
        """How exactly the prox is known; None where none is offered."""
        return Exactness.CLOSED_FORM if self.offers("prox") else None

    def behind(self, batch: int) -> Functional:
        """The same functional of arrays with that many batch axes in front: its own axes move to the right."""
        return self

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ShapeError where the functional cannot take arrays of that shape."""

    def check_kind(self, kind: str) -> None:
        """Raise DtypeError where the functional cannot take ``"real"`` or ``"complex"`` arrays."""

    def define_conditions(self) -> list[Condition]:
        """What the data must obey for the functional to be what it says, checked whenever a plan gets values."""
        return []

    def hint(self) -> str:
        """What to declare so that more can be proved, such as the sign of a parameter; empty where nothing helps."""
        return ""

    def why_not(self, ability: str) -> str:
        """Why an ability is missing, and what to do about it, where that can be said; else nothing."""
        return ""

    def text(self, inner: str) -> str:
        """The functional of something as readable text, in the names that users type."""
        return f"{self!r}({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        """The functional of something as LaTeX; ``names`` are the symbols of the arrays that it holds."""
        name = type(self).__name__
        return rf"\operatorname{{{name}}}\left({inner}\right)"

    def __repr__(self) -> str:
        values = (repr(getattr(self, f.name)) for f in fields(self)) if is_dataclass(self) else ()
        return f"{type(self).__name__}({', '.join(values)})"

    # What follows from it.

    def __call__(self, expression: Any) -> Any:
        """The energy of one term, this functional of an affine expression of variables."""
        return applied(expression, self)

    def __rmul__(self, weight: Any) -> Any:
        """``w * f``: see `Weighted`."""
        return weighted(self, weight)

    __mul__ = __rmul__

    def __truediv__(self, divisor: Any) -> Any:
        """``f / c``, the weight ``1 / c``: see `Weighted`."""
        return weighted(self, reciprocal(divisor, "the divisor of a functional"))

    def __neg__(self) -> Any:
        """``-f``, a functional where f is linear or a sum of squares; others have negative weights in terms only."""
        return weighted(self, -1.0)

    def __sub__(self, other: Any) -> Any:
        """``f - g``, where ``-g`` is a functional, and ``f - 3.0``."""
        return added(self, -other)

    def __rsub__(self, other: Any) -> Any:
        return added(-self, other)

    def __add__(self, other: Any) -> Any:
        """``f + g``, a functional that offers the prox where a rule is known, and ``f + 3.0``: see `Sum`."""
        return added(self, other)

    __radd__ = __add__

    def __matmul__(self, operator: Any) -> Any:
        """``f @ A``, the functional ``x -> f(A x)``: see `Composition`."""
        return composed(self, operator)

    def translated(self, offset: Any) -> Any:
        """The functional ``v -> f(v - offset)``: see `Translated`."""
        return translated(self, offset)

    def scaled(self, factor: Any) -> Any:
        """The functional ``v -> f(factor v)``: see `ArgumentScaled`; a weight is ``factor * f``."""
        return argument_scaled(self, factor)

    def offers(self, ability: str) -> bool:
        """Whether an ability exists: ``"gradient"``, ``"prox"``, or one of the dual ones in `ABILITIES`."""
        if ability not in ABILITIES:
            raise ValueError(f"{ability!r} is not an ability; they are {ABILITIES}")
        if ability == "gradient":
            return self.facts.smooth is YES
        return getattr(type(self), f"define_{ability}") is not getattr(Functional, f"define_{ability}")

    @property
    def conjugate(self) -> Functional:
        """The convex conjugate; its prox follows from Moreau's identity."""
        found: Functional = conjugated(self)
        return found

    def value(self, v: Any) -> float:
        """The value at an array; infinity outside the domain."""
        return value_at(self, v)

    def gradient(self, v: Any) -> Any:
        """The gradient at an array.

        Raises
        ------
        UnsupportedError
            Where the functional is not differentiable.
        ParameterError
            Where it is inside its domain only, and the array lies outside, or on the border.
        """
        check_differentiable(self, v)
        return gradient_at(self, v)

    def hessian_vector(self, v: Any, direction: Any) -> Any:
        """The Hessian at v times a direction (at kinks of the gradient, a one-sided choice)."""
        check_differentiable(self, v)
        return hessian_product_at(self, v, direction)

    def prox(self, v: Any, t: Any = 1.0) -> Any:
        """The minimiser of ``f(u) + |u - v|^2 / (2 t)``.

        Parameters
        ----------
        v : array
            Where to start from; left as it is.
        t : float or array
            The step, at least 0; an array of the shape of leading axes of v gives each sample of that batch its own.

        Returns
        -------
        array
            Of the shape, dtype and device of v, sharing no memory with it.

        Raises
        ------
        UnsupportedError
            Where no prox is known.
        ParameterError
            For a negative, infinite or complex step.
        ShapeError
            Where the shape of t is not that of leading axes of v.
        """
        self._need("prox")
        return prox_at(self, v, t)

    def _need(self, ability: str) -> None:
        need(self, ability)


@singledispatch
def applied(expression: Any, functional: Functional) -> Any:
    """A functional of an expression of variables; the language registers what it makes of that."""
    hint = ""
    if library_name(expression):
        hint = (
            f"; data have no unknowns, so declare x = oa.Variable(shape) and write what depends on it, or take the "
            f"value at an array with {functional!r}.value(array)"
        )
    raise NotAffineError(
        f"{functional.text('...')} takes an affine expression of variables such as K @ x - y, not "
        f"{type(expression).__name__}{hint}"
    )


def group_axes(v: Expression, t: Expression, axis: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
    """The axes of v that run inside one group, counted from the end; None for all.

    Parameters
    ----------
    v : Expression
        The argument of a prox.
    t : Expression
        Its step: a scalar, or as many axes as v, where an axis of one entry runs inside a sample.
    axis : tuple of int, optional
        The axes that the functional names; all axes of a sample where it names none.
    """
    if axis is not None:
        return tuple(sorted(a % v.ndim - v.ndim for a in axis))
    if t.shape == () or v.ndim == 0:
        return None
    return tuple(i - v.ndim for i, n in enumerate(t.shape) if n == 1)


def _placeholder(v: Expression) -> Expression:
    """What to differentiate in, in place of v: folding may make a compound v vanish from a formula."""
    return v if isinstance(v, Input) else Input("argument", v.shape, v.kind)


__all__ = [
    "ABILITIES",
    "Exactness",
    "Functional",
    "FunctionalFacts",
    "applied",
    "checked_argument",
    "group_axes",
    "is_within",
]
