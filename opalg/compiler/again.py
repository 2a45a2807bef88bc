"""Solves that gradients ask for: further on, where the active set has not settled, and with other parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opalg.solving.loop import Limits
from opalg.solving.solution import Solution


def resuming(plan: Any, limits: Limits, params: Mapping[Any, Any] | None) -> Callable[[Solution, float], Solution]:
    """``(solution, factor) -> Solution``: goes on to a tolerance smaller by the factor."""
    at = dict(params or {})

    def resume(solution: Solution, factor: float) -> Solution:
        tol = max(factor * min(limits.tol, solution.certificate.relative), plan.backend.epsilon)
        longer = max(2 * limits.max_iter, 4 * solution.iterations)
        found: Solution = plan.solve(solution, params=at, tol=tol, max_iter=longer, on_failure="return")
        return found

    return resume


def moving(
    plan: Any, limits: Limits, params: Mapping[Any, Any] | None
) -> Callable[[Solution, Mapping[Any, Any]], Solution]:
    """``(solution, values) -> Solution``: solves with some parameters at other values, from where a solution is."""
    before = dict(params or {})

    def moved(solution: Solution, values: Mapping[Any, Any]) -> Solution:
        at = {**before, **values}
        found: Solution = plan.solve(solution, params=at, tol=limits.tol, max_iter=limits.max_iter, on_failure="return")
        return found

    return moved
