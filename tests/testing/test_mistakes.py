"""What the kit says about mistakes that people make: the hint names the mistake, and never another one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from scipy.sparse.linalg import LinearOperator

import opalg as oa
from opalg.testing import check_operator

SIZES = [(6, 5), (65, 64)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def _hint(operator, name="adjoint", **options):
    report = check_operator(operator, **options)
    return " / ".join(f.hint for f in report.findings if f.name == name)


def _pair(forward, adjoint, size, out_shape=None, dtype=None):
    return oa.FunctionOperator(forward, adjoint, in_shape=size, out_shape=out_shape, in_dtype=dtype)


class _Convolution(torch.nn.Module):
    """A module whose adjoint has another border."""

    def __init__(self, size, mode):
        super().__init__()
        self.in_shape = (2, *size)
        self.inner = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False, padding_mode=mode)
        with torch.no_grad():
            self.inner.weight.copy_(torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return self.inner(x[None])[0]

    def adjoint(self, y):
        return torch.nn.functional.conv_transpose2d(y[None], self.inner.weight, padding=1)[0]


@sizes
@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_a_wrong_border_is_not_taken_for_a_factor_in_single_precision(size, mode):
    assert "boundary condition" in _hint(_Convolution(size, mode))


@sizes
def test_coil_maps_without_a_conjugate(size):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, *size)) + 1j * rng.standard_normal((3, *size))

    def forward(x):
        return np.fft.fft2(maps * x, norm="ortho")

    def plain(y):
        return (maps * np.fft.ifft2(y, norm="ortho")).sum(0)

    assert "lack a conjugate" in _hint(_pair(forward, plain, size, (3, *size), complex))


@sizes
def test_weights_applied_twice_and_a_mask_left_out(size):
    rng = np.random.default_rng(0)
    weights, mask = rng.uniform(0.5, 2.0, size), rng.random(size) < 0.5

    def spectrum(x):
        return weights * scipy.fft.dctn(x, norm="ortho")

    def twice(y):
        return scipy.fft.idctn(weights**2 * y, norm="ortho")

    def masked(x):
        return mask * scipy.fft.dctn(x, norm="ortho")

    def unmasked(y):
        return scipy.fft.idctn(y, norm="ortho")

    assert "argument of A.H has a factor of its own" in _hint(_pair(spectrum, twice, size))
    found = _hint(_pair(masked, unmasked, size))
    assert "argument of A.H" in found
    assert "a mask is missing" in found


def test_a_real_part_and_a_shift_by_half():
    def forward(x):
        return np.fft.fft2(x, norm="ortho")

    def inverse(y):
        return np.fft.ifft2(y, norm="ortho")

    assert "no imaginary part" in _hint(_pair(forward, lambda y: inverse(y).real + 0j, (6, 5), None, complex))
    assert "fftshift" in _hint(_pair(forward, lambda y: np.fft.fftshift(inverse(y)), (8, 6), None, complex))
    assert "fftshift" in _hint(_pair(forward, lambda y: np.fft.ifftshift(inverse(y)), (65, 64), None, complex))


@sizes
def test_single_precision_in_the_middle(size):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size)
    rough = weights.astype("float32").astype(float)
    assert "float32" in _hint(_pair(lambda x: weights * x, lambda y: rough * y, size))
    assert "float32" in _hint(_pair(lambda x: weights * x, lambda y: (weights * y).astype("float32"), size), "linear")


@sizes
@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda x: x + 1e-3, "adds a constant"),
        (lambda x: np.maximum(x, 0), "absolute value"),
        (lambda x: np.clip(x, -20, 20), "clipped"),
        (lambda x: x * np.random.default_rng().uniform(), "random"),
    ],
)
def test_why_a_map_is_not_linear(size, forward, words):
    assert words in _hint(_pair(forward, lambda y: y, size, dtype="real"), "linear")


@sizes
def test_work_in_place_is_called_by_its_name(size):
    n = size[0] * size[1]

    def double(x):
        x *= 2
        return x

    report = check_operator(LinearOperator((n, n), matvec=double, rmatvec=lambda y: 2 * y, dtype=float))
    assert report.failed("inputs")
    assert not report.failed("linear")
    assert not report.failed("adjoint")


def test_scipy_without_an_adjoint():
    report = check_operator(LinearOperator((2, 3), matvec=lambda x: x[:2], dtype=float))
    assert "give its LinearOperator rmatvec=" in report.findings[0].message


def test_sums_that_cancel_are_no_false_alarm():
    size = (16, 8)
    total = oa.FunctionOperator(
        lambda x: x.sum(), lambda y: np.full(size, y), in_shape=size, out_shape=(), in_dtype="real", batched=False
    )
    for seed in range(60):
        report = check_operator(total, np.random.default_rng(seed))
        assert report, str(report)


def test_large_entries_in_single_precision_do_not_overflow():
    diagonal = oa.Diagonal(np.linspace(1e12, 2e12, 200))
    with np.errstate(over="raise"):
        assert check_operator(diagonal, dtype="float32")
