"""Energies with denoisers and networks: what is found, what is promised, what is refused, and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.functionals.gradient_step import gradient_step
from opalg.functionals.plug_and_play import plug_and_play
from opalg.functionals.red import red
from opalg.functionals.scalar_network import scalar_network

torch = pytest.importorskip("torch")
N = 10
KERNEL = np.array([0.2, 0.5, 0.3])


class Instance:
    """Data, a blur and smoothers as matrices."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.A, self.y, self.c = rng.standard_normal((7, N)) / 3, rng.standard_normal(7), rng.standard_normal(N)
        Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
        self.W = Q @ np.diag(np.linspace(0.1, 0.95, N)) @ Q.T
        self.S = np.tril(np.ones((N, N)))
        self.S /= self.S.sum(axis=1, keepdims=True)
        self.x, self.lam = oa.Variable(N, name="x"), oa.Parameter(0.4, name="lambda", nonneg=True)
        self.yp = oa.Parameter(self.y, name="y")

    @property
    def fidelity(self) -> Any:
        return 0.5 * oa.sum_squares(oa.Matrix(self.A) @ self.x - self.yp)


def field_solution(instance: Instance, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The solution of ``A.T (A x - y) + lambda (x - D x) = 0`` and the adjoint state of c."""
    H = instance.A.T @ instance.A + 0.4 * (np.eye(N) - D)
    x = np.linalg.solve(H, instance.A.T @ instance.y)
    return x, np.linalg.solve(H.T, instance.c)


def test_red_without_an_energy_is_a_fixed_point_with_a_residual() -> None:
    p = Instance()
    E = p.fidelity + p.lam * red(lambda v: p.S @ v, p.x, vjp=lambda v, u: p.S.T @ u, nonexpansive=True)
    plan = oa.compile(E, nonconvex=True)
    solution = plan.solve(tol=1e-12, on_failure="return")
    wanted, u = field_solution(p, p.S)
    assert plan.method.name == "proximal_gradient" and plan.lowering.iteration == "anderson"
    assert solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY and solution
    assert np.allclose(solution.x, wanted, atol=1e-9)
    assert solution.value is None and solution.error_bound is None and solution.certificate.kind == "residual"
    assert "no energy is known" in repr(solution) and "no energy is known" in solution._repr_html_()
    first, second = solution.term_values.values()
    assert first == pytest.approx(0.5 * np.sum((p.A @ wanted - p.y) ** 2), rel=1e-7) and second is None
    assert all(row.value is None for row in solution.history.rows)
    g = solution.vjp(p.c, [p.yp, p.lam])
    assert g.system == "map" and g.solver == "gmres" and g.relative_residual < 1e-9
    assert np.allclose(g[p.yp], p.A @ u, atol=1e-8)
    assert float(g[p.lam]) == pytest.approx(-u @ (wanted - p.S @ wanted), rel=1e-6)
    assert plan.solve(solution, tol=1e-9).iterations <= 10
    assert "makes the plain step converge" in plan.explain()


def test_red_with_an_energy_is_a_convex_problem() -> None:
    p = Instance()
    options: dict[str, Any] = {
        "symmetric": True,
        "homogeneous": True,
        "nonexpansive": True,
        "vjp": lambda v, u: p.W @ u,
    }
    E = p.fidelity + p.lam * red(lambda v: p.W @ v, p.x, **options)
    plan = oa.compile(E)
    solution = plan.solve(tol=1e-11, on_failure="return")
    wanted, u = field_solution(p, p.W)
    assert np.allclose(solution.x, wanted, atol=1e-8)
    value = 0.5 * np.sum((p.A @ wanted - p.y) ** 2) + 0.2 * wanted @ (wanted - p.W @ wanted)
    assert solution.value == pytest.approx(value, rel=1e-12) and solution.status is not oa.Status.STATIONARY
    g = solution.vjp(p.c, [p.yp, p.lam])
    assert g.system == "hessian"
    assert np.allclose(g[p.yp], p.A @ u, atol=1e-8)
    assert float(g[p.lam]) == pytest.approx(-u @ (wanted - p.W @ wanted), rel=1e-7)


def test_a_symmetric_field_without_a_formula_for_its_energy_has_symmetric_gradients() -> None:
    p = Instance()
    E = p.fidelity + p.lam * red(lambda v: p.W @ v, p.x, vjp=lambda v, u: p.W @ u, symmetric=True, lipschitz=1.0)
    solution = oa.compile(E, nonconvex=True).solve(tol=1e-11, on_failure="return")
    _, u = field_solution(p, p.W)
    g = solution.vjp(p.c, [p.yp])
    assert solution.value is None and g.system == "hessian"
    assert np.allclose(g[p.yp], p.A @ u, atol=1e-8)


def test_red_beside_a_constraint() -> None:
    p = Instance()
    E = p.fidelity + p.lam * red(lambda v: p.S @ v, p.x, lipschitz=2.0) + oa.indicator(p.x >= 0)
    solution = oa.compile(E, nonconvex=True).solve(tol=1e-11, on_failure="return")
    x = solution.x
    force = p.A.T @ (p.A @ x - p.y) + 0.4 * (x - p.S @ x)
    assert np.all(x >= 0) and np.any(x == 0) and np.allclose(np.minimum(x, force), 0.0, atol=1e-8)


def test_on_torch_without_any_derivative_given() -> None:
    p = Instance()
    S, y = torch.as_tensor(p.S), oa.Parameter(torch.as_tensor(p.y), name="y")
    x = oa.Variable(N, name="x")
    E = 0.5 * oa.sum_squares(oa.Matrix(torch.as_tensor(p.A)) @ x - y)
    E = E + p.lam * red(lambda v: torch.tanh(S @ v), x, lipschitz=2.0)
    solution = oa.compile(E, nonconvex=True).solve(tol=1e-12, on_failure="return")
    at = solution.x
    assert not at.requires_grad
    assert (
        float((torch.as_tensor(p.A).T @ (torch.as_tensor(p.A) @ at - y.value) + 0.4 * (at - torch.tanh(S @ at))).norm())
        < 1e-9
    )
    c = torch.as_tensor(p.c)
    g = solution.vjp(c, [p.lam])
    assert g.system == "map"
    moved = solution.jvp({p.lam: torch.tensor(1.0, dtype=torch.float64)})
    assert float(c @ moved) == pytest.approx(float(g[p.lam]), rel=1e-6)
    check_against_differences(E, p.lam, 0.4, p.c, float(g[p.lam]))


def check_against_differences(E: Any, parameter: Any, at: float, c: np.ndarray, found: float, **options: Any) -> None:
    plan, step = oa.compile(E, nonconvex=True, **options), 1e-4
    both = [plan.solve(params={parameter: at + s}, tol=1e-12, on_failure="return").x for s in (step, -step)]
    ends = [np.asarray(e) for e in both]
    assert found == pytest.approx(float(np.sum(c * (ends[0] - ends[1]))) / (2 * step), rel=1e-5)


# Plug-and-play.


def soft(v: Any) -> Any:
    return np.sign(v) * np.maximum(abs(v) - 0.3, 0.0)


@pytest.mark.parametrize("method", ["proximal_gradient", "admm"])
@pytest.mark.parametrize("weight", [0.8, 2.5])
def test_a_denoiser_that_is_a_prox_gives_the_minimiser_of_its_energy(method: str, weight: float) -> None:
    x, y = oa.Variable(N, name="x"), 2 * np.random.default_rng(4).standard_normal(N)
    fidelity = 0.5 * oa.sum_squares(oa.Convolve(KERNEL, N) @ x - y)
    wanted = oa.minimize(fidelity + weight * 0.3 * oa.norm1(x), tol=1e-12, on_failure="return").x
    plan = oa.compile(fidelity + weight * plug_and_play(soft, x, averaged=0.5), method=method, nonconvex=True)
    solution = plan.solve(tol=1e-11, on_failure="return")
    assert solution.status is oa.Status.CONVERGED_RESIDUAL_ONLY and solution.value is None
    assert np.allclose(solution.x, wanted, atol=1e-8)
    assert "0.5-averaged" in plan.explain() and "no energy" in plan.explain()
    assert plan.lowering.controls == {}


@pytest.mark.parametrize("method", ["proximal_gradient", "admm"])
def test_the_weight_of_a_denoiser_has_a_gradient(method: str) -> None:
    # D is the prox of x.T R x / 2, so (K.T K + w R) x = K.T y
    p = Instance()
    K = oa.Convolve(KERNEL, N)
    dense = K.to_dense()
    R = np.linalg.inv(p.W) - np.eye(N)
    w, y = oa.Parameter(0.9, name="w", positive=True), np.random.default_rng(5).standard_normal(N)
    E = 0.5 * oa.sum_squares(K @ p.x - y)
    E = E + w * plug_and_play(lambda v: p.W @ v, p.x, vjp=lambda v, u: p.W @ u)
    solution = oa.compile(E, method=method, nonconvex=True).solve(tol=1e-13, on_failure="return")
    H = dense.T @ dense + 0.9 * R
    wanted = np.linalg.solve(H, dense.T @ y)
    assert np.allclose(solution.x, wanted, atol=1e-9)
    g = solution.vjp(p.c, [w])
    assert g.solver == "gmres"
    assert float(g[w]) == pytest.approx(-np.linalg.solve(H, p.c) @ R @ wanted, rel=1e-6)


def test_a_denoiser_behind_an_orthogonal_operator() -> None:
    x, y = oa.Variable(8, name="x"), np.random.default_rng(6).standard_normal(8)
    C = 2.0 * oa.DCT(8)
    fidelity = 0.5 * oa.sum_squares(oa.Convolve(KERNEL, 8) @ x - y)
    wanted = oa.minimize(fidelity + 0.4 * 0.3 * oa.norm1(C @ x), tol=1e-12, on_failure="return").x
    for method in ("proximal_gradient", "admm"):
        plan = oa.compile(fidelity + 0.4 * plug_and_play(soft, C @ x), method=method, nonconvex=True)
        assert np.allclose(plan.solve(tol=1e-11, on_failure="return").x, wanted, atol=1e-8)


def test_a_step_that_would_be_too_long_is_refused_and_another_method_taken() -> None:
    x, y = oa.Variable(N, name="x"), np.random.default_rng(4).standard_normal(N)
    E = 5.0 * oa.sum_squares(oa.Convolve(KERNEL, N) @ x - y) + 0.5 * plug_and_play(soft, x)
    with pytest.raises(oa.UnsupportedError, match="larger weight"):
        oa.compile(E, method="proximal_gradient", nonconvex=True)
    assert oa.compile(E, nonconvex=True).method.name == "admm"


@pytest.mark.parametrize("method", ["proximal_gradient", "admm"])
def test_a_denoiser_that_is_told_its_strength(method: str) -> None:
    x, y = oa.Variable(N, name="x"), torch.as_tensor(np.random.default_rng(7).standard_normal(N))
    w = oa.Parameter(0.6, name="w", positive=True)
    K = oa.Convolve(torch.as_tensor(KERNEL), N)
    E = 0.5 * oa.sum_squares(K @ x - y) + w * plug_and_play(lambda v, s: v / (1 + s**2), x, strength=True)
    solution = oa.compile(E, method=method, nonconvex=True, backend="torch").solve(tol=1e-12, on_failure="return")
    dense = np.asarray(K.to_dense())
    H = dense.T @ dense + 0.6 * np.eye(N)
    wanted = np.linalg.solve(H, dense.T @ np.asarray(y))
    assert np.allclose(np.asarray(solution.x), wanted, atol=1e-9)
    c = np.random.default_rng(8).standard_normal(N)
    g = solution.vjp(torch.as_tensor(c), [w])
    assert float(g[w]) == pytest.approx(-np.linalg.solve(H, c) @ wanted, rel=1e-6)


# Gradient-step and scalar networks.


def network() -> Any:
    torch.manual_seed(1)
    layers = [torch.nn.Conv1d(1, 3, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv1d(3, 1, 3, padding=1)]
    return torch.nn.Sequential(*layers).double()


def test_a_gradient_step_energy_by_backtracking_and_its_gradient() -> None:
    x, lam = oa.Variable((1, N), name="x"), oa.Parameter(0.3, name="lambda", nonneg=True)
    y, c = np.random.default_rng(9).standard_normal((2, 1, N))
    E = 0.5 * oa.sum_squares(x - torch.as_tensor(y)) + lam * gradient_step(network(), x)
    plan = oa.compile(E, nonconvex=True)
    assert plan.lowering.backtrack
    solution = plan.solve(tol=1e-12, on_failure="return")
    at = solution.x.clone().requires_grad_(True)
    value = 0.5 * ((at - torch.as_tensor(y)) ** 2).sum() + 0.15 * ((at - network()(at)) ** 2).sum()
    (slope,) = torch.autograd.grad(value, at)
    assert solution.value == pytest.approx(float(value.detach()), rel=1e-12) and float(slope.norm()) < 1e-9
    g = solution.vjp(torch.as_tensor(c), [lam])
    assert g.system == "hessian"
    check_against_differences(E, lam, 0.3, c, float(g[lam]))


def test_a_scalar_energy_with_a_declared_constant() -> None:
    x, lam = oa.Variable(N, name="x"), oa.Parameter(0.5, name="lambda", nonneg=True)
    y, c = np.random.default_rng(10).standard_normal((2, N))
    size: Callable[[Any], Any] = lambda v: np.sqrt(1 + v**2)  # noqa: E731
    term = scalar_network(
        lambda v: np.sum(size(v)), x, vjp=lambda v, u: u * v / size(v), hvp=lambda v, u, d: u * d / size(v) ** 3,
        convex=True, lipschitz=1.0,
    )  # fmt: skip
    plan = oa.compile(0.5 * oa.sum_squares(x - y) + lam * term)
    assert not plan.lowering.backtrack and "declared constant" in plan.explain()
    solution = plan.solve(tol=1e-12, on_failure="return")
    assert np.allclose(solution.x - y + 0.5 * solution.x / size(solution.x), 0.0, atol=1e-10)
    g = solution.vjp(c, [lam])
    slope = solution.x / size(solution.x)
    assert float(g[lam]) == pytest.approx(-np.sum(c * slope / (1 + 0.5 / size(solution.x) ** 3)), rel=1e-8)


def test_an_estimated_constant_is_searched_by() -> None:
    x, y = oa.Variable(N, name="x"), np.random.default_rng(11).standard_normal(N)
    low = oa.Bound(oa.Constant(1e-3) + 0.0, "estimate")  # far below the truth
    E = oa.sum_squares(x - y) + scalar_network(
        lambda v: 5 * np.sum(v**2), x, vjp=lambda v, u: 10 * u * v, lipschitz=low
    )
    plan = oa.compile(E, nonconvex=True)
    assert plan.lowering.backtrack
    assert np.allclose(plan.solve(tol=1e-10, on_failure="return").x, y / 6, atol=1e-8)


# Refusals.


def test_what_cannot_be_promised_is_refused_with_a_reason() -> None:
    p = Instance()
    E = p.fidelity + p.lam * red(np.tanh, p.x, lipschitz=2.0)
    with pytest.raises(oa.ConvexityError, match=r"has no energy, so there is no minimiser.*nonconvex=True"):
        oa.compile(E)
    with pytest.raises(oa.UnsupportedError, match="declare one with lipschitz="):
        oa.compile(p.fidelity + red(np.tanh, p.x), nonconvex=True)
    for method in ("primal_dual", "admm"):
        with pytest.raises(oa.UnsupportedError, match="has no energy, and this method rests on a convex one"):
            oa.compile(E, nonconvex=True, method=method)
    for method in ("conjugate_gradient", "closed_form"):
        with pytest.raises(oa.UnsupportedError, match="not every term"):
            oa.compile(E, nonconvex=True, method=method)
    plan = oa.compile(E, nonconvex=True)
    assert plan.compiled.gap is None and not plan.lowering.backtrack
    assert "nothing declared makes the step converge" in plan.explain()
    assert "there is no energy, so no bound is known" in plan.explain()


def test_a_search_beside_a_term_without_an_energy_is_refused() -> None:
    p = Instance()
    free = scalar_network(lambda v: np.sum(v**4), p.x, vjp=lambda v, u: 4 * u * v**3)
    with pytest.raises(oa.UnsupportedError, match=r"nothing to search a step by.*gradient of scalar_network"):
        oa.compile(p.fidelity + red(np.tanh, p.x, lipschitz=2.0) + free, nonconvex=True)


def test_two_denoisers_are_one_too_many() -> None:
    x, y = oa.Variable(N, name="x"), np.ones(N)
    E = oa.sum_squares(x - y) + plug_and_play(soft, x) + plug_and_play(np.tanh, x)
    with pytest.raises(oa.UnsupportedError, match=r"two terms need a prox(.|\n)*|two denoisers(.|\n)*"):
        oa.compile(E, nonconvex=True)


def test_a_denoiser_that_drives_away_is_answered() -> None:
    x, y = oa.Variable(N, name="x"), np.ones(N)
    E = 0.5 * oa.sum_squares(x - y) + 2.0 * plug_and_play(lambda v: v**2 + 3.0, x)
    with pytest.raises((oa.DivergedError, oa.NonFiniteError, oa.BreakdownError)) as caught:
        oa.compile(E, method="proximal_gradient", nonconvex=True).solve(max_iter=300, on_failure="raise")
    assert np.all(np.isfinite(caught.value.solution.x)) and caught.value.solution.value is None


def test_the_network_must_fit_the_plan_when_it_is_compiled() -> None:
    x, y = oa.Variable((1, N), name="x"), np.zeros((1, N))
    single = torch.nn.Conv1d(1, 1, 3, padding=1)
    with pytest.raises(oa.DeviceError, match="backend='torch'"):
        oa.compile(oa.sum_squares(x - y) + red(single, x, lipschitz=2.0), nonconvex=True)
    with pytest.raises(oa.DtypeError, match="float32"):
        oa.compile(oa.sum_squares(x - y) + red(single, x, lipschitz=2.0), nonconvex=True, backend="torch")
    noisy = torch.nn.Sequential(single, torch.nn.Dropout())
    E = oa.sum_squares(x - y) + red(noisy, x, lipschitz=2.0)
    with pytest.raises(oa.ParameterError, match=r"eval\(\)"):
        oa.compile(E, nonconvex=True, backend="torch", dtype="float32")


def test_single_precision_networks_work_in_single_precision_plans() -> None:
    x, y = oa.Variable((1, N), name="x"), torch.randn(1, N)
    net = network().float()
    for term, options in (
        (gradient_step(net, x), {}),
        (red(net, x, lipschitz=4.0), {}),
        (plug_and_play(lambda v: 0.5 * v + 0.1 * net(v), x), {"method": "admm"}),
    ):
        plan = oa.compile(oa.sum_squares(x - y) + 0.2 * term, nonconvex=True, **options)
        solution = plan.solve(tol=1e-4)
        assert solution and solution.x.dtype == torch.float32
        assert (solution.value is None) == (term.functional.facts.has_value is not oa.YES)
        assert len(solution.term_values) == 2


def test_complex_images(rng: np.random.Generator) -> None:
    x, y = oa.Variable(N, name="x", dtype=complex), rng.standard_normal(N) + 1j * rng.standard_normal(N)
    E = 0.5 * oa.sum_squares(x - y) + 0.5 * red(lambda v: 0.5 * v * np.exp(0.3j), x, nonexpansive=True)
    solution = oa.compile(E, nonconvex=True).solve(tol=1e-11, on_failure="return")
    assert np.allclose(solution.x, y / (1.5 - 0.25 * np.exp(0.3j)), atol=1e-9)
