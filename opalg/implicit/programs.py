"""The compiled pieces of an equation: made once for a plan, bound once for a solution, called again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.emit import BoundFunction, Function
from opalg.leaves import Parameter
from opalg.nodes import substitute
from opalg.program.expression import Expression, Input
from opalg.solving.loop import quiet

Recipe = Callable[[], tuple[Sequence[Expression], Sequence[Input]]]


class Programs:
    """Functions of an equation at one set of parameter values.

    Parameters
    ----------
    lib : Backend
        Where they compute.
    bind : callable
        ``(function, controls, held=None) -> BoundFunction``, with the parameter values of a solve, and values of
        further leaves.
    functions : dict
        The compiled functions so far, shared by all solutions of a plan.
    controls : mapping from Input to float
        Values of control inputs.
    """

    def __init__(
        self,
        lib: Backend,
        bind: Callable[..., BoundFunction],
        functions: dict[Hashable, Any],
        controls: Mapping[Input, float],
    ) -> None:
        self.lib, self.controls = lib, dict(controls)
        self._bind, self._functions = bind, functions
        self._bound: dict[Hashable, BoundFunction] = {}

    def __call__(self, key: Hashable, recipe: Recipe, *arrays: Any) -> list[Any]:
        """Evaluate the function of that name, compiled from its recipe when it is first asked for.

        Its buffers are let go, since most pieces are evaluated once; products in a loop use `bound`.
        """
        found = list(self.bound(key, recipe)(*arrays))
        if key in self._bound:
            self._bound[key].release()
        return found

    def bound(self, key: Hashable, recipe: Recipe) -> Callable[..., tuple[Any, ...]]:
        """The function of that name with its data; not to be called from two threads at once.

        It keeps its buffers until `release`.
        """
        if key not in self._functions:
            self._functions[key] = self._compiled(*recipe())
        function = self._functions[key]
        if isinstance(function, Selection):
            return function
        if key not in self._bound:
            self._bound[key] = self._bind(function, self.controls)
        return self._call(self._bound[key])

    def _compiled(self, outputs: Sequence[Expression], inputs: Sequence[Input]) -> Function | Selection:
        if all(o.shape and any(o is i for i in inputs) for o in outputs):
            return Selection([list(inputs).index(o) for o in outputs], self.lib)  # type: ignore[arg-type]
        return Function(list(outputs), [*inputs, *self.controls], self.lib, "gradient", lean=True)

    def held(
        self, key: Hashable, recipe: Recipe, point: Sequence[Input], arrays: Sequence[Any]
    ) -> Callable[..., tuple[Any, ...]]:
        """The function of that name at values of its first inputs, to be called with the others.

        What follows from the values alone is computed here and now, and not again with every product.
        """
        name = ("held", key)
        if name not in self._functions:
            outputs, inputs = recipe()
            leaves = {i: _stand_in(i) for i in point}
            free = [i for i in inputs if i not in leaves]
            held = [substitute(e, leaves) for e in outputs]
            function = Function(held, [*free, *self.controls], self.lib, "gradient", lean=True)
            self._functions[name] = (function, tuple(leaves.values()))
        function, parameters = self._functions[name]
        self._bound[name] = self._bind(function, self.controls, dict(zip(parameters, arrays, strict=True)))
        return self._call(self._bound[name])

    def _call(self, found: BoundFunction) -> Callable[..., tuple[Any, ...]]:
        lib = self.lib
        scalars = [i for i, e in enumerate(found.function.outputs) if e.shape == ()]
        if lib.name == "torch" and not scalars:  # Torch warns of nothing
            return found

        def call(*arrays: Any) -> tuple[Any, ...]:
            with quiet():  # on held entries curvatures overflow before a mask removes them
                results = found(*arrays)
            if not scalars:
                return results
            return tuple(r if hasattr(r, "shape") else lib.asarray(r) for r in results)

        return call

    def release(self) -> None:
        """Let go of the buffers of all functions."""
        for bound in self._bound.values():
            bound.release()


class Selection:
    """A program that hands out some of its inputs, as most read-outs do: there is nothing to compile or to bind."""

    def __init__(self, places: Sequence[int], lib: Backend) -> None:
        self.places, self.lib = tuple(places), lib

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Copies, since results of programs share no memory with what they are given."""
        return tuple(self.lib.copy(arrays[i]) for i in self.places)


def _stand_in(node: Input) -> Parameter:
    """A leaf of the shape and kind of an input; its value takes no memory and is never used."""
    zero = np.zeros((), complex if node.kind == "complex" else float)
    return Parameter(np.broadcast_to(zero, node.shape), copy=False)


Arrays = list[Any]


def plus(a: Sequence[Any], b: Sequence[Any], lib: Backend) -> Arrays:
    """``a + b``, part by part."""
    return [lib.add(p, q) for p, q in zip(a, b, strict=True)]


def minus(a: Sequence[Any], b: Sequence[Any], lib: Backend) -> Arrays:
    """``a - b``, part by part."""
    return [lib.subtract(p, q) for p, q in zip(a, b, strict=True)]


def times(factor: float, a: Sequence[Any], lib: Backend) -> Arrays:
    """``factor * a``, part by part."""
    return [lib.multiply(p, factor) for p in a]


def size(a: Sequence[Any], lib: Backend) -> float:
    """The Euclidean norm of a tuple of arrays, safe against overflow and underflow of the squares."""
    largest = max((float(lib.item(lib.xp.max(lib.xp.abs(p))).real) for p in a if 0 not in p.shape), default=0.0)
    if largest == 0.0 or largest != largest or largest == float("inf"):
        return largest
    return largest * sqrt(sum(float(lib.item(lib.xp.sum(lib.xp.abs(p / largest) ** 2)).real) for p in a))


def is_zero(a: Sequence[Any], lib: Backend) -> bool:
    """Whether every entry is exactly zero."""
    return not any(bool(lib.xp.any(p != 0)) for p in a)


def zeros(nodes: Sequence[Any], lib: Backend) -> Arrays:
    """Zero arrays of the shapes and kinds of nodes."""
    return [lib.zeros(n.shape, n.kind) for n in nodes]
