"""The immutable node on which everything symbolic is built.

Nodes are interned: building the same node twice gives the same object, so structural equality is identity, common
subexpressions are shared without a search, and graphs with sharing stay small. Leaves opt out with ``interned=False``
and are compared by identity.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self, TypeVar, dataclass_transform

T = TypeVar("T")
_interned: weakref.WeakValueDictionary[tuple, Node] = weakref.WeakValueDictionary()


def _key_part(value: Any) -> Any:
    """A hashable stand-in that tells apart what ``==`` would merge (1 and 1.0, 0.0 and -0.0)."""
    if isinstance(value, Node):
        return id(value)
    if isinstance(value, tuple):
        return tuple(_key_part(item) for item in value)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, complex):
        return ("complex", value.real.hex(), value.imag.hex())
    if hasattr(value, "tobytes"):
        return ("array", value.shape, value.dtype.str, hashlib.blake2b(value.tobytes()).digest())
    return (type(value).__name__, value)


class _Interning(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        fresh = super().__call__(*args, **kwargs)
        if not cls.interned:  # type: ignore[attr-defined]
            return fresh
        parts = tuple(_key_part(getattr(fresh, field.name)) for field in dataclasses.fields(fresh))
        return _interned.setdefault((cls, *parts), fresh)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, for ``help`` and the documentation, which would show ``__call__``'s."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        fields = list(signature.parameters.values())[1:]
        return signature.replace(parameters=fields, return_annotation=inspect.Signature.empty)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
def node(cls: type[T]) -> type[T]:
    """Make a class an immutable node: a frozen dataclass compared by identity of its interned instance."""
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


class Node(metaclass=_Interning):
    """An immutable term with named fields; fields that are nodes, or tuples of nodes, are its children."""

    interned = True

    @cached_property
    def children(self) -> tuple[Node, ...]:
        """The nodes directly below this one, in field order."""
        found: list[Node] = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend(item for item in value if isinstance(item, Node))
        return tuple(found)

    def rebuild(self, change: Callable[[Node], Node]) -> Node:
        """This node with ``change`` applied to each child; itself where nothing changed."""
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Node):
                new: Any = change(value)
            elif isinstance(value, tuple):
                new = tuple(change(item) if isinstance(item, Node) else item for item in value)
                new = value if all(a is b for a, b in zip(new, value, strict=True)) else new
            else:
                continue
            if new is not value:
                changed[field.name] = new
        return dataclasses.replace(self, **changed) if changed else self  # type: ignore[type-var]

    def __copy__(self) -> Self:
        """The node itself: it cannot change, and a second leaf would be a different one."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its fields, so that what arrives in another process is interned there."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return type(self), tuple(getattr(self, field.name) for field in fields)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The node itself, for the same reason."""
        return self


def walk(*roots: Node, within: type = object) -> Iterator[Node]:
    """Every node at or below the roots once, children before parents; only children of class ``within`` are entered."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        current, expanded = stack.pop()
        if id(current) in seen:
            continue
        if expanded:
            seen.add(id(current))
            yield current
        else:
            stack.append((current, True))
            stack.extend((child, False) for child in reversed(current.children) if isinstance(child, within))


def fold(function: Callable[[Any, dict[Node, T]], T], *roots: Node) -> dict[Node, T]:
    """Fold a graph from the leaves up: ``function(node, results)`` is called once per node, children first."""
    results: dict[Node, T] = {}
    for current in walk(*roots):
        results[current] = function(current, results)
    return results


def transform(root: Node, change: Callable[[Node], Node]) -> Node:
    """Rebuild a graph from the leaves up, applying ``change`` to each rebuilt node once."""
    done: dict[Node, Node] = {}
    for current in walk(root):
        done[current] = change(current.rebuild(lambda child: done[child]))
    return done[root]


def substitute(root: Node, replacements: dict[Any, Any]) -> Any:
    """The graph with some nodes replaced by others (matched by identity)."""
    done: dict[Node, Node] = {}
    for current in walk(root):
        if current in replacements:
            done[current] = replacements[current]
        else:
            done[current] = current.rebuild(lambda child: done[child])
    return done[root]
