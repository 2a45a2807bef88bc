"""The discrepancy principle: residuals as large as the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any

import numpy as np

from opalg.compiler import Plan
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError
from opalg.learning.criteria import TINY, Criterion, Example, Slopes, Values
from opalg.learning.lower_level import LowerLevel
from opalg.learning.residuals import ResidualLoss, points_of, residual_of, residual_size, squares_of, variance_of
from opalg.leaves import Parameter
from opalg.program.expression import Input

UNIT = 100.0  # the outer search counts squares of 10 % of the noise level


class Discrepancy(Criterion):
    """Morozov's discrepancy principle: residuals as large as the noise, ``mean |A x - y|^2 = sigma^2``.

    Parameters
    ----------
    noise : float or array
        Standard deviation of the noise, for every entry or for each; of complex noise, ``sqrt(E |n|^2)``.
    residual : affine expression, optional
        Such as ``A @ x - y``; by default that of the first sum of squares with data.

    Notes
    -----
    The loss is ``log(mean |A x - y|^2 / sigma^2)^2`` (Morozov 1966), one equation, so it settles one number.
    """

    name, unit = "discrepancy", "squared logarithm of the discrepancy"

    def __init__(self, noise: Any, residual: Any = None) -> None:
        self.noise, self.residual = noise, residual

    def prepare(self, energy: EnergyExpression, wrt: Sequence[Any]) -> EnergyExpression:
        if sum(int(np.prod(p.shape)) for p in wrt if isinstance(p, Parameter)) > 1:
            raise ParameterError(
                'by="discrepancy" is one equation and settles one number; wrt holds more than that. Tune by "sure" or '
                '"heldout", or one weight alone'
            )
        return energy

    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        residual, self.examples = residual_of(plan.energy, self.residual), examples
        self.point = points_of(plan.energy)
        self.factor = Input("factor", residual.shape)
        self.precision = plan.backend.asarray(1.0 / (variance_of(self.noise, residual) * residual_size(residual)))
        value = squares_of(residual, self.factor, self.point)
        self.squares = ResidualLoss(value, self.point, wrt, plan.backend)

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        params = {**self.examples[example].data, **values}
        solution = lower.solve(params, example)
        return self.squares.pull_back(lower, solution, params, {self.factor: self.precision}, example)

    def loss(self, mean: float) -> tuple[float, float]:
        kept = max(mean, TINY)
        return log(kept) ** 2, 2.0 * log(kept) / kept

    def objective(self, loss: float) -> tuple[float, float]:
        return UNIT * loss, UNIT

    def figures(self, mean: float) -> dict[str, float]:
        return {"noise_ratio": sqrt(mean)}

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"residual over noise {figures['noise_ratio']:.3f}"
