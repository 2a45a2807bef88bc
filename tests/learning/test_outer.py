"""Outer searches."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError, UnsupportedError

TRUTH = np.sin(np.linspace(0.0, 9.0, 48))

LARGE = 2.0 * TRUTH  # what no smoothing comes close to, so that every weight is best at its lowest


def smoothing(lam_start=50.0, mu_start=0.5):
    """Two weights to tune on a noisy curve."""
    rng = np.random.default_rng(0)
    y = oa.Parameter(TRUTH + 0.2 * rng.standard_normal(TRUTH.shape), name="y")
    x = oa.Variable(TRUTH.shape, name="x")
    lam = oa.Parameter(lam_start, name="lambda", positive=True)
    mu = oa.Parameter(mu_start, name="mu", nonneg=True)
    D = oa.Gradient(x.shape, boundary="periodic")
    energy = 0.5 * oa.sum_squares(x - y) + lam * oa.sum_squares(D @ x) + mu * oa.sum_squares(x)
    return energy, lam, mu


EXACT = {"tol": 1e-10, "gradient_tol": 1e-8}


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "Nelder-Mead", "Powell"])
def test_methods_of_scipy_agree(method):
    energy, lam, mu = smoothing()
    options = {"steps": 250, "stop": 1e-6, **EXACT}
    reference = oa.tune(energy, [({}, TRUTH)], [lam, mu], **options)
    found = oa.tune(energy, [({}, TRUTH)], [lam, mu], outer=method, **options)
    assert found.loss == pytest.approx(reference.loss, rel=1e-3)
    assert found.values[lam] == pytest.approx(reference.values[lam], rel=0.1)


def test_optimisers_of_torch_agree():
    torch = pytest.importorskip("torch")
    energy, lam, _ = smoothing(mu_start=1e-3)
    reference = oa.tune(energy, [({}, TRUTH)], lam, outer="L-BFGS-B", steps=60, stop=1e-9, **EXACT)
    for outer, options in (
        (torch.optim.Adam, {"lr": 0.3}),
        (torch.optim.SGD, {"lr": 1.0}),
        (torch.optim.LBFGS, {"line_search_fn": "strong_wolfe"}),
    ):
        found = oa.tune(energy, [({}, TRUTH)], lam, outer=outer, outer_options=options, steps=40, **EXACT)
        assert found.loss == pytest.approx(reference.loss, rel=1e-4), outer
        assert found.values[lam] == pytest.approx(reference.values[lam], rel=0.05), outer


def test_a_callable_of_ones_own():
    from scipy.optimize import OptimizeResult

    def two_steps(fun, x0, args=(), jac=None, **options):
        point = x0
        for _ in range(2):
            point = point - 0.1 * jac(point)
        return OptimizeResult(x=point, fun=fun(point), success=True)

    energy, lam, mu = smoothing()
    found = oa.tune(energy, [({}, TRUTH)], [lam, mu], outer=two_steps, **EXACT)
    assert found.reason == "outer"
    assert found.loss < found.path[0].loss


def test_the_evaluations_are_limited_whoever_searches():
    torch = pytest.importorskip("torch")
    energy, lam, mu = smoothing()
    for outer in (None, "descent", "L-BFGS-B", torch.optim.Adam):
        found = oa.tune(energy, [({}, TRUTH)], [lam, mu], outer=outer, steps=4, stop=0.0, **EXACT)
        assert len(found.path) == 4
        assert found.reason == "steps"


@pytest.mark.parametrize("outer", [None, "L-BFGS-B", "Nelder-Mead"])
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_bounds_are_respected(outer, scale):
    energy, lam, mu = smoothing(lam_start=0.2, mu_start=0.5)
    options = {"outer": outer, "scale": scale, "bounds": {lam: (0.05, 0.4), "mu": (0.25, None)}}
    found = oa.tune(energy, [({}, LARGE)], [lam, mu], steps=80, stop=1e-6, **EXACT, **options)
    assert all(0.05 * (1 - 1e-12) <= row.values[lam] <= 0.4 * (1 + 1e-12) for row in found.path)
    assert all(row.values[mu] >= 0.25 * (1 - 1e-12) for row in found.path)
    assert found.values[lam] == pytest.approx(0.05, rel=1e-2)
    assert found.values[mu] == pytest.approx(0.25, rel=1e-2)


def test_torch_stays_within_bounds():
    torch = pytest.importorskip("torch")
    energy, lam, mu = smoothing(lam_start=0.2, mu_start=0.5)
    options = {"outer": torch.optim.Adam, "outer_options": {"lr": 0.3}, "bounds": {lam: (0.05, 1.5)}}
    found = oa.tune(energy, [({}, LARGE)], [lam, mu], steps=20, **EXACT, **options)
    assert min(row.values[lam] for row in found.path) == pytest.approx(0.05)


@pytest.mark.parametrize("outer", [None, "L-BFGS-B"])
def test_nonnegative_parameters_may_reach_zero_in_linear_scale(outer):
    energy, _, mu = smoothing(lam_start=0.05, mu_start=0.5)
    found = oa.tune(energy, [({}, LARGE)], mu, outer=outer, scale="linear", steps=60, **EXACT)
    assert found.values[mu] == 0.0


def test_wrong_searches_are_refused():
    energy, lam, mu = smoothing()
    with pytest.raises(UnsupportedError, match="knows no bounds"):
        oa.tune(energy, [({}, TRUTH)], [lam, mu], outer="BFGS", scale="linear")
    with pytest.raises(ParameterError, match="outer_options belong"):
        oa.tune(energy, [({}, TRUTH)], lam, outer_options={"lr": 0.1})
    with pytest.raises(ParameterError, match="outer is None"):
        oa.tune(energy, [({}, TRUTH)], lam, outer=3)
