"""Functions of the singular values or eigenvalues of matrices on the last two axes, with their derivatives.

A matrix function needs its decomposition in three places: in itself, in its derivative and in the transpose of that.
The decomposition is therefore a node of its own, shared by all three. The derivatives are those of Lewis and Sendov
(2001, Theorem 3.2; 2005 for singular values): divided differences of the scalar function, here in forms that stay
bounded where values coincide or vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.errors import UnsupportedError
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, pointwise

Maybe = Expression | None


def adjoint(lib: Backend, x: Any) -> Any:
    """The conjugate transpose of matrices."""
    return lib.xp.linalg.matrix_transpose(lib.xp.conj(x) if lib.kind_of(x) == "complex" else x)


def finite(lib: Backend, v: Any) -> tuple[Any, Any]:
    """Matrices without those that are not finite, and where they are: LAPACK raises on such, a solve reports them."""
    good = lib.xp.all(lib.xp.isfinite(v), axis=(-2, -1), keepdims=True)
    return lib.xp.where(good, v, lib.xp.zeros_like(v)), good[..., 0]


def marked(lib: Backend, values: Any, good: Any) -> Any:
    """Values with NaN in place of those of matrices that are not finite."""
    return lib.xp.where(good, values, lib.xp.full_like(values, float("nan")))


def packed_below(lib: Backend, blocks: list[Any], kind: str) -> Any:
    """Blocks of as many columns below each other, all of one kind."""
    return lib.xp.concat([lib.xp.astype(b, lib.dtypes[kind], copy=False) for b in blocks], axis=-2)


def _refuse(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"second derivatives of {name} are not known; take its first derivatives only, as gradients of a solution do, "
        f"or put a smooth penalty such as oa.huber in its place"
    )


@dataclass(frozen=True)
class SingularFactors:
    """``v -> U, W and s`` with ``v = U diag(s) W^H``, below each other in one array of as many columns as values.

    Only nodes that also take v itself use it, and these differentiate for it.
    """

    def evaluate(self, lib: Backend, v: Any) -> Any:
        """The decomposition of an array."""
        clean, good = finite(lib, v)
        u, s, wh = lib.xp.linalg.svd(clean, full_matrices=False)
        return packed_below(lib, [u, adjoint(lib, wh), marked(lib, s, good)[..., None, :]], lib.kind_of(v))

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """Nothing: see the class."""
        return None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """Nothing: see the class."""
        return [None]

    def __repr__(self) -> str:
        return "singular_factors"


def singular_factors(v: Expression) -> Call:
    """The node of the decomposition of v."""
    *batch, m, n = v.shape
    return Call(SingularFactors(), (v,), (*batch, m + n + 1, min(m, n)), v.kind)


def _unpacked(lib: Backend, packed: Any, shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """``U``, ``s`` and ``W^H`` of matrices of some shape."""
    rows = shape[-2]
    s = packed[..., -1, :]
    s = lib.xp.real(s) if lib.kind_of(s) == "complex" else s
    return packed[..., :rows, :], s, adjoint(lib, packed[..., rows:-1, :])


@dataclass(frozen=True)
class Soft:
    """``s -> max(s - t, 0)``."""

    def values(self, lib: Backend, s: Any, t: Any) -> Any:
        """The function of singular values."""
        return lib.xp.maximum(s - t, lib.xp.zeros_like(s))

    def dropped(self, lib: Backend, s: Any, t: Any) -> Any:
        """What the function takes away, ``min(s, t)``, without the rounding of a difference."""
        return lib.xp.minimum(s, t + lib.xp.zeros_like(s))

    def slopes(self, lib: Backend, s: Any, t: Any) -> tuple[Any, Any, Any]:
        """Divided differences of the function and of its odd extension, and its quotient by s."""
        xp, f = lib.xp, self.values(lib, s, t)
        high, low = xp.maximum(s[..., :, None], s[..., None, :]), xp.minimum(s[..., :, None], s[..., None, :])
        top = xp.maximum(f[..., :, None], f[..., None, :])
        t_of_pairs = t[..., None] if getattr(t, "ndim", 0) else t
        apart = high - low
        mixed = top / xp.where(apart > 0, apart, xp.ones_like(apart))
        differences = xp.where(low >= t_of_pairs, xp.ones_like(low), mixed)
        sums = _quotient(lib, f[..., :, None] + f[..., None, :], s[..., :, None] + s[..., None, :], t_of_pairs)
        return differences, sums, _quotient(lib, f, s, t)

    def __repr__(self) -> str:
        return "soft"


def _quotient(lib: Backend, f: Any, s: Any, t: Any) -> Any:
    """``f / s`` where s is positive; at zero the slope of ``max(s - t, 0)`` there, 1 for ``t = 0`` only."""
    one = lib.xp.ones_like(s)
    at_zero = lib.xp.where(s + t > 0, lib.xp.zeros_like(s), one)
    return lib.xp.where(s > 0, f / lib.xp.where(s > 0, s, one), at_zero)


@dataclass(frozen=True)
class Largest:
    """The largest ``rank`` singular values, and 0 for the others."""

    rank: int

    def _kept(self, lib: Backend, s: Any) -> Any:
        count = min(self.rank, s.shape[-1])
        return lib.xp.concat([lib.xp.ones_like(s[..., :count]), lib.xp.zeros_like(s[..., count:])], axis=-1)

    def values(self, lib: Backend, s: Any, t: Any) -> Any:
        """The function of singular values."""
        return s * self._kept(lib, s)

    def dropped(self, lib: Backend, s: Any, t: Any) -> Any:
        """The smaller singular values."""
        return s * (1.0 - self._kept(lib, s))

    def slopes(self, lib: Backend, s: Any, t: Any) -> tuple[Any, Any, Any]:
        """As of `Soft`; at ties between a kept and a dropped value, where the projection jumps, 1."""
        xp, kept = lib.xp, self._kept(lib, s)
        f = s * kept
        ones = kept[..., :, None] * kept[..., None, :]
        one_of_two = xp.abs(kept[..., :, None] - kept[..., None, :])
        apart = xp.abs(s[..., :, None] - s[..., None, :])
        top = xp.maximum(f[..., :, None], f[..., None, :])
        mixed = xp.where(apart > 0, top / xp.where(apart > 0, apart, xp.ones_like(apart)), xp.ones_like(apart))
        total = s[..., :, None] + s[..., None, :]
        sums = (f[..., :, None] + f[..., None, :]) / xp.where(total > 0, total, xp.ones_like(total))
        return ones + one_of_two * mixed, xp.where(total > 0, sums, ones), kept

    def __repr__(self) -> str:
        return f"largest_{self.rank}"


def _step(t: Any) -> Any:
    """A step for each matrix as it meets singular values, which have one axis less."""
    return t[..., 0] if getattr(t, "ndim", 0) else t


@dataclass(frozen=True)
class SingularMap:
    """``(v, t, factors) -> U diag(f(s)) W^H``, with a symmetric derivative."""

    function: Soft | Largest

    def evaluate(self, lib: Backend, v: Any, t: Any, packed: Any) -> Any:
        """The matrix function of an array."""
        xp = lib.xp
        u, s, wh = _unpacked(lib, packed, v.shape)
        values, dropped = (part(lib, s, _step(t)) for part in (self.function.values, self.function.dropped))
        # where every singular value stays, what is taken away from v is rounded less than the product that makes v up
        whole = xp.all(values > 0, axis=-1, keepdims=True)
        change = xp.matmul(u * xp.where(whole, -dropped, values)[..., None, :], wh)
        return xp.where(whole[..., None], v + change, change)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The directional derivative in v and t."""
        moved, stretched, _ = tangents
        parts = [] if moved is None else [_derivative(self.function, call, moved)]
        if stretched is not None:
            parts.append(stretched * _slope(call))
        return None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The transposed derivative."""
        in_v = _derivative(self.function, call, cotangent) if active[0] else None
        if not active[1]:
            return [in_v, None, None]
        return [in_v, pointwise("real", pointwise("conj", _slope(call)) * cotangent), None]

    def __repr__(self) -> str:
        return f"singular_{self.function!r}"


def _derivative(function: Soft | Largest, call: Call, direction: Expression) -> Call:
    v, t, packed = call.arguments
    if call.kind == "complex" and direction.kind != "complex":
        direction = direction + ex.Literal(0j)
    return Call(_Derivative(function), (v, t, packed, ex.broadcast_to(direction, v.shape)), v.shape, v.kind)


def _slope(call: Call) -> Call:
    return Call(_SlopeInStep(), call.arguments, call.shape, call.kind)


class FirstOnly:
    """A derivative, linear in its last argument, of which no further one in the others is known."""

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """Its value at the moved direction."""
        *others, moved = tangents
        if any(t is not None for t in others):
            raise _refuse("functions of singular values and eigenvalues")
        return None if moved is None else Call(self, (*call.arguments[:-1], moved), call.shape, call.kind)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The transpose in the direction, as `transposed` makes it."""
        if any(active[:-1]):
            raise _refuse("functions of singular values and eigenvalues")
        return [None] * (len(active) - 1) + [self.transposed(call, cotangent)]

    def transposed(self, call: Call, cotangent: Expression) -> Expression:
        """The transpose in the last argument; the same for a symmetric derivative."""
        return Call(self, (*call.arguments[:-1], cotangent), call.shape, call.kind)


@dataclass(frozen=True)
class _Derivative(FirstOnly):
    """``(v, t, factors, d) ->`` the derivative of a `SingularMap` at v in the direction d."""

    function: Soft | Largest

    def evaluate(self, lib: Backend, v: Any, t: Any, packed: Any, d: Any) -> Any:
        xp = lib.xp
        u, s, wh = _unpacked(lib, packed, v.shape)
        differences, sums, ratio = self.function.slopes(lib, s, _step(t))
        w, uh = adjoint(lib, wh), adjoint(lib, u)
        right, left = xp.matmul(d, w), xp.matmul(uh, d)
        inner = xp.matmul(left, w)
        flipped = adjoint(lib, inner)
        core = 0.5 * differences * (inner + flipped) + 0.5 * sums * (inner - flipped)
        found = xp.matmul(xp.matmul(u, core), wh)
        if v.shape[-2] > s.shape[-1]:
            found = found + xp.matmul((right - xp.matmul(u, inner)) * ratio[..., None, :], wh)
        if v.shape[-1] > s.shape[-1]:
            found = found + xp.matmul(u, ratio[..., :, None] * (left - xp.matmul(inner, wh)))
        return found

    def __repr__(self) -> str:
        return f"singular_{self.function!r}'"


@dataclass(frozen=True)
class _SlopeInStep:
    """``(v, t, factors) -> -U diag(s > t) W^H``: the derivative of the soft threshold in t."""

    def evaluate(self, lib: Backend, v: Any, t: Any, packed: Any) -> Any:
        u, s, wh = _unpacked(lib, packed, v.shape)
        above = lib.xp.astype(s > _step(t), s.dtype)
        return -lib.xp.matmul(u * above[..., None, :], wh)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        raise _refuse("the soft threshold of singular values")

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        raise _refuse("the soft threshold of singular values")

    def __repr__(self) -> str:
        return "singular_soft_in_t"


def soft_threshold_singular(v: Expression, t: Expression) -> Call:
    """``U diag(max(s - t, 0)) W^H`` of ``v = U diag(s) W^H``; t a scalar, or one for each matrix."""
    return Call(SingularMap(Soft()), (v, t, singular_factors(v)), v.shape, v.kind)


def truncate_singular(v: Expression, rank: int) -> Call:
    """The nearest matrices of at most some rank (Eckart, Young 1936)."""
    return Call(SingularMap(Largest(rank)), (v, ex.Literal(0.0), singular_factors(v)), v.shape, v.kind)


@dataclass(frozen=True)
class SingularValues:
    """``v -> s``, largest first."""

    def evaluate(self, lib: Backend, v: Any) -> Any:
        """The singular values of an array."""
        clean, good = finite(lib, v)
        return marked(lib, lib.xp.linalg.svdvals(clean), good)

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """``Re diag(U^H d W)``."""
        (v,), (moved,) = call.arguments, tangents
        if moved is None:
            return None
        moved = moved + ex.Literal(0j) if v.kind == "complex" and moved.kind != "complex" else moved
        full = ex.broadcast_to(moved, v.shape)
        return Call(_ValuesMoved(), (v, singular_factors(v), full), call.shape, "real")

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """``U diag(c) W^H``."""
        (v,) = call.arguments
        full = ex.broadcast_to(cotangent, call.shape)
        return [Call(_ValuesBack(), (v, singular_factors(v), full), v.shape, v.kind)]

    def __repr__(self) -> str:
        return "singular_values"


@dataclass(frozen=True)
class _ValuesMoved(FirstOnly):
    """``(v, factors, d) -> Re diag(U^H d W)``."""

    def evaluate(self, lib: Backend, v: Any, packed: Any, d: Any) -> Any:
        u, _, wh = _unpacked(lib, packed, v.shape)
        u = lib.xp.conj(u) if lib.kind_of(u) == "complex" else u
        found = lib.xp.sum(u * lib.xp.matmul(d, adjoint(lib, wh)), axis=-2)
        return lib.xp.real(found) if lib.kind_of(found) == "complex" else found

    def transposed(self, call: Call, cotangent: Expression) -> Expression:
        v = call.arguments[0]
        return Call(_ValuesBack(), (*call.arguments[:2], cotangent), v.shape, v.kind)


@dataclass(frozen=True)
class _ValuesBack(FirstOnly):
    """``(v, factors, c) -> U diag(c) W^H``."""

    def evaluate(self, lib: Backend, v: Any, packed: Any, c: Any) -> Any:
        u, _, wh = _unpacked(lib, packed, v.shape)
        return lib.xp.matmul(u * c[..., None, :], wh)

    def transposed(self, call: Call, cotangent: Expression) -> Expression:
        c = call.arguments[2]
        return Call(_ValuesMoved(), (*call.arguments[:2], cotangent), c.shape, "real")


def singular_values(v: Expression) -> Call:
    """The singular values of the matrices on the last two axes, on one axis, largest first."""
    *batch, m, n = v.shape
    return Call(SingularValues(), (v,), (*batch, min(m, n)), "real")


class Measured:
    """A distance, which is compared and not differentiated."""

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        raise UnsupportedError("how far matrices are from a set has no derivative; differentiate oa.distance instead")

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        return [self.push(call, [])]


@dataclass(frozen=True)
class _BeyondRank(Measured):
    """The first singular value beyond a rank, and 0 where it is no more than the rounding of the largest."""

    rank: int

    def evaluate(self, lib: Backend, v: Any) -> Any:
        clean, good = finite(lib, v)
        s = marked(lib, lib.xp.linalg.svdvals(clean), good)
        noise = max(v.shape[-2:]) * lib.epsilon * s[..., 0]
        beyond = s[..., self.rank]
        return lib.xp.where(beyond <= noise, lib.xp.zeros_like(beyond), beyond)


def beyond_rank(v: Expression, rank: int) -> Expression:
    """The largest singular value beyond a rank smaller than both sides, up to rounding."""
    return ex.largest(Call(_BeyondRank(rank), (v,), v.shape[:-2], "real"))


__all__ = [
    "FirstOnly",
    "Measured",
    "beyond_rank",
    "singular_factors",
    "singular_values",
    "soft_threshold_singular",
    "truncate_singular",
]
