"""The nearest Hermitian positive semidefinite matrices to those on the last two axes, with their derivative.

The decomposition is a node of its own that the projection and its derivative share, as in
`opalg.functionals.spectral_calls`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.functionals.spectral_calls import FirstOnly, Maybe, Measured, adjoint, finite, marked, packed_below
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression


@dataclass(frozen=True)
class HermitianFactors:
    """``v ->`` eigenvectors and, below them, eigenvalues of ``(v + v^H) / 2``; used as `SingularFactors` are."""

    def evaluate(self, lib: Backend, v: Any) -> Any:
        """The decomposition of an array."""
        clean, good = finite(lib, v)
        values, vectors = lib.xp.linalg.eigh(0.5 * clean + 0.5 * adjoint(lib, clean))
        return packed_below(lib, [vectors, marked(lib, values, good)[..., None, :]], lib.kind_of(v))

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """Nothing: its users differentiate for it."""
        return None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """Nothing: its users differentiate for it."""
        return [None]

    def __repr__(self) -> str:
        return "hermitian_factors"


def _eigen(lib: Backend, packed: Any) -> tuple[Any, Any]:
    values = packed[..., -1, :]
    return packed[..., :-1, :], lib.xp.real(values) if lib.kind_of(values) == "complex" else values


def _hermitian(lib: Backend, x: Any) -> Any:
    return 0.5 * x + 0.5 * adjoint(lib, x)


@dataclass(frozen=True)
class PositivePart:
    """``(v, factors) -> Q diag(max(e, 0)) Q^H``: the nearest Hermitian positive semidefinite matrices."""

    def evaluate(self, lib: Backend, v: Any, packed: Any) -> Any:
        """The projection of an array."""
        q, e = _eigen(lib, packed)
        kept = q * lib.xp.maximum(e, lib.xp.zeros_like(e))[..., None, :]
        return _hermitian(lib, lib.xp.matmul(kept, adjoint(lib, q)))

    def push(self, call: Call, tangents: list[Maybe]) -> Maybe:
        """The directional derivative."""
        return None if tangents[0] is None else self._derivative(call, tangents[0])

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Maybe]:
        """The same: the derivative of a projection onto a convex set is symmetric."""
        return [self._derivative(call, cotangent), None]

    def _derivative(self, call: Call, d: Expression) -> Call:
        d = d + ex.Literal(0j) if call.kind == "complex" and d.kind != "complex" else d
        return Call(_PositiveDerivative(), (*call.arguments, ex.broadcast_to(d, call.shape)), call.shape, call.kind)

    def __repr__(self) -> str:
        return "positive_part"


@dataclass(frozen=True)
class _PositiveDerivative(FirstOnly):
    """``(v, factors, d) -> Q (G * (Q^H d Q)) Q^H`` with G the divided differences of ``max(e, 0)``."""

    def evaluate(self, lib: Backend, v: Any, packed: Any, d: Any) -> Any:
        xp = lib.xp
        q, e = _eigen(lib, packed)
        high, low = xp.maximum(e[..., :, None], e[..., None, :]), xp.minimum(e[..., :, None], e[..., None, :])
        apart = xp.where(high > low, high - low, xp.ones_like(high))
        mixed = xp.maximum(high, xp.zeros_like(high)) / apart
        slopes = xp.where(low > 0, xp.ones_like(low), mixed)
        inner = slopes * xp.matmul(xp.matmul(adjoint(lib, q), _hermitian(lib, d)), q)
        return _hermitian(lib, xp.matmul(xp.matmul(q, inner), adjoint(lib, q)))


def positive_part(v: Expression) -> Call:
    """The nearest Hermitian positive semidefinite matrices to those on the last two axes."""
    *batch, n, _ = v.shape
    return Call(PositivePart(), (v, Call(HermitianFactors(), (v,), (*batch, n + 1, n), v.kind)), v.shape, v.kind)


@dataclass(frozen=True)
class _BelowZero(Measured):
    """How far eigenvalues lie below zero, but for the rounding of the largest, and how far v is from Hermitian."""

    def evaluate(self, lib: Backend, v: Any) -> Any:
        xp = lib.xp
        clean, good = finite(lib, v)
        e = marked(lib, xp.linalg.eigvalsh(_hermitian(lib, clean)), good)
        below = xp.maximum(-e[..., 0], xp.zeros_like(e[..., 0]))
        below = xp.where(below <= v.shape[-1] * lib.epsilon * xp.max(xp.abs(e), axis=-1), xp.zeros_like(below), below)
        return xp.maximum(below, xp.max(xp.abs(clean - _hermitian(lib, clean)), axis=(-2, -1)))


def below_zero(v: Expression) -> Expression:
    """How far matrices are from Hermitian positive semidefinite, up to rounding."""
    return ex.largest(Call(_BelowZero(), (v,), v.shape[:-2], "real"))


__all__ = ["below_zero", "positive_part"]
