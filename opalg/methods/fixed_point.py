"""The bare fixed point of a declared map that is no gradient: RED, plug-and-play, equilibrium models."""

from __future__ import annotations

from opalg.energies.affine import Variable
from opalg.energies.maps import MapExpression
from opalg.methods.method import Lowering, starts_at, state_inputs
from opalg.program import expression as ex


def lower_map(variable: Variable, expression: MapExpression) -> Lowering:
    """``T(x)`` as declared, sought by Anderson acceleration with a safeguard (Walker and Ni 2011)."""
    (x,) = state_inputs((variable,))
    image = ex.broadcast_to(expression.trace({variable: x}), x.shape)
    return Lowering(
        state=(x,),
        step=(image,),
        readout={variable: x},
        start={x: starts_at(variable)},
        iteration="anderson",
        scale=ex.norm_squared(x),
    )
