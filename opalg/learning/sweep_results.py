"""What a sweep found: rows of configurations with their figures, to be chosen from, tabulated and drawn."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from opalg.errors import ParameterError
from opalg.learning.grids import key_of
from opalg.learning.tables import Table, text_of

REDUCTIONS: dict[str, Callable[[list[float]], Any]] = {
    "count": len,
    "max": max,
    "mean": lambda v: float(np.mean(v)),
    "median": lambda v: float(np.median(v)),
    "min": min,
    "std": lambda v: float(np.std(v)),
}


class Sweep:
    """Configurations and their figures.

    Parameters
    ----------
    rows : sequence of mappings
        A configuration and its figures in each; of a run that raised, the configuration and ``"error"``, a text.
    names : sequence of str
        Which entries belong to the configuration.

    Attributes
    ----------
    rows : list of dict
        ``pandas.DataFrame(sweep.rows)`` is a table of them.
    names : tuple of str

    Examples
    --------
    >>> import opalg as oa
    >>> found = oa.sweep(lambda a, b: {"loss": (a - b) ** 2}, {"a": [1, 2, 3], "b": [2, 4]})
    >>> found
    Sweep(6 configurations of a, b; figures: loss)
    >>> found.best("loss", by="b").rows
    [{'a': 2, 'b': 2, 'loss': 0}, {'a': 3, 'b': 4, 'loss': 1}]
    >>> print(found.table("loss", rows="a", columns="b"))
    a  b 2  b 4
    -  ---  ---
    1    1    9
    2    0    4
    3    1    1
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]
        self.names = tuple(names)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of what the runs returned."""
        found = dict.fromkeys(name for row in self.rows for name in row)
        return tuple(name for name in found if name not in self.names and name != "error")

    @property
    def failed(self) -> Sweep:
        """The runs that raised."""
        return self._of(row for row in self.rows if row.get("error") is not None)

    def column(self, name: str) -> np.ndarray:
        """One entry of every row.

        Parameters
        ----------
        name : str
            Of the configuration or of a figure, or ``"error"``.

        Returns
        -------
        array, one entry for each row
            Of floats with NaN where a row lacks a number; of objects with None where entries are no numbers.

        Raises
        ------
        ParameterError
            For a name that no row has.
        """
        self._check(name)
        values = [row.get(name) for row in self.rows]
        if all(v is None or _is_number(v) for v in values) and any(v is not None for v in values):
            return np.array([np.nan if v is None else v for v in values], dtype=float)
        found = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            found[i] = value
        return found

    def where(self, /, **conditions: Any) -> Sweep:
        """The rows that meet all conditions.

        Parameters
        ----------
        **conditions
            For an entry its value, a list, tuple, set or range of values, or a function of the entry that is true for
            rows to keep. An entry that a row lacks is None.

        Raises
        ------
        ParameterError
            For a name that no row has.
        """
        for name in conditions:
            self._check(name)
        return self._of(r for r in self.rows if all(_meets(r.get(name), wanted) for name, wanted in conditions.items()))

    def groups(self, by: str | Sequence[str]) -> list[tuple[dict[str, Any], Sweep]]:
        """The rows with equal entries under some names, groups in the order in which they appear.

        Parameters
        ----------
        by : str or sequence of str
            One or several names; none makes a single group.

        Returns
        -------
        list of (dict, Sweep)
            The entries that the rows of a group share, and the rows.

        Raises
        ------
        ParameterError
            For a name that no row has.
        """
        names = names_of(by)
        for name in names:
            self._check(name)
        found: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for row in self.rows:
            shared = {name: row.get(name) for name in names}
            found.setdefault(key_of(shared), (shared, []))[1].append(row)
        return [(shared, self._of(rows)) for shared, rows in found.values()]

    def best(self, figure: str, by: str | Sequence[str] = (), *, largest: bool = False) -> Sweep:
        """The row with the smallest figure, or the smallest of each group.

        Parameters
        ----------
        figure : str
            What to compare. Rows that lack it, or where it is not finite, are never the best.
        by : str or sequence of str
            Names whose entries make a group; a group where no figure is finite has no best row.
        largest : bool
            Compare for the largest.

        Raises
        ------
        ParameterError
            For a name that no row has, and for entries that are no numbers.
        """
        self.check_numbers(figure)
        sign = -1.0 if largest else 1.0
        chosen = []
        for _, group in self.groups(by):
            rows = [row for row in group.rows if is_finite(row.get(figure))]
            if rows:
                chosen.append(min(rows, key=lambda row: sign * float(row[figure])))
        return self._of(chosen)

    def table(
        self,
        figure: str | Sequence[str],
        *,
        rows: str | Sequence[str],
        columns: str | Sequence[str] = (),
        reduce: str | Callable[[list[float]], Any] | None = None,
        digits: int | Mapping[str, int] = 4,
    ) -> Table:
        """Figures by their configurations.

        Parameters
        ----------
        figure : str or sequence of str
            What stands in the cells; several figures stand side by side.
        rows, columns : str or sequence of str
            The names whose entries make a row and stand in front of it, and those whose entries make a column.
        reduce : {"min", "max", "mean", "median", "std", "count"} or callable, optional
            What becomes of a cell with several values, or the function of the list of them. Values that are missing or
            not finite are left out; a cell without any stays empty, or zero where values are counted.
        digits : int or mapping from figure to int
            Digits behind the point.

        Returns
        -------
        Table
            Text as ``str(table)``, ``table.markdown()`` and ``table.latex()``.

        Raises
        ------
        ParameterError
            For a name that no row has, for another reduction, where a cell has several values and ``reduce`` is not
            given, and where values to reduce are no numbers.
        """
        figures, across = names_of(figure), self.groups(columns)
        for name in figures:
            self._check(name)
        choice = _reduction(reduce)
        for name in figures if choice is not None else ():
            self.check_numbers(name)
        headings = list(names_of(rows))
        shown = [4] * len(headings)
        for shared, _ in across:
            for name in figures:
                headings.append(
                    ", ".join([described(shared)] * bool(shared) + [name] * (len(figures) > 1 or not shared))
                )
                shown.append(digits if isinstance(digits, int) else digits.get(name, 4))
        body = []
        for shared, group in self.groups(rows):
            cells = [group.where(**there)._cell(name, choice) for there, _ in across for name in figures]
            body.append([*(f"{v:g}" if isinstance(v, float) else v for v in shared.values()), *cells])
        return Table(headings, body, shown)

    def _cell(self, figure: str, choice: Callable[[list[float]], Any] | None) -> Any:
        entries = [row[figure] for row in self.rows if row.get(figure) is not None]
        if choice is None:
            if len(entries) > 1:
                raise ParameterError(
                    f"a cell of the table holds {len(entries)} values of {figure!r}; choose rows by where() or best(), "
                    f"or say what becomes of them, such as reduce='min'"
                )
            return entries[0] if entries else None
        values = [float(v) for v in entries if is_finite(v)]
        return choice(values) if values or choice is len else None

    def to_csv(self, path: Any) -> Path:
        """Write all rows into a file of comma-separated values, making folders; entries that a row lacks stay empty."""
        columns = [*self.names, *self.figures, *["error"] * bool(self.failed.rows)]
        where = Path(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        with where.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        return where

    def _of(self, rows: Any) -> Sweep:
        return Sweep(list(rows), self.names)

    def _check(self, name: str) -> None:
        known = [*self.names, *self.figures]
        if self.rows and name not in known and name != "error":
            failed = self.failed.rows
            why = f"; {len(failed)} of {len(self)} runs failed, the first with {failed[0]['error']}" if failed else ""
            raise ParameterError(f"the sweep has no {name!r}; it has {', '.join(map(repr, known))}{why}")

    def check_numbers(self, figure: str) -> None:
        """Raise ParameterError where a figure is missing, or is no number in a row that has it."""
        self._check(figure)
        for row in self.rows:
            value = row.get(figure)
            if value is not None and not _is_number(value):
                raise ParameterError(
                    f"{figure!r} holds {type(value).__name__}, as in {_excerpt(value)}, where a number is needed; let "
                    f"run return one number under a name of its own, such as the last entry of a curve"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        parts = [f"{len(self)} configurations of {', '.join(self.names)}", f"figures: {', '.join(self.figures)}"]
        failed = len(self.failed.rows)
        return f"Sweep({'; '.join(parts + [f'{failed} failed'] * bool(failed))})"


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def described(shared: Mapping[str, Any]) -> str:
    """Entries as a text for people: texts as they are, anything else behind its name."""
    return ", ".join(v if isinstance(v, str) else f"{name} {_short(v)}" for name, v in shared.items())


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else text_of(value, 4) or "none"


def is_finite(value: Any) -> bool:
    """Whether an entry is a number other than NaN and infinity."""
    return _is_number(value) and isfinite(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _meets(entry: Any, wanted: Any) -> bool:
    if callable(wanted) and not callable(entry):
        return bool(wanted(entry))
    if isinstance(wanted, (list, tuple, set, frozenset, range)):
        return _same(entry, wanted) or any(_same(entry, w) for w in wanted)
    return _same(entry, wanted)


def _same(entry: Any, wanted: Any) -> bool:
    return entry is wanted or key_of({"": entry}) == key_of({"": wanted})


def _reduction(reduce: str | Callable[[list[float]], Any] | None) -> Callable[[list[float]], Any] | None:
    if reduce is None or callable(reduce):
        return reduce
    if reduce not in REDUCTIONS:
        raise ParameterError(f"reduce is {', '.join(map(repr, REDUCTIONS))} or a function, but not {reduce!r}")
    return REDUCTIONS[reduce]


__all__ = ["Sweep", "described", "is_finite", "names_of"]
