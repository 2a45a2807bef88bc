"""Squares of what magnitudes differ from measured ones: phase retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, nonnegative, real_data, sign_hint
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text


@node
class MagnitudeMismatch(Functional):
    """``f(v) = sum_i (|v_i| - y_i)^2 / 2``: magnitudes that were measured, phases that were not. Not convex.

    Parameters
    ----------
    data : array, number, Parameter or Expression
        The magnitudes ``y >= 0``, in the unit of v; they broadcast to v.

    Raises
    ------
    ParameterError
        Where a magnitude is known to be negative.
    DtypeError
        For complex data.

    Notes
    -----
    The gradient is ``v - y v / |v|``, and 0 where ``v_i = 0``: there the function has a kink where ``y_i > 0``, and 0
    is an element of Clarke's subdifferential (the amplitude flow of Wang, Giannakis, Eldar 2018, Equation 5). The
    Hessian is the identity along the phase of v and ``1 - y / |v|`` across it. The prox is
    ``prox_{t f}(v) = (|v| + t y) / (1 + t) v / |v|``, a global minimiser; where ``v_i = 0``, whose minimisers are a
    circle, it is the positive one. Twice this is the squared distance to the arrays that have these magnitudes. There
    is no conjugate of use.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.MagnitudeMismatch(np.array([1.0, 2.0]))
    >>> f.value(np.array([3.0, -2.0j]))
    2.0
    >>> f.gradient(np.array([3.0, -4.0])).tolist()
    [2.0, -2.0]
    >>> f.prox(np.array([3.0, 0.0]), 1.0).tolist()
    [2.0, 1.0]
    """

    data: Data
    differentiable_inside = True
    slope_at_kinks = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", real_data(self.data, "the data of MagnitudeMismatch"))
        if nonnegative(self.data) is NO:
            raise ParameterError(
                "the data of magnitude_mismatch are magnitudes, but one is negative; take the square root of measured "
                "intensities after np.maximum(intensity, 0)"
            )

    def define_value(self, v: Expression) -> Expression:
        return 0.5 * ex.total(ex.square(abs(v) - self.data))

    def define_gradient(self, v: Expression) -> Expression:
        return v - self.data * ex.safe_divide(v, abs(v))

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        d = ex.broadcast_to(d, v.shape)
        if v.kind != "complex":
            return d
        phase = ex.safe_divide(v, abs(v))
        along = ex.pointwise("real", ex.pointwise("conj", phase) * d)
        return d - ex.safe_divide(self.data, abs(v)) * (d - along * phase)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        size = abs(v)
        pull = t * self.data
        moved = ex.where(ex.pointwise("greater", size, 0.0), pull * ex.safe_divide(v, size), pull)
        return (v + moved) / (1.0 + t)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=NO, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, phase_invariant=YES
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self.data, False, "the data of magnitude_mismatch must be nonnegative")

    def hint(self) -> str:
        return sign_hint([self.data], strict=False)

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "it has kinks at zeros; oa.grad takes 0 for the gradient there, and methods use its prox"
        return "it is not convex"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.data, shape, self, "data")

    def text(self, inner: str) -> str:
        return f"magnitude_mismatch({inner}, {data_text(self.data)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\tfrac{{1}}{{2}}\left\|\left|{inner}\right| - {data_latex(self.data, names)}\right\|_2^2"

    def __repr__(self) -> str:
        return f"MagnitudeMismatch({self.data!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            MagnitudeMismatch(rng.uniform(0.2, 2.0, (3, 4))),
            MagnitudeMismatch(0.7),
            MagnitudeMismatch(Parameter(rng.uniform(0.2, 2.0, (3, 4)), name="y", nonneg=True)),
        ]


def magnitude_mismatch(e: Any, y: Any) -> Any:
    """The sum of ``(|t| - y)^2 / 2`` over the entries t of an expression: data without phases.

    Parameters
    ----------
    e : affine expression
        Real or complex, such as ``oa.CodedDiffraction(masks) @ x``.
    y : array or Parameter
        The nonnegative magnitudes; square roots of intensities.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x", dtype=complex)
    >>> oa.magnitude_mismatch(x, np.array([1.0, 2.0])).value(np.array([3.0j, 2.0]))
    2.0
    """
    return MagnitudeMismatch(y)(e)


__all__ = ["MagnitudeMismatch", "magnitude_mismatch"]
