"""A point brought near the exact one from afar: the method of multipliers with semismooth Newton steps.

Newton steps on the optimality conditions converge only where the active set is nearly right. Here the terms that are
split off are smoothed by their Moreau envelopes, shifted by the multipliers: ``f(x) + sum_i (w_i h_i)^s (K_i x + b_i +
p_i / s)`` is convex and differentiable, so Newton steps with a line search minimise it from anywhere, and the
multipliers of its minimisers converge at a rate that the penalty s makes as fast as one likes.

References
----------
Rockafellar (1976) for the method; Li, Sun and Toh (2018) for semismooth Newton steps in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opalg.implicit.linear_solve import Accuracy, Flat, solve_symmetric
from opalg.implicit.programs import Arrays, Programs, minus, plus, size, times
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input

OUTER, INNER = 40, 30
GROWTH, SLOW = 4.0, 0.3  # the penalty grows where a step leaves more than this part of the residual
SHARE = 0.3  # of the multipliers' residual that the inner residual may have
FORCING = 0.1  # relative residual of the linear systems
LONGEST = 200  # products of one linear system
DESCENT = 0.8  # of the slope at the start that may be left at the end of a step, past the minimum
TRIALS = 12


@dataclass
class Iterate:
    """A point of the method of multipliers: the variables, the multipliers and how far they are from optimal."""

    x: Arrays
    p: Arrays
    relative: float


class Augmented:
    """The augmented Lagrangian at one set of penalties.

    Parameters
    ----------
    equation : Optimality
    programs : Programs
        With those penalties as the equation's controls.
    precondition : callable
        ``(apply, hessian product) -> approximate inverse or None``, for ``H + K^T B K``.
    """

    def __init__(
        self,
        equation: Optimality,
        programs: Programs,
        precondition: Callable[[Callable[[Arrays], Arrays]], Flat | None],
    ) -> None:
        self.equation, self.programs, self.lib = equation, programs, programs.lib
        self.penalties = [programs.controls[s.penalty] for s in equation.split]
        self.space = VectorSpace([x.shape for x in equation.x], [x.kind for x in equation.x], self.lib)
        self._precondition = precondition

    def gradient(self, x: Arrays, p: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        """The gradient in x, the proxes' arguments v, and the gaps ``K x + b - u``."""
        found = self.programs("augmented gradient", self._gradient_recipe, *x, *p)
        count, terms = len(self.equation.x), len(self.equation.split)
        return found[:count], found[count : count + terms], found[count + terms :]

    def direction(self, x: Arrays, v: Arrays, gradient: Arrays, accuracy: Accuracy) -> tuple[Arrays, int, bool]:
        """The Newton direction, the products it took, and whether the energy is convex along it."""
        lib, space = self.lib, self.space
        bound = self.programs.bound("augmented product", self._product_recipe)

        def apply(flat: Any) -> Any:
            return space.pack(bound(*x, *v, *space.unpack(flat)))

        curved = self.programs.bound("augmented curvature", self._curvature_recipe)
        inverse = self._precondition(lambda d: list(curved(*v, *d)))
        right = space.pack(times(-1.0, gradient, lib))
        solved = solve_symmetric(apply, right, lib, accuracy, precondition=inverse, fallback=False)
        return [lib.copy(d) for d in space.unpack(solved.state)], solved.products, not solved.negative

    # Recipes.

    def _gradient_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        equation = self.equation
        p = [Input(f"p{i}", v.shape, v.kind) for i, v in enumerate(equation.v)]
        places = [s.place(equation.by_variable(equation.x)) for s in equation.split]
        v = [a + q / s.penalty for a, q, s in zip(places, p, equation.split, strict=True)]
        u = [s.prox(a) for s, a in zip(equation.split, v, strict=True)]
        pulls = [s.penalty * (a - b) for s, a, b in zip(equation.split, v, u, strict=True)]
        above = [a + b for a, b in zip(equation.slopes, equation.back(pulls), strict=True)]
        gaps = [a - b for a, b in zip(places, u, strict=True)]
        nodes = [*equation.x, *equation.v, *equation.v]
        found = [ex.broadcast_to(e, n.shape) for e, n in zip([*above, *v, *gaps], nodes, strict=True)]
        return found, [*equation.x, *p]

    def _product_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        equation = self.equation
        w = [Input(f"w{i}", x.shape, x.kind) for i, x in enumerate(equation.x)]
        pulls = self._curved(equation.forward(w))
        found = [a + b for a, b in zip(equation.hessian(w), equation.back(pulls), strict=True)]
        return [ex.broadcast_to(e, x.shape) for e, x in zip(found, equation.x, strict=True)], [
            *equation.x,
            *equation.v,
            *w,
        ]

    def _curvature_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        d = [Input(f"d{i}", v.shape, v.kind) for i, v in enumerate(self.equation.v)]
        found = [ex.broadcast_to(e, v.shape) for e, v in zip(self._curved(d), self.equation.v, strict=True)]
        return found, [*self.equation.v, *d]

    def _curved(self, d: Sequence[Expression]) -> list[Expression]:
        """``s (I - P) d``"""
        inside = self.equation.derivatives(d)
        return [s.penalty * (a - b) for s, a, b in zip(self.equation.split, d, inside, strict=True)]


def approach(
    augmented: Callable[[float], Augmented],
    x: Arrays,
    p: Arrays,
    measure: Callable[[Arrays, Arrays], tuple[float, float]],
    target: float,
    budget: int,
) -> tuple[Iterate, int]:
    """Bring a point towards the exact one.

    Parameters
    ----------
    augmented : callable
        ``factor -> Augmented``, with all penalties that much larger.
    x, p : list of array
        The variables and the multipliers at the start.
    measure : callable
        ``(gradient, gaps) -> (relative gradient, relative gaps)``
    target : float
        On the sum of the two.
    budget : int
        Products at most, about.

    Returns
    -------
    tuple of (Iterate, int)
        The best point met, and the products.
    """
    factor, products, lib = 1.0, 0, None
    at = augmented(factor)
    lib = at.lib
    best: Iterate | None = None
    before = float("inf")
    for _ in range(OUTER):
        gradient, v, gaps = at.gradient(x, p)
        for _ in range(INNER):
            slope, gap = measure(gradient, gaps)
            if slope <= max(SHARE * gap, 0.1 * target) or products >= budget:
                break
            d, spent, convex = at.direction(x, v, gradient, Accuracy(min(FORCING, 0.1 + slope), LONGEST))
            products += spent
            if not convex:
                return best or Iterate(x, p, slope + gap), products
            moved = _search(at, x, p, d, gradient)
            if moved is None:
                break
            x, gradient, v, gaps = moved
        slope, gap = measure(gradient, gaps)
        p = [lib.add(q, lib.multiply(g, s)) for q, g, s in zip(p, gaps, at.penalties, strict=True)]
        if best is None or slope + gap < best.relative:
            best = Iterate(x, p, slope + gap)
        if slope + gap <= target or products >= budget or slope + gap != slope + gap:
            break
        if gap > SLOW * before:
            factor *= GROWTH
            at = augmented(factor)
        before = gap
    assert best is not None
    return best, products


def _search(at: Augmented, x: Arrays, p: Arrays, d: Arrays, gradient: Arrays) -> Any:
    """A step along d to where the slope of the augmented Lagrangian, which increases, has fallen enough."""
    lib = at.lib
    first = _inner(gradient, d, lib)
    if not first < 0:
        return None
    low, high, t = 0.0, None, 1.0
    for _ in range(TRIALS):
        there = plus(x, times(t, d, lib), lib)
        slopes, v, gaps = at.gradient(there, p)
        slope = _inner(slopes, d, lib)
        if abs(slope) <= DESCENT * abs(first) or slope < 0:
            return there, slopes, v, gaps
        high, slope_high = t, slope
        t = low + (high - low) * max(0.1, min(0.9, -first / (slope_high - first)))
    return None


def _inner(a: Arrays, b: Arrays, lib: Any) -> float:
    return sum(
        float(lib.item(lib.xp.sum(lib.xp.real(lib.xp.conj(p) * q) if lib.kind_of(p) == "complex" else p * q)))
        for p, q in zip(a, b, strict=True)
    )
