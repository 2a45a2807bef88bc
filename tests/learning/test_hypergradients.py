"""Gradients of losses of solutions against differences."""

import numpy as np
import pytest

import opalg as oa
from opalg.errors import ParameterError


def denoising(rng, backend=None):
    """Total variation denoising of a small picture: plan, parameters, truth."""
    truth = np.zeros((10, 12))
    truth[2:7, 3:9] = 1.0
    x = oa.Variable(truth.shape, name="x")
    y = oa.Parameter(truth + 0.1 * rng.standard_normal(truth.shape), name="y")
    lam = oa.Parameter(0.08, name="lambda", positive=True)
    D = oa.Gradient(x.shape, boundary="periodic")
    return oa.compile(0.5 * oa.sum_squares(x - y) + lam * oa.norm21(D @ x), backend=backend), lam, y, truth


def squares(truth):
    """The loss ``|x - truth|^2`` with its gradient."""
    return lambda x: (float(((x - truth) ** 2).sum()), 2 * (x - truth))


def test_total_variation_agrees_with_differences(rng):
    plan, lam, y, truth = denoising(rng)

    def loss(weight, data):
        solution = plan.solve(params={lam: np.asarray(weight), y: data}, tol=1e-9, max_iter=20_000)
        return float(((solution.x - truth) ** 2).sum())

    options = {"tol": 1e-7, "max_iter": 3000}
    found = oa.hypergradient(plan, squares(truth), [lam, y], tol=1e-9, max_iter=20_000, gradient_options=options)
    h = 1e-3
    assert found.value == pytest.approx(loss(0.08, y.value), rel=1e-5)
    assert float(found.gradients[lam]) == pytest.approx(
        (loss(0.08 + h, y.value) - loss(0.08 - h, y.value)) / (2 * h), rel=1e-3
    )
    direction = rng.standard_normal(truth.shape)
    slope = (loss(0.08, y.value + h * direction) - loss(0.08, y.value - h * direction)) / (2 * h)
    assert float((found.gradients[y] * direction).sum()) == pytest.approx(slope, rel=1e-2)


def test_a_deblurring_width_agrees_with_differences(rng):
    truth = np.kron(rng.random((4, 4)), np.ones((4, 4)))
    x = oa.Variable(truth.shape, name="x")
    width = oa.Parameter(1.0, name="width", positive=True)
    K = oa.Convolve(oa.gaussian_kernel(width, 4), shape=x.shape)
    D = oa.Gradient(x.shape, boundary="periodic")
    y = oa.Convolve(oa.gaussian_kernel(1.3, 4), shape=x.shape) @ truth + 0.01 * rng.standard_normal(truth.shape)
    plan = oa.compile(0.5 * oa.sum_squares(K @ x - y) + 0.01 * oa.sum_squares(D @ x))
    found = oa.hypergradient(plan, squares(truth), width, tol=1e-10)

    def loss(value):
        solution = plan.solve(params={width: np.asarray(value)}, tol=1e-10)
        return float(((solution.x - truth) ** 2).sum())

    assert float(found.gradients[width]) == pytest.approx((loss(1.0 + 1e-5) - loss(1.0 - 1e-5)) / 2e-5, rel=1e-4)


def test_parameters_for_this_solve_only(rng):
    plan, lam, _, truth = denoising(rng)
    other = oa.hypergradient(
        plan, squares(truth), lam, {lam: np.asarray(0.2)}, tol=1e-5, gradient_options={"tol": 1e-6}
    )
    wanted = plan.solve(params={lam: np.asarray(0.2)}, tol=1e-5).x
    assert other.value == pytest.approx(float(((wanted - truth) ** 2).sum()), rel=1e-12)
    assert other.value != pytest.approx(float(((plan.solve().x - truth) ** 2).sum()), rel=1e-2)


def test_torch_differentiates_the_loss(rng):
    torch = pytest.importorskip("torch")
    plan, lam, _, truth = denoising(rng)
    options = {"tol": 1e-4, "gradient_options": {"tol": 1e-5}}
    wanted = oa.hypergradient(plan, squares(truth), lam, **options)
    on_torch, weight, _, _ = denoising(np.random.default_rng(0), backend="torch")
    target = torch.from_numpy(truth)
    for loss in (lambda x: ((x - target) ** 2).sum(), squares(target)):
        found = oa.hypergradient(on_torch, loss, weight, **options)
        assert found.value == pytest.approx(wanted.value, rel=1e-6)
        assert float(found.gradients[weight]) == pytest.approx(float(wanted.gradients[lam]), rel=1e-4)


def test_a_loss_of_nothing_has_no_gradient():
    torch = pytest.importorskip("torch")
    x = oa.Variable(2, name="x")
    y = oa.Parameter(torch.ones(2, dtype=torch.float64), name="y")
    plan = oa.compile(oa.sum_squares(x - y))
    free = torch.ones((), dtype=torch.float64, requires_grad=True)
    found = oa.hypergradient(plan, lambda v: free * 3.0, y)
    assert found.value == 3.0
    assert found.gradients[y].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_loss_must_return_a_pair_or_a_scalar(rng, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    plan, lam, _, _ = denoising(rng, backend)
    with pytest.raises(ParameterError, match="pair"):
        oa.hypergradient(plan, lambda x: x - 1.0, lam)


def test_an_energy_is_to_be_compiled_first(rng):
    plan, lam, _, _ = denoising(rng)
    with pytest.raises(ParameterError, match=r"oa.compile\(energy\)"):
        oa.hypergradient(plan.energy, squares(np.zeros(3)), lam)
