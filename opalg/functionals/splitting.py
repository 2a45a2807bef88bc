"""The minimum of ``f(w) + g(z) + |w + z - v|^2 / (2 t)`` by splitting, with derivatives by implicit functions.

At ``t = 0`` the square stands for the constraint ``w + z = v``. With the dual variable ``q = (v - w - z) / t`` the
optimality conditions are: q is a subgradient of f at w and of g at z, and ``w + z + t q = v``. The iteration is that of
Douglas and Rachford on the dual problem, whose fixed points are ``y = q + s w`` for any ``s > 0``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opalg.arrays import Backend
from opalg.emit import call as compute
from opalg.errors import BreakdownError, UnsupportedError
from opalg.facts import YES
from opalg.functionals.around import safe_prox
from opalg.functionals.calculus import Functional
from opalg.leaves import Parameter
from opalg.nodes import substitute, walk
from opalg.program import expression as ex
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Apply, Call, Expression, Input, Join, Reduce
from opalg.program.linear import Reshaped, Window

_MOST_STEPS = 20000
_GOAL = 4.0  # units of rounding at which the gap counts as closed
_BEARABLE = 1e4  # units at which it does once rounding lets it shrink no further
_PATIENCE = 200  # steps without progress after which it does not shrink, and a half of all steps so far
_MEMORY = 1000  # those after which the best point so far is taken, where its gap is bearable and the present one is not
_MOST_CHANGE = 100.0  # the largest factor by which s changes at once
_EXTREME, _POLISH = 10.0, 400  # the factor beyond which an s rounds badly, and the steps to mend that
_CHANGES = {1, *range(2, 33, 2), *(k << n for k in (20, 24, 28, 32) for n in range(1, 10))}  # ever more rarely


@dataclass(frozen=True)
class _Step:
    """A step of the iteration as formulas of its inputs."""

    y: Input
    s: Input
    v: Input
    t: Input
    parameters: tuple[tuple[Parameter, Input], ...]
    w: Expression
    z: Expression
    q: Expression
    following: Expression

    @property
    def given(self) -> tuple[Input, ...]:
        """The inputs besides y and s: what the minimum depends on."""
        return (self.v, self.t, *(x for _, x in self.parameters))


@dataclass(frozen=True)
class Splitting:
    """``(v, t, parameters) -> (w, z, q)``, stacked along a new first axis.

    Attributes
    ----------
    f, g : Functional
        Convex, with a prox each.
    """

    f: Functional
    g: Functional

    def at(self, v: Expression, t: Expression) -> tuple[Expression, Expression, Expression]:
        """The minimisers w and z and the subgradient q, as expressions.

        The step t is a scalar, or has the axes of v, as in a prox.
        """
        step = _step(self, v.shape, v.kind, t.shape)
        arguments = (v, t, *(p for p, _ in step.parameters))
        found = Call(self, arguments, (3, *v.shape), v.kind)
        w, z, q = (_layer(found, k) for k in range(3))
        return w, z, q

    def evaluate(self, lib: Backend, v: Any, t: Any, *parameters: Any) -> Any:
        """The minimum at arrays.

        Raises
        ------
        BreakdownError
            Where the gap does not close to the rounding of the working precision.
        """
        if 0 in v.shape:
            return lib.zeros((3, *v.shape), lib.kind_of(v))
        t = lib.asarray(t)
        step = _step(self, tuple(v.shape), lib.kind_of(v), tuple(t.shape))
        found = _iterate(self, step, lib, v, t, parameters)
        return lib.xp.stack(found, axis=0)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative, from a linear fixed point."""
        step, at = _linearised(self, call)
        directions = {x: Input(f"d{i}", x.shape, x.kind) for i, x in enumerate(step.given)}
        moved = {directions[x]: d for x, d in zip(step.given, tangents, strict=True) if d is not None}
        moving: dict[Any, Expression] = {x: d for x, d in directions.items() if d in moved}
        (source,) = jvp([step.following], moving)
        change = Input("dy", step.y.shape, step.y.kind)
        if source is not None:
            source = substitute(source, {**at, **moved})
            moved[change] = Call(_LinearFixedPoint(self, False), (*at.values(), source), change.shape, change.kind)
            moving[step.y] = change
        parts = jvp([step.w, step.z, step.q], moving)
        full = [ex.broadcast_to(ex.Literal(0.0) if p is None else p, call.shape[1:]) for p in parts]
        return substitute(_stacked(full), {**at, **moved})

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative, from the transposed fixed point."""
        step, at = _linearised(self, call)
        backs = [Input(f"u{k}", call.shape[1:], call.kind) for k in range(3)]
        values: dict[Any, Expression] = {**at, **{b: _layer(cotangent, k) for k, b in enumerate(backs)}}
        outputs: list[Expression] = [step.w, step.z, step.q]
        (source,) = vjp(outputs, list(backs), [step.y])
        multiplier = Input("multiplier", step.y.shape, step.y.kind)
        backs_of: list[Expression | None] = list(backs)
        if source is not None:
            source = substitute(source, values)
            arguments = (*at.values(), source)
            values[multiplier] = Call(_LinearFixedPoint(self, True), arguments, step.y.shape, step.y.kind)
            outputs, backs_of = [*outputs, step.following], [*backs_of, multiplier]
        amounts = vjp(outputs, backs_of, step.given)
        return [None if a is None or not on else substitute(a, values) for a, on in zip(amounts, active, strict=True)]

    def __repr__(self) -> str:
        return "splitting"


@dataclass(frozen=True)
class _LinearFixedPoint:
    """``x = J x + b`` with the derivative J in y of a step at its fixed point, or its transpose."""

    of: Splitting
    transposed: bool

    def evaluate(self, lib: Backend, y: Any, s: Any, *rest: Any) -> Any:
        """The solution that the iteration from zero finds.

        Raises
        ------
        BreakdownError
            Where it does not settle.
        """
        *given, source = rest
        s, given[1] = lib.asarray(s), lib.asarray(given[1])
        step = _step(self.of, tuple(y.shape), lib.kind_of(y), tuple(given[1].shape))
        x = Input("x", step.y.shape, step.y.kind)
        (moved,) = vjp([step.following], [x], [step.y]) if self.transposed else jvp([step.following], {step.y: x})
        if moved is None:
            return lib.copy(source)
        b = Input("b", step.y.shape, step.y.kind)
        next_x = moved + b
        outputs = [next_x, ex.largest(abs(next_x - x)), ex.largest(abs(next_x))]
        inputs = (x, b, step.y, step.s, *step.given)
        found, progress = lib.copy(source), _Progress(lib, lib.zeros(()) + 1.0)
        for count in range(1, _MOST_STEPS + 1):
            found, change, size = compute(outputs, inputs, (found, source, y, s, *given), lib)
            if count < 16 or count % 4 == 0:
                whole = lib.xp.where(size > 0, size, progress.one)
                if progress.finished(count, change / whole / lib.epsilon):
                    return found
        raise BreakdownError(
            f"the derivative of an infimal convolution of {self.of.f!r} and {self.of.g!r} did not settle in "
            f"{_MOST_STEPS} steps; split it instead with oa.split_infimal_convolution(f, g, e)"
        )

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The fixed point is linear in its source; in what the step depends on no derivative is known."""
        if any(d is not None for d in tangents[:-1]):
            raise _no_second(self.of)
        return Call(self, (*call.arguments[:-1], tangents[-1]), call.shape, call.kind)  # type: ignore[arg-type]

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed fixed point, in the source alone."""
        if any(active[:-1]):
            raise _no_second(self.of)
        other = _LinearFixedPoint(self.of, not self.transposed)
        nothing: list[Expression | None] = [None] * (len(call.arguments) - 1)
        return [*nothing, Call(other, (*call.arguments[:-1], cotangent), call.shape, call.kind)]

    def __repr__(self) -> str:
        return "linear_splitting"


def _no_second(of: Splitting) -> UnsupportedError:
    return UnsupportedError(
        f"second derivatives of the prox of an infimal convolution of {of.f!r} and {of.g!r} are not known; split it "
        f"with oa.split_infimal_convolution(f, g, e)"
    )


@lru_cache(maxsize=64)
def _step(of: Splitting, shape: tuple[int, ...], kind: str, steps: tuple[int, ...]) -> _Step:
    apart = of.f.facts.separable is YES and of.g.facts.separable is YES  # each entry is a sample of its own
    y, v = Input("y", shape, kind), Input("v", shape, kind)
    s, t = Input("s", shape if apart else steps), Input("t", steps)
    w = safe_prox(of.f, y / s, 1.0 / s)
    q = y - s * w
    rest = q / s - w + v  # where g would have its minimiser if it were zero
    back = 1.0 / s + t
    z = safe_prox(of.g, rest, back)
    following = s * w + (rest - z) / back  # y + r - q with r = (rest - z) / back, a subgradient of g at z
    leaves = [n for n in walk(w, z) if isinstance(n, Parameter)]
    parameters = tuple((p, Input(f"parameter {i}", p.shape, p.kind)) for i, p in enumerate(leaves))
    w, z, q, following = (substitute(e, dict(parameters)) for e in (w, z, q, following))
    return _Step(y, s, v, t, parameters, w, z, q, following)


def _sizes(x: Expression, steps: tuple[int, ...]) -> Expression:
    """The largest magnitude in each sample, as the shape of the steps says what that is."""
    inside = tuple(i - x.ndim for i, n in enumerate(steps) if n == 1)
    if steps == () or not inside:
        return ex.largest(abs(x)) if steps == () else abs(x)
    return Reduce("max", abs(x), inside, keepdims=True)


def _iterate(of: Splitting, step: _Step, lib: Backend, v: Any, t: Any, parameters: Iterable[Any]) -> tuple[Any, ...]:
    """w, z and q once the gap of every sample is closed."""
    run = _Run(step, lib, (v, t, *parameters))
    if not run.go(_MOST_STEPS, changes=True):
        raise BreakdownError(
            f"the infimal convolution of {of.f!r} and {of.g!r} could not be certified: after {_MOST_STEPS} steps its "
            f"gap is {run.progress.worst * lib.epsilon:.1e} of its size; split it instead with "
            f"oa.split_infimal_convolution(f, g, e)"
        )
    return run.polished()


class _Run:
    """The iteration at arrays; a sample that is done is left as it is.

    Since q is a subgradient of f at w, and r one of g at z, the gap between ``f(w) + g(z)`` and the dual value is
    ``Re <q, w + z + t q - v> + Re <z, r - q>``: it is as small as the residual ``r - q = s (v - w - z - t r)``.
    """

    def __init__(self, step: _Step, lib: Backend, given: tuple[Any, ...]) -> None:
        self.lib, self.given, steps = lib, given, step.s.shape
        before = Input("w before", step.y.shape, step.y.kind)
        sizes = [_sizes(e, steps) for e in (step.following - step.y, step.q, step.w, step.z, step.w - before)]
        self.outputs = [step.following, step.w, step.z, step.q, *sizes]
        self.inputs = (step.y, before, step.s, *step.given)
        self.reach = compute([_sizes(step.v, steps)], (step.v,), given[:1], lib)[0]
        self.one = lib.xp.ones_like(self.reach)
        known = lib.xp.isfinite(self.reach)
        if not bool(lib.xp.all(known)):  # nothing is left of a sample that holds NaN, and it is done at once
            given = (given[0] + lib.xp.where(known, 0.0 * self.one, float("nan") * self.one), *given[1:])
            self.given = given
        self.s = self.one / lib.xp.where(self.reach > 0, self.reach, self.one)
        self.y, self.w = given[0] * self.s, given[0]
        self.z = self.q = self.w
        self.dual, self.part = 0.0 * self.one, self.reach  # the largest sizes so far of q, and of w, z and v
        self.progress = _Progress(lib, self.one)
        self.progress.done = lib.xp.logical_not(known)
        self.best = (self.w, self.z, self.q)  # of each sample, once its gap is bearable

    def go(self, steps: int, changes: bool) -> bool:
        """At most so many steps; whether all samples are done."""
        xp = self.lib.xp
        for count in range(1, steps + 1):
            arrays = (self.y, self.w, self.s, *self.given)
            found = compute(self.outputs, self.inputs, arrays, self.lib)
            following, self.w, self.z, self.q, gap, own, left, right, moved = found
            self.dual = xp.maximum(self.dual, own)
            if count < 16 or count % 4 == 0:
                whole = xp.minimum(self.dual, self.s * (left + right + self.reach))
                finished = self.progress.finished(count, gap / xp.where(whole > 0, whole, self.one) / self.lib.epsilon)
                self._remember(self.progress.improved)
                if finished or (changes and self.progress.recalled_all(count, steps)):
                    self._recall(self.progress.recalled)
                    return True
            self.part = xp.maximum(self.part, xp.maximum(left, right))
            if changes and count in _CHANGES:
                better = self.s * self._balance(gap / self.s, self.s * moved) if count > 2 else self.natural
                self.s = xp.where(self.progress.done, self.s, better)
                following = self.q + self.s * self.w
            self.y = xp.where(self.progress.done, self.y, following)
        return False

    def _remember(self, improved: Any) -> None:
        """Keep the points of samples whose gap has become smaller, and is bearable."""
        xp = self.lib.xp
        if bool(xp.any(improved)):
            pairs = zip((self.w, self.z, self.q), self.best, strict=True)
            self.best = tuple(xp.where(improved, new, old) for new, old in pairs)

    def _recall(self, recalled: Any) -> None:
        """Go back to the best points of samples that have moved away from them."""
        xp = self.lib.xp
        if bool(xp.any(recalled)):
            pairs = zip((self.w, self.z, self.q), self.best, strict=True)
            self.w, self.z, self.q = (xp.where(recalled, old, new) for new, old in pairs)

    def polished(self) -> tuple[Any, ...]:
        """w, z and q, where s has become extreme after some more steps with a natural one, which rounds less."""
        xp, kept = self.lib.xp, (self.w, self.z, self.q)
        extreme = xp.logical_or(self.s > _EXTREME * self.natural, self.natural > _EXTREME * self.s)
        if self.lib.item(xp.max(xp.where(extreme, self.one, 0.0 * self.one))).real == 0:
            return self._resolved(*kept)
        self.s = xp.where(extreme, self.natural, self.s)
        self.y = xp.where(extreme, self.q + self.s * self.w, self.y)
        self.progress = _Progress(self.lib, self.one)
        self.progress.done = xp.logical_not(xp.logical_and(extreme, xp.isfinite(self.reach)))
        self.go(_POLISH, changes=False)
        pairs = zip((self.w, self.z, self.q), kept, strict=True)
        return self._resolved(*(xp.where(self.progress.done, better, other) for better, other in pairs))

    def _resolved(self, w: Any, z: Any, q: Any) -> tuple[Any, ...]:
        """w, z and q; for long steps ``(v - w - z) / t``, which may be smaller than the rounding of q."""
        xp, (v, t) = self.lib.xp, self.given[:2]
        long = t * self.s > 1.0
        if self.lib.item(xp.max(xp.where(long, self.one, 0.0 * self.one))).real == 0:
            return w, z, q
        return w, z, xp.where(long, (v - w - z) / xp.where(long, t, self.one), q)

    @property
    def natural(self) -> Any:
        """The s that makes both parts of ``q + s w`` of one size (Lorenz, Tran-Dinh 2019), where they have one."""
        return _of_one_size(self.lib, self.s, self.dual, self.part)

    def _balance(self, primal: Any, dual: Any) -> Any:
        """The factor of s that brings the residuals of ``w + z + t q = v`` and of q together (Boyd et al. 2011)."""
        xp, one = self.lib.xp, self.one
        left, right = primal * self.dual, dual * self.part
        ratio = xp.sqrt(xp.where(right > 0, left, one) / xp.where(right > 0, right, one))
        ratio = xp.where(right > 0, ratio, xp.where(left > 0, _MOST_CHANGE * one, one))
        ratio = xp.where(xp.isfinite(ratio), ratio, one)
        return xp.minimum(xp.maximum(ratio, one / _MOST_CHANGE), _MOST_CHANGE * one)


class _Progress:
    """Which samples are done: their gap is closed, or rounding lets it shrink no further."""

    def __init__(self, lib: Backend, one: Any) -> None:
        self.lib, self.one = lib, one
        self.best, self.since = one / lib.tiny, 0.0 * one
        self.done = self.improved = self.recalled = one < 0

    def finished(self, count: int, gap: Any) -> bool:
        """Whether all are done, given the gaps after so many steps in units of rounding."""
        xp = self.lib.xp
        better = gap < 0.5 * self.best
        self.best = xp.where(better, gap, self.best)
        self.since = xp.where(better, count * self.one, self.since)
        stuck = xp.logical_and(count - self.since > max(_PATIENCE, count // 2), gap <= _BEARABLE)
        self.improved = xp.logical_and(better, xp.logical_and(gap <= _BEARABLE, xp.logical_not(self.done)))
        self.done = xp.logical_or(self.done, xp.logical_or(gap <= _GOAL, stuck))
        left = xp.where(self.done, 0.0 * self.one, self.one)
        return self.lib.item(xp.max(left)).real == 0

    def recalled_all(self, count: int, most: int) -> bool:
        """Whether all are done once those are that have long left a point with a bearable gap, or are out of steps."""
        xp = self.lib.xp
        if count <= _MEMORY:
            return False
        left = self.since < (count if count == most else count - max(_MEMORY, count // 2))
        back = xp.logical_and(xp.logical_and(left, self.best <= _BEARABLE), xp.logical_not(self.done))
        self.recalled = xp.logical_or(self.recalled, back)
        self.done = xp.logical_or(self.done, back)
        return bool(xp.all(self.done))

    @property
    def worst(self) -> float:
        """The largest gap of a sample that is not done."""
        left = self.lib.xp.where(self.done, 0.0 * self.one, self.best)
        return float(self.lib.item(self.lib.xp.max(left)).real)


def _of_one_size(lib: Backend, s: Any, dual: Any, part: Any) -> Any:
    """The quotient of two sizes, s where one is zero."""
    xp = lib.xp
    known = xp.logical_and(dual > 0, part > 0)
    one = xp.ones_like(s)
    found = xp.where(known, dual, one) / xp.where(known, part, one)
    usable = xp.logical_and(known, xp.logical_and(xp.isfinite(found), found > 0))
    return xp.where(usable, found, s)


def _layer(stack: Expression, k: int) -> Expression:
    """The k-th of the arrays that are stacked along the first axis."""
    shape = stack.shape[1:]
    start, stop = (k,) + (0,) * len(shape), (k + 1, *shape)
    return Apply(Reshaped((1, *shape), shape), Apply(Window(stack.shape, start, stop), stack))


def _stacked(layers: list[Expression]) -> Expression:
    shape = layers[0].shape
    return Join(tuple(Apply(Reshaped(shape, (1, *shape)), layer) for layer in layers), -1 - len(shape))


@dataclass(frozen=True)
class _Ratio:
    """``|q| / |w|`` in each sample, 1 where one is zero: an s, on which no derivative depends."""

    steps: tuple[int, ...]

    def evaluate(self, lib: Backend, q: Any, w: Any) -> Any:
        """The ratio of the largest magnitudes."""
        inputs = tuple(Input(name, tuple(q.shape), lib.kind_of(q)) for name in ("q", "w"))
        dual, part = compute([_sizes(x, self.steps) for x in inputs], inputs, (q, w), lib)
        return _of_one_size(lib, lib.xp.ones_like(dual), dual, part)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """None: see the class."""
        return None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """None, for both."""
        return [None, None]

    def __repr__(self) -> str:
        return "ratio"


def _linearised(of: Splitting, call: Call) -> tuple[_Step, dict[Any, Expression]]:
    """A step, and the expressions that stand for its inputs at the fixed point: y, s and what is given, in order."""
    v, t = call.arguments[:2]
    step = _step(of, v.shape, v.kind, t.shape)
    w, _, q = (_layer(call, k) for k in range(3))
    s = Call(_Ratio(step.s.shape), (q, w), step.s.shape, "real")
    at: dict[Any, Expression] = {step.y: q + s * w, step.s: s}
    at.update(zip(step.given, call.arguments, strict=True))
    return step, at


__all__ = ["Splitting"]
