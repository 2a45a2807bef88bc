"""Tables of figures as text, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from opalg.errors import ParameterError, ShapeError

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {c: f"\\{c}" for c in "&%$#_{}"}


@dataclass(frozen=True)
class Table:
    """Named columns and rows of numbers and texts.

    Parameters
    ----------
    columns : sequence of str
        The headings.
    rows : sequence of sequences
        As many entries in a row as there are columns; None stays empty.
    digits : int or sequence of int
        Digits behind the point, of all columns or column by column. A number that they would show as zero, or that has
        more than seven digits in front of the point, is written as ``1.2e-09``.

    Raises
    ------
    ShapeError
        Where a row has another length.

    Examples
    --------
    >>> from opalg.learning.tables import Table
    >>> print(Table(("method", "PSNR", "SSIM"), [("RED", 26.3, 0.69), ("bilevel", 29.216, None)], digits=2))
    method    PSNR  SSIM
    -------  -----  ----
    RED      26.30  0.69
    bilevel  29.22
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    digits: int | Sequence[int] = 4

    def __post_init__(self) -> None:
        columns = tuple(str(c) for c in self.columns)
        rows = tuple(tuple(row) for row in self.rows)
        digits = (self.digits,) * len(columns) if isinstance(self.digits, int) else tuple(self.digits)
        for i, row in enumerate(rows):
            if len(row) != len(columns):
                raise ShapeError(f"row {i} of a table has {len(row)} entries, but there are {len(columns)} columns")
        for n in digits:
            if isinstance(n, bool) or not isinstance(n, Integral) or n < 0:
                raise ParameterError(f"digits are how many stand behind the point, none or more, not {self.digits!r}")
        if len(digits) != len(columns):
            raise ShapeError(f"digits has {len(digits)} entries, but there are {len(columns)} columns")
        for name, value in (("columns", columns), ("rows", rows), ("digits", digits)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str] | None = None,
        digits: int | Mapping[str, int] = 4,
    ) -> Table:
        """The table of mappings from column to entry.

        Parameters
        ----------
        rows : sequence of mappings
            What a row lacks stays empty.
        columns : sequence of str, optional
            Which columns, in order; by default all, in the order in which they appear.
        digits : int or mapping from column to int
            Digits behind the point; columns that a mapping does not name have 4.

        Raises
        ------
        ParameterError
            Where no row has a column.
        """
        present = list(dict.fromkeys(name for row in rows for name in row))
        names = present if columns is None else list(columns)
        for name in names:
            if rows and name not in present:
                raise ParameterError(f"no row has {name!r}; there are {', '.join(map(repr, present))}")
        shown = [digits if isinstance(digits, int) else digits.get(name, 4) for name in names]
        return cls(names, [[row.get(name) for name in names] for row in rows], shown)

    def __str__(self) -> str:
        """Aligned columns under a rule."""
        lines = self._aligned(list(self.columns), self._texts())
        return "\n".join("  ".join(line).rstrip() for line in lines)

    def markdown(self) -> str:
        """The table in Markdown, aligned in the source as well."""
        escaped = [[entry.replace("|", "\\|") for entry in row] for row in [self.columns, *self._texts()]]
        heading, rule, *body = self._aligned(escaped[0], escaped[1:], least=3)
        rule = [f"{r[:-1]}:" if right else r for r, right in zip(rule, self._numeric, strict=True)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *body))

    def latex(self) -> str:
        """The table as a ``tabular`` of LaTeX, without packages."""
        escaped = [
            ["".join(_LATEX.get(c, c) for c in entry) for entry in row] for row in [self.columns, *self._texts()]
        ]
        heading, _, *body = [" & ".join(line) + r" \\" for line in self._aligned(escaped[0], escaped[1:])]
        places = "".join("r" if right else "l" for right in self._numeric)
        lines = [rf"\begin{{tabular}}{{{places}}}", r"\hline", heading, r"\hline", *body, r"\hline", r"\end{tabular}"]
        return "\n".join(lines)

    @property
    def _numeric(self) -> list[bool]:
        """Which columns hold numbers and nothing else, so that they are flush right."""
        entries = ([row[i] for row in self.rows if row[i] is not None] for i in range(len(self.columns)))
        return [bool(column) and all(_is_number(e) for e in column) for column in entries]

    def _texts(self) -> list[list[str]]:
        assert not isinstance(self.digits, int)
        return [[text_of(entry, n) for entry, n in zip(row, self.digits, strict=True)] for row in self.rows]

    def _aligned(self, heading: Sequence[str], body: Sequence[Sequence[str]], least: int = 1) -> list[list[str]]:
        """The heading, a rule, and the body, every column filled up to its width."""
        widths = [max(least, *(len(row[i]) for row in [heading, *body])) for i in range(len(self.columns))]
        lines = [heading, ["-" * w for w in widths], *body]
        return [
            [e.rjust(w) if right else e.ljust(w) for e, w, right in zip(line, widths, self._numeric, strict=True)]
            for line in lines
        ]


def _is_number(entry: Any) -> bool:
    return isinstance(entry, Real) and not isinstance(entry, bool)


def text_of(entry: Any, digits: int) -> str:
    """A number with so many digits behind the point, yes or no for truth values, nothing for None, else the text."""
    if entry is None:
        return ""
    entry = entry.item() if isinstance(entry, np.generic) else entry
    if isinstance(entry, bool):
        return "yes" if entry else "no"
    if not _is_number(entry) or isinstance(entry, Integral):
        return str(entry)
    value = float(entry)
    hidden = value != 0 and abs(value) < 0.5 * 10.0**-digits
    if hidden or 1e7 <= abs(value) < float("inf"):
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


__all__ = ["Table", "text_of"]
