"""Structurally random matrices: measurements that act like random ones and cost a fast transform."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import exact
from opalg.leaves import Constant, Indices
from opalg.nodes import node
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, compose, scale
from opalg.operators.axes import as_shape
from opalg.operators.cosine import DCT
from opalg.operators.diagonal import Diagonal, Mask, adjacent
from opalg.operators.fourier import FFT
from opalg.operators.hadamard import Hadamard
from opalg.operators.knowledge import Facts
from opalg.operators.rearrangement import Reshape
from opalg.operators.selection import Permutation, Restrict
from opalg.operators.shaped import OnShape, SameShape
from opalg.operators.spectral import DiagonalIn
from opalg.program.expression import Expression, Literal, Shape
from opalg.rules import rule

TRANSFORMS = {"dct": DCT, "fft": FFT, "hadamard": Hadamard}
FLIPS = ("signs", "permutation")
SCALINGS = ("orthonormal", "energy")


@node
class RandomBasis(SameShape):
    """An orthonormal transform after random signs or a random order, ``y = F R x``.

    Parameters
    ----------
    shape : int or tuple of int
        The shape it acts on.
    transform : str
        ``F``, over all axes: ``"dct"``, ``"fft"`` (of complex arrays) or ``"hadamard"`` (sizes are powers of two).
    flip : str
        ``R``: ``"signs"`` (each entry times 1 or -1) or ``"permutation"`` (all entries in a random order).
    seed : int
        A nonnegative seed.

    Raises
    ------
    ParameterError
        For another transform or flip, or a seed that is no nonnegative integer.
    ShapeError
        For a shape without axes or with zeros, or one that the transform does not take.

    Notes
    -----
    Unitary, ``B.H B = B B.H = I``, so ``||B|| = 1`` (exact) and ``B.inverse()`` is ``B.H = R.H F.H``. R comes from the
    raw bits of PCG64, which stay the same on every machine, library and version: entry i changes its sign where the
    lowest bit of the i-th draw is 1, and an order sorts the draws.

    Examples
    --------
    >>> import numpy as np
    >>> from opalg.operators.structured_random import RandomBasis
    >>> B = RandomBasis((4, 4), seed=3)
    >>> x = np.arange(16.0).reshape(4, 4)
    >>> np.allclose(B.H @ (B @ x), x)
    True
    """

    shape: Any
    transform: str = "dct"
    flip: str = "signs"
    seed: int = 0

    def __post_init__(self) -> None:
        shape = as_shape(self.shape)
        if not shape or 0 in shape:
            raise ShapeError(f"a random basis needs a shape with axes and without zeros, not {shape}")
        if self.transform not in TRANSFORMS:
            raise ParameterError(f"the transforms are {', '.join(map(repr, TRANSFORMS))}, but not {self.transform!r}")
        if self.flip not in FLIPS:
            raise ParameterError(f"flip is {' or '.join(map(repr, FLIPS))}, but not {self.flip!r}")
        object.__setattr__(self, "shape", shape)
        draws = raw_draws(self.seed, prod(shape), 0)
        mixing = _signs(draws, shape) if self.flip == "signs" else _shuffle(draws, shape)
        object.__setattr__(self, "_product", compose(TRANSFORMS[self.transform](shape), mixing))

    @property
    def product(self) -> LinearOperator:
        """``F @ R`` as a product of simpler operators."""
        return self._product  # type: ignore[attr-defined,no-any-return]

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return "complex" if self.transform == "fft" else "any"

    def trace(self, x: Expression) -> Expression:
        return self.product.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.product.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        one = Literal(1.0)
        return Facts(gram_scale=one, cogram_scale=one, norm=exact(1.0))

    def __repr__(self) -> str:
        return f"RandomBasis({self.shape}, {self.transform!r}, {self.flip!r}, seed={self.seed})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            RandomBasis((3, 4)),
            RandomBasis((5,), "fft", "permutation", 2),
            RandomBasis((2, 4), "hadamard", "permutation", 3),
            RandomBasis((1,), "dct", "permutation"),
        ]


@node
class StructuredRandom(OnShape):
    """A structurally random matrix, ``y = c D F R x``: mix, transform, keep some rows.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the image, of N entries.
    rows : int
        How many measurements M there are, at most N; the result has shape ``(M,)``.
    transform : str
        The orthonormal transform ``F`` over all axes: ``"dct"``, ``"fft"`` (of complex arrays) or ``"hadamard"`` (sizes
        are powers of two).
    flip : str
        The mixing ``R``: ``"signs"`` (local: each entry times 1 or -1) or ``"permutation"`` (global: all entries in a
        random order).
    seed : int
        A nonnegative seed; the same one gives the same operator on every library and machine.
    scaling : str
        ``"orthonormal"`` (``c = 1``, so the rows are orthonormal) or ``"energy"`` (``c = sqrt(N / M)``, the convention
        of Do et al., so ``|y|^2`` is about ``|x|^2``).

    Raises
    ------
    ShapeError
        Where there are not between 1 and N rows, or the transform does not take the shape.
    ParameterError
        For another transform, flip or scaling, or a seed that is no nonnegative integer.

    Notes
    -----
    ``D`` keeps a random set of M rows, in their order. The adjoint is ``c R.H F.H D.H``; ``A A.H = c^2 I`` and so
    ``||A|| = c``, both exact; ``A.H A`` is diagonal in the basis ``F R``, which solves regularised least squares in
    closed form. Do, Gan, Nguyen, Tran 2012, Fast and efficient compressive sensing using structurally random matrices.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.StructuredRandom((8, 8), rows=20)
    >>> A.out_shape, A.cogram.simplify()
    ((20,), Identity((20,)))
    >>> y = A @ np.ones((8, 8))
    >>> np.allclose(A @ (A.H @ y), y)
    True
    """

    shape: Any
    rows: int
    transform: str = "dct"
    flip: str = "signs"
    seed: int = 0
    scaling: str = "orthonormal"

    def __post_init__(self) -> None:
        basis = RandomBasis(self.shape, self.transform, self.flip, self.seed)
        shape, size = basis.shape, prod(basis.shape)
        if not isinstance(self.rows, (int, np.integer)) or not 1 <= self.rows <= size:
            raise ShapeError(
                f"StructuredRandom keeps from 1 to {size} rows of the transform of shape {shape}, but was given "
                f"rows={self.rows!r}"
            )
        if self.scaling not in SCALINGS:
            raise ParameterError(f"scaling is {' or '.join(map(repr, SCALINGS))}, but not {self.scaling!r}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "rows", int(self.rows))
        object.__setattr__(self, "_basis", basis)
        kept = np.sort(np.argsort(raw_draws(self.seed, size, 1), kind="stable")[: self.rows])
        object.__setattr__(self, "_kept", Restrict(kept, shape))
        mask = np.zeros(size, bool)
        mask[kept] = True
        object.__setattr__(self, "_mask", Mask(Constant(mask.reshape(shape), name="kept rows", copy=False)))

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return (self.rows,)

    @property
    def basis(self) -> RandomBasis:
        """``F R``."""
        return self._basis  # type: ignore[attr-defined,no-any-return]

    @property
    def kept(self) -> Restrict:
        """``D``."""
        return self._kept  # type: ignore[attr-defined,no-any-return]

    @property
    def diagonalised_gram(self) -> DiagonalIn:
        """``A.H A``, diagonal in the basis ``F R``."""
        weights = self._mask.weights  # type: ignore[attr-defined]
        return DiagonalIn(self.basis, self.squared_scale * weights)

    @property
    def squared_scale(self) -> float:
        """``c^2``."""
        return prod(self.shape) / self.rows if self.scaling == "energy" else 1.0

    @property
    def product(self) -> LinearOperator:
        """``c D @ (F R)`` as a product of simpler operators."""
        return scale(sqrt(self.squared_scale), compose(self.kept, self.basis))

    @property
    def in_kind(self) -> str:  # type: ignore[override]
        return self.basis.in_kind

    def trace(self, x: Expression) -> Expression:
        return self.product.trace(x)

    def trace_adjoint(self, y: Expression) -> Expression:
        return self.product.trace_adjoint(y)

    @property
    def facts(self) -> Facts:
        square = Literal(self.squared_scale)
        every = self.rows == prod(self.shape)
        norm = exact(sqrt(self.squared_scale))
        return Facts(gram_scale=square if every else None, cogram_scale=square, norm=norm)

    def __repr__(self) -> str:
        scaling = "" if self.scaling == "orthonormal" else f", scaling={self.scaling!r}"
        parts = f"{self.shape}, {self.rows}, {self.transform!r}, {self.flip!r}, seed={self.seed}"
        return f"StructuredRandom({parts}{scaling})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        return [
            StructuredRandom((3, 4), 5),
            StructuredRandom(5, 3, flip="permutation", seed=1, scaling="energy"),
            StructuredRandom((4, 2), 4, "hadamard", seed=2, scaling="energy"),
            StructuredRandom((2, 3), 4, "fft", "permutation", 3),
            StructuredRandom((2, 2), 4, "fft", seed=4),
            StructuredRandom((1,), 1),
        ]


def raw_draws(seed: int, count: int, run: int) -> np.ndarray:
    """The draws number ``run * count`` to ``(run + 1) * count - 1`` of PCG64, as unsigned integers of 64 bits.

    Raises
    ------
    ParameterError
        Where the seed is no nonnegative integer.
    """
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ParameterError(f"the seed must be a nonnegative integer, not {seed!r}")
    bits = np.random.PCG64(int(seed))
    bits.advance(run * count)
    return np.asarray(bits.random_raw(count), dtype=np.uint64)


def _signs(draws: np.ndarray, shape: Shape) -> LinearOperator:
    signs = 1.0 - 2.0 * (draws & np.uint64(1)).astype(float)
    return Diagonal(Constant(signs.reshape(shape), name="signs", copy=False))


def _shuffle(draws: np.ndarray, shape: Shape) -> LinearOperator:
    size = draws.size
    order = Permutation(Indices(np.argsort(draws, kind="stable")))
    return order if shape == (size,) else compose(Reshape((size,), shape), compose(order, Reshape(shape, (size,))))


@rule(Composed, group="diagonalise")
def diagonalise_gram_of_structured_random(product: Composed) -> LinearOperator | None:
    """A.H @ A  ->  DiagonalIn(F R, c^2 mask)     (A = c D F R structurally random)"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Adjoint(operator=StructuredRandom() as left), StructuredRandom() as right) if left is right:
            return right.diagonalised_gram if rest is None else compose(right.diagonalised_gram, rest)
    return None
