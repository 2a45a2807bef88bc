"""Steps that the array library's own compiler fuses."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.emit.function import Function
from opalg.errors import UnsupportedError
from opalg.functionals import Huber
from opalg.program.expression import Input


def energy() -> oa.Energy:
    x = oa.Variable((16, 20), name="x")
    y = np.random.default_rng(0).random((16, 20))
    return 0.5 * oa.sum_squares(x - y) + 0.1 * oa.total_variation(x) + oa.indicator(x >= 0)


def test_numpy_takes_it_as_it_is_and_others_refuse() -> None:
    plain, fused = (oa.compile(energy(), fuse=fuse).solve(tol=1e-6) for fuse in (False, True))
    assert np.array_equal(plain.x, fused.x)
    v, t = Input("v", (4,)), Input("t", (), role="control")
    lib = backend("array_api_strict", "float64")
    with pytest.raises(UnsupportedError, match="leave fuse=True out"):
        Function([Huber(0.5).define_prox(v, t)], [v, t], lib, fuse=True).bind({}, {t: 0.3})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Torch's compiler, about itself
def test_torch_gives_the_same_fused() -> None:
    torch = pytest.importorskip("torch")
    plain = oa.minimize(energy(), backend="torch", method="primal_dual", tol=1e-6)
    plan = oa.compile(energy(), backend="torch", method="primal_dual", fuse=True)
    for _ in range(2):
        fused = plan.solve(tol=1e-6)
        assert fused.status.success and isinstance(fused.x, torch.Tensor)
        assert torch.allclose(plain.x, fused.x, atol=1e-4)
