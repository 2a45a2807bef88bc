"""One forward pass of a solver module, and what is asked about its solution later on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from opalg.errors import ParameterError, ShapeError, UnsupportedError
from opalg.implicit.torch_functions import Call, Tensors
from opalg.implicit.torch_starts import starts_from
from opalg.solving.solution import Solution

FORWARDS = ("tol", "max_iter", "on_inexact", "refine", "solver", "precision")  # those that a jvp takes, too


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
        return repr(self.plan.energy if hasattr(self.plan, "energy") else self.plan)

    def solve(self, tensors: Tensors) -> Tensors:
        count = len(self.plan.parameters)
        values = dict(zip(self.plan.parameters, (_plain(t) for t in tensors[:count]), strict=True))
        options = dict(self.module.options)
        last = self.module.solution
        if self.module.warm_start and starts_from(last):
            options["x0"] = last
        elif callable(options.get("x0")):
            options["x0"] = options["x0"](**dict(zip(self.module._names, values.values(), strict=True)))
        with self._working(tensors):
            for parameter, value in values.items():
                self._check_shape(parameter, value)
            try:
                self.solution = self.module.solution = self.plan.solve(params=values, **options)
            except ParameterError:
                for parameter, value in values.items():
                    self._check(parameter, value)
                raise
        return tuple(p.clone() for p in self.solution.points)  # autograd marks what is returned

    def pull(self, wanted: Sequence[int], cotangents: Tensors, tensors: Tensors) -> Tensors:
        options = dict(self.module.gradient_options)
        if self.module.warm_start and self.module.gradients is not None:
            options["start"] = self.module.gradients
        with self._working(tensors) as solution:
            found = solution.vjp(self._by_variable(cotangents), self._keys(wanted), **options)
        self.module.gradients = found
        return self._parts(found, wanted, tensors)

    def push(self, moved: Sequence[int], directions: Tensors, tensors: Tensors) -> Tensors:
        if not any(bool(t.any()) for t in directions):
            return self._nothing()
        options = {k: v for k, v in self.module.gradient_options.items() if k in FORWARDS}
        with self._working(tensors) as solution:
            found = solution.jvp(self._directions(moved, moved, directions, tensors), **options)
        return self._points(found)

    def bend(
        self, wanted: Sequence[int], moved: Sequence[int], cotangents: Tensors, directions: Tensors, tensors: Tensors
    ) -> tuple[Tensors, Tensors]:
        if not any(bool(t.any()) for t in directions):
            return self._nothing(), tuple(torch.zeros_like(tensors[i]) for i in wanted)
        count = len(self.plan.parameters)
        weights = sorted({i for i in (*wanted, *moved) if i >= count})  # one vector for both, as they enter once
        along = self._directions([*(i for i in moved if i < count), *weights], moved, directions, tensors)
        keys = self._keys([*(i for i in wanted if i < count), *weights])
        try:
            with self._working(tensors) as solution:
                change, found = solution.second_order(
                    self._by_variable(cotangents), along, keys, **self.module.gradient_options
                )
        except UnsupportedError as error:
            raise UnsupportedError(f"second derivatives of the solution of {self.subject}: {error}") from error
        return self._points(change), self._parts(found, wanted, tensors)

    # Pieces.

    @contextmanager
    def _working(self, tensors: Tensors) -> Iterator[Any]:
        """The solution, while nothing is recorded or cast, and networks have the weights of this call."""
        place = self.plan.backend.device.type
        weights = dict(zip(self.names, tensors[len(self.plan.parameters) :], strict=True))
        casting = torch.autocast(place, enabled=False) if torch.is_autocast_enabled(place) else nullcontext()
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            casting,
            self.module._inner.lent({**weights, **self.buffers}),
        ):
            yield self.solution

    def _check_shape(self, parameter: Any, value: torch.Tensor) -> None:
        if tuple(value.shape) != tuple(parameter.shape):
            raise ShapeError(
                f"{parameter.label} has shape {tuple(parameter.shape)}, but the tensor given has {tuple(value.shape)}. "
                f"The shapes of a plan are fixed: give tensors of that shape (drop_last=True in a DataLoader leaves a "
                f"smaller last batch out), or compile a plan for the other one"
            )

    def _check(self, parameter: Any, value: torch.Tensor) -> None:
        """Say of a value outside the domain of its parameter how to keep it inside."""
        try:
            parameter.check(value)
        except ParameterError as error:
            name = dict(zip(self.plan.parameters, self.module._names, strict=True))[parameter]
            advice = "as_module(positive='softplus') keeps it inside"
            if is_parametrized(self.module, name):
                advice = f"that step was too long for the way in which {name} is written: lower the learning rate"
            raise ParameterError(f"{error}. Where a step of an optimiser led there, {advice}") from error

    def _keys(self, numbers: Sequence[int]) -> list[Any]:
        """Parameters and weights as `Solution.vjp` calls them."""
        count = len(self.plan.parameters)
        names = [self.names[i - count] for i in numbers if i >= count]
        return [self.plan.parameters[i] for i in numbers if i < count] + self.module._inner.keys(names)

    def _key(self, number: int) -> Any:
        count = len(self.plan.parameters)
        return (
            self.plan.parameters[number] if number < count else self.module._inner.weights[self.names[number - count]]
        )

    def _directions(
        self, numbers: Sequence[int], moved: Sequence[int], directions: Tensors, tensors: Tensors
    ) -> dict[Any, Any]:
        """Directions by key, zero for what does not move."""
        found: dict[Any, Any] = dict.fromkeys(self._keys(numbers))
        for number in numbers:
            found[self._key(number)] = torch.zeros_like(tensors[number])
        for number, direction in zip(moved, directions, strict=True):
            found[self._key(number)] = _plain(direction)
        return found

    def _parts(self, found: Any, wanted: Sequence[int], tensors: Tensors) -> Tensors:
        """Gradients as tensors that share no memory with what is kept."""
        return tuple(found[self._key(i)].to(tensors[i].dtype, copy=True) for i in wanted)

    def _by_variable(self, cotangents: Tensors) -> dict[Any, torch.Tensor]:
        return dict(zip(self.plan.variables, (_plain(c) for c in cotangents), strict=True))

    def _points(self, found: Any) -> Tensors:
        if isinstance(found, Mapping):
            return tuple(found[v].clone() for v in self.plan.variables)
        return (found.clone(),)

    def _nothing(self) -> Tensors:
        lib = self.plan.backend
        return tuple(lib.zeros(v.shape, v.kind) for v in self.plan.variables)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg()


__all__ = ["SolverCall"]
