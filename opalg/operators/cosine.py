"""Discrete cosine and sine transforms: the bases of reflecting and of fixed boundaries."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt
from typing import Any, ClassVar, Self

import numpy as np

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact, upper
from opalg.leaves import Constant
from opalg.nodes import node
from opalg.operators.algebra import Composed, Identity, LinearOperator, compose
from opalg.operators.axes import as_axes, as_shape
from opalg.operators.cosine_kernels import cosine_transform, factors, sine_transform
from opalg.operators.diagonal import adjacent
from opalg.operators.fourier import NORMS
from opalg.operators.knowledge import Facts
from opalg.operators.shaped import SameShape
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Shape
from opalg.program.linear import Kernel
from opalg.rules import rule

_OPPOSITE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


@node
class _TrigonometricTransform(SameShape):
    """What cosine and sine transforms share: ``T = c L U R``, U orthogonal, L and R the weights of the ends."""

    shape: Shape
    axes: Any = None
    type: int = 2
    norm: str = "ortho"

    family: ClassVar[str]
    transposed_types: ClassVar[dict[int, int]]

    def __post_init__(self) -> None:
        name, known = type(self).__name__, tuple(self.transposed_types)
        shape = as_shape(self.shape)
        if self.norm not in NORMS:
            raise ParameterError(f'{name} has no norm={self.norm!r}; it has "ortho", "backward" and "forward"')
        if self.type not in known:
            raise UnsupportedError(f"{name} has the types {known}, but not {self.type!r}")
        object.__setattr__(self, "axes", as_axes(shape, self.axes, name))
        object.__setattr__(self, "shape", shape)

    @property
    def transposed(self) -> Self:
        """The transposed transform of an orthogonal one, which is its inverse."""
        other = self.transposed_types[self.type]
        return self if other == self.type else type(self)(self.shape, self.axes, other)

    @property
    def multiple(self) -> float:
        """The number ``c``."""
        length = prod(self._logical_length(self.shape[axis]) for axis in self.axes)
        return {"backward": sqrt(length), "ortho": 1.0, "forward": 1.0 / sqrt(length)}[self.norm]

    def _logical_length(self, n: int) -> int:
        """What a transform of plain sums and its inverse multiply by."""
        of_first = 2 * n - 2 if self.family == "cosine" else 2 * n + 2
        return {1: of_first, 6: 2 * n + 1, 7: 2 * n + 1, 8: 2 * n + 1}.get(self.type, 2 * n)

    def _end_weights(self) -> tuple[list[Constant], list[Constant]]:
        """``L`` and ``R``: for each axis, by how much the ends differ from the orthogonal transform's."""
        two_sided = self.type == 1 and self.family == "cosine"
        if self.norm == "ortho" or not (two_sided or self.type in (2, 3)):
            return [], []
        ends = (0, -1) if two_sided else (0,) if self.family == "cosine" else (-1,)
        left, right = ([_ends(ends, self.shape[axis], axis, square) for axis in self.axes] for square in (2.0, 0.5))
        return left if self.type != 3 else [], right if self.type != 2 else []

    def kernel(self) -> Kernel:
        numbers = (factors(self.family, self.type, self.shape[axis], axis) for axis in self.axes)
        arguments = (self.axes, self.type, *(number for own in numbers for number in own))
        function = cosine_transform if self.family == "cosine" else sine_transform
        return Kernel(function, arguments, in_place=False, transforms=1, passes=0.0)

    def adjoint_kernel(self) -> Kernel:
        return self.transposed.kernel()

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.shape, self)
        if self.norm == "ortho":
            return ex.Apply(self, x)
        left, right = self._end_weights()
        for weights in right:
            x = weights * x
        y = ex.Apply(type(self)(self.shape, self.axes, self.type), x)
        for weights in left:
            y = weights * y
        return Literal(self.multiple) * y

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.transposed.trace(y) if self.norm == "ortho" else super().trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        size = self.multiple
        symmetric = self.transposed_types[self.type] == self.type
        left, right = self._end_weights()
        if not left and not right:
            scale = Literal(1.0 if self.norm == "ortho" else size**2)
            own = YES if symmetric else UNKNOWN
            return Facts(self_adjoint=own, gram_scale=scale, cogram_scale=scale, norm=exact(size))
        largest = size * prod(float(np.max(weights.value)) for weights in (*left, *right))
        return Facts(norm=upper(largest) if symmetric else exact(largest))

    @property
    def H(self) -> LinearOperator:
        return self.transposed if self.norm == "ortho" else super().H

    def conj(self) -> LinearOperator:
        return self

    def inverse(self) -> Self:
        """The inverse transform: the transposed type with the opposite ``norm``."""
        return type(self)(self.shape, self.axes, self.transposed_types[self.type], _OPPOSITE[self.norm])

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.shape}"
        text += "" if self.axes == tuple(range(-len(self.shape), 0)) else f", axes={self.axes}"
        text += "" if self.type == 2 else f", type={self.type}"
        return text + (")" if self.norm == "ortho" else f", norm={self.norm!r})")


@node
class DCT(_TrigonometricTransform):
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

    family = "cosine"
    transposed_types: ClassVar = {1: 1, 2: 3, 3: 2, 4: 4, 8: 8}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type == 1 and any(self.shape[axis] == 1 for axis in self.axes):
            raise ShapeError(f"DCT of type 1 needs axes of length 2 or more, not {self.axes} of {self.shape}")

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
class DST(_TrigonometricTransform):
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

    family = "sine"
    transposed_types: ClassVar = {1: 1, 2: 3, 3: 2, 4: 4, 6: 7, 7: 6}

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


@lru_cache(maxsize=128)
def _ends(ends: tuple[int, ...], n: int, axis: int, square: float) -> Constant:
    """Ones along an axis, with the root of a number at some ends."""
    weights = np.ones((n,) + (1,) * (-1 - axis))
    weights[list(ends)] = sqrt(square)
    return Constant(weights)


@rule(Composed, group="simplify")
def cancel_inverse_cosine_transform(product: Composed) -> LinearOperator | None:
    """DCT^-1 @ DCT  ->  c I     (and DST; norm "backward" or "forward", the same up to a number)"""
    a, b, rest = adjacent(product)
    if not isinstance(a, _TrigonometricTransform) or not isinstance(b, type(a)) or "ortho" in (a.norm, b.norm):
        return None
    there = b.inverse()
    if (there.shape, set(there.axes), there.type) != (a.shape, set(a.axes), a.type):
        return None
    merged = (a.multiple / there.multiple) * Identity(b.in_shape)
    return merged if rest is None else compose(merged, rest)
