"""The gradient of a loss of the solution in the parameters of the energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opalg.arrays import Backend
from opalg.errors import ParameterError
from opalg.implicit import Gradients
from opalg.solving.solution import Solution


class Hypergradient(NamedTuple):
    """What `hypergradient` returns.

    Attributes
    ----------
    value : float
        The loss at the solution.
    gradients : Gradients
        A mapping from Parameter to the gradient of the loss in it, with the residual of its linear system.
    solution : Solution
        Where the loss was taken.
    """

    value: float
    gradients: Gradients
    solution: Solution


def hypergradient(
    plan: Any,
    loss: Callable[[Any], Any],
    wrt: Any,
    params: Mapping[Any, Any] | None = None,
    *,
    gradient_options: Mapping[str, Any] | None = None,
    **solve_options: Any,
) -> Hypergradient:
    """Solve, take a loss of the solution, and differentiate it in parameters of the energy.

    Parameters
    ----------
    plan : Plan
        From `opalg.compile`.
    loss : callable or "value"
        ``loss(x)`` returns ``(value, gradient)``; on Torch it may return a scalar tensor instead, which Torch
        differentiates in a second call. With several variables ``x`` and ``gradient`` are mappings from Variable to
        array. It is called at the solution, and again where the gradient refines the point. ``"value"`` is the least
        value of the energy itself, whose gradient takes no linear solve.
    wrt : Parameter or sequence of Parameter
        What to differentiate in.
    params : mapping from Parameter (or its name) to value, optional
        Values for this solve.
    gradient_options : mapping, optional
        ``tol``, ``max_iter`` and ``on_inexact`` of ``Solution.vjp``.
    **solve_options
        Those of ``Plan.solve``: ``tol``, ``x0``, ``max_iter``, ...

    Returns
    -------
    Hypergradient
        The tuple ``(value, gradients, solution)``.

    Raises
    ------
    ParameterError
        Where what is given is no plan, or the loss returns neither a pair nor a scalar tensor.
    InexactSolutionError, AdjointNotConvergedError, SingularAdjointError
        As ``Solution.vjp``.

    Notes
    -----
    With ``x(theta) = argmin_x E(x; theta)`` and ``c`` the loss's own gradient, the gradient of ``loss(x(theta))`` is
    that of ``Re <c, x(theta)>``: one linear system, whatever the number of parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x, y = oa.Variable(2, name="x"), oa.Parameter(np.array([3.0, -1.0]), name="y")
    >>> plan = oa.compile(0.5 * oa.sum_squares(x - y))
    >>> value, gradients, _ = oa.hypergradient(plan, lambda x: (float(x @ x), 2 * x), y)
    >>> value, gradients[y].tolist()
    (10.0, [6.0, -2.0])
    """
    if not hasattr(plan, "solve"):
        raise ParameterError(
            f"hypergradient takes a plan, which can serve again, and found {type(plan).__name__}; write "
            f"oa.hypergradient(oa.compile(energy), loss, wrt)"
        )
    solution = plan.solve(params=params, **solve_options)
    if isinstance(loss, str):
        if loss != "value":
            raise ParameterError(f'the loss is a function of x, or "value" for that of the energy, not {loss!r}')
        return Hypergradient(solution.value, solution.value_gradient(wrt, **(gradient_options or {})), solution)
    value, cotangent = value_and_cotangent(loss, solution.x, plan.backend)
    at = _Once(loss, plan.backend, solution.x, cotangent)
    return Hypergradient(value, solution.vjp(at, wrt, **(gradient_options or {})), solution)


class _Once:
    """The gradient of a loss as a function of x; the last one is kept, since a loss may cost much."""

    def __init__(self, loss: Callable[[Any], Any], lib: Backend, x: Any, cotangent: Any) -> None:
        self.loss, self.lib, self.x, self.cotangent = loss, lib, x, cotangent

    def __call__(self, x: Any) -> Any:
        if x is not self.x:
            self.x, self.cotangent = x, value_and_cotangent(self.loss, x, self.lib)[1]
        return self.cotangent


def value_and_cotangent(loss: Callable[[Any], Any], x: Any, lib: Backend) -> tuple[float, Any]:
    """The value of a loss and its gradient in the solution."""
    found = loss(x)
    if not (isinstance(found, tuple) and len(found) == 2):
        if lib.name == "torch":
            return _by_torch(loss, x)
        raise ParameterError(
            f"on {lib.name} a loss returns the pair (value, gradient), for example "
            f"lambda x: (((x - truth) ** 2).sum(), 2 * (x - truth)); it returned {type(found).__name__}"
        )
    return float(found[0]), found[1]


def _by_torch(loss: Callable[[Any], Any], x: Any) -> tuple[float, Any]:
    """The loss and its gradient by Torch's own differentiation."""
    import torch

    several = isinstance(x, Mapping)
    points = {v: a.detach().clone().requires_grad_(True) for v, a in (x.items() if several else [(None, x)])}
    with torch.enable_grad():
        found = loss(points if several else points[None])
        if not (isinstance(found, torch.Tensor) and found.numel() == 1):
            raise ParameterError(
                f"a loss returns a scalar tensor or the pair (value, gradient); it returned {type(found).__name__}"
            )
        slopes = torch.autograd.grad(found.reshape(()), list(points.values()), allow_unused=True)
    filled = {v: torch.zeros_like(a) if g is None else g for (v, a), g in zip(points.items(), slopes, strict=True)}
    return float(found.detach()), filled if several else filled[None]
