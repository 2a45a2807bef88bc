"""A map cut into blocks of measurements: the gradient of its data term as a sum, and the rest of the map around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opalg.energies.affine import Affine, Part, Variable
from opalg.energies.energy import EnergyExpression, Term
from opalg.energies.gradient_map import AdjointMap, SlopeMap, grad
from opalg.energies.maps import AffineMap, MapExpression, SummedMap
from opalg.errors import ParameterError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.calculus import Functional
from opalg.leaves import Leaf
from opalg.nodes import substitute, walk
from opalg.operators.row_blocks import part_of, row_blocks


@dataclass(frozen=True)
class DataBlocks:
    """``T(x) = S(x, sum_i G_i(x))``.

    Attributes
    ----------
    around : MapExpression
        ``S``, a map of x and of `total`.
    total : Variable
        What stands for the sum.
    blocks : tuple of MapExpression
        The ``G_i``, gradients of the terms of one block each.
    """

    around: MapExpression
    total: Variable
    blocks: tuple[MapExpression, ...]


def data_blocks(expression: MapExpression, variable: Variable, of: EnergyExpression | None = None) -> DataBlocks:
    """Cut the gradient of a data term out of a map, block by block.

    Parameters
    ----------
    expression : MapExpression
        With the data term's gradient made by `opalg.grad`.
    variable : Variable
        The x.
    of : Energy or Term, optional
        Whose gradient it is: a term with an operator that has blocks of rows, or a sum of terms, which are the blocks.
        By default the one gradient in the map whose operator has blocks of rows.

    Raises
    ------
    ParameterError
        Where there is no such gradient in the map, or more than one.
    UnsupportedError
        Where a functional is not a sum over the blocks of its argument.
    """
    total = Variable(variable.shape, "the data's gradient", variable.dtype)
    target = _only_gradient(expression) if of is None else grad(of, variable)
    if not any(n is target for n in walk(expression)):
        raise ParameterError(f"the map does not hold the gradient of {of!r}; write it as oa.grad(...) of that energy")
    around = substitute(expression, {target: AffineMap(total.as_affine())})
    blocks = split(target) if isinstance(target, AdjointMap) else tuple(summands(target))
    return DataBlocks(around, total, blocks)


def summands(expression: MapExpression) -> list[MapExpression]:
    """What a map adds up, in order."""
    if isinstance(expression, SummedMap):
        return [*summands(expression.first), *summands(expression.second)]
    return [expression]


def _only_gradient(expression: MapExpression) -> AdjointMap:
    chosen = [n for n in walk(expression) if isinstance(n, AdjointMap) and _blocks_of(n) is not None]
    if len(chosen) != 1:
        raise ParameterError(
            f"the map has {len(chosen)} gradients of terms whose operators have blocks of rows, not one; write that of "
            f"the data term as oa.grad(data), with a Radon, ParallelMRI, vstack, ... in the energy data, and say "
            f"of=data where there are several"
        )
    return chosen[0]


def split(gradient: AdjointMap) -> tuple[MapExpression, ...]:
    """The gradient of a term as the gradients of its blocks of rows.

    Raises
    ------
    ParameterError
        Where the operator has none.
    UnsupportedError
        Where the functional is not a sum over them.
    """
    blocks = _blocks_of(gradient)
    if blocks is None:
        raise ParameterError(
            f"{gradient.operator!r} has no blocks of rows that opalg knows; build it with oa.vstack of its blocks, or "
            f"write the energy as a sum of terms and say of=energy"
        )
    assert isinstance(gradient.inner, SlopeMap)
    term = gradient.inner.term
    _check_separable(term.functional)
    axes = len(gradient.operator.out_shape)
    found = []
    for block in blocks:
        offset = term.expression.offset
        offset = None if offset is None else part_of(offset, block.start, block.stop, axes)
        affine = Affine((Part(term.expression.parts[0].variable, block.operator),), offset)
        own = SlopeMap(Term(term.weight, term.functional, affine))
        found.append(AdjointMap(block.operator, own, gradient.shape, gradient.kind))
    return tuple(found)


def _blocks_of(gradient: AdjointMap) -> Any:
    simple = isinstance(gradient.inner, SlopeMap) and len(gradient.inner.term.expression.parts) == 1
    return row_blocks(gradient.operator) if simple else None


def _check_separable(functional: Functional) -> None:
    shared = [n for n in walk(functional) if isinstance(n, Leaf) and n.shape != ()]
    if functional.facts.separable is not YES or shared:
        why = "has data for each entry" if shared else "is not known to be a sum over entries"
        raise UnsupportedError(
            f"{functional!r} {why}, so it is not cut into blocks; use oa.sum_squares without weights, or write the "
            f"energy as a sum of terms, one for each block"
        )


__all__ = ["DataBlocks", "data_blocks", "split"]
