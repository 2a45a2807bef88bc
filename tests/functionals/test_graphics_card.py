"""Every functional of the catalogue on a graphics card gives what it gives on the processor."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import Backend, backend
from opalg.functionals import Functional
from tests.functionals.members import CASES, NAMES, some

pytestmark = pytest.mark.gpu
every_functional = pytest.mark.parametrize(("f", "kind"), CASES, ids=NAMES)


def agree(found: object, wanted: object, lib: Backend, tolerance: float) -> bool:
    """Whether an array on the card holds the numbers of one on the processor."""
    assert lib.owns(found) and str(getattr(found, "device", "")) == str(lib.zeros((1,)).device)
    wanted = np.asarray(wanted)
    return bool(np.max(np.abs(lib.to_numpy(found) - wanted), initial=0.0) <= tolerance * (1.0 + np.max(np.abs(wanted))))


@every_functional
@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_graphics_card_gives_the_same_numbers(f: Functional, kind: str, library: str, precision: str) -> None:
    lib, host = backend(library, precision, "cuda"), backend("numpy", precision)
    tolerance = 1e-11 if precision == "float64" else 1e-4
    v = host.asarray(some(np.random.default_rng(0), kind))
    on_card = lib.asarray(v)
    if f.facts.has_value:
        assert f.value(on_card) == pytest.approx(f.value(v), rel=tolerance, abs=tolerance)
    if f.offers("prox"):
        assert agree(f.prox(on_card, 0.3), f.prox(v, 0.3), lib, tolerance)
        steps = host.asarray(np.array([0.1, 0.5, 2.0]))
        assert agree(f.prox(on_card, lib.asarray(steps)), f.prox(v, steps), lib, tolerance)
    if f.offers("gradient") and np.isfinite(f.value(v)):
        assert agree(f.gradient(on_card), f.gradient(v), lib, tolerance)
        assert agree(f.hessian_vector(on_card, on_card), f.hessian_vector(v, v), lib, 10 * tolerance)
