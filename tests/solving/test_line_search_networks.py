"""Deep regularisers with a line search in single precision, hypergradients, and saddle points (bars S2.3 and S2.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opalg as oa

torch = pytest.importorskip("torch")
ndimage = pytest.importorskip("scipy.ndimage")

SIZE, CHANNELS = 24, 16
SEARCH: dict[str, Any] = {"line_search": "gradient", "sample_axes": 1, "nonconvex": True}


class Potential(torch.nn.Module):  # type: ignore[misc]
    """``s(x) = x . h(x) / 2`` for three convolutions with SiLU between them, the gradient of s scaled to a constant."""

    def __init__(self, pictures: Any, lipschitz: float = 1.0, channels: int = CHANNELS, gain: float = 3.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = [(1, channels), (channels, channels), (channels, 1)]
        layers: list[Any] = []
        for inputs, outputs in widths:
            layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1, dtype=pictures.dtype), torch.nn.SiLU()]
        self.layers = torch.nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for parameter in self.layers.parameters():
                parameter.mul_(gain)
        self.scale = 1.0
        self.scale = lipschitz / self.curvature(pictures)

    def forward(self, x: Any) -> Any:
        return 0.5 * self.scale * (x * self.layers(x[..., None, :, :])[..., 0, :, :]).sum()

    def curvature(self, x: Any, steps: int = 40) -> float:
        """The largest curvature at some pictures, by power iteration."""
        v = torch.randn_like(x)
        for _ in range(steps):
            v = torch.autograd.functional.hvp(self, x, v / v.norm())[1]
        return float(v.norm())


def pictures(count: int, dtype: Any) -> Any:
    rng = np.random.default_rng(4)
    smooth = np.stack([ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1.5 + k) for k in range(count)])
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    return torch.tensor((smooth - low) / (high - low), dtype=dtype)


class Instance:
    """Half of the measurements of some pictures, and a deep regulariser."""

    def __init__(self, dtype: Any, count: int = 4, **options: Any) -> None:
        self.clean = pictures(count, dtype)
        self.network = Potential(self.clean, **options)
        self.A = oa.StructuredRandom((SIZE, SIZE), rows=SIZE * SIZE // 2)
        self.y = self.A @ self.clean
        self.start = self.A.H @ self.y
        self.x = oa.Variable((count, SIZE, SIZE), name="x", dtype=dtype)
        self.lam = oa.Parameter(torch.tensor(0.2, dtype=dtype), name="lambda", positive=True)
        self.data = 5.0 * oa.sum_squares(self.A @ self.x - self.y)
        self.energy = self.data + self.lam * self.regulariser

    @property
    def regulariser(self) -> Any:
        return 0.5 * oa.sum_squares(self.x) - oa.scalar_network(self.network, self.x)

    def slope(self, x: Any) -> Any:
        """The gradient of ``r = |x|^2 / 2 - s`` by Torch alone."""
        x = x.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(0.5 * (x * x).sum() - self.network(x), x)
        return found

    def residual(self, x: Any, tau: float) -> Any:
        """``|x - prox(x - tau grad r)| / (tau |grad r|)`` of each picture, by the formula of orthonormal rows."""
        moved = (x - tau * self.slope(x)).double()
        c = 10.0 * tau / float(self.lam.value)
        y = self.y.double()
        near = moved + c / (1.0 + c) * (self.A.H @ (y - self.A @ moved))
        lengths = (near - x).flatten(1).norm(dim=1)
        return lengths / tau / self.slope(x).flatten(1).norm(dim=1)


@pytest.mark.parametrize(("lipschitz", "gain"), [(1.0, 3.0), (1.0, 6.0), (1.6, 3.0)])
def test_single_precision_with_the_test_by_gradients(lipschitz: float, gain: float) -> None:
    """S2.4: the residual, the energy, and steps that neither collapse nor stay short."""
    p = Instance(torch.float32, lipschitz=lipschitz, gain=gain)
    plan = oa.compile(p.energy, prox=p.data, **SEARCH)
    values: list[float] = []
    short = 1e-3  # far below 1 / L, in units of lambda r
    found = plan.solve(
        p.start,
        tol=0.0,
        max_iter=200,
        step=short,
        on_failure="return",
        callback=lambda info: values.append(info.value),
    )
    assert float(p.residual(found.x, 0.3).max()) <= 1e-5
    rises = np.diff(values) / np.abs(values[:-1])
    assert rises.max() <= 1e-6
    final = found.differentiator.controls[plan.lowering.step_size]
    longest = 1.0 / (float(p.lam.value) * (1.0 + lipschitz))
    assert final >= 1e-2 * longest and final > 100 * short


def test_samples_converge_within_few_iterations_and_rest() -> None:
    p = Instance(torch.float32)
    plan = oa.compile(p.energy, prox=p.data, **SEARCH)
    found = plan.solve(p.start, tol=1e-5, max_iter=200)
    assert found.status is oa.Status.STATIONARY and found.certificate.relative <= 1e-5
    assert found.iterations < 60 and float(p.residual(found.x, 0.3).max()) <= 3e-5
    again = plan.solve(found, tol=1e-5)
    assert again.iterations == 0


def test_the_test_by_values_reaches_the_same_point_in_single_precision() -> None:
    p = Instance(torch.float32)
    plan = oa.compile(p.energy, prox=p.data, line_search="value", nonconvex=True)
    found = plan.solve(p.start, tol=0.0, max_iter=200, on_failure="return")
    assert float(p.residual(found.x, 0.3).max()) <= 1e-5
    assert found.differentiator.controls[plan.lowering.step_size] >= 1e-2 / (0.2 * 2.0)


def loss_of(p: Instance, x: Any) -> Any:
    return ((x - p.clean) ** 2).sum()


def test_hypergradients_in_weights_and_lambda() -> None:
    """S2.3: against central differences at 24 x 24, to 1e-3."""
    p = Instance(torch.float64, count=2, gain=4.0)
    tight: dict[str, Any] = {"tol": 1e-12, "max_iter": 5000}
    plan = oa.compile(p.energy, prox=p.data, **SEARCH)
    x = plan.solve(p.start, **tight)
    found = x.vjp(2.0 * (x.x - p.clean), [p.lam, p.network])
    assert found.system == "hessian" and "not_a_minimum" not in found.flags

    def at_lambda(value: float) -> float:
        params = {p.lam: torch.tensor(value, dtype=torch.float64)}
        return float(loss_of(p, plan.solve(p.start, params=params, **tight).x))

    h = 1e-5
    slope = (at_lambda(0.2 + h) - at_lambda(0.2 - h)) / (2 * h)
    assert float(found[p.lam]) == pytest.approx(slope, rel=1e-3) and abs(slope) > 1e-3
    generator = torch.Generator().manual_seed(3)
    for weight in (p.network.layers[0].weight, p.network.layers[2].bias, p.network.layers[4].weight):
        direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)

        def moved(by: float, weight: Any = weight, direction: Any = direction) -> float:
            with torch.no_grad():
                weight.add_(by * direction)
            value = float(loss_of(p, oa.compile(p.energy, prox=p.data, **SEARCH).solve(p.start, **tight).x))
            with torch.no_grad():
                weight.sub_(by * direction)
            return value

        slope = (moved(h) - moved(-h)) / (2 * h)
        assert float((found[weight] * direction).sum()) == pytest.approx(slope, rel=1e-3) and abs(slope) > 1e-3


def test_a_module_trains_the_network_and_lambda() -> None:
    p = Instance(torch.float32, count=2, channels=4)
    net = oa.compile(p.energy, prox=p.data, **SEARCH).as_module(
        tol=1e-4, positive="exp", warm_start=True, gradient_options={"tol": 1e-3, "refine": False, "estimate": False}
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = loss_of(p, net())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and net.solution.method == "proximal_gradient"


def saddle(beta: float) -> tuple[Any, Any, Any, Any]:
    """``x = 0`` is stationary for even potentials; in the null space of A its curvature is ``lambda (1 - beta)``."""
    A, x = oa.StructuredRandom((6, 6), rows=18), oa.Variable((6, 6), name="x", dtype=torch.float64)
    y = oa.Parameter(torch.zeros(18, dtype=torch.float64), name="y")
    even = oa.scalar_network(lambda v: beta * torch.log(torch.cosh(v)).sum(), x)
    data = 0.5 * oa.sum_squares(A @ x - y)
    energy = data + 0.3 * (0.5 * oa.sum_squares(x) - even)
    return oa.compile(energy, prox=data, line_search="gradient", nonconvex=True), A, y, torch.zeros(6, 6).double()


@pytest.mark.parametrize(("beta", "is_minimum"), [(0.5, True), (1.6, False)])
@pytest.mark.parametrize("solver", ["auto", "minres"])
def test_a_saddle_is_reported_by_its_gradient(beta: float, is_minimum: bool, solver: str) -> None:
    plan, A, y, zero = saddle(beta)
    c = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = plan.solve(zero, tol=1e-10)
    assert found.status is oa.Status.STATIONARY
    gradient = found.vjp(c, y, solver=solver)
    assert ("not_a_minimum" in gradient.flags) is not is_minimum
    if not is_minimum:
        assert gradient.solver == "minres"
    rows = A.to_dense().reshape(18, 36) if isinstance(A.to_dense(), np.ndarray) else A.to_dense()
    dense = torch.as_tensor(np.asarray(rows))
    hessian = dense.T @ dense + 0.3 * (1.0 - beta) * torch.eye(36, dtype=torch.float64)
    wanted = dense @ torch.linalg.solve(hessian, c.reshape(-1))
    assert torch.allclose(gradient[y], wanted, rtol=1e-8)


def test_a_start_beside_the_saddle_ends_in_a_minimum() -> None:
    plan, _, y, zero = saddle(1.6)
    start = zero + 0.01 * torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = plan.solve(start, tol=1e-8)
    assert found.value < -0.1 and "not_a_minimum" not in found.vjp(torch.ones_like(zero), y).flags


def test_structured_measurements_have_orthonormal_rows_and_lose_their_share() -> None:
    """S2.1: ``A A.H = I`` in single precision, and ``A.H A x - x`` has ``1 - m / d`` of the energy of x."""
    clean = pictures(6, torch.float32)
    for rows in (SIZE * SIZE // 5, SIZE * SIZE // 2):
        shares = []
        for seed in range(8):
            A = oa.StructuredRandom((SIZE, SIZE), rows=rows, seed=seed)
            y = A @ clean
            assert float((A @ (A.H @ y) - y).abs().max()) <= 1e-5 * float(y.abs().max())
            shares.append(float(((A.H @ y - clean) ** 2).mean() / (clean**2).mean()))
        assert np.mean(shares) == pytest.approx(1 - rows / SIZE**2, rel=0.05)
