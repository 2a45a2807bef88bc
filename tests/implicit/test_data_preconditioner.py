"""Preconditioners from the data term: against dense inverses, and by the products that they save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import backend
from opalg.compiler.canonical import canonical
from opalg.emit import Function
from opalg.energies.maps import as_map
from opalg.implicit.data_preconditioner import DataPreconditioner, map_preconditioner, preconditioner_of
from opalg.iterations import GMRES, ConjugateGradients, LinearIteration
from opalg.methods.problem import Problem
from opalg.program.differentiate import vjp
from opalg.program.expression import Input

LIB = backend("numpy")
N = 16
Flat = Callable[[np.ndarray], np.ndarray]


def problem_of(energy: Any) -> Problem:
    return Problem(canonical(energy)[0], energy.variables)


class Instance:
    """The transposed Jacobian of the gradient of an energy at a point, and its preconditioner, as flat maps."""

    def __init__(self, energy: Any, x0: np.ndarray, step: float | None = None, values: Any = None) -> None:
        problem = problem_of(energy)
        (self.variable,) = problem.variables
        x, u = (Input(n, self.variable.shape, self.variable.kind) for n in ("x", "u"))
        t = Input("t", (), "real", role="control")
        (pulled,) = vjp(problem.smooth_gradient({self.variable: x}), [u], [x])
        assert pulled is not None
        image = pulled if step is None else t * pulled
        self.found = preconditioner_of(problem, {self.variable: x}, None if step is None else t)
        controls, leaves = {t: step or 1.0}, dict(values or {})
        product = Function([image], [x, u, t], LIB, "product").bind(leaves, controls)
        self.matrix = self._flat(lambda v: product(x0, v)[0])
        self.inverse: Flat | None = None
        if self.found is not None:
            names = [name for name, _ in self.found.numbers]
            formulas = [formula for _, formula in self.found.numbers]
            numbers = Function(formulas, [x], LIB, "numbers").bind(leaves, {})(x0) if names else ()
            apply = Function(self.found([u]), [*names, u, t], LIB, "inverse").bind(leaves, controls)
            self.inverse = self._flat(lambda v: apply(*numbers, v)[0])

    def _flat(self, f: Callable[[Any], Any]) -> Flat:
        shape = self.variable.shape
        return lambda v: np.array(f(v.reshape(shape)), dtype=float).ravel()

    def products(self, c: np.ndarray, preconditioned: bool, symmetric: bool) -> int:
        kind: Any = ConjugateGradients if symmetric else GMRES
        options: dict[str, Any] = {} if symmetric else {"restart": 200}
        inverse = self.inverse if preconditioned else None
        iteration: LinearIteration = kind(self.matrix, c, LIB, precondition=inverse, **options)
        iteration.start(None)
        while iteration.residual > 1e-10 * iteration.rhs_norm and iteration.products < 3000:
            iteration.advance()
        count = iteration.products
        assert iteration.true_residual() <= 1e-8 * iteration.rhs_norm
        return count

    def dense(self, f: Flat | None) -> np.ndarray:
        assert f is not None
        return np.stack([f(e) for e in np.eye(int(np.prod(self.variable.shape)))], axis=1)


def blur(n: int = N) -> Any:
    g = np.exp(-0.5 * ((np.arange(7) - 3) / 1.5) ** 2)
    return oa.Convolve(np.outer(g, g) / np.sum(g) ** 2, (n, n))


def smoothing_tanh(n: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A nonlinear denoiser with a Jacobian that is not symmetric, and its transposed derivative."""
    f = 2 * np.pi * np.fft.fftfreq(n)
    a, b = np.meshgrid(f, f, indexing="ij")
    inner = [np.exp(1j * a) - 1, np.exp(1j * b) - 1, (np.exp(1j * a) - 1) * (np.exp(1j * b) - 1)]
    outer = [np.conj(w) * (1 + 0.15 * np.exp(1j * (a + 2 * b))) for w in inner]

    def conv(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(w * np.fft.fft2(v)).real

    def denoise(v: np.ndarray) -> np.ndarray:
        return v - 0.05 * sum(conv(o, np.tanh(conv(i, v))) for i, o in zip(inner, outer, strict=True))

    def pull(v: np.ndarray, u: np.ndarray) -> np.ndarray:
        parts = [(1 - np.tanh(conv(i, v)) ** 2) * conv(np.conj(o), u) for i, o in zip(inner, outer, strict=True)]
        return u - 0.05 * sum(conv(np.conj(i), p) for i, p in zip(inner, parts, strict=True))

    return denoise, pull


def test_red_is_preconditioned_by_its_data_term(rng: np.random.Generator) -> None:
    n, lam, step = 32, 0.02, 0.9
    x = oa.Variable((n, n), name="x")
    denoise, pull = smoothing_tanh(n)
    image = np.kron(rng.standard_normal((8, 8)), np.ones((4, 4)))
    energy = 0.5 * oa.sum_squares(blur(n) @ x - image) + lam * oa.red(denoise, x, vjp=pull, lipschitz=2.0)
    instance, c = Instance(energy, image, step), rng.standard_normal(n * n)
    plain, fast = (instance.products(c, p, symmetric=False) for p in (False, True))
    assert fast < 60 and fast < plain / 2.5


def test_the_inverse_of_red_is_that_of_the_linear_part(rng: np.random.Generator) -> None:
    lam, step = 0.3, 0.7
    x = oa.Variable((N, N), name="x")
    B = blur()
    energy = 0.5 * oa.sum_squares(B @ x - np.ones((N, N))) + lam * oa.red(np.tanh, x, lipschitz=2.0, vjp=_pull_tanh)
    instance = Instance(energy, rng.standard_normal((N, N)), step)
    D = np.stack([np.asarray(B @ e.reshape(N, N)).ravel() for e in np.eye(N * N)], axis=1)
    exact = np.linalg.inv(step * (D.T @ D + lam * np.eye(N * N)))
    assert np.allclose(instance.dense(instance.inverse), exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())


def _pull_tanh(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    return u * (1 - np.tanh(v) ** 2)


@pytest.mark.parametrize(
    ("regulariser", "gain"),
    [
        (lambda x: 0.01 * oa.sum_squares(oa.Gradient((N, N), boundary="periodic") @ x), 6.0),
        (lambda x: 0.01 * oa.charbonnier(oa.Gradient((N, N), boundary="periodic") @ x, 0.3), 1.5),
        (lambda x: 0.01 * oa.charbonnier(oa.Gradient((N, N)) @ x, 0.3), 1.05),  # no common transform: a shift
    ],
)
def test_smooth_energies_take_fewer_products(regulariser: Any, gain: float, rng: np.random.Generator) -> None:
    x = oa.Variable((N, N), name="x")
    image = np.kron(rng.standard_normal((4, 4)), np.ones((4, 4)))
    energy = 0.5 * oa.sum_squares(blur() @ x - image) + regulariser(x)
    instance, c = Instance(energy, image), rng.standard_normal(N * N)
    plain, fast = (instance.products(c, p, symmetric=True) for p in (False, True))
    assert fast * gain < plain
    M = instance.dense(instance.inverse)
    assert np.allclose(M, M.T, atol=1e-9 * np.abs(M).max())
    assert np.linalg.eigvalsh((M + M.T) / 2).min() > 0


def test_a_quadratic_is_inverted_but_for_the_ridge(rng: np.random.Generator) -> None:
    x = oa.Variable((N, N), name="x")
    energy = oa.sum_squares(blur() @ x) + 0.1 * oa.sum_squares(x)
    instance = Instance(energy, np.zeros((N, N)))
    product = instance.dense(instance.inverse) @ instance.dense(instance.matrix)
    assert np.allclose(product, np.eye(N * N), atol=1e-4)


@pytest.mark.parametrize("name", ["ridge", "logistic", "charbonnier"])
def test_dense_matrices_are_preconditioned_by_the_diagonal_of_the_hessian(name: str, rng: np.random.Generator) -> None:
    m, n = 60, 40
    A = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-1.5, 1.5, n)
    x = oa.Variable(n, name="x")
    data = oa.logistic(oa.Matrix(A) @ x, np.sign(rng.standard_normal(m))) if name == "logistic" else None
    data = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - np.ones(m)) if data is None else data
    energy = data + (0.1 * oa.charbonnier(2.0 * x, 0.1) if name == "charbonnier" else 0.05 * oa.sum_squares(x))
    instance = Instance(energy, 0.1 * rng.standard_normal(n))
    H = instance.dense(instance.matrix)
    floor = np.maximum(np.diag(H), 1e-6 * np.diag(H).max())
    assert np.allclose(instance.dense(instance.inverse), np.diag(1 / floor), rtol=1e-10, atol=0)
    c = rng.standard_normal(n)
    plain, fast = (instance.products(c, p, symmetric=True) for p in (False, True))
    assert fast < 0.5 * plain


def test_a_parameter_of_the_energy_enters_by_its_value(rng: np.random.Generator) -> None:
    lam = oa.Parameter(1.0, name="lam", nonneg=True)
    x = oa.Variable((N, N), name="x")
    energy = 0.5 * oa.sum_squares(blur() @ x) + lam * oa.sum_squares(x)
    instance = Instance(energy, np.zeros((N, N)), values={lam: np.float64(0.25)})
    product = instance.dense(instance.inverse) @ instance.dense(instance.matrix)
    assert np.allclose(product, np.eye(N * N), atol=1e-4)


def test_where_nothing_is_known_there_is_none(rng: np.random.Generator) -> None:
    x, z = oa.Variable(6, name="x"), oa.Variable(6, name="z")
    A = oa.Matrix(rng.standard_normal((8, 6)))
    field = oa.scalar_network(lambda v: np.sum(v**4), x, vjp=lambda v, u: 4 * u * v**3)
    for energy in (
        oa.sum_squares(x - 1.0),  # a multiple of the identity
        oa.sum_squares(x - z) + oa.sum_squares(z),  # two variables
        oa.sum_squares(A @ x) + oa.norm1(x),  # a rough term
        oa.sum_squares(A @ x) + field,  # a network of which no curvature is known
    ):
        problem = problem_of(energy)
        point = {v: Input(v.label, v.shape, v.kind) for v in problem.variables}
        assert preconditioner_of(problem, point) is None


# Declared maps.


def applied(found: DataPreconditioner | None, v: np.ndarray, values: Any) -> np.ndarray:
    assert found is not None
    u = Input("u", v.shape, "real")
    return np.asarray(Function(found([u]), [u], LIB, "inverse").bind(values, {})(v)[0])


def test_a_declared_map_is_preconditioned_by_its_linear_part(rng: np.random.Generator) -> None:
    x, lam = oa.Variable((N, N), name="x"), oa.Parameter(0.2, name="lam")
    B, tau = blur(), 0.9
    denoised = oa.apply(np.tanh, x, vjp=_pull_tanh)
    v = rng.standard_normal((N, N))
    D = np.stack([np.asarray(B @ e.reshape(N, N)).ravel() for e in np.eye(N * N)], axis=1)
    exact = np.linalg.solve(tau * (D.T @ D + 0.2 * np.eye(N * N)), v.ravel())
    for image in (
        x - tau * (B.H @ (B @ x - 1.0) + lam * (x - denoised)),
        x - tau * (B.H @ (B @ x - 1.0)) + (-tau * lam) * (x - denoised),
    ):
        found = applied(map_preconditioner(as_map(image), x), v, {lam: np.float64(0.2)})
        assert np.allclose(found.ravel(), exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max())
    assert "inverse" in repr(map_preconditioner(as_map(image), x))


def test_a_linear_part_that_is_not_symmetric_is_transposed(rng: np.random.Generator) -> None:
    x = oa.Variable((N, N), name="x")
    S = oa.Convolve(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.2, 0.0, 0.0]]), (N, N))
    v = rng.standard_normal((N, N))
    found = applied(map_preconditioner(as_map(S @ x + oa.apply(np.tanh, x)), x), v, {})
    D = np.stack([np.asarray(S @ e.reshape(N, N)).ravel() for e in np.eye(N * N)], axis=1)
    assert np.allclose(found.ravel(), np.linalg.solve((np.eye(N * N) - D).T, v.ravel()), rtol=1e-4, atol=1e-4)


def test_maps_without_a_useful_linear_part_have_none(rng: np.random.Generator) -> None:
    x, z = oa.Variable((N, N), name="x"), oa.Variable(5, name="z")
    W = oa.Matrix(rng.standard_normal((5, 5)))
    for variable, image in (
        (x, oa.apply(np.tanh, blur() @ x)),
        (x, x - 0.9 * oa.apply(np.tanh, x)),
        (x, 0.5 * x + oa.apply(np.tanh, x)),
        (z, W @ z + oa.apply(np.tanh, z)),  # no cheap inverse
        (z, W @ oa.apply(np.tanh, z)),
    ):
        assert map_preconditioner(as_map(image), variable) is None
