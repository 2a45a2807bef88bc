"""Total generalised variation of second order, an energy with a field of its own to minimise over."""

from __future__ import annotations

from typing import Any

from opalg.energies.affine import AffineExpression, Variable
from opalg.errors import NotAffineError, ParameterError, ShapeError
from opalg.facts import NO
from opalg.functionals.expressions import affine_argument
from opalg.functionals.norms import Norm21
from opalg.functionals.weights import nonnegative, real_data
from opalg.operators.difference import Gradient
from opalg.operators.second_order import SymmetrizedGradient
from opalg.program.expression import Expression


def total_generalized_variation(
    x: Any,
    alpha0: Any = 2.0,
    alpha1: Any = 1.0,
    boundary: str = "neumann",
    axes: Any = None,
    field: Variable | None = None,
) -> Any:
    """The second-order total generalised variation, ``min_w alpha1 |G x - w|_21 + alpha0 |E w|_21``.

    Where x is affine it costs nothing, but for the border, so that slopes do not turn into stairs; where x jumps it is
    close to ``alpha1`` times the total variation.

    Parameters
    ----------
    x : affine expression
        Of any shape, real or complex.
    alpha0, alpha1 : number or Parameter
        The nonnegative weights of the second and the first order.
    boundary : str
        What lies outside, as for `Gradient` and `SymmetrizedGradient`.
    axes : int or tuple of int, optional
        The axes of the picture; by default all.
    field : Variable, optional
        The unknown w, of shape ``(len(axes), *x.shape)``; a new one where not given. Give one to read it from the
        solution, as ``sol[w]``.

    Returns
    -------
    Energy
        Of two terms, in the variables of x and w. Minimising it minimises over both; its value is asked for at both.

    Raises
    ------
    ShapeError, ParameterError
        For a field of another shape or kind, and for negative weights.

    Notes
    -----
    ``|.|_21`` are 2-norms at each pixel, of the Frobenius kind for the symmetric matrix ``E w``: `SymmetrizedGradient`
    counts its mixed components twice.

    References
    ----------
    Bredies, Kunisch, Pock (2010), Equation 3.10; Bredies, Holler (2020) for the choice ``alpha0 = 2 alpha1``.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x, w = oa.Variable((4, 5), name="x"), oa.Variable((2, 4, 5), name="w")
    >>> energy = oa.total_generalized_variation(x, field=w)
    >>> rows, columns = np.meshgrid(np.arange(4.0), np.arange(5.0), indexing="ij")
    >>> slopes = oa.Gradient((4, 5)) @ (3 * rows - columns)
    >>> energy.value({x: 3 * rows - columns, w: slopes}) < oa.total_variation(x).value(3 * rows - columns)
    True
    """
    affine = affine_argument(x, "total_generalized_variation")
    gradient = Gradient(affine.shape, boundary=boundary, axes=axes)
    second = SymmetrizedGradient(affine.shape, boundary=boundary, axes=axes)
    w = _field(field, gradient.out_shape, affine.kind)
    across = Norm21(axis=0)
    weight1, weight0 = _weight(alpha1, "alpha1"), _weight(alpha0, "alpha0")
    return weight1 * across(gradient @ affine - w) + weight0 * across(second @ w)


def _field(field: Any, shape: tuple[int, ...], kind: str) -> Variable:
    if field is None:
        return Variable(shape, dtype=complex if kind == "complex" else None)
    if not isinstance(field, Variable):
        known = "an expression" if isinstance(field, AffineExpression) else type(field).__name__
        raise NotAffineError(
            f"the field of total_generalized_variation is an unknown, oa.Variable({shape}), not {known}"
        )
    if field.shape != shape:
        raise ShapeError(f"the field of total_generalized_variation has shape {field.shape}, but needs {shape}")
    if field.kind != kind:
        raise ParameterError(
            f"the field of total_generalized_variation is {field.kind}, but the image is {kind}; give both one kind"
        )
    return field


def _weight(alpha: Any, name: str) -> Expression:
    weight = real_data(alpha, f"the weight {name} of total_generalized_variation")
    if nonnegative(weight) is NO:
        raise ParameterError(f"the weight {name} of total_generalized_variation must be nonnegative, not {alpha!r}")
    return weight


__all__ = ["total_generalized_variation"]
