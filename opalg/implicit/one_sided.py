"""One-sided derivatives, for solutions at a kink, where those from both sides differ.

The solution of an energy with l1, boxes and the like is smooth in a parameter on both sides of a kink, so its one-sided
derivative is the limit of the derivatives there (directional differentiability: Bonnans and Shapiro 2000, chapter 5).
The energy is solved again a step ``h`` to that side, where the active set is the one that holds for small moves; that
no other kink lies in between is read off the validity radius on the way back. The derivatives at ``h`` and ``h / 2``
are extrapolated to zero, which leaves an error of order ``h^2``, and none where the solution is piecewise linear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opalg.arrays import Backend
from opalg.errors import InexactSolutionError, ParameterError
from opalg.implicit.arguments import Request
from opalg.implicit.flags import ONE_SIDED
from opalg.implicit.gradients import Gradients
from opalg.implicit.programs import Arrays, size
from opalg.solving.solution import Solution

SIDES = {"right": 1.0, "left": -1.0}
ROUNDS = 8  # shorter steps that are tried where other kinks are near
BLUR = 20.0  # times the step, relative to the parameters: the part of the way back on which a kink counts as theirs

Moved = Callable[[Solution, Mapping[Any, Any]], Solution]


@dataclass(frozen=True)
class Way:
    """A way on which parameters leave their values.

    Attributes
    ----------
    lib : Backend
        Of values and directions.
    values : mapping from Parameter to array
    directions : mapping from Parameter to array
    sign : float
        1 to the right, -1 to the left.
    """

    lib: Backend
    values: Mapping[Any, Any]
    directions: Mapping[Any, Any]
    sign: float

    def at(self, h: float) -> dict[Any, Any]:
        """The values after a step."""
        lib, step = self.lib, self.sign * h
        return {p: lib.add(self.values[p], lib.multiply(d, step)) for p, d in self.directions.items()}

    @property
    def back(self) -> dict[Any, Any]:
        """The directions of the way back."""
        return {p: self.lib.multiply(d, -self.sign) for p, d in self.directions.items()}

    @property
    def relative_step(self) -> float:
        """The first step relative to the parameters: the cube root of the working precision, whose square is small."""
        return float(self.lib.epsilon ** (1 / 3))

    @property
    def first_step(self) -> float:
        """The first step, as a multiple of the directions."""
        sizes = [(size([self.values[p]], self.lib), size([d], self.lib)) for p, d in self.directions.items()]
        scales = [value / along for value, along in sizes if value > 0 and along > 0]
        longest = max((along for _, along in sizes), default=1.0)
        return self.relative_step * min(scales, default=1.0 / max(longest, self.lib.tiny))


def way_of(side: Any, request: Request, arrays: Arrays, binding: Any) -> Way:
    """The way to a side of the parameters of a request; raises ParameterError where there is no such thing."""
    if side not in SIDES:
        raise ParameterError(f"side is 'right' or 'left', not {side!r}")
    if request.weights is not None:
        raise ParameterError("side= moves parameters of the energy, not weights of networks; leave those out")
    lib, leaves = binding.lib, request.leaves
    values = {leaf: lib.asarray(binding.values.get(leaf, leaf.value), leaf.kind) for leaf in leaves}
    return Way(lib, values, dict(zip(leaves, arrays, strict=True)), SIDES[side])


def neighbours(solution: Solution, moved: Moved, way: Way, options: Mapping[str, Any]) -> tuple[Solution, Solution]:
    """The solutions a step and half a step away, with no kink between them and the parameters.

    Raises
    ------
    InexactSolutionError
        Where there is one however short the step.
    """
    h = way.first_step
    for _ in range(ROUNDS):
        there = moved(solution, way.at(h))
        free = there.validity_radius(way.back, **options)
        if free >= (1.0 - BLUR * way.relative_step) * h:
            return there, moved(solution, way.at(0.5 * h))
        h = 0.5 * (h - free)
    raise InexactSolutionError(
        f"there are kinks on the way to the {'right' if way.sign > 0 else 'left'}, the nearest after {2 * h:.1e}, so "
        f"the one-sided derivative is not resolved; solve to a smaller tol, or move the parameter"
    )


def change_to_side(solution: Solution, moved: Moved, way: Way, options: Mapping[str, Any]) -> Arrays:
    """The one-sided change of each variable along the directions."""
    far, near = (_parts(s.jvp(way.directions, **options)) for s in neighbours(solution, moved, way, options))
    return [2.0 * b - a for a, b in zip(far, near, strict=True)]


def gradient_to_side(
    solution: Solution, moved: Moved, way: Way, cotangent: Any, options: Mapping[str, Any], common: Mapping[str, Any]
) -> Gradients:
    """The one-sided derivative of ``Re <cotangent, x>`` in one real number, with what the steps left as its error."""
    (parameter,) = way.directions
    far, near = (s.vjp(cotangent, parameter, **options) for s in neighbours(solution, moved, way, common))
    value = 2.0 * near[parameter] - far[parameter]
    errors = near.error_estimates
    if errors is not None:
        apart = abs(float(near[parameter]) - float(far[parameter]))  # of order h; squared, of that of what is left
        left = apart * min(apart / max(abs(float(value)), way.lib.tiny), 1.0)
        errors = {parameter: 3.0 * errors[parameter] + left}
    flags = tuple(dict.fromkeys((*far.flags, *near.flags, ONE_SIDED)))
    return replace(
        near, values_by_parameter={parameter: value}, error_estimates=errors, flags=flags, debiased=None, proven=False
    )


def _parts(found: Any) -> Arrays:
    return list(found.values()) if isinstance(found, Mapping) else [found]
