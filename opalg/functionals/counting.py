"""Penalties that count or nearly count: the number of nonzero entries, and the sum of square roots of magnitudes."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any, ClassVar

import numpy as np

from opalg.facts import NO, UNKNOWN, YES
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.pinned import WeightedSum
from opalg.functionals.weights import Condition, Data, condition, nonnegative, positive, weights_of
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text

_LEAST = 1e-34  # a divisor that keeps derivatives at zero finite in either precision


class _Weighted(WeightedSum):
    """What the two have in common: nonnegative weights, and facts that follow from the degree of homogeneity."""

    word: ClassVar[str]
    exponent: ClassVar[str]
    degree: ClassVar[float]

    def __post_init__(self) -> None:
        self._take_weights()

    def offers(self, ability: str) -> bool:
        return nonnegative(self._weights) is not NO and super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        shaped = NO if positive(self._weights) is YES else UNKNOWN  # with zero weights alone it is constant
        return FunctionalFacts(
            convex=shaped,
            smooth=shaped,
            quadratic=shaped,
            separable=YES,
            bounded_below=nonnegative(self._weights),
            homogeneity=self.degree,
            phase_invariant=YES,
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self._weights, False, f"the weights of {self.word} must be nonnegative")

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it jumps or has an infinite slope at zero; use norm1, or charbonnier for a smooth penalty"
        if ability in ("conjugate_value", "dual_gauge", "dual_projection"):
            return "it is not convex, and its conjugate is that of zero; use norm1 for a convex penalty"
        return self._negative()

    def text(self, inner: str) -> str:
        return f"{self.word}({inner}" + (")" if self.weights is None else f", weights={data_text(self.weights)})")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        index = self.exponent if self.weights is None else f"{self.exponent},{data_latex(self.weights, names)}"
        power = "" if self.degree == 0 else f"^{{{self.exponent}}}"
        return rf"\left\|{inner}\right\|_{{{index}}}{power}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.weights is None else f'weights={self.weights!r}'})"

    @classmethod
    def _members(cls, rng: np.random.Generator) -> list[Any]:
        some = rng.uniform(0.1, 2.0, (3, 4))
        some[0, 1] = 0.0
        make: Any = cls
        return [make(None), make(some), make(Parameter(rng.uniform(0.1, 2.0, (4,)), name="w", nonneg=True))]


@node
class Norm0(_Weighted):
    """``f(v) = sum_i w_i [v_i != 0]``: the weighted number of entries that are not zero. Not convex.

    Parameters
    ----------
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0`` that broadcast to v; 1 where not given. Entries of an array may be infinite: they hold
        the entry of v at zero (`Pinned`).

    Raises
    ------
    DtypeError
        For complex weights.

    Notes
    -----
    A global minimiser of the prox is the hard threshold: v where ``|v| > sqrt(2 t w)``, else 0; at the threshold both
    are minimisers, and 0 is taken (Blumensath, Davies 2008; Donoho, Johnstone 1994). The degree of homogeneity is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Norm0()
    >>> f.value(np.array([0.0, -3.0, 0.5]))
    2.0
    >>> f.prox(np.array([0.0, -3.0, 0.5]), 0.5)
    array([ 0., -3.,  0.])
    """

    weights: Data = None
    word, exponent, degree = "norm0", "0", 0.0

    def define_value(self, v: Expression) -> Expression:
        size = abs(v)
        counted = ex.where(ex.pointwise("greater", size, 0.0), self._weights, size)  # not 0, so that NaN shows
        return ex.total(ex.broadcast_to(counted, v.shape))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        threshold = ex.sqrt((2.0 * self._weights) * t)
        return ex.pointwise("greater", abs(v), threshold) * v

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return Norm0._members(rng)


@node
class NormHalf(_Weighted):
    """``f(v) = sum_i w_i |v_i|^(1/2)``: the weighted sum of square roots of magnitudes. Not convex.

    Parameters
    ----------
    weights : array, number, Parameter or Expression, optional
        Real weights ``w >= 0`` that broadcast to v; 1 where not given. Entries of an array may be infinite: they hold
        the entry of v at zero (`Pinned`).

    Raises
    ------
    DtypeError
        For complex weights.

    Notes
    -----
    A global minimiser of the prox is the half threshold (Xu, Chang, Xu, Zhang 2012, Theorem 1), with ``m = |v|``:
    0 where ``m <= 3/2 (t w)^(2/3)``, else ``2/3 v (1 + cos(pi/3 + 2/3 asin(r)))`` with
    ``r = t w / 4 (3 / m)^(3/2)``, in which ``r <= 1 / sqrt(2)``. It jumps at the threshold from 0 to ``2/3 m``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.NormHalf()
    >>> f.value(np.array([4.0, -9.0]))
    5.0
    >>> f.prox(np.array([1.0, 1.6]), 1.0).round(4)
    array([0.    , 1.1295])
    """

    weights: Data = None
    word, exponent, degree = "norm_half", "1/2", 0.5

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._weights * ex.sqrt(abs(v)))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        size, strength = abs(v), self._weights * t
        acts = ex.pointwise("greater", strength, 0.0)  # 0^(2/3) has no derivative
        threshold = ex.where(acts, 1.5 * ex.where(acts, strength, 1.0) ** (2.0 / 3.0), 0.0)
        m = ex.maximum(size, threshold)
        r = ((0.75 * 3.0**0.5) * strength) / ex.maximum(m * ex.sqrt(m), _LEAST)
        angle = ex.pointwise("atan", r / ex.sqrt(1.0 - ex.square(r)))
        factor = 2.0 / 3.0 + (2.0 / 3.0) * ex.pointwise("cos", pi / 3.0 + (2.0 / 3.0) * angle)
        return ex.where(ex.pointwise("less_equal", size, threshold), 0.0, v * factor)

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return NormHalf._members(rng)


def norm0(e: Any, weights: Any = None) -> Any:
    """The number of entries that are not zero, ``sum_i w_i [e_i != 0]``. Not convex.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    weights : array or Parameter, optional
        Nonnegative weights, one per entry; infinite ones hold their entry at 0.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((3,), name="x")
    >>> oa.norm0(x).value(np.array([3.0, 0.0, -0.1]))
    2.0
    """
    return Norm0(weights_of(weights, e))(e)


def norm_half(e: Any, weights: Any = None) -> Any:
    """The sum of square roots of magnitudes, ``sum_i w_i |e_i|^(1/2)``. Not convex.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    weights : array or Parameter, optional
        Nonnegative weights, one per entry; infinite ones hold their entry at 0.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((3,), name="x")
    >>> oa.norm_half(x).value(np.array([4.0, 0.0, -9.0]))
    5.0
    """
    return NormHalf(weights_of(weights, e))(e)


__all__ = ["Norm0", "NormHalf", "norm0", "norm_half"]
