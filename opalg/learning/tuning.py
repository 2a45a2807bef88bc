"""Tuning: parameters of an energy that make its solutions match known pictures, sought along implicit gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, log10
from time import perf_counter
from typing import Any

import numpy as np

from opalg.arrays import library_name
from opalg.compiler import Plan, compile
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.learning.descent import descend
from opalg.leaves import Parameter
from opalg.solving.solution import Solution
from opalg.solving.status import Status

REASONS = {
    "flat": "the last step changed the loss by a smaller fraction than asked for",
    "short": "no step, however short, lowered the loss any more",
    "steps": "the evaluations that were allowed are used up",
}


@dataclass(frozen=True)
class TuningStep:
    """One evaluation: values, loss and gradient there.

    Attributes
    ----------
    values : dict from Parameter to float or array
    loss : float
        Mean squared error over all pairs.
    gradients : dict from Parameter to float or array
        The gradient of the loss.
    psnr : float
        ``-10 log10(loss)``: peak signal-to-noise ratio in decibels, for data between 0 and 1.
    relative_residual : float
        The largest relative residual among the linear systems of the gradients.
    products : int
        Products that those systems took.
    seconds : float
        Since the start.
    """

    values: dict[Parameter, Any]
    loss: float
    gradients: dict[Parameter, Any]
    psnr: float
    relative_residual: float
    products: int
    seconds: float


@dataclass(frozen=True, repr=False)
class Tuning:
    """The result of `tune`.

    Attributes
    ----------
    values : dict from Parameter to float or array
        The best values met, ready for ``plan.solve(params=values)``.
    loss : float
        The loss there.
    path : list of TuningStep
        Every evaluation in order; the first is the start.
    plan : Plan
        The compiled energy.
    message : str
        Why the search ended.
    """

    values: dict[Parameter, Any]
    loss: float
    path: list[TuningStep]
    plan: Plan
    message: str

    def __repr__(self) -> str:
        found = ", ".join(f"{p.label} = {v:.4g}" for p, v in self.values.items() if isinstance(v, float))
        arrays = ", ".join(p.label for p, v in self.values.items() if not isinstance(v, float))
        what = "; ".join(part for part in (found, f"arrays: {arrays}" if arrays else "") if part)
        return (
            f"Tuning: {what}\n  mean squared error {self.path[0].loss:.4g} -> {self.loss:.4g} in {len(self.path)} "
            f"evaluations ({self.path[-1].seconds:.1f} s): {self.message}"
        )


def tune(
    energy: EnergyExpression,
    pairs: Sequence[tuple[Mapping[Any, Any], Any]],
    wrt: Any,
    by: str = "supervised",
    *,
    steps: int = 12,
    tol: float | None = None,
    max_iter: int | None = None,
    gradient_tol: float = 1e-2,
    gradient_products: int = 300,
    stop: float = 1e-3,
    progress: bool = False,
    **options: Any,
) -> Tuning:
    """Find values of parameters for which the minimisers of an energy are closest to known answers.

    Parameters
    ----------
    energy : Energy
        The energy; its parameters hold the start.
    pairs : sequence of (mapping from Parameter to value, array)
        Examples: the data of each (``{y: noisy}``, or ``{}`` where the energy holds them) with the truth, in the shape
        of the variable; with several variables a mapping from Variable to array.
    wrt : Parameter or sequence of Parameter
        What to tune. Parameters declared ``positive`` or ``nonneg`` move in log scale.
    by : str
        ``"supervised"``: by the mean squared error of the solutions.
    steps : int
        Evaluations at most; each is a solve and a gradient for every pair.
    tol, max_iter : float, int, optional
        Of the solves, see ``Plan.solve``.
    gradient_tol, gradient_products : float, int
        Relative residual and products of the gradients' linear systems. Where the products run out the gradient is used
        as it is; its residual stands in the path.
    stop : float
        End where a step changes the loss by less than this fraction.
    progress : bool
        Show a progress bar (needs tqdm).
    **options
        Those of `opalg.compile`: ``method``, ``backend``, ``device``, ``dtype``, ``nonconvex``.

    Returns
    -------
    Tuning

    Raises
    ------
    UnsupportedError
        For another ``by``, a complex parameter, or where tqdm is missing.
    ParameterError, ShapeError
        Where an argument does not fit, or a parameter in log scale starts at zero.

    Notes
    -----
    Minimises ``log mean |x(theta) - truth|^2`` by `opalg.learning.descent.descend`, a quasi-Newton method with capped
    steps, on gradients by implicit differentiation; each solve starts from the last solution of its pair.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> truth = np.ones(8)
    >>> y = oa.Parameter(truth + 0.1 * (-1.0) ** np.arange(8), name="y")
    >>> x, weight = oa.Variable(8, name="x"), oa.Parameter(0.01, name="weight", positive=True)
    >>> differences = oa.Gradient(x.shape, boundary="periodic") @ x
    >>> found = oa.tune(oa.sum_squares(x - y) + weight * oa.sum_squares(differences), [({}, truth)], weight)
    >>> found.loss < 0.01 * found.path[0].loss
    True
    """
    if by != "supervised":
        raise UnsupportedError(f'tune works by="supervised", from pairs of data and truth; by={by!r} is not offered')
    if not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"steps must be a positive integer, not {steps!r}")
    plan = compile(energy, **options)
    search = _Search(
        plan,
        _Coordinates(plan, wrt),
        _checked_pairs(plan, pairs),
        steps,
        {"tol": tol, "max_iter": max_iter, "on_failure": "return"},
        {"tol": gradient_tol, "max_iter": gradient_products, "on_inexact": "return"},
        _Bar(steps) if progress else None,
    )
    message = search.run(stop)
    best = min(search.path, key=lambda row: row.loss)
    return Tuning(best.values, best.loss, search.path, plan, message)


class _Coordinates:
    """Parameters as one vector near zero: logarithms where they are positive, multiples of their size elsewhere."""

    def __init__(self, plan: Plan, wrt: Any) -> None:
        self.lib = plan.backend
        self.parameters = list(wrt) if isinstance(wrt, (tuple, list)) else [wrt]
        if not self.parameters:
            raise ParameterError("wrt names no parameter to tune")
        self.starts = [self._start(plan, p) for p in self.parameters]
        self.sizes = [float(np.abs(s).max(initial=0.0)) or 1.0 for s in self.starts]

    def _start(self, plan: Plan, parameter: Any) -> np.ndarray:
        if parameter not in plan.parameters:
            known = ", ".join(p.label for p in plan.parameters) or "none"
            raise ParameterError(f"wrt holds {parameter!r}, but the parameters of the energy are {known}")
        if parameter.kind != "real":
            raise UnsupportedError(f"tune moves real parameters; {parameter.label} is {parameter.kind}")
        value = parameter.value
        source = plan.backend if library_name(value) == plan.backend.name else None
        start = np.array(source.to_numpy(value) if source else value, dtype=float)
        if self.logarithmic(parameter) and not (start > 0).all():
            raise ParameterError(f"{parameter.label} moves in log scale, so it must start above zero")
        return start

    @staticmethod
    def logarithmic(parameter: Parameter) -> bool:
        """Whether a parameter moves in log scale."""
        return parameter.positive or parameter.nonneg

    @property
    def blocks(self) -> list[int]:
        """The number of entries of each parameter."""
        return [start.size for start in self.starts]

    def values(self, vector: np.ndarray) -> dict[Parameter, Any]:
        """The parameters at a vector."""
        out: dict[Parameter, Any] = {}
        for parameter, start, size, part in self._split(vector):
            found = start * np.exp(part) if self.logarithmic(parameter) else start + size * part
            out[parameter] = float(found) if found.shape == () else found
        return out

    def slope(self, values: Mapping[Parameter, Any], gradients: Mapping[Parameter, Any]) -> np.ndarray:
        """The gradient in the vector from that in the parameters."""
        parts = []
        for parameter, size in zip(self.parameters, self.sizes, strict=True):
            unit = values[parameter] if self.logarithmic(parameter) else size
            parts.append(np.ravel(unit * np.asarray(gradients[parameter])))
        return np.concatenate(parts)

    def _split(self, vector: np.ndarray) -> Iterator[tuple[Parameter, np.ndarray, float, np.ndarray]]:
        ends = np.cumsum([s.size for s in self.starts])[:-1]
        parts = np.split(np.asarray(vector, dtype=float), ends)
        for parameter, start, size, part in zip(self.parameters, self.starts, self.sizes, parts, strict=True):
            yield parameter, start, size, part.reshape(start.shape)


class _Search:
    """The objective of the search, with its memory of solutions and rows."""

    def __init__(
        self,
        plan: Plan,
        coordinates: _Coordinates,
        pairs: list[tuple[Mapping[Any, Any], dict[Any, Any]]],
        steps: int,
        solve_options: dict[str, Any],
        gradient_options: dict[str, Any],
        bar: _Bar | None,
    ) -> None:
        self.plan, self.coordinates, self.pairs, self.steps = plan, coordinates, pairs, steps
        self.solve_options, self.gradient_options, self.bar = solve_options, gradient_options, bar
        self.last: list[Solution | None] = [None] * len(pairs)
        self.path: list[TuningStep] = []
        self.begin = perf_counter()

    def run(self, stop: float) -> str:
        """Search; the reason for the end."""
        try:
            found = descend(self, self.coordinates.blocks, self.steps, stop)
        finally:
            if self.bar is not None:
                self.bar.close()
        return REASONS[found.reason]

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        row = self._evaluate(self.coordinates.values(vector))
        self.path.append(row)
        if self.bar is not None:
            self.bar.update(row)
        loss = max(row.loss, np.finfo(float).tiny)
        return log(loss / self._first), self.coordinates.slope(row.values, row.gradients) / loss

    @property
    def _first(self) -> float:
        return max(self.path[0].loss, np.finfo(float).tiny)

    def _evaluate(self, values: dict[Parameter, Any]) -> TuningStep:
        total, worst, products = 0.0, 0.0, 0
        sums: dict[Parameter, Any] = {p: np.zeros(p.shape) for p in values}
        for i, (data, truth) in enumerate(self.pairs):
            loss = _MeanSquaredError(truth, len(self.pairs))
            params = {**data, **{p: np.asarray(v) for p, v in values.items()}}
            solution = self.plan.solve(self.last[i], params=params, **self.solve_options)
            if solution.status is Status.INTERRUPTED:
                raise KeyboardInterrupt
            self.last[i] = solution
            value, cotangent = loss(solution.x)
            gradients = solution.vjp(cotangent, list(values), **self.gradient_options)
            total += value
            worst, products = max(worst, gradients.relative_residual), products + gradients.products
            for p in values:
                sums[p] = sums[p] + np.asarray(self.plan.backend.to_numpy(gradients[p]), dtype=float)
        slopes = {p: float(g) if p.shape == () else g for p, g in sums.items()}
        psnr = -10.0 * log10(total) if total > 0 else float("inf")
        return TuningStep(values, total, slopes, psnr, worst, products, perf_counter() - self.begin)


class _MeanSquaredError:
    """The mean of ``|x - truth|^2`` over all entries, over the number of pairs."""

    def __init__(self, truth: dict[Any, Any], pairs: int) -> None:
        self.truth = truth
        entries = sum(int(np.prod(t.shape)) for t in truth.values())
        self.factor = 1.0 / (entries * pairs)

    def __call__(self, x: Any) -> tuple[float, Any]:
        points = x if isinstance(x, Mapping) else dict.fromkeys(self.truth, x)
        errors = {v: points[v] - t for v, t in self.truth.items()}
        value = sum(float((abs(e) ** 2).sum()) for e in errors.values())
        slopes = {v: 2.0 * self.factor * e for v, e in errors.items()}
        return self.factor * value, slopes if isinstance(x, Mapping) else next(iter(slopes.values()))


class _Bar:
    """A progress bar over evaluations."""

    def __init__(self, steps: int) -> None:
        try:
            from tqdm.auto import tqdm
        except ModuleNotFoundError:
            raise UnsupportedError("progress=True needs tqdm: pip install tqdm") from None
        self._bar = tqdm(total=steps, desc="tuning", leave=True)
        self._best = float("inf")

    def update(self, row: TuningStep) -> None:
        """Show an evaluation."""
        self._best = min(self._best, row.loss)
        self._bar.update(1)
        self._bar.set_postfix_str(f"PSNR {row.psnr:.2f} dB, mean squared error {row.loss:.3e}, best {self._best:.3e}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def _checked_pairs(plan: Plan, pairs: Any) -> list[tuple[Mapping[Any, Any], dict[Any, Any]]]:
    """The pairs with their truths on the plan's backend, by variable."""
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ParameterError("pairs must be a list such as [({y: noisy}, truth)], with one entry at least")
    out = []
    for pair in pairs:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], Mapping)):
            raise ParameterError("an entry of pairs is (mapping from Parameter to value, truth): ({y: noisy}, truth)")
        data, truth = pair
        truths = truth if isinstance(truth, Mapping) else {plan.variables[0]: truth}
        if set(truths) != set(plan.variables):
            names = ", ".join(v.label for v in plan.variables)
            raise ParameterError(f"a truth is needed for every variable of the energy: {names}")
        for variable, array in truths.items():
            if library_name(array) is None or tuple(array.shape) != variable.shape:
                found = tuple(getattr(array, "shape", ())) or type(array).__name__
                raise ShapeError(f"the truth of {variable.label} must have the shape {variable.shape}, not {found}")
        out.append((data, {v: plan.backend.asarray(a, v.kind) for v, a in truths.items()}))
    return out
