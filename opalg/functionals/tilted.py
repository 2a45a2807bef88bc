"""Functionals plus a linear and a quadratic part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, Bound, Fact
from opalg.functionals.around import Around, differentiable, finite_everywhere, is_literal, safe_prox, safe_value
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.linear import Linear
from opalg.functionals.norms import Norm1, Norm2, Norm21
from opalg.functionals.weights import (
    Condition,
    Data,
    check_broadcasts,
    condition,
    data,
    nonnegative,
    positive,
    real_data,
    sign_hint,
)
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, add, scale
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text, factor_latex, is_sum


@node
class Tilted(Around):
    """``f(v) = g(v) + Re <a, v> + (c / 2) |v|^2``, or ``sum_i c_i |v_i|^2 / 2`` at the end for a separable ``g``.

    Parameters
    ----------
    functional : Functional
        The functional ``g``.
    linear : number, array, Parameter or Expression
        The slope ``a``, which broadcasts to the argument. Of a complex ``a`` a real v meets the real part.
    quadratic : number, array, Parameter or Expression
        The curvature ``c``, real and at least 0.

    Raises
    ------
    ParameterError
        For a curvature that is known to be negative.
    UnsupportedError
        For one curvature per entry where ``g`` is not known to be separable.
    DtypeError, ShapeError
        For complex curvatures; for data that do not broadcast to the argument.

    Notes
    -----
    ``prox_{t f}(v) = prox_{s g}((v - t a) / (1 + t c))`` with ``s = t / (1 + t c)`` (Beck 2017, Theorem 6.13). For
    ``c = 0`` is ``f*(q) = g*(q - a)``; for ``c > 0`` it is the Moreau envelope of ``g*``, finite everywhere and read
    off at ``u = prox_{g / c}((q - a) / c)``, where ``Re <q, .> - f`` is largest (Bauschke, Combettes 2011,
    Proposition 14.1).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Tilted(oa.functionals.Norm1(), 0.0, 1.0)
    >>> f.prox(np.array([5.0, -1.0]), 1.0).tolist()
    [2.0, 0.0]
    """

    functional: Functional
    linear: Data = 0.0
    quadratic: Data = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.functional, Functional):
            raise DtypeError(f"Tilted needs a functional such as Norm1(), not {type(self.functional).__name__}")
        object.__setattr__(self, "linear", data(self.linear, "the linear part of a functional"))
        curvature = real_data(self.quadratic, "the quadratic part of a functional")
        curvature = ex.total(curvature) if curvature.shape == (1,) else curvature
        if nonnegative(curvature) is NO:
            raise ParameterError(
                f"the quadratic part that is added to {self.functional!r} must be nonnegative; a term of negative "
                f"weight is written -c * oa.sum_squares(x), and the energy is then not convex"
            )
        if curvature.shape != () and self.functional.facts.separable is not YES:
            raise UnsupportedError(
                f"one curvature per entry needs a functional that is a sum over the entries, which "
                f"{self.functional!r} is not known to be; add the term oa.sum_squares(x, weights=w)"
            )
        object.__setattr__(self, "quadratic", curvature)

    def _slope(self, v: Expression) -> Expression:
        """The slope in the kind of v."""
        if v.kind == "complex" or self.linear.kind != "complex":
            return self.linear
        return ex.pointwise("real", self.linear)

    @property
    def _flat(self) -> bool:
        return is_literal(self.quadratic, 0.0)

    @property
    def _straight(self) -> bool:
        return is_literal(self.linear, 0.0)

    @property
    def _curved(self) -> bool:
        return positive(self.quadratic) is YES

    # What it does.

    def define_value(self, v: Expression) -> Expression:
        value = safe_value(self.functional, v)
        if not self._straight:
            value = value + ex.inner(ex.broadcast_to(self.linear, v.shape), v)
        return value if self._flat else value + 0.5 * ex.total(self.quadratic * ex.square_abs(v))

    def define_gradient(self, v: Expression) -> Expression:
        slope = self.functional.define_gradient(v) + self._slope(v)
        return slope if self._flat else slope + self.quadratic * v

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        below = self.functional.define_hessian_product(v, d)
        return below if self._flat else below + self.quadratic * ex.broadcast_to(d, v.shape)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        found = self.functional.define_hessian_operator(shape, kind)
        if found is None or self._flat:
            return found
        if self.quadratic.shape == ():
            return add(found, scale(self.quadratic, Identity(found.in_shape)))
        return add(found, Diagonal(ex.broadcast_to(self.quadratic, found.in_shape)))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if is_literal(t, 0.0):
            return self.functional.define_prox(v, t)
        start = v if self._straight else v - t * self._slope(v)
        if self._flat:
            return safe_prox(self.functional, start, t)
        stretch = 1.0 + t * self.quadratic
        step = t / stretch
        step = step if len(step.shape) in (0, v.ndim) else ex.broadcast_to(step, v.shape)
        return safe_prox(self.functional, start / stretch, step)

    # Its conjugate.

    def define_conjugate_value(self, q: Expression) -> Expression:
        moved = q if self._straight else q - self._slope(q)
        if self._flat:
            return self.functional.define_conjugate_value(moved)
        scaled = ex.broadcast_to(moved / self.quadratic, q.shape)
        step = 1.0 / self.quadratic
        step = step if len(step.shape) in (0, q.ndim) else ex.broadcast_to(step, q.shape)
        best = safe_prox(self.functional, scaled, step)
        square = ex.total(self.quadratic * ex.square_abs(best))
        return ex.inner(moved, best) - 0.5 * square - safe_value(self.functional, best)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.functional.define_dual_gauge(q) if self._flat else Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        if not self._flat:
            return q
        if self._straight:
            return self.functional.define_dual_projection(q)
        slope = self._slope(q)
        return self.functional.define_dual_projection(q - slope) + slope

    def offers(self, ability: str) -> bool:
        if ability in ("gradient", "prox"):
            return super().offers(ability) if ability == "gradient" else self.functional.offers("prox")
        if self._flat:
            return self.functional.offers(ability) and (self._straight or ability != "dual_gauge")
        return self._curved and self.functional.offers("prox") and self.functional.facts.convex is YES

    def why_not(self, ability: str) -> str:
        if ability in ("conjugate_value", "dual_gauge", "dual_projection") and not self._flat and not self._curved:
            return "its quadratic part is not known to be positive; " + (
                sign_hint([self.quadratic], strict=True) or "give a positive number"
            )
        return super().why_not(ability)

    # What is known.

    @property
    def facts(self) -> FunctionalFacts:
        known, sign = self.functional.facts, nonnegative(self.quadratic)
        return replace(
            known,
            convex=YES if known.convex is YES and sign is YES else known.convex if self._flat else UNKNOWN,
            smoothness=self._smoothness(known),
            strong_convexity=self._modulus(known) if known.convex is YES and sign is YES else None,
            indicator=known.indicator and self._flat and self._straight,
            bounded_below=self._bounded_below(known),
            homogeneity=known.homogeneity if self._keeps_degree(known.homogeneity) else None,
            phase_invariant=known.phase_invariant if self._straight else UNKNOWN,
        )

    def _smoothness(self, known: FunctionalFacts) -> Bound | None:
        bound = known.smoothness
        if bound is None or self._flat:
            return bound
        attained = known.convex is YES and self.quadratic.shape == ()
        size = self.quadratic if nonnegative(self.quadratic) is YES else abs(self.quadratic)
        return bound.plus(Bound(ex.largest(size), "exact"), exact=attained)

    def _modulus(self, known: FunctionalFacts) -> Expression | None:
        if self._flat:
            return known.strong_convexity
        lowest = ex.smallest(self.quadratic)
        return lowest if known.strong_convexity is None else known.strong_convexity + lowest

    def _bounded_below(self, known: FunctionalFacts) -> Fact:
        if self._straight and nonnegative(self.quadratic) is YES:
            return known.bounded_below if known.bounded_below is YES or self._flat else UNKNOWN
        modulus = known.strong_convexity
        grows = self._curved or (modulus is not None and positive(modulus) is YES)
        return YES if known.convex is YES and grows and nonnegative(self.quadratic) is YES else UNKNOWN

    def _keeps_degree(self, degree: float | None) -> bool:
        return (self._flat or degree == 2.0) and (self._straight or degree == 1.0)

    @property
    def differentiable_inside(self) -> bool:  # type: ignore[override]
        """As its functional."""
        return differentiable(self.functional)

    @property
    def everywhere(self) -> bool:
        return finite_everywhere(self.functional)

    def behind(self, batch: int) -> Functional:
        return Tilted(self.functional.behind(batch), self.linear, self.quadratic)

    def define_conditions(self) -> list[Condition]:
        own = condition(self.quadratic, False, f"the quadratic part added to {self.functional!r} must be nonnegative")
        return own + self.functional.define_conditions()

    def hint(self) -> str:
        return sign_hint([self.quadratic], strict=False) or self.functional.hint()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.linear, shape, self, "a linear part")
        check_broadcasts(self.quadratic, shape, self, "a quadratic part")
        self.functional.check_shape(shape)

    def text(self, inner: str) -> str:
        parts = [self.functional.text(inner)]
        if not self._straight:
            parts.append(f"linear({data_text(self.linear)}, {inner})")
        if not self._flat and self.quadratic.shape == ():
            factor = data_text(self.quadratic)
            parts.append(f"{f'({factor})' if is_sum(self.quadratic) else factor} / 2 * sum_squares({inner})")
        elif not self._flat:
            parts.append(f"0.5 * sum_squares({inner}, weights={data_text(self.quadratic)})")
        return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        parts = [self.functional.latex(inner, names)]
        if not self._straight:
            parts.append(Linear(self.linear).latex(inner, names))
        if not self._flat and self.quadratic.shape == ():
            parts.append(rf"\tfrac{{{data_latex(self.quadratic, names)}}}{{2}} \left\|{inner}\right\|_2^2")
        elif not self._flat:
            weights = factor_latex(self.quadratic, names)
            parts.append(rf"\tfrac{{1}}{{2}} \left\|{inner}\right\|_{{2,{weights}}}^2")
        return parts[0] if len(parts) == 1 else rf"\left({' + '.join(parts)}\right)"

    def __repr__(self) -> str:
        return f"Tilted({self.functional!r}, {data_text(self.linear)}, {data_text(self.quadratic)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        low = rng.uniform(-1.0, 0.0, (3, 4))
        slope = rng.standard_normal((3, 4))
        return [
            Tilted(Norm1(), slope, 0.7),
            Tilted(Norm2(), 0.0, Parameter(1.3, name="c", positive=True)),
            Tilted(Huber(0.8), Parameter(slope, name="a"), rng.uniform(0.0, 2.0, (3, 4))),
            Tilted(Indicator(Box(low, low + 1.0)), 0.3, 1.0),
            Tilted(Norm21(), slope + 0.5j, 0.0),
            Tilted(Norm1(rng.uniform(0.1, 1.0, (3, 1))), 0.2, rng.uniform(0.1, 2.0, (3, 4))),
        ]


def tilt(functional: Functional, linear: Any, quadratic: Any) -> Functional:
    """``f + Re <a, .> + (c / 2) |.|^2`` in its simplest form: the parts of tilted functionals add up.

    Raises
    ------
    ParameterError, DtypeError, UnsupportedError
        As for `Tilted`.
    """
    made = Tilted(functional, linear, quadratic)
    if made._straight and made._flat:
        return functional
    if isinstance(functional, Tilted):
        return tilt(functional.functional, functional.linear + made.linear, functional.quadratic + made.quadratic)
    return made


__all__ = ["Tilted", "tilt"]
