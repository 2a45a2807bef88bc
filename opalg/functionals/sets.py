"""Sets with a projection: boxes, affine spaces, points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, prod
from typing import Any

import numpy as np
from scipy.linalg import svd

from opalg.arrays import backend
from opalg.emit import call
from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.facts import NO, UNKNOWN, YES, Fact
from opalg.functionals.bounds import as_bound, is_partial, shown, where_bound
from opalg.functionals.calculus import Exactness, checked_argument, is_within
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, data, is_fixed, nonnegative
from opalg.nodes import Node, node
from opalg.operators.algebra import Identity, LinearOperator
from opalg.operators.diagonal import diagonal_of
from opalg.operators.matrix import DenseMatrix, Matrix
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal, batch_shape
from opalg.program.interpreter import evaluate, number
from opalg.program.notation import data_latex, data_text

WHOLE = Literal(0.0)  # the step of a projection, whose shape alone matters: one sample
_MOST_WORK = 1e9  # multiplications, up to which a matrix is decomposed when a set is made
SET_ABILITIES = ("support", "dual_gauge", "dual_projection")


class Set(Node):
    """A closed set of arrays with a projection; ``oa.indicator(set, expression)`` makes an energy of it."""

    __array_ufunc__ = None

    # What a subclass says, in the step language.

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        """The nearest point of the set; the shape of t says what one sample is, as `group_axes` reads it."""
        raise NotImplementedError

    def define_violation(self, v: Expression) -> Expression:
        """How far, in the largest entry, v is from what the set asks; 0 inside."""
        raise NotImplementedError

    def define_support(self, q: Expression) -> Expression:
        """``sup_{v in set} Re <q, v>`` where that is finite."""
        raise NotImplementedError

    def define_dual_gauge(self, q: Expression) -> Expression:
        """The gauge of the support function's domain, as `Functional.define_dual_gauge` says."""
        raise NotImplementedError

    def define_dual_projection(self, q: Expression) -> Expression:
        """The nearest point at which the support function is finite."""
        raise NotImplementedError

    def define_conditions(self) -> list[Condition]:
        """What the data must obey for the set to exist; as `Functional.define_conditions`."""
        return []

    @property
    def exactness(self) -> Exactness:
        """How exactly the projection is known."""
        return Exactness.CLOSED_FORM

    def behind(self, batch: int) -> Set:
        """The same set of arrays with that many batch axes in front: its own axes move to the right."""
        return self

    @property
    def convex(self) -> Fact:
        """Whether the set is convex."""
        return UNKNOWN

    @property
    def separable(self) -> Fact:
        """Whether it constrains each entry by itself."""
        return UNKNOWN

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ShapeError where the set holds no arrays of that shape."""

    def check_kind(self, kind: str) -> None:
        """Raise DtypeError where the set holds no ``"real"`` or ``"complex"`` arrays."""

    def text(self, inner: str) -> str:
        """What says that something lies in the set, in the form that ``oa.indicator`` takes."""
        return f"{self!r}, {inner}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        """What says that something lies in the set, as LaTeX; ``names`` are the symbols of the arrays it holds."""
        return rf"{inner} \in \mathrm{{{type(self).__name__}}}"

    # What follows from it.

    def __call__(self, *arguments: Any) -> Any:
        """Refuse: a set is no function.

        Raises
        ------
        ParameterError
            Always; it says what to type instead.
        """
        raise ParameterError(
            f"{self!r} is a set, not a function; write oa.indicator({self!r}, x) for a term, {self!r}.project(v) for "
            f"the nearest point, {self!r}.contains(v) for an answer"
        )

    def offers(self, ability: str) -> bool:
        """Whether ``"support"``, ``"dual_gauge"`` or ``"dual_projection"`` exists."""
        if ability not in SET_ABILITIES:
            raise ValueError(f"{ability!r} is not an ability of sets; they are {SET_ABILITIES}")
        return getattr(type(self), f"define_{ability}") is not getattr(Set, f"define_{ability}")

    def project(self, v: Any) -> Any:
        """The point of the set that is nearest to an array."""
        v, kind, lib = checked_argument(v, self)
        x = Input("v", tuple(v.shape), kind)
        return call([self.define_project(x)], [x], [v], lib)[0]

    def contains(self, v: Any) -> bool:
        """Whether an array lies in the set, up to the rounding of its largest entry."""
        v, kind, lib = checked_argument(v, self)
        x = Input("v", tuple(v.shape), kind)
        return is_within(call([self.define_violation(x)], [x], [v], lib)[0], v, lib)


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


@node
class Affine(Set):
    """``{x : A x = b}`` for a constant matrix, or an operator whose ``A A.H`` has a cheap (pseudo-)inverse.

    Parameters
    ----------
    operator : LinearOperator
        The map A; it acts on the trailing axes of x.
    offset : number, array, Parameter or Expression
        The right-hand side b, which broadcasts to ``A.out_shape``.

    Raises
    ------
    UnsupportedError
        Where no cheap inverse of ``A A.H`` is known.
    ParameterError
        Where the set is known to be empty: ``A A.H`` is singular, and b is not in its range.

    Notes
    -----
    The projection is ``x - A.H (A A.H)^-1 (A x - b)`` (Beck 2017, Lemma 6.26), with the pseudo-inverse where ``A A.H``
    is singular. For a dense constant matrix of moderate size, orthonormal rows are found once, in double precision.
    The support function at ``q`` in the range of ``A.H`` is ``Re <q, A.H (A A.H)^-1 b>``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> mean_free = oa.functionals.Affine(oa.Sum((3,)), 0.0)
    >>> mean_free.contains(np.array([1.0, -1.0, 0.0])), mean_free.contains(np.array([1.0, 1.0, 0.0]))
    (True, False)
    """

    operator: LinearOperator
    offset: Data

    def __post_init__(self) -> None:
        if not isinstance(self.operator, LinearOperator):
            raise DtypeError(f"affine(A, b) needs a linear operator, not {type(self.operator).__name__}; use Matrix(A)")
        object.__setattr__(self, "offset", data(self.offset, "the right-hand side of an affine set"))
        check_broadcasts(self.offset, self.operator.out_shape, self, "a right-hand side")
        miss = self._miss
        if miss is not None and is_fixed(self.offset) and number(miss) < 0:
            raise ParameterError(f"{self!r} is empty: its right-hand side is not in the range of the operator")

    @property
    def _miss(self) -> Expression | None:
        """What is negative where b is not in the range of A; None where A is onto."""
        if not self._rows.singular or 0 in self.operator.out_shape:
            return None
        wanted = ex.broadcast_to(self.offset, self.operator.out_shape)
        lost = ex.largest(abs(self.operator.trace(self._back(self._target)) - wanted))
        return 1e-4 * ex.largest(abs(wanted)) - lost

    def define_conditions(self) -> list[Condition]:
        miss = self._miss
        if miss is None:
            return []
        return condition(miss, False, "the right-hand side of the affine set is not in the range of its operator")

    @cached_property
    def _rows(self) -> _Rows:
        matrix = small_matrix(self.operator)
        if matrix is not None:
            return _orthonormal_rows(matrix)
        inverse, singular = _cogram_inverse(self.operator)
        return _Rows(self.operator, inverse, singular)

    @property
    def _target(self) -> Expression:
        """What the rows make of the members of the set."""
        wanted = ex.broadcast_to(self.offset, self.operator.out_shape)
        return wanted if self._rows.target is None else self._rows.target.trace(wanted)

    def _residual(self, v: Expression) -> Expression:
        return self._rows.operator.trace(v) - self._target

    def _back(self, r: Expression) -> Expression:
        """``A.H (A A.H)^-1 r``."""
        rows = self._rows
        return rows.operator.trace_adjoint(r if rows.inverse is None else rows.inverse.trace(r))

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        return v - self._back(self._residual(v))

    def define_violation(self, v: Expression) -> Expression:
        missed = self._residual(v)
        return ex.largest(abs(missed if self._rows.target is None else self._back(missed)))

    def define_support(self, q: Expression) -> Expression:
        return ex.inner(q, self._back(self._target))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self._back(self._rows.operator.trace(q))

    @property
    def convex(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        batch_shape(shape, self.operator.in_shape, self)

    def check_kind(self, kind: str) -> None:
        if kind == "complex" and self.operator.in_dtype == "real":
            raise DtypeError(f"{self!r} holds real arrays, but was given a complex one")
        if kind == "real" and self.operator.out_kind(kind) == "complex":
            raise DtypeError(f"{self!r} holds complex arrays, but was given a real one; convert it")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        letter = (names or {}).get(self.operator, "A")
        return rf"{letter} \left({inner}\right) = {data_latex(self.offset, names)}"

    def __repr__(self) -> str:
        return f"affine({self.operator!r}, {data_text(self.offset)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        A, x = Matrix(rng.standard_normal((2, 4))), rng.standard_normal(4)
        return [Affine(-2.0 * Identity((3, 4)), rng.standard_normal((3, 4))), Affine(A, A @ x)]


@dataclass(frozen=True)
class _Rows:
    """An operator A and what makes ``A.H (A A.H)^+ (A x - b)`` of it: see `Affine`.

    Attributes
    ----------
    operator : LinearOperator
        A.
    inverse : LinearOperator or None
        The (pseudo-)inverse of ``A A.H``; None where that is the identity.
    singular : bool
        Whether there are arrays b without an x.
    target : LinearOperator or None
        What makes b of the right-hand side of the set, where A is not the operator that it was given.
    """

    operator: LinearOperator
    inverse: LinearOperator | None
    singular: bool
    target: LinearOperator | None = None


def _orthonormal_rows(matrix: np.ndarray) -> _Rows:
    """Orthonormal rows that say the same as those of a matrix, so that no rounding is enlarged by its condition."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scales = np.where(lengths > 0, lengths, 1.0)
    left, sizes, rows = svd(matrix / scales, full_matrices=False)
    kept = sizes > max(matrix.shape) * np.finfo(np.float64).eps * max(sizes[0], 1.0)
    target = (left[:, kept] / sizes[kept]).conj().T / scales.T
    return _Rows(Matrix(rows[kept]), None, int(kept.sum()) < len(matrix), Matrix(target))


def small_matrix(operator: LinearOperator) -> np.ndarray | None:
    """The entries of a dense constant matrix in double precision, where a decomposition of it is cheap; else None."""
    if not isinstance(operator, DenseMatrix) or not is_fixed(operator.matrix):
        return None
    shape = operator.matrix.shape
    if 0 in shape or prod(shape) * min(shape) > _MOST_WORK:
        return None
    lib = backend("numpy", "float64")
    return np.array(evaluate([operator.matrix], {}, lib)[0])


def _cogram_inverse(operator: LinearOperator) -> tuple[LinearOperator, bool]:
    """A (pseudo-)inverse of ``A A.H``, and whether that is singular."""
    scale = operator.facts.cogram_scale
    if scale is not None and not (isinstance(scale, Literal) and scale.value == 0):
        return (1.0 / scale) * Identity(operator.out_shape), False
    cogram = operator.cogram.simplify()
    try:
        return cogram.inverse(), False
    except UnsupportedError as err:
        if diagonal_of(cogram) is not None:
            return cogram.pinv(), True
        raise UnsupportedError(
            f"no cheap inverse of A @ A.H is known for A = {operator!r}, so there is no projection onto A x = b; "
            f"write the constraint A @ x == b instead, which is split"
        ) from err


def affine(operator: LinearOperator, offset: Any = 0.0) -> Affine:
    """The set ``{x : A x = b}``, of a matrix or where ``A A.H`` has a cheap inverse; see `functionals.Affine`.

    Parameters
    ----------
    operator : LinearOperator
        The operator A, which acts on the trailing axes.
    offset : number, array, Parameter or Expression
        The right-hand side b, which broadcasts to ``A.out_shape``.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``. In an energy, ``A @ x == b`` takes every operator.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> mean_free = oa.affine(oa.Sum((3,)), 0.0)
    >>> mean_free.project(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """
    return Affine(operator, offset)


@node
class Point(Set):
    """``{b}``: one array.

    Parameters
    ----------
    value : number, array, Parameter or Expression
        The array b, which broadcasts to the argument.

    Notes
    -----
    The projection is b, the support function ``Re <q, b>``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Point(np.array([1.0, 2.0])).project(np.zeros(2))
    array([1., 2.])
    """

    value: Data

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", data(self.value, "the point"))

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        value = self.value + Literal(0j) if v.kind == "complex" else self.value
        return ex.broadcast_to(value, v.shape)

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(v - self.value))

    def define_support(self, q: Expression) -> Expression:
        return ex.inner(q, ex.broadcast_to(self.value, q.shape))

    def define_dual_gauge(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q

    @property
    def convex(self) -> Fact:
        return YES

    @property
    def separable(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.value, shape, self, "a value")

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.value.kind == "complex":
            raise DtypeError(f"{self!r} is a complex point, but was given a real array")

    def text(self, inner: str) -> str:
        return f"{inner} == {data_text(self.value)}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return f"{inner} = {data_latex(self.value, names)}"

    def __repr__(self) -> str:
        return f"point({data_text(self.value)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return [Point(0.0), Point(rng.standard_normal((3, 4)))]


def point(value: Any = 0.0) -> Point:
    """The set ``{b}`` that holds one array; see `functionals.Point`.

    Parameters
    ----------
    value : number, array, Parameter or Expression
        The array b, which broadcasts to the argument.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.point(2.0).project(np.array([1.0, 5.0]))
    array([2., 2.])
    """
    return Point(value)


__all__ = [
    "SET_ABILITIES",
    "WHOLE",
    "Affine",
    "Box",
    "Point",
    "Set",
    "affine",
    "box",
    "nonneg",
    "point",
    "small_matrix",
]
