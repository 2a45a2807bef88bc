"""Low-rank operators, and the inverse of what is invertible plus low rank."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.facts import UNKNOWN, YES, Bound, exact, upper
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import (
    Added,
    Adjoint,
    Composed,
    LinearOperator,
    Scaled,
    add,
    compose,
    way_to_invert_sums,
)
from opalg.operators.diagonal import adjacent
from opalg.operators.knowledge import Facts
from opalg.operators.linearity import complex_linear
from opalg.operators.spectra import as_data, conjugate, text
from opalg.program import expression as ex
from opalg.program.expression import Expression, Join, Literal, Product, Reduce, Shape
from opalg.program.inverse import inverse_of, matmul
from opalg.program.rotation import transposed
from opalg.program.text import elided
from opalg.rules import rewrite, rule

_MOST_CHARACTERS = 40  # of each factor in a repr


@node
class LowRank(LinearOperator):
    """A matrix of low rank given by two thin ones, ``y = U (V.H x)`` on the last axis.

    Parameters
    ----------
    left : array, Constant, Parameter or Expression, shape ``(m, r)``
        The factor ``U``, real or complex.
    right : array, Constant, Parameter or Expression, shape ``(n, r)``, optional
        The factor ``V``; by default ``U``, which makes the operator positive.

    Raises
    ------
    ShapeError
        Where a factor has not two axes, or they differ in their number of columns.
    DtypeError
        For boolean entries.

    Notes
    -----
    ``A.H y = V (U.H y)``. ``||A||^2 <= ||U.H U|| ||V.H V||``, each bounded by its largest row sum and its Frobenius
    norm; exact for rank one. Applying it takes ``r (m + n)`` multiplications. ``(D + A).inverse()`` is known wherever
    ``D.inverse()`` is (Woodbury 1950):
    ``(D + U V.H)^-1 = D^-1 - D^-1 U (I + V.H D^-1 U)^-1 V.H D^-1``, with the inverse of an r x r matrix, through which
    gradients in U, V and D flow.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.LowRank(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0], [1.0]]))
    >>> A @ np.array([1.0, 5.0, 2.0])
    array([3., 6.])
    >>> D = 2.0 * oa.Identity((2,)) + oa.LowRank(np.array([[1.0], [1.0]]))
    >>> D.inverse() @ (D @ np.array([3.0, -1.0]))
    array([ 3., -1.])
    """

    left: Any
    right: Any = None

    def __post_init__(self) -> None:
        left = as_data(self.left, "LowRank")
        right = left if self.right is None or self.right is self.left else as_data(self.right, "LowRank")
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
            raise ShapeError(
                f"LowRank takes U of shape (m, r) and V of shape (n, r), but was given {left.shape} and {right.shape}"
            )
        object.__setattr__(self, "left", left)
        object.__setattr__(self, "right", right)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.right.shape[:1]

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.left.shape[:1]

    @property
    def rank(self) -> int:
        """The number of columns of the factors, which the rank cannot exceed."""
        return self.left.shape[1]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if "complex" in (self.left.kind, self.right.kind) else "any"

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return Product("Mx", self.left, Product("MTx", conjugate(self.right), x))

    def trace_adjoint(self, y: Expression) -> Expression:
        return LowRank(self.right, self.left).trace(y)

    @property
    def facts(self) -> Facts:
        symmetric = YES if self.left is self.right else UNKNOWN
        lowest = Literal(0.0) if symmetric is YES else None
        return Facts(self_adjoint=symmetric, positive=symmetric, norm=self._norm(), lowest=lowest)

    def _norm(self) -> Bound:
        if 0 in self.left.shape or 0 in self.right.shape:
            return exact(0.0)
        left = _gram_norm(self.left)
        size = left if self.left is self.right else ex.sqrt(left * _gram_norm(self.right))
        return exact(size) if self.rank == 1 else upper(size)

    @property
    def H(self) -> LinearOperator:
        return LowRank(self.right, self.left)

    def conj(self) -> LinearOperator:
        return LowRank(conjugate(self.left), conjugate(self.right))

    def __repr__(self) -> str:
        left, right = (elided(text(data), _MOST_CHARACTERS) for data in (self.left, self.right))
        return f"LowRank({left})" if self.left is self.right else f"LowRank({left}, {right})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        u, v = rng.standard_normal((4, 2)), rng.standard_normal((3, 2))
        z = rng.standard_normal((4, 1)) + 1j * rng.standard_normal((4, 1))
        shared = Parameter(rng.standard_normal((3, 2)), name="U")
        return [
            LowRank(u, v),
            LowRank(u),
            LowRank(z, v[:, :1]),
            LowRank(z),
            LowRank(shared),
            LowRank(v, shared),
        ]


def _gram_norm(factor: Expression) -> Expression:
    """A bound on ``||U.H U||``, which is the number itself for one column, and for orthogonal columns."""
    gram = abs(Product("xyT", conjugate(factor), factor))
    return ex.minimum(ex.largest(Reduce("sum", gram, (-1,))), ex.sqrt(ex.norm_squared(gram)))


@singledispatch
def thin_factors(operator: LinearOperator) -> tuple[Expression, Expression] | None:
    """The ``U`` and ``V`` of an operator that is ``U V.H``; None where it is not known to be of low rank."""
    return None


@thin_factors.register
def _(operator: LowRank) -> tuple[Expression, Expression] | None:
    return operator.left, operator.right


@thin_factors.register
def _(operator: Scaled) -> tuple[Expression, Expression] | None:
    found = thin_factors(operator.operator)
    return None if found is None else (operator.factor * found[0], found[1])


@thin_factors.register
def _(operator: Adjoint) -> tuple[Expression, Expression] | None:
    found = thin_factors(operator.operator)
    return None if found is None else (found[1], found[0])


@thin_factors.register
def _(operator: Composed) -> tuple[Expression, Expression] | None:
    """``A @ U V.H = (A U) V.H`` and ``U V.H @ B = U (B.H V).H``, for what acts on one axis."""
    a, b = operator.outer, operator.inner
    left, right = thin_factors(a), thin_factors(b)
    if left is not None and right is not None:
        middle = Product("xyT", conjugate(left[1]), right[0])
        return matmul(left[0], middle), right[1]
    if right is not None and complex_linear(a) and len(a.out_shape) == 1:
        return _columns(a, right[0]), right[1]
    if left is not None and complex_linear(b) and len(b.in_shape) == 1:
        return left[0], _columns(b.H, left[1])
    return None


def _columns(operator: LinearOperator, matrix: Expression) -> Expression:
    """An operator applied to each column of a matrix."""
    return transposed(operator.trace(transposed(matrix)))


@way_to_invert_sums
def invert_low_rank_update(total: Added) -> LinearOperator | None:
    """``(D + U V.H)^-1 = D^-1 - D^-1 U (I + V.H D^-1 U)^-1 V.H D^-1`` (Woodbury 1950), where D has a cheap inverse."""
    thin = [(o, thin_factors(o)) for o in total.operators]
    factors = [f for _, f in thin if f is not None]
    others = [o for o, f in thin if f is None]
    if not factors or not others or len(total.in_shape) != 1:
        return None
    base = rewrite(add(*others))
    if not complex_linear(base):
        return None
    inverse = base.inverse()
    left, right = (_side_by_side([f[side] for f in factors]) for side in (0, 1))
    moved = _columns(inverse, left)
    small = Constant(np.eye(left.shape[1])) + Product("xyT", conjugate(right), moved)
    return add(inverse, LowRank(-matmul(moved, inverse_of(small)), _columns(inverse.H, right)))


def _side_by_side(factors: list[Expression]) -> Expression:
    return factors[0] if len(factors) == 1 else Join(tuple(factors), -1)


@rule(Composed, group="merge")
def product_of_low_ranks(product: Composed) -> LinearOperator | None:
    """(U V.H) @ (W Z.H)  ->  (U (V.H W)) Z.H     (not for A.H @ A, which is seen to be positive as it stands)"""
    a, b, rest = adjacent(product)
    if not isinstance(a, LowRank) or not isinstance(b, LowRank) or a.H is b:
        return None
    middle = Product("xyT", conjugate(a.right), b.left)
    if a.rank <= b.rank:
        merged = LowRank(a.left, matmul(b.right, conjugate(transposed(middle))))
    else:
        merged = LowRank(matmul(a.left, middle), b.right)
    return merged if rest is None else compose(merged, rest)


@rule(Added, group="merge")
def sum_of_low_ranks(total: Added) -> LinearOperator | None:
    """U V.H + W Z.H  ->  (U W) (V Z).H     (thin matrices side by side; what is positive stays so)"""
    symmetric = [o for o in total.operators if isinstance(o, LowRank) and o.left is o.right]
    general = [o for o in total.operators if isinstance(o, LowRank) and o.left is not o.right]
    merging = symmetric if len(symmetric) > 1 else general
    if len(merging) < 2:
        return None
    left = Join(tuple(o.left for o in merging), -1)
    right = left if merging is symmetric else Join(tuple(o.right for o in merging), -1)
    return add(LowRank(left, right), *(o for o in total.operators if o not in merging))
