"""The Huber function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.facts import NO, YES, exact
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.norms import clip_magnitude
from opalg.functionals.weights import (
    Condition,
    Data,
    check_broadcasts,
    condition,
    real_data,
    require_positive,
    sign_hint,
)
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression
from opalg.program.notation import data_latex, data_text


@node
class Huber(Functional):
    """``f(v) = sum_i h(|v_i|)`` with ``h(s) = s^2 / 2`` for ``s <= delta``, else ``delta (s - delta / 2)``.

    Parameters
    ----------
    delta : number, array, Parameter or Expression
        Where the square passes into the magnitude; positive, in the unit of v.

    Raises
    ------
    ParameterError
        Where delta is known not to be positive.
    DtypeError
        Where it is complex.

    Notes
    -----
    The gradient is v with magnitudes clipped at delta, and has the Lipschitz constant 1.
    ``prox: v - t / (1 + t) clip(v, (1 + t) delta)``; ``f*(q) = |q|^2 / 2`` where ``|q_i| <= delta`` (Huber 1964;
    Beck 2017, Example 6.66, as the Moreau envelope of ``delta |.|``).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Huber(1.0)
    >>> f.value(np.array([1.0, -3.0]))
    3.0
    >>> f.prox(np.array([1.0, -3.0]), 1.0)
    array([ 0.5, -2. ])
    """

    delta: Data

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", real_data(self.delta, "the delta of Huber"))
        require_positive(self.delta, "the delta of Huber")

    vanishes_at_zero_only = True  # type: ignore[assignment]

    def define_value(self, v: Expression) -> Expression:
        size = v if v.kind != "complex" else abs(v)
        inside = clip_magnitude(size, self.delta)
        return ex.total(inside * (size - 0.5 * inside))

    def define_gradient(self, v: Expression) -> Expression:
        return clip_magnitude(v, self.delta)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return v - (t / (1.0 + t)) * clip_magnitude(v, (1.0 + t) * self.delta)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return 0.5 * ex.norm_squared(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(abs(q) / self.delta)

    def define_dual_projection(self, q: Expression) -> Expression:
        return clip_magnitude(q, self.delta)

    @property
    def facts(self) -> FunctionalFacts:
        # __post_init__ refused a delta known not to be positive, and f is only defined for positive ones
        return FunctionalFacts(
            convex=YES,
            smooth=YES,
            smoothness=exact(1.0),
            quadratic=NO,
            separable=YES,
            bounded_below=YES,
            phase_invariant=YES,
        )

    def define_conditions(self) -> list[Condition]:
        return condition(self.delta, True, "the delta of huber must be positive")

    def hint(self) -> str:
        return sign_hint([self.delta], strict=True)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.delta, shape, self, "delta")

    def text(self, inner: str) -> str:
        return f"huber({inner}, {data_text(self.delta)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{huber}}_{{{data_latex(self.delta, names)}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"Huber({self.delta!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [
            Huber(float(rng.uniform(0.3, 1.5))),
            Huber(rng.uniform(0.3, 1.5, (3, 4))),
            Huber(Parameter(0.8, name="delta", positive=True)),
        ]


def huber(e: Any, delta: Any) -> Any:
    """The sum of ``t^2 / 2`` for ``|t| <= delta`` and ``delta (|t| - delta / 2)`` beyond (Huber 1964).

    Parameters
    ----------
    e : affine expression
        Of any shape, real or complex.
    delta : number, array or Parameter
        Positive, in the unit of the entries: where the square passes into the magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.huber(x, delta=1.0).value(np.array([1.0, -3.0]))
    3.0
    """
    return Huber(delta)(e)
