"""Tuning by implicit gradients."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError

TRUTH = np.repeat([0.0, 1.0, 0.3, 0.8], 12)


def shrinkage(rng):
    """``|x - y|^2 / 2 + w |x|^2 / 2``, whose minimiser is ``y / (1 + w)``; and the best ``w``."""
    y = oa.Parameter(TRUTH + 0.3 * rng.standard_normal(TRUTH.shape), name="y")
    x, w = oa.Variable(TRUTH.shape, name="x"), oa.Parameter(3.0, name="w", positive=True)
    best = (y.value @ y.value) / (y.value @ TRUTH) - 1.0
    return 0.5 * oa.sum_squares(x - y) + 0.5 * w * oa.sum_squares(x), y, w, best


def denoising(rng, start=0.5):
    """Total variation denoising of a step function."""
    y = oa.Parameter(TRUTH + 0.1 * rng.standard_normal(TRUTH.shape), name="y")
    x, lam = oa.Variable(TRUTH.shape, name="x"), oa.Parameter(start, name="lambda", nonneg=True)
    D = oa.Gradient(x.shape, boundary="periodic")
    return 0.5 * oa.sum_squares(x - y) + lam * oa.norm1(D @ x), y, lam


def test_the_best_weight_of_a_shrinkage_is_found(rng):
    energy, _, w, best = shrinkage(rng)
    found = oa.tune(energy, [({}, TRUTH)], w, steps=25, tol=1e-10, stop=1e-10)
    assert found.values[w] == pytest.approx(best, rel=1e-3)
    assert w.value == 3.0
    assert found.loss == min(row.loss for row in found.path)


def test_the_best_weight_of_total_variation_is_found(rng):
    energy, _, lam = denoising(rng)
    found = oa.tune(energy, [({}, TRUTH)], [lam], steps=20, tol=1e-6)
    plan = oa.compile(energy)
    grid = np.geomspace(0.02, 1.0, 25)
    losses = [np.mean((plan.solve(params={lam: np.asarray(v)}, tol=1e-5).x - TRUTH) ** 2) for v in grid]
    assert found.loss <= 1.01 * min(losses)
    assert found.path[0].loss > 1.5 * found.loss
    assert found.path[0].values[lam] == 0.5


def test_rows_hold_gradients_that_agree_with_differences(rng):
    energy, _, lam = denoising(rng, 0.1)
    found = oa.tune(energy, [({}, TRUTH)], lam, steps=2, tol=1e-11, max_iter=50_000, gradient_tol=1e-8)
    row, plan, h = found.path[0], oa.compile(energy), 1e-5

    def loss(v):
        return float(np.mean((plan.solve(params={lam: np.asarray(v)}, tol=1e-11, max_iter=50_000).x - TRUTH) ** 2))

    assert row.loss == pytest.approx(loss(0.1), rel=1e-6)
    assert row.gradients[lam] == pytest.approx((loss(0.1 + h) - loss(0.1 - h)) / (2 * h), rel=1e-3)
    assert row.psnr == pytest.approx(-10 * np.log10(row.loss))
    assert row.relative_residual <= 1e-7
    assert row.products > 0


def test_several_pairs_and_their_data(rng):
    energy, y, w, _ = shrinkage(rng)
    data = [TRUTH + 0.3 * rng.standard_normal(TRUTH.shape) for _ in range(3)]
    found = oa.tune(energy, [({y: d}, TRUTH) for d in data], w, steps=25, tol=1e-10, stop=1e-10)
    best = sum(d @ d for d in data) / sum(d @ TRUTH for d in data) - 1.0
    assert found.values[w] == pytest.approx(best, rel=1e-3)
    solved = [d / (1.0 + found.values[w]) for d in data]
    assert found.loss == pytest.approx(np.mean([(s - TRUTH) ** 2 for s in solved]), rel=1e-6)


def test_an_array_without_a_sign_moves_freely(rng):
    x, shift = oa.Variable(4, name="x"), oa.Parameter(np.zeros(4), name="shift")
    wanted = np.array([1.0, -2.0, 0.5, 0.0])
    found = oa.tune(oa.sum_squares(x - shift), [({}, wanted)], shift, steps=200, stop=0.0, tol=1e-10)
    assert found.loss < 1e-4 * np.mean(wanted**2)
    assert found.values[shift].shape == (4,)
    assert "arrays: shift" in repr(found)


def test_several_variables():
    a, b = oa.Variable(3, name="a"), oa.Variable(2, name="b")
    w = oa.Parameter(1.0, name="w", positive=True)
    energy = oa.sum_squares(a - np.ones(3)) + oa.sum_squares(b - np.ones(2)) + w * oa.sum_squares(a)
    found = oa.tune(energy, [({}, {a: 0.25 * np.ones(3), b: np.ones(2)})], w, steps=25, tol=1e-12, stop=1e-12)
    assert found.values[w] == pytest.approx(3.0, rel=1e-2)


@pytest.mark.parametrize("name", ["torch", "array_api_strict"])
def test_other_libraries_find_the_same(rng, name):
    pytest.importorskip(name)
    energy, _, w, best = shrinkage(rng)
    truth = oa.backend(name).asarray(TRUTH)
    for options in ({"tol": 1e-10}, {}):
        found = oa.tune(energy, [({}, truth)], w, backend=name, steps=25, stop=1e-10, **options)
        assert found.values[w] == pytest.approx(best, rel=1e-3)
        assert isinstance(found.values[w], float)
    options = {"by": "sure", "noise": 0.3, "tol": 1e-10, "steps": 3}
    losses = [oa.tune(energy, [{}], w, backend=b, **options).loss for b in ("numpy", name)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_the_steps_are_kept_and_the_end_has_a_reason(rng, capsys):
    pytest.importorskip("tqdm")
    energy, _, w, _ = shrinkage(rng)
    found = oa.tune(energy, [({}, TRUTH)], w, steps=3, stop=0.0, progress=True)
    assert len(found.path) == 3
    assert "used up" in found.message
    assert "3/3" in capsys.readouterr().err
    assert "w = " in repr(found)
    assert found.plan.solve(params=found.values).status.success


def interrupting(monkeypatch, after):
    """Let the solve after so many end as by Ctrl-C."""
    solve, calls = oa.Plan.solve, []

    def interrupted(self, *arguments, **options):
        solution = solve(self, *arguments, **options)
        calls.append(None)
        if len(calls) > after:
            solution.status = oa.Status.INTERRUPTED
        return solution

    monkeypatch.setattr(oa.Plan, "solve", interrupted)


def test_an_interruption_before_the_first_evaluation_is_passed_on(rng, monkeypatch):
    energy, _, w, _ = shrinkage(rng)
    interrupting(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        oa.tune(energy, [({}, TRUTH)], w)


@pytest.mark.parametrize("outer", [None, "L-BFGS-B"])
def test_an_interruption_hands_out_the_best_so_far(rng, monkeypatch, outer):
    energy, _, w, _ = shrinkage(rng)
    interrupting(monkeypatch, 3)
    found = oa.tune(energy, [({}, TRUTH)], w, tol=1e-8, outer=outer)
    assert (found.reason, len(found.path)) == ("interrupted", 3)
    assert "interrupted" in found.message
    assert found.loss == min(row.loss for row in found.path)


def test_the_work_of_every_evaluation_stands_in_the_path(rng):
    energy, _, lam = denoising(rng)
    found = oa.tune(energy, [({}, TRUTH)], lam, tol=1e-8, gradient_tol=1e-6, steps=6)
    assert found.iterations == sum(row.iterations for row in found.path)
    assert found.products == sum(row.products for row in found.path)
    assert (found.path[0].accuracy.tol, found.path[0].accuracy.gradient_tol) == (1e-8, 1e-6)
    assert found.path[0].saved == 0.0
    first, last = found.path[0], found.path[-1]
    work = [row.iterations + row.products for row in (first, last)]
    assert last.saved == pytest.approx(1 - work[1] / work[0])


def test_options_that_do_not_belong_to_the_criterion_are_refused(rng):
    energy, _, w, _ = shrinkage(rng)
    with pytest.raises(ParameterError, match="takes no noise="):
        oa.tune(energy, [({}, TRUTH)], w, noise=0.1)
    with pytest.raises(ParameterError, match="needs noise="):
        oa.tune(energy, [{}], w, by="sure")
    with pytest.raises(ParameterError, match="needs the truth of every entry"):
        oa.tune(energy, [{}], w)
    with pytest.raises(ParameterError, match="give them or schedule="):
        oa.tune(energy, [({}, TRUTH)], w, schedule=oa.learning.Fixed(), tol=1e-3)
    with pytest.raises(ParameterError, match="schedule is one of"):
        oa.tune(energy, [({}, TRUTH)], w, schedule="hoag")


def test_wrong_arguments_are_refused(rng):
    energy, _, w, _ = shrinkage(rng)
    pairs, stranger = [({}, TRUTH)], oa.Parameter(1.0, name="stranger")
    with pytest.raises(UnsupportedError, match="'supervised', 'discrepancy'"):
        oa.tune(energy, pairs, w, by="likelihood")
    with pytest.raises(ParameterError, match="steps"):
        oa.tune(energy, pairs, w, steps=0)
    with pytest.raises(ParameterError, match="the parameters of the energy are"):
        oa.tune(energy, pairs, stranger)
    with pytest.raises(ParameterError, match="no parameter to tune"):
        oa.tune(energy, pairs, [])
    with pytest.raises(ParameterError, match="one entry at least"):
        oa.tune(energy, [], w)
    with pytest.raises(ParameterError, match="an entry of pairs"):
        oa.tune(energy, [TRUTH], w)
    with pytest.raises(ShapeError, match="truth of x"):
        oa.tune(energy, [({}, TRUTH[1:])], w)
    with pytest.raises(ParameterError, match="every variable"):
        oa.tune(energy, [({}, {})], w)


def test_a_weight_in_log_scale_must_not_start_at_zero(rng):
    energy, _, lam = denoising(rng, 0.0)
    with pytest.raises(ParameterError, match="above zero"):
        oa.tune(energy, [({}, TRUTH)], lam)


def test_complex_parameters_are_refused():
    x = oa.Variable(2, name="x", dtype=complex)
    y = oa.Parameter(np.array([1j, 2.0]), name="y")
    with pytest.raises(UnsupportedError, match="real parameters"):
        oa.tune(oa.sum_squares(x - y), [({}, np.array([1j, 1.0]))], y)


def test_parameters_are_known_by_name(rng: np.random.Generator) -> None:
    x, y = oa.Variable(8, name="x"), rng.standard_normal(8)
    weight = oa.Parameter(0.5, name="weight", positive=True)
    energy = oa.sum_squares(x - y) + weight * oa.sum_squares(x)
    by_name, by_itself = (oa.tune(energy, [({}, 0.8 * y)], wrt=w, steps=3) for w in ("weight", weight))
    assert by_name.values == by_itself.values and list(by_name.values) == [weight]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop": -1}, "stop must be a nonnegative number, not -1"),
        ({"stop": "a"}, "stop must be a nonnegative number, not 'a'"),
        ({"steps": True}, "steps must be a positive integer"),
        ({"by": "heldout", "seed": "a"}, "seed must be a nonnegative integer, not 'a'"),
        ({"by": "heldout", "seed": -1}, "seed must be a nonnegative integer, not -1"),
        ({"toll": 1e-3}, "'toll' is no option of tune; there are backend, .* tol"),
        ({"outer": "LBFGS"}, 'did you mean "L-BFGS-B"'),
    ],
)
def test_options_that_make_no_sense_are_refused(rng, options, words):
    energy, _, w, _ = shrinkage(rng)
    with pytest.raises(ParameterError, match=words):
        oa.tune(energy, [({}, TRUTH)], w, **options)


def test_solves_that_reached_max_iter_are_told(rng):
    energy, _, lam = denoising(rng)
    found = oa.tune(energy, [({}, TRUTH)], lam, steps=3, max_iter=2)
    assert found.unfinished > 0
    assert f"in {found.unfinished} of {len(found.path)} evaluations a solve reached max_iter" in repr(found)
    enough = oa.tune(energy, [({}, TRUTH)], lam, steps=3)
    assert enough.unfinished == 0 and "max_iter" not in repr(enough)
