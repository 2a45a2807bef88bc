"""Which blocks of measurements an iteration looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from opalg.errors import ParameterError, UnsupportedError


class Sampler(ABC):
    """Draws blocks at random so that each is drawn equally often.

    Then ``(b / w) sum_i G_i`` over the w blocks drawn is an unbiased estimate of the sum over all b.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The numbers of the blocks, out of ``count``; some may come twice."""

    @abstractmethod
    def check(self, count: int) -> int:
        """How many blocks are drawn of ``count``; raises ParameterError where that makes no sense."""

    def variance_factor(self, count: int) -> float:
        """The variance of the estimate, in units of that of one block drawn alone, for blocks without an order."""
        return 1.0 / self.check(count)

    def covariance(self, count: int) -> np.ndarray:
        """The covariances of ``(b / w) n_i``, where ``n_i`` counts how often block i is drawn.

        With ``C`` this matrix, the variance of the estimate is ``sum_ij C_ij <G_i, G_j>`` (the sum over all entries).

        Raises
        ------
        UnsupportedError
            Where the sampler does not say them.
        """
        raise UnsupportedError(
            f"{type(self).__name__} does not tell the covariances of its draws; give it a method "
            f"covariance(self, count) that returns the matrix of those of (count / blocks) times how often each block "
            f"is drawn"
        )

    def bundles(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Blocks that are only drawn together, which may be evaluated at once; all blocks, each in one bundle."""
        return tuple((i,) for i in range(count))


def drawn_by(sampler: Sampler, rng: np.random.Generator, count: int) -> np.ndarray:
    """The blocks that a sampler draws, after a look at whether there are such blocks.

    Raises
    ------
    ParameterError
        Where a sampler draws what is no block, or another number of them than it says.
    """
    drawn = np.asarray(sampler.draw(rng, count))
    wanted = sampler.check(count)
    if drawn.dtype.kind not in "iu" or drawn.shape != (wanted,) or drawn.min() < 0 or drawn.max() >= count:
        raise ParameterError(
            f"{type(sampler).__name__} must draw {wanted} numbers from 0 to {count - 1}, as its check() says, but "
            f"draw() returned {drawn.tolist()!r}"
        )
    return drawn


@dataclass(frozen=True)
class WithReplacement(Sampler):
    """``blocks`` independent draws; the variance of the estimate falls as ``1 / blocks``.

    Parameters
    ----------
    blocks : int
        How many, at least 1.
    """

    blocks: int

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.integers(0, count, self.blocks)

    def check(self, count: int) -> int:
        return _at_least_one(self.blocks)

    def covariance(self, count: int) -> np.ndarray:
        return _centred(count) * (count / self.check(count))


@dataclass(frozen=True)
class WithoutReplacement(Sampler):
    """``blocks`` different ones; the variance is ``(b - w) / (b - 1)`` of that with replacement, 0 for all of them.

    Parameters
    ----------
    blocks : int
        How many, from 1 to the number that there are.

    Notes
    -----
    The factor is the finite population correction (Cochran 1977, Theorem 2.2).
    """

    blocks: int

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        return np.sort(rng.permutation(count)[: self.blocks])

    def check(self, count: int) -> int:
        if _at_least_one(self.blocks) > count:
            raise ParameterError(
                f"{self.blocks} different blocks were asked for, but there are {count}; draw fewer, or with "
                f"oa.samplers.WithReplacement"
            )
        return self.blocks

    def variance_factor(self, count: int) -> float:
        return super().variance_factor(count) * (count - self.blocks) / max(count - 1, 1)

    def covariance(self, count: int) -> np.ndarray:
        return _centred(count) * (count**2 / max(count - 1, 1) * (1.0 / self.check(count) - 1.0 / count))


@dataclass(frozen=True)
class Stratified(Sampler):
    """One set of places, repeated in every one of ``strata`` equal sectors of the blocks.

    Parameters
    ----------
    strata : int
        How many sectors; they divide the number of blocks.
    blocks : int, optional
        How many blocks in all, a multiple of ``strata``; by default one in each.

    Notes
    -----
    For the views of a tomograph the sectors are ranges of angles, so that every draw sees the object from all sides. It
    is what the released code of online deep equilibrium learning does (Liu et al. 2022). The estimate stays unbiased;
    its variance depends on how alike the sectors are.
    """

    strata: int
    blocks: int | None = None

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        width = count // self.strata
        places = np.sort(rng.permutation(width)[: self.check(count) // self.strata])
        found: np.ndarray = (np.arange(self.strata)[:, None] * width + places).ravel()
        return found

    def covariance(self, count: int) -> np.ndarray:
        width = count // self.strata
        drawn = self.check(count) // self.strata
        return np.kron(np.ones((self.strata, self.strata)), WithoutReplacement(drawn).covariance(width))

    def bundles(self, count: int) -> tuple[tuple[int, ...], ...]:
        width = count // self.strata
        return tuple(tuple(range(place, count, width)) for place in range(width))

    def check(self, count: int) -> int:
        _at_least_one(self.strata)
        if count % self.strata:
            fitting = [n for n in range(1, count + 1) if count % n == 0]
            raise ParameterError(
                f"{count} blocks do not divide into {self.strata} sectors of the same size; they do into "
                f"{', '.join(map(str, fitting))}"
            )
        blocks = self.strata if self.blocks is None else _at_least_one(self.blocks)
        if blocks % self.strata or blocks > count:
            raise ParameterError(
                f"of {count} blocks in {self.strata} sectors a multiple of {self.strata} up to {count} can be drawn, "
                f"not {blocks}"
            )
        return blocks


def _centred(count: int) -> np.ndarray:
    """The matrix that takes the mean away."""
    found: np.ndarray = np.eye(count) - 1.0 / count
    return found


def _at_least_one(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
        raise ParameterError(f"the number of blocks must be a positive integer, not {number!r}")
    return int(number)


__all__ = ["Sampler", "Stratified", "WithReplacement", "WithoutReplacement", "drawn_by"]
