"""The table of operators with the same calls by hand: what a case is, and how it is entered.

Where there are several ways by hand, all of them are given; the benchmark takes the fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from by_hand import Hand

import opalg as oa

Map = Callable[[Any], Any]


@dataclass
class Case:
    """An operator, and the same by hand: the forward map, and the adjoint where it differs from that."""

    operator: oa.LinearOperator
    forward: list[Map]
    adjoint: list[Map] = field(default_factory=list)
    kind: str = "real"


Build = Callable[[Hand, int], Case]
CASES: dict[str, Build] = {}


def case(name: str) -> Callable[[Build], Build]:
    """Enter a builder of cases into the table."""

    def enter(build: Build) -> Build:
        CASES[name] = build
        return build

    return enter


def generator() -> np.random.Generator:
    """The same random numbers for every case."""
    return np.random.default_rng(0)
