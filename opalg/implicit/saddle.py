"""The symmetric system of split terms of every kind, from nothing but the derivatives of their proxes.

With ``p = s (I - P) u`` both ``J^T a = b`` and ``J d = r`` become ``[H, s K^T (I - P); s (I - P) K, -s (I - P) P]``,
symmetric and indefinite, singular where the prox leaves ``u`` undetermined, and consistent: for MINRES.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, ClassVar

from opalg.implicit.expressions import full
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy, Solved, solve_symmetric
from opalg.implicit.programs import Arrays, Programs, minus, plus
from opalg.implicit.system import Optimality
from opalg.program.expression import Expression, Input


class Saddle(Jacobian):
    """``J`` by MINRES.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
    point : list of array
    smoothness : float
        About the largest curvature of f, which balances the two blocks.
    """

    name: ClassVar[str] = "saddle"

    def __init__(self, equation: Optimality, programs: Programs, point: Arrays, smoothness: float) -> None:
        super().__init__(equation, programs, point)
        self.optimality, self.count = equation, len(equation.variables)
        self.x, self.v = self.point[: self.count], self.point[self.count :]
        self.space = self._space(equation.point)
        self.penalties = [programs.controls[s.penalty] for s in equation.split]
        self.balances = [sqrt(smoothness / p) if smoothness > 0 else 1.0 for p in self.penalties]

    def solve_adjoint(self, b: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = b[: self.count], b[self.count :]
        above = plus(first, self._back(second), lib)
        w, u, solved = self._solve(above, minus(second, self._P(second), lib), accuracy, start)
        pull = minus(u, self._P(u), lib)
        scaled = [lib.multiply(q, s) for q, s in zip(pull, self.penalties, strict=True)]
        return [*w, *minus(scaled, second, lib)], solved

    def solve_forward(self, r: Arrays, accuracy: Accuracy, start: Any = None) -> tuple[Arrays, Solved]:
        lib = self.lib
        first, second = r[: self.count], r[self.count :]
        rest = minus(second, self._P(second), lib)
        below = [lib.multiply(q, s) for q, s in zip(rest, self.penalties, strict=True)]
        x, u, solved = self._solve(first, below, accuracy, start)
        # where the prox is the identity the system says nothing of u, and K x - r is its image
        missing = minus(minus(self._forward(x), second, lib), self._P(u), lib)
        return [*x, *plus(u, missing, lib)], solved

    def _solve(self, above: Arrays, below: Arrays, accuracy: Accuracy, start: Any) -> tuple[Arrays, Arrays, Solved]:
        lib, space = self.lib, self.space
        bound = self.programs.bound("saddle product", self._product_recipe)

        def scaled(parts: Arrays) -> Arrays:
            return [lib.multiply(u, a) for u, a in zip(parts, self.balances, strict=True)]

        def apply(flat: Any) -> Any:
            parts = list(space.unpack(flat))
            found = list(bound(*self.x, *self.v, *parts[: self.count], *scaled(parts[self.count :])))
            return space.pack([*found[: self.count], *scaled(found[self.count :])])

        rhs = space.pack([*above, *scaled(below)])
        solved = solve_symmetric(apply, rhs, lib, accuracy, start=start, definite=False)
        parts = [lib.copy(p) for p in space.unpack(solved.state)]
        return parts[: self.count], scaled(parts[self.count :]), solved

    def _P(self, d: Arrays) -> Arrays:
        return self.programs("derivatives", self._derivative_recipe, *self.v, *d)

    def _forward(self, w: Arrays) -> Arrays:
        return self.programs("forward", lambda: (self.optimality.forward(self.optimality.x), self.optimality.x), *w)

    def _back(self, p: Arrays) -> Arrays:
        return self.programs("back", lambda: (self.optimality.back(self.optimality.v), self.optimality.v), *p)

    def _derivative_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        d = [Input(f"d{i}", s.v.shape, s.v.kind) for i, s in enumerate(self.optimality.split)]
        return self.optimality.derivatives(d), [*self.optimality.v, *d]

    def _product_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        equation = self.optimality
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(equation.x)]
        u = [Input(f"u{i}", v.shape, v.kind) for i, v in enumerate(equation.v)]
        inside = equation.derivatives(u)
        pull = [s.penalty * (a - b) for s, a, b in zip(equation.split, u, inside, strict=True)]
        above = [a + b for a, b in zip(equation.hessian(w), equation.back(pull), strict=True)]
        gap = [k - b for k, b in zip(equation.forward(w), inside, strict=True)]
        turned = equation.derivatives(gap)
        below = [s.penalty * (g - t) for s, g, t in zip(equation.split, gap, turned, strict=True)]
        return full([*above, *below], equation.point), [*equation.x, *equation.v, *w, *u]
