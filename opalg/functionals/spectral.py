"""Functionals of singular values and eigenvalues: the nuclear norm, matrices of small rank, the semidefinite cone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError
from opalg.facts import NO, YES, Fact
from opalg.functionals.calculus import Functional, FunctionalFacts
from opalg.functionals.hermitian_calls import below_zero, positive_part
from opalg.functionals.sets import WHOLE, Set
from opalg.functionals.spectral_calls import (
    beyond_rank,
    singular_values,
    soft_threshold_singular,
    truncate_singular,
)
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, Literal


def _check_matrices(shape: tuple[int, ...], owner: Any) -> None:
    if len(shape) < 2:
        raise ShapeError(
            f"{owner!r} takes matrices, which are the last two axes of its argument, but was given the shape {shape}; "
            f"reshape it with oa.Reshape, or take oa.norm2 of a vector"
        )


def _check_step(t: Expression, owner: Any) -> None:
    if any(n != 1 for n in t.shape[-2:]):
        raise ShapeError(f"{owner!r} takes one step for each matrix, but steps of shape {t.shape} differ inside one")


@node
class NuclearNorm(Functional):
    """``f(v) = sum_k s_k(v)``: the sum of the singular values of the matrices on the last two axes.

    Leading axes are a batch, over which the norms add up. Real or complex, of any proportions.

    Raises
    ------
    ShapeError
        For arguments of less than two axes.

    Notes
    -----
    The prox thresholds singular values, ``U diag(max(s - t, 0)) W^H`` of ``v = U diag(s) W^H`` (Cai, Candes, Shen 2010,
    Theorem 2.1). ``f*`` is zero where the largest singular value, the spectral norm, is at most 1. The derivative of
    the prox holds divided differences of the threshold (Lewis, Sendov 2005; Candes, Sing-Long, Trzasko 2013), bounded
    by 1 also where singular values coincide or vanish; second derivatives are not offered.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.NuclearNorm()
    >>> f.value(np.diag([3.0, 1.0]))
    4.0
    >>> np.round(f.prox(np.diag([3.0, 1.0]), 1.5), 12) + 0.0
    array([[1.5, 0. ],
           [0. , 0. ]])
    """

    def define_value(self, v: Expression) -> Expression:
        return ex.total(singular_values(v))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        _check_step(t, self)
        if isinstance(t, Literal) and t.value == 0:
            return v
        return soft_threshold_singular(v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_gauge(self, q: Expression) -> Expression:
        return ex.largest(singular_values(q))

    def define_dual_projection(self, q: Expression) -> Expression:
        return q - soft_threshold_singular(q, Literal(1.0))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(convex=YES, smooth=NO, quadratic=NO, bounded_below=YES, homogeneity=1.0)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        _check_matrices(shape, self)

    def text(self, inner: str) -> str:
        return f"nuclear_norm({inner})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\left\|{inner}\right\|_{{\ast}}"

    def __repr__(self) -> str:
        return "NuclearNorm()"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """The one member, for the property tests."""
        return [NuclearNorm()]


@node
class RankBall(Set):
    """``{v : rank(v) <= rank}``: matrices, on the last two axes, of at most some rank. It is not convex.

    Parameters
    ----------
    rank : int
        At least 1.

    Raises
    ------
    ParameterError
        Where the rank is no positive integer.
    ShapeError
        For arguments of less than two axes.

    Notes
    -----
    The projection keeps the largest singular values (Eckart, Young 1936). Where the last of these equals the first that
    is dropped it is one of several nearest points, and jumps.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.RankBall(1).project(np.diag([3.0, 1.0])) + 0.0
    array([[3., 0.],
           [0., 0.]])
    """

    rank: int

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, (int, np.integer)) or self.rank < 1:
            raise ParameterError(f"the rank of a rank_ball must be a positive integer, not {self.rank!r}")
        object.__setattr__(self, "rank", int(self.rank))

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        _check_step(t, self)
        return v if self.rank >= min(v.shape[-2:]) else truncate_singular(v, self.rank)

    def define_violation(self, v: Expression) -> Expression:
        if self.rank < min(v.shape[-2:]):
            return beyond_rank(v, self.rank)
        largest = ex.largest(abs(v))
        return ex.where(ex.pointwise("greater_equal", largest, 0.0), 0.0, largest)  # every matrix, but not NaN

    @property
    def convex(self) -> Fact:
        return NO

    def check_shape(self, shape: tuple[int, ...]) -> None:
        _check_matrices(shape, self)

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{rank}}\left({inner}\right) \le {self.rank}"

    def __repr__(self) -> str:
        return f"rank_ball({self.rank})"

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Members for the property tests, on arrays of shape (3, 4)."""
        return [RankBall(1), RankBall(2), RankBall(3)]


def rank_ball(rank: int) -> RankBall:
    """The set ``rank(V) <= r`` of matrices on the last two axes; see `functionals.RankBall`. Not convex.

    Parameters
    ----------
    rank : int
        The largest rank, at least 1.

    Returns
    -------
    Set
        With ``project(v)`` and ``contains(v)``; energies with it are solved with ``nonconvex=True``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.rank_ball(1).project(np.diag([3.0, 1.0])).round(6) + 0.0
    array([[3., 0.],
           [0., 0.]])
    """
    return RankBall(rank)


@node
class PSDCone(Set):
    """``{v : v = v^H, v >= 0}``: Hermitian positive semidefinite matrices on the last two axes.

    Raises
    ------
    ShapeError
        For arguments whose last two axes are not of the same length.

    Notes
    -----
    The projection drops the negative eigenvalues of ``(v + v^H) / 2`` (Higham 1988, Theorem 2.1), whatever v. The
    support function is zero on the polar cone, the matrices whose Hermitian part is negative semidefinite, and infinite
    elsewhere; ``q - project(q)`` is the nearest point there (Moreau 1962).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> oa.functionals.PSDCone().project(np.diag([2.0, -1.0])) + 0.0
    array([[2., 0.],
           [0., 0.]])
    """

    def define_project(self, v: Expression, t: Expression = WHOLE) -> Expression:
        _check_step(t, self)
        return positive_part(v)

    def define_violation(self, v: Expression) -> Expression:
        return below_zero(v)

    def define_support(self, q: Expression) -> Expression:
        return Literal(0.0)

    def define_dual_projection(self, q: Expression) -> Expression:
        return q - positive_part(q)

    @property
    def convex(self) -> Fact:
        return YES

    def check_shape(self, shape: tuple[int, ...]) -> None:
        _check_matrices(shape, self)
        if shape[-2] != shape[-1]:
            raise ShapeError(f"psd_cone holds square matrices on the last two axes, but was given the shape {shape}")

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"{inner} \succeq 0"

    def __repr__(self) -> str:
        return "psd_cone"


psd_cone = PSDCone()


def nuclear_norm(e: Any) -> Any:
    """The sum of the singular values, ``sum_i sigma_i(e)``, of the matrices on the last two axes; it favours low rank.

    Parameters
    ----------
    e : affine expression
        Of at least two axes, real or complex; leading axes are a batch of matrices.

    References
    ----------
    Fazel, Hindi, Boyd (2001); Recht, Fazel, Parrilo (2010).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2, 3), name="x")
    >>> oa.nuclear_norm(x).value(np.array([[3.0, 0.0, 0.0], [0.0, -4.0, 0.0]]))
    7.0
    """
    return NuclearNorm()(e)


__all__ = ["NuclearNorm", "PSDCone", "RankBall", "nuclear_norm", "psd_cone", "rank_ball"]
