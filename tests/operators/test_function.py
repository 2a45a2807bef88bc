"""FunctionOperator: known answers, batches, autograd on Torch, refusals, and use in an energy."""

from __future__ import annotations

import gc
import weakref

import array_api_compat
import numpy as np
import pytest

import opalg as oa
from opalg.errors import DeviceError, DtypeError, ParameterError, ShapeError, UnsupportedError
from opalg.facts import UNKNOWN, YES, exact, upper
from opalg.nodes import node
from opalg.operators import Facts, LinearOperator
from opalg.program import expression as ex
from opalg.program.linear import Kernel
from opalg.testing import check_operator
from tests.operators.dense import check_parameter_gradient, real_matrix


def reversed_cumsum(y):
    return np.cumsum(y[::-1])[::-1]


def cumulative(**options):
    return oa.FunctionOperator(np.cumsum, reversed_cumsum, in_shape=(4,), **options)


def test_known_matrix():
    lower = np.tril(np.ones((4, 4)))
    assert np.array_equal(cumulative().to_dense(), lower)
    assert np.array_equal(cumulative().H.to_dense(), lower.T)
    assert repr(cumulative()) == "FunctionOperator(cumsum)"
    assert repr(cumulative(name="running sum")) == "FunctionOperator(running sum)"
    assert repr(oa.FunctionOperator(lambda x: x, in_shape=2)) == "FunctionOperator(function)"


def test_batches_are_looped_over_or_handed_on(rng):
    calls = []

    def twice(x):
        calls.append(x.shape)
        return 2.0 * x

    x = rng.standard_normal((2, 3, 4))
    looped, whole = (oa.FunctionOperator(twice, twice, in_shape=4, batched=b) for b in (False, True))
    assert np.array_equal(looped @ x, 2 * x)
    assert calls == [(4,)] * 6
    calls.clear()
    assert np.array_equal(whole @ x, 2 * x)
    assert calls == [(2, 3, 4)]
    assert (looped @ np.zeros((0, 4))).shape == (0, 4)


def test_composes_like_any_operator(rng):
    A = cumulative()
    dense, x = A.to_dense(), rng.standard_normal(4)
    mixed = 2.0 * oa.vstack([A, A.H]) - oa.vstack([oa.Identity(4), A.gram])
    wanted = 2 * np.vstack([dense, dense.T]) - np.vstack([np.eye(4), dense.T @ dense])
    assert np.allclose(mixed @ x, wanted @ x, atol=1e-13)
    assert np.allclose(mixed.H.to_dense(), wanted.T, atol=1e-13)


def test_functions_may_write_in_place_and_reuse_buffers(rng):
    buffer = np.zeros(4)

    def doubled(x):
        x *= 2.0
        buffer[...] = x
        return buffer

    A = oa.FunctionOperator(doubled, doubled, in_shape=4, in_dtype=float)
    x, y = rng.standard_normal((2, 4))
    before = x.copy()
    first = A @ x
    assert np.array_equal(A @ y, 2 * y)
    assert np.array_equal(first, 2 * before) and np.array_equal(x, before)
    assert check_operator(A)


def test_precision_is_the_arguments(rng):
    A = oa.FunctionOperator(
        lambda x: np.float64(3.0) * x.astype(float), lambda y: 3.0 * y, in_shape=(2,), in_dtype="real"
    )
    assert (A @ np.ones(2, np.float32)).dtype == np.float32
    assert (A @ np.ones(2)).dtype == np.float64


def test_real_to_complex_counts_as_pairs_of_reals():
    A = oa.FunctionOperator(
        lambda x: np.exp(1j) * x, lambda y: (np.exp(-1j) * y).real, in_shape=3, in_dtype=float, out_dtype=complex
    )
    assert np.allclose(real_matrix(A.H, "complex"), real_matrix(A, "real").T, atol=1e-15)
    assert check_operator(A)


def test_norm_is_taken_on_the_users_word():
    A = cumulative(norm=3.0)
    assert A.norm_bound().value == 3.0 and A.norm_bound().certainty == "asserted"
    with pytest.raises(UnsupportedError, match="norm"):
        cumulative().norm_bound()
    assert check_operator(A)
    assert check_operator(cumulative(norm=2.0)).failed("norm")
    size = oa.Parameter(4.0, name="size", positive=True)
    assert cumulative(norm=size).norm_bound().value == 4.0
    with pytest.raises(ParameterError, match="nonnegative"):
        cumulative(norm=-1.0)
    with pytest.raises(ParameterError, match="scalar"):
        cumulative(norm=oa.Parameter(np.ones(3)))


def test_the_same_function_twice_is_self_adjoint():
    def shrink(x):
        return 0.5 * x

    A = oa.FunctionOperator(shrink, shrink, in_shape=3)
    assert A.facts.self_adjoint is YES and A.H is A
    assert oa.FunctionOperator(shrink, shrink, in_shape=3, adjoint_exact=False).facts.self_adjoint is UNKNOWN
    wrong = oa.FunctionOperator(np.cumsum, np.cumsum, in_shape=3)
    assert check_operator(wrong).failed("adjoint")


def test_a_wrong_adjoint_is_caught_and_explained():
    report = check_operator(oa.FunctionOperator(np.cumsum, lambda y: 2.0 * reversed_cumsum(y), in_shape=(4,)))
    assert "A.H is 2 times the adjoint" in str(report)


def test_without_an_adjoint_numpy_functions_say_what_is_missing():
    A = oa.FunctionOperator(np.cumsum, in_shape=(4,))
    assert np.array_equal(A @ np.ones(4), [1, 2, 3, 4])
    with pytest.raises(UnsupportedError, match=r"adjoint of FunctionOperator\(cumsum\).*adjoint=function.*Torch"):
        A.H @ np.ones(4)


def test_without_torch_a_missing_adjoint_is_said(monkeypatch):
    monkeypatch.setattr("opalg.operators.function.backend", _no_torch)
    A = oa.FunctionOperator(lambda x: x[1:] - x[:-1], in_shape=4, out_shape=3)
    with pytest.raises(UnsupportedError, match=r"pip install 'opalg\[torch\]'"):
        A.H @ np.ones(3)


def _no_torch(name, precision):
    raise DeviceError(f"{name} is not installed")


@pytest.mark.parametrize("library", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_torch_transposes_functions_of_other_libraries(library, kind):
    pytest.importorskip("torch")
    factor = 2.0 - 3.0j if kind == "complex" else 2.0
    A = oa.FunctionOperator(
        lambda x: factor * x[1:, :] - x[:-1, :], in_shape=(4, 2), out_shape=(3, 2), in_dtype=kind, name="slope"
    )
    forward = real_matrix(A, kind, library)
    assert np.allclose(real_matrix(A.H, kind, library), forward.T, atol=1e-14)
    assert check_operator(A, library=library)
    assert check_operator(A, library=library, dtype="float32")


def test_torch_transposes_array_api_functions_that_write_in_place():
    pytest.importorskip("torch")

    def centred(x):
        xp = array_api_compat.array_namespace(x)
        x *= 3.0
        return x - xp.mean(x)

    A = oa.FunctionOperator(centred, in_shape=5, in_dtype=float)
    assert np.allclose(A.H.to_dense(), 3 * (np.eye(5) - 0.2), atol=1e-15)
    x, y = oa.Variable(5, name="x"), np.arange(5.0)
    sol = oa.minimize(oa.sum_squares(A @ x - y) + oa.sum_squares(x), tol=1e-10)
    dense = A.to_dense()
    assert np.allclose(sol.x, np.linalg.solve(dense.T @ dense + np.eye(5), dense.T @ y), atol=1e-7)


def test_what_torch_would_transpose_must_have_the_declared_shape():
    pytest.importorskip("torch")
    with pytest.raises(ShapeError, match=r"returned shape \(3,\)"):
        oa.FunctionOperator(lambda x: x[1:], in_shape=4).H @ np.ones(4)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_autograd_transposes_on_torch(kind, batched):
    torch = pytest.importorskip("torch")
    weights = torch.arange(1.0, 4.0, dtype=torch.float64) * (1 + (2j if kind == "complex" else 0))
    A = oa.FunctionOperator(
        lambda x: torch.cumsum(weights * x, -1)[..., 1:], in_shape=3, out_shape=2, in_dtype=kind, batched=batched
    )
    forward = real_matrix(A, kind, "torch")
    assert np.allclose(real_matrix(A.H, kind, "torch"), forward.T, atol=1e-14)
    assert check_operator(A, library="torch", skip=["dtype"])


def test_what_autograd_cannot_follow_is_said():
    torch = pytest.importorskip("torch")
    A = oa.FunctionOperator(lambda x: torch.from_numpy(np.cumsum(x.detach().numpy())), in_shape=3)
    with pytest.raises(UnsupportedError, match="autograd cannot follow"):
        A.H @ torch.ones(3, dtype=torch.float64)
    assert torch.is_grad_enabled()


def test_networks_do_not_leak_gradients():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 2, bias=False, dtype=torch.float64)
    A = oa.FunctionOperator(layer, in_shape=3, out_shape=2, batched=True)
    result = A @ torch.ones(3, dtype=torch.float64)
    assert not result.requires_grad
    assert np.allclose(real_matrix(A.H, "real", "torch"), layer.weight.detach().numpy().T)
    assert layer.weight.grad is None


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: x[1:], ShapeError, r"returned shape \(3,\)"),
        (lambda x: 1j * x, DtypeError, "out_dtype='complex'"),
        (lambda x: list(x), UnsupportedError, "returned list"),
    ],
)
def test_results_that_do_not_fit_are_refused(function, error, words):
    with pytest.raises(error, match=words):
        oa.FunctionOperator(function, in_shape=(4,)) @ np.ones(4)


def test_declarations_that_make_no_sense_are_refused():
    with pytest.raises(ParameterError, match="forward"):
        oa.FunctionOperator(3.0, in_shape=(4,))
    with pytest.raises(ParameterError, match="adjoint"):
        oa.FunctionOperator(np.cumsum, "none", in_shape=(4,))
    with pytest.raises(DtypeError, match="in_dtype"):
        oa.FunctionOperator(np.cumsum, in_shape=(4,), in_dtype="int")
    with pytest.raises(DtypeError, match="say what it takes"):
        oa.FunctionOperator(np.real, in_shape=(4,), out_dtype="real")
    with pytest.raises(ShapeError):
        oa.FunctionOperator(np.cumsum, in_shape=(-4,))
    with pytest.raises(ShapeError, match="trailing axes"):
        cumulative() @ np.ones(5)
    with pytest.raises(DtypeError, match="real"):
        cumulative(in_dtype="real") @ np.ones(4, complex)


def test_operators_are_equal_only_if_the_same_and_do_not_outlive_their_use():
    A = cumulative()
    assert A is not cumulative()
    assert A.H is A.H and A.H.H is A
    seen = weakref.ref(A.H)
    del A
    gc.collect()
    assert seen() is None


def test_solves_with_one(rng):
    A, y = cumulative(norm=3.0), rng.standard_normal(4)
    x = oa.Variable(4, name="x")
    sol = oa.minimize(oa.sum_squares(A @ x - y) + 0.1 * oa.sum_squares(x), tol=1e-12)
    dense = A.to_dense()
    assert np.allclose(sol.x, np.linalg.solve(dense.T @ dense + 0.1 * np.eye(4), dense.T @ y), atol=1e-8)


def test_gradients_of_solutions_flow_through(rng):
    y = oa.Parameter(rng.standard_normal(4), name="y")
    x = oa.Variable(4, name="x")
    energy = oa.sum_squares(cumulative(norm=3.0) @ x - y) + 0.1 * oa.sum_squares(x)
    assert oa.testing.check_gradient(energy)


@node
class WeightedGradient(LinearOperator):
    """``w D x``: a subclass written with the traces of other operators; its adjoint follows."""

    shape: tuple[int, ...]
    weights: oa.Parameter

    @property
    def in_shape(self):
        return self.shape

    @property
    def out_shape(self):
        return (len(self.shape), *self.shape)

    def trace(self, x):
        return self.weights * oa.Gradient(self.shape).trace(x)

    @property
    def facts(self):
        gradient = oa.Gradient(self.shape).norm_bound()
        return Facts(norm=upper(gradient.expression * ex.largest(abs(self.weights))))


@node
class Swap(LinearOperator):
    """``y = (x_1, x_0)``: a subclass that brings its own kernels."""

    in_shape: tuple[int, ...] = (2,)
    out_shape = (2,)
    facts = Facts(self_adjoint=YES, norm=exact(1.0))

    def kernel(self):
        return Kernel(swap, in_place=False)

    adjoint_kernel = kernel


def swap(lib, x, out=None):
    return lib.xp.flip(x, axis=-1)


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_subclasses_of_a_users_own_pass_the_checks(library, dtype, rng):
    weights = oa.Parameter(rng.random((3, 4)), name="w")
    for A in (
        WeightedGradient((3, 4), weights),
        Swap(),
        WeightedGradient((3, 4), weights).H @ oa.Zero((3, 4), (2, 3, 4)),
    ):
        assert check_operator(A, library=library, dtype=dtype)


def test_a_subclass_of_a_users_own_is_an_operator_like_any_other(rng):
    weights = oa.Parameter(rng.random((3, 4)), name="w")
    A = WeightedGradient((3, 4), weights)
    x = rng.standard_normal((3, 4))
    assert np.allclose(A @ x, weights.value * (oa.Gradient((3, 4)) @ x), atol=1e-15)
    assert A is WeightedGradient((3, 4), weights)
    check_parameter_gradient(A, weights, rng)
    assert Swap().H is Swap()
    unknown = oa.Variable((3, 4), name="x")
    energy = oa.sum_squares(unknown - x) + oa.norm21(A @ unknown)
    assert oa.minimize(energy, tol=1e-6)
