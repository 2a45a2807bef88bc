"""The negative entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.scalar_prox import ScalarFunction, scalar_prox
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, pointwise


def _start(v: Expression, t: Expression) -> Expression:
    """``t`` times a lower bound of the root y of ``y + log y = v / t - 1 - log t``."""
    k = (v / t - 1.0) - ex.log(t)
    small = ex.exp(ex.minimum(k, 1.0))
    large = ex.maximum(k, 1.0)
    return t * ex.where(pointwise("greater", k, 1.0), large - ex.log(large), small / (1.0 + small))


_SCALAR = ScalarFunction.of(None, slope=lambda u: ex.log(u) + 1.0, curvature=lambda u: 1.0 / u, lower=0.0, start=_start)


@node
class Entropy(Functional):
    """``f(v) = sum_i v_i log v_i`` for ``v >= 0``, else infinite: the negative of Shannon's entropy, which is convex.

    Raises
    ------
    DtypeError
        For complex arguments.

    Notes
    -----
    ``0 log 0 = 0``. The least value is ``-1 / e`` for each entry. ``f*(q) = sum_i exp(q_i - 1)``. The prox is
    ``t W(exp(v / t - 1) / t)`` with Lambert's W (Beck 2017, Section 6.9), found by Newton's method from below.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Entropy()
    >>> f.value(np.array([1.0, 0.0])), f.value(np.array([1.0, -1.0]))
    (0.0, inf)
    >>> f.prox(np.array([1.0 + 2.0]), 2.0)
    array([1.])
    """

    differentiable_inside = True

    def define_value(self, v: Expression) -> Expression:
        inside = pointwise("greater", v, 0.0)
        return ex.total(ex.where(inside, v * ex.log(ex.where(inside, v, 1.0)), 0.0))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(ex.maximum(-v, 0.0))

    def define_gradient(self, v: Expression) -> Expression:
        return ex.log(v) + 1.0

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return ex.broadcast_to(d, v.shape) / v

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return scalar_prox(_SCALAR, v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return ex.total(ex.exp(q - 1.0))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.ITERATIVE

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, phase_invariant=NO
        )

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it has a gradient at positive arguments only, where no gradient step stays; methods use its prox"
        return ""

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; apply it to its parts")

    def text(self, inner: str) -> str:
        return f"entropy({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        entry = rf"\left({inner}\right)_i"
        return rf"\sum_i {entry} \log {entry}"

    def __repr__(self) -> str:
        return "Entropy()"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """The one member, for the property tests."""
        return [Entropy()]


def entropy(e: Any) -> Any:
    """The negative entropy, ``sum_i e_i log e_i``, of a real expression; it keeps the entries nonnegative.

    Convex: minimising it spreads the entries out, which is maximising Shannon's entropy.

    Parameters
    ----------
    e : affine expression
        Real, of any shape.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.entropy(x).value(np.array([1.0, 0.0])), oa.entropy(x).value(np.array([1.0, -1.0]))
    (0.0, inf)
    """
    return Entropy()(e)


__all__ = ["Entropy", "entropy"]
