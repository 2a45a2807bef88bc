"""A probe that tells whether a linear map is symmetric, so that conjugate gradients apply."""

from __future__ import annotations

from math import sqrt

import numpy as np

from opalg.arrays import Backend
from opalg.errors import NonFiniteError, ParameterError
from opalg.iterations.iteration import FlatMap


def symmetry_defect(
    apply: FlatMap, size: int, lib: Backend, rng: np.random.Generator | None = None, probes: int = 3
) -> float:
    """An estimate of ``|M - M^T|_F / |M|_F`` from a few products with random vectors.

    Parameters
    ----------
    apply : callable
        ``M`` on flat real arrays of the given size.
    size : int
        Their length.
    lib : Backend
        Library, device and precision.
    rng : numpy.random.Generator, optional
        By default one with a fixed seed, so that answers repeat.
    probes : int
        How many vectors, at least 2; each costs a product, and each pair of them tests once.

    Returns
    -------
    float
        0 for a symmetric map, up to rounding; sqrt(2) on average for one without a symmetric part to speak of.

    Raises
    ------
    NonFiniteError
        Where a product is not finite.

    Notes
    -----
    For independent standard normal a and b, ``E (<a, M b> - <M a, b>)^2 = |M - M^T|_F^2`` and ``E |M b|^2 =
    |M|_F^2``; a product that vanishes on all probes gives 0. See `is_symmetric` for the judgement.
    """
    if probes < 2:
        raise ParameterError(f"a symmetry probe takes at least 2 vectors, not {probes!r}")
    rng = np.random.default_rng(0) if rng is None else rng
    vectors = rng.standard_normal((probes, size))
    images = np.stack([lib.to_numpy(apply(lib.asarray(v, "real"))) for v in vectors]).astype(float)
    if not np.all(np.isfinite(images)):
        raise NonFiniteError("a product with a random vector holds NaN or infinity; look at the map's derivative")
    largest = float(np.abs(images).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    images /= largest
    forms = vectors @ images.T
    pairs = np.triu_indices(probes, 1)
    defects = (forms - forms.T)[pairs]
    return sqrt(float(np.mean(defects**2)) / float(np.mean(np.sum(images**2, axis=1))))


def is_symmetric(defect: float, lib: Backend) -> bool:
    """Whether a `symmetry_defect` is no more than rounding through a deep network can make."""
    return defect <= lib.epsilon**0.5
