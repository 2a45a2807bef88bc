"""Increasing equations such as ``u + t slope(u) = v``, entry by entry, to the rounding of the dtype.

Newton's method runs first, as compiled kernels over blocks that stay in the cache, and ends for a block when all its
entries have settled. Entries that have not settled then are gathered and solved by Newton's method inside a bracket: a
step that leaves the bracket, or is not much shorter than the one before, becomes a bisection, of the exponents where
the ends of the bracket differ by orders of magnitude. So 1e-300 and 1e300 are both found within a hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from math import inf, prod
from threading import Lock
from typing import Any

import numpy as np

from opalg.arrays.backend import Backend
from opalg.emit import BoundFunction, Function
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, pointwise

BLOCK = 1 << 15  # entries of eight bytes that NumPy solves at a time; smaller blocks cost more calls than they gain
_TORCH_BLOCK = 1 << 15  # the same on processors for Torch, whose calls cost more and run on several cores
_NEWTON = 9  # plain Newton steps before the bracket is asked
_OPENING = 3  # of these, the steps up to the first look at whether all entries have settled
_BRACKETED = 200  # steps inside the bracket; bisections alone end after some 120

U, V, T = Input("u", ()), Input("v", ()), Input("t", ())
LOWER, UPPER = Input("lower", ()), Input("upper", ())
_LAST, _GOING = Input("last", ()), Input("going", (), "bool")


@dataclass(frozen=True)
class Equation:
    """``residual(u) = 0`` for u, where the residual increases between two ends; formulas over `U`, `V` and `T`.

    Parameters
    ----------
    residual, rate : Expression
        The left side and its derivative in u.
    noise : Expression
        What the rounding of the residual is proportional to.
    parameters : tuple of Input
        Placeholders without axes.
    reach : Expression or None
        Another point such that the root lies between u and it; None where none is known.
    """

    residual: Expression
    rate: Expression
    noise: Expression
    parameters: tuple[Input, ...]
    reach: Expression | None = None


def stationary(slope: Expression, curvature: Expression, parameters: tuple[Input, ...], increasing: bool) -> Equation:
    """``u + t slope(u) = v``; ``increasing`` says that the slope increases, so that it bounds itself on one side."""
    residual, rate = (U - V) + T * slope, 1.0 + T * curvature
    return Equation(residual, rate, abs(U - V), parameters, V - T * slope if increasing else None)


def run(outputs: tuple[Expression, ...], inputs: tuple[Input, ...], arrays: list[Any], lib: Backend) -> list[Any]:
    """Formulas over scalar placeholders at flat arrays of one length, and numbers, as a compiled kernel."""
    sizes = {a.shape[0] for a in arrays if len(getattr(a, "shape", ()))}
    length = sizes.pop() if sizes else 0
    bound, lock = _kernel(outputs, inputs, tuple(len(getattr(a, "shape", ())) > 0 for a in arrays), length, lib)
    with lock:
        found = bound(*arrays)
        if length > 4 * BLOCK:
            bound.release()
    return list(found)


@lru_cache(maxsize=256)
def _kernel(
    outputs: tuple[Expression, ...], inputs: tuple[Input, ...], long: tuple[bool, ...], length: int, lib: Backend
) -> tuple[BoundFunction, Lock]:
    places = [Input(e.name, (length,) if wide else (), e.kind) for e, wide in zip(inputs, long, strict=True)]
    swap = dict(zip(inputs, places, strict=True))
    made = tuple(ex.broadcast_to(substitute(e, swap), (length,)) if any(long) else substitute(e, swap) for e in outputs)
    return Function(made, places, lib).bind(), Lock()


def spread(a: Any, shape: tuple[int, ...], lib: Backend) -> Any:
    """Data as a number, or as a flat array of one value for each entry of that shape."""
    if prod(a.shape) == 1:
        one = lib.xp.reshape(a, ())
        return float(lib.item(one).real) if lib.name == "numpy" else one
    return lib.xp.reshape(a if tuple(a.shape) == shape else lib.xp.broadcast_to(a, shape), (-1,))


def quiet(lib: Backend) -> AbstractContextManager[Any]:
    """NumPy warns of overflow where a trial point is far out; the bracket takes care of such points."""
    return np.errstate(all="ignore") if lib.name in ("numpy", "array_api_strict") else nullcontext()


def finite(x: Expression, lib: Backend) -> Expression:
    """Whether a real expression is neither infinite nor NaN."""
    return pointwise("less_equal", abs(x), largest(lib))


def largest(lib: Backend) -> float:
    """The largest number of the working precision."""
    return float(np.finfo(lib.precision).max)


def _is_number(x: Expression) -> Expression:
    return pointwise("greater_equal", x, x)


def _both(a: Expression, b: Expression) -> Expression:
    return pointwise("logical_and", a, b)


def _either(a: Expression, b: Expression) -> Expression:
    return pointwise("logical_not", _both(pointwise("logical_not", a), pointwise("logical_not", b)))


def clipped(x: Expression, ends: tuple[bool, bool]) -> Expression:
    """x between those of the two ends that are finite."""
    x = ex.maximum(x, LOWER) if ends[0] else x
    return ex.minimum(x, UPPER) if ends[1] else x


@lru_cache(maxsize=256)
def _newton(
    equation: Equation, ends: tuple[bool, bool], opened: tuple[bool, bool], lib: Backend
) -> tuple[Expression, Expression]:
    """A Newton step, and which entries it has not settled."""
    rate = equation.rate
    moved = U - equation.residual / rate
    # an end where the slope is infinite is approached by factors, since nothing can be computed on it
    moved = ex.maximum(moved, 0.125 * U + 0.875 * LOWER) if opened[0] else moved
    moved = ex.minimum(moved, 0.125 * U + 0.875 * UPPER) if opened[1] else moved
    moved = clipped(moved, (ends[0] and not opened[0], ends[1] and not opened[1]))
    # a residual that the step squares to nothing: rates are at least 1 where the slope increases
    convex, rest, small = equation.reach is not None, abs(equation.residual), lib.epsilon**0.7
    scale = ex.as_expression(small) if convex else small * ex.minimum(rate, 1.0)
    if any(ends):  # at an end the residual may be anything, so that the step counts as well
        near = pointwise("less_equal", abs(moved - U), small * abs(moved))
        # an infinite rate stops the step anywhere, and a negative one holds it at the wrong end
        near = _both(near, pointwise("less_equal", rate, largest(lib)))
        near = near if convex else _both(near, pointwise("greater", rate, 0.0))
        settled = _either(near, pointwise("less_equal", rest, scale * equation.noise))
    else:
        settled = pointwise("less_equal", rest, scale * (equation.noise + abs(moved)))
    if all(ends) and not any(opened):
        settled = _either(settled, pointwise("less_equal", UPPER, LOWER))
    return moved, pointwise("logical_not", settled)


@lru_cache(maxsize=256)
def _opening(
    equation: Equation, ends: tuple[bool, bool], opened: tuple[bool, bool], start: Expression, lib: Backend
) -> tuple[Expression, Expression]:
    """The first steps from a formula, and which entries the last of them has not settled."""
    step = _newton(equation, ends, opened, lib)
    for _ in range(_OPENING - 1):
        start = substitute(step[0], {U: start})
    return substitute(step[0], {U: start}), substitute(step[1], {U: start})


@lru_cache(maxsize=256)
def _bracketed(equation: Equation, lib: Backend) -> tuple[Expression, ...]:
    """One step inside the bracket: the point, both ends, the length of the step, and which entries go on."""
    value, rate = equation.residual, equation.rate
    value = ex.where(_is_number(value), value, U - V)  # a formula fails far out only, where the identity rules
    low = ex.where(pointwise("less_equal", value, 0.0), U, LOWER)
    high = ex.where(pointwise("greater_equal", value, 0.0), U, UPPER)
    newton = U - value / rate
    length = abs(newton - U)
    usable = pointwise("less_equal", rate, largest(lib))
    inside = _both(pointwise("greater", newton, low), pointwise("less", newton, high))
    # a power is left by Newton's method from far out in steps of one factor: bisecting exponents is faster
    creeping = pointwise("less", abs(newton), 0.3 * abs(U))
    quick = _both(pointwise("less_equal", length, 0.25 * _LAST), pointwise("logical_not", creeping))
    accepted = _both(_both(inside, usable), quick)
    target = ex.where(accepted, newton, _middle(low, high, lib))
    settled = _both(pointwise("less_equal", length, lib.epsilon**0.75 * abs(U)), usable)
    settled = _either(settled, pointwise("less_equal", abs(value), 2 * lib.epsilon * equation.noise))
    settled = _either(settled, pointwise("less_equal", abs(value), 0.0))
    polished = ex.minimum(ex.maximum(ex.where(_both(_is_number(newton), usable), newton, U), low), high)
    narrow = pointwise("less_equal", high - low, 2 * lib.epsilon * ex.maximum(abs(low), abs(high)) + lib.tiny)
    found = ex.where(settled, polished, target)
    going = _both(_GOING, pointwise("logical_not", _either(settled, narrow)))
    return (
        ex.where(_GOING, found, U),
        ex.where(_GOING, low, LOWER),
        ex.where(_GOING, high, UPPER),
        abs(found - U),
        going,
    )


def _middle(low: Expression, high: Expression, lib: Backend) -> Expression:
    """Zero where the ends have different signs, their geometric mean where they are far apart, else their mean."""
    crossing = _both(pointwise("less", low, 0.0), pointwise("greater", high, 0.0))
    big = ex.maximum(abs(low), abs(high))
    small = ex.minimum(abs(low), abs(high))
    small = ex.maximum(ex.where(pointwise("greater", small, 0.0), small, 1e-20 * big), lib.tiny)
    geometric = pointwise("sign", low + high) * (ex.sqrt(small) * ex.sqrt(big))
    apart = pointwise("greater", big, 16.0 * small)
    return ex.where(crossing, 0.0, ex.where(apart, geometric, low + 0.5 * (high - low)))


@lru_cache(maxsize=256)
def _reach(equation: Equation, lib: Backend) -> tuple[Expression, Expression]:
    """The bracket of a root that a point gives: its slope bounds those on one side of it, where slopes increase."""
    value, reach = equation.residual, equation.reach
    assert reach is not None
    value = ex.where(_is_number(value), value, U - V)
    low = ex.maximum(LOWER, -0.25 * largest(lib))
    high = ex.minimum(UPPER, 0.25 * largest(lib))
    above = pointwise("greater", value, 0.0)
    downwards = ex.where(_is_number(reach), ex.maximum(ex.minimum(reach, U), low), low)
    upwards = ex.where(_is_number(reach), ex.minimum(ex.maximum(reach, U), high), high)
    return ex.where(above, downwards, ex.maximum(U, low)), ex.where(above, ex.minimum(U, high), upwards)


@lru_cache(maxsize=64)
def _widest(lib: Backend) -> tuple[Expression, Expression]:
    return ex.maximum(LOWER, -0.25 * largest(lib)), ex.minimum(UPPER, 0.25 * largest(lib))


@dataclass(frozen=True)
class Problem:
    """The equation at data: flat arrays of one length, or numbers, in the order of its inputs.

    Parameters
    ----------
    equation : Equation
        What to solve.
    v, t : array or number
        Its right side, a flat array, and the step.
    parameters : list of array or number
        Values of the parameters.
    lower, upper : array or float
        The ends between which the left side increases.
    start : array or Expression
        Where Newton's method begins: an array, or a formula in the inputs.
    opened : pair of bool
        Whether the residual is infinite at the lower and at the upper end.
    """

    equation: Equation
    v: Any
    t: Any
    parameters: list[Any]
    lower: Any
    upper: Any
    start: Any
    opened: tuple[bool, bool] = (False, False)

    def part(self, choose: Callable[[Any], Any]) -> Problem:
        """The problem for some entries: ``choose`` takes them from an array."""

        def take(a: Any) -> Any:
            return choose(a) if len(getattr(a, "shape", ())) else a

        parameters = [take(p) for p in self.parameters]
        ends = take(self.lower), take(self.upper)
        return Problem(self.equation, take(self.v), take(self.t), parameters, *ends, take(self.start), self.opened)


def solve(problem: Problem, lib: Backend, flat: bool = False) -> Any:
    """The roots, a fresh flat array; an entry without one gets the end nearest to it, NaN gets NaN.

    Parameters
    ----------
    problem : Problem
        What to solve, on at least one entry.
    lib : Backend
        The library of its arrays.
    flat : bool
        Whether the rate may vanish far from the root, so that only brackets are safe.
    """
    length = problem.v.shape[0]
    if flat:
        return _mend(problem, lib.copy(problem.v), problem.v == problem.v, lib)
    block = _block(lib, length)
    if length <= block:
        found, open_ = _plain(problem, lib)
        return _mend(problem, found, open_, lib)
    found, open_ = lib.empty((length,)), lib.empty((length,), "bool")
    for begin in range(0, length, block):
        rows = slice(begin, min(begin + block, length))
        found[rows], open_[rows] = _plain(problem.part(lambda a: a[rows]), lib)  # noqa: B023
    return _mend(problem, found, open_, lib)


def _block(lib: Backend, length: int) -> int:
    """How many entries to solve at a time; on graphics cards and in unknown libraries all."""
    if lib.name == "torch" and str(lib.device) == "cpu":
        return _TORCH_BLOCK
    return BLOCK << (lib.precision == "float32") if lib.name == "numpy" else length


def _plain(p: Problem, lib: Backend) -> tuple[Any, Any]:
    """Newton's method, and which entries it has not settled."""
    ends = (has_end(p.lower), has_end(p.upper))
    inputs, data = _arguments(p, ends)
    formula = p.start if isinstance(p.start, Expression) else U
    names, given = (inputs, data) if formula is p.start else ((U, *inputs), [p.start, *data])
    u, open_ = run(_opening(p.equation, ends, p.opened, formula, lib), names, given, lib)
    steps = _newton(p.equation, ends, p.opened, lib)
    for turn in range(_OPENING, _NEWTON):
        if (turn % 2 or lib.name == "numpy") and not lib.xp.any(open_):
            break
        u, open_ = run(steps, (U, *inputs), [u, *data], lib)
    return u, open_


def has_end(end: Any) -> bool:
    """Whether an end is given: an array of ends, or a finite number."""
    return len(getattr(end, "shape", ())) > 0 or abs(float(end)) < inf


def _arguments(p: Problem, ends: tuple[bool, bool] = (True, True)) -> tuple[tuple[Input, ...], list[Any]]:
    given = [(V, p.v), (T, p.t), *zip(p.equation.parameters, p.parameters, strict=True)]
    given += [(LOWER, p.lower)] * ends[0] + [(UPPER, p.upper)] * ends[1]
    return tuple(e for e, _ in given), [a for _, a in given]


def _mend(problem: Problem, found: Any, open_: Any, lib: Backend) -> Any:
    """The entries that Newton's method left open, solved inside brackets."""
    if not lib.xp.any(open_):
        return found
    places = lib.xp.nonzero(open_)[0]
    block = _block(lib, places.shape[0])
    parts = [_some_inside(problem, places[i : i + block], lib) for i in range(0, places.shape[0], block)]
    found[open_] = lib.xp.concat(parts) if len(parts) > 1 else parts[0]
    return found


def _some_inside(problem: Problem, places: Any, lib: Backend) -> Any:
    """The roots at some entries."""
    padded = _padded(places, lib)
    part = problem.part(lambda a: lib.xp.take(a, padded, axis=0))
    return _inside(part, lib)[: places.shape[0]]


def _padded(places: Any, lib: Backend) -> Any:
    """Positions with the last one repeated up to a power of two, so that few lengths are compiled."""
    width = int(places.shape[0])
    more = (1 << max(3, (width - 1).bit_length())) - width
    return lib.xp.concat([places, lib.xp.broadcast_to(places[-1:], (more,))]) if more else places


def _inside(p: Problem, lib: Backend) -> Any:
    """Newton's method inside brackets."""
    inputs, data = _arguments(p)
    u = run((p.start,), inputs, data, lib)[0] if isinstance(p.start, Expression) else p.start
    length = p.v.shape[0]
    bracket = _reach(p.equation, lib) if p.equation.reach is not None else _widest(lib)
    lower, upper = run(bracket, (U, *inputs), [u, *data], lib)
    free = (V, T, *p.equation.parameters)
    values = data[: len(free)]
    going = run((_started(lib),), (V, T), [p.v, p.t], lib)[0]
    last = lib.zeros((length,)) + largest(lib)
    steps, names = _bracketed(p.equation, lib), (U, LOWER, UPPER, _LAST, _GOING, *free)
    for turn in range(_BRACKETED):
        u, lower, upper, last, going = run(steps, names, [u, lower, upper, last, going, *values], lib)
        if (turn % 4 == 3 or lib.name == "numpy") and not lib.xp.any(going):
            break
    ends = (has_end(p.lower), has_end(p.upper))
    inputs, data = _arguments(p, ends)
    return run((_settled(ends, lib),), (U, *inputs), [u, *data], lib)[0]


@lru_cache(maxsize=64)
def _started(lib: Backend) -> Expression:
    return _both(finite(V, lib), pointwise("greater", T + 0.0 * V, 0.0))


@lru_cache(maxsize=64)
def _settled(ends: tuple[bool, bool], lib: Backend) -> Expression:
    """The root; the nearest point of the domain where the step is zero or v is not finite."""
    return ex.where(_started(lib), U, clipped(V, ends))


__all__ = [
    "BLOCK",
    "LOWER",
    "UPPER",
    "Equation",
    "Problem",
    "T",
    "U",
    "V",
    "clipped",
    "finite",
    "has_end",
    "largest",
    "quiet",
    "run",
    "solve",
    "spread",
    "stationary",
]
