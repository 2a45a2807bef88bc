"""Plans as Torch modules: forward solves, backward differentiates implicitly."""

from __future__ import annotations

from typing import Any

import torch

from opalg.errors import DeviceError, ParameterError


class SolverModule(torch.nn.Module):
    """A plan as a ``torch.nn.Module`` whose parameters are the energy's.

    Calling it solves; the result is differentiable in the module's parameters and in tensors that are given for
    parameters by name. Backward is one implicit solve, and no graph of the iterations is kept.

    Parameters
    ----------
    plan : Plan
        Compiled for Torch.
    **options
        Options of ``plan.solve`` for every forward pass.

    Raises
    ------
    DeviceError
        Where the plan does not run on Torch.

    Notes
    -----
    Second derivatives are refused by Torch with an error, never silently zero.
    """

    def __init__(self, plan: Any, **options: Any) -> None:
        super().__init__()
        if plan.backend.name != "torch":
            raise DeviceError(
                f"this plan runs on {plan.backend.name}; compile it with backend='torch' to use it as a module"
            )
        self.plan, self.options = plan, options
        self.solution: Any = None
        self._names = [parameter_name(p, i) for i, p in enumerate(plan.parameters)]
        for name, parameter in zip(self._names, plan.parameters, strict=True):
            value = plan.backend.asarray(parameter.value, parameter.kind).clone()
            self.register_parameter(name, torch.nn.Parameter(value))

    def forward(self, **given: Any) -> Any:
        """The solution at the module's parameters, some of them replaced by tensors given by name.

        The `Solution` itself is kept in ``module.solution``.
        """
        known = {p.name: n for p, n in zip(self.plan.parameters, self._names, strict=True) if p.name}
        known.update({n: n for n in self._names})
        unknown = [key for key in given if key not in known]
        if unknown:
            raise ParameterError(
                f"{unknown[0]!r} is not a parameter of this module; there are {', '.join(self._names)}"
            )
        tensors = {n: getattr(self, n) for n in self._names}
        tensors.update({known[key]: tensor for key, tensor in given.items()})
        points = _Solve.apply(self, *(tensors[n] for n in self._names))
        return points[0] if len(points) == 1 else dict(zip(self.plan.variables, points, strict=True))


def parameter_name(parameter: Any, index: int) -> str:
    """A valid attribute name for a parameter: its own where that is an identifier, else a number."""
    name = parameter.name or ""
    reserved = hasattr(torch.nn.Module, name) or name in ("plan", "options", "solution") or name == "lambda"
    return name if name.isidentifier() and not reserved else f"{name}_" if name == "lambda" else f"parameter{index}"


class _Solve(torch.autograd.Function):
    """One solve, with its implicit derivative."""

    @staticmethod
    def forward(ctx: Any, module: SolverModule, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        plan = module.plan
        params = dict(zip(plan.parameters, (t.detach() for t in tensors), strict=True))
        solution = plan.solve(params=params, **module.options)
        module.solution = solution
        ctx.solution, ctx.parameters = solution, plan.parameters
        ctx.dtypes = [t.dtype for t in tensors]
        return tuple(p.clone() for p in solution.points)  # autograd marks what is returned; the solution stays plain

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        wanted = [p for p, needed in zip(ctx.parameters, ctx.needs_input_grad[1:], strict=True) if needed]
        given = {v: c for v, c in zip(ctx.solution.variables, cotangents, strict=True) if c is not None}
        found = ctx.solution.vjp(given, wanted)
        gradients = [found[p].to(d) if p in found else None for p, d in zip(ctx.parameters, ctx.dtypes, strict=True)]
        return (None, *gradients)
