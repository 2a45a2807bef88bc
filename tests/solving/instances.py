"""Small energies of every sort, each beside the same problem written for CVXPY with dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

import opalg as oa
from tests.operators.dense import real_matrix


@dataclass(frozen=True)
class Instance:
    """An energy, which methods fit it, whether its minimiser is unique, and the oracle's objective."""

    name: str
    energy: oa.Energy
    methods: tuple[str, ...]
    unique: bool
    objective: Callable[[Any, dict], tuple[Any, list]]
    tol: float = 1e-9


def periodic_matrix(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """True periodic convolution with a centred kernel, entry by entry from its definition."""
    size = int(np.prod(shape))
    out = np.zeros((size, size))
    centre = [k // 2 for k in kernel.shape]
    for column, position in enumerate(np.ndindex(*shape)):
        for offset in np.ndindex(*kernel.shape):
            target = [(p + o - c) % n for p, o, c, n in zip(position, offset, centre, shape, strict=True)]
            out[np.ravel_multi_index(target, shape), column] += kernel[offset]
    return out


def difference_matrices(shape: tuple[int, int], boundary: str) -> tuple[np.ndarray, np.ndarray]:
    """Forward differences along both axes; the last one is zero (neumann) or wraps around."""
    out = []
    for axis, n in enumerate(shape):
        d = np.eye(n, k=1) - np.eye(n)
        d[-1] = 0.0
        if boundary == "periodic":
            d[-1, -1], d[-1, 0] = -1.0, 1.0
        before, after = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
        out.append(np.kron(np.eye(before), np.kron(d, np.eye(after))))
    return out[0], out[1]


def image(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A noisy block image."""
    out = np.zeros(shape)
    out[: shape[0] // 2, 1 : shape[1] - 2] = 1.0
    return out + 0.1 * rng.standard_normal(shape)


KERNEL = np.array([[0.05, 0.1, 0.02], [0.1, 0.4, 0.1], [0.03, 0.15, 0.05]])
SHAPE = (6, 5)


def _lengths(cp: Any, first: Any, second: Any) -> Any:
    return cp.sum(cp.norm(cp.vstack([first, second]), axis=0))


def tikhonov() -> Instance:
    """Deblurring with a quadratic of the gradient."""
    y = image(SHAPE, np.random.default_rng(1))
    x = oa.Variable(SHAPE, name="x")
    energy = 0.5 * oa.sum_squares(oa.Convolve(KERNEL, SHAPE) @ x - y)
    energy = energy + 0.1 * oa.sum_squares(oa.Gradient(SHAPE, boundary="periodic") @ x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        dx, dy = difference_matrices(SHAPE, "periodic")
        v = at[x]
        fit = cp.sum_squares(periodic_matrix(KERNEL, SHAPE) @ v - y.ravel())
        return 0.5 * fit + 0.1 * (cp.sum_squares(dx @ v) + cp.sum_squares(dy @ v)), []

    return Instance(
        "tikhonov", energy, ("closed_form", "conjugate_gradient", "proximal_gradient"), True, objective, tol=1e-12
    )


def ridge() -> Instance:
    """Least squares with weights per row and a ridge."""
    rng = np.random.default_rng(2)
    A, b, w = rng.standard_normal((12, 8)), rng.standard_normal(12), rng.uniform(0.2, 2.0, 12)
    x = oa.Variable(8, name="x")
    energy = oa.sum_squares(oa.Matrix(A) @ x - b, weights=w) + 0.3 * oa.sum_squares(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return cp.sum(cp.multiply(w, cp.square(A @ at[x] - b))) + 0.3 * cp.sum_squares(at[x]), []

    return Instance("ridge", energy, ("conjugate_gradient", "proximal_gradient"), True, objective, tol=1e-12)


def lasso() -> Instance:
    """Least squares with an l1 norm; more rows than columns."""
    rng = np.random.default_rng(3)
    A, b = rng.standard_normal((12, 8)), 2 * rng.standard_normal(12)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 2.0 * oa.norm1(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(A @ at[x] - b) + 2.0 * cp.norm1(at[x]), []

    return Instance("lasso", energy, ("proximal_gradient",), True, objective)


def wide_lasso() -> Instance:
    """More unknowns than rows, with weights per entry."""
    rng = np.random.default_rng(4)
    A, b, w = rng.standard_normal((6, 10)), rng.standard_normal(6), rng.uniform(0.1, 1.0, 10)
    x = oa.Variable(10, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + oa.norm1(x, weights=w)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(A @ at[x] - b) + cp.norm1(cp.multiply(w, at[x])), []

    return Instance("wide lasso", energy, ("proximal_gradient",), False, objective)


def wavelet() -> Instance:
    """Deblurring with an l1 norm of wavelet coefficients."""
    shape = (8, 8)
    y = image(shape, np.random.default_rng(5))
    x = oa.Variable(shape, name="x")
    W = oa.Wavelet(shape, "db2", levels=1)
    energy = 0.5 * oa.sum_squares(oa.Convolve(KERNEL, shape) @ x - y) + 0.05 * oa.norm1(W @ x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        fit = cp.sum_squares(periodic_matrix(KERNEL, shape) @ at[x] - y.ravel())
        return 0.5 * fit + 0.05 * cp.norm1(real_matrix(W, "real") @ at[x]), []

    return Instance("wavelet", energy, ("proximal_gradient", "admm"), True, objective)


def total_variation(boundary: str, isotropic: bool) -> Instance:
    """Denoising by total variation."""
    y = image(SHAPE, np.random.default_rng(6))
    x = oa.Variable(SHAPE, name="x")
    energy = 0.5 * oa.sum_squares(x - y) + 0.15 * oa.total_variation(x, isotropic=isotropic, boundary=boundary)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        dx, dy = difference_matrices(SHAPE, boundary)
        v = at[x]
        length = _lengths(cp, dx @ v, dy @ v) if isotropic else cp.norm1(dx @ v) + cp.norm1(dy @ v)
        return 0.5 * cp.sum_squares(v - y.ravel()) + 0.15 * length, []

    name = f"{'isotropic' if isotropic else 'anisotropic'} {boundary} total variation"
    return Instance(name, energy, ("admm", "primal_dual"), True, objective)


def deblur_nonneg() -> Instance:
    """Deblurring with total variation and a sign constraint."""
    y = image(SHAPE, np.random.default_rng(7)) - 0.2
    x = oa.Variable(SHAPE, name="x")
    energy = 0.5 * oa.sum_squares(oa.Convolve(KERNEL, SHAPE) @ x - y) + oa.indicator(x >= 0)
    energy = energy + 0.02 * oa.norm21(oa.Gradient(SHAPE, boundary="periodic") @ x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        dx, dy = difference_matrices(SHAPE, "periodic")
        v = at[x]
        fit = cp.sum_squares(periodic_matrix(KERNEL, SHAPE) @ v - y.ravel())
        return 0.5 * fit + 0.02 * _lengths(cp, dx @ v, dy @ v), [v >= 0]

    return Instance("deblur nonneg", energy, ("admm", "primal_dual"), True, objective, tol=1e-8)


def box() -> Instance:
    """Least squares between bounds that are arrays."""
    rng = np.random.default_rng(8)
    A, b = rng.standard_normal((12, 8)), 3 * rng.standard_normal(12)
    low, high = rng.uniform(-0.5, 0.0, 8), rng.uniform(0.1, 0.4, 8)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + oa.indicator(x >= low) + oa.indicator(x <= high)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(A @ at[x] - b), [at[x] >= low, at[x] <= high]

    return Instance("box", energy, ("proximal_gradient",), True, objective)


def nnls() -> Instance:
    """Nonnegative least squares."""
    rng = np.random.default_rng(9)
    A, b = rng.standard_normal((12, 8)), rng.standard_normal(12)
    x = oa.Variable(8, name="x")

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return cp.sum_squares(A @ at[x] - b), [at[x] >= 0]

    energy = oa.sum_squares(oa.Matrix(A) @ x - b) + oa.indicator(x >= 0)
    return Instance("nnls", energy, ("proximal_gradient",), True, objective)


def group() -> Instance:
    """Least squares with one Euclidean norm, not squared."""
    rng = np.random.default_rng(10)
    A, b = rng.standard_normal((12, 8)), rng.standard_normal(12)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + 1.5 * oa.norm2(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(A @ at[x] - b) + 1.5 * cp.norm2(at[x]), []

    return Instance("group", energy, ("proximal_gradient",), True, objective)


def huber_variation() -> Instance:
    """Deblurring with the Huber function of differences: smooth, not quadratic."""
    y = image(SHAPE, np.random.default_rng(11))
    x = oa.Variable(SHAPE, name="x")
    energy = 0.5 * oa.sum_squares(x - y) + 0.4 * oa.huber(oa.Gradient(SHAPE, boundary="periodic") @ x, 0.1)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        dx, dy = difference_matrices(SHAPE, "periodic")
        bends = cp.sum(cp.huber(dx @ at[x], 0.1)) + cp.sum(cp.huber(dy @ at[x], 0.1))
        return 0.5 * cp.sum_squares(at[x] - y.ravel()) + 0.4 * 0.5 * bends, []

    return Instance("huber variation", energy, ("proximal_gradient", "admm"), True, objective)


def log_cosh() -> Instance:
    """A robust fit by a potential given as a formula."""
    rng = np.random.default_rng(12)
    A, b = rng.standard_normal((12, 8)), 3 * rng.standard_normal(12)
    t = sympy.Symbol("t")
    x = oa.Variable(8, name="x")
    energy = oa.pointwise(oa.Potential(t, sympy.log(sympy.cosh(t))), oa.Matrix(A) @ x - b) + 0.2 * oa.norm1(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        r = A @ at[x] - b
        return cp.sum(cp.logistic(2 * r) - r - np.log(2.0)) + 0.2 * cp.norm1(at[x]), []

    return Instance("log cosh", energy, ("proximal_gradient",), True, objective)


def exponential() -> Instance:
    """A potential whose gradient has no Lipschitz constant: its step is found by backtracking, or its prox is taken."""
    rng = np.random.default_rng(13)
    A, b = rng.standard_normal((12, 8)), rng.standard_normal(12)
    t = sympy.Symbol("t")
    x = oa.Variable(8, name="x")
    energy = oa.pointwise(oa.Potential(t, sympy.exp(t)), oa.Matrix(A) @ x - b) + 0.5 * oa.sum_squares(x)
    energy = energy + 0.2 * oa.norm1(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        fit = cp.sum(cp.exp(A @ at[x] - b))
        return fit + 0.5 * cp.sum_squares(at[x]) + 0.2 * cp.norm1(at[x]), []

    return Instance("exponential", energy, ("proximal_gradient", "primal_dual"), True, objective, tol=1e-10)


def basis_pursuit() -> Instance:
    """The smallest l1 norm under linear equations."""
    rng = np.random.default_rng(14)
    A = rng.standard_normal((4, 9))
    b = A @ (rng.standard_normal(9) * (np.arange(9) < 2))
    x = oa.Variable(9, name="x")
    energy = oa.norm1(x) + oa.indicator(oa.Matrix(A) @ x == b)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return cp.norm1(at[x]), [A @ at[x] == b]

    return Instance("basis pursuit", energy, ("primal_dual",), True, objective)


def minimum_norm() -> Instance:
    """The smallest squared norm under linear equations."""
    rng = np.random.default_rng(15)
    A, b = rng.standard_normal((4, 9)), rng.standard_normal(4)
    x = oa.Variable(9, name="x")
    energy = 0.5 * oa.sum_squares(x) + oa.indicator(oa.Matrix(A) @ x == b)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(at[x]), [A @ at[x] == b]

    return Instance("minimum norm", energy, ("primal_dual",), True, objective)


def separation() -> Instance:
    """Two unknowns that share the data: a sparse part and one whose differences are small."""
    rng = np.random.default_rng(16)
    y = np.cumsum(rng.standard_normal(10)) * 0.3
    y[3] += 3.0
    u, v = oa.Variable(10, name="u"), oa.Variable(10, name="v")
    D = oa.Gradient((10,), boundary="periodic")
    energy = 0.5 * oa.sum_squares(u + v - y) + 0.4 * oa.norm1(u) + 2.0 * oa.sum_squares(D @ v)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        d = np.roll(np.eye(10), 1, axis=1) - np.eye(10)
        fit = 0.5 * cp.sum_squares(at[u] + at[v] - y)
        return fit + 0.4 * cp.norm1(at[u]) + 2.0 * cp.sum_squares(d @ at[v]), []

    return Instance("separation", energy, ("proximal_gradient",), True, objective)


def symbolic_weight() -> Instance:
    """A weight and a weight array that are formulas of parameters."""
    rng = np.random.default_rng(17)
    A, b = rng.standard_normal((12, 8)), 2 * rng.standard_normal(12)
    scale = oa.Parameter(1.5, name="scale", positive=True)
    w = oa.Parameter(rng.uniform(0.3, 1.0, 8), name="w", nonneg=True)
    x = oa.Variable(8, name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + scale**2 * oa.norm1(x, weights=w)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        return 0.5 * cp.sum_squares(A @ at[x] - b) + 2.25 * cp.norm1(cp.multiply(w.value, at[x])), []

    return Instance("symbolic weight", energy, ("proximal_gradient",), True, objective)


def colour() -> Instance:
    """A batch of images, coupled by the length of their joint gradient."""
    rng = np.random.default_rng(18)
    y = np.stack([image((5, 4), rng), 0.5 * image((5, 4), rng)])
    x = oa.Variable((2, 5, 4), name="x")
    D = oa.Gradient((5, 4), boundary="periodic")
    energy = 0.5 * oa.sum_squares(x - y) + 0.1 * oa.norm21(D @ x, axis=0)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        dx, dy = difference_matrices((5, 4), "periodic")
        planes = [at[x][:20], at[x][20:]]
        length = sum(_lengths(cp, dx @ p, dy @ p) for p in planes)
        return 0.5 * cp.sum_squares(at[x] - y.ravel()) + 0.1 * length, []

    return Instance("colour", energy, ("admm", "primal_dual"), True, objective)


def masked_fourier() -> Instance:
    """A complex image from some of its Fourier coefficients."""
    rng = np.random.default_rng(19)
    shape = (4, 5)
    mask = rng.random(shape) < 0.7
    data = mask * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    x = oa.Variable(shape, name="x", dtype=complex)
    S = oa.Mask(mask) @ oa.FFT(shape)
    energy = 0.5 * oa.sum_squares(S @ x - data) + 0.3 * oa.norm1(x)

    def objective(cp: Any, at: dict) -> tuple[Any, list]:
        f = np.fft.fft2(np.eye(20).reshape(20, *shape), norm="ortho").reshape(20, 20).T
        fit = cp.sum_squares(cp.multiply(mask.ravel().astype(float), f @ at[x]) - data.ravel())
        return 0.5 * fit + 0.3 * cp.norm1(at[x]), []

    return Instance("masked fourier", energy, ("proximal_gradient", "admm"), False, objective)


def makers() -> dict[str, Callable[[], Instance]]:
    """Every instance by name, not yet built."""
    plain = (
        tikhonov, ridge, lasso, wide_lasso, wavelet, deblur_nonneg, box, nnls, group, huber_variation, log_cosh,
        exponential, basis_pursuit, minimum_norm, separation, symbolic_weight, colour, masked_fourier,
    )  # fmt: skip
    out: dict[str, Callable[[], Instance]] = {f.__name__: f for f in plain}
    for boundary in ("periodic", "neumann"):
        for isotropic in (True, False):
            name = f"{'isotropic' if isotropic else 'anisotropic'}_{boundary}"
            out[name] = lambda b=boundary, i=isotropic: total_variation(b, i)
    return out


def points_of(solution: oa.Solution) -> np.ndarray:
    """The solution as one flat NumPy array."""
    return np.concatenate([np.asarray(p.cpu() if hasattr(p, "cpu") else p).ravel() for p in solution.points])


def at_points(instance: Instance, flat: np.ndarray) -> dict:
    """A flat array as a mapping from Variable to array."""
    out, begin = {}, 0
    for variable in instance.energy.variables:
        size = int(np.prod(variable.shape))
        out[variable] = flat[begin : begin + size].reshape(variable.shape)
        begin += size
    return out
