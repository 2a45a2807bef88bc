"""Total variation in its several forms: each a functional of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from opalg.errors import ShapeError
from opalg.functionals.expressions import affine_argument
from opalg.functionals.group_huber import HuberNorm21
from opalg.functionals.huber import Huber
from opalg.functionals.norms import Norm1, Norm21
from opalg.operators.difference import Gradient


def total_variation(
    x: Any,
    isotropic: bool = True,
    boundary: str = "neumann",
    axes: Any = None,
    channels: int | None = None,
    delta: Any = None,
) -> Any:
    """The total variation, ``sum_i |(D x)_i|``: the norms of the gradient ``D x`` at each pixel, added up.

    Parameters
    ----------
    x : affine expression
        Of any shape, real or complex.
    isotropic : bool
        Whether the norm at a pixel is the 2-norm of its forward differences, or the sum of their magnitudes.
    boundary : str
        What lies outside, as for `Gradient`: ``"neumann"``, ``"periodic"`` or ``"dirichlet"``.
    axes : int or tuple of int, optional
        The axes of the picture, along which to take differences; by default all, but for that of the colours.
    channels : int, optional
        The axis of the colours, of which the norm at a pixel is taken together, so that edges of all colours lie in the
        same place; by default every entry is a pixel of its own.
    delta : number or Parameter, optional
        Where given, the norms s are replaced by Huber's function of them, ``s^2 / 2`` up to delta and
        ``delta (s - delta / 2)`` beyond, which is smooth and makes no staircases.

    Raises
    ------
    ShapeError
        Where there are no such axes, or differences were to be taken along that of the colours.

    References
    ----------
    Rudin, Osher, Fatemi (1992); Bresson, Chan (2008) for colours; Chambolle, Pock (2011), Section 6.2.3, for Huber's.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((2, 2), name="x")
    >>> step = np.array([[0.0, 3.0], [4.0, 3.0]])
    >>> oa.total_variation(x).value(step), oa.total_variation(x, isotropic=False).value(step)
    (6.0, 8.0)
    >>> oa.total_variation(x, delta=1.0).value(step)
    5.0
    """
    affine = affine_argument(x, "total_variation")
    count = len(affine.shape)
    colour = None if channels is None else _axis(channels, count)
    gradient = Gradient(affine.shape, boundary=boundary, axes=_axes(axes, count, colour))
    inside = ([0] if isotropic else []) + ([] if colour is None else [colour])
    if not inside:
        return (Norm1() if delta is None else Huber(delta))(gradient @ affine)
    groups = tuple(inside) if len(inside) > 1 else inside[0]
    return (Norm21(groups) if delta is None else HuberNorm21(delta, groups))(gradient @ affine)


def _axis(channels: Any, count: int) -> int:
    """The axis of the colours, counted from the end."""
    if isinstance(channels, bool) or not isinstance(channels, (int, np.integer)) or not -count <= channels < count:
        raise ShapeError(
            f"channels of total_variation must be the axis of the colours, between {-count} and {count - 1}, not "
            f"{channels!r}"
        )
    return int(channels) % count - count


def _axes(axes: Any, count: int, colour: int | None) -> Any:
    """The axes to differentiate."""
    if axes is None:
        return None if colour is None else tuple(a for a in range(-count, 0) if a != colour)
    given = axes if isinstance(axes, (tuple, list)) else (axes,)
    if colour is not None and any(isinstance(a, (int, np.integer)) and a % count - count == colour for a in given):
        raise ShapeError(
            f"total_variation was given the axis {colour + count} of the colours among the axes {axes!r} of the "
            f"picture; leave it out of one of them"
        )
    return axes


__all__ = ["total_variation"]
