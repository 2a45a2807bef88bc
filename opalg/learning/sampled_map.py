"""The compiled pieces of a map whose data term is sampled: the map around it, its blocks, and their derivatives."""

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
    """``S(x, (b / w) sum_i G_i(x))`` at one set of parameter values; a block is bound when it is first drawn.

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

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.pieces.blocks)

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
        """The transposed derivative of `step` at x, times u."""
        total = self.gradient(x, drawn) if self._bends else self._nothing
        direct, pull = self._call("back", self._back_recipe)(x, total, u)
        direct, pull = self.lib.copy(direct), self.lib.copy(pull)
        return self.lib.add(direct, self._summed(drawn, lambda i: self._block_back(i)(x, pull)[0]))

    def pulled(self, x: Any, drawn: np.ndarray, u: Any, request: Request) -> list[Any]:
        """The transposed derivative of `step` in parameters, times u."""
        total = self.gradient(x, drawn) if self._bends else self._nothing
        key = tuple(request.leaves)

        def around() -> Any:
            found = pulled(request.enter([self._around()]), [self.u], [*request.leaves, self.total])
            return found, [self.x, self.total, self.u]

        *values, pull = (self.lib.copy(v) for v in self._call(("pull", key), around)(x, total, u))
        if not self._in_blocks(request):
            return values
        scale = self.count / len(drawn)
        for i in drawn:
            found = self._call(("block pull", key, int(i)), lambda i=i: self._block_pull(int(i), request))(x, pull)
            values = [self.lib.add(v, self.lib.multiply(f, scale)) for v, f in zip(values, found, strict=True)]
        return values

    # Pieces.

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
            entered = request.enter([self._traced(i) for i in range(self.count)])
            leaves = {id(p) for p in request.leaves}
            self._cache[key] = any(id(n) in leaves for n in walk(*entered))
        return bool(self._cache[key])

    @property
    def _nothing(self) -> Any:
        return self.lib.zeros(self.total.shape, self.total.kind)

    def _summed(self, drawn: np.ndarray, evaluate: Any) -> Any:
        found = None
        for i in drawn:
            part = evaluate(int(i))
            found = self.lib.copy(part) if found is None else self.lib.add(found, part, out=found)
        scale = self.count / len(drawn)
        return found if scale == 1.0 else self.lib.multiply(found, scale)

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
        return ex.broadcast_to(self.pieces.blocks[i].trace({self._variable: self.x}), self.x.shape)

    def _call(self, key: Hashable, recipe: Any) -> BoundFunction:
        if key not in self._bound:
            if key not in self._cache:
                outputs, inputs = recipe()
                self._cache[key] = Function(list(outputs), list(inputs), self.lib, "sampled")
            self._bound[key] = self.binding.bound(self._cache[key])
        return self._bound[key]


__all__ = ["SampledMap"]
