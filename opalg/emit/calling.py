"""Calls of single expressions: ``f.prox(array, t)`` and ``A @ array``, compiled once and kept for the next time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from threading import Lock
from typing import Any
from weakref import WeakSet

from opalg.arrays.backend import Backend
from opalg.emit.function import BoundFunction, Function
from opalg.program.expression import Expression, Input

_KEPT = 256
_LARGE = 1 << 24  # bytes of buffers above which they are not kept

_cache: OrderedDict[tuple[Any, ...], tuple[BoundFunction, Lock]] = OrderedDict()
_cache_lock = Lock()


def call(outputs: Sequence[Expression], inputs: Sequence[Input], arrays: Sequence[Any], lib: Backend) -> list[Any]:
    """The values of expressions at given arrays.

    Parameters
    ----------
    outputs : sequence of Expression
        What to compute.
    inputs : sequence of Input
        The inputs that the outputs use.
    arrays : sequence of array or float
        A value for each input, arrays of ``lib``.
    lib : Backend
        Where to compute.

    Returns
    -------
    list of arrays of ``lib`` that share no memory with the inputs; scalars are arrays without axes.
    """
    bound, lock = _bound(tuple(outputs), tuple(inputs), tuple(arrays), lib)
    controls, states = {}, []
    for e, value in zip(inputs, arrays, strict=True):
        if e.role == "control":
            controls[e] = value
        else:
            states.append(value)
    with lock:
        bound.set_controls(controls)
        found = bound(*states)
        if bound.cost.buffers > _LARGE:
            bound.release()
    return [lib.asarray(v, e.kind) if e.shape == () else v for v, e in zip(found, outputs, strict=True)]


def _bound(
    outputs: tuple[Expression, ...], inputs: tuple[Input, ...], arrays: tuple[Any, ...], lib: Backend
) -> tuple[BoundFunction, Lock]:
    key = (outputs, inputs, lib.key)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    controls = {e: v for e, v in zip(inputs, arrays, strict=True) if e.role == "control"}
    made = Function(outputs, inputs, lib).bind({}, controls), Lock()
    with _cache_lock:
        _cache[key] = made
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return made


class Prepared:
    """A compiled function of one array, for calls that must cost little; the least recently used ones are unloaded.

    Parameters
    ----------
    output : Expression
        What to compute.
    argument : Input
        Its only input.
    lib : Backend
        Where to compute.
    """

    def __init__(self, output: Expression, argument: Input, lib: Backend) -> None:
        self.output, self.argument, self.lib = output, argument, lib
        self._lock = Lock()
        self._bound: BoundFunction | None = None
        self._releases, self._wraps = False, False
        self.last_use = 0

    def __call__(self, x: Any) -> Any:
        """The value at an array of the shape, kind, library and precision of the argument; it shares no memory."""
        with self._lock:
            bound = self._bound or self._load()
            self.last_use = next(_clock)
            found = bound(x)[0]
            if self._releases:
                bound.release()
        return self.lib.asarray(found, self.output.kind) if self._wraps else found

    def _load(self) -> BoundFunction:
        bound = Function((self.output,), (self.argument,), self.lib).bind()
        self._bound, self._releases = bound, bound.cost.buffers > _LARGE
        self._wraps = self.output.shape == () and bound.function.dialect.numbers
        self.last_use = next(_clock)
        with _cache_lock:
            _prepared.add(self)
            while len(_prepared) > _KEPT:
                oldest = min(_prepared, key=lambda p: p.last_use)
                oldest._bound = None
                _prepared.discard(oldest)
        return bound


_prepared: WeakSet[Prepared] = WeakSet()
_clock = count(1)
