"""The elastic net: magnitudes and squares together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.norms import clip_magnitude
from opalg.functionals.pinned import WeightedSum
from opalg.functionals.weights import (
    Condition,
    Data,
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
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_text, factor_latex


@node
class ElasticNet(WeightedSum):
    """``f(v) = sum_i a_i |v_i| + b_i |v_i|^2``: magnitudes and plain squares, with no factor of one half.

    Parameters
    ----------
    l1, l2 : number, array, Parameter or Expression, optional
        The real weights ``a >= 0`` of the magnitudes and ``b >= 0`` of the squares, which broadcast to v; 1 where not
        given. Zou and Hastie write the same; others put one half before the squares. Where an entry of an array is
        infinite, the entry of v is held at zero (`Pinned`).

    Raises
    ------
    DtypeError
        For complex weights.

    Notes
    -----
    ``prox: (v - clip(v, t a)) / (1 + 2 t b)`` (Zou, Hastie 2005; Parikh, Boyd 2014, Section 6.5.3).
    ``f*(q) = sum_i max(|q_i| - a_i, 0)^2 / (4 b_i)``, finite only for ``|q_i| <= a_i`` where ``b_i = 0``.
    The modulus of convexity is ``2 min b``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.ElasticNet(1.0, 0.5)
    >>> f.value(np.array([2.0, -4.0]))
    16.0
    >>> f.prox(np.array([2.0, -4.0]), 1.0)
    array([ 0.5, -1.5])
    """

    l1: Data = 1.0
    l2: Data = 1.0
    weight_fields = ("l1", "l2")

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            object.__setattr__(self, name, real_data(getattr(self, name), f"the {name} of ElasticNet"))

    def define_value(self, v: Expression) -> Expression:
        if v.kind == "complex" and positive(self.l2) is YES:  # a vanishing weight must not meet an infinite square
            return ex.total(self.l1 * abs(v) + self.l2 * ex.square_abs(v))
        size = abs(v)
        return ex.total(size * (self.l1 + self.l2 * size))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return (v - clip_magnitude(v, t * self.l1)) * (1.0 / (1.0 + (2.0 * self.l2) * t))

    def define_conjugate_value(self, q: Expression) -> Expression:
        excess = ex.maximum(abs(self.define_dual_projection(q)) - self.l1, 0.0)
        if positive(self.l2) is YES:
            return ex.total(ex.square(excess) / (4.0 * self.l2))
        curved = ex.pointwise("greater", self.l2, 0.0)
        # rounding of a projection may leave an excess where there are no squares
        return ex.total(ex.where(curved, ex.square(excess) / ex.where(curved, 4.0 * self.l2, 1.0), 0.0))

    def define_dual_gauge(self, q: Expression) -> Expression:
        if positive(self.l2) is YES:
            return Literal(0.0)
        flat = ex.where(ex.pointwise("greater", self.l2, 0.0), 0.0, ex.safe_divide(abs(q), self.l1))
        return ex.largest(flat)

    def define_dual_projection(self, q: Expression) -> Expression:
        if positive(self.l2) is YES:
            return q
        return ex.where(ex.pointwise("greater", self.l2, 0.0), q, clip_magnitude(q, self.l1))

    def offers(self, ability: str) -> bool:
        return (NO not in (nonnegative(self.l1), nonnegative(self.l2))) and super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        convex = nonnegative(self.l1) & nonnegative(self.l2)
        kinked = NO if positive(self.l1) is YES else UNKNOWN
        return FunctionalFacts(
            convex=convex if convex is YES else UNKNOWN,
            smooth=kinked,
            strong_convexity=2.0 * ex.smallest(self.l2) if convex is YES else None,
            quadratic=kinked,
            separable=YES,
            bounded_below=convex if convex is YES else UNKNOWN,
            phase_invariant=YES,
        )

    @property
    def vanishes_at_zero_only(self) -> bool:
        """Whether one of the weights is positive in each entry."""
        return positive(self.l1 + self.l2) is YES

    def define_conditions(self) -> list[Condition]:
        of_l1 = condition(self.l1, False, "the l1 of elastic_net must be nonnegative")
        return of_l1 + condition(self.l2, False, "the l2 of elastic_net must be nonnegative")

    def hint(self) -> str:
        return sign_hint([self.l1, self.l2], strict=False)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "its magnitudes have a kink at zero; use huber, or sum_squares alone"
        return "one of its weights is negative somewhere; give nonnegative ones"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.l1, shape, self, "l1")
        check_broadcasts(self.l2, shape, self, "l2")

    def text(self, inner: str) -> str:
        return f"elastic_net({inner}, {data_text(self.l1)}, {data_text(self.l2)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        first, second = (factor_latex(w, names) for w in (self.l1, self.l2))
        return rf"{first} \left\|{inner}\right\|_1 + {second} \left\|{inner}\right\|_2^2"

    def __repr__(self) -> str:
        return f"ElasticNet({self.l1!r}, {self.l2!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        some = rng.uniform(0.1, 1.5, (3, 4))
        some[2, 1] = 0.0
        return [
            ElasticNet(),
            ElasticNet(0.4, 0.2),
            ElasticNet(rng.uniform(0.1, 1.0, (4,)), some),
            ElasticNet(Parameter(0.3, name="a", nonneg=True), Parameter(0.6, name="b", nonneg=True)),
        ]


def elastic_net(e: Any, l1: Any = 1.0, l2: Any = 1.0) -> Any:
    """The elastic net, ``l1 sum_i |e_i| + l2 sum_i |e_i|^2``; there is no hidden one half.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    l1, l2 : number, array or Parameter, optional
        Nonnegative weights of the magnitudes and of the squares, for all entries or one for each; infinite ones hold
        their entry at 0.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.elastic_net(x, l1=1.0, l2=0.5).value(np.array([2.0, -4.0]))
    16.0
    """
    return ElasticNet(l1, l2)(e)


__all__ = ["ElasticNet", "elastic_net"]
