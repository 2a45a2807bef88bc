"""Solutions as functions that Torch's autograd knows, with their derivatives of first and second order.

With ``x(theta)`` the solution and ``J`` its derivative there are four functions, each an implicit solve:

- the solution ``theta -> x``,
- ``(c, theta) -> J^T c``, the gradient of ``Re <c, x>``,
- ``(t, theta) -> J t``, the change of x along t,
- ``(c, t, theta) -> (J t, grad_theta Re <c, J t>)``, with the second derivatives of x.

Each is a derivative of those before it, backwards and forwards, so Torch puts them together to whatever is asked for.
Derivatives of the last one would be third derivatives; they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, NoReturn

import torch

from opalg.errors import UnsupportedError

Tensors = tuple[torch.Tensor, ...]


class Call:
    """One forward pass of a solver; its derivatives belong to the solution that it found.

    Subclasses do the work on plain tensors; what has a part for each parameter takes them in the solver's order.

    Attributes
    ----------
    parts : list of Call
        The calls that a pass over a batch of parameters (``torch.func.vmap``) is made of.
    """

    def __init__(self) -> None:
        self.parts: list[Call] = []

    def another(self) -> Call:
        """A call of the same solver, to be made."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """How many variables there are."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """What is solved, for messages."""
        raise NotImplementedError

    def solve(self, tensors: Tensors) -> Tensors:
        """``x``, one tensor per variable."""
        raise NotImplementedError

    def pull(self, wanted: Sequence[int], cotangents: Tensors, tensors: Tensors) -> Tensors:
        """``J^T c`` for the parameters of some numbers."""
        raise NotImplementedError

    def push(self, moved: Sequence[int], directions: Tensors, tensors: Tensors) -> Tensors:
        """``J t`` where the parameters of some numbers move."""
        raise NotImplementedError

    def bend(
        self, wanted: Sequence[int], moved: Sequence[int], cotangents: Tensors, directions: Tensors, tensors: Tensors
    ) -> tuple[Tensors, Tensors]:
        """``J t``, and ``grad Re <c, J t>`` for the parameters wanted."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ask:
    """What is asked of a call: gradients in the parameters ``wanted``, while the parameters ``moved`` move."""

    call: Call
    wanted: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()

    def cut(self, arguments: Tensors, *counts: int) -> tuple[Tensors, ...]:
        """Arguments in groups of so many, and one of all the rest."""
        groups, start = [], 0
        for count in counts:
            groups.append(arguments[start : start + count])
            start += count
        return (*groups, arguments[start:])


def _signed(function: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """The function with its signature at hand, which Torch asks for at every call."""
    function.__signature__ = signature(function)  # type: ignore[attr-defined]
    return function


class Solve(torch.autograd.Function):
    """``theta -> x``: the solution as a function of the parameters."""

    @staticmethod
    @_signed
    def forward(ask: Ask, *tensors: torch.Tensor) -> Tensors:
        return ask.call.solve(tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _keep(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[1:]
        wanted = _numbers(needed)
        found = Pull.apply(Ask(ctx.ask.call, wanted), *cotangents, *ctx.saved_tensors)
        return (None, *_spread(found, wanted, len(needed)))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        moved = _numbers(t is not None for t in tangents)
        return Push.apply(Ask(ctx.ask.call, moved=moved), *(tangents[i] for i in moved), *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, ask: Ask, *tensors: torch.Tensor) -> Any:
        ask.call.parts = [ask.call.another() for _ in range(info.batch_size)]
        return _each(Solve.apply, [replace(ask, call=part) for part in ask.call.parts], in_dims[1:], tensors)


class Pull(torch.autograd.Function):
    """``(c, theta) -> J^T c``: the gradient."""

    @staticmethod
    @_signed
    def forward(ask: Ask, *arguments: torch.Tensor) -> Tensors:
        return ask.call.pull(ask.wanted, *ask.cut(arguments, ask.call.outputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _keep(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, *directions: torch.Tensor) -> tuple[Any, ...]:
        ask, call = ctx.ask, ctx.ask.call
        c, tensors = ask.cut(ctx.saved_tensors, call.outputs)
        needed = ctx.needs_input_grad[1 + call.outputs :]
        wanted = _numbers(needed)
        if not wanted:
            moved = Push.apply(Ask(call, moved=ask.wanted), *directions, *tensors)
            return (None, *moved, *(None for _ in needed))
        found = Bend.apply(Ask(call, wanted, ask.wanted), *c, *directions, *tensors)
        return (None, *found[: call.outputs], *_spread(found[call.outputs :], wanted, len(needed)))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        ask, call = ctx.ask, ctx.ask.call
        c, tensors = ask.cut(ctx.saved_tensors, call.outputs)
        dc, dt = ask.cut(tangents, call.outputs)
        filled = [torch.zeros_like(b) if a is None else a for a, b in zip(dc, c, strict=True)]
        found = Pull.apply(Ask(call, ask.wanted), *filled, *tensors)
        moved = _numbers(t is not None for t in dt)
        if not moved:
            return found
        bent = Bend.apply(Ask(call, ask.wanted, moved), *c, *(dt[i] for i in moved), *tensors)
        return tuple(a + b for a, b in zip(found, bent[call.outputs :], strict=True))  # second derivatives commute

    @staticmethod
    def vmap(info: Any, in_dims: Any, ask: Ask, *arguments: torch.Tensor) -> Any:
        asks = _asks(ask, info.batch_size, in_dims[1 + ask.call.outputs :])
        return _each(Pull.apply, asks, in_dims[1:], arguments)


class Push(torch.autograd.Function):
    """``(t, theta) -> J t``: the change of the solution."""

    @staticmethod
    def forward(ask: Ask, *arguments: torch.Tensor) -> Tensors:
        return ask.call.push(ask.moved, *ask.cut(arguments, len(ask.moved)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _keep(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        ask, call, count = ctx.ask, ctx.ask.call, len(ctx.ask.moved)
        directions, tensors = ask.cut(ctx.saved_tensors, count)
        along = needed = ctx.needs_input_grad[1 + count :]
        wanted = _numbers(needed)
        given = [None] * count
        if any(ctx.needs_input_grad[1 : 1 + count]):
            given = Pull.apply(Ask(call, ask.moved), *cotangents, *tensors)
        bent: Any = ()
        if wanted:
            bent = Bend.apply(Ask(call, wanted, ask.moved), *cotangents, *directions, *tensors)[call.outputs :]
        return (None, *given, *_spread(bent, wanted, len(along)))

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        raise UnsupportedError(
            f"second derivatives of the solution of {ctx.ask.call.subject} by jacfwd of jacfwd, twice forwards, "
            f"are not offered; use torch.func.hessian, which goes forwards over backwards, or jacrev of jacrev"
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, ask: Ask, *arguments: torch.Tensor) -> Any:
        asks = _asks(ask, info.batch_size, in_dims[1 + len(ask.moved) :])
        return _each(Push.apply, asks, in_dims[1:], arguments)


class Bend(torch.autograd.Function):
    """``(c, t, theta) -> (J t, grad_theta Re <c, J t>)``: the change, and second derivatives."""

    @staticmethod
    def forward(ask: Ask, *arguments: torch.Tensor) -> Tensors:
        groups = ask.cut(arguments, ask.call.outputs, len(ask.moved))
        moved, bent = ask.call.bend(ask.wanted, ask.moved, *groups)
        return (*moved, *bent)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.ask = inputs[0]

    @staticmethod
    def backward(ctx: Any, *_: Any) -> NoReturn:
        raise _third(ctx.ask)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> NoReturn:
        raise _third(ctx.ask)

    @staticmethod
    def vmap(info: Any, in_dims: Any, ask: Ask, *arguments: torch.Tensor) -> Any:
        asks = _asks(ask, info.batch_size, in_dims[1 + ask.call.outputs + len(ask.moved) :])
        return _each(Bend.apply, asks, in_dims[1:], arguments)


def _third(ask: Ask) -> UnsupportedError:
    return UnsupportedError(
        f"third derivatives of the solution of {ask.call.subject} are not offered; leave create_graph=True out of the "
        f"last call of torch.autograd.grad or backward"
    )


def _keep(ctx: Any, inputs: tuple[Any, ...]) -> None:
    ctx.ask = inputs[0]
    ctx.save_for_backward(*inputs[1:])
    ctx.save_for_forward(*inputs[1:])


def _numbers(said: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, yes in enumerate(said) if yes)


def _spread(found: Sequence[Any], places: Sequence[int], count: int) -> list[Any]:
    """Some of ``count`` things, None for the others."""
    by_place = dict(zip(places, found, strict=True))
    return [by_place.get(i) for i in range(count)]


def _asks(ask: Ask, size: int, parameter_dims: Sequence[int | None]) -> list[Ask]:
    """What to ask for each sample of a batch: the same solution, or its own where the parameters were a batch."""
    if all(d is None for d in parameter_dims):
        return [ask] * size
    return [replace(ask, call=part) for part in ask.call.parts]


def _each(
    function: Callable[..., Tensors], asks: Sequence[Ask], in_dims: Sequence[int | None], arguments: Tensors
) -> tuple[Tensors, tuple[int, ...]]:
    """A function of each sample in turn; the results get a first axis for the batch."""
    found = []
    for i, ask in enumerate(asks):
        parts = [a if d is None else a.select(d, i) for a, d in zip(arguments, in_dims, strict=True)]
        found.append(function(ask, *parts))
    stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
    return stacked, (0,) * len(stacked)


__all__ = ["Ask", "Bend", "Call", "Pull", "Push", "Solve"]
