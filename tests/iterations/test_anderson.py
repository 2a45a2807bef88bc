"""Picard and Anderson iterations on contractions with known fixed points."""

from __future__ import annotations

import numpy as np
import pytest

from opalg.arrays import backend
from opalg.emit import Function
from opalg.errors import DtypeError, ParameterError
from opalg.iterations import Anderson, Picard
from opalg.iterations.anderson import CompiledAnderson
from opalg.program.expression import Input
from tests.iterations.systems import drive, symmetric

NUMPY = backend("numpy")


def linear_map(rng, lib, n=30, largest=0.98):
    matrix, shift = symmetric(rng, np.linspace(-0.3, largest, n)), rng.normal(size=n)
    m, c = lib.asarray(matrix), lib.asarray(shift)
    return (lambda z: lib.matmul(m, z) + c), np.linalg.solve(np.eye(n) - matrix, shift)


def shrinking_map(rng, n=30):
    """A proximal gradient step: contractive, with kinks."""
    matrix, shift = symmetric(rng, np.linspace(-0.3, 0.98, n)), rng.normal(size=n)

    def step(z):
        moved = matrix @ z + shift
        return np.sign(moved) * np.maximum(np.abs(moved) - 0.1, 0)

    return step


def folded(z):
    """A contraction in the largest entry (factor 0.95) on which unguarded acceleration never settles."""
    return 0.95 * np.roll(np.abs(z), 1) - 1


def test_picard_finds_the_fixed_point_at_the_known_rate(rng, lib):
    step, expected = linear_map(rng, lib, largest=0.5)
    iteration = Picard(step, lib)
    count = drive(iteration, 1e-10, 200, lib.zeros((30,)))
    assert 25 <= count <= 45  # log(1e-10 / |c|) / log(0.5)
    np.testing.assert_allclose(lib.to_numpy(iteration.state), expected, atol=1e-9)


def test_relaxed_picard_converges_where_the_plain_one_swings(lib):
    plain, relaxed = Picard(lambda z: -z, lib), Picard(lambda z: -z, lib, relaxation=0.5)
    start = lib.asarray(np.array([1.0, -2.0]))
    assert drive(plain, 1e-12, 20, start) == 20
    assert drive(relaxed, 1e-12, 20, start) == 2
    np.testing.assert_array_equal(lib.to_numpy(relaxed.state), np.zeros(2))
    np.testing.assert_array_equal(lib.to_numpy(start), [1.0, -2.0])


def test_picard_stops_at_the_last_finite_iterate():
    iteration = Picard(lambda z: np.where(z > 8, np.nan, 2 * z), NUMPY)
    drive(iteration, 0.0, 50, np.ones(2))
    assert iteration.outcome == "nonfinite"
    np.testing.assert_array_equal(iteration.state, [16.0, 16.0])


@pytest.mark.parametrize("iteration", [Picard, Anderson])
def test_maps_that_share_their_memory_are_safe(iteration):
    buffer = np.empty(3)
    scheme = iteration(lambda z: np.multiply(z, 0.5, out=buffer), NUMPY)
    drive(scheme, 1e-12, 100, np.ones(3))
    np.testing.assert_allclose(scheme.state, np.zeros(3), atol=1e-11)
    identity = iteration(lambda z: z, NUMPY)
    assert drive(identity, 0.0, 5, np.ones(3)) == 1
    np.testing.assert_array_equal(identity.state, np.ones(3))


def test_anderson_on_a_linear_contraction_needs_far_fewer_iterations(rng, lib):
    step, expected = linear_map(rng, lib)
    start = lib.zeros((30,))
    plain, fast = Picard(step, lib), Anderson(step, lib)
    slow_count = drive(plain, 1e-9, 5000, start)
    fast_count = drive(fast, 1e-9, 5000, start)
    assert fast_count < 0.25 * slow_count
    np.testing.assert_allclose(lib.to_numpy(fast.state), expected, atol=1e-7)
    np.testing.assert_array_equal(lib.to_numpy(start), np.zeros(30))


def test_anderson_with_full_memory_ends_like_gmres(rng):
    step, expected = linear_map(rng, NUMPY, n=8)
    iteration = Anderson(step, NUMPY, memory=8, regularisation=0.0)
    assert drive(iteration, 1e-9, 50, np.zeros(8)) <= 8 + 2  # Walker and Ni (2011), Theorem 2.2
    np.testing.assert_allclose(iteration.state, expected, atol=1e-7)


def test_first_accelerated_point_is_the_one_of_the_definition(rng):
    step, _ = linear_map(rng, NUMPY, n=6)
    z0 = rng.normal(size=6)
    seen = []
    iteration = Anderson(lambda z: (seen.append(z.copy()), step(z))[1], NUMPY, regularisation=0.0, damping=0.7)
    iteration.start(z0)
    for _ in range(4):
        iteration.advance()
    f = [step(z) - z for z in seen]
    g = [step(z) for z in seen]
    np.testing.assert_allclose(seen[1], z0 + 0.7 * f[0], rtol=1e-13)
    for k in (1, 2):
        df = np.stack([f[j + 1] - f[j] for j in range(k)], axis=1)
        dg = np.stack([g[j + 1] - g[j] for j in range(k)], axis=1)
        gamma = np.linalg.lstsq(df, f[k], rcond=None)[0]
        expected = g[k] - dg @ gamma - 0.3 * (f[k] - df @ gamma)
        np.testing.assert_allclose(seen[k + 1], expected, rtol=1e-7, atol=1e-9)


def test_state_and_residual_belong_together(rng):
    step, _ = linear_map(rng, NUMPY)
    seen = []
    iteration = Anderson(lambda z: (seen.append(z.copy()), step(z))[1], NUMPY)
    iteration.start(np.zeros(30))
    for _ in range(10):
        residual = iteration.advance()
        np.testing.assert_array_equal(iteration.state, step(seen[-1]))
        assert residual == pytest.approx(np.linalg.norm(step(seen[-1]) - seen[-1]), rel=1e-12)


def test_no_memory_is_picard(rng):
    step = shrinking_map(rng)
    plain, none = Picard(step, NUMPY), Anderson(step, NUMPY, memory=0)
    assert drive(plain, 1e-6, 3000, np.zeros(30)) == drive(none, 1e-6, 3000, np.zeros(30))
    np.testing.assert_array_equal(plain.state, none.state)


def test_anderson_on_nonlinear_contractions(rng):
    for step in (np.cos, shrinking_map(rng)):
        start = np.zeros(30)
        plain, fast = Picard(step, NUMPY), Anderson(step, NUMPY)
        assert drive(fast, 1e-9, 5000, start) < 0.5 * drive(plain, 1e-9, 5000, start)
        np.testing.assert_allclose(fast.state, plain.state, atol=1e-7)


def test_safeguard_rescues_where_unguarded_acceleration_never_settles():
    start = 50 * np.random.default_rng(2).normal(size=5)
    bare = Anderson(folded, NUMPY, growth=np.inf)
    assert drive(bare, 1e-8, 1000, start) == 1000
    assert bare.fallbacks == 0
    guarded, plain = Anderson(folded, NUMPY), Picard(folded, NUMPY)
    assert drive(guarded, 1e-8, 1000, start) < drive(plain, 1e-8, 1000, start) / 2
    assert guarded.fallbacks >= 1
    np.testing.assert_allclose(guarded.state, plain.state, atol=1e-6)


def test_safeguard_comes_back_from_nan():
    def step(z):
        return np.where(z < 0, np.nan, np.sqrt(np.abs(z)) * 0.5)  # undefined where acceleration overshoots

    iteration = Anderson(step, NUMPY, memory=2)
    drive(iteration, 1e-10, 500, np.array([1.0, 30.0]))
    assert iteration.outcome is None
    np.testing.assert_allclose(iteration.state, [0.25, 0.25], atol=1e-8)


def test_anderson_stops_where_the_plain_map_gives_nan():
    iteration = Anderson(lambda z: z * np.nan, NUMPY)
    assert drive(iteration, 1e-9, 5, np.ones(2)) == 1
    assert iteration.outcome == "nonfinite"
    np.testing.assert_array_equal(iteration.state, np.ones(2))


def test_history_is_allocated_once(rng):
    step, _ = linear_map(rng, NUMPY)
    iteration = Anderson(step, NUMPY)
    iteration.start(np.zeros(30))
    history = iteration._changes_f
    for _ in range(20):
        iteration.advance()
    assert iteration._changes_f is history
    iteration.start(np.ones(30))
    assert iteration._changes_f is history
    assert iteration.products == 0


def test_repeated_states_do_not_break_the_least_squares():
    iteration = Anderson(lambda z: np.ones(3), NUMPY)
    iteration.start(np.zeros(3))
    for _ in range(6):
        iteration.advance()
    assert iteration.residual == 0.0
    np.testing.assert_array_equal(iteration.state, np.ones(3))


def test_float32_acceleration(rng):
    lib = backend("numpy", "float32")
    step, expected = linear_map(rng, lib)
    iteration = Anderson(step, lib)
    drive(iteration, 1e-4, 2000, np.zeros(30, np.float32))
    assert iteration.state.dtype == np.float32
    np.testing.assert_allclose(iteration.state, expected, rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize(
    "options", [{"memory": -1}, {"memory": 1.5}, {"regularisation": -1.0}, {"damping": 0.0}, {"growth": 0.5}]
)
def test_bad_options(options):
    with pytest.raises(ParameterError):
        Anderson(lambda z: z, NUMPY, **options)


def test_bad_relaxation_and_start():
    with pytest.raises(ParameterError, match="relaxation"):
        Picard(lambda z: z, NUMPY, relaxation=0.0)
    with pytest.raises(DtypeError, match="VectorSpace"):
        Picard(lambda z: z, NUMPY).start(np.ones(2, complex))


def test_a_compiled_step_of_several_arrays_is_accelerated(lib):
    a, b = Input("a", (3,)), Input("b", (2,), "complex")
    bound = Function([0.9 * a + 1.0, 0.5j * b + 1.0], [a, b], lib).bind()
    iteration = CompiledAnderson(bound, lib)
    iteration.start((lib.zeros((3,)), lib.zeros((2,), "complex")))
    for _ in range(12):
        iteration.advance()
    found = [lib.to_numpy(part) for part in iteration.state]
    assert iteration.products == 12 and iteration.residual < 1e-8
    assert np.allclose(found[0], 10.0, atol=1e-6) and np.allclose(found[1], 1 / (1 - 0.5j), atol=1e-6)
