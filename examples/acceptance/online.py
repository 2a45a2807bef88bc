"""Bars of the work in examples: online."""

from __future__ import annotations

from collections.abc import Iterator

from examples.acceptance.bar import Bar


def bars() -> Iterator[Bar]:
    """Measure them."""
    yield from ()
