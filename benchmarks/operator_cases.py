"""The catalogue's operators, each with the same calls as an expert writes them by hand on NumPy and on Torch.

Where there are several ways by hand, all of them are given; the benchmark takes the fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pywt
import scipy.fft
import scipy.linalg
import scipy.ndimage
import scipy.signal
import scipy.sparse
from by_hand import Hand

import opalg as oa

Map = Callable[[Any], Any]


@dataclass
class Case:
    """An operator, and the same by hand: the forward map, and the adjoint where it differs from that."""

    operator: oa.LinearOperator
    forward: list[Map]
    adjoint: list[Map] = field(default_factory=list)
    kind: str = "real"


Build = Callable[[Hand, int], Case]
CASES: dict[str, Build] = {}


def case(name: str) -> Callable[[Build], Build]:
    """Enter a builder of cases into the table."""

    def enter(build: Build) -> Build:
        CASES[name] = build
        return build

    return enter


def generator() -> np.random.Generator:
    """The same random numbers for every case."""
    return np.random.default_rng(0)


# Entries moved and picked.


@case("Identity")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Identity((n, n)), [h.copy], [h.copy])


@case("Reshape")
def _(h: Hand, n: int) -> Case:
    def back(y: Any) -> Any:
        return h.copy(y.reshape(n, n))

    return Case(oa.Reshape((n, n), (n * n,)), [lambda x: h.copy(x).reshape(-1)], [back])


@case("Transpose")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Transpose((n, n)), [lambda x: h.packed(x.T)], [lambda x: h.packed(x.T)])


@case("Flip")
def _(h: Hand, n: int) -> Case:
    ways = [lambda x: h.packed(h.flip(x, (0, 1)))]
    return Case(oa.Flip((n, n)), ways, ways)


@case("Roll")
def _(h: Hand, n: int) -> Case:
    a, b = n // 3, n // 4
    return Case(oa.Roll((n, n), (a, b)), [lambda x: h.roll(x, (a, b))], [lambda x: h.roll(x, (-a, -b))])


@case("Slice step 2")
def _(h: Hand, n: int) -> Case:
    step = slice(None, None, 2)

    def back(y: Any) -> Any:
        out = h.zeros((n, n))
        out[::2, ::2] = y
        return out

    return Case(oa.Slice((n, n), (step, step)), [lambda x: h.packed(x[::2, ::2])], [back])


@case("Crop")
def _(h: Hand, n: int) -> Case:
    a, b = n // 8, n - n // 8

    def back(y: Any) -> Any:
        out = h.zeros((n, n))
        out[a:b, a:b] = y
        return out

    return Case(oa.Crop((n, n), (a, a), (b, b)), [lambda x: h.packed(x[a:b, a:b])], [back])


@case("Mask")
def _(h: Hand, n: int) -> Case:
    mask = generator().random((n, n)) < 0.4
    on, ones, zero = h.flags(mask), h.array(mask.astype(float)), h.zeros(())
    ways: list[Map] = [lambda x: x * ones, lambda x: h.where(on, x, zero), lambda x: x * on]
    return Case(oa.Mask(mask), ways, ways)


@case("Restrict")
def _(h: Hand, n: int) -> Case:
    mask = generator().random((n, n)) < 0.4
    on, positions = h.flags(mask), h.positions(np.flatnonzero(mask))

    def by_mask(y: Any) -> Any:
        out = h.zeros((n, n))
        out[on] = y
        return out

    def by_positions(y: Any) -> Any:
        out = h.zeros((n * n,))
        out[positions] = y
        return out.reshape(n, n)

    ways = [lambda x: x[on], lambda x: x.reshape(-1)[positions], lambda x: h.take(x.reshape(-1), positions, 0)]
    return Case(oa.Restrict(mask), ways, [by_mask, by_positions])


@case("Gather axis 0")
def _(h: Hand, n: int) -> Case:
    return gathered(h, n, 0)


@case("Gather axis 1")
def _(h: Hand, n: int) -> Case:
    return gathered(h, n, 1)


def gathered(h: Hand, n: int, axis: int) -> Case:
    """Half as many entries of an axis as there are, some of them several times."""
    chosen = generator().integers(0, n, n // 2)
    at = h.positions(chosen)
    counting = np.zeros((n, n // 2))
    counting[chosen, np.arange(n // 2)] = 1.0
    sums = h.sparse(scipy.sparse.csr_array(counting))
    ways = [lambda x: h.take(x, at, axis), lambda x: x[at] if axis == 0 else x[:, at]]
    back: list[Map] = [lambda y: h.add_at((n, n), at, y, axis)]
    back.append((lambda y: sums @ y) if axis == 0 else (lambda y: (sums @ y.T).T))
    return Case(oa.Gather((n, n), chosen, axis), ways, back)


@case("Permutation")
def _(h: Hand, n: int) -> Case:
    order = generator().permutation(n * n)
    at, back = h.positions(order), h.positions(np.argsort(order))
    return Case(oa.Permutation(order), [lambda x: h.take(x, at, 0)], [lambda x: h.take(x, back, 0)])


def padding(boundary: str) -> Build:
    """Padding by 16 entries, 2 for small images."""

    def build(h: Hand, n: int) -> Case:
        w = 16 if n > 64 else 2
        return Case(oa.Pad((n, n), w, boundary), h.paddings(n, w, boundary), [lambda y: h.unpad(y, w, boundary)])

    return build


for _boundary in ("zero", "periodic", "reflect", "symmetric", "edge"):
    CASES[f"Pad {_boundary}"] = padding(_boundary)


# Reductions.


@case("Sum all")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n)), [lambda x: x.sum()], [lambda y: h.packed(h.repeated(y, (n, n)))])


@case("Sum axis 0")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n), 0), [lambda x: x.sum(0)], [lambda y: h.packed(h.repeated(y, (n, n)))])


@case("Sum axis 1")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Sum((n, n), 1), [lambda x: x.sum(1)], [lambda y: h.packed(h.repeated(y[:, None], (n, n)))])


@case("Mean axis 0")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Mean((n, n), 0), [lambda x: x.mean(0)], [lambda y: h.packed(h.repeated(y / n, (n, n)))])


@case("CumulativeSum")
def _(h: Hand, n: int) -> Case:
    def back(y: Any) -> Any:
        return h.packed(h.flip(h.flip(y, (1,)).cumsum(1), (1,)))

    return Case(oa.CumulativeSum((n, n)), [lambda x: x.cumsum(1)], [back])


# Pointwise.


@case("Diagonal")
def _(h: Hand, n: int) -> Case:
    d = generator().random((n, n)) + 0.5
    on = h.array(d)
    return Case(oa.Diagonal(d), [lambda x: on * x], [lambda x: on * x])


@case("Real")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Real((n, n)), [lambda x: h.packed(x.real)], [lambda y: h.as_complex(y)], "complex")


@case("Conj")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Conj((n, n)), [h.conj], [h.conj], "complex")


@case("CoilSensitivities 8")
def _(h: Hand, n: int) -> Case:
    maps = coil_maps(n)
    on = h.array(maps)
    conjugate = h.array(maps.conj())
    operator = oa.CoilSensitivities(maps)
    return Case(
        operator, [lambda x: on * x], [lambda y: (conjugate * y).sum(0), lambda y: combined(on, y, h)], "complex"
    )


def combined(maps: Any, images: Any, h: Hand) -> Any:
    """``sum_c conj(s_c) y_c`` by one contraction."""
    return h.einsum("cij,cij->ij", h.conj(maps), images)


def coil_maps(n: int) -> np.ndarray:
    """Eight complex maps."""
    rng = generator()
    return rng.standard_normal((8, n, n)) + 1j * rng.standard_normal((8, n, n))


@case("ParallelMRI 8")
def _(h: Hand, n: int) -> Case:
    maps, mask = coil_maps(n), generator().random((n, n)) < 0.4
    on, ones, conjugate = h.array(maps), h.array(mask.astype(float)), h.array(maps.conj())
    operator = oa.ParallelMRI(maps, mask, centered=False)
    return Case(
        operator,
        [lambda x: ones * h.fft(on * x)],
        [lambda y: (conjugate * h.ifft(ones * y)).sum(0)],
        "complex",
    )


@case("ParallelMRI 8 gram")
def _(h: Hand, n: int) -> Case:
    maps, mask = coil_maps(n), generator().random((n, n)) < 0.4
    on, ones, conjugate = h.array(maps), h.array(mask.astype(float)), h.array(maps.conj())
    operator = oa.ParallelMRI(maps, mask, centered=False)
    return Case(operator.gram, [lambda x: (conjugate * h.ifft(ones * h.fft(on * x))).sum(0)], [], "complex")


# Differences.


def differences(axis: int, boundary: str, scheme: str = "forward") -> Build:
    """A difference along one axis."""

    def build(h: Hand, n: int) -> Case:
        operator = oa.FiniteDifference((n, n), axis, scheme, boundary)
        if scheme == "central":
            return Case(operator, [lambda x: h.central(x, axis)], [lambda y: -h.central(y, axis)])
        forward = [lambda x: h.difference(x, axis, boundary, h.empty((n, n)))]
        return Case(operator, forward, [lambda y: h.adjoint_difference(y, axis, boundary, h.empty((n, n)))])

    return build


def gradients(boundary: str) -> Build:
    """A gradient by slices, each component written where it belongs."""

    def build(h: Hand, n: int) -> Case:
        def forward(x: Any) -> Any:
            out = h.empty((2, n, n))
            h.difference(x, 0, boundary, out[0])
            h.difference(x, 1, boundary, out[1])
            return out

        def back(y: Any) -> Any:
            out = h.adjoint_difference(y[0], 0, boundary, h.empty((n, n)))
            return h.add_adjoint_difference(y[1], 1, boundary, out)

        return Case(oa.Gradient((n, n), boundary), [forward], [back])

    return build


for _axis in (0, 1):
    CASES[f"FiniteDifference {_axis}"] = differences(_axis, "neumann")
CASES["FiniteDifference 1 periodic"] = differences(1, "periodic")
CASES["FiniteDifference 1 central"] = differences(1, "periodic", "central")
for _boundary in ("neumann", "periodic", "dirichlet"):
    CASES[f"Gradient {_boundary}"] = gradients(_boundary)


@case("Laplacian neumann")
def _(h: Hand, n: int) -> Case:
    return Case(oa.Laplacian((n, n)), [lambda x: h.laplacian(x, (0, 1), h.empty((n, n)))])


@case("Hessian neumann")
def _(h: Hand, n: int) -> Case:
    def forward(x: Any) -> Any:
        out = h.empty((3, n, n))
        h.laplacian(x, (0,), out[0])
        h.difference(h.difference(x, 1, "neumann", h.empty((n, n))), 0, "neumann", out[1])
        out[1] *= 2**0.5
        h.laplacian(x, (1,), out[2])
        return out

    return Case(oa.Hessian((n, n)), [forward])


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
