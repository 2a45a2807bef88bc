"""Linear Torch modules as operators: adjoints, precision, weights that are not trained, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.errors import NotLinearError, ParameterError
from opalg.interop import from_torch
from opalg.interop.torch_module import autograd_adjoint
from opalg.testing import check_operator

torch = pytest.importorskip("torch")


@pytest.fixture
def convolution():
    module = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(0)))
    return module


def test_a_convolution_passes_the_kit(convolution):
    A = from_torch(convolution, (2, 6, 5))
    assert (A.in_shape, A.out_shape, A.in_kind) == ((2, 6, 5), (3, 3, 3), "real")
    report = check_operator(A, library="torch", skip=["dtype"])
    assert report, str(report)
    transposed = torch.nn.functional.conv_transpose2d
    x = torch.randn(3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = transposed(x, convolution.weight, stride=2, padding=1, output_padding=(1, 0))
    assert torch.allclose(A.H @ x, wanted.detach(), atol=1e-12)


def test_results_carry_no_graph_and_weights_get_no_gradient(convolution):
    A = from_torch(convolution, (2, 6, 5))
    x = torch.ones(2, 6, 5, dtype=torch.float64)
    assert not (A @ x).requires_grad and not (A.H @ (A @ x)).requires_grad
    assert convolution.weight.grad is None


def test_single_precision_modules_keep_the_precision_of_the_argument():
    layer = torch.nn.Linear(4, 3, bias=False)
    A = from_torch(layer, 4)
    for dtype in (torch.float32, torch.float64):
        x = torch.arange(4, dtype=dtype)
        assert (A @ x).dtype == dtype and (A.H @ (A @ x)).dtype == dtype
    matrix = layer.weight.detach().double()
    assert torch.allclose(A @ torch.eye(4, dtype=torch.float64), matrix.T, atol=1e-6)


def test_batches_and_an_adjoint_that_is_given():
    def forward(x):
        return torch.cumsum(x, -1)

    def adjoint(y):
        return torch.cumsum(y.flip(-1), -1).flip(-1)

    A = from_torch(forward, (5,), adjoint=adjoint, batched=True, name="sums")
    assert repr(A) == "FunctionOperator(sums)" and A.in_kind == "any"
    assert check_operator(A, library="torch")


def test_a_complex_module():
    layer = torch.nn.Linear(3, 2, bias=False, dtype=torch.complex128)
    A = from_torch(layer, 3)
    assert A.in_kind == "complex"
    assert check_operator(A, library="torch", skip=["dtype"])


def test_it_is_solved_with(convolution):
    A = from_torch(convolution, (2, 4, 4))
    x = oa.Variable((2, 4, 4))
    y = torch.randn(A.out_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    solution = oa.minimize(oa.sum_squares(A @ x - y) + 0.1 * oa.sum_squares(x), tol=1e-9)
    units = torch.eye(32, dtype=torch.float64).reshape(32, 2, 4, 4)
    matrix = (A @ units).reshape(32, -1).T.numpy()
    wanted = np.linalg.solve(matrix.T @ matrix + 0.1 * np.eye(32), matrix.T @ y.numpy().ravel())
    assert np.allclose(np.asarray(solution.x).ravel(), wanted, atol=1e-6)


def test_misuse_is_refused():
    with pytest.raises(NotLinearError, match="bias"):
        from_torch(torch.nn.Linear(3, 2), 3)
    with pytest.raises(ParameterError, match="one tensor"):
        from_torch(lambda x: (x, x), 3)
    pull = autograd_adjoint(lambda x: x.detach(), (3,))
    with pytest.raises(oa.UnsupportedError, match="autograd cannot follow"):
        pull(torch.ones(3))
