"""Self-adjoint operators in a basis in which they are diagonal, so that functions of them are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.leaves import Constant, Parameter
from opalg.nodes import walk
from opalg.operators.algebra import Added, Adjoint, Composed, Identity, LinearOperator, Scaled, Zero
from opalg.operators.diagonal import Diagonal, diagonal_of
from opalg.operators.fourier import RFFT
from opalg.operators.low_rank import LowRank
from opalg.operators.matrix import DenseMatrix
from opalg.operators.round_trip import from_spectrum, to_spectrum
from opalg.operators.spectral import DiagonalIn
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of
from opalg.program.expression import Apply, Expression, Input, Literal, Product, Shape
from opalg.program.interpreter import evaluate
from opalg.program.inverse import conjugate_transposed, matmul
from opalg.program.linear import Reshaped

_CUTOFF = 1e-12  # eigenvalues not above this times the largest count as zeros

_NO_STEP = Literal(0.0)

Multiplier = Callable[[Expression, Expression], Expression]


@dataclass(frozen=True, eq=False)
class SpectralForm:
    """``Q = B^-1 diag(s) B`` with a real spectrum s.

    Attributes
    ----------
    spectrum : Expression
        The eigenvalues, each as often as it counts.
    basis : None, Expression or LinearOperator
        None where Q is diagonal as it stands; the unitary matrix of eigenvectors in its columns; or a transform.
    in_shape, middle : tuple of int
        The trailing axes of arguments, and of what the basis makes of them.
    """

    spectrum: Expression
    basis: Any
    in_shape: Shape
    middle: Shape

    @property
    def largest(self) -> Expression:
        """The largest magnitude of an eigenvalue."""
        return ex.largest(abs(self.spectrum))

    @property
    def lowest(self) -> Expression:
        """The lowest eigenvalue."""
        return ex.smallest(self.spectrum)

    @property
    def support(self) -> Expression:
        """1 where an eigenvalue of a positive Q is not zero, and 0 elsewhere."""
        return ex.where(self._kept, 1.0, 0.0)

    @property
    def reciprocal(self) -> Expression:
        """The spectrum of the pseudo-inverse of a positive Q."""
        return ex.where(self._kept, 1.0 / ex.where(self._kept, self.spectrum, 1.0), 0.0)

    @property
    def _kept(self) -> Expression:
        return ex.pointwise("greater", self.spectrum, _CUTOFF * self.largest)

    def applied(self, multiplier: Multiplier, v: Expression, t: Expression = _NO_STEP) -> Expression:
        """``B^-1 diag(m(s, t)) B v`` for a scalar t, or one for each sample (for each entry where Q is diagonal)."""
        if self.basis is None:
            return multiplier(self.spectrum, t) * v
        factor = multiplier(self.spectrum, self._in_the_middle(t))
        if isinstance(self.basis, Expression):
            inwards = Product("MTx", ex.pointwise("conj", self.basis), v)
            return Product("Mx", self.basis, factor * inwards)
        if isinstance(self.basis, RFFT) and v.kind == "complex":
            parts = [self._filtered(factor, ex.pointwise(part, v)) for part in ("real", "imag")]
            return parts[0] + Literal(1j) * parts[1]
        return self._filtered(factor, v)

    def _filtered(self, factor: Expression, v: Expression) -> Expression:
        return from_spectrum(self.basis, factor * to_spectrum(self.basis, v))

    def _in_the_middle(self, t: Expression) -> Expression:
        """A step for each sample with as many axes as the basis makes."""
        if t.shape == ():
            return t
        split = len(t.shape) - len(self.in_shape)
        if any(n != 1 for n in t.shape[split:]):
            raise UnsupportedError(
                f"the steps of a prox have shape {t.shape}, but the axes {self.in_shape} belong to one quadratic form; "
                f"give one step for each array of that shape"
            )
        wanted = t.shape[:split] + (1,) * len(self.middle)
        return t if wanted == t.shape else Apply(Reshaped(t.shape, wanted), t)


def spectral_form(operator: LinearOperator) -> SpectralForm | None:
    """The form of a self-adjoint operator that is diagonal, diagonal in a transform, or a constant matrix."""
    simple = operator.simplify()
    shape = simple.in_shape
    diagonal = Literal(0.0) if isinstance(simple, Zero) else diagonal_of(simple)
    if diagonal is not None:
        return SpectralForm(diagonal, None, shape, shape) if diagonal.kind == "real" else None
    if isinstance(simple, Scaled) and simple.factor.kind == "real":
        inner = spectral_form(simple.operator)
        return None if inner is None else SpectralForm(simple.factor * inner.spectrum, inner.basis, shape, inner.middle)
    if isinstance(simple, DiagonalIn):
        if simple.spectrum.kind != "real":
            return None
        return SpectralForm(simple.spectrum, simple.transform, shape, simple.transform.out_shape)
    matrix = matrix_form(simple)
    return None if matrix is None else _eigen_form(matrix)


def _eigen_form(matrix: np.ndarray) -> SpectralForm:
    values, vectors = np.linalg.eigh(matrix)
    rounding = len(values) * np.finfo(float).eps * np.max(np.abs(values), initial=0.0)
    values = np.where(np.abs(values) <= rounding, 0.0, values)
    shape = values.shape
    return SpectralForm(Constant(values), Constant(np.ascontiguousarray(vectors)), shape, shape)


def matrix_form(operator: LinearOperator) -> np.ndarray | None:
    """A constant dense matrix in float64, as it acts on the last axis; None for other operators."""
    entries = entries_of(operator)
    if entries is None or any(isinstance(n, (Parameter, Input)) for n in walk(entries)):
        return None
    from opalg.arrays import backend

    return np.asarray(evaluate([entries], {}, backend("numpy", "float64"))[0])


def entries_of(operator: LinearOperator) -> Expression | None:
    """The entries of what is built from dense matrices on the last axis, as one matrix; None where nothing is dense."""
    if len(operator.in_shape) != 1 or len(operator.out_shape) != 1 or not _holds_dense(operator):
        return None
    return _entries(operator)


def _holds_dense(operator: LinearOperator) -> bool:
    return isinstance(operator, DenseMatrix) or any(
        _holds_dense(o) for o in operator.children if isinstance(o, LinearOperator)
    )


@singledispatch
def _entries(operator: Any) -> Expression | None:
    return None


@_entries.register
def _(operator: DenseMatrix) -> Expression | None:
    return operator.matrix


@_entries.register
def _(operator: LowRank) -> Expression | None:
    return matmul(operator.left, conjugate_transposed(operator.right))


@_entries.register
def _(operator: Identity) -> Expression | None:
    return Constant(np.eye(operator.in_shape[0]))


@_entries.register
def _(operator: Diagonal) -> Expression | None:
    return operator.diagonal * Constant(np.eye(operator.in_shape[0]))


@_entries.register
def _(operator: Scaled) -> Expression | None:
    inner = _entries(operator.operator)
    return None if inner is None else operator.factor * inner


@_entries.register
def _(operator: Adjoint) -> Expression | None:
    inner = _entries(operator.operator)
    return None if inner is None else conjugate_transposed(inner)


@_entries.register
def _(operator: Composed) -> Expression | None:
    outer, inner = _entries(operator.outer), _entries(operator.inner)
    return None if outer is None or inner is None else matmul(outer, inner)


@_entries.register
def _(operator: Added) -> Expression | None:
    parts = [_entries(o) for o in operator.operators]
    return None if any(p is None for p in parts) else sum_of([p for p in parts if p is not None])


__all__ = ["SpectralForm", "entries_of", "matrix_form", "spectral_form"]
