"""The linear functional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import NO, UNKNOWN, YES, Fact, exact
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.weights import Data, check_broadcasts, data, is_fixed
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator, Zero
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.interpreter import number
from opalg.program.notation import data_latex, data_text


@node
class Linear(Functional):
    """``f(v) = Re <c, v> = Re sum_i conj(c_i) v_i``.

    Parameters
    ----------
    slope : number, array, Parameter or Expression
        The array ``c``, real or complex, which broadcasts to v. Of a complex ``c`` a real v meets the real part.

    Raises
    ------
    DtypeError
        For what is no number, array or expression.
    ShapeError
        Where ``c`` does not broadcast to the argument.

    Notes
    -----
    The gradient is ``c`` everywhere; ``prox: v - t c``; ``f*`` is zero at ``c`` and infinite elsewhere (Beck 2017,
    Sections 4.4.4 and 6.2.2). It is bounded below for ``c = 0`` only.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Linear(np.array([1.0, -2.0]))
    >>> f.value(np.array([3.0, 1.0]))
    1.0
    >>> f.prox(np.array([3.0, 1.0]), 0.5)
    array([2.5, 2. ])
    """

    slope: Data

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", data(self.slope, "the c of linear(c, e)"))

    def _slope(self, v: Expression) -> Expression:
        """The slope in the kind of v, which it broadcasts to."""
        if v.kind == "complex":
            return self.slope if self.slope.kind == "complex" else self.slope + Literal(0j)
        return ex.pointwise("real", self.slope)

    def define_value(self, v: Expression) -> Expression:
        return ex.inner(ex.broadcast_to(self._slope(v), v.shape), v)

    def define_gradient(self, v: Expression) -> Expression:
        return ex.broadcast_to(self._slope(v), v.shape)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return ex.broadcast_to(Literal(0.0) if v.kind == "real" else Literal(0j), v.shape)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator:
        return Zero(shape)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v - t * self._slope(v)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return ex.broadcast_to(self._slope(q), q.shape)

    @property
    def _vanishes(self) -> Fact:
        if not is_fixed(self.slope):
            return UNKNOWN
        return YES if 0 in self.slope.shape or number(ex.largest(abs(self.slope))) == 0 else NO

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES,
            smooth=YES,
            smoothness=exact(0.0),
            strong_convexity=Literal(0.0),
            quadratic=YES,
            separable=YES,
            bounded_below=self._vanishes,
            homogeneity=1.0,
            phase_invariant=self._vanishes,
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.slope, shape, self, "a slope")

    def why_not(self, ability: str) -> str:
        if ability != "dual_gauge":
            return ""
        return "its conjugate is finite at one point only; take the value of f.conjugate there"

    def text(self, inner: str) -> str:
        return f"linear({data_text(self.slope)}, {inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        part = r"\operatorname{Re}" if self.slope.kind == "complex" else ""
        return rf"{part}\left\langle {data_latex(self.slope, names)}, {inner}\right\rangle"

    def __repr__(self) -> str:
        return f"Linear({self.slope!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Linear(rng.standard_normal((3, 4))),
            Linear(rng.standard_normal((4,)) + 1j * rng.standard_normal((4,))),
            Linear(Parameter(rng.standard_normal((3, 4)), name="c")),
            Linear(0.0),
        ]


def linear(c: Any, e: Any) -> Any:
    """The linear term ``Re <c, e>``.

    Parameters
    ----------
    c : number, array, Parameter or Expression
        The slope; it broadcasts to ``e``.
    e : affine expression
        Of any shape, real or complex.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.linear(np.array([1.0, 2.0]), x).value(np.array([3.0, 4.0]))
    11.0
    """
    return Linear(c)(e)


__all__ = ["Linear", "linear"]
