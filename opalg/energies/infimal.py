"""Infimal convolutions in energies, with the inner minimum left to the solver."""

from __future__ import annotations

from typing import Any

from opalg.energies.affine import AffineExpression, Variable
from opalg.errors import DtypeError, NotAffineError
from opalg.functionals.calculus import Functional


def split_infimal_convolution(f: Functional, g: Functional, e: Any, name: str | None = None) -> Any:
    """``f(e - w) + g(w)`` with a variable w of its own: what is left after minimising over w is ``(f [] g)(e)``.

    Parameters
    ----------
    f, g : Functional
        Convex; they need no prox beyond what the method of the solve asks of its terms.
    e : affine expression
        Of one or several variables.
    name : str, optional
        The name of the variable; without one it is called "part", with the names of the variables of ``e``.

    Returns
    -------
    Energy
        Two terms. The variable is the one of ``energy.variables`` that ``e`` does not have.

    Raises
    ------
    DtypeError
        For what is no functional.
    NotAffineError
        For what is no affine expression of variables.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((3,), name="x")
    >>> functionals = oa.functionals
    >>> energy = oa.split_infimal_convolution(functionals.Norm1(), functionals.SumSquares(), x, name="w")
    >>> w = energy.variables[1]
    >>> energy.value({x: np.array([1.0, 2.0, 3.0]), w: np.zeros(3)})
    6.0
    """
    for functional in (f, g):
        if not isinstance(functional, Functional):
            raise DtypeError(f"split_infimal_convolution needs functionals, not {type(functional).__name__}")
    if not isinstance(e, AffineExpression):
        raise NotAffineError(
            f"split_infimal_convolution(f, g, e) takes an affine expression of variables such as K @ x - y, not "
            f"{type(e).__name__}"
        )
    affine = e.as_affine()
    label = name or "part of " + " and ".join(v.label for v in affine.variables)
    part = Variable(affine.shape, name=label, dtype=affine.kind)
    return f(affine - part) + g(part)


__all__ = ["split_infimal_convolution"]
