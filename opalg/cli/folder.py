"""The folder that the demo writes: it replaces files of an earlier demo and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opalg.errors import ParameterError

MARK = "figures.json"
MAKER = "opalg demo"


class OutputFolder:
    """A folder for the files of one run.

    Parameters
    ----------
    path : path-like
        Made where it is missing.

    Raises
    ------
    ParameterError
        Where the path is a file.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ParameterError(f"{self.path} is a file; name a folder with --output")
        self.written: list[str] = []
        self.earlier = self._earlier()

    def _earlier(self) -> tuple[str, ...]:
        """The files that an earlier demo left here, by its own record."""
        record = self.path / MARK
        if not record.is_file():
            return ()
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            return ()
        if not isinstance(found, dict) or found.get("made_by") != MAKER:
            return ()
        listed = [name for name in found.get("files", []) if isinstance(name, str) and Path(name).name == name]
        return tuple(name for name in (*listed, MARK) if (self.path / name).is_file())

    def prepare(self, names: Sequence[str]) -> None:
        """Make the folder and see that none of the names is somebody else's file.

        Raises
        ------
        ParameterError
            Where a file of that name was not written by an earlier demo.
        """
        foreign = [n for n in (*names, MARK) if (self.path / n).exists() and n not in self.earlier]
        if foreign:
            raise ParameterError(
                f"{self.path} holds {', '.join(foreign)}, which no earlier demo wrote; name another with --output"
            )
        self.path.mkdir(parents=True, exist_ok=True)

    def file(self, name: str) -> Path:
        """The path of a file about to be written."""
        self.written.append(name)
        return self.path / name

    def finish(self, figures: dict[str, Any]) -> None:
        """Write the record, and take away what an earlier demo wrote and this one did not."""
        record = {"made_by": MAKER, "files": self.written, **figures}
        (self.path / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for name in self.earlier:
            if name not in (*self.written, MARK):
                (self.path / name).unlink()
