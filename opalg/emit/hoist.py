"""Hoisting: what depends on no state is computed when a program is bound, or when its controls change."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from opalg.arrays.backend import Backend
from opalg.emit.fuse import arguments_of
from opalg.errors import ParameterError, ShapeError
from opalg.leaves import Leaf
from opalg.nodes import walk
from opalg.program.expression import Expression, Input, Literal
from opalg.program.interpreter import evaluate

Shared = MutableMapping[Any, Any]  # arrays of programs with the same bindings, by library and expression


class Hoisting:
    """Which nodes of a program move with the state, and which values the others hand to it.

    Attributes
    ----------
    moving : set of Expression
        The nodes that depend on a state input.
    frontier : list of Expression
        The other nodes, literals left out, that moving nodes or outputs use directly.
    leaves : set of Leaf
        Those whose values the program uses.
    """

    def __init__(self, outputs: Sequence[Expression], inputs: Sequence[Input]) -> None:
        states = {i for i in inputs if i.role == "state"}
        self.controls = [i for i in inputs if i.role == "control"]
        declared = set(inputs)
        self.moving: set[Expression] = set()
        self._depends: dict[Expression, frozenset[Input]] = {}
        self.nodes: list[Expression] = []
        for current in walk(*outputs, within=Expression):
            assert isinstance(current, Expression)
            if isinstance(current, Input) and current not in declared:
                raise ParameterError(f"the program uses the input {current.name!r}, which is not among its inputs")
            children = arguments_of(current)
            if current in states or any(c in self.moving for c in children):
                self.moving.add(current)
                self.nodes.append(current)
            elif isinstance(current, Input):
                self._depends[current] = frozenset((current,))
            else:
                self._depends[current] = frozenset().union(*(self._depends[c] for c in children))
        self.leaves = {e for e in self._depends if isinstance(e, Leaf)}
        self.frontier = self._find_frontier(outputs)
        self._split()

    def _find_frontier(self, outputs: Sequence[Expression]) -> list[Expression]:
        found: dict[Expression, None] = {}
        for current in self.nodes:
            for child in arguments_of(current):
                if child not in self.moving and not isinstance(child, Literal):
                    found[child] = None
        for output in outputs:
            if output not in self.moving:
                found[output] = None
        return list(found)

    def _split(self) -> None:
        """Cut the graph of the controls below its leaf-only parts, so that a change of controls walks little."""
        self._fixed = [e for e in self.frontier if not self._depends[e]]
        controlled = [e for e in self.frontier if self._depends[e]]
        supports: dict[Any, Any] = {}
        for current in walk(*controlled, within=Expression):
            if self._depends[current]:  # type: ignore[index]
                for child in arguments_of(current):  # type: ignore[arg-type]
                    if not self._depends[child] and not isinstance(child, Literal):
                        supports.setdefault(child, Input(f"support {len(supports)}", child.shape, child.kind))
        self._supports = supports
        done: dict[Any, Any] = dict(supports)
        for current in walk(*controlled, within=Expression):
            if current not in done:
                done[current] = current.rebuild(lambda child: done.get(child, child))
        self._controlled = {e: done[e] for e in controlled}

    def bind(self, bindings: Mapping[Any, Any], lib: Backend, shared: Shared | None = None) -> HoistedValues:
        """Compute what depends on leaves only, or find it with other programs of the same bindings."""
        return HoistedValues(self, bindings, lib, shared)


class HoistedValues:
    """The hoisted values of one bound program.

    Attributes
    ----------
    values : dict from Expression to array
        The value of each node on the frontier; controls must have been set before the controlled ones are there.
    """

    def __init__(
        self, hoisting: Hoisting, bindings: Mapping[Any, Any], lib: Backend, shared: Shared | None = None
    ) -> None:
        self._hoisting, self._lib = hoisting, lib
        own = {leaf: _checked(leaf, array, lib) for leaf, array in bindings.items() if leaf in hoisting.leaves}
        wanted = [*hoisting._fixed, *hoisting._supports]
        everything = _found(wanted, lib, shared)
        everything.update({e: own[e] for e in wanted if e in own})  # type: ignore[index]
        missing = [e for e in wanted if e not in everything]
        values = evaluate(missing, own, lib, dict(everything)) if missing else []
        for e, value in zip(missing, values, strict=True):
            everything[e] = value
            if shared is not None and e.shape != ():
                shared[lib.key, e] = value
        self.values: dict[Expression, Any] = {e: everything[e] for e in hoisting._fixed}
        self._supports = {stand_in: everything[e] for e, stand_in in hoisting._supports.items()}
        self.controls: dict[Input, Any] = {}

    def set_controls(self, controls: Mapping[Input, float]) -> list[Expression]:
        """Take new control values; returns the frontier nodes whose values were computed again.

        Raises
        ------
        ParameterError
            For an unknown control, or where one has no value yet.
        """
        hoisting = self._hoisting
        for control in controls:
            if control not in hoisting.controls:
                known = ", ".join(repr(c.name) for c in hoisting.controls) or "none"
                name = getattr(control, "name", control)
                raise ParameterError(f"{name!r} is not a control of this program; it has {known}")
        changed = {c for c, v in controls.items() if c not in self.controls or self.controls[c] != v}
        self.controls.update(controls)
        due = [e for e in hoisting._controlled if e not in self.values or hoisting._depends[e] & changed]
        missing = sorted({c.name for e in due for c in hoisting._depends[e] if c not in self.controls})
        if missing:
            raise ParameterError(f"the controls {missing} have no value; give bind(..., controls={{input: number}})")
        if due:
            given = {c: self._lib.asarray(v, c.kind) for c, v in self.controls.items()}
            values = evaluate([hoisting._controlled[e] for e in due], {**self._supports, **given}, self._lib)
            self.values.update(zip(due, values, strict=True))
        return due


def _found(wanted: Sequence[Expression], lib: Backend, shared: Shared | None) -> dict[Expression, Any]:
    """The wanted values that another program holds."""
    if shared is None:
        return {}
    key = lib.key
    found = {e: shared.get((key, e)) for e in wanted if e.shape != ()}
    return {e: value for e, value in found.items() if value is not None}


def _checked(leaf: Leaf, array: Any, lib: Backend) -> Any:
    if tuple(getattr(array, "shape", ())) != leaf.shape:
        found = tuple(getattr(array, "shape", ()))
        raise ShapeError(f"{leaf.label!r} has shape {leaf.shape}, but was bound to an array of shape {found}")
    return array if type(array).__module__.startswith("scipy.sparse") else lib.asarray(array, leaf.kind)
