"""How much a map lengthens or shortens differences, from a few plain applications."""

from __future__ import annotations

from math import isfinite
from typing import Any

from opalg.arrays import Backend
from opalg.iterations.iteration import FlatMap
from opalg.iterations.vectors import norm

GROWTH = 1e4  # of the first residual, after which nothing more can be learnt where growth is faster than geometric


def contraction_factor(map: FlatMap, point: Any, lib: Backend, applications: int = 16) -> float | None:
    """The factor by which an application of a map changes the residual ``|T(z) - z|``, near a point.

    Parameters
    ----------
    map : callable
        ``T``, from flat real array to flat real array.
    point : flat real array
        Where to begin.
    lib : Backend
        Library, device and precision.
    applications : int
        How often to apply the map, at most; it ends early where the residual has grown by `GROWTH` or is not finite.

    Returns
    -------
    float or None
        The geometric mean of the ratios of successive residuals over the later half of the applications; None where not
        even one ratio is finite, or the point is fixed.

    Notes
    -----
    For ``T(z) = B z + b`` the ratios tend to the spectral radius of B (power iteration), so that a value above 1 says
    that plain iteration diverges. Elsewhere it is an estimate.
    """
    current, sizes = lib.copy(point), []
    for _ in range(applications):
        image = lib.copy(map(current))
        sizes.append(norm(lib.subtract(image, current), lib))
        if sizes[-1] == 0.0 or not isfinite(sizes[-1]):
            sizes.pop()
            break
        if sizes[-1] > GROWTH * sizes[0]:
            break
        current = image
    if len(sizes) < 2:
        return None
    middle = (len(sizes) - 1) // 2
    return float((sizes[-1] / sizes[middle]) ** (1.0 / (len(sizes) - 1 - middle)))
