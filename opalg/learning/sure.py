"""Stein's unbiased estimate of the predicted risk, by Monte Carlo, and its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from opalg.compiler import Plan
from opalg.energies.affine import Affine
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError
from opalg.learning.criteria import Criterion, Example, Slopes, Values
from opalg.learning.lower_level import LowerLevel
from opalg.learning.residuals import (
    ResidualLoss,
    data_of,
    points_of,
    refuse_tuned,
    residual_of,
    residual_size,
    squares_of,
    to_array,
    variance_of,
)
from opalg.leaves import Leaf, Parameter
from opalg.nodes import substitute
from opalg.program import expression as ex
from opalg.program.expression import Input

PROBE_STEP, PROBE_POWER = 2.0, 0.3  # Deledalle et al. 2014, Section 4.2: eps = 2 sigma / n^0.3


class Sure(Criterion):
    """Stein's unbiased estimate of the predicted risk, ``E mean |A x(y) - A x_true|^2``, for Gaussian noise.

    Parameters
    ----------
    noise : float or array
        Standard deviation of the noise, for every entry or for each; of complex noise, ``sqrt(E |n|^2)``.
    residual : affine expression, optional
        ``A @ x - y`` with the noise in ``y``; by default that of the first sum of squares with data.
    probes : int
        Random directions of the divergence.
    seed : int

    Notes
    -----
    ``mean |A x(y) - y|^2 - sigma^2 + 2 sigma^2 / n div(A x)(y)`` (Stein 1981), with the divergence along a random
    direction ``b`` of entries +-1 (Ramani, Blu and Unser 2008) from the difference quotient
    ``<b, A x(y + eps b) - A x(y)> / eps``, ``eps = 2 sigma / n^0.3``. Both solutions are differentiated, which makes
    the gradient that of the estimate itself (SUGAR: Deledalle, Vaiter, Fadili and Peyre 2014, Equation 18).
    """

    name, unit = "sure", "estimated predicted risk"

    def __init__(self, noise: Any, residual: Any = None, probes: int = 1, seed: int = 0) -> None:
        if not isinstance(probes, int) or probes < 1:
            raise ParameterError(f"probes must be a positive integer, not {probes!r}")
        self.noise, self.residual, self.probes, self.seed = noise, residual, probes, seed

    def prepare(self, energy: EnergyExpression, wrt: Sequence[Any]) -> EnergyExpression:
        affine = residual_of(energy, self.residual)
        data: Leaf
        data, self.sign = data_of(affine)
        if not isinstance(data, Parameter):
            lifted = Parameter(data.value, name=data.name)
            energy, affine = (substitute(e, {data: lifted}) for e in (energy, affine))
            data = lifted
        refuse_tuned([data], wrt, "the data")
        self.residual, self.data = affine, data
        return energy

    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        residual, lib, self.examples = self.residual, plan.backend, examples
        self.point, self.lib = points_of(plan.energy), lib
        variance = np.broadcast_to(variance_of(self.noise, residual), residual.shape)
        entries = residual_size(residual)
        self.mean_variance = float(np.mean(variance))
        self.step = PROBE_STEP * sqrt(self.mean_variance) / entries**PROBE_POWER
        self.factor, self.toward = Input("factor", residual.shape), Input("toward", residual.shape, residual.kind)
        moved = ex.inner(self.toward, residual.linear_trace(self.point))
        squares = squares_of(residual, self.factor, self.point)
        self.here = ResidualLoss(squares - moved, self.point, wrt, lib)
        self.there = ResidualLoss(moved, self.point, wrt, lib)
        self.even = lib.asarray(np.full(residual.shape, 1.0 / entries))
        share = (1.0 if residual.kind == "real" else 0.5) * 2.0 / (entries * self.step * self.probes)
        rng = np.random.default_rng(self.seed)
        self.signs = [[_signs(residual, rng) for _ in range(self.probes)] for _ in examples]
        self.directions = [
            [lib.asarray(self.sign * share * variance * b, residual.kind) for b in row] for row in self.signs
        ]

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        params = {**self.examples[example].data, **values}
        directions = self.directions[example]
        solution = lower.solve(params, (example, 0))
        inputs = {self.factor: self.even, self.toward: sum(directions[1:], start=directions[0])}
        value, slopes = self.here.pull_back(lower, solution, params, inputs, (example, 0))
        data = to_array(params.get(self.data, self.data.value))
        for k, (b, direction) in enumerate(zip(self.signs[example], directions, strict=True), 1):
            moved = self.lib.asarray(data + self.step * b, self.data.kind)
            solution = lower.solve({**params, self.data: moved}, (example, k), near=(example, 0))
            more, change = self.there.pull_back(lower, solution, params, {self.toward: direction}, (example, k))
            value += more
            slopes = {p: slopes[p] + change[p] for p in slopes}
        return value - self.mean_variance, slopes

    def objective(self, loss: float) -> tuple[float, float]:
        return loss / self.mean_variance, 1.0 / self.mean_variance

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"predicted risk {loss:.3e}, {loss / self.mean_variance:.3f} of the noise"


def _signs(residual: Affine, rng: np.random.Generator) -> np.ndarray:
    """A random direction of entries +-1, in real and imaginary part where data are complex."""
    signs = rng.choice([-1.0, 1.0], residual.shape)
    return signs if residual.kind == "real" else signs + 1j * rng.choice([-1.0, 1.0], residual.shape)
