"""Linear operators and what their ``+``, ``-``, ``*``, ``@``, ``.H`` build.

An operator is defined by what it does in the step language (`LinearOperator.trace`). Its adjoint follows from that by
transposition unless the class states it, so the two cannot disagree; only primitives bring a pair of kernels.
"""

from __future__ import annotations

from cmath import isfinite
from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.errors import DtypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, exact
from opalg.nodes import node
from opalg.operators.axes import as_shape
from opalg.operators.kinds import (
    adjoint_part,
    alike_in_kind,
    common_adjoint_kind,
    common_in_kind,
    common_out_kind,
    forward_part,
    growth_in_size,
    joins,
)
from opalg.operators.knowledge import Facts, is_nonnegative_number, isometric, lowest_known, lowest_scaled, product
from opalg.operators.linear_map import LinearMap
from opalg.operators.scalars import as_scalar
from opalg.operators.spectra import has_constant_zero, times
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rewrite


class LinearOperator(LinearMap):
    """A linear map between arrays that knows its adjoint, its facts and a bound on its norm.

    A subclass sets ``in_shape`` and ``out_shape`` and defines ``trace``, or a pair of kernels; and ``facts``.
    Operators act on trailing axes; axes in front of them are a batch.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        Shapes without batch axes.
    in_kind : str
        ``"any"`` (real in, real out; complex in, complex out), ``"real"`` or ``"complex"``.
    """

    def inverse(self) -> LinearOperator:
        """The inverse, where a fact makes it cheap.

        Raises
        ------
        UnsupportedError
            Where no cheap inverse is known.
        """
        facts = self.facts
        if facts.gram_scale is not None and facts.cogram_scale is not None and not has_constant_zero(facts.gram_scale):
            return (1.0 / facts.gram_scale) * self.H
        simple = self.simplify()
        if simple is not self:
            return simple.inverse()
        raise UnsupportedError(f"no cheap inverse of {self!r} is known; solve with conjugate gradients instead")

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The pseudo-inverse of Moore and Penrose, where a fact makes it cheap.

        Parameters
        ----------
        cutoff : float
            Entries of a diagonal or spectrum that are not larger than this times the largest one count as zeros; where
            the gram or cogram is what has one, its entries, the squares of the singular values.

        Raises
        ------
        UnsupportedError
            Where no cheap one is known.

        Notes
        -----
        ``A^+ = (A.H A)^+ A.H = A.H (A A.H)^+``.
        """
        facts = self.facts
        for scaling in (facts.gram_scale, facts.cogram_scale):
            if scaling is not None and not has_constant_zero(scaling):
                return (1.0 / scaling) * self.H
        gram, cogram = self.gram.simplify(), self.cogram.simplify()
        if _has_pinv_of_its_own(gram):
            return compose(gram.pinv(cutoff), self.H)
        if _has_pinv_of_its_own(cogram):
            return compose(self.H, cogram.pinv(cutoff))
        try:
            return self.inverse()
        except UnsupportedError as problem:
            raise UnsupportedError(
                f"no cheap pseudo-inverse of {self!r} is known; solve the least squares problem with oa.minimize"
            ) from problem

    @cached_property
    def H(self) -> LinearOperator:
        """The adjoint."""
        return self if self.facts.self_adjoint is YES else Adjoint(self)

    @property
    def T(self) -> LinearOperator:
        """The transpose, ``conj(A.H)``."""
        return self.H.conj()

    def conj(self) -> LinearOperator:
        """The operator with conjugated entries, ``x -> conj(A conj(x))``."""
        return Conjugated(self)

    @property
    def gram(self) -> LinearOperator:
        """``A.H @ A``."""
        return self.H @ self

    @property
    def cogram(self) -> LinearOperator:
        """``A @ A.H``."""
        return self @ self.H

    def simplify(self) -> LinearOperator:
        """The operator rewritten by every rule of opalg."""
        return rewrite(self)

    def __call__(self, x: Any) -> Any:
        return self @ x

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LinearOperator):
            return compose(self, other)
        listed = isinstance(other, (list, tuple, int, float, complex))
        return self.apply(other) if listed or library_name(other) is not None else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return _no_operand(other)

    def __add__(self, other: Any) -> Any:
        return add(self, other) if isinstance(other, LinearOperator) else _no_operand(other)

    def __radd__(self, other: Any) -> Any:
        return self if isinstance(other, int) and other == 0 else _no_operand(other)  # so that sum([A, B]) works

    def __sub__(self, other: Any) -> Any:
        return add(self, scale(-1.0, other)) if isinstance(other, LinearOperator) else _no_operand(other)

    def __rsub__(self, other: Any) -> Any:
        return _no_operand(other)

    def __mul__(self, factor: Any) -> Any:
        return self.__rmul__(factor)

    def __rmul__(self, factor: Any) -> Any:
        found = as_scalar(factor)
        return _no_operand(factor) if found is None else scale(found, self)

    def __truediv__(self, factor: Any) -> Any:
        found = as_scalar(factor)
        if found is None:
            return _no_operand(factor)
        if has_constant_zero(found):
            raise ParameterError(f"{self!r} cannot be divided by zero; the zero operator is oa.Zero")
        return scale(1.0 / found, self)

    def __neg__(self) -> LinearOperator:
        return scale(-1.0, self)

    def __pow__(self, exponent: int) -> LinearOperator:
        if not isinstance(exponent, int) or exponent < 0:
            raise ParameterError(
                f"an operator's power must be a nonnegative integer, not {exponent!r}; its inverse is A.inverse()"
            )
        out: LinearOperator = Identity(self.in_shape)
        for _ in range(exponent):
            out = compose(self, out)
        return out


def _no_operand(other: Any) -> Any:
    """What arithmetic of an operator with something else gives; an array is refused, since it may mean two things."""
    if library_name(other) is not None:
        raise ParameterError(
            "an array does not combine with an operator; write oa.Matrix(M) for a matrix, oa.Diagonal(d) for weights, "
            "or A @ x to apply the operator"
        )
    return NotImplemented


def as_operators(given: Any, owner: str) -> tuple[LinearOperator, ...]:
    """One or more operators as a tuple.

    Raises
    ------
    ParameterError
        Where it is no sequence, or something in it is no operator.
    ShapeError
        Where it is empty.
    """
    if isinstance(given, LinearOperator) or not isinstance(given, Iterable):
        raise ParameterError(f"{owner} takes a sequence of operators, as in [A, B], not {type(given).__name__}")
    found = tuple(given)
    if not found:
        raise ShapeError(f"{owner} needs at least one operator")
    for other in found:
        if not isinstance(other, LinearOperator):
            raise ParameterError(
                f"{owner} joins operators, but was given {type(other).__name__}; write oa.Matrix(M) for a matrix, "
                f"oa.Diagonal(d) for weights"
            )
    return found


def _has_pinv_of_its_own(operator: LinearOperator) -> bool:
    """Whether its class knows its pseudo-inverse, as diagonals and spectra do, without asking its parts."""
    combined = isinstance(operator, (Adjoint, Conjugated, Scaled, Composed, Added))
    return not combined and type(operator).pinv is not LinearOperator.pinv


@node
class Identity(LinearOperator):
    """The identity, ``x -> x``.

    Parameters
    ----------
    in_shape : tuple of int
        The shape it acts on.

    Notes
    -----
    ``I.H = I = I^-1``, diagonal, positive and unitary.

    Examples
    --------
    >>> import opalg as oa
    >>> (2.0 * oa.Identity((3,))) @ np.array([1.0, 2.0, 3.0])
    array([2., 4., 6.])
    """

    in_shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", as_shape(self.in_shape))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.in_shape

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        return x

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        return Facts(YES, YES, YES, gram_scale=one, cogram_scale=one, norm=exact(1.0), lowest=one)

    def conj(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Identity({self.in_shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Identity((3, 4)), Identity((5,))]


@node
class Zero(LinearOperator):
    """The zero map between two shapes, ``x -> 0``.

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        The shapes; ``out_shape`` defaults to ``in_shape``.

    Notes
    -----
    ``Z.H`` is zero the other way; ``||Z|| = 0``. Sums drop it and products with it are zero again.

    Examples
    --------
    >>> import opalg as oa
    >>> oa.Zero((3,), (2,)) @ np.ones(3)
    array([0., 0.])
    """

    in_shape: Shape
    out_shape: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", as_shape(self.in_shape))
        out = self.in_shape if self.out_shape is None else as_shape(self.out_shape)
        object.__setattr__(self, "out_shape", out)

    def trace(self, x: Expression) -> Expression:
        batch = ex.batch_shape(x.shape, self.in_shape, self)
        value = Literal(0.0) if x.kind == "real" else Literal(0j)
        return ex.broadcast_to(value, batch + self.out_shape)

    def trace_adjoint(self, y: Expression) -> Expression:
        return Zero(self.out_shape, self.in_shape).trace(y)

    @property
    def facts(self) -> Facts:
        square = YES if self.in_shape == self.out_shape else NO
        none = Literal(0.0)
        lowest = none if square is YES else None
        return Facts(square, square, square, gram_scale=none, cogram_scale=none, norm=exact(0.0), lowest=lowest)

    @property
    def H(self) -> LinearOperator:
        return self if self.in_shape == self.out_shape else Zero(self.out_shape, self.in_shape)

    def conj(self) -> LinearOperator:
        return self

    def inverse(self) -> LinearOperator:
        raise UnsupportedError(f"{self!r} has no inverse")

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        return self.H

    def __repr__(self) -> str:
        return f"Zero({self.in_shape}, {self.out_shape})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [Zero((3, 4)), Zero((2,), (3, 2))]


@node
class Adjoint(LinearOperator):
    """The adjoint of an operator."""

    operator: LinearOperator

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.operator.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.operator.in_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return self.operator.out_dtype or "any"

    def out_kind(self, kind: str) -> str:
        return self.operator.adjoint_kind(kind)

    def adjoint_kind(self, kind: str) -> str:
        return self.operator.out_kind(kind)

    def trace(self, x: Expression) -> Expression:
        return self.operator.trace_adjoint(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.operator.trace(y)

    @property
    def H(self) -> LinearOperator:
        return self.operator

    @property
    def facts(self) -> Facts:
        f = self.operator.facts
        return Facts(f.diagonal, f.self_adjoint, f.positive, f.cogram_scale, f.gram_scale, f.norm, f.lowest)

    def inverse(self) -> LinearOperator:
        return self.operator.inverse().H

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        return self.operator.pinv(cutoff).H

    def __repr__(self) -> str:
        return f"{_wrapped(self.operator)}.H"


class Around(LinearOperator):
    """An operator made from another one, of the same shapes and kinds unless it says otherwise."""

    operator: LinearOperator

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.operator.out_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return self.operator.in_kind

    def out_kind(self, kind: str) -> str:
        return self.operator.out_kind(kind)

    def adjoint_kind(self, kind: str) -> str:
        return self.operator.adjoint_kind(kind)


@node
class Conjugated(Around):
    """``x -> conj(A conj(x))``: the operator with conjugated entries."""

    operator: LinearOperator

    def trace(self, x: Expression) -> Expression:
        return ex.pointwise("conj", self.operator.trace(ex.pointwise("conj", x)))

    def trace_adjoint(self, y: Expression) -> Expression:
        return ex.pointwise("conj", self.operator.trace_adjoint(ex.pointwise("conj", y)))

    def conj(self) -> LinearOperator:
        return self.operator

    @property
    def facts(self) -> Facts:
        return self.operator.facts

    def inverse(self) -> LinearOperator:
        return self.operator.inverse().conj()

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        return self.operator.pinv(cutoff).conj()

    def __repr__(self) -> str:
        return f"{_wrapped(self.operator)}.conj()"


@node
class Scaled(Around):
    """A number or scalar parameter times an operator."""

    factor: Expression
    operator: LinearOperator

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.factor.kind == "complex" and self.operator.in_kind == "any" else self.operator.in_kind

    def out_kind(self, kind: str) -> str:
        return "complex" if self.factor.kind == "complex" else self.operator.out_kind(kind)

    def trace(self, x: Expression) -> Expression:
        if self.factor.kind == "real" and prod(self.in_shape) < prod(self.out_shape):
            return self.operator.trace(self.factor * x)
        return self.factor * self.operator.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        if self.factor.kind == "real" and prod(self.in_shape) < prod(self.out_shape):
            return self.factor * self.operator.trace_adjoint(y)
        return adjoint_part(self.operator, ex.pointwise("conj", self.factor) * y, self.in_kind)

    @property
    def H(self) -> LinearOperator:
        return scale(self.factor, self.operator.H) if self.factor.kind == "real" else super().H

    @property
    def facts(self) -> Facts:
        f, size = self.operator.facts, abs(self.factor)
        square = ex.square(size)
        positive = f.positive if is_nonnegative_number(self.factor) else UNKNOWN
        on_a_line = self.factor.kind == "complex" and self.operator.out_dtype == "real"  # multiples of one number
        return Facts(
            diagonal=UNKNOWN if on_a_line else f.diagonal,
            self_adjoint=f.self_adjoint if self.factor.kind == "real" else UNKNOWN,
            positive=positive,
            gram_scale=None if f.gram_scale is None else square * f.gram_scale,
            cogram_scale=None if f.cogram_scale is None or on_a_line else square * f.cogram_scale,
            norm=None if f.norm is None else f.norm.scaled(size),
            lowest=lowest_scaled(self.factor, f),
        )

    def inverse(self) -> LinearOperator:
        if has_constant_zero(self.factor):
            raise UnsupportedError(f"{self!r} is zero, so it has no inverse")
        self._refuse_turned_reals("inverse")
        return compose(self.operator.inverse(), scale(1.0 / self.factor, Identity(self.out_shape)))

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        if has_constant_zero(self.factor):
            return Zero(self.out_shape, self.in_shape)
        self._refuse_turned_reals("pseudo-inverse")
        return compose(self.operator.pinv(cutoff), scale(1.0 / self.factor, Identity(self.out_shape)))

    def _refuse_turned_reals(self, wanted: str) -> None:
        if self.factor.kind == "complex" and self.operator.out_dtype == "real":
            raise UnsupportedError(
                f"no cheap {wanted} of {self!r} is known, which turns real results into complex ones"
            )

    def __repr__(self) -> str:
        return f"{_factor_text(self.factor)} * {_wrapped(self.operator)}"


@node
class Composed(LinearOperator):
    """The product ``outer @ inner``."""

    outer: LinearOperator
    inner: LinearOperator

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.inner.in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.outer.out_shape

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        if self.inner.in_kind == "any" and self.outer.in_kind != "any" and self.inner.out_dtype is None:
            return self.outer.in_kind
        return self.inner.in_kind

    def out_kind(self, kind: str) -> str:
        return self.outer.out_kind(self.inner.out_kind(kind))

    def adjoint_kind(self, kind: str) -> str:
        return self.inner.adjoint_kind(self.outer.adjoint_kind(kind))

    def trace(self, x: Expression) -> Expression:
        return self.outer.trace(self.inner.trace(x))

    def trace_adjoint(self, y: Expression) -> Expression:
        return adjoint_part(self.inner, self.outer.trace_adjoint(y), self.in_kind)

    @property
    def facts(self) -> Facts:
        a, b = self.outer.facts, self.inner.facts
        factors = [self.outer, self.inner] if self.outer.H is self.inner else _factors(self)
        half, odd = divmod(len(factors), 2)
        mirrored = all(mirror_images(factors[i], factors[-1 - i]) for i in range(half))
        middle = factors[half].facts if odd else None
        self_adjoint = mirrored and (middle is None or middle.self_adjoint is YES)
        positive = mirrored and (middle is None or middle.positive is YES)
        embedded = self.inner.out_dtype == "real" and self.outer.in_kind == "complex"  # A sees real arrays only
        norm = None
        if mirrored and not odd:
            root = _chain(factors[half:]).facts.norm
            norm = None if root is None else root.times(root, exact=True)
        elif a.norm is not None and b.norm is not None:
            norm = a.norm.times(b.norm, exact=isometric(a) or (isometric(b, adjoint=True) and not embedded))
        return Facts(
            diagonal=YES if a.diagonal is YES and b.diagonal is YES else UNKNOWN,
            self_adjoint=YES if self_adjoint else UNKNOWN,
            positive=YES if positive else UNKNOWN,
            gram_scale=product(a.gram_scale, b.gram_scale),
            cogram_scale=None if embedded else product(b.cogram_scale, a.cogram_scale),
            norm=norm,
            lowest=_lowest_of_product(factors, positive) if self_adjoint else None,
        )

    def inverse(self) -> LinearOperator:
        """The inverses of the factors in turn.

        Raises
        ------
        UnsupportedError
            Where a factor has none, or one has a left inverse only and another a right inverse only.
        """
        simple = self.simplify()
        if not isinstance(simple, Composed):
            return simple.inverse()
        growth = growth_in_size(self.outer) | growth_in_size(self.inner)
        if growth >= {-1, 1}:
            raise UnsupportedError(f"no cheap inverse of {self!r} is known, since its factors are not square")
        return compose(self.inner.inverse(), self.outer.inverse())

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The pseudo-inverses of the factors in turn, where one is an isometry or all are square (Greville 1966).

        Raises
        ------
        UnsupportedError
            For other factors, and where one has no cheap pseudo-inverse.
        """
        a, b = self.outer, self.inner
        embedded = b.out_dtype == "real" and a.in_kind == "complex"
        if not embedded and (isometric(a.facts) or isometric(b.facts, adjoint=True)):
            return compose(b.pinv(cutoff), a.pinv(cutoff))
        if growth_in_size(a) | growth_in_size(b) != {0}:
            raise UnsupportedError(
                f"no cheap pseudo-inverse of {self!r} is known; solve the least squares problem with oa.minimize"
            )
        return super().pinv(cutoff)

    def __repr__(self) -> str:
        return f"{_wrapped(self.outer)} @ {_wrapped(self.inner)}"


class Together(LinearOperator):
    """Operators that share an argument, or a result, and so its kind."""

    operators: tuple[LinearOperator, ...]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return common_in_kind(self.operators)

    def out_kind(self, kind: str) -> str:
        return common_out_kind(self.operators, kind)

    def adjoint_kind(self, kind: str) -> str:
        return common_adjoint_kind(self.operators, kind)


@node
class Added(Together):
    """The sum of operators of the same shapes."""

    operators: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.operators[0].in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.operators[0].out_shape

    def trace(self, x: Expression) -> Expression:
        return sum_of([forward_part(o, x) for o in self.operators])

    def trace_adjoint(self, y: Expression) -> Expression:
        kind = self.in_kind
        return sum_of([adjoint_part(o, y, kind) for o in self.operators])

    @property
    def facts(self) -> Facts:
        each = [o.facts for o in self.operators]
        positive = all(f.positive is YES for f in each)
        aligned = positive and sum(not _is_multiple_of_identity(o) for o in self.operators) <= 1
        norm = each[0].norm
        for f in each[1:]:
            norm = None if norm is None or f.norm is None else norm.plus(f.norm, exact=aligned)
        bottoms = [lowest_known(f) for f in each]
        lowest = None if any(b is None for b in bottoms) else sum_of([b for b in bottoms if b is not None])
        return Facts(
            diagonal=YES if all(f.diagonal is YES for f in each) else UNKNOWN,
            self_adjoint=YES if all(f.self_adjoint is YES for f in each) else UNKNOWN,
            positive=YES if positive else UNKNOWN,
            norm=norm,
            lowest=lowest,
        )

    def inverse(self) -> LinearOperator:
        for way in _WAYS_TO_INVERT_SUMS:
            found = way(self)
            if found is not None:
                return found
        return super().inverse()

    def __repr__(self) -> str:
        return " + ".join(_wrapped(o) for o in self.operators)


_WAYS_TO_INVERT_SUMS: list[Callable[[Added], LinearOperator | None]] = []


def way_to_invert_sums(way: Callable[[Added], LinearOperator | None]) -> Callable[[Added], LinearOperator | None]:
    """Register a function that gives the inverse of some sums, and None for the others; `Added.inverse` asks it."""
    _WAYS_TO_INVERT_SUMS.append(way)
    return way


def _is_multiple_of_identity(operator: LinearOperator) -> bool:
    return isinstance(operator.operator if isinstance(operator, Scaled) else operator, Identity)


def _wrapped(operator: LinearOperator) -> str:
    text = repr(operator)
    return f"({text})" if isinstance(operator, (Added, Scaled, Composed)) else text


def _factor_text(factor: Expression) -> str:
    text = repr(factor)
    return f"({text})" if " " in text else text


def _factors(operator: LinearOperator) -> list[LinearOperator]:
    """The operators of a product from left to right."""
    if isinstance(operator, Composed):
        return _factors(operator.outer) + _factors(operator.inner)
    if isinstance(operator, Adjoint) and isinstance(operator.operator, Composed):
        turned = [factor.H for factor in reversed(_factors(operator.operator))]
        if all(joins(left, right) for left, right in pairwise(turned)):
            return turned
    return [operator]


def mirror_images(a: LinearOperator, b: LinearOperator) -> bool:
    """Whether one operator is the adjoint of the other, as their forms tell, part by part."""
    if a.H is b or a is b.H:
        return True
    match a, b:
        case Added(operators=left), Added(operators=right) if len(left) == len(right):
            alike = all(mirror_images(p, q) for p, q in zip(left, right, strict=True))
        case Composed(), Composed():
            outwards, inwards = _factors(a), _factors(b)[::-1]
            alike = len(outwards) == len(inwards) and all(map(mirror_images, outwards, inwards))
        case Scaled(factor=c, operator=p), Scaled(factor=d, operator=q):
            alike = ex.pointwise("conj", c) == d and mirror_images(p, q)
        case _:
            return False
    return alike and alike_in_kind(a, Adjoint(b))


def _lowest_of_product(factors: list[LinearOperator], positive: bool) -> Expression | None:
    """A lower bound of the spectrum of ``B.H @ M @ B``: c times that of M where ``B.H B = c I``, else 0 for M >= 0."""
    half, odd = divmod(len(factors), 2)
    scaling = _chain(factors[half + odd :]).facts.gram_scale
    bottom = lowest_known(factors[half].facts) if odd else Literal(1.0)
    if scaling is not None and bottom is not None:
        return scaling * bottom
    return Literal(0.0) if positive else None


def _chain(factors: list[LinearOperator]) -> LinearOperator:
    out = factors[-1]
    for factor in reversed(factors[:-1]):
        out = compose(factor, out)
    return out


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """``outer @ inner``, with identities and zeros folded and scalars pulled to the front."""
    if outer.in_shape != inner.out_shape:
        raise ShapeError(
            f"cannot form {outer!r} @ {inner!r}: the left one takes shape {outer.in_shape}, "
            f"the right one gives shape {inner.out_shape}"
        )
    if not joins(outer, inner):
        raise DtypeError(f"{outer!r} takes real arrays, but {inner!r} gives complex ones; put Real in between")
    if isinstance(outer, Identity):
        return inner
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Zero) or isinstance(inner, Zero):
        return Zero(inner.in_shape, outer.out_shape)
    if isinstance(outer, Scaled):
        return scale(outer.factor, compose(outer.operator, inner))
    if isinstance(inner, Scaled) and inner.factor.kind == "real":
        return scale(inner.factor, compose(outer, inner.operator))
    if isinstance(outer, Composed):
        return compose(outer.outer, compose(outer.inner, inner))
    return Composed(outer, inner)


def scale(factor: Any, operator: LinearOperator) -> LinearOperator:
    """``factor * operator``, with numbers gathered."""
    factor = ex.as_expression(factor)
    if factor.shape not in ((), (1,)):
        raise ShapeError(f"an operator is scaled by a scalar, not by shape {factor.shape}; use Diagonal for arrays")
    factor = ex.total(factor)
    if isinstance(factor, Literal) and not isfinite(factor.value):
        raise NonFiniteError(f"{operator!r} cannot be multiplied by {factor.value}, which is not finite")
    if isinstance(factor, Literal) and factor.value == 1.0:
        return operator
    if isinstance(factor, Literal) and factor.value == 0.0:
        return Zero(operator.in_shape, operator.out_shape)
    if isinstance(operator, Zero):
        return operator
    if isinstance(operator, Scaled):
        return scale(times(factor, operator.factor), operator.operator)
    return Scaled(factor, operator)


def add(*operators: LinearOperator) -> LinearOperator:
    """The sum of operators, flattened, with zeros dropped."""
    flat: list[LinearOperator] = []
    for operator in operators:
        flat.extend(operator.operators if isinstance(operator, Added) else (operator,))
    for other in flat[1:]:
        if (other.in_shape, other.out_shape) != (flat[0].in_shape, flat[0].out_shape):
            raise ShapeError(
                f"cannot add {flat[0]!r} and {other!r}: they map {flat[0].in_shape} to {flat[0].out_shape} "
                f"and {other.in_shape} to {other.out_shape}"
            )
    kept = [o for o in flat if not isinstance(o, Zero)]
    if not kept:
        return flat[0]
    return kept[0] if len(kept) == 1 else Added(tuple(kept))
