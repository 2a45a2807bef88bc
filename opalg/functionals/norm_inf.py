"""The largest magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional, FunctionalFacts, group_axes
from opalg.functionals.groups import Axis, as_axis, axes_of, behind_batch, check_axes
from opalg.functionals.norms import clip_magnitude
from opalg.functionals.threshold import excess, threshold
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, Reduce


@node
class NormInf(Functional):
    """``f(v) = max_i |v_i|``, or the sum over groups of that, with magnitudes where v is complex.

    Parameters
    ----------
    axis : int or tuple of int, optional
        The axes that run inside a group; the whole array is one group where not given. Negative axes count from the
        end, and so are right with batch axes in front, too.

    Raises
    ------
    ShapeError
        Where an axis is not an integer, or, once the argument is known, is out of its range or named twice.

    Notes
    -----
    By Moreau's identity the prox is ``v - t P(v / t)`` with the projection ``P`` onto the unit ball of the 1-norm: it
    clips magnitudes at the threshold ``theta >= 0`` with ``sum_i max(|v_i| - theta, 0) = t``, and is zero where
    ``|v|_1 <= t`` (Beck 2017, Example 6.48). ``f*`` is zero where ``|q_g|_1 <= 1`` in every group, and infinite
    elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.NormInf().prox(np.array([3.0, -2.5, 1.0]), 1.0)
    array([ 2.25, -2.25,  1.  ])
    """

    axis: Axis | None = None

    def __post_init__(self) -> None:
        if self.axis is not None:
            object.__setattr__(self, "axis", as_axis(self.axis, "NormInf"))

    def _axes(self, v: Expression, t: Expression = Literal(0.0)) -> tuple[int, ...] | None:  # noqa: B008
        return group_axes(v, t, None if self.axis is None else axes_of(self.axis))

    def define_value(self, v: Expression) -> Expression:
        if 0 in v.shape:
            return Literal(0.0)
        axes = self._axes(v)
        return ex.largest(abs(v)) if axes is None else ex.total(Reduce("max", abs(v), axes, keepdims=True))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        shift, rest = threshold(abs(v), t, self._axes(v, t), nonneg=True)
        return clip_magnitude(v, shift + rest)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        axes = self._axes(q)
        return ex.total(abs(q)) if axes is None else ex.largest(Reduce("sum", abs(q), axes, keepdims=True))

    def define_dual_projection(self, q: Expression) -> Expression:
        return onto_ball1(q, Literal(1.0), self._axes(q))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, bounded_below=YES, homogeneity=1.0, phase_invariant=YES
        )

    def behind(self, batch: int) -> Functional:
        return NormInf(behind_batch(self.axis, batch))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if self.axis is not None:
            check_axes(self.axis, shape, self)

    def text(self, inner: str) -> str:
        return f"norm_inf({inner})" if self.axis is None else f"norm_inf({inner}, axis={self.axis})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        subscript = r"\infty" if self.axis is None else r"{\infty,1}"
        return rf"\left\|{inner}\right\|_{subscript}"

    def __repr__(self) -> str:
        return "NormInf()" if self.axis is None else f"NormInf(axis={self.axis})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests, on arrays of shape (3, 4)."""
        return [NormInf(), NormInf(axis=0), NormInf(axis=-1)]


def onto_ball1(d: Expression, radius: Expression, axes: tuple[int, ...] | None) -> Expression:
    """The nearest point with ``sum |d_i| <= radius`` in each group; d itself where it is one.

    Parameters
    ----------
    d : Expression
        Real or complex.
    radius : Expression
        At least 0; a number, or one for each group, with one entry along the axes inside a group.
    axes : tuple of int or None
        The axes inside a group; all for None.
    """
    m = abs(d)
    shift, rest = threshold(m, radius, axes, nonneg=True)
    outside = ex.pointwise("greater", shift + rest, 0.0)
    # what exceeds the threshold is longer than it; so no slope is infinite at zeros
    longer = ex.where(outside, ex.maximum(m, shift + rest), 1.0)
    phase = d / longer if d.kind == "complex" else ex.pointwise("sign", d)
    return ex.where(outside, phase * excess(m, shift, rest), d)


def norm_inf(e: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """The largest magnitude, ``max_i |e_i|``; with ``axis``, the sum of the largest magnitudes of groups.

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    axis : int or tuple of int, optional
        The axes that run inside a group, as in `norm21`.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2, 2), name="x")
    >>> v = np.array([[1.0, -4.0], [2.0, 3.0]])
    >>> oa.norm_inf(x).value(v), oa.norm_inf(x, axis=0).value(v)
    (4.0, 6.0)
    """
    return NormInf(axis)(e)


__all__ = ["NormInf", "norm_inf", "onto_ball1"]
