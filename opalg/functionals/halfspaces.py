"""Half-spaces: affine inequalities that have a projection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import YES, Fact
from opalg.functionals.affine_sets import small_matrix
from opalg.functionals.length import safe_norms
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.weights import Data, check_broadcasts, data, is_fixed, real_data
from opalg.leaves import Constant, Parameter
from opalg.nodes import node
from opalg.operators.algebra import LinearOperator
from opalg.operators.diagonal import Diagonal, diagonal_of
from opalg.program import expression as ex
from opalg.program.expression import Expression, Reduce, batch_shape
from opalg.program.interpreter import number
from opalg.program.notation import data_latex, data_text


@node
class Halfspace(Set):
    """``{x : Re <a, x> <= b}`` for one array a.

    Parameters
    ----------
    normal : array, Parameter or Expression
        The array a, of the shape of x without batch axes, real or complex; not zero.
    offset : number, Parameter or Expression
        The real number b.

    Raises
    ------
    ShapeError
        For a normal without axes, or an offset that is no number, and for arrays whose trailing axes are not those of
        the normal.
    ParameterError
        For a normal that is zero.
    DtypeError
        For a complex offset, and for a complex normal with real arrays.

    Notes
    -----
    The projection is ``x - max(Re <n, x> - b / |a|, 0) n`` with ``n = a / |a|`` (Beck 2017, Lemma 6.26). The support
    function is ``lambda b`` at ``q = lambda a`` with ``lambda >= 0``, and infinite elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.Halfspace(np.array([0.0, 2.0]), 2.0).project(np.array([3.0, 4.0]))
    array([3., 1.])
    """

    normal: Data
    offset: Data = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "normal", data(self.normal, "the normal of a half-space"))
        object.__setattr__(self, "offset", real_data(self.offset, "the offset of a half-space"))
        if self.normal.shape == () or self.offset.shape != ():
            raise ShapeError(
                f"halfspace(a, b) needs an array a with the shape of x and one number b, but a has shape "
                f"{self.normal.shape} and b {self.offset.shape}; bounds on entries are a box"
            )
        if is_fixed(self.normal) and (0 in self.normal.shape or number(ex.largest(abs(self.normal))) == 0):
            raise ParameterError("the normal of a half-space is zero, so it says nothing about x; leave it out")

    def _unit(self) -> tuple[Expression, Expression]:
        """The normal of length one, and the offset that goes with it."""
        norm = safe_norms(self.normal, None)
        return ex.safe_divide(self.normal, norm), ex.safe_divide(self.offset, norm)

    def _along(self, v: Expression, unit: Expression) -> Expression:
        """``Re <n, v>`` for each sample, with one entry along its axes."""
        both = ex.pointwise("real", ex.pointwise("conj", unit) * v)
        return Reduce("sum", both, tuple(range(-self.normal.ndim, 0)), keepdims=True)

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        unit, offset = self._unit()
        return v - ex.maximum(self._along(v, unit) - offset, 0.0) * unit

    def define_violation(self, v: Expression) -> Expression:
        unit, offset = self._unit()
        return ex.largest(ex.maximum(self._along(v, unit) - offset, 0.0)) * ex.largest(abs(unit))

    def define_support(self, q: Expression) -> Expression:
        unit, offset = self._unit()
        return ex.total(ex.maximum(self._along(q, unit), 0.0)) * offset

    def define_dual_projection(self, q: Expression) -> Expression:
        unit, _ = self._unit()
        return ex.maximum(self._along(q, unit), 0.0) * unit

    @property
    def convex(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        batch_shape(shape, self.normal.shape, self)

    def check_kind(self, kind: str) -> None:
        if kind == "real" and self.normal.kind == "complex":
            raise DtypeError(f"{self!r} has a complex normal, but was given a real array")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        normal, offset = data_latex(self.normal, names), data_latex(self.offset, names)
        return rf"\operatorname{{Re}}\left\langle {normal}, {inner} \right\rangle \le {offset}"

    def __repr__(self) -> str:
        return f"halfspace({data_text(self.normal)}, {data_text(self.offset)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        a, b = rng.standard_normal((3, 4)), Parameter(0.3, name="b")
        return [Halfspace(a, -0.5), Halfspace(Parameter(a, name="a"), b), Halfspace(a + 1j * a[::-1], b)]


@node
class Halfspaces(Set):
    """``{x : A x <= b}``, entry by entry, for an operator whose rows are orthogonal to each other.

    Parameters
    ----------
    operator : LinearOperator
        The map A, with a diagonal ``A A.H`` and real results; it acts on the trailing axes of x.
    offset : number, array, Parameter or Expression
        The real upper bounds b, which broadcast to ``A.out_shape``.

    Raises
    ------
    UnsupportedError
        Where ``A A.H`` is not known to be diagonal without zeros.
    DtypeError
        For what is no linear operator, a complex b, and arrays of which A makes complex ones.
    ShapeError
        Where b does not broadcast to the results of A.

    Notes
    -----
    The half-spaces of orthogonal rows have independent projections, so theirs is
    ``x - A.H D^-1 max(A x - b, 0)`` with ``A A.H = D``. The support function is ``<lambda, b>`` at ``q = A.H lambda``
    with ``lambda >= 0``, and infinite elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Diagonal(np.array([1.0, 2.0]))
    >>> oa.functionals.Halfspaces(A, 1.0).project(np.array([2.0, 2.0]))
    array([1. , 0.5])
    """

    operator: LinearOperator
    offset: Data = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.operator, LinearOperator):
            found = type(self.operator).__name__
            raise DtypeError(f"halfspaces(A, b) needs an operator, not {found}; use Matrix(A), or halfspace(a, b)")
        object.__setattr__(self, "offset", real_data(self.offset, "the upper bound of half-spaces"))
        check_broadcasts(self.offset, self.operator.out_shape, self, "an upper bound")
        _ = self._row_squares  # refuses others

    @cached_property
    def _row_squares(self) -> Expression:
        return _row_squares(self.operator)

    def _excess(self, v: Expression, offset: Any) -> Expression:
        """How far each row exceeds its bound, over the square of its length."""
        return ex.maximum(self.operator.trace(v) - offset, 0.0) / self._row_squares

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        return v - self.operator.trace_adjoint(self._excess(v, self.offset))

    def define_violation(self, v: Expression) -> Expression:
        return ex.largest(abs(self.operator.trace_adjoint(self._excess(v, self.offset))))

    def define_support(self, q: Expression) -> Expression:
        return ex.total(self._excess(q, 0.0) * self.offset)

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.operator.trace_adjoint(self._excess(q, 0.0))

    @property
    def convex(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        batch_shape(shape, self.operator.in_shape, self)

    def check_kind(self, kind: str) -> None:
        if self.operator.out_kind(kind) != "real":
            raise DtypeError(f"{self!r} has no order on complex numbers; constrain their real part, or magnitudes")

    def text(self, inner: str) -> str:
        return f"{self!r}, {inner}"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        letter = (names or {}).get(self.operator, "A")
        return rf"{letter} \left({inner}\right) \le {data_latex(self.offset, names)}"

    def __repr__(self) -> str:
        return f"halfspaces({self.operator!r}, {data_text(self.offset)})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        scales = rng.uniform(0.5, 2.0, (3, 4)) * rng.choice([-1.0, 1.0], (3, 4))
        return [Halfspaces(Diagonal(scales), Parameter(rng.standard_normal((3, 4)), name="b"))]


def _row_squares(operator: LinearOperator) -> Expression:
    """The diagonal of ``A A.H``, all that it has."""
    found = operator.facts.cogram_scale
    if found is None:
        found = _of_matrix(operator)
    if found is None:
        found = diagonal_of(operator.cogram.simplify())
    if found is not None and found.kind == "complex":
        found = ex.pointwise("real", found)
    if found is None or (is_fixed(found) and 0 not in found.shape and number(ex.smallest(found)) <= 0):
        raise UnsupportedError(
            f"A @ A.H is not known to be diagonal and positive for A = {operator!r}, so there is no projection onto "
            f"A x <= b; write the constraint A @ x <= b instead, which is split"
        )
    return found


def _of_matrix(operator: LinearOperator) -> Expression | None:
    """The squares of the rows of a dense constant matrix, where their products are zero exactly."""
    matrix = small_matrix(operator)
    if matrix is None:
        return None
    cogram = matrix @ matrix.conj().T
    squares = np.diag(cogram).real
    return Constant(np.ascontiguousarray(squares)) if np.array_equal(cogram, np.diag(squares)) else None


def halfspace(normal: Any, offset: Any = 0.0) -> Halfspace:
    """The set ``Re <a, x> <= b`` for one array a; see `functionals.Halfspace`.

    Parameters
    ----------
    normal : array or Parameter
        The array a, of the shape of the arrays in the set.
    offset : number, scalar Parameter or Expression
        The real bound b.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.halfspace(np.array([1.0, 0.0]), 1.0).project(np.array([2.0, 5.0]))
    array([1., 5.])
    """
    return Halfspace(normal, offset)


def halfspaces(operator: LinearOperator, offset: Any = 0.0) -> Halfspaces:
    """The set ``A x <= b`` for an operator with orthogonal rows; see `functionals.Halfspaces`.

    Parameters
    ----------
    operator : LinearOperator
        The operator A, of which ``A A.H`` is known to be diagonal.
    offset : number, array, Parameter or Expression
        The real bounds b, which broadcast to ``A.out_shape``.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``. Bounds behind any operator are written as a constraint, ``A @ x <= b``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> A = oa.Restrict(np.array([True, False, True]))
    >>> oa.halfspaces(A, 1.0).project(np.array([2.0, 2.0, -2.0]))
    array([ 1.,  2., -2.])
    """
    return Halfspaces(operator, offset)


__all__ = ["Halfspace", "Halfspaces", "halfspace", "halfspaces"]
