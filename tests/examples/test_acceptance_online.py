"""The bars of online equilibrium models at small scale."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from examples.acceptance.online import bars, definition_bars, law_bars, operator_bars
from examples.online_equilibrium.instances import tomography
from examples.online_equilibrium.settings import SMALL


def test_operators_and_definitions():
    settings = replace(SMALL, size=16, train=1, test=2)
    found = [*operator_bars(), *definition_bars(tomography(settings), settings)]
    assert [b for b in found if not b.holds] == []
    assert {b.name for b in found} == {"S3.9", "S3.10"}


@pytest.mark.slow
def test_the_laws_of_sampling():
    assert [b for b in law_bars() if not b.holds] == []


@pytest.mark.slow
def test_every_bar_holds():
    found = list(bars())
    assert [b for b in found if not b.holds] == []
    assert {b.name for b in found} == {f"S3.{i}" for i in (1, 2, 3, 4, 5, 6, 8, 9, 10)}
