"""Measure every bar of the three works at small scale and print a table.

    python -m examples.acceptance [--only common bilevel deep online] [--json FILE]

Bars are named on standard error as they are measured. It exits with 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from examples.acceptance import bilevel, common, deep, online
from examples.acceptance.bar import Bar
from opalg.learning import Table

WORKS: dict[str, Callable[[], Iterable[Bar]]] = {
    "common": common.bars,
    "bilevel": bilevel.bars,
    "deep": deep.bars,
    "online": online.bars,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.acceptance", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: list[Bar] = []
    for work in asked.only:
        begin = time.perf_counter()
        for bar in WORKS[work]():
            found.append(bar)
            print(f"{bar.name} {bar.what}: {bar.measured:.4g} ({bar.threshold})", file=sys.stderr, flush=True)
        print(f"{work}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    headings = ("bar", "what", "threshold", "measured", "holds", "note")
    print(
        Table(headings, [(b.name, b.what, b.threshold, b.measured, "yes" if b.holds else "NO", b.note) for b in found])
    )
    print(f"{sum(b.holds for b in found)} of {len(found)} bars hold")
    if asked.json is not None:
        asked.json.write_text(
            json.dumps([asdict(b) | {"measured": float(b.measured), "holds": b.holds} for b in found], indent=1)
        )
    return 0 if all(b.holds for b in found) else 1


if __name__ == "__main__":
    sys.exit(main())
