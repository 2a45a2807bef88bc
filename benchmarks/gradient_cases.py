"""The problems of `gradients.py` on plain NumPy: data, outer losses and references that no library computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
from scipy.sparse.csgraph import connected_components

Arrays = dict[str, np.ndarray]


@dataclass
class Problem:
    """Data of a problem, the reference gradient of its outer loss, and the truth that this loss compares with.

    The loss is ``|x - truth|^2 / 2``, so its gradient in the solution is ``x - truth``.
    """

    name: str
    data: Arrays
    truth: np.ndarray
    reference: Arrays = field(default_factory=dict)
    solution: np.ndarray | None = None
    remark: str = ""

    def errors(self, found: Arrays) -> dict[str, float]:
        """The relative error of each gradient."""
        return {name: relative(found[name], wanted) for name, wanted in self.reference.items() if name in found}


def relative(found: Any, wanted: Any) -> float:
    """``|found - wanted| / |wanted|``; infinite where an entry is not finite."""
    difference = np.linalg.norm(np.ravel(np.asarray(found, dtype=float) - wanted))
    return float(difference / np.linalg.norm(np.ravel(wanted))) if np.isfinite(difference) else np.inf


# Lasso: |A x - y|^2 / 2 + lam |x|_1.


def factors(rng: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns and rows, for singular vectors."""
    u = np.linalg.qr(rng.standard_normal((rows, rows)))[0]
    v = np.linalg.qr(rng.standard_normal((columns, rows)))[0]
    return u, np.ascontiguousarray(v.T)


def values(rows: int, condition: float) -> np.ndarray:
    """Singular values that fall geometrically from 1 to ``1 / condition``."""
    return np.geomspace(1.0, 1.0 / condition, rows)


def lasso(condition: float, rows: int = 100, columns: int = 300, fraction: float = 0.1, seed: int = 0) -> Problem:
    """A lasso with ``lam`` a fraction of the least weight whose solution is zero; exact on its support."""
    rng = np.random.default_rng(seed)
    u, v = factors(rng, rows, columns)
    A, truth = (u * values(rows, condition)) @ v, np.zeros(columns)
    chosen = rng.choice(columns, columns // 15, replace=False)
    truth[chosen] = rng.choice([-1.0, 1.0], chosen.size) * rng.uniform(1.0, 3.0, chosen.size)
    y = A @ truth
    y = y + 0.01 * np.linalg.norm(y) / np.sqrt(rows) * rng.standard_normal(rows)
    lam = fraction * np.max(np.abs(A.T @ y))
    problem = Problem(f"lasso {rows} x {columns}, condition {condition:g}", {"A": A, "y": y, "lam": lam}, truth)
    problem.data |= {"u": u, "s": values(rows, condition), "v": v}
    problem.solution = lasso_solution(A, y, lam)
    problem.reference = lasso_gradients(A, y, problem.solution, truth)
    return problem


def lasso_solution(A: np.ndarray, y: np.ndarray, lam: float, most: int = 400_000) -> np.ndarray:
    """The minimiser to rounding: restarted acceleration finds the support, a dense solve confirms it."""
    step = 1.0 / np.linalg.norm(A, 2) ** 2
    x = z = np.zeros(A.shape[1])
    t = 1.0
    for iteration in range(1, most):
        v = z - step * (A.T @ (A @ z - y))
        fresh = np.sign(v) * np.maximum(np.abs(v) - step * lam, 0.0)
        if (z - fresh) @ (fresh - x) > 0:
            t = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        x, z, t = fresh, fresh + (t - 1.0) / following * (fresh - x), following
        if iteration % 500 == 0:
            exact = on_support(A, y, lam, x)
            if exact is not None:
                return exact
    raise AssertionError("the reference found no support that satisfies the conditions")


def on_support(A: np.ndarray, y: np.ndarray, lam: float, x: np.ndarray) -> np.ndarray | None:
    """The exact minimiser if it has the support and signs of ``x``, else None."""
    S = x != 0
    if S.sum() > A.shape[0]:
        return None
    exact = np.zeros_like(x)
    exact[S] = np.linalg.solve(A[:, S].T @ A[:, S], A[:, S].T @ y - lam * np.sign(x[S]))
    slope = A.T @ (y - A @ exact)
    inside = np.all(np.abs(slope[~S]) < lam)
    return exact if inside and np.all(np.sign(exact[S]) == np.sign(x[S])) else None


def lasso_gradients(A: np.ndarray, y: np.ndarray, x: np.ndarray, truth: np.ndarray) -> Arrays:
    """Hard case 4: ``w_S = (A_S^T A_S)^-1 c_S``, and the gradients in the weight, the data and the matrix."""
    S, w = x != 0, np.zeros_like(x)
    w[S] = np.linalg.solve(A[:, S].T @ A[:, S], (x - truth)[S])
    by_matrix = -(np.outer(A @ x - y, w) + np.outer(A @ w, x))
    return {"lam": np.asarray(-np.sign(x) @ w), "y": A @ w, "A": by_matrix}


def lasso_batch(samples: int = 8, rows: int = 100, columns: int = 300) -> list[Problem]:
    """Lassos of condition 1 to 1000 that share their singular vectors."""
    return [lasso(condition, rows, columns) for condition in np.geomspace(1.0, 1e3, samples)]


# Periodic deblurring.


def picture(size: int) -> np.ndarray:
    """Flat pieces and a smooth ramp in [0, 1]."""
    i, j = np.meshgrid(np.linspace(0, 1, size, endpoint=False), np.linspace(0, 1, size, endpoint=False), indexing="ij")
    image = 0.2 + 0.3 * (i > 0.3) * (i < 0.7) * (j > 0.2) * (j < 0.6) + 0.4 * ((i - 0.6) ** 2 + (j - 0.7) ** 2 < 0.03)
    return image + 0.1 * np.sin(2 * np.pi * i) * (j > 0.75)


def blur_kernel(width: int = 7, sigma: float = 1.2) -> np.ndarray:
    """A Gaussian of sum one."""
    r = np.arange(width) - width // 2
    k = np.exp(-(r[:, None] ** 2 + r**2) / (2 * sigma**2))
    return k / k.sum()


def spectrum(kernel: np.ndarray, size: int) -> np.ndarray:
    """The half spectrum of a centred kernel on a periodic square."""
    padded = np.zeros((size, size))
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.fft.rfft2(np.roll(padded, [-(n // 2) for n in kernel.shape], (0, 1)))


class Blur:
    """Periodic blur and differences with their adjoints, by FFT and shifts."""

    def __init__(self, kernel: np.ndarray, size: int) -> None:
        self.spectrum, self.size = spectrum(kernel, size), size

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(self.spectrum * np.fft.rfft2(x), s=x.shape)

    def adjoint(self, x: np.ndarray) -> np.ndarray:
        """The correlation with the kernel."""
        return np.fft.irfft2(np.conj(self.spectrum) * np.fft.rfft2(x), s=x.shape)

    @staticmethod
    def slopes(x: np.ndarray) -> np.ndarray:
        """Forward differences along both axes."""
        return np.stack([np.roll(x, -1, 0) - x, np.roll(x, -1, 1) - x])

    @staticmethod
    def slopes_adjoint(p: np.ndarray) -> np.ndarray:
        """The adjoint of `slopes`."""
        return np.roll(p[0], 1, 0) - p[0] + np.roll(p[1], 1, 1) - p[1]


def deblurring(size: int, weight: float, seed: int = 1) -> Problem:
    """Data of a periodic deblurring, with no reference yet."""
    rng, kernel, truth = np.random.default_rng(seed), blur_kernel(), picture(size)
    y = Blur(kernel, size)(truth) + 0.01 * rng.standard_normal(truth.shape)
    return Problem(f"{size} x {size}", {"kernel": kernel, "y": y, "lam": np.asarray(weight)}, truth)


def charbonnier(size: int, weight: float = 2e-3, eps: float = 0.02) -> Problem:
    """``|k * x - y|^2 / 2 + lam sum(sqrt((D x)^2 + eps^2) - eps)``; Newton's method with tight conjugate gradients."""
    problem = deblurring(size, weight)
    problem.name = f"smoothed TV deblurring {problem.name}"
    y, blur = problem.data["y"], Blur(problem.data["kernel"], size)
    problem.data["eps"] = np.asarray(eps)

    def slope(x: np.ndarray) -> np.ndarray:
        d = blur.slopes(x)
        return blur.adjoint(blur(x) - y) + weight * blur.slopes_adjoint(d / np.sqrt(d**2 + eps**2))

    def curvature(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        bend = weight * eps**2 / (blur.slopes(x) ** 2 + eps**2) ** 1.5
        return lambda v: blur.adjoint(blur(v)) + blur.slopes_adjoint(bend * blur.slopes(v))

    x = problem.truth.copy()
    x = newton(x, slope, curvature)
    w = conjugate_gradients(curvature(x), x - problem.truth, 1e-14)
    d = blur.slopes(x)
    by_weight = -np.vdot(blur.slopes_adjoint(d / np.sqrt(d**2 + eps**2)), w)
    problem.solution = x
    problem.reference = {"log lam": np.asarray(weight * by_weight), "y": blur(w)}
    return problem


def newton(x: np.ndarray, slope: Any, curvature: Any) -> np.ndarray:
    """Newton's method, halving steps that do not shrink the slope, down to rounding."""
    g = slope(x)
    first = np.linalg.norm(g)
    for _ in range(60):
        step, length = conjugate_gradients(curvature(x), -g, 1e-9), 1.0
        while length > 1e-4 and np.linalg.norm(slope(x + length * step)) > (1 - 0.1 * length) * np.linalg.norm(g):
            length *= 0.5
        if length <= 1e-4:
            break
        x, g = x + length * step, slope(x + length * step)
    if np.linalg.norm(g) > 1e-10 * first:
        raise AssertionError(f"the reference stopped at a slope of {np.linalg.norm(g):.1e}")
    return x


def conjugate_gradients(apply: Any, right: np.ndarray, tol: float, most: int = 20_000) -> np.ndarray:
    """Plain conjugate gradients on arrays."""
    x, r = np.zeros_like(right), right.copy()
    p, rho = r.copy(), np.vdot(r, r)
    stop = tol**2 * rho
    for _ in range(most):
        if rho <= stop:
            break
        q = apply(p)
        step = rho / np.vdot(p, q)
        x, r = x + step * p, r - step * q
        rho, old = np.vdot(r, r), rho
        p = r + (rho / old) * p
    return x


# Total variation: the manifold of a solution, and Newton's method on it.


class Manifold:
    """Images that jump where one image does: constant on the connected components of the graph without its jumps.

    On it the energy ``|k * x - y|^2 / 2 + lam TV(x)`` is smooth in the components' values ``z``, ``x = P z``, so
    Newton's method with sparse factors polishes the image, and its Hessian ``P^T (K^T K + D^T C D) P`` gives the
    gradients, with ``C = lam (I - n n^T) / |D x|`` for the isotropic kind.
    """

    def __init__(self, problem: Problem, x: np.ndarray, isotropic: bool, threshold: float = 1e-6) -> None:
        self.problem, self.isotropic, self.shape = problem, isotropic, x.shape
        self.y, self.lam = problem.data["y"].ravel(), float(problem.data["lam"])
        self.jumps = self.lengths(Blur.slopes(x)) > threshold
        label, pixels = segments(~self.jumps).ravel(), np.arange(x.size)
        self.P = sparse.csr_matrix((np.ones(x.size), (pixels, label)))
        self.K, self.D = sparse_blur(problem.data["kernel"], x.shape[0]), sparse_slopes(x.shape[0])
        self.KP, self.DP = (self.K @ self.P).tocsr(), (self.D @ self.P).tocsr()
        self.quadratic = (self.KP.T @ self.KP).tocsc()

    def lengths(self, d: np.ndarray) -> np.ndarray:
        """What the kind of total variation sums."""
        return np.sqrt(np.sum(d**2, 0)) * np.ones((2, 1, 1)) if self.isotropic else np.abs(d)

    def normals(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient of the lengths on jumps, and the lengths, one elsewhere."""
        d = (self.DP @ z).reshape(2, *self.shape)
        length = np.where(self.jumps, self.lengths(d), 1.0)
        return np.where(self.jumps, d / length, 0.0), length

    def slope(self, z: np.ndarray) -> np.ndarray:
        """The gradient of the energy along the manifold."""
        return self.KP.T @ (self.KP @ z - self.y) + self.lam * (self.DP.T @ self.normals(z)[0].ravel())

    def curvature(self, z: np.ndarray) -> Any:
        """A solver for the Hessian along the manifold."""
        hessian = self.quadratic
        if self.isotropic:
            n, length = self.normals(z)
            scale, half = np.where(self.jumps, self.lam / length, 0.0).ravel(), self.shape[0] ** 2
            rows = sparse.hstack([sparse.diags(n[0].ravel()), sparse.diags(n[1].ravel())]) @ self.DP
            hessian = hessian + self.DP.T @ sparse.diags(scale) @ self.DP
            hessian = hessian - rows.T @ sparse.diags(scale[:half]) @ rows
        return sparse_linalg.splu(sparse.csc_matrix(hessian), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0).solve

    def polish(self, x: np.ndarray) -> np.ndarray | None:
        """The minimiser along the manifold, by components; None where a jump turns round on the way."""
        z = (self.P.T @ x.ravel()) / np.asarray(self.P.sum(0)).ravel()
        before, scale = self.normals(z)[0], np.linalg.norm(self.KP.T @ self.y)
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(30):
                g = np.linalg.norm(self.slope(z))
                if not g > 1e-13 * scale:
                    break
                step, length = self.curvature(z)(-self.slope(z)), 1.0
                while length > 1e-3 and not np.linalg.norm(self.slope(z + length * step)) <= g:
                    length *= 0.5
                z = z + length * step
            final = np.linalg.norm(self.slope(z)) <= 1e-11 * scale
            return z if final and np.all(np.sum(self.normals(z)[0] * before, 0) >= 0) else None

    def gradients(self, z: np.ndarray) -> Arrays:
        """The gradients of ``|x - truth|^2 / 2`` in the weight and in the data."""
        w = self.curvature(z)(self.P.T @ (self.P @ z - self.problem.truth.ravel()))
        by_weight = -(self.DP.T @ self.normals(z)[0].ravel()) @ w
        return {"lam": np.asarray(by_weight), "y": (self.KP @ w).reshape(self.shape)}


def sparse_blur(kernel: np.ndarray, size: int) -> sparse.csr_matrix:
    """The periodic blur as a sparse matrix."""
    index = np.arange(size * size).reshape(size, size)
    matrix = sparse.csr_matrix((size * size, size * size))
    for (i, j), weight in np.ndenumerate(kernel):
        source = np.roll(index, (i - kernel.shape[0] // 2, j - kernel.shape[1] // 2), (0, 1)).ravel()
        matrix = matrix + sparse.csr_matrix((np.full(size**2, weight), (index.ravel(), source)))
    return matrix


def sparse_slopes(size: int) -> sparse.csr_matrix:
    """Periodic forward differences along both axes as a sparse matrix."""
    index, one = np.arange(size * size).reshape(size, size), sparse.identity(size * size, format="csr")
    return sparse.vstack([one[np.roll(index, -1, a).ravel()] - one for a in (0, 1)]).tocsr()


def total_variation(size: int, isotropic: bool, weight: float, solve: Callable[[Problem], np.ndarray]) -> Problem:
    """TV deblurring; ``solve`` finds the jumps, Newton's method on them the reference, if they are final."""
    problem = deblurring(size, weight)
    problem.name = f"{'isotropic' if isotropic else 'anisotropic'} TV deblurring {problem.name}"
    problem.remark = "reference to about 1e-5: slopes below 1e-7 are undecided" if isotropic else ""
    problem.data["isotropic"] = np.asarray(isotropic)
    if isotropic and size > 64:
        problem.remark = "no reference: its jumps cannot be told for certain"
        return problem  # its small slopes are not final after 50 000 iterations, and sparse factors are large
    x = solve(problem)
    for threshold in (1e-6, 1e-7, 1e-8):
        manifold = Manifold(problem, x, isotropic, threshold)
        z = manifold.polish(x)
        if z is not None:
            problem.solution, problem.reference = (manifold.P @ z).reshape(x.shape), manifold.gradients(z)
            break
    return problem


def segments(joined: np.ndarray) -> np.ndarray:
    """Labels of the connected components of a periodic grid whose edges are given for both axes."""
    n = joined.shape[1]
    index = np.arange(n * n).reshape(n, n)
    edges = [(index[joined[a]], np.roll(index, -1, a)[joined[a]]) for a in (0, 1)]
    rows, columns = (np.concatenate([e[k] for e in edges]) for k in (0, 1))
    graph = sparse.coo_matrix((np.ones(rows.size), (rows, columns)), shape=(n * n, n * n))
    return connected_components(graph, directed=False)[1].reshape(n, n)


# Fixed points that are no minimisers.


def tanh_network(size: int = 60, contraction: float = 0.96, rotation: bool = False, seed: int = 3) -> Problem:
    """``x = tanh(W x + b)`` with ``|W| = contraction``, or a rotation times that; dense reference."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((size, size))
    W = np.linalg.qr(W)[0] if rotation else W / np.linalg.norm(W, 2)
    W = contraction * W
    b, truth = 0.1 * rng.standard_normal(size), 0.2 * rng.standard_normal(size)
    x = np.zeros(size)
    for _ in range(5000):
        x = np.tanh(W @ x + b)
    bend = 1 - x**2
    u = np.linalg.solve(np.eye(size) - (W.T * bend), x - truth)
    kind = "rotation" if rotation else "random"
    name = f"tanh network n = {size}, |W| = {contraction:g}, {kind}"
    problem = Problem(name, {"W": W, "b": b}, truth, solution=x)
    problem.reference = {"b": bend * u, "W": np.outer(bend * u, x)}
    return problem


def smoothing_network(size: int = 24, weight: float = 0.3, seed: int = 4) -> Problem:
    """``x = x - (mask (x - y) + lam (x - N(x)))`` with a two-layer convolutional denoiser ``N``; reference by GMRES."""
    rng = np.random.default_rng(seed)
    truth = picture(size)
    mask = (rng.random(truth.shape) < 0.6).astype(float)
    y = mask * (truth + 0.02 * rng.standard_normal(truth.shape))
    box = np.ones((4, 1, 3, 3)) / 9.0
    first = box * rng.uniform(0.5, 1.0, (4, 1, 1, 1)) + 0.02 * rng.standard_normal(box.shape)
    second = (box / 4.0 + 0.005 * rng.standard_normal(box.shape)).transpose(1, 0, 2, 3)
    data = {"mask": mask, "y": y, "lam": np.asarray(weight), "first": first, "second": second}
    problem = Problem(f"convolutional denoiser (RED) {size} x {size}", data, truth)
    problem.solution, problem.reference = smoothing_reference(data, truth)
    return problem


def smoothing_reference(data: Arrays, truth: np.ndarray) -> tuple[np.ndarray, Arrays]:
    """The fixed point and the gradients of its loss, by iteration and GMRES in NumPy."""
    first, second = data["first"], data["second"]

    def shifted(image: np.ndarray, kernel: np.ndarray, sign: int) -> np.ndarray:
        rolls = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        moved = [kernel[1 + a, 1 + b] * np.roll(image, (-sign * a, -sign * b), (0, 1)) for a, b in rolls]
        return np.sum(moved, axis=0)

    def inner(x: np.ndarray) -> np.ndarray:
        return np.tanh(np.stack([shifted(x, k[0], 1) for k in first]))

    def denoise(x: np.ndarray) -> np.ndarray:
        return np.sum([shifted(h, k, 1) for h, k in zip(inner(x), second[0], strict=True)], axis=0)

    def denoise_pulled(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        layers = zip(1 - inner(x) ** 2, second[0], first[:, 0], strict=True)
        return np.sum([shifted(bend * shifted(v, k, -1), f, -1) for bend, k, f in layers], axis=0)

    mask, y, lam = data["mask"], data["y"], float(data["lam"])
    x = y.copy()
    for _ in range(1500):
        x = x - 0.7 * (mask * (x - y) + lam * (x - denoise(x)))

    def matrix(flat: np.ndarray) -> np.ndarray:
        u = flat.reshape(x.shape)
        return np.ravel(mask * u + lam * (u - denoise_pulled(x, u)))

    operator = sparse_linalg.LinearOperator((x.size, x.size), matvec=matrix, dtype=float)
    u, info = sparse_linalg.gmres(operator, np.ravel(x - truth), rtol=1e-13, atol=0.0, restart=400, maxiter=20)
    if info:
        raise AssertionError("the reference of the denoiser did not converge")
    u = u.reshape(x.shape)
    return x, {"lam": np.asarray(-np.vdot(x - denoise(x), u)), "y": mask * u}
