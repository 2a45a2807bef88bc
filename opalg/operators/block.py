"""Operators on arrays that are joined along their first axis: block diagonals and matrices of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, Bound, Fact
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, Together, Zero, as_operators
from opalg.operators.diagonal import Diagonal
from opalg.operators.kinds import (
    adjoint_part,
    embedded,
    forward_part,
    restricted,
)
from opalg.operators.knowledge import Facts, lowest_known
from opalg.operators.matrix import DenseMatrix
from opalg.operators.stack import cut, hstack, least_certain, vstack
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Join, Literal, Shape

Grid = tuple[tuple[LinearOperator, ...], ...]


def _joined(shapes: Sequence[Shape]) -> Shape:
    return (sum(s[0] for s in shapes), *shapes[0][1:])


def _largest_of(operators: Sequence[LinearOperator], in_kind: str) -> Bound | None:
    """The largest norm of operators of which each has its own part of an array; None where one is not known."""
    known = [b for o in operators if (b := o.facts.norm) is not None]
    if len(known) < len(operators):
        return None
    out = known[0].expression
    for bound in known[1:]:
        out = out if bound.expression is out else ex.maximum(out, bound.expression)
    certainty = least_certain(known)
    inexact = certainty == "exact" and any(restricted(o, in_kind) for o in operators)
    return Bound(out, "upper" if inexact else certainty)


def _same(scales: Sequence[Expression | None]) -> Expression | None:
    """A scale that all have in common."""
    return scales[0] if all(s is scales[0] for s in scales) else None


def _all(facts: Sequence[Fact]) -> Fact:
    return YES if all(f is YES for f in facts) else UNKNOWN


@node
class BlockDiagonal(Together):
    """Operators that act each on their own piece of the first axis, ``(B x)_i = A_i x_i`` (``block_diag``).

    Notes
    -----
    ``B.H``, the inverse and the gram are those of the blocks; ``||B|| = max_i ||A_i||``, exact where each is.
    """

    operators: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return _joined([o.in_shape for o in self.operators])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return _joined([o.out_shape for o in self.operators])

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        parts = cut(x, self.in_shape, [o.in_shape[0] for o in self.operators])
        images = tuple(forward_part(o, part) for o, part in zip(self.operators, parts, strict=True))
        return Join(images, -len(self.out_shape))

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        parts = cut(y, self.out_shape, [o.out_shape[0] for o in self.operators])
        kind = self.in_kind
        pulled = tuple(adjoint_part(o, part, kind) for o, part in zip(self.operators, parts, strict=True))
        return Join(pulled, -len(self.in_shape))

    @property
    def facts(self) -> Facts:
        each = [o.facts for o in self.operators]
        lows = [lowest_known(f) for f in each]
        self_adjoint = _all([f.self_adjoint for f in each])
        lowest = lows[0]
        for low in lows[1:]:
            lowest = None if lowest is None or low is None else lowest if low is lowest else ex.minimum(lowest, low)
        return Facts(
            diagonal=_all([f.diagonal for f in each]),
            self_adjoint=self_adjoint,
            positive=_all([f.positive for f in each]),
            gram_scale=_same([f.gram_scale for f in each]),
            cogram_scale=None if embedded(self.operators) else _same([f.cogram_scale for f in each]),
            norm=_largest_of(self.operators, self.in_kind),
            lowest=lowest if self_adjoint is YES else None,
        )

    @property
    def H(self) -> LinearOperator:
        return BlockDiagonal(tuple(o.H for o in self.operators)) if self._plain else super().H

    @property
    def _plain(self) -> bool:
        """Whether the adjoint of each block takes and gives the kinds that the whole does."""
        return len({(o.in_kind, o.out_dtype) for o in self.operators}) == 1

    def conj(self) -> LinearOperator:
        return BlockDiagonal(tuple(o.conj() for o in self.operators))

    def inverse(self) -> LinearOperator:
        """The inverses of the blocks.

        Raises
        ------
        UnsupportedError
            Where a block has no cheap one, or real and complex arrays are mixed.
        """
        _refuse_mixed(self, self.operators)
        return BlockDiagonal(tuple(o.inverse() for o in self.operators))

    def pinv(self, cutoff: float = 1e-12) -> LinearOperator:
        """The pseudo-inverses of the blocks, where none of them alone takes or gives real arrays only."""
        _refuse_mixed(self, self.operators)
        return BlockDiagonal(tuple(o.pinv(cutoff) for o in self.operators))

    def __repr__(self) -> str:
        return f"block_diag([{', '.join(map(repr, self.operators))}])"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        m = DenseMatrix(rng.standard_normal((3, 2)))
        z = Diagonal(rng.standard_normal(2) + 1j * rng.standard_normal(2))
        weights = Parameter(rng.random(2), name="weights", nonneg=True)
        return [
            BlockDiagonal((m, Diagonal(rng.standard_normal(2)))),
            BlockDiagonal((m, z)),
            BlockDiagonal((Diagonal(weights), 2.0 * Identity((3,)))),
            BlockDiagonal((-1.0 * Identity((1, 2)), Identity((2, 2)))),
        ]


def _refuse_mixed(operator: LinearOperator, blocks: Sequence[LinearOperator]) -> None:
    if len({(o.in_kind == "real", o.out_dtype == "real") for o in blocks}) > 1:
        raise UnsupportedError(
            f"no cheap inverse of {operator!r} is known, since some of its blocks take or give real arrays only"
        )


@node
class BlockMatrix(Together):
    """A matrix of operators, ``(B x)_i = sum_j A_ij x_j`` on pieces of the first axis (``block``).

    Attributes
    ----------
    operators : tuple of LinearOperator
        The blocks row by row, `Zero` where there is none.
    columns : int
        How many there are in a row.

    Notes
    -----
    With ``n_ij = ||A_ij||``: ``||B||^2 <= min(sum n_ij^2, max_i sum_j n_ij max_j sum_i n_ij)`` (Frobenius and Schur for
    the matrix of norms); the largest ``n_ij``, exact where that is, where no row and no column holds two blocks.
    """

    operators: tuple[LinearOperator, ...]
    columns: int

    @property
    def rows(self) -> Grid:
        """The blocks as rows of columns."""
        n = self.columns
        return tuple(self.operators[i : i + n] for i in range(0, len(self.operators), n))

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]
        return _joined([o.in_shape for o in self.rows[0]])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]
        return _joined([row[0].out_shape for row in self.rows])

    @property
    def _blocks(self) -> list[LinearOperator]:
        return [o for o in self.operators if not isinstance(o, Zero)]

    def trace(self, x: Expression) -> Expression:
        ex.batch_shape(x.shape, self.in_shape, self)
        parts = cut(x, self.in_shape, [o.in_shape[0] for o in self.rows[0]])
        images = []
        for row in self.rows:
            held = [(o, part) for o, part in zip(row, parts, strict=True) if not isinstance(o, Zero)]
            images.append(sum_of([forward_part(o, part) for o, part in held or [(row[0], parts[0])]]))
        return Join(tuple(images), -len(self.out_shape))

    def trace_adjoint(self, y: Expression) -> Expression:
        ex.batch_shape(y.shape, self.out_shape, self)
        parts = cut(y, self.out_shape, [row[0].out_shape[0] for row in self.rows])
        pulled, kind = [], self.in_kind
        for column in zip(*self.rows, strict=True):
            held = [(o, part) for o, part in zip(column, parts, strict=True) if not isinstance(o, Zero)]
            pulled.append(sum_of([adjoint_part(o, part, kind) for o, part in held or [(column[0], parts[0])]]))
        return Join(tuple(pulled), -len(self.in_shape))

    @property
    def facts(self) -> Facts:
        rows = self.rows
        square = len(rows) == self.columns and self.in_shape == self.out_shape
        mirrored = square and all(
            rows[j][i] is (Zero(o.out_shape, o.in_shape) if isinstance(o, Zero) else o.H)
            for i, row in enumerate(rows)
            for j, o in enumerate(row)
        )
        scattered = self._scattered()
        full = scattered == "both" and not embedded(self._blocks)
        return Facts(
            self_adjoint=YES if mirrored else UNKNOWN,
            gram_scale=_same([o.facts.gram_scale for o in self._blocks]) if scattered == "both" else None,
            cogram_scale=_same([o.facts.cogram_scale for o in self._blocks]) if full else None,
            norm=_largest_of(self._blocks, self.in_kind) if scattered else self._norm(),
        )

    def _scattered(self) -> str:
        """``"both"`` where each row and column holds one block, ``"apart"`` where none holds two, else nothing."""
        held = [[not isinstance(o, Zero) for o in row] for row in self.rows]
        counts = [sum(line) for line in (*held, *zip(*held, strict=True))]
        return "both" if set(counts) == {1} else "apart" if counts and max(counts) == 1 else ""

    def _norm(self) -> Bound | None:
        bounds = [o.facts.norm for o in self._blocks]
        if any(b is None for b in bounds):
            return None
        zero = Literal(0.0)
        norms = [[o.facts.norm.expression if o.facts.norm else zero for o in row] for row in self.rows]
        across = _tallest([sum_of(row) for row in norms]) * _tallest([sum_of(c) for c in zip(*norms, strict=True)])
        squares = sum_of([ex.square(n) for row in norms for n in row])
        worst = least_certain([b for b in bounds if b is not None])
        return Bound(ex.sqrt(ex.minimum(squares, across)), "upper" if worst == "exact" else worst)

    @property
    def H(self) -> LinearOperator:
        if len({(o.in_kind, o.out_dtype) for o in self._blocks}) > 1:
            return super().H
        columns = [[o.H for o in column] for column in zip(*self.rows, strict=True)]
        return BlockMatrix(tuple(o for row in columns for o in row), len(self.rows))

    def conj(self) -> LinearOperator:
        return BlockMatrix(tuple(o if isinstance(o, Zero) else o.conj() for o in self.operators), self.columns)

    def inverse(self) -> LinearOperator:
        """The inverses of the blocks in the transposed places, where each row and column holds one block.

        Raises
        ------
        UnsupportedError
            For other patterns, and where a block has no cheap inverse.
        """
        if self._scattered() != "both":
            return super().inverse()
        _refuse_mixed(self, self._blocks)
        columns = [
            [Zero(o.out_shape, o.in_shape) if isinstance(o, Zero) else o.inverse() for o in column]
            for column in zip(*self.rows, strict=True)
        ]
        return BlockMatrix(tuple(o for row in columns for o in row), len(self.rows))

    def __repr__(self) -> str:
        rows = [", ".join("0" if isinstance(o, Zero) else repr(o) for o in row) for row in self.rows]
        return f"block([{', '.join(f'[{row}]' for row in rows)}])"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[LinearOperator]:
        """Random members for the property tests."""
        m = DenseMatrix(rng.standard_normal((3, 2)))
        d, z = Diagonal(rng.standard_normal(2)), Diagonal(rng.standard_normal(2) * (1 - 2j))
        big = Diagonal(rng.standard_normal(3))
        return [
            block([[m, big], [d, None]]),
            block([[d, z], [None, d]]),
            block([[d, m.H], [m, big]]),
            block([[None, d], [-2.0 * Identity((2,)), 0]]),
            block([[None, 2.0 * Identity((1,))], [-2.0 * Identity((2,)), None]]),
        ]


def _tallest(values: Sequence[Expression]) -> Expression:
    out = values[0]
    for value in values[1:]:
        out = ex.maximum(out, value)
    return out


def block_diag(operators: Any) -> LinearOperator:
    """Operators side by side on a joined array: ``(B x)_i = A_i x_i``.

    Parameters
    ----------
    operators : sequence of LinearOperator
        Their inputs, and their outputs, may differ in the first axis only; along it they are joined.

    Returns
    -------
    LinearOperator
        A `BlockDiagonal`; the identity or zero where all blocks are.

    Raises
    ------
    ShapeError
        Where shapes differ behind the first axis, or there is no such axis.

    Notes
    -----
    ``B.H = block_diag([A_1.H, A_2.H, ...])``, ``||B|| = max_i ||A_i||``, and so for inverses and grams.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> B = oa.block_diag([2.0 * oa.Identity((2,)), oa.Matrix(np.array([[1.0, 1.0]]))])
    >>> B @ np.array([1.0, 2.0, 3.0, 4.0])
    array([2., 4., 7.])
    >>> B.norm_bound()
    2 (upper)
    """
    blocks = as_operators(operators, "block_diag")
    first = blocks[0]
    for other in blocks:
        shapes = ((other.in_shape, first.in_shape), (other.out_shape, first.out_shape))
        if any(not own or own[1:] != wanted[1:] for own, wanted in shapes):
            raise ShapeError(
                f"block_diag joins arrays along their first axis, but {first!r} maps {first.in_shape} to "
                f"{first.out_shape} and {other!r} maps {other.in_shape} to {other.out_shape}"
            )
    if all(isinstance(o, Identity) for o in blocks):
        return Identity(_joined([o.in_shape for o in blocks]))
    if all(isinstance(o, Zero) for o in blocks):
        return Zero(_joined([o.in_shape for o in blocks]), _joined([o.out_shape for o in blocks]))
    return first if len(blocks) == 1 else BlockDiagonal(blocks)


def block(rows: Any) -> LinearOperator:
    """A matrix of operators: ``(B x)_i = sum_j A_ij x_j`` on pieces of the first axis.

    Parameters
    ----------
    rows : sequence of sequences of LinearOperator, None or 0
        Rows of columns. None and 0 leave a block out; each row and each column needs one operator, which gives its
        size.

    Returns
    -------
    LinearOperator
        A `BlockMatrix`, or what is simpler: `hstack` of one row, `vstack` of one column, `block_diag` where only the
        diagonal is there.

    Raises
    ------
    ShapeError
        Where rows differ in length, blocks of a row in their outputs, those of a column in their inputs, or a size is
        not told.

    Notes
    -----
    ``(B.H y)_j = sum_i A_ij.H y_i``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> eye = oa.Identity((2,))
    >>> oa.block([[eye, 2.0 * eye], [None, eye]]) @ np.array([1.0, 2.0, 3.0, 4.0])
    array([ 7., 10.,  3.,  4.])
    """
    if isinstance(rows, LinearOperator) or any(isinstance(row, LinearOperator) for row in rows):
        raise ParameterError(
            "block takes rows of operators, as in [[A, B], [C, None]]; use vstack or hstack for one list"
        )
    table = [list(row) for row in rows]
    if not table or not table[0] or any(len(row) != len(table[0]) for row in table):
        raise ShapeError(f"block takes rows of the same length, but was given rows of {[len(row) for row in table]}")
    filled = _filled(table)
    if len(filled) == 1:
        return hstack(filled[0])
    if len(filled[0]) == 1:
        return vstack([row[0] for row in filled])
    off = [o for i, row in enumerate(filled) for j, o in enumerate(row) if i != j]
    if len(filled) == len(filled[0]) and all(isinstance(o, Zero) for o in off):
        return block_diag([filled[i][i] for i in range(len(filled))])
    return BlockMatrix(tuple(o for row in filled for o in row), len(filled[0]))


def _filled(table: list[list[Any]]) -> list[list[LinearOperator]]:
    """The table with zeros of the right shapes where nothing stands."""
    for i, row in enumerate(table):
        for j, entry in enumerate(row):
            empty = entry is None or (isinstance(entry, (int, float)) and entry == 0)
            if not empty and not isinstance(entry, LinearOperator):
                raise ShapeError(
                    f"block {i, j} must be an operator, None or 0, not {type(entry).__name__}; write oa.Matrix(M) for "
                    f"a matrix"
                )
            table[i][j] = None if empty else entry
    height = [_told([o.out_shape for o in row if o is not None], f"row {i}") for i, row in enumerate(table)]
    columns = list(zip(*table, strict=True))
    width = [_told([o.in_shape for o in column if o is not None], f"column {j}") for j, column in enumerate(columns)]
    for shapes, words in ((height, "outputs"), (width, "inputs")):
        if any(not s for s in shapes) or any(a[1:] != b[1:] for a, b in pairwise(shapes)):
            raise ShapeError(f"block joins {words} along their first axis, but they have the shapes {shapes}")
    return [[Zero(width[j], height[i]) if o is None else o for j, o in enumerate(row)] for i, row in enumerate(table)]


def _told(shapes: list[Shape], where: str) -> Shape:
    if not shapes:
        raise ShapeError(f"{where} of block holds no operator, so its size is not known; put Zero(in, out) there")
    if len(set(shapes)) > 1:
        raise ShapeError(f"{where} of block holds operators of different shapes: {shapes}")
    return shapes[0]
