"""Axes that users name, and data with one number for each group."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.errors import ShapeError
from opalg.functionals import Norm21
from opalg.functionals.groups import as_axis, behind_batch, on_groups
from opalg.leaves import Constant, Parameter
from opalg.program.differentiate import vjp
from opalg.program.expression import Input
from opalg.program.interpreter import evaluate


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, (0, 2), (-2, -1), (0, 1, 2)])
def test_data_for_groups_with_and_without_their_axes(axis: int | tuple[int, ...]) -> None:
    shape = (3, 4, 5)
    axes = tuple(a % 3 - 3 for a in np.atleast_1d(axis))
    full = np.random.default_rng(0).random(shape).sum(axis=axis, keepdims=True)
    for given in (full, np.squeeze(full, axis=tuple(a % 3 for a in axes))):
        found = evaluate([on_groups(Constant(given), shape, axes, "f", "weights")], {}, backend())[0]
        assert np.array_equal(np.broadcast_to(found, full.shape), full)


def test_data_that_fit_no_group() -> None:
    with pytest.raises(ShapeError, match=r"weights of shape \(1, 4\) or \(4,\)"):
        on_groups(Constant(np.ones(3)), (3, 4), (-2,), "f", "weights")
    with pytest.raises(ShapeError, match="1 group; give one number"):
        on_groups(Constant(np.ones(3)), (3, 4), None, "f", "weights")


def test_axes_of_batches() -> None:
    assert behind_batch(0, 2) == 2 and behind_batch((-1, 0), 1) == (-1, 1) and behind_batch(None, 1) is None
    assert as_axis([0, 1], "f") == (0, 1) and as_axis((np.int64(2),), "f") == 2


def test_weights_of_group_norms() -> None:
    rng = np.random.default_rng(1)
    v, w = rng.standard_normal((2, 3, 4)), rng.uniform(0.1, 2.0, (3, 4))
    norms = np.linalg.norm(v, axis=0)
    for weights in (w, w[None], Parameter(w, nonneg=True)):
        f = Norm21(0, weights)
        assert f.value(v) == pytest.approx(np.sum(w * norms))
        assert np.allclose(f.prox(v, 0.3), v * np.maximum(1 - 0.3 * w / norms, 0))
    u = rng.standard_normal((5, 2, 3, 4))
    each = np.stack([Norm21(0, w).prox(sample, t) for sample, t in zip(u, np.arange(5.0), strict=True)])
    assert np.allclose(Norm21(0, w).prox(u, np.arange(5.0)), each)
    across = rng.uniform(0.1, 2.0, (2, 4))
    assert Norm21(1, across).value(v) == pytest.approx(np.sum(across * np.linalg.norm(v, axis=1)))
    x = oa.Variable((2, 3, 4))
    assert oa.norm21(x).value(v) == pytest.approx(norms.sum())


def test_gradients_flow_into_weights_of_groups() -> None:
    w, x, u = Parameter(np.array([1.0, 0.5]), nonneg=True), Input("x", (2, 2)), Input("u", (2, 2))
    (slope,) = vjp([Norm21(0, w).define_prox(x, Parameter(1.0))], [u], [w])
    assert slope is not None
    v = np.array([[3.0, 0.0], [4.0, 0.1]])
    found = evaluate([slope], {x: v, u: np.ones((2, 2))}, backend())[0]
    assert np.allclose(found, [-1.4, 0.0])


def test_weights_of_groups_have_a_condition_and_a_text() -> None:
    f = Norm21(0, Parameter(np.ones(3), name="w"))
    ((_, strict, sentence),) = f.define_conditions()
    assert not strict and "norm21" in sentence and "'w'" in f.hint()
    assert f.text("x") == "norm21(x, weights=w)" and Norm21(-1, 2.0).text("x") == "norm21(x, axis=-1, weights=2)"
    assert "2,1,w" in f.latex("x") and not Norm21(0, [-1.0, 1.0]).offers("prox")
    with pytest.raises(ShapeError, match="weights of shape"):
        f.value(np.ones((2, 4)))
