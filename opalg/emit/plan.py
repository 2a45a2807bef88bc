"""The memory plan: where every value lives, decided once, so that a step allocates nothing.

Values that outlive their sweep get whole buffers, reused by shape and kind once they are dead; values inside a sweep
get scratch of block size. A fused result may be written over an argument that dies with it, which also covers the fresh
arrays that transforms return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opalg.emit.fuse import Barrier, Scalar, Schedule, Sweep, arguments_of, is_view
from opalg.program.expression import Apply, Call, Expression, Join, Pointwise, Reduce, Shape
from opalg.program.linear import Kernel

Slot = tuple[Shape, str]  # shape and kind


@dataclass
class Place:
    """Where a value lives.

    Attributes
    ----------
    name : str
        The variable in the generated code.
    whole : bool
        Whether the variable is a whole array, to be sliced inside a loop over blocks; False for scratch and numbers.
    owned : bool
        Whether the program may write over it once the value is dead.
    pooled : Slot or None
        The kind of planned buffer it is.
    """

    name: str
    whole: bool = True
    owned: bool = False
    pooled: Slot | None = None


@dataclass
class Part:
    """The box of a result array that is one of the values laid end to end: ``name = o0[box]``."""

    name: str
    output: int
    box: str


@dataclass
class Plan:
    """Places of all values and the buffers to allocate.

    Attributes
    ----------
    places : dict from Expression to Place
        Where each computed value lives after it was computed.
    buffers : list of Slot
        The buffers ``b0, b1, ...``.
    spare : dict from Expression to Place
        For reductions gathered over blocks into an array: room for the sum of one block.
    scratch : dict from Expression to list of Place
        The room that kernels ask for while they run.
    given : dict from int to Expression
        The outputs computed directly in a result array ``o0, o1, ...``, by position.
    parts : dict from Expression to Part
        The values computed directly in a part of a result, which joins them.
    """

    places: dict[Expression, Place] = field(default_factory=dict)
    buffers: list[Slot] = field(default_factory=list)
    spare: dict[Expression, Place] = field(default_factory=dict)
    scratch: dict[Expression, list[Place]] = field(default_factory=dict)
    given: dict[int, Expression] = field(default_factory=dict)
    parts: dict[Expression, Part] = field(default_factory=dict)


def kernel_of(e: Apply) -> Kernel:
    """The kernel that an `Apply` calls."""
    return e.operator.adjoint_kernel() if e.adjoint else e.operator.kernel()


def gathers(sweep: Sweep, e: Expression, schedule: Schedule) -> bool:
    """Whether a reduction adds up the sums of several blocks."""
    return isinstance(e, Reduce) and e in schedule.accumulating and sweep.has_axis(e.argument) and not sweep.has_axis(e)


def plan_memory(schedule: Schedule, outputs: Sequence[Expression], reuse: bool = True) -> Plan:
    """Give every computed value a place; with ``reuse=False`` each gets a variable of its own."""
    return (_Planner(schedule, outputs) if reuse else _Namer(schedule, outputs)).run()


class _Namer:
    """A variable for every value, for libraries that cannot write into given arrays."""

    def __init__(self, schedule: Schedule, outputs: Sequence[Expression]) -> None:
        self.schedule, self.outputs = schedule, outputs
        self.plan = Plan()

    def run(self) -> Plan:
        for step in self.schedule.steps:
            for n in step.order if isinstance(step, Sweep) else [step.node]:
                self.plan.places[n] = Place(f"{'v' if n.shape else 's'}{len(self.plan.places)}")
        return self.plan


class _Planner:
    def __init__(self, schedule: Schedule, outputs: Sequence[Expression]) -> None:
        self.schedule, self.outputs = schedule, outputs
        self.plan = Plan()
        self.free: dict[Slot, list[Place]] = {}
        self.shared: set[Expression] = set()
        self.lent: dict[Expression, Expression] = {}
        self.last = self._last_uses()
        self.readers = self._readers()
        self.result: dict[Expression, int] = {}
        for i, output in enumerate(outputs):
            if output in schedule.moving and output.shape and arguments_of(output):
                self.result.setdefault(output, i)
        self.boxes = self._boxes()

    def _boxes(self) -> dict[Expression, tuple[int, str]]:
        """The values that are read by nothing but a join that is an output: its position and where they lie in it."""
        found: dict[Expression, tuple[int, str]] = {}
        for output, i in self.result.items():
            if isinstance(output, Join):
                for a, box in zip(output.arguments, boxes_of(output), strict=True):
                    once = sum(b is a for b in output.arguments) == 1 and len(self.readers.get(a, ())) == 1
                    computed = a in self.schedule.moving and arguments_of(a) and a not in self.outputs
                    if once and computed and a.kind == output.kind:
                        found[a] = i, box
        return found

    def _last_uses(self) -> dict[Expression, int]:
        """The last step that reads the array of each value; the arrays behind possible views live as long as those."""
        last: dict[Expression, int] = {}
        steps = self.schedule.steps
        for index, step in enumerate(steps):
            for n in step.order if isinstance(step, Sweep) else [step.node]:
                for a in arguments_of(n):
                    last[self.schedule.root(a) if isinstance(step, Sweep) else a] = index
        for output in self.outputs:
            last[output] = len(steps)
        for step in reversed(steps):
            if isinstance(step, Barrier) and may_share(step.node):
                for a in arguments_of(step.node):
                    last[a] = max(last[a], last.get(step.node, -1))
                    self.shared.add(a)
        return last

    def _readers(self) -> dict[Expression, list[tuple[int, Expression, Expression]]]:
        """For each value who reads it: the step, the node, and the view through which it is read."""
        found: dict[Expression, list[tuple[int, Expression, Expression]]] = {}
        for index, step in enumerate(self.schedule.steps):
            for n in step.order if isinstance(step, Sweep) else [step.node]:
                for a in dict.fromkeys(arguments_of(n)):
                    found.setdefault(self.schedule.root(a), []).append((index, n, a))
        return found

    def run(self) -> Plan:
        for index, step in enumerate(self.schedule.steps):
            if isinstance(step, Scalar):
                self.plan.places[step.node] = Place(f"s{len(self.plan.places)}", whole=False)
            elif isinstance(step, Barrier):
                self._barrier(step.node)
                self._release(arguments_of(step.node), index)
            else:
                taken = _SweepPlanner(self, step, index).run()
                settled = taken.union(step.order)
                operands = [self.schedule.root(a) for n in step.order for a in arguments_of(n)]
                self._release([a for a in operands if a not in settled], index)
        return self.plan

    def _barrier(self, n: Expression) -> None:
        places = self.plan.places
        if n.shape == ():
            places[n] = Place(f"s{len(places)}", whole=False)
        elif isinstance(n, Call) or (isinstance(n, Apply) and not kernel_of(n).in_place):
            places[n] = Place(f"f{len(places)}", owned=not may_share(n))
        else:
            places[n] = self.target(n)
            self._lend_scratch(n)

    def _lend_scratch(self, n: Expression) -> None:
        """Buffers for a kernel to work in, free again after it."""
        shapes = kernel_of(n).scratch if isinstance(n, Apply) else ()
        if isinstance(n, Apply) and shapes:
            consumed = n.operator.out_shape if n.adjoint else n.operator.in_shape
            batch = n.argument.shape[: n.argument.ndim - len(consumed)]
            self.plan.scratch[n] = [self.acquire((batch + shape, n.kind)) for shape in shapes]
            for place in self.plan.scratch[n]:
                self.put_back(place)

    def target(self, n: Expression) -> Place:
        """A result array, or a buffer, for a value to be computed."""
        if n in self.result:
            self.plan.given[self.result[n]] = n
            return Place(f"o{self.result[n]}")
        if n in self.boxes:
            part = self.plan.parts[n] = Part(f"p{len(self.plan.parts)}", *self.boxes[n])
            return Place(part.name)
        heir = self._heir(n)
        if heir is None or heir in self.lent:
            return self.acquire((n.shape, n.kind))
        self.lent[heir] = n
        return Place(f"o{self.result[heir]}", owned=True)

    def _heir(self, n: Expression) -> Expression | None:
        """The output that a value ends in by elementwise steps alone, so that it can already live in its array."""
        current, home = n, None
        while current not in self.result:
            readers = self.readers.get(current, [])
            if len(readers) != 1:
                return None
            index, reader, seen_as = readers[0]
            fits = isinstance(reader, Pointwise) and (reader.shape, reader.kind) == (n.shape, n.kind)
            if not fits or seen_as is not current or not _over(reader, current) or home not in (None, index):
                return None
            current, home = reader, index
        return current if home is not None and isinstance(self.schedule.steps[home], Sweep) else None

    def acquire(self, slot: Slot) -> Place:
        """A free buffer of that shape and kind, or a new one."""
        waiting = self.free.get(slot)
        if waiting:
            return Place(waiting.pop().name, owned=True, pooled=slot)
        self.plan.buffers.append(slot)
        return Place(f"b{len(self.plan.buffers) - 1}", owned=True, pooled=slot)

    def put_back(self, place: Place) -> None:
        """Return a buffer whose value is dead."""
        if place.pooled is not None:
            self.free.setdefault(place.pooled, []).append(place)

    def _release(self, operands: Sequence[Expression], index: int) -> None:
        for a in dict.fromkeys(operands):
            if self.last[a] == index and a in self.plan.places:
                self.put_back(self.plan.places[a])


def boxes_of(join: Join) -> list[str]:
    """The index of each argument in the joined array."""
    lead, stop, boxes = ":, " * (join.axis % join.ndim), 0, []
    for a in join.arguments:
        start, stop = stop, stop + a.shape[join.axis]
        boxes.append(f"[{lead}{start}:{stop}]")
    return boxes


def may_share(n: Expression) -> bool:
    """Whether the result of a barrier may share memory with its argument (transforms return fresh arrays)."""
    if isinstance(n, Apply):
        kernel = kernel_of(n)
        return not (kernel.in_place or kernel.fresh or kernel.transforms)
    return isinstance(n, Call)


class _SweepPlanner:
    """Places for the nodes of one sweep."""

    def __init__(self, planner: _Planner, sweep: Sweep, index: int) -> None:
        self.planner, self.sweep, self.index = planner, sweep, index
        self.schedule = planner.schedule
        self.order = sweep.order
        self.position = {n: i for i, n in enumerate(self.order)}
        self.readers: dict[Expression, list[int]] = {}
        self.viewed: dict[Expression, list[int]] = {}
        for i, n in enumerate(self.order):
            for a in arguments_of(n):
                root = self.schedule.root(a)
                self.readers.setdefault(root, []).append(i)
                if root is not a or (is_view(n) and n.shape):
                    self.viewed.setdefault(root, []).append(i)
        self.stored = {n for n in self.order if planner.last.get(n, -1) > index}
        self.taken: set[Expression] = set()

    def run(self) -> set[Expression]:
        """Place every node; returns the operands whose arrays were written over."""
        follower = self._chains()
        alive: list[tuple[int, Place]] = []
        places = self.planner.plan.places
        for i, n in enumerate(self.order):
            for entry in [e for e in alive if e[0] < i]:
                alive.remove(entry)
                self.planner.put_back(entry[1])
            if n in places:
                continue
            if n.shape == ():
                places[n] = Place(f"s{len(places)}", whole=False)
                continue
            chain = [n]
            while chain[-1] in follower:
                chain.append(follower[chain[-1]])
            alive += self._place_chain(chain)
        for _, place in alive:
            self.planner.put_back(place)
        return self.taken

    def _chains(self) -> dict[Expression, Expression]:
        """For values that die in a statement whose result may be written over them: that result."""
        follower: dict[Expression, Expression] = {}
        for i, n in enumerate(self.order):
            if isinstance(n, Reduce) or n.shape == ():
                continue
            for a in arguments_of(n):
                fits = a in self.position and a.shape == n.shape and a.kind == n.kind and a not in self.stored
                together = fits and self.sweep.has_axis(a) == self.sweep.has_axis(n)
                if together and max(self.readers[a]) == i and i not in self.viewed.get(a, ()) and _over(n, a):
                    follower[a] = n
                    break
        return follower

    def _place_chain(self, chain: list[Expression]) -> list[tuple[int, Place]]:
        """One place for values that follow each other; returns the scratch with the position of its last use."""
        places = self.planner.plan.places
        end = chain[-1]
        used: list[tuple[int, Place]] = []
        split = 0
        if end in self.stored:
            split, place = self._stored_place(chain)
            for n in chain[split:]:
                places[n] = place
            chain = chain[:split]
        if chain:
            scratch = self.planner.acquire((self._block_shape(end), end.kind))
            scratch = Place(scratch.name, self.sweep.axis is None, True, scratch.pooled)
            for n in chain:
                places[n] = scratch
            used.append((self._last_reader(chain[-1]), scratch))
        if isinstance(end, Reduce) and gathers(self.sweep, end, self.schedule):
            spare = self.planner.acquire((end.shape, end.kind))
            self.planner.plan.spare[end] = spare
            used.append((len(self.order), spare))
        return used

    def _last_reader(self, n: Expression) -> int:
        """The last position that reads a value; all of them where it is computed ahead of the loop."""
        last = max(self.readers.get(n, [self.position[n]]))
        outlives = self.sweep.axis is not None and self.position[n] < len(self.sweep.before) <= last
        return len(self.order) if outlives else last

    def _stored_place(self, chain: list[Expression]) -> tuple[int, Place]:
        """The place of a stored value and the first member of its chain that may use it already."""
        end = chain[-1]
        if end in self.planner.boxes:
            return 0, self.planner.target(end)
        if end in self.planner.result:
            place = self.planner.target(end)
            waiting = [a for a in self.readers if self._lives_in(a, place)]
            for split, n in enumerate(chain):
                if all(self._can_take(a, n, end) for a in waiting):
                    self.taken.update(waiting)
                    return split, place
            raise AssertionError(f"the array of {end!r} is still in use")
        elif not isinstance(end, Reduce):
            kept = set(self.planner.lent.values())  # what waits where a result will be leaves its array to no other
            for split, n in enumerate(chain):
                for a in self.readers:
                    if a not in kept and self._can_take(a, n, end):
                        self.taken.add(a)
                        old = self.planner.plan.places[a]
                        return split, Place(old.name, True, True, old.pooled)
        return 0, self.planner.target(end)

    def _lives_in(self, a: Expression, place: Place) -> bool:
        """Whether an operand from an earlier step waits in the array that a result will have."""
        places = self.planner.plan.places
        return a not in self.position and a in places and places[a].name == place.name

    def _can_take(self, a: Expression, n: Expression, end: Expression) -> bool:
        """Whether the array of operand ``a`` may be written over from the statement of ``n`` on."""
        place = self.planner.plan.places.get(a)
        if place is None or not place.owned or a in self.position or a in self.taken | self.planner.shared:
            return False
        if (a.shape, a.kind) != (end.shape, end.kind) or self.planner.last[a] != self.index:
            return False
        at = self.position[n]
        if max(self.readers[a]) > at or at in self.viewed.get(a, ()):
            return False
        return max(self.readers[a]) < at or _over(n, a)

    def _block_shape(self, n: Expression) -> Shape:
        if not self.sweep.has_axis(n):
            return n.shape
        assert self.sweep.axis is not None
        at = n.ndim + self.sweep.axis
        return (*n.shape[:at], self.sweep.step, *n.shape[at + 1 :])


def _over(n: Expression, a: Expression) -> bool:
    """Whether the result of a node may be written over that argument while it is computed."""
    if isinstance(n, Pointwise) and n.function == "where":
        return n.arguments[2] is a and a not in n.arguments[:2]
    return isinstance(n, Pointwise)
