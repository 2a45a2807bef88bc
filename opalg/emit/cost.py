"""What a step costs, counted from its program: transforms, passes over memory, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from opalg.arrays.backend import Backend
from opalg.emit.fuse import Barrier, Schedule, Sweep, arguments_of
from opalg.emit.plan import Plan, kernel_of
from opalg.program.expression import Apply, Expression


@dataclass(frozen=True)
class Cost:
    """The work of one call of a program.

    Attributes
    ----------
    transforms : int
        Fast transforms.
    passes : float
        Arrays read or written from one end to the other, transforms left out; a sweep counts each of its arrays once.
    traffic : int
        Bytes that those passes move.
    buffers : int
        Bytes of planned buffers.
    """

    transforms: int
    passes: float
    traffic: int
    buffers: int

    def __str__(self) -> str:
        return (
            f"{self.transforms} transforms, {self.passes:g} passes over memory ({_size(self.traffic)}), "
            f"{_size(self.buffers)} of buffers"
        )


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return ""


def bytes_of(shape: Sequence[int], kind: str, lib: Backend) -> int:
    """The bytes of an array of that shape and kind."""
    real = 4 if lib.precision == "float32" else 8
    return prod(shape) * {"real": real, "complex": 2 * real, "bool": 1}[kind]


def count(schedule: Schedule, plan: Plan, outputs: Sequence[Expression], lib: Backend) -> Cost:
    """Count the work of a scheduled program.

    A barrier reads its arguments and writes its result; a kernel that says it makes more passes counts those too.
    """
    transforms, passes, traffic = 0, 0.0, 0.0
    for index, step in enumerate(schedule.steps):
        if isinstance(step, Sweep):
            arrays = _swept_arrays(step, index, schedule, outputs)
            passes += len(arrays)
            traffic += sum(bytes_of(a.shape, a.kind, lib) for a in arrays)
        elif isinstance(step, Barrier):
            n = step.node
            factor = 1.0
            if isinstance(n, Apply):
                kernel = kernel_of(n)
                transforms += kernel.transforms
                factor = kernel.passes if kernel.transforms == 0 else 0.0
            arrays = [a for a in (*arguments_of(n), n) if a.shape]
            passes += factor * len(arrays)
            traffic += factor * sum(bytes_of(a.shape, a.kind, lib) for a in arrays)
    for i, output in enumerate(outputs):
        if output.shape and (output in outputs[:i] or output not in plan.places):
            passes, traffic = passes + 2, traffic + 2 * bytes_of(output.shape, output.kind, lib)
    return Cost(transforms, passes, int(traffic), sum(bytes_of(s, k, lib) for s, k in plan.buffers))


def _swept_arrays(step: Sweep, index: int, schedule: Schedule, outputs: Sequence[Expression]) -> list[Expression]:
    """The arrays that a sweep reads from or writes to memory."""
    inside = set(step.order)
    read = {schedule.root(a) for n in step.order for a in arguments_of(n)}
    later = set(outputs)
    for other in schedule.steps[index + 1 :]:
        for n in other.order if isinstance(other, Sweep) else [other.node]:
            later.update(schedule.root(a) if isinstance(other, Sweep) else a for a in arguments_of(n))
    written = inside & later
    return [a for a in (*(read - inside), *written) if a.shape]
