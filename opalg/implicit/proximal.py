"""The symmetric system of terms with a prox in their variable, whatever the range of its derivative is.

With ``P`` the derivative of the prox, ``w = P z`` and ``K = I`` the adjoint system is
``(P H P + s (P - P^2)) z = P b``, symmetric and consistent even where it is singular: on the range of P it is
``H + s (P^+ - I)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from opalg.implicit.expressions import full
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Solved, solve_symmetric
from opalg.implicit.programs import Arrays, Programs, minus, plus, size, times
from opalg.implicit.reduced import NOTHING
from opalg.implicit.system import Optimality
from opalg.program.expression import Expression, Input


def why_not(equation: Optimality) -> str | None:
    """Why the system does not apply; None where it does."""
    seen = set()
    for split in equation.split:
        if not split.direct:
            return f"the term {split.term!r} is split off behind its operator"
        if split.variable in seen:
            return f"two terms are known by their prox in {split.variable.label}"
        seen.add(split.variable)
    return None


class Proximal(Jacobian):
    """``J`` by conjugate gradients with the derivatives of the proxes."""

    name: ClassVar[str] = "proximal"

    def __init__(self, equation: Optimality, programs: Programs, point: Arrays) -> None:
        super().__init__(equation, programs, point)
        self.optimality = equation
        self.count = len(equation.variables)
        self.x, self.v = self.point[: self.count], self.point[self.count :]
        self.space = self._space(equation.x)
        order = {s.variable: i for i, s in enumerate(equation.split)}
        self.of = [order.get(v) for v in equation.variables]  # the split term of each variable
        self.penalties = [programs.controls[s.penalty] for s in equation.split]

    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = b[: self.count], b[self.count :]
        shift = self._spread(times_each(second, [1.0 / p for p in self.penalties], lib))
        right = minus(plus(first, self._spread(second), lib), self._hessian(shift), lib)
        z, solved = self._solve(right, accuracy, start)
        w = plus(self._projected(z), shift, lib)
        p = minus(first, self._hessian(w), lib)
        return [*w, *self._gathered(p)], solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = r[: self.count], r[self.count :]
        right = minus(first, self._hessian(self._spread(second)), lib)
        z, solved = self._solve(right, accuracy, start)
        inside = self._projected(z)
        x = plus(self._spread(second), inside, lib)
        left = minus(right, self._hessian(inside), lib)
        pull = times_each(self._gathered(left), [1.0 / s for s in self.penalties], lib)
        return [*x, *plus(self._gathered(inside), pull, lib)], solved

    def _solve(self, right: Arrays, accuracy: Accuracy, start: Any) -> tuple[Arrays, Solved]:
        """The z with ``(P H P + s (P - P^2)) z = P right``."""
        whole, projected = size(right, self.lib), self._projected(right)
        if size(projected, self.lib) <= NOTHING * self.lib.epsilon * whole:
            projected = times(0.0, projected, self.lib)  # rounding, which no solve makes better
        flat = self.space.pack(projected)
        bound = self.programs.bound("proximal product", self._product_recipe)

        def apply(z: Any) -> Any:
            return self.space.pack(bound(*self.x, *self.v, *self.space.unpack(z)))

        solved = solve_symmetric(apply, flat, self.lib, accuracy, start=start)
        return [self.lib.copy(part) for part in self.space.unpack(solved.state)], solved

    def _projected(self, z: Arrays) -> Arrays:
        """``P z``"""
        return self.programs("projected", self._projected_recipe, *self.v, *z)

    def _hessian(self, w: Arrays) -> Arrays:
        return self.programs("hessian", self._hessian_recipe, *self.x, *w)

    def _spread(self, parts: Arrays) -> Arrays:
        """Arrays of split terms as arrays of variables, zero for those without a term."""
        lib = self.lib
        return [
            lib.zeros(x.shape, x.kind) if i is None else parts[i]
            for i, x in zip(self.of, self.optimality.x, strict=True)
        ]

    def _gathered(self, parts: Arrays) -> Arrays:
        """Arrays of variables as arrays of split terms."""
        position = {i: k for k, i in enumerate(self.of) if i is not None}
        return [parts[position[i]] for i in range(len(self.optimality.split))]

    # Recipes.

    def _P(self, z: Sequence[Expression]) -> list[Expression]:
        split, v = self.optimality.split, self.optimality.v
        return [a if i is None else split[i].derivative(v[i], a) for i, a in zip(self.of, z, strict=True)]

    def _inputs(self, name: str) -> list[Input]:
        return [Input(f"{name}{i}", x.shape, x.kind) for i, x in enumerate(self.optimality.x)]

    def _projected_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        z = self._inputs("z")
        return full(self._P(z), z), [*self.optimality.v, *z]

    def _hessian_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        w = self._inputs("w")
        return self.optimality.hessian(w), [*self.optimality.x, *w]

    def _product_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        z = self._inputs("z")
        inside = self._P(z)
        curved = self.optimality.hessian(inside)
        split = self.optimality.split
        summed = []
        for i, a, h in zip(self.of, inside, curved, strict=True):
            summed.append(h if i is None else h + split[i].penalty * (z[self.of.index(i)] - a))
        return full(self._P(summed), z), [*self.optimality.x, *self.optimality.v, *z]


def times_each(parts: Arrays, factors: Sequence[float], lib: Any) -> Arrays:
    """Every array times a number of its own."""
    return [lib.multiply(p, f) for p, f in zip(parts, factors, strict=True)]
