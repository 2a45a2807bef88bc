"""A progress bar for long solves."""

from __future__ import annotations

from math import log10
from typing import Any

from opalg.errors import UnsupportedError

LEAST = 1e-16  # no residual of double precision tells more


def bar(total: float, label: str) -> Any:
    """A bar of tqdm, to be moved by its ``n``.

    Raises
    ------
    UnsupportedError
        Where tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        raise UnsupportedError("progress=True needs tqdm: pip install tqdm, or use callback=") from None
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    return tqdm(total=total, desc=label, bar_format=form, leave=True)


class Progress:
    """A bar that fills, on a logarithmic scale, as the certificate falls to the tolerance.

    Parameters
    ----------
    tolerance : float
        Where the bar is full; below `LEAST` it is full there.
    label : str
        What stands in front of the bar.

    Raises
    ------
    UnsupportedError
        Where tqdm is not installed.
    """

    def __init__(self, tolerance: float, label: str = "") -> None:
        self._bar = bar(100.0, label)
        self._tolerance = max(tolerance, LEAST)
        self._first: float | None = None

    def update(self, iteration: int, relative: float, kind: str) -> None:
        """Show a measurement."""
        if relative > 0 and self._first is None:
            self._first = max(relative, 10 * self._tolerance)
        if relative <= self._tolerance:
            done = 100.0
        elif self._first is None:
            done = 0.0
        else:
            done = 100.0 * log10(self._first / relative) / log10(self._first / self._tolerance)
        self._bar.n = min(max(done, self._bar.n, 0.0), 100.0)
        self._bar.set_postfix_str(f"iteration {iteration}, {kind} {relative:.1e}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def progress_of(wanted: Any, tolerance: float, label: str) -> Progress | None:
    """The bar that ``progress=`` asks for, or None."""
    return Progress(tolerance, label) if wanted else None
