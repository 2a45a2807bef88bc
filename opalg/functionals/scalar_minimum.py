"""The global minimiser of ``phi(u) + (u - v)^2 / (2 t)`` where phi is not convex, entry by entry.

Between two turning points of phi'' the rate ``1 + t phi''`` is monotone, so it is nonnegative on one section, whose end
a monotone equation gives; on that section ``u + t phi'(u)`` increases, and another monotone equation gives its only
local minimum. Kinks and ends of the domain join these candidates, and the best of all is the minimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf
from typing import Any

from opalg.arrays.backend import Backend
from opalg.functionals.scalar_function import ScalarFunction, derivative_of
from opalg.functionals.scalar_solver import (
    LOWER,
    UPPER,
    Equation,
    Problem,
    T,
    U,
    V,
    clipped,
    finite,
    has_end,
    largest,
    run,
    solve,
)
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal, pointwise

_BEST = Input("best", ())
_FAR = (0.125, 0.25, 0.5, 0.9)  # powers of the largest number that stand for infinity: the last that does not overflow


@dataclass(frozen=True)
class _Section:
    """Where the rate is nonnegative between two turning points: numbers, or arrays of one value for each entry."""

    lower: Any
    upper: Any
    from_begin: bool = True  # whether it begins where its interval does, and likewise ends
    to_end: bool = True


def minimise(f: ScalarFunction, v: Any, t: Any, values: list[Any], lib: Backend) -> Any:
    """The minimisers, a fresh flat array.

    Parameters
    ----------
    f : ScalarFunction
        The function, with its turning points.
    v : array
        Flat.
    t : array or number
        The step.
    values : list of array or number
        Values of the function's parameters.
    lib : Backend
        The library of the arrays.
    """
    given, v = v, run((abs(V),), (V,), [v], lib)[0] if f.even else v
    names, data = (V, T, *f.parameters), [v, t, *values]
    best = None
    for candidate in [*_stationary_points(f, v, t, values, lib), *_corners(f, v, values, lib)]:
        if best is None:
            best = candidate
        else:
            (best,) = run((_better(f, lib),), (U, _BEST, *names), [candidate, best, *data], lib)
    best = lib.copy(v) if best is None else best
    if not f.even and isinstance(t, float) and t > 0:
        return best
    ends, more_names, more = _ends(f.lower, f.upper)
    turned = pointwise("sign", V) * U if f.even else U
    chosen = ex.where(pointwise("greater", T + 0.0 * V, 0.0), turned, clipped(V, ends))
    return run((chosen,), (U, V, T, *more_names), [best, given, t, *more], lib)[0]


def _ends(lower: Any, upper: Any) -> tuple[tuple[bool, bool], tuple[Input, ...], list[Any]]:
    """Which ends there are, their placeholders, and their values."""
    ends = has_end(lower), has_end(upper)
    return ends, ((LOWER,) * ends[0] + (UPPER,) * ends[1]), [lower] * ends[0] + [upper] * ends[1]


def _stationary_points(f: ScalarFunction, v: Any, t: Any, values: list[Any], lib: Backend) -> list[Any]:
    """The local minimum of each section on which ``u + t phi'(u)`` increases; an end of it where there is none."""
    found = []
    for section in _sections(f, t, values, lib):
        if not has_end(section.lower) and not has_end(section.upper):
            found.append(solve(Problem(f.equation, v, t, values, -inf, inf, V), lib))
            continue
        names, data = (LOWER, UPPER, V, T, *f.parameters), [section.lower, section.upper, v, t, *values]
        lower, upper, start = run(_narrowed(f), names, data, lib)
        found.append(solve(Problem(f.equation, v, t, values, lower, upper, start), lib))
    return found


@lru_cache(maxsize=256)
def _narrowed(f: ScalarFunction) -> tuple[Expression, ...]:
    """A section shrunk to that end of it beyond which its root lies, if so, and where Newton's method begins.

    That is v, or a point inside a section that does not hold v, apart from its ends, where the rate may vanish.
    """
    residual = f.equation.residual
    before = pointwise("greater_equal", substitute(residual, {U: LOWER}), 0.0)
    beyond = pointwise("less_equal", substitute(residual, {U: UPPER}), 0.0)
    lower = ex.where(beyond, UPPER, LOWER + 0.0 * V)
    upper = ex.where(before, LOWER, UPPER + 0.0 * V)
    half = ex.where(pointwise("less", UPPER, inf), 0.5 * LOWER + 0.5 * UPPER, LOWER + abs(LOWER))
    half = ex.where(pointwise("greater", LOWER, -inf), half, UPPER - abs(UPPER))
    inside = pointwise("logical_and", pointwise("greater", V, LOWER), pointwise("less", V, UPPER))
    return lower, upper, clipped(ex.where(inside, V, half), (True, True))


def _corners(f: ScalarFunction, v: Any, values: list[Any], lib: Backend) -> list[Any]:
    """Kinks and ends of the domain where the function is finite, as arrays."""
    assert f.value is not None
    places = [*f.kinks, *(Literal(end) for end in (f.lower, f.upper) if abs(end) < inf)]
    return [run((place + 0.0 * V,), (V, *f.parameters), [v, *values], lib)[0] for place in places]


@lru_cache(maxsize=256)
def _better(f: ScalarFunction, lib: Backend) -> Expression:
    """The better one of two candidates; the nearer one where formulas overflow."""
    gains = []
    for u in (U, _BEST):
        assert f.value is not None
        value = substitute(f.value, {U: u})
        value = ex.where(finite(value, lib), value, 0.0)  # slopes are finite there: only a formula has overflowed
        gains.append(value + (u - V) * (0.5 * (u - V) / T))
    new, old = gains
    tie = pointwise("logical_and", pointwise("less_equal", new, old), pointwise("less", abs(U - V), abs(_BEST - V)))
    worse = pointwise("logical_and", pointwise("greater_equal", new, old), pointwise("logical_not", tie))
    return ex.where(worse, _BEST, U)


def _sections(f: ScalarFunction, t: Any, values: list[Any], lib: Backend) -> list[_Section]:
    """The sections; where the step and the parameters are numbers, only those that exist, adjacent ones as one."""
    if any(len(getattr(a, "shape", ())) for a in (t, *values)):
        return [s for s in (_section(f, places, t, values, False, lib) for places in _intervals(f)) if s is not None]
    if all(isinstance(a, float) for a in (t, *values)):
        return list(_kept_shared_sections(f, t, tuple(values), lib))
    return _shared_sections(f, t, values, lib)


@lru_cache(maxsize=256)
def _kept_shared_sections(f: ScalarFunction, t: float, values: tuple[float, ...], lib: Backend) -> tuple[_Section, ...]:
    return tuple(_shared_sections(f, t, list(values), lib))


def _shared_sections(f: ScalarFunction, t: Any, values: list[Any], lib: Backend) -> list[_Section]:
    """The sections of all entries, for numbers."""
    step, *given = [_row(a, lib) for a in (t, *values)]
    found: list[_Section] = []
    for places in _intervals(f):
        section = _section(f, places, step, given, True, lib)
        if section is None:
            continue
        lower, upper = (_number(e, lib) for e in (section.lower, section.upper))
        now = _Section(lower, upper, _holds(section.from_begin, lib), _holds(section.to_end, lib))
        if found and found[-1].to_end and now.from_begin and places[0] not in f.kinks:
            found[-1] = _Section(found[-1].lower, now.upper, found[-1].from_begin, now.to_end)
        else:
            found.append(now)
    return found


def _intervals(f: ScalarFunction) -> list[tuple[Expression | None, Expression | None]]:
    """Between which points the second derivative is monotone; None for the ends of the domain."""
    assert f.turns is not None
    places: list[Expression | None] = [None, *f.turns, None]
    if f.even:  # minimisers have the sign of v, and v is not negative here
        places = [Literal(0.0), *f.turns[(len(f.turns) + 1) // 2 :], None]
    return list(pairwise(places))


def _row(a: Any, lib: Backend) -> Any:
    return lib.xp.reshape(lib.asarray(a, "real"), (1,))


def _holds(condition: Any, lib: Backend) -> bool:
    return bool(_number(lib.asarray(condition, "real"), lib))


def _number(a: Any, lib: Backend) -> float:
    return float(lib.item(lib.xp.reshape(a, ())).real)


def _section(
    f: ScalarFunction,
    places: tuple[Expression | None, Expression | None],
    t: Any,
    values: list[Any],
    shared: bool,
    lib: Backend,
) -> _Section | None:
    """The section between two turning points, None for the ends of the domain; None where all entries have none."""
    inputs, data = (T, *f.parameters), [t, *values]
    outputs = _interval(f, *places, lib)
    begin, end, direction, at_begin, at_end = run(outputs, inputs, data, lib)
    root = begin
    if not shared or _holds(at_begin, lib) != _holds(at_end, lib):  # else the rate does not pass through zero
        equation = _turning(f)
        middle = run((0.5 * LOWER + 0.5 * UPPER,), (LOWER, UPPER), [begin, end], lib)[0]
        root = solve(Problem(equation, direction, t, values, begin, end, middle), lib, flat=True)
    elif not _holds(at_begin, lib):
        return None
    names = (U, LOWER, UPPER, *inputs)
    lower, upper = run(_cut(f, *places, lib), names, [root, begin, end, *data], lib)
    return _Section(lower, upper, at_begin, at_end)


def _turning(f: ScalarFunction) -> Equation:
    """``1 + t phi''(u) = 0``, turned by the sign V so that it increases."""
    third = derivative_of(f.curvature, U)
    return Equation(V * (1.0 + T * f.curvature), V * (T * third), Literal(1.0), f.parameters)


@lru_cache(maxsize=256)
def _interval(
    f: ScalarFunction, begin: Expression | None, end: Expression | None, lib: Backend
) -> tuple[Expression, ...]:
    """Both ends of an interval, just inside; the sign with which the rate increases; whether it is positive there."""
    low = _just_inside(f, begin, f.lower, 1.0, lib)
    high = _just_inside(f, end, f.upper, -1.0, lib)
    rates = [1.0 + T * substitute(f.curvature, {U: place}) for place in (low, high)]
    at_begin, at_end = (pointwise("greater_equal", rate, 0.0) for rate in rates)
    direction = ex.where(pointwise("greater_equal", rates[1], rates[0]), 1.0, -1.0)
    return low, high, direction, at_begin, at_end


def _just_inside(f: ScalarFunction, turn: Expression | None, end: float, side: float, lib: Backend) -> Expression:
    """A point next to an end of an interval; for an infinite end, the farthest one at which the curvature is known."""
    if turn is not None or abs(end) < inf:
        place = ex.as_expression(end) if turn is None else turn
        return place + side * (lib.epsilon * abs(place) + lib.tiny)
    far: Expression = Literal(-side)
    for power in _FAR:
        place = Literal(-side * largest(lib) ** power)
        far = ex.where(finite(substitute(f.curvature, {U: place}), lib), place, far)
    return far


@lru_cache(maxsize=256)
def _cut(f: ScalarFunction, begin: Expression | None, end: Expression | None, lib: Backend) -> tuple[Expression, ...]:
    """The ends of a section from those of its interval and the root of the rate; both alike where it is empty."""
    *_, at_begin, at_end = _interval(f, begin, end, lib)
    either = pointwise("logical_not", pointwise("logical_and", _not(at_begin), _not(at_end)))
    widest_low = LOWER if begin in f.kinks else Literal(f.lower) if begin is None else begin
    widest_high = UPPER if end in f.kinks else Literal(f.upper) if end is None else end
    anchor = LOWER if begin is not None else UPPER
    lower = ex.where(at_begin, widest_low, ex.where(either, U, anchor))
    upper = ex.where(at_end, widest_high, ex.where(either, U, anchor))
    return lower + 0.0 * T, upper + 0.0 * T


def _not(e: Expression) -> Expression:
    return pointwise("logical_not", e)


__all__ = ["minimise"]
