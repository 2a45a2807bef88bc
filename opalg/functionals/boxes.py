"""Boxes: bounds for every entry, and nonnegativity."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES, Fact
from opalg.functionals.bounds import as_bound, is_partial, shown, where_bound
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, nonnegative
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal
from opalg.program.notation import data_latex, data_text


@node
class Box(Set):
    """``{v : lower <= v <= upper}``, entry by entry.

    Parameters
    ----------
    lower, upper : number, array, Parameter, Expression or None
        Real bounds that broadcast to v; None where there is none. Not both may be None. Entries of an array that are
        ``-inf`` below, or ``inf`` above, are no bound to their entry of v; parameters are finite.

    Raises
    ------
    ParameterError
        Where no bound is given, or a lower one is known to exceed the upper.
    DtypeError
        For complex bounds, and for complex arguments.
    NonFiniteError
        For NaN, and for a Parameter that is infinite.

    Notes
    -----
    The support function is ``sum_i max(q_i, 0) upper_i + min(q_i, 0) lower_i``; it is finite where no entry of q points
    to a side without bound.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> half_open = oa.functionals.Box(lower=np.array([0.0, -np.inf]), upper=1.0)
    >>> half_open.project(np.array([-3.0, -3.0]))
    array([ 0., -3.])
    """

    lower: Data = None
    upper: Data = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", as_bound(self.lower, "lower"))
        object.__setattr__(self, "upper", as_bound(self.upper, "upper"))
        if self.lower is None and self.upper is None:
            raise ParameterError("a box needs a lower or an upper bound; leave the constraint out if there is none")
        if self.lower is not None and self.upper is not None and nonnegative(self.upper - self.lower) is NO:
            raise ParameterError("a box is empty: its lower bound exceeds its upper bound in some entry")

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        raised = v if self.lower is None else ex.maximum(v, self.lower)
        return raised if self.upper is None else ex.minimum(raised, self.upper)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.define_project(v)))

    def define_support(self, q: Expression) -> Expression:
        above = 0.0 if self.upper is None else ex.maximum(q, 0.0) * where_bound(self.upper, self.upper, 0.0)
        below = 0.0 if self.lower is None else ex.minimum(q, 0.0) * where_bound(self.lower, self.lower, 0.0)
        return ex.total(ex.broadcast_to(ex.as_expression(above + below), q.shape))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        if self.upper is None or is_partial(self.upper):
            q = ex.minimum(q, 0.0 if self.upper is None else where_bound(self.upper, inf, 0.0))
        if self.lower is None or is_partial(self.lower):
            q = ex.maximum(q, 0.0 if self.lower is None else where_bound(self.lower, -inf, 0.0))
        return q

    def define_conditions(self) -> list[Condition]:
        if self.lower is None or self.upper is None:
            return []
        return condition(self.upper - self.lower, False, "the lower bound of the box lies above the upper one")

    def offers(self, ability: str) -> bool:
        bounded = all(end is not None and not is_partial(end) for end in (self.lower, self.upper))
        return super().offers(ability) and (bounded or ability != "dual_gauge")

    @property
    def convex(self) -> Fact:
        return YES

    @property
    def separable(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.lower, shape, self, "lower")
        check_broadcasts(self.upper, shape, self, "upper")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} bounds real arrays, but was given a complex one; bound its real part")

    def text(self, inner: str) -> str:
        if self.upper is None:
            return f"{inner} >= {data_text(shown(self.lower))}"
        low = "" if self.lower is None else f"{data_text(shown(self.lower))} <= "
        return f"{low}{inner} <= {data_text(shown(self.upper))}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        if self.upper is None:
            return rf"{inner} \ge {data_latex(shown(self.lower), names)}"
        low = "" if self.lower is None else rf"{data_latex(shown(self.lower), names)} \le "
        return rf"{low}{inner} \le {data_latex(shown(self.upper), names)}"

    def __repr__(self) -> str:
        if self is nonneg:
            return "nonneg"
        ends = ("None" if end is None else data_text(shown(end)) for end in (self.lower, self.upper))
        return f"box({', '.join(ends)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        low = rng.uniform(-1.0, 0.0, (3, 4))
        open_ends = np.where(rng.random((3, 4)) < 0.4, np.inf, low + 0.5)
        return [
            nonneg,
            Box(-0.5, 0.75),
            Box(low, low + 0.3),
            Box(None, rng.uniform(-0.5, 0.5, (4,))),
            Box(np.where(rng.random((3, 4)) < 0.4, -np.inf, low), open_ends),
        ]


nonneg = Box(0.0, None)


def box(lower: Any = None, upper: Any = None) -> Box:
    """The set ``lower <= v <= upper``, entry by entry; see `functionals.Box`.

    Parameters
    ----------
    lower, upper : number, array, Parameter, Expression or None
        Real bounds, for all entries or one for each; None where there is none. Not both may be None.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; ``oa.indicator(oa.box(0.0, 1.0), e)`` makes a term of it.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.box(0.0, 1.0).project(np.array([-2.0, 0.5, 3.0]))
    array([0. , 0.5, 1. ])
    """
    return Box(lower, upper)


__all__ = ["Box", "box", "nonneg"]
