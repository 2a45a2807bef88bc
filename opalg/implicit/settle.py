"""Which entries are held, decided where it is in doubt: by the point first, then by multipliers inside their bounds.

The multipliers of terms such as total variation are not unique, and a solver's often end on their bounds where nothing
moves: an entry counts as held when ``K x`` stays where it is and some multipliers lie strictly inside.
"""

from __future__ import annotations

from typing import Any

from opalg.implicit.active import Inspector
from opalg.implicit.linear_solve import Accuracy
from opalg.implicit.multipliers import inward
from opalg.implicit.programs import Arrays, minus, plus, times
from opalg.implicit.reduced import Reduced
from opalg.implicit.refine import VERIFIED, Linearise, Linearised
from opalg.implicit.system import Optimality
from opalg.program import expression as ex

HELD = {"float64": 1e-11, "float32": 1e-5}  # a move of K x, relative to the largest, that is none
INSIDE = (1e-3, 1e-5)  # how far inside multipliers are sought, relative to their bounds
CLEAR, BARELY = 1e-7, 1e-11  # how far inside is enough, while there is something left to try and at the end
ROUNDS = 2  # entries that are held may bring others to rest
SWEEPS, LOOK = 40, 5  # projections at most, and after how many it is looked whether they were enough
RELAXED = 1.8  # projections converge faster where they go too far
LOSS = 3.0  # by how much the residual may rise, above the rounding that proves a point
ACCURATE = {"float64": 1e-11, "float32": 1e-6}
LARGE = 70_000  # rows above which few sweeps are made


class Settler:
    """Settles points of an equation.

    Parameters
    ----------
    equation : Optimality
    inspector : Inspector
    linearise : callable
        The equation linearised at a point.
    """

    def __init__(self, equation: Optimality, inspector: Inspector, linearise: Linearise) -> None:
        self.equation, self.inspector, self.linearise = equation, inspector, linearise
        self.lib, self.count = inspector.lib, len(equation.variables)
        self.penalties = [inspector.programs.controls[s.penalty] for s in equation.split]

    def __call__(self, here: Linearised) -> tuple[Linearised, int]:
        """The same point with entries that do not move held, and multipliers inside their bounds where some are."""
        products, best = 0, here
        for _ in range(ROUNDS):
            if not isinstance(best.jacobian, Reduced) or best.active is None:
                break
            there, spent = self._once(best)
            products += spent
            if there is None or there.relative > max(LOSS * best.relative, VERIFIED[self.lib.precision]):
                break
            best = there
        return best, products

    def _once(self, here: Linearised) -> tuple[Linearised | None, int]:
        assert here.active is not None
        v, u = here.point[self.count :], here.active.u
        shrunk, held = inward(v, u, HELD[self.lib.precision], self.inspector.masks, self.lib)
        changed = any(bool(self.lib.xp.any(a != b)) for a, b in zip(held, here.active.masks, strict=True))
        if not changed and self._is_clear(v, u, held):
            return None, 0
        products, jacobian = 0, here.jacobian
        if changed:
            inside = [*here.point[: self.count], *shrunk]
            there = self.linearise(inside)
            if not isinstance(there.jacobian, Reduced):
                return None, 0
            jacobian = there.jacobian
            accuracy = Accuracy(ACCURATE[self.lib.precision], 1000, fallback=False)
            step, solved = jacobian.solve_forward(there.residual, accuracy)
            products = solved.products
            point = minus(inside, step, self.lib)
        else:
            point = list(here.point)
        assert isinstance(jacobian, Reduced)
        if jacobian.null_space is not None:
            point = [*point[: self.count], *self._inside(point, held, jacobian)]
        settled = self.linearise(point)
        found = settled.active
        if found is None or any(bool(self.lib.xp.any(a != b)) for a, b in zip(found.masks, held, strict=True)):
            return None, products  # no multipliers hold all that does not move
        return settled, products

    # What is held.

    def _is_clear(self, v: Arrays, u: Arrays, masks: Arrays) -> bool:
        """Whether the multipliers of what is held are inside their bounds."""
        return self._inside_by(v, u, masks, CLEAR)

    def _inside_by(self, v: Arrays, u: Arrays, masks: Arrays, margin: float) -> bool:
        lib = self.lib
        further = [lib.add(a, lib.multiply(lib.subtract(a, b), margin)) for a, b in zip(v, u, strict=True)]
        found = self.inspector.masks(further)
        return not any(bool(lib.xp.any((m == 0) & (f != 0))) for m, f in zip(masks, found, strict=True))

    # Multipliers.

    def _inside(self, point: Arrays, masks: Arrays, jacobian: Reduced) -> Arrays:
        """The proxes' arguments with multipliers of the held entries inside their bounds, where such are found."""
        lib, null, rows = self.lib, jacobian.null_space, jacobian.rows
        assert null is not None
        assert rows is not None
        places = self._places(point[: self.count])
        v = point[self.count :]
        p = [lib.multiply(lib.subtract(a, b), s) for a, b, s in zip(v, places, self.penalties, strict=True)]
        sweeps = SWEEPS if rows.size <= LARGE else SWEEPS // 4
        for margin in INSIDE:
            q = p
            for sweep in range(sweeps + 1):
                enough = CLEAR if sweep < sweeps else BARELY
                if sweep % LOOK == 0 and self._inside_by(self._arguments(places, q), places, masks, enough):
                    return self._arguments(places, q)
                if null.unique:
                    return v
                inner = self._projected(places, q, masks, margin)
                left = self.inspector.programs("back", self._back_recipe, *minus(q, inner, lib))
                moved = plus(inner, list(rows.unpack(null.multipliers(jacobian.space.pack(left)))), lib)
                q = plus(q, times(RELAXED, minus(moved, q, lib), lib), lib)
        return v

    def _arguments(self, places: Arrays, p: Arrays) -> Arrays:
        lib = self.lib
        return [lib.add(a, lib.multiply(q, 1.0 / s)) for a, q, s in zip(places, p, self.penalties, strict=True)]

    def _projected(self, places: Arrays, p: Arrays, masks: Arrays, margin: float) -> Arrays:
        """The multipliers of held entries, brought to inside their bounds by the margin; by Moreau's identity."""
        lib, wide = self.lib, 1.0 / (1.0 - margin)
        v = self._arguments(places, times(wide, p, lib))
        near = self.inspector.programs("proxes", self.inspector.proxes, *v)
        out = []
        for a, b, q, s, m in zip(v, near, p, self.penalties, masks, strict=True):
            inner = lib.multiply(lib.subtract(a, b), s / wide)
            out.append(lib.add(inner, lib.multiply(lib.subtract(q, inner), m)))
        return out

    def _places(self, x: Arrays) -> Arrays:
        """``K x + b`` for every split term."""
        equation = self.equation

        def recipe() -> Any:
            at = equation.by_variable(equation.x)
            return [ex.broadcast_to(s.place(at), s.v.shape) for s in equation.split], equation.x

        return self.inspector.programs("places", recipe, *x)

    def _back_recipe(self) -> Any:
        return self.equation.back(self.equation.v), self.equation.v
