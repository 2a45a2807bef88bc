"""How much an estimate of the data's gradient from some blocks scatters, and what that leaves in a solution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from opalg.learning.sampled_map import SampledMap
from opalg.solving.loop import quiet

PROBES = 6  # random errors of one iteration that are followed
LONGEST = 2000  # iterations after which an error that is still there counts as one that stays
SETTLED = 1e-4  # of the sum so far: what an error adds when it is no longer followed


@dataclass(frozen=True)
class SamplingVariance:
    """What sampling does at a point; all variances are sums over all entries.

    Attributes
    ----------
    count, drawn : int
        How many blocks there are, and how many an iteration looks at.
    gradient : float
        The squared norm of the data's gradient ``g = sum_i G_i``.
    block : float
        ``nu^2 = mean_i |b G_i - g|^2``, the variance of the estimate from one block alone.
    sampled : float
        The variance of the estimate that an iteration uses, from the covariances of the sampler's draws.
    step : float
        The variance of an iteration: ``E |T_k(x) - T(x)|^2``.
    forward_floor : float
        The predicted ``E |x_k - x|^2`` after many iterations; infinite where the map does not contract.
    backward_floor : float or None
        The same for the adjoint; None where no cotangent was given.
    """

    count: int
    drawn: int
    gradient: float
    block: float
    sampled: float
    step: float
    forward_floor: float
    backward_floor: float | None = None

    @property
    def remains(self) -> float:
        """The part of the variance of one block alone that is left with all that are drawn."""
        return self.sampled / self.block if self.block > 0 else 0.0

    def __repr__(self) -> str:
        rows = [
            ("|gradient|^2 of the data", self.gradient),
            ("variance from one block", self.block),
            (f"variance from {self.drawn} of {self.count}", self.sampled),
            ("variance of an iteration", self.step),
            ("floor of E |x_k - x|^2", self.forward_floor),
        ]
        if self.backward_floor is not None:
            rows.append(("floor of the adjoint's", self.backward_floor))
        width = max(len(name) for name, _ in rows)
        return "SamplingVariance\n" + "\n".join(f"  {name:<{width}}  {value:.4g}" for name, value in rows)


def sampling_variance(plan: Any, x: Any, params: Any, cotangent: Any, seed: int) -> SamplingVariance:
    """What ``OnlinePlan.variance`` returns; see there."""
    binding, lib = plan.full.bind(params), plan.backend
    (at,) = plan.full.initial_state(x)
    singles = plan.pieces.bundled([(i,) for i in range(plan.count)])
    one_by_one = SampledMap(plan.variables[0], singles, binding, plan._cache.setdefault("singles", {}))
    together = SampledMap(plan.variables[0], plan.pieces, binding, plan._cache)
    every, covariance = np.arange(plan.count), plan.sampler.covariance(plan.count)
    blocks = [lib.copy(one_by_one.part(i, at)) for i in range(plan.count)]
    total = together.gradient(at, every)
    gram = _gram(blocks, lib)
    alone = plan.count * float(np.trace(gram)) - float(gram.sum())
    sampled = _total(covariance, gram)
    image = lib.copy(together.around(at, total))
    small = 1.0 / plan.drawn  # a displacement of the size of one iteration's, for maps that bend

    def moved(block: Any) -> Any:
        there = lib.add(total, lib.multiply(lib.subtract(lib.multiply(block, plan.count), total), small))
        return lib.multiply(lib.subtract(together.around(at, there), image), 1.0 / (small * plan.count))

    step = _total(covariance, _gram([moved(b) for b in blocks], lib))
    rng = np.random.default_rng(seed)
    errors = [lib.subtract(together.step(at, plan.sampler.draw(rng, plan.count)), image) for _ in range(PROBES)]

    def onwards(error: Any) -> Any:
        return lib.subtract(together.step(lib.add(at, error), every), image)

    floor = _floor(step, errors, onwards, lib)
    backward = None
    if cotangent is not None:
        c = lib.asarray(cotangent, plan.variables[0].kind)
        backward = _backward(plan, (one_by_one, together), at, c, covariance, rng)
    return SamplingVariance(plan.count, plan.drawn, _square(total, lib), alone, sampled, step, floor, backward)


def _backward(
    plan: Any, maps: tuple[SampledMap, SampledMap], at: Any, c: Any, covariance: np.ndarray, rng: np.random.Generator
) -> float:
    """The floor of ``u <- T_k'(x)^T u + c``."""
    lib, every = plan.backend, np.arange(plan.count)
    one_by_one, together = maps

    def back(u: Any) -> Any:
        return lib.copy(together.transposed(at, every, u))

    with quiet():
        u = term = c
        for _ in range(LONGEST):
            term = back(term)
            u = lib.add(u, term)
            if not isfinite(_square(u, lib)):
                return inf
            if _square(term, lib) <= SETTLED**2 * _square(u, lib):
                break
    blocks = one_by_one.pulled_parts(at, u)
    here = back(u)
    variance = _total(covariance, _gram(blocks, lib))
    draws = [plan.sampler.draw(rng, plan.count) for _ in range(PROBES)]
    errors = [lib.subtract(lib.copy(together.transposed(at, d, u)), here) for d in draws]
    return _floor(variance, errors, back, lib)


def _floor(variance: float, errors: Sequence[Any], onwards: Callable[[Any], Any], lib: Any) -> float:
    """``sum_k E |J^k e|^2`` for errors e of a given variance, from some that are followed.

    Their number is small, so each is weighed by what it should have been: the sum is a mean of ratios to the first.
    """
    if variance <= 0.0:
        return 0.0
    first = followed = 0.0
    for error in errors:
        size = _square(error, lib)
        first += size
        with quiet():
            added = _followed(error, onwards, size, lib)
        if not isfinite(added):
            return inf
        followed += added
    return variance * followed / first if first > 0 else 0.0


def _followed(error: Any, onwards: Callable[[Any], Any], size: float, lib: Any) -> float:
    total = last = size
    for _ in range(LONGEST):
        if last <= SETTLED * total:
            return total
        error = onwards(error)
        last = _square(error, lib)
        total += last
        if not isfinite(total) or last > 1e6 * max(size, lib.tiny):
            return inf
    return total if last < size else inf


def _gram(vectors: Sequence[Any], lib: Any) -> np.ndarray:
    """The matrix of ``Re <v_i, v_j>``, in double precision."""
    rows = np.stack([np.ravel(lib.to_numpy(v)) for v in vectors])
    rows = rows.astype(np.complex128 if rows.dtype.kind == "c" else np.float64)
    return np.asarray((rows @ rows.conj().T).real)


def _total(covariance: np.ndarray, gram: np.ndarray) -> float:
    return max(float(np.sum(covariance * gram)), 0.0)


def _square(v: Any, lib: Any) -> float:
    flat = np.ravel(lib.to_numpy(v))
    return float(np.vdot(flat, flat).real)


__all__ = ["SamplingVariance", "sampling_variance"]
