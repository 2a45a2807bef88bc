"""Operators cut into blocks of rows: views of a tomograph, coils, illuminations, the parts of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from opalg.leaves import Constant, Indices
from opalg.operators.algebra import Composed, LinearOperator, Scaled, compose, scale
from opalg.operators.batched import Batched
from opalg.operators.coded_diffraction import CodedDiffraction
from opalg.operators.coils import CoilSensitivities, ParallelMRI
from opalg.operators.diffraction import IntensityDiffraction
from opalg.operators.radon import Radon
from opalg.operators.stack import Stacked, vstack
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.linear import Take, Window


@dataclass(frozen=True)
class RowBlock:
    """One block of rows of an operator: the operator that gives it, and where it lies on the first axis of the result.

    Attributes
    ----------
    operator : LinearOperator
    start, stop : int
        ``operator @ x`` is ``(A @ x)[start:stop]``, counted on the first axis of ``A.out_shape``.
    """

    operator: LinearOperator
    start: int
    stop: int


@singledispatch
def row_blocks(operator: Any) -> tuple[RowBlock, ...] | None:
    """The natural blocks of rows of an operator, in order; None where it has none.

    A view of `Radon`, a coil of `ParallelMRI`, a light of `IntensityDiffraction`, a mask of `CodedDiffraction`, a part
    of ``vstack``. Multiples of such operators, and products that end in one, are cut likewise. A new operator registers
    its own way to be cut.
    """
    return None


@row_blocks.register
def _(operator: Stacked) -> tuple[RowBlock, ...]:
    found, begin = [], 0
    for part in operator.operators:
        end = begin + part.out_shape[0]
        found.append(RowBlock(part, begin, end))
        begin = end
    return tuple(found)


@row_blocks.register
def _(operator: Radon) -> tuple[RowBlock, ...]:
    return _single_rows([operator.subset(i) for i in range(len(operator.angles))])


@row_blocks.register
def _(operator: CoilSensitivities) -> tuple[RowBlock, ...] | None:
    if operator.normalise:  # what divides a map is made of all of them
        return None
    maps = operator.maps
    return _single_rows([CoilSensitivities(part_of(maps, i, i + 1)) for i in range(maps.shape[0])])


@row_blocks.register
def _(operator: ParallelMRI) -> tuple[RowBlock, ...] | None:
    if operator.coils is None or operator.normalise:
        return None
    maps = operator.coils.maps
    return _single_rows([replace(operator, maps=part_of(maps, i, i + 1)) for i in range(maps.shape[0])])


@row_blocks.register
def _(operator: IntensityDiffraction) -> tuple[RowBlock, ...]:
    lights: Any = operator.illumination
    count = lights.shape[0]
    return _single_rows([replace(operator, illumination=part_of(lights, i, i + 1)) for i in range(count)])


@row_blocks.register
def _(operator: CodedDiffraction) -> tuple[RowBlock, ...]:
    masks = operator.masks
    return _single_rows([replace(operator, masks=part_of(masks, i, i + 1)) for i in range(masks.shape[0])])


@row_blocks.register
def _(operator: Scaled) -> tuple[RowBlock, ...] | None:
    found = row_blocks(operator.operator)
    return found and tuple(replace(b, operator=scale(operator.factor, b.operator)) for b in found)


@row_blocks.register
def _(operator: Composed) -> tuple[RowBlock, ...] | None:
    found = row_blocks(operator.outer)
    return found and tuple(replace(b, operator=compose(b.operator, operator.inner)) for b in found)


@row_blocks.register
def _(operator: Batched) -> None:
    return None  # its first axis counts samples


@singledispatch
def rows_of(operator: Any, numbers: Sequence[int]) -> LinearOperator:
    """Some of the blocks of rows of an operator as one operator, in the order given.

    By default a stack of them. An operator that does several at once at less cost registers how.
    """
    blocks = row_blocks(operator)
    assert blocks is not None
    return vstack([blocks[i].operator for i in numbers])


@rows_of.register
def _(operator: Radon, numbers: Sequence[int]) -> LinearOperator:
    return operator.subset(list(numbers))


@rows_of.register
def _(operator: ParallelMRI, numbers: Sequence[int]) -> LinearOperator:
    return replace(operator, maps=rows_at(operator.maps, numbers))


@rows_of.register
def _(operator: CoilSensitivities, numbers: Sequence[int]) -> LinearOperator:
    return CoilSensitivities(rows_at(operator.maps, numbers))


@rows_of.register
def _(operator: IntensityDiffraction, numbers: Sequence[int]) -> LinearOperator:
    return replace(operator, illumination=rows_at(operator.illumination, numbers))


@rows_of.register
def _(operator: CodedDiffraction, numbers: Sequence[int]) -> LinearOperator:
    return replace(operator, masks=rows_at(operator.masks, numbers))


@rows_of.register
def _(operator: Scaled, numbers: Sequence[int]) -> LinearOperator:
    return scale(operator.factor, rows_of(operator.operator, numbers))


@rows_of.register
def _(operator: Composed, numbers: Sequence[int]) -> LinearOperator:
    return compose(rows_of(operator.outer, numbers), operator.inner)


def rows_at(data: Expression, rows: Sequence[int], axes: int | None = None) -> Expression:
    """Some entries, in order, on an axis of data: the first one, or the first of the last ``axes`` axes."""
    ndim, places = data.ndim if axes is None else axes, np.asarray(rows)
    if np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return part_of(data, int(places[0]), int(places[-1]) + 1, axes)
    if isinstance(data, Constant) and ndim == data.ndim:
        return Constant(data.value[list(rows)])
    return ex.Apply(Take(data.shape[data.ndim - ndim :], Indices(places), -ndim), data)


def part_of(data: Expression, start: int, stop: int, axes: int | None = None) -> Expression:
    """A range of entries on an axis of data: the first one, or the first of the last ``axes`` axes."""
    ndim = data.ndim if axes is None else axes
    if isinstance(data, Constant) and ndim == data.ndim:
        return Constant(data.value[start:stop])
    trailing = data.shape[data.ndim - ndim :]
    return ex.Apply(Window(trailing, (start,) + (0,) * (ndim - 1), (stop, *trailing[1:])), data)


def _single_rows(operators: list[Any]) -> tuple[RowBlock, ...]:
    return tuple(RowBlock(o, i, i + 1) for i, o in enumerate(operators))


__all__ = ["RowBlock", "part_of", "row_blocks", "rows_at", "rows_of"]
