"""Proximal gradient with a line search that can also grow: a step of its own for each sample of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from opalg.arrays import Backend
from opalg.iterations.compiled import State, own
from opalg.iterations.iteration import Iteration
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Input, Reduce

SHRINK, GROW = 0.5, 1.2
LONGEST = 1e15  # where the smooth part is flat; squares of what it makes are finite in single precision
TRIALS = 60  # rejections in a row after which no step will be accepted
ROUNDING = 4.0  # multiples of epsilon by which what a gradient is computed from is known
UNRESOLVED = 64.0  # multiples of epsilon times the energy below which a decrease says nothing
SHORT = 100.0  # multiples of epsilon times |x|^2 below which a squared move changes no energy that is worth a look
CONVERGED = "converged"

Program = tuple[list[Expression], list[Input]]


class SearchPrograms(NamedTuple):
    """Outputs and inputs of the four programs of a line search.

    Attributes
    ----------
    slope
        From ``x``: the gradient of the smooth part, and for a test by values ``f`` and the magnitudes of its terms.
    trial
        From ``x``, the gradient there and the steps: ``x+``.
    measure
        From ``x``, ``x+`` and the gradient at ``x``: ``|x+ - x|^2``, ``|x+|^2``, the squared gradient, and that at
        zero, of each sample.
    compare
        From ``x``, ``x+`` and both gradients: ``Re <grad f(x+) - grad f(x), x+ - x>``, the squared gradient at ``x+``
        and ``Re <grad f(x), x+ - x>``, of each sample.
    """

    slope: Program
    trial: Program
    measure: Program
    compare: Program


def search_programs(
    state: tuple[Input, ...],
    sample_axes: int,
    steps: tuple[Input, ...],
    gradient: Callable[[tuple[Expression, ...]], list[Expression]],
    trial: Callable[..., list[Expression]],
    value: Callable[[tuple[Expression, ...]], tuple[Expression, Expression]] | None,
    slopes_at_zero: Sequence[Expression],
) -> SearchPrograms:
    """The programs that `Backtracking` calls, for gradient, proximal step and value as formulas of a state."""
    following, slopes, others = (
        tuple(Input(f"{x.name}_{name}", x.shape, x.kind) for x in state) for name in ("next", "slope", "slope_next")
    )

    def inner(u: Sequence[Expression], v: Sequence[Expression]) -> Expression:
        return sum_of([_inner(a, b, sample_axes) for a, b in zip(u, v, strict=True)])

    moves = [b - a for a, b in zip(state, following, strict=True)]
    bent = [b - a for a, b in zip(slopes, others, strict=True)]
    at_zero = [ex.broadcast_to(g, x.shape) for g, x in zip(slopes_at_zero, state, strict=True)]
    measured = [inner(a, a) for a in (moves, following, slopes, at_zero)]
    compared = [inner(bent, moves), inner(others, others), inner(slopes, moves)]
    return SearchPrograms(
        ([*gradient(state), *(() if value is None else value(state))], [*state]),
        (trial(state, slopes, steps), [*state, *slopes, *dict.fromkeys(steps)]),
        (measured, [*state, *following, *slopes]),
        (compared, [*state, *following, *slopes, *others]),
    )


def _inner(u: Expression, v: Expression, sample_axes: int) -> Expression:
    """The real inner product of each sample."""
    if u.ndim == sample_axes:
        return ex.square_abs(u) if u is v else _products(u, v)
    if not sample_axes:
        return ex.norm_squared(u) if u is v else ex.inner(u, v)
    products = ex.square_abs(u) if u is v else _products(u, v)
    return Reduce("sum", products, tuple(range(sample_axes - u.ndim, 0)))


def _products(u: Expression, v: Expression) -> Expression:
    if u.kind != "complex":
        return u * v
    first, second = (ex.pointwise(part, u) * ex.pointwise(part, v) for part in ("real", "imag"))
    return first + second


class Backtracking(Iteration):
    """``x+ = prox_{t h}(x - t grad f(x))`` with a step t for each sample that a test accepts.

    A rejected step is halved, an accepted one grows by a fifth where it would have been accepted still. The gradient at
    ``x+`` is the one that the next step needs, so an accepted step costs one gradient. A sample that has converged, or
    for which no step can be accepted, stays as it is while the others go on.

    Parameters
    ----------
    slope, trial, measure, compare : callable
        The compiled programs of `search_programs`; ``trial`` takes the step as a control where there are no samples.
    lib : Backend
        Library, device and precision.
    control : Input or None
        The step among the controls of ``trial``; None where it takes one for each sample.
    shape : tuple of int
        The axes of samples.
    step_size : float
        The first step of every sample.
    test : {"gradient", "value"}
        What accepts a step: ``Re <grad f(x+) - grad f(x), x+ - x> <= |x+ - x|^2 / t``, or
        ``f(x+) <= f(x) + Re <grad f(x), x+ - x> + |x+ - x|^2 / (2 t)``.
    tolerance : float
        The relative residual at which a sample has converged.
    has_prox : bool
        Whether gradients need not vanish at a solution, so that residuals may be relative to them.
    guesses : bool
        Whether the curvature along a first trial improves the first step, for one more gradient.

    Attributes
    ----------
    steps, residuals, relative : NumPy array, shape ``(samples,)``
        The step of each sample, ``|x+ - x| / t``, and that over the larger of the gradients at zero and (with a prox)
        at ``x``; over the first residual where these vanish.
    counts : NumPy array of int
        Accepted steps of each sample.
    outcomes : list of str or None
        For each sample None while it goes on, ``"converged"``, ``"nonfinite"`` or ``"stagnated"``.

    Notes
    -----
    For convex f and h the test by gradients implies that the energy does not increase: with
    ``f(x+) <= f(x) + Re <grad f(x+), x+ - x>`` and ``h(x+) <= h(x) - Re <grad f(x), x+ - x> - |x+ - x|^2 / t``. For a
    quadratic f it is the test by values. Unlike differences of values it has no cancellation: both sides are known up
    to the rounding of gradients, and by that much the test is relaxed, so that steps do not collapse where rounding is
    all that is left. The test by values leaves the decision to that by gradients where the precision does not resolve
    a decrease.

    References
    ----------
    Beck and Teboulle (2009), backtracking; Scheinberg, Goldfarb and Bai (2014) for steps that grow; Hager and Zhang
    (2005), section 4, for slopes in the place of values that rounding hides.
    """

    def __init__(
        self,
        programs: Sequence[Any],
        lib: Backend,
        control: Any,
        shape: tuple[int, ...],
        step_size: float,
        *,
        test: str = "gradient",
        tolerance: float = 0.0,
        has_prox: bool = False,
        guesses: bool = False,
    ) -> None:
        self.slope, self.trial, self.measure, self.compare = programs
        self.lib, self.control, self.shape, self.test = lib, control, shape, test
        self.first_step, self.tolerance = float(step_size), float(tolerance)
        self.has_prox, self.guesses = has_prox, guesses

    def start(self, z0: State) -> None:
        """Set up from an initial state, which is copied; takes one gradient, and one more for a guess of the step."""
        self._reset()
        self._x: State = tuple(own(a, self.lib) for a in z0)
        samples = prod(self.shape)
        self.steps = np.full(samples, self.first_step)
        self.counts = np.zeros(samples, dtype=int)
        self.outcomes: list[str | None] = [None] * samples
        self.residuals, self.relative = np.full(samples, inf), np.full(samples, inf)
        self._first = np.full(samples, np.nan)
        self._z = self._x
        with np.errstate(all="ignore"):
            self._g, self._f = self._slope(self._x)
            self._propose(self._active)
            if self.guesses:
                self._guess()
            self._settle()

    def advance(self) -> float:
        if self.outcome is not None:
            return self.residual
        with np.errstate(all="ignore"):
            accepted, slopes, values = self._search()
            self._x = self._chosen(accepted, self._z, self._x)
            self._g = self._chosen(accepted, slopes, self._g)
            self._f = values if accepted.any() else self._f
            self.counts += accepted
            self._grow(accepted)
            self._propose(accepted)
            self._settle()
        return self.residual

    @property
    def state(self) -> State:
        return self._x

    @property
    def step_size(self) -> float:
        """The shortest step."""
        return float(self.steps.min(initial=LONGEST))

    # One step.

    def _search(self) -> tuple[np.ndarray, State, np.ndarray]:
        """Shorten the steps of samples until each that can has an accepted one."""
        accepted, pending = np.zeros(len(self.steps), dtype=bool), self._active
        for trial in range(TRIALS):
            slopes, values = self._slope(self._z)
            curvature, squared, linear = self._host(self.compare(*self._x, *self._z, *self._g, *slopes))
            known = np.isfinite(curvature) & np.isfinite(squared) & np.isfinite(self._moved)
            good = known & self._passes(curvature, squared, linear, values)
            accepted |= pending & good
            pending = pending & ~good
            self._curvature = curvature
            if not pending.any():
                break
            if trial == TRIALS - 1:
                self._end(pending & known, "stagnated")
                self._end(pending & ~known, "nonfinite")
                break
            self.steps = np.where(pending, self.steps * self._factor(curvature, known), self.steps)
            self._propose(pending)
        return accepted, slopes, values

    def _passes(self, curvature: np.ndarray, squared: np.ndarray, linear: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The test, relaxed by rounding."""
        room = self._moved / self.steps
        lengths = np.sqrt(self._slopes) + np.sqrt(squared) + np.sqrt(self._size) / self.steps
        self._slack = ROUNDING * self.lib.epsilon * lengths * np.sqrt(self._moved)
        by_gradients: np.ndarray = curvature <= room + self._slack
        if self.test == "gradient":
            return by_gradients
        size = max(self._f[1], values[1])
        resolved = 0.5 * room > UNRESOLVED * self.lib.epsilon * size
        resolved &= self._moved > SHORT * self.lib.epsilon * self._size
        excess = values[0] - self._f[0] - linear
        by_values: np.ndarray = excess <= 0.5 * room + 0.25 * UNRESOLVED * self.lib.epsilon * size
        return np.where(resolved, by_values, by_gradients)

    def _factor(self, curvature: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Halvings: one, or as many as the curvature along the rejected move asks for, since those between would fail.

        A gradient that is not finite says nothing but that the step was far too long.
        """
        excess = np.where(known, curvature * self.steps / self._moved, 0.0)
        halvings = np.ceil(np.log2(np.clip(excess, 2.0, 2.0**TRIALS)))
        return np.where(known, SHRINK**halvings, SHRINK**4)

    def _grow(self, accepted: np.ndarray) -> None:
        """Longer steps where one would have passed still, by more than rounding."""
        room = self._moved / self.steps
        more = accepted & (GROW * self._curvature <= room) & (room > 4.0 * self._slack)
        self.steps = np.where(more, np.minimum(GROW * self.steps, LONGEST), self.steps)

    def _guess(self) -> None:
        """The inverse of the curvature along the first trial as the first step."""
        slopes, _ = self._slope(self._z)
        curvature = self._host(self.compare(*self._x, *self._z, *self._g, *slopes))[0]
        known = np.isfinite(curvature) & (curvature > 0) & (self._moved > 0)
        found = np.where(known, self._moved / np.where(known, curvature, 1.0), self.steps)
        self.steps = np.clip(found, 1.0 / LONGEST, LONGEST)
        self._propose(self._active)

    def _slope(self, x: State) -> tuple[State, np.ndarray]:
        """The gradient at a point, and the values that come along for a test by values."""
        found = self.slope(*x)
        self.products += 1
        count = len(x)
        return found[:count], np.array([float(self._number(v)) for v in found[count:]])

    def _propose(self, which: np.ndarray) -> None:
        """The next trial of some samples that go on; the others' is where they are, or what has been accepted."""
        which = which & self._active
        if self.control is None:
            arrays = [self._column(self.steps, x) for x in self._x]
            found = self.trial(*self._x, *self._g, *arrays)
        else:
            self.trial.set_controls({self.control: float(self.steps[0])})
            found = self.trial(*self._x, *self._g)
        self._z = self._chosen(which, found, self._chosen(self._active, self._z, self._x))
        measured = self._host(self.measure(*self._x, *self._z, *self._g))
        self._moved, self._size, self._slopes, self._at_zero = measured

    def _settle(self) -> None:
        """The residuals at the state, and which samples they end."""
        going = self._active
        residuals = np.sqrt(self._moved) / self.steps
        self._first = np.where(np.isnan(self._first), residuals, self._first)
        natural = np.sqrt(np.maximum(self._at_zero, self._slopes) if self.has_prox else self._at_zero)
        scales = np.where(natural > 0, natural, self._first)
        relative = np.where(residuals > 0, residuals / np.where(scales > 0, scales, 1.0), residuals)
        self.residuals = np.where(going, residuals, self.residuals)
        self.relative = np.where(going, relative, self.relative)
        self._end(going & ~np.isfinite(self._slopes), "nonfinite")
        self._end(going & (self.relative <= self.tolerance), CONVERGED)
        self.residual = sqrt(float(np.sum(self.residuals**2)))
        if None not in self.outcomes:
            self._close()

    def _close(self) -> None:
        """The common outcome once each sample has one; a loop tests its tolerance before it looks at this."""
        failed = [i for i, outcome in enumerate(self.outcomes) if outcome == "nonfinite"]
        if failed:
            self._stop("nonfinite", f"the gradient is not finite for {len(failed)} samples, sample {failed[0]} first.")
        else:
            self._stop("stagnated", "every sample has converged, or moves no more.")

    # Samples.

    @property
    def _active(self) -> np.ndarray:
        return np.array([outcome is None for outcome in self.outcomes], dtype=bool)

    def _end(self, which: np.ndarray, outcome: str) -> None:
        for i in np.flatnonzero(which):
            self.outcomes[i] = outcome

    def _chosen(self, which: np.ndarray, yes: State, no: State) -> State:
        """The first arrays for some samples, the second for the others."""
        if which.all() or not which.any():
            return yes if which.all() else no
        where = self.lib.xp.where
        return tuple(where(self._mask(which, a), a, b) for a, b in zip(yes, no, strict=True))

    def _mask(self, which: np.ndarray, like: Any) -> Any:
        return self._column(which.astype(float), like) > 0.5

    def _column(self, values: np.ndarray, like: Any) -> Any:
        """Numbers of the samples with axes of length 1 beside them."""
        shape = (*self.shape, *(1,) * (len(like.shape) - len(self.shape)))
        return self.lib.asarray(values.reshape(shape), "real")

    def _host(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Numbers of the samples on the host, brought over at once."""
        if not self.shape:
            return [np.array([self._number(v)]) for v in values]
        found = np.asarray(self.lib.to_numpy(self.lib.xp.stack(list(values))), dtype=np.float64)
        return list(found.reshape(len(values), -1))

    def _number(self, value: Any) -> float:
        return float(complex(self.lib.item(value) if hasattr(value, "dtype") else value).real)


__all__ = ["Backtracking", "SearchPrograms", "search_programs"]
