"""A file of finished configurations, one line of JSON for each, that an interrupted sweep goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from opalg.errors import ParameterError
from opalg.learning.grids import Configuration, key_of

Outcome = dict[str, Any]
_START = '{"configuration": '
WRITTEN = (
    "make room, and run the sweep again with the same cache=: the configurations that it holds so far stay readable, "
    "and are not run again"
)


class SweepRecord:
    """Outcomes of configurations in a file of JSON lines, open for more while it is entered.

    Parameters
    ----------
    path : str or Path
        The file; it and its folder are made where they are missing.

    Raises
    ------
    ParameterError
        For what is no path, and where the file holds something else, or cannot be read or written. A last line that was
        not written to its end, as on a disk that is full, is no error: it is cut off when the file is next used.

    Notes
    -----
    A line is ``{"configuration": {...}, "outcome": {...}}``, and the last line of a configuration counts.
    """

    def __init__(self, path: Any) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ParameterError(f"cache is the path of a file, as in cache='runs.jsonl', not {path!r}")
        self.path = Path(path)
        self.outcomes: dict[str, Outcome] = {}
        self._length = 0
        self._file: IO[bytes] | None = None
        content = b""
        with _told(self.path):
            if self.path.exists():
                content = self.path.read_bytes()
        self._read(content)

    def _read(self, content: bytes) -> None:
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            found = _parsed(line) if line.endswith(b"\n") else None
            if found is None:
                if number == len(lines) and (line.startswith(_START.encode()) or _START.encode().startswith(line)):
                    return
                raise ParameterError(
                    f"line {number} of {self.path} is not the record of a configuration; give the cache of the sweep "
                    f"another path"
                )
            self.outcomes[key_of(found["configuration"])] = found["outcome"]
            self._length += len(line)

    def __enter__(self) -> SweepRecord:
        with _told(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
            self._file.truncate(self._length)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        file, self._file = self._file, None
        if error is None:
            with _told(self.path, WRITTEN):
                file.close()
            return
        with suppress(OSError):  # what could not be written was said by the error that ends this
            file.close()

    def add(self, configuration: Configuration, outcome: Outcome) -> None:
        """Append a line, and hand it to the operating system at once.

        Raises
        ------
        ParameterError
            Where it cannot be written, as on a disk that is full; the lines before it stay readable.
        """
        assert self._file is not None, "the record is not open"
        line = json.dumps({"configuration": configuration, "outcome": outcome}, default=lambda v: v.tolist())
        with _told(self.path, WRITTEN):
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        self.outcomes[key_of(configuration)] = outcome


@contextmanager
def _told(path: Path, advice: str = "give the path of a file that can be written") -> Iterator[None]:
    """What the system says about a file, as an error that says what it was for."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a character that none may have
        raise ParameterError(
            f"the cache of the sweep, {path}, cannot be used: {getattr(error, 'strerror', None) or error}; {advice}"
        ) from error


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    """A line of the record, or None for anything else."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    complete = isinstance(found, dict) and all(isinstance(found.get(n), dict) for n in ("configuration", "outcome"))
    return found if complete else None


__all__ = ["Outcome", "SweepRecord"]
