"""Infimal convolutions: one functional of a part of the argument, another of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound, upper
from opalg.functionals.around import finite_everywhere, safe_value
from opalg.functionals.boxes import Box
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.distance import Distance, SquaredDistance
from opalg.functionals.envelope import MoreauEnvelope
from opalg.functionals.huber import Huber
from opalg.functionals.indicator import Indicator
from opalg.functionals.norms import Norm1, Norm2
from opalg.functionals.points import Point
from opalg.functionals.sets import Set
from opalg.functionals.splitting import Splitting
from opalg.functionals.stationary import stationary_value
from opalg.functionals.sum_squares import SumSquares
from opalg.functionals.translated import Translated
from opalg.functionals.weights import Condition, positive
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal

_DUAL = ("conjugate_value", "dual_gauge", "dual_projection")


@node
class InfimalConvolution(Functional):
    """``h(v) = min_w f(w) + g(v - w)``: the infimal convolution of two convex functionals, computed by iterating.

    Parameters
    ----------
    first, second : Functional
        The functionals ``f`` and ``g``: convex, each with a prox, and one of them finite everywhere.

    Raises
    ------
    DtypeError
        For what is no functional.
    UnsupportedError
        Where one is not known to be convex or has no prox, or neither is known to be finite everywhere.
    BreakdownError
        When evaluated, where the gap does not close, as where the minimum is not attained.

    Notes
    -----
    ``h* = f* + g*`` (Beck 2017, Theorem 4.16). Values, gradients and proxes come from the splitting of Douglas and
    Rachford on the dual problem, with the steps of Lorenz and Tran-Dinh (2019), until the duality gap is as small as
    rounding. The dual solution is the gradient where h is smooth, as it is where f or g is; the Lipschitz constant is
    the smaller one. ``prox_{t h}(v) = v - t q`` with q from the same splitting, with ``t / 2 |q|^2`` added. Its
    derivatives follow from the implicit function theorem. `infimal_convolution` gives a closed form where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.InfimalConvolution(oa.functionals.Norm1(), oa.functionals.Huber(2.0))
    >>> round(f.value(np.array([0.5, 3.0])), 12)
    2.625
    """

    first: Functional
    second: Functional

    def __post_init__(self) -> None:
        for f in (self.first, self.second):
            if not isinstance(f, Functional):
                hint = "; write oa.functionals.Indicator(set)" if isinstance(f, Set) else ""
                raise DtypeError(f"infimal_convolution(f, g) needs functionals, not {type(f).__name__}{hint}")
            if f.facts.convex is not YES:
                wanted = f.hint()
                raise UnsupportedError(
                    f"infimal_convolution needs convex functionals, which {f!r} is not known to be"
                    + (f"; {wanted}" if wanted else "")
                )
            if not f.offers("prox"):
                reason = f.why_not("prox")
                raise UnsupportedError(
                    f"infimal_convolution needs proxes, but {f!r} has none" + (f": {reason}" if reason else "")
                )
        if not (finite_everywhere(self.first) or finite_everywhere(self.second)):
            raise UnsupportedError(
                f"neither {self.first!r} nor {self.second!r} is known to be finite everywhere, so where their infimal "
                f"convolution is finite is not known; split it with oa.split_infimal_convolution(f, g, e)"
            )

    @property
    def _splitting(self) -> Splitting:
        return Splitting(self.first, self.second)

    def define_value(self, v: Expression) -> Expression:
        x = Input("v", v.shape, v.kind)
        names = [Input(name, v.shape, v.kind) for name in ("w", "z", "q")]
        w, z, q = names
        # the last part makes the value right to second order in what rounding leaves of w + z = v
        value = safe_value(self.first, w) + safe_value(self.second, z) + ex.inner(q, x - w - z)
        found = self._splitting.at(v, Literal(0.0))
        return stationary_value(value, {x: v}, dict(zip(names, found, strict=True)))

    def define_gradient(self, v: Expression) -> Expression:
        return self._splitting.at(v, Literal(0.0))[2]

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if isinstance(t, Literal) and t.value == 0:
            return v
        moving = ex.pointwise("greater", t, 0.0)
        step = ex.where(moving, t, 1.0)
        return ex.where(moving, v - step * self._splitting.at(v, step)[2], v)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.first.define_conjugate_value(q) + self.second.define_conjugate_value(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.maximum(self.first.define_dual_gauge(q), self.second.define_dual_gauge(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        pair = (self.first, self.second)
        limited = [f for f in pair if not _dual_everywhere(f)]
        nested = all(f.facts.separable is YES and f.facts.phase_invariant is YES for f in limited)
        if nested or len(limited) < 2:
            for f in limited:
                q = f.define_dual_projection(q)
            return q
        # the projection onto what two domains share, from those onto each
        return Splitting(_OfDomain(self.first), _OfDomain(self.second)).at(q, Literal(1.0))[2]

    def offers(self, ability: str) -> bool:
        if ability in _DUAL:
            return all(f.offers(ability) for f in (self.first, self.second))
        return super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        one, other = self.first.facts, self.second.facts
        degree = one.homogeneity if one.homogeneity == other.homogeneity else None
        return FunctionalFacts(
            convex=YES,
            smooth=YES if one.smooth is YES or other.smooth is YES else UNKNOWN,
            smoothness=_smaller(one.smoothness, other.smoothness),
            strong_convexity=_parallel(one.strong_convexity, other.strong_convexity),
            separable=YES if one.separable is YES and other.separable is YES else UNKNOWN,
            bounded_below=YES if one.bounded_below is YES and other.bounded_below is YES else UNKNOWN,
            homogeneity=degree,
            phase_invariant=YES if one.phase_invariant is YES and other.phase_invariant is YES else UNKNOWN,
        )

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.ITERATIVE

    def behind(self, batch: int) -> Functional:
        return InfimalConvolution(self.first.behind(batch), self.second.behind(batch))

    def define_conditions(self) -> list[Condition]:
        return self.first.define_conditions() + self.second.define_conditions()

    def hint(self) -> str:
        return self.first.hint() or self.second.hint()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.first.check_shape(shape)
        self.second.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.first.check_kind(kind)
        self.second.check_kind(kind)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "neither of its functionals is smooth; a small multiple of a square added by infimal convolution is"
        return "where both conjugates are finite is not known" if ability in _DUAL else ""

    def text(self, inner: str) -> str:
        return f"infimal_convolution({self.first!r}, {self.second!r})({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        one, other = (f.latex(r"\,\cdot\,", names) for f in (self.first, self.second))
        return rf"\left({one} \mathbin{{\square}} {other}\right)\left({inner}\right)"

    def __repr__(self) -> str:
        return f"InfimalConvolution({self.first!r}, {self.second!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        weights = Parameter(rng.uniform(0.3, 2.0, (3, 4)), name="w", nonneg=True)
        return [
            InfimalConvolution(Norm1(weights), Indicator(Box(-0.2, 0.3))),
            InfimalConvolution(Indicator(Box(-0.3, 0.1)), Huber(0.8)),
            InfimalConvolution(Norm1(0.7), Norm2()),
        ]


@node
class _OfDomain(Functional):
    """The support function of the domain of a functional's conjugate: how the functional grows far away."""

    functional: Functional

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v - t * self.functional.define_dual_projection(v / t)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(convex=YES, separable=self.functional.facts.separable, homogeneity=1.0)

    def __repr__(self) -> str:
        return f"the domain of {self.functional!r}.conjugate"


def _dual_everywhere(f: Functional) -> bool:
    """Whether the conjugate is known to be finite everywhere."""
    if not f.offers("dual_gauge"):
        return False
    try:
        gauge = f.define_dual_gauge(Input("q", (2, 2), "real"))
    except (DtypeError, ValueError):
        return False
    return isinstance(gauge, Literal) and gauge.value == 0


def _smaller(one: Bound | None, other: Bound | None) -> Bound | None:
    """A bound for the curvature of both: the smaller one of those that are certified."""
    known = [b.expression for b in (one, other) if b is not None and b.certified]
    if not known:
        return None
    return upper(known[0] if len(known) == 1 else ex.minimum(*known))


def _parallel(one: Expression | None, other: Expression | None) -> Expression | None:
    """The modulus ``1 / (1 / a + 1 / b)``; None where one is not known."""
    if one is None or other is None:
        return None
    return ex.safe_divide(one * other, one + other)


def infimal_convolution(f: Functional, g: Functional) -> Functional:
    """``v -> min_w f(w) + g(v - w)``, in closed form where there is one.

    Parameters
    ----------
    f, g : Functional
        Convex, with a prox each.

    Returns
    -------
    Functional
        With a scaled square it is a `MoreauEnvelope`, of the norm2 and of the square with the indicator of a set a
        `Distance` and a `SquaredDistance`, with the indicator of a point a translation; else `InfimalConvolution`,
        which iterates. In an energy, ``oa.split_infimal_convolution(f, g, e)`` leaves the inner minimum to the solver.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.infimal_convolution(oa.functionals.Norm1(), oa.functionals.SumSquares())
    MoreauEnvelope(Norm1(), 0.5)
    >>> oa.infimal_convolution(oa.functionals.Indicator(oa.nonneg), oa.functionals.Norm2())
    Distance(nonneg)
    """
    for one, other in ((f, g), (g, f)):
        closed = _closed_form(one, other)
        if closed is not None:
            return closed
    return InfimalConvolution(f, g)


def _closed_form(f: Functional, g: Functional) -> Functional | None:
    """The infimal convolution where g is a square, a point, or the norm2 beside a set; None where it is none."""
    if not isinstance(f, Functional):
        return None
    match f, g:
        case _, Indicator(set=Point(value=b)):
            zero = isinstance(b, Literal) and b.value == 0
            return f if zero else Translated(f, b)
        case Indicator(set=set_), Norm2():
            return Distance(set_)
        case Indicator(set=set_), SumSquares(weights=None):
            return SquaredDistance(set_)
        case _, SumSquares(weights=weights) if f.offers("prox"):
            scale = Literal(1.0) if weights is None else weights
            if scale.shape == () and positive(scale) is YES:
                return MoreauEnvelope(f, Literal(0.5) if weights is None else 0.5 / scale)
    return None


__all__ = ["InfimalConvolution", "infimal_convolution"]
