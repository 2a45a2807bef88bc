"""The misfit at data that the solve was not given: hold-out and cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.compiler import Plan
from opalg.energies.energy import EnergyExpression, Term
from opalg.errors import ParameterError, UnsupportedError
from opalg.functionals.sum_squares import SumSquares
from opalg.learning.criteria import Criterion, Example, Slopes, Values
from opalg.learning.lower_level import LowerLevel
from opalg.learning.residuals import ResidualLoss, data_terms, points_of, refuse_tuned, residual_size, squares_of
from opalg.leaves import Parameter
from opalg.nodes import substitute, walk
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate

ROUNDING = 1e-9  # of shares of the data


class HeldOut(Criterion):
    """The misfit at entries of the data that the solve was not given.

    Parameters
    ----------
    residual : affine expression, optional
        ``A @ x - y`` of a sum of squares of the energy; by default the first one with data.
    holdout : float
        The share of the entries that is held out at a time.
    folds : int
        How many disjoint random sets are held out in turn; ``holdout=0.2, folds=5`` is cross-validation.
    seed : int

    Notes
    -----
    The weights of that sum of squares are set to zero at the entries held out, and the loss is the mean of
    ``w |A x - y|^2`` over them, which is the squared error of prediction plus the noise.
    """

    name, unit = "heldout", "mean squared misfit of entries held out"

    def __init__(self, residual: Any = None, holdout: float = 0.1, folds: int = 1, seed: int = 0) -> None:
        if not 0 < holdout < 1:
            raise ParameterError(f"holdout is a share of the data between 0 and 1, not {holdout!r}")
        if not isinstance(folds, int) or folds < 1 or folds * holdout > 1.0 + ROUNDING:
            raise ParameterError(
                f"folds must be a positive integer with folds * holdout at most 1, as the sets are disjoint; they are "
                f"{folds!r} and {holdout!r}"
            )
        self.residual, self.holdout, self.folds, self.seed = residual, holdout, folds, seed

    def prepare(self, energy: EnergyExpression, wrt: Sequence[Any]) -> EnergyExpression:
        term = data_terms(energy, self.residual)[0]
        functional = term.functional
        assert isinstance(functional, SumSquares)
        weights = functional.weights
        self.affine = term.expression
        self.weights: Expression = ex.Literal(1.0) if weights is None else weights
        offset = [] if term.expression.offset is None else list(walk(term.expression.offset))
        refuse_tuned([*walk(self.weights), *offset], wrt, "the data or their weights")
        self.kept = Parameter(np.ones(term.expression.shape), name="entries kept", nonneg=True)
        masked = SumSquares(self.kept if weights is None else self.kept * weights)
        return substitute(energy, {term: Term(term.weight, masked, term.expression)})

    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        self.examples, self.point, lib = examples, points_of(plan.energy), plan.backend
        self.held = Input("held", self.affine.shape)
        weighted = self.held * self.weights
        value = squares_of(self.affine, weighted, self.point) / ex.total(weighted)
        self.misfit = ResidualLoss(value, self.point, wrt, lib)
        rng = np.random.default_rng(self.seed)
        self.sets = [self._sets(example, lib, rng) for example in examples]

    def _sets(self, example: Example, lib: Backend, rng: np.random.Generator) -> list[np.ndarray]:
        """For each fold 1 at the entries held out and 0 elsewhere; entries of weight zero are left alone."""
        known = {p: lib.asarray(v, p.kind) for p, v in example.data.items()}
        (weights,) = evaluate([ex.broadcast_to(self.weights, self.affine.shape)], known, lib)
        usable = np.flatnonzero(np.asarray(lib.to_numpy(weights)) > 0)
        count = int(self.holdout * len(usable) + ROUNDING)
        if count < 1:
            raise UnsupportedError(
                f"{len(usable)} entries of data have a positive weight, too few to hold out {self.holdout:g} of them"
            )
        order = rng.permutation(usable)
        sets = np.zeros((self.folds, residual_size(self.affine)))
        for fold in range(self.folds):
            sets[fold, order[fold * count : (fold + 1) * count]] = 1.0
        return list(sets.reshape(self.folds, *self.affine.shape))

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        params, lib = {**self.examples[example].data, **values}, lower.plan.backend
        total, slopes = 0.0, {p: np.zeros(p.shape) for p in values}
        for fold, held in enumerate(self.sets[example]):
            solution = lower.solve({**params, self.kept: lib.asarray(1.0 - held)}, (example, fold), near=(example, 0))
            inputs = {self.held: lib.asarray(held)}
            value, change = self.misfit.pull_back(lower, solution, params, inputs, (example, fold))
            total += value / self.folds
            slopes = {p: slopes[p] + change[p] / self.folds for p in slopes}
        return total, slopes

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"misfit held out {loss:.4e}"
