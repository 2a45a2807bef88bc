"""A map cut into blocks of measurements: the gradient of its data term as a sum, and the rest of the map around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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
from opalg.operators.row_blocks import row_blocks, rows_at, rows_of
from opalg.program.expression import Expression


@dataclass(frozen=True)
class DataBlocks:
    """``T(x) = S(x, sum_i G_i(x))``, where the ``G_i`` may be put together in bundles.

    Attributes
    ----------
    around : MapExpression
        ``S``, a map of x and of `total`.
    total : Variable
        What stands for the sum.
    whole : MapExpression
        The sum, as it stands in the map.
    bundles : tuple of tuple of int
        The blocks that are evaluated together; each block is in one of them.
    parts : tuple of MapExpression
        For each bundle the sum of its ``G_i``, gradients of the terms of one block each.
    """

    around: MapExpression
    total: Variable
    whole: MapExpression
    bundles: tuple[tuple[int, ...], ...]
    parts: tuple[MapExpression, ...]

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return sum(map(len, self.bundles))

    def bundled(self, bundles: Sequence[Sequence[int]]) -> DataBlocks:
        """The same with blocks put together in another way, which must hold each of them once."""
        chosen = tuple(tuple(int(i) for i in bundle) for bundle in bundles)
        assert sorted(i for bundle in chosen for i in bundle) == list(range(self.count))
        return replace(self, bundles=chosen, parts=_parts(self.whole, chosen))

    @property
    def entire(self) -> DataBlocks:
        """The whole sum as one single block."""
        return replace(self, bundles=((0,),), parts=(self.whole,))


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
    count = _count(target)
    singles = tuple((i,) for i in range(count))
    return DataBlocks(around, total, target, singles, _parts(target, singles))


def _count(target: MapExpression) -> int:
    """How many blocks a gradient has."""
    if not isinstance(target, AdjointMap):
        return len(summands(target))
    blocks = _blocks_of(target)
    if blocks is None:
        raise ParameterError(
            f"{target.operator!r} has no blocks of rows that opalg knows; build it with oa.vstack of its blocks, or "
            f"write the energy as a sum of terms and say of=energy"
        )
    return len(blocks)


def _parts(target: MapExpression, bundles: Sequence[tuple[int, ...]]) -> tuple[MapExpression, ...]:
    if isinstance(target, AdjointMap):
        return split(target, bundles)
    terms, found = summands(target), []
    for bundle in bundles:
        total: Any = terms[bundle[0]]
        for i in bundle[1:]:
            total = total + terms[i]
        found.append(total)
    return tuple(found)


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
            f"of=data where there are several, or where data is a sum of terms, each of which is a block"
        )
    return chosen[0]


def split(gradient: AdjointMap, bundles: Sequence[tuple[int, ...]]) -> tuple[MapExpression, ...]:
    """The gradient of a term as the gradients of bundles of its blocks of rows.

    Raises
    ------
    UnsupportedError
        Where the functional is not a sum over them.
    """
    blocks = _blocks_of(gradient)
    assert blocks is not None
    assert isinstance(gradient.inner, SlopeMap)
    term, operator = gradient.inner.term, gradient.operator
    shape = operator.out_shape
    found = []
    for bundle in bundles:
        rows = [row for i in bundle for row in range(blocks[i].start, blocks[i].stop)]
        part = blocks[bundle[0]].operator if len(bundle) == 1 else rows_of(operator, bundle)
        offset = term.expression.offset
        offset = None if offset is None else rows_at(offset, rows, len(shape))
        affine = Affine((Part(term.expression.parts[0].variable, part),), offset)
        own = SlopeMap(Term(term.weight, functional_on(term.functional, rows, shape), affine))
        found.append(AdjointMap(part, own, gradient.shape, gradient.kind))
    return tuple(found)


def _blocks_of(gradient: AdjointMap) -> Any:
    simple = isinstance(gradient.inner, SlopeMap) and len(gradient.inner.term.expression.parts) == 1
    return row_blocks(gradient.operator) if simple else None


def functional_on(functional: Functional, rows: Sequence[int], shape: tuple[int, ...]) -> Functional:
    """A sum over entries, on some rows of arrays of a shape: data for each entry are cut like the array.

    Raises
    ------
    UnsupportedError
        Where the functional is not known to be a sum over entries.
    """
    if functional.facts.separable is not YES:
        raise UnsupportedError(
            f"{functional!r} is not known to be a sum over entries, so it is not cut into blocks; write the energy as "
            f"a sum of terms, one for each block, and say of=energy"
        )
    changed: dict[str, Any] = {}
    seen: set[Any] = set()
    for field in fields(functional):  # type: ignore[arg-type]
        value = getattr(functional, field.name)
        if isinstance(value, Functional):
            changed[field.name] = functional_on(value, rows, shape)
            seen.update(walk(value))
        elif isinstance(value, Expression):
            seen.update(walk(value))
            if value.ndim >= len(shape) and value.shape[-len(shape)] > 1:
                changed[field.name] = rows_at(value, rows, len(shape))
    if any(isinstance(n, Leaf) and n.shape != () and n not in seen for n in walk(functional)):
        raise UnsupportedError(
            f"{functional!r} holds data for each entry in a way that is not cut into blocks; write the energy as a sum "
            f"of terms, one for each block, and say of=energy"
        )
    return replace(functional, **changed) if changed else functional  # type: ignore[type-var]


__all__ = ["DataBlocks", "data_blocks", "functional_on", "split"]
