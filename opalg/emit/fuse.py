"""Fusion: which nodes share one sweep through memory, in which order sweeps and barriers run, and in which blocks.

A sweep computes pointwise nodes and sums block by block while the block is in the cache. Barriers (`Apply`, `Product`,
`Join`, `Call`, and reductions that move axes) need whole arrays. Every value has a depth: fused nodes have that of
their deepest argument, and the result of a barrier or of a whole-array reduction can be used one level deeper.
Connected fused nodes of one depth are one sweep, and so are those that read the same arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, prod

import numpy as np

from opalg.program.expression import (
    Apply,
    Broadcast,
    Call,
    Expression,
    Join,
    Pointwise,
    Product,
    Reduce,
    Shape,
)

BLOCK_ENTRIES = 1 << 16
"""Entries of eight bytes of the largest array of a sweep that one block holds; of four bytes, it holds twice as many.

Measured: smaller blocks pay more for the interpreter than they gain from a nearer cache, larger ones leave the cache.
"""


@dataclass
class Scalar:
    """A number computed from numbers."""

    node: Expression


@dataclass
class Barrier:
    """A node that needs whole arrays."""

    node: Expression


@dataclass
class Sweep:
    """Fused nodes, computed block by block along one axis.

    Attributes
    ----------
    before : list of Expression
        Nodes without the block axis, computed once ahead of the loop.
    body : list of Expression
        Nodes computed in every block, in order.
    shape : tuple of int
        The shape that all nodes broadcast to.
    axis : int or None
        The block axis, counted from the end; None where one block holds everything.
    step : int
        Indices of the axis per block.
    """

    nodes: list[Expression]
    shape: Shape
    axis: int | None = None
    step: int = 0
    before: list[Expression] = field(default_factory=list)
    body: list[Expression] = field(default_factory=list)

    @property
    def order(self) -> list[Expression]:
        """All nodes in the order of evaluation."""
        return self.before + self.body

    def has_axis(self, e: Expression) -> bool:
        """Whether the block axis cuts through an array of the shape of ``e``."""
        return self.axis is not None and e.ndim >= -self.axis and e.shape[self.axis] == self.shape[self.axis]


Step = Scalar | Barrier | Sweep


def is_view(e: Expression) -> bool:
    """Whether a node is the real or imaginary part of a complex array, which needs no memory of its own."""
    return isinstance(e, Pointwise) and e.function in ("real", "imag") and e.arguments[0].kind == "complex"


def arguments_of(e: Expression) -> tuple[Expression, ...]:
    """The expressions directly below a node."""
    match e:
        case Pointwise() | Join() | Call():
            return e.arguments
        case Reduce() | Broadcast() | Apply():
            return (e.argument,)
        case Product():
            return (e.left, e.right)
    return ()


@dataclass
class Schedule:
    """The steps of a program in order.

    Attributes
    ----------
    steps : list of Scalar, Barrier and Sweep
        What to do.
    accumulating : set of Expression
        Reductions gathered over the blocks of their sweep and complete only after it.
    moving : set of Expression
        The nodes that depend on the state.
    """

    steps: list[Step]
    accumulating: set[Expression]
    moving: set[Expression]

    def root(self, e: Expression) -> Expression:
        """The node whose array holds the entries of ``e``, an argument of a fused node."""
        return e.arguments[0] if e in self.moving and e.shape and is_view(e) else e  # type: ignore[attr-defined]


def schedule(
    nodes: Sequence[Expression], outputs: Sequence[Expression], blocked: bool, single: bool = False, lean: bool = False
) -> Schedule:
    """Order the moving nodes of a program (arguments first) into sweeps, barriers and scalar statements.

    Parameters
    ----------
    nodes, outputs : sequence of Expression
        The nodes, and those of them that are results.
    blocked : bool
        Whether sweeps run block by block.
    single : bool
        Whether entries have four bytes, so that twice as many fit a block.
    lean : bool
        Whether blocks are a quarter as long, for little scratch.
    """
    return _Scheduler(nodes, outputs, blocked, BLOCK_ENTRIES << single >> 2 * lean).run()


class _Scheduler:
    def __init__(self, nodes: Sequence[Expression], outputs: Sequence[Expression], blocked: bool, entries: int) -> None:
        self.blocked, self.entries = blocked, entries
        self.schedule = Schedule([], set(), set(nodes))
        self.outputs = set(outputs)
        stored = {c for n in nodes if not (_is_fused(n) or _is_number(n)) for c in arguments_of(n)} | self.outputs
        self.nodes = [n for n in nodes if arguments_of(n) and not (n.shape and is_view(n) and n not in stored)]
        self.fused = {n for n in self.nodes if _is_fused(n)}
        self.accumulating = self.schedule.accumulating
        self.accumulating |= {n for n in self.fused if isinstance(n, Reduce) and self._accumulates(n)}
        self.operands = {n: self._operands(n) for n in self.nodes}
        self.users: dict[Expression, list[Expression]] = {}
        for n in self.nodes:
            for a in self.operands[n]:
                self.users.setdefault(a, []).append(n)
        self.depth: dict[Expression, int] = {}

    def _operands(self, n: Expression) -> list[Expression]:
        arguments = arguments_of(n)
        return [self.schedule.root(a) for a in arguments] if n in self.fused else list(arguments)

    def _accumulates(self, n: Reduce) -> bool:
        """Whether a reduction is gathered over blocks: all whole sums, and large ones over the axes to be cut."""
        if n.shape == ():
            return True
        size = prod(n.argument.shape)
        if size <= self.entries or not self.blocked:
            return False
        free = (m for m, k in zip(reversed(n.argument.shape), reversed(n.shape), strict=False) if m == k)
        return size // max(free, default=1) > self.entries

    def _available(self, a: Expression) -> int:
        """The depth from which a value can be used."""
        late = a in self.depth and (a not in self.fused or a in self.accumulating) and not _is_number(a)
        return self.depth.get(a, 0) + late

    def run(self) -> Schedule:
        for n in self.nodes:
            self.depth[n] = max((self._available(a) for a in self.operands[n]), default=0)
        self._sink()
        steps: list[Step] = []
        for level in range(max(self.depth.values(), default=-1) + 1):
            here = [n for n in self.nodes if self.depth[n] == level]
            steps += [Scalar(n) for n in here if _is_number(n)]
            steps += self._sweeps([n for n in here if n in self.fused])
            steps += [Barrier(n) for n in here if n not in self.fused and not _is_number(n)]
        self.schedule.steps = steps
        return self.schedule

    def _sink(self) -> None:
        """Move pointwise nodes down to where they are used first, unless that costs another stored array."""
        early = dict(self.depth)
        for n in reversed(self.nodes):
            users = self.users.get(n, [])
            movable = n in self.fused and not isinstance(n, Reduce) and n not in self.outputs and users
            if movable:
                self.depth[n] = max(self.depth[n], min(self.depth[u] for u in users))
        for n in self.nodes:
            if self.depth[n] > early[n] and any(self._would_be_stored_for(a, n) for a in self.operands[n]):
                self.depth[n] = max((self._available(a) for a in self.operands[n]), default=0)

    def _would_be_stored_for(self, a: Expression, n: Expression) -> bool:
        if a not in self.fused or a in self.accumulating or a in self.outputs or self.depth[a] >= self.depth[n]:
            return False
        return not any(u not in self.fused or (self.depth[u] != self.depth[a] and u is not n) for u in self.users[a])

    def _sweeps(self, nodes: list[Expression]) -> list[Step]:
        """Group the fused nodes of one depth; a group reads another one only where their shapes do not go together."""
        groups = _Groups()
        for n in nodes:
            groups.place(n, [a for a in self.operands[n] if a not in self.accumulating])
        groups.unite_readers(self.operands)
        return [self._cut(members) for members in groups.members()]

    def _cut(self, nodes: list[Expression]) -> Sweep:
        shape = _common_shape([_swept(n) for n in nodes])
        assert shape is not None
        sweep = Sweep(nodes, shape)
        largest = sum(_swept(n) == shape for n in nodes)
        if self.blocked and largest > 1:  # one statement alone has nothing to find in the cache again
            partial = [n for n in nodes if isinstance(n, Reduce) and n not in self.accumulating]
            sweep.axis, sweep.step = _block(sweep.shape, partial, self.entries)
        for n in nodes:
            inside = sweep.has_axis(n) or (isinstance(n, Reduce) and sweep.has_axis(n.argument))
            (sweep.body if inside or sweep.axis is None else sweep.before).append(n)
        return sweep


class _Groups:
    """Disjoint groups of nodes, in ranks: a group reads results of groups of lower rank only."""

    def __init__(self) -> None:
        self.parent: dict[Expression, Expression] = {}
        self.shape: dict[Expression, Shape] = {}
        self.rank: dict[Expression, int] = {}

    def find(self, n: Expression) -> Expression:
        """The node that stands for the group of ``n``."""
        while self.parent[n] is not n:
            self.parent[n] = n = self.parent[self.parent[n]]
        return n

    def place(self, n: Expression, operands: Sequence[Expression]) -> None:
        """Put a node into the group of its operands, or where their shapes differ into a new one of higher rank."""
        heads = list(dict.fromkeys(self.find(a) for a in operands if a in self.parent))
        self.parent[n], self.shape[n] = n, _swept(n)
        self.rank[n] = rank = max((self.rank[h] for h in heads), default=0)
        heads = [h for h in heads if self.rank[h] == rank]
        common = _common_shape([self.shape[n], *(self.shape[h] for h in heads)])
        if common is None:
            self.rank[n] = rank + 1
        else:
            for head in heads:
                self.unite(head, n, common)

    def unite(self, a: Expression, b: Expression, shape: Shape) -> None:
        """Make one group, of that shape, of the groups of a and b."""
        head = self.find(a)
        self.parent[self.find(b)] = head
        self.shape[head] = shape

    def members(self) -> list[list[Expression]]:
        """The groups, lower ranks first."""
        found: dict[Expression, list[Expression]] = {}
        for n in self.parent:
            found.setdefault(self.find(n), []).append(n)
        return [found[head] for head in sorted(found, key=lambda h: self.rank[h])]

    def unite_readers(self, operands: dict[Expression, list[Expression]]) -> None:
        """Join groups of one shape and rank that read the same array of that shape."""
        reader: dict[tuple[Expression, int], Expression] = {}
        for n in self.parent:
            head = self.find(n)
            for a in operands[n]:
                if a.shape == self.shape[head] and a not in self.parent:
                    other = self.find(reader.setdefault((a, self.rank[head]), n))
                    if self.shape[other] == self.shape[head] and other is not head:
                        self.unite(other, head, self.shape[other])
                        head = self.find(n)


def _swept(n: Expression) -> Shape:
    """The shape over which a fused node loops."""
    if not isinstance(n, Reduce):
        return n.shape
    return n.argument.shape


def _common_shape(shapes: Sequence[Shape]) -> Shape | None:
    """The shape that shapes broadcast to; None where they do not."""
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _is_number(n: Expression) -> bool:
    """Whether a node is computed from numbers alone, by a statement of its own."""
    return n.shape == () and isinstance(n, Pointwise)


def _is_fused(n: Expression) -> bool:
    if isinstance(n, (Pointwise, Broadcast)):
        return n.shape != ()
    return isinstance(n, Reduce) and (n.shape == () or n.keepdims or _drops_leading(n))


def _drops_leading(n: Reduce) -> bool:
    """Whether a reduction drops leading axes only, so that the others keep their number from the end."""
    ndim = n.argument.ndim
    dropped = sorted(axis % ndim for axis in n.axes or ())
    return dropped == list(range(len(dropped)))


def _block(shape: Shape, partial: Sequence[Reduce], most: int) -> tuple[int | None, int]:
    """The block axis and the indices per block of so many entries at most; None where one block does."""
    entries = prod(shape)
    if entries <= most * 3 // 2:
        return None, 0
    reduced = {a if a < 0 else a - n.argument.ndim for n in partial for a in n.axes or ()}
    allowed = [axis for axis in range(-len(shape), 0) if shape[axis] > 1 and axis not in reduced]
    if not allowed:
        return None, 0
    fitting = [axis for axis in allowed if entries // shape[axis] <= most]
    axis = fitting[0] if fitting else max(allowed, key=lambda a: shape[a])
    size = shape[axis]
    blocks = ceil(size / max(1, most * size // entries))
    return (axis, ceil(size / blocks)) if blocks > 1 else (None, 0)
