"""The system of a map without symmetry, by GMRES or Anderson's acceleration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from opalg.implicit.anderson_solve import solve_by_anderson
from opalg.implicit.expressions import like
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Flat, Solved, solve_general
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.rows import BatchRows
from opalg.implicit.system import Equation
from opalg.program.expression import Expression, Input
from opalg.program.opaque import opaque_functions

Recipe = tuple[list[Expression], Sequence[Input]]


class General(Jacobian):
    """``J`` and ``J^T`` by GMRES, or, where rows are given, by Anderson's acceleration sample by sample.

    Parameters
    ----------
    equation : Equation
    programs : Programs
    point : list of array
    precondition : callable, optional
        An approximate inverse of ``J^T`` on flat arrays, for GMRES.
    rows : BatchRows, optional
        How flat arrays become one row for each sample.
    """

    name: ClassVar[str] = "map"
    symmetric: ClassVar[bool] = False

    def __init__(
        self,
        equation: Equation,
        programs: Programs,
        point: Arrays,
        precondition: Flat | None = None,
        rows: BatchRows | None = None,
    ) -> None:
        super().__init__(equation, programs, point)
        self.space = self._space(equation.point)
        self._precondition, self.rows = precondition, rows

    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        solved = self._solve(self.transposed, self.space.view(b), accuracy, start, self._precondition)
        return [self.lib.copy(p) for p in self.space.unpack(solved.state)], solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        forward = self._held("jacobian", self._jacobian_recipe)

        def apply(flat: Any) -> Any:
            return self.space.view(forward(*self.space.unpack(flat)))

        solved = self._solve(apply, self.space.view(r), accuracy, start, None)
        return [self.lib.copy(p) for p in self.space.unpack(solved.state)], solved

    def _solve(self, apply: Flat, rhs: Any, accuracy: Accuracy, start: Any, precondition: Flat | None) -> Solved:
        if self.rows is not None:
            return solve_by_anderson(apply, rhs, self.lib, accuracy, self.rows, start=start)
        return solve_general(apply, rhs, self.lib, accuracy, start=start, precondition=precondition)

    def transposed(self, flat: Any) -> Any:
        """``J^T a`` on flat arrays."""
        return self.space.view(self._transpose(*self.space.unpack(flat)))

    @cached_property
    def _transpose(self) -> Callable[..., tuple[Any, ...]]:
        return self._held("transposed", self._transposed_recipe)

    def _held(self, key: str, recipe: Callable[[], Recipe]) -> Callable[..., tuple[Any, ...]]:
        """A product with the point held; networks keep by themselves what they need of it."""
        if opaque_functions(*self.equation.residual):
            bound = self.programs.bound(key, recipe)
            return lambda *arrays: bound(*self.point, *arrays)
        return self.programs.held(key, recipe, self.equation.point, self.point)

    def _jacobian_recipe(self) -> Recipe:
        d = like(self.equation.point, "d")
        return self.equation.jacobian(d), [*self.equation.point, *d]

    def _transposed_recipe(self) -> Recipe:
        a = like(self.equation.point, "a")
        return self.equation.transposed(a), [*self.equation.point, *a]
