"""Rules of joined operators: products block by block, scalars taken out, stacks in stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opalg.operators.algebra import (
    Added,
    Adjoint,
    Composed,
    Identity,
    LinearOperator,
    Scaled,
    Zero,
    add,
    alike_in_kind,
    compose,
    joins,
    scale,
)
from opalg.operators.block import BlockDiagonal, BlockMatrix, block, block_diag
from opalg.operators.diagonal import adjacent
from opalg.operators.stack import Stacked, vstack
from opalg.program.expression import Shape
from opalg.rules import rule

Cells = list[list[LinearOperator]]


def _cells(operator: LinearOperator) -> Cells | None:
    """An operator on joined arrays as rows of columns, with zeros where there is no block."""
    match operator:
        case Stacked(operators=many):
            return [[o] for o in many]
        case Adjoint(operator=Stacked(operators=many)):
            return [[o.H for o in many]]
        case BlockDiagonal(operators=many):
            pairs = enumerate(many)  # type: ignore[arg-type]
            return [[a if i == j else Zero(b.in_shape, a.out_shape) for j, b in enumerate(many)] for i, a in pairs]
        case BlockMatrix():
            return [list(row) for row in operator.rows]
    return None


def _count(cells: Cells) -> int:
    return sum(not isinstance(o, Zero) for row in cells for o in row)


@rule(LinearOperator, group="simplify")
def simplify_blocks(operator: LinearOperator) -> LinearOperator | None:
    """vstack(vstack(A, B), C) -> vstack(A, B, C), block_diag(I, I) -> I, block([[A, 0], [0, B]]) -> block_diag(A, B)"""
    match operator:
        case Stacked(operators=many) if any(isinstance(o, Stacked) for o in many):
            return vstack([p for o in many for p in (o.operators if isinstance(o, Stacked) else (o,))])
        case BlockDiagonal(operators=many):
            return block_diag([p for o in many for p in (o.operators if isinstance(o, BlockDiagonal) else (o,))])
        case BlockMatrix():
            return block(operator.rows)
    return None


@rule(Composed, group="simplify")
def product_of_blocks(product: Composed) -> LinearOperator | None:
    """block(A) @ block(B)  ->  block(sum_k A_ik @ B_kj)     (stacks and diagonals too; no block is applied twice)"""
    a, b, rest = adjacent(product)
    left, right = _cells(a), _cells(b)
    if left is None or right is None or len(left) == len(right[0]) == 1:  # the latter is `product_of_stacks`
        return None
    if [o.in_shape for o in left[0]] != [row[0].out_shape for row in right]:
        return None
    columns = list(zip(*right, strict=True))
    products = [[_held(row, column) for column in columns] for row in left]
    if 2 * sum(len(p) for row in products for p in row) > _count(left) + _count(right):
        return None
    if not all(joins(p, q) for row in products for pairs in row for p, q in pairs):
        return None
    merged = block(
        [
            [_total(p, row[0].out_shape, column[0].in_shape) for p, column in zip(found, columns, strict=True)]
            for row, found in zip(left, products, strict=True)
        ]
    )
    if not alike_in_kind(merged, compose(a, b)):
        return None
    return merged if rest is None else compose(merged, rest)


Pairs = list[tuple[LinearOperator, LinearOperator]]


def _held(row: Sequence[LinearOperator], column: Sequence[LinearOperator]) -> Pairs:
    """The factors of the products that are not zero."""
    pairs = zip(row, column, strict=True)
    return [(a, b) for a, b in pairs if not isinstance(a, Zero) and not isinstance(b, Zero)]


def _total(pairs: Pairs, out_shape: Shape, in_shape: Shape) -> LinearOperator:
    return add(*(compose(a, b) for a, b in pairs)) if pairs else Zero(in_shape, out_shape)


@rule(Added, group="simplify")
def sum_of_block_diagonals(total: Added) -> LinearOperator | None:
    """block_diag(A, B) + block_diag(C, D) + c I  ->  block_diag(A + C + c I, B + D + c I)     (shapes alike)"""
    first = next((o for o in total.operators if isinstance(o, BlockDiagonal)), None)
    if first is None:
        return None
    cut = {o: found for o in total.operators if (found := _blocks_like(first, o)) is not None}
    if len(cut) < 2:
        return None
    merged = block_diag([add(*blocks) for blocks in zip(*cut.values(), strict=True)])
    if not alike_in_kind(merged, add(*cut)):
        return None
    return add(merged, *(o for o in total.operators if o not in cut))


def _blocks_like(pattern: BlockDiagonal, operator: LinearOperator) -> list[LinearOperator] | None:
    """The blocks of a block diagonal, or of a multiple of the identity, where they have the shapes of a pattern's."""
    factor, inner = (operator.factor, operator.operator) if isinstance(operator, Scaled) else (None, operator)
    shapes = [(o.in_shape, o.out_shape) for o in pattern.operators]
    match inner:
        case Identity() if all(before == after for before, after in shapes):
            blocks: list[LinearOperator] = [Identity(before) for before, _ in shapes]
        case BlockDiagonal(operators=many) if [(o.in_shape, o.out_shape) for o in many] == shapes:
            blocks = list(many)
        case _:
            return None
    return blocks if factor is None else [scale(factor, o) for o in blocks]


@rule(LinearOperator, group="simplify")
def common_scalar_of_blocks(operator: LinearOperator) -> LinearOperator | None:
    """block(c A_ij)  ->  c block(A_ij)     (stacks and diagonals of blocks too)"""
    if not isinstance(operator, (Stacked, BlockDiagonal, BlockMatrix)):
        return None
    blocks = [o for o in operator.operators if not isinstance(o, Zero)]
    factors = [o.factor if isinstance(o, Scaled) else None for o in blocks]
    if not factors or factors[0] is None or any(f is not factors[0] for f in factors):
        return None
    plain = tuple(o.operator if isinstance(o, Scaled) else o for o in operator.operators)
    return scale(factors[0], replace(operator, operators=plain))
