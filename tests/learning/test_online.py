"""Online solves against exact fixed points: laws of the variance, unbiased gradients, and the full map."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.learning.sampled_map import SampledMap
from opalg.solving.status import Status

N, BLOCKS = 10, 24


def toy(seed=0, bend=None):
    """An affine map with a data term of 24 blocks, and its exact solution and gradients from dense solves."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(3, N)) / np.sqrt(3) for _ in range(BLOCKS)]
    x, y = oa.Variable(N, name="x"), oa.Parameter(rng.normal(size=3 * BLOCKS), name="y")
    lam = oa.Parameter(0.4, name="lam")
    data = 0.5 / BLOCKS * oa.sum_squares(oa.vstack([oa.Matrix(p) for p in parts]) @ x - y)
    image = x - 0.35 * (oa.grad(data) + lam * oa.grad(0.5 * oa.sum_squares(x)))
    plan = oa.fixed_point(x, image if bend is None else bend(image), acceleration="none")
    A = np.concatenate(parts)
    H = A.T @ A / BLOCKS + 0.4 * np.eye(N)
    exact = np.linalg.solve(H, A.T @ y.value / BLOCKS)
    c = rng.normal(size=N)
    w = np.linalg.solve(H, c)
    return plan, exact, c, {"lam": np.array([-w @ exact]), "y": A @ w / BLOCKS}


@pytest.mark.parametrize("replace", [True, False], ids=["with", "without"])
def test_errors_fall_with_the_number_of_blocks(replace):
    plan, exact, _, _ = toy()
    kind = oa.samplers.WithReplacement if replace else oa.samplers.WithoutReplacement
    scaled = {}
    for w in (4, 8, 16):
        sampled = oa.online(plan, sampler=kind(w))
        errors = [np.sum((sampled.solve(max_iter=70).x - exact) ** 2) for _ in range(80)]
        scaled[w] = np.mean(errors) / kind(w).variance_factor(BLOCKS)
    np.testing.assert_allclose(list(scaled.values()), np.mean(list(scaled.values())), rtol=0.25)


def test_the_gradient_is_unbiased():
    plan, _, c, exact = toy()
    sampled = oa.online(plan, 8)
    count, found = 100, {"lam": [], "y": []}
    for _ in range(count):
        gradients = sampled.solve(max_iter=70).vjp(c, wrt=["lam", "y"])
        for name, values in found.items():
            values.append(np.ravel(gradients[name]))
    for name, values in found.items():
        errors = np.array(values) - exact[name]
        spread = np.sqrt(np.mean(np.sum(errors**2, axis=1)) / count)
        assert np.linalg.norm(errors.mean(axis=0)) <= (3.0 if name == "lam" else 1.3) * spread


def test_all_blocks_are_the_full_map_to_the_bit():
    plan, exact, c, gradients = toy()
    sampled = oa.online(plan, BLOCKS)
    one, two = sampled.solve(tol=1e-12), plan.solve(tol=1e-12)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_allclose(one.x, exact, rtol=1e-9)
    for name in ("lam", "y"):
        a, b = one.vjp(c, wrt=name)[name], two.vjp(c, wrt=name)[name]
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(np.ravel(a), gradients[name], rtol=1e-8)


def test_all_blocks_with_replacement_stay_random():
    plan, exact, _, _ = toy()
    sampled = oa.online(plan, sampler=oa.samplers.WithReplacement(BLOCKS))
    assert not sampled.is_full
    assert np.linalg.norm(sampled.solve(max_iter=70).x - exact) > 1e-3


def test_a_full_backward_pass_at_the_point_found_is_exact():
    plan, _, c, _ = toy()
    sol = oa.online(plan, 8, backward="full").solve(max_iter=70)
    gradients = sol.vjp(c, wrt="y", max_iter=200)
    A, H = dense(plan)
    np.testing.assert_allclose(gradients["y"], A @ np.linalg.solve(H, c) / BLOCKS, rtol=1e-9)


def dense(plan):
    """The data's matrix and the Hessian, column by column."""
    identity = np.eye(N)
    zero = plan.step((np.zeros(N),))[0]
    H = np.stack([(e - (plan.step((e,))[0] - zero)) / 0.35 for e in identity], axis=1)
    rng = np.random.default_rng(0)
    A = np.concatenate([rng.normal(size=(3, N)) / np.sqrt(3) for _ in range(BLOCKS)])
    return A, H


def test_a_projection_inside_the_map_masks_the_adjoint():
    plan, _, c, _ = toy(bend=lambda image: oa.prox(oa.nonneg, image))
    sol = oa.online(plan, 16, backward="full").solve(max_iter=70)
    free = (plan.step((sol.x,))[0] > 0).astype(float)
    assert 0 < free.sum() < N
    A, H = dense(toy()[0])
    jacobian = free[:, None] * (np.eye(N) - 0.35 * H)
    u = np.linalg.solve(np.eye(N) - jacobian.T, c)
    found = sol.vjp(c, wrt="y", max_iter=300)["y"]
    np.testing.assert_allclose(found, 0.35 / BLOCKS * A @ (free * u), rtol=1e-9, atol=1e-12)


def test_runs_repeat_and_streams_are_independent():
    plan, _, c, _ = toy()
    first, second = oa.online(plan, 4, seed=5), oa.online(plan, 4, seed=5)
    for _ in range(2):
        a, b = first.solve(max_iter=20), second.solve(max_iter=20)
        np.testing.assert_array_equal(a.x, b.x)
        np.testing.assert_array_equal(a.vjp(c, wrt="y")["y"], b.vjp(c, wrt="y")["y"])
    assert not np.array_equal(first.solve(max_iter=20).x, a.x)
    second.restart(0)
    again = oa.online(plan, 4, seed=5)
    np.testing.assert_array_equal(second.solve(max_iter=20).x, again.solve(max_iter=20).x)


def test_the_backward_pass_does_not_reuse_the_forward_blocks():
    plan, _, c, _ = toy()
    sampled = oa.online(plan, 4)
    drawn = []

    class Spy(oa.samplers.Sampler):
        def draw(self, rng, count):
            drawn.append(oa.samplers.WithoutReplacement(4).draw(rng, count).tolist())
            return np.array(drawn[-1])

        def check(self, count):
            return 4

    sampled = oa.online(plan, sampler=Spy())
    sol = sampled.solve(max_iter=15)
    forward = list(drawn)[-15:]
    drawn.clear()
    sol.vjp(c, wrt="y", max_iter=15)
    assert len(drawn) == 16  # one for the derivative in the parameter
    assert forward != drawn[:15]


def test_a_solve_says_that_it_was_sampled():
    plan, _, _, _ = toy()
    sol = oa.online(plan, 4).solve(max_iter=10)
    assert sol.status is Status.SAMPLED
    assert sol
    assert "4 of 24 blocks" in repr(oa.online(plan, 4))
    assert "Sampling" in oa.online(plan, 4).explain()


def test_a_finite_sum_of_terms_is_cut_into_its_terms():
    rng = np.random.default_rng(0)
    x = oa.Variable(4, name="x")
    terms = sum((0.1 * oa.log_cosh(oa.Matrix(rng.normal(size=(2, 4))) @ x - rng.normal(size=2), 1.0)) for _ in range(6))
    image = x - 0.5 * (oa.grad(terms) + oa.grad(0.5 * oa.sum_squares(x)))
    plan = oa.fixed_point(x, image, acceleration="none")
    sampled = oa.online(plan, 2, of=terms)
    assert sampled.count == 6
    exact = plan.solve(tol=1e-12).x
    mean = np.mean([sampled.solve(max_iter=60).x for _ in range(200)], axis=0)
    np.testing.assert_allclose(mean, exact, atol=0.05)


def test_momentum_changes_the_iterates():
    plan, _, _, _ = toy()
    fast = oa.fixed_point(plan.variables[0], plan.expressions[0], acceleration="nesterov")
    a, b = (oa.online(p, 12, seed=1).solve(max_iter=5).x for p in (plan, fast))
    assert np.linalg.norm(a - b) > 1e-3 * np.linalg.norm(a)


def test_an_adjoint_that_grows_says_so():
    x, y = oa.Variable(4, name="x"), oa.Parameter(np.ones(8), name="y")
    data = 0.5 * oa.sum_squares(oa.vstack([oa.Identity(4), 2.0 * oa.Identity(4)]) @ x - y)
    plan = oa.fixed_point(x, x - 30.0 * oa.grad(data), acceleration="none")
    sol = oa.online(plan, 1).solve(max_iter=3)
    with pytest.raises(oa.NonFiniteError, match="does not contract"):
        sol.vjp(np.ones(4), wrt=y, max_iter=500)


def test_what_does_not_fit_is_refused():
    plan, _, c, _ = toy()
    x = plan.variables[0]
    plain = oa.fixed_point(x, 0.5 * x)
    with pytest.raises(oa.ParameterError, match="not one"):
        oa.online(plain, 2)
    with pytest.raises(oa.ParameterError, match="fixed_point"):
        oa.online(oa.compile(oa.sum_squares(x)), 2)
    with pytest.raises(oa.ParameterError, match="one of them"):
        oa.online(plan)
    with pytest.raises(oa.ParameterError, match="backward"):
        oa.online(plan, 2, backward="none")
    with pytest.raises(oa.ParameterError, match="does not hold"):
        oa.online(plan, 2, of=oa.sum_squares(x))
    joined = oa.functionals.MoreauEnvelope(oa.functionals.Norm2(), 1.0)(oa.vstack([oa.Identity(N), oa.Identity(N)]) @ x)
    with pytest.raises(oa.UnsupportedError, match="sum over entries"):
        oa.online(oa.fixed_point(x, x - 0.01 * oa.grad(joined)), 1)
    sol = oa.online(plan, 4).solve(max_iter=5)
    with pytest.raises(oa.UnsupportedError, match="estimates from samples"):
        sol.vjp(c, wrt="y", per_sample=True)
    with pytest.raises(oa.UnsupportedError, match="online solves"):
        sol.jvp({"lam": 1.0})


def test_data_for_each_entry_are_cut_with_the_rows(rng):
    x = oa.Variable(N, name="x")
    parts = [oa.Matrix(rng.normal(size=(2, N)) / N) for _ in range(6)]
    weights = rng.uniform(0.5, 2.0, 12)
    data = oa.sum_squares(oa.vstack(parts) @ x - rng.normal(size=12), weights=weights)
    plan = oa.fixed_point(x, x - 0.1 * oa.grad(data), acceleration="none")
    sampled = oa.online(plan, 6)
    point = rng.normal(size=N)
    map_ = SampledMap(x, sampled.pieces, plan.bind(None), {})
    np.testing.assert_allclose(map_.step(point, np.arange(6)), plan.step((point,))[0], rtol=1e-12)
    pieces = [map_.gradient(point, np.array([i])) / 6 for i in range(6)]
    np.testing.assert_allclose(sum(pieces), data.gradient(point), rtol=1e-12)


def test_blocks_that_are_drawn_together_are_evaluated_together(rng):
    x = oa.Variable((8, 8), name="x")
    A = oa.Radon((8, 8), np.linspace(0, np.pi, 12, endpoint=False))
    y = oa.Parameter(rng.normal(size=A.out_shape), name="y")
    plan = oa.fixed_point(x, x - 0.01 * oa.grad(0.5 * oa.sum_squares(A @ x - y)), acceleration="none")
    sampler = oa.samplers.Stratified(3, 6)
    together = oa.online(plan, sampler=sampler)
    assert [len(b) for b in together.pieces.bundles] == [3, 3, 3, 3]
    one_by_one = SampledMap(x, together.pieces.bundled([(i,) for i in range(12)]), plan.bind(None), {})
    bundled = SampledMap(x, together.pieces, plan.bind(None), {})
    point, drawn = rng.normal(size=(8, 8)), sampler.draw(rng, 12)
    np.testing.assert_allclose(bundled.step(point, drawn), one_by_one.step(point, drawn), rtol=1e-12)
    u = rng.normal(size=(8, 8))
    np.testing.assert_allclose(
        bundled.transposed(point, drawn, u), one_by_one.transposed(point, drawn, u), rtol=1e-12, atol=1e-13
    )


def test_a_callback_sees_every_iterate():
    plan, *_ = toy()
    seen = []
    oa.online(plan, 4).solve(max_iter=33, callback=lambda info: seen.append(info.iteration))
    assert seen == list(range(1, 34))


def test_a_module_may_start_where_the_data_say():
    torch = pytest.importorskip("torch")
    x, y = oa.Variable(3, name="x"), oa.Parameter(torch.zeros(3, dtype=torch.float64), name="y")
    plan = oa.fixed_point(x, x - 0.5 * oa.grad(0.5 * oa.sum_squares(x - y)), acceleration="none")
    module = plan.as_module(x0=lambda y, **_: 3.0 * y, max_iter=1, tol=0.0, on_failure="return")
    torch.testing.assert_close(module(y=torch.ones(3, dtype=torch.float64)).detach(), 2.0 * torch.ones(3).double())


def test_what_is_no_sampler_and_no_seed_is_refused():
    plan, *_ = toy()
    with pytest.raises(oa.ParameterError, match=r"write online\(plan, sampler="):
        oa.online(plan, oa.samplers.WithReplacement(4))
    with pytest.raises(oa.ParameterError, match=r"oa.samplers.WithReplacement"):
        oa.online(plan, sampler=3)
    for seed in (-1, "a", None, True, 0.5):
        with pytest.raises(oa.ParameterError, match="seed"):
            oa.online(plan, 3, seed=seed)


def test_a_sum_of_terms_is_told_by_name():
    x = oa.Variable(4, name="x")
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(3, 4)) for _ in range(5)]
    terms = [0.1 * oa.sum_squares(oa.Matrix(p) @ x - np.ones(3)) for p in parts]
    data = terms[0] + terms[1] + terms[2] + terms[3] + terms[4]
    plan = oa.fixed_point(x, x - 0.1 * oa.grad(data))
    with pytest.raises(oa.ParameterError, match="data is a sum of terms"):
        oa.online(plan, 2)
    assert oa.online(plan, 2, of=data).count == 5


def test_explain_says_that_acceleration_was_left_out():
    x = oa.Variable(3, name="x")
    rows = oa.vstack([oa.Matrix(np.eye(3)) for _ in range(4)])
    image = x - 0.1 * oa.grad(0.5 * oa.sum_squares(rows @ x - np.ones(12)))
    said = {a: str(oa.online(oa.fixed_point(x, image, acceleration=a), 2).explain()) for a in ("anderson", "none")}
    assert "in place of Anderson's" in said["anderson"] and "Anderson's" not in said["none"]


def apart(step=0.2, offset=0.0, **options):
    """Four blocks that each hold one row of x, so that a draw leaves three of them as they are; and the solution."""
    v, rows = oa.Variable((4, 4), name="v"), [oa.Slice((4, 4), (j,)) for j in range(4)]
    terms = sum((0.5 * oa.sum_squares(rows[j] @ v - (j + offset)) for j in range(1, 4)), 0.0) + (
        0.5 * oa.sum_squares(rows[0] @ v - offset)
    )
    plan = oa.fixed_point(v, v - step * oa.grad(terms), **options)
    return plan, terms, np.repeat(np.arange(4.0)[:, None] + offset, 4, axis=1)


@pytest.mark.parametrize("acceleration", ["anderson", "nesterov"])
def test_a_draw_that_changes_nothing_is_no_convergence(acceleration):
    plan, terms, exact = apart(acceleration=acceleration)
    for seed in range(4):
        sol = oa.online(plan, 1, of=terms, seed=seed).solve(max_iter=300, on_failure="return")
        assert (sol.status, sol.iterations) == (Status.SAMPLED, 300)
    if acceleration == "anderson":
        np.testing.assert_allclose(sol.x, exact, atol=1e-6)


def test_draws_that_are_met_to_rounding_are_neither_divergence_nor_standstill():
    plan, terms, exact = apart()
    near = exact + np.array([1e-17, 1e-16, 1e-15, 1.0])[:, None]  # one block of four is not met
    sampled = oa.online(plan, 1, of=terms)
    for _ in range(8):
        sol = sampled.solve(near, max_iter=200)
        assert (sol.status, sol.iterations) == (Status.SAMPLED, 200)
        np.testing.assert_allclose(sol.x, exact, atol=1e-3)


def test_a_tolerance_is_on_the_residual_of_the_full_map():
    plan, terms, exact = apart()
    for seed in range(4):
        sol = oa.online(plan, 1, of=terms, seed=seed).solve(tol=1e-6, max_iter=2000)
        assert sol.status is Status.CONVERGED_RESIDUAL_ONLY and 1 < sol.iterations < 2000
        full = np.linalg.norm(plan.step((sol.x,))[0] - sol.x) / np.linalg.norm(sol.x)
        assert sol.certificate.relative == pytest.approx(full) and full <= 1e-6
        np.testing.assert_allclose(sol.x, exact, atol=1e-4)


@pytest.mark.parametrize("acceleration", ["none", "nesterov"])
def test_solves_that_end_before_they_begin_answer_as_the_full_plan_does(acceleration):
    plan, terms, _ = apart(acceleration=acceleration, offset=1.0)

    def interrupted(*_):
        raise KeyboardInterrupt

    for options in ({"max_iter": 0}, {"time_limit": 1e-9}):
        full, sol = (p.solve(on_failure="return", **options) for p in (plan, oa.online(plan, 3, of=terms)))
        assert (sol.status, sol.iterations, sol.certificate) == (full.status, 0, full.certificate)

    class Interrupting(oa.samplers.WithoutReplacement):
        def draw(self, rng, count):
            raise KeyboardInterrupt

    sol = oa.online(plan, sampler=Interrupting(3), of=terms).solve(on_failure="return")
    assert (sol.status, sol.iterations, len(sol.history)) == (Status.INTERRUPTED, 0, 1)
    np.testing.assert_array_equal(sol.x, 0.0)


def test_the_full_plan_is_interrupted_in_its_first_iteration():
    def interrupt(x, calls=[]):  # noqa: B006
        calls.append(x)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return 0.5 * x

    x = oa.Variable(3, name="x")
    sol = oa.fixed_point(x, oa.apply(interrupt, x) + 1.0).solve(on_failure="return")
    assert (sol.status, sol.iterations, len(sol.history)) == (Status.INTERRUPTED, 0, 1)


def test_a_gradient_after_no_iteration_has_the_residual_of_its_adjoint():
    plan, _, c, _ = toy()
    sol = oa.online(plan, 4).solve(max_iter=0, on_failure="return")
    found = sol.vjp(c, wrt="lam", on_inexact="return")
    jacobian_c = c - 0.35 * dense(plan)[1] @ c
    assert found.relative_residual == pytest.approx(np.linalg.norm(jacobian_c) / np.linalg.norm(c))


def test_a_draw_that_leaves_the_adjoint_as_it_is_does_not_end_the_backward_pass():
    x, y = oa.Variable(2, name="x"), oa.Parameter(np.ones(4), name="y")
    first, second = oa.Matrix(np.eye(2)), oa.Matrix(np.diag([0.1, 0.1]))
    data = 0.5 * oa.sum_squares(oa.vstack([first, second]) @ x - y)
    plan = oa.fixed_point(x, x - 0.5 * oa.grad(data), acceleration="none")  # drawn alone, the first has derivative 0
    for tol in (None, 1e-3):
        options = {} if tol is None else {"tol": tol}
        counts = {
            oa.online(plan, 1, seed=seed)
            .solve(max_iter=60)
            .vjp(np.ones(2), wrt=y, max_iter=60, **options)
            .counts["adjoint"]
            for seed in range(6)
        }
        assert counts == {60}


def test_a_run_that_explodes_has_diverged():
    x = oa.Variable(4, name="x")
    rows = oa.vstack([oa.Identity(4), 2.0 * oa.Identity(4)])
    plan = oa.fixed_point(x, x - 3.0 * oa.grad(0.5 * oa.sum_squares(rows @ x - np.ones(8))), acceleration="none")
    with pytest.raises(oa.DivergedError, match="run away"):
        oa.online(plan, 1).solve()


def test_a_map_that_is_not_finite_at_the_start_says_so():
    x = oa.Variable(4, name="x")
    data = 0.5 * oa.sum_squares(oa.vstack([oa.Identity(4), 2.0 * oa.Identity(4)]) @ x - np.ones(8))
    sampled = oa.online(oa.fixed_point(x, x - 0.1 * oa.grad(data) + oa.apply(np.log, x)), 1)
    for max_iter in (0, 5):
        with pytest.raises(oa.NonFiniteError, match="not finite at the start"):
            sampled.solve(-np.ones(4), max_iter=max_iter)


@pytest.mark.parametrize("solves", [-5, None, True, 0.5, "a"])
def test_a_count_of_solves_that_is_none_is_refused(solves):
    plan, *_ = toy()
    with pytest.raises(oa.ParameterError, match="restart takes the number"):
        oa.online(plan, 4).restart(solves)


def test_a_bar_counts_iterations(capsys):
    pytest.importorskip("tqdm")
    plan, *_ = toy()
    oa.online(plan, 4).solve(max_iter=20, progress=True)
    shown = capsys.readouterr().err
    assert "iteration 20, sampled residual" in shown and "100%" in shown
