"""What a training run writes down: a row for every step, and one for every evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import ParameterError

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
        """The figures of one name from all rows of a kind that have it; None takes every kind.

        Raises
        ------
        ParameterError
            For a name that neither these rows nor logs in general have.
        """
        found = [r for r in self.rows if kind in (None, r.get("kind", "step"))]
        if found and name not in COLUMNS and not any(name in r for r in found):
            others = {r.get("kind", "step") for r in self.rows if name in r}
            known = dict.fromkeys(n for r in found for n in r)
            hint = f"; rows of kind={others.pop()!r} do" if others else f"; they have {', '.join(known)}"
            raise ParameterError(f"no row of {'any kind' if kind is None else f'kind={kind!r}'} has {name!r}{hint}")
        return np.array([r[name] for r in found if name in r])

    @property
    def steps(self) -> list[Row]:
        """The rows of steps."""
        return [r for r in self.rows if r.get("kind", "step") == "step"]

    @property
    def evaluations(self) -> list[Row]:
        """The rows of evaluations."""
        return [r for r in self.rows if r.get("kind") == "validation"]

    def to_csv(self, path: Any) -> Path:
        """Write all rows into a file of comma-separated values, making folders; figures that a row lacks stay empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        where = Path(path)
        where.parent.mkdir(parents=True, exist_ok=True)
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
