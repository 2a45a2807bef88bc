"""The bare fixed point of a declared map that is no gradient: RED, plug-and-play, equilibrium models."""

from __future__ import annotations

from opalg.energies.affine import Variable
from opalg.energies.maps import MapExpression
from opalg.methods.method import Lowering, starts_at, state_inputs
from opalg.program import expression as ex
from opalg.program.differentiate import sum_of


def lower_map(
    variables: tuple[Variable, ...], expressions: tuple[MapExpression, ...], sample_axes: int = 0
) -> Lowering:
    """``T(x)`` as declared, sought by Anderson acceleration with a safeguard (Walker and Ni 2011)."""
    state = state_inputs(variables)
    point = dict(zip(variables, state, strict=True))
    images = tuple(ex.broadcast_to(e.trace(point), x.shape) for e, x in zip(expressions, state, strict=True))
    return Lowering(
        state=state,
        step=images,
        readout=dict(point),
        start={x: starts_at(v) for v, x in point.items()},
        iteration="anderson",
        scale=sum_of([ex.norm_squared(x) for x in state]),
        sample_axes=sample_axes,
    )
