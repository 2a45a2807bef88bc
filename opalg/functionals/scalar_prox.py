"""The prox of a function of one real variable, entry by entry, where no formula is known.

A `ScalarFunction` holds formulas in the step language over placeholders without axes; `ScalarFunction.of` writes them
from a callable on expressions and derives what is left out. `scalar_prox(function, v, t, parameters)` is then a node of
the step language, ``argmin_u phi(u) + (u - v)^2 / (2 t)`` for each entry, found by Newton's method inside a bracket to
the rounding of the dtype (`opalg.functionals.scalar_solver`), with derivatives of all orders by the implicit function
theorem. The step and the parameters are scalars or broadcast to v, and may be zero; v may lie outside the domain::

    cosh = ScalarFunction.of(lambda u, s: s * (ex.pointwise("logaddexp", u / s, -u / s) - log(2)), 1,
                             slope=lambda u, s: ex.pointwise("tanh", u / s))

    def define_prox(self, v, t):
        return scalar_prox(cosh, v, t, (self.scale,))

For a function that is not convex, ``turns`` are the points between which its second derivative is monotone, in
increasing order; the prox is then the global minimiser (`opalg.functionals.scalar_minimum`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf, prod
from typing import Any

from opalg.arrays import backend, backend_of
from opalg.arrays.backend import Backend
from opalg.functionals.scalar_function import ScalarFunction, derivative_of, placeholders
from opalg.functionals.scalar_minimum import minimise
from opalg.functionals.scalar_solver import LOWER, UPPER, Problem, T, U, V, clipped, quiet, run, solve, spread
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, Literal, pointwise
from opalg.program.interpreter import evaluate

_STEEP = 3e38  # a curvature that counts as infinite, in either precision


def scalar_prox(
    function: ScalarFunction, v: Expression, t: Expression, parameters: tuple[Expression, ...] = ()
) -> Expression:
    """``argmin_u phi(u) + (u - v)^2 / (2 t)`` for each entry of v, as one node.

    Parameters
    ----------
    function : ScalarFunction
        The function phi.
    v, t : Expression
        Real; the step broadcasts to v and is not negative.
    parameters : tuple of Expression
        Values of the function's parameters, which broadcast to v.
    """
    return Call(ScalarProx(function), (v, t, *parameters), v.shape, "real")


@dataclass(frozen=True)
class ScalarProx:
    """The prox of a scalar function as an opaque function of v, the step and the parameters."""

    function: ScalarFunction

    def evaluate(self, lib: Any, v: Any, t: Any, *parameters: Any) -> Any:
        """The prox at arrays, a fresh array of the shape of v."""
        lib = backend_of(v)
        shape = tuple(v.shape)
        if prod(shape) == 0:
            return lib.zeros(shape)
        flat = lib.xp.reshape(v, (-1,))
        step, *values = [spread(a, shape, lib) for a in (t, *parameters)]
        with quiet(lib):
            if self.function.turns is None:
                found = _convex(self.function, flat, step, values, lib)
            else:
                found = minimise(self.function, flat, step, values, lib)
        return lib.xp.reshape(found, shape)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """``du = (dv - phi' dt - t sum_i dphi'/dp_i dp_i) / (1 + t phi'')``; kinks move with their parameters."""
        free, partials, moves = self._linearised(call)
        inner = [d * e for d, e in zip(partials, tangents, strict=True) if e is not None]
        fixed = [d * e for d, e in zip(moves, tangents[2:], strict=True) if e is not None and d is not None]
        if not inner and not fixed:
            return None
        moved = ex.where(free, _sum(inner), 0.0) if free is not None else _sum(inner)
        return _sum([moved, *fixed])

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transpose of `push`."""
        free, partials, moves = self._linearised(call)
        inner = ex.where(free, cotangent, 0.0) if free is not None else cotangent
        out: list[Expression | None] = [d * inner if on else None for d, on in zip(partials, active, strict=True)]
        for i, d in enumerate(moves):
            if d is not None and active[i + 2]:
                out[i + 2] = _sum([e for e in (out[i + 2], d * cotangent) if e is not None])
        return out

    def _linearised(self, call: Call) -> tuple[Expression | None, list[Expression], list[Expression | None]]:
        """Where the prox follows its equation, its partial derivatives there, and those of the kinks elsewhere."""
        f = self.function
        _, t, *values = call.arguments
        data = dict(zip(f.parameters, values, strict=True))
        on = [pointwise("greater_equal", 0.0 - abs(call - substitute(k, data)), 0.0) for k in f.kinks]
        free = _all([_not(e) for e in on] + _inside(f, call))
        at = {U: _moved_inside(f, call), **data}
        rate = 1.0 + t * ex.minimum(substitute(f.curvature, at), _STEEP)
        slopes = [derivative_of(f.slope, p) for p in f.parameters]
        partials = [1.0 / rate, -substitute(f.slope, at) / rate]
        partials += [-t * substitute(s, at) / rate for s in slopes]
        moves: list[Expression | None] = []
        for p in f.parameters:
            parts = [(e, derivative_of(k, p)) for e, k in zip(on, f.kinks, strict=True)]
            known = [ex.where(e, substitute(d, data), 0.0) for e, d in parts if d != Literal(0.0)]
            moves.append(_sum(known) if known else None)
        return free, partials, moves

    def __repr__(self) -> str:
        return "prox"


def _sum(parts: list[Expression]) -> Expression:
    out: Expression = Literal(0.0)
    for part in parts:
        out = out + part
    return out


def _not(e: Expression) -> Expression:
    return pointwise("logical_not", e)


def _all(conditions: list[Expression]) -> Expression | None:
    out: Expression | None = None
    for e in conditions:
        out = e if out is None else pointwise("logical_and", out, e)
    return out


def _inside(f: ScalarFunction, u: Expression) -> list[Expression]:
    """Whether u is apart from the finite ends of the domain."""
    found = [pointwise("greater", u, f.lower)] if f.lower > -inf else []
    return found + ([pointwise("less", u, f.upper)] if f.upper < inf else [])


def _moved_inside(f: ScalarFunction, u: Expression) -> Expression:
    """u, with ends of the domain replaced by a point inside, so that formulas stay finite where they do not count."""
    inside = _all(_inside(f, u))
    if inside is None:
        return u
    if f.lower > -inf and f.upper < inf:
        return ex.where(inside, u, 0.5 * (f.lower + f.upper))
    return ex.where(inside, u, f.lower + 1.0 if f.lower > -inf else f.upper - 1.0)


def _convex(f: ScalarFunction, v: Any, t: Any, values: list[Any], lib: Backend) -> Any:
    lower, upper = f.lower, f.upper
    if f.kinks:
        names = (V, T, *f.parameters, LOWER, UPPER)
        lower, upper = run(_split_at(f, lib), names, [v, t, *values, lower, upper], lib)
    ends = (f.lower > -inf or bool(f.kinks), f.upper < inf or bool(f.kinks))
    opened = (False, False) if f.kinks else _opened(f)
    return solve(Problem(f.equation, v, t, values, lower, upper, _guess(f, ends), opened), lib)


@lru_cache(maxsize=256)
def _opened(f: ScalarFunction) -> tuple[bool, bool]:
    """Whether the slope is infinite at the ends of the domain, for parameters of one."""
    lib = backend()
    with quiet(lib):
        ones = {p: lib.asarray(1.0) for p in f.parameters}
        slopes = [evaluate([f.slope], {U: lib.asarray(end), **ones}, lib)[0] for end in (f.lower, f.upper)]
    lower, upper = (not abs(float(slope)) < inf for slope in slopes)
    return lower and f.lower > -inf, upper and f.upper < inf


@lru_cache(maxsize=256)
def _guess(f: ScalarFunction, ends: tuple[bool, bool]) -> Expression:
    """Where Newton's method begins: v, or a point well inside the domain."""
    if f.start is not None:
        return clipped(f.start, ends)
    place: Expression = V
    if f.lower > -inf and f.upper < inf:
        margin = 0.01 * (f.upper - f.lower)
        place = ex.minimum(ex.maximum(V, f.lower + margin), f.upper - margin)
    elif f.lower > -inf:
        place = ex.maximum(V, f.lower + ex.sqrt(T))
    elif f.upper < inf:
        place = ex.minimum(V, f.upper - ex.sqrt(T))
    return clipped(place, ends)


@lru_cache(maxsize=256)
def _split_at(f: ScalarFunction, lib: Backend) -> tuple[Expression, Expression]:
    """The ends of the piece between kinks that holds the root; both are the kink where zero lies in its jump."""
    lower: Expression = LOWER
    upper: Expression = UPPER
    residual = f.equation.residual
    for kink in f.kinks:
        gap = lib.epsilon * abs(kink) + lib.tiny
        left, right = kink - gap, kink + gap
        below, above = substitute(residual, {U: left}), substitute(residual, {U: right})
        beyond, before = pointwise("less", above, 0.0), pointwise("greater", below, 0.0)
        lower = ex.where(before, lower, ex.where(beyond, ex.maximum(lower, right), kink))
        upper = ex.where(beyond, upper, ex.where(before, ex.minimum(upper, left), kink))
    return lower + 0.0 * V, upper + 0.0 * V


__all__ = ["ScalarFunction", "ScalarProx", "T", "U", "V", "derivative_of", "placeholders", "scalar_prox"]
