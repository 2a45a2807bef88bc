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

from opalg.arrays import Backend
from opalg.implicit.linear_solve import Accuracy, Flat, solve_symmetric
from opalg.implicit.programs import Arrays, Programs, plus, size, times
from opalg.implicit.refine import QUICK, SHRINK, VERIFIED, Linearise, Linearised, newton
from opalg.implicit.system import Optimality
from opalg.iterations import VectorSpace
from opalg.iterations.vectors import dot
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input

OUTER, INNER = 40, 30
FIRST = 30.0  # times the penalties of the method, at the start
GROWTH = 5.0  # of the penalties, from one minimisation to the next
ROUGH = {"float64": 2e-10, "float32": 3e-5}  # what rounding may leave of the gradient with the largest penalty
FLOOR = 5.0  # multiples of that which are enough
HELD = {"float64": 1e-11, "float32": 1e-5}  # a part of the largest entry of K x that counts as nothing
MOST_STUCK = 3  # minimisations in a row that stop short
ASTRAY = 10.0  # times the best residual, a gradient after which a minimisation is made again with less penalty
SHARE = 0.3  # of the multipliers' residual that the inner residual may have
FORCING = 0.2  # relative residual of the linear systems
LONGEST = 200  # products of one linear system
STALE = 12  # products of a linear system after which its preconditioner is made anew
DESCENT = 0.8  # of the slope at the start that may be left at the end of a step, past the minimum
SHORT = 0.5  # the same, before it, where the full step goes past
TRIALS = 12
GENTLE = 1e-4  # times the largest penalty, for the last minimisation
TARGET = {"float64": 5e-12, "float32": 1e-6}
EARLY = 2e-5  # a residual from which Newton steps may find the way, where they solve linear systems


Measure = Callable[[Arrays, Arrays], tuple[float, float]]


@dataclass
class Iterate:
    """A point of the method of multipliers: variables, multipliers, the gaps ``K x + b - u``, and how good it is."""

    x: Arrays
    p: Arrays
    gaps: Arrays
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
        self._inverse: Flat | None = None
        self._worn = True

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

        if self._worn:
            curved = self.programs.bound("augmented curvature", self._curvature_recipe)
            self._inverse = self._precondition(lambda d: list(curved(*v, *d)))
        right = space.pack(times(-1.0, gradient, lib))
        solved = solve_symmetric(apply, right, lib, accuracy, precondition=self._inverse)
        self._worn = solved.products > STALE
        return [lib.copy(d) for d in space.unpack(solved.state)], solved.products, not solved.negative

    def places(self, x: Arrays) -> Arrays:
        """``K_i x + b_i``"""
        return self.programs("places", self._place_recipe, *x)

    # Recipes.

    def _place_recipe(self) -> tuple[list[Expression], Sequence[Input]]:
        at = self.equation.by_variable(self.equation.x)
        split = self.equation.split
        return [ex.broadcast_to(s.place(at), s.v.shape) for s in split], self.equation.x

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
    measure: Measure,
    target: float,
    budget: int,
    largest: float,
    finish: Callable[[Iterate], bool],
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
        On the latter.
    budget : int
        Products at most, about.
    largest : float
        The factor up to which penalties may grow.
    finish : callable
        Whether another way leads from a point to the exact one.

    Returns
    -------
    tuple of (Iterate, int)
        The best point met, and the products.
    """
    factor, products, cap = min(FIRST, largest), 0, largest
    at = augmented(factor)
    best = Iterate(x, p, [], float("inf"))
    stuck, gentle = 0, False
    for _ in range(OUTER):
        floor = FLOOR * ROUGH[at.lib.precision] * factor / largest
        x, gradient, gaps, spent, sound = _minimised(at, x, p, measure, floor, budget - products)
        if sound is None:
            break
        products += spent
        slope, gap = measure(gradient, gaps)
        p = [at.lib.add(q, at.lib.multiply(g, s)) for q, g, s in zip(p, gaps, at.penalties, strict=True)]
        better = slope + gap < (SHRINK if gentle else 1.0) * best.relative
        stuck = 0 if sound and (better or not gentle) else stuck + 1
        if slope + gap < best.relative:
            best = Iterate(x, p, gaps, slope + gap)
            if finish(best):
                break
        if products >= budget or stuck > MOST_STUCK or (gentle and (gap <= target or not better)):
            break
        following = factor
        if slope > ASTRAY * best.relative:  # so large a penalty was too much
            x, p, following = best.x, best.p, factor / GROWTH
        elif gap <= target or (factor == largest and gap <= slope):
            cap, gentle = GENTLE * largest, True  # what is left is rounding, and a smaller penalty rounds less
            following = cap
        elif factor < cap:
            following = min(GROWTH * factor, cap)
        if following != factor:
            factor = following
            at = augmented(factor)
    return best, products


def _limit(lib: Backend) -> float:
    """The penalty, relative to what is to be cancelled, up to which the rounding of a gradient stays in bounds."""
    return ROUGH[lib.precision] / lib.epsilon


def _minimised(
    at: Augmented, x: Arrays, p: Arrays, measure: Measure, floor: float, budget: int
) -> tuple[Arrays, Arrays, Arrays, int, bool | None]:
    """About the minimiser of the augmented Lagrangian, with its gradient, gaps and products.

    The last says whether it was reached; None where the energy turned out not to be convex.
    """
    products = 0
    gradient, v, gaps = at.gradient(x, p)
    for _ in range(INNER):
        slope, gap = measure(gradient, gaps)
        if slope <= max(SHARE * gap, floor) or products >= budget:
            return x, gradient, gaps, products, True
        d, spent, convex = at.direction(x, v, gradient, Accuracy(FORCING, LONGEST, fallback=False))
        products += spent
        moved = _step(at, x, p, d, gradient) if convex else None
        if moved is None:
            return x, gradient, gaps, products, False if convex else None
        x, gradient, v, gaps = moved
    return x, gradient, gaps, products, False


def _step(at: Augmented, x: Arrays, p: Arrays, d: Arrays, gradient: Arrays) -> Any:
    """A step along d to about where the slope of the augmented Lagrangian, which only increases, changes its sign."""
    lib, t, found = at.lib, 1.0, None
    first = inner(gradient, d, lib)
    if not first < 0:
        return None
    near, far = (0.0, first), (2.0, 0.0)  # lengths and slopes before and past the minimum
    for _ in range(TRIALS):
        there = plus(x, times(t, d, lib), lib)
        slopes, v, gaps = at.gradient(there, p)
        slope = inner(slopes, d, lib)
        if slope > DESCENT * abs(first):
            far = t, slope
        else:
            found, near = (there, slopes, v, gaps), (t, slope)
            if far[0] > 1.0 or slope >= SHORT * first:
                break
        t = near[0] + (far[0] - near[0]) * max(0.1, min(0.9, near[1] / (near[1] - far[1])))
    return found


def inward(
    v: Arrays,
    u: Arrays,
    part: float,
    masks: Callable[[Arrays], Arrays],
    lib: Backend,
    before: Arrays | None = None,
) -> tuple[Arrays, Arrays]:
    """Arguments of proxes at which entries that move by no more than a part of the largest are held, and the masks.

    Where all multipliers ``v - u`` are made a little smaller these entries end up held; only theirs are. What counts as
    large is that of u, or of what u was ``before``: a solution without jumps has none but those of rounding.
    """
    less = []
    for place, near, was in zip(v, u, u if before is None else before, strict=True):
        pull = lib.subtract(place, near)
        most = _largest(pull, lib)
        moved = max(_largest(near, lib), _largest(was, lib)) or most  # where nothing moves, all that could is held
        share = min(part * moved / most, 0.5) if most > 0 else 0.0
        less.append(lib.subtract(place, lib.multiply(pull, share)))
    found = masks(less)
    kept = [lib.add(b, lib.multiply(lib.subtract(a, b), m)) for a, b, m in zip(v, less, found, strict=True)]
    return kept, found


def _largest(a: Any, lib: Backend) -> float:
    return 0.0 if 0 in a.shape else float(lib.item(lib.xp.max(lib.xp.abs(a))).real)


def inner(a: Arrays, b: Arrays, lib: Any) -> float:
    """The real inner product of two lists of arrays."""
    space = VectorSpace([q.shape for q in a], [lib.kind_of(q) for q in a], lib)
    return dot(space.pack(a), space.pack(b), lib)


class Approach:
    """The method of multipliers from a linearised point of an equation.

    Parameters
    ----------
    equation : Optimality
    programs : callable
        ``controls -> Programs``
    penalties : list of float
        Those of the equation.
    masks : callable
        ``v -> masks``, 0 where an entry is held.
    precondition : callable
        ``(curvature, x) -> approximate inverse or None``
    linearise : callable
        The equation linearised at a point.
    sizes : callable
        ``point -> (size of gradients, size of places)``, to which residuals are relative.
    """

    def __init__(
        self,
        equation: Optimality,
        programs: Callable[[dict[Input, float]], Programs],
        penalties: list[float],
        masks: Callable[[Arrays], Arrays],
        precondition: Callable[[Callable[[Arrays], Arrays], Arrays], Flat | None],
        linearise: Linearise,
        sizes: Callable[[Arrays], tuple[float, float]],
    ) -> None:
        self.equation, self.penalties = equation, penalties
        self._programs, self._precondition, self._linearise, self._sizes = programs, precondition, linearise, sizes
        self._masks = masks

    def __call__(self, here: Linearised, budget: int) -> tuple[Linearised, int]:
        """A nearer point, and the products it took; the same point where none was found."""
        if here.active is None:
            return here, 0
        lib, count = here.jacobian.lib, len(self.equation.variables)
        x, v = here.point[:count], here.point[count:]
        p = [lib.multiply(lib.subtract(a, b), s) for a, b, s in zip(v, here.active.u, self.penalties, strict=True)]
        slope, place = self._sizes(here.point)
        if not (slope > 0 and place > 0):
            return here, 0

        def augmented(factor: float) -> Augmented:
            controls = {s.penalty: factor * q for s, q in zip(self.equation.split, self.penalties, strict=True)}
            return Augmented(self.equation, self._programs(controls), lambda curved: self._precondition(curved, x))

        def measure(gradient: Arrays, gaps: Arrays) -> tuple[float, float]:
            return size(gradient, lib) / slope, size(gaps, lib) / place

        largest = max(_limit(lib) * slope / (place * max(self.penalties)), 1.0)
        there, tried, before = here, 0, here.active.u

        def finish(found: Iterate) -> bool:
            nonlocal there, tried
            if here.is_curved or found.relative > EARLY:
                return False
            there, spent = newton(self._point(augmented(1.0), found, before), self._linearise, QUICK)
            tried += spent
            return there.relative <= VERIFIED[lib.precision]

        found, products = approach(augmented, x, p, measure, TARGET[lib.precision], budget, largest, finish)
        if not there.relative <= VERIFIED[lib.precision]:
            there = self._point(augmented(1.0), found, before) if found.relative < here.relative else here
        return there, products + tried

    def _point(self, at: Augmented, found: Iterate, before: Arrays) -> Linearised:
        """The equation at an iterate, where what does not move is held."""
        lib = at.lib
        places = [lib.subtract(a, g) for a, g in zip(at.places(found.x), found.gaps, strict=True)]
        beyond = [lib.add(a, lib.multiply(q, 1.0 / s)) for a, q, s in zip(places, found.p, self.penalties, strict=True)]
        moved, _ = inward(beyond, places, HELD[lib.precision], self._masks, lib, before)
        return self._linearise([*found.x, *moved])
