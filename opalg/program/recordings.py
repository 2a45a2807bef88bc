"""Graphs of networks that are recorded once at a point, and used for all transposed derivatives taken there."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any

from opalg.program.opaque_arrays import followed, recording

KEPT = 2  # points of one network whose graphs are kept: a map may call it at more than one


class recorded_once:
    """While this is open, values and transposed derivatives of a network at one point share a recorded evaluation.

    Whoever opens it promises that no weight changes meanwhile. A graph is found again by the network and by the
    entries of its arguments, so that points that differ are never mixed up; of a network at most `KEPT` are held.
    """

    def __init__(self) -> None:
        self._graphs: dict[Any, list[tuple[Any, tuple[Any, ...], Any]]] = {}
        self._tokens: list[Token[recorded_once | None]] = []
        self.evaluations = 0

    def __enter__(self) -> recorded_once:
        self._tokens.append(_open.set(self))
        return self

    def __exit__(self, *failure: Any) -> None:
        _open.reset(self._tokens.pop())
        if not self._tokens:
            self._graphs.clear()

    def known(self, of: Any, x: Any, more: tuple[Any, ...]) -> tuple[Any, Any] | None:
        """What `graph` gives, where it was recorded before; None where it was not."""
        for at, others, value in self._graphs.get(of, ()):
            if _equal(at, x) and len(others) == len(more) and all(map(_equal, others, more)):
                return at, value
        return None

    def graph(self, of: Any, x: Any, more: tuple[Any, ...]) -> tuple[Any, Any]:
        """A recorded argument equal to x, and the value of the opaque function at it."""
        found = self.known(of, x, more)
        if found is not None:
            return found
        known = self._graphs.setdefault(of, [])
        with recording(x) as at:
            value = followed(of.recorded(at, *more), of.name)
        self.evaluations += 1
        del known[: max(0, len(known) - KEPT + 1)]
        known.append((at, more, value))
        return at, value


_open: ContextVar[recorded_once | None] = ContextVar("recorded graphs", default=None)


def open_recordings() -> recorded_once | None:
    """The innermost `recorded_once` that is open here; None where there is none."""
    return _open.get()


def recorded_graph(of: Any, x: Any, more: tuple[Any, ...]) -> tuple[Any, Any, bool]:
    """A recorded argument and value of an opaque function, and whether the graph is kept for later."""
    kept = _open.get()
    return (*(recorded_once() if kept is None else kept).graph(of, x, more), kept is not None)


def recorded_value(of: Any, x: Any, more: tuple[Any, ...]) -> Any:
    """The value of an opaque function, where a recorded one is at hand; None where there is none."""
    kept = _open.get()
    found = None if kept is None else kept.known(of, x, more)
    return None if found is None else found[1].detach()


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if not (hasattr(a, "shape") and hasattr(b, "shape")):
        return bool(a == b)
    return a.dtype == b.dtype and a.device == b.device and bool(a.equal(b))


__all__ = ["open_recordings", "recorded_graph", "recorded_once", "recorded_value"]
