"""The conjugate of a convex function of one real variable, entry by entry, where no formula is known.

``phi*(q) = q u - phi(u)`` at the point u with ``phi'(u) = q``, which Newton's method inside a bracket finds. The value
is as exact as its formula: the supremum is flat, so an error of u enters squared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, prod
from typing import Any

from opalg.arrays import backend_of
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
    largest,
    quiet,
    run,
    solve,
    spread,
)
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, pointwise

_SQUARINGS = 11  # of the distance from the start, until it is the largest number
_FLAT = 1e-300  # a curvature that counts as none


def scalar_conjugate(function: ScalarFunction, q: Expression, parameters: tuple[Expression, ...] = ()) -> Expression:
    """``sup_u q u - phi(u)`` for each entry of q, as one node.

    Parameters
    ----------
    function : ScalarFunction
        A convex function, with its value.
    q : Expression
        Real, in the range of the slope.
    parameters : tuple of Expression
        Values of the function's parameters, which broadcast to q.
    """
    return Call(ScalarConjugate(function), (q, *parameters), q.shape, "real")


@dataclass(frozen=True)
class ScalarConjugate:
    """The conjugate as an opaque function of q and the parameters."""

    function: ScalarFunction

    def evaluate(self, lib: Any, q: Any, *parameters: Any) -> Any:
        """The values, a fresh array of the shape of q."""
        lib = backend_of(q)
        return _entrywise(q, parameters, lib, lambda flat, values: self._values(flat, values, lib))

    def _values(self, q: Any, values: list[Any], lib: Backend) -> Any:
        u = _points(self.function, q, values, lib)
        return run((_gain(self.function, lib),), (U, V, *self.function.parameters), [u, q, *values], lib)[0]

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The derivative: u in q, and minus that of the function in each parameter."""
        known = zip(self._partials(call), tangents, strict=True)
        parts = [partial * tangent for partial, tangent in known if tangent is not None]
        return _sum(parts) if parts else None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transpose of `push`."""
        return [p * cotangent if on else None for p, on in zip(self._partials(call), active, strict=True)]

    def _partials(self, call: Call) -> list[Expression]:
        u = Call(ScalarMaximiser(self.function), call.arguments, call.shape, "real")
        at = {U: u, **dict(zip(self.function.parameters, call.arguments[1:], strict=True))}
        assert self.function.value is not None
        return [u] + [-substitute(derivative_of(self.function.value, p), at) for p in self.function.parameters]

    def __repr__(self) -> str:
        return "conjugate"


@dataclass(frozen=True)
class ScalarMaximiser:
    """The point where ``q u - phi(u)`` is largest, the derivative of the conjugate."""

    function: ScalarFunction

    def evaluate(self, lib: Any, q: Any, *parameters: Any) -> Any:
        """The points, a fresh array of the shape of q."""
        lib = backend_of(q)
        return _entrywise(q, parameters, lib, lambda flat, values: _points(self.function, flat, values, lib))

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """``du = (dq - sum_i dphi'/dp_i dp_i) / phi''``, and 0 at kinks and ends of the domain."""
        known = zip(self._partials(call), tangents, strict=True)
        parts = [partial * tangent for partial, tangent in known if tangent is not None]
        return _sum(parts) if parts else None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transpose of `push`."""
        return [p * cotangent if on else None for p, on in zip(self._partials(call), active, strict=True)]

    def _partials(self, call: Call) -> list[Expression]:
        f = self.function
        at = {U: call, **dict(zip(f.parameters, call.arguments[1:], strict=True))}
        apart = [pointwise("greater", abs(call - substitute(k, at)), 0.0) for k in f.kinks]
        apart += [pointwise("greater", abs(call - end), 0.0) for end in (f.lower, f.upper) if abs(end) < inf]
        curvature = substitute(f.curvature, at)
        steep = 1.0 / ex.maximum(curvature, _FLAT)
        for condition in apart:
            steep = ex.where(condition, steep, 0.0)
        return [steep] + [-substitute(derivative_of(f.slope, p), at) * steep for p in f.parameters]

    def __repr__(self) -> str:
        return "maximiser"


@lru_cache(maxsize=256)
def _gain(f: ScalarFunction, lib: Backend) -> Expression:
    """``q u - phi(u)``; next to an end of the domain where the formula fails on it."""
    assert f.value is not None
    place: Expression = U
    if f.lower > -inf:
        place = ex.maximum(place, f.lower + lib.epsilon * abs(f.lower) + lib.tiny)
    if f.upper < inf:
        place = ex.minimum(place, f.upper - lib.epsilon * abs(f.upper) - lib.tiny)
    known = ex.where(pointwise("greater_equal", f.value, f.value), f.value, substitute(f.value, {U: place}))
    return V * U - (f.value if place is U else known)


def _sum(parts: list[Expression]) -> Expression:
    out = parts[0]
    for part in parts[1:]:
        out = out + part
    return out


def _entrywise(q: Any, parameters: tuple[Any, ...], lib: Backend, values: Any) -> Any:
    shape = tuple(q.shape)
    if prod(shape) == 0:
        return lib.zeros(shape)
    with quiet(lib):
        found = values(lib.xp.reshape(q, (-1,)), [spread(p, shape, lib) for p in parameters])
    return lib.xp.reshape(found, shape)


@lru_cache(maxsize=256)
def _equation(f: ScalarFunction) -> Equation:
    """``phi'(u) = q``, with q for V; the step, which is 1, stands there for the solver only."""
    return Equation(T * f.slope - V, f.curvature, abs(V), f.parameters)


@lru_cache(maxsize=256)
def _wider(f: ScalarFunction) -> tuple[Expression, Expression]:
    """A bracket moved outwards to the distance U from the start, on the side where the slope does not pass q yet."""
    residual, start = _equation(f).residual, _start(f)
    beyond = pointwise("less", substitute(residual, {U: UPPER}), 0.0)
    before = pointwise("greater", substitute(residual, {U: LOWER}), 0.0)
    lower = ex.where(beyond, UPPER, ex.where(before, ex.maximum(start - U, f.lower), LOWER))
    upper = ex.where(before, LOWER, ex.where(beyond, ex.minimum(start + U, f.upper), UPPER))
    return lower, upper


def _start(f: ScalarFunction) -> float:
    if f.lower > -inf and f.upper < inf:
        return 0.5 * (f.lower + f.upper)
    return f.lower + 1.0 if f.lower > -inf else f.upper - 1.0 if f.upper < inf else 0.0


def _points(f: ScalarFunction, q: Any, values: list[Any], lib: Backend) -> Any:
    names, start, length = (U, LOWER, UPPER, V, T, *f.parameters), _start(f), q.shape[0]
    bounded = f.lower > -inf and f.upper < inf
    first = (f.lower, f.upper) if bounded else (start - 0.5, start + 0.5)
    lower, upper = (lib.zeros((length,)) + end for end in first)
    distance = 1.0
    for _ in range(_SQUARINGS):
        lower, upper = run(_wider(f), names, [distance, lower, upper, q, 1.0, *values], lib)
        distance = min(16.0 * distance * distance, 0.25 * largest(lib))
    middle = run((0.5 * LOWER + 0.5 * UPPER,), (LOWER, UPPER), [lower, upper], lib)[0]
    found = solve(Problem(_equation(f), q, 1.0, values, lower, upper, middle), lib, flat=True)
    return _at_kinks(f, q, found, values, lib)


def _at_kinks(f: ScalarFunction, q: Any, u: Any, values: list[Any], lib: Backend) -> Any:
    """Points next to a kink moved onto it."""
    for kink in f.kinks:
        near = pointwise("less_equal", abs(U - kink), 8 * lib.epsilon * abs(kink) + 8 * lib.tiny)
        names = (U, V, *f.parameters)
        (u,) = run((ex.where(near, kink + 0.0 * V, U),), names, [u, q, *values], lib)
    return u


__all__ = ["ScalarConjugate", "ScalarMaximiser", "scalar_conjugate"]
