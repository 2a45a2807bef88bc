"""Convolutions, transforms and matrices, beside the same on NumPy, SciPy and Torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pywt
import scipy.fft
import scipy.linalg
import scipy.sparse
from by_hand import Hand
from operator_table import CASES, Build, Case, Map, case, generator

import opalg as oa

# Convolutions.


def convolutions(boundary: str, width: int) -> Build:
    """A convolution with a Gaussian, by transforms of a fast length, and by direct sums."""

    def build(h: Hand, n: int) -> Case:
        k = min(width, n - 1 + n % 2)
        line = np.exp(-0.5 * (np.arange(k) - k // 2) ** 2 / (k / 5) ** 2) + 0.01 * generator().random(k)
        kernel = np.multiply.outer(line, line)
        kernel /= kernel.sum()
        operator = oa.Convolve(kernel, (n, n), boundary)
        return Case(operator, h.convolutions(kernel, n, boundary), h.correlations(kernel, n, boundary))

    return build


for _width in (5, 31):
    for _boundary in ("periodic", "zero", "reflect", "valid"):
        CASES[f"Convolve {_boundary} {_width}"] = convolutions(_boundary, _width)


@case("MultiConvolve 8 x 5")
def _(h: Hand, n: int) -> Case:
    filters = generator().standard_normal((8, 5, 5))
    laid = np.zeros((8, n, n))
    laid[:, :5, :5] = filters
    spectra = np.fft.rfft2(np.roll(laid, (-2, -2), (1, 2)))
    on, conjugate = h.array(spectra), h.array(spectra.conj())
    forward = [lambda x: h.irfft(on * h.rfft(x), (n, n)), *h.filter_banks(filters, n)]
    return Case(oa.MultiConvolve(filters, (n, n)), forward, [lambda y: h.irfft((conjugate * h.rfft(y)).sum(0), (n, n))])


@case("Downsample 2")
def _(h: Hand, n: int) -> Case:
    def back(y: Any) -> Any:
        out = h.zeros((n, n))
        out[::2, ::2] = y
        return out

    return Case(oa.Downsample((n, n), 2), [lambda x: h.packed(x[::2, ::2])], [back])


@case("Downsample 2 box")
def _(h: Hand, n: int) -> Case:
    def forward(x: Any) -> Any:
        return 0.25 * (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2])

    return Case(oa.Downsample((n, n), 2, "box"), [forward])


# Transforms.


@case("FFT")
def _(h: Hand, n: int) -> Case:
    return Case(oa.FFT((n, n)), [h.fft], [h.ifft], "complex")


@case("RFFT")
def _(h: Hand, n: int) -> Case:
    return Case(oa.RFFT((n, n), norm="ortho"), [lambda x: h.rfft(x, "ortho")])


@case("RFFT inverse")
def _(h: Hand, n: int) -> Case:
    inverse = oa.RFFT((n, n), norm="ortho").inverse()
    return Case(inverse, [lambda x: h.irfft(x, (n, n), "ortho")], [], "complex")


@case("DCT")
def _(h: Hand, n: int) -> Case:
    workers = -1 if n > 128 else None
    forward: list[Map] = [lambda x: scipy.fft.dctn(x, norm="ortho", workers=workers)]
    back: list[Map] = [lambda x: scipy.fft.idctn(x, norm="ortho", workers=workers)]
    return Case(oa.DCT((n, n)), forward if h.name == "numpy" else [], back if h.name == "numpy" else [])


@case("Wavelet db4")
def _(h: Hand, n: int) -> Case:
    levels, mode = (4, "periodization") if n > 64 else (1, "periodization")
    w = "db4" if n > 64 else "db2"
    slices = pywt.coeffs_to_array(pywt.wavedec2(np.zeros((n, n)), w, mode, levels))[1]

    def forward(x: Any) -> Any:
        return pywt.coeffs_to_array(pywt.wavedec2(x, w, mode, levels))[0]

    def back(y: Any) -> Any:
        return pywt.waverec2(pywt.array_to_coeffs(y, slices, "wavedec2"), w, mode)

    numpy = h.name == "numpy"
    return Case(oa.Wavelet((n, n), w, levels), [forward] if numpy else [], [back] if numpy else [])


@case("Hadamard")
def _(h: Hand, n: int) -> Case:
    matrix = h.array(scipy.linalg.hadamard(n) / np.sqrt(n))
    return Case(oa.Hadamard((n, n)), [lambda x: matrix @ x @ matrix])


@case("Patches 8, stride 4")
def _(h: Hand, n: int) -> Case:
    size, step = (8, 4) if n > 64 else (4, 2)
    return Case(oa.Patches((n, n), size, step, boundary="valid"), [lambda x: h.patches(x, size, step)])


# Matrices.


@case("Matrix dense")
def _(h: Hand, n: int) -> Case:
    matrix = generator().standard_normal((n, n))
    on = h.array(matrix)
    return Case(oa.Matrix(matrix), [lambda x: on @ x], [lambda y: on.T @ y])


@case("Matrix sparse")
def _(h: Hand, n: int) -> Case:
    line = scipy.sparse.diags_array([np.ones(n), -np.ones(n - 1)], offsets=[0, 1])
    matrix = scipy.sparse.csr_array(scipy.sparse.kron(line, line))
    on, back = h.sparse(matrix), h.sparse(matrix.T)
    ways = [lambda y: back @ y, *([lambda y: on.T @ y] if h.name == "numpy" else [])]
    return Case(oa.Matrix(matrix), [lambda x: on @ x], ways)


@case("kron dense")
def _(h: Hand, n: int) -> Case:
    rng = generator()
    a, b = rng.standard_normal((n, n)), rng.standard_normal((n, n))
    left, right = h.array(a), h.array(b)
    operator = oa.kron(oa.Matrix(a), oa.Matrix(b))
    return Case(operator, [lambda x: left @ x @ right.T], [lambda y: left.T @ y @ right])


@case("kron D, I")
def _(h: Hand, n: int) -> Case:
    operator = oa.kron(oa.FiniteDifference((n,), 0), oa.Identity((n,)))
    forward = [lambda x: h.difference(x, 0, "neumann", h.empty((n, n)))]
    return Case(operator, forward, [lambda y: h.adjoint_difference(y, 0, "neumann", h.empty((n, n)))])


@case("vstack")
def _(h: Hand, n: int) -> Case:
    d = generator().random((n, n)) + 0.5
    on = h.array(d)

    def forward(x: Any) -> Any:
        out = h.empty((2 * n, n))
        h.multiply(on, x, out=out[:n])
        h.difference(x, 0, "neumann", out[n:])
        return out

    def back(y: Any) -> Any:
        out = h.adjoint_difference(y[n:], 0, "neumann", h.empty((n, n)))
        out += on * y[:n]
        return out

    return Case(oa.vstack([oa.Diagonal(d), oa.FiniteDifference((n, n), 0)]), [forward], [back])


@case("block_diag")
def _(h: Hand, n: int) -> Case:
    d = generator().random((n, n)) + 0.5
    on = h.array(d)

    def forward(x: Any) -> Any:
        out = h.empty((2 * n, n))
        h.multiply(on, x[:n], out=out[:n])
        h.difference(x[n:], 0, "neumann", out[n:])
        return out

    def back(y: Any) -> Any:
        out = h.empty((2 * n, n))
        h.multiply(on, y[:n], out=out[:n])
        h.adjoint_difference(y[n:], 0, "neumann", out[n:])
        return out

    return Case(oa.block_diag([oa.Diagonal(d), oa.FiniteDifference((n, n), 0)]), [forward], [back])


@case("Warp")
def _(h: Hand, n: int) -> Case:
    field_ = generator().uniform(-2, 2, (2, n, n))
    operator = oa.Warp((n, n), field_)
    assert operator.stencil is not None
    matrix = operator.stencil.stored.matrix
    return by_matrix(operator, matrix, h)


@case("Radon 4 angles")
def _(h: Hand, n: int) -> Case:
    operator = oa.Radon((n, n), np.linspace(0.1, 3.0, 4), matrix_free=False)
    return by_matrix(operator, operator.matrix, h)


def by_matrix(operator: oa.LinearOperator, matrix: Any, h: Hand) -> Case:
    """An operator beside the product with its sparse matrix, or with the transposed one."""
    on, back = h.sparse(matrix), h.sparse(matrix.T)
    source, target = operator.in_shape, operator.out_shape
    ways: list[Map] = [lambda y: (back @ y.reshape(-1)).reshape(source)]
    if h.name == "numpy":
        ways.append(lambda y: (on.T @ y.reshape(-1)).reshape(source))
    return Case(operator, [lambda x: (on @ x.reshape(-1)).reshape(target)], ways)
