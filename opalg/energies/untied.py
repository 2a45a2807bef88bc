"""Untying: the adjoint of an operator gets data of its own, which makes an equilibrium model of an energy's map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opalg.energies.gradient_map import AdjointMap
from opalg.energies.maps import MapExpression
from opalg.errors import ParameterError, ShapeError
from opalg.leaves import Parameter
from opalg.nodes import Node, substitute, transform, walk
from opalg.operators.algebra import LinearOperator
from opalg.operators.held_norm import HeldNorm


def untied(expression: MapExpression, copies: Mapping[Parameter, Parameter]) -> MapExpression:
    """A map whose adjoints use other parameters than its operators.

    Parameters
    ----------
    expression : MapExpression
        With gradients made by `opalg.grad`.
    copies : mapping from Parameter to Parameter
        What stands for what in adjoints.

    Raises
    ------
    ParameterError
        Where a parameter is in no adjoint.
    """
    for parameter in copies:
        adjoints = [n.operator for n in walk(expression) if isinstance(n, AdjointMap)]
        if not any(n is parameter for n in walk(*adjoints)):
            raise ParameterError(
                f"{parameter!r} is in no operator whose adjoint the map applies, so there is nothing to untie; the map "
                f"must be made of oa.grad(energy), with the parameter in an operator of the energy"
            )

    def change(current: Node) -> Node:
        if not isinstance(current, AdjointMap):
            return current
        operator = substitute(current.operator, {**copies, **_held_norms(current.operator, copies)})
        return AdjointMap(operator, current.inner, current.shape, current.kind)

    found = transform(expression, change)
    assert isinstance(found, MapExpression)
    return found


def _held_norms(operator: LinearOperator, copies: Mapping[Parameter, Parameter]) -> dict[HeldNorm, HeldNorm]:
    """What stands for operators of held norm with copied data: the copies have directions of their own."""
    found: dict[HeldNorm, HeldNorm] = {}
    for held in walk(operator):
        if isinstance(held, HeldNorm) and any(n in copies for n in walk(held.operator)):
            found[held] = held.again(substitute(held.operator, dict(copies)))
    return found


def copy_of(parameter: Parameter, name: str | None, value: Any) -> Parameter:
    """A parameter of the shape of another, with its value or a given one.

    Raises
    ------
    ShapeError
        Where the value has another shape.
    """
    own = Parameter(parameter.value if value is None else value, name=name or f"{parameter.name or 'A'}_adjoint")
    if own.shape != parameter.shape:
        raise ShapeError(
            f"the adjoint copy of {parameter!r} has the shape of the parameter, {parameter.shape}, not {own.shape}; it "
            f"is the copy itself that is transposed, so give the transpose of a free C"
        )
    return own


__all__ = ["copy_of", "untied"]
