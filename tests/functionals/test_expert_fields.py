"""Dense and convolutional fields of experts with biases on every library: values, solutions, and gradients in all
that can be learned, against plain arrays and differences."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import sympy
import torch
from scipy.ndimage import convolve1d
from scipy.optimize import minimize

import opalg as oa
from opalg.functionals import Huber
from opalg.functionals.fields_of_experts import fields_of_experts

LIBRARIES = {"numpy": np.asarray, "array_api_strict": array_api_strict.asarray, "torch": torch.tensor}
SHAPE = (3, 8)  # three signals of eight entries
rng = np.random.default_rng(4)
SIGNAL = rng.standard_normal(SHAPE)
A = {"dense": 0.5 * rng.standard_normal((6, 8)), "convolutional": 0.5 * rng.standard_normal((4, 3))}
B = {"dense": 0.4 * rng.standard_normal(6), "convolutional": 0.4 * rng.standard_normal(4)}
SCALE = 1.5
C = np.cos(4 * SIGNAL)


def log_cosh(scale: Any) -> oa.Potential:
    return oa.activation("tanh", scale)


def lorentzian(scale: Any) -> oa.Potential:
    z, s = sympy.Symbol("z", real=True), sympy.Symbol("s", positive=True)
    return oa.Potential(z, sympy.log(1 + (z / s) ** 2), s=scale)


POTENTIALS = {
    "log cosh": log_cosh,
    "lorentzian": lorentzian,
    "relu": lambda _: oa.activation("relu"),
    "identity": lambda _: oa.activation("identity"),
}
PHI = {
    "log cosh": lambda v, s: np.log(np.cosh(s * v)) / s,
    "lorentzian": lambda v, s: np.log1p((v / s) ** 2),
    "relu": lambda v, s: np.maximum(v, 0) ** 2 / 2,
    "identity": lambda v, s: v**2 / 2,
}


def responses(kind: str, x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By plain arrays, of shape (3, count) or (3, count, 8)."""
    if kind == "dense":
        return x @ a.T + b
    return np.stack([convolve1d(x, f, axis=-1, mode="wrap") + c for f, c in zip(a, b, strict=True)], axis=1)


def declared(kind: str, potential: str, library: str) -> tuple[Any, dict[str, oa.Parameter]]:
    """The energy, and its parameters."""
    make = LIBRARIES[library]
    leaves = {
        "A": oa.Parameter(make(A[kind]), name="A"),
        "b": oa.Parameter(make(B[kind]), name="b"),
        "scale": oa.Parameter(make(SCALE), name="scale", positive=True),
    }
    x = oa.Variable(SHAPE, name="x")
    filters = oa.Matrix(leaves["A"]) if kind == "dense" else leaves["A"]
    field = fields_of_experts(filters, POTENTIALS[potential](leaves["scale"]), x, biases=leaves["b"])
    return 0.5 * oa.sum_squares(x - make(SIGNAL)) + 0.3 * field, leaves


def value(kind: str, potential: str, x: np.ndarray) -> float:
    """The energy by plain arrays."""
    experts = PHI[potential](responses(kind, x, A[kind], B[kind]), SCALE).sum()
    return float(0.5 * np.sum((x - SIGNAL) ** 2) + 0.3 * experts)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("kind", A)
def test_values_and_solutions(kind: str, potential: str, library: str) -> None:
    energy, _ = declared(kind, potential, library)
    at = np.linspace(-2, 2, 24).reshape(SHAPE)
    assert float(energy.value(LIBRARIES[library](at))) == pytest.approx(value(kind, potential, at), rel=1e-12)
    plan = oa.compile(energy, backend=library, nonconvex=potential == "lorentzian")
    found = np.asarray(plan.solve(tol=1e-9).x)
    best = minimize(lambda x: value(kind, potential, x.reshape(SHAPE)), found.ravel(), tol=1e-12)
    assert value(kind, potential, found) <= best.fun * (1 + 1e-8)
    np.testing.assert_allclose(found, best.x.reshape(SHAPE), atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("potential", ["log cosh", "lorentzian"])
@pytest.mark.parametrize("kind", A)
def test_gradients_in_filters_biases_and_scale(kind: str, potential: str, library: str) -> None:
    energy, leaves = declared(kind, potential, library)
    plan = oa.compile(energy, backend=library, nonconvex=potential == "lorentzian")
    make = LIBRARIES[library]
    found = plan.solve(tol=1e-9).vjp(make(C), list(leaves.values()))
    for seed, leaf in enumerate(leaves.values()):
        own = np.asarray(leaf.value)
        d = np.random.default_rng(seed).standard_normal(own.shape)
        ends = [
            np.asarray(plan.solve(params={leaf: make(np.asarray(own + h * d))}, tol=1e-11).x) for h in (1e-4, -1e-4)
        ]
        slope = float(np.sum(C * (ends[0] - ends[1]))) / 2e-4
        assert float(np.sum(np.asarray(found[leaf]) * d)) == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("potential", ["log cosh", "identity"])
@pytest.mark.parametrize("kind", A)
def test_every_method_that_fits_finds_the_same(kind: str, potential: str) -> None:
    energy, _ = declared(kind, potential, "numpy")
    plan = oa.compile(energy)
    exact = plan.solve(tol=1e-12).x
    fitting = [c.method.name for c in plan.candidates if c.fit.fits]
    assert "proximal_gradient" in fitting
    for method in fitting:
        found = oa.compile(energy, method=method).solve(tol=1e-10, max_iter=100_000).x
        np.testing.assert_allclose(found, exact, atol=1e-4, err_msg=method)
    searched = oa.compile(energy, line_search="gradient").solve(tol=1e-10).x
    np.testing.assert_allclose(searched, exact, atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", A)
def test_maps_of_them_on_every_library(kind: str, library: str) -> None:
    energy, _ = declared(kind, "log cosh", library)
    (x,) = energy.variables
    plan = oa.fixed_point(x, x - 0.2 * oa.grad(energy), backend=library)
    minimum = np.asarray(oa.compile(energy, backend=library).solve(tol=1e-10).x)
    np.testing.assert_allclose(np.asarray(plan.solve(tol=1e-10).x), minimum, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pair_of_functions_is_a_potential(library: str) -> None:
    """``(phi, phi')`` of arrays; with ``phi''`` solutions have gradients on libraries without autograd, too."""
    lib = {"numpy": np, "array_api_strict": array_api_strict, "torch": torch}[library]
    make = LIBRARIES[library]

    def phi(v: Any) -> Any:
        return lib.log(lib.cosh(v))

    def curvature(v: Any) -> Any:
        return 1 - lib.tanh(v) ** 2

    x, a = oa.Variable(SHAPE, name="x"), oa.Parameter(make(A["dense"]), name="A")
    found, reference = {}, oa.activation("tanh", 1.0)
    for name, potential in {"pair": (phi, lib.tanh, curvature), "known": reference}.items():
        term = fields_of_experts(oa.Matrix(a), potential, x, biases=make(B["dense"]))
        plan = oa.compile(0.5 * oa.sum_squares(x - make(SIGNAL)) + term, backend=library, nonconvex=True)
        solution = plan.solve(tol=1e-13, on_failure="return")
        found[name] = [np.asarray(v) for v in (solution.x, solution.vjp(make(C), a)[a])]
    for one, other in zip(found["pair"], found["known"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    two = fields_of_experts(oa.Matrix(a), (phi, lib.tanh), x)
    assert float(two.value(make(SIGNAL))) == pytest.approx(float(np.log(np.cosh(SIGNAL @ A["dense"].T)).sum()))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", A)
def test_a_pair_of_functions_takes_weights_filter_by_filter(kind: str, library: str) -> None:
    """Value, slope and curvature by differences of plain arrays; solutions and their gradients by a Potential's."""
    lib = {"numpy": np, "array_api_strict": array_api_strict, "torch": torch}[library]
    make = LIBRARIES[library]
    count = len(A[kind])
    given = np.linspace(0.4, 1.5, count)

    def plain(x: np.ndarray) -> float:
        column = given if kind == "dense" else given[:, None]
        return float(np.sum(column * np.log(np.cosh(responses(kind, x, A[kind], B[kind])))))

    def declare(potential: Any) -> tuple[Any, Any, dict[str, oa.Parameter]]:
        leaves = {
            "A": oa.Parameter(make(A[kind]), name="A"),
            "b": oa.Parameter(make(B[kind]), name="b"),
            "w": oa.Parameter(make(given), name="w"),
        }
        x = oa.Variable(SHAPE, name="x")
        filters = oa.Matrix(leaves["A"]) if kind == "dense" else leaves["A"]
        term = fields_of_experts(filters, potential, x, weights=leaves["w"], biases=leaves["b"])
        return term, 0.5 * oa.sum_squares(x - make(SIGNAL)) + 0.3 * term, leaves

    pair = (lambda v: lib.log(lib.cosh(v)), lib.tanh, lambda v: 1 - lib.tanh(v) ** 2)
    term, _, _ = declare(pair)
    rng = np.random.default_rng(5)
    at, d, e = (rng.standard_normal(SHAPE) for _ in range(3))
    assert float(term.value(make(at))) == pytest.approx(plain(at), rel=1e-12)
    gradient = np.asarray(term.gradient(make(at)))
    assert np.sum(gradient * d) == pytest.approx((plain(at + 1e-5 * d) - plain(at - 1e-5 * d)) / 2e-5, rel=1e-7)
    h = 1e-3
    corners = [s * t * plain(at + h * (s * d + t * e)) for s in (1, -1) for t in (1, -1)]
    bent = np.sum(np.asarray(term.hessian_vector(make(at), make(d))) * e)
    assert bent == pytest.approx(sum(corners) / (4 * h * h), rel=1e-4, abs=1e-6)

    found = []
    for potential in (pair, oa.activation("tanh", 1.0)):
        _, energy, leaves = declare(potential)
        solution = oa.compile(energy, backend=library, nonconvex=True).solve(tol=1e-13, on_failure="return")
        gradients = solution.vjp(make(C), list(leaves.values()))
        found.append([np.asarray(v) for v in (solution.x, *(gradients[leaf] for leaf in leaves.values()))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_torch_finds_the_curvature_of_a_pair_with_weights() -> None:
    x, w, a = oa.Variable(SHAPE, name="x"), np.arange(1.0, 7.0), A["dense"]
    term = fields_of_experts(oa.Matrix(a), (lambda v: v**4 / 4, lambda v: v**3), x, weights=w)
    ones = np.ones(SHAPE)
    found = term.hessian_vector(torch.as_tensor(SIGNAL), torch.as_tensor(ones))
    np.testing.assert_allclose(found.numpy(), (w * 3 * (SIGNAL @ a.T) ** 2 * (ones @ a.T)) @ a, rtol=1e-10)
    with pytest.raises(oa.UnsupportedError, match="no second derivative on numpy"):
        term.hessian_vector(SIGNAL, ones)


def test_biases_may_have_a_number_for_each_response() -> None:
    x = oa.Variable(SHAPE, name="x")
    each = np.random.default_rng(1).standard_normal((4, 8))
    field = fields_of_experts(A["convolutional"], Huber(0.5), x, biases=each)
    plain = Huber(0.5).value(responses("convolutional", SIGNAL, A["convolutional"], np.zeros(4)) + each)
    assert field.value(SIGNAL) == pytest.approx(plain, rel=1e-12)
    weighted = fields_of_experts(oa.Matrix(A["dense"]), Huber(0.5), x, weights=np.arange(1.0, 7.0), biases=B["dense"])
    parts = responses("dense", SIGNAL, A["dense"], B["dense"])
    wanted = sum(w * Huber(0.5).value(parts[:, k]) for k, w in enumerate(np.arange(1.0, 7.0)))
    assert weighted.value(SIGNAL) == pytest.approx(wanted, rel=1e-12)


def test_norms_are_held_in_one_word() -> None:
    x = oa.Variable((8,), name="x")
    field = fields_of_experts(A["convolutional"], Huber(0.5), x, norm=2.0, boundary="zero")
    operator = field.expression.operator_of(x)
    assert isinstance(operator, oa.HeldNorm)
    dense = np.stack([np.ravel(operator @ e) for e in np.eye(8)], axis=1)
    assert np.linalg.norm(dense, 2) == pytest.approx(2.0, rel=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    x = oa.Variable(SHAPE, name="x")
    with pytest.raises(oa.ShapeError, match=r"one number for each of the 4 filters.*not of shape \(5,\)"):
        fields_of_experts(A["convolutional"], Huber(0.5), x, biases=np.ones(5))
    with pytest.raises(oa.ParameterError, match="pair of functions"):
        fields_of_experts(A["convolutional"], (np.cos, 1.0), x)
    total = fields_of_experts(oa.Matrix(A["dense"]), (lambda v: np.cos(v).sum(), np.sin), x, weights=np.ones(6))
    with pytest.raises(oa.ShapeError, match="must keep the shape"):
        total.value(SIGNAL)
    z = oa.Variable(SHAPE, name="z", dtype=complex)
    with pytest.raises(oa.DtypeError, match="real and imaginary parts"):
        fields_of_experts(oa.Matrix(A["dense"]), (np.cos, np.sin), z, weights=np.ones(6))
