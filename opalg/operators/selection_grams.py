"""Grams of operators that pick entries: masks, and diagonals with their entries put back in place."""

from __future__ import annotations

from math import prod

import numpy as np

from opalg.leaves import Constant
from opalg.operators.algebra import Adjoint, Composed, LinearOperator, Zero, compose
from opalg.operators.diagonal import Diagonal, Mask, adjacent
from opalg.operators.positions import host_array
from opalg.operators.rearrangement import Flip, Reshape, Roll, Transpose
from opalg.operators.selection import Gather, Permutation, Restrict
from opalg.operators.spectra import is_nonnegative
from opalg.operators.windows import Crop, Slice
from opalg.program import expression as ex
from opalg.rules import rule

Picking = Restrict | Crop | Slice
Selection = Picking | Gather | Permutation | Flip | Roll | Transpose | Reshape


def mask_of(picking: Picking) -> Mask:
    """The mask of the entries that an operator picks, made once for each."""
    if "_mask" not in picking.__dict__:
        kept = picking.adjoint(np.ones(picking.out_shape)) != 0
        object.__setattr__(picking, "_mask", Mask(Constant(kept, name="picked entries", copy=False)))
    return picking.__dict__["_mask"]  # type: ignore[no-any-return]


@rule(Composed, group="merge")
def merge_gram_of_selection(product: Composed) -> LinearOperator | None:
    """S.H @ S  ->  Mask     (S a restriction, crop or slice that leaves something out)"""
    a, b, rest = adjacent(product)
    if not isinstance(b, Picking) or not isinstance(a, Adjoint) or a.operator is not b:
        return None
    if prod(b.out_shape) == prod(b.in_shape):
        return None
    return mask_of(b) if rest is None else compose(mask_of(b), rest)


@rule(Composed, group="merge")
def merge_gram_of_gather(product: Composed) -> LinearOperator | None:
    """Gather.H @ Gather  ->  diag(how often each position occurs)"""
    a, b, rest = adjacent(product)
    if not isinstance(b, Gather) or not isinstance(a, Adjoint) or a.operator is not b:
        return None
    merged = Diagonal(b.multiplicity, b.shape)
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="merge")
def merge_selection_of_mask(product: Composed) -> LinearOperator | None:
    """S @ Mask -> S (the mask keeps all that S picks), 0 (it keeps nothing of that); the same for Mask @ S.H"""
    a, b, rest = adjacent(product)
    match a, b:
        case (Restrict() | Crop() | Slice() as picking, Mask() as mask):
            pass
        case (Mask() as mask, Adjoint(operator=(Restrict() | Crop() | Slice()) as picking)):
            pass
        case _:
            return None
    kept = picking.apply(host_array(mask.mask).astype(float)) != 0  # type: ignore[attr-defined]
    if kept.any() and not kept.all():
        return None
    picked = b if a is mask else a
    merged = picked if kept.all() else Zero(picked.in_shape, picked.out_shape)
    return merged if rest is None else compose(merged, rest)


@rule(Composed, group="merge")
def merge_diagonal_between_selections(product: Composed) -> LinearOperator | None:
    """S.H @ diag(d) @ S -> diag(S.H d), S.H @ Mask(m) @ S -> Mask(S.H m)     (S picks or rearranges entries)"""
    a, middle, rest = adjacent(product)
    b, tail = (rest.outer, rest.inner) if isinstance(rest, Composed) else (rest, None)
    if not isinstance(b, Selection) or a is not b.H:
        return None
    match middle:
        case Diagonal(diagonal=d) if d.shape != ():
            moved = b.trace_adjoint(ex.broadcast_to(d, middle.in_shape))
            if is_nonnegative(d) and not is_nonnegative(moved):
                return None
            merged: LinearOperator = Diagonal(moved, b.in_shape)
        case Mask(mask=m) if not isinstance(b, Gather):
            merged = Mask(Constant(b.adjoint(host_array(m).astype(float)) != 0, copy=False))
        case _:
            return None
    return merged if tail is None else compose(merged, tail)
