"""The compiled pieces of a map whose data term is sampled: the map around it, bundles of its blocks, derivatives."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from opalg.emit import BoundFunction, Function
from opalg.energies.affine import Variable
from opalg.energies.data_blocks import DataBlocks
from opalg.implicit.arguments import Request
from opalg.implicit.expressions import pulled
from opalg.nodes import walk
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input


class SampledMap:
    """``S(x, (b / w) sum_i G_i(x))`` at one set of parameter values; a bundle of blocks is bound when first drawn.

    Parameters
    ----------
    variable : Variable
    pieces : DataBlocks
    binding
        Of the full map: knows the library and the values of parameters.
    cache : dict
        Compiled functions that all solutions of a plan share.
    """

    def __init__(self, variable: Variable, pieces: DataBlocks, binding: Any, cache: dict[Hashable, Any]) -> None:
        self.pieces, self.binding, self.lib = pieces, binding, binding.lib
        self.x = Input("x", variable.shape, variable.kind)
        self.total = Input("g", variable.shape, variable.kind)
        self.u = Input("u", variable.shape, variable.kind)
        self._variable, self._cache = variable, cache
        self._bound: dict[Hashable, BoundFunction] = {}
        self._held: tuple[Any, Any] | None = None
        self._first = {bundle[0]: number for number, bundle in enumerate(pieces.bundles)}

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return self.pieces.count

    def gradient(self, x: Any, drawn: np.ndarray) -> Any:
        """The estimate ``(b / w) sum G_i(x)`` of the data's gradient."""
        return self._summed(drawn, lambda i: self._block(i)(x)[0])

    def around(self, x: Any, total: Any) -> Any:
        """``S(x, g)``; a fresh array."""
        return self._call("around", lambda: ([self._around()], [self.x, self.total]))(x, total)[0]

    def step(self, x: Any, drawn: np.ndarray) -> Any:
        """``T`` with the data's gradient estimated from the blocks drawn."""
        return self.around(x, self.gradient(x, drawn))

    def transposed(self, x: Any, drawn: np.ndarray, u: Any) -> Any:
        """The transposed derivative of `step` at x, times u; what a projection holds is judged from all blocks."""
        direct, pull = self._back(x, u)
        return self.lib.add(direct, self.pulled_data(x, drawn, pull))

    def pulled(self, x: Any, drawn: np.ndarray, u: Any, request: Request) -> list[Any]:
        """The transposed derivative of `step` in parameters, times u."""
        total = self._total_at(x)
        key = tuple(request.leaves)

        def around() -> Any:
            found = pulled(request.enter([self._around()]), [self.u], [*request.leaves, self.total])
            return found, [self.x, self.total, self.u]

        *values, pull = (self.lib.copy(v) for v in self._call(("pull", key), around)(x, total, u))
        if not self._in_blocks(request):
            return values
        scale = self.count / len(drawn)
        for i in self._bundles(drawn):
            found = self._call(("block pull", key, i), lambda i=i: self._block_pull(i, request))(x, pull)
            values = [self.lib.add(v, self.lib.multiply(f, scale)) for v, f in zip(values, found, strict=True)]
        return values

    def part(self, number: int, x: Any) -> Any:
        """The gradient of one bundle of blocks, unscaled; a buffer that the next call may overwrite."""
        return self._block(number)(x)[0]

    def pulled_data(self, x: Any, drawn: np.ndarray, u: Any) -> Any:
        """The transposed derivative of `gradient` at x, times u."""
        return self._summed(drawn, lambda i: self._block_back(i)(x, u)[0])

    def pulled_parts(self, x: Any, u: Any) -> list[Any]:
        """What each bundle by itself adds to the transposed derivative of `step`, times u; unscaled."""
        _, pull = self._back(x, u)
        return [self.lib.copy(self._block_back(i)(x, pull)[0]) for i in range(len(self.pieces.parts))]

    def release(self) -> None:
        """Let go of all buffers."""
        for bound in self._bound.values():
            bound.release()

    @property
    def expression(self) -> Expression:
        """``S(x, g)`` in the step language."""
        return self._around()

    # Pieces.

    def _back(self, x: Any, u: Any) -> tuple[Any, Any]:
        """The transposed derivatives of ``S`` in x and in g, times u."""
        direct, pull = self._call("back", self._back_recipe)(x, self._total_at(x), u)
        return self.lib.copy(direct), self.lib.copy(pull)

    def _total_at(self, x: Any) -> Any:
        """The data's gradient from all blocks, where the derivative of ``S`` depends on it; computed once at a point.

        It decides what a projection holds, which at one point is the same for all draws.
        """
        if not self._bends:
            return self._nothing
        if self._held is None or self._held[0] is not x:
            self._held = (x, self.lib.copy(self.gradient(x, np.arange(self.count))))
        return self._held[1]

    @property
    def _bends(self) -> bool:
        """Whether the derivative of the map depends on the data's gradient, as that of a projection does."""
        if "bends" not in self._cache:
            outputs, _ = self._back_recipe()
            self._cache["bends"] = any(n is self.total for n in walk(*outputs))
        return bool(self._cache["bends"])

    def _in_blocks(self, request: Request) -> bool:
        """Whether a block of the data depends on what a gradient is wanted in."""
        key = ("in blocks", tuple(request.leaves))
        if key not in self._cache:
            entered = request.enter([self._traced(i) for i in range(len(self.pieces.parts))])
            leaves = {id(p) for p in request.leaves}
            self._cache[key] = any(id(n) in leaves for n in walk(*entered))
        return bool(self._cache[key])

    @property
    def _nothing(self) -> Any:
        return self.lib.zeros(self.total.shape, self.total.kind)

    def _summed(self, drawn: np.ndarray, evaluate: Any) -> Any:
        found = None
        for i in self._bundles(drawn):
            part = evaluate(i)
            found = self.lib.copy(part) if found is None else self.lib.add(found, part, out=found)
        scale = self.count / len(drawn)
        return found if scale == 1.0 else self.lib.multiply(found, scale)

    def _bundles(self, drawn: np.ndarray) -> list[int]:
        """The bundles that were drawn, each as often as its first block."""
        return [self._first[i] for i in drawn.tolist() if i in self._first]

    def _block(self, i: int) -> BoundFunction:
        return self._call(("block", i), lambda: ([self._traced(i)], [self.x]))

    def _block_back(self, i: int) -> BoundFunction:
        return self._call(("block back", i), lambda: (pulled([self._traced(i)], [self.u], [self.x]), [self.x, self.u]))

    def _block_pull(self, i: int, request: Request) -> tuple[list[Expression], list[Input]]:
        return pulled(request.enter([self._traced(i)]), [self.u], request.leaves), [self.x, self.u]

    def _back_recipe(self) -> tuple[list[Expression], list[Input]]:
        return pulled([self._around()], [self.u], [self.x, self.total]), [self.x, self.total, self.u]

    def _around(self) -> Expression:
        point = {self._variable: self.x, self.pieces.total: self.total}
        return ex.broadcast_to(self.pieces.around.trace(point), self.x.shape)

    def _traced(self, i: int) -> Expression:
        return ex.broadcast_to(self.pieces.parts[i].trace({self._variable: self.x}), self.x.shape)

    def _call(self, key: Hashable, recipe: Any) -> BoundFunction:
        if key not in self._bound:
            if key not in self._cache:
                outputs, inputs = recipe()
                self._cache[key] = Function(list(outputs), list(inputs), self.lib, "sampled")
            self._bound[key] = self.binding.bound(self._cache[key])
        return self._bound[key]


__all__ = ["SampledMap"]
