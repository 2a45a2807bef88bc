"""Where warm starts of solver modules begin, written down so that training goes on to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

from opalg.errors import ParameterError
from opalg.implicit.gradients import Adjoint, Gradients
from opalg.implicit.recycling import Pairs
from opalg.program.expression import Input
from opalg.solving.certificate import Certificate
from opalg.solving.history import History
from opalg.solving.solution import Solution
from opalg.solving.status import Status

GOOD = frozenset((Status.MAX_ITER, Status.TIME_LIMIT, Status.STAGNATED))  # short of the tolerance, but on the way


@dataclass(frozen=True)
class Controls:
    """What a solution that was read back remembers of its solve: the scales of the dual part of its state."""

    controls: dict[Input, float]


def starts_from(solution: Solution | None) -> bool:
    """Whether a solve may begin where another one ended."""
    return solution is not None and (solution.status.success or solution.status in GOOD)


def written(solution: Solution | None, gradients: Gradients | None) -> dict[str, Any]:
    """Tensors, numbers and texts that a warm start depends on.

    Parameters
    ----------
    solution : Solution or None
    gradients : Gradients or None

    Returns
    -------
    dict
    """
    out: dict[str, Any] = {}
    if solution is not None:
        controls = getattr(solution.differentiator, "controls", {})
        out["solution"] = {
            "points": list(solution.points),
            "state": list(solution.state),
            "status": solution.status.name,
            "method": solution.method,
            "backend": solution.backend,
            "controls": {c.name: float(v) for c, v in controls.items()},
        }
    adjoint = None if gradients is None else gradients.adjoint
    if adjoint is not None:
        pairs = adjoint.pairs
        kept = None if pairs is None else [pairs.s, pairs.y, pairs.symmetric, pairs.pace, pairs.condition]
        out["adjoint"] = {"system": adjoint.system, "state": adjoint.state, "pairs": kept}
    return out


def read(state: Mapping[str, Any], plan: Any) -> tuple[Solution | None, Gradients | None]:
    """A solution and gradients that a warm start can begin from, and no more than that.

    Raises
    ------
    ParameterError
        Where the state is of another plan.
    """
    solution = _solution(state["solution"], plan) if "solution" in state else None
    if "adjoint" not in state:
        return solution, None
    own = state["adjoint"]
    pairs = None if own["pairs"] is None else Pairs(*own["pairs"])
    return solution, Gradients({}, nan, own["system"], "none", adjoint=Adjoint(own["system"], own["state"], pairs))


def _solution(own: Mapping[str, Any], plan: Any) -> Solution:
    found, wanted = [tuple(p.shape) for p in own["points"]], [tuple(v.shape) for v in plan.variables]
    if found != wanted:
        raise ParameterError(f"a start was written of variables of shapes {found}, but the plan has {wanted}")
    lowering = plan.lowering
    known = [*lowering.controls, *([lowering.epsilon] if lowering.epsilon is not None else [])]
    controls = {c: own["controls"][c.name] for c in known if c.name in own["controls"]}
    return Solution(
        variables=tuple(plan.variables),
        points=tuple(own["points"]),
        status=Status[own["status"]],
        value=None,
        certificate=Certificate("residual", nan, nan),
        iterations=0,
        seconds=0.0,
        history=History(),
        error_bound=None,
        method=own["method"],
        backend=own["backend"],
        state=tuple(own["state"]),
        differentiator=Controls(controls),
    )


__all__ = ["read", "starts_from", "written"]
