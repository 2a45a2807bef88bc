"""Criteria that need no truth, against what the truth says."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, ShapeError, UnsupportedError

SIGMA = 0.1
STEPS = np.repeat([0.0, 1.0, 0.3, 0.8], 64)
IMAGE = np.kron(np.array([[0.0, 1.0, 1.0], [0.5, 1.0, 0.0], [0.5, 0.0, 0.2]]), np.ones((9, 9)))
TIGHT = oa.learning.Fixed(1e-6, 1e-4)


class Case:
    """``|A x - y|^2 / 2 + lambda R(x)`` with noisy data, and the predicted risk of any lambda against the truth."""

    def __init__(self, truth, regulariser, blur=None, start=1.0, seed=0):
        self.truth, self.blur = truth, blur
        self.clean = truth if blur is None else np.asarray(blur.apply(truth))
        noisy = self.clean + SIGMA * np.random.default_rng(seed).standard_normal(truth.shape)
        self.x, self.y = oa.Variable(truth.shape, name="x"), oa.Parameter(noisy, name="y")
        self.lam = oa.Parameter(start, name="lambda", positive=True)
        self.residual = (self.x if blur is None else blur @ self.x) - self.y
        self.energy = 0.5 * oa.sum_squares(self.residual) + self.lam * regulariser(self.x)
        self.plan = oa.compile(self.energy)

    def predicted(self, lam):
        x = self.plan.solve(params={self.lam: np.asarray(lam)}, tol=1e-7, max_iter=4000, on_failure="return").x
        return x if self.blur is None else np.asarray(self.blur.apply(x))

    def risk(self, lam):
        return float(np.mean((self.predicted(lam) - self.clean) ** 2))

    def best(self, lowest, highest, count=25):
        return min(self.risk(lam) for lam in np.geomspace(lowest, highest, count))


def smooth(x):
    return oa.sum_squares(oa.Gradient(x.shape) @ x)


def tv(x):
    return oa.norm1(oa.Gradient(x.shape) @ x)


def rounded_tv(x):
    return oa.huber(oa.Gradient(x.shape) @ x, 0.05)


def sparse():
    rng, truth = np.random.default_rng(3), np.zeros(400)
    truth[rng.choice(400, 30, replace=False)] = 2.0 * rng.standard_normal(30)
    return truth


def blur(shape):
    kernel = np.array([0.25, 0.5, 0.25])
    return oa.Convolve(kernel if len(shape) == 1 else np.outer(kernel, kernel), shape, boundary="periodic")


CASES = {
    "smooth, 1-D": lambda: (Case(np.sin(np.linspace(0, 9, 400)), smooth), 0.3, 30),
    "smooth, 1-D, blurred": lambda: (Case(np.sin(np.linspace(0, 9, 400)), smooth, blur((400,))), 0.3, 30),
    "tv, 1-D": lambda: (Case(STEPS, tv), 0.05, 2),
    "huber, 2-D": lambda: (Case(IMAGE, rounded_tv), 0.1, 10),
    "huber, 2-D, blurred": lambda: (Case(IMAGE, rounded_tv, blur(IMAGE.shape), 0.5), 0.03, 4),
    "l1, 1-D": lambda: (Case(sparse(), oa.norm1), 0.03, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_sure_finds_a_weight_whose_risk_is_within_a_tenth_of_the_best(name):
    case, lowest, highest = CASES[name]()
    found = oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, probes=4, schedule=TIGHT, steps=20)
    assert case.risk(found.values[case.lam]) <= 1.1 * case.best(lowest, highest)


# Entries held out are predicted from their neighbours: never by l1 in the basis of the data, and badly across edges.
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("l1, 1-D", "huber, 2-D")])
def test_held_out_data_find_a_weight_whose_risk_is_within_a_tenth_of_the_best(name):
    case, lowest, highest = CASES[name]()
    options = {"holdout": 0.1, "folds": 10, "seed": 1, "schedule": TIGHT, "steps": 20}
    found = oa.tune(case.energy, [{}], case.lam, by="heldout", **options)
    assert case.risk(found.values[case.lam]) <= 1.1 * case.best(lowest, highest)


@pytest.mark.parametrize("name", CASES)
def test_the_discrepancy_reaches_the_level_of_the_noise(name):
    case, _, _ = CASES[name]()
    found = oa.tune(case.energy, [{}], case.lam, by="discrepancy", noise=SIGMA, steps=25)
    residual = case.predicted(found.values[case.lam]) - case.y.value
    assert np.sqrt(np.mean(residual**2)) == pytest.approx(SIGMA, rel=1e-2)
    best = min(found.path, key=lambda row: row.loss)
    assert best.figures["noise_ratio"] == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "by", "options"),
    [
        ("huber, 2-D, blurred", "sure", {"noise": SIGMA, "probes": 2}),
        ("huber, 2-D, blurred", "discrepancy", {"noise": SIGMA}),
        ("huber, 2-D, blurred", "heldout", {"folds": 2}),
        ("tv, 1-D", "sure", {"noise": SIGMA, "probes": 2}),
        ("tv, 1-D", "discrepancy", {"noise": SIGMA}),
    ],
)
def test_gradients_agree_with_differences(name, by, options):
    case, _, _ = CASES[name]()

    def evaluated(start):
        lam = oa.Parameter(start, name="lambda", positive=True)
        energy = 0.5 * oa.sum_squares(case.residual) + lam * (tv if "tv" in name else rounded_tv)(case.x)
        exact = oa.learning.Fixed(1e-12, 1e-9)
        row = oa.tune(energy, [{}], lam, by=by, schedule=exact, max_iter=50_000, steps=1, **options).path[0]
        return row.loss, row.gradients[lam]

    h = 1e-5  # no kink lies so close
    slope = (evaluated(0.3 + h)[0] - evaluated(0.3 - h)[0]) / (2 * h)
    assert evaluated(0.3)[1] == pytest.approx(slope, rel=1e-5)


def test_sure_of_a_linear_estimate_is_its_closed_form(rng):
    y = oa.Parameter(rng.standard_normal(500), name="y")
    x, w = oa.Variable(500, name="x"), oa.Parameter(0.7, name="w", positive=True)
    energy = 0.5 * oa.sum_squares(x - y) + 0.5 * w * oa.sum_squares(x)
    row = oa.tune(energy, [{}], w, by="sure", noise=0.5, tol=1e-12, steps=1).path[0]
    shrunk = 1 / 1.7
    expected = (1 - shrunk) ** 2 * np.mean(y.value**2) - 0.25 + 2 * 0.25 * shrunk
    slope = (2 * (1 - shrunk) * np.mean(y.value**2) - 2 * 0.25) * shrunk**2
    assert row.loss == pytest.approx(expected, rel=1e-9)
    assert row.gradients[w] == pytest.approx(slope, rel=1e-8)


def test_sure_counts_complex_noise_and_noise_of_every_entry(rng):
    n = 400
    y = oa.Parameter(rng.standard_normal(n) + 1j * rng.standard_normal(n), name="y")
    x, w = oa.Variable(n, name="x", dtype=complex), oa.Parameter(0.7, name="w", positive=True)
    energy = 0.5 * oa.sum_squares(y - x) + 0.5 * w * oa.sum_squares(x)
    sigma = np.linspace(0.2, 0.6, n)
    row = oa.tune(energy, [{}], w, by="sure", noise=sigma, tol=1e-12, steps=1).path[0]
    shrunk = 1 / 1.7
    expected = (1 - shrunk) ** 2 * np.mean(np.abs(y.value) ** 2) + (2 * shrunk - 1) * np.mean(sigma**2)
    assert row.loss == pytest.approx(expected, rel=1e-9)


def test_data_that_are_no_parameter_are_found_all_the_same(rng):
    noisy = STEPS + SIGMA * rng.standard_normal(STEPS.shape)
    x, lam = oa.Variable(STEPS.shape, name="x"), oa.Parameter(0.2, name="lambda", positive=True)
    for data in (noisy, oa.Parameter(noisy, name="y")):
        energy = 0.5 * oa.sum_squares(x - data) + lam * tv(x)
        row = oa.tune(energy, [{}], lam, by="sure", noise=SIGMA, tol=1e-8, steps=1).path[0]
        losses = [row.loss] if data is noisy else [*losses, row.loss]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_criterion_may_look_at_a_parameter_of_the_operator(rng):
    truth = np.sin(np.linspace(0, 12, 128))
    a = oa.Parameter(1.5, name="a")
    y = oa.Parameter(truth + SIGMA * rng.standard_normal(128), name="y")
    x = oa.Variable(128, name="x")
    energy = 0.5 * oa.sum_squares(a * x - y) + 2.0 * oa.sum_squares(oa.Gradient(x.shape) @ x)

    def evaluated(value):
        start = oa.Parameter(value, name="a")
        moved = 0.5 * oa.sum_squares(start * x - y) + 2.0 * oa.sum_squares(oa.Gradient(x.shape) @ x)
        row = oa.tune(moved, [{}], start, by="sure", noise=SIGMA, tol=1e-12, gradient_tol=1e-9, steps=1).path[0]
        return row.loss, row.gradients[start]

    slope = (evaluated(1.501)[0] - evaluated(1.499)[0]) / 0.002
    assert evaluated(1.5)[1] == pytest.approx(slope, rel=1e-4)
    assert energy.parameters


def test_several_examples_are_averaged(rng):
    case = Case(STEPS, tv, start=0.2)
    data = [STEPS + SIGMA * rng.standard_normal(STEPS.shape) for _ in range(2)]
    options = {"by": "discrepancy", "noise": SIGMA, "tol": 1e-9, "steps": 1}
    both = oa.tune(case.energy, [{case.y: d} for d in data], case.lam, **options).path[0].figures["noise_ratio"]
    single = [oa.tune(case.energy, [({"y": d}, None)], case.lam, **options).path[0].figures for d in data]
    assert both**2 == pytest.approx(np.mean([f["noise_ratio"] ** 2 for f in single]), rel=1e-6)


def test_entries_without_weight_are_never_held_out(rng):
    weights = np.ones(64)
    weights[::2] = 0.0
    noisy = np.where(weights > 0, np.linspace(0, 1, 64), 1e3)
    x, lam = oa.Variable(64, name="x"), oa.Parameter(1.0, name="lambda", positive=True)
    energy = oa.sum_squares(x - noisy, weights=weights) + lam * smooth(x)
    found = oa.tune(energy, [{}], lam, by="heldout", holdout=0.25, folds=4, tol=1e-8, steps=5)
    assert found.loss < 1.0
    assert found.plan.solve(params=found.values, tol=1e-8).status.success


def test_torch_gives_the_same_numbers():
    pytest.importorskip("torch")
    case = Case(IMAGE, rounded_tv, blur(IMAGE.shape), 0.3)
    for by, options in (("sure", {"noise": SIGMA}), ("heldout", {}), ("discrepancy", {"noise": SIGMA})):
        rows = [
            oa.tune(case.energy, [{}], case.lam, by=by, backend=b, tol=1e-10, steps=1, **options).path[0]
            for b in ("numpy", "torch")
        ]
        assert rows[0].loss == pytest.approx(rows[1].loss, rel=1e-6)
        assert rows[0].gradients[case.lam] == pytest.approx(rows[1].gradients[case.lam], rel=1e-4)


def test_wrong_arguments_are_refused():
    case = Case(STEPS, tv)
    other = oa.Parameter(1.0, name="other", positive=True)
    energy = case.energy + other * oa.sum_squares(case.x)
    with pytest.raises(ParameterError, match="settles one number"):
        oa.tune(energy, [{}], [case.lam, other], by="discrepancy", noise=SIGMA)
    for noise in (0.0, -1.0, np.ones(3), np.inf):
        with pytest.raises(ParameterError, match="noise is the standard deviation"):
            oa.tune(case.energy, [{}], case.lam, by="sure", noise=noise)
    for by, options in (("sure", {"noise": SIGMA}), ("heldout", {})):
        with pytest.raises(ParameterError, match="cannot be tuned"):
            oa.tune(case.energy, [{}], case.y, by=by, **options)
    with pytest.raises(ParameterError, match="holds no oa.sum_squares"):
        oa.tune(case.lam * oa.norm1(case.x), [{}], case.lam, by="heldout")
    with pytest.raises(ParameterError, match="not of the form"):
        oa.tune(oa.sum_squares(2.0 * case.residual) + case.lam * tv(case.x), [{}], case.lam, by="sure", noise=SIGMA)
    with pytest.raises(ParameterError, match="must be an affine expression"):
        oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, residual=3.0)
    with pytest.raises(ParameterError, match="holds z, which the energy does not"):
        residual = case.x - oa.Parameter(STEPS, name="z")
        oa.tune(case.energy, [{}], case.lam, by="discrepancy", noise=SIGMA, residual=residual)
    for options in ({"holdout": 0.0}, {"holdout": 0.3, "folds": 4}, {"folds": 0}):
        with pytest.raises(ParameterError, match=r"holdout|folds"):
            oa.tune(case.energy, [{}], case.lam, by="heldout", **options)
    with pytest.raises(UnsupportedError, match="too few to hold out"):
        oa.tune(case.energy, [{}], case.lam, by="heldout", holdout=1e-4)
    with pytest.raises(ParameterError, match="probes"):
        oa.tune(case.energy, [{}], case.lam, by="sure", noise=SIGMA, probes=0)
    with pytest.raises((ParameterError, ShapeError)):
        oa.tune(case.energy, [{case.y: np.ones(3)}], case.lam, by="sure", noise=SIGMA)


def test_a_residual_in_other_units_than_the_energy_can_be_named(rng):
    case = Case(STEPS, tv, start=0.2)
    scaled = 0.5 * oa.sum_squares((1.0 / SIGMA) * case.residual) + (case.lam / SIGMA**2) * tv(case.x)
    options = {"by": "sure", "noise": SIGMA, "tol": 1e-9, "steps": 1}
    plain = oa.tune(case.energy, [{}], case.lam, **options).path[0].loss
    named = oa.tune(scaled, [{}], case.lam, residual=case.residual, **options).path[0].loss
    assert named == pytest.approx(plain, rel=1e-4)
