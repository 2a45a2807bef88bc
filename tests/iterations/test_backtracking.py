"""The line search by itself: steps, samples that rest, rounding, and steps that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from opalg.arrays import Backend, backend
from opalg.emit import Function
from opalg.iterations.backtracking import Backtracking, search_programs
from opalg.leaves import Constant
from opalg.program import expression as ex
from opalg.program.expression import Expression, Input, Literal

NUMPY = backend("numpy")
SAMPLES, N = 3, 8


def search(
    curvatures: np.ndarray,
    lib: Backend = NUMPY,
    *,
    gradient: Callable[[Expression], Expression] | None = None,
    value: Any = None,
    samples: bool = True,
    step: float = 1.0,
    **options: Any,
) -> tuple[Backtracking, list[int]]:
    """A line search for ``sum c x^2 / 2``, or another gradient, and a count of its gradients."""
    x = Input("x", curvatures.shape, "real")
    t = Input("t_x", (SAMPLES, 1), "real") if samples else Input("t", (), "real", role="control")
    c = Constant(curvatures)
    programs = search_programs(
        (x,),
        1 if samples else 0,
        (t,),
        lambda z: [c * z[0] if gradient is None else gradient(z[0])],
        lambda z, slopes, steps: [z[0] - steps[0] * slopes[0]],
        value,
        [Literal(0.0)],
    )
    bound = [
        Function(out, given, lib).bind({}, {t: step} if t in given and not samples else {}) for out, given in programs
    ]
    calls = [0]

    def counted(*arrays: Any) -> Any:
        calls[0] += 1
        return bound[0](*arrays)

    control, shape = (None, (SAMPLES,)) if samples else (t, ())
    return Backtracking([counted, *bound[1:]], lib, control, shape, step, **options), calls


def spread(rng: np.random.Generator, tops: tuple[float, ...] = (1.0, 100.0, 1e4)) -> np.ndarray:
    return np.stack([np.linspace(0.1 * top, top, N) for top in tops])


def drive(iteration: Backtracking, start: Any, limit: int = 2000) -> int:
    iteration.start((start,))
    for count in range(limit):
        if iteration.outcome is not None:
            return count
        iteration.advance()
    return limit


def test_each_sample_has_a_step_of_its_own_curvature(rng, lib):
    iteration, calls = search(spread(rng), lib, tolerance=1e-10, guesses=True)
    drive(iteration, lib.asarray(rng.normal(size=(SAMPLES, N))))
    assert iteration.outcomes == ["converged"] * SAMPLES
    assert (iteration.relative <= 1e-10).all() and np.abs(lib.to_numpy(iteration.state[0])).max() < 1e-8
    for step, top in zip(iteration.steps, (1.0, 100.0, 1e4), strict=True):
        assert 0.5 / top <= step <= 10.0 / top
    assert calls[0] == iteration.products


def test_an_accepted_step_costs_one_gradient(rng):
    iteration, calls = search(np.ones((SAMPLES, N)), step=0.4)
    iteration.start((rng.normal(size=(SAMPLES, N)),))
    assert calls[0] == 1
    for count in range(1, 6):
        iteration.advance()
        assert calls[0] == 1 + count and (iteration.counts == count).all()


def test_the_test_is_the_inequality_of_gradients(rng):
    """Each accepted move obeys it, and the step before a rejection did not, by the definition."""
    c = spread(rng, (3.0, 5.0, 7.0))
    iteration, _ = search(c, step=1.0)
    iteration.start((rng.normal(size=(SAMPLES, N)),))
    for _ in range(30):
        before = iteration.state[0].copy()
        iteration.advance()
        moved = iteration.state[0] - before
        used = moved[:, 0] / (-c[:, 0] * before[:, 0])
        assert (np.sum(c * moved * moved, axis=1) <= np.sum(moved * moved, axis=1) / used * (1 + 1e-9)).all()


def test_the_iterates_of_a_sample_do_not_depend_on_the_others(rng):
    c, x0 = spread(rng), rng.normal(size=(SAMPLES, N))
    together, _ = search(c, guesses=True)
    together.start((x0,))
    alone = []
    for row, start in zip(c, x0, strict=True):
        one, _ = search(np.tile(row, (SAMPLES, 1)), guesses=True)
        one.start((np.tile(start, (SAMPLES, 1)),))
        alone.append(one)
    for _ in range(25):
        together.advance()
        for one in alone:
            one.advance()
    np.testing.assert_allclose(together.state[0], np.stack([one.state[0][0] for one in alone]), rtol=1e-9)
    np.testing.assert_allclose(together.steps, [one.steps[0] for one in alone], rtol=1e-9)


def test_a_sample_that_has_converged_rests_while_others_go_on(rng):
    iteration, _ = search(spread(rng, (1.0, 1.0, 1.0)), tolerance=1e-6, step=0.5)
    x0 = rng.normal(size=(SAMPLES, N))
    x0[1] = 0.0  # its minimiser
    iteration.start((x0,))
    assert iteration.outcomes[1] == "converged" and iteration.outcomes[0] is None
    x0[1] = 0.0
    seen = []
    while iteration.outcome is None:
        iteration.advance()
        seen.append(iteration.counts.copy())
    assert seen[-1][1] == 0 and (iteration.state[0][1] == 0.0).all() and seen[-1][0] > 5
    at_rest = [x for x in seen if x[0] == seen[-1][0]]
    assert len(at_rest) >= 1 and iteration.outcome == "stagnated" and "every sample" in iteration.message


def test_a_step_that_is_too_short_grows_again(rng):
    iteration, _ = search(np.ones((SAMPLES, N)), step=1e-3)
    iteration.start((rng.normal(size=(SAMPLES, N)),))
    for _ in range(60):
        iteration.advance()
    assert (iteration.steps > 0.8).all() and (iteration.steps <= 1.0).all()


def test_a_step_that_is_far_too_long_takes_one_more_gradient_only(rng):
    """On a quadratic the halvings that would fail are not tried."""
    iteration, calls = search(np.full((SAMPLES, N), 1e6), step=1.0)
    iteration.start((rng.normal(size=(SAMPLES, N)),))
    iteration.advance()
    assert calls[0] == 3 and (iteration.steps >= 0.5e-6).all() and (iteration.steps <= 1.2e-6).all()


@pytest.mark.parametrize("test", ["gradient", "value"])
def test_steps_do_not_collapse_in_single_precision(rng, test):
    """``|x|^2 / 2 - s`` as a difference of large numbers, long after rounding is all that is left (S2.4)."""
    single = backend("numpy", "float32")

    def gradient(x: Expression) -> Expression:
        return x - 0.9 * ex.pointwise("tanh", x - 1.0)

    def value(z: tuple[Expression, ...]) -> tuple[Expression, Expression]:
        large = ex.norm_squared(z[0]) * 0.5 + 1e4
        small = ex.total(ex.log(ex.pointwise("cosh", z[0] - 1.0))) * 0.9 + 1e4
        return large - small, large + small

    shape = np.ones((SAMPLES, N))
    iteration, _ = search(shape, single, gradient=gradient, value=value, samples=False, step=0.5, test=test)
    iteration.start((single.asarray(3.0 + rng.normal(size=(SAMPLES, N))),))
    shortest = []
    for _ in range(300):
        iteration.advance()
        shortest.append(iteration.step_size)
    assert min(shortest[-200:]) > 0.3 and iteration.relative[0] < 1e-5 * (1.0 if test == "gradient" else 10.0)


def test_values_decide_where_they_can_be_told_apart(rng):
    """A quartic far out: both tests take a descent step, and values never let the energy grow."""
    shape = np.ones((SAMPLES, N))

    def value(z: tuple[Expression, ...]) -> tuple[Expression, Expression]:
        f = ex.total(ex.square(ex.square(z[0])))
        return f, f

    iteration, _ = search(
        shape, gradient=lambda x: 4.0 * x * ex.square(x), value=value, samples=False, step=1.0, test="value"
    )
    iteration.start((rng.normal(size=(SAMPLES, N)),))
    values = [np.sum(iteration.state[0] ** 4)]
    for _ in range(50):
        iteration.advance()
        values.append(np.sum(iteration.state[0] ** 4))
    assert (np.diff(values) <= 0).all() and values[-1] < 1e-3 * values[0]


def test_a_gradient_that_is_not_finite_ends_its_sample_only(rng):
    def gradient(x: Expression) -> Expression:
        return x + 0.0 * ex.log(x + 5.0)

    iteration, _ = search(np.ones((SAMPLES, N)), gradient=gradient, tolerance=1e-8, step=0.5)
    x0 = rng.normal(size=(SAMPLES, N))
    x0[2, 0] = -6.0
    drive(iteration, x0)
    assert iteration.outcomes == ["converged", "converged", "nonfinite"]
    assert iteration.outcome == "nonfinite" and "1 samples, sample 2 first" in iteration.message
    assert (iteration.state[0][2] == x0[2]).all() and np.abs(iteration.state[0][:2]).max() < 1e-7


def test_trials_outside_of_the_domain_are_shortened(rng):
    """``-sum log x + sum x``: a long first step leaves the domain, where the gradient means nothing."""

    def gradient(x: Expression) -> Expression:
        return 1.0 - 1.0 / x + 0.0 * ex.log(x)

    iteration, _ = search(np.ones((SAMPLES, N)), gradient=gradient, tolerance=1e-9, step=50.0)
    drive(iteration, rng.uniform(2.0, 5.0, (SAMPLES, N)))
    assert iteration.outcomes == ["converged"] * SAMPLES
    np.testing.assert_allclose(iteration.state[0], 1.0, atol=1e-7)


def test_a_slope_that_no_step_passes_ends_the_sample():
    """Slopes that turn round however short the step: they are no gradient."""
    iteration, _ = search(np.ones((SAMPLES, N)), step=1.0)
    iteration.slope = lambda x: (np.where(iteration.products > 0, -1.0, 1.0) * np.ones(x.shape),)
    assert drive(iteration, np.zeros((SAMPLES, N))) == 1
    assert iteration.outcomes == ["stagnated"] * SAMPLES and iteration.outcome == "stagnated"
    assert (iteration.state[0] == 0.0).all() and iteration.products == 61


def test_the_start_is_not_written_to_and_starts_anew(rng):
    iteration, _ = search(np.ones((SAMPLES, N)), tolerance=1e-8, step=0.3)
    x0 = rng.normal(size=(SAMPLES, N))
    kept = x0.copy()
    first = drive(iteration, x0)
    assert (x0 == kept).all()
    assert drive(iteration, x0) == first and iteration.products == first + 1
