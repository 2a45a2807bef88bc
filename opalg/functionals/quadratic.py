"""Quadratic forms: the sum of squares in a metric."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound, Fact, exact
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.spectral_form import SpectralForm, entries_of, matrix_form, spectral_form
from opalg.functionals.weights import nonnegative, positive
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import Added, Identity, LinearOperator, Scaled, add, mirror_images, scale
from opalg.operators.batched import Batched
from opalg.operators.convolution import Convolve
from opalg.operators.diagonal import Diagonal
from opalg.operators.knowledge import lowest_known
from opalg.operators.low_rank import LowRank
from opalg.operators.matrix import DenseMatrix, Matrix
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal
from opalg.program.inverse import inverse_of

_STEP = Input("step of a prox", (), "real", role="control")


@node
class Quadratic(Functional):
    """``f(v) = Re <v, Q v>``: the sum of squares in a metric, with no factor of one half.

    Parameters
    ----------
    operator : LinearOperator
        A self-adjoint ``Q`` that acts on the trailing axes of v; the values of a batch in front of them add up.

    Raises
    ------
    DtypeError
        For what is no operator, and for arrays of a kind that ``Q`` does not keep.
    ShapeError
        Where ``Q`` is not square.
    UnsupportedError
        Where it is not known to be self-adjoint.

    Notes
    -----
    Of the identity it is `sum_squares`. The gradient is ``2 Q v``, with the Lipschitz constant ``2 |Q|``; the modulus
    of convexity is twice the lowest eigenvalue. ``prox: (I + 2 t Q)^-1 v``; ``f*(q) = Re <q, Q^-1 q> / 4``, finite on
    the range of ``Q`` (Beck 2017, Sections 4.4.3 and 6.2.3). They are known for diagonal operators, those that a
    transform diagonalises, dense matrices (whose eigenvalues are computed once where the entries are constant), and
    wherever the algebra of operators finds the inverse, as for multiples of the identity plus low rank. A step for each
    sample needs one of the first three.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Quadratic(oa.Matrix(np.array([[2.0, 1.0], [1.0, 2.0]])))
    >>> f.value(np.array([1.0, 1.0]))
    6.0
    >>> np.round(f.prox(np.array([7.0, 7.0]), 0.5), 12).tolist()
    [1.75, 1.75]
    """

    squares = True
    operator: LinearOperator

    def __post_init__(self) -> None:
        if not isinstance(self.operator, LinearOperator):
            given = type(self.operator).__name__
            raise DtypeError(f"quadratic(Q, e) needs a linear operator, not {given}; write oa.Matrix(Q) for a matrix")
        if self.operator.in_shape != self.operator.out_shape:
            raise ShapeError(
                f"quadratic(Q, e) needs a square operator, but {self.operator!r} maps {self.operator.in_shape} to "
                f"{self.operator.out_shape}; for |A e|^2 write oa.sum_squares(A @ e)"
            )
        object.__setattr__(self, "operator", _as_self_adjoint(self.operator))

    # The operator in forms whose inverses are known.

    @cached_property
    def _form(self) -> SpectralForm | None:
        return spectral_form(self.operator)

    @cached_property
    def _entries(self) -> Expression | None:
        return entries_of(self.operator)

    def _shifted_inverse(self, t: Expression) -> LinearOperator | None:
        """``(I + 2 t Q)^-1`` for one t; None where it is not known to be cheap."""
        if self._entries is not None:
            eye = Constant(np.eye(self._entries.shape[0]))
            return DenseMatrix(inverse_of(eye + (2.0 * t) * self._entries))
        return _inverse(add(Identity(self.operator.in_shape), *_summands(2.0 * t, self.operator)).simplify())

    @cached_property
    def _own_inverse(self) -> LinearOperator | None:
        """``Q^-1`` where Q is known to be positive definite and has no spectral form."""
        if self._lowest is None or positive(self._lowest) is not YES:
            return None
        return DenseMatrix(inverse_of(self._entries)) if self._entries is not None else _inverse(self.operator)

    @cached_property
    def _lowest(self) -> Expression | None:
        return self._form.lowest if self._form is not None else lowest_known(self.operator.simplify().facts)

    @cached_property
    def _convex(self) -> Fact:
        if self.operator.facts.positive is YES:
            return YES
        if self._form is not None:
            return nonnegative(self._form.spectrum)
        return YES if self._lowest is not None and nonnegative(self._lowest) is YES else UNKNOWN

    def _smoothness(self) -> Bound | None:
        if self._form is not None:
            return exact(2.0 * self._form.largest)
        norm = self.operator.simplify().facts.norm
        return None if norm is None else norm.scaled(2.0)

    # What it does.

    def define_value(self, v: Expression) -> Expression:
        return ex.inner(v, self.operator.trace(v))

    def define_gradient(self, v: Expression) -> Expression:
        return 2.0 * self.operator.trace(v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return 2.0 * self.operator.trace(ex.broadcast_to(d, v.shape))

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator:
        batch = ex.batch_shape(shape, self.operator.in_shape, self)
        return scale(2.0, Batched(self.operator, batch) if batch else self.operator)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        if self._form is not None:
            return self._form.applied(lambda s, step: 1.0 / (1.0 + (2.0 * step) * s), v, t)
        if t.shape != ():
            raise UnsupportedError(
                f"{self!r} has a prox for one step, not for a step per sample: its operator is neither diagonal, nor "
                f"diagonal in the basis of a transform, nor a constant matrix; take the prox of one sample at a time"
            )
        inverse = self._shifted_inverse(t)
        assert inverse is not None
        return inverse.trace(v)

    def define_conjugate_value(self, q: Expression) -> Expression:
        if self._form is not None:
            return 0.25 * ex.inner(q, self._form.applied(lambda s, _: self._form.reciprocal, q))  # type: ignore[union-attr]
        assert self._own_inverse is not None
        return 0.25 * ex.inner(q, self._own_inverse.trace(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        if self._definite or self._form is None:
            return q
        return self._form.applied(lambda s, _: self._form.support, q)  # type: ignore[union-attr]

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    @property
    def _definite(self) -> bool:
        return self._lowest is not None and positive(self._lowest) is YES

    @cached_property
    def _invertible(self) -> bool:
        """Whether the prox is known."""
        return self._form is not None or self._shifted_inverse(_STEP) is not None

    def offers(self, ability: str) -> bool:
        if ability == "prox":
            return self._convex is YES and self._invertible
        if ability in ("conjugate_value", "dual_projection", "dual_gauge"):
            known = self._form is not None or self._own_inverse is not None
            return self._convex is YES and known and (ability != "dual_gauge" or self._definite)
        return super().offers(ability)

    @property
    def facts(self) -> FunctionalFacts:
        modulus = None if self._lowest is None or self._convex is not YES else ex.maximum(self._lowest, 0.0)
        diagonal = self.operator.facts.diagonal
        return FunctionalFacts(
            convex=self._convex,
            smooth=YES,
            smoothness=self._smoothness(),
            strong_convexity=None if modulus is None else 2.0 * modulus,
            quadratic=YES,
            separable=YES if diagonal is YES else UNKNOWN,
            bounded_below=self._convex,
            homogeneity=2.0,
            phase_invariant=YES if diagonal is YES else UNKNOWN,
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        ex.batch_shape(shape, self.operator.in_shape, self)

    def check_kind(self, kind: str) -> None:
        wanted = self.operator.in_dtype
        if (wanted is not None and wanted != kind) or self.operator.out_kind(kind) != kind:
            raise DtypeError(f"{self!r} takes {wanted or 'other'} arrays, but was given a {kind} one")

    def why_not(self, ability: str) -> str:
        if ability in ("prox", "conjugate_value", "dual_projection") and self._convex is not YES:
            return "its operator is not known to be positive; write oa.sum_squares(A @ e) where it is A.H @ A"
        if ability == "prox":
            return f"no cheap inverse of I + 2 t Q is known for Q = {self.operator!r}; its gradient is"
        return "its operator has no cheap inverse" if ability in ("conjugate_value", "dual_projection") else ""

    def text(self, inner: str) -> str:
        return f"quadratic({self.operator!r}, {inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        letter = (names or {}).get(self.operator, "Q")
        return rf"\left\langle {inner}, {letter} \left({inner}\right)\right\rangle"

    def __repr__(self) -> str:
        return f"Quadratic({self.operator!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        weights = rng.uniform(0.1, 2.0, (3, 4))
        weights[1, 2] = 0.0
        ring = np.array([[2.0, 1.0, 0.5, 1.0]])  # row sums are its norm, which constant arrays attain
        circulant = np.concatenate([np.roll(ring, k, axis=1) for k in range(4)])
        mean = Convolve(np.full((3, 1), 1 / 3), (3, 4), boundary="periodic")
        return [
            Quadratic(Diagonal(weights)),
            Quadratic(Matrix(circulant)),
            Quadratic(mean.gram),
            Quadratic(1.5 * Identity((4,)) + LowRank(Parameter(0.5 * np.ones((4, 1)), name="U"))),
            Quadratic(Parameter(0.7, name="w", positive=True) * Identity((3, 4))),
        ]


def _as_self_adjoint(operator: LinearOperator) -> LinearOperator:
    """The operator, known to be self-adjoint; constant matrices are looked at, and freed from rounding."""
    if operator.facts.self_adjoint is YES or mirrored(operator):
        return operator
    simple = operator.simplify()
    if simple.facts.self_adjoint is YES:
        return simple
    matrix = matrix_form(operator)
    if matrix is not None:
        gap, size = np.max(np.abs(matrix - matrix.conj().T), initial=0.0), np.max(np.abs(matrix), initial=0.0)
        if gap <= 1e-6 * size:  # what single precision makes of a symmetric matrix
            return DenseMatrix(0.5 * (matrix + matrix.conj().T))
    raise UnsupportedError(
        f"quadratic(Q, e) needs an operator that is known to be self-adjoint, which {operator!r} is not; the form "
        f"depends on the self-adjoint part only, so write 0.5 * (Q + Q.H)"
    )


def mirrored(operator: LinearOperator) -> bool:
    """Whether a sum holds the adjoint of each of its summands, so that it is self-adjoint as a whole."""
    if isinstance(operator, Scaled):
        return operator.factor.kind == "real" and mirrored(operator.operator)
    if not isinstance(operator, Added):
        return operator.facts.self_adjoint is YES
    left = list(operator.operators)
    while left:
        first = left.pop()
        if not mirrored(first):
            partner = next((o for o in left if mirror_images(first, o)), None)
            if partner is None:
                return False
            left.remove(partner)
    return True


def _summands(factor: Expression, operator: LinearOperator) -> list[LinearOperator]:
    """A multiple of an operator, spread over its summands so that rules and inverses see them."""
    if isinstance(operator, Scaled) and operator.factor.kind == "real":
        return _summands(factor * operator.factor, operator.operator)
    if isinstance(operator, Added):
        return [part for o in operator.operators for part in _summands(factor, o)]
    return [scale(factor, operator)]


def _inverse(operator: LinearOperator) -> LinearOperator | None:
    try:
        return operator.inverse()
    except UnsupportedError:  # what has no cheap inverse offers no prox, and says so in `why_not`
        return None


def quadratic(operator: Any, e: Any) -> Any:
    """The quadratic form ``Re <e, Q e>`` of a self-adjoint operator; there is no hidden one half.

    Parameters
    ----------
    operator : LinearOperator
        ``Q``; of the identity the form is ``sum_squares(e)``.
    e : affine expression
        Whose trailing axes ``Q`` acts on.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.quadratic(oa.Diagonal(np.array([1.0, 3.0])), x).value(np.array([1.0, 2.0]))
    13.0
    """
    return Quadratic(operator)(e)


__all__ = ["Quadratic", "mirrored", "quadratic"]
