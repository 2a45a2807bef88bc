"""The system of a map without symmetry, by GMRES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from opalg.implicit.expressions import like
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Flat, Solved, solve_general
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.system import Equation
from opalg.program.expression import Expression, Input


class General(Jacobian):
    """``J`` and ``J^T`` by GMRES.

    Parameters
    ----------
    equation : Equation
    programs : Programs
    point : list of array
    precondition : callable, optional
        An approximate inverse of ``J^T`` on flat arrays.
    """

    name: ClassVar[str] = "map"
    symmetric: ClassVar[bool] = False

    def __init__(self, equation: Equation, programs: Programs, point: Arrays, precondition: Flat | None = None) -> None:
        super().__init__(equation, programs, point)
        self.space = self._space(equation.point)
        self._precondition = precondition

    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        solved = solve_general(
            self.transposed, self.space.view(b), self.lib, accuracy, start=start, precondition=self._precondition
        )
        return [self.lib.copy(p) for p in self.space.unpack(solved.state)], solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        bound = self.programs.bound("jacobian", self._jacobian_recipe)

        def apply(flat: Any) -> Any:
            return self.space.view(bound(*self.point, *self.space.unpack(flat)))

        solved = solve_general(apply, self.space.view(r), self.lib, accuracy, start=start)
        return [self.lib.copy(p) for p in self.space.unpack(solved.state)], solved

    def transposed(self, flat: Any) -> Any:
        """``J^T a`` on flat arrays."""
        bound = self.programs.bound("transposed", self._transposed_recipe)
        return self.space.view(bound(*self.point, *self.space.unpack(flat)))

    def _jacobian_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        d = like(self.equation.point, "d")
        return self.equation.jacobian(d), [*self.equation.point, *d]

    def _transposed_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        a = like(self.equation.point, "a")
        return self.equation.transposed(a), [*self.equation.point, *a]
