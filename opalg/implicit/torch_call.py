"""One forward pass of a solver module, and what is asked about its solution later on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from opalg.errors import ParameterError, UnsupportedError
from opalg.implicit.torch_functions import Call, Tensors
from opalg.solving.solution import Solution

FORWARDS = ("tol", "max_iter", "on_inexact", "refine", "solver")  # options that a change of the solution has, too


class SolverCall(Call):
    """A call of a `SolverModule`.

    Tensors come in the order of the plan's parameters, then the weights of networks.

    Parameters
    ----------
    module : SolverModule
    names : tuple of str
        Of the weights.
    buffers : dict from str to tensor
        Of the networks.

    Attributes
    ----------
    solution : Solution or None
        What the pass has found.
    """

    def __init__(self, module: Any, names: tuple[str, ...], buffers: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.module, self.names, self.buffers = module, names, buffers
        self.plan = module.plan
        self.solution: Solution | None = None

    def another(self) -> SolverCall:
        return SolverCall(self.module, self.names, self.buffers)

    @property
    def outputs(self) -> int:
        return len(self.plan.variables)

    @property
    def subject(self) -> str:
        return repr(self.plan.energy if hasattr(self.plan, "energy") else self.plan.expression)

    def solve(self, tensors: Tensors) -> Tensors:
        count = len(self.plan.parameters)
        values = dict(zip(self.plan.parameters, (_own(t) for t in tensors[:count]), strict=True))
        options = dict(self.module.options)
        last = self.module.solution
        if self.module.warm_start and last is not None and last.status.success:
            options["x0"] = last
        with self._working(tensors):
            for parameter, value in values.items():
                self._check(parameter, value)
            self.solution = self.module.solution = self.plan.solve(params=values, **options)
        return tuple(p.clone() for p in self.solution.points)  # autograd marks what is returned

    def pull(self, wanted: Sequence[int], cotangents: Tensors, tensors: Tensors) -> Tensors:
        options = dict(self.module.gradient_options)
        if self.module.warm_start and self.module.gradients is not None:
            options["start"] = self.module.gradients
        asked = _Asked(self, tensors, wanted)
        with self._working(tensors):
            found = asked.solution.vjp(self._by_variable(cotangents), asked.keys, **options)
        self.module.gradients = found
        return asked.gradients(found)

    def push(self, moved: Sequence[int], directions: Tensors, tensors: Tensors) -> Tensors:
        if not any(bool(t.any()) for t in directions):
            return self._nothing()
        asked = _Asked(self, tensors, (), moved, directions)
        options = {k: v for k, v in self.module.gradient_options.items() if k in FORWARDS}
        with self._working(tensors):
            found = asked.solution.jvp(asked.directions, **options)
        return self._points(found)

    def bend(
        self, wanted: Sequence[int], moved: Sequence[int], cotangents: Tensors, directions: Tensors, tensors: Tensors
    ) -> tuple[Tensors, Tensors]:
        if not any(bool(t.any()) for t in directions):
            return self._nothing(), tuple(torch.zeros_like(tensors[i]) for i in wanted)
        asked = _Asked(self, tensors, wanted, moved, directions)
        try:
            with self._working(tensors):
                change, found = asked.solution.second_order(
                    self._by_variable(cotangents), asked.directions, asked.keys, **self.module.gradient_options
                )
        except UnsupportedError as error:
            raise UnsupportedError(f"second derivatives of the solution of {self.subject}: {error}") from error
        return self._points(change), asked.gradients(found)

    # Pieces.

    @contextmanager
    def _working(self, tensors: Tensors) -> Iterator[None]:
        """Nothing is recorded or cast, and networks have the weights of this call."""
        place = self.plan.backend.device.type
        weights = dict(zip(self.names, tensors[len(self.plan.parameters) :], strict=True))
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(place, enabled=False),
            self.module.inner.lent({**weights, **self.buffers}),
        ):
            yield

    def _check(self, parameter: Any, value: torch.Tensor) -> None:
        try:
            parameter.check(value)
        except ParameterError as error:
            raise ParameterError(
                f"{error}. Where a step of an optimiser led there, as_module(positive='softplus') or 'exp' keeps it inside"
            ) from error

    def _by_variable(self, cotangents: Tensors) -> dict[Any, torch.Tensor]:
        return dict(zip(self.plan.variables, (_plain(c) for c in cotangents), strict=True))

    def _points(self, found: Any) -> Tensors:
        if isinstance(found, Mapping):
            return tuple(found[v].clone() for v in self.plan.variables)
        return (found.clone(),)

    def _nothing(self) -> Tensors:
        lib = self.plan.backend
        return tuple(lib.zeros(v.shape, v.kind) for v in self.plan.variables)


class _Asked:
    """A question about a solution, in the keys of `Solution.vjp`: parameters, and one vector for weights of networks."""

    def __init__(
        self,
        call: SolverCall,
        tensors: Tensors,
        wanted: Sequence[int] = (),
        moved: Sequence[int] = (),
        directions: Tensors = (),
    ) -> None:
        assert call.solution is not None
        self.parameters, self.tensors, self.wanted = call.plan.parameters, tensors, wanted
        count = len(self.parameters)
        self.names = {i: call.names[i - count] for i in sorted({*wanted, *moved}) if i >= count}
        self.entered, self.solution = None, call.solution
        if self.names:
            self.entered = call.module.inner.entered(list(self.names.values()))
            weights = dict(zip(call.names, map(_plain, tensors[count:]), strict=True))
            self.solution = self.entered.attach(call.solution, weights)
        self.directions = self._by_key(dict(zip(moved, map(_plain, directions), strict=True)))

    def _by_key(self, directions: Mapping[int, torch.Tensor]) -> dict[Any, torch.Tensor]:
        found: dict[Any, torch.Tensor] = {self.parameters[i]: d for i, d in directions.items() if i not in self.names}
        along = {self.names[i]: d for i, d in directions.items() if i in self.names}
        if along and self.entered is not None:
            found[self.entered.leaf] = self.entered.vector(along)
        return found

    @property
    def keys(self) -> list[Any]:
        """What to differentiate in."""
        found: list[Any] = [self.parameters[i] for i in self.wanted if i not in self.names]
        if self.entered is not None and len(found) < len(self.wanted):
            found.append(self.entered.leaf)
        return found

    def gradients(self, found: Any) -> Tensors:
        """Gradients as tensors that share no memory with what is kept."""
        weights: dict[str, torch.Tensor] = {}
        if self.entered is not None and self.entered.leaf in found:
            weights = self.entered.by_name(found[self.entered.leaf])
        parts = [weights[self.names[i]] if i in self.names else found[self.parameters[i]] for i in self.wanted]
        return tuple(p.to(self.tensors[i].dtype, copy=True) for i, p in zip(self.wanted, parts, strict=True))


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The values of a tensor; a copy where an optimiser may write to it later."""
    plain = _plain(tensor)
    return plain.clone() if isinstance(tensor, torch.nn.Parameter) else plain


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg()


__all__ = ["SolverCall"]
