"""The bars of deep regularisation at small scale."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from examples.acceptance.deep import (  # noqa: E402
    bars,
    of_full_scale,
    of_hypergradients,
    of_the_measurement,
    of_the_prox,
)
from examples.deep_regularisation.evaluation import Restored  # noqa: E402
from examples.deep_regularisation.report import PUBLISHED  # noqa: E402
from examples.deep_regularisation.settings import FULL  # noqa: E402
from examples.deep_regularisation.study import Method, Study  # noqa: E402


def test_measurement_prox_and_hypergradients():
    found = [*of_the_prox(), of_hypergradients(side=12, count=1)]
    assert [b for b in found if not b.holds] == []


def test_the_poster_is_what_full_scale_is_measured_by():
    """A study that found the published figures holds; one that is 1.2 dB off everywhere fails in PSNR alone."""

    def found(off: float) -> Study:
        methods = {}
        for name, (psnr, ssim) in PUBLISHED.items():
            middle = 0.6 if name == "RED" else 0.0
            curve = [11.0, psnr + off + middle] + [psnr + off] * 60
            # the figures of the last iterate are others
            methods[name] = Method(name, Restored(np.zeros(1), curve, 0.0, 0.0, 0.0, ssim), 0.1)
        nothing = torch.zeros(1)
        return Study(FULL, nothing, nothing, methods)

    assert all(b.holds for b in of_full_scale(found(0.0)))
    failed = [b.what for b in of_full_scale(found(1.2)) if not b.holds]
    assert failed == [f"{name}: PSNR off the poster" for name in PUBLISHED]


@pytest.mark.slow
def test_the_cost_of_a_measurement():
    assert [b for b in of_the_measurement() if not b.holds] == []


@pytest.mark.slow
def test_every_bar_holds():
    found = list(bars())
    assert [b for b in found if not b.holds] == []
    assert {b.name for b in found} == {f"S2.{i}" for i in range(1, 9)}
