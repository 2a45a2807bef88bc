"""The null space of the inactive rows of all split terms together, in the cheapest way that their operators allow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import prod
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from opalg.arrays import backend
from opalg.emit import BoundFunction, Function
from opalg.implicit.active import Active
from opalg.implicit.null_space import (
    ComponentNullSpace,
    CoordinateNullSpace,
    DenseNullSpace,
    NullSpace,
    TightFrameNullSpace,
)
from opalg.implicit.programs import Programs
from opalg.implicit.row_structure import RowStructure, row_structure
from opalg.implicit.system import Optimality, SplitTerm
from opalg.iterations import VectorSpace
from opalg.leaves import Parameter
from opalg.nodes import walk
from opalg.program.expression import Input

SMALL = 600  # unknowns up to which a singular value decomposition finds the null space of any rows
ENTRIES = 4_000_000  # of the matrix that is decomposed


class HeldRows(NullSpace):
    """The null space of the inactive rows, with right-hand sides and multipliers given for all rows.

    Parameters
    ----------
    null_space : NullSpace
        Of the inactive rows.
    inactive : array of int
        Their positions among all packed rows.
    rows : int
        How many packed rows there are.
    """

    def __init__(self, null_space: NullSpace, inactive: np.ndarray, rows: int) -> None:
        self._inner, self.lib = null_space, null_space.lib
        self.size, self.rows = null_space.size, rows
        self.dimension, self.unique, self.exact = null_space.dimension, null_space.unique, null_space.exact
        self.labels = null_space.labels
        self._places = self.lib.indices(inactive)

    def project(self, flat: Any) -> Any:
        return self._inner.project(flat)

    def particular(self, d: Any) -> Any:
        return self._inner.particular(self.lib.take(d, self._places, -1))

    def multipliers(self, rho: Any) -> Any:
        return self.lib.add_at(self._inner.multipliers(rho), self._places, self.rows, -1, False)


class Constraints:
    """Finds the null space of the inactive rows of an equation's split terms.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
    bind : callable
        ``(function, controls) -> BoundFunction`` at the parameter values of the solve, for functions on any library.
    cache : dict
        What holds for all solutions of a plan.
    """

    def __init__(
        self,
        equation: Optimality,
        programs: Programs,
        bind: Callable[[Function, dict[Input, float]], BoundFunction],
        cache: dict[Hashable, Any],
    ) -> None:
        self.equation, self.programs, self.lib = equation, programs, programs.lib
        self._bind, self._cache = bind, cache
        self._own: dict[Hashable, Any] = {}
        self.space = VectorSpace([x.shape for x in equation.x], [x.kind for x in equation.x], self.lib)
        self.rows = VectorSpace([v.shape for v in equation.v], [v.kind for v in equation.v], self.lib)

    def null_space(self, active: Active) -> NullSpace | None:
        """The null space; None where no way is known that projects onto it cheaply."""
        masks = [self.lib.to_numpy(m) != 0 for m in active.masks]
        inactive = np.flatnonzero(~self._packed_rows(masks))
        found = self._by_structure(inactive) or self._by_frame(inactive) or self._by_decomposition(inactive)
        return None if found is None else HeldRows(found, inactive, self.rows.size)

    def sparse_rows(self) -> csr_array | None:
        """All packed rows as a sparse matrix; None where their entries are not known and there are too many."""
        stacked = self._stacked()
        if stacked is not None:
            found: csr_array = self._kept("sparse", self.equation.split, stacked.matrix)
            return found
        if self.space.size > SMALL or self.space.size * self.rows.size > ENTRIES:
            return None
        return csr_array(self._kept("matrix", self.equation.split, self._matrix))

    def _stacked(self) -> RowStructure | None:
        """The structure of all packed rows; None where one term's rows have none."""
        parts = [self._structure(i) for i in range(len(self.equation.split))]
        known = [p for p in parts if p is not None]
        if len(known) < len(parts):
            return None
        ordered = sorted(range(len(known)), key=lambda i: self.rows.range_of(i))
        found: RowStructure = self._kept(
            "stacked", self.equation.split, lambda: RowStructure.stack([known[i] for i in ordered])
        )
        return found

    def _by_structure(self, inactive: np.ndarray) -> NullSpace | None:
        stacked = self._stacked()
        if stacked is None:
            return None
        chosen = stacked.select(inactive)
        return (CoordinateNullSpace if chosen.single else ComponentNullSpace)(chosen, self.lib)

    def _by_frame(self, inactive: np.ndarray) -> NullSpace | None:
        """For one operator with ``K K^T = s I``."""
        if len(self.equation.split) != 1 or self.equation.split[0].direct:
            return None
        (split,) = self.equation.split
        parts = split.term.expression.parts
        if len(parts) != 1 or len(self.equation.variables) != 1 or parts[0].kind != parts[0].variable.kind:
            return None
        scale = parts[0].operator.facts.cogram_scale
        if scale is None:
            return None
        (number,) = self.programs("frame", lambda: ([scale], []))
        forward = self.programs.bound("forward", lambda: (self.equation.forward(self.equation.x), self.equation.x))
        back = self.programs.bound("back", lambda: (self.equation.back(self.equation.v), self.equation.v))
        return TightFrameNullSpace(
            lambda w: self.rows.pack(forward(*self.space.unpack(w))),
            lambda p: self.space.pack(back(*self.rows.unpack(p))),
            float(self.lib.item(number).real if hasattr(number, "dtype") else number),
            inactive,
            self.rows.size,
            self.space.size,
            self.lib,
        )

    def _by_decomposition(self, inactive: np.ndarray) -> NullSpace | None:
        if self.space.size > SMALL or self.space.size * self.rows.size > ENTRIES:
            return None
        matrix = self._kept("matrix", self.equation.split, self._matrix)
        return DenseNullSpace(matrix[inactive], self.lib)

    # What is known of the rows.

    def _structure(self, i: int) -> RowStructure | None:
        """The rows of one split term, in packed positions; None where they are no coordinates or differences."""
        split = self.equation.split[i]
        found: RowStructure | None = self._kept(("structure", i), [split], lambda: self._probed(split))
        return found

    def _probed(self, split: SplitTerm) -> RowStructure | None:
        kinds = {x.kind for x in self._inputs_of(split)}
        if kinds != {split.v.kind}:
            return None
        sizes = [prod(x.shape) for x in self.equation.x]
        if split.direct:
            own = self.equation.variables.index(split.variable)
            places = sum(sizes[:own]) + np.arange(sizes[own])
            nothing = np.full(len(places), -1)
            entries = RowStructure(places, nothing, np.ones(len(places)), sum(sizes))
        else:
            probed = row_structure(self._on_host(split, sizes), sum(sizes))
            if probed is None:
                return None
            entries = probed
        return self._packed(entries, sizes, split.v.kind)

    def _inputs_of(self, split: SplitTerm) -> list[Input]:
        involved = {p.variable for p in split.term.expression.parts}
        return [x for x, v in zip(self.equation.x, self.equation.variables, strict=True) if v in involved]

    def _on_host(self, split: SplitTerm, sizes: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
        """``K`` from flat entries of all variables to flat entries, in double precision; NaN where it is not real."""
        host = backend("numpy", "float64", None)
        function = Function([split.forward(self.equation.by_variable(self.equation.x))], self.equation.x, host)
        bound = self._bind(function, {})
        ends = np.cumsum(sizes)[:-1]

        def apply(flat: np.ndarray) -> np.ndarray:
            parts = np.split(flat, ends)
            arrays = [host.asarray(p.reshape(x.shape), x.kind) for p, x in zip(parts, self.equation.x, strict=True)]
            out = np.ravel(bound(*arrays)[0])
            if np.iscomplexobj(out):
                return np.where(out.imag == 0, out.real, np.nan)
            return out

        return apply

    def _packed(self, entries: RowStructure, sizes: Sequence[int], kind: str) -> RowStructure:
        """Rows in entries as rows in the packed real form, where a complex entry is a pair."""
        widths = np.repeat([2 if x.kind == "complex" else 1 for x in self.equation.x], sizes)
        begins = np.concatenate([self._begin(k) + w * np.arange(n) for k, (n, w) in enumerate(self._counts(sizes))])
        parts = range(2 if kind == "complex" else 1)
        columns = []
        for places in (entries.head, entries.tail):
            found = [np.where(places < 0, -1, begins[places] + j * (widths[places] > 1)) for j in parts]
            columns.append(np.stack(found, axis=-1).reshape(-1))
        return RowStructure(columns[0], columns[1], np.repeat(entries.coefficient, len(parts)), self.space.size)

    def _counts(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        return [(n, 2 if x.kind == "complex" else 1) for n, x in zip(sizes, self.equation.x, strict=True)]

    def _begin(self, k: int) -> int:
        """Where the packed entries of a variable begin."""
        return self.space.range_of(k)[0]

    def _packed_rows(self, masks: Sequence[np.ndarray]) -> np.ndarray:
        """Masks of entries as one mask of packed rows."""
        out = np.zeros(self.rows.size, dtype=bool)
        for i, (mask, v) in enumerate(zip(masks, self.equation.v, strict=True)):
            begin, end = self.rows.range_of(i)
            out[begin:end] = np.repeat(np.ravel(mask), 2 if v.kind == "complex" else 1)
        return out

    def _matrix(self) -> np.ndarray:
        """All rows as a dense matrix on packed arrays."""
        host = backend("numpy", "float64", None)
        function = Function(self.equation.forward(self.equation.x), self.equation.x, host)
        bound = self._bind(function, {})
        space = VectorSpace(self.space.shapes, self.space.kinds, host)
        rows = VectorSpace(self.rows.shapes, self.rows.kinds, host)
        columns = [rows.pack(bound(*space.unpack(unit))) for unit in np.eye(space.size)]
        return np.stack(columns, axis=1)

    def _kept(self, key: Hashable, split: Sequence[SplitTerm], make: Callable[[], Any]) -> Any:
        """Something of the rows, kept for all solutions of the plan where no parameter can change it."""
        operators = [p.operator for s in split for p in s.term.expression.parts]
        varies = any(isinstance(n, Parameter) for n in walk(*operators))
        store = self._own if varies else self._cache
        if key not in store:
            store[key] = make()
        return store[key]
