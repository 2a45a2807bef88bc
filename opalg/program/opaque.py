"""Opaque functions: what the step language cannot look into, with a derivative of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.errors import ShapeError, UnsupportedError
from opalg.program.expression import Call, Expression


@dataclass(frozen=True, eq=False)
class OpaqueFunction:
    """A function of one array, compared by identity.

    Attributes
    ----------
    forward : callable
        ``forward(x) -> array``.
    transposed : callable or None
        ``transposed(x, cotangent) -> array``; None where only Torch can find it.
    name : str
        What prints.
    """

    forward: Callable[[Any], Any]
    transposed: Callable[[Any, Any], Any] | None
    name: str

    def evaluate(self, lib: Backend, x: Any) -> Any:
        """The value at an array."""
        return _checked(self.forward(x), x, self.name, lib)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative, as a node."""
        (moved,) = tangents
        if moved is None:
            return None
        return Call(_Pushed(self), (call.arguments[0], moved), call.shape, call.kind)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative, as a node."""
        (x,) = call.arguments
        return [Call(_Pulled(self), (x, cotangent), x.shape, x.kind)]

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class _Pulled:
    """``(x, u) -> J(x)^T u``."""

    of: OpaqueFunction

    def evaluate(self, lib: Backend, x: Any, cotangent: Any) -> Any:
        if self.of.transposed is not None:
            return lib.asarray(self.of.transposed(x, cotangent))
        if lib.name != "torch":
            raise UnsupportedError(
                f"{self.of.name} has no derivative on {lib.name}; give oa.apply(..., vjp=function), or use Torch"
            )
        import torch

        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            (pulled,) = torch.autograd.grad(self.of.forward(at), at, cotangent)
        return pulled.detach()

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        raise UnsupportedError(f"second derivatives of {self.of.name} are not known")

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        if active[0]:
            raise UnsupportedError(f"second derivatives of {self.of.name} are not known")
        x, u = call.arguments
        return [None, Call(_Pushed(self.of), (x, cotangent), u.shape, u.kind)]

    def __repr__(self) -> str:
        return f"{self.of.name}'"


@dataclass(frozen=True)
class _Pushed:
    """``(x, d) -> J(x) d``."""

    of: OpaqueFunction

    def evaluate(self, lib: Backend, x: Any, direction: Any) -> Any:
        if lib.name != "torch" or self.of.transposed is not None:
            raise UnsupportedError(f"{self.of.name} has no forward derivative on {lib.name}; use vjp, or Torch")
        import torch

        with torch.enable_grad():
            _, moved = torch.autograd.functional.jvp(self.of.forward, (x,), (direction,))
        return moved.detach()

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        raise UnsupportedError(f"second derivatives of {self.of.name} are not known")

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        raise UnsupportedError(f"second derivatives of {self.of.name} are not known")

    def __repr__(self) -> str:
        return f"{self.of.name}'"


def _checked(value: Any, x: Any, name: str, lib: Backend) -> Any:
    if not lib.owns(value):
        raise UnsupportedError(f"{name} was given a {lib.name} array but returned {type(value).__name__}")
    if value.ndim != x.ndim:
        raise ShapeError(f"{name} returned shape {tuple(value.shape)} for shape {tuple(x.shape)}")
    return value.detach() if hasattr(value, "detach") else lib.copy(value)


def opaque(function: Callable[[Any], Any], transposed: Callable[[Any, Any], Any] | None = None) -> OpaqueFunction:
    """A callable on arrays as an opaque function."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return OpaqueFunction(function, transposed, name)
