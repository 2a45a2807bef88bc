"""Nesterov's acceleration with restart, and backtracking that can also grow the step."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any

from opalg.arrays import Backend
from opalg.emit import BoundFunction
from opalg.iterations.compiled import State, own
from opalg.iterations.iteration import Iteration
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input

SHRINK, GROW = 0.5, 1.3
ROUNDING = 16.0  # multiples of epsilon times |f| by which a decrease may be missed


def accelerated(
    state: tuple[Input, ...],
    step: tuple[Expression, ...],
    smooth_value: Callable[[tuple[Expression, ...]], Expression] | None = None,
    smooth_gradient: Callable[[tuple[Expression, ...]], list[Expression]] | None = None,
) -> tuple[list[Expression], list[Input]]:
    """The program of one accelerated step.

    From ``x``, the iterate before it and the momentum ``beta``, with ``y = x + beta (x - x_before)``: the next iterate
    ``T(y)``, ``Re <y - x+, x+ - x>`` for the restart test and ``|x+ - y|^2``; with a smooth part for backtracking also
    ``f(x+) - f(y) - Re <grad f(y), x+ - y>`` and ``f(y)``.

    Returns
    -------
    outputs, inputs
    """
    before = tuple(Input(f"{x.name}_before", x.shape, x.kind) for x in state)
    beta = Input("beta", (), "real")
    ahead = tuple(x + beta * (x - b) for x, b in zip(state, before, strict=True))
    replaced = dict(zip(state, ahead, strict=True))
    following = tuple(substitute(s, replaced) for s in step)
    moves = [n - y for n, y in zip(following, ahead, strict=True)]
    progress = [n - x for n, x in zip(following, state, strict=True)]
    against = sum_of([-ex.inner(m, p) for m, p in zip(moves, progress, strict=True)])
    moved = sum_of([ex.norm_squared(m) for m in moves])
    outputs = [*following, against, moved]
    if smooth_value is not None and smooth_gradient is not None:
        slopes = smooth_gradient(ahead)
        here = smooth_value(ahead)
        linear = sum_of([ex.inner(g, m) for g, m in zip(slopes, moves, strict=True)])
        outputs += [smooth_value(following) - here - linear, here]
    return outputs, [*state, *before, beta]


class Nesterov(Iteration):
    """Accelerated iteration of a compiled proximal gradient map.

    Parameters
    ----------
    step : BoundFunction
        The program of `accelerated`.
    lib : Backend
        Library, device and precision.
    control : Input
        The step size among the program's controls.
    step_size : float
        Its start value.
    backtrack : bool
        Whether the step is to be found by backtracking; else it stays.

    Notes
    -----
    The momentum is reset where it points uphill, ``Re <y - x+, x+ - x> > 0`` (O'Donoghue and Candes 2015, equation 13).
    With a step that changes from ``s`` to ``t``, the next momentum parameter is
    ``(1 + sqrt(1 + 4 (s / t) theta^2)) / 2`` (Scheinberg, Goldfarb and Bai 2014). The residual is the norm of the
    gradient map, ``|x+ - y| / t``.
    """

    def __init__(self, step: BoundFunction, lib: Backend, control: Any, step_size: float, backtrack: bool) -> None:
        self.step, self.lib, self.control = step, lib, control
        self.step_size, self.backtrack = step_size, backtrack

    def start(self, z0: State) -> None:
        """Set up from an initial state, which is copied."""
        self._reset()
        self._x = tuple(own(a, self.lib) for a in z0)
        self._before = tuple(own(a, self.lib) for a in z0)
        self._spare: State | None = None
        self._theta, self._beta = 1.0, 0.0
        self.restarts = 0

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        while True:
            following, against, moved, rest = self._try()
            if not isfinite(moved):
                if self.backtrack and self.step_size > 1e-300:
                    self._change_step(SHRINK)
                    continue
                return self._stop("nonfinite", "an iterate became NaN or infinite; the state is the one before it.")
            if not self.backtrack or self._accept(moved, rest):
                break
        self._spare, self._before, self._x = self._before, self._x, following
        self.residual = sqrt(moved) / self.step_size
        self._momentum(against)
        return self.residual

    @property
    def state(self) -> State:
        return self._x

    def _try(self) -> tuple[State, float, float, list[float]]:
        count = len(self._x)
        room = None if self._spare is None else (*self._spare, *([None] * (4 if self.backtrack else 2)))
        results = self.step(*self._x, *self._before, self._beta, out=room)
        self.products += 1
        numbers = [float(complex(self.lib.item(r) if hasattr(r, "dtype") else r).real) for r in results[count:]]
        self._spare = results[:count]
        return results[:count], numbers[0], numbers[1], numbers[2:]

    def _accept(self, moved: float, rest: list[float]) -> bool:
        excess, here = rest
        rounding = ROUNDING * self.lib.epsilon * abs(here)
        allowed = moved / (2.0 * self.step_size)
        if excess > allowed + rounding:
            self._change_step(SHRINK)
            return False
        self._room_to_grow = excess <= 0.7 * allowed and allowed > 8 * rounding
        return True

    def _momentum(self, against: float) -> None:
        old = self.step_size
        if self.backtrack and self._room_to_grow:
            self._change_step(GROW)
        if against > 0:
            self._theta, self._beta = 1.0, 0.0
            self.restarts += 1
            return
        theta = 0.5 * (1.0 + sqrt(1.0 + 4.0 * (old / self.step_size) * self._theta**2))
        self._beta, self._theta = (self._theta - 1.0) / theta, theta

    def _change_step(self, factor: float) -> None:
        self.step_size *= factor
        self.step.set_controls({self.control: self.step_size})
