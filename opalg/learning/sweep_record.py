"""A file of finished configurations, one line of JSON for each, that an interrupted sweep goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from opalg.errors import ParameterError
from opalg.learning.grids import Configuration, key_of

Outcome = dict[str, Any]
_START = '{"configuration": '


class SweepRecord:
    """Outcomes of configurations in a file of JSON lines, open for more while it is entered.

    Parameters
    ----------
    path : str or Path
        The file; it and its folder are made where they are missing.

    Raises
    ------
    ParameterError
        Where the file holds something else, or cannot be read or written. A last line that was not written to its end
        is no error: it is cut off when the next one is added.

    Notes
    -----
    A line is ``{"configuration": {...}, "outcome": {...}}``, and the last line of a configuration counts.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(path)
        self.outcomes: dict[str, Outcome] = {}
        self._length = 0
        self._file: IO[bytes] | None = None
        if self.path.exists():
            with _told(self.path):
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
        self._file.close()
        self._file = None

    def add(self, configuration: Configuration, outcome: Outcome) -> None:
        """Append a line, and hand it to the operating system at once."""
        assert self._file is not None, "the record is not open"
        line = {"configuration": configuration, "outcome": outcome}
        self._file.write(json.dumps(line, default=lambda v: v.tolist()).encode() + b"\n")
        self._file.flush()
        self.outcomes[key_of(configuration)] = outcome


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system says about a file, as an error that says what it was for."""
    try:
        yield
    except OSError as error:
        raise ParameterError(
            f"the cache of the sweep, {path}, cannot be used: {error.strerror}; give the path of a file that can be "
            f"written"
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
