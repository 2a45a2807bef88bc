"""Shared builders of the contract's tests: solves, designs with a condition, and a dense reference for every energy.

The reference knows nothing of opalg: it takes matrices and a point near the minimiser, finds the exact minimiser on the
manifold that the point lies near by Newton's method, and solves the adjoint's dense saddle system there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import null_space

import opalg as oa

Array = np.ndarray
ACCURACY = 1e-9


def as_numpy(array: Any) -> Array:
    """An array of any library on NumPy."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array)


def error(found: Any, exact: Any) -> float:
    """The relative error in the Euclidean norm; absolute where the exact array vanishes."""
    found, exact = as_numpy(found), np.asarray(exact)
    assert found.shape == exact.shape, (found.shape, exact.shape)
    size = float(np.linalg.norm(exact))
    return float(np.linalg.norm(found - exact)) / (size or 1.0)


def solve(energy: Any, *, tol: float = 1e-12, max_iter: int = 50_000, **options: Any) -> oa.Solution:
    """Compile and solve to the accuracy of the contract; the status is left to the gradient to judge."""
    plan = energy if hasattr(energy, "solve") else oa.compile(energy, **options)
    return plan.solve(tol=tol, max_iter=max_iter, on_failure="return")


def gradients(energy: Any, c: Any, wrt: Any, **options: Any) -> tuple[oa.Solution, Any]:
    """The solution and its gradients, to the accuracy of the contract."""
    solution = solve(energy, **options)
    return solution, solution.vjp(c, wrt, tol=1e-12, on_inexact="return")


def design(rng: np.random.Generator, m: int, n: int, condition: float = 9.0) -> Array:
    """A matrix with singular values from 1 down to ``1 / condition``, spread evenly on a logarithmic scale."""
    u, _ = np.linalg.qr(rng.standard_normal((m, m)))
    v, _ = np.linalg.qr(rng.standard_normal((n, n)))
    k = min(m, n)
    return (u[:, :k] * np.geomspace(1.0, 1 / condition, k)) @ v[:, :k].T


def parameter(value: Any, name: str, **domain: bool) -> oa.Parameter:
    """A named parameter."""
    return oa.Parameter(value, name=name, **domain)


def weight(value: float, name: str = "lambda") -> oa.Parameter:
    """A nonnegative scalar parameter."""
    return oa.Parameter(value, name=name, nonneg=True)


@dataclass(frozen=True)
class LassoParts:
    """A lasso with its parameters and the arrays behind them."""

    energy: oa.Energy
    A: Array
    y: Array
    lam: float
    parameters: tuple[oa.Parameter, ...]

    def support_gradients(self, x: Array, c: Array) -> tuple[Array, Array, Array]:
        """The exact gradients in (A, y, lambda) on the support of a point near the minimiser, which they also check."""
        S = np.abs(x) > 1e-8 * np.abs(x).max()
        gram, s = self.A[:, S].T @ self.A[:, S], np.sign(x[S])
        exact, w = np.zeros(len(x)), np.zeros(len(x))
        exact[S] = np.linalg.solve(gram, self.A[:, S].T @ self.y - self.lam * s)
        w[S] = np.linalg.solve(gram, c[S])
        r = self.A @ exact - self.y
        assert np.all(np.sign(exact[S]) == s)
        assert np.all(np.abs(self.A[:, ~S].T @ r) < self.lam)
        return -(np.outer(r, w) + np.outer(self.A @ w, exact)), self.A @ w, np.array(-s @ w[S])


def lasso(
    rng: np.random.Generator, m: int = 20, n: int = 12, condition: float = 9.0, size: float = 0.2, scale: float = 1.0
) -> LassoParts:
    """A lasso whose weight is a fraction of the one that makes everything zero."""
    A, y = design(rng, m, n, condition), 3 * scale * rng.standard_normal(m)
    lam = size * float(np.max(np.abs(A.T @ y)))
    parameters = (parameter(A, "A"), parameter(y, "y"), weight(lam))
    x = oa.Variable((n,), name="x")
    energy = 0.5 * oa.sum_squares(oa.Matrix(parameters[0]) @ x - parameters[1]) + parameters[2] * oa.norm1(x)
    return LassoParts(energy, A, y, lam, parameters)


def difference(n: int, boundary: str = "neumann") -> Array:
    """Forward differences as a matrix; the last row is zero, or wraps around."""
    d = np.eye(n, k=1) - np.eye(n)
    d[-1] = 0.0
    if boundary == "periodic":
        d[-1, -1], d[-1, 0] = -1.0, 1.0
    return d


def image_gradient(shape: tuple[int, int], boundary: str = "neumann") -> Array:
    """Both differences of an image, one on top of the other."""
    first = np.kron(difference(shape[0], boundary), np.eye(shape[1]))
    return np.concatenate([first, np.kron(np.eye(shape[0]), difference(shape[1], boundary))])


def convolution(kernel: Array, shape: tuple[int, ...]) -> Array:
    """Periodic convolution with a centred kernel as a matrix, by sums of shifts."""
    size = int(np.prod(shape))
    basis = np.eye(size).reshape(*shape, size)
    out = np.zeros_like(basis)
    for offset in np.ndindex(*kernel.shape):
        shift = [o - k // 2 for o, k in zip(offset, kernel.shape, strict=True)]
        out += kernel[offset] * np.roll(basis, shift, axis=tuple(range(len(shape))))
    return out.reshape(size, size)


def kernel_gradient(pair: Callable[[Array], float], size: tuple[int, ...]) -> Array:
    """A linear form of the kernel, entry by entry."""
    out = np.zeros(size)
    for index in np.ndindex(*size):
        unit = np.zeros(size)
        unit[index] = 1.0
        out[index] = pair(unit)
    return out


@dataclass(frozen=True)
class Penalty:
    """``sum_g weight_g |(K x - offset)_g|_2``; groups of one row each make the 1-norm."""

    K: Array
    weight: Any
    groups: Array | None = None
    offset: Any = 0.0

    @property
    def sets(self) -> Array:
        """Rows of each group."""
        return np.arange(len(self.K))[:, None] if self.groups is None else np.asarray(self.groups)

    @property
    def weights(self) -> Array:
        """One weight for each group."""
        return np.broadcast_to(np.asarray(self.weight, dtype=float), (len(self.sets),))

    def image(self, x: Array) -> Array:
        """``K x - offset``."""
        return self.K @ x - self.offset

    def active(self, x: Array, threshold: float) -> Array:
        """Which groups do not vanish, where that is beyond doubt."""
        lengths = np.linalg.norm(self.image(x)[self.sets], axis=1)
        size = max(float(np.max(np.abs(x))), 1e-300)
        doubtful = (lengths > threshold * size) & (lengths < 30 * threshold * size)
        assert not doubtful.any(), f"groups of length {lengths[doubtful]} may or may not vanish"
        return lengths > threshold * size

    def dual(self, x: Array, active: Array) -> Array:
        """The gradient in ``K x`` on active groups, zero on the others."""
        v, out = self.image(x), np.zeros(len(self.K))
        for rows, lam in zip(self.sets[active], self.weights[active], strict=True):
            out[rows] += lam * v[rows] / np.linalg.norm(v[rows])
        return out

    def curvature(self, x: Array, active: Array) -> Array:
        """The second derivative in ``K x`` on active groups."""
        v, out = self.image(x), np.zeros((len(self.K), len(self.K)))
        for rows, lam in zip(self.sets[active], self.weights[active], strict=True):
            length = np.linalg.norm(v[rows])
            unit = v[rows] / length
            out[np.ix_(rows, rows)] += lam / length * (np.eye(len(rows)) - np.outer(unit, unit))
        return out

    def still(self, active: Array) -> Array:
        """The rows that stay where they are."""
        return np.unique(self.sets[~active].ravel()) if (~active).any() else np.zeros(0, dtype=int)


@dataclass
class Reference:
    """The exact minimiser of ``smooth + penalties`` under bounds, and the adjoint of a cotangent, all dense.

    Parameters
    ----------
    gradient, hessian : callable
        Of the smooth part.
    penalties : sequence of Penalty
    near : array
        A point near the minimiser.
    c : array
        The cotangent.
    lower, upper : array, optional
        Bounds of entries.
    equations : (G, g), optional
        ``G x = g``.
    threshold : float
        Groups shorter than that, relative to the largest entry, vanish.
    """

    gradient: Callable[[Array], Array]
    hessian: Callable[[Array], Array]
    penalties: Sequence[Penalty]
    near: Array
    c: Array
    lower: Any = None
    upper: Any = None
    equations: tuple[Array, Array] | None = None
    threshold: float = 1e-6
    x: Array = field(init=False)
    w: Array = field(init=False)
    duals: list[Array] = field(init=False)
    adjoint_duals: list[Array] = field(init=False)
    at_lower: Array = field(init=False)
    at_upper: Array = field(init=False)

    def __post_init__(self) -> None:
        near = np.asarray(self.near, dtype=float)
        n, room = len(near), self.threshold * float(np.max(np.abs(near)))
        self.active = [p.active(near, self.threshold) for p in self.penalties]
        self.at_lower = np.zeros(n, bool) if self.lower is None else near <= self.lower + room
        self.at_upper = np.zeros(n, bool) if self.upper is None else near >= self.upper - room
        G, g = self._constraints(n)
        Z = null_space(G, rcond=1e-10) if len(G) else np.eye(n)
        x = near - np.linalg.pinv(G) @ (G @ near - g) if len(G) else near.copy()
        for _ in range(30):
            step = Z @ np.linalg.solve(Z.T @ self._hessian(x) @ Z, Z.T @ self._gradient(x)) if Z.shape[1] else 0.0 * x
            x = x - step
            if np.linalg.norm(step) <= 1e-15 * np.linalg.norm(x):
                break
        assert np.linalg.norm(x - near) <= 1e-3 * np.linalg.norm(near), "the point is not near the minimiser"
        self.x, M = x, self._hessian(x)
        self.w = Z @ np.linalg.solve(Z.T @ M @ Z, Z.T @ self.c) if Z.shape[1] else 0.0 * x
        self.free = Z
        self._multipliers = np.linalg.lstsq(G.T, -self._gradient(x), rcond=None)[0] if len(G) else np.zeros(0)
        self._moves = np.linalg.lstsq(G.T, self.c - M @ self.w, rcond=None)[0] if len(G) else np.zeros(0)
        self._split_duals()

    def _constraints(self, n: int) -> tuple[Array, Array]:
        rows, values = [], []
        for p, active in zip(self.penalties, self.active, strict=True):
            still = p.still(active)
            rows.append(p.K[still])
            values.append(np.broadcast_to(np.asarray(p.offset, dtype=float), (len(p.K),))[still])
        for where, bound in ((self.at_lower, self.lower), (self.at_upper, self.upper)):
            rows.append(np.eye(n)[where])
            values.append(np.broadcast_to(0.0 if bound is None else bound, (n,))[where])
        if self.equations is not None:
            rows.append(self.equations[0])
            values.append(self.equations[1])
        return np.concatenate(rows), np.concatenate(values)

    def _gradient(self, x: Array) -> Array:
        parts = [p.K.T @ p.dual(x, a) for p, a in zip(self.penalties, self.active, strict=True)]
        return self.gradient(x) + sum(parts, np.zeros(len(x)))

    def _hessian(self, x: Array) -> Array:
        parts = [p.K.T @ p.curvature(x, a) @ p.K for p, a in zip(self.penalties, self.active, strict=True)]
        return self.hessian(x) + sum(parts, np.zeros((len(x), len(x))))

    def _split_duals(self) -> None:
        self.duals, self.adjoint_duals, start = [], [], 0
        for p, active in zip(self.penalties, self.active, strict=True):
            still = p.still(active)
            here = slice(start, start + len(still))
            dual, adjoint = p.dual(self.x, active), p.curvature(self.x, active) @ (p.K @ self.w)
            dual[still], adjoint[still] = self._multipliers[here], self._moves[here]
            self.duals.append(dual)
            self.adjoint_duals.append(adjoint)
            start += len(still)
        self.bound_moves = self._moves[start:]

    def by_weight(self, index: int = 0) -> Array:
        """The gradient in the weights of a penalty, one for each group; their sum is that of a common weight."""
        p, active = self.penalties[index], self.active[index]
        v, moved, out = p.image(self.x), p.K @ self.w, np.zeros(len(p.sets))
        for i in np.flatnonzero(active):
            rows = p.sets[i]
            out[i] = -v[rows] @ moved[rows] / np.linalg.norm(v[rows])
        return out

    def by_matrix(self, index: int = 0) -> Array:
        """The gradient in the matrix of a penalty."""
        return -(np.outer(self.duals[index], self.w) + np.outer(self.adjoint_duals[index], self.x))

    def by_offset(self, index: int = 0) -> Array:
        """The gradient in the offset of a penalty."""
        return self.adjoint_duals[index]

    def by_bounds(self) -> tuple[Array, Array]:
        """The gradients in lower and upper bounds."""
        lower, upper = np.zeros(len(self.x)), np.zeros(len(self.x))
        count = int(self.at_lower.sum())
        lower[self.at_lower] = self.bound_moves[:count]
        upper[self.at_upper] = self.bound_moves[count : count + int(self.at_upper.sum())]
        return lower, upper


@dataclass
class LeastSquares(Reference):
    """The reference for ``1/2 |A x - y|^2 + 1/2 ridge |x|^2 + penalties``."""

    gradient: Callable[[Array], Array] = field(init=False)
    hessian: Callable[[Array], Array] = field(init=False)
    A: Array = field(kw_only=True)
    y: Array = field(kw_only=True)
    ridge: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        self.gradient = lambda x: self.A.T @ (self.A @ x - self.y) + self.ridge * x
        self.hessian = lambda x: self.A.T @ self.A + self.ridge * np.eye(len(x))
        super().__post_init__()

    def by_data(self) -> Array:
        """The gradient in ``y``."""
        return self.A @ self.w

    def by_design(self) -> Array:
        """The gradient in ``A``."""
        return -(np.outer(self.A @ self.x - self.y, self.w) + np.outer(self.A @ self.w, self.x))

    def by_kernel(self, size: tuple[int, ...], shape: tuple[int, ...]) -> Array:
        """The gradient in the kernel that ``A`` convolves with."""
        matrix = self.by_design()
        return kernel_gradient(lambda unit: float(np.sum(matrix * convolution(unit, shape))), size)
