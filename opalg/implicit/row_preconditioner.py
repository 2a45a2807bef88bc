"""Preconditioners of the systems of an equation whose rows are sparse: what is known of f and of K, put together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import scipy.sparse as sp

from opalg.implicit.constraints import Constraints
from opalg.implicit.factored import Factored, curvature_blocks, hessian_diagonal
from opalg.implicit.linear_solve import Flat
from opalg.implicit.null_space import NullSpace
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
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
        self._diagonal: np.ndarray | None = None
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
        diagonal = self._hessian_diagonal(x)
        if diagonal is None or (flat and self._uniform):
            return None
        if flat:
            rows, blocks = sp.csr_array((0, self.space.size)), sp.csr_array((0, 0))
        else:
            found = self.constraints.sparse_rows()
            if found is None:
                return None
            coupled = curvature_blocks(curved, self.rows, self._known)
            if coupled is None:
                return None
            rows, blocks = found, coupled
        return Factored(diagonal, rows, blocks, self.lib, labels, count)

    def _hessian_diagonal(self, x: Arrays) -> np.ndarray | None:
        """The diagonal of the Hessian of f, or its mean; found where it is first asked for."""
        if self._diagonal is None:
            bound = self.programs.bound("hessian", self._recipe)
            space = VectorSpace(self.space.shapes, self.space.kinds, self.lib)
            found = hessian_diagonal(lambda flat: space.pack(bound(*x, *space.unpack(flat))), self.space.size, self.lib)
            self._diagonal = np.zeros(0) if found is None else found
            self._uniform = bool(np.ptp(self._diagonal) == 0) if self._diagonal.size else True
        return self._diagonal if self._diagonal.size else None

    def _recipe(self) -> Any:
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(self.equation.x)]
        return self.equation.hessian(w), [*self.equation.x, *w]
