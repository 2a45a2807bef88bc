"""The null space of what terms hold, in the cheapest way that their operators allow."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.implicit.constraints import HeldRows
from opalg.implicit.null_space import ComponentNullSpace, CoordinateNullSpace, DenseNullSpace, TightFrameNullSpace
from opalg.implicit.reduced import Reduced
from tests.implicit.points import lineariser_of

N = 12
KINDS = {
    "coordinates": (lambda x: oa.norm1(x), CoordinateNullSpace),
    "differences": (lambda x: oa.norm1(oa.Gradient((N,)) @ x), ComponentNullSpace),
    "differences and coordinates": (lambda x: oa.norm1(oa.Gradient((N,)) @ x) + 0.3 * oa.norm1(x), ComponentNullSpace),
    "frame": (lambda x: oa.norm1(oa.DCT((N,)) @ x), TightFrameNullSpace),
    "matrix": (
        lambda x: oa.norm1(oa.Matrix(np.random.default_rng(1).standard_normal((8, N))) @ x),
        DenseNullSpace,
    ),
}
METHODS = {"coordinates": "proximal_gradient", "frame": "admm"}


@pytest.mark.parametrize("name", KINDS)
def test_held_rows_vanish_on_the_null_space(name: str, rng: np.random.Generator) -> None:
    make, kind = KINDS[name]
    x = oa.Variable(N)
    A = oa.Convolve(np.array([0.2, 0.6, 0.2]), (N,)) if name == "frame" else oa.Matrix(rng.standard_normal((15, N)))
    energy = 0.5 * oa.sum_squares(A @ x - 3 * rng.standard_normal(A.out_shape)) + 1.5 * make(x)
    plan = oa.compile(energy, method=METHODS.get(name, "primal_dual"))
    lineariser = lineariser_of(plan.solve(tol=1e-8, max_iter=20_000))
    jacobian = lineariser.refined()[0].jacobian
    assert isinstance(jacobian, Reduced) and isinstance(jacobian.null_space, HeldRows)
    assert isinstance(jacobian.null_space._inner, kind)
    w = jacobian.null_space.project(rng.standard_normal(N))
    assert np.linalg.norm(jacobian.null_space.project(w) - w) <= 1e-12
    assert jacobian.active is not None
    for part, mask in zip(jacobian._forward([w]), jacobian.active.masks, strict=True):
        assert np.abs(part[mask == 0]).max(initial=0.0) <= 1e-12
    values = rng.standard_normal(jacobian.null_space.rows)
    values[np.concatenate([m.ravel() for m in jacobian.active.masks]) != 0] = 0
    rho = np.concatenate([p.ravel() for p in jacobian._back(list(jacobian.rows.unpack(values)))])
    back = jacobian._back(list(jacobian.rows.unpack(jacobian.null_space.multipliers(rho))))
    np.testing.assert_allclose(np.concatenate([p.ravel() for p in back]), rho, atol=1e-10)


@pytest.mark.parametrize("name", ["differences", "differences and coordinates", "matrix"])
def test_sparse_rows_are_the_operators(name: str, rng: np.random.Generator) -> None:
    x = oa.Variable(N)
    energy = 0.5 * oa.sum_squares(x - rng.standard_normal(N)) + KINDS[name][0](x)
    lineariser = lineariser_of(oa.compile(energy, method="primal_dual").solve(tol=1e-4, max_iter=20_000))
    constraints = lineariser._constraints
    assert constraints is not None
    rows = constraints.sparse_rows()
    assert rows is not None
    w = rng.standard_normal(N)
    jacobian = lineariser.at(lineariser.start).jacobian
    assert isinstance(jacobian, Reduced)
    np.testing.assert_allclose(rows @ w, constraints.rows.pack(jacobian._forward([w])), atol=1e-12)
