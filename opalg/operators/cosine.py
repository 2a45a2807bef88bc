"""Discrete cosine and sine transforms: the bases of reflecting and of fixed boundaries."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact, upper
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, Identity, LinearOperator, as_shape, compose
from opalg.operators.axes import as_axes
from opalg.operators.cosine_kernels import cosine_transform, factors, sine_transform
from opalg.operators.diagonal import adjacent
from opalg.operators.fourier import NORMS
from opalg.operators.knowledge import Facts
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

_OPPOSITE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_TRANSPOSED = {"DCT": {1: 1, 2: 3, 3: 2, 4: 4, 8: 8}, "DST": {1: 1, 2: 3, 3: 2, 4: 4, 6: 7, 7: 6}}


@node
class DCT(LinearOperator):
    """The discrete cosine transform over some axes, ``X_k = c_k sum_n x_n cos(pi k (n + 1/2) / N)`` (type 2).

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; the result has it too.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all.
    type : int
        The angle between ``x_n`` and ``X_k``: 1, ``pi k n / (N - 1)``; 2, ``pi k (n + 1/2) / N``; 3, ``pi (k + 1/2) n /
        N``; 4, ``pi (k + 1/2) (n + 1/2) / N``; 8, ``pi (k + 1/2) (n + 1/2) / (N + 1/2)``. Types 1 to 4 are those of
        `scipy.fft.dctn`.
    norm : str
        ``"ortho"`` (orthogonal), ``"backward"`` (plain sums, twice) or ``"forward"`` (those over the logical length),
        as in `scipy.fft`.

    Raises
    ------
    ShapeError
        Where there are no such axes, or one of length 1 for type 1.
    UnsupportedError
        For another type.
    ParameterError
        For another ``norm``.

    Notes
    -----
    Real arrays stay real; of a complex one, real and imaginary part are transformed alike. With ``norm="ortho"`` the
    adjoint is the inverse: type 3 for type 2 and the other way round, and types 1, 4 and 8 are their own. Then ``C.H C
    = C C.H = I`` and ``||C|| = 1`` (exact). Of the other norms types 4 and 8 are multiples of orthogonal ones; the norm
    is exact except for type 1, where it is an upper bound.

    Type 2 diagonalises what continues an image by its mirror image, such as Neumann differences and symmetric
    convolutions (Strang 1999, The discrete cosine transform), and type 8 what does so on the left and is zero on the
    right.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> np.round(oa.DCT((4,)) @ np.ones(4), 12).tolist()
    [2.0, 0.0, 0.0, 0.0]
    >>> oa.DCT((4, 5)).H
    DCT((4, 5), type=3)
    """

    shape: Shape
    axes: Any = None
    type: int = 2
    norm: str = "ortho"

    def __post_init__(self) -> None:
        _check(self)
        if self.type == 1 and any(self.shape[axis] == 1 for axis in self.axes):
            raise ShapeError(f"DCT of type 1 needs axes of length 2 or more, not {self.axes} of {self.shape}")

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    def kernel(self) -> Kernel:
        return Kernel(cosine_transform, _arguments(self, "cosine"), in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return transposed(self).kernel()

    def trace(self, x: Expression) -> Expression:
        return _trace(self, x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return transposed(self).trace(y) if self.norm == "ortho" else super().trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        return _facts(self)

    @property
    def H(self) -> LinearOperator:
        return _adjoint(self)

    def conj(self) -> LinearOperator:
        return self

    def inverse(self) -> LinearOperator:
        """The inverse transform: the transposed type with the opposite ``norm``."""
        return DCT(self.shape, self.axes, _TRANSPOSED["DCT"][self.type], _OPPOSITE[self.norm])

    def __repr__(self) -> str:
        return _text(self)

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            DCT((4, 3)),
            DCT((5,), norm="backward"),
            DCT((1, 4), axes=(1, 0), type=3, norm="forward"),
            DCT((2, 3), axes=0, type=3),
            DCT((2, 4), type=1, norm="backward"),
            DCT((3, 2), type=1),
            DCT((4, 1), type=4, norm="backward"),
            DCT((2, 3), type=8),
        ]


@node
class DST(LinearOperator):
    """The discrete sine transform over some axes, ``X_k = c_k sum_n x_n sin(pi (k + 1) (n + 1/2) / N)`` (type 2).

    Parameters
    ----------
    shape : tuple of int
        The shape it acts on; the result has it too.
    axes : tuple of int, optional
        The axes to transform, counted within ``shape``; by default all.
    type : int
        The angle between ``x_n`` and ``X_k``: 1, ``pi (k + 1) (n + 1) / (N + 1)``; 2, ``pi (k + 1) (n + 1/2) / N``; 3,
        ``pi (k + 1/2) (n + 1) / N``; 4, ``pi (k + 1/2) (n + 1/2) / N``; 6, ``pi (k + 1) (n + 1/2) / (N + 1/2)``; 7,
        ``pi (k + 1/2) (n + 1) / (N + 1/2)``. Types 1 to 4 are those of `scipy.fft.dstn`.
    norm : str
        As for `DCT`.

    Raises
    ------
    ShapeError
        Where there are no such axes.
    UnsupportedError
        For another type.
    ParameterError
        For another ``norm``.

    Notes
    -----
    Real arrays stay real; of a complex one, real and imaginary part are transformed alike. With ``norm="ortho"`` the
    adjoint is the inverse: types 2 and 3, and 6 and 7, are each other's, types 1 and 4 their own. Then ``S.H S = S S.H
    = I`` and ``||S|| = 1`` (exact). Of the other norms all but types 2 and 3 are multiples of orthogonal ones; the norm
    is exact.

    Type 1 diagonalises second differences of what is zero outside, type 7 those of what is zero on the left and
    continued by its mirror image on the right (Strang 1999, The discrete cosine transform).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> np.round(oa.DST((3,), type=1) @ np.array([1.0, 0.0, 1.0]), 12).tolist()
    [1.0, 0.0, 1.0]
    """

    shape: Shape
    axes: Any = None
    type: int = 2
    norm: str = "ortho"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return self.shape

    def kernel(self) -> Kernel:
        return Kernel(sine_transform, _arguments(self, "sine"), in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return transposed(self).kernel()

    def trace(self, x: Expression) -> Expression:
        return _trace(self, x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return transposed(self).trace(y) if self.norm == "ortho" else super().trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        return _facts(self)

    @property
    def H(self) -> LinearOperator:
        return _adjoint(self)

    def conj(self) -> LinearOperator:
        return self

    def inverse(self) -> LinearOperator:
        """The inverse transform: the transposed type with the opposite ``norm``."""
        return DST(self.shape, self.axes, _TRANSPOSED["DST"][self.type], _OPPOSITE[self.norm])

    def __repr__(self) -> str:
        return _text(self)

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            DST((4, 3), type=1),
            DST((5,), norm="backward"),
            DST((1, 4), axes=(1, 0), type=3, norm="forward"),
            DST((2, 3), axes=0, type=3),
            DST((2, 3)),
            DST((3, 2), type=4, norm="forward"),
            DST((4, 1), type=7, norm="backward"),
            DST((2, 3), type=6),
        ]


def _check(operator: Any) -> None:
    name, known = type(operator).__name__, tuple(_TRANSPOSED[type(operator).__name__])
    shape = as_shape(operator.shape)
    if operator.norm not in NORMS:
        raise ParameterError(f'{name} has no norm={operator.norm!r}; it has "ortho", "backward" and "forward"')
    if operator.type not in known:
        raise UnsupportedError(f"{name} has the types {known}, but not {operator.type!r}")
    object.__setattr__(operator, "axes", as_axes(shape, operator.axes, name))
    object.__setattr__(operator, "shape", shape)


def _text(operator: Any) -> str:
    text = f"{type(operator).__name__}({operator.shape}"
    text += "" if operator.axes == tuple(range(-len(operator.shape), 0)) else f", axes={operator.axes}"
    text += "" if operator.type == 2 else f", type={operator.type}"
    return text + (")" if operator.norm == "ortho" else f", norm={operator.norm!r})")


def transposed(operator: Any) -> Any:
    """The transposed transform of an orthogonal one, which is its inverse."""
    name = type(operator).__name__
    other = _TRANSPOSED[name][operator.type]
    return operator if other == operator.type else type(operator)(operator.shape, operator.axes, other)


def _arguments(operator: Any, family: str) -> tuple[Any, ...]:
    numbers = (factors(family, operator.type, operator.shape[axis], axis) for axis in operator.axes)
    return (operator.axes, operator.type, *(number for own in numbers for number in own))


def _logical_length(name: str, type: int, n: int) -> int:
    """What a transform of plain sums and its inverse multiply by."""
    return {1: 2 * n - 2 if name == "DCT" else 2 * n + 2, 6: 2 * n + 1, 7: 2 * n + 1, 8: 2 * n + 1}.get(type, 2 * n)


def _multiple(operator: Any) -> float:
    """The ``c`` with ``T = c L U R``: U orthogonal, L and R the weights of the ends."""
    name = type(operator).__name__
    length = prod(_logical_length(name, operator.type, operator.shape[axis]) for axis in operator.axes)
    return {"backward": sqrt(length), "ortho": 1.0, "forward": 1.0 / sqrt(length)}[operator.norm]


def _end_weights(operator: Any) -> tuple[list[Constant], list[Constant]]:
    """``L`` and ``R``: for each axis, by how much the ends differ from the orthogonal transform's."""
    if operator.norm == "ortho":
        return [], []
    name = type(operator).__name__
    left = [_ends(name, operator.shape[axis], axis, False) for axis in operator.axes]
    right = [_ends(name, operator.shape[axis], axis, True) for axis in operator.axes]
    two_sided = operator.type == 1 and name == "DCT"
    if two_sided:
        left = [_both_ends(operator.shape[axis], axis, False) for axis in operator.axes]
        right = [_both_ends(operator.shape[axis], axis, True) for axis in operator.axes]
    return left if operator.type == 2 or two_sided else [], right if operator.type == 3 or two_sided else []


@lru_cache(maxsize=128)
def _ends(name: str, n: int, axis: int, inverted: bool) -> Constant:
    """Ones along an axis, with ``sqrt 2`` (or its inverse) where the constant cosine or alternating sine stands."""
    weights = np.ones((n,) + (1,) * (-1 - axis))
    weights[0 if name == "DCT" else -1] = sqrt(0.5 if inverted else 2.0)
    return Constant(weights)


@lru_cache(maxsize=128)
def _both_ends(n: int, axis: int, inverted: bool) -> Constant:
    """Ones along an axis, with ``sqrt 2`` (or its inverse) at both ends."""
    weights = np.ones((n,) + (1,) * (-1 - axis))
    weights[[0, -1]] = sqrt(0.5 if inverted else 2.0)
    return Constant(weights)


def _trace(operator: Any, x: Expression) -> Expression:
    """The orthogonal transform between the weights of the ends."""
    ex.batch_shape(x.shape, operator.shape, operator)
    if operator.norm == "ortho":
        return ex.Apply(operator, x)
    left, right = _end_weights(operator)
    for weights in right:
        x = weights * x
    y = ex.Apply(type(operator)(operator.shape, operator.axes, operator.type), x)
    for weights in left:
        y = weights * y
    return Literal(_multiple(operator)) * y


def _facts(operator: Any) -> Facts:
    size = _multiple(operator)
    symmetric = _TRANSPOSED[type(operator).__name__][operator.type] == operator.type
    left, right = _end_weights(operator)
    if not left and not right:
        scale = Literal(1.0 if operator.norm == "ortho" else size**2)
        own = YES if symmetric else UNKNOWN
        return Facts(self_adjoint=own, gram_scale=scale, cogram_scale=scale, norm=exact(size))
    largest = size * prod(float(np.max(weights.value)) for weights in (*left, *right))
    return Facts(norm=upper(largest) if symmetric else exact(largest))


def _adjoint(operator: Any) -> LinearOperator:
    if operator.norm == "ortho":
        return transposed(operator)
    return operator if _facts(operator).self_adjoint is YES else Adjoint(operator)


@rule(Composed, group="simplify")
def cancel_inverse_cosine_transform(product: Composed) -> LinearOperator | None:
    """DCT^-1 @ DCT  ->  c I     (and DST; norm "backward" or "forward", the same up to a number)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (DCT(), DCT()) | (DST(), DST()):
            there, back = b.inverse(), a
        case _:
            return None
    same = (there.shape, set(there.axes), there.type) == (back.shape, set(back.axes), back.type)  # type: ignore[attr-defined]
    if not same or "ortho" in (a.norm, b.norm):  # type: ignore[attr-defined]
        return None
    merged = (_multiple(back) / _multiple(there)) * Identity(b.in_shape)
    return merged if rest is None else compose(merged, rest)
