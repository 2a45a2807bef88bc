"""Kronecker products: operators that act each on axes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from opalg.errors import DtypeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Fact
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import (
    Added,
    Adjoint,
    Composed,
    Identity,
    LinearOperator,
    Scaled,
    Zero,
    add,
    as_operators,
    compose,
    scale,
)
from opalg.operators.batched import Batched
from opalg.operators.diagonal import Diagonal, adjacent
from opalg.operators.difference import FiniteDifference
from opalg.operators.fourier import FFT
from opalg.operators.kinds import adjoint_part
from opalg.operators.knowledge import Facts, product
from opalg.operators.linearity import complex_linear, is_real
from opalg.operators.matrix import DenseMatrix
from opalg.operators.rearrangement import Flip, Roll
from opalg.operators.reductions import CumulativeSum
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.rotation import Rotated
from opalg.rules import rule


@node
class Kronecker(LinearOperator):
    """Operators that act each on its own axes, ``A (x) B``: A on the leading ones, B on the trailing ones (``kron``).

    Attributes
    ----------
    operators : tuple of LinearOperator
        The factors, from the leading axes to the trailing ones; the last one is applied first.

    Notes
    -----
    ``(A (x) B).H = A.H (x) B.H``, ``||A (x) B|| = ||A|| ||B||``; inverse, gram and facts are those of the factors.
    """

    operators: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return tuple(n for o in self.operators for n in o.in_shape)

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return tuple(n for o in self.operators for n in o.out_shape)

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        for o in reversed(self.operators):
            if o.in_kind != "any":
                return o.in_kind
            if o.out_dtype is not None:
                return "any"
        return "any"

    def out_kind(self, kind: str) -> str:
        for o in reversed(self.operators):
            kind = o.out_kind("complex" if o.in_kind == "complex" else kind)
        return kind

    def adjoint_kind(self, kind: str) -> str:
        for o in self.operators:
            kind = o.adjoint_kind(kind)
        return kind

    @property
    def commuting(self) -> bool:
        """Whether the factors may be applied in any order."""
        return commute(self.operators)

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        turning = _Turning(x, [o.in_shape for o in self.operators])
        for i in reversed(range(len(self.operators))):
            o = self.operators[i]
            if not isinstance(o, Identity):
                turning.apply(i, o.trace, o.out_shape)
        return turning.finish()

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        turning = _Turning(y, [o.out_shape for o in self.operators])
        for i, o in enumerate(self.operators):
            if not isinstance(o, Identity):
                turning.apply(i, partial(adjoint_part, o, in_kind=o.in_kind), o.in_shape)
        return turning.finish()

    @property
    def facts(self) -> Facts:
        each, commuting = [o.facts for o in self.operators], self.commuting
        gram, cogram, norm = each[0].gram_scale, each[0].cogram_scale, each[0].norm
        for f in each[1:]:
            gram, cogram = product(gram, f.gram_scale), product(cogram, f.cogram_scale)
            norm = None if norm is None or f.norm is None else norm.times(f.norm, exact=commuting)
        positive = YES if commuting and all(f.positive is YES for f in each) else UNKNOWN
        return Facts(
            diagonal=_all([f.diagonal for f in each]),
            self_adjoint=YES if commuting and all(f.self_adjoint is YES for f in each) else UNKNOWN,
            positive=positive,
            gram_scale=gram,
            cogram_scale=cogram if commuting or not any(o.out_dtype == "real" for o in self.operators) else None,
            norm=norm,
            lowest=_lowest(each) if positive is YES else None,
        )

    @property
    def H(self) -> LinearOperator:
        return kron(*(o.H for o in self.operators)) if self.commuting else super().H

    def conj(self) -> LinearOperator:
        return kron(*(o.conj() for o in self.operators))

    def inverse(self) -> LinearOperator:
        """The product of the inverses.

        Raises
        ------
        UnsupportedError
            Where a factor has no cheap inverse, or the factors do not commute.
        """
        if not self.commuting:
            raise UnsupportedError(f"the factors of {self!r} are not known to commute, so no inverse is known")
        return kron(*(o.inverse() for o in self.operators))

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The product of the pseudo-inverses."""
        return kron(*(o.pinv(cutoff) for o in self.operators)) if self.commuting else super().pinv(cutoff)

    def __repr__(self) -> str:
        return f"kron({', '.join(map(repr, self.operators))})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        m, n = DenseMatrix(rng.standard_normal((3, 2))), DenseMatrix(rng.standard_normal((1, 2)))
        z = DenseMatrix(rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2)))
        weights = Parameter(rng.random(2) + 0.5, name="weights", positive=True)
        return [
            Kronecker((m, n)),
            Kronecker((m, z)),
            Kronecker((m, Identity((3,)))),
            Kronecker((n, Identity((2, 1)), m)),
            Kronecker((FFT((2,)), Diagonal(rng.standard_normal(3)))),
            Kronecker((Diagonal(weights), Diagonal(rng.random((2, 1))))),
            Kronecker((FFT((3,)), FFT((2,), norm="backward"))),
        ]


class _Turning:
    """An array of several blocks of axes, which are turned in a ring so that maps of trailing axes reach each."""

    def __init__(self, x: Expression, shapes: Sequence[Shape]) -> None:
        self.x, self.shapes, self.order = x, list(shapes), list(range(len(shapes)))

    def apply(self, block: int, function: Callable[[Expression], Expression], shape: Shape) -> None:
        """Apply a map of trailing axes to one block, which gets a new shape."""
        self._turn(self.order.index(block) + 1)
        self.x, self.shapes[block] = function(self.x), shape

    def finish(self) -> Expression:
        """The array with its blocks in their own order."""
        self._turn(self.order.index(len(self.order) - 1) + 1)
        return self.x

    def _turn(self, kept: int) -> None:
        """Bring the blocks behind the first ``kept`` ones to the front."""
        lead, tail = self.order[:kept], self.order[kept:]
        self.order = tail + lead
        front, back = self._joined(tail), self._joined(lead)
        if front and back:
            self.x = ex.Apply(Rotated(back, front), self.x)

    def _joined(self, blocks: Sequence[int]) -> Shape:
        return tuple(n for i in blocks for n in self.shapes[i])


def commute(operators: Sequence[LinearOperator]) -> bool:
    """Whether operators on axes of their own may be applied in any order, as far as is known.

    What is real commutes with whatever is linear over the complex numbers; what mixes real and imaginary parts (a real
    FFT, a conjugation) with real operators only.
    """
    others = [o for o in operators if not is_real(o)]
    if not others:
        return True
    linear = all(complex_linear(o) for o in operators if is_real(o))
    return linear and (len(others) == 1 or all(complex_linear(o) for o in others))


def _all(facts: Sequence[Fact]) -> Fact:
    return YES if all(f is YES for f in facts) else UNKNOWN


def _lowest(each: Sequence[Facts]) -> Expression | None:
    """The product of the smallest eigenvalues of positive factors; zero where one is not known."""
    out: Expression = Literal(1.0)
    for f in each:
        out = out * (Literal(0.0) if f.lowest is None else f.lowest)
    return out


def kron(*operators: LinearOperator) -> LinearOperator:
    """The Kronecker product ``A (x) B (x) ...``: A acts on the leading axes, the last factor on the trailing ones.

    Parameters
    ----------
    *operators : LinearOperator
        Two or more factors.

    Returns
    -------
    LinearOperator
        From ``A.in_shape + B.in_shape`` to ``A.out_shape + B.out_shape``. Identities that lead become a batch, real
        scalars go to the front.

    Raises
    ------
    ShapeError
        Where there is no factor.
    DtypeError
        Where a factor takes real arrays and one behind it gives complex ones.

    Notes
    -----
    With arrays flattened it is ``numpy.kron`` of the matrices. It is applied one factor at a time, the last one first:
    for matrices of n rows and columns that takes ``2 n^3`` multiplications in place of ``n^4``. Adjoint, inverse and
    gram are those of the factors; the norm is the product of their norms, exact where they are (Van Loan 2000).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> K = oa.kron(oa.Matrix(np.array([[1.0, 1.0]])), oa.Matrix(np.array([[1.0], [2.0]])))
    >>> K.in_shape, K.out_shape
    ((2, 1), (1, 2))
    >>> K @ np.array([[1.0], [3.0]])
    array([[4., 8.]])
    """
    factors: list[LinearOperator] = []
    factor: Expression = Literal(1.0)
    for position, given in enumerate(as_operators(operators, "kron")):
        o = given
        if isinstance(o, Scaled) and (o.factor.kind == "real" or position == 0):
            factor, o = factor * o.factor, o.operator
        for part in _parts(o):
            if isinstance(part, Identity) and factors and isinstance(factors[-1], Identity):
                factors[-1] = Identity(factors[-1].in_shape + part.in_shape)
            elif not (isinstance(part, Identity) and part.in_shape == ()):
                factors.append(part)
    _check_kinds(factors)
    made = _assembled(factors)
    return made if isinstance(factor, Literal) and factor.value == 1.0 else scale(factor, made)


def _parts(operator: LinearOperator) -> tuple[LinearOperator, ...]:
    """The factors of an operator that is a Kronecker product in disguise."""
    match operator:
        case Kronecker(operators=many):
            return many
        case Batched(operator=inner, batch=batch):
            return (Identity(batch), *_parts(inner))
    return (operator,)


def _check_kinds(factors: Sequence[LinearOperator]) -> None:
    complex_by: LinearOperator | None = None
    for o in reversed(factors):
        if o.in_kind == "real" and complex_by is not None:
            raise DtypeError(
                f"kron applies {o!r}, which takes real arrays, after {complex_by!r}, which gives complex ones"
            )
        if o.out_dtype is not None:
            complex_by = o if o.out_dtype == "complex" else None


def _assembled(factors: Sequence[LinearOperator]) -> LinearOperator:
    if any(isinstance(o, Zero) for o in factors):
        return Zero(tuple(n for o in factors for n in o.in_shape), tuple(n for o in factors for n in o.out_shape))
    if len(factors) == 1:
        return factors[0]
    if not factors:
        return Identity(())
    if isinstance(factors[0], Identity):
        return Batched(_assembled(factors[1:]), factors[0].in_shape)
    return Kronecker(tuple(factors))


@rule(Kronecker, group="simplify")
def normalise_kronecker(product: Kronecker) -> LinearOperator | None:
    """(c A) (x) B -> c (A (x) B), I (x) A -> batched(A), A (x) (B (x) C) -> A (x) B (x) C"""
    return kron(*product.operators)


@rule(Kronecker, group="simplify")
def widen_stencils(product: Kronecker) -> LinearOperator | None:
    """D (x) I  ->  D on all the axes     (D a difference, running sum, flip or roll of its axes, or an adjoint)"""
    if len(product.operators) != 2 or not isinstance(product.operators[1], Identity):
        return None
    return _widened(product.operators[0], product.operators[1].in_shape)


def _widened(operator: LinearOperator, more: Shape) -> LinearOperator | None:
    """An operator along axes, on arrays that have more axes behind its own."""
    match operator:
        case Adjoint(operator=inner):
            wide = _widened(inner, more)
            return None if wide is None else wide.H
        case FiniteDifference(shape=shape, axis=axis, scheme=scheme, boundary=boundary):
            return FiniteDifference(shape + more, axis - len(more), scheme, boundary)
        case CumulativeSum(shape=shape, axis=axis):
            return CumulativeSum(shape + more, axis - len(more))
        case Flip(shape=shape, axes=axes):
            return Flip(shape + more, tuple(axis - len(more) for axis in axes))
        case Roll(shape=shape, shift=shift, axes=axes):
            return Roll(shape + more, shift, tuple(axis - len(more) for axis in axes))
    return None


@rule(Composed, group="simplify")
def product_of_kroneckers(product: Composed) -> LinearOperator | None:
    """(A (x) B) @ (C (x) D)  ->  (A @ C) (x) (B @ D)     (Van Loan 2000; identities and batches are cut to fit)"""
    a, b, rest = adjacent(product)
    if not isinstance(a, Kronecker) and not isinstance(b, Kronecker):
        return None
    pairs = _paired(list(_parts(a)), list(_parts(b)))
    if pairs is None or not commute([o for pair in pairs for o in pair]):
        return None
    merged = kron(*(compose(p, q) for p, q in pairs))
    return merged if rest is None else compose(merged, rest)


def _paired(
    left: list[LinearOperator], right: list[LinearOperator]
) -> list[tuple[LinearOperator, LinearOperator]] | None:
    """The factors that meet, where they do; identities are cut to the size of what they meet."""
    pairs = []
    while left and right:
        a, b = left.pop(0), right.pop(0)
        m, n = len(a.in_shape), len(b.out_shape)
        if m > n and n > 0 and isinstance(a, Identity):
            left.insert(0, Identity(a.in_shape[n:]))
            a = Identity(a.in_shape[:n])
        elif n > m and m > 0 and isinstance(b, Identity):
            right.insert(0, Identity(b.in_shape[m:]))
            b = Identity(b.in_shape[:m])
        if a.in_shape != b.out_shape:
            return None
        pairs.append((a, b))
    return None if left or right else pairs


@rule(Added, group="simplify")
def sum_of_kroneckers(total: Added) -> LinearOperator | None:
    """A (x) B + A (x) C  ->  A (x) (B + C)     (products that differ in one factor)"""
    many = total.operators
    for i, a in enumerate(many):
        for j in range(i + 1, len(many)):
            merged = _added(a, many[j])
            if merged is not None:
                return add(*many[:i], merged, *many[i + 1 : j], *many[j + 1 :])
    return None


def _added(a: LinearOperator, b: LinearOperator) -> LinearOperator | None:
    if not isinstance(a, Kronecker) or not isinstance(b, Kronecker) or len(a.operators) != len(b.operators):
        return None
    apart = [i for i, (p, q) in enumerate(zip(a.operators, b.operators, strict=True)) if p is not q]
    if len(apart) != 1:
        return None
    (i,) = apart
    p, q = a.operators[i], b.operators[i]
    if (p.in_shape, p.out_shape, p.in_kind) != (q.in_shape, q.out_shape, q.in_kind):
        return None
    return kron(*a.operators[:i], add(p, q), *a.operators[i + 1 :])
