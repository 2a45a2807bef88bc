"""The bars of bilevel learning beside equilibrium models; those that need the sweep take minutes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from examples.acceptance import bilevel


def check(bars):
    failed = [f"{b.name} {b.what}: {b.measured:.4g}, needed {b.threshold}" for b in bars if not b.holds]
    assert not failed, "; ".join(failed)


@pytest.mark.slow
def test_ties_hypergradients_and_steps():
    check([*bilevel.tied_bars(), bilevel.hypergradient_bar(), *bilevel.step_bars()])


@pytest.mark.slow
def test_the_sweep():
    check(bilevel.bars())
