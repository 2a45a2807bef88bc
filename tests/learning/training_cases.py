"""Small models that training tests share, in Torch on the CPU."""

from __future__ import annotations

import torch

import opalg as oa

SHAPE = (4, 8)


def ridge(dtype: torch.dtype = torch.float64, **options):
    """``|x - y|^2 / 2 + lam |x|^2 / 2``, whose solution is ``y / (1 + lam)``."""
    x, y = oa.Variable(SHAPE, name="x"), oa.Parameter(torch.zeros(SHAPE, dtype=dtype), name="y")
    lam = oa.Parameter(torch.tensor(1.0, dtype=dtype), name="lam", positive=True)
    return oa.compile(0.5 * oa.sum_squares(x - y) + 0.5 * lam * oa.sum_squares(x), **options)


def batches(count: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Batches whose best lam is 0.25."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        y = torch.randn(SHAPE, generator=generator, dtype=dtype)
        found.append(({"y": y}, 0.8 * y))
    return found


def experts(**options):
    """A bilevel map of fields of experts with a matrix, biases and a weight, in float64."""
    generator = torch.Generator().manual_seed(5)
    u = oa.Variable(SHAPE, name="u")
    f = oa.Parameter(torch.zeros(SHAPE, dtype=torch.float64), name="f")
    A = oa.Parameter(torch.randn((1, 6, 8), generator=generator, dtype=torch.float64) / 3, name="A")
    b = oa.Parameter(torch.zeros((1, 6), dtype=torch.float64), name="b")
    rows = oa.MatrixStack(A) @ (oa.Reshape((8,), (1, 8)) @ u)
    energy = 0.5 * oa.sum_squares(u - f) + oa.pointwise(oa.activation("tanh"), rows + oa.broadcast_to(b, rows.shape))
    return oa.fixed_point(u, u - 0.3 * oa.grad(energy), **options)


def noisy(count: int = 3, seed: int = 1):
    """Data for `experts`: a callable that draws noise from the generator of each epoch, with indices."""
    clean = torch.randn((4 * count, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def measure(x, generator):
        return {"f": x + 0.3 * torch.randn(x.shape, generator=generator, dtype=x.dtype)}

    return oa.learning.Measured(clean, measure, batch=4)


def state_of(done) -> dict[str, torch.Tensor]:
    """The weights of a training run."""
    return {n: p.detach().clone() for n, p in done.module.named_parameters()}


def without_time(rows) -> list[dict]:
    """Rows of a log, but for the clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_run(one, two) -> None:
    """Two runs are the same to the bit."""
    for name, weight in state_of(one).items():
        assert torch.equal(weight, state_of(two)[name]), name
    assert repr(without_time(one.log.rows)) == repr(without_time(two.log.rows))  # NaN equals NaN as text
    assert (one.epochs, one.steps, one.finished) == (two.epochs, two.steps, two.finished)
