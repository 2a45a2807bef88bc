"""Opaque functions: their derivatives, what they are given and what they may return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opalg as oa
from opalg.arrays import Backend, backend
from opalg.program.differentiate import jvp, vjp
from opalg.program.expression import Expression, Input, Literal
from opalg.program.interpreter import evaluate
from opalg.program.opaque import OpaqueFunction, opaque, opaque_functions

torch = pytest.importorskip("torch")
X, U, D = Input("x", (4,)), Input("u", (4,)), Input("d", (4,))
STEP = 1e-6
W = np.random.default_rng(3).standard_normal((4, 4))


def value(v: Any) -> Any:
    return np.tanh(W @ v)


def pulled(v: Any, u: Any) -> Any:
    return W.T @ ((1 - value(v) ** 2) * u)


def pushed(v: Any, d: Any) -> Any:
    return (1 - value(v) ** 2) * (W @ d)


def bent(v: Any, u: Any, d: Any) -> Any:
    return W.T @ (-2 * value(v) * pushed(v, d) * u)


def torch_value(v: Any) -> Any:
    return torch.tanh(torch.as_tensor(W) @ v)


def torch_pulled(v: Any, u: Any) -> Any:
    return torch.as_tensor(W).T @ ((1 - torch_value(v) ** 2) * u)


CASES = {
    "numpy": (opaque(value, pulled, jvp=pushed, hvp=bent), "numpy"),
    "torch": (opaque(torch_value), "torch"),
    "torch with its vjp": (opaque(torch_value, torch_pulled, keeps_shape=True), "torch"),
}


def at(expression: Expression | None, arrays: dict[Input, np.ndarray], lib: Backend) -> np.ndarray:
    assert expression is not None
    (found,) = evaluate([expression], {k: lib.asarray(v) for k, v in arrays.items()}, lib)
    return np.array(lib.to_numpy(found))


def arrays(seed: int) -> dict[Input, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {X: rng.standard_normal(4), U: rng.standard_normal(4), D: rng.standard_normal(4)}


@pytest.mark.parametrize("case", CASES)
def test_first_derivatives(case: str) -> None:
    function, library = CASES[case]
    lib, known = backend(library), arrays(0)
    v, d, u = known[X], known[D], known[U]
    change = (value(v + STEP * d) - value(v - STEP * d)) / (2 * STEP)
    assert np.allclose(at(function.at(X), known, lib), value(v), atol=1e-14)
    assert np.allclose(at(jvp([function.at(X)], {X: D})[0], known, lib), change, atol=1e-8)
    assert at(vjp([function.at(X)], [U], [X])[0], known, lib) @ d == pytest.approx(u @ change, abs=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives(case: str) -> None:
    function, library = CASES[case]
    lib, known = backend(library), arrays(1)
    v, d, u = known[X], known[D], known[U]
    change = (pulled(v + STEP * d, u) - pulled(v - STEP * d, u)) / (2 * STEP)
    back = vjp([function.at(X)], [U], [X])[0]
    assert back is not None
    assert np.allclose(at(jvp([back], {X: D})[0], known, lib), change, atol=1e-8)
    assert np.allclose(at(vjp([back], [D], [X])[0], known, lib), change, atol=1e-8)  # a Hessian is symmetric
    assert np.allclose(at(vjp([back], [D], [U])[0], known, lib), pushed(v, d), atol=1e-12)
    along = jvp([function.at(X)], {X: D})[0]
    assert along is not None
    assert np.allclose(at(vjp([along], [U], [X])[0], known, lib), change, atol=1e-8)
    assert np.allclose(at(vjp([along], [U], [D])[0], known, lib), pulled(v, u), atol=1e-12)
    both = jvp([back], {X: D, U: D})[0]
    assert np.allclose(at(both, known, lib), change + pulled(v, d), atol=1e-8)


def test_a_hessian_product_is_its_own_transpose() -> None:
    function, known = CASES["torch"][0], arrays(2)
    back = vjp([function.at(X)], [U], [X])[0]
    assert back is not None
    curved = jvp([back], {X: D})[0]
    assert curved is not None
    e = Input("e", (4,))
    lib, known = backend("torch"), {**known, e: np.arange(4.0)}
    assert at(vjp([curved], [e], [D])[0], known, lib) @ known[D] == pytest.approx(at(curved, known, lib) @ np.arange(4))
    assert np.allclose(at(jvp([curved], {D: e})[0], known, lib), at(vjp([curved], [e], [D])[0], known, lib))


def test_a_symmetric_function_needs_one_derivative() -> None:
    S = W + W.T
    for given in ({"transposed": lambda v, u: S @ u}, {"jvp": lambda v, d: S @ d}):
        function, known, lib = opaque(lambda v: S @ v, symmetric=True, **given), arrays(3), backend()
        assert np.allclose(at(jvp([function.at(X)], {X: D})[0], known, lib), S @ known[D])
        assert np.allclose(at(vjp([function.at(X)], [U], [X])[0], known, lib), S @ known[U])


def test_functions_of_one_number() -> None:
    scalar = opaque(lambda v: np.sum(v**3), lambda v, u: 3 * u * v**2, hvp=lambda v, u, d: 6 * u * v * d, total=True)
    other = opaque(lambda v: v**3, total=True)
    for function, lib in ((scalar, backend()), (other, backend("torch"))):
        known = arrays(4)
        v, d = known[X], known[D]
        assert at(function.at(X), known, lib) == pytest.approx(np.sum(v**3))
        slope = function.pulled(X, Literal(1.0))
        assert np.allclose(at(slope, known, lib), 3 * v**2)
        assert at(jvp([function.at(X)], {X: D})[0], known, lib) == pytest.approx(np.sum(3 * v**2 * d))
        assert np.allclose(at(jvp([slope], {X: D})[0], known, lib), 6 * v * d)


def test_complex_arrays_count_as_pairs_of_reals() -> None:
    z, w, e = (Input(n, (3,), "complex") for n in "zwe")
    function, lib, rng = opaque(lambda v: v * v.abs()), backend("torch"), np.random.default_rng(5)
    a, b, c = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    known = {z: a, w: b, e: c}
    change = ((a + STEP * c) * abs(a + STEP * c) - (a - STEP * c) * abs(a - STEP * c)) / (2 * STEP)
    assert np.allclose(at(jvp([function.at(z)], {z: e})[0], known, lib), change, atol=1e-8)
    back = at(vjp([function.at(z)], [w], [z])[0], known, lib)
    assert np.vdot(back, c).real == pytest.approx(np.vdot(b, change).real, rel=1e-7)


def test_a_linear_network_has_no_second_derivative_and_one_that_hides_from_autograd_is_caught() -> None:
    layer = torch.nn.Linear(4, 4, bias=False).double()
    lib, known = backend("torch"), arrays(6)
    back = vjp([opaque(layer).at(X)], [U], [X])[0]
    assert back is not None
    assert np.array_equal(at(jvp([back], {X: D})[0], known, lib), np.zeros(4))
    hiding = opaque(lambda v: layer(v.detach()).detach())
    with pytest.raises(oa.UnsupportedError, match="autograd cannot follow"):
        at(vjp([hiding.at(X)], [U], [X])[0], known, lib)
    given = opaque(layer, lambda v, u: (layer.weight.T @ u).detach(), keeps_shape=True)
    back = vjp([given.at(X)], [U], [X])[0]
    assert back is not None
    with pytest.raises(oa.UnsupportedError, match="give hvp="):
        at(jvp([back], {X: D})[0], known, lib)


def test_what_is_missing_is_named() -> None:
    lib, known = backend(), arrays(7)
    bare, half = opaque(value), opaque(value, pulled)
    with pytest.raises(oa.UnsupportedError, match="give vjp="):
        at(vjp([bare.at(X)], [U], [X])[0], known, lib)
    with pytest.raises(oa.UnsupportedError, match="give jvp="):
        at(jvp([half.at(X)], {X: D})[0], known, lib)
    back = vjp([half.at(X)], [U], [X])[0]
    assert back is not None
    with pytest.raises(oa.UnsupportedError, match="give hvp="):
        at(jvp([back], {X: D})[0], known, lib)
    curved = jvp([back], {X: D})[0]
    assert curved is not None
    with pytest.raises(oa.UnsupportedError, match="beyond the second"):
        jvp([curved], {X: D})
    with pytest.raises(oa.ParameterError, match="vjp must be a callable"):
        opaque(value, 3.0)  # type: ignore[arg-type]


def test_functions_may_write_to_what_they_get_and_keep_what_they_give() -> None:
    kept = np.zeros(4)

    def rude(v: Any) -> Any:
        v *= 2.0
        kept[:] = v
        return kept

    v = np.arange(4.0)
    found = opaque(rude).evaluate(backend(), v)
    kept[:] = -1.0
    assert np.array_equal(v, np.arange(4.0)) and np.array_equal(found, 2 * np.arange(4.0))
    t = torch.arange(4.0, dtype=torch.float64)
    found = opaque(lambda a: a.mul_(2.0)).evaluate(backend("torch"), t)
    assert torch.equal(t, torch.arange(4.0, dtype=torch.float64)) and torch.equal(found, 2 * t)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda v: v[:2], oa.ShapeError, "keep the shape"),
        (lambda v: [1.0], oa.UnsupportedError, "returned list"),
        (lambda v: v.astype(np.float32), oa.DtypeError, "loses half the digits"),
        (lambda v: v.astype(int), oa.DtypeError, "int64"),
        (lambda v: v + 1j, oa.DtypeError, "complex array for a real one"),
    ],
)
def test_results_are_checked(function: Callable[..., Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        opaque(function, keeps_shape=True).evaluate(backend(), np.ones(4))


def test_a_result_of_double_precision_is_rounded_to_the_working_one() -> None:
    found = opaque(lambda v: v.astype(float)).evaluate(backend("numpy", "float32"), np.ones(4, np.float32))
    assert found.dtype == np.float32


def test_networks_elsewhere_or_in_another_precision_are_refused() -> None:
    layer = opaque(torch.nn.Linear(4, 4))
    with pytest.raises(oa.DeviceError, match=r"backend='torch'"):
        layer.evaluate(backend(), np.ones(4))
    with pytest.raises(oa.DtypeError, match=r"float32 weights.*dtype='float32'.*double\(\)"):
        layer.evaluate(backend("torch"), torch.ones(4, dtype=torch.float64))
    with pytest.raises(oa.DtypeError, match="real weights"):
        layer.evaluate(backend("torch", "float32"), torch.ones(4, dtype=torch.complex64))
    with pytest.raises(oa.DeviceError, match="lives on meta"):
        opaque(torch.nn.Linear(4, 4, device="meta")).evaluate(backend("torch", "float32"), torch.ones(4))


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Dropout(),
        torch.nn.BatchNorm1d(4),
        torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4)),
    ],
)
def test_networks_that_change_from_call_to_call_are_refused(layer: Any) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
    x, lib = torch.ones((2, 4)), backend("torch", "float32")
    with pytest.raises(oa.ParameterError, match=r"training mode.*eval\(\)"):
        opaque(network).evaluate(lib, x)
    assert opaque(network.eval()).evaluate(lib, x).shape == (2, 4)
    plain = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4, track_running_stats=False))
    assert opaque(plain).evaluate(lib, x).shape == (2, 4)


def test_no_graph_is_kept_and_weights_get_no_gradient() -> None:
    layer, lib = torch.nn.Linear(4, 4).double(), backend("torch")
    known = {k: torch.as_tensor(v) for k, v in arrays(8).items()}
    found = evaluate([e for e in vjp([opaque(layer).at(X)], [U], [X]) if e is not None], known, lib)
    assert not found[0].requires_grad and layer.weight.grad is None
    with torch.inference_mode():
        again = evaluate([e for e in vjp([opaque(layer).at(X)], [U], [X]) if e is not None], known, lib)
    assert torch.equal(found[0], again[0])


def test_a_strength_has_a_derivative_on_torch() -> None:
    s, c = Input("s", ()), np.array(0.7)
    tuned, lib = (
        OpaqueFunction(lambda v, t: v / (1 + t**2), None, "tuned", keeps_shape=True, tuned=True),
        backend("torch"),
    )
    known = {**arrays(9), s: c}
    v, u = known[X], known[U]
    back = vjp([tuned.at(X, s)], [U], [X, s])
    assert np.allclose(at(back[0], known, lib), u / 1.49)
    assert at(back[1], known, lib) == pytest.approx(-2 * 0.7 / 1.49**2 * (u @ v))
    deaf = OpaqueFunction(lambda v, t: v / (1 + t.detach() ** 2), None, "deaf", tuned=True)
    with pytest.raises(oa.UnsupportedError, match="without float"):
        at(vjp([deaf.at(X, s)], [U], [s])[0], known, lib)
    with pytest.raises(oa.UnsupportedError, match="in its strength is not known"):
        at(vjp([tuned.at(X, s)], [U], [s])[0], known, backend())
    with pytest.raises(oa.UnsupportedError, match=r"use sol\.vjp"):
        jvp([tuned.at(X, s)], {s: Literal(1.0)})


def test_functions_of_the_same_callables_are_one() -> None:
    assert opaque(value, pulled) == opaque(value, pulled) and opaque(value) != opaque(value, pulled)
    assert opaque(value).at(X) is opaque(value).at(X)
    owner = np.random.default_rng(0)
    assert opaque(owner.standard_normal) == opaque(owner.standard_normal)
    expression = opaque(value).at(X) + opaque(value, pulled).pulled(X, U)
    assert opaque_functions(expression) == [opaque(value), opaque(value, pulled)]
