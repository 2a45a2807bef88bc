"""The quantile loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, positive, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text


@node
class Quantile(Functional):
    """``f(v) = sum_i max(level v_i, (level - 1) v_i)``: the pinball loss, for real v.

    Parameters
    ----------
    level : number, array, Parameter or Expression
        Which quantile, strictly between 0 and 1; it broadcasts to v. At 1/2 the loss is half the sum of magnitudes.

    Raises
    ------
    ParameterError
        Where the level is known not to lie between 0 and 1.
    DtypeError
        For a complex level, and for complex arguments.

    Notes
    -----
    A constant ``c`` that minimises ``quantile(y - c, level)`` is that quantile of the data y (Koenker, Bassett 1978).
    ``prox: v - clip(v, t (level - 1), t level)``; ``f*`` is zero where ``level - 1 <= q <= level``, and infinite
    elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Quantile(0.75)
    >>> f.value(np.array([4.0, -4.0]))
    4.0
    >>> f.prox(np.array([4.0, -4.0]), 2.0)
    array([ 2.5, -3.5])
    """

    level: Data

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", real_data(self.level, "the level of Quantile"))
        if NO in (positive(self.level), positive(1.0 - self.level)):
            raise ParameterError(f"the level of Quantile must lie between 0 and 1, but is {data_text(self.level)}")

    def define_value(self, v: Expression) -> Expression:
        return ex.total(ex.maximum(self.level * v, (self.level - 1.0) * v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v - ex.maximum(ex.minimum(v, t * self.level), t * (self.level - 1.0))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(ex.maximum(q / self.level, -q / (1.0 - self.level)))

    def define_dual_projection(self, q: Expression) -> Expression:
        return ex.maximum(ex.minimum(q, self.level), self.level - 1.0)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, homogeneity=1.0, phase_invariant=NO
        )

    def define_conditions(self) -> list[Condition]:
        sentence = "the level of quantile must lie between 0 and 1"
        return condition(self.level, True, sentence) + condition(1.0 - self.level, True, sentence)

    def why_not(self, ability: str) -> str:
        return "it has a kink at zero; huber is a smooth loss" if ability == "gradient" else ""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.level, shape, self, "a level")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; apply it to its parts")

    def text(self, inner: str) -> str:
        return f"quantile({inner}, {data_text(self.level)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{quantile}}_{{{data_latex(self.level, names)}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"Quantile({self.level!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Quantile(float(rng.uniform(0.2, 0.8))),
            Quantile(rng.uniform(0.1, 0.9, (3, 4))),
            Quantile(Parameter(0.3, name="level", positive=True)),
        ]


def quantile(e: Any, level: Any) -> Any:
    """The pinball loss, the sum of ``max(level t, (level - 1) t)`` over the entries; see `Quantile`.

    Parameters
    ----------
    e : affine expression
        Real, such as ``y - A @ x``.
    level : number, array or Parameter
        Strictly between 0 and 1; the larger, the more positive entries cost.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> c = oa.Variable((1,), name="c")
    >>> data = np.array([1.0, 2.0, 3.0, 10.0])
    >>> loss = oa.quantile(data - oa.Matrix(np.ones((4, 1))) @ c, level=0.75)
    >>> loss.value(np.array([3.0])) < loss.value(np.array([2.5]))
    True
    """
    return Quantile(level)(e)


__all__ = ["Quantile", "quantile"]
