"""``untie``: the map of an energy becomes an equilibrium model in one word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opalg.compiler.map_plan import MapPlan
from opalg.energies.energy import EnergyExpression
from opalg.energies.gradient_map import grad
from opalg.energies.maps import MapExpression
from opalg.energies.untied import copy_of, untied
from opalg.errors import ParameterError
from opalg.leaves import Parameter


def untie(
    model: Any,
    wrt: Parameter | str | Sequence[Parameter | str],
    *,
    name: str | None = None,
    value: Any = None,
    step: Any = None,
) -> Any:
    """Give the adjoints of an operator data of their own, so that the map is the gradient of no energy any more.

    Parameters
    ----------
    model : MapPlan, MapExpression or Energy
        A map made with `opalg.grad`, or an energy, whose map of gradient descent ``x - step * grad E(x)`` is taken.
    wrt : Parameter or str, or a sequence of them
        Data of operators. In ``A^H grad f(A x - b)`` the adjoint ``A^H`` gets a copy that is free.
    name : str, optional
        Of the copy; by default that of the parameter with ``_adjoint`` behind it. For one parameter only.
    value : array, optional
        Of the copy, in the shape of the parameter; by default the parameter's, so that both maps begin as one. For one
        parameter only.
    step : number or Parameter
        Of gradient descent; needed for an energy, and for nothing else.

    Returns
    -------
    MapPlan or MapExpression
        A plan where a plan was given, otherwise a map.

    Raises
    ------
    ParameterError
        Where the parameter is in no adjoint, for a name that another parameter has, and for a step that is missing or
        not wanted.
    ShapeError
        For a value of another shape.

    Notes
    -----
    With ``E(u) = l/2 |K u - f|^2 + g sum phi(A u + b)`` the map is ``u - t (l K^H (K u - f) + g C sigma(A u + b))``
    with C free: bilevel learning is the case ``C = A^H`` (Riccio, Ehrhardt and Benning 2022). Where copy and parameter
    agree, the gradients of the free model in both add up to that of the tied one.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> u, A = oa.Variable(2, name="u"), oa.Parameter(np.array([[1.0, 0.5], [0.0, 1.0]]), name="A")
    >>> energy = 0.5 * oa.sum_squares(u - np.array([1.0, 2.0])) + 0.5 * oa.sum_squares(oa.Matrix(A) @ u)
    >>> tied = oa.fixed_point(u, u - 0.3 * oa.grad(energy))
    >>> free = oa.untie(tied, A, name="C")
    >>> [p.name for p in free.parameters]
    ['C', 'A']
    """
    if isinstance(model, MapPlan):
        _refuse(step, "a map has its step already")
        if len(model.expressions) != 1:
            raise ParameterError("untie the images of several variables one by one, then compile them")
        return model.change([untie(model.expressions[0], wrt, name=name, value=value)])
    if isinstance(model, EnergyExpression):
        if step is None:
            raise ParameterError("untie takes the map of gradient descent of an energy, so it needs step=...")
        (variable,) = model.variables
        return untie(variable - step * grad(model), wrt, name=name, value=value)
    if not isinstance(model, MapExpression):
        raise ParameterError(
            f"untie takes a map, a plan of one (oa.fixed_point), or an energy with step=..., not {type(model).__name__}"
        )
    _refuse(step, "a map has its step already")
    several = list(wrt) if isinstance(wrt, (list, tuple)) else [wrt]
    if len(several) != 1 and (name is not None or value is not None):
        raise ParameterError("name= and value= belong to one parameter; untie the parameters one by one")
    found = [_parameter(model, w) for w in several]
    if name is not None and any(p.name == name for p in model.parameters):
        raise ParameterError(f"the map has a parameter {name!r} already; give the copy another name=")
    return untied(model, {p: copy_of(p, name, value) for p in found})


def _refuse(step: Any, why: str) -> None:
    if step is not None:
        raise ParameterError(f"step= belongs to energies: {why}")


def _parameter(model: MapExpression, wanted: Any) -> Parameter:
    names = [p for p in model.parameters if p is wanted or p.name == wanted]
    if not names:
        known = ", ".join(p.name or repr(p) for p in model.parameters)
        raise ParameterError(f"{wanted!r} is no parameter of the map, whose parameters are {known}")
    return names[0]


__all__ = ["untie"]
