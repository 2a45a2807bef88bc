"""The Kullback-Leibler divergence from data with Poisson noise, with a background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.positive_root import positive_root, shifted_root
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, nonnegative, real_data, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, pointwise
from opalg.program.notation import data_latex, data_text

_BORDER = 1.0 - 2.0**-53  # the largest number below 1, where the conjugate of positive data is still finite


@node
class KLDivergence(Functional):
    """``f(v) = sum_i (v_i + b_i) - y_i + y_i log(y_i / (v_i + b_i))`` for ``v + b >= 0``, else infinite.

    Parameters
    ----------
    data : array, number, Parameter or Expression
        The counts ``y >= 0`` that were measured; they broadcast to v.
    background : array, number, Parameter or Expression, optional
        The known part ``b`` of what is expected, real; 0 where not given.

    Raises
    ------
    ParameterError
        Where a count is known to be negative.
    DtypeError
        For complex data, and for complex arguments.

    Notes
    -----
    The negative logarithm of the Poisson likelihood of y for the mean ``v + b``, up to a constant that makes the least
    value 0; ``0 log 0 = 0`` (Csiszar 1991; Harmany, Marcia, Willett 2012). The prox is ``s - b`` with s the positive
    root of ``s^2 - (v + b - t) s = t y`` (Combettes, Pesquet 2007, Table 2), without cancellation. For ``q <= 1``,
    ``f*(q) = sum_i -y_i log(1 - q_i) - b_i q_i``, infinite at 1 where ``y > 0``; a projection onto that open domain
    stops one rounding before it. Inside the domain the gradient is ``1 - y / (v + b)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.KLDivergence(np.array([2.0, 0.0]))
    >>> f.value(np.array([2.0, 3.0])), f.value(np.array([0.0, 3.0]))
    (3.0, inf)
    >>> f.prox(np.array([1.0, 0.5]), 2.0)
    array([1.56155281, 0.        ])
    """

    data: Data
    background: Data = 0.0

    def __post_init__(self) -> None:
        for name in ("data", "background"):
            object.__setattr__(self, name, real_data(getattr(self, name), f"the {name} of KLDivergence"))
        if nonnegative(self.data) is NO:
            raise ParameterError(
                "the data of kl_divergence must be nonnegative, but one is negative; where a background was "
                "subtracted, leave it in the data and give it as background="
            )

    differentiable_inside = True

    def define_value(self, v: Expression) -> Expression:
        y, mean = self.data, v + self.background
        counted, inside = pointwise("greater", y, 0.0), pointwise("greater", mean, 0.0)
        count, expected = ex.where(counted, y, 1.0), ex.where(inside, mean, 1.0)
        excess = expected - count
        near = pointwise("less_equal", 2.0 * abs(excess), count)
        close = pointwise("log1p", ex.where(near, excess, 0.0) / count)
        ratio = ex.where(near, close, ex.log(expected) - ex.log(count))
        divergence = ex.where(inside, excess - count * ratio, float("inf"))
        return ex.total(ex.where(counted, divergence, ex.maximum(mean, 0.0)))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(ex.maximum(-(v + self.background), 0.0))

    def define_gradient(self, v: Expression) -> Expression:
        return 1.0 - ex.safe_divide(self.data, v + self.background)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        mean = v + self.background
        return ex.safe_divide(ex.safe_divide(self.data, mean), mean) * ex.broadcast_to(d, v.shape)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if not self._has_background:
            return positive_root(v - t, t * self.data)
        return shifted_root(v, t, self.data, self.background)

    def define_conjugate_value(self, q: Expression) -> Expression:
        counted, inside = pointwise("greater", self.data, 0.0), pointwise("less", q, 1.0)
        rarity = ex.where(inside, -pointwise("log1p", -ex.where(inside, q, 0.0)), float("inf"))
        return ex.total(ex.where(counted, ex.where(counted, self.data, 1.0) * rarity, 0.0) - self.background * q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.maximum(ex.largest(q), 0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return ex.minimum(q, _BORDER)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, phase_invariant=NO
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self.data, False, "the data of kl_divergence must be nonnegative")

    def hint(self) -> str:
        return sign_hint([self.data], strict=False)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it is differentiable inside its domain only, which no gradient step keeps; methods use its prox"
        return ""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.data, shape, self, "data")
        check_broadcasts(self.background, shape, self, "a background")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; counts are real")

    @property
    def _has_background(self) -> bool:
        return self.background != ex.Literal(0.0)

    def text(self, inner: str) -> str:
        background = f", background={data_text(self.background)}" if self._has_background else ""
        return f"kl_divergence({inner}, {data_text(self.data)}{background})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        mean = f"{inner} + {data_latex(self.background, names)}" if self._has_background else inner
        return rf"\operatorname{{KL}}\left({data_latex(self.data, names)} \,\middle\|\, {mean}\right)"

    def __repr__(self) -> str:
        background = f", background={self.background!r}" if self._has_background else ""
        return f"KLDivergence({self.data!r}{background})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        counts = rng.poisson(2.0, (3, 4)).astype(float)
        counts[1, 1] = 0.0
        return [
            KLDivergence(counts),
            KLDivergence(counts, 0.7),
            KLDivergence(0.4, rng.uniform(0.0, 0.5, (3, 4))),
            KLDivergence(
                Parameter(rng.uniform(0.2, 3.0, (3, 4)), name="y", nonneg=True), Parameter(0.3, name="b", nonneg=True)
            ),
        ]


def kl_divergence(e: Any, y: Any, background: Any = 0.0) -> Any:
    """The Kullback-Leibler divergence of counts y from their expectation ``e + background``: Poisson noise.

    Parameters
    ----------
    e : affine expression
        Real; the values of y are counted around ``e + background``.
    y : array or Parameter
        The nonnegative counts; they need not be whole.
    background : number, array or Parameter, optional
        What is counted without the unknown, such as scatter or dark counts.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> counts = np.array([0.0, 5.0])
    >>> x = oa.Variable((2,), name="x")
    >>> E = oa.kl_divergence(x, counts, background=1.0) + oa.indicator(x >= 0)
    >>> oa.minimize(E, tol=1e-9).x.round(5) + 0.0
    array([0., 4.])
    """
    return KLDivergence(y, background)(e)


__all__ = ["KLDivergence", "kl_divergence"]
