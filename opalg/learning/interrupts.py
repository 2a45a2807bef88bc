"""Ctrl-C that waits for the end of a training step, and Ctrl-C that somebody else has taken."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """While it is entered, the first Ctrl-C is only noted; a second one interrupts at once.

    Attributes
    ----------
    asked : bool
        Whether there was one.

    Notes
    -----
    Signals reach the main thread alone; in another one nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        outer = getattr(self._before, "__self__", None)
        if isinstance(outer, Witness):
            outer.asked = True
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Witness:
    """While it is entered, Ctrl-C does what it did before, and is known of afterwards.

    A solve and a training run end early and return after a Ctrl-C. Whoever called them has to know that what they
    return is not whole.

    Attributes
    ----------
    asked : bool
        Whether there was one.

    Notes
    -----
    Signals reach the main thread alone; in another one, and where they are ignored, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Witness:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._pass_on)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._before(number, frame)


__all__ = ["Interrupts", "Witness"]
