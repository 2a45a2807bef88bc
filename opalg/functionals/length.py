"""Euclidean lengths whose squares neither overflow nor vanish."""

from __future__ import annotations

from opalg.functionals.around import SafeUnit
from opalg.functionals.norms import group_norms
from opalg.program.expression import Call, Expression


def safe_norms(v: Expression, axes: tuple[int, ...] | None) -> Expression:
    """The Euclidean norm over some axes, which stay with one entry; over all as a scalar for None.

    Unlike `group_norms` it measures arrays of strange size in a unit of their own, so that 1e20 and 1e-30 keep their
    length in single precision.
    """
    inside = None if axes is None else tuple(sorted(a % v.ndim - v.ndim for a in axes))
    shape = () if inside is None else tuple(1 if i - v.ndim in inside else n for i, n in enumerate(v.shape))
    unit = Call(SafeUnit(inside), (v,), shape, "real")
    return unit * group_norms(v / unit, inside)


__all__ = ["safe_norms"]
