"""Networks whose graph is recorded once: the same derivatives from fewer evaluations."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.program.recordings import KEPT, open_recordings, recorded_once

torch = pytest.importorskip("torch")


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.count = torch.nn.Linear(4, 4).double(), 0

    def forward(self, x):
        self.count += 1
        return torch.tanh(self.inner(x))


def test_one_evaluation_serves_all_products():
    network = Counting()
    function = oa.apply(network, oa.Variable(4, name="x")).function
    back, lib = function.back, oa.arrays.backend("torch", "float64")
    x, us = torch.randn(4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    plain = [back.evaluate(lib, x, u) for u in us]
    before = network.count
    with recorded_once() as kept:
        again = [back.evaluate(lib, x.clone(), u) for u in us]
        value = function.evaluate(lib, x)
        assert kept.evaluations == 1
    assert network.count == before + 1
    torch.testing.assert_close(torch.stack(again), torch.stack(plain), rtol=0, atol=0)
    torch.testing.assert_close(value, function.evaluate(lib, x), rtol=0, atol=0)
    assert open_recordings() is None


def test_another_point_is_another_graph():
    network = Counting()
    function = oa.apply(network, oa.Variable(4, name="x")).function
    lib = oa.arrays.backend("torch", "float64")
    points, u = torch.randn(KEPT + 1, 4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    plain = [function.back.evaluate(lib, x, u) for x in points]
    with recorded_once() as kept:
        for _ in range(2):
            found = [function.back.evaluate(lib, x, u) for x in points]
        assert kept.evaluations == 2 * (KEPT + 1)  # more points than graphs are held
        function.back.evaluate(lib, points[-1], u)
        assert kept.evaluations == 2 * (KEPT + 1)
    torch.testing.assert_close(torch.stack(found), torch.stack(plain), rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["online", "full"])
def test_a_backward_pass_evaluates_the_network_a_few_times(mode):
    network = Counting()
    x, y = oa.Variable(4, name="x"), oa.Parameter(torch.ones(8, dtype=torch.float64), name="y")
    A = oa.vstack([oa.Matrix(np.eye(4)), oa.Matrix(np.eye(4)[::-1].copy())])
    image = x - 0.2 * (oa.grad(0.5 * oa.sum_squares(A @ x - y)) + oa.apply(network, x))
    plan = oa.fixed_point(x, oa.prox(oa.nonneg, image), acceleration="none")
    solver = plan if mode == "full" else oa.online(plan, 1)
    solution = solver.solve(max_iter=50, on_failure="return")
    counts = []
    for length in (5, 40):
        before = network.count
        how = {"max_iter": length} if mode == "online" else {"mode": "neumann", "terms": length}
        solution.vjp(torch.ones(4, dtype=torch.float64), y, on_inexact="return", **how)
        counts.append(network.count - before)
    assert counts[0] == counts[1] <= 6
