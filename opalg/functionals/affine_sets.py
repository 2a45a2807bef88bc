"""Affine sets: the solutions of a linear system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from scipy.linalg import svd

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, UnsupportedError
from opalg.facts import YES, Fact
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, data, is_fixed
from opalg.nodes import node
from opalg.operators.algebra import Identity, LinearOperator
from opalg.operators.diagonal import diagonal_of
from opalg.operators.matrix import DenseMatrix, Matrix
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal, batch_shape
from opalg.program.interpreter import evaluate, number
from opalg.program.notation import data_latex, data_text

_MOST_WORK = 1e9  # multiplications, up to which a matrix is decomposed when a set is made


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


__all__ = ["Affine", "affine", "small_matrix"]
