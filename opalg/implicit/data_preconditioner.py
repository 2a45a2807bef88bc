"""Approximate inverses for adjoint systems, made of what is known about an energy: its quadratic part and curvatures.

They are symmetric and positive, so they serve conjugate gradients as well as GMRES, from the right or the left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from opalg.energies.affine import Variable
from opalg.energies.energy import Term
from opalg.energies.maps import MapExpression
from opalg.errors import UnsupportedError
from opalg.functionals.network_functions import NetworkFunctional
from opalg.functionals.red import Red
from opalg.methods.problem import (
    Problem,
    curvature_operator,
    has_constant_hessian,
    in_kind,
    squared_norm,
    total_operator,
)
from opalg.nodes import walk
from opalg.operators.algebra import Identity, LinearOperator, Scaled, Zero, scale
from opalg.operators.batched import trim_to
from opalg.operators.diagonal import Diagonal
from opalg.operators.matrix import DenseMatrix
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal, Product
from opalg.rules import rewrite

RIDGE = 1e-6  # of the norm of what is inverted, so that a zero of its spectrum does not become infinite

SMALLEST = 1e-30  # a positive number in single precision, too

Inverse = Callable[[Expression], Expression]


@dataclass(frozen=True)
class DataPreconditioner:
    """``M^{-1}``, an approximate inverse of the matrix of an adjoint system, in the step language.

    Attributes
    ----------
    numbers : tuple of (Input, Expression)
        Inputs that are computed once from the point, with their formulas.
    words : str
        What is inverted, for people.

    Notes
    -----
    Calling it with one expression for each variable gives the expressions of ``M^{-1}`` times that vector.
    """

    inverse: Inverse
    numbers: tuple[tuple[Input, Expression], ...]
    words: str

    def __call__(self, vector: Sequence[Expression]) -> list[Expression]:
        (v,) = vector
        return [in_kind(ex.broadcast_to(self.inverse(v), v.shape), v.kind)]

    def __repr__(self) -> str:
        return f"DataPreconditioner: {self.words}"


def preconditioner_of(
    problem: Problem, point: Mapping[Variable, Expression], step: Expression | None = None
) -> DataPreconditioner | None:
    """A preconditioner for the adjoint system of an energy without rough terms.

    Without a step it is for the Hessian system ``H q = c``. With one it is for the system ``(I - J^T) u = c`` of the
    gradient map ``T(x) = x - t grad E(x)``, so that ``I - J^T = t H^T``, which covers regularisation by denoising:
    ``t (H + lambda (I - D'^T))`` gets ``(t (H + lambda I))^{-1}``.

    Parameters
    ----------
    problem : Problem
    point : mapping from Variable to Expression
        Where the curvatures of terms that are not quadratic are taken.
    step : Expression, optional
        The t.

    Returns
    -------
    DataPreconditioner or None
        None where nothing better than the identity is known: several variables, rough terms, or operators that neither
        share a transform nor show their columns.

    Notes
    -----
    With quadratic terms of Hessian Q and others ``w f(A x + b)``, the first that is possible of

    1. ``(Q + sum w s A.H A)^{-1}`` where one transform diagonalises that; s is the mean curvature ``1^T f'' 1 / n`` at
       the point, 1 for the field ``x - D(x)`` of a denoiser, half of the Lipschitz constant for other networks;
    2. ``(Q + sum w s |A|^2 I)^{-1}``, likewise, where only Q is diagonalised;
    3. the plain diagonal of the Hessian, ``sum w (|A|^2)^T f''``, where dense matrices are among the operators.

    It does not pay for plug-and-play steps, ``I - (I - t Q) D'^T``, whose data term is near the identity already, nor
    for half-quadratic splitting, whose step is preconditioned this way by itself.
    """
    if len(problem.variables) != 1 or problem.rough_terms or not problem.terms:
        return None
    (variable,) = problem.variables
    place = point[variable]
    curvatures = [_Curvature(term, variable, place, i) for i, term in enumerate(problem.terms)]
    for build in (_by_transform, _by_shift, _by_columns):
        found = build(curvatures)
        if found is None:
            continue
        inverse, words = found
        numbers = tuple(c.number for c in curvatures if c.number is not None and _uses(inverse, c, variable))
        return DataPreconditioner(_over(inverse, step), numbers, words)
    return None


def map_preconditioner(expression: MapExpression, variable: Variable) -> DataPreconditioner | None:
    """A preconditioner for ``(I - J^T) u = c`` of a declared map, from the part of it that is linear.

    Parameters
    ----------
    expression : MapExpression
        ``T(x) = L x + R(x)`` with R the functions that `opalg.apply` applies.
    variable : Variable
        The x.

    Returns
    -------
    DataPreconditioner or None
        ``(I - L.H)^{-1}`` where one transform diagonalises L; None where it does not, or where there is no linear part.

    Notes
    -----
    For ``T(x) = x - t (A.H (A x - y) + lambda (x - D(x)))`` that is ``(t A.H A + t lambda I)^{-1}``.
    """
    linear = expression.linear_part(variable)
    if linear is None or isinstance(linear, Zero):
        return None
    left, right = trim_to(Identity(variable.shape), linear, same_input=True)
    operator = rewrite((left - right).H)
    inverse = _inverted(operator)
    return None if inverse is None else DataPreconditioner(inverse.trace, (), f"the inverse of {operator!r}")


# The three ways.


class _Curvature:
    """The curvature of one term at a point: its Hessian where that is constant, else a number or an array of numbers.

    ``number`` is the input that `mean` or `entries` asked for, with its formula.
    """

    def __init__(self, term: Term, variable: Variable, point: Expression, index: int) -> None:
        self.term, self.variable, self.point, self.index = term, variable, point, index
        self.operator = term.expression.operator_of(variable)
        self.constant = has_constant_hessian(term)
        self.number: tuple[Input, Expression] | None = None

    @property
    def quadratic(self) -> LinearOperator:
        """The Hessian of a quadratic term."""
        return curvature_operator(self.term, self.variable)

    def mean(self) -> Expression | None:
        """The mean curvature of the functional of the term, times its weight; None where it cannot be known."""
        functional = self.term.functional
        if isinstance(functional, Red):
            return self.term.weight
        if isinstance(functional, NetworkFunctional):
            bound = functional.facts.smoothness
            return None if bound is None else 0.5 * self.term.weight * bound.expression
        argument = self.term.expression.trace({self.variable: self.point})
        ones = ex.broadcast_to(_one(argument), argument.shape)
        curved = ex.inner(ones, functional.define_hessian_product(argument, ones))
        count = max(1, prod(argument.shape))
        return self._named(self.term.weight * ex.maximum(curved / float(count), 0.0))

    def columns(self) -> Expression | None:
        """The diagonal of the term's Hessian, in the variable's shape; None where the operator does not show it."""
        functional = self.term.functional
        if isinstance(functional, Red):
            entries: Expression = Literal(1.0)
        elif isinstance(functional, NetworkFunctional):
            return None
        else:
            argument = self.term.expression.trace({self.variable: self.point})
            ones = ex.broadcast_to(_one(argument), argument.shape)
            entries = ex.maximum(_real(functional.define_hessian_product(argument, ones)), 0.0)
        shape = self.term.expression.shape
        found = _squared_columns(self.operator, ex.broadcast_to(entries, shape))
        if found is None:
            return None
        return self._named(ex.broadcast_to(self.term.weight * found, self.variable.shape))

    def _named(self, formula: Expression) -> Expression:
        name = Input(f"curvature{self.index}", formula.shape, "real")
        self.number = (name, formula)
        return name


Found = tuple[Inverse, str] | None


def _by_transform(curvatures: Sequence[_Curvature]) -> Found:
    parts = []
    for c in curvatures:
        mean = None if c.constant else c.mean()
        if mean is None and not c.constant:
            return None
        parts.append(c.quadratic if mean is None else scale(mean, c.operator.gram))
    return _answer(total_operator(parts))


def _by_shift(curvatures: Sequence[_Curvature]) -> Found:
    known = [c.quadratic for c in curvatures if c.constant]
    shifts: list[Expression] = []
    for c in curvatures:
        if c.constant:
            continue
        mean, size = c.mean(), squared_norm(c.term)
        if mean is None or size is None:
            return None
        # the gram of a wide operator is spread between zero and its norm: half of that is the middle
        shifts.append(mean * size.expression * (1.0 if isinstance(c.operator, Identity) else 0.5))
    if not known or not shifts:
        return None
    total = shifts[0]
    for shift in shifts[1:]:
        total = total + shift
    return _answer(total_operator([*known, scale(total, Identity(curvatures[0].variable.shape))]))


def _by_columns(curvatures: Sequence[_Curvature]) -> Found:
    if not any(isinstance(n, DenseMatrix) for c in curvatures for n in walk(c.operator)):
        return None
    columns = [c.columns() for c in curvatures]
    if any(c is None for c in columns):
        return None
    diagonal = columns[0]
    assert diagonal is not None
    for column in columns[1:]:
        assert column is not None
        diagonal = diagonal + column
    floor = ex.maximum(RIDGE * ex.largest(diagonal), SMALLEST)
    safe = ex.maximum(diagonal, floor)
    return lambda v: v / safe, "the inverse of the diagonal of the Hessian"


def _answer(operator: LinearOperator) -> Found:
    inverse = _inverted(operator)
    return None if inverse is None else (inverse.trace, f"the inverse of {operator!r}")


def _inverted(operator: LinearOperator) -> LinearOperator | None:
    """The inverse of an operator, a little shifted since it may be singular; None where none is cheap or of use."""
    norm = operator.facts.norm
    shift = RIDGE * (Literal(1.0) if norm is None else norm.expression)
    shifted = rewrite(operator + scale(shift, Identity(operator.in_shape)))
    if _is_multiple(operator) or _is_multiple(shifted):
        return None  # a multiple of the identity changes nothing
    try:
        return shifted.inverse()
    except UnsupportedError:
        return None


def _is_multiple(operator: LinearOperator) -> bool:
    """Whether an operator is a number times the identity."""
    inner = operator.operator if isinstance(operator, Scaled) else operator
    return isinstance(inner, (Identity, Zero))


def _uses(inverse: Inverse, curvature: _Curvature, variable: Variable) -> bool:
    """Whether an inverse depends on the number of a curvature; one way may have asked for it and then failed."""
    assert curvature.number is not None
    probe = inverse(Input("probe", variable.shape, variable.kind))
    return any(n is curvature.number[0] for n in walk(probe))


def _over(inverse: Inverse, step: Expression | None) -> Inverse:
    return inverse if step is None else lambda v: inverse(v) / step


# Pieces.


def _squared_columns(operator: LinearOperator, entries: Expression) -> Expression | None:
    """``(|A|^2)^T h``, the diagonal of ``A.H diag(h) A``; None where the entries of A are not at hand."""
    if isinstance(operator, Identity):
        return entries
    if isinstance(operator, DenseMatrix):
        return Product("MTx", ex.square_abs(operator.matrix), entries)
    if isinstance(operator, Diagonal):
        return ex.square_abs(operator.diagonal) * entries
    if isinstance(operator, Scaled):
        inner = _squared_columns(operator.operator, entries)
        return None if inner is None else ex.square_abs(operator.factor) * inner
    return None


def _one(argument: Expression) -> Literal:
    return Literal(1.0 + 0j) if argument.kind == "complex" else Literal(1.0)


def _real(e: Expression) -> Expression:
    return ex.pointwise("real", e) if e.kind == "complex" else e
