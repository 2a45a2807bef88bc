"""Single precision and complex numbers stay what they are in every step, and a step on NumPy allocates nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import opalg as oa
from opalg.iterations import Iteration

SHAPE = (6, 5)


def name_of(array: object) -> str:
    return str(getattr(array, "dtype", type(array).__name__)).rpartition(".")[2]


def energies(real: str) -> dict[str, tuple[oa.Energy, list[oa.Parameter], str]]:
    """Energies with every array in one precision, by the method they are for."""
    rng = np.random.default_rng(0)
    cast = {"float32": "complex64", "float64": "complex128"}[real]
    y = oa.Parameter(rng.standard_normal(SHAPE).astype(real), name="y")
    k = oa.Parameter(np.full((3, 3), 1 / 9, dtype=real), name="k")
    lam = oa.Parameter(np.asarray(0.05, dtype=real), name="lambda", nonneg=True)
    x = oa.Variable(SHAPE, name="x")
    K, D = oa.Convolve(k, SHAPE), oa.Gradient(SHAPE, boundary="periodic")
    fit = 0.5 * oa.sum_squares(K @ x - y)
    weight = oa.Parameter(rng.uniform(0.5, 1.5, SHAPE).astype(real), name="w", nonneg=True)
    z = oa.Variable(SHAPE, name="z", dtype=cast)
    data = rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)
    m = oa.Parameter(data.astype(cast), name="m")
    mask = rng.random(SHAPE) < 0.7
    mask[0, 0] = True
    S = oa.Mask(mask) @ oa.FFT(SHAPE)
    spectral = 0.5 * oa.sum_squares(S @ z - m)
    return {
        "closed_form": (fit + lam * oa.sum_squares(D @ x), [y, k, lam], real),
        "conjugate_gradient": (
            fit + lam * oa.sum_squares(x) + 0.1 * oa.sum_squares(x - 1.0, weights=weight), [y, k, lam, weight], real,
        ),
        "proximal_gradient": (fit + lam * oa.norm1(x), [y, k, lam], real),
        "admm": (fit + lam * oa.norm21(D @ x) + oa.indicator(x >= 0), [y, lam], real),
        "primal_dual": (fit + lam * oa.norm21(D @ x) + oa.indicator(x >= 0), [y, lam], real),
        "complex proximal_gradient": (spectral + lam * oa.norm1(z), [m, lam], cast),
        "complex admm": (spectral + lam * oa.norm21(D @ z), [m, lam], cast),
        "complex primal_dual": (spectral + lam * oa.norm21(D @ z), [m, lam], cast),
    }  # fmt: skip


NAMES = list(energies("float64"))


@pytest.mark.parametrize("backend", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_precision_and_kind_stay_in_step_state_solution_and_gradient(name: str, real: str, backend: str) -> None:
    pytest.importorskip(backend)
    energy, parameters, dtype = energies(real)[name]
    plan = oa.compile(energy, method=name.split()[-1], backend=backend)
    assert plan.backend.precision == real
    expected = {real, {"float32": "complex64", "float64": "complex128"}[real]}
    state = plan.initial_state()
    for _ in range(3):
        arrays = [s for s in state if getattr(s, "shape", ())]
        assert arrays and {name_of(s) for s in arrays} <= expected
        state = plan.step(state)
    solution = plan.solve(tol=1e-2)
    assert name_of(solution.x) == dtype
    assert {name_of(s) for s in solution.state if getattr(s, "shape", ())} <= expected
    cotangent = plan.backend.asarray(np.random.default_rng(1).standard_normal(SHAPE).astype(dtype))
    gradients = solution.vjp(cotangent, parameters, tol=1e-2, max_iter=40, on_inexact="return")
    for parameter in parameters:
        found = gradients[parameter]
        assert name_of(found) == (dtype if parameter.kind == "complex" else real)
        assert tuple(found.shape) == parameter.shape
        assert bool(plan.backend.xp.all(plan.backend.xp.isfinite(found)))
    moved = solution.jvp({parameters[0]: parameters[0].value}, tol=1e-2, max_iter=40, on_inexact="return")
    assert name_of(moved) == dtype


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_finds_what_double_precision_finds(name: str) -> None:
    method = name.split()[-1]
    low = oa.minimize(energies("float32")[name][0], method=method, tol=1e-5)
    high = oa.minimize(energies("float64")[name][0], method=method, tol=1e-9, max_iter=50_000)
    assert low
    assert low.value == pytest.approx(high.value, rel=1e-4)


def test_single_precision_gaps_bound_what_they_say() -> None:
    for name in ("closed_form", "proximal_gradient", "admm", "primal_dual"):
        energy = energies("float32")[name][0]
        low = oa.minimize(energy, method=name, tol=1e-5)
        high = oa.minimize(energy, method=name, dtype="float64", tol=1e-10, max_iter=100_000)
        assert low.certificate.lower_bound <= high.value * (1 + 1e-9)
        assert low.certificate.value >= low.value - high.value - 1e-9 * abs(high.value)


def growth_of(advance: Callable[[], object], rounds: int = 30) -> int:
    """The most bytes that are alive at once above the level before, over some calls after a warm-up."""
    for _ in range(5):
        advance()
    tracemalloc.start()
    try:
        advance()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(rounds):
            advance()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def started(energy: oa.Energy, method: str) -> Iteration:
    binding = oa.compile(energy, method=method).bind()
    iteration = binding.iteration()
    iteration.start(binding.initial_state(None))
    return iteration


BIG = (300, 280)
ONE_ARRAY = 8 * 300 * 280
OBJECTS = 12_000  # bytes of Python's numbers and tuples
# A ufunc on a part of an array has NumPy allocate work space of a fixed size, 8192 entries for each operand.
WORK_SPACE = OBJECTS + 3 * 8 * 8192
assert WORK_SPACE < ONE_ARRAY / 3


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
@pytest.mark.parametrize("isotropic", [True, False])
def test_primal_dual_without_transforms_allocates_nothing(isotropic: bool, boundary: str) -> None:
    y = np.random.default_rng(0).standard_normal(BIG)
    x = oa.Variable(BIG, name="x")
    variation = oa.total_variation(x, isotropic=isotropic, boundary=boundary)
    energy = 0.5 * oa.sum_squares(x - y) + 0.1 * variation + oa.indicator(x >= 0)
    assert growth_of(started(energy, "primal_dual").advance) < WORK_SPACE


@pytest.mark.parametrize("penalty", ["norm1", "norm2", "nonneg", "box", "huber"])
def test_proximal_gradient_without_transforms_allocates_nothing(penalty: str) -> None:
    y, w = np.random.default_rng(0).uniform(0.5, 1.5, (2, *BIG))
    x = oa.Variable(BIG, name="x")
    terms = {
        "norm1": 0.1 * oa.norm1(x),
        "norm2": 0.1 * oa.norm2(x),
        "nonneg": oa.indicator(x >= 0),
        "box": oa.indicator(oa.box(0.1, 0.9), x),
        "huber": 0.1 * oa.huber(oa.Gradient(BIG) @ x, 0.1),
    }
    energy = 0.5 * oa.sum_squares(oa.Diagonal(w) @ x - y) + terms[penalty]
    assert growth_of(started(energy, "proximal_gradient").advance) < (WORK_SPACE if penalty == "huber" else OBJECTS)


def test_backtracking_allocates_nothing() -> None:
    import sympy

    y = np.random.default_rng(0).standard_normal(BIG)
    x, t = oa.Variable(BIG, name="x"), sympy.Symbol("t")
    energy = oa.pointwise(oa.Potential(t, sympy.exp(t)), x - y) + 0.5 * oa.sum_squares(x) + 0.1 * oa.norm1(x)
    assert growth_of(started(energy, "proximal_gradient").advance) < OBJECTS


def test_a_matrix_allocates_nothing() -> None:
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((600, 500)), rng.standard_normal(600)
    x = oa.Variable(500, name="x")
    sparse = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + oa.norm1(x)
    ridge = 0.5 * oa.sum_squares(oa.Matrix(A) @ x - b) + oa.sum_squares(x)
    assert growth_of(started(sparse, "proximal_gradient").advance) < 3000
    assert growth_of(started(ridge, "conjugate_gradient").advance) < 3000


def test_wavelets_allocate_nothing() -> None:
    rng = np.random.default_rng(0)
    shape = (256, 256)
    y, mask = rng.standard_normal(shape), rng.random(shape) < 0.5
    x = oa.Variable(shape, name="x")
    energy = 0.5 * oa.sum_squares(oa.Mask(mask) @ x - mask * y) + 0.1 * oa.norm1(oa.Wavelet(shape, "db2", levels=2) @ x)
    assert growth_of(started(energy, "proximal_gradient").advance) < WORK_SPACE + 8192 * 8


@pytest.mark.parametrize("method", ["admm", "primal_dual", "proximal_gradient", "conjugate_gradient"])
def test_with_transforms_only_what_the_library_returns_is_allocated(method: str) -> None:
    y = np.random.default_rng(0).standard_normal(BIG)
    x, D = oa.Variable(BIG, name="x"), oa.Gradient(BIG, boundary="periodic")
    fit = 0.5 * oa.sum_squares(oa.Convolve(np.full((3, 3), 1 / 9), BIG) @ x - y)
    rest = {
        "admm": 0.01 * oa.norm21(D @ x) + oa.indicator(x >= 0),
        "primal_dual": 0.01 * oa.norm21(D @ x) + oa.indicator(x >= 0),
        "proximal_gradient": 0.01 * oa.norm1(x),
        "conjugate_gradient": 0.01 * oa.sum_squares(x),
    }[method]
    # The forward transform returns a half spectrum, one array's worth; the inverse makes another one, and its result.
    assert growth_of(started(fit + rest, method).advance) < 3.2 * ONE_ARRAY
