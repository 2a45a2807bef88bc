"""Preconditioners of the systems of an equation whose rows are sparse: what is known of f and of K, put together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import scipy.sparse as sp

from opalg.implicit.constraints import Constraints
from opalg.implicit.factored import Factored, curvature_blocks, hessian_diagonal, set_diagonal
from opalg.implicit.linear_solve import Flat
from opalg.implicit.null_space import NullSpace
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.system import Optimality
from opalg.program.expression import Input

MANY = 400_000  # entries that move, above which factors would take longer than the products that they save


class RowPreconditioner:
    """Approximate inverses of ``H + K^T B K`` for curvatures B of the split terms.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
    constraints : Constraints
        Of the same equation.
    cache : dict
        What holds for all solutions of a plan.
    """

    def __init__(
        self, equation: Optimality, programs: Programs, constraints: Constraints, cache: dict[Hashable, Any]
    ) -> None:
        self.equation, self.programs, self.lib = equation, programs, programs.lib
        self.constraints = constraints
        self.space, self.rows = constraints.space, constraints.rows
        self._known = cache.setdefault("coupled axes", {})
        self._entries: np.ndarray | None = None
        self._uniform = True

    def __call__(
        self, curved: Callable[[Arrays], Arrays], x: Arrays, null_space: NullSpace | None = None, flat: bool = False
    ) -> Flat | None:
        """An approximate inverse, on the null space where one is given; None where none is known or would help.

        Parameters
        ----------
        curved : callable
            ``d -> B d``
        x : list of array
            Where the Hessian of f is taken.
        null_space : NullSpace, optional
            What moves as one; by default every entry moves by itself.
        flat : bool
            Whether B is zero.
        """
        labels, count = (None, self.space.size) if null_space is None else (null_space.labels, null_space.dimension)
        if (null_space is not None and labels is None) or count > MANY:
            return None
        diagonal = self._diagonal(x, labels, count)
        if diagonal is None or (flat and labels is None):
            return None
        if flat:
            rows, blocks = sp.csr_array((0, self.space.size)), sp.csr_array((0, 0))
        else:
            found = self.constraints.sparse_rows()
            coupled = None if found is None else curvature_blocks(curved, self.rows, self._known)
            if found is None or coupled is None:
                return None
            rows, blocks = found, coupled
        return Factored(diagonal, rows, blocks, self.lib, labels, count)

    def _diagonal(self, x: Arrays, labels: np.ndarray | None, count: int) -> np.ndarray | None:
        """About the diagonal of the Hessian of f, on sets of entries where they move together."""
        if self._entries is None:
            found = hessian_diagonal(self._product(x), self.space.size, self.lib)
            self._entries = np.zeros(0) if found is None else found
            self._uniform = bool(np.ptp(self._entries) == 0) if self._entries.size else True
        if not self._entries.size:
            return None
        if labels is None:
            return self._entries
        if self._uniform and count:
            return set_diagonal(self._product(x), float(self._entries[0]), labels, count, self.lib)
        return np.bincount(labels, self._entries, count + 1)[:count]

    def _product(self, x: Arrays) -> Flat:
        bound = self.programs.bound("hessian", self._recipe)
        return lambda flat: self.space.pack(bound(*x, *self.space.unpack(flat)))

    def _recipe(self) -> Any:
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(self.equation.x)]
        return self.equation.hessian(w), [*self.equation.x, *w]
