"""The objective that an outer search sees: evaluations at the accuracy that a schedule asks for, and their record."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from opalg.errors import UnsupportedError
from opalg.learning.coordinates import Coordinates
from opalg.learning.criteria import Criterion
from opalg.learning.lower_level import LowerLevel, Tally
from opalg.learning.path import TuningStep
from opalg.learning.schedules import Controller, Found
from opalg.leaves import Parameter

REPEATS = 40  # of one evaluation whose accuracy does not suffice


class OutOfSteps(Exception):
    """The evaluations that were allowed are used up."""


class Search:
    """The objective of an outer search.

    Parameters
    ----------
    criterion : Criterion
    examples : int
        Their number.
    coordinates : Coordinates
    lower : LowerLevel
    controller : Controller
    steps : int
        Points at most.
    bar : Bar or None

    Attributes
    ----------
    path : list of TuningStep
    """

    def __init__(
        self,
        criterion: Criterion,
        examples: int,
        coordinates: Coordinates,
        lower: LowerLevel,
        controller: Controller,
        steps: int,
        bar: Bar | None = None,
    ) -> None:
        self.criterion, self.examples, self.coordinates = criterion, examples, coordinates
        self.lower, self.controller, self.steps, self.bar = lower, controller, steps, bar
        self.blocks, self.project = coordinates.blocks, coordinates.project
        self.path: list[TuningStep] = []
        self.count = 0
        self._begin = perf_counter()
        self._last: bytes | None = None

    def __call__(self, vector: np.ndarray) -> Found:
        """Evaluate at a point; again, with more accuracy, until the schedule is content.

        Raises
        ------
        OutOfSteps
            Before the point that would be one too many.
        """
        vector = np.asarray(vector, dtype=float)
        if vector.tobytes() != self._last:
            if self.count == self.steps:
                raise OutOfSteps
            if self.count:
                self.controller.moved()
            self.count, self._last = self.count + 1, vector.tobytes()
        for _ in range(REPEATS):
            row, found = self._evaluate(vector)
            enough = self.controller.enough(found)
            self.path.append(row if enough else replace(row, accepted=False))
            if self.bar is not None:
                self.bar.update(row, self.count)
            if enough:
                break
        return found

    def pair(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and slope alone."""
        found = self(vector)
        return found.value, found.slope

    def _evaluate(self, vector: np.ndarray) -> tuple[TuningStep, Found]:
        values, criterion, lower = self.coordinates.values(vector), self.criterion, self.lower
        lower.accuracy, lower.tally = self.controller.accuracy, Tally()
        mean, slopes = 0.0, {p: np.zeros(p.shape) for p in values}
        for example in range(self.examples):
            here = {p: np.asarray(v) for p, v in values.items()}
            value, part = criterion.evaluate(example, here, lower)
            mean += value / self.examples
            slopes = {p: slopes[p] + part[p] / self.examples for p in slopes}
        return self._row(values, mean, slopes, lower.tally)

    def _row(
        self, values: dict[Parameter, Any], mean: float, slopes: dict[Parameter, np.ndarray], tally: Tally
    ) -> tuple[TuningStep, Found]:
        loss, factor = self.criterion.loss(mean)
        value, unit = self.criterion.objective(loss)
        gradients = {p: factor * g for p, g in slopes.items()}
        slope = unit * self.coordinates.slope(values, gradients)
        loss_error = abs(factor) * tally.loss_error / self.examples
        slope_error = 0.0
        if tally.errors:
            errors = {p: abs(factor) * e / self.examples for p, e in tally.errors.items()}
            slope_error = abs(unit) * self.coordinates.slope_error(values, errors)
        known = bool(tally.errors)
        row = TuningStep(
            values=values,
            loss=loss,
            gradients={p: float(g) if p.shape == () else g for p, g in gradients.items()},
            figures=self.criterion.figures(mean),
            relative_residual=tally.relative_residual,
            iterations=tally.iterations,
            products=tally.products,
            seconds=perf_counter() - self._begin,
            accuracy=self.controller.accuracy,
            slope_norm=float(np.linalg.norm(slope)),
            slope_error=slope_error if known else float("nan"),
            loss_error=loss_error if known else float("nan"),
            saved=self._saved(tally),
            flags=tuple(sorted(tally.flags)),
        )
        reached = tally.certificate, tally.relative_residual
        return row, Found(value, slope, abs(unit) * loss_error, slope_error, *reached, row.flags)

    def _saved(self, tally: Tally) -> float:
        if not self.path:
            return 0.0
        first = self.path[0].iterations + self.path[0].products
        return 1.0 - (tally.iterations + tally.products) / max(first, 1)

    def best(self) -> TuningStep:
        """The row with the lowest loss that its errors leave no doubt of."""
        rows = [row for row in self.path if row.accepted] or self.path
        return min(rows, key=lambda row: row.loss + (row.loss_error if row.loss_error > 0 else 0.0))


class Bar:
    """A progress bar over the points of a search.

    Parameters
    ----------
    steps : int
    criterion : Criterion

    Raises
    ------
    UnsupportedError
        Where tqdm is not installed.
    """

    def __init__(self, steps: int, criterion: Criterion) -> None:
        try:
            from tqdm.auto import tqdm
        except ModuleNotFoundError:
            raise UnsupportedError("progress=True needs tqdm: pip install tqdm") from None
        self._bar = tqdm(total=steps, desc="tuning", leave=True)
        self._criterion, self._best = criterion, float("inf")

    def update(self, row: TuningStep, count: int) -> None:
        """Show an evaluation."""
        self._best = min(self._best, row.loss)
        self._bar.n = count
        self._bar.set_postfix_str(f"{self._criterion.text(row.loss, row.figures)}, best {self._best:.3e}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
