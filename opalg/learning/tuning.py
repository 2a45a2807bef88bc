"""Tuning: parameters of an energy that make its solutions good, sought along implicit gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from math import inf
from numbers import Integral, Real
from typing import Any

from opalg.compiler import compile
from opalg.energies.energy import EnergyExpression
from opalg.errors import NotAffineError, ParameterError, UnsupportedError
from opalg.learning.coordinates import Coordinates
from opalg.learning.criteria import Criterion, Supervised, examples_of
from opalg.learning.discrepancy import Discrepancy
from opalg.learning.heldout import HeldOut
from opalg.learning.lower_level import LowerLevel
from opalg.learning.outer import REASONS, drive
from opalg.learning.path import Tuning
from opalg.learning.schedules import Adaptive, Fixed, Schedule
from opalg.learning.search import Bar, Search
from opalg.learning.sure import Sure
from opalg.leaves import Parameter

CRITERIA: dict[str, Any] = {"supervised": Supervised, "discrepancy": Discrepancy, "sure": Sure, "heldout": HeldOut}
TAKES: dict[str, tuple[str, ...]] = {
    "supervised": (),
    "discrepancy": ("noise", "residual"),
    "sure": ("noise", "residual", "probes", "seed"),
    "heldout": ("residual", "holdout", "folds", "seed"),
}


def tune(
    energy: EnergyExpression,
    pairs: Sequence[Any],
    wrt: Any,
    by: str = "supervised",
    *,
    noise: Any = None,
    residual: Any = None,
    holdout: float | None = None,
    folds: int | None = None,
    probes: int | None = None,
    seed: int | None = None,
    steps: int = 12,
    stop: float = 1e-3,
    schedule: Schedule | None = None,
    tol: float | None = None,
    gradient_tol: float | None = None,
    max_iter: int | None = None,
    gradient_products: int = 300,
    outer: Any = None,
    outer_options: Mapping[str, Any] | None = None,
    scale: str = "log",
    bounds: Mapping[Any, Any] | None = None,
    progress: bool = False,
    **options: Any,
) -> Tuning:
    """Find values of parameters for which minimisers of an energy are close to known answers, or to what data say.

    Parameters
    ----------
    energy : Energy
        The energy; its parameters hold the start.
    pairs : sequence of (mapping from Parameter to value, array or None)
        Examples: the data of each (``{y: noisy}``, or ``{}`` where the energy holds them) with the truth, in the shape
        of the variable; with several variables a mapping from Variable to array. Criteria that need no truth also
        take the data alone, ``[{y: noisy}]``.
    wrt : Parameter, name, or sequence of them
        What to tune.
    by : str
        ``"supervised"``: the mean squared error against the truths. ``"discrepancy"``: residuals as large as the noise.
        ``"sure"``: an unbiased estimate of the predicted risk. ``"heldout"``: the misfit at data left out of the solve.
    noise : float or array
        For ``"discrepancy"`` and ``"sure"``: the standard deviation of the noise in the data.
    residual : affine expression, optional
        For criteria without a truth: where the data are, ``A @ x - y``; by default in the first sum of squares that
        holds data.
    holdout, folds : float, int
        For ``"heldout"``: the share of the data left out at a time (default 0.1), and how many disjoint random sets are
        left out in turn (default 1).
    probes, seed : int
        For ``"sure"``: random directions (default 1); for both that are random, the seed (default 0).
    steps : int
        Points at most; each takes a solve and a gradient for every pair, and more where the accuracy does not suffice.
    stop : float
        End where a step changes the loss by less than this fraction.
    schedule : Schedule, optional
        How accurately to solve: `Fixed`, `Hoag`, `Maid` or `Adaptive` of `opalg.learning.schedules`.
    tol, gradient_tol : float, optional
        Short for ``schedule=Fixed(tol, gradient_tol)``.
    max_iter, gradient_products : int
        Of every solve, and of every gradient's linear system. Where the products run out the gradient is used as it
        is; its residual stands in the path.
    outer : None, str, callable or class
        What moves the parameters: by default the rule that belongs to the schedule; ``"descent"``; a ``method`` of
        ``scipy.optimize.minimize`` such as ``"L-BFGS-B"``; or a Torch optimiser such as ``torch.optim.Adam``, which
        runs for all ``steps``.
    outer_options : mapping, optional
        The SciPy method's ``options``, or arguments of the optimiser.
    scale : {"log", "linear"}
        How parameters declared ``positive`` or ``nonneg`` move.
    bounds : mapping from Parameter to (lower, upper), optional
        Within which parameters stay; None for an end without one.
    progress : bool
        Show a progress bar (needs tqdm).
    **options
        Those of `opalg.compile`: ``method``, ``backend``, ``device``, ``dtype``, ``nonconvex``.

    Returns
    -------
    Tuning
        Ctrl-C ends the search; the result then holds the best values met, and says so.

    Raises
    ------
    UnsupportedError
        For another ``by``, a complex parameter, or where tqdm is missing.
    ParameterError, ShapeError
        Where an argument does not fit, or a parameter in log scale starts at zero.
    NotAffineError
        For what is no energy.

    Notes
    -----
    Gradients are by implicit differentiation; each solve starts from the last solution at its place, and each adjoint
    from the last adjoint. The outer search sees ``log loss`` where losses are positive.

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
    _check(energy, steps, stop, seed, options)
    given = {"noise": noise, "residual": residual, "holdout": holdout, "folds": folds, "probes": probes, "seed": seed}
    criterion = _criterion(by, {name: value for name, value in given.items() if value is not None})
    names: dict[Any, Parameter] = {p.name: p for p in energy.parameters if p.name}
    keys = list(wrt) if isinstance(wrt, (tuple, list)) else [wrt]
    wanted = [names.get(k, k) if isinstance(k, str) else k for k in keys]
    plan = compile(criterion.prepare(energy, wanted), **options)
    coordinates = Coordinates(plan.parameters, wanted, plan.backend, scale, bounds)
    examples = examples_of(plan, pairs, criterion)
    criterion.attach(plan, coordinates.parameters, examples)
    controller = _schedule(schedule, tol, gradient_tol).begin(stop)
    lower = LowerLevel(plan, coordinates.parameters, max_iter, gradient_products)
    bar = Bar(steps, criterion) if progress else None
    search = Search(criterion, len(examples), coordinates, lower, controller, steps, bar)
    try:
        reason = drive(search, outer, outer_options, stop)
    finally:
        if bar is not None:
            bar.close()
    best = search.best()
    return Tuning(best.values, best.loss, search.path, plan, REASONS[reason], reason, criterion.name, criterion.unit)


def _check(energy: Any, steps: Any, stop: Any, seed: Any, options: Mapping[str, Any]) -> None:
    """Raise ParameterError for numbers that make no sense, and for keywords that neither `tune` nor `compile` takes."""
    if not isinstance(energy, EnergyExpression):
        raise NotAffineError(
            f"tune takes an energy, not {type(energy).__name__}; parameters of the map of a plan are learned by "
            f"oa.fit(plan, data, loss), and the gradient of one loss is oa.learning.hypergradient(plan, loss, wrt)"
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"steps must be a positive integer, not {steps!r}")
    if not isinstance(stop, Real) or not 0 <= float(stop) < inf:
        raise ParameterError(f"stop must be a nonnegative number, not {stop!r}")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral) or int(seed) < 0):
        raise ParameterError(f"seed must be a nonnegative integer, not {seed!r}")
    own, compiling = ([*signature(f).parameters][1:] for f in (tune, compile))
    for name in options:
        if name not in compiling:
            known = ", ".join(sorted({*own, *compiling} - {"options"}))
            raise ParameterError(f"{name!r} is no option of tune; there are {known}")


def _criterion(by: Any, given: dict[str, Any]) -> Criterion:
    """The criterion of a name, with its options checked."""
    if by not in CRITERIA:
        raise UnsupportedError(f"tune works by one of {', '.join(map(repr, CRITERIA))}; by={by!r} is not offered")
    foreign = [name for name in given if name not in TAKES[by]]
    if foreign:
        raise ParameterError(
            f'by="{by}" takes no {foreign[0]}=; it takes {", ".join(f"{n}=" for n in TAKES[by]) or "no options"}'
        )
    if "noise" in TAKES[by] and "noise" not in given:
        raise ParameterError(f'by="{by}" needs noise=, the standard deviation of the noise in the data')
    return CRITERIA[by](**given)


def _schedule(schedule: Any, tol: float | None, gradient_tol: float | None) -> Schedule:
    """The schedule asked for."""
    if schedule is None:
        if tol is None and gradient_tol is None:
            return Adaptive()
        return Fixed(tol, 1e-2 if gradient_tol is None else gradient_tol)
    if not isinstance(schedule, Schedule):
        raise ParameterError(
            f"schedule is one of opalg.learning.schedules, such as Fixed(tol=1e-6) or Hoag(); found {schedule!r}"
        )
    if tol is not None or gradient_tol is not None:
        raise ParameterError("tol= and gradient_tol= stand for a Fixed schedule; give them or schedule=, not both")
    return schedule
