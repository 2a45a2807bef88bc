"""Where the time of a map goes: its data term, its networks, and their derivatives; and the data term's memory."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from opalg.arrays import Backend
from opalg.energies.data_blocks import data_blocks
from opalg.energies.energy import EnergyExpression
from opalg.errors import ParameterError
from opalg.learning.sampled_map import SampledMap
from opalg.nodes import walk
from opalg.program.expression import Call
from opalg.program.opaque import OpaqueFunction
from opalg.program.recordings import recorded_once


@dataclass(frozen=True)
class Profile:
    """Seconds of one iteration forwards and of one backwards, and the memory of the data term.

    Attributes
    ----------
    data, network, rest : float
        Of a forward iteration: the data's gradient, evaluations of networks, and what is left.
    data_back, network_back, rest_back : float
        Of a backward iteration, which is one product with the transposed derivative of the map.
    data_bytes, data_back_bytes : int or None
        The most memory that the data term holds at a time, beside its operator and the data; None where the library
        does not tell.
    """

    data: float
    network: float
    rest: float
    data_back: float
    network_back: float
    rest_back: float
    data_bytes: int | None
    data_back_bytes: int | None

    @property
    def forward(self) -> float:
        """Seconds of a forward iteration."""
        return self.data + self.network + self.rest

    @property
    def backward(self) -> float:
        """Seconds of a backward iteration."""
        return self.data_back + self.network_back + self.rest_back

    @property
    def data_share(self) -> float:
        """The part of a forward and a backward iteration that the data term takes."""
        return (self.data + self.data_back) / (self.forward + self.backward)

    def __repr__(self) -> str:
        lines = [f"Profile: {self.data_share:.0%} of the time in the data term", "             forward      backward"]
        for name in ("data", "network", "rest"):
            one, two = getattr(self, name), getattr(self, f"{name}_back")
            lines.append(f"  {name:<8}{1e3 * one:>9.3f} ms{1e3 * two:>11.3f} ms")
        if self.data_bytes is not None and self.data_back_bytes is not None:
            lines.append(f"  bytes   {self.data_bytes:>12}{self.data_back_bytes:>14}")
        return "\n".join(lines)


def profile(
    plan: Any, x: Any = None, *, params: Any = None, of: EnergyExpression | None = None, repeats: int = 7
) -> Profile:
    """Measure the parts of one iteration of a map.

    Parameters
    ----------
    plan : MapPlan or OnlinePlan
        Of one variable, with the data term's gradient made by `opalg.grad`.
    x : array, optional
        Where; zero by default.
    params : mapping, optional
        Values of parameters.
    of : Energy or Term, optional
        The data term, as for `opalg.online`; an online plan knows it.
    repeats : int
        Of every measurement, of which the median is taken.

    Returns
    -------
    Profile

    Raises
    ------
    ParameterError
        Where repeats is below 1, or the map has no such data term.

    Notes
    -----
    Networks are measured by themselves, at an array of the shape that they are given, and backwards without the
    recorded evaluation that all backward iterations share. Memory is what the library counts: Torch's statistics on
    graphics cards and its profiler elsewhere, `tracemalloc` for NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> import opalg as oa
    >>> x = oa.Variable((8, 8), name="x")
    >>> A = oa.Radon((8, 8), np.linspace(0, np.pi, 12, endpoint=False))
    >>> data = 0.5 / 12 * oa.sum_squares(A @ x - (A @ np.ones((8, 8))))
    >>> found = oa.learning.profile(oa.fixed_point(x, x - 0.2 * oa.grad(data)))
    >>> found.network, 0 < found.data <= found.forward, found.data_bytes > 0
    (0.0, True, True)
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ParameterError(f"a measurement is made at least once: repeats is a positive integer, not {repeats!r}")
    return _Profiler(plan, x, params, of, repeats).run()


class _Profiler:
    def __init__(self, plan: Any, x: Any, params: Any, of: EnergyExpression | None, repeats: int) -> None:
        full = getattr(plan, "full", plan)
        if not hasattr(full, "expressions"):
            raise ParameterError(
                f"a profile is that of a map, made by oa.fixed_point or oa.online, not of {type(plan).__name__}; the "
                f"history of a solution has the seconds of other plans"
            )
        if len(full.variables) != 1:
            raise ParameterError(f"a profile is that of a map of one variable, not of {len(full.variables)}")
        if full is plan:
            self.pieces, self.drawn = data_blocks(full.expressions[0], full.variables[0], of).entire, np.arange(1)
        else:
            self.pieces, self.drawn = plan.pieces, plan.sampler.draw(np.random.default_rng(0), plan.count)
        self.lib: Backend = full.backend
        (self.x,) = full.initial_state(x)
        self.u = (
            self.lib.copy(self.x) if x is not None else self.lib.asarray(np.ones(self.x.shape), full.variables[0].kind)
        )
        binding = full.bind(params)
        self.map = SampledMap(full.variables[0], self.pieces, binding, {})
        self.step, self.repeats = binding.step, repeats

    def run(self) -> Profile:
        total = self.map.gradient(self.x, self.drawn)
        data = self._seconds(lambda: self.map.gradient(self.x, self.drawn))
        around = self._seconds(lambda: self.map.around(self.x, total))
        calls = self._networks()
        network = sum((self._seconds(partial(c[0].evaluate, self.lib, c[1], *c[2])) for c in calls), 0.0)
        with recorded_once():
            both = self._seconds(lambda: self.map.transposed(self.x, self.drawn, self.u))
            data_back = self._seconds(lambda: self.map.pulled_data(self.x, self.drawn, self.u))
            network_back = sum((self._seconds(partial(self._back, c)) for c in calls), 0.0)
        forward_bytes = self._bytes(lambda: self.map.gradient(self.x, self.drawn))
        backward_bytes = self._bytes(lambda: self.map.pulled_data(self.x, self.drawn, self.u))
        rest, rest_back = max(around - network, 0.0), max(both - data_back - network_back, 0.0)
        return Profile(data, network, rest, data_back, network_back, rest_back, forward_bytes, backward_bytes)

    def _networks(self) -> list[tuple[OpaqueFunction, Any, tuple[Any, ...]]]:
        """The networks that the map calls, each with arrays such as it is given."""
        found = []
        for n in walk(self.map.expression):
            if isinstance(n, Call) and isinstance(n.function, OpaqueFunction):
                first, *more = n.arguments
                array = self.x if first.shape == self.x.shape else self.lib.zeros(first.shape, first.kind)
                others = tuple(self.lib.asarray(np.ones(m.shape), m.kind) for m in more)
                found.append((n.function, array, others))
        return found

    def _back(self, call: tuple[OpaqueFunction, Any, tuple[Any, ...]]) -> Any:
        function, array, more = call
        u: Any = 1.0 if function.total else array
        return function.back.evaluate(self.lib, array, *more, u)

    def _seconds(self, call: Callable[[], Any]) -> float:
        call()  # compiles, binds and fills caches
        found = []
        for _ in range(self.repeats):
            self._wait()
            begin = time.perf_counter()
            call()
            self._wait()
            found.append(time.perf_counter() - begin)
        return statistics.median(found)

    def _wait(self) -> None:
        if self.lib.name == "torch" and self.lib.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.lib.device)
        elif self.lib.name == "cupy":
            self.lib.xp.cuda.Device().synchronize()

    def _bytes(self, call: Callable[[], Any]) -> int | None:
        """The most that a call holds at a time, its buffers included."""
        self.map.release()
        if self.lib.name == "torch":
            return _torch_bytes(call, self.lib.device)
        if self.lib.name != "numpy":
            return None
        running = tracemalloc.is_tracing()
        if not running:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        found = tracemalloc.get_traced_memory()[1] - before
        if not running:
            tracemalloc.stop()
        return found


def _torch_bytes(call: Callable[[], Any], device: Any) -> int:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return int(torch.cuda.max_memory_allocated(device) - before)
    with torch.autograd.profiler.profile(profile_memory=True, use_kineto=True, use_cpu=True) as watched:
        call()
    held = most = 0
    for event in watched.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


__all__ = ["Profile", "profile"]
