"""Weights of networks as a leaf of the step language, so that derivatives in them are derivatives like any other.

Solving calls networks as they are: their weights are no part of a program. Where a gradient in weights is wanted, the
calls of opaque functions in a graph are replaced by calls that take the weights, as one vector, for an argument more
(`NetworkWeights.enter`). Torch's autograd evaluates these calls, and their derivatives of every order: the derivative
of a call along an argument, or its transpose, is a call again. Whenever such a call is evaluated, it takes the weights
that its modules have then, so that compiled pieces outlive the steps of an optimiser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opalg.arrays import Backend
from opalg.errors import DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.leaves import Constant
from opalg.nodes import fold
from opalg.program.expression import Call, Expression
from opalg.program.opaque import Opaque, OpaqueFunction, function_behind, opaque_functions
from opalg.program.opaque_arrays import autograd, checked, module_of, summed
from opalg.program.recordings import open_recordings


class NetworkWeights:
    """The weights of Torch modules in which derivatives are wanted, as one vector.

    Parameters
    ----------
    wanted : sequence of torch.nn.Module and torch.nn.Parameter
        A module stands for its weights that require a gradient.
    expressions : sequence of Expression
        Where the networks are called; modules are looked for here that single weights belong to.

    Attributes
    ----------
    leaf : Constant
        Stands for the vector in graphs; where the graph is evaluated, the weights have the values of their modules.
    tensors : tuple of torch.nn.Parameter
        The weights, in the order of their entries in the vector.
    used : bool
        Whether a network of the expressions may depend on them.

    Raises
    ------
    ParameterError
        For what is neither module nor weight, weights that no network of the expressions holds, and modules whose
        weights are all frozen.
    DtypeError
        For weights of different dtypes.
    """

    def __init__(self, wanted: Sequence[Any], expressions: Sequence[Expression]) -> None:
        self.functions = opaque_functions(*expressions)
        given = [w for w in wanted if is_module(w)]
        known = [m for f in self.functions if (m := module_of(f.forward)) is not None]
        self.modules = tuple(dict.fromkeys([*given, *known]))
        by_tensor = {id(t): f"{i}.{n}" for i, m in reversed(list(enumerate(self.modules))) for n, t in _named(m)}
        found = [t for key in wanted for t in tensors_of(key)]
        self.tensors = tuple({id(t): t for t in found}.values())
        lost = next((t for t in self.tensors if id(t) not in by_tensor), None)
        if lost is not None:
            raise ParameterError(
                f"a tensor of shape {tuple(lost.shape)} is no weight of a network in this energy; where a function "
                f"calls the network, say which module holds it: wrt=module"
            )
        self.names = tuple(by_tensor[id(t)] for t in self.tensors)
        self.shapes = tuple(tuple(t.shape) for t in self.tensors)
        self.leaf = Constant(_joined(self.tensors), "weights", copy=False)
        self.used = any(self._reaches(f) for f in self.functions)

    def _reaches(self, function: OpaqueFunction) -> bool:
        """Whether a function may depend on the weights: a module that holds one, or a function that may call any."""
        module = module_of(function.forward)
        if module is None:
            return True
        own = {id(t) for _, t in _named(module)}
        return any(id(t) in own for t in self.tensors)

    def enter(self, expressions: Sequence[Expression]) -> list[Expression]:
        """The expressions with the weights as a leaf, in which `opalg.program.differentiate` differentiates."""
        kept = fold(self._entered, *expressions)
        return [kept[e] for e in expressions]  # type: ignore[misc]

    def _entered(self, current: Any, done: dict[Any, Any]) -> Any:
        rebuilt = current.rebuild(lambda child: done[child])
        if not isinstance(rebuilt, Call) or not isinstance(rebuilt.function, Opaque):
            return rebuilt
        base = function_behind(rebuilt.function)
        if base is None or isinstance(rebuilt.function, _Recorded) or not self._reaches(base):
            return rebuilt
        recorded: _Recorded = _Weighted(base, self.modules, self.names, self.shapes)
        for direction, index in rebuilt.function.order:
            recorded = _Back(recorded, index) if direction == "back" else _Along(recorded, index)
        split = 2 if base.tuned else 1
        arguments = (*rebuilt.arguments[:split], self.leaf, *rebuilt.arguments[split:])
        return Call(recorded, arguments, rebuilt.shape, rebuilt.kind)

    def split(self, vector: Any) -> dict[Any, Any]:
        """A vector of as many entries as a mapping from weight to array of its shape."""
        return dict(zip(self.tensors, _parts(vector, self.shapes), strict=True))

    def join(self, arrays: Mapping[Any, Any]) -> Any:
        """Arrays by weight as one vector, zero for weights without one.

        Raises
        ------
        ShapeError
            For an array of another shape than its weight.
        """
        import torch

        by_tensor = {id(t): a for t, a in arrays.items()}
        for tensor in self.tensors:
            found = by_tensor.get(id(tensor))
            if found is not None and tuple(found.shape) != tuple(tensor.shape):
                raise ShapeError(
                    f"the direction of a weight of shape {tuple(tensor.shape)} has the shape {tuple(found.shape)}"
                )
        return _joined([by_tensor.get(id(t), torch.zeros_like(t)) for t in self.tensors])


def is_module(value: Any) -> bool:
    """Whether it is a Torch module itself."""
    return value is not None and module_of(value) is value


def is_weight(value: Any) -> bool:
    """Whether it is a weight of a Torch module: a ``torch.nn.Parameter``."""
    return any(c.__name__ == "Parameter" and c.__module__.startswith("torch.") for c in type(value).__mro__)


def modules_of(*expressions: Expression) -> list[Any]:
    """The Torch modules that opaque functions of expressions are, or are methods of, each once.

    Modules that a plain function calls are not seen.
    """
    found = (module_of(f.forward) for f in opaque_functions(*expressions))
    return list({id(m): m for m in found if m is not None}.values())


def _named(module: Any) -> Iterator[tuple[str, Any]]:
    return module.named_parameters()  # type: ignore[no-any-return]


def tensors_of(key: Any) -> list[Any]:
    """The weights that a module, or a weight itself, stands for."""
    if is_weight(key):
        return [key]
    if not is_module(key):
        raise ParameterError(f"weights are named by a torch.nn.Module or a torch.nn.Parameter, not {key!r}")
    tensors = [t for _, t in _named(key)]
    free = [t for t in tensors if t.requires_grad]
    if tensors and not free:
        raise ParameterError(
            f"all weights of the network {type(key).__name__} are frozen; call module.requires_grad_(True) first"
        )
    if not free:
        raise ParameterError(f"the network {type(key).__name__} has no weights to differentiate in")
    return free


def _joined(tensors: Sequence[Any]) -> Any:
    """One vector of the entries of tensors, without their graphs."""
    import torch

    kinds = {str(t.dtype) for t in tensors}
    if len(kinds) > 1:
        raise DtypeError(
            f"the weights have the dtypes {', '.join(sorted(kinds))}; a gradient is taken in weights of one dtype at a "
            f"time, so name those of each apart"
        )
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def _parts(vector: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    parts, start = [], 0
    for shape in shapes:
        size = 1
        for n in shape:
            size *= n
        parts.append(vector[start : start + size].reshape(shape))
        start += size
    return parts


class _Recorded(Opaque):
    """A function of tensors that autograd follows, in all of them; its derivatives are of the same sort."""

    of: Any

    def record(self, *tensors: Any) -> Any:
        """The value, with what autograd needs."""
        raise NotImplementedError

    @property
    def base(self) -> _Weighted:
        """The network underneath."""
        found: _Weighted = self.of.base
        return found

    def evaluate(self, lib: Backend, *arrays: Any) -> Any:
        base = self.base.of
        if lib.name != "torch":
            raise UnsupportedError(
                f"the derivative of {base.name} in its weights is found by Torch only, not {lib.name}"
            )
        base.check(lib)
        import torch

        with torch.inference_mode(False), torch.enable_grad():
            x, *rest = (a if lib.owns(a) else lib.asarray(a) for a in arrays)
            rest[base.tuned] = self.base.vector
            tensors = [x.detach().clone(), *(r.detach() for r in rest)]
            found = self.record(*(t.requires_grad_(True) for t in tensors)).detach()
        return self.finished(found, x, lib)

    def finished(self, found: Any, x: Any, lib: Backend) -> Any:
        """The result as it is handed out."""
        return lib.copy(lib.asarray(found))

    def push(self, call: Call, tangents: list[Expression | None]) -> Expression | None:
        moved: Expression | None = None
        for index, tangent in enumerate(tangents):
            if tangent is not None:
                part = Call(_Along(self, index), (*call.arguments, tangent), call.shape, call.kind)
                moved = part if moved is None else moved + part
        return moved

    def pull(self, call: Call, cotangent: Expression, active: list[bool]) -> list[Expression | None]:
        return [
            Call(_Back(self, i), (*call.arguments, cotangent), a.shape, a.kind) if wanted else None
            for i, (a, wanted) in enumerate(zip(call.arguments, active, strict=True))
        ]


@dataclass(frozen=True)
class _Weighted(_Recorded):
    """``(x, strength, weights) ->`` the network with these weights at x."""

    of: OpaqueFunction
    modules: tuple[Any, ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def base(self) -> _Weighted:
        return self

    @property
    def tensors(self) -> list[Any]:
        """The weights themselves."""
        named = {f"{i}.{n}": t for i, m in enumerate(self.modules) for n, t in _named(m)}
        return [named[n] for n in self.names]

    @property
    def vector(self) -> Any:
        """The weights as they are now."""
        return _joined(self.tensors)

    def record(self, *tensors: Any) -> Any:
        import torch

        *values, vector = tensors
        weights = {f"modules_.{n}": p for n, p in zip(self.names, _parts(vector, self.shapes), strict=True)}
        holder = _holder_of(self.modules, self.of.recorded)
        return torch.func.functional_call(holder, weights, tuple(values), strict=False)

    def finished(self, found: Any, x: Any, lib: Backend) -> Any:
        if self.of.total:
            return summed(found, x, self.of.name, lib)
        return checked(found, x, self.of.name, lib, self.of.keeps_shape)

    def __repr__(self) -> str:
        return self.of.name


@dataclass(frozen=True)
class _Back(_Recorded):
    """``(arguments, u) ->`` the transposed derivative of a function in one argument, times u."""

    of: _Recorded
    index: int

    def evaluate(self, lib: Backend, *arrays: Any) -> Any:
        base, kept = self.of, open_recordings()
        if lib.name != "torch" or kept is None or not isinstance(base, _Weighted) or self.index != 1 + base.of.tuned:
            return super().evaluate(lib, *arrays)
        weights = base.tensors
        if not all(w.requires_grad for w in weights):
            return super().evaluate(lib, *arrays)
        import torch

        x, *strength = (a if lib.owns(a) else lib.asarray(a) for a in arrays[: self.index])
        _, value = kept.graph(base.of, x, tuple(strength))
        found = autograd(value, weights, lib.asarray(arrays[-1]).expand_as(value), keep_graph=True)
        return _joined([torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)])

    def record(self, *tensors: Any) -> Any:
        import torch

        *arguments, u = tensors
        value, at = self.of.record(*arguments), arguments[self.index]
        found = autograd(value, (at,), u.expand_as(value), create_graph=True)[0] if value.requires_grad else None
        return torch.zeros_like(at) if found is None else found

    def __repr__(self) -> str:
        return f"{self.of!r}'"


@dataclass(frozen=True)
class _Along(_Recorded):
    """``(arguments, d) ->`` the derivative of a function when one argument moves along d."""

    of: _Recorded
    index: int

    def record(self, *tensors: Any) -> Any:
        import torch

        *arguments, d = tensors
        value, at = self.of.record(*arguments), arguments[self.index]
        u = torch.zeros_like(value).requires_grad_(True)
        pulled = autograd(value, (at,), u, create_graph=True)[0] if value.requires_grad else None
        # J d is the derivative of J^T u in u, a linear function, along d: two passes backwards.
        moved = None
        if pulled is not None and pulled.requires_grad:
            moved = autograd(pulled, (u,), d.expand_as(pulled), create_graph=True)[0]
        return torch.zeros_like(value) if moved is None else moved

    def __repr__(self) -> str:
        return f"{self.of!r}'"


def _holder_of(modules: Sequence[Any], function: Any) -> Any:
    """A module that calls a function, so that weights of modules can be lent to the call."""
    import torch

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.modules_ = torch.nn.ModuleList(modules)

        def forward(self, *values: Any) -> Any:
            return function(*values)

    return Holder()


__all__ = ["NetworkWeights", "is_module", "is_weight", "modules_of", "tensors_of"]
