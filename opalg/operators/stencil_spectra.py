"""Which transform diagonalises the squares of differences, and their eigenvalues.

A difference sees the array continued beyond its ends: by itself, by its mirror image, or by zeros. The transform whose
waves have that symmetry makes its gram diagonal (Strang 1999, The discrete cosine transform); with ``h`` half the angle
from one entry to the next, the eigenvalues are ``(2 sin h)^2``, or ``sin(2 h)^2`` for central differences.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi

import numpy as np

from opalg.leaves import Constant
from opalg.operators.algebra import LinearOperator
from opalg.operators.cosine import DCT, DST
from opalg.operators.fourier import RFFT
from opalg.program.differentiate import sum_of
from opalg.program.expression import Expression, Shape

Family = tuple[type, int]  # a transform and its type

PERIODIC, MIRRORED, FIXED = (RFFT, 0), (DCT, 2), (DST, 1)  # the continuations by itself, by reflection, by zeros
FREE_THEN_FIXED, FIXED_THEN_FREE = (DCT, 8), (DST, 7)  # reflected at one end, zero beyond the other
SECOND: dict[str, Family] = {"periodic": PERIODIC, "neumann": MIRRORED, "dirichlet": FIXED}

_FAMILIES: dict[tuple[str, str, bool], Family] = {  # scheme, boundary, and whether D @ D.H is meant
    ("forward", "neumann", False): MIRRORED,
    ("backward", "neumann", False): MIRRORED,
    ("central", "neumann", False): MIRRORED,
    ("central", "neumann", True): (DST, 2),
    ("forward", "dirichlet", False): FREE_THEN_FIXED,
    ("forward", "dirichlet", True): FIXED_THEN_FREE,
    ("backward", "dirichlet", False): FIXED_THEN_FREE,
    ("backward", "dirichlet", True): FREE_THEN_FIXED,
}


def family_of(scheme: str, boundary: str, cogram: bool = False) -> Family | None:
    """The transform that diagonalises ``D.H @ D`` (or ``D @ D.H``) of a difference; None where none does.

    The cogram of one-sided Neumann differences lives on one entry less, and central Dirichlet differences decouple even
    from odd entries: no transform of the whole axis fits those.
    """
    return PERIODIC if boundary == "periodic" else _FAMILIES.get((scheme, boundary, cogram))


def basis_of(family: Family, shape: Shape, axes: tuple[int, ...]) -> LinearOperator:
    """The transform of a family over some axes."""
    kind, number = family
    axes = tuple(sorted(axes))
    return RFFT(shape, axes, "backward") if kind is RFFT else kind(shape, axes, number)


def half_angles(family: Family, n: int) -> np.ndarray:
    """Half the angle between neighbours of each wave of n entries."""
    k = np.arange(n)
    if family in (FREE_THEN_FIXED, FIXED_THEN_FREE):
        return pi * (2 * k + 1) / (2 * (2 * n + 1))
    if family == PERIODIC:
        return pi * k / n
    if family == MIRRORED:
        return pi * k / (2 * n)
    return pi * (k + 1) / (2 * n + 2 if family == FIXED else 2 * n)


@lru_cache(maxsize=256)
def square_along(family: Family, n: int, axis: int, central: bool = False, half: bool = False) -> Constant:
    """The eigenvalues of a squared difference along an axis, ready to broadcast; ``half`` of them for a real FFT."""
    angles = half_angles(family, n)[: n // 2 + 1 if half else n]
    sines = np.sin(2 * angles) if central else 2 * np.sin(angles)
    values = np.where(np.abs(sines) < 1e-15, 0.0, sines) ** 2
    return Constant(values.reshape((-1,) + (1,) * (-1 - axis)), name=f"|d|^2 on axis {axis}")


def squares_over(family: Family, shape: Shape, axes: tuple[int, ...], central: bool = False) -> Expression:
    """The eigenvalues of the sum of the squared differences along some axes."""
    last = max(axes)
    each = (square_along(family, shape[a], a, central, family == PERIODIC and a == last) for a in sorted(axes))
    return sum_of(list(each))


@lru_cache(maxsize=256)
def symbol_along(n: int, axis: int, scheme: str) -> Constant:
    """The half spectrum of a periodic difference along an axis, ready to broadcast."""
    angles = 2 * pi * np.arange(n // 2 + 1) / n
    ahead = np.exp(1j * angles)
    if n % 2 == 0:
        ahead[-1] = -1.0
    values = {"forward": ahead - 1.0, "backward": 1.0 - ahead.conj(), "central": 1j * ahead.imag}[scheme]
    return Constant(values.reshape((-1,) + (1,) * (-1 - axis)), name=f"d on axis {axis}")
