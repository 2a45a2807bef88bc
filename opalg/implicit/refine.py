"""A point made exact: semismooth Newton steps on the equation that a solution solves (Qi and Sun 1993).

For a quadratic energy with terms such as l1 one step on the right active set is the exact minimiser, and a residual
that vanishes afterwards proves that the set was right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opalg.implicit.active import Active
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.programs import Arrays, minus

STEPS = 8
PATIENCE = 2  # steps in a row that may make it worse, as where the active set still changes
SHRINK = 0.5
ROUNDING = 30.0  # multiples of epsilon below which a residual is rounding
FORCING = {"float64": 1e-7, "float32": 1e-4}


@dataclass(frozen=True)
class Linearised:
    """A point with its Jacobian, the active part of its terms, and what is left of its equation.

    Attributes
    ----------
    jacobian : Jacobian
    active : Active or None
        None where no term is split off.
    residual : list of array
    relative : float
        The residual relative to the size of what it is made of.
    """

    jacobian: Jacobian
    active: Active | None
    residual: Arrays
    relative: float

    @property
    def point(self) -> Arrays:
        """Where it is."""
        return self.jacobian.point


def refine(start: Linearised, linearise: Callable[[Arrays], Linearised]) -> tuple[Linearised, int]:
    """The best point met by Newton steps, and the products they took."""
    lib = start.jacobian.lib
    best, here, worse, products = start, start, 0, 0
    for _ in range(STEPS):
        if here.relative <= ROUNDING * lib.epsilon:
            break
        step, solved = here.jacobian.solve_forward(here.residual, Accuracy(FORCING[lib.precision], 1000))
        products += solved.products
        there = linearise(minus(here.point, step, lib))
        if there.relative != there.relative:
            break
        stuck = there.relative >= SHRINK * here.relative
        settled = here.active is None or (there.active is not None and there.active.same_as(here.active, lib))
        if there.relative < best.relative:
            best, worse = there, 0
        else:
            worse += 1
        if (stuck and settled) or worse > PATIENCE:
            break
        here = there
    return best, products
