"""What tuning minimises: the distance from known truths, or what data alone say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, log10
from typing import Any

import numpy as np

from opalg.arrays import Backend, library_name
from opalg.compiler import Plan
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError, ShapeError
from opalg.learning.lower_level import LowerLevel
from opalg.leaves import Parameter

TINY = np.finfo(float).tiny
Values = Mapping[Parameter, Any]
Slopes = dict[Parameter, np.ndarray]


@dataclass(frozen=True)
class Example:
    """One entry of the data: values of parameters, and the truth by variable where it is known."""

    data: Mapping[Any, Any]
    truth: Mapping[Any, Any] | None


class Criterion(ABC):
    """A loss of the parameters, averaged over examples.

    Attributes
    ----------
    name : str
        As in ``by=``.
    unit : str
        What the loss is, for people.
    needs_truth : bool
    """

    name: str
    unit: str
    needs_truth = False

    def prepare(self, energy: EnergyExpression, wrt: Sequence[Any]) -> EnergyExpression:
        """The energy to compile; criteria may need parameters in it that its user wrote as plain arrays."""
        return energy

    @abstractmethod
    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        """Get ready for a plan; called once."""

    @abstractmethod
    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        """A number for one example, and its gradient in the parameters."""

    def loss(self, mean: float) -> tuple[float, float]:
        """The loss from the mean of the numbers, and its derivative."""
        return mean, 1.0

    def objective(self, loss: float) -> tuple[float, float]:
        """What the outer search sees of the loss, and the derivative; the logarithm where losses are positive."""
        kept = max(loss, TINY)
        return log(kept), 1.0 / kept

    def figures(self, mean: float) -> dict[str, float]:
        """Numbers that people look at."""
        return {}

    @abstractmethod
    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        """A line for the progress bar."""


class Supervised(Criterion):
    """The mean squared error of the solutions against known truths."""

    name, unit, needs_truth = "supervised", "mean squared error", True

    def attach(self, plan: Plan, wrt: Sequence[Parameter], examples: Sequence[Example]) -> None:
        self.examples = examples

    def evaluate(self, example: int, values: Values, lower: LowerLevel) -> tuple[float, Slopes]:
        data, truth = self.examples[example].data, self.examples[example].truth
        assert truth is not None
        solution = lower.solve({**data, **values}, example)
        return lower.pull_back(solution, SquaredError(truth, lower.plan.backend), example)

    def figures(self, mean: float) -> dict[str, float]:
        return {"psnr": -10.0 * log10(mean) if mean > 0 else float("inf")}

    def text(self, loss: float, figures: Mapping[str, float]) -> str:
        return f"PSNR {figures['psnr']:.2f} dB, mean squared error {loss:.3e}"


class SquaredError:
    """The mean of ``|x - truth|^2`` over all entries, as a loss of the solution."""

    def __init__(self, truth: Mapping[Any, Any], lib: Backend) -> None:
        self.truth, self.lib = truth, lib
        self.factor = 1.0 / sum(int(np.prod(t.shape)) for t in truth.values())

    def __call__(self, x: Any) -> tuple[float, Any]:
        points = x if isinstance(x, Mapping) else dict.fromkeys(self.truth, x)
        errors = {v: points[v] - t for v, t in self.truth.items()}
        xp, item = self.lib.xp, self.lib.item
        value = sum(float(item(xp.sum(xp.abs(e) ** 2)).real) for e in errors.values())
        slopes = {v: 2.0 * self.factor * e for v, e in errors.items()}
        return self.factor * value, slopes if isinstance(x, Mapping) else next(iter(slopes.values()))


def examples_of(plan: Plan, pairs: Any, criterion: Criterion) -> list[Example]:
    """The examples of ``pairs``, checked, with their truths on the plan's backend.

    Raises
    ------
    ParameterError, ShapeError
        Where an entry is no pair, lacks a truth that the criterion needs, or a truth does not fit.
    """
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ParameterError("pairs must be a list such as [({y: noisy}, truth)], with one entry at least")
    return [_example(plan, entry, criterion) for entry in pairs]


def _example(plan: Plan, entry: Any, criterion: Criterion) -> Example:
    if isinstance(entry, Mapping):
        entry = (entry, None)
    if not (isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[0], Mapping)):
        wanted = "({y: noisy}, truth)" if criterion.needs_truth else "({y: noisy}, None), or {y: noisy} alone"
        raise ParameterError(f"an entry of pairs is (mapping from Parameter to value, truth): {wanted}")
    data, truth = entry
    names = {p.name: p for p in plan.parameters if p.name}
    data = {names.get(k, k) if isinstance(k, str) else k: v for k, v in data.items()}
    if not criterion.needs_truth:
        return Example(data, None)
    if truth is None:
        raise ParameterError(
            f'by="{criterion.name}" needs the truth of every entry of pairs; without one, tune by "sure", '
            f'"discrepancy" or "heldout"'
        )
    return Example(data, _truths(plan, truth))


def _truths(plan: Plan, truth: Any) -> dict[Any, Any]:
    truths = truth if isinstance(truth, Mapping) else {plan.variables[0]: truth}
    if set(truths) != set(plan.variables):
        names = ", ".join(v.label for v in plan.variables)
        raise ParameterError(f"a truth is needed for every variable of the energy: {names}")
    for variable, array in truths.items():
        if library_name(array) is None or tuple(array.shape) != variable.shape:
            found = tuple(getattr(array, "shape", ())) or type(array).__name__
            raise ShapeError(f"the truth of {variable.label} must have the shape {variable.shape}, not {found}")
    return {v: plan.backend.asarray(a, v.kind) for v, a in truths.items()}
