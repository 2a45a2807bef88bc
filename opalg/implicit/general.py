"""The system of a map without symmetry, by GMRES or Anderson's acceleration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from opalg.implicit.anderson_solve import solve_by_anderson
from opalg.implicit.expressions import like, pulled, pushed
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Flat, Solved, solve_general
from opalg.implicit.programs import Arrays, Programs
from opalg.implicit.rows import BatchRows
from opalg.implicit.system import Equation, MapEquation
from opalg.program.expression import Expression, Input

Recipe = tuple[list[Expression], Sequence[Input]]
Product = Callable[..., tuple[Any, ...]]


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
        if self.rows is not None:
            mapped = self._held("transposed map", self._transposed_map_recipe)
            return self._by_anderson(mapped, b, accuracy, self.rows, start)
        right = self.space.view(b)
        solved = solve_general(self.transposed, right, self.lib, accuracy, start=start, precondition=self._precondition)
        return self._parts(solved), solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        if self.rows is not None:
            return self._by_anderson(self._held("map", self._map_recipe), r, accuracy, self.rows, start)
        forward = self._flat(self._held("jacobian", self._jacobian_recipe))
        solved = solve_general(forward, self.space.view(r), self.lib, accuracy, start=start, precondition=None)
        return self._parts(solved), solved

    def _by_anderson(
        self, mapped: Product, right: Arrays, accuracy: Accuracy, rows: BatchRows, start: Any
    ) -> tuple[Arrays, Solved]:
        solved = solve_by_anderson(self._flat(mapped), self.space.view(right), self.lib, accuracy, rows, start=start)
        return self._parts(solved), solved

    def _parts(self, solved: Solved) -> Arrays:
        return [self.lib.copy(p) for p in self.space.unpack(solved.state)]

    def _flat(self, product: Product) -> Flat:
        return lambda flat: self.space.view(product(*self.space.unpack(flat)))

    def transposed(self, flat: Any) -> Any:
        """``J^T a`` on flat arrays."""
        return self.space.view(self._transpose(*self.space.unpack(flat)))

    @cached_property
    def _transpose(self) -> Product:
        return self._held("transposed", self._transposed_recipe)

    def _held(self, key: str, recipe: Callable[[], Recipe]) -> Product:
        """A product with the point held; networks keep by themselves what they need of it."""
        if self.equation.calls_networks:
            bound = self.programs.bound(key, recipe)
            return lambda *arrays: bound(*self.point, *arrays)
        return self.programs.held(key, recipe, self.equation.point, self.point)

    def _jacobian_recipe(self) -> Recipe:
        d = like(self.equation.point, "d")
        return self.equation.jacobian(d), [*self.equation.point, *d]

    def _transposed_recipe(self) -> Recipe:
        a = like(self.equation.point, "a")
        return self.equation.transposed(a), [*self.equation.point, *a]

    @property
    def _images(self) -> Sequence[Expression]:
        """``z - R(z)``, the map whose fixed points solve the equation."""
        if isinstance(self.equation, MapEquation):
            return self.equation.image
        return [z - r for z, r in zip(self.equation.point, self.equation.residual, strict=True)]

    def _map_recipe(self) -> Recipe:
        d = like(self.equation.point, "d")
        return pushed(self._images, self.equation.point, d), [*self.equation.point, *d]

    def _transposed_map_recipe(self) -> Recipe:
        a = like(self.equation.point, "a")
        return pulled(self._images, a, self.equation.point), [*self.equation.point, *a]
