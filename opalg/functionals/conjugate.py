"""The convex conjugate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.errors import UnsupportedError
from opalg.facts import UNKNOWN, YES, upper
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.combining import conjugated
from opalg.functionals.evaluation import is_zero
from opalg.functionals.exactness import Exactness
from opalg.functionals.weights import Condition, positive
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


def dual_degree(degree: float | None) -> float | None:
    """The degree of homogeneity of the conjugate, ``1 / p + 1 / q = 1``; None where it is not known or infinite."""
    return None if degree is None or degree <= 1 else degree / (degree - 1)


@node
class Conjugate(Functional):
    """The convex conjugate ``f*(q) = sup_v Re <q, v> - f(v)``.

    Parameters
    ----------
    functional : Functional
        The functional f; ``f.conjugate`` makes this of it.

    Notes
    -----
    ``prox_{t f*}(q) = q - t prox_{f/t}(q / t)`` (Moreau 1965; Beck 2017, Theorem 6.45), the projection onto the domain
    where ``f*`` is zero on it; for the literal ``t = 0`` the limit, that projection too. Where f is strongly convex of
    modulus mu, ``f*`` has a gradient with the Lipschitz constant ``1 / mu``, and the other way round (Beck 2017,
    Theorem 5.26).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Conjugate(oa.functionals.SumSquares())
    >>> f.value(np.array([2.0, -4.0]))
    5.0
    >>> f.prox(np.array([3.0, -6.0]), 1.0)
    array([ 2., -4.])
    """

    functional: Functional

    def define_value(self, v: Expression) -> Expression:
        return self.functional.define_conjugate_value(v)

    def define_violation(self, v: Expression) -> Expression:
        if not self.functional.offers("dual_projection"):
            return Literal(0.0)
        return ex.largest(abs(v - self.functional.define_dual_projection(v)))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if is_zero(t):
            return self.functional.define_dual_projection(v) if self.functional.offers("dual_projection") else v
        is_projection = self.functional.offers("dual_projection") and is_zero(self.functional.define_conjugate_value(v))
        if t.shape == ():
            if is_projection:
                return self.functional.define_dual_projection(v)
            return v - t * self.functional.define_prox(v / t, 1.0 / t)
        moving = ex.pointwise("greater", t, 0.0)
        step = ex.where(moving, t, 1.0)
        found = v - step * self.functional.define_prox(v / step, 1.0 / step)
        if is_projection:  # of each sample, whatever its step
            return found
        return ex.where(moving, found, self.define_prox(v, Literal(0.0)))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.functional.define_value(q)

    def value(self, v: Any) -> float:
        """The value at an array; infinity outside the domain.

        Raises
        ------
        UnsupportedError
            Where no formula of the conjugate is known.
        """
        self.functional._need("conjugate_value")
        return super().value(v)

    def offers(self, ability: str) -> bool:
        convex = self.functional.facts.convex is YES
        if ability == "prox":
            return convex and self.functional.offers("prox")
        if ability == "conjugate_value":
            return convex
        return ability == "gradient" and super().offers("gradient")

    def why_not(self, ability: str) -> str:
        f = self.functional
        if f.facts.convex is not YES:
            return f"{f!r} is not known to be convex"
        if ability == "gradient":
            return f"{f!r} is not known to be strongly convex; use the prox of its conjugate"
        return f"{f!r} has none" + (f", since {f.why_not(ability)}" if f.why_not(ability) else "")

    @property
    def conjugate(self) -> Functional:
        """The functional itself, where it is convex; raises UnsupportedError where it is not known to be."""
        if self.functional.facts.convex is not YES:
            raise UnsupportedError(f"{self.functional!r} is not known to be convex, so its biconjugate may differ")
        return self.functional

    @property
    def facts(self) -> FunctionalFacts:
        known = self.functional.facts
        modulus, slope = known.strong_convexity, known.smoothness
        strong = modulus is not None and positive(modulus) is YES and self.functional.offers("conjugate_value")
        curved = known.convex is YES and slope is not None and slope.certified and positive(slope.expression) is YES
        return FunctionalFacts(
            convex=YES,
            smooth=YES if strong else UNKNOWN,
            smoothness=upper(1.0 / modulus) if strong and modulus is not None else None,
            strong_convexity=1.0 / slope.expression if curved and slope is not None else None,
            separable=known.separable,
            homogeneity=dual_degree(known.homogeneity),
            phase_invariant=known.phase_invariant,
        )

    @property
    def exactness(self) -> Exactness | None:
        return self.functional.exactness if self.offers("prox") else None

    def behind(self, batch: int) -> Functional:
        return Conjugate(self.functional.behind(batch))

    def define_conditions(self) -> list[Condition]:
        return self.functional.define_conditions()

    def hint(self) -> str:
        return self.functional.hint()

    def check_kind(self, kind: str) -> None:
        self.functional.check_kind(kind)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.functional.check_shape(shape)

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        of_a_dot = self.functional.latex(r"\,\cdot\,", names)
        return rf"\left({of_a_dot}\right)^{{\ast}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"{self.functional!r}.conjugate"


@conjugated.register
def _(functional: Functional) -> Functional:
    return Conjugate(functional)


__all__ = ["Conjugate", "dual_degree"]
