"""Criteria that need no truth: the discrepancy principle, Stein's unbiased risk estimate, and held-out data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend, backend_of, library_name
from opalg.compiler import Plan
from opalg.energies.affine import Affine
from opalg.energies.energy import EnergyExpression, Term
from opalg.errors import ParameterError, UnsupportedError
from opalg.functionals.sum_squares import SumSquares
from opalg.learning.criteria import TINY, Criterion, Example, Slopes, Values
from opalg.learning.lower_level import LowerLevel
from opalg.learning.residuals import ResidualLoss, data_of, data_terms, points_of, residual_of, squares_of
from opalg.leaves import Leaf, Parameter
from opalg.nodes import substitute, walk
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input
from opalg.program.interpreter import evaluate

DISCREPANCY_UNIT = 100.0  # the outer search counts squares of 10 % of the noise level
PROBE_STEP, PROBE_POWER = 2.0, 0.3  # Deledalle et al. 2014, Section 4.2: eps = 2 sigma / n^0.3
ROUNDING = 1e-9  # of shares of the data


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
        self.precision = plan.backend.asarray(1.0 / (_variance(self.noise, residual) * residual_size(residual)))
        value = squares_of(residual, self.factor, self.point)
        self.squares = ResidualLoss(value, self.point, wrt, plan.backend)

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        params = {**self.examples[example].data, **values}
        solution = lower.solve(params, example)
        return _pulled(lower, solution, self.squares, params, {self.factor: self.precision}, example)

    def loss(self, mean: float) -> tuple[float, float]:
        kept = max(mean, TINY)
        return log(kept) ** 2, 2.0 * log(kept) / kept

    def objective(self, loss: float) -> tuple[float, float]:
        return DISCREPANCY_UNIT * loss, DISCREPANCY_UNIT

    def figures(self, mean: float) -> dict[str, float]:
        return {"noise_ratio": sqrt(mean)}

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"residual over noise {figures['noise_ratio']:.3f}"


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
        _refuse_tuned([data], wrt, "the data")
        self.residual, self.data = affine, data
        return energy

    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        residual, lib, self.examples = self.residual, plan.backend, examples
        self.point, self.lib = points_of(plan.energy), lib
        variance = np.broadcast_to(_variance(self.noise, residual), residual.shape)
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
        self.directions = [[lib.asarray(self.sign * share * variance * b, residual.kind) for b in row] for row in self.signs]

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        params = {**self.examples[example].data, **values}
        directions = self.directions[example]
        solution = lower.solve(params, (example, 0))
        inputs = {self.factor: self.even, self.toward: sum(directions[1:], start=directions[0])}
        value, slopes = _pulled(lower, solution, self.here, params, inputs, (example, 0))
        data = to_array(params.get(self.data, self.data.value))
        for k, (b, direction) in enumerate(zip(self.signs[example], directions, strict=True), 1):
            moved = self.lib.asarray(data + self.step * b, self.data.kind)
            solution = lower.solve({**params, self.data: moved}, (example, k), near=(example, 0))
            more, change = _pulled(lower, solution, self.there, params, {self.toward: direction}, (example, k))
            value += more
            slopes = {p: slopes[p] + change[p] for p in slopes}
        return value - self.mean_variance, slopes

    def objective(self, loss: float) -> tuple[float, float]:
        return loss / self.mean_variance, 1.0 / self.mean_variance

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"predicted risk {loss:.3e}, {loss / self.mean_variance:.3f} of the noise"


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
        _refuse_tuned([*walk(self.weights), *offset], wrt, "the data or their weights")
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
            value, change = _pulled(lower, solution, self.misfit, params, inputs, (example, fold))
            total += value / self.folds
            slopes = {p: slopes[p] + change[p] / self.folds for p in slopes}
        return total, slopes

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"misfit held out {loss:.4e}"


def to_array(value: Any) -> np.ndarray:
    """An array of any library, or a number, as a NumPy array."""
    return np.asarray(value if library_name(value) is None else backend_of(value).to_numpy(value))


def residual_size(residual: Affine) -> int:
    """The number of entries of a residual."""
    return int(np.prod(residual.shape))


def _pulled(
    lower: LowerLevel, solution: Any, loss: ResidualLoss, params: Values, inputs: Mapping[Input, Any], place: Any
) -> tuple[float, Slopes]:
    """The value of a loss and its whole gradient: through the solution, and explicit."""
    value, slopes = lower.pull_back(solution, loss.at(params, inputs), place)
    for p, part in loss.partial(solution.x, params, inputs).items():
        slopes[p] = slopes[p] + part
    return value, slopes


def _variance(noise: Any, residual: Affine) -> np.ndarray:
    """The variance of the noise, checked."""
    sigma = to_array(noise).astype(float)
    fits = sigma.ndim == 0 or sigma.shape == residual.shape
    if not fits or not np.isfinite(sigma).all() or not (sigma > 0).all():
        raise ParameterError(
            f"noise is the standard deviation of the noise, a positive number or an array of the shape "
            f"{residual.shape} of the data; found {noise!r}"
        )
    return np.broadcast_to(sigma, residual.shape) ** 2


def _signs(residual: Affine, rng: np.random.Generator) -> np.ndarray:
    """A random direction of entries +-1, in real and imaginary part where data are complex."""
    signs = rng.choice([-1.0, 1.0], residual.shape)
    return signs if residual.kind == "real" else signs + 1j * rng.choice([-1.0, 1.0], residual.shape)


def _refuse_tuned(nodes: Sequence[Any], wrt: Sequence[Any], what: str) -> None:
    for p in wrt:
        if isinstance(p, Parameter) and any(p is n for n in nodes):
            raise ParameterError(f"wrt holds {p.label}, but without a truth {what} cannot be tuned")
