"""Operators of held norm inside of models: their power iterations stand still in a solve, and go on between steps."""

from __future__ import annotations

from typing import Any

from opalg.learning.solver_figures import solvers_in
from opalg.nodes import walk
from opalg.operators.held_norm import HeldNorm


def held_norms_of(plan: Any) -> list[HeldNorm]:
    """The operators of held norm of a plan, each direction once.

    Parameters
    ----------
    plan : Plan, MapPlan or OnlinePlan
    """
    whole = getattr(plan, "full", plan)
    roots = whole.expressions if hasattr(whole, "expressions") else (whole.energy,)
    found = {n.direction: n for n in walk(*roots) if isinstance(n, HeldNorm)}
    return list(found.values())


def refresh_norms(module: Any, steps: int | None = None) -> dict[str, float]:
    """Make power iterations for every `opalg.HeldNorm` in a model of Torch, at the weights that it has now.

    Parameters
    ----------
    module : torch.nn.Module
        A plan as a module, or one that holds such modules.
    steps : int, optional
        Power iterations; by default as many as each operator says.

    Returns
    -------
    dict from str to float
        The norm of each operator without its factor, as estimated from below; of a stack of matrices the largest.

    Raises
    ------
    ParameterError
        Where an operator has become zero.

    Notes
    -----
    `opalg.fit` calls it after every step; a loop of one's own calls it after ``optimizer.step()``.

    Examples
    --------
    >>> import opalg as oa
    >>> import torch
    >>> x, A = oa.Variable(2, name="x"), oa.Parameter(torch.eye(2), name="A")
    >>> energy = 0.5 * oa.sum_squares(x - torch.ones(2)) + oa.sum_squares(oa.HeldNorm(oa.Matrix(A), 1.0) @ x)
    >>> net = oa.compile(energy).as_module()
    >>> with torch.no_grad():
    ...     _ = net.A.mul_(3.0)
    >>> {name: round(norm, 4) for name, norm in oa.learning.refresh_norms(net).items()}
    {'A_norm': 3.0}
    """
    import torch

    found: dict[str, float] = {}
    every = solvers_in(module)
    names = {id(m): n for n, m in module.named_modules()}
    with torch.no_grad():
        for solver in every:
            plan = solver.plan
            values = {p: getattr(solver, n) for p, n in zip(plan.parameters, solver._names, strict=True)}
            label = f"{names[id(solver)]}." if len(every) > 1 else ""
            for number, held in enumerate(held_norms_of(plan)):
                turned, sizes = held.turned(plan.backend, values, steps)
                values[held.direction].copy_(turned)
                found[f"{label}{_name(held, number)}"] = float(sizes.max())
    return found


def directions_in(module: Any) -> list[Any]:
    """The directions of all operators of held norm in a model, as the buffers that hold them."""
    found = []
    for solver in solvers_in(module):
        held = {h.direction for h in held_norms_of(solver.plan)}
        found += [getattr(solver, n) for p, n in zip(solver.plan.parameters, solver._names, strict=True) if p in held]
    return found


def _name(held: HeldNorm, number: int) -> str:
    name = held.direction.name
    return f"{name.removesuffix('_direction')}_norm" if name else f"norm{number}"


__all__ = ["directions_in", "held_norms_of", "refresh_norms"]
