"""Outer searches: a schedule's own rule, the quasi-Newton descent, SciPy's minimisers, and Torch's optimisers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from opalg.errors import ParameterError, UnsupportedError
from opalg.learning.descent import FIRST, descend
from opalg.learning.search import OutOfSteps, Search

REASONS = {
    "flat": "the last step changed the loss by a smaller fraction than asked for",
    "short": "no step, however short, lowered the loss any more",
    "steps": "the evaluations that were allowed are used up",
    "outer": "the outer optimiser was content",
    "interrupted": "interrupted; these are the best values met so far",
}
WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
UNBOUNDED = ("cg", "bfgs", "newton-cg")
WITH_BOUNDS = ("nelder-mead", "powell", "cobyla", "cobyqa", "l-bfgs-b", "tnc", "slsqp", "trust-constr")


def drive(search: Search, outer: Any, options: Mapping[str, Any] | None, stop: float) -> str:
    """Run an outer search; the reason for its end, a key of `REASONS`.

    Parameters
    ----------
    search : Search
    outer : None, str, callable or type
        None for the rule of the schedule, ``"descent"``, a ``method`` of ``scipy.optimize.minimize``, or a class of
        Torch optimisers.
    options : mapping, optional
        Of the SciPy method, or of the optimiser's constructor.
    stop : float
        A change of the objective that ends the search; for SciPy its ``tol``, which options of their own overrule.

    Raises
    ------
    ParameterError, UnsupportedError
        Where there is no such search, or it does not fit bounds or options.
    KeyboardInterrupt
        Where nothing has been evaluated yet.
    """
    run = _chosen(search, outer, dict(options or {}), stop)
    try:
        return str(run())
    except OutOfSteps:
        return "steps"
    except KeyboardInterrupt:
        if not search.path:
            raise
        return "interrupted"


def _chosen(search: Search, outer: Any, options: dict[str, Any], stop: float) -> Any:
    """A function without arguments that searches."""
    if outer is None or outer == "descent":
        if options:
            raise ParameterError(f"outer_options belong to a SciPy method or a Torch optimiser; found {options!r}")
        if outer is None:
            return lambda: search.controller.minimise(search, stop)
        return lambda: descend(search.pair, search.blocks, search.steps, stop, search.project).reason
    if _is_torch(outer):
        return lambda: _by_torch(search, outer, options)
    if isinstance(outer, str) or callable(outer):
        _check_method(outer, search)
        return lambda: _by_scipy(search, outer, options, stop)
    raise ParameterError(
        f'outer is None, "descent", a method of scipy.optimize.minimize such as "L-BFGS-B", or a class such as '
        f"torch.optim.Adam; found {outer!r}"
    )


def _is_torch(outer: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(outer, type) and issubclass(outer, torch.optim.Optimizer)


def _check_method(method: Any, search: Search) -> None:
    known = {name.replace("-", ""): name.upper() for name in (*UNBOUNDED, *WITH_BOUNDS)}
    if isinstance(method, str) and method.upper() not in known.values():
        near = get_close_matches(method.lower().replace("-", ""), known, n=1)
        hint = f'; did you mean "{known[near[0]]}"?' if near else ""
        raise ParameterError(
            f'outer="{method}" is no method of scipy.optimize.minimize that takes gradients or none; there are '
            f"{', '.join(known.values())}{hint}"
        )
    if isinstance(method, str) and method.lower() not in WITH_BOUNDS and search.coordinates.bounded:
        raise UnsupportedError(
            f'outer="{method}" knows no bounds, but parameters have some; use "L-BFGS-B" or "trust-constr", or, for '
            f'positive parameters, scale="log" without bounds='
        )


def _by_scipy(search: Search, method: Any, options: dict[str, Any], stop: float) -> str:
    from scipy.optimize import Bounds, minimize

    blind = isinstance(method, str) and method.lower() in WITHOUT_GRADIENT
    start, coordinates = np.zeros(sum(search.blocks)), search.coordinates
    if isinstance(method, str) and method.lower() == "nelder-mead":  # SciPy's own is tiny at zero
        corners = [_within(search, FIRST * e) for e in np.eye(len(start))]
        options.setdefault("initial_simplex", [start, *corners])
    found = minimize(
        (lambda u: search.pair(u)[0]) if blind else search.pair,
        start,
        method=method,
        jac=None if blind else True,
        bounds=Bounds(coordinates.lower, coordinates.upper) if coordinates.bounded else None,
        tol=stop,
        options=options,
    )
    return "outer" if found.success else "short"


def _within(search: Search, move: np.ndarray) -> np.ndarray:
    """A move that stays within the bounds: there, or else the other way."""
    there = search.project(move)
    return there if there.any() else search.project(-move)


def _by_torch(search: Search, optimiser: Any, options: dict[str, Any]) -> str:
    import torch

    vector = torch.zeros(sum(search.blocks), dtype=torch.float64, requires_grad=True)
    made = optimiser([vector], **options)

    def closure() -> Any:
        value, slope = search.pair(vector.detach().numpy().copy())
        vector.grad = torch.from_numpy(np.array(slope))
        return torch.tensor(value, dtype=torch.float64)

    while True:
        before = vector.detach().clone()
        made.step(closure)
        with torch.no_grad():
            vector.copy_(torch.from_numpy(search.project(vector.detach().numpy())))
        if bool((vector == before).all()):
            return "outer"
