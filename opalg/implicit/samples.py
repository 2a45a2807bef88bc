"""Batches: arrays whose leading axes count samples, and gradients with a residual and flags for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.implicit.arguments import Request
from opalg.implicit.estimate import pull, transposed
from opalg.implicit.flags import (
    ADJOINT_NOT_CONVERGED,
    FORWARD_NOT_CONVERGED,
    NEGATIVE_CURVATURE,
    NOT_A_MINIMUM,
    SINGULAR,
    SOLUTION_NOT_UNIQUE,
)
from opalg.implicit.jacobian import Jacobian
from opalg.implicit.linear_solve import SHARP, Solved
from opalg.implicit.programs import Arrays, minus
from opalg.implicit.rows import BatchRows
from opalg.implicit.system import Equation
from opalg.solving.status import Status

APART = 100.0  # multiples of epsilon that a sample may leave in another one by rounding
SEED = 3


@dataclass(frozen=True)
class Samples:
    """The leading axes of a point that count samples.

    Attributes
    ----------
    axes : int
        How many axes.
    shape : tuple of int
        Their lengths.
    """

    axes: int
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many samples there are."""
        return prod(self.shape)

    def norms(self, parts: Arrays, lib: Backend) -> np.ndarray:
        """The Euclidean norm of each sample, on the host."""
        total = np.zeros(self.count)
        for part in parts:
            rows = lib.xp.reshape(part, (self.count, -1))
            total += np.asarray(lib.to_numpy(lib.xp.sum(lib.xp.abs(rows) ** 2, axis=1)), dtype=float)
        return np.sqrt(total)

    def only(self, parts: Arrays, index: int, lib: Backend) -> Arrays:
        """One sample of a tuple of arrays, zeros elsewhere."""
        mask = lib.asarray((np.arange(self.count) == index).astype(float), "real")
        out = []
        for part in parts:
            shape = (*self.shape, *(1,) * (len(part.shape) - self.axes))
            out.append(lib.multiply(part, lib.xp.reshape(mask, shape)))
        return out


@dataclass(frozen=True)
class PerSample:
    """Gradients of each sample, and the adjoint without the samples whose systems could not be solved."""

    gradients: list[Any]
    adjoint: Arrays
    residuals: tuple[float, ...] = ()
    flags: tuple[tuple[str, ...], ...] = field(default=())


def samples_of(equation: Equation, asked: bool | int) -> Samples | None:
    """The samples of an equation; raises ParameterError where its arrays do not begin with the same axes."""
    axes = int(asked)
    if axes == 0:
        return None
    shapes = {p.shape[:axes] for p in equation.point}
    if len(shapes) != 1 or any(len(p.shape) < axes for p in equation.point):
        found = ", ".join(str(p.shape) for p in equation.point)
        raise ParameterError(
            f"per_sample={asked!r} needs arrays that all begin with the same {axes} axes of samples; the variables and "
            f"the arguments of the terms that are split off have the shapes {found}. An operator for one sample keeps "
            f"the axes of samples in front: oa.Gradient((8, 8)) @ x for x of shape (5, 8, 8), not "
            f"oa.Gradient(x.shape, axes=...)"
        )
    return Samples(axes, next(iter(shapes)))


def check_apart(jacobian: Jacobian, samples: Samples) -> None:
    """Raise ParameterError where the derivative of the equation mixes samples."""
    lib, rng = jacobian.lib, np.random.default_rng(SEED)
    parts = []
    for node in jacobian.equation.point:
        values = rng.standard_normal(node.shape)
        parts.append(lib.asarray(values * (1.0 if node.kind == "real" else np.exp(1j * values)), node.kind))
    one = samples.only(parts, 0, lib)
    moved = jacobian.programs("transposed", lambda: transposed(jacobian), *jacobian.point, *one)
    sizes = samples.norms(moved, lib)
    if np.any(sizes[1:] > APART * lib.epsilon * max(sizes[0], lib.tiny)):
        raise ParameterError(
            "the energy mixes samples: what happens in the first one moves another, so there is no gradient for each; "
            "leave per_sample out, or make the operators and norms act within a sample"
        )


def per_sample(
    jacobian: Jacobian,
    samples: Samples,
    a: Arrays,
    c: Arrays,
    request: Request,
    solved: Solved,
    statuses: Sequence[Status] = (),
) -> PerSample:
    """The gradient of each sample's part of the loss, with its own residual and flags.

    Where the system of a sample ended farther from solved than it began, as a singular one may, its adjoint is taken as
    zero: it adds nothing to any sum, and its flags say so, as they do of a sample whose forward solve failed.
    """
    lib = jacobian.lib
    mapped = jacobian.programs("transposed", lambda: transposed(jacobian), *jacobian.point, *a)
    left, right = samples.norms(minus(mapped, c, lib), lib), samples.norms(c, lib)
    residuals = np.where(right > 0, left / np.where(right > 0, right, 1.0), np.where(left > 0, np.inf, 0.0))
    for worse in np.flatnonzero(~(residuals <= 1.0)):
        a, residuals[worse] = minus(a, samples.only(a, int(worse), lib), lib), 1.0
    parts = [pull(jacobian, samples.only(a, i, lib), request) for i in range(samples.count)]
    gradients = [lib.negative(lib.xp.stack([p[k] for p in parts])) for k in range(len(request.leaves))]
    outcomes = solved.sample_outcomes or (None,) * samples.count
    flags = tuple(_flags_of(float(r), o, solved.tol) for r, o in zip(residuals, outcomes, strict=True))
    if len(statuses) == samples.count:
        missed = [() if status.success else (FORWARD_NOT_CONVERGED,) for status in statuses]
        flags = tuple((*own, *more) for own, more in zip(flags, missed, strict=True))
    return PerSample(gradients, a, tuple(float(r) for r in residuals), flags)


def _flags_of(residual: float, outcome: str | None, tol: float) -> tuple[str, ...]:
    """What to say of one sample."""
    solved_well = residual <= SHARP * tol
    own = () if solved_well else (ADJOINT_NOT_CONVERGED,)
    if outcome == NEGATIVE_CURVATURE:
        return (*own, NOT_A_MINIMUM)
    if outcome == SINGULAR:
        return (*own, SOLUTION_NOT_UNIQUE if solved_well else SINGULAR)
    return own


def batch_rows(jacobian: Jacobian, samples: Samples, nodes: Sequence[Any]) -> BatchRows:
    """How the packed flat arrays of some nodes become one row for each sample."""
    kinds = [n.kind for n in nodes]
    return BatchRows([n.shape for n in nodes], kinds, samples.count, jacobian.lib)
