"""Opaque functions: what the step language cannot look into, with derivatives of their own.

With ``J(x)`` the derivative of ``f`` at x, the nodes are ``f(x)``, ``J(x)^T u``, ``J(x) d``, and the derivative of
``J(x)^T u`` in x along d, which is symmetric in d: it is the Hessian of ``Re <u, f(x)>`` times d. Complex numbers count
as pairs of reals throughout, which is also Torch's convention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from opalg.arrays import Backend
from opalg.errors import DeviceError, DtypeError, ParameterError, UnsupportedError
from opalg.nodes import walk
from opalg.program.expression import Call, Expression
from opalg.program.opaque_arrays import (
    autograd,
    check_weight,
    checked,
    first_weight,
    followed,
    identity_of,
    inner_product,
    module_of,
    or_zero,
    plain_number,
    recording,
    summed,
    unrecorded,
    unsteady_layer,
)
from opalg.program.recordings import recorded_graph, recorded_value


class Opaque:
    """What an opaque function and its derivatives have in common, so that they are found in an expression.

    Attributes
    ----------
    order : tuple of (str, int)
        What a derivative is of the function itself: ``("back", i)`` is the transposed derivative in argument i, and
        ``("along", i)`` the derivative along a change of it, the first one taken first.
    """

    order: ClassVar[tuple[tuple[str, int], ...]] = ()

    def evaluate(self, lib: Backend, *arrays: Any) -> Any:
        """A fresh array from arrays of the library."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class OpaqueFunction(Opaque):
    """A function of one array; two are equal where they are made of the same callables.

    The callables get copies of the arrays, which they may write to, and what they return is copied.

    Attributes
    ----------
    forward : callable
        ``forward(x) -> array``. With ``tuned`` it is ``forward(x, strength)``.
    transposed : callable or None
        ``transposed(x, u) -> J(x)^T u``; None where only Torch can find it.
    name : str
        What prints.
    directional : callable or None
        ``directional(x, d) -> J(x) d``.
    curved : callable or None
        ``curved(x, u, d)``, the derivative of ``transposed(x, u)`` in x along d.
    symmetric : bool
        Whether ``J(x)`` is symmetric everywhere, so that it and its transpose are one.
    total : bool
        Whether the entries of the result are summed to one number; u is a number then.
    keeps_shape : bool
        Whether the result must have the shape of the argument.
    tuned : bool
        Whether it takes a second argument, a number or one for each sample.
    """

    forward: Callable[..., Any]
    transposed: Callable[..., Any] | None
    name: str
    directional: Callable[..., Any] | None = None
    curved: Callable[..., Any] | None = None
    symmetric: bool = False
    total: bool = False
    keeps_shape: bool = False
    tuned: bool = False

    @property
    def _key(self) -> tuple[Any, ...]:
        parts = (self.forward, self.transposed, self.directional, self.curved)
        return (*map(identity_of, parts), self.name, self.symmetric, self.total, self.keeps_shape, self.tuned)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueFunction) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    @cached_property
    def _module(self) -> Any:
        return module_of(self.forward)

    def at(self, x: Expression, *more: Expression) -> Call:
        """The node ``f(x)``, of the argument's shape or one number."""
        if self.total:
            return Call(self, (x, *more), (), "real")
        return Call(self, (x, *more), x.shape, x.kind)

    def pulled(self, x: Expression, u: Expression) -> Call:
        """The node ``J(x)^T u``."""
        return Call(self.back, (x, u), x.shape, x.kind)

    @property
    def back(self) -> Opaque:
        """The function ``(x, u) -> J(x)^T u``."""
        return _Pulled(self)

    def check(self, lib: Backend) -> None:
        """Raise where a Torch module cannot work on a library, device or precision, or changes from call to call.

        Raises
        ------
        DeviceError, DtypeError
            Where its weights live elsewhere or have another precision.
        ParameterError
            Where it is in training mode and has layers that behave differently there.
        """
        module = self._module
        if module is None:
            return
        if lib.name != "torch":
            raise DeviceError(
                f"the network {self.name} works on Torch tensors, but was to work on arrays of {lib.name}; give the "
                f"data as tensors, or oa.compile(..., backend='torch')"
            )
        weight = first_weight(module)
        if weight is not None:
            check_weight(weight, self.name, lib)
        unsteady = unsteady_layer(module)
        if unsteady is not None:
            raise ParameterError(
                f"the network {self.name} is in training mode, where its layer {unsteady} changes from call to call, "
                f"so that there is no one function to solve with; call {self.name}.eval() first"
            )

    def evaluate(self, lib: Backend, x: Any, *more: Any) -> Any:
        """The value at an array."""
        x = x if lib.owns(x) else lib.asarray(x)  # an array without axes may come as a number
        self._check_argument(lib, x)
        recorded = recorded_value(self, x, more)
        if recorded is not None:
            return lib.copy(recorded)
        with unrecorded(lib):
            value = self.forward(lib.copy(x), *(plain_number(m, lib) for m in more))
        if self.total:
            return summed(value, x, self.name, lib)
        return checked(value, x, self.name, lib, self.keeps_shape)

    def recorded(self, x: Any, *more: Any) -> Any:
        """The value at Torch tensors, with what autograd needs."""
        value = self.forward(x, *more)
        return value.sum() if self.total else value

    def _check_argument(self, lib: Backend, x: Any) -> None:
        self.check(lib)
        if lib.kind_of(x) != "complex":
            return
        weight = first_weight(self._module)
        if weight is not None and not weight.is_complex():
            raise DtypeError(
                f"the network {self.name} holds real weights, but was given a complex array; give it a function that "
                f"stacks real and imaginary parts, calls the network, and puts them together again"
            )

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        """The directional derivative, as a node."""
        moved, *strength = tangents
        if any(s is not None for s in strength):
            raise UnsupportedError(
                f"the derivative of {self.name} along a change of its strength is not known; use sol.vjp, which needs "
                f"the transposed one only"
            )
        return None if moved is None else _forward(self, call.arguments, moved, call)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        """The transposed derivative, as a node."""
        x, *strength = call.arguments
        pulled = Call(_Pulled(self), (*call.arguments, cotangent), x.shape, x.kind) if active[0] else None
        by_strength = [
            Call(_PulledToStrength(self), (*call.arguments, cotangent), s.shape, s.kind) if wanted else None
            for s, wanted in zip(strength, active[1:], strict=True)
        ]
        return [pulled, *by_strength]

    def __repr__(self) -> str:
        return self.name


def _forward(of: OpaqueFunction, arguments: Iterable[Expression], d: Expression, like: Expression) -> Expression:
    """The node ``J(x) d``; where J is symmetric, the same node as ``J(x)^T d``."""
    function = _Pulled(of) if of.symmetric and not of.total else _Pushed(of)
    return Call(function, (*arguments, d), like.shape, like.kind)


@dataclass(frozen=True)
class _Pulled(Opaque):
    """``(x, u) -> J(x)^T u``."""

    of: OpaqueFunction
    order = (("back", 0),)

    def evaluate(self, lib: Backend, x: Any, *rest: Any) -> Any:
        of = self.of
        *more, u = rest
        u = lib.asarray(u)
        given = of.transposed or (of.directional if of.symmetric else None)
        if given is not None:
            with unrecorded(lib):
                found = given(lib.copy(x), *(plain_number(m, lib) for m in more), lib.copy(u))
            return checked(found, x, f"the vjp of {of.name}", lib, True)
        if lib.name != "torch":
            raise UnsupportedError(
                f"{of.name} has no derivative on {lib.name}; give vjp=function, where function(x, u) is the transposed "
                f"derivative at x times u, or use Torch"
            )
        at, value, kept = recorded_graph(of, x, tuple(more))
        return or_zero(autograd(value, (at,), u, keep_graph=kept)[0], x)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        (x, *more, u), (moved, *strength, other) = call.arguments, tangents
        if any(s is not None for s in strength):
            raise _beyond(self.of)
        parts = []
        if moved is not None:
            parts.append(Call(_Curved(self.of), (x, *more, u, moved), call.shape, call.kind))
        if other is not None:
            parts.append(Call(_Pulled(self.of), (x, *more, other), call.shape, call.kind))
        return parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else None

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        *arguments, u = call.arguments
        x, *strength = arguments
        if any(active[1:-1]):
            raise _beyond(self.of)
        curved = Call(_Curved(self.of), (*call.arguments, cotangent), x.shape, x.kind) if active[0] else None
        pushed = _forward(self.of, arguments, cotangent, u) if active[-1] else None
        return [curved, *(None for _ in strength), pushed]

    def __repr__(self) -> str:
        return f"{self.of.name}'"


@dataclass(frozen=True)
class _Pushed(Opaque):
    """``(x, d) -> J(x) d``."""

    of: OpaqueFunction
    order = (("along", 0),)

    def evaluate(self, lib: Backend, x: Any, *rest: Any) -> Any:
        of = self.of
        *more, d = rest
        if of.directional is not None:
            with unrecorded(lib):
                found = of.directional(lib.copy(x), *(plain_number(m, lib) for m in more), lib.copy(d))
            return summed(found, x, f"the jvp of {of.name}", lib) if of.total else self._result(found, x, lib)
        if of.total:
            return inner_product(_Pulled(of).evaluate(lib, x, *more, 1.0), d, lib)
        if lib.name != "torch":
            raise UnsupportedError(
                f"{of.name} has no forward derivative on {lib.name}; give jvp=function, where function(x, d) is the "
                f"derivative at x along d, or symmetric=True where the two are the same, or use Torch"
            )
        import torch

        # J d is the derivative of J^T u in u, a linear function, along d: two passes backwards.
        with recording(x) as at:
            if of.transposed is None:
                image = followed(of.recorded(at, *more), of.name)
                u = torch.zeros_like(image, requires_grad=True)
                (pulled,) = autograd(image, (at,), u, create_graph=True)
            else:
                u = torch.zeros_like(at if of.keeps_shape else of.recorded(at.detach(), *more), requires_grad=True)
                pulled = of.transposed(at, *more, u)
            if pulled is None:
                return lib.zeros(tuple(u.shape), lib.kind_of(u))
            if not pulled.requires_grad:
                raise UnsupportedError(f"autograd cannot follow the vjp of {of.name}; give jvp=function as well")
            (moved,) = autograd(pulled, (u,), d)
        return or_zero(moved, u)

    def _result(self, found: Any, x: Any, lib: Backend) -> Any:
        return checked(found, x, f"the jvp of {self.of.name}", lib, self.of.keeps_shape)

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        *arguments, _ = call.arguments
        *moved, other = tangents
        if any(m is not None for m in moved):
            raise _beyond(self.of)
        return None if other is None else _forward(self.of, arguments, other, call)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        *arguments, d = call.arguments
        x, *strength = arguments
        if any(active[1:-1]):
            raise _beyond(self.of)
        curved = Call(_Curved(self.of), (*arguments, cotangent, d), x.shape, x.kind) if active[0] else None
        pulled = Call(_Pulled(self.of), (*arguments, cotangent), d.shape, d.kind) if active[-1] else None
        return [curved, *(None for _ in strength), pulled]

    def __repr__(self) -> str:
        return f"{self.of.name}'"


@dataclass(frozen=True)
class _Curved(Opaque):
    """``(x, u, d) ->`` the derivative of ``J(x)^T u`` in x along d."""

    of: OpaqueFunction
    order = (("back", 0), ("along", 0))

    def evaluate(self, lib: Backend, x: Any, *rest: Any) -> Any:
        of = self.of
        *more, u, d = rest
        u = lib.asarray(u)
        if of.curved is not None:
            with unrecorded(lib):
                found = of.curved(lib.copy(x), *(plain_number(m, lib) for m in more), lib.copy(u), lib.copy(d))
            return checked(found, x, f"the hvp of {of.name}", lib, True)
        if lib.name != "torch":
            raise UnsupportedError(
                f"{of.name} has no second derivative on {lib.name}; give hvp=function, its Hessian products, or use "
                f"Torch"
            )
        with recording(x) as at:
            if of.transposed is None:
                (pulled,) = autograd(followed(of.recorded(at, *more), of.name), (at,), u, create_graph=True)
                if pulled is None or not pulled.requires_grad:
                    return lib.zeros(tuple(x.shape), lib.kind_of(x))
                (curved,) = autograd(pulled, (at,), d)
                return or_zero(curved, x)
            pulled = of.transposed(at, *more, u)
            (curved,) = autograd(pulled, (at,), d) if pulled.requires_grad else (None,)
        if curved is None:  # a vjp that autograd cannot follow, or a linear function: they look alike
            raise UnsupportedError(
                f"autograd cannot follow the vjp of {of.name}; give hvp=function as well, or leave out vjp= for Torch "
                f"to find it"
            )
        return curved.detach()

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        *moved, other = tangents
        if any(m is not None for m in moved):
            raise _beyond(self.of)
        return None if other is None else Call(self, (*call.arguments[:-1], other), call.shape, call.kind)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        if any(active[:-1]):
            raise _beyond(self.of)
        return [*(None for _ in active[:-1]), Call(self, (*call.arguments[:-1], cotangent), call.shape, call.kind)]

    def __repr__(self) -> str:
        return f"{self.of.name}''"


@dataclass(frozen=True)
class _PulledToStrength(Opaque):
    """``(x, s, u) ->`` the transposed derivative in the strength s times u."""

    of: OpaqueFunction
    order = (("back", 1),)

    def evaluate(self, lib: Backend, x: Any, strength: Any, u: Any) -> Any:
        of = self.of
        if lib.name != "torch" or of.transposed is not None:
            raise UnsupportedError(
                f"the derivative of {of.name} in its strength is not known; use a Torch module that takes the strength "
                f"as a tensor, without vjp="
            )
        with recording(lib.asarray(strength)) as s:
            value = of.recorded(x.detach(), s)
            found = autograd(value, (s,), u)[0] if value.requires_grad else None
        if found is None:
            raise UnsupportedError(
                f"autograd cannot follow {of.name} from its strength to its result; let it use the strength as the "
                f"tensor it is given, without float() or detach()"
            )
        return found.detach()

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        raise _beyond(self.of)

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        raise _beyond(self.of)

    def __repr__(self) -> str:
        return f"{self.of.name}'"


def opaque(
    function: Callable[..., Any],
    transposed: Callable[..., Any] | None = None,
    *,
    jvp: Callable[..., Any] | None = None,
    hvp: Callable[..., Any] | None = None,
    **manner: bool,
) -> OpaqueFunction:
    """A callable on arrays as an opaque function.

    Parameters
    ----------
    function, transposed, jvp, hvp : callable
        The function, and the derivatives that `OpaqueFunction` calls transposed, directional and curved.
    **manner
        ``symmetric``, ``total``, ``keeps_shape`` and ``tuned``; see `OpaqueFunction`.

    Raises
    ------
    ParameterError
        Where one of them cannot be called.
    """
    for role, given in (("the function", function), ("vjp", transposed), ("jvp", jvp), ("hvp", hvp)):
        if given is not None and not callable(given):
            raise ParameterError(f"{role} must be a callable on arrays, not {type(given).__name__}")
    if function is None:
        raise ParameterError("the function must be a callable on arrays, not None")
    name = getattr(function, "__name__", None) or type(function).__name__
    return OpaqueFunction(function, transposed, name, jvp, hvp, **manner)


def opaque_functions(*expressions: Expression) -> list[OpaqueFunction]:
    """The opaque functions that expressions call, themselves or their derivatives, each once."""
    calls = [n.function for n in walk(*expressions) if isinstance(n, Call) and isinstance(n.function, Opaque)]
    return list(dict.fromkeys(f for c in calls if (f := function_behind(c)) is not None))


def function_behind(function: Opaque) -> OpaqueFunction | None:
    """The opaque function that a derivative is one of; None for a formula that calls none."""
    current: Any = function
    while current is not None and not isinstance(current, OpaqueFunction):
        current = getattr(current, "of", None)
    return current


def _beyond(of: OpaqueFunction) -> UnsupportedError:
    return UnsupportedError(f"derivatives of {of.name} beyond the second are not known")
