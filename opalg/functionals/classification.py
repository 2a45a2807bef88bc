"""Losses for two classes: logistic and hinge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from opalg.errors import DtypeError, ParameterError
from opalg.facts import NO, YES, exact
from opalg.functionals.calculus import Exactness, Functional, FunctionalFacts
from opalg.functionals.scalar_prox import ScalarFunction, scalar_prox
from opalg.functionals.weights import Condition, Data, check_broadcasts, condition, is_fixed, real_data
from opalg.leaves import Parameter
from opalg.nodes import node
from opalg.program import expression as ex
from opalg.program.expression import Expression, pointwise
from opalg.program.interpreter import number
from opalg.program.notation import data_latex, data_text

_FAR = 80.0  # the exponential is finite in either precision


class _OfMargins(Functional):
    """A sum of a function of the margins ``labels * v``."""

    labels: Data
    word: ClassVar[str]

    def __post_init__(self) -> None:
        name = f"the labels of {type(self).__name__}"
        labels = real_data(self.labels, name)
        object.__setattr__(self, "labels", labels)
        if is_fixed(labels) and 0 not in labels.shape and number(ex.largest(abs(abs(labels) - 1.0))) > 0:
            raise ParameterError(f"{name} must be -1 or 1; write 2 * labels - 1 where they are 0 and 1")

    def define_dual_gauge(self, q: Expression) -> Expression:
        m = self.labels * q  # in the domain for -1 <= m <= 0
        return ex.largest(ex.where(pointwise("greater", m, 0.0), float("inf"), -m))

    def define_dual_projection(self, q: Expression) -> Expression:
        return self.labels * ex.maximum(ex.minimum(self.labels * q, 0.0), -1.0)

    def define_conditions(self) -> list[Condition]:
        sentence = f"the labels of {self.word} must be -1 or 1"
        size = abs(self.labels)
        return condition(size - 1.0, False, sentence) + condition(1.0 - size, False, sentence)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        check_broadcasts(self.labels, shape, self, "labels")

    def check_kind(self, kind: str) -> None:
        if kind == "complex":
            raise DtypeError(f"{self!r} takes real arrays, but was given a complex one; give the real part")

    def text(self, inner: str) -> str:
        return f"{self.word}({inner}, {data_text(self.labels)})"

    def latex(self, inner: str, names: Mapping[Any, str] | None = None) -> str:
        return rf"\operatorname{{{self.word}}}_{{{data_latex(self.labels, names)}}}\left({inner}\right)"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.labels!r})"

    @classmethod
    def _members(cls, rng: np.random.Generator) -> list[Any]:
        make: Any = cls
        labels = np.where(rng.uniform(size=(3, 4)) < 0.5, -1.0, 1.0)
        return [make(1.0), make(labels), make(Parameter(labels[:, :1], name="l"))]


def _miss(margin: Expression) -> Expression:
    """``1 / (1 + exp(margin))`` without overflow."""
    decay = ex.exp(-abs(margin))
    return ex.where(pointwise("greater", margin, 0.0), decay, 1.0) / (1.0 + decay)


def _bend(margin: Expression) -> Expression:
    """The second derivative of ``log(1 + exp(-margin))``."""
    decay = ex.exp(-abs(margin))
    return decay / ex.square(1.0 + decay)


def _slope(u: Expression) -> Expression:
    """The derivative of ``log(1 + exp(-u))`` in few operations; beyond 80 it is nothing beside u."""
    return -1.0 / (1.0 + ex.exp(ex.minimum(u, _FAR)))


def _curvature(u: Expression) -> Expression:
    slope = _slope(u)
    return slope * (-1.0 - slope)


def _start(v: Expression, t: Expression) -> Expression:
    """A bound of the prox on its far side from zero's tangent, from which Newton's method is monotone."""
    return ex.maximum(v, ex.minimum((v + 0.5 * t) / (1.0 + 0.25 * t), v + t))


@node
class Logistic(_OfMargins):
    """``f(v) = sum_i log(1 + exp(-l_i v_i))`` for labels l of -1 and 1 and real v.

    Parameters
    ----------
    labels : array, number, Parameter or Expression
        The classes, each -1 or 1; they broadcast to v.

    Raises
    ------
    ParameterError
        Where a label is known to be neither -1 nor 1.
    DtypeError
        For complex labels, and for complex arguments.

    Notes
    -----
    The gradient ``-l / (1 + exp(l v))`` has the Lipschitz constant 1/4. With ``a = -l q`` between 0 and 1,
    ``f*(q) = sum a log a + (1 - a) log(1 - a)`` (Beck 2017, Section 4.4.8). The prox is found by Newton's method.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Logistic(np.array([1.0, -1.0]))
    >>> f.value(np.array([1000.0, 1000.0]))
    1000.0
    >>> f.gradient(np.array([0.0, 0.0]))
    array([-0.5,  0.5])
    """

    labels: Data
    word = "logistic"
    scalar: ClassVar[ScalarFunction] = ScalarFunction.of(None, slope=_slope, curvature=_curvature, start=_start)

    def define_value(self, v: Expression) -> Expression:
        margin = self.labels * v
        return ex.total(ex.maximum(-margin, 0.0) + pointwise("log1p", ex.exp(-abs(margin))))

    def define_gradient(self, v: Expression) -> Expression:
        return -self.labels * _miss(self.labels * v)

    def define_hessian_product(self, v: Expression, d: Expression) -> Expression:
        return _bend(self.labels * v) * ex.broadcast_to(d, v.shape)

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        return self.labels * scalar_prox(self.scalar, self.labels * v, t)

    def define_conjugate_value(self, q: Expression) -> Expression:
        hit = -self.labels * q
        return ex.total(_plogp(hit) + _plogp(1.0 - hit))

    @property
    def exactness(self) -> Exactness | None:
        return Exactness.ITERATIVE

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES,
            smooth=YES,
            smoothness=exact(0.25),
            quadratic=NO,
            separable=YES,
            bounded_below=YES,
            phase_invariant=NO,
        )

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return Logistic._members(rng)


def _plogp(p: Expression) -> Expression:
    """``p log p``, and 0 where p is not positive."""
    inside = pointwise("greater", p, 0.0)
    return ex.where(inside, p * ex.log(ex.where(inside, p, 1.0)), 0.0)


@node
class Hinge(_OfMargins):
    """``f(v) = sum_i max(0, 1 - l_i v_i)`` for labels l of -1 and 1 and real v.

    Parameters
    ----------
    labels : array, number, Parameter or Expression
        The classes, each -1 or 1; they broadcast to v.

    Raises
    ------
    ParameterError
        Where a label is known to be neither -1 nor 1.
    DtypeError
        For complex labels, and for complex arguments.

    Notes
    -----
    The loss of support vector machines (Cortes, Vapnik 1995). The prox moves margins below 1 up by t, but not beyond
    1. ``f*(q) = sum_i l_i q_i`` where ``-1 <= l q <= 0`` (Beck 2017, Section 4.4.3).

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> f = oa.functionals.Hinge(np.array([1.0, -1.0]))
    >>> f.value(np.array([0.0, 3.0]))
    5.0
    >>> f.prox(np.array([0.0, 3.0]), 1.5)
    array([1. , 1.5])
    """

    labels: Data
    word = "hinge"

    def define_value(self, v: Expression) -> Expression:
        return ex.total(ex.maximum(1.0 - self.labels * v, 0.0))

    def define_prox(self, v: Expression, t: Expression) -> Expression:
        margin = self.labels * v
        return self.labels * ex.maximum(margin, ex.minimum(margin + t, 1.0))

    def define_conjugate_value(self, q: Expression) -> Expression:
        return ex.total(ex.broadcast_to(self.labels * q, q.shape))

    @property
    def facts(self) -> FunctionalFacts:
        return FunctionalFacts(
            convex=YES, smooth=NO, quadratic=NO, separable=YES, bounded_below=YES, phase_invariant=NO
        )

    def why_not(self, ability: str) -> str:
        return "it has a kink at margin 1; use logistic for a smooth loss" if ability == "gradient" else ""

    @staticmethod
    def examples(rng: np.random.Generator) -> list[Any]:
        """Random members for the property tests, on arrays of shape (3, 4)."""
        return Hinge._members(rng)


def logistic(e: Any, labels: Any) -> Any:
    """The logistic loss, ``sum_i log(1 + exp(-labels_i e_i))``.

    Parameters
    ----------
    e : affine expression
        The real scores, such as ``A @ x``.
    labels : array or Parameter
        The classes, each -1 or 1.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> w = oa.Variable((2,), name="w")
    >>> points, labels = np.array([[2.0, 0.0], [0.0, -2.0]]), np.array([1.0, -1.0])
    >>> loss = oa.logistic(oa.Matrix(points) @ w, labels)
    >>> round(loss.value(np.zeros(2)), 6)
    1.386294
    >>> loss.gradient(np.zeros(2))
    array([-1., -1.])
    """
    return Logistic(labels)(e)


def hinge(e: Any, labels: Any) -> Any:
    """The hinge loss, ``sum_i max(0, 1 - labels_i e_i)``.

    Parameters
    ----------
    e : affine expression
        The real scores, such as ``A @ x``.
    labels : array or Parameter
        The classes, each -1 or 1.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> w = oa.Variable((2,), name="w")
    >>> points, labels = np.array([[2.0, 0.0], [0.0, -2.0]]), np.array([1.0, -1.0])
    >>> machine = 0.5 * oa.sum_squares(w) + oa.hinge(oa.Matrix(points) @ w, labels)
    >>> oa.minimize(machine, tol=1e-9).x.round(6)
    array([0.5, 0.5])
    """
    return Hinge(labels)(e)


__all__ = ["Hinge", "Logistic", "hinge", "logistic"]
