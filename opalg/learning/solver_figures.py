"""The solver modules inside of a model, and figures of their last solves for the log."""

from __future__ import annotations

from typing import Any


def solvers_in(module: Any) -> list[Any]:
    """The modules made of plans, the model itself or parts of it."""
    return [m for m in module.modules() if hasattr(m, "plan") and hasattr(m, "start_state")]


class Watched:
    """What a step does to the solvers of a model.

    Parameters
    ----------
    module : torch.nn.Module
    """

    def __init__(self, module: Any) -> None:
        inner = {id(s) for s in solvers_in(module)}
        self._solvers = [(n, m) for n, m in module.named_modules() if id(m) in inner]
        self._before = [(m.solution, m.gradients) for _, m in self._solvers]

    def figures(self) -> dict[str, Any]:
        """Iterations, products and residuals of what was solved since; with names before them for several solvers."""
        found: dict[str, Any] = {}
        for (name, solver), before in zip(self._solvers, self._before, strict=True):
            label = f"{name}." if len(self._solvers) > 1 else ""
            found |= {f"{label}{k}": v for k, v in _figures(solver, *before).items()}
        return found


def _figures(solver: Any, old_solution: Any, old_gradients: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    solution, gradients = solver.solution, solver.gradients
    if solution is not None and solution is not old_solution:
        found |= {"iterations": solution.iterations, "residual": solution.certificate.relative}
        if not solution.status.success:
            found["status"] = solution.status.name
    if gradients is not None and gradients is not old_gradients:
        found |= {"products": gradients.products, "adjoint_residual": gradients.relative_residual}
        if gradients.flags:
            found["flags"] = ", ".join(gradients.flags)
    return found


__all__ = ["Watched", "solvers_in"]
