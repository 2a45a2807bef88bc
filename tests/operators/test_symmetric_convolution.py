"""Even kernels on mirrored images: the cosine transform makes them diagonal."""

from __future__ import annotations

import numpy as np
import pytest

import opalg as oa
from opalg.leaves import Constant, Parameter
from opalg.operators import Convolve, DiagonalIn, Gradient, Identity, gaussian_kernel
from opalg.operators.cosine import DCT
from opalg.operators.symmetric_convolution import is_even
from opalg.program import expression as ex
from opalg.program.linear import Window
from tests.operators.dense import check_parameter_gradient, real_matrix

WIDTH = Parameter(0.8, name="width", positive=True)
EVEN = [
    ((6, 7), gaussian_kernel(WIDTH, 2)),
    ((5,), gaussian_kernel(1.0, 2, 1)),
    ((3, 4), np.ones((3, 1)) / 3),
    ((1, 4), np.array([[1.0, 2.0, 1.0]])),
    ((2, 3), Parameter(np.array([[2.0]]), name="one entry")),
    ((5, 5), np.outer([1.0, -2.0, 3.0, -2.0, 1.0], [0.5, 1.0, 0.5]) * (1 + 2j)),
    ((3, 3), ex.square(WIDTH) * Constant(np.ones((3, 3)))),
    ((2, 3, 4), gaussian_kernel(WIDTH, 0, 3) + Constant(np.ones((1, 3, 3)))),
]


def rule_members(rng):
    """Operators on which the rule fires."""
    return [Convolve(gaussian_kernel(1.0, 1), (4, 3), boundary="symmetric")]


def by_padding(kernel, x):
    """Pad by the mirror image and add shifted copies."""
    reach = [k // 2 for k in kernel.shape]
    padded = np.pad(x, [(r, r) for r in reach], mode="symmetric")
    out = np.zeros(x.shape, np.result_type(kernel, x))
    for index in np.ndindex(kernel.shape):
        begin = [2 * r - i for r, i in zip(reach, index, strict=True)]
        out += kernel[index] * padded[tuple(slice(b, b + n) for b, n in zip(begin, x.shape, strict=True))]
    return out


@pytest.mark.parametrize(("shape", "kernel"), EVEN)
def test_even_kernels_are_diagonal_in_cosines(shape, kernel, rng):
    blur = Convolve(kernel, shape, boundary="symmetric")
    simple = blur.simplify()
    assert isinstance(simple, DiagonalIn) and simple.transform is DCT(shape)
    kind = "complex" if blur.kernel.kind == "complex" else "real"
    dense = real_matrix(blur, kind)
    assert np.allclose(real_matrix(simple, kind), dense, atol=1e-12)
    assert simple.norm_bound().value == pytest.approx(np.linalg.norm(dense, 2))
    for made in (blur.gram + 0.3 * Gradient(shape).gram, blur.H @ blur @ blur):
        merged = made.simplify()
        assert isinstance(merged, DiagonalIn) and not merged.local
        assert np.allclose(real_matrix(merged, kind), real_matrix(made, kind), atol=1e-11)


def test_the_filter_is_that_of_padding(rng):
    kernel, x = np.outer([1.0, 4.0, 1.0], [2.0, 1.0, 3.0, 1.0, 2.0]), rng.standard_normal((4, 6))
    made = Convolve(kernel, (4, 6), boundary="symmetric")
    assert np.allclose(made @ x, by_padding(kernel, x))
    assert np.allclose(made.simplify() @ x, by_padding(kernel, x))


def test_gradient_in_the_width_flows_through_the_spectrum(rng):
    check_parameter_gradient(Convolve(gaussian_kernel(WIDTH, 1), (4, 5), boundary="symmetric").simplify(), WIDTH, rng)


def test_what_is_not_known_to_be_even_stays(rng):
    even = np.ones((3, 3))
    lopsided = even.copy()
    lopsided[0, 1] = 1.5
    stay = [
        Convolve(lopsided, (4, 5), "symmetric"),
        Convolve(Parameter(even, name="k"), (4, 5), "symmetric"),
        Convolve(Constant(even) * Parameter(even, name="k"), (4, 5), "symmetric"),
        Convolve(even, (4, 5), "symmetric", origin=(0, 1)),
        Convolve(np.ones((2, 3)), (4, 5), "symmetric"),
        Convolve(even, (4, 5), "symmetric", stride=2),
        Convolve(even, (4, 5), "reflect"),
    ]
    for made in stay:
        assert not isinstance(made.simplify(), DiagonalIn)


def test_evenness_is_seen_in_the_form():
    k = Parameter(np.ones((3, 3)), name="k")
    even = Constant(np.outer([1.0, 2.0, 1.0], [3.0, 1.0, 3.0]))
    assert is_even(ex.exp(even) / ex.total(k))
    assert is_even(ex.broadcast_to(WIDTH, (3, 3)))
    assert is_even(ex.Apply(Window((3, 3), (1, 0), (2, 3)), even))
    assert not is_even(ex.Apply(Window((3, 3), (0, 0), (2, 3)), even))
    assert not is_even(even + k)
    assert not is_even(Constant(np.array([1.0, 2.0, 1.0 + 1e-6])))
    assert is_even(Constant(np.array([0.1 + 0.2, 2.0, 0.3])))


@pytest.mark.parametrize("blurred", [True, False])
def test_total_variation_by_an_exact_update(blurred, rng):
    shape = (10, 9)
    blur = Convolve(gaussian_kernel(1.0, 2), shape, boundary="symmetric") if blurred else Identity(shape)
    truth = np.zeros(shape)
    truth[3:7, 2:6] = 1.0
    y = blur @ truth + 0.05 * rng.standard_normal(shape)
    x = oa.Variable(shape, name="x")
    energy = 0.5 * oa.sum_squares(blur @ x - y) + 0.02 * oa.total_variation(x)
    plan = oa.compile(energy, method="admm")
    assert "DiagonalIn(DCT" in plan.explain()
    assert plan.solve(tol=1e-8).value == pytest.approx(oa.compile(energy, method="primal_dual").solve(tol=1e-8).value)


def test_repr_names_the_kernel():
    k = Constant(np.ones((3, 3)), name="k")
    assert repr(Convolve(k, (64, 48), "symmetric").simplify()) == "DiagonalIn(DCT, DCT k)"
