"""Anderson acceleration of many fixed points at once, beside one after another."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.errors import DtypeError, ParameterError, ShapeError
from opalg.iterations import Anderson, BatchedAnderson
from tests.iterations.systems import drive, symmetric

NUMPY = backend("numpy")


def maps(rng, samples=4, n=12, largest=(0.5, 0.9, 0.98, 0.999)):
    matrices = np.stack([symmetric(rng, np.linspace(-0.3, top, n)) for top in largest[:samples]])
    shifts = rng.normal(size=(samples, n))
    exact = np.stack([np.linalg.solve(np.eye(n) - m, c) for m, c in zip(matrices, shifts, strict=True)])
    return matrices, shifts, exact


def test_each_sample_finds_its_own_fixed_point(rng, lib):
    matrices, shifts, exact = maps(rng)
    m, c = lib.asarray(matrices), lib.asarray(shifts)
    iteration = BatchedAnderson(lambda z: lib.xp.matmul(m, z[:, :, None])[:, :, 0] + c, lib, 1e-12)
    iteration.start(lib.zeros((4, 12)))
    while iteration.outcome is None and iteration.products < 400:
        iteration.advance()
    assert iteration.outcome == "converged"
    np.testing.assert_allclose(lib.to_numpy(iteration.state), exact, rtol=1e-7)
    assert iteration.counts[0] < iteration.counts[3]


@pytest.mark.parametrize("memory", [0, 1, 5])
def test_the_iterates_are_those_of_one_sample_alone(rng, memory):
    matrices, shifts, _ = maps(rng)
    together = BatchedAnderson(lambda z: np.einsum("sij,sj->si", matrices, z) + shifts, NUMPY, 0.0, memory)
    together.start(np.zeros((4, 12)))
    alone = [
        Anderson(lambda z, m=m, c=c: np.einsum("ij,j->i", m, z) + c, NUMPY, memory)
        for m, c in zip(matrices, shifts, strict=True)
    ]
    for iteration in alone:
        iteration.start(np.zeros(12))
    for _ in range(8):
        together.advance()
        for iteration in alone:
            iteration.advance()
        np.testing.assert_allclose(together.state, np.stack([i.state for i in alone]), rtol=1e-6)


def test_a_sample_that_has_ended_stays_and_the_others_do_not_notice(rng):
    matrices, shifts, _ = maps(rng)

    def apply(z):
        return np.einsum("sij,sj->si", matrices, z) + shifts

    iteration = BatchedAnderson(apply, NUMPY, 1e-6)
    iteration.start(np.zeros((4, 12)))
    seen = {}
    while iteration.outcome is None:
        iteration.advance()
        for i, outcome in enumerate(iteration.outcomes):
            if outcome is not None:
                np.testing.assert_array_equal(seen.setdefault(i, iteration.state[i].copy()), iteration.state[i])
    last = BatchedAnderson(lambda z: np.einsum("sij,sj->si", matrices[3:], z) + shifts[3:], NUMPY, 1e-6)
    last.start(np.zeros((1, 12)))
    while last.outcome is None:
        last.advance()
    np.testing.assert_array_equal(last.state[0], iteration.state[3])


def test_a_sample_that_fails_leaves_the_others_alone():
    def apply(z):
        return np.stack([0.5 * z[0] + 1.0, np.where(z[1] > 8, np.nan, 2 * z[1])])

    iteration = BatchedAnderson(apply, NUMPY, 1e-10, memory=0)
    iteration.start(np.ones((2, 3)))
    while iteration.outcome is None and iteration.products < 100:
        iteration.advance()
    assert iteration.outcomes == ["converged", "nonfinite"]
    assert iteration.outcome == "nonfinite"
    assert "1 samples, sample 1" in iteration.message
    np.testing.assert_allclose(iteration.state[0], 2.0, rtol=1e-9)
    assert np.all(np.isfinite(iteration.state))


def test_the_safeguard_falls_back_where_acceleration_swings():
    """A contraction in the largest entry (factor 0.95) on which unguarded acceleration wanders."""

    def folded(z):
        return 0.95 * np.roll(np.abs(z), 1, axis=1) - 1

    found = {}
    for growth in (2.0, np.inf):
        found[growth] = BatchedAnderson(folded, NUMPY, 1e-9, growth=growth)
        found[growth].start(np.stack([50 * np.random.default_rng(2).normal(size=5), np.ones(5)]))
        while found[growth].outcome is None and found[growth].products < 2000:
            found[growth].advance()
    assert found[2.0].outcome == "converged"
    assert found[2.0].fallbacks > found[np.inf].fallbacks == 0
    assert found[2.0].products < found[np.inf].products


def test_a_sample_comes_back_from_nan():
    def step(z):
        with np.errstate(invalid="ignore"):
            return np.where(z < 0, np.nan, np.sqrt(np.abs(z)) * 0.5)  # undefined where acceleration overshoots

    iteration = BatchedAnderson(step, NUMPY, 1e-9, memory=2)
    iteration.start(np.array([[1.0, 30.0], [1.0, 1.0]]))
    while iteration.outcome is None and iteration.products < 500:
        iteration.advance()
    assert iteration.outcome == "converged"
    np.testing.assert_allclose(iteration.state, 0.25, atol=1e-7)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="samples, n"):
        BatchedAnderson(lambda z: z, NUMPY).start(np.zeros(3))
    with pytest.raises(DtypeError, match="real"):
        BatchedAnderson(lambda z: z, NUMPY).start(np.zeros((2, 3), dtype=complex))
    for wrong in ({"memory": -1}, {"tolerance": float("nan")}, {"regularisation": -1.0}, {"growth": 0.5}):
        with pytest.raises(ParameterError):
            BatchedAnderson(lambda z: z, NUMPY, **wrong)


def test_one_advance_is_one_application(rng):
    iteration = BatchedAnderson(lambda z: 0.5 * z + 1.0, NUMPY, 1e-12)
    assert drive(iteration, 1e-10, 50, np.zeros((2, 5))) == iteration.products


def test_a_sample_that_diverges_ends_by_itself(rng):
    def apply(z):
        return np.stack([0.5 * z[0] + 1.0, 3.0 * z[1] + 1.0])

    iteration = BatchedAnderson(apply, NUMPY, 1e-10, memory=0)
    iteration.start(np.zeros((2, 3)))
    while iteration.outcome is None and iteration.products < 100:
        iteration.advance()
    assert iteration.outcomes == ["converged", "diverged"]
    assert iteration.outcome == "diverged"
    assert "1 samples, sample 1" in iteration.message
    assert iteration.counts[1] < iteration.counts[0]
    np.testing.assert_allclose(iteration.state[0], 2.0, rtol=1e-9)


def test_rows_that_ended_are_no_longer_worked_on(rng):
    """Samples that need ever more iterations, so that rows are dropped several times on the way."""
    factors = np.linspace(0.1, 0.95, 40)[:, None]

    def apply(z):
        return factors * np.cos(z) + 1.0

    iteration = BatchedAnderson(apply, NUMPY, 1e-11, memory=2)
    iteration.start(rng.normal(size=(40, 3)))
    sizes = []
    while iteration.outcome is None:
        iteration.advance()
        sizes.append(len(iteration._going))
    assert iteration.outcome == "converged"
    assert sizes[0] == 40 > sizes[-1]
    np.testing.assert_allclose(iteration.state, apply(iteration.state), atol=1e-10)


@pytest.mark.parametrize("memory", [0, 3])
def test_a_sample_that_overflows_rests_where_the_map_was_finite(memory):
    def apply(z):
        return np.stack([0.5 * z[0] + 1.0, 10.0 * z[1] ** 3, np.where(z[2] > 2.5, np.nan, z[2] + 1.0)])

    iteration = BatchedAnderson(apply, NUMPY, 1e-10, memory)
    iteration.start(np.array([[1.0, 1.0], [1e50, 1e50], [1.0, 1.5]]))
    with np.errstate(over="ignore"):
        while iteration.outcome is None and iteration.products < 100:
            iteration.advance()
    assert iteration.outcomes == ["converged", "diverged", "nonfinite"]
    with np.errstate(all="raise"):
        assert np.isfinite(apply(iteration.state)).all()  # of the images, too
    np.testing.assert_array_equal(iteration.state[1], 1e50)
    np.testing.assert_array_equal(iteration.state[2], [2.0, 2.5])
