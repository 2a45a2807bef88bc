"""The logarithmic barrier of the positive numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.positive_root import positive_root
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, pointwise

_BORDER = 1e-30  # how far inside an open half line a nearest point is put


def _log(v: Expression) -> Expression:
    """The logarithm, minus infinity where v is not positive."""
    inside = pointwise("greater", v, 0.0)
    return ex.where(inside, ex.log(ex.where(inside, v, 1.0)), -float("inf"))


@node
class LogBarrier(Functional):
    """``f(v) = -sum_i log v_i`` for positive v, else infinite.

    Raises
    ------
    DtypeError
        For complex arguments.

    Notes
    -----
    ``prox: (v + sqrt(v^2 + 4 t)) / 2``; ``f*(q) = sum_i -1 - log(-q_i)`` for ``q < 0`` (Boyd, Vandenberghe 2004,
    Example 3.21; Beck 2017, Lemma 6.5). It is not bounded below. The domain has no nearest points on its border: a
    projection onto that of ``f*`` stops at -1e-30, the prox with ``t = 0`` at 0, where the value is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.LogBarrier()
    >>> f.value(np.array([1.0, 1.0])), f.value(np.array([1.0, -1.0]))
    (-0.0, inf)
    >>> f.prox(np.array([1.5, -1.5]), 1.0)
    array([2. , 0.5])
    """

    differentiable_inside = True

    def define_value(self, v: Expression) -> Expression:
        return -ex.total(_log(v))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(ex.maximum(-v, 0.0))

    def define_gradient(self, v: Expression) -> Expression:
        return -1.0 / v

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return (ex.broadcast_to(d, v.shape) / v) / v

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return positive_root(v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return -ex.total(1.0 + _log(-q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return ex.minimum(q, -_BORDER)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(convex=YES, smooth=NO, quadratic=NO, separable=YES, bounded_below=NO, phase_invariant=NO)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it has a gradient at positive arguments only, where no gradient step stays; methods use its prox"
        return ""

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; apply it to its parts")

    def text(self, inner: str) -> str:
        return f"log_barrier({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"-\sum_i \log \left({inner}\right)_i"

    def __repr__(self) -> str:
        return "LogBarrier()"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """The one member, for the property tests."""
        return [LogBarrier()]


def log_barrier(e: Any) -> Any:
    """Minus the sum of logarithms, ``-sum_i log e_i``, which keeps the entries of a real expression positive.

    Parameters
    ----------
    e : affine expression
        Real, of any shape; a barrier of bounds is ``oa.log_barrier(upper - A @ x)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.log_barrier(x).value(np.array([0.5, 2.0])) + 0.0, oa.log_barrier(x).value(np.array([1.0, 0.0]))
    (0.0, inf)
    """
    return LogBarrier()(e)


__all__ = ["LogBarrier", "log_barrier"]
