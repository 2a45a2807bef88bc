"""The graph of rows, against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.implicit import row_graph
from opalg.implicit.row_graph import RowGraph
from opalg.implicit.row_structure import RowStructure

KINDS = {"few": (12, 5), "many": (12, 30), "forest": (12, None), "none": (6, 0)}


def random_rows(rng, kind, singles=0.2):
    """Rows over a few entries; "forest" joins each entry to an earlier one or to none."""
    size, count = KINDS[kind]
    if count is None:
        head = np.arange(1, size)
        tail = np.array([rng.integers(0, h) for h in head])
        keep = rng.random(size - 1) > 0.2
        head, tail = rng.permutation(size)[np.stack((head[keep], tail[keep]))]
        singles = 0
    else:
        head, tail = rng.integers(0, size, count), rng.integers(0, size - 1, count)
        tail = (head + 1 + tail) % size
    tail = np.where(rng.random(len(head)) < singles, -1, tail)
    c = rng.uniform(0.5, 2, len(head)) * np.where(tail < 0, rng.choice([-1, 1], len(head)), 1)
    return RowStructure(head.astype(np.int64), tail.astype(np.int64), c, size)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("seed", range(6))
def test_components_and_solutions(kind, seed):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, kind)
    matrix, graph = rows.matrix().toarray(), RowGraph(rows)
    rank = np.linalg.matrix_rank(matrix) if len(rows) else 0
    assert graph.free == rows.in_size - rank
    assert graph.forest == (rank == len(rows))
    x, p = rng.normal(size=(rows.in_size, 2)), rng.normal(size=(len(rows), 2))
    np.testing.assert_allclose(matrix @ graph.potentials(matrix @ x), matrix @ x, atol=1e-12)
    inverse = np.linalg.pinv(matrix)
    np.testing.assert_allclose(
        graph.centred(x)[graph.labels < graph.free], 0 + (inverse @ matrix @ x)[graph.labels < graph.free], atol=1e-12
    )
    if len(rows):
        np.testing.assert_allclose(graph.centred(graph.least_squares(p)), inverse @ p, atol=1e-11)
        np.testing.assert_allclose(graph.smallest_flows(matrix.T @ p), inverse.T @ matrix.T @ p, atol=1e-11)
    flows = graph.flows(matrix.T @ p)
    np.testing.assert_allclose(matrix.T @ flows, matrix.T @ p, atol=1e-12)
    assert np.count_nonzero(np.any(flows != 0, axis=1)) <= rank


def test_rows_of_zeros_are_no_edges():
    rows = RowStructure(np.array([-1, 1, 2]), np.array([-1, 0, 2]), np.array([0.0, 2.0, 1.0]), 3)
    graph = RowGraph(rows)
    assert graph.edges.tolist() == [1]
    assert graph.free == 2
    assert graph.forest
    np.testing.assert_array_equal(graph.flows(np.array([[-4.0], [4.0], [0.0]])), [[0.0], [2.0], [0.0]])


def test_long_chains_take_few_rounds(rng):
    n = 20_000
    order = rng.permutation(n)
    rows = RowStructure(order[1:], order[:-1], np.ones(n - 1), n)
    graph = RowGraph(rows)
    assert sum(1 for _ in graph._ancestors()) <= 16
    x = np.cumsum(rng.normal(size=(n, 1)), axis=0)
    moved = graph.potentials(rows.apply(x))
    np.testing.assert_allclose(moved - moved[:1], x - x[:1], atol=1e-9)


def test_coefficients_of_very_different_size(rng):
    c = np.array([1e-6, 1.0, 1e9, 1e-3, 1e5])
    rows = RowStructure(np.array([1, 2, 3, 3, 2]), np.array([0, 1, 2, 0, 0]), c, 4)
    graph = RowGraph(rows)
    rho = np.array([[1.0], [-3.0], [0.5], [1.5]])
    p = graph.smallest_flows(rho)
    np.testing.assert_allclose(rows.matrix().T @ p, rho, rtol=1e-7)


def test_the_iterative_way_agrees_with_factors(rng, monkeypatch):
    rows = random_rows(rng, "many")
    p = rng.normal(size=(len(rows), 2))
    rho = rows.matrix().T @ p
    direct = RowGraph(rows).smallest_flows(rho)
    monkeypatch.setattr(row_graph, "_MANY", 0)
    monkeypatch.setattr(row_graph, "_CROWDED", 0.0)
    graph = RowGraph(rows)
    np.testing.assert_allclose(graph.smallest_flows(rho), direct, atol=1e-12)
    assert "_factors" not in vars(graph)
    monkeypatch.setattr(row_graph, "_LONG", 1)
    graph = RowGraph(rows)
    np.testing.assert_allclose(graph.smallest_flows(rho), direct, atol=1e-12)
    assert "_factors" in vars(graph)
