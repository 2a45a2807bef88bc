"""Colours of lines and boxes, which also those who do not see red and green apart can tell (Okabe and Ito 2008)."""

from __future__ import annotations

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d", "#a6a000")


def colour(place: int) -> str:
    """The colour of the line or box at a place; after eight they start again."""
    return COLOURS[place % len(COLOURS)]
