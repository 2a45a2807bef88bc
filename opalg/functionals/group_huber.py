"""The Huber function of the lengths of groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.facts import NO, YES, exact
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.groups import Axis, as_axis, axes_of, behind_batch, check_axes, on_groups
from opalg.functionals.weights import Condition, Data, condition, real_data, require_positive, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Call, Expression, Literal, Reduce
from opalg.program.notation import data_latex, data_text


@dataclass(frozen=True)
class _Reach:
    """``(v, radius) -> max(|v_g|, radius)`` for each group, for a positive radius: smooth where groups vanish."""

    axes: tuple[int, ...]

    def evaluate(self, lib: Backend, v: Any, radius: Any) -> Any:
        with np.errstate(over="ignore"):  # looked for below
            found = self._plain(lib, v, radius)
        if 0 in v.shape or self._is_safe(lib, found):
            return found
        size = lib.xp.max(lib.xp.abs(v), axis=self.axes, keepdims=True)
        unit = lib.xp.maximum(size, radius + lib.xp.zeros_like(size))
        return unit * self._plain(lib, v / unit, radius / unit)

    def _plain(self, lib: Backend, v: Any, radius: Any) -> Any:
        xp = lib.xp
        squared = xp.real(v) ** 2 + xp.imag(v) ** 2 if lib.kind_of(v) == "complex" else v * v
        lengths = xp.sqrt(xp.sum(squared, axis=self.axes, keepdims=True))
        return xp.maximum(lengths, radius + xp.zeros_like(lengths))

    def _is_safe(self, lib: Backend, found: Any) -> bool:
        """Whether no square that matters has overflowed or vanished."""
        low, high = sqrt(lib.tiny) * 1e6, 1e-6 / sqrt(lib.tiny)
        return bool(low < lib.item(lib.xp.min(found)).real and lib.item(lib.xp.max(found)).real < high)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """``Re <v / |v|, d>`` for groups longer than the radius, and the radius' direction for the others."""
        (v, radius), (moved, widened) = call.arguments, tangents
        if moved is None and widened is None:
            return None
        along: Expression = Literal(0.0)
        if moved is not None:
            product = ex.pointwise("real", ex.pointwise("conj", v) * ex.broadcast_to(moved, v.shape))
            along = Reduce("sum", product, self.axes, keepdims=True) / call
        return ex.where(ex.pointwise("greater", call, radius), along, 0.0 if widened is None else widened)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative."""
        v, radius = call.arguments
        longer = ex.pointwise("greater", call, radius)
        return [v * ex.where(longer, cotangent / call, 0.0), ex.where(longer, 0.0, cotangent)]

    def __repr__(self) -> str:
        return "reach"


def _clipping(v: Expression, radius: Expression, axes: tuple[int, ...]) -> Expression:
    """``radius / max(|v_g|, radius)`` for each group."""
    groups = tuple(1 if i - v.ndim in axes else n for i, n in enumerate(v.shape))
    return radius / Call(_Reach(axes), (v, radius), np.broadcast_shapes(groups, radius.shape), "real")


@node
class HuberNorm21(Functional):
    """``f(v) = sum_g h(|v_g|_2)`` with ``h(s) = s^2 / 2`` for ``s <= delta``, else ``delta (s - delta / 2)``.

    Parameters
    ----------
    delta : number, array, Parameter or Expression
        Where the square passes into the length; positive, in the unit of v. An array has one entry for each group:
        with one entry along each axis inside a group, or without these axes.
    axis : int or tuple of int
        The axes that run inside a group; 0 by default, the axis on which `Gradient` puts its components. Negative axes
        count from the end.

    Raises
    ------
    ParameterError
        Where delta is known not to be positive.
    DtypeError
        Where it is complex.
    ShapeError
        Where an axis is not an integer, or, once the argument is known, is out of its range or named twice; and where
        delta does not fit the groups.

    Notes
    -----
    It is the Moreau envelope, with the step 1, of ``sum_g delta |v_g|``: the gradient shortens groups to the length
    delta, and has the Lipschitz constant 1. ``prox: v - t delta v / max(|v_g|, delta (1 + t))``, and
    ``f*(q) = |q|^2 / 2`` where every ``|q_g| <= delta`` (Beck 2017, Example 6.66, group by group). Of a gradient it is
    Huber's smoothing of the total variation (Chambolle, Pock 2011, Section 6.2.3).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.HuberNorm21(1.0, axis=0)
    >>> round(f.value(np.array([[3.0, 0.3], [4.0, 0.4]])), 12)
    4.625
    >>> f.gradient(np.array([[3.0, 0.3], [4.0, 0.4]]))
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """

    delta: Data
    axis: Axis = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", real_data(self.delta, "the delta of HuberNorm21"))
        require_positive(self.delta, "the delta of HuberNorm21")
        object.__setattr__(self, "axis", as_axis(self.axis, "HuberNorm21"))

    def behind(self, batch: int) -> Functional:
        axis = behind_batch(self.axis, batch)
        assert axis is not None
        return HuberNorm21(self.delta, axis)

    def _axes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(a % len(shape) - len(shape) for a in axes_of(self.axis)))

    def _delta(self, v: Expression) -> Expression:
        return on_groups(self.delta, v.shape, self._axes(v.shape), self, "delta")

    def _shortened(self, v: Expression) -> Expression:
        """The groups, those longer than delta shortened to that."""
        return v * _clipping(v, self._delta(v), self._axes(v.shape))

    def define_value(self, v: Expression) -> Expression:
        inside = self._shortened(v)
        return ex.inner(inside, v - 0.5 * inside)

    def define_gradient(self, v: Expression) -> Expression:
        return self._shortened(v)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        reached = _clipping(v, self._delta(v) * (1.0 + t), self._axes(v.shape))
        return v * (1.0 - (t / (1.0 + t)) * reached)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return 0.5 * ex.norm_squared(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        inverse = q / self._delta(q)
        return ex.largest(ex.sqrt(Reduce("sum", ex.square_abs(inverse), self._axes(q.shape), keepdims=True)))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._shortened(q)

    @property
    def facts(self) -> FunctionalFacts:
        # __post_init__ refused a delta known not to be positive, and f is only defined for positive ones
        return FunctionalFacts(
            convex=YES, smooth=YES, smoothness=exact(1.0), quadratic=NO, bounded_below=YES, phase_invariant=YES
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self.delta, True, "the delta of HuberNorm21 must be positive")

    def hint(self) -> str:
        return sign_hint([self.delta], strict=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_axes(self.axis, shape, self)
        on_groups(self.delta, shape, self._axes(shape), self, "delta")

    def text(self, inner: str) -> str:
        return f"functionals.{self!r}({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        delta = data_latex(self.delta, names)
        return rf"\sum_g \operatorname{{huber}}_{{{delta}}}\left\|\left({inner}\right)_g\right\|_2"

    def __repr__(self) -> str:
        axis = "" if self.axis == 0 else f", axis={self.axis}"
        return f"HuberNorm21({data_text(self.delta)}{axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            HuberNorm21(float(rng.uniform(0.3, 1.5))),
            HuberNorm21(rng.uniform(0.3, 1.5, (3, 1)), axis=1),
            HuberNorm21(Parameter(0.8, name="delta", positive=True), axis=(0, 1)),
        ]


__all__ = ["HuberNorm21"]
