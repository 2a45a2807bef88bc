"""Random convex energies: what a solve claims must hold against the optimum of an interior point solver."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import opalg as oa
from tests.solving.instances import periodic_matrix

cp = pytest.importorskip("cvxpy")

SEEDS = (*range(56), 1060, 2047, 20227, 50271)  # the last: order, step, penalty and inverse once went wrong
SHAPES = ((5,), (1,), (3, 4), (4, 4))
KINDS = ("sum_squares", "weighted", "norm1", "weighted norm1", "norm2", "norm21", "huber", "box", "nonneg", "equal")
CONSTRAINTS = ("box", "nonneg", "equal")
SANITY = 2e-2  # relative suboptimality that a residual of 1e-6 may leave in problems of this size


@dataclass
class Summand:
    """One term: its functional, the dense matrix of its operator over all unknowns, and its data."""

    kind: str
    matrix: np.ndarray
    shape: tuple[int, ...]
    offset: np.ndarray
    weight: float
    extra: Any = None

    def inner(self, x: np.ndarray) -> np.ndarray:
        """What the functional is given at a flat point."""
        return self.matrix @ x - self.offset

    def value(self, x: np.ndarray) -> float:
        """The weighted value at a flat point; 0 for constraints."""
        r = self.inner(x)
        if self.kind in ("sum_squares", "weighted"):
            return self.weight * float(np.sum(self.extra * r**2))
        if self.kind in ("norm1", "weighted norm1"):
            return self.weight * float(np.sum(self.extra * np.abs(r)))
        if self.kind == "norm2":
            return self.weight * float(np.linalg.norm(r))
        if self.kind == "norm21":
            return self.weight * float(np.sum(np.linalg.norm(r.reshape(self.shape), axis=self.extra)))
        if self.kind == "huber":
            d, s = self.extra, np.abs(r)
            return self.weight * float(np.sum(np.where(s <= d, s**2 / 2, d * (s - d / 2))))
        return 0.0

    def violation(self, x: np.ndarray) -> float:
        """The largest violation of a constraint over the size of what it constrains; 0 for other terms."""
        if self.kind not in CONSTRAINTS:
            return 0.0
        r = self.matrix @ x
        low, high = self.extra
        size = max(np.max(np.abs(r)), *(np.max(np.abs(b)) for b in (low, high) if np.all(np.isfinite(b))), 1e-300)
        return float(np.max(np.maximum(low - r, r - high), initial=0.0) / size)

    def pieces(self, at: Any) -> tuple[Any, list]:
        """The term and the constraints for CVXPY."""
        r = self.matrix @ at - self.offset
        if self.kind in ("sum_squares", "weighted"):
            return self.weight * cp.sum(cp.multiply(self.extra, cp.square(r))), []
        if self.kind in ("norm1", "weighted norm1"):
            return self.weight * cp.sum(cp.multiply(self.extra, cp.abs(r))), []
        if self.kind == "norm2":
            return self.weight * cp.norm2(r), []
        if self.kind == "norm21":
            numbers = np.moveaxis(np.arange(r.size).reshape(self.shape), self.extra, 0)
            groups = numbers.reshape(len(numbers), -1)
            return self.weight * sum(cp.norm2(r[g]) for g in groups.T), []
        if self.kind == "huber":
            return self.weight * 0.5 * cp.sum(cp.huber(r, self.extra)), []
        low, high = self.extra
        if self.kind == "equal":
            return 0.0, [self.matrix @ at == low]
        rows = [self.matrix @ at >= low] if np.all(np.isfinite(low)) else []
        return 0.0, rows + ([self.matrix @ at <= high] if np.all(np.isfinite(high)) else [])


@dataclass
class Case:
    """A random energy beside its terms in dense form."""

    energy: Any
    variables: list
    summands: list[Summand]
    story: list[str] = field(default_factory=list)

    def value(self, x: np.ndarray) -> float:
        """The energy at a flat point, constraints aside."""
        return sum(s.value(x) for s in self.summands)

    def violation(self, x: np.ndarray) -> float:
        """The largest relative violation of a constraint."""
        return max(s.violation(x) for s in self.summands)

    def flat(self, solution: Any) -> np.ndarray:
        """The solution as one flat array, in the order of the variables."""
        named = {v.name: p for v, p in zip(solution.variables, solution.points, strict=True)}
        return np.concatenate([np.ravel(named.get(v.name, np.zeros(v.shape))) for v in self.variables])

    def modulus(self) -> float:
        """The modulus of strong convexity of the quadratic terms, 0 where it is lost in rounding."""
        size = self.summands[0].matrix.shape[1]
        hessian = np.zeros((size, size))
        for s in self.summands:
            if s.kind in ("sum_squares", "weighted"):
                hessian += 2 * s.weight * s.matrix.T @ (np.broadcast_to(s.extra, s.offset.shape)[:, None] * s.matrix)
        lowest, *_, highest = np.linalg.eigvalsh(hessian).tolist() * 2
        return lowest if lowest > 1e-8 * highest else 0.0

    def oracle(self) -> np.ndarray | None:
        """A minimiser by an interior point solver, None where it finds none."""
        at = cp.Variable(self.summands[0].matrix.shape[1])
        parts = [s.pieces(at) for s in self.summands]
        problem = cp.Problem(cp.Minimize(sum(p[0] for p in parts)), [c for p in parts for c in p[1]])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        except cp.SolverError:
            return None
        return None if at.value is None or problem.status != cp.OPTIMAL else np.asarray(at.value)


def zero_boundary_matrix(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Convolution with zeros outside, entry by entry from its definition."""
    size = int(np.prod(shape))
    out = np.zeros((size, size))
    for column, position in enumerate(np.ndindex(*shape)):
        for offset in np.ndindex(*kernel.shape):
            target = [p + o - k // 2 for p, o, k in zip(position, offset, kernel.shape, strict=True)]
            if all(0 <= t < n for t, n in zip(target, shape, strict=True)):
                out[np.ravel_multi_index(target, shape), column] += kernel[offset]
    return out


def difference_along(shape: tuple[int, ...], axis: int, boundary: str) -> np.ndarray:
    """Forward differences along an axis; the last one is zero (neumann) or wraps around (periodic)."""
    n = shape[axis]
    d = np.eye(n, k=1) - np.eye(n)
    d[-1] = 0.0
    if boundary == "periodic":
        d[-1, -1] -= 1.0
        d[-1, 0] += 1.0
    return np.kron(np.kron(np.eye(int(np.prod(shape[:axis]))), d), np.eye(int(np.prod(shape[axis + 1 :]))))


def random_operator(rng: np.random.Generator, shape: tuple[int, ...], depth: int = 0) -> tuple[Any, np.ndarray, str]:
    """An operator on a shape, its dense matrix, and a word for it."""
    size, eye = int(np.prod(shape)), np.eye(int(np.prod(shape)))
    word = rng.choice(
        ["identity", "identity", "scaled", "diagonal", "mask", "no mask", "convolve", "zero dc", "zero boundary",
         "difference", "gradient", "matrix", "rank one", "product", "stack"][: 15 if not depth else 15 - 2 * len(shape)]
    )  # fmt: skip
    if word == "identity":
        return oa.Identity(shape), eye, word
    if word == "scaled":
        c = float(rng.choice([-2.0, 0.01, 30.0]))
        return c * oa.Identity(shape), c * eye, f"{c} identity"
    if word == "diagonal":
        d = rng.standard_normal(shape) * (rng.random(shape) < 0.7)
        return oa.Diagonal(d), np.diag(d.ravel()), word
    if word in ("mask", "no mask"):
        m = (rng.random(shape) < 0.5) & (word == "mask")
        return oa.Mask(m), np.diag(m.ravel().astype(float)), word
    if word in ("matrix", "rank one"):
        rows = int(rng.integers(1, 8))
        m = rng.standard_normal((rows, shape[-1]))
        m = np.outer(m[:, 0], m[0]) if word == "rank one" else m
        return oa.Matrix(m), np.kron(np.eye(size // shape[-1]), m), f"{word} {m.shape}"
    if word in ("convolve", "zero dc", "zero boundary"):
        k = rng.standard_normal(tuple(min(3, n) for n in shape))
        k = k - k.mean() if word == "zero dc" else k
        if word == "zero boundary":
            return oa.Convolve(k, shape, boundary="zero"), zero_boundary_matrix(k, shape), word
        return oa.Convolve(k, shape), periodic_matrix(k, shape), word
    boundary = str(rng.choice(["periodic", "neumann"]))
    if word == "difference":
        axis = int(rng.integers(len(shape)))
        return oa.FiniteDifference(shape, axis, boundary=boundary), difference_along(shape, axis, boundary), word
    if word == "gradient":
        dense = np.vstack([difference_along(shape, a, boundary) for a in range(len(shape))])
        return oa.Gradient(shape, boundary=boundary), dense, f"{boundary} gradient"
    first, inner, one = random_operator(rng, shape, 1)
    if word == "product":
        second, outer, two = random_operator(rng, first.out_shape, 1)
        return second @ first, outer @ inner, f"({two} o {one})"
    second, outer, two = random_operator(rng, shape, 1)
    if first.out_shape != second.out_shape:
        second, outer, two = first, inner, one
    return oa.vstack([first, second]), np.vstack([inner, outer]), f"stack({one}, {two})"


def random_data(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Data of every size and a word for it."""
    word = str(rng.choice(["random", "random", "zero", "constant", "offset", "tiny", "huge"]))
    noise = rng.standard_normal(shape)
    sizes = {"random": noise, "zero": 0 * noise, "constant": np.full(shape, 1.5), "offset": 1e4 + noise}
    return {**sizes, "tiny": 1e-6 * noise, "huge": 1e6 * noise}[word], word


def random_case(seed: int) -> Case:
    """The case of a seed; it is bounded below, since no term is negative, and feasible at a hidden point."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    count = 1 + int(rng.random() < 0.2)
    variables = [oa.Variable(shape, name="xy"[i]) for i in range(count)]
    size = int(np.prod(shape))
    hidden = np.abs(random_data(rng, (count * size,))[0]) * (rng.random() < 0.8)
    energy, case = None, Case(None, variables, [], [f"{count} x {shape}"])
    for position in range(int(rng.integers(1, 5))):
        kind = str(rng.choice(KINDS[:2] if position == 0 and rng.random() < 0.6 else KINDS))
        operator, dense, word = random_operator(rng, shape)
        which = [int(rng.integers(count))] if kind in CONSTRAINTS or rng.random() < 0.5 else list(range(count))
        matrix = np.zeros((len(dense), count * size))
        inner = operator @ variables[which[0]]
        for i in which:
            matrix[:, i * size : (i + 1) * size] = dense
        for i in which[1:]:
            inner = inner + operator @ variables[i]
        extra = len(inner.shape) - len(operator.out_shape) if kind == "norm21" else 1.0  # the axis of groups
        summand = Summand(kind, matrix, inner.shape, np.zeros(len(dense)), 1.0, extra)
        term, note = dressed(rng, summand, inner, hidden)
        energy = term if energy is None else energy + term
        case.summands.append(summand)
        case.story.append(f"{summand.weight:g} {kind}({word} on {which}; {note})")
    case.energy = energy
    return case


def dressed(rng: np.random.Generator, s: Summand, inner: Any, hidden: np.ndarray) -> tuple[Any, str]:
    """The term of a summand with random data and weight, both of which are noted in the summand."""
    if s.kind in CONSTRAINTS:
        return constraint(rng, s, inner, hidden)
    b, note = random_data(rng, s.shape)
    s.offset = b.ravel()
    s.weight = float(rng.choice([0.0, 1e-3, 0.5, 1.0, 1.0, 20.0]))
    e = inner if note == "zero" else inner - b
    if s.kind in ("weighted", "weighted norm1"):
        w = rng.uniform(0.1, 2.0, s.shape) * (rng.random(s.shape) < 0.7)
        s.extra = w.ravel()
        made = oa.sum_squares(e, weights=w) if s.kind == "weighted" else oa.norm1(e, weights=w)
    elif s.kind == "huber":
        s.extra = float(rng.choice([0.01, 1.0, 100.0]))
        made = oa.huber(e, s.extra)
    else:
        made = getattr(oa, s.kind)(e)
    return s.weight * made, note


def constraint(rng: np.random.Generator, s: Summand, inner: Any, hidden: np.ndarray) -> tuple[Any, str]:
    """An indicator that the hidden point satisfies."""
    at = (s.matrix @ hidden).reshape(s.shape)
    if s.kind == "equal":
        s.extra = (at.ravel(), at.ravel())
        return oa.indicator(inner == at), "zero" if not at.any() else "nonzero"
    if s.kind == "nonneg":
        low = 0.0 if at.min() >= 0 else float(at.min())
        s.extra = (np.full(at.size, low), np.full(at.size, np.inf))
        return oa.indicator(inner >= low), f"from {low:g}"
    low, high = at - rng.random(s.shape), at + rng.random(s.shape)
    s.extra = (low.ravel(), high.ravel())
    return oa.indicator(oa.box(low, high), inner), "two sides"


def solve(case: Case) -> Any:
    """The solution, or None where opalg says that it has no method for the energy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", oa.ConvergenceWarning)
            return oa.minimize(case.energy, tol=1e-6, max_iter=5000)
    except oa.UnsupportedError:
        return None


def check(case: Case) -> str:
    """Assert what a solve of a case claims; a word for how it ended."""
    solution = solve(case)
    if solution is None:
        return "unsupported"
    x, certificate = case.flat(solution), solution.certificate
    assert np.all(np.isfinite(x)), case.story
    size = max(1e-300, sum(s.weight * (np.sum(np.abs(s.offset)) ** 2) for s in case.summands))
    best = case.oracle()
    if best is None or case.violation(best) > 1e-8:
        return f"{solution.status.name} no oracle"
    found, least = case.value(x), case.value(best)
    scale = max(abs(found), abs(least))
    slack = 1e-7 * scale + 1e-13 * size + 1e-15  # what rounding and the oracle's own violations leave
    if solution:
        assert case.violation(x) <= 1e-4, (case.story, solution, case.violation(x))
        if np.isfinite(solution.value):
            assert solution.value == pytest.approx(found, rel=1e-8, abs=1e-13 * size), case.story
    if certificate.kind == "duality gap":
        assert certificate.lower_bound <= least + slack, (case.story, solution, least)
        if solution or case.violation(x) == 0:
            assert found - least <= certificate.value + slack, (case.story, solution, least)
    elif solution and certificate.kind == "residual":
        unit = case.value(np.zeros_like(x))
        assert found - least <= SANITY * scale + 1e-6 * unit + slack, (case.story, solution, least)
    modulus = case.modulus()
    if solution and solution.error_bound is not None and modulus > 0:
        reach = np.sqrt(2 * (max(least - found, 0.0) + slack) / modulus)  # how far the oracle itself may be off
        assert np.linalg.norm(x - best) <= solution.error_bound + reach, (case.story, solution)
    return f"{solution.status.name} {certificate.kind}"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_solve_claims_holds(seed: int) -> None:
    check(random_case(seed))


def test_variables_keep_their_arrays_where_rewriting_changes_their_order() -> None:
    x, y, one = oa.Variable(2, name="x"), oa.Variable(2, name="y"), np.ones(2)
    energy = 0 * oa.norm1(x - one) + oa.sum_squares(y - one) + oa.sum_squares(x - 3 * one)
    solution = oa.minimize(energy)
    assert np.allclose(solution[x], 3.0) and np.allclose(solution[y], 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_norm_alone_with_a_large_weight_is_solved(dtype: type) -> None:
    b = np.array([1.0, -2.0], dtype=dtype)
    assert np.allclose(oa.minimize(20 * oa.norm2(oa.Variable(2) - b)).x, b)


def test_zero_operators_give_the_penalty_of_admm_no_unit() -> None:
    x, b = oa.Variable(4), np.array([1e6, -2e6, 0.0, 3e6])
    nothing = oa.Mask(np.zeros(4, dtype=bool))
    assert np.allclose(oa.minimize(20 * oa.sum_squares(x - b) + oa.norm2(nothing @ x)).x, b)


def test_most_random_energies_are_solved() -> None:
    ends = [bool(solve(random_case(seed))) for seed in range(20)]
    assert sum(ends) >= 8
