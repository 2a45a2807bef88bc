"""The weighted sum of squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import YES, Bound
from opalg.functionals.calculus import FunctionalFacts
from opalg.functionals.pinned import WeightedSum
from opalg.functionals.weights import Data, nonnegative, positive, weights_of
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, scale
from opalg.operators.diagonal import Diagonal
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text


@node
class SumSquares(WeightedSum):
    """``f(v) = sum_i w_i |v_i|^2``: the plain sum of squares, with no factor of one half.

    Parameters
    ----------
    weights : array, number, Parameter or Expression, optional
        Real weights ``w`` that broadcast to v; 1 where not given. Entries of an array may be infinite: they hold the
        entry of v at zero (`Pinned`), and leave no gradient.

    Raises
    ------
    DtypeError
        For complex weights.
    NonFiniteError
        For NaN, and for a Parameter that is infinite.

    Notes
    -----
    ``prox: v / (1 + 2 t w)``; ``f*(q) = sum_i |q_i|^2 / (4 w_i)``, finite only for ``q_i = 0`` where ``w_i = 0``.
    The gradient has the Lipschitz constant ``2 max |w|``, the modulus of convexity is ``2 min w``
    (Beck 2017, Sections 4.4.3 and 6.2.3).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.SumSquares()
    >>> f.value(np.array([3.0, -4.0]))
    25.0
    >>> f.gradient(np.array([3.0, -4.0]))
    array([ 6., -8.])
    >>> f.prox(np.array([3.0, -4.0]), 0.5)
    array([ 1.5, -2. ])
    """

    squares = True
    weights: Data = None

    def __post_init__(self) -> None:
        self._take_weights()

    def define_value(self, v: Expression) -> Expression:
        return ex.total(self._weights * ex.square_abs(v))

    def define_gradient(self, v: Expression) -> Expression:
        return (2.0 * self._weights) * v

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return (2.0 * self._weights) * ex.broadcast_to(d, v.shape)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v * (1.0 / (1.0 + (2.0 * self._weights) * t))

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator:
        w = self._weights
        if w.shape == ():
            return scale(2.0 * w, Identity(shape))
        return scale(2.0, Diagonal(ex.broadcast_to(w, shape[len(shape) - w.ndim :])))

    def define_conjugate_value(self, q: Expression) -> Expression:
        if self.weights is None:
            return 0.25 * ex.norm_squared(q)
        return ex.total(ex.safe_divide(ex.square_abs(self.define_dual_projection(q)), 4.0 * self.weights))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        if positive(self._weights) is YES:
            return q
        return ex.where(ex.pointwise("greater", self._weights, 0.0), q, 0.0)

    def offers(self, ability: str) -> bool:
        if ability == "dual_gauge":
            return positive(self._weights) is YES
        if ability in ("prox", "conjugate_value", "dual_projection"):
            return nonnegative(self._weights) is YES
        return super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        convex = nonnegative(self._weights)
        largest = ex.largest(self._weights if convex is YES else abs(self._weights))
        return FunctionalFacts(
            convex=convex,
            smooth=YES,
            smoothness=Bound(2.0 * largest, "exact"),
            strong_convexity=2.0 * ex.smallest(self._weights) if convex is YES else None,
            quadratic=YES,
            separable=YES,
            bounded_below=convex,
            homogeneity=2.0,
            phase_invariant=YES,
        )

    def text(self, inner: str) -> str:
        weights = "" if self.weights is None else f", weights={data_text(self.weights)}"
        return f"sum_squares({inner}{weights})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        subscript = "2" if self.weights is None else f"{{2,{data_latex(self.weights, names)}}}"
        return rf"\left\|{inner}\right\|_{subscript}^2"

    def __repr__(self) -> str:
        return "SumSquares()" if self.weights is None else f"SumSquares(weights={self.weights!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        some = rng.uniform(0.1, 2.0, (3, 4))
        some[1, 2] = 0.0
        return [
            SumSquares(),
            SumSquares(rng.uniform(0.1, 2.0, (4,))),
            SumSquares(some),
            SumSquares(Parameter(0.7, name="w", positive=True)),
        ]


def sum_squares(e: Any, weights: Any = None) -> Any:
    """The sum of squared magnitudes, ``sum_i w_i |e_i|^2``; there is no hidden one half.

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
    >>> x = oa.Variable((2,), name="x")
    >>> oa.sum_squares(x).value(np.array([3.0, -4.0]))
    25.0
    >>> oa.sum_squares(x, weights=[1.0, 0.5]).value(np.array([3.0, -4.0]))
    17.0
    """
    return SumSquares(weights_of(weights, e))(e)
