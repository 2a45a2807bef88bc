"""What was measured during a solve, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One measurement: iteration, seconds since the start, energy (or None), certificate (relative) and its kind."""

    iteration: int
    seconds: float
    value: float | None
    relative: float
    kind: str


@dataclass
class History:
    """The measurements of a solve, in order; iterate over it, or take a column by name."""

    rows: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.rows)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, str):
            return [getattr(row, index) for row in self.rows]
        return self.rows[index]

    def __repr__(self) -> str:
        return f"History of {len(self.rows)} measurements"
