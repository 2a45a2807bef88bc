"""What a training run writes down: a row for every step, and one for every evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
COLUMNS = (
    "epoch",
    "step",
    "loss",
    "losses",
    "group",
    "rate",
    "seconds",
    "outcome",
    "reason",
    "kind",
    "gradient_norm",
    "iterations",
    "residual",
    "status",
    "products",
    "adjoint_residual",
    "flags",
)


class TrainingLog:
    """Rows of figures, one for each step of training.

    A row has ``epoch``, ``step``, ``loss``, the value of every penalty, ``gradient_norm``, ``rate`` (of the optimiser),
    ``seconds``, ``outcome`` (``"taken"``, ``"clipped"``, ``"skipped"`` or ``"restored"``), a ``reason`` where it was
    not taken, the number of the ``group`` that moved where several take turns, and of solves ``iterations``,
    ``residual``, ``status``, ``products`` of the backward pass, ``adjoint_residual`` and its ``flags``, such as
    ``"negative_curvature"``. Rows of evaluations have ``kind`` equal to ``"validation"``.

    Attributes
    ----------
    rows : list of dict
        ``pandas.DataFrame(log.rows)`` is a table of them.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        self.rows: list[Row] = [dict(r) for r in rows]

    def add(self, **figures: Any) -> Row:
        """Write a row down, and return it."""
        row = {name: plain(value) for name, value in figures.items()}
        self.rows.append(row)
        return row

    def column(self, name: str, kind: str | None = "step") -> np.ndarray:
        """The figures of one name from all rows of a kind that have it; None takes every kind."""
        return np.array([r[name] for r in self.rows if name in r and kind in (None, r.get("kind", "step"))])

    @property
    def steps(self) -> list[Row]:
        """The rows of steps."""
        return [r for r in self.rows if r.get("kind", "step") == "step"]

    @property
    def evaluations(self) -> list[Row]:
        """The rows of evaluations."""
        return [r for r in self.rows if r.get("kind") == "validation"]

    def to_csv(self, path: Any) -> Path:
        """Write all rows into a file of comma-separated values; figures that a row lacks stay empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        where = Path(path)
        with where.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        return where

    def __len__(self) -> int:
        return len(self.rows)


def plain(value: Any) -> Any:
    """A figure as numbers and lists of Python, which JSON can hold."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


__all__ = ["COLUMNS", "Row", "TrainingLog", "plain"]
