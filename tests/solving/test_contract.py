"""What a solve promises: how it ends, what it returns, what it refuses, and that it touches nothing of the caller's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import sympy

import opalg as oa
from opalg.solving.loop import Info

SLOW = {"tol": 1e-13, "max_iter": 1_000_000}


@pytest.fixture
def plan() -> oa.Plan:
    """Total variation by primal-dual: slow enough to be interrupted."""
    y = np.random.default_rng(0).standard_normal((48, 48))
    x = oa.Variable((48, 48), name="x")
    lam = oa.Parameter(0.3, name="lambda", nonneg=True)
    energy = 0.5 * oa.sum_squares(x - y) + lam * oa.total_variation(x)
    return oa.compile(energy, method="primal_dual")


@pytest.fixture
def lasso() -> oa.Plan:
    rng = np.random.default_rng(1)
    x = oa.Variable(8, name="x")
    y = oa.Parameter(rng.standard_normal(12), name="y")
    lam = oa.Parameter(0.5, name="lambda", nonneg=True)
    M = oa.Parameter(rng.standard_normal((12, 8)), name="M")
    return oa.compile(0.5 * oa.sum_squares(oa.Matrix(M) @ x - y) + lam * oa.norm1(x))


# How a solve ends.


def test_convergence_is_true_and_says_so(lasso: oa.Plan) -> None:
    solution = lasso.solve(tol=1e-6)
    assert solution and bool(solution) is True
    assert solution.status is oa.Status.CONVERGED
    assert solution.certificate.relative <= 1e-6
    assert "CONVERGED" in repr(solution) and "proximal_gradient" in repr(solution)
    assert solution._repr_html_().startswith("<table>")


def test_running_out_of_iterations_warns_once(plan: oa.Plan) -> None:
    with pytest.warns(oa.ConvergenceWarning, match="raise max_iter") as seen:
        solution = plan.solve(tol=1e-12, max_iter=7)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert not solution
    assert solution.status is oa.Status.MAX_ITER
    assert solution.iterations == 7
    assert np.all(np.isfinite(solution.x))


def test_minimize_warns_where_the_caller_stands(plan: oa.Plan) -> None:
    with pytest.warns(oa.ConvergenceWarning) as seen:
        oa.minimize(plan.energy, tol=1e-12, max_iter=7)
    assert seen[0].filename == __file__


def test_no_iteration_is_a_measurement_of_the_start(plan: oa.Plan) -> None:
    x0 = np.ones((48, 48))
    solution = plan.solve(x0, max_iter=0, on_failure="return")
    assert solution.iterations == 0
    assert np.array_equal(solution.x, x0)
    assert solution.value == pytest.approx(plan.energy.value(x0), rel=1e-12)


def test_the_time_limit_holds(plan: oa.Plan) -> None:
    begin = time.perf_counter()
    with pytest.warns(oa.ConvergenceWarning, match="time limit"):
        solution = plan.solve(time_limit=0.1, **SLOW)
    assert solution.status is oa.Status.TIME_LIMIT
    assert 0.1 <= solution.seconds < 2.0
    assert time.perf_counter() - begin < 3.0
    assert np.all(np.isfinite(solution.x))


def test_a_callback_stops_by_returning_true(plan: oa.Plan) -> None:
    seen: list[Info] = []

    def stop(info: Info) -> bool:
        seen.append(info)
        return len(seen) == 3

    solution = plan.solve(callback=stop, **SLOW)
    assert solution.status is oa.Status.STOPPED
    assert not solution
    assert len(seen) == 3 == len(solution.history)
    assert seen[-1].iteration == solution.iterations
    assert seen[-1].value == solution.value
    assert seen[-1].certificate == solution.certificate


@pytest.mark.parametrize("answer", [None, False, 0])
def test_a_callback_that_returns_nothing_stops_nothing(answer: object, lasso: oa.Plan) -> None:
    assert lasso.solve(callback=lambda info: answer)


def test_an_error_in_a_callback_is_the_callers(plan: oa.Plan) -> None:
    def fail(info: Info) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        plan.solve(callback=fail)


def test_a_keyboard_interrupt_in_a_callback_loses_nothing(plan: oa.Plan) -> None:
    def interrupt(info: Info) -> None:
        if info.iteration >= 20:
            raise KeyboardInterrupt

    with pytest.warns(oa.ConvergenceWarning, match="INTERRUPTED"):
        solution = plan.solve(callback=interrupt, **SLOW)
    assert solution.status is oa.Status.INTERRUPTED
    assert not solution
    assert solution.iterations == 20
    assert solution.value == pytest.approx(plan.energy.value(solution.x), rel=1e-12)


def test_a_signal_during_the_iterations_loses_nothing(plan: oa.Plan) -> None:
    def raise_soon(info: Info) -> None:
        if info.iteration == 10:
            signal.setitimer(signal.ITIMER_REAL, 0.02)

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.warns(oa.ConvergenceWarning, match="INTERRUPTED"):
            solution = plan.solve(callback=raise_soon, **SLOW)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert solution.status is oa.Status.INTERRUPTED
    assert solution.iterations > 10
    assert solution.value == pytest.approx(plan.energy.value(solution.x), rel=1e-12)
    assert plan.solve(tol=1e-3)


def test_an_interrupt_before_the_first_measurement_gives_a_solution(lasso: oa.Plan) -> None:
    iteration = lasso.bind().iteration()
    kind, advance = type(iteration), type(iteration).advance

    def interrupted(self: object) -> float:
        raise KeyboardInterrupt

    kind.advance = interrupted
    try:
        with pytest.warns(oa.ConvergenceWarning, match="INTERRUPTED"):
            solution = lasso.solve()
    finally:
        kind.advance = advance
    assert solution.status is oa.Status.INTERRUPTED
    assert np.all(np.isfinite(solution.x))


@pytest.mark.skipif(os.name != "posix", reason="signals between processes")
def test_ctrl_c_in_another_process_gives_the_last_iterate() -> None:
    program = textwrap.dedent(
        """
        import numpy as np, opalg as oa
        x = oa.Variable((512, 512), name="x")
        y = np.random.default_rng(0).standard_normal((512, 512))
        plan = oa.compile(0.5 * oa.sum_squares(x - y) + 0.3 * oa.total_variation(x), method="primal_dual")
        told = []
        def tell(info):
            if not told:
                told.append(print("running", flush=True))
        solution = plan.solve(tol=0.0, max_iter=10**8, callback=tell)
        print(solution.status.name, bool(np.all(np.isfinite(solution.x))), solution.iterations > 0, flush=True)
        """
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "running"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert out.split() == ["INTERRUPTED", "True", "True"], err
    assert "Traceback" not in err


def smooth_energy() -> oa.Energy:
    rng = np.random.default_rng(2)
    x = oa.Variable(6, name="x")
    return oa.sum_squares(oa.Matrix(rng.standard_normal((9, 6))) @ x - rng.standard_normal(9)) + 0.1 * oa.norm1(x)


def bent_energy() -> oa.Energy:
    """The same with a curvature that is not constant, so that no step is known to be too long beforehand."""
    energy = smooth_energy()
    return energy + 1e-3 * oa.charbonnier(energy.variables[0], 1.0)


def test_a_step_that_must_diverge_is_refused() -> None:
    with pytest.raises(oa.ParameterError, match="would diverge"):
        oa.compile(smooth_energy()).solve(step=1e3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_step_far_too_long_ends_with_an_error_that_holds_a_finite_iterate(precision: str) -> None:
    plan = oa.compile(bent_energy(), dtype=precision)
    with pytest.raises((oa.DivergedError, oa.NonFiniteError)) as caught:
        plan.solve(step=1e3, max_iter=5000)
    solution = caught.value.solution
    assert solution.status in (oa.Status.DIVERGED, oa.Status.NONFINITE)
    assert np.all(np.isfinite(solution.x))
    assert np.isfinite(solution.value)


def test_divergence_can_be_returned_or_warned_about() -> None:
    plan = oa.compile(bent_energy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not plan.solve(step=1e3, on_failure="return")
    with pytest.warns(oa.ConvergenceWarning):
        assert not plan.solve(step=1e3, on_failure="warn")


def test_on_failure_raise_raises_on_everything(plan: oa.Plan) -> None:
    with pytest.raises(oa.BreakdownError) as caught:
        plan.solve(tol=1e-12, max_iter=5, on_failure="raise")
    assert caught.value.solution.status is oa.Status.MAX_ITER


def test_an_unknown_policy_is_refused(lasso: oa.Plan) -> None:
    with pytest.raises(oa.ParameterError, match="on_failure must be one of"):
        lasso.solve(on_failure="ignore")


def test_single_precision_stagnates_and_says_so() -> None:
    plan = oa.compile(smooth_energy(), dtype="float32")
    with pytest.warns(oa.ConvergenceWarning, match="float64"):
        solution = plan.solve(tol=1e-11, max_iter=100_000)
    assert solution.status is oa.Status.STAGNATED
    assert solution.iterations < 50_000
    exact = oa.minimize(smooth_energy(), tol=1e-12)
    assert np.allclose(solution.x, exact.x, atol=1e-3)


def test_a_slow_solve_is_not_called_stagnated(plan: oa.Plan) -> None:
    for limit in (50, 500):
        assert plan.solve(tol=1e-13, max_iter=limit, on_failure="return").status is oa.Status.MAX_ITER


# What is refused.


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_data_are_refused_with_their_place(bad: float) -> None:
    y = np.zeros((3, 4))
    y[1, 2] = bad
    x = oa.Variable((3, 4), name="x")
    with pytest.raises(oa.NonFiniteError, match=r"\(1, 2\)"):
        oa.sum_squares(x - y)
    with pytest.raises(oa.NonFiniteError, match="'y'"):
        oa.Parameter(y, name="y")


def test_nan_at_solve_time_is_refused(lasso: oa.Plan) -> None:
    y = np.zeros(12)
    y[3] = np.nan
    with pytest.raises(oa.NonFiniteError, match="'y'"):
        lasso.solve(params={"y": y})
    x0 = np.zeros(8)
    x0[1] = np.inf
    with pytest.raises(oa.NonFiniteError, match="x0 for x"):
        lasso.solve(x0)


def test_data_whose_squares_overflow_are_answered_rightly_and_without_a_false_bound() -> None:
    x = oa.Variable(3, name="x")
    plan = oa.compile(oa.sum_squares(x - np.array([1e200, 1.0, -1e200])) + oa.norm1(x))
    solution = plan.solve(on_failure="return", max_iter=300)
    assert solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY
    np.testing.assert_allclose(solution.x, [1e200, 0.5, -1e200], rtol=1e-12)


def test_wrong_shapes_are_refused(lasso: oa.Plan) -> None:
    x = oa.Variable((3, 4), name="x")
    for wrong in (np.zeros((4, 3)), np.zeros(4), np.zeros((1, 4)), np.zeros((3, 4, 1))):
        with pytest.raises(oa.ShapeError):
            oa.sum_squares(x - wrong)
    with pytest.raises(oa.ShapeError, match=r"\(8,\)"):
        lasso.solve(np.zeros(7))
    with pytest.raises(oa.ShapeError, match=r"\(12,\)"):
        lasso.solve(params={"y": np.zeros((12, 1))})
    with pytest.raises(oa.ShapeError, match="lambda"):
        lasso.solve(params={"lambda": np.ones(8)})


def test_wrong_dtypes_are_refused(lasso: oa.Plan) -> None:
    x = oa.Variable(8, name="x")
    with pytest.raises(oa.DtypeError, match="astype"):
        oa.sum_squares(x - np.arange(8))
    with pytest.raises(oa.DtypeError):
        lasso.solve(np.zeros(8, dtype=complex))
    with pytest.raises(oa.DtypeError):
        lasso.solve([0.0] * 8)
    with pytest.raises(oa.DtypeError):
        lasso.solve(params={"y": np.zeros(12, dtype=complex)})
    with pytest.raises(oa.DtypeError):
        lasso.solve(params={"y": np.zeros(12, dtype=int)})
    with pytest.raises(oa.DtypeError):
        oa.compile(lasso.energy, dtype="float16")


def test_a_negative_weight_is_refused(lasso: oa.Plan) -> None:
    x = oa.Variable(8, name="x")
    with pytest.raises(oa.ConvexityError, match="-2"):
        oa.minimize(oa.sum_squares(x - np.ones(8)) - 2.0 * oa.norm1(x))
    with pytest.raises(oa.ParameterError, match="nonnegative"):
        lasso.solve(params={"lambda": -1.0})


def test_a_nonconvex_energy_needs_consent_and_gives_a_stationary_point() -> None:
    t = sympy.Symbol("t")
    x = oa.Variable(5, name="x")
    y = np.array([0.5, -2.0, 3.0, 0.1, -0.7])
    energy = oa.sum_squares(x - y) + oa.pointwise(oa.Potential(t, sympy.log(1 + t**2)), x)
    with pytest.raises(oa.ConvexityError, match="nonconvex=True"):
        oa.compile(energy)
    solution = oa.minimize(energy, nonconvex=True, tol=1e-9)
    assert solution and solution.status is oa.Status.STATIONARY
    assert solution.certificate.kind == "residual"
    assert solution.error_bound is None
    assert np.max(np.abs(energy.gradient(solution.x))) <= 1e-6


def test_no_method_fits_lists_the_reasons() -> None:
    x = oa.Variable(6, name="x")
    t = sympy.Symbol("t")
    kinked = oa.Potential(t, sympy.Abs(t) + sympy.sin(t**2))
    with pytest.raises(oa.UnsupportedError, match="primal_dual") as caught:
        oa.compile(oa.sum_squares(x - np.ones(6)) + oa.pointwise(kinked, oa.Gradient((6,)) @ x), nonconvex=True)
    for name in ("closed_form", "conjugate_gradient", "proximal_gradient", "admm"):
        assert name in str(caught.value)


def test_wrong_names_are_refused(lasso: oa.Plan) -> None:
    with pytest.raises(oa.ParameterError, match="closed_form"):
        oa.compile(lasso.energy, method="gradient_ascent")
    with pytest.raises(oa.UnsupportedError, match="methods that fit: proximal_gradient"):
        oa.compile(lasso.energy, method="closed_form")
    with pytest.raises(oa.ParameterError, match=r"'lamda'.*lambda"):
        lasso.solve(params={"lamda": 1.0})
    with pytest.raises(oa.ParameterError, match="not a parameter"):
        lasso.solve(params={oa.Parameter(1.0, name="lambda"): 1.0})
    with pytest.raises(TypeError):
        lasso.solve(maxiter=3)
    with pytest.raises(TypeError):
        oa.compile(lasso.energy, methods="auto")
    with pytest.raises(TypeError):
        oa.minimize(lasso.energy, tolerance=1e-3)
    with pytest.raises((oa.DeviceError, oa.ParameterError)):
        oa.compile(lasso.energy, backend="matlab")


@pytest.mark.parametrize(
    "options", [{"tol": -1.0}, {"tol": float("nan")}, {"max_iter": -1}, {"max_iter": 2.5}, {"time_limit": 0.0}]
)
def test_limits_that_make_no_sense_are_refused(options: dict, lasso: oa.Plan) -> None:
    with pytest.raises(oa.ParameterError, match=next(iter(options))):
        lasso.solve(**options)


def test_a_step_of_ones_own_must_make_sense(lasso: oa.Plan, plan: oa.Plan) -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(oa.ParameterError, match="step"):
            lasso.solve(step=wrong)
    with pytest.raises(oa.ParameterError, match="takes no step"):
        plan.solve(step=0.1)


def test_what_is_no_energy_is_not_compiled() -> None:
    x = oa.Variable(3, name="x")
    for wrong in (x, x - np.ones(3), 3.0, None, x >= 0):
        with pytest.raises((oa.NotAffineError, TypeError)):
            oa.compile(wrong)


def test_a_singular_quadratic_has_no_closed_form_answer() -> None:
    x = oa.Variable((4, 4), name="x")
    energy = oa.sum_squares(oa.Gradient((4, 4), boundary="periodic") @ x - np.ones((2, 4, 4)))
    with pytest.raises(oa.UnsupportedError, match="zero in its spectrum"):
        oa.minimize(energy, method="closed_form")


# What a solve takes and returns.


def test_the_start_is_read_and_not_written(plan: oa.Plan, lasso: oa.Plan) -> None:
    for p, shape in ((plan, (48, 48)), (lasso, (8,))):
        x0 = np.random.default_rng(3).standard_normal(shape)
        before = x0.copy()
        solution = p.solve(x0, tol=1e-3)
        assert np.array_equal(x0, before)
        assert not np.shares_memory(solution.x, x0)


def test_a_start_may_be_read_only_strided_or_of_another_precision(lasso: oa.Plan) -> None:
    exact = lasso.solve(tol=1e-9).x
    frozen = np.zeros(8)
    frozen.flags.writeable = False
    for x0 in (frozen, np.zeros(16)[::2], np.zeros(8)[::-1], np.zeros(8, dtype=np.float32)):
        assert np.allclose(lasso.solve(x0, tol=1e-9).x, exact, atol=1e-4)


def test_a_start_by_variable(lasso: oa.Plan) -> None:
    (x,) = lasso.variables
    exact = lasso.solve(tol=1e-9)
    assert lasso.solve({x: exact.x}, tol=1e-6).iterations == 0
    with pytest.raises(oa.ParameterError, match="lacks a start for x"):
        lasso.solve({oa.Variable(8, name="z"): exact.x})


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_a_start_at_a_solution_brings_its_duals(method: str) -> None:
    y = np.random.default_rng(0).standard_normal((12, 12))
    x = oa.Variable((12, 12), name="x")
    energy = 0.5 * oa.sum_squares(x - y) + 0.3 * oa.total_variation(x, boundary="periodic")
    plan = oa.compile(energy, method=method)
    first = plan.solve(tol=1e-6)
    assert plan.solve(first, tol=1e-6).iterations <= first.iterations // 4


def test_results_are_the_callers(lasso: oa.Plan, plan: oa.Plan) -> None:
    for p in (lasso, plan):
        first = p.solve(tol=1e-4)
        kept = first.x.copy()
        second = p.solve(tol=1e-4)
        assert not np.shares_memory(first.x, second.x)
        first.x[...] = np.nan
        assert np.array_equal(second.x, kept)
        assert np.array_equal(p.solve(tol=1e-4).x, kept)


def test_data_are_copied_when_declared() -> None:
    y = np.ones(5)
    x = oa.Variable(5, name="x")
    plan = oa.compile(oa.sum_squares(x - y))
    y[:] = 7.0
    assert np.allclose(plan.solve().x, 1.0)


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_solves_are_repeatable_to_the_bit(method: str) -> None:
    y = np.random.default_rng(0).standard_normal((10, 10))

    def once() -> oa.Solution:
        x = oa.Variable((10, 10), name="x")
        energy = 0.5 * oa.sum_squares(x - y) + 0.3 * oa.total_variation(x, boundary="periodic")
        return oa.minimize(energy + oa.indicator(x >= 0), method=method, tol=1e-7)

    a, b = once(), once()
    assert a.iterations == b.iterations
    assert a.x.tobytes() == b.x.tobytes()
    assert a.value == b.value and a.history["relative"] == b.history["relative"]


def test_solving_changes_no_plan(lasso: oa.Plan) -> None:
    first = lasso.solve(tol=1e-6)
    lasso.solve(tol=1e-2, params={"lambda": 3.0}, step=1e-3, max_iter=3, on_failure="return")
    again = lasso.solve(tol=1e-6)
    assert first.x.tobytes() == again.x.tobytes()
    assert again.iterations == first.iterations


def test_a_smaller_tolerance_gives_a_better_point(plan: oa.Plan) -> None:
    solutions = [plan.solve(tol=t) for t in (1e-1, 1e-3, 1e-5)]
    assert solutions[0].iterations <= solutions[1].iterations <= solutions[2].iterations
    for solution, tol in zip(solutions, (1e-1, 1e-3, 1e-5), strict=True):
        assert solution.certificate.relative <= tol
        size = max(abs(solution.value), abs(solution.certificate.lower_bound))
        assert solution.certificate.relative == pytest.approx(solution.certificate.value / size)
    assert solutions[2].value <= solutions[0].value


def test_the_history_has_its_columns(plan: oa.Plan) -> None:
    solution = plan.solve(tol=1e-5)
    history = solution.history
    assert history["iteration"] == sorted(set(history["iteration"]))
    assert history["iteration"][-1] == solution.iterations
    assert history["seconds"] == sorted(history["seconds"])
    assert history["relative"][-1] == solution.certificate.relative
    assert history["value"][-1] == solution.value
    assert set(history["kind"]) == {"duality gap"}
    assert len(list(history)) == len(history)
    assert str(len(history)) in repr(history)
    with pytest.raises(AttributeError):
        history["energy"]


def test_looking_does_not_change_what_is_found(plan: oa.Plan) -> None:
    assert plan.solve(tol=1e-5, callback=lambda info: info.value).x.tobytes() == plan.solve(tol=1e-5).x.tobytes()


def test_progress_shows_a_bar(plan: oa.Plan, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("tqdm")
    plan.solve(tol=1e-4, progress=True)
    shown = capsys.readouterr()
    assert "primal_dual" in shown.err and "duality gap" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""
    plan.solve(tol=1e-4)
    silent = capsys.readouterr()
    assert silent.err == silent.out == ""


def test_term_values_and_items(plan: oa.Plan) -> None:
    solution = plan.solve(tol=1e-5)
    assert sum(solution.term_values.values()) == pytest.approx(solution.value, rel=1e-12)
    assert solution["x"] is solution.x
    assert solution[plan.variables[0]] is solution.x
    with pytest.raises(oa.ParameterError, match="not a variable"):
        solution["y"]


def test_several_variables_give_a_mapping() -> None:
    u, v = oa.Variable(3, name="u"), oa.Variable((2, 2), name="v")
    solution = oa.minimize(oa.sum_squares(u - np.ones(3)) + oa.sum_squares(v - np.ones((2, 2))) + oa.norm1(u))
    assert set(solution.x) == {u, v}
    assert solution.x[u].shape == (3,) and solution["v"].shape == (2, 2)


# The pieces for embedding.


@pytest.mark.parametrize("method", ["admm", "primal_dual"])
def test_the_pieces_reproduce_the_solve(method: str) -> None:
    y = np.random.default_rng(0).standard_normal((8, 8))
    x = oa.Variable((8, 8), name="x")
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + 0.2 * oa.total_variation(x, boundary="periodic"), method=method)
    state = plan.initial_state()
    kept = [s.copy() for s in state]
    for _ in range(3000):
        state, before = plan.step(state), state
        assert not any(np.shares_memory(a, b) for a, b in zip(state, before, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(plan.initial_state(), kept, strict=True))
    assert np.allclose(plan.readout(state), plan.solve(tol=1e-10).x, atol=1e-4)
    # T leaves its fixed point where it is.
    assert np.allclose(plan.readout(plan.step(state)), plan.readout(state), atol=1e-7)


def test_the_pieces_take_parameters(lasso: oa.Plan) -> None:
    state = lasso.initial_state(np.zeros(8), params={"lambda": 1e6})
    for _ in range(5):
        state = lasso.step(state, params={"lambda": 1e6})
    assert np.array_equal(lasso.readout(state, params={"lambda": 1e6}), np.zeros(8))


def test_explain_mentions_every_stage(plan: oa.Plan) -> None:
    text = plan.explain()
    for part in ("Energy", "Rules that fired", "Canonical energy", "Facts", "Methods", "Step", "Certificate", "Cost"):
        assert part in text
    for name in ("closed_form", "conjugate_gradient", "proximal_gradient", "* primal_dual", "admm", "numpy float64"):
        assert name in text
    assert "duality gap" in text and "lambda" in text
    assert text._repr_html_().startswith("<pre>")


def test_the_source_runs_alone(plan: oa.Plan) -> None:
    source = plan.source()
    assert "opalg" not in [line.split()[1] for line in source.splitlines() if line.startswith(("import", "from"))]
    program = source + "\nassert callable(step) and callable(new_buffers)\nprint('ok')\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ok"


def test_the_source_can_be_had_for_another_library(plan: oa.Plan) -> None:
    pytest.importorskip("torch")
    assert "import torch" in plan.source("torch")
    assert "torch" not in plan.source()


def test_the_cost_is_counted(plan: oa.Plan) -> None:
    assert str(plan.cost)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_backend_and_dtype_are_as_asked(backend: str, precision: str, lasso: oa.Plan) -> None:
    pytest.importorskip(backend)
    solution = oa.compile(lasso.energy, backend=backend, dtype=precision).solve(tol=1e-4)
    assert type(solution.x).__module__.split(".")[0] == backend
    assert str(solution.x.dtype).endswith(precision)
    assert backend in solution.backend and precision in solution.backend


def test_the_data_decide_where_a_plan_runs() -> None:
    torch = pytest.importorskip("torch")
    x = oa.Variable(4, name="x")
    assert oa.compile(oa.sum_squares(x - torch.ones(4, dtype=torch.float32))).solve().x.dtype is torch.float32
    assert oa.compile(oa.sum_squares(x - np.ones(4, dtype=np.float32))).solve().x.dtype == np.float32
    mixed = oa.Matrix(np.eye(4)) @ x - np.ones(4, dtype=np.float32)
    plan = oa.compile(oa.sum_squares(mixed) + oa.sum_squares(x))
    assert plan.solve().x.dtype == np.float32
    assert "cast from float64 to float32" in plan.explain()


def test_a_plan_is_no_sequence_and_has_a_text(lasso: oa.Plan) -> None:
    with pytest.raises(TypeError, match=r"plan\.solve"):
        list(lasso)
    assert "proximal_gradient on numpy" in repr(lasso)
