"""The Euclidean distance to a set, and its square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import DtypeError
from opalg.facts import NO, UNKNOWN, YES, exact
from opalg.functionals.affine_sets import Affine
from opalg.functionals.boxes import Box, nonneg
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts, group_axes
from opalg.functionals.length import safe_norms
from opalg.functionals.points import Point
from opalg.functionals.sets import Set
from opalg.functionals.weights import Condition
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator, scale
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


def checked_set(given: Any, owner: str) -> Set:
    """The set that a functional is made of.

    Raises
    ------
    DtypeError
        For anything else.
    """
    if not isinstance(given, Set):
        raise DtypeError(f"{owner} needs a set such as oa.nonneg or oa.box(0, 1), not {type(given).__name__}")
    return given


class _OfSet(Functional):
    """What the functionals of one set share: what the set says about arrays and data."""

    set: Set

    @property
    def exactness(self) -> Exactness | None:
        return self.set.exactness

    def define_conditions(self) -> list[Condition]:
        return self.set.define_conditions()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        self.set.check_shape(shape)

    def check_kind(self, kind: str) -> None:
        self.set.check_kind(kind)

    def _place(self, names: Mapping[Any, str] | None) -> str:
        """The set as LaTeX."""
        return rf"\left\{{u : {self.set.latex('u', names)}\right\}}"


@node
class Distance(_OfSet):
    """``f(v) = min_{u in C} |u - v|``: the Euclidean distance to a set C.

    Parameters
    ----------
    set : Set
        The set ``C``, convex or not.

    Raises
    ------
    DtypeError
        For what is no set.

    Notes
    -----
    The prox goes from v towards its projection ``P v``, by t or until it is there:
    ``v - r min(t / |r|, 1)`` with ``r = v - P v`` (Beck 2017, Lemma 6.43). For a convex set, ``f*`` is the support
    function of C on the unit ball, and infinite elsewhere (Beck 2017, Section 4.4.10).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Distance(oa.nonneg)
    >>> f.value(np.array([-3.0, 1.0, -4.0]))
    5.0
    >>> f.prox(np.array([-3.0, 1.0, -4.0]), 2.5)
    array([-1.5,  1. , -2. ])
    """

    set: Set

    def __post_init__(self) -> None:
        checked_set(self.set, "distance(e, set)")

    def define_value(self, v: Expression) -> Expression:
        return safe_norms(v - self.set.define_project(v), None)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        nearest = self.set.define_project(v, t)
        apart = v - nearest
        size = safe_norms(apart, group_axes(v, t))
        part = ex.safe_divide(t, ex.maximum(size, t))
        return ex.where(ex.pointwise("less_equal", size, t), nearest, v - part * apart)  # NaN is not near

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.set.define_support(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.maximum(safe_norms(q, None), self.set.define_dual_gauge(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        # the domain of a support function is a cone, and behind the projection onto a cone that onto a ball is right
        inside = self.set.define_dual_projection(q)
        return inside / ex.maximum(safe_norms(inside, None), 1.0)

    def offers(self, ability: str) -> bool:
        return _offered(self, ability)

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(convex=self.set.convex, smooth=NO, quadratic=NO, bounded_below=YES)

    def behind(self, batch: int) -> Functional:
        return Distance(self.set.behind(batch))

    def why_not(self, ability: str) -> str:
        if ability == "gradient":
            return "a distance has a kink on the border of the set; squared_distance is smooth for convex sets"
        return _why_not(self, ability)

    def text(self, inner: str) -> str:
        return f"distance({inner}, {self.set!r})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{dist}}\left({inner}, {self._place(names)}\right)"

    def __repr__(self) -> str:
        return f"Distance({self.set!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        high = Parameter(rng.uniform(0.1, 0.5, (4,)), name="high")
        return [Distance(s) for s in (nonneg, Box(-0.25, high), _plane(rng), Point(rng.standard_normal((3, 4))))]


@node
class SquaredDistance(_OfSet):
    """``f(v) = min_{u in C} |u - v|^2``: the squared Euclidean distance to a set C, with no factor of one half.

    Parameters
    ----------
    set : Set
        The set ``C``; where it is convex, f is smooth.

    Raises
    ------
    DtypeError
        For what is no set.

    Notes
    -----
    With the projection ``P v``, the gradient is ``2 (v - P v)`` and has the Lipschitz constant 2 (Beck 2017,
    Example 5.5); ``prox: (v + 2 t P v) / (1 + 2 t)`` (Beck 2017, Example 6.65); ``f*`` is the support function of C
    plus ``|q|^2 / 4``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.SquaredDistance(oa.box(0.0, 1.0))
    >>> f.value(np.array([-1.0, 0.5, 3.0])), f.gradient(np.array([-1.0, 0.5, 3.0])).tolist()
    (5.0, [-2.0, 0.0, 4.0])
    """

    set: Set

    def __post_init__(self) -> None:
        checked_set(self.set, "squared_distance(e, set)")

    def _apart(self, v: Expression) -> Expression:
        return v - self.set.define_project(v)

    def define_value(self, v: Expression) -> Expression:
        return ex.norm_squared(self._apart(v))

    def define_gradient(self, v: Expression) -> Expression:
        return 2.0 * self._apart(v)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        part = 1.0 - 0.5 / (t + 0.5)  # of the way to the projection: 2 t / (1 + 2 t), also where 2 t overflows
        return v - part * (v - self.set.define_project(v, t))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return self.set.define_support(q) + 0.25 * ex.norm_squared(q)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return self.set.define_dual_gauge(q)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.set.define_dual_projection(q)

    def define_hessian_operator(self, shape: tuple[int, ...], kind: str) -> LinearOperator | None:
        return scale(2.0, Identity(shape)) if isinstance(self.set, Point) else None

    def offers(self, ability: str) -> bool:
        return _offered(self, ability)

    @property
    def facts(self) -> FunctionalFacts:
        convex, one_point = self.set.convex, isinstance(self.set, Point)
        return FunctionalFacts(
            convex=convex,
            smooth=YES if convex is YES else UNKNOWN,
            smoothness=exact(2.0) if convex is YES else None,
            strong_convexity=Literal(2.0) if one_point else None,
            quadratic=YES if one_point else UNKNOWN,
            separable=self.set.separable,
            bounded_below=YES,
        )

    def behind(self, batch: int) -> Functional:
        return SquaredDistance(self.set.behind(batch))

    def why_not(self, ability: str) -> str:
        return _why_not(self, ability)

    def text(self, inner: str) -> str:
        return f"squared_distance({inner}, {self.set!r})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{dist}}^2\left({inner}, {self._place(names)}\right)"

    def __repr__(self) -> str:
        return f"SquaredDistance({self.set!r})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        low = Parameter(rng.uniform(-0.5, -0.1, (3, 4)), name="low")
        return [SquaredDistance(s) for s in (Box(0.4, None), Box(low, 0.25), _plane(rng), Point(0.5))]


def _plane(rng: np.random.Generator) -> Set:
    return Affine(-2.0 * Identity((3, 4)), rng.standard_normal((3, 4)))


def _offered(functional: Distance | SquaredDistance, ability: str) -> bool:
    if ability in ("conjugate_value", "dual_gauge", "dual_projection"):
        wanted = {"conjugate_value": "support"}.get(ability, ability)
        of_set = functional.set
        return of_set.convex is YES and of_set.offers(wanted)
    return functional.facts.smooth is YES if ability == "gradient" else Functional.offers(functional, ability)


def _why_not(functional: Distance | SquaredDistance, ability: str) -> str:
    if functional.set.convex is not YES:
        return f"the set {functional.set!r} is not known to be convex; the prox of the distance to it is known"
    return "" if ability == "prox" else f"the support function of {functional.set!r} is not known well enough"


def distance(e: Any, set: Any) -> Any:
    """The Euclidean distance to a set (not squared), ``min_{u in set} |e - u|_2``, of all entries together.

    Parameters
    ----------
    e : affine expression
        Of a shape and kind that the set takes.
    set : Set
        Such as ``oa.nonneg`` or ``oa.box(0, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.distance(x, oa.nonneg).value(np.array([-2.0, 4.0]))
    2.0
    """
    return Distance(checked_set(set, "distance(e, set)"))(e)


def squared_distance(e: Any, set: Any) -> Any:
    """The squared Euclidean distance to a set, ``min_{u in set} |e - u|_2^2``; there is no hidden one half.

    Parameters
    ----------
    e : affine expression
        Of a shape and kind that the set takes.
    set : Set
        Such as ``oa.nonneg`` or ``oa.box(0, 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2,), name="x")
    >>> oa.squared_distance(x, oa.nonneg).value(np.array([-2.0, 4.0]))
    4.0
    """
    return SquaredDistance(checked_set(set, "squared_distance(e, set)"))(e)


__all__ = ["Distance", "SquaredDistance", "checked_set", "distance", "squared_distance"]
