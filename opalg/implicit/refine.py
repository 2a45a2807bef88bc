"""A point made exact: semismooth Newton steps on the equation that a solution solves (Qi and Sun 1993).

For a quadratic energy with terms such as l1 one step on the right active set is the exact minimiser, and a residual
that vanishes afterwards proves that the set was right. Where the steps do not get there, the method of multipliers
(`opalg.implicit.multipliers`) leads to where they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from opalg.implicit.active import Active
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.programs import Arrays, minus
from opalg.implicit.system import Optimality

STEPS = 8
PATIENCE = 2  # steps in a row that may make it worse, as where the active set still changes
ASTRAY = 50.0  # times the residual of the start: from there few steps come back
SHRINK = 0.5
ROUNDING = 30.0  # multiples of epsilon below which a residual is rounding
FLOOR = 3.0  # the same, below which no step is tried
FORCING = {"float64": 1e-12, "float32": 1e-5}  # the most exact solve of a step
LOOSEST = 1e-2  # the least exact one
WORTH = 0.1  # of what a step can bring, that its solve may leave
LONGEST = 1000  # products of one step
QUICK = 120  # the same, where curvatures may be too large for it and there is another way
CLOSE = 1e-2  # times that of a verified point
USELESS = 0.3  # a relative residual of a linear system that makes no step
VERIFIED = {"float64": 1e-9, "float32": 1e-4}  # a residual after refinement that proves the active set


@dataclass(frozen=True)
class Linearised:
    """A point with its Jacobian, the active part of its terms, and what is left of its equation.

    Attributes
    ----------
    jacobian : Jacobian
    active : Active or None
        None where no term is split off.
    measure : callable
        Gives the residual, and its size relative to what it is made of; called when one of them is asked for.
    """

    jacobian: Jacobian
    active: Active | None
    measure: Callable[[], tuple[Arrays, float]]

    @cached_property
    def _measured(self) -> tuple[Arrays, float]:
        return self.measure()

    @property
    def residual(self) -> Arrays:
        """What is left of the equation."""
        return self._measured[0]

    @property
    def relative(self) -> float:
        """The residual relative to the size of what it is made of."""
        return self._measured[1]

    @property
    def point(self) -> Arrays:
        """Where it is."""
        return self.jacobian.point

    @property
    def has_operators(self) -> bool:
        """Whether some term stands behind an operator."""
        equation = self.jacobian.equation
        return isinstance(equation, Optimality) and not all(s.is_direct for s in equation.split)

    @property
    def is_curved(self) -> bool:
        """Whether terms behind operators have curvatures, which may be huge, on what is free to move."""
        equation = self.jacobian.equation
        if self.active is None or not isinstance(equation, Optimality):
            return False
        pairs = zip(self.active.forms, equation.split, strict=True)
        return any(form in ("hessian", None) and not split.is_direct for form, split in pairs)


@dataclass(frozen=True)
class Goal:
    """What refinement is after.

    Attributes
    ----------
    residual : float
        A residual that is small enough, whatever can be reached.
    linear : bool
        Whether the equation is linear on an active set, so that one exact step ends there.
    """

    residual: float
    linear: bool

    def forcing(self, relative: float, rate: float, enough: float, precision: str) -> float:
        """How exactly to solve for a step: as the goal asks, and no more than the step is worth.

        ``rate`` is by how much the last step made the residual smaller: where it falls quadratically, the next step
        makes it smaller by the square of that, however exactly it is solved for (Eisenstat and Walker 1996, choice 2).
        """
        needed = 0.1 * enough / relative
        return max(needed if self.linear else max(needed, min(WORTH * rate**2, LOOSEST)), FORCING[precision])


Linearise = Callable[[Arrays], Linearised]
Approach = Callable[[Linearised, int], tuple[Linearised, int]]
Settle = Callable[[Linearised], tuple[Linearised, int]]


def refine(
    start: Linearised,
    linearise: Linearise,
    approach: Approach | None = None,
    settle: Settle | None = None,
    budget: int = STEPS * LONGEST,
    goal: Goal | None = None,
) -> tuple[Linearised, int]:
    """The best point met by Newton steps, and the products they took.

    Parameters
    ----------
    start : Linearised
    linearise : callable
        The equation linearised at a point.
    approach : callable, optional
        ``(linearised, budget) -> (linearised, products)``: leads nearer where Newton steps do not converge.
    settle : callable, optional
        Likewise: decides what is held where that is in doubt.
    budget : int
        Products at most, about.
    goal : Goal, optional
        What residual is small enough; by default one of rounding.
    """
    goal = Goal(0.0, False) if goal is None else goal
    verified = VERIFIED[start.jacobian.lib.precision]
    curved = start.active is not None and "hessian" in start.active.forms
    other = approach is not None
    patient = not other or not start.has_operators
    best, products = newton(start, linearise, budget, QUICK if curved and other else LONGEST, goal, patient)
    if best.relative > verified and approach is not None and products < budget:
        near, spent = approach(best, budget - products)
        products += spent
        if near.relative <= CLOSE * verified:
            best = near  # Newton steps would only stir up what has come to rest
        elif near.relative < best.relative:
            best, spent = newton(near, linearise, max(budget - products, LONGEST), QUICK if curved else LONGEST, goal)
            products += spent
    if best.relative <= verified and settle is not None:
        best, spent = settle(best)
        products += spent
    return best, products


def newton(
    start: Linearised,
    linearise: Linearise,
    budget: int,
    longest: int = LONGEST,
    goal: Goal | None = None,
    patient: bool = True,
) -> tuple[Linearised, int]:
    """The best point met by Newton steps on the equation itself, and the products they took.

    No linear system gets more products than ``longest``; where one ends far from solved, so do the steps, and, unless
    they are ``patient``, where one leads far astray.
    """
    lib, goal = start.jacobian.lib, Goal(0.0, False) if goal is None else goal
    enough = max(goal.residual, FLOOR * lib.epsilon)
    best, here, worse, products, rate = start, start, 0, 0, 1.0
    for _ in range(STEPS):
        left = budget - products
        if here.relative <= enough or left <= 0:
            break
        accuracy = Accuracy(
            goal.forcing(here.relative, rate, enough, lib.precision), min(left, longest), fallback=False
        )
        step, solved = here.jacobian.solve_forward(here.residual, accuracy)
        products += solved.products
        if solved.relative > USELESS:
            break
        there = linearise(minus(here.point, step, lib))
        if there.relative != there.relative:
            break
        stuck = there.relative >= SHRINK * here.relative
        settled = here.active is None or (there.active is not None and there.active.same_as(here.active, lib))
        if there.relative < best.relative:
            best, worse = there, 0
        else:
            worse += 1
        if (stuck and settled) or worse > (PATIENCE if patient or there.relative <= ASTRAY * start.relative else 0):
            break
        here, rate = there, there.relative / here.relative
    return best, products
